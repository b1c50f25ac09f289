/* Pooling over windows of an image, channels-last: maxima, averages and their gradients. The gradients gather, each
 * pixel from the windows that cover it, so no two invocations add to one number. */
#include "layers/families.h"
#include "layers/flat.h"
#include "runtime/graph/chain.h"

#include <tuff/layers.h>

#include <string.h>

enum { LANES = 64 };
enum { KERNEL = 0, STRIDE, PADDING, INCLUDE_PADDING };

static const attribute pool_attributes[] = {
    [KERNEL] = { .name = "kernel_size", .type = ATTRIBUTE_INTS, .length = 2, .required = true },
    [STRIDE] = { .name = "stride", .type = ATTRIBUTE_INTS, .length = 2, .like = "kernel_size" },
    [PADDING] = { .name = "padding", .type = ATTRIBUTE_INTS, .length = 2, .value.i = 2 },
    [INCLUDE_PADDING] = { .name = "count_include_pad", .type = ATTRIBUTE_BOOL, .value.i = true },
};

/* ---- kernels ------------------------------------------------------------------------------------ */

typedef struct pooling {
    const view *image;  /* x or its gradient */
    const view *pooled; /* y or its gradient */
    uint32_t width;     /* numbers an invocation takes: 4 channels or 1 */
    int64_t image_step; /* images for each call: what a binding can span */
} pooling;

static pooling pooling_of(const lowering *lowering, const view *image, const view *pooled, const view *other) {
    pooling p = { .image = image, .pooled = pooled };
    bool aligned = image->offset % 4 == 0 && pooled->offset % 4 == 0 && (!other || other->offset % 4 == 0);
    p.width = aligned && wide_allowed(lowering) && image->shape.sizes[1] % 4 == 0 ? 4 : 1;
    p.image_step = smaller(smaller(steps_that_fit(lowering, image), steps_that_fit(lowering, pooled)), MAX_GROUPS);
    return p;
}

/* The push constants of shaders/pooling/window.glsl. */
enum { FIRST_X = 11, FIRST_Y, FIRST_G, BEGIN_ROW, BEGIN_LINE, PARAMS };

