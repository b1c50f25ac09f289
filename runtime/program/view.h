/* Views: where a tensor's elements lie. */
#ifndef TUFF_RUNTIME_VIEW_H
#define TUFF_RUNTIME_VIEW_H

#include "runtime/graph/operator.h"

/* Contiguous strides with order[rank - 1] as the fastest axis. */
void strides_in_order(const tuff_shape *shape, const uint32_t *order, int64_t *strides);

/* Contiguous strides of a layout; ROW_MAJOR, or another that the rank does not fit, is row-major. */
void strides_for(const tuff_shape *shape, layout layout, int64_t *strides);

/* Axes of size 1 do not matter. */
bool strides_equal(const tuff_shape *shape, const int64_t *a, const int64_t *b);

bool view_has_layout(const view *view, layout layout);

/* Contiguous in some order of its axes: nothing skipped, nothing twice. */
bool view_is_dense(const view *view);

/* Elements from the first to the last, both included. */
uint64_t view_span(const view *view);

#endif
