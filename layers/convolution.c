/* conv1d to conv3d and conv_transpose1d to conv_transpose3d, made of the passes in convolution_passes.c. */
#include "layers/convolution.h"

#include "layers/families.h"

#include <tuff/layers.h>

#include <string.h>

#define NUMBERS(NAME, AXES, ONE)                                                                                       \
    {                                                                                                                  \
        .name = NAME, .type = ATTRIBUTE_INTS, .length = AXES, .value = {.i = AXES, .list = { ONE, ONE, ONE } }         \
    }

#define CONV_TABLE(AXES)                                                                                               \
    {                                                                                                                  \
        [CONV_STRIDE] = NUMBERS("stride", AXES, 1), [CONV_DILATION] = NUMBERS("dilation", AXES, 1),                    \
        [CONV_PADDING] = { .name = "padding",                                                                          \
                           .type = ATTRIBUTE_INTS,                                                                     \
                           .length = AXES,                                                                             \
                           .value = { .i = AXES },                                                                     \
                           .choices = "valid|same" },                                                                  \
        [CONV_GROUPS] = { .name = "groups", .type = ATTRIBUTE_INT, .value = { .i = 1 } },                              \
    }

#define TRANSPOSE_TABLE(AXES)                                                                                          \
    {                                                                                                                  \
        [TRANSPOSE_STRIDE] = NUMBERS("stride", AXES, 1), [TRANSPOSE_PADDING] = NUMBERS("padding", AXES, 0),            \
        [TRANSPOSE_OUTPUT_PADDING] = NUMBERS("output_padding", AXES, 0),                                               \
        [TRANSPOSE_DILATION] = NUMBERS("dilation", AXES, 1),                                                           \
        [TRANSPOSE_GROUPS] = { .name = "groups", .type = ATTRIBUTE_INT, .value = { .i = 1 } },                         \
    }

static const attribute attributes[][CONV_ATTRIBUTES] = { [1] = CONV_TABLE(1), CONV_TABLE(2), CONV_TABLE(3) };
static const attribute transpose_attributes[][TRANSPOSE_ATTRIBUTES] = { [1] = TRANSPOSE_TABLE(1),
                                                                        TRANSPOSE_TABLE(2),
                                                                        TRANSPOSE_TABLE(3) };

/* ---- attributes --------------------------------------------------------------------------------- */

static uint32_t axes_of(const node *node) {
    return (uint32_t)node->attributes[CONV_STRIDE].i;
}

static bool is_transposed(const node *node) {
    return node->op == &convolution_transpose_rows[axes_of(node)];
}

/* How much the passes pad along an axis, in front and behind. PyTorch's "same" has the odd pixel behind. */
static void set_padding(const node *node, uint32_t axis, attribute_value *passes) {
    uint32_t axes = axes_of(node);
    const attribute_value *padding = &node->attributes[is_transposed(node) ? TRANSPOSE_PADDING : CONV_PADDING];
    int64_t front = padding->i < 0 ? 0 : padding->list[axis], behind = front;
    if (!is_transposed(node) && padding->i == PADDING_SAME) {
        int64_t both = passes[PASS_DILATION].list[axis] * (node->inputs[1]->shape.sizes[2 + axis] - 1);
        front = both / 2;
        behind = both - front;
    }
    passes[PASS_PADDING].list[axis] = front;
    passes[PASS_PADDING].list[axes + axis] = behind;
}

/* The passes' attributes, of checked ones. */
static void set_passes(const node *node, attribute_value passes[PASS_ATTRIBUTES]) {
    const attribute_value *a = node->attributes;
    bool transposed = is_transposed(node);
    memset(passes, 0, PASS_ATTRIBUTES * sizeof *passes);
    passes[PASS_STRIDE] = a[CONV_STRIDE];
    passes[PASS_DILATION] = a[transposed ? TRANSPOSE_DILATION : CONV_DILATION];
    passes[PASS_GROUPS] = a[transposed ? TRANSPOSE_GROUPS : CONV_GROUPS];
    passes[PASS_PADDING].i = 2 * axes_of(node);
    passes[PASS_OUTPUT_PADDING].i = axes_of(node);
    if (transposed) passes[PASS_OUTPUT_PADDING] = a[TRANSPOSE_OUTPUT_PADDING];
    for (uint32_t i = 0; i < axes_of(node); i++) set_padding(node, i, passes);
}

static tuff_result check_numbers(inference *inference, const char *name, const attribute_value *numbers,
                                 int64_t least) {
    char text[160];
    for (uint32_t i = 0; i < axes_of(inference->node); i++)
        if (numbers->list[i] < least || numbers->list[i] > INT16_MAX)
            return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: %s is %lld, it must be %lld to %d",
                              node_text(inference->node, text), name, (long long)numbers->list[i], (long long)least,
                              INT16_MAX);
    return TUFF_OK;
}