/* Calls a kernel, whose operands and firsts are set, for all places of `images` images of height x width. */
static tuff_result call_windows(lowering *lowering, kernel_call *call, const pooling *p, const node *node,
                                int64_t images, int64_t height, int64_t width) {
    const int64_t *image = p->image->shape.sizes, *pooled = p->pooled->shape.sizes, channels = image[1] / p->width;
    const attribute_value *a = node->attributes;
    const int64_t values[] = { image[2],          image[3],           pooled[2],         pooled[3],
                               channels,          a[KERNEL].list[0],  a[KERNEL].list[1], a[STRIDE].list[0],
                               a[STRIDE].list[1], a[PADDING].list[0], a[PADDING].list[1] };
    for (uint32_t i = 0; i < sizeof values / sizeof *values; i++) call->params[i] = (uint32_t)values[i];
    call->param_count = PARAMS;
    int64_t groups = (width * channels + LANES - 1) / LANES;
    for (int64_t row = 0; row < height; row += MAX_GROUPS)
        for (int64_t group = 0; group < groups; group += MAX_GROUPS) {
            call->params[BEGIN_ROW] = (uint32_t)row;
            call->params[BEGIN_LINE] = (uint32_t)(group * LANES);
            call->groups[0] = (uint32_t)smaller(groups - group, MAX_GROUPS);
            call->groups[1] = (uint32_t)smaller(height - row, MAX_GROUPS);
            call->groups[2] = (uint32_t)images;
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

static tuff_result lower_pool(lowering *lowering, const node *node, bool average) {
    const view *x = lowering_view(lowering, node->inputs[0]), *y = lowering_view(lowering, node->outputs[0]);
    pooling p = pooling_of(lowering, x, y, NULL);
    int64_t images = x->shape.sizes[0];
    for (int64_t n = 0; n < images; n += p.image_step) {
        int64_t part = smaller(p.image_step, images - n);
        kernel_call call = { .kernel = p.width == 4 ? KERNEL_POOL_4 : KERNEL_POOL_1,
                             .constants = { average, average && !node->attributes[INCLUDE_PADDING].i },
                             .constant_count = 2,
                             .operand_count = 2 };
        call.operands[0] = bind(lowering, x, n, part, ACCESS_READ, p.width, &call.params[FIRST_X]);
        call.operands[1] = bind(lowering, y, n, part, ACCESS_WRITE, p.width, &call.params[FIRST_Y]);
        TRY(call_windows(lowering, &call, &p, node, part, y->shape.sizes[2], y->shape.sizes[3]));
    }
    return TUFF_OK;
}

static tuff_result lower_max(lowering *lowering, const node *node) {
    return lower_pool(lowering, node, false);
}

static tuff_result lower_average(lowering *lowering, const node *node) {
    return lower_pool(lowering, node, true);
}

static tuff_result lower_average_backward(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *gx = lowering_view(lowering, node->outputs[0]);
    pooling p = pooling_of(lowering, gx, g, NULL);
    int64_t images = gx->shape.sizes[0];
    for (int64_t n = 0; n < images; n += p.image_step) {
        int64_t part = smaller(p.image_step, images - n);
        kernel_call call = { .kernel = p.width == 4 ? KERNEL_AVERAGE_BACKWARD_4 : KERNEL_AVERAGE_BACKWARD_1,
                             .constants = { !node->attributes[INCLUDE_PADDING].i },
                             .constant_count = 1,
                             .operand_count = 2 };
        call.operands[0] = bind(lowering, g, n, part, ACCESS_READ, p.width, &call.params[FIRST_G]);
        call.operands[1] = bind(lowering, gx, n, part, ACCESS_WRITE, p.width, &call.params[FIRST_Y]);
        TRY(call_windows(lowering, &call, &p, node, part, gx->shape.sizes[2], gx->shape.sizes[3]));
    }
    return TUFF_OK;
}

static tuff_result lower_max_backward(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *x = lowering_view(lowering, node->inputs[1]);
    const view *gx = lowering_view(lowering, node->outputs[0]);
    pooling p = pooling_of(lowering, gx, g, x);
    const attribute_value *a = node->attributes;
    int64_t images = gx->shape.sizes[0], sizes[2] = { gx->shape.sizes[2], gx->shape.sizes[3] };
    bool overlap = device_force(lowering_device(lowering), "pool") != NULL; /* "pool=overlap" */
    bool apart = !overlap && a[STRIDE].list[0] >= a[KERNEL].list[0] && a[STRIDE].list[1] >= a[KERNEL].list[1];
    for (uint32_t axis = 0; apart && axis < 2; axis++) /* cells, as in shaders/pooling/max_backward.comp */
        sizes[axis] = (sizes[axis] + a[PADDING].list[axis] - 1) / a[STRIDE].list[axis] + 1;
    for (int64_t n = 0; n < images; n += p.image_step) {
        int64_t part = smaller(p.image_step, images - n);
        kernel_call call = { .kernel = p.width == 4 ? KERNEL_MAX_BACKWARD_4 : KERNEL_MAX_BACKWARD_1,
                             .constants = { apart, node->chain != NULL },
                             .constant_count = 2,
                             .operand_count = 3 };
        call.operands[0] = bind(lowering, g, n, part, ACCESS_READ, p.width, &call.params[FIRST_G]);
        call.operands[1] = bind(lowering, x, n, part, ACCESS_READ, p.width, &call.params[FIRST_X]);
        call.operands[2] = bind(lowering, gx, n, part, ACCESS_WRITE, p.width, &call.params[FIRST_Y]);
        TRY(call_windows(lowering, &call, &p, node, part, sizes[0], sizes[1]));
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

static tuff_result infer_pool(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    char text[160], shape[SHAPE_TEXT];
    if (x->shape.rank != 4)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape (N, C, H, W)",
                          node_text(node, text), x->name, shape_text(&x->shape, shape));
    inference->shapes[0] = x->shape;
    for (uint32_t axis = 0; axis < 2; axis++) {
        int64_t kernel = node->attributes[KERNEL].list[axis], stride = node->attributes[STRIDE].list[axis];
        int64_t padding = node->attributes[PADDING].list[axis], size = x->shape.sizes[2 + axis];
        const char *side = axis ? "width" : "height";
        if (kernel < 1 || stride < 1 || padding < 0 || padding > kernel / 2 || kernel > INT16_MAX || stride > INT16_MAX)
            return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                              "%s: along the %s kernel %lld, stride %lld, padding %lld: kernel and stride are at least "
                              "1, padding is at most half the kernel",
                              node_text(node, text), side, (long long)kernel, (long long)stride, (long long)padding);
        if (size + 2 * padding < kernel)
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                              "%s: the kernel's %s %lld is larger than '%s' %s with padding %lld",
                              node_text(node, text), side, (long long)kernel, x->name, shape_text(&x->shape, shape),
                              (long long)padding);
        inference->shapes[0].sizes[2 + axis] = (size + 2 * padding - kernel) / stride + 1;
    }
    return TUFF_OK;
}

static tuff_result infer_pool_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

static const operator max_pool2d_backward = {
    .name = "max_pool2d_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "gx = sum of gradient over the windows whose first largest element is x's",
    .inputs = { "grad_output", "input" },
    .attributes = pool_attributes,
    .attribute_count = 4,
    .infer = infer_pool_backward,
    .input_layouts = { LAYOUT_CHANNELS_LAST, LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_max_backward,
    .accepts_epilogue = accepts_relu_gradient,
};

static const operator avg_pool2d_backward = {
    .name = "avg_pool2d_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "gx = sum of gradient / size over the windows that cover x",
    .inputs = { "grad_output", "input" },
    .attributes = pool_attributes,
    .attribute_count = 4,
    .shape_only = 1u << 1,
    .infer = infer_pool_backward,
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
    return gradient_of(&max_pool2d_backward, node, grad_outputs[0], grad_inputs);
}

static tuff_result gradient_average(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    return gradient_of(&avg_pool2d_backward, node, grad_outputs[0], grad_inputs);
}

static const operator max_pool2d = {
    .name = "max_pool2d",
    .formula = "y[n, c, i, j] = max over the window of x[n, c]",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.max_pool2d",
    .attributes = pool_attributes,
    .attribute_count = 4,
    .infer = infer_pool,
    .gradient = gradient_max,
    .input_layouts = { LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_max,
};

static const operator avg_pool2d = {
    .name = "avg_pool2d",
    .formula = "y[n, c, i, j] = mean over the window of x[n, c]",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.avg_pool2d",
    .attributes = pool_attributes,
    .attribute_count = 4,
    .infer = infer_pool,
    .gradient = gradient_average,
    .input_layouts = { LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_average,
};

static tuff_tensor *apply_pool(const operator* op, tuff_tensor *x, const tuff_pool2d_desc *desc) {
    if (!x) return NULL;
    static const tuff_pool2d_desc none;
    if (!desc) desc = &none;
    attribute_value attributes[4] = { [KERNEL] = { .i = 2 }, [STRIDE] = { .i = 2 }, [PADDING] = { .i = 2 } };
    for (uint32_t axis = 0; axis < 2; axis++) {
        attributes[KERNEL].list[axis] = desc->kernel[axis];
        attributes[STRIDE].list[axis] = desc->stride[axis] ? desc->stride[axis] : desc->kernel[axis];
        attributes[PADDING].list[axis] = desc->padding[axis];
    }
    attributes[INCLUDE_PADDING].i = !desc->exclude_padding;
    return graph_apply(x->graph, op, &x, 1, attributes, NULL);
}

tuff_tensor *tuff_max_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc) {
    return apply_pool(&max_pool2d, x, desc);
}

tuff_tensor *tuff_avg_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc) {
    return apply_pool(&avg_pool2d, x, desc);
}

/* ---- global average: a mean ----------------------------------------------------------------------- */

static tuff_result infer_global(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    char text[160], shape[SHAPE_TEXT];
    if (x->shape.rank != 4)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape (N, C, H, W)",
                          node_text(node, text), x->name, shape_text(&x->shape, shape));
    inference->shapes[0] = x->shape;
    inference->shapes[0].sizes[2] = inference->shapes[0].sizes[3] = 1;
    return TUFF_OK;
}

static tuff_result expand_global(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)node, (void)training;
    outputs[0] = tuff_mean(inputs[0], &(tuff_reduce_desc){ .axes = { 2, 3 }, .axis_count = 2, .keepdim = true });
    return graph->result;
}

