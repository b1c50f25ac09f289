/* Products: matrix product with broadcast batches, linear layer. */
#include "reference.h"

#include <math.h>

/* Adds a b to element i of a sum. */
static void add_product(ref *y, int64_t i, double a, double b) {
    y->v[i] += a * b;
    y->abs[i] += fabs(a * b);
}

static void set_terms(ref *y, int64_t terms) {
    y->terms = fmax(y->terms, (double)terms);
}

/* ---- matrix product ---- */

typedef struct matrices {
    int64_t m, n, k, batches;
    tuff_shape batch, batch_a, batch_b; /* the axes before the last two */
} matrices;

static tuff_shape batch_of(const tuff_shape *shape) {
    tuff_shape batch = *shape;
    batch.rank -= 2;
    return batch;
}

static matrices matrices_of(const ref *a, const ref *b, bool transpose_a, bool transpose_b) {
    const int64_t *sa = a->shape.sizes + a->shape.rank - 2, *sb = b->shape.sizes + b->shape.rank - 2;
    matrices s = { .m = sa[transpose_a], .k = sa[!transpose_a], .n = sb[!transpose_b] };
    s.batch_a = batch_of(&a->shape);
    s.batch_b = batch_of(&b->shape);
    s.batch = ref_broadcast_shape(&s.batch_a, &s.batch_b);
    s.batches = ref_count(&s.batch);
    return s;
}

/* Where element (row, column) of matrix `batch` lies, for a matrix that is stored transposed or not. */
static int64_t element(const matrices *s, const tuff_shape *own_batch, int64_t batch, int64_t rows, int64_t columns,
                       bool transposed, int64_t row, int64_t column) {
    int64_t start = ref_offset(own_batch, &s->batch, batch) * rows * columns;
    return start + (transposed ? column * rows + row : row * columns + column);
}

ref *ref_matmul(const ref *a, const ref *b, bool transpose_a, bool transpose_b) {
    matrices s = matrices_of(a, b, transpose_a, transpose_b);
    tuff_shape shape = s.batch;
    shape.sizes[shape.rank++] = s.m;
    shape.sizes[shape.rank++] = s.n;
    ref *y = ref_new(shape);
    for (int64_t batch = 0; batch < s.batches; batch++)
        for (int64_t m = 0; m < s.m; m++)
            for (int64_t n = 0; n < s.n; n++)
                for (int64_t k = 0; k < s.k; k++)
                    add_product(y, (batch * s.m + m) * s.n + n,
                                a->v[element(&s, &s.batch_a, batch, s.m, s.k, transpose_a, m, k)],
                                b->v[element(&s, &s.batch_b, batch, s.k, s.n, transpose_b, k, n)]);
    set_terms(y, s.k);
    return y;
}

void ref_matmul_grad(const ref *a, const ref *b, bool transpose_a, bool transpose_b, const ref *gy, ref *ga, ref *gb) {
    matrices s = matrices_of(a, b, transpose_a, transpose_b);
    for (int64_t batch = 0; batch < s.batches; batch++)
        for (int64_t m = 0; m < s.m; m++)
            for (int64_t n = 0; n < s.n; n++)
                for (int64_t k = 0; k < s.k; k++) {
                    double g = gy->v[(batch * s.m + m) * s.n + n];
                    int64_t in_a = element(&s, &s.batch_a, batch, s.m, s.k, transpose_a, m, k);
                    int64_t in_b = element(&s, &s.batch_b, batch, s.k, s.n, transpose_b, k, n);
                    if (ga) add_product(ga, in_a, g, b->v[in_b]);
                    if (gb) add_product(gb, in_b, g, a->v[in_a]);
                }
    if (ga) set_terms(ga, s.n * s.batches * s.m * s.k / ga->count);
    if (gb) set_terms(gb, s.m * s.batches * s.k * s.n / gb->count);
}

/* ---- linear layer: rows of x times the transposed weight [features, in] ---- */

ref *ref_linear(const ref *x, const ref *weight, const ref *bias) {
    int64_t features = weight->shape.sizes[0], in = weight->shape.sizes[1], rows = x->count / in;
    tuff_shape shape = x->shape;
    shape.sizes[shape.rank - 1] = features;
    ref *y = ref_new(shape);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t f = 0; f < features; f++) {
            int64_t i = row * features + f;
            for (int64_t k = 0; k < in; k++) add_product(y, i, x->v[row * in + k], weight->v[f * in + k]);
            if (bias) add_product(y, i, bias->v[f], 1);
        }
    set_terms(y, in + 1);
    return y;
}

void ref_linear_grad(const ref *x, const ref *weight, const ref *gy, ref *gx, ref *gweight, ref *gbias) {
    int64_t features = weight->shape.sizes[0], in = weight->shape.sizes[1], rows = x->count / in;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t f = 0; f < features; f++) {
            double g = gy->v[row * features + f];
            for (int64_t k = 0; k < in; k++) {
                if (gx) add_product(gx, row * in + k, g, weight->v[f * in + k]);
                if (gweight) add_product(gweight, f * in + k, g, x->v[row * in + k]);
            }
            if (gbias) add_product(gbias, f, g, 1);
        }
    if (gx) set_terms(gx, features);
    if (gweight) set_terms(gweight, rows);
    if (gbias) set_terms(gbias, rows);
}
