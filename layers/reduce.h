/* Reductions as kernel calls: what rows in reduction.c and split products ask for. */
#ifndef TUFF_LAYERS_REDUCE_H
#define TUFF_LAYERS_REDUCE_H

#include "layers/chain.h"

/* Shared with the shader. */
typedef enum reduce_kind { REDUCE_SUM = 0, REDUCE_MAXIMUM, REDUCE_MINIMUM, REDUCE_PRODUCT } reduce_kind;

/* Shared with the shader: the output, then inputs. */
enum { REDUCE_TENSORS = 6, REDUCE_INPUTS = REDUCE_TENSORS - 1 };

/* A tensor without the reduced axes: its strides for the axes of the shape that is reduced, 0 for reduced ones. */
typedef struct reduced_view {
    const view *view;
    int64_t strides[TUFF_MAX_RANK];
} reduced_view;

/* out = epilogue(scale * reduction of prologue(inputs) over the axes of `shape` in mask `reduced`). The inputs
 * broadcast to shape. Without a prologue: inputs[0] as it is. The epilogue's inputs are the result and then the extras.
 */
typedef struct reduce_call {
    reduce_kind kind;
    float scale; /* 0: 1 */
    const chain *prologue, *epilogue;
    tuff_shape shape;
    uint32_t reduced;
    const view *inputs[MAX_INPUTS];
    reduced_view out, extras[REDUCE_INPUTS];
    const char *label;
} reduce_call;

tuff_result lower_reduce(lowering *lowering, const reduce_call *call);

/* Whether a reduction can run this chain behind itself. A prologue takes what is left of inputs, steps and constants.
 */
bool reduce_accepts_epilogue(const chain *epilogue, uint32_t extras);

/* Four neighbours along the fastest of the loops `along`: every input, the tensors from 1 on, lies together there, or
 * has one value for all (a bit in *levels). */
bool reduce_fits_wide(const loops *along, const loops *other, uint32_t inputs, const uint32_t *first, uint32_t *levels);

#endif