/* gx = gradient / (H W), broadcast: a chain over x's shape */
static tuff_result expand_global_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                          bool training, tuff_tensor **outputs) {
    (void)node, (void)training;
    const tuff_shape *x = &inputs[1]->shape;
    float share = (float)(1.0 / (double)(x->sizes[2] * x->sizes[3]));
    outputs[0] = tuff_mul(inputs[0], tuff_constant(graph, share, *x));
    return graph->result;
}

static const operator global_avg_pool2d_backward = {
    .name = "global_avg_pool2d_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "gx = gradient / (H W)",
    .inputs = { "grad_output", "input" },
    .shape_only = 1u << 1,
    .infer = infer_pool_backward,
    .expand = expand_global_backward,
};

static tuff_result gradient_global(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    (void)needs;
    return gradient_of(&global_avg_pool2d_backward, node, grad_outputs[0], grad_inputs);
}

static const operator global_avg_pool2d = {
    .name = "global_avg_pool2d",
    .formula = "y[n, c, 0, 0] = mean of x[n, c]",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.adaptive_avg_pool2d",
    .infer = infer_global,
    .gradient = gradient_global,
    .expand = expand_global,
};

tuff_tensor *tuff_global_avg_pool2d(tuff_tensor *x) {
    return x ? graph_apply(x->graph, &global_avg_pool2d, &x, 1, NULL, NULL) : NULL;
}

static const operator* const rows[] = { &max_pool2d,          &max_pool2d_backward, &avg_pool2d,
                                        &avg_pool2d_backward, &global_avg_pool2d,   &global_avg_pool2d_backward };
const operator_family family_pooling = { rows, sizeof rows / sizeof *rows };
