/* Pooling and resampling. Each operator is a list of links: element `out` of the result takes `weight` times element
 * `in` of the operand. The forward pass follows them one way, the gradient the other. */
#include "tests/reference/rows.h"

#include <math.h>
#include <stdlib.h>

/* ---- links --------------------------------------------------------------------------------------- */

/* to += weight from, which runs forward from x to y, or back from gy to g. */
typedef struct links {
    bool back;
    const ref *from;
    ref *to;
    double *terms; /* of each element of `to` */
} links;

static void link(links *l, int64_t out, int64_t in, double weight) {
    int64_t to = l->back ? in : out, from = l->back ? out : in;
    l->to->v[to] += weight * l->from->v[from];
    l->to->abs[to] += fabs(weight * l->from->v[from]);
    l->terms[to]++;
}

/* x: the operand, whose values matter to a maximum alone; out: the result's shape. */
typedef void list_links(links *l, const ref *x, const tuff_shape *out, const recipe_args *a);

static void follow(list_links *list, links *l, const ref *x, const tuff_shape *out, const recipe_args *a) {
    l->terms = calloc((size_t)l->to->count + 1, sizeof *l->terms);
    list(l, x, out, a);
    for (int64_t i = 0; i < l->to->count; i++) l->to->terms = fmax(l->to->terms, l->terms[i]);
    free(l->terms);
}

static ref *forward(list_links *list, const ref *x, tuff_shape out, const recipe_args *a) {
    ref *y = ref_new(out);
    follow(list, &(links){ .from = x, .to = y }, x, &out, a);
    return y;
}

static void backward(list_links *list, const ref *x, const ref *gy, ref *g, const recipe_args *a) {
    if (g) follow(list, &(links){ .back = true, .from = gy, .to = g }, x, &gy->shape, a);
}

