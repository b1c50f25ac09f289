/* Reshaping, transposing, reductions over axes, softmax. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

ref *ref_reshape(const ref *x, tuff_shape shape) {
    int64_t known = 1;
    for (uint32_t i = 0; i < shape.rank; i++) known *= shape.sizes[i] == -1 ? 1 : shape.sizes[i];
    for (uint32_t i = 0; i < shape.rank; i++)
        if (shape.sizes[i] == -1) shape.sizes[i] = x->count / known;
    ref *y = ref_new(shape);
    memcpy(y->v, x->v, (size_t)x->count * sizeof(double));
    for (int64_t i = 0; i < x->count; i++) y->abs[i] = fabs(y->v[i]);
    return y;
}

void ref_reshape_grad(const ref *gy, ref *gx) {
    for (int64_t i = 0; i < gx->count; i++) {
        gx->v[i] += gy->v[i];
        gx->abs[i] += fabs(gy->v[i]);
    }
}

static int positive_axis(const tuff_shape *shape, int axis) {
    return axis < 0 ? axis + (int)shape->rank : axis;
}

ref *ref_transpose(const ref *x, int axis0, int axis1) {
    axis0 = positive_axis(&x->shape, axis0);
    axis1 = positive_axis(&x->shape, axis1);
    tuff_shape shape = x->shape;
    shape.sizes[axis0] = x->shape.sizes[axis1];
    shape.sizes[axis1] = x->shape.sizes[axis0];
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at[TUFF_MAX_RANK] = { 0 }, rest = i;
        for (int axis = (int)shape.rank - 1; axis >= 0; axis--) {
            at[axis] = rest % x->shape.sizes[axis];
            rest /= x->shape.sizes[axis];
        }
        int64_t swap = at[axis0];
        at[axis0] = at[axis1];
        at[axis1] = swap;
        int64_t to = 0;
        for (uint32_t axis = 0; axis < shape.rank; axis++) to = to * shape.sizes[axis] + at[axis];
        y->v[to] = x->v[i];
        y->abs[to] = fabs(x->v[i]);
    }
    return y;
}

void ref_transpose_grad(int axis0, int axis1, const ref *gy, ref *gx) {
    ref *back = ref_transpose(gy, axis0, axis1);
    ref_reshape_grad(back, gx);
    ref_free(back);
}

/* The shape with every reduced axis of size 1: it broadcasts to x, which is how elements find their sum. */
static tuff_shape kept_shape(const tuff_shape *shape, uint32_t axes) {
    tuff_shape kept = *shape;
    for (uint32_t i = 0; i < shape->rank; i++)
        if (!axes || axes >> i & 1) kept.sizes[i] = 1;
    return kept;
}

ref *ref_reduce(ref_reduction kind, const ref *x, uint32_t axes, bool keepdim) {
    tuff_shape kept = kept_shape(&x->shape, axes), shape = { 0 };
    for (uint32_t i = 0; i < kept.rank; i++)
        if (keepdim || (axes && !(axes >> i & 1))) shape.sizes[shape.rank++] = kept.sizes[i];
    ref *y = ref_new(shape);
    double n = (double)x->count / (double)y->count;
    bool extreme = kind == REF_MAX || kind == REF_MIN;
    for (int64_t i = 0; extreme && i < y->count; i++) y->v[i] = kind == REF_MAX ? -INFINITY : INFINITY;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = ref_offset(&kept, &x->shape, i);
        if (extreme) {
            y->v[at] = kind == REF_MAX ? fmax(y->v[at], x->v[i]) : fmin(y->v[at], x->v[i]);
            y->abs[at] = fabs(y->v[at]);
        } else {
            double term = kind == REF_MEAN ? x->v[i] / n : x->v[i];
            y->v[at] += term;
            y->abs[at] += fabs(term);
        }
    }
    if (!extreme) y->terms = n;
    return y;
}

void ref_reduce_grad(ref_reduction kind, const ref *x, uint32_t axes, const ref *y, const ref *gy, ref *gx) {
    tuff_shape kept = kept_shape(&x->shape, axes);
    double n = (double)x->count / (double)gy->count;
    double *ties = calloc((size_t)gy->count, sizeof *ties);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = ref_offset(&kept, &x->shape, i);
        ties[at] += x->v[i] == y->v[at];
    }
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = ref_offset(&kept, &x->shape, i);
        double share = kind == REF_SUM ? 1 : kind == REF_MEAN ? 1 / n : x->v[i] == y->v[at] ? 1 / ties[at] : 0;
        gx->v[i] += gy->v[at] * share;
        gx->abs[i] += fabs(gy->v[at] * share);
    }
    free(ties);
}

