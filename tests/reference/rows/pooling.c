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

/* ---- windows: over depth, height and width, of which the first may not be there ------------------ */

typedef struct pool {
    int axes;
    int64_t kernel[3], stride[3], padding[3], dilation[3];
    bool ceil_mode;
    int64_t count[3]; /* not 0: adaptive */
} pool;

static pool pool_of(const recipe_args *a, int axes) {
    pool p = { .axes = axes, .ceil_mode = arg_flag(a, "ceil_mode", false) };
    int first = 3 - axes;
    for (int i = 0; i < 3; i++) {
        p.kernel[i] = p.dilation[i] = 1;
        if (arg_given(a, "output_size")) p.count[i] = 1;
    }
    arg_sizes(a, "kernel_size", p.kernel + first, axes, 0);
    arg_sizes(a, "stride", p.stride + first, axes, 0);
    arg_sizes(a, "padding", p.padding + first, axes, 0);
    arg_sizes(a, "dilation", p.dilation + first, axes, 1);
    arg_sizes(a, "output_size", p.count + first, axes, 0);
    for (int i = 0; i < 3; i++)
        if (!p.stride[i]) p.stride[i] = p.kernel[i];
    return p;
}

/* 1 for axes that are not there. */
static void volume_size(const tuff_shape *shape, int axes, int64_t *size) {
    for (int i = 0; i < 3; i++) size[i] = i < 3 - axes ? 1 : shape->sizes[(int)shape->rank - 3 + i];
}

static tuff_shape pooled_shape(const ref *x, const pool *p) {
    tuff_shape shape = x->shape;
    for (int i = 3 - p->axes; i < 3; i++) {
        int64_t *size = &shape.sizes[(int)shape.rank - 3 + i], room, count;
        room = *size + 2 * p->padding[i] - p->dilation[i] * (p->kernel[i] - 1) - 1;
        double steps = (double)room / (double)p->stride[i];
        count = (int64_t)(p->ceil_mode ? ceil(steps) : floor(steps)) + 1;
        /* the last window must start within the image or before it */
        if ((count - 1) * p->stride[i] >= *size + p->padding[i]) count--;
        *size = p->count[i] ? p->count[i] : count;
    }
    return shape;
}

/* One window along one axis: begin, begin + step, ... below end, within the image; its length with padding. */
typedef struct span {
    int64_t begin, end, step, padded;
} span;

static span span_of(const pool *p, int axis, int64_t size, int64_t count, int64_t o) {
    if (p->count[axis]) {
        double share = (double)size / (double)count;
        return (span){ (int64_t)floor((double)o * share + 1e-9), (int64_t)ceil((double)(o + 1) * share - 1e-9), 1, 0 };
    }
    span s = { .begin = o * p->stride[axis] - p->padding[axis], .step = p->dilation[axis] };
    s.end = s.begin + p->dilation[axis] * (p->kernel[axis] - 1) + 1;
    if (s.end > size + p->padding[axis]) s.end = size + p->padding[axis];
    s.padded = s.end - s.begin;
    while (s.begin < 0) s.begin += s.step;
    if (s.end > size) s.end = size;
    return s;
}

/* A window: its spans, and where its volume starts in x. */
typedef struct window {
    span axes[3];
    int64_t start, size[3];
} window;

static int64_t window_element(const window *w, int64_t depth, int64_t row, int64_t column) {
    return w->start + (depth * w->size[1] + row) * w->size[2] + column;
}

/* Calls for every window of x, which makes element `out`. */
typedef void each_window(links *l, const ref *x, int64_t out, const window *w, const recipe_args *a);

static void each_window_of(each_window *visit, links *l, const ref *x, const tuff_shape *out, const recipe_args *a,
                           int axes) {
    pool p = pool_of(a, axes);
    window w;
    int64_t count[3];
    volume_size(&x->shape, axes, w.size);
    volume_size(out, axes, count);
    for (int64_t i = 0; i < ref_count(out); i++) {
        int64_t rest = i;
        for (int axis = 3; axis-- > 0; rest /= count[axis])
            w.axes[axis] = span_of(&p, axis, w.size[axis], count[axis], rest % count[axis]);
        w.start = rest * w.size[0] * w.size[1] * w.size[2];
        visit(l, x, i, &w, a);
    }
}

/* The first largest element. */
static void max_window(links *l, const ref *x, int64_t out, const window *w, const recipe_args *a) {
    (void)a;
    const span *s = w->axes;
    int64_t best = -1;
    for (int64_t depth = s[0].begin; depth < s[0].end; depth += s[0].step)
        for (int64_t row = s[1].begin; row < s[1].end; row += s[1].step)
            for (int64_t column = s[2].begin; column < s[2].end; column += s[2].step) {
                int64_t at = window_element(w, depth, row, column);
                if (best < 0 || x->v[at] > x->v[best]) best = at;
            }
    link(l, out, best, 1);
}

static void avg_window(links *l, const ref *x, int64_t out, const window *w, const recipe_args *a) {
    (void)x;
    const span *s = w->axes;
    int64_t inside = 1, padded = 1;
    for (int axis = 0; axis < 3; axis++) {
        inside *= s[axis].end - s[axis].begin;
        padded *= s[axis].padded;
    }
    bool padding_counts = arg_flag(a, "count_include_pad", true) && !arg_given(a, "output_size");
    int64_t divisor = arg_int(a, "divisor_override", padding_counts ? padded : inside);
    for (int64_t depth = s[0].begin; depth < s[0].end; depth++)
        for (int64_t row = s[1].begin; row < s[1].end; row++)
            for (int64_t column = s[2].begin; column < s[2].end; column++)
                link(l, out, window_element(w, depth, row, column), 1.0 / (double)divisor);
}

