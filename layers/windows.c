/* Pooling over windows of an image, channels-last: maxima, averages and their gradients. The gradients gather, each
 * pixel from the windows that cover it, so no two invocations add to one number. */
#include "layers/windows.h"

#include "layers/flat.h"
#include "layers/pointwise.h"
#include "runtime/graph/chain.h"

#include <string.h>

enum { LANES = 64, MOST_COUNT = 65535 };
enum { KERNEL = 0, STRIDE, PADDING, DILATION, CEIL_MODE, EXCLUDE_PADDING, DIVISOR, COUNT, ATTRIBUTES };

static const attribute attributes[ATTRIBUTES] = {
    [KERNEL] = { .name = "kernel_size", .type = ATTRIBUTE_INTS, .length = 2, .value = { .i = 2, .list = { 1, 1 } } },
    [STRIDE] = { .name = "stride", .type = ATTRIBUTE_INTS, .length = 2, .like = "kernel_size" },
    [PADDING] = { .name = "padding", .type = ATTRIBUTE_INTS, .length = 2, .value.i = 2 },
    [DILATION] = { .name = "dilation", .type = ATTRIBUTE_INTS, .length = 2, .value = { .i = 2, .list = { 1, 1 } } },
    [CEIL_MODE] = { .name = "ceil_mode", .type = ATTRIBUTE_BOOL },
    [EXCLUDE_PADDING] = { .name = "exclude_padding", .type = ATTRIBUTE_BOOL },
    [DIVISOR] = { .name = "divisor", .type = ATTRIBUTE_INT },
    [COUNT] = { .name = "output_size", .type = ATTRIBUTE_INTS, .length = 2 }, /* none: not adaptive */
};

static windows windows_of(const node *node) {
    const attribute_value *a = node->attributes;
    windows w = { .ceil_mode = a[CEIL_MODE].i,
                  .exclude_padding = a[EXCLUDE_PADDING].i,
                  .divisor = a[DIVISOR].i,
                  .adaptive = a[COUNT].i };
    for (uint32_t axis = 0; axis < 2; axis++) {
        w.kernel[axis] = a[KERNEL].list[axis];
        w.stride[axis] = a[STRIDE].list[axis];
        w.padding[axis] = a[PADDING].list[axis];
        w.dilation[axis] = a[DILATION].list[axis];
        w.count[axis] = a[COUNT].list[axis];
    }
    return w;
}

static tuff_tensor *apply(const operator* op, tuff_tensor *x, const windows *w) {
    attribute_value a[ATTRIBUTES] = { 0 };
    for (uint32_t axis = 0; axis < 2; axis++) {
        a[KERNEL].list[axis] = w->kernel[axis];
        a[STRIDE].list[axis] = w->stride[axis];
        a[PADDING].list[axis] = w->padding[axis];
        a[DILATION].list[axis] = w->dilation[axis];
        a[COUNT].list[axis] = w->count[axis];
    }
    a[KERNEL].i = a[STRIDE].i = a[PADDING].i = a[DILATION].i = 2;
    a[COUNT].i = w->adaptive ? 2 : 0;
    a[CEIL_MODE].i = w->ceil_mode;
    a[EXCLUDE_PADDING].i = w->exclude_padding;
    a[DIVISOR].i = w->divisor;
    return apply_unary(op, x, a);
}

/* ---- shapes ------------------------------------------------------------------------------------- */

/* Pixels from a window's first to its last one. */
static int64_t reach_of(const windows *w, uint32_t axis) {
    return (w->kernel[axis] - 1) * w->dilation[axis] + 1;
}

int64_t window_count(const windows *w, uint32_t axis, int64_t size) {
    if (w->adaptive) return w->count[axis];
    int64_t stride = w->stride[axis], padding = w->padding[axis], room = size + 2 * padding - reach_of(w, axis);
    if (room < 0) return 0;
    int64_t count = (room + (w->ceil_mode ? stride - 1 : 0)) / stride + 1;
    return (count - 1) * stride >= size + padding ? count - 1 : count;
}