/* ---- softmax over one axis: rows of n elements, `inner` apart ---- */

typedef struct rows {
    int64_t count, n, inner;
} rows;

static rows rows_of(const tuff_shape *shape, int axis) {
    axis = positive_axis(shape, axis);
    rows r = { 1, shape->sizes[axis], 1 };
    for (uint32_t i = (uint32_t)axis + 1; i < shape->rank; i++) r.inner *= shape->sizes[i];
    r.count = ref_count(shape) / r.n;
    return r;
}

static int64_t row_start(const rows *r, int64_t row) {
    return row / r->inner * r->n * r->inner + row % r->inner;
}

/* The row's maximum and log of the sum of exponentials above it. */
static void row_log_sum(const rows *r, const ref *x, int64_t start, double *maximum, double *log_sum) {
    double m = -INFINITY, sum = 0;
    for (int64_t j = 0; j < r->n; j++) m = fmax(m, x->v[start + j * r->inner]);
    for (int64_t j = 0; j < r->n; j++) sum += exp(x->v[start + j * r->inner] - m);
    *maximum = m;
    *log_sum = log(sum);
}

ref *ref_softmax(const ref *x, int axis) {
    ref *y = ref_new(x->shape);
    rows r = rows_of(&x->shape, axis);
    for (int64_t row = 0; row < r.count; row++) {
        double m, log_sum;
        int64_t start = row_start(&r, row);
        row_log_sum(&r, x, start, &m, &log_sum);
        for (int64_t j = 0; j < r.n; j++) {
            int64_t i = start + j * r.inner;
            y->v[i] = exp(x->v[i] - m - log_sum);
            y->abs[i] = y->v[i] * (1 + fabs(x->v[i] - m)); /* x - m is rounded before exp */
        }
    }
    y->terms = (double)r.n;
    return y;
}

/* gx = y (gy - sum gy y) */
void ref_softmax_grad(const ref *x, int axis, const ref *gy, ref *gx) {
    ref *y = ref_softmax(x, axis);
    rows r = rows_of(&x->shape, axis);
    for (int64_t row = 0; row < r.count; row++) {
        int64_t start = row_start(&r, row);
        double dot = 0, dot_abs = 0;
        for (int64_t j = 0; j < r.n; j++) {
            int64_t i = start + j * r.inner;
            dot += gy->v[i] * y->v[i];
            dot_abs += fabs(gy->v[i]) * y->abs[i];
        }
        for (int64_t j = 0; j < r.n; j++) {
            int64_t i = start + j * r.inner;
            gx->v[i] += y->v[i] * (gy->v[i] - dot);
            gx->abs[i] += y->abs[i] * (fabs(gy->v[i]) + dot_abs);
        }
    }
    gx->terms = fmax(gx->terms, (double)r.n);
    ref_free(y);
}

ref *ref_log_softmax(const ref *x, int axis) {
    ref *y = ref_new(x->shape);
    rows r = rows_of(&x->shape, axis);
    for (int64_t row = 0; row < r.count; row++) {
        double m, log_sum;
        int64_t start = row_start(&r, row);
        row_log_sum(&r, x, start, &m, &log_sum);
        for (int64_t j = 0; j < r.n; j++) {
            int64_t i = start + j * r.inner;
            y->v[i] = x->v[i] - m - log_sum;
            /* 1: the logarithm's argument, a sum of exponentials, has a relative error */
            y->abs[i] = fabs(x->v[i]) + fabs(m) + fabs(log_sum) + 1;
        }
    }
    y->terms = (double)r.n;
    return y;
}

/* gx = gy - softmax sum gy */
void ref_log_softmax_grad(const ref *x, int axis, const ref *gy, ref *gx) {
    ref *y = ref_log_softmax(x, axis);
    rows r = rows_of(&x->shape, axis);
    for (int64_t row = 0; row < r.count; row++) {
        int64_t start = row_start(&r, row);
        double total = 0, total_abs = 0;
        for (int64_t j = 0; j < r.n; j++) {
            total += gy->v[start + j * r.inner];
            total_abs += fabs(gy->v[start + j * r.inner]);
        }
        for (int64_t j = 0; j < r.n; j++) {
            int64_t i = start + j * r.inner;
            gx->v[i] += gy->v[i] - exp(y->v[i]) * total;
            gx->abs[i] += fabs(gy->v[i]) + exp(y->v[i]) * y->abs[i] * total_abs;
        }
    }
    gx->terms = fmax(gx->terms, (double)r.n);
    ref_free(y);
}
