/* What an operator's `lower` calls: where its tensors lie, scratch memory, records, and kernels to run. */
#ifndef TUFF_RUNTIME_LOWERING_H
#define TUFF_RUNTIME_LOWERING_H

#include "runtime/graph/operator.h"
#include "runtime/graph/chain.h"
#include "runtime/program/lowered.h"

tuff_device *lowering_device(const lowering *lowering);

/* Where a tensor of the node being lowered lies. */
const view *lowering_view(const lowering *lowering, const tuff_tensor *tensor);

/* The binding that covers a view, and in *first the element in that binding at which the view's element 0 lies
 * (ranges start aligned, views may not). */
operand lowering_operand(const lowering *lowering, const view *view, uint32_t access, uint32_t *first);

/* Scratch that lives while this node's kernels use it: a row-major float view of count elements, of which there may be
 * lowering_scratch_limit. */
uint64_t lowering_scratch_limit(const lowering *lowering);
tuff_result lowering_scratch(lowering *lowering, uint64_t count, const char *name, view *out);

/* Words that kernels read through a binding: returns the operand (binding) and the word at which they start. Equal
 * records are stored once. */
tuff_result lowering_record(lowering *lowering, const uint32_t *words, uint32_t count, operand *binding,
                            uint32_t *first);

/* The step record's binding. */
operand lowering_step_record(const lowering *lowering);

/* The node's kernels take the step record's cache length, up to `most`. */
void lowering_cache_room(lowering *lowering, uint64_t most);

/* Appends a kernel call (copied). label may be NULL: the node's. The segment is set by the step. */
tuff_result lowering_call(lowering *lowering, const kernel_call *call);

/* The sum over `parts` partial results, part i at partial.offset + i * stride elements, each `count` elements
 * contiguous, into `out` (contiguous, count elements), in a tree; applies epilogue if not NULL. In layers/reduction.c,
 * for products split along K. */
tuff_result lower_sum_parts(lowering *lowering, const view *partial, uint32_t parts, uint64_t stride, uint64_t count,
                            const view *out);

/* Helpers on views. */
bool view_is_row_major(const view *view);
bool view_is_channels_last(const view *view);
int64_t view_count(const view *view);

#endif
