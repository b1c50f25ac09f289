/* Pooling of volumes (N, C, D, H, W), images (N, C, H, W) and sequences (N, C, L), with N or without. All rows here are
 * composites: a sequence is an image of height 1, a volume is pooled slice by slice and then along its depth, which is
 * the height of images whose width is all pixels of a slice. Windows of equal sizes are layers/windows.c's, means over
 * unequal ones layers/resample.c's. */
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/resample.h"
#include "layers/windows.h"

#include <string.h>

enum { KERNEL = 0, STRIDE, PADDING };
enum { MAX_DILATION = 3, MAX_CEIL_MODE, MAX_COUNT };
enum { AVG_CEIL_MODE = 3, AVG_INCLUDE_PADDING, AVG_DIVISOR, AVG_COUNT };

#define WINDOW(N)                                                                                                      \
    [KERNEL] = { .name = "kernel_size", .type = ATTRIBUTE_INTS, .length = N, .required = true },                       \
    [STRIDE] = { .name = "stride", .type = ATTRIBUTE_INTS, .length = N, .like = "kernel_size" },                       \
    [PADDING] = { .name = "padding", .type = ATTRIBUTE_INTS, .length = N, .value.i = N }
#define MAX_WINDOW(N, ...)                                                                                             \
    {                                                                                                                  \
        WINDOW(N),                                                                                                     \
            [MAX_DILATION] = { .name = "dilation",                                                                     \
                               .type = ATTRIBUTE_INTS,                                                                 \
                               .length = N,                                                                            \
                               .value = { .i = N, .list = { __VA_ARGS__ } } },                                         \
            [MAX_CEIL_MODE] = {                                                                                        \
                .name = "ceil_mode",                                                                                   \
                .type = ATTRIBUTE_BOOL                                                                                 \
            }                                                                                                          \
    }
#define AVG_WINDOW(N)                                                                                                  \
    {                                                                                                                  \
        WINDOW(N), [AVG_CEIL_MODE] = { .name = "ceil_mode", .type = ATTRIBUTE_BOOL },                                  \
                   [AVG_INCLUDE_PADDING] = { .name = "count_include_pad", .type = ATTRIBUTE_BOOL, .value.i = true },   \
                   [AVG_DIVISOR] = {                                                                                   \
                       .name = "divisor_override",                                                                     \
                       .type = ATTRIBUTE_INT,                                                                          \
                       .value.i = ATTRIBUTE_NONE                                                                       \
                   }                                                                                                   \
    }

/* By the number of axes that are pooled, less 1. */
static const attribute max_attributes[3][MAX_COUNT] = { MAX_WINDOW(1, 1), MAX_WINDOW(2, 1, 1), MAX_WINDOW(3, 1, 1, 1) };
static const attribute avg_attributes[3][AVG_COUNT] = { AVG_WINDOW(1), AVG_WINDOW(2), AVG_WINDOW(3) };
static const attribute size_attribute[3][1] = {
    { { .name = "output_size", .type = ATTRIBUTE_INTS, .length = 1, .required = true } },
    { { .name = "output_size", .type = ATTRIBUTE_INTS, .length = 2, .required = true } },
    { { .name = "output_size", .type = ATTRIBUTE_INTS, .length = 3, .required = true } },
};

typedef struct pool_row {
    operator op;
    uint32_t axes;
    bool average, adaptive;
} pool_row;

static const pool_row *row_of(const operator* op) {
    return (const pool_row *)op; /* its first member */
}

/* ---- windows ------------------------------------------------------------------------------------- */

/* Of slices, and along the depth. */
typedef struct pool {
    windows plane, depth;
} pool;

/* Entry `at` of the lists for one axis of the windows. */
static void set_axis(const node *node, windows *w, uint32_t axis, uint32_t at) {
    const pool_row *row = row_of(node->op);
    const attribute_value *a = node->attributes;
    if (row->adaptive) {
        w->count[axis] = a[0].list[at];
        return;
    }
    w->kernel[axis] = a[KERNEL].list[at];
    w->stride[axis] = a[STRIDE].list[at];
    w->padding[axis] = a[PADDING].list[at];
    if (!row->average) w->dilation[axis] = a[MAX_DILATION].list[at];
}

