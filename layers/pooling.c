/* Pooling of images (N, C, H, W) and sequences (N, C, L), with N or without. All rows here are composites: a sequence
 * is an image of height 1, windows of equal sizes are layers/windows.c's, means over unequal ones layers/resample.c's.
 */
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/resample.h"
#include "layers/windows.h"

#include <string.h>

enum { KERNEL = 0, STRIDE, PADDING };
enum { MAX_DILATION = 3, MAX_CEIL_MODE, MAX_ATTRIBUTES_2D };
enum { AVG_CEIL_MODE = 3, AVG_INCLUDE_PADDING, AVG_DIVISOR, AVG_ATTRIBUTES_2D };

#define WINDOW(N)                                                                                                      \
    [KERNEL] = { .name = "kernel_size", .type = ATTRIBUTE_INTS, .length = N, .required = true },                       \
    [STRIDE] = { .name = "stride", .type = ATTRIBUTE_INTS, .length = N, .like = "kernel_size" },                       \
    [PADDING] = { .name = "padding", .type = ATTRIBUTE_INTS, .length = N, .value.i = N }
#define DILATION(N)                                                                                                    \
    [MAX_DILATION] = { .name = "dilation", .type = ATTRIBUTE_INTS, .length = N, .value = { .i = N, .list = { 1, 1 } } }

static const attribute max_attributes[2][MAX_ATTRIBUTES_2D] = {
    { WINDOW(1), DILATION(1), [MAX_CEIL_MODE] = { .name = "ceil_mode", .type = ATTRIBUTE_BOOL } },
    { WINDOW(2), DILATION(2), [MAX_CEIL_MODE] = { .name = "ceil_mode", .type = ATTRIBUTE_BOOL } },
};
#define AVERAGE                                                                                                        \
    [AVG_CEIL_MODE] = { .name = "ceil_mode", .type = ATTRIBUTE_BOOL }, [AVG_INCLUDE_PADDING] = {                       \
        .name = "count_include_pad", .type = ATTRIBUTE_BOOL, .value.i = true                                           \
    }
static const attribute avg_attributes[2][AVG_ATTRIBUTES_2D] = {
    { WINDOW(1), AVERAGE },
    { WINDOW(2),
      AVERAGE, [AVG_DIVISOR] = { .name = "divisor_override", .type = ATTRIBUTE_INT, .value.i = ATTRIBUTE_NONE } },
};

static const operator operator_max_pool1d, operator_max_pool2d, operator_avg_pool1d, operator_avg_pool2d,
    operator_adaptive_max_pool1d, operator_adaptive_max_pool2d, operator_adaptive_avg_pool1d,
    operator_adaptive_avg_pool2d;

/* How many axes are pooled, 1 or 2. */
static uint32_t axes_of(const operator* op) {
    return op == &operator_max_pool1d || op == &operator_avg_pool1d || op == &operator_adaptive_max_pool1d
                   || op == &operator_adaptive_avg_pool1d
               ? 1
               : 2;
}

/* ---- images -------------------------------------------------------------------------------------- */

static tuff_result check_rank(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    uint32_t axes = axes_of(node->op);
    char text[160], shape[SHAPE_TEXT];
    if (x->shape.rank == axes + 1 || x->shape.rank == axes + 2) return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape %s", node_text(node, text),
                      x->name, shape_text(&x->shape, shape),
                      axes == 2 ? "(N, C, H, W) or (C, H, W)" : "(N, C, L) or (C, L)");
}

/* The sizes of the pooled axes, 1 for a height that is not there. */
static void pooled_sizes(const tuff_shape *shape, uint32_t axes, int64_t *size) {
    size[0] = axes == 2 ? shape->sizes[shape->rank - 2] : 1;
    size[1] = shape->sizes[shape->rank - 1];
}

/* As (N, C, H, W). */
static tuff_tensor *as_images(tuff_tensor *x, uint32_t axes) {
    int64_t size[2];
    if (!x || x->shape.rank == 4) return x;
    pooled_sizes(&x->shape, axes, size);
    bool batch = x->shape.rank == axes + 2;
    return tuff_reshape(x, TUFF_SHAPE(batch ? -1 : 1, x->shape.sizes[batch], size[0], size[1]));
}

/* Back to as many axes as `like` has. */
static tuff_tensor *from_images(tuff_tensor *y, const tuff_tensor *like, uint32_t axes) {
    if (!y || like->shape.rank == 4) return y;
    tuff_shape shape = { 0 };
    if (like->shape.rank == axes + 2) shape.sizes[shape.rank++] = -1;
    shape.sizes[shape.rank++] = y->shape.sizes[1];
    if (axes == 2) shape.sizes[shape.rank++] = y->shape.sizes[2];
    shape.sizes[shape.rank++] = y->shape.sizes[3];
    return tuff_reshape(y, shape);
}

