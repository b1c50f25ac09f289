/* A chain of pointwise steps as data: what the pointwise kernel runs, a reduction runs before it reduces and on what
 * comes out, and a product runs on its accumulators. shaders/common/chain_ops.h says how a step is encoded. */
#ifndef TUFF_RUNTIME_CHAIN_H
#define TUFF_RUNTIME_CHAIN_H

#include "runtime/graph/graph.h"
#include "shaders/common/chain_ops.h"

enum { CHAIN_MAX_OUTPUTS = 4 };

typedef struct chain_step {
    uint8_t op, a, b, c;
} chain_step;

/* Whose inputs: node->inputs in order for a pointwise node and for a prologue. For an epilogue, input 0 is the result
 * and input i > 0 is node->inputs[own inputs + i - 1]; of a node with a prologue, the prologue's inputs are its own.
 * Whose outputs: node->outputs in order; for a prologue, outputs[0] alone, what is reduced. */
typedef struct chain {
    chain_step steps[CHAIN_MAX_STEPS];
    uint32_t step_count;
    uint32_t constants[CHAIN_MAX_CONSTANTS]; /* bits */
    uint32_t constant_count;
    uint32_t input_count;
    uint8_t outputs[CHAIN_MAX_OUTPUTS]; /* operands, usually CHAIN_STEP + i */
    uint32_t output_count;
} chain;

static inline uint32_t chain_word(chain_step s) {
    return (uint32_t)s.op | (uint32_t)s.a << 8 | (uint32_t)s.b << 16 | (uint32_t)s.c << 24;
}

/* The operand of a constant, added if it is new; 0xff if there is no room. */
uint8_t chain_constant(chain *chain, uint32_t bits);

/* How many of a, b, c a step reads. */
uint32_t chain_operand_count(uint32_t op);

/* True if a step reads CHAIN_INDEX. */
bool chain_uses_index(const chain *chain);

/* Drops what no output needs. input_map[i]: what input i is now, 0xff if nothing reads it. */
void chain_prune(chain *chain, uint8_t input_map[MAX_INPUTS]);

/* True if steps i and i + 1 let operand x through where *gate is above zero, else make it zero: relu's gradient. */
bool chain_gates(const chain *chain, uint32_t i, uint8_t x, uint8_t *gate);

/* True if a step reads the step record (random operators). */
bool chain_is_random(const chain *chain);

#endif