/* Whether a window that starts in the padding steps over the whole image. */
static bool misses_image(const windows *w, uint32_t axis, int64_t size) {
    int64_t dilation = w->dilation[axis];
    for (int64_t start = -w->padding[axis]; dilation > size && start < 0; start += w->stride[axis])
        if (start + (dilation - 1 - start) / dilation * dilation >= size) return true;
    return false;
}

tuff_result windows_check(inference *inference, const windows *w, uint32_t axis, int64_t size, const char *what) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    long long kernel = w->kernel[axis], stride = w->stride[axis], padding = w->padding[axis];
    long long dilation = w->dilation[axis], most = INT16_MAX;
    char text[160], shape[SHAPE_TEXT];
    node_text(node, text);
    if (w->adaptive && (w->count[axis] < 1 || w->count[axis] > MOST_COUNT))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: the output's %s is %lld; 1 to %d are possible",
                          text, what, (long long)w->count[axis], MOST_COUNT);
    if (w->adaptive) return TUFF_OK;
    if (kernel < 1 || stride < 1 || dilation < 1 || padding < 0 || padding > kernel / 2 || kernel > most
        || stride > most || dilation > most)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                          "%s: along the %s kernel %lld, stride %lld, padding %lld, dilation %lld: kernel, stride and "
                          "dilation are 1 to %lld, padding is at most half the kernel",
                          text, what, kernel, stride, padding, dilation, most);
    if (window_count(w, axis, size) < 1 || misses_image(w, axis, size))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the kernel's %s %lld, dilated by %lld, is larger than '%s' %s with padding %lld", text,
                          what, kernel, dilation, x->name, shape_text(&x->shape, shape), padding);
    return TUFF_OK;
}

static tuff_result infer(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    windows w = windows_of(inference->node);
    char text[160], shape[SHAPE_TEXT];
    if (x->shape.rank != 4)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape (N, C, H, W)",
                          node_text(inference->node, text), x->name, shape_text(&x->shape, shape));
    inference->shapes[0] = x->shape;
    for (uint32_t axis = 0; axis < 2; axis++) {
        int64_t size = x->shape.sizes[2 + axis];
        TRY(windows_check(inference, &w, axis, size, axis ? "width" : "height"));
        inference->shapes[0].sizes[2 + axis] = window_count(&w, axis, size);
    }
    return TUFF_OK;
}

static tuff_result infer_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

/* ---- kernels ------------------------------------------------------------------------------------ */

/* The three forms of a kernel: one channel, four, four that are read as texels. */
typedef enum form { FORM_ONE = 0, FORM_FOUR, FORM_TEXELS, FORMS } form;
static const enum kernel_id max_kernels[FORMS] = { KERNEL_MAX_1, KERNEL_MAX_4, KERNEL_MAX_TEXELS };
static const enum kernel_id max_backward_kernels[FORMS] = { KERNEL_MAX_BACKWARD_1, KERNEL_MAX_BACKWARD_4,
                                                            KERNEL_MAX_BACKWARD_TEXELS };
static const enum kernel_id average_kernels[FORMS] = { KERNEL_AVERAGE_1, KERNEL_AVERAGE_4, KERNEL_AVERAGE_TEXELS };
static const enum kernel_id average_backward_kernels[FORMS] = { KERNEL_AVERAGE_BACKWARD_1, KERNEL_AVERAGE_BACKWARD_4,
                                                                KERNEL_AVERAGE_BACKWARD_TEXELS };

typedef struct pooling {
    windows windows;
    const view *image;  /* x or its gradient */
    const view *pooled; /* y or its gradient */
    form form;
    uint32_t width;     /* numbers an invocation takes: 4 channels or 1 */
    int64_t image_step; /* images for each call: what a binding can span */
} pooling;

static pooling pooling_of(const lowering *lowering, const node *node, const view *image, const view *pooled,
                          const view *other) {
    pooling p = { .windows = windows_of(node), .image = image, .pooled = pooled };
    bool aligned = image->offset % 4 == 0 && pooled->offset % 4 == 0 && (!other || other->offset % 4 == 0);
    p.width = aligned && wide_allowed(lowering) && image->shape.sizes[1] % 4 == 0 ? 4 : 1;
    p.form = p.width == 1 ? FORM_ONE : texels_allowed(lowering) ? FORM_TEXELS : FORM_FOUR;
    p.image_step = smaller(smaller(steps_that_fit(lowering, image), steps_that_fit(lowering, pooled)), MAX_GROUPS);
    return p;
}