/* The last axis is the plane's axis 1; heights and depths that are not there are pooled to themselves. */
static pool pool_of(const node *node) {
    const pool_row *row = row_of(node->op);
    const attribute_value *a = node->attributes;
    windows w = {
        .kernel = { 1, 1 }, .stride = { 1, 1 }, .dilation = { 1, 1 }, .adaptive = row->adaptive, .count = { 1, 1 }
    };
    if (!row->adaptive) w.ceil_mode = a[row->average ? AVG_CEIL_MODE : MAX_CEIL_MODE].i;
    if (!row->adaptive && row->average) w.exclude_padding = !a[AVG_INCLUDE_PADDING].i;
    pool p = { w, w };
    for (uint32_t at = 0; at < row->axes; at++) {
        bool depth = row->axes == 3 && at == 0;
        set_axis(node, depth ? &p.depth : &p.plane, depth ? 0 : at + 2 - row->axes, at);
    }
    if (!row->adaptive && row->average && row->axes > 1 && a[AVG_DIVISOR].i != ATTRIBUTE_NONE) {
        p.plane.divisor = a[AVG_DIVISOR].i;
        p.depth.divisor = 1;
    }
    return p;
}

/* Of the last axes, the first, second and third one from behind. */
static const char *const axis_names[] = { "width", "height", "depth" };

static tuff_result infer_pool(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    const pool_row *row = row_of(node->op);
    static const char *const shapes[] = { "(N, C, L) or (C, L)", "(N, C, H, W) or (C, H, W)",
                                          "(N, C, D, H, W) or (C, D, H, W)" };
    char text[160], shape[SHAPE_TEXT];
    if (x->shape.rank != row->axes + 1 && x->shape.rank != row->axes + 2)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape %s",
                          node_text(node, text), x->name, shape_text(&x->shape, shape), shapes[row->axes - 1]);
    if (!row->adaptive && row->average && row->axes > 1 && node->attributes[AVG_DIVISOR].i == 0)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: divisor_override is 0", node_text(node, text));
    pool p = pool_of(node);
    tuff_shape *out = &inference->shapes[0];
    *out = x->shape;
    for (uint32_t behind = 0; behind < row->axes; behind++) {
        const windows *w = behind == 2 ? &p.depth : &p.plane;
        uint32_t axis = behind == 0;
        int64_t *size = &out->sizes[out->rank - 1 - behind];
        TRY(windows_check(inference, w, axis, *size, axis_names[behind]));
        *size = window_count(w, axis, *size);
    }
    return TUFF_OK;
}

/* ---- images -------------------------------------------------------------------------------------- */

/* Window i of `count` covers the pixels from floor(i size / count) to ceil((i + 1) size / count). Where count divides
 * size they are windows of one size. */
static void make_even(windows *w, const tuff_tensor *x) {
    windows even = *w;
    for (uint32_t axis = 0; axis < 2; axis++) {
        int64_t size = x->shape.sizes[2 + axis];
        if (size % w->count[axis]) return;
        even.kernel[axis] = even.stride[axis] = size / w->count[axis];
    }
    even.adaptive = false;
    *w = even;
}

/* Of (N, C, H, W). */
static tuff_tensor *pool_images(tuff_tensor *x, windows w, bool average) {
    if (!x) return NULL;
    bool one = w.adaptive && w.count[0] == 1 && w.count[1] == 1;
    if (w.adaptive) make_even(&w, x);
    if (!average) return max_windows(x, &w);
    if (one) return tuff_mean(x, &(tuff_reduce_desc){ .axes = { 2, 3 }, .axis_count = 2, .keepdim = true });
    if (!w.adaptive) return average_windows(x, &w);
    return resample(x, &(resampling){ .mode = RESAMPLE_AREA, .size = { w.count[0], w.count[1] } });
}

