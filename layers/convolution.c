/* conv2d and its gradients: three products that gather one operand from an image (shaders/product).
 *
 * With the weights laid out as (kh, kw, I, O) and images channels-last, the forward pass is [pixels of y] x
 * [kh kw I] times [kh kw I] x [O]; the weights' gradient is [kh kw I] x [pixels of y] times [pixels of y] x [O]; the
 * input's gradient is [pixels of x] x [kh kw O] times, for each tap, [O] x [I]. Groups are a batch. */
#include "layers/families.h"
#include "layers/product.h"
#include "layers/state.h"

#include <math.h>

enum { STRIDE, PADDING, DILATION, GROUPS, ATTRIBUTES };

static const attribute attributes[ATTRIBUTES] = {
    [STRIDE] = { .name = "stride", .type = ATTRIBUTE_INTS, .length = 2, .value = { .i = 2, .list = { 1, 1 } } },
    [PADDING] = { .name = "padding", .type = ATTRIBUTE_INTS, .length = 2, .value = { .i = 2 } },
    [DILATION] = { .name = "dilation", .type = ATTRIBUTE_INTS, .length = 2, .value = { .i = 2, .list = { 1, 1 } } },
    [GROUPS] = { .name = "groups", .type = ATTRIBUTE_INT, .value = { .i = 1 } },
};

static const operator convolution, convolution_grad_input, convolution_grad_weight;

/* ---- shapes ------------------------------------------------------------------------------------- */

/* Pixels of the output along one axis; below 1 if the kernel does not fit. */
static int64_t output_size(const node *node, int64_t size, int64_t kernel, uint32_t axis) {
    int64_t reach = node->attributes[DILATION].list[axis] * (kernel - 1) + 1;
    int64_t room = size + 2 * node->attributes[PADDING].list[axis] - reach;
    return room < 0 ? 0 : room / node->attributes[STRIDE].list[axis] + 1;
}

static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *w = node->inputs[1];
    char text[160], sx[SHAPE_TEXT], sw[SHAPE_TEXT];
    node_text(node, text);
    shape_text(&x->shape, sx);
    shape_text(&w->shape, sw);
    if (x->shape.rank != 4 || w->shape.rank != 4)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s and '%s' %s: it takes images (N, C, H, W) and weights (O, C / groups, kh, kw)",
                          text, x->name, sx, w->name, sw);
    int64_t groups = node->attributes[GROUPS].i;
    for (uint32_t i = 0; i < 2; i++) {
        int64_t stride = node->attributes[STRIDE].list[i], dilation = node->attributes[DILATION].list[i];
        int64_t padding = node->attributes[PADDING].list[i];
        if (stride < 1 || dilation < 1 || padding < 0 || stride > INT16_MAX || dilation > INT16_MAX
            || padding > INT16_MAX)
            return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                              "%s: stride and dilation must be 1 to %d, padding 0 to %d", text, INT16_MAX, INT16_MAX);
    }
    const int64_t *xs = x->shape.sizes, *ws = w->shape.sizes;
    if (groups < 1 || xs[1] % groups || ws[0] % groups || xs[1] / groups != ws[1])
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s and '%s' %s do not fit in %lld groups: channels must be weights' second size "
                          "times groups, and both sides a multiple of groups",
                          text, x->name, sx, w->name, sw, (long long)groups);
    int64_t height = output_size(node, xs[2], ws[2], 0), width = output_size(node, xs[3], ws[3], 1);
    if (height < 1 || width < 1)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the kernel of '%s' %s is larger than the padded image of '%s' %s", text, w->name, sw,
                          x->name, sx);
    inference->shapes[0] = TUFF_SHAPE(xs[0], ws[0], height, width);
    return TUFF_OK;
}

static tuff_result infer_conv2d(inference *inference) {
    TRY(infer(inference));
    const node *node = inference->node;
    const tuff_tensor *bias = node->inputs[2], *w = node->inputs[1];
    char text[160], shape[SHAPE_TEXT];
    if (bias && (bias->shape.rank != 1 || bias->shape.sizes[0] != w->shape.sizes[0]))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: the bias '%s' %s must have the shape (%lld)",
                          node_text(node, text), bias->name, shape_text(&bias->shape, shape),
                          (long long)w->shape.sizes[0]);
    return TUFF_OK;
}