/* The smallest gap between two elements of a volume: no window has a smaller one. Zeros are exact. */
static double smallest_gap(const ref *x, int axes) {
    int64_t size[3];
    double nearest = INFINITY;
    volume_size(&x->shape, axes, size);
    int64_t all = size[0] * size[1] * size[2];
    for (int64_t i = 0; i < x->count; i++)
        for (int64_t j = 0; j < i; j++) {
            bool zeros = x->v[i] == 0 && x->v[j] == 0;
            if (i / all == j / all && !zeros) nearest = fmin(nearest, fabs(x->v[i] - x->v[j]));
        }
    return nearest;
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
#define MAX_POOL(NAME, AXES)                                                                                           \
    POOL(max, NAME, AXES)                                                                                              \
    KINK(NAME##_kink) {                                                                                                \
        (void)a, (void)y;                                                                                              \
        return smallest_gap(in[0], AXES);                                                                              \
    }
MAX_POOL(max_pool1d, 1)
MAX_POOL(max_pool2d, 2)
MAX_POOL(max_pool3d, 3)
POOL(avg, avg_pool1d, 1)
POOL(avg, avg_pool2d, 2)
POOL(avg, avg_pool3d, 3)
MAX_POOL(adaptive_max_pool1d, 1)
MAX_POOL(adaptive_max_pool2d, 2)
MAX_POOL(adaptive_max_pool3d, 3)
POOL(avg, adaptive_avg_pool1d, 1)
POOL(avg, adaptive_avg_pool2d, 2)
POOL(avg, adaptive_avg_pool3d, 3)

/* ---- interpolate --------------------------------------------------------------------------------- */

/* The size of an axis (0 is the depth) afterwards, and in *scale the factor of its coordinates. */
static int64_t interpolated_size(const recipe_args *a, int axes, int axis, int64_t size, double *scale) {
    int64_t sizes[3] = { 0 };
    double factors[3] = { 0 };
    arg_sizes(a, "size", sizes, axes, 0);
    arg_numbers(a, "scale_factor", factors, axes, 0);
    int at = axis - (3 - axes);
    if (at < 0) return *scale = 1, 1;
    int64_t out = sizes[0] ? sizes[at] : (int64_t)((double)size * factors[at]);
    *scale = sizes[0] || arg_flag(a, "recompute_scale_factor", false) ? (double)out / (double)size : factors[at];
    return out;
}

static tuff_shape interpolated_shape(const ref *x, const recipe_args *a) {
    int axes = (int)x->shape.rank - 2;
    tuff_shape shape = x->shape;
    double scale;
    for (int at = 0; at < axes; at++)
        shape.sizes[2 + at] = interpolated_size(a, axes, at + 3 - axes, x->shape.sizes[2 + at], &scale);
    return shape;
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

/* Along depth, height and width. */
static void interpolate_links(links *l, const ref *x, const tuff_shape *out, const recipe_args *a) {
    int axes = (int)x->shape.rank - 2;
    int64_t size[3], count[3], at[3];
    double scale[3];
    volume_size(&x->shape, axes, size);
    for (int axis = 0; axis < 3; axis++) count[axis] = interpolated_size(a, axes, axis, size[axis], &scale[axis]);
    int64_t volume = size[0] * size[1] * size[2];
    for (int64_t i = 0; i < ref_count(out); i++) {
        int64_t rest = i;
        for (int axis = 3; axis-- > 0; rest /= count[axis]) at[axis] = rest % count[axis];
        for (int64_t in = 0; in < volume; in++) {
            int64_t from[3] = { in / (size[1] * size[2]), in / size[2] % size[1], in % size[2] };
            double weight = 1;
            for (int axis = 3 - axes; axis < 3 && weight != 0; axis++)
                weight *= interpolated_weight(a, from[axis], size[axis], at[axis], count[axis], scale[axis]);
            if (weight != 0) link(l, i, rest * volume + in, weight);
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
    KINKED(max_pool1d, "pooling", max_pool1d_kink),
    KINKED(max_pool2d, "pooling", max_pool2d_kink),
    KINKED(max_pool3d, "pooling", max_pool3d_kink),
    ROW(avg_pool1d, "pooling"),
    ROW(avg_pool2d, "pooling"),
    ROW(avg_pool3d, "pooling"),
    KINKED(adaptive_max_pool1d, "pooling", adaptive_max_pool1d_kink),
    KINKED(adaptive_max_pool2d, "pooling", adaptive_max_pool2d_kink),
    KINKED(adaptive_max_pool3d, "pooling", adaptive_max_pool3d_kink),
    ROW(adaptive_avg_pool1d, "pooling"),
    ROW(adaptive_avg_pool2d, "pooling"),
    ROW(adaptive_avg_pool3d, "pooling"),
    ROW(interpolate, "pooling"),
    ROW(unfold, "pooling"),
    ROW(fold, "pooling"),
    ROW(pixel_shuffle, "pooling"),
    ROW(pixel_unshuffle, "pooling"),
};
const recipe_family ROWS_POOLING = { rows, sizeof rows / sizeof *rows };
