/* The passes of a convolution: three products that gather one operand from an image (shaders/product).
 *
 * With the weights laid out as (kernel, I, O) and images channels-last, the forward pass is [pixels of y] x [kernel I]
 * times [kernel I] x [O]; the weights' gradient is [kernel I] x [pixels of y] times [pixels of y] x [O]; the input's
 * gradient is [pixels of x] x [kernel O] times, for each tap, [O] x [I]; with a stride that is several products, each
 * of the pixels that meet the same taps (phases.c). Groups are a batch, but with a channel in each (depthwise) all of
 * them are columns of one product. Images have one to three axes.
 *
 * A transposed convolution is the input's gradient as a forward pass. */
#include "layers/convolution.h"

#include "layers/product.h"

static const attribute attributes[PASS_ATTRIBUTES] = {
    [PASS_STRIDE] = { .name = "stride", .type = ATTRIBUTE_INTS },
    [PASS_PADDING] = { .name = "padding", .type = ATTRIBUTE_INTS },
    [PASS_DILATION] = { .name = "dilation", .type = ATTRIBUTE_INTS },
    [PASS_GROUPS] = { .name = "groups", .type = ATTRIBUTE_INT, .value = { .i = 1 } },
    [PASS_OUTPUT_PADDING] = { .name = "output_padding", .type = ATTRIBUTE_INTS },
};

static const operator convolution_like, convolution_grad_input, convolution_grad_weight;

/* ---- shapes ------------------------------------------------------------------------------------- */

static const char *const image_shapes[] = { "", "signals (N, C, L)", "images (N, C, H, W)", "volumes (N, C, D, H, W)" };
static const char *const kernel_shapes[] = { "", "k", "kh, kw", "kd, kh, kw" };

static int64_t output_size(const attribute_value *a, uint32_t axes, uint32_t axis, int64_t size, int64_t kernel,
                           bool transposed) {
    int64_t reach = a[PASS_DILATION].list[axis] * (kernel - 1) + 1, stride = a[PASS_STRIDE].list[axis];
    int64_t padding = a[PASS_PADDING].list[axis] + a[PASS_PADDING].list[axes + axis];
    if (transposed) return (size - 1) * stride - padding + reach + a[PASS_OUTPUT_PADDING].list[axis];
    return size + padding < reach ? 0 : (size + padding - reach) / stride + 1;
}

tuff_result convolution_infer(inference *inference, const tuff_shape *batch, uint32_t axes, bool transposed,
                              const attribute_value *passes) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *w = node->inputs[1];
    char text[160], sx[SHAPE_TEXT], sw[SHAPE_TEXT];
    node_text(node, text);
    shape_text(&x->shape, sx);
    shape_text(&w->shape, sw);
    if (batch->rank != 2 + axes || w->shape.rank != 2 + axes)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s and '%s' %s: it takes %s and weights (%s, %s)", text, x->name, sx, w->name, sw,
                          image_shapes[axes], transposed ? "C, O / groups" : "O, C / groups", kernel_shapes[axes]);
    const int64_t *xs = batch->sizes, *ws = w->shape.sizes;
    int64_t groups = passes[PASS_GROUPS].i;
    bool fit = groups >= 1 && xs[1] % groups == 0 && ws[0] % groups == 0;
    if (!fit || (transposed ? ws[0] != xs[1] : xs[1] / groups != ws[1]))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s and '%s' %s do not fit in %lld groups: channels must be the weights' %s, "
                          "and both sides a multiple of groups",
                          text, x->name, sx, w->name, sw, (long long)groups,
                          transposed ? "first size" : "second size times groups");
    inference->shapes[0] = TUFF_SHAPE(xs[0], transposed ? ws[1] * groups : ws[0]);
    inference->shapes[0].rank = 2 + axes;
    for (uint32_t i = 0; i < axes; i++) {
        int64_t size = output_size(passes, axes, i, xs[2 + i], ws[2 + i], transposed);
        inference->shapes[0].sizes[2 + i] = size;
        if (size >= 1) continue;
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          transposed ? "%s: the kernel of '%s' %s leaves nothing of '%s' %s inside the padding"
                                     : "%s: the kernel of '%s' %s is larger than the padded image of '%s' %s",
                          text, w->name, sw, x->name, sx);
    }
    return TUFF_OK;
}

static tuff_result infer_convolution(inference *inference) {
    const node *node = inference->node;
    return convolution_infer(inference, &node->inputs[0]->shape, (uint32_t)node->attributes[PASS_STRIDE].i, false,
                             node->attributes);
}

static tuff_result infer_transposed(inference *inference) {
    const node *node = inference->node;
    return convolution_infer(inference, &node->inputs[0]->shape, (uint32_t)node->attributes[PASS_STRIDE].i, true,
                             node->attributes);
}

/* As the third input. */
static tuff_result infer_like(inference *inference) {
    inference->shapes[0] = inference->node->inputs[2]->shape;
    return TUFF_OK;
}