/* The push constants of shaders/pooling/window.glsl. */
enum {
    KERNEL_HEIGHT = 5,
    KERNEL_WIDTH,
    DIVISOR_BITS = 13,
    FIRST_X,
    FIRST_Y,
    FIRST_G,
    FIRST_INDEX,
    BEGIN_ROW,
    BEGIN_LINE,
    PARAMS
};

static void set_params(kernel_call *call, const pooling *p) {
    const int64_t *image = p->image->shape.sizes, *pooled = p->pooled->shape.sizes;
    const windows *w = &p->windows;
    int64_t kernel[2], stride[2];
    for (uint32_t axis = 0; axis < 2; axis++) {
        kernel[axis] = w->adaptive ? image[2 + axis] / pooled[2 + axis] : w->kernel[axis];
        stride[axis] = w->adaptive ? image[2 + axis] % pooled[2 + axis] : w->stride[axis];
    }
    const int64_t values[] = { image[2],      image[3],       pooled[2],     pooled[3], image[1] / p->width,
                               kernel[0],     kernel[1],      stride[0],     stride[1], w->padding[0],
                               w->padding[1], w->dilation[0], w->dilation[1] };
    for (uint32_t i = 0; i < sizeof values / sizeof *values; i++) call->params[i] = (uint32_t)values[i];
    float divisor = (float)w->divisor;
    memcpy(&call->params[DIVISOR_BITS], &divisor, sizeof divisor);
    call->param_count = PARAMS;
    call->constants[0] = w->adaptive;
}

/* Calls a kernel, whose operands and firsts are set, for all places of `images` images of height x width. */
static tuff_result call_windows(lowering *lowering, kernel_call *call, const pooling *p, int64_t images, int64_t height,
                                int64_t width) {
    set_params(call, p);
    if (p->width == 4) bind_whole_fours(call, 0, call->operand_count);
    int64_t groups = (width * (p->image->shape.sizes[1] / p->width) + LANES - 1) / LANES;
    int64_t area = call->params[KERNEL_HEIGHT] * (int64_t)call->params[KERNEL_WIDTH];
    for (int64_t row = 0; row < height; row += MAX_GROUPS)
        for (int64_t group = 0; group < groups; group += MAX_GROUPS) {
            call->params[BEGIN_ROW] = (uint32_t)row;
            call->params[BEGIN_LINE] = (uint32_t)(group * LANES);
            call->groups[0] = (uint32_t)smaller(groups - group, MAX_GROUPS);
            call->groups[1] = (uint32_t)smaller(height - row, MAX_GROUPS);
            call->groups[2] = (uint32_t)images;
            call->work = (uint64_t)(height * width * p->image->shape.sizes[1] * images * area);
            TRY(lowering_call(lowering, call));
        }
    return TUFF_OK;
}

static operand bind(const lowering *lowering, const view *whole, int64_t begin, int64_t count, uint32_t access,
                    uint32_t width, uint32_t *first) {
    view part = view_part(whole, begin, count);
    operand bound = lowering_operand(lowering, &part, access, first);
    *first /= width;
    return bound;
}

/* y of x, by a kernel with two bindings and one constant of its own. */
static tuff_result lower_forward(lowering *lowering, const pooling *p, const enum kernel_id kernels[FORMS],
                                 uint32_t constant) {
    const view *x = p->image, *y = p->pooled;
    int64_t images = x->shape.sizes[0];
    for (int64_t n = 0; n < images; n += p->image_step) {
        int64_t part = smaller(p->image_step, images - n);
        kernel_call call = {
            .kernel = kernels[p->form], .constants = { 0, constant }, .constant_count = 2, .operand_count = 2
        };
        call.operands[0] = bind(lowering, x, n, part, ACCESS_READ, p->width, &call.params[FIRST_X]);
        call.operands[1] = bind(lowering, y, n, part, ACCESS_WRITE, p->width, &call.params[FIRST_Y]);
        TRY(call_windows(lowering, &call, p, part, y->shape.sizes[2], y->shape.sizes[3]));
    }
    return TUFF_OK;
}