/* (N, C, L) or (N, C, H, W). */
static tuff_tensor *pool_planes(tuff_tensor *x, const pool *p, bool average) {
    const int64_t *s = x->shape.sizes;
    if (x->shape.rank == 4) return pool_images(x, p->plane, average);
    x = pool_images(tuff_reshape(x, TUFF_SHAPE(-1, s[1], 1, s[2])), p->plane, average);
    return x ? tuff_reshape(x, TUFF_SHAPE(-1, x->shape.sizes[1], x->shape.sizes[3])) : NULL;
}

/* (N, C, D, H, W): slices first, so that the first of equal maxima is that of the first slice. */
static tuff_tensor *pool_volumes(tuff_tensor *x, pool p, bool average) {
    const int32_t exchange[] = { 0, 2, 1, 3, 4 }; /* of channels and depth */
    int64_t channels = x->shape.sizes[1], depth = x->shape.sizes[2];
    x = tuff_reshape(tuff_permute(x, exchange, 5), TUFF_SHAPE(-1, channels, x->shape.sizes[3], x->shape.sizes[4]));
    x = pool_images(x, p.plane, average);
    if (!x) return NULL;
    int64_t height = x->shape.sizes[2], width = x->shape.sizes[3];
    x = tuff_permute(tuff_reshape(x, TUFF_SHAPE(-1, depth, channels, height, width)), exchange, 5);
    x = tuff_reshape(x, TUFF_SHAPE(-1, channels, depth, height * width));
    p.depth.count[1] = height * width;
    x = pool_images(x, p.depth, average);
    return x ? tuff_reshape(x, TUFF_SHAPE(-1, channels, x->shape.sizes[2], height, width)) : NULL;
}

static tuff_result expand_pool(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    (void)training;
    const pool_row *row = row_of(node->op);
    pool p = pool_of(node);
    tuff_tensor *x = inputs[0];
    bool batch = x->shape.rank == row->axes + 2;
    if (!batch) x = tuff_unsqueeze(x, 0);
    if (x) x = row->axes == 3 ? pool_volumes(x, p, row->average) : pool_planes(x, &p, row->average);
    outputs[0] = batch ? x : tuff_squeeze(x, (int32_t[]){ 0 }, 1);
    return graph->result;
}

/* ---- rows ---------------------------------------------------------------------------------------- */

#define ROW(NAME, TEXT, LIMITS, AXES, AVERAGE, ADAPTIVE, LIST, COUNT)                                                  \
    static const pool_row row_##NAME = { .axes = AXES,                                                                 \
                                         .average = AVERAGE,                                                           \
                                         .adaptive = ADAPTIVE,                                                         \
                                         .op = { .name = #NAME,                                                        \
                                                 .formula = TEXT,                                                      \
                                                 .inputs = { "input" },                                                \
                                                 .pytorch = "torch.nn.functional." #NAME,                              \
                                                 .limits = LIMITS,                                                     \
                                                 .attributes = LIST[(AXES)-1],                                         \
                                                 .attribute_count = COUNT,                                             \
                                                 .infer = infer_pool,                                                  \
                                                 .expand = expand_pool } };
#define MAX_ROW(NAME, TEXT, AXES) ROW(NAME, TEXT, "return_indices", AXES, false, false, max_attributes, MAX_COUNT)
#define AVG_ROW(NAME, TEXT, AXES)                                                                                      \
    ROW(NAME, TEXT, NULL, AXES, true, false, avg_attributes, (AXES) == 1 ? AVG_DIVISOR : AVG_COUNT)
#define EVEN_LIMITS "None in output_size; more than 65535"
#define ADAPTIVE_MAX_ROW(NAME, AXES)                                                                                   \
    ROW(NAME, "max over output_size parts of nearly equal sizes", EVEN_LIMITS "; return_indices", AXES, false, true,   \
        size_attribute, 1)
#define ADAPTIVE_AVG_ROW(NAME, AXES)                                                                                   \
    ROW(NAME, "mean over output_size parts of nearly equal sizes", EVEN_LIMITS, AXES, true, true, size_attribute, 1)
