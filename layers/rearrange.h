/* Elements at other places: one kernel (shaders/gather/rearrange.comp) for padding, flipping, rolling, repeating,
 * triangles, slices' gradients and one-hot vectors. */
#ifndef TUFF_LAYERS_REARRANGE_H
#define TUFF_LAYERS_REARRANGE_H

#include "runtime/graph/operator.h"

/* Where t, what an axis' rule gives, lies outside the axis. Shared with the shader; pad's choices in order. */
enum { OUTSIDE_FILLS = 0, OUTSIDE_REFLECTS, OUTSIDE_REPLICATES, OUTSIDE_WRAPS };

/* Beside moving: keeps a triangle of the last two axes, or compares with the last axis' index. */
enum { REARRANGE_MOVES = 0, REARRANGE_LOWER, REARRANGE_UPPER, REARRANGE_EQUALS };

/* y[o] = x[t], along each axis t = (flip ? -o : o) + add; where step > 1 t / step, of what it divides only; outside x
 * as `outside` says. All tensors have the same rank. */
typedef struct rearrangement {
    int64_t size[TUFF_MAX_RANK]; /* y's */
    int64_t add[TUFF_MAX_RANK], step[TUFF_MAX_RANK];
    bool flip[TUFF_MAX_RANK];
    uint32_t outside; /* of all axes */
    uint32_t kind;
    int64_t diagonal;
    double value; /* what fills */
} rearrangement;

rearrangement rearrangement_of(const tuff_tensor *x); /* x as it is; of NULL anything */
tuff_tensor *rearrange(tuff_tensor *x, const rearrangement *r);

/* In parts.c. Bounds may be ATTRIBUTE_NONE. */
enum { SLICE_DIM = 0, SLICE_START, SLICE_END, SLICE_STEP };
void slice_bounds(const attribute_value *attributes, int64_t size, int64_t *start, int64_t *count);
tuff_tensor *slice_of(tuff_tensor *x, int64_t dim, int64_t start, int64_t end, int64_t step);

#endif