static tuff_result check_attributes(inference *inference) {
    const node *node = inference->node;
    const attribute_value *a = node->attributes;
    uint32_t axes = axes_of(node);
    bool transposed = is_transposed(node);
    const attribute_value *stride = &a[CONV_STRIDE], *dilation = &a[transposed ? TRANSPOSE_DILATION : CONV_DILATION];
    const attribute_value *padding = &a[transposed ? TRANSPOSE_PADDING : CONV_PADDING];
    char text[160];
    node_text(node, text);
    TRY(check_numbers(inference, "stride", stride, 1));
    TRY(check_numbers(inference, "dilation", dilation, 1));
    if (padding->i >= 0) TRY(check_numbers(inference, "padding", padding, 0));
    for (uint32_t i = 0; i < axes; i++) {
        if (!transposed && padding->i == PADDING_SAME && stride->list[i] != 1)
            return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                              "%s: padding \"same\" needs a stride of 1; give the padding in numbers", text);
        if (!transposed) continue;
        int64_t more = a[TRANSPOSE_OUTPUT_PADDING].list[i];
        if (more < 0 || (more >= stride->list[i] && more >= dilation->list[i]))
            return graph_fail(
                inference->graph, TUFF_ERROR_ARGUMENT,
                "%s: output_padding is %lld; it must be smaller than the stride or the dilation, %lld and "
                "%lld",
                text, (long long)more, (long long)stride->list[i], (long long)dilation->list[i]);
    }
    return TUFF_OK;
}

/* ---- rows --------------------------------------------------------------------------------------- */

/* Whether the input is one image, without an axis for a batch. */
static bool is_single(const node *node) {
    return node->inputs[0]->shape.rank == 1 + axes_of(node);
}

static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    uint32_t axes = axes_of(node);
    attribute_value passes[PASS_ATTRIBUTES] = { 0 };
    TRY(check_attributes(inference));
    if (node->inputs[1]->shape.rank == 2 + axes) set_passes(node, passes);
    tuff_shape batch = node->inputs[0]->shape;
    if (is_single(node)) {
        memmove(batch.sizes + 1, batch.sizes, batch.rank++ * sizeof *batch.sizes);
        batch.sizes[0] = 1;
    }
    TRY(convolution_infer(inference, &batch, axes, is_transposed(node), passes));
    const tuff_tensor *bias = node->inputs[2];
    int64_t channels = inference->shapes[0].sizes[1];
    char text[160], shape[SHAPE_TEXT];
    if (bias && (bias->shape.rank != 1 || bias->shape.sizes[0] != channels))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: the bias '%s' %s must have the shape (%lld)",
                          node_text(node, text), bias->name, shape_text(&bias->shape, shape), (long long)channels);
    tuff_shape *y = &inference->shapes[0];
    if (is_single(node)) memmove(y->sizes, y->sizes + 1, --y->rank * sizeof *y->sizes);
    return TUFF_OK;
}

static tuff_result expand(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                          tuff_tensor **outputs) {
    (void)training;
    attribute_value passes[PASS_ATTRIBUTES] = { 0 };
    set_passes(node, passes);
    tuff_tensor *bias = inputs[2];
    const operator* pass = is_transposed(node) ? &convolution_transposed : &convolution;
    tuff_tensor *const operands[] = { is_single(node) ? tuff_unsqueeze(inputs[0], 0) : inputs[0], inputs[1] };
    outputs[0] = graph_apply(graph, pass, operands, 2, passes, NULL);
    tuff_shape column = { .rank = 2 + axes_of(node), .sizes = { 1, bias ? bias->shape.sizes[0] : 1, 1, 1, 1 } };
    if (bias) outputs[0] = tuff_add(outputs[0], tuff_reshape(bias, column));
    if (is_single(node)) outputs[0] = tuff_squeeze(outputs[0], &(int32_t){ 0 }, 1);
    return graph->result;
}

#define CONV_ROW(NAME, AXES)                                                                                           \
    {                                                                                                                  \
        .name = NAME,                                                                                                  \
        .formula = "y[n, o, p] = bias[o] + sum over c, t of weight[o, c, t] * input[n, c, p * stride - padding + t * " \
                   "dilation]",                                                                                        \
        .inputs = { "input", "weight", "bias?" }, .pytorch = "torch.nn.functional." NAME,                              \
        .attributes = attributes[AXES], .attribute_count = CONV_ATTRIBUTES, .infer = infer, .expand = expand,          \
    }

#define TRANSPOSE_ROW(NAME, AXES)                                                                                      \
    {                                                                                                                  \
        .name = NAME,                                                                                                  \
        .formula = "y[n, o, q] = bias[o] + sum over c, p, t with p * stride - padding + t * dilation = q of "          \
                   "weight[c, o, t] * input[n, c, p]",                                                                 \
        .inputs = { "input", "weight", "bias?" }, .pytorch = "torch.nn.functional." NAME,                              \
        .attributes = transpose_attributes[AXES], .attribute_count = TRANSPOSE_ATTRIBUTES, .infer = infer,             \
        .expand = expand,                                                                                              \
    }

const operator convolution_rows[4] = { [1] = CONV_ROW("conv1d", 1), CONV_ROW("conv2d", 2), CONV_ROW("conv3d", 3) };
const operator convolution_transpose_rows[4] = { [1] = TRANSPOSE_ROW("conv_transpose1d", 1),
                                                 TRANSPOSE_ROW("conv_transpose2d", 2),
                                                 TRANSPOSE_ROW("conv_transpose3d", 3) };

static const operator* const rows[] = {
    &convolution_rows[1],           &convolution_rows[2],           &convolution_rows[3],
    &convolution_transpose_rows[1], &convolution_transpose_rows[2], &convolution_transpose_rows[3],
};
const operator_family family_convolution = { rows, sizeof rows / sizeof *rows };
const operator_family family_convolution_passes = { convolution_passes, CONVOLUTION_PASSES };