MAX_ROW(max_pool1d, "y[n, c, i] = max over the window of x[n, c]", 1)
MAX_ROW(max_pool2d, "y[n, c, i, j] = max over the window of x[n, c]", 2)
MAX_ROW(max_pool3d, "y[n, c, i, j, k] = max over the window of x[n, c]", 3)
AVG_ROW(avg_pool1d, "y[n, c, i] = mean over the window of x[n, c]", 1)
AVG_ROW(avg_pool2d, "y[n, c, i, j] = mean over the window of x[n, c]", 2)
AVG_ROW(avg_pool3d, "y[n, c, i, j, k] = mean over the window of x[n, c]", 3)
ADAPTIVE_MAX_ROW(adaptive_max_pool1d, 1)
ADAPTIVE_MAX_ROW(adaptive_max_pool2d, 2)
ADAPTIVE_MAX_ROW(adaptive_max_pool3d, 3)
ADAPTIVE_AVG_ROW(adaptive_avg_pool1d, 1)
ADAPTIVE_AVG_ROW(adaptive_avg_pool2d, 2)
ADAPTIVE_AVG_ROW(adaptive_avg_pool3d, 3)

/* ---- the public functions ------------------------------------------------------------------------ */

/* What only the other kind of pooling has must be left alone. */
static tuff_tensor *refuse(const pool_row *row, tuff_tensor *x, const char *field) {
    graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "tuff_%s of '%s': %s is not for this function; leave it 0", row->op.name,
               x->name, field);
    return NULL;
}

static const tuff_pool3d_desc no_desc;

static tuff_tensor *apply_pool(const pool_row *row, tuff_tensor *x, const tuff_pool3d_desc *desc) {
    attribute_value a[AVG_COUNT] = { 0 };
    if (!x) return NULL;
    if (!row->average && desc->exclude_padding) return refuse(row, x, "exclude_padding");
    if (!row->average && desc->divisor_override) return refuse(row, x, "divisor_override");
    if (row->average && (desc->dilation[0] || desc->dilation[1] || desc->dilation[2]))
        return refuse(row, x, "dilation");
    a[KERNEL].i = a[STRIDE].i = a[PADDING].i = row->axes;
    for (uint32_t axis = 0; axis < row->axes; axis++) {
        a[KERNEL].list[axis] = desc->kernel[axis];
        a[STRIDE].list[axis] = desc->stride[axis] ? desc->stride[axis] : desc->kernel[axis];
        a[PADDING].list[axis] = desc->padding[axis];
        if (!row->average) a[MAX_DILATION].list[axis] = desc->dilation[axis] ? desc->dilation[axis] : 1;
    }
    if (row->average) {
        a[AVG_CEIL_MODE].i = desc->ceil_mode;
        a[AVG_INCLUDE_PADDING].i = !desc->exclude_padding;
        a[AVG_DIVISOR].i = desc->divisor_override ? desc->divisor_override : ATTRIBUTE_NONE;
    } else {
        a[MAX_DILATION].i = row->axes;
        a[MAX_CEIL_MODE].i = desc->ceil_mode;
    }
    return apply_unary(&row->op, x, a);
}

/* The same numbers for one and two axes, in front. */
static tuff_pool3d_desc of_sequence(const tuff_pool1d_desc *desc) {
    static const tuff_pool1d_desc none;
    if (!desc) desc = &none;
    return (tuff_pool3d_desc){ .kernel = { desc->kernel },
                               .stride = { desc->stride },
                               .padding = { desc->padding },
                               .dilation = { desc->dilation },
                               .ceil_mode = desc->ceil_mode,
                               .exclude_padding = desc->exclude_padding };
}

static tuff_pool3d_desc of_images(const tuff_pool2d_desc *desc) {
    static const tuff_pool2d_desc none;
    if (!desc) desc = &none;
    return (tuff_pool3d_desc){ .kernel = { desc->kernel[0], desc->kernel[1] },
                               .stride = { desc->stride[0], desc->stride[1] },
                               .padding = { desc->padding[0], desc->padding[1] },
                               .dilation = { desc->dilation[0], desc->dilation[1] },
                               .ceil_mode = desc->ceil_mode,
                               .exclude_padding = desc->exclude_padding,
                               .divisor_override = desc->divisor_override };
}

