/* Pooling over windows of an image. */
#include "reference.h"

#include <math.h>

/* One window: the rows and columns of the image that it covers, and its size with padding. */
typedef struct patch {
    int64_t plane, row[2], column[2], padded;
} patch;

static tuff_shape pooled_shape(const ref *x, const ref_window *s) {
    tuff_shape shape = x->shape;
    for (int i = 0; i < 2; i++)
        shape.sizes[2 + i] = (x->shape.sizes[2 + i] + 2 * s->padding[i] - s->kernel[i]) / s->stride[i] + 1;
    return shape;
}

static patch patch_of(const ref *x, const tuff_shape *out, const ref_window *s, int64_t i) {
    int64_t position[2] = { i / out->sizes[3] % out->sizes[2], i % out->sizes[3] }, begin[2], end[2], padded = 1;
    for (int axis = 0; axis < 2; axis++) {
        int64_t size = x->shape.sizes[2 + axis];
        begin[axis] = position[axis] * s->stride[axis] - s->padding[axis];
        end[axis] = begin[axis] + s->kernel[axis];
        if (end[axis] > size + s->padding[axis]) end[axis] = size + s->padding[axis];
        padded *= end[axis] - begin[axis];
        if (begin[axis] < 0) begin[axis] = 0;
        if (end[axis] > size) end[axis] = size;
    }
    int64_t plane = i / (out->sizes[2] * out->sizes[3]) * x->shape.sizes[2] * x->shape.sizes[3];
    return (patch){ plane, { begin[0], end[0] }, { begin[1], end[1] }, padded };
}

/* The first largest element. */
static int64_t patch_argmax(const ref *x, const patch *p) {
    int64_t best = -1;
    for (int64_t row = p->row[0]; row < p->row[1]; row++)
        for (int64_t column = p->column[0]; column < p->column[1]; column++) {
            int64_t at = p->plane + row * x->shape.sizes[3] + column;
            if (best < 0 || x->v[at] > x->v[best]) best = at;
        }
    return best;
}

ref *ref_max_pool2d(const ref *x, const ref_window *window) {
    ref *y = ref_new(pooled_shape(x, window));
    for (int64_t i = 0; i < y->count; i++) {
        patch p = patch_of(x, &y->shape, window, i);
        y->v[i] = x->v[patch_argmax(x, &p)];
        y->abs[i] = fabs(y->v[i]);
    }
    return y;
}

void ref_max_pool2d_grad(const ref *x, const ref_window *window, const ref *gy, ref *gx) {
    for (int64_t i = 0; i < gy->count; i++) {
        patch p = patch_of(x, &gy->shape, window, i);
        int64_t at = patch_argmax(x, &p);
        gx->v[at] += gy->v[i];
        gx->abs[at] += fabs(gy->v[i]);
    }
    gx->terms = fmax(gx->terms, (double)(window->kernel[0] * window->kernel[1]));
}

static double patch_divisor(const patch *p, bool exclude_padding) {
    return (double)(exclude_padding ? (p->row[1] - p->row[0]) * (p->column[1] - p->column[0]) : p->padded);
}

ref *ref_avg_pool2d(const ref *x, const ref_window *window, bool exclude_padding) {
    ref *y = ref_new(pooled_shape(x, window));
    for (int64_t i = 0; i < y->count; i++) {
        patch p = patch_of(x, &y->shape, window, i);
        for (int64_t row = p.row[0]; row < p.row[1]; row++)
            for (int64_t column = p.column[0]; column < p.column[1]; column++) {
                double term = x->v[p.plane + row * x->shape.sizes[3] + column] / patch_divisor(&p, exclude_padding);
                y->v[i] += term;
                y->abs[i] += fabs(term);
            }
    }
    y->terms = (double)(window->kernel[0] * window->kernel[1]);
    return y;
}

void ref_avg_pool2d_grad(const ref *x, const ref_window *window, bool exclude_padding, const ref *gy, ref *gx) {
    for (int64_t i = 0; i < gy->count; i++) {
        patch p = patch_of(x, &gy->shape, window, i);
        double g = gy->v[i] / patch_divisor(&p, exclude_padding);
        for (int64_t row = p.row[0]; row < p.row[1]; row++)
            for (int64_t column = p.column[0]; column < p.column[1]; column++) {
                gx->v[p.plane + row * x->shape.sizes[3] + column] += g;
                gx->abs[p.plane + row * x->shape.sizes[3] + column] += fabs(g);
            }
    }
    gx->terms = fmax(gx->terms, (double)(window->kernel[0] * window->kernel[1]));
}