/* grad_input(grad_output, weight, like input), grad_weight(grad_output, input, like weight): as the third one. */
static tuff_result infer_gradient(inference *inference) {
    inference->shapes[0] = inference->node->inputs[2]->shape;
    return TUFF_OK;
}

/* ---- gradients ---------------------------------------------------------------------------------- */

static tuff_tensor *apply(const node *node, const operator* op, tuff_tensor *a, tuff_tensor *b, tuff_tensor *like) {
    if (!a || !b) return NULL;
    return graph_apply(a->graph, op, (tuff_tensor *[]){ a, b, like }, like ? 3 : 2, node->attributes, NULL);
}

static tuff_result gradient(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                            tuff_tensor **grad_inputs) {
    tuff_tensor *x = node->inputs[0], *w = node->inputs[1], *g = grad_outputs[0];
    if (needs & 1) grad_inputs[0] = apply(node, &convolution_grad_input, g, w, x);
    if (needs & 2) grad_inputs[1] = apply(node, &convolution_grad_weight, g, x, w);
    return node_graph(node)->result;
}

/* All three are linear in both operands, so the gradients of the gradients are the same three. */
static tuff_result gradient_of_grad_input(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                          tuff_tensor **grad_inputs) {
    tuff_tensor *g = node->inputs[0], *w = node->inputs[1], *gg = grad_outputs[0];
    if (needs & 1) grad_inputs[0] = apply(node, &convolution, gg, w, NULL);
    if (needs & 2) grad_inputs[1] = apply(node, &convolution_grad_weight, g, gg, w);
    return node_graph(node)->result;
}

static tuff_result gradient_of_grad_weight(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                           tuff_tensor **grad_inputs) {
    tuff_tensor *g = node->inputs[0], *x = node->inputs[1], *gg = grad_outputs[0];
    if (needs & 1) grad_inputs[0] = apply(node, &convolution, x, gg, NULL);
    if (needs & 2) grad_inputs[1] = apply(node, &convolution_grad_input, g, gg, x);
    return node_graph(node)->result;
}

/* ---- kernels ------------------------------------------------------------------------------------ */

/* Which pixel of x a pixel of y meets under a tap. */
static product_image forward_image(const node *node, const view *x, const view *w, const view *y) {
    product_image image = { .view = x, .channels = w->shape.sizes[1], .kernel_w = w->shape.sizes[3] };
    for (uint32_t i = 0; i < 2; i++) {
        image.grid[i] = y->shape.sizes[2 + i];
        image.scale[i] = node->attributes[STRIDE].list[i];
        image.offset[i] = -node->attributes[PADDING].list[i];
        image.advance[i] = node->attributes[DILATION].list[i];
        image.divide[i] = 1;
    }
    return image;
}

static int64_t pixels(const view *image) {
    return image->shape.sizes[0] * image->shape.sizes[2] * image->shape.sizes[3];
}

static tuff_result lower(lowering *lowering, const node *node) {
    const view *x = lowering_view(lowering, node->inputs[0]), *w = lowering_view(lowering, node->inputs[1]);
    const view *y = lowering_view(lowering, node->outputs[0]);
    int64_t groups = node->attributes[GROUPS].i, out = w->shape.sizes[0], in = w->shape.sizes[1];
    product product = {
        .loader = LOADER_WINDOW,
        .m = pixels(y),
        .n = out / groups,
        .k = in * w->shape.sizes[2] * w->shape.sizes[3],
        .batch = { groups },
        .batch_axes = 1,
        .a = { .view = x, .batch = { in * x->strides[1] } },
        .b = { .view = w, .row = out, .column = 1, .batch = { out / groups } },
        .d = { .view = y, .row = out, .column = 1, .batch = { out / groups } },
        .image = forward_image(node, x, w, y),
        .own_inputs = 2,
    };
    product.image.b_tap = in * out;
    return product_lower(lowering, node, &product);
}