#define LINKED(NAME, SHAPE)                                                                                            \
    FORWARD(NAME##_forward) {                                                                                          \
        return forward(NAME##_links, in[0], SHAPE, a);                                                                 \
    }                                                                                                                  \
    GRADIENT(NAME##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        backward(NAME##_links, in[0], gy, g[0], a);                                                                    \
    }

/* ---- planes: everything is done to each one, the last `axes` axes -------------------------------- */

/* Height and width of a plane; a sequence has the height 1. */
static void plane_size(const tuff_shape *shape, int axes, int64_t *size) {
    size[0] = axes == 2 ? shape->sizes[shape->rank - 2] : 1;
    size[1] = shape->sizes[shape->rank - 1];
}

static tuff_shape with_planes(tuff_shape shape, int axes, const int64_t *size) {
    if (axes == 2) shape.sizes[shape.rank - 2] = size[0];
    shape.sizes[shape.rank - 1] = size[1];
    return shape;
}

/* ---- windows ------------------------------------------------------------------------------------- */

typedef struct pool {
    int axes;
    ref_window window;
    bool ceil_mode;
    int64_t count[2]; /* not 0: adaptive */
} pool;

static pool pool_of(const recipe_args *a, int axes) {
    pool p = { .axes = axes, .ceil_mode = arg_flag(a, "ceil_mode", false) };
    ref_window *w = &p.window;
    int first = 2 - axes;
    w->kernel[0] = w->stride[0] = w->dilation[0] = 1;
    arg_sizes(a, "kernel_size", w->kernel + first, axes, 0);
    arg_sizes(a, "stride", w->stride + first, axes, 0);
    arg_sizes(a, "padding", w->padding + first, axes, 0);
    arg_sizes(a, "dilation", w->dilation + first, axes, 1);
    for (int i = 0; i < 2; i++)
        if (!w->stride[i]) w->stride[i] = w->kernel[i];
    if (arg_given(a, "output_size")) p.count[0] = 1;
    arg_sizes(a, "output_size", p.count + first, axes, 0);
    return p;
}

static tuff_shape pooled_shape(const ref *x, const pool *p) {
    int64_t size[2], count[2];
    plane_size(&x->shape, p->axes, size);
    for (int i = 0; i < 2; i++) {
        const ref_window *w = &p->window;
        double room = (double)(size[i] + 2 * w->padding[i] - w->dilation[i] * (w->kernel[i] - 1) - 1);
        double steps = room / (double)w->stride[i];
        count[i] = p->count[0] ? p->count[i] : (int64_t)(p->ceil_mode ? ceil(steps) : floor(steps)) + 1;
        /* the last window must start within the image or before it */
        if (!p->count[0] && (count[i] - 1) * w->stride[i] >= size[i] + w->padding[i]) count[i]--;
    }
    return with_planes(x->shape, p->axes, count);
}

/* One window along one axis: begin, begin + step, ... below end, within the image; its length with padding. */
typedef struct span {
    int64_t begin, end, step, padded;
} span;

static span span_of(const pool *p, int axis, int64_t size, int64_t count, int64_t o) {
    const ref_window *w = &p->window;
    if (p->count[0]) {
        double share = (double)size / (double)count;
        return (span){ (int64_t)floor((double)o * share), (int64_t)ceil((double)(o + 1) * share), 1, 0 };
    }
    span s = { .begin = o * w->stride[axis] - w->padding[axis], .step = w->dilation[axis] };
    s.end = s.begin + w->dilation[axis] * (w->kernel[axis] - 1) + 1;
    if (s.end > size + w->padding[axis]) s.end = size + w->padding[axis];
    s.padded = s.end - s.begin;
    while (s.begin < 0) s.begin += s.step;
    if (s.end > size) s.end = size;
    return s;
}

/* Calls for every window: rows and columns of plane `plane` of x make element `out`. */
typedef void each_window(links *l, const ref *x, int64_t out, int64_t start, int64_t width, span rows, span columns,
                         const recipe_args *a);

static void each_window_of(each_window *visit, links *l, const ref *x, const tuff_shape *out, const recipe_args *a,
                           int axes) {
    pool p = pool_of(a, axes);
    int64_t size[2], count[2];
    plane_size(&x->shape, axes, size);
    plane_size(out, axes, count);
    for (int64_t i = 0; i < ref_count(out); i++) {
        int64_t plane = i / (count[0] * count[1]), row = i / count[1] % count[0], column = i % count[1];
        visit(l, x, i, plane * size[0] * size[1], size[1], span_of(&p, 0, size[0], count[0], row),
              span_of(&p, 1, size[1], count[1], column), a);
    }
}

/* The first largest element. */
static void max_window(links *l, const ref *x, int64_t out, int64_t start, int64_t width, span rows, span columns,
                       const recipe_args *a) {
    (void)a;
    int64_t best = -1;
    for (int64_t row = rows.begin; row < rows.end; row += rows.step)
        for (int64_t column = columns.begin; column < columns.end; column += columns.step) {
            int64_t at = start + row * width + column;
            if (best < 0 || x->v[at] > x->v[best]) best = at;
        }
    link(l, out, best, 1);
}

static void avg_window(links *l, const ref *x, int64_t out, int64_t start, int64_t width, span rows, span columns,
                       const recipe_args *a) {
    (void)x;
    int64_t inside = (rows.end - rows.begin) * (columns.end - columns.begin);
    bool padding_counts = arg_flag(a, "count_include_pad", true) && rows.padded;
    int64_t divisor = arg_int(a, "divisor_override", padding_counts ? rows.padded * columns.padded : inside);
    for (int64_t row = rows.begin; row < rows.end; row++)
        for (int64_t column = columns.begin; column < columns.end; column++)
            link(l, out, start + row * width + column, 1.0 / (double)divisor);
}

#define POOL(KIND, NAME, AXES)                                                                                         \
    static void NAME##_links(links *l, const ref *x, const tuff_shape *out, const recipe_args *a) {                    \
        each_window_of(KIND##_window, l, x, out, a, AXES);                                                             \
    }                                                                                                                  \
    static tuff_shape NAME##_shape(const ref *x, const recipe_args *a) {                                               \
        pool p = pool_of(a, AXES);                                                                                     \
        return pooled_shape(x, &p);                                                                                    \
    }                                                                                                                  \
    LINKED(NAME, NAME##_shape(in[0], a))
POOL(max, max_pool1d, 1)
POOL(max, max_pool2d, 2)
POOL(avg, avg_pool1d, 1)
POOL(avg, avg_pool2d, 2)
POOL(max, adaptive_max_pool1d, 1)
POOL(max, adaptive_max_pool2d, 2)
POOL(avg, adaptive_avg_pool1d, 1)
POOL(avg, adaptive_avg_pool2d, 2)

/* The smallest gap between two elements of a plane: no window has a smaller one. Zeros are exact. */
static double smallest_gap(const ref *x, int axes) {
    int64_t size[2];
    double nearest = INFINITY;
    plane_size(&x->shape, axes, size);
    for (int64_t i = 0; i < x->count; i++)
        for (int64_t j = 0; j < i; j++) {
            bool zeros = x->v[i] == 0 && x->v[j] == 0;
            if (i / (size[0] * size[1]) == j / (size[0] * size[1]) && !zeros)
                nearest = fmin(nearest, fabs(x->v[i] - x->v[j]));
        }
    return nearest;
}
KINK(kink_1d) {
    (void)a, (void)y;
    return smallest_gap(in[0], 1);
}
KINK(kink_2d) {
    (void)a, (void)y;
    return smallest_gap(in[0], 2);
}

/* ---- interpolate --------------------------------------------------------------------------------- */

/* The size of an axis afterwards, and in *scale the factor of its coordinates. */
static int64_t interpolated_size(const recipe_args *a, int axes, int axis, int64_t size, double *scale) {
    int64_t sizes[2] = { 0 };
    double factors[2] = { 0 };
    arg_sizes(a, "size", sizes, axes, 0);
    arg_numbers(a, "scale_factor", factors, axes, 0);
    if (axes == 1 && axis == 0) return *scale = 1, 1;
    int at = axis - (2 - axes);
    int64_t out = sizes[0] ? sizes[at] : (int64_t)((double)size * factors[at]);
    *scale = sizes[0] || arg_flag(a, "recompute_scale_factor", false) ? (double)out / (double)size : factors[at];
    return out;
}

static tuff_shape interpolated_shape(const ref *x, const recipe_args *a) {
    int axes = (int)x->shape.rank - 2;
    int64_t size[2], out[2];
    double scale;
    plane_size(&x->shape, axes, size);
    for (int axis = 0; axis < 2; axis++) out[axis] = interpolated_size(a, axes, axis, size[axis], &scale);
    return with_planes(x->shape, axes, out);
}

static double cubic_weight(double distance) {
    double a = -0.75, x = fabs(distance);
    if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
    return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

/* The weight that pixel `in` of `size` has in pixel o of `count`. */
static double interpolated_weight(const recipe_args *a, int64_t in, int64_t size, int64_t o, int64_t count,
                                  double scale) {
    bool aligned = arg_flag(a, "align_corners", false), cubic = arg_is(a, "mode", "bicubic");
    double last = (double)(size - 1), weight = 0;
    if (arg_is(a, "mode", "area")) {
        double begin = floor((double)(o * size) / (double)count), end = ceil((double)((o + 1) * size) / (double)count);
        return (double)in >= begin && (double)in < end ? 1 / (end - begin) : 0;
    }
    if (!arg_given(a, "mode") || arg_is(a, "mode", "nearest") || arg_is(a, "mode", "nearest-exact")) {
        /* PyTorch's float32: here a rounding error moves whole pixels */
        float half = arg_is(a, "mode", "nearest-exact") ? 0.5f : 0, step = (float)(1 / scale);
        if (fabs(scale * (double)size - (double)count) < 1e-6) step = (float)size / (float)count;
        return fmin(floorf(((float)o + half) * step), last) == (double)in;
    }
    double at = ((double)o + 0.5) / scale - 0.5;
    if (aligned) at = count > 1 ? (double)o * last / (double)(count - 1) : 0;
    if (!cubic) {
        at = count == size ? (double)o : fmin(fmax(at, 0), last);
        return fmax(0, 1 - fabs(at - (double)in));
    }
    for (double tap = floor(at) - 1; tap < floor(at) + 3; tap++)
        if (fmin(fmax(tap, 0), last) == (double)in) weight += cubic_weight(at - tap);
    return weight;
}

static void interpolate_links(links *l, const ref *x, const tuff_shape *out, const recipe_args *a) {
    int axes = (int)x->shape.rank - 2;
    int64_t size[2], count[2];
    double scale[2];
    plane_size(&x->shape, axes, size);
    for (int axis = 0; axis < 2; axis++) count[axis] = interpolated_size(a, axes, axis, size[axis], &scale[axis]);
    for (int64_t i = 0; i < ref_count(out); i++)
        for (int64_t row = 0; row < size[0]; row++) {
            double height =
                axes == 1 ? 1 : interpolated_weight(a, row, size[0], i / count[1] % count[0], count[0], scale[0]);
            for (int64_t column = 0; height != 0 && column < size[1]; column++) {
                double width = interpolated_weight(a, column, size[1], i % count[1], count[1], scale[1]);
                int64_t at = (i / (count[0] * count[1]) * size[0] + row) * size[1] + column;
                if (width != 0) link(l, i, at, height * width);
            }
        }
}
LINKED(interpolate, interpolated_shape(in[0], a))

/* ---- unfold, fold -------------------------------------------------------------------------------- */

static void patches_of(const recipe_args *a, ref_window *w) {
    arg_sizes(a, "kernel_size", w->kernel, 2, 0);
    arg_sizes(a, "stride", w->stride, 2, 1);
    arg_sizes(a, "padding", w->padding, 2, 0);
    arg_sizes(a, "dilation", w->dilation, 2, 1);
}

static int64_t patch_count(const ref_window *w, int axis, int64_t size) {
    return (size + 2 * w->padding[axis] - w->dilation[axis] * (w->kernel[axis] - 1) - 1) / w->stride[axis] + 1;
}

/* Every pixel of planes of this size with its place in the columns. */
static void each_patch(links *l, const recipe_args *a, int64_t planes, const int64_t *size, bool folds) {
    ref_window w;
    patches_of(a, &w);
    int64_t taps = w.kernel[0] * w.kernel[1], down = patch_count(&w, 0, size[0]), across = patch_count(&w, 1, size[1]);
    for (int64_t row = 0; row < planes * taps; row++)
        for (int64_t i = 0; i < down * across; i++) {
            int64_t tap = row % taps, plane = row / taps;
            int64_t y = i / across * w.stride[0] - w.padding[0] + tap / w.kernel[1] * w.dilation[0];
            int64_t x = i % across * w.stride[1] - w.padding[1] + tap % w.kernel[1] * w.dilation[1];
            int64_t pixel = (plane * size[0] + y) * size[1] + x, column = row * down * across + i;
            if (y < 0 || y >= size[0] || x < 0 || x >= size[1]) continue;
            if (folds)
                link(l, pixel, column, 1);
            else
                link(l, column, pixel, 1);
        }
}

static tuff_shape unfold_shape(const ref *x, const recipe_args *a) {
    ref_window w;
    patches_of(a, &w);
    tuff_shape shape = x->shape;
    const int64_t *size = x->shape.sizes + shape.rank - 2;
    shape.rank--;
    shape.sizes[shape.rank - 2] *= w.kernel[0] * w.kernel[1];
    shape.sizes[shape.rank - 1] = patch_count(&w, 0, size[0]) * patch_count(&w, 1, size[1]);
    return shape;
}
static void unfold_links(links *l, const ref *x, const tuff_shape *out, const recipe_args *a) {
    (void)out;
    const int64_t *size = x->shape.sizes + x->shape.rank - 2;
    each_patch(l, a, x->count / (size[0] * size[1]), size, false);
}
LINKED(unfold, unfold_shape(in[0], a))

static tuff_shape fold_shape(const ref *x, const recipe_args *a) {
    ref_window w;
    patches_of(a, &w);
    tuff_shape shape = x->shape;
    shape.sizes[shape.rank - 2] /= w.kernel[0] * w.kernel[1];
    arg_sizes(a, "output_size", shape.sizes + shape.rank - 1, 2, 0);
    shape.rank++;
    return shape;
}
static void fold_links(links *l, const ref *x, const tuff_shape *out, const recipe_args *a) {
    (void)x;
    const int64_t *size = out->sizes + out->rank - 2;
    each_patch(l, a, ref_count(out) / (size[0] * size[1]), size, true);
}
LINKED(fold, fold_shape(in[0], a))

/* ---- pixel_shuffle ------------------------------------------------------------------------------- */

static tuff_shape shuffled(const ref *x, int64_t r, bool up) {
    tuff_shape shape = x->shape;
    int64_t *size = shape.sizes + shape.rank - 3;
    size[0] = up ? size[0] / (r * r) : size[0] * r * r;
    for (int axis = 1; axis < 3; axis++) size[axis] = up ? size[axis] * r : size[axis] / r;
    return shape;
}

/* Every pixel of planes with r x r as many pixels as those of (c, i, j). */
static void each_shuffle(links *l, const tuff_shape *large, int64_t r, bool up) {
    int64_t height = large->sizes[large->rank - 2], width = large->sizes[large->rank - 1];
    for (int64_t at = 0; at < ref_count(large); at++) {
        int64_t plane = at / (height * width), y = at / width % height, x = at % width;
        int64_t small = ((plane * r * r + y % r * r + x % r) * (height / r) + y / r) * (width / r) + x / r;
        if (up)
            link(l, at, small, 1);
        else
            link(l, small, at, 1);
    }
}
static void pixel_shuffle_links(links *l, const ref *x, const tuff_shape *out, const recipe_args *a) {
    (void)x;
    each_shuffle(l, out, arg_int(a, "upscale_factor", 1), true);
}
LINKED(pixel_shuffle, shuffled(in[0], arg_int(a, "upscale_factor", 1), true))
static void pixel_unshuffle_links(links *l, const ref *x, const tuff_shape *out, const recipe_args *a) {
    (void)out;
    each_shuffle(l, &x->shape, arg_int(a, "downscale_factor", 1), false);
}
LINKED(pixel_unshuffle, shuffled(in[0], arg_int(a, "downscale_factor", 1), false))

static const recipe_operator rows[] = {
    KINKED(max_pool1d, "pooling", kink_1d),
    KINKED(max_pool2d, "pooling", kink_2d),
    ROW(avg_pool1d, "pooling"),
    ROW(avg_pool2d, "pooling"),
    KINKED(adaptive_max_pool1d, "pooling", kink_1d),
    KINKED(adaptive_max_pool2d, "pooling", kink_2d),
    ROW(adaptive_avg_pool1d, "pooling"),
    ROW(adaptive_avg_pool2d, "pooling"),
    ROW(interpolate, "pooling"),
    ROW(unfold, "pooling"),
    ROW(fold, "pooling"),
    ROW(pixel_shuffle, "pooling"),
    ROW(pixel_unshuffle, "pooling"),
};
const recipe_family ROWS_POOLING = { rows, sizeof rows / sizeof *rows };