/* ---- gradients: all passes are linear in both operands, so the gradients of the gradients are the same passes ---- */

static tuff_tensor *apply(const node *node, const operator* op, tuff_tensor *a, tuff_tensor *b, tuff_tensor *like) {
    if (!a || !b || !like) return NULL;
    return graph_apply(a->graph, op, (tuff_tensor *[]){ a, b, like }, 3, node->attributes, NULL);
}

static tuff_result gradient_of_convolution(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                           tuff_tensor **grad_inputs) {
    tuff_tensor *x = node->inputs[0], *w = node->inputs[1], *g = grad_outputs[0];
    if (needs & 1) grad_inputs[0] = apply(node, &convolution_grad_input, g, w, x);
    if (needs & 2) grad_inputs[1] = apply(node, &convolution_grad_weight, g, x, w);
    return node_graph(node)->result;
}

static tuff_result gradient_of_grad_input(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                          tuff_tensor **grad_inputs) {
    tuff_tensor *g = node->inputs[0], *w = node->inputs[1], *gg = grad_outputs[0];
    if (needs & 1) grad_inputs[0] = apply(node, &convolution_like, gg, w, g);
    if (needs & 2) grad_inputs[1] = apply(node, &convolution_grad_weight, g, gg, w);
    return node_graph(node)->result;
}

static tuff_result gradient_of_grad_weight(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                           tuff_tensor **grad_inputs) {
    tuff_tensor *g = node->inputs[0], *x = node->inputs[1], *gg = grad_outputs[0];
    if (needs & 1) grad_inputs[0] = apply(node, &convolution_like, x, gg, g);
    if (needs & 2) grad_inputs[1] = apply(node, &convolution_grad_input, g, gg, x);
    return node_graph(node)->result;
}

/* ---- kernels ------------------------------------------------------------------------------------ */

/* What the products of the three passes need of the weights (O, I, ...). */
typedef struct weights {
    const view *view;
    int64_t groups, out, in; /* in: of one group */
    int64_t taps;
    int64_t depthwise; /* outputs of each channel, if each has a group of its own; else 0 */
} weights;

static weights weights_of(const lowering *lowering, const node *node, const tuff_tensor *tensor) {
    const view *view = lowering_view(lowering, tensor);
    const int64_t *sizes = view->shape.sizes;
    weights w = {
        view, node->attributes[PASS_GROUPS].i, sizes[0], sizes[1], view_count(view) / sizes[0] / sizes[1], 0
    };
    if (w.in == 1 && w.groups > 1) w.depthwise = w.out / w.groups;
    return w;
}

static int64_t pixels(const view *image) {
    return view_count(image) / image->shape.sizes[1];
}

/* Which pixel of x a pixel of y meets under a tap: p * stride - padding + t * dilation; or, backward, the other way
 * round. */
static product_image image_of(const node *node, const view *view, const weights *w, const tuff_tensor *grid,
                              bool backward) {
    const attribute_value *a = node->attributes;
    product_image image = { .view = view };
    for (uint32_t axis = 0; axis < IMAGE_AXES; axis++) {
        uint32_t at = image_axis(view, axis), i = at - 2;
        image.grid[axis] = image.kernel[axis] = image.scale[axis] = image.divide[axis] = 1;
        if (!at) continue;
        image.grid[axis] = grid->shape.sizes[at];
        image.kernel[axis] = w->view->shape.sizes[at];
        int64_t stride = a[PASS_STRIDE].list[i], padding = a[PASS_PADDING].list[i], dilation = a[PASS_DILATION].list[i];
        *(backward ? &image.divide[axis] : &image.scale[axis]) = stride;
        image.offset[axis] = backward ? padding : -padding;
        image.advance[axis] = backward ? -dilation : dilation;
    }
    return image;
}

static tuff_result lower_convolution(lowering *lowering, const node *node) {
    const view *x = lowering_view(lowering, node->inputs[0]), *y = lowering_view(lowering, node->outputs[0]);
    weights w = weights_of(lowering, node, node->inputs[1]);
    int64_t groups = w.depthwise ? 1 : w.groups;
    product product = {
        .loader = LOADER_WINDOW,
        .m = pixels(y),
        .n = w.out / groups,
        .k = w.in * w.taps,
        .batch = { groups },
        .batch_axes = 1,
        .a = { .view = x, .batch = { w.in * x->strides[1] } },
        .b = { .view = w.view, .row = w.out, .column = 1, .batch = { w.out / groups } },
        .d = { .view = y, .row = w.out, .column = 1, .batch = { w.out / groups } },
        .image = image_of(node, x, &w, node->outputs[0], false),
        .depthwise = w.depthwise,
        .own_inputs = operator_input_count(node->op),
    };
    product.image.channels = w.in;
    product.image.b_tap = w.in * w.out;
    return product_lower(lowering, node, &product);
}