static tuff_result lower_grad_input(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *w = lowering_view(lowering, node->inputs[1]);
    const view *x = lowering_view(lowering, node->outputs[0]);
    int64_t groups = node->attributes[GROUPS].i, out = w->shape.sizes[0], in = w->shape.sizes[1];
    product product = {
        .loader = LOADER_WINDOW,
        .m = pixels(x),
        .n = in,
        .k = out / groups * w->shape.sizes[2] * w->shape.sizes[3],
        .batch = { groups },
        .batch_axes = 1,
        .a = { .view = g, .batch = { out / groups * g->strides[1] } },
        .b = { .view = w, .row = 1, .column = out, .batch = { out / groups } },
        .d = { .view = x, .row = in * groups, .column = 1, .batch = { in } },
        .image = { .view = g, .channels = out / groups, .kernel_w = w->shape.sizes[3], .b_tap = in * out },
        .own_inputs = 3,
    };
    for (uint32_t i = 0; i < 2; i++) { /* x = y * stride - padding + tap * dilation, solved for y */
        product.image.grid[i] = x->shape.sizes[2 + i];
        product.image.scale[i] = 1;
        product.image.offset[i] = node->attributes[PADDING].list[i];
        product.image.advance[i] = -node->attributes[DILATION].list[i];
        product.image.divide[i] = node->attributes[STRIDE].list[i];
    }
    return product_lower(lowering, node, &product);
}

static tuff_result lower_grad_weight(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *x = lowering_view(lowering, node->inputs[1]);
    const view *w = lowering_view(lowering, node->outputs[0]);
    int64_t groups = node->attributes[GROUPS].i, out = w->shape.sizes[0], in = w->shape.sizes[1];
    product product = {
        .loader = LOADER_PATCH,
        .m = in * w->shape.sizes[2] * w->shape.sizes[3],
        .n = out / groups,
        .k = pixels(g),
        .batch = { groups },
        .batch_axes = 1,
        .a = { .view = x, .batch = { in * x->strides[1] } },
        .b = { .view = g, .row = out, .column = 1, .batch = { out / groups } },
        .d = { .view = w, .row = out, .column = 1, .batch = { out / groups } },
        .image = forward_image(node, x, w, g),
        .own_inputs = 3,
    };
    return product_lower(lowering, node, &product);
}