tuff_tensor *tuff_max_pool1d(tuff_tensor *x, const tuff_pool1d_desc *desc) {
    tuff_pool3d_desc window = of_sequence(desc);
    return apply_pool(&row_max_pool1d, x, &window);
}

tuff_tensor *tuff_max_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc) {
    tuff_pool3d_desc window = of_images(desc);
    return apply_pool(&row_max_pool2d, x, &window);
}

tuff_tensor *tuff_max_pool3d(tuff_tensor *x, const tuff_pool3d_desc *desc) {
    return apply_pool(&row_max_pool3d, x, desc ? desc : &no_desc);
}

tuff_tensor *tuff_avg_pool1d(tuff_tensor *x, const tuff_pool1d_desc *desc) {
    tuff_pool3d_desc window = of_sequence(desc);
    return apply_pool(&row_avg_pool1d, x, &window);
}

tuff_tensor *tuff_avg_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc) {
    tuff_pool3d_desc window = of_images(desc);
    return apply_pool(&row_avg_pool2d, x, &window);
}

tuff_tensor *tuff_avg_pool3d(tuff_tensor *x, const tuff_pool3d_desc *desc) {
    return apply_pool(&row_avg_pool3d, x, desc ? desc : &no_desc);
}

static tuff_tensor *apply_adaptive(const pool_row *row, tuff_tensor *x, int64_t first, int64_t second, int64_t third) {
    return apply_unary(&row->op, x, &(attribute_value){ .i = row->axes, .list = { first, second, third } });
}

tuff_tensor *tuff_adaptive_max_pool1d(tuff_tensor *x, int64_t length) {
    return apply_adaptive(&row_adaptive_max_pool1d, x, length, 0, 0);
}

tuff_tensor *tuff_adaptive_avg_pool1d(tuff_tensor *x, int64_t length) {
    return apply_adaptive(&row_adaptive_avg_pool1d, x, length, 0, 0);
}

tuff_tensor *tuff_adaptive_max_pool2d(tuff_tensor *x, int64_t height, int64_t width) {
    return apply_adaptive(&row_adaptive_max_pool2d, x, height, width, 0);
}

tuff_tensor *tuff_adaptive_avg_pool2d(tuff_tensor *x, int64_t height, int64_t width) {
    return apply_adaptive(&row_adaptive_avg_pool2d, x, height, width, 0);
}

tuff_tensor *tuff_adaptive_max_pool3d(tuff_tensor *x, int64_t depth, int64_t height, int64_t width) {
    return apply_adaptive(&row_adaptive_max_pool3d, x, depth, height, width);
}

tuff_tensor *tuff_adaptive_avg_pool3d(tuff_tensor *x, int64_t depth, int64_t height, int64_t width) {
    return apply_adaptive(&row_adaptive_avg_pool3d, x, depth, height, width);
}

tuff_tensor *tuff_global_max_pool1d(tuff_tensor *x) {
    return tuff_adaptive_max_pool1d(x, 1);
}

tuff_tensor *tuff_global_avg_pool1d(tuff_tensor *x) {
    return tuff_adaptive_avg_pool1d(x, 1);
}

tuff_tensor *tuff_global_max_pool2d(tuff_tensor *x) {
    return tuff_adaptive_max_pool2d(x, 1, 1);
}

tuff_tensor *tuff_global_avg_pool2d(tuff_tensor *x) {
    return tuff_adaptive_avg_pool2d(x, 1, 1);
}

static const operator* const rows[] = { &row_max_pool1d.op,          &row_max_pool2d.op,
                                        &row_max_pool3d.op,          &row_avg_pool1d.op,
                                        &row_avg_pool2d.op,          &row_avg_pool3d.op,
                                        &row_adaptive_max_pool1d.op, &row_adaptive_max_pool2d.op,
                                        &row_adaptive_max_pool3d.op, &row_adaptive_avg_pool1d.op,
                                        &row_adaptive_avg_pool2d.op, &row_adaptive_avg_pool3d.op,
                                        &operator_max_windows,       &operator_max_windows_backward,
                                        &operator_average_windows,   &operator_average_windows_backward };
const operator_family family_pooling = { rows, sizeof rows / sizeof *rows };