static tuff_result lower_max(lowering *lowering, const node *node) {
    const view *x = lowering_view(lowering, node->inputs[0]), *y = lowering_view(lowering, node->outputs[0]);
    pooling p = pooling_of(lowering, node, x, y, NULL);
    return lower_forward(lowering, &p, max_kernels, false);
}

static tuff_result lower_average(lowering *lowering, const node *node) {
    const view *x = lowering_view(lowering, node->inputs[0]), *y = lowering_view(lowering, node->outputs[0]);
    pooling p = pooling_of(lowering, node, x, y, NULL);
    return lower_forward(lowering, &p, average_kernels, p.windows.exclude_padding);
}

static tuff_result lower_average_backward(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *gx = lowering_view(lowering, node->outputs[0]);
    pooling p = pooling_of(lowering, node, gx, g, NULL);
    int64_t images = gx->shape.sizes[0];
    for (int64_t n = 0; n < images; n += p.image_step) {
        int64_t part = smaller(p.image_step, images - n);
        kernel_call call = { .kernel = average_backward_kernels[p.form],
                             .constants = { 0, p.windows.exclude_padding },
                             .constant_count = 2,
                             .operand_count = 2 };
        call.operands[0] = bind(lowering, g, n, part, ACCESS_READ, p.width, &call.params[FIRST_G]);
        call.operands[1] = bind(lowering, gx, n, part, ACCESS_WRITE, p.width, &call.params[FIRST_Y]);
        TRY(call_windows(lowering, &call, &p, part, gx->shape.sizes[2], gx->shape.sizes[3]));
    }
    return TUFF_OK;
}

/* Whether no pixel lies in two windows; "pool=overlap" treats them as if one might. */
static bool lie_apart(const lowering *lowering, const windows *w) {
    bool forced = device_force(lowering_device(lowering), "pool") != NULL;
    return !forced && !w->adaptive && w->stride[0] >= reach_of(w, 0) && w->stride[1] >= reach_of(w, 1);
}

static tuff_result lower_max_backward(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *x = lowering_view(lowering, node->inputs[1]);
    const view *gx = lowering_view(lowering, node->outputs[0]);
    pooling p = pooling_of(lowering, node, gx, g, x);
    const windows *w = &p.windows;
    int64_t images = gx->shape.sizes[0], sizes[2] = { gx->shape.sizes[2], gx->shape.sizes[3] };
    bool apart = lie_apart(lowering, w);
    view indices = *g;
    if (apart) {
        for (uint32_t axis = 0; axis < 2; axis++) /* cells, as in shaders/pooling/max_backward.comp */
            sizes[axis] = (sizes[axis] + w->padding[axis] - 1) / w->stride[axis] + 1;
    } else {
        view scratch;
        TRY(lowering_scratch(lowering, (uint64_t)view_count(g), "largest pixels", &scratch));
        indices.storage = scratch.storage;
        indices.offset = scratch.offset;
        pooling forward = p;
        forward.image = x;
        forward.pooled = &indices;
        TRY(lower_forward(lowering, &forward, max_kernels, true));
    }
    for (int64_t n = 0; n < images; n += p.image_step) {
        int64_t part = smaller(p.image_step, images - n);
        kernel_call call = { .kernel = max_backward_kernels[p.form],
                             .constants = { 0, apart, node->chain != NULL },
                             .constant_count = 3,
                             .operand_count = apart ? 3 : 4 };
        call.operands[0] = bind(lowering, g, n, part, ACCESS_READ, p.width, &call.params[FIRST_G]);
        call.operands[1] = bind(lowering, x, n, part, ACCESS_READ, p.width, &call.params[FIRST_X]);
        call.operands[2] = bind(lowering, gx, n, part, ACCESS_WRITE, p.width, &call.params[FIRST_Y]);
        if (!apart)
            call.operands[3] = bind(lowering, &indices, n, part, ACCESS_READ, p.width, &call.params[FIRST_INDEX]);
        TRY(call_windows(lowering, &call, &p, part, sizes[0], sizes[1]));
    }
    return TUFF_OK;
}

