/* Convolutions over one, two or three axes: y[n, o, p] = bias[o] + sum over c, t of x[n, c, p stride - padding + t
 * dilation] w[o, c, t]; and transposed ones, in which x and y change places. */
#include "reference.h"

#include <math.h>

/* The two sides that meet under the taps: `image` is a convolution's x, `grid` its y, with three axes each, of which
 * missing ones in front have size 1. Each triple of elements adds the product of two of them to the third's. */
typedef struct sides {
    int64_t image[3], grid[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t images, group_image, group_grid, groups; /* channels of a group */
    const ref *from_image, *from_grid, *from_weight;
    ref *to_image, *to_grid, *to_weight;
} sides;

static sides sides_of(const tuff_shape *image, const tuff_shape *grid, const ref *weight, const ref_convolution *c) {
    sides s = { .images = image->sizes[0], .groups = c->groups };
    int missing = 5 - (int)image->rank;
    s.group_image = image->sizes[1] / c->groups;
    s.group_grid = grid->sizes[1] / c->groups;
    for (int i = 0; i < 3; i++) {
        bool is = i >= missing;
        s.image[i] = is ? image->sizes[2 + i - missing] : 1;
        s.grid[i] = is ? grid->sizes[2 + i - missing] : 1;
        s.kernel[i] = is ? weight->shape.sizes[2 + i - missing] : 1;
        s.stride[i] = is ? c->stride[i - missing] : 1;
        s.padding[i] = is ? c->padding[i - missing] : 0;
        s.dilation[i] = is ? c->dilation[i - missing] : 1;
    }
    return s;
}

static void add_product(ref *y, int64_t i, double a, double b) {
    y->v[i] += a * b;
    y->abs[i] += fabs(a * b);
}

static int64_t product_of(const int64_t sizes[3]) {
    return sizes[0] * sizes[1] * sizes[2];
}

/* The row-major position `flat` in a box of these sizes. */
static void position(int64_t flat, const int64_t sizes[3], int64_t at[3]) {
    for (int i = 2; i >= 0; i--) {
        at[i] = flat % sizes[i];
        flat /= sizes[i];
    }
}

/* The pixel of the image that a pixel of the grid meets under a tap; -1 outside. */
static int64_t pixel_met(const sides *s, int64_t pixel, int64_t tap) {
    int64_t p[3], t[3], met = 0;
    position(pixel, s->grid, p);
    position(tap, s->kernel, t);
    for (int i = 0; i < 3; i++) {
        int64_t at = p[i] * s->stride[i] - s->padding[i] + t[i] * s->dilation[i];
        if (at < 0 || at >= s->image[i]) return -1;
        met = met * s->image[i] + at;
    }
    return met;
}

static void meet(const sides *s, int64_t image_at, int64_t grid_at, int64_t weight_at) {
    const ref *x = s->from_image, *y = s->from_grid, *w = s->from_weight;
    if (s->to_grid) add_product(s->to_grid, grid_at, x->v[image_at], w->v[weight_at]);
    if (s->to_image) add_product(s->to_image, image_at, y->v[grid_at], w->v[weight_at]);
    if (s->to_weight) add_product(s->to_weight, weight_at, x->v[image_at], y->v[grid_at]);
}

static void meet_all(const sides *s) {
    int64_t image_size = product_of(s->image), grid_size = product_of(s->grid), taps = product_of(s->kernel);
    for (int64_t pixel = 0; pixel < grid_size; pixel++)
        for (int64_t tap = 0; tap < taps; tap++) {
            int64_t met = pixel_met(s, pixel, tap);
            if (met < 0) continue;
            for (int64_t n = 0; n < s->images; n++)
                for (int64_t o = 0; o < s->groups * s->group_grid; o++)
                    for (int64_t c = 0; c < s->group_image; c++) {
                        int64_t channel = o / s->group_grid * s->group_image + c;
                        meet(s, (n * s->groups * s->group_image + channel) * image_size + met,
                             (n * s->groups * s->group_grid + o) * grid_size + pixel,
                             (o * s->group_image + c) * taps + tap);
                    }
        }
    if (s->to_grid) s->to_grid->terms = fmax(s->to_grid->terms, (double)(s->group_image * taps + 1));
    if (s->to_image) s->to_image->terms = fmax(s->to_image->terms, (double)(s->group_grid * taps + 1));
    if (s->to_weight) s->to_weight->terms = fmax(s->to_weight->terms, (double)(s->images * grid_size));
}

static void add_bias(ref *y, const ref *bias) {
    int64_t channels = y->shape.sizes[1], pixels = y->count / y->shape.sizes[0] / channels;
    for (int64_t i = 0; bias && i < y->count; i++) add_product(y, i, bias->v[i / pixels % channels], 1);
}

static void grad_bias(const ref *gy, ref *gbias) {
    int64_t channels = gy->shape.sizes[1], pixels = gy->count / gy->shape.sizes[0] / channels;
    if (!gbias) return;
    for (int64_t i = 0; i < gy->count; i++) add_product(gbias, i / pixels % channels, gy->v[i], 1);
    gbias->terms = fmax(gbias->terms, (double)(gy->count / channels));
}

ref *ref_conv(const ref *x, const ref *weight, const ref *bias, const ref_convolution *c) {
    tuff_shape shape = { .rank = x->shape.rank, .sizes = { x->shape.sizes[0], weight->shape.sizes[0] } };
    for (uint32_t i = 2; i < shape.rank; i++) {
        int64_t reach = c->dilation[i - 2] * (weight->shape.sizes[i] - 1) + 1;
        shape.sizes[i] = (x->shape.sizes[i] + c->padding[i - 2] + c->behind[i - 2] - reach) / c->stride[i - 2] + 1;
    }
    ref *y = ref_new(shape);
    sides s = sides_of(&x->shape, &shape, weight, c);
    s.from_image = x;
    s.from_weight = weight;
    s.to_grid = y;
    meet_all(&s);
    add_bias(y, bias);
    return y;
}

void ref_conv_grad(const ref *x, const ref *weight, const ref_convolution *c, const ref *gy, ref *gx, ref *gweight,
                   ref *gbias) {
    sides s = sides_of(&x->shape, &gy->shape, weight, c);
    s.from_image = x;
    s.from_weight = weight;
    s.from_grid = gy;
    s.to_image = gx;
    s.to_weight = gweight;
    meet_all(&s);
    grad_bias(gy, gbias);
}

ref *ref_conv_transpose(const ref *x, const ref *weight, const ref *bias, const ref_convolution *c) {
    tuff_shape shape = { .rank = x->shape.rank, .sizes = { x->shape.sizes[0], weight->shape.sizes[1] * c->groups } };
    for (uint32_t i = 2; i < shape.rank; i++)
        shape.sizes[i] = (x->shape.sizes[i] - 1) * c->stride[i - 2] - 2 * c->padding[i - 2]
                         + c->dilation[i - 2] * (weight->shape.sizes[i] - 1) + c->behind[i - 2] + 1;
    ref *y = ref_new(shape);
    sides s = sides_of(&shape, &x->shape, weight, c);
    s.from_grid = x;
    s.from_weight = weight;
    s.to_image = y;
    meet_all(&s);
    add_bias(y, bias);
    return y;
}

void ref_conv_transpose_grad(const ref *x, const ref *weight, const ref_convolution *c, const ref *gy, ref *gx,
                             ref *gweight, ref *gbias) {
    sides s = sides_of(&gy->shape, &x->shape, weight, c);
    s.from_grid = x;
    s.from_weight = weight;
    s.from_image = gy;
    s.to_grid = gx;
    s.to_weight = gweight;
    meet_all(&s);
    grad_bias(gy, gbias);
}