/* ---- windows of one size ------------------------------------------------------------------------- */

/* Axis 1 is the last one; a sequence's height is 1. */
static windows windows_of(const node *node) {
    const attribute_value *a = node->attributes;
    uint32_t axes = axes_of(node->op);
    bool average = node->op == &operator_avg_pool1d || node->op == &operator_avg_pool2d;
    windows w = { .kernel = { 1, 1 }, .stride = { 1, 1 }, .dilation = { 1, 1 } };
    for (uint32_t axis = 2 - axes; axis < 2; axis++) {
        uint32_t at = axis - (2 - axes);
        w.kernel[axis] = a[KERNEL].list[at];
        w.stride[axis] = a[STRIDE].list[at];
        w.padding[axis] = a[PADDING].list[at];
        if (!average) w.dilation[axis] = a[MAX_DILATION].list[at];
    }
    w.ceil_mode = a[average ? AVG_CEIL_MODE : MAX_CEIL_MODE].i;
    if (average) w.exclude_padding = !a[AVG_INCLUDE_PADDING].i;
    if (average && axes == 2 && a[AVG_DIVISOR].i != ATTRIBUTE_NONE) w.divisor = a[AVG_DIVISOR].i;
    return w;
}

static tuff_result infer_pool(inference *inference) {
    const node *node = inference->node;
    uint32_t axes = axes_of(node->op);
    windows w = windows_of(node);
    char text[160];
    TRY(check_rank(inference));
    TRY(windows_check(inference, &w, 2 - axes));
    if (node->op == &operator_avg_pool2d && node->attributes[AVG_DIVISOR].i == 0)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: divisor_override is 0", node_text(node, text));
    tuff_shape *out = &inference->shapes[0];
    *out = node->inputs[0]->shape;
    for (uint32_t axis = 2 - axes; axis < 2; axis++) {
        int64_t *size = &out->sizes[out->rank - 2 + axis];
        *size = window_count(&w, axis, *size);
    }
    return TUFF_OK;
}

static tuff_result expand_max(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                              tuff_tensor **outputs) {
    (void)training;
    uint32_t axes = axes_of(node->op);
    windows w = windows_of(node);
    outputs[0] = from_images(max_windows(as_images(inputs[0], axes), &w), inputs[0], axes);
    return graph->result;
}

static tuff_result expand_average(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)training;
    uint32_t axes = axes_of(node->op);
    windows w = windows_of(node);
    outputs[0] = from_images(average_windows(as_images(inputs[0], axes), &w), inputs[0], axes);
    return graph->result;
}

#define POOL_ROW(row, text, limit, list, count, expansion)                                                             \
    static const operator operator_##row = {                                                                           \
        .name = #row,                                                                                                  \
        .formula = text,                                                                                               \
        .inputs = { "input" },                                                                                         \
        .pytorch = "torch.nn.functional." #row,                                                                        \
        .limits = limit,                                                                                               \
        .attributes = list,                                                                                            \
        .attribute_count = count,                                                                                      \
        .infer = infer_pool,                                                                                           \
        .expand = expansion,                                                                                           \
    };
POOL_ROW(max_pool1d, "y[n, c, i] = max over the window of x[n, c]", "return_indices", max_attributes[0],
         MAX_ATTRIBUTES_2D, expand_max)
POOL_ROW(max_pool2d, "y[n, c, i, j] = max over the window of x[n, c]", "return_indices", max_attributes[1],
         MAX_ATTRIBUTES_2D, expand_max)
POOL_ROW(avg_pool1d, "y[n, c, i] = mean over the window of x[n, c]", NULL, avg_attributes[0], AVG_DIVISOR,
         expand_average)
POOL_ROW(avg_pool2d, "y[n, c, i, j] = mean over the window of x[n, c]", NULL, avg_attributes[1], AVG_ATTRIBUTES_2D,
         expand_average)

/* ---- a given number of windows ------------------------------------------------------------------- */

static const attribute size_attribute[2][1] = {
    { { .name = "output_size", .type = ATTRIBUTE_INTS, .length = 1, .required = true } },
    { { .name = "output_size", .type = ATTRIBUTE_INTS, .length = 2, .required = true } },
};

static windows adaptive_of(const node *node) {
    uint32_t axes = axes_of(node->op);
    windows w = { .adaptive = true, .count = { 1, 1 }, .kernel = { 1, 1 }, .stride = { 1, 1 }, .dilation = { 1, 1 } };
    for (uint32_t axis = 2 - axes; axis < 2; axis++) w.count[axis] = node->attributes[0].list[axis - (2 - axes)];
    return w;
}