static const operator convolution = {
    .name = "convolution",
    .formula = "conv2d without its bias",
    .inputs = { "input", "weight" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .flags = OPERATOR_INTERNAL,
    .infer = infer,
    .gradient = gradient,
    .input_layouts = { LAYOUT_ANY, LAYOUT_KERNEL_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower,
    .accepts_epilogue = product_accepts_epilogue,
};

static const operator convolution_grad_input = {
    .name = "convolution_grad_input",
    .formula =
        "gx[n, c, q] = sum over o, p, t with p * stride - padding + t * dilation = q of w[o, c, t] * gy[n, o, p]",
    .inputs = { "grad_output", "weight", "like" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .flags = OPERATOR_INTERNAL,
    .shape_only = 1u << 2,
    .infer = infer_gradient,
    .gradient = gradient_of_grad_input,
    .input_layouts = { LAYOUT_CHANNELS_LAST, LAYOUT_KERNEL_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_grad_input,
    .accepts_epilogue = product_accepts_epilogue,
};

static const operator convolution_grad_weight = {
    .name = "convolution_grad_weight",
    .formula = "gw[o, c, t] = sum over n, p of gy[n, o, p] * x[n, c, p * stride - padding + t * dilation]",
    .inputs = { "grad_output", "input", "like" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .flags = OPERATOR_INTERNAL,
    .shape_only = 1u << 2,
    .infer = infer_gradient,
    .gradient = gradient_of_grad_weight,
    .input_layouts = { LAYOUT_CHANNELS_LAST, LAYOUT_ANY },
    .output_layout = LAYOUT_KERNEL_LAST,
    .lower = lower_grad_weight,
};

static tuff_result expand_conv2d(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *bias = inputs[2];
    outputs[0] = graph_apply(graph, &convolution, inputs, 2, node->attributes, NULL);
    if (bias) outputs[0] = tuff_add(outputs[0], tuff_reshape(bias, TUFF_SHAPE(1, bias->shape.sizes[0], 1, 1)));
    return graph->result;
}

static const operator operator_conv2d = {
    .name = "conv2d",
    .formula = "y[n, o, p] = bias[o] + sum over c, t of weight[o, c, t] * input[n, c, p * stride - padding + t * "
               "dilation]",
    .inputs = { "input", "weight", "bias?" },
    .pytorch = "torch.nn.functional.conv2d",
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .infer = infer_conv2d,
    .expand = expand_conv2d,
};

static const operator* const rows[] = { &operator_conv2d, &convolution, &convolution_grad_input,
                                        &convolution_grad_weight };
const operator_family family_convolution = { rows, sizeof rows / sizeof *rows };

/* ---- the layer ---------------------------------------------------------------------------------- */

tuff_tensor *tuff_conv2d(tuff_tensor *x, const tuff_conv2d_desc *desc) {
    if (!x) return NULL;
    tuff_graph *graph = x->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_conv2d_desc none;
    if (!desc) desc = &none;
    if (!layer_is_named(graph, "tuff_conv2d", desc->name)) return NULL;
    int64_t groups = desc->groups ? desc->groups : 1;
    if (desc->channels < 1 || desc->kernel[0] < 1 || desc->kernel[1] < 1 || groups < 1 || desc->channels > INT32_MAX
        || desc->kernel[0] > INT16_MAX || desc->kernel[1] > INT16_MAX) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT,
                   "tuff_conv2d '%s': channels (1 to %d) and kernel (1 to %d) are required, groups must be at least 1",
                   desc->name, INT32_MAX, INT16_MAX);
        return NULL;
    }
    char text[SHAPE_TEXT];
    if (x->shape.rank != 4) {
        graph_fail(graph, TUFF_ERROR_SHAPE, "tuff_conv2d '%s': '%s' %s must be a batch of images (N, C, H, W)",
                   desc->name, x->name, shape_text(&x->shape, text));
        return NULL;
    }
    int64_t channels = x->shape.sizes[1], in = channels / groups, taps = desc->kernel[0] * desc->kernel[1];
    if (channels % groups || desc->channels % groups) {
        graph_fail(graph, TUFF_ERROR_SHAPE,
                   "tuff_conv2d '%s': '%s' %s and %lld channels: both numbers of channels must be multiples of the "
                   "groups, %lld",
                   desc->name, x->name, shape_text(&x->shape, text), (long long)desc->channels, (long long)groups);
        return NULL;
    }
    /* torch.nn.Conv2d: kaiming_uniform_(a=sqrt(5)) is U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the bias the same */
    float bound = (float)(1 / sqrt((double)(in * taps)));
    const state_desc weight_desc = { .name = "weight",
                                     .shape = TUFF_SHAPE(desc->channels, in, desc->kernel[0], desc->kernel[1]),
                                     .layout = LAYOUT_KERNEL_LAST,
                                     .kind = TUFF_STATE_PARAMETER,
                                     .init = init_or(&desc->weight_init, TUFF_INIT_UNIFORM, bound),
                                     .fan_in = in * taps,
                                     .fan_out = desc->channels * taps };
    uint32_t states = tuff_model_state_count(graph->model);
    tuff_tensor *weight = layer_state(graph, desc->name, &weight_desc), *bias = NULL;
    if (weight && !desc->no_bias) {
        const state_desc bias_desc = { .name = "bias",
                                       .shape = TUFF_SHAPE(desc->channels),
                                       .kind = TUFF_STATE_PARAMETER,
                                       .init = init_or(&desc->bias_init, TUFF_INIT_UNIFORM, bound) };
        bias = layer_state(graph, desc->name, &bias_desc);
    }
    if (!weight) return layer_end(graph, states, NULL);
    attribute_value values[ATTRIBUTES] = { [GROUPS] = { .i = groups } };
    for (uint32_t i = 0; i < 2; i++) {
        values[STRIDE].list[i] = desc->stride[i] ? desc->stride[i] : 1;
        values[PADDING].list[i] = desc->padding[i];
        values[DILATION].list[i] = desc->dilation[i] ? desc->dilation[i] : 1;
    }
    values[STRIDE].i = values[PADDING].i = values[DILATION].i = 2;
    tuff_tensor *inputs[] = { x, weight, bias };
    return layer_end(graph, states, graph_apply(graph, &operator_conv2d, inputs, 3, values, desc->name));
}
