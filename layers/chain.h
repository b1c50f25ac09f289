/* Running pointwise chains: what the pointwise kernel and the reductions share, and copies. */
#ifndef TUFF_LAYERS_CHAIN_H
#define TUFF_LAYERS_CHAIN_H

#include "runtime/program/lowering.h"

/* A nest of loops over tensors that are indexed alike: the fastest axis first, axes joined where every tensor allows.
 */
enum { LOOP_TENSORS = 8 };

typedef struct loops {
    uint32_t rank;
    uint32_t tensors;
    uint64_t sizes[TUFF_MAX_RANK];
    uint64_t strides[TUFF_MAX_RANK][LOOP_TENSORS];
} loops;

/* Over the axes of shape for which `mask` has a bit. strides[t] are tensor t's for shape's axes, 0 where it broadcasts.
 * The order is tensor `order`'s in memory. */
void loops_make(loops *loops, const tuff_shape *shape, uint32_t mask, int64_t (*strides)[TUFF_MAX_RANK],
                uint32_t tensors, uint32_t order);
uint64_t loops_count(const loops *loops);

/* The slowest loop that still has two halves, and a tensor's stride there; 0 if there is none. */
uint32_t loops_slowest(const loops *loops);
uint64_t loops_slowest_stride(const loops *loops, uint32_t tensor);

/* What tensor t's elements span from `begin` on, in a nest of loops within another; a view for lowering_operand. */
view loops_view(const view *whole, uint64_t begin, const loops *outer, const loops *inner, uint32_t tensor);

/* The strides of a view for the axes of a shape that it broadcasts to. */
void broadcast_strides(const view *view, const tuff_shape *shape, int64_t *strides);

/* For n < 2^31: n / d = (n * multiplier >> 32) >> shift. d > 1. */
void division(uint32_t d, uint32_t *multiplier, uint32_t *shift);

/* Words of a record that describes one loop of a nest: size, the multiplier and the shift that divide by it, strides.
 */
enum { LOOP_WORDS = 3 + LOOP_TENSORS };
void loops_words(const loops *loops, uint32_t *words);

/* Workgroups for `count` of them, in two directions where one does not suffice; sets call->groups, returns how many are
 * in direction x. */
uint32_t groups_for(kernel_call *call, uint64_t count);

/* Whether the WIDE form of a kernel can load four neighbours of each tensor at once: LINEAR and so on in *modes. */
enum { MODE_LINEAR = 0, MODE_STRIDED, MODE_SINGLE, MODE_LEVEL };
uint32_t loops_mode(const loops *loops, uint32_t tensor);

/* Runs a chain over a shape that all inputs broadcast to and all outputs have. */
tuff_result lower_chain_over(lowering *lowering, const chain *chain, const tuff_shape *shape, const view *const *inputs,
                             const view *const *outputs, const char *label);

/* A node with a chain: operator_chain. */
tuff_result lower_chain(lowering *lowering, const node *node);

/* Copies elements from one view to another of the same shape, or one that it broadcasts to. */
tuff_result lower_copy(lowering *lowering, const view *from, const view *to, const char *label);

#endif