/* Window i covers the pixels from floor(i size / count) to ceil((i + 1) size / count). Where count divides size they
 * are windows of one size; false: it does not. */
static bool made_even(windows *w, const tuff_tensor *x) {
    windows even = *w;
    for (uint32_t axis = 0; axis < 2; axis++) {
        int64_t size = x->shape.sizes[2 + axis];
        if (size % w->count[axis]) return false;
        even.kernel[axis] = even.stride[axis] = size / w->count[axis];
    }
    even.adaptive = false;
    *w = even;
    return true;
}

static tuff_result infer_adaptive(inference *inference) {
    const node *node = inference->node;
    uint32_t axes = axes_of(node->op);
    windows w = adaptive_of(node);
    TRY(check_rank(inference));
    TRY(windows_check(inference, &w, 2 - axes));
    tuff_shape *out = &inference->shapes[0];
    *out = node->inputs[0]->shape;
    for (uint32_t axis = 2 - axes; axis < 2; axis++) out->sizes[out->rank - 2 + axis] = w.count[axis];
    return TUFF_OK;
}

static tuff_result expand_adaptive_max(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                       tuff_tensor **outputs) {
    (void)training;
    uint32_t axes = axes_of(node->op);
    windows w = adaptive_of(node);
    tuff_tensor *x = as_images(inputs[0], axes);
    if (x) made_even(&w, x);
    outputs[0] = from_images(max_windows(x, &w), inputs[0], axes);
    return graph->result;
}

static tuff_result expand_adaptive_average(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                           bool training, tuff_tensor **outputs) {
    (void)training;
    uint32_t axes = axes_of(node->op);
    windows w = adaptive_of(node);
    tuff_tensor *x = as_images(inputs[0], axes);
    if (!x) return graph->result;
    if (w.count[0] == 1 && w.count[1] == 1)
        x = tuff_mean(x, &(tuff_reduce_desc){ .axes = { 2, 3 }, .axis_count = 2, .keepdim = true });
    else if (made_even(&w, x))
        x = average_windows(x, &w);
    else
        x = resample(x, &(resampling){ .mode = RESAMPLE_AREA, .size = { w.count[0], w.count[1] } });
    outputs[0] = from_images(x, inputs[0], axes);
    return graph->result;
}

#define ADAPTIVE_ROW(row, text, more, axes, expansion)                                                                 \
    static const operator operator_##row = {                                                                           \
        .name = #row,                                                                                                  \
        .formula = text,                                                                                               \
        .inputs = { "input" },                                                                                         \
        .pytorch = "torch.nn.functional." #row,                                                                        \
        .limits = "None in output_size; more than 65535" more,                                                         \
        .attributes = size_attribute[axes - 1],                                                                        \
        .attribute_count = 1,                                                                                          \
        .infer = infer_adaptive,                                                                                       \
        .expand = expansion,                                                                                           \
    };
ADAPTIVE_ROW(adaptive_max_pool1d, "max over output_size parts of nearly equal sizes", "; return_indices", 1,
             expand_adaptive_max)
ADAPTIVE_ROW(adaptive_max_pool2d, "max over output_size parts of nearly equal sizes", "; return_indices", 2,
             expand_adaptive_max)
ADAPTIVE_ROW(adaptive_avg_pool1d, "mean over output_size parts of nearly equal sizes", "", 1, expand_adaptive_average)
ADAPTIVE_ROW(adaptive_avg_pool2d, "mean over output_size parts of nearly equal sizes", "", 2, expand_adaptive_average)

/* ---- the public functions ------------------------------------------------------------------------ */

/* kernel, stride, padding of `axes` axes; a stride of 0 is the kernel's. */
static void set_window(attribute_value *a, uint32_t axes, const int64_t *kernel, const int64_t *stride,
                       const int64_t *padding) {
    for (uint32_t axis = 0; axis < axes; axis++) {
        a[KERNEL].list[axis] = kernel[axis];
        a[STRIDE].list[axis] = stride[axis] ? stride[axis] : kernel[axis];
        a[PADDING].list[axis] = padding[axis];
    }
    a[KERNEL].i = a[STRIDE].i = a[PADDING].i = axes;
}

/* What only the other kind of pooling has must be left alone. */
static tuff_tensor *refuse(const operator* op, tuff_tensor *x, const char *field) {
    graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "tuff_%s of '%s': %s is not for this function; leave it 0", op->name,
               x->name, field);
    return NULL;
}