/* relu's gradient behind that of the pool of its result: which windows it closes, their largest pixels say. */
static bool accepts_relu_gradient(const node *node, const chain *chain, tuff_tensor *const *extra_inputs,
                                  uint32_t extra_count) {
    uint8_t gate;
    return chain->step_count == 2 && chain->output_count == 1 && chain->outputs[0] == CHAIN_STEP + 1
           && chain_gates(chain, 0, 0, &gate) && gate == 1 && extra_count == 1 && extra_inputs[0] == node->inputs[1];
}

/* ---- rows --------------------------------------------------------------------------------------- */

const operator operator_max_windows_backward = {
    .name = "max_windows_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "gx = sum of gradient over the windows whose first largest element is x's",
    .inputs = { "grad_output", "input" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .infer = infer_backward,
    .input_layouts = { LAYOUT_CHANNELS_LAST, LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_max_backward,
    .accepts_epilogue = accepts_relu_gradient,
};

/* It is linear in grad_output. */
static tuff_result gradient_average_backward(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                             tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(&operator_average_windows, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

const operator operator_average_windows_backward = {
    .name = "average_windows_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "gx = sum of gradient / size over the windows that cover x",
    .inputs = { "grad_output", "input" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .shape_only = 1u << 1,
    .infer = infer_backward,
    .gradient = gradient_average_backward,
    .input_layouts = { LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_average_backward,
};

static tuff_result gradient_of(const operator* backward, const node *node, tuff_tensor *gradient,
                               tuff_tensor **grad_inputs) {
    tuff_tensor *inputs[] = { gradient, node->inputs[0] };
    grad_inputs[0] = graph_apply(node_graph(node), backward, inputs, 2, node->attributes, NULL);
    return TUFF_OK;
}

static tuff_result gradient_max(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs) {
    (void)needs;
    return gradient_of(&operator_max_windows_backward, node, grad_outputs[0], grad_inputs);
}

static tuff_result gradient_average(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    return gradient_of(&operator_average_windows_backward, node, grad_outputs[0], grad_inputs);
}

const operator operator_max_windows = {
    .name = "max_windows",
    .flags = OPERATOR_INTERNAL,
    .formula = "y[n, c, i, j] = max over window i, j of x[n, c]",
    .inputs = { "input" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .infer = infer,
    .gradient = gradient_max,
    .input_layouts = { LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_max,
};

const operator operator_average_windows = {
    .name = "average_windows",
    .flags = OPERATOR_INTERNAL,
    .formula = "y[n, c, i, j] = mean over window i, j of x[n, c]",
    .inputs = { "input" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .infer = infer,
    .gradient = gradient_average,
    .input_layouts = { LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_average,
};

/* Whether a pass over rows and one over columns are less work than one over the whole window: for each result it takes
 * as many numbers, counted with what goes through memory between the two; and no invocation takes too many. */
static bool is_better_split(const windows *w) {
    int64_t area = w->kernel[0] * w->kernel[1];
    return !w->adaptive && w->kernel[0] > 1 && w->kernel[1] > 1
           && (area >= 2 * (w->stride[0] * (w->kernel[1] + 2) + w->kernel[0]) || area > 1024);
}

/* The part of `w` along one axis. */
static windows along(const windows *w, uint32_t axis) {
    windows one = *w;
    one.kernel[!axis] = one.stride[!axis] = one.dilation[!axis] = 1;
    one.padding[!axis] = 0;
    if (w->divisor && axis) one.divisor = 1;
    return one;
}

/* Along the width first: the first largest of the rows' first largest is the window's. */
static tuff_tensor *apply_split(const operator* op, tuff_tensor *x, const windows *w) {
    if (!is_better_split(w)) return apply(op, x, w);
    windows width = along(w, 1), height = along(w, 0);
    return apply(op, apply(op, x, &width), &height);
}

tuff_tensor *max_windows(tuff_tensor *x, const windows *w) {
    return apply_split(&operator_max_windows, x, w);
}

tuff_tensor *average_windows(tuff_tensor *x, const windows *w) {
    return apply_split(&operator_average_windows, x, w);
}