static tuff_result lower_grad_input(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *x = lowering_view(lowering, node->outputs[0]);
    weights w = weights_of(lowering, node, node->inputs[1]);
    int64_t groups = w.depthwise ? 1 : w.groups, channels = w.out / w.groups;
    product product = {
        .loader = LOADER_WINDOW,
        .m = pixels(x),
        .n = w.depthwise ? w.groups : w.in,
        .k = channels * w.taps,
        .batch = { groups },
        .batch_axes = 1,
        .a = { .view = g, .batch = { channels * g->strides[1] } },
        .b = { .view = w.view, .row = 1, .column = w.out, .batch = { channels } },
        .d = { .view = x, .row = w.in * w.groups, .column = 1, .batch = { w.in } },
        .image = image_of(node, g, &w, node->outputs[0], true),
        .depthwise = w.depthwise ? 1 : 0,
        .own_inputs = operator_input_count(node->op),
    };
    if (w.depthwise) { /* a column's weights lie side by side */
        product.b.column = channels;
        if (channels == 1) product.b.row = w.out;
    }
    product.image.channels = channels;
    product.image.b_tap = w.in * w.out;
    return product_lower_phases(lowering, node, &product);
}

static tuff_result lower_grad_weight(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *x = lowering_view(lowering, node->inputs[1]);
    weights w = weights_of(lowering, node, node->outputs[0]);
    int64_t groups = w.depthwise ? 1 : w.groups;
    product product = {
        .loader = LOADER_PATCH,
        .m = w.in * w.taps,
        .n = w.out / groups,
        .k = pixels(g),
        .batch = { groups },
        .batch_axes = 1,
        .a = { .view = x, .batch = { w.in * x->strides[1] } },
        .b = { .view = g, .row = w.out, .column = 1, .batch = { w.out / groups } },
        .d = { .view = w.view, .row = w.out, .column = 1, .batch = { w.out / groups } },
        .image = image_of(node, x, &w, node->inputs[0], false),
        .depthwise = w.depthwise,
        .own_inputs = 3,
    };
    product.image.channels = w.in;
    return product_lower(lowering, node, &product);
}

/* ---- rows --------------------------------------------------------------------------------------- */

const operator convolution = {
    .name = "convolution",
    .formula = "y[n, o, p] = sum over c, t of weight[o, c, t] * input[n, c, p * stride - padding + t * dilation]",
    .inputs = { "input", "weight" },
    .attributes = attributes,
    .attribute_count = PASS_ATTRIBUTES,
    .flags = OPERATOR_INTERNAL,
    .infer = infer_convolution,
    .gradient = gradient_of_convolution,
    .input_layouts = { LAYOUT_ANY, LAYOUT_KERNEL_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_convolution,
    .accepts_epilogue = product_accepts_epilogue,
};

static const operator convolution_like = {
    .name = "convolution_like",
    .formula = "convolution with the shape of like",
    .inputs = { "input", "weight", "like" },
    .attributes = attributes,
    .attribute_count = PASS_ATTRIBUTES,
    .flags = OPERATOR_INTERNAL,
    .shape_only = 1u << 2,
    .infer = infer_like,
    .gradient = gradient_of_convolution,
    .input_layouts = { LAYOUT_ANY, LAYOUT_KERNEL_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_convolution,
    .accepts_epilogue = product_accepts_epilogue,
};

const operator convolution_transposed = {
    .name = "convolution_transposed",
    .formula = "y[n, c, q] = sum over o, p, t with p * stride - padding + t * dilation = q of weight[o, c, t] * "
               "input[n, o, p]",
    .inputs = { "input", "weight" },
    .attributes = attributes,
    .attribute_count = PASS_ATTRIBUTES,
    .flags = OPERATOR_INTERNAL,
    .infer = infer_transposed,
    .gradient = gradient_of_grad_input,
    .input_layouts = { LAYOUT_ANY, LAYOUT_KERNEL_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_grad_input,
    .accepts_epilogue = product_accepts_epilogue,
};

static const operator convolution_grad_input = {
    .name = "convolution_grad_input",
    .formula = "convolution_transposed with the shape of like",
    .inputs = { "grad_output", "weight", "like" },
    .attributes = attributes,
    .attribute_count = PASS_ATTRIBUTES,
    .flags = OPERATOR_INTERNAL,
    .shape_only = 1u << 2,
    .infer = infer_like,
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
    .attribute_count = PASS_ATTRIBUTES,
    .flags = OPERATOR_INTERNAL,
    .shape_only = 1u << 2,
    .infer = infer_like,
    .gradient = gradient_of_grad_weight,
    .input_layouts = { LAYOUT_CHANNELS_LAST, LAYOUT_ANY },
    .output_layout = LAYOUT_KERNEL_LAST,
    .lower = lower_grad_weight,
};

const operator* const convolution_passes[CONVOLUTION_PASSES] = {
    &convolution, &convolution_like, &convolution_transposed, &convolution_grad_input, &convolution_grad_weight,
};