static tuff_tensor *apply_max(const operator* op, tuff_tensor *x, const tuff_pool2d_desc *desc) {
    uint32_t axes = axes_of(op);
    attribute_value a[MAX_ATTRIBUTES_2D] = {
        [MAX_DILATION] = { .i = axes }, [MAX_CEIL_MODE] = { .i = desc->ceil_mode }
    };
    if (!x) return NULL;
    if (desc->exclude_padding) return refuse(op, x, "exclude_padding");
    if (desc->divisor_override) return refuse(op, x, "divisor_override");
    set_window(a, axes, desc->kernel, desc->stride, desc->padding);
    for (uint32_t axis = 0; axis < axes; axis++)
        a[MAX_DILATION].list[axis] = desc->dilation[axis] ? desc->dilation[axis] : 1;
    return apply_unary(op, x, a);
}

static tuff_tensor *apply_average(const operator* op, tuff_tensor *x, const tuff_pool2d_desc *desc) {
    attribute_value a[AVG_ATTRIBUTES_2D] = {
        [AVG_CEIL_MODE] = { .i = desc->ceil_mode },
        [AVG_INCLUDE_PADDING] = { .i = !desc->exclude_padding },
        [AVG_DIVISOR] = { .i = desc->divisor_override ? desc->divisor_override : ATTRIBUTE_NONE },
    };
    if (!x) return NULL;
    if (desc->dilation[0] || desc->dilation[1]) return refuse(op, x, "dilation");
    set_window(a, axes_of(op), desc->kernel, desc->stride, desc->padding);
    return apply_unary(op, x, a);
}

/* The same numbers for a sequence, in front. */
static tuff_pool2d_desc of_sequence(const tuff_pool1d_desc *desc) {
    static const tuff_pool1d_desc none;
    if (!desc) desc = &none;
    return (tuff_pool2d_desc){ .kernel = { desc->kernel },
                               .stride = { desc->stride },
                               .padding = { desc->padding },
                               .dilation = { desc->dilation },
                               .ceil_mode = desc->ceil_mode,
                               .exclude_padding = desc->exclude_padding };
}

static const tuff_pool2d_desc no_desc;

tuff_tensor *tuff_max_pool1d(tuff_tensor *x, const tuff_pool1d_desc *desc) {
    tuff_pool2d_desc window = of_sequence(desc);
    return apply_max(&operator_max_pool1d, x, &window);
}

tuff_tensor *tuff_avg_pool1d(tuff_tensor *x, const tuff_pool1d_desc *desc) {
    tuff_pool2d_desc window = of_sequence(desc);
    return apply_average(&operator_avg_pool1d, x, &window);
}

tuff_tensor *tuff_max_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc) {
    return apply_max(&operator_max_pool2d, x, desc ? desc : &no_desc);
}

tuff_tensor *tuff_avg_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc) {
    return apply_average(&operator_avg_pool2d, x, desc ? desc : &no_desc);
}

tuff_tensor *tuff_adaptive_max_pool1d(tuff_tensor *x, int64_t length) {
    return apply_unary(&operator_adaptive_max_pool1d, x, &(attribute_value){ .i = 1, .list = { length } });
}

tuff_tensor *tuff_adaptive_avg_pool1d(tuff_tensor *x, int64_t length) {
    return apply_unary(&operator_adaptive_avg_pool1d, x, &(attribute_value){ .i = 1, .list = { length } });
}

tuff_tensor *tuff_adaptive_max_pool2d(tuff_tensor *x, int64_t height, int64_t width) {
    return apply_unary(&operator_adaptive_max_pool2d, x, &(attribute_value){ .i = 2, .list = { height, width } });
}

tuff_tensor *tuff_adaptive_avg_pool2d(tuff_tensor *x, int64_t height, int64_t width) {
    return apply_unary(&operator_adaptive_avg_pool2d, x, &(attribute_value){ .i = 2, .list = { height, width } });
}

tuff_tensor *tuff_global_max_pool2d(tuff_tensor *x) {
    return tuff_adaptive_max_pool2d(x, 1, 1);
}

tuff_tensor *tuff_global_avg_pool2d(tuff_tensor *x) {
    return tuff_adaptive_avg_pool2d(x, 1, 1);
}

static const operator* const rows[] = { &operator_max_pool1d,          &operator_max_pool2d,
                                        &operator_avg_pool1d,          &operator_avg_pool2d,
                                        &operator_adaptive_max_pool1d, &operator_adaptive_max_pool2d,
                                        &operator_adaptive_avg_pool1d, &operator_adaptive_avg_pool2d,
                                        &operator_max_windows,         &operator_max_windows_backward,
                                        &operator_average_windows,     &operator_average_windows_backward };
const operator_family family_pooling = { rows, sizeof rows / sizeof *rows };
