/* Products: matrix product with broadcast batches, linear layer, convolution. */
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

/* ---- convolution: y[n, o, p] = bias[o] + sum over c, tap of x[n, c, p stride - padding + tap dilation] w[o, c, tap]
 */

typedef struct images {
    int64_t n, c, h, w, out_c, out_h, out_w, group_in, group_out;
} images;

static int64_t out_size(int64_t in, const ref_window *s, int axis) {
    return (in + 2 * s->padding[axis] - s->dilation[axis] * (s->kernel[axis] - 1) - 1) / s->stride[axis] + 1;
}

static images images_of(const ref *x, const ref *weight, const ref_window *window, int64_t groups) {
    const int64_t *s = x->shape.sizes;
    images g = { .n = s[0], .c = s[1], .h = s[2], .w = s[3], .out_c = weight->shape.sizes[0] };
    g.out_h = out_size(g.h, window, 0);
    g.out_w = out_size(g.w, window, 1);
    g.group_in = g.c / groups;
    g.group_out = g.out_c / groups;
    return g;
}

/* Calls for every multiply-add of the convolution: `y_at` += `x_at` * `w_at`. */
typedef struct taps {
    const ref *x, *weight, *gy;
    ref *y, *gx, *gweight;
} taps;

static void each_tap(const taps *t, const images *g, const ref_window *s) {
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t o = 0; o < g->out_c; o++)
            for (int64_t p = 0; p < g->out_h * g->out_w; p++) {
                int64_t y_at = (n * g->out_c + o) * g->out_h * g->out_w + p;
                for (int64_t c = 0; c < g->group_in; c++)
                    for (int64_t tap = 0; tap < s->kernel[0] * s->kernel[1]; tap++) {
                        int64_t in_c = o / g->group_out * g->group_in + c;
                        int64_t row = p / g->out_w * s->stride[0] - s->padding[0] + tap / s->kernel[1] * s->dilation[0];
                        int64_t col = p % g->out_w * s->stride[1] - s->padding[1] + tap % s->kernel[1] * s->dilation[1];
                        if (row < 0 || row >= g->h || col < 0 || col >= g->w) continue;
                        int64_t x_at = ((n * g->c + in_c) * g->h + row) * g->w + col;
                        int64_t w_at = (o * g->group_in + c) * s->kernel[0] * s->kernel[1] + tap;
                        if (t->y) add_product(t->y, y_at, t->x->v[x_at], t->weight->v[w_at]);
                        if (t->gx) add_product(t->gx, x_at, t->gy->v[y_at], t->weight->v[w_at]);
                        if (t->gweight) add_product(t->gweight, w_at, t->gy->v[y_at], t->x->v[x_at]);
                    }
            }
}

ref *ref_conv2d(const ref *x, const ref *weight, const ref *bias, const ref_window *window, int64_t groups) {
    images g = images_of(x, weight, window, groups);
    ref *y = ref_new(TUFF_SHAPE(g.n, g.out_c, g.out_h, g.out_w));
    if (bias)
        for (int64_t i = 0; i < y->count; i++) add_product(y, i, bias->v[i / (g.out_h * g.out_w) % g.out_c], 1);
    each_tap(&(taps){ .x = x, .weight = weight, .y = y }, &g, window);
    set_terms(y, weight->count / g.out_c + 1);
    return y;
}

void ref_conv2d_grad(const ref *x, const ref *weight, const ref_window *window, int64_t groups, const ref *gy, ref *gx,
                     ref *gweight, ref *gbias) {
    images g = images_of(x, weight, window, groups);
    each_tap(&(taps){ .x = x, .weight = weight, .gy = gy, .gx = gx, .gweight = gweight }, &g, window);
    for (int64_t i = 0; gbias && i < gy->count; i++) add_product(gbias, i / (g.out_h * g.out_w) % g.out_c, gy->v[i], 1);
    if (gx) set_terms(gx, g.group_out * window->kernel[0] * window->kernel[1]);
    if (gweight) set_terms(gweight, g.n * g.out_h * g.out_w);
    if (gbias) set_terms(gbias, g.n * g.out_h * g.out_w);
}
