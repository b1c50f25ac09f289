/* Views: where a tensor's elements lie. */
#include "runtime/program/view.h"

#include "runtime/program/lowering.h"

void strides_in_order(const tuff_shape *shape, const uint32_t *order, int64_t *strides) {
    int64_t stride = 1;
    for (uint32_t i = shape->rank; i-- > 0;) {
        strides[order[i]] = stride;
        stride *= shape->sizes[order[i]];
    }
}

static const uint32_t row_major[TUFF_MAX_RANK] = { 0, 1, 2, 3, 4, 5, 6, 7 };

/* By rank, for images of one to three axes. */
static const uint32_t channels_last[][5] = {
    [3] = { 0, 2, 1 },
    [4] = { 0, 2, 3, 1 },
    [5] = { 0, 2, 3, 4, 1 },
};
static const uint32_t kernel_last[][5] = {
    [3] = { 2, 1, 0 },
    [4] = { 2, 3, 1, 0 },
    [5] = { 2, 3, 4, 1, 0 },
};

void strides_for(const tuff_shape *shape, layout layout, int64_t *strides) {
    const uint32_t *order = row_major;
    bool image = shape->rank >= 3 && shape->rank <= 5;
    if (layout == LAYOUT_CHANNELS_LAST && image) order = channels_last[shape->rank];
    if (layout == LAYOUT_KERNEL_LAST && image) order = kernel_last[shape->rank];
    strides_in_order(shape, order, strides);
}

bool strides_equal(const tuff_shape *shape, const int64_t *a, const int64_t *b) {
    for (uint32_t i = 0; i < shape->rank; i++)
        if (shape->sizes[i] > 1 && a[i] != b[i]) return false;
    return true;
}

bool view_has_layout(const view *view, layout layout) {
    if (layout == LAYOUT_ANY) return true;
    if (layout == LAYOUT_MATRIX) {
        uint32_t rank = view->shape.rank;
        if (rank < 2) return true;
        const int64_t *sizes = view->shape.sizes, *strides = view->strides;
        return strides[rank - 1] == 1 || strides[rank - 2] == 1 || sizes[rank - 1] == 1 || sizes[rank - 2] == 1;
    }
    int64_t strides[TUFF_MAX_RANK];
    strides_for(&view->shape, layout, strides);
    return strides_equal(&view->shape, view->strides, strides);
}

bool view_is_dense(const view *view) {
    /* each axis' stride must be the product of the sizes of the axes with smaller strides */
    int64_t expected = 1;
    bool used[TUFF_MAX_RANK] = { false };
    for (uint32_t done = 0; done < view->shape.rank; done++) {
        uint32_t next = UINT32_MAX;
        for (uint32_t i = 0; i < view->shape.rank; i++) {
            if (used[i]) continue;
            if (view->shape.sizes[i] == 1) {
                next = i;
                break;
            }
            if (view->strides[i] == expected) next = i;
        }
        if (next == UINT32_MAX) return false;
        used[next] = true;
        if (view->shape.sizes[next] > 1) expected *= view->shape.sizes[next];
    }
    return true;
}

bool view_is_row_major(const view *view) {
    return view_has_layout(view, LAYOUT_ROW_MAJOR);
}

bool view_is_channels_last(const view *view) {
    return view->shape.rank >= 3 && view->shape.rank <= 5 && view_has_layout(view, LAYOUT_CHANNELS_LAST);
}

int64_t view_count(const view *view) {
    return tuff_shape_count(&view->shape);
}

uint64_t view_span(const view *view) {
    uint64_t span = 1;
    for (uint32_t i = 0; i < view->shape.rank; i++)
        span += (uint64_t)(view->shape.sizes[i] - 1) * (uint64_t)view->strides[i];
    return span;
}
