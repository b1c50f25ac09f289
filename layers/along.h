/* Kernels along one axis of row-major tensors: (outer, n, inner). */
#ifndef TUFF_LAYERS_ALONG_H
#define TUFF_LAYERS_ALONG_H

#include "layers/axes.h"
#include "layers/flat.h"

typedef struct along {
    int64_t outer, n, inner;
} along;

static inline along along_axis(const tuff_shape *shape, int64_t axis) {
    along a = { 1, 1, 1 };
    if (axis < 0) axis += shape->rank;
    for (uint32_t i = 0; i < shape->rank; i++) {
        if (i < axis) a.outer *= shape->sizes[i];
        if (i == axis) a.n = shape->sizes[i];
        if (i > axis) a.inner *= shape->sizes[i];
    }
    return a;
}

/* A row-major view as (outer, each). */
static inline view along_view(const view *whole, int64_t outer, int64_t each) {
    view flat = *whole;
    flat.shape = TUFF_SHAPE(outer, each);
    flat.strides[0] = each;
    flat.strides[1] = 1;
    return flat;
}

/* How many of axis 0 a call takes: what fits the bindings of all views, and leaves the invocations countable. */
static inline int64_t along_step(const lowering *lowering, const view *const *views, uint32_t count) {
    int64_t step = INT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        int64_t each = views[i]->strides[0] > 0 ? views[i]->strides[0] : 1;
        step = smaller(step, steps_that_fit(lowering, views[i]));
        step = smaller(step, INT32_MAX / each < 1 ? 1 : INT32_MAX / each);
    }
    return step;
}

/* The graph's error if x has no such axis. */
static inline tuff_result along_check(inference *inference, const tuff_tensor *x, int64_t axis) {
    uint32_t found;
    return axis_check_of(inference, x, axis, x->shape.rank, &found);
}

#endif
