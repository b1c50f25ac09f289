/* Reductions as kernel calls: what rows in reduction.c and split products ask for. */
#ifndef TUFF_LAYERS_REDUCE_H
#define TUFF_LAYERS_REDUCE_H

#include "layers/chain.h"

/* Shared with the shader. */
typedef enum reduce_kind { REDUCE_SUM = 0, REDUCE_MAXIMUM, REDUCE_MINIMUM, REDUCE_PRODUCT } reduce_kind;

/* out = scale * reduction of chain(inputs) over the axes of `shape` in mask `reduced`. The inputs broadcast to shape;
 * out's strides are given for shape's axes, 0 for reduced ones. chain NULL: inputs[0] as it is. */
tuff_result lower_reduce(lowering *lowering, reduce_kind kind, float scale, const chain *chain, const tuff_shape *shape,
                         uint32_t reduced, const view *const *inputs, const view *out, const int64_t *out_strides,
                         const char *label);

#endif
