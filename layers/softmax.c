/* Softmax and its logarithm along an axis:
 *
 *   m = max x, e = exp(x - m), s = sum e;   softmax = e / s,   log_softmax = x - m - log s
 *
 * The gradients are built from the outputs: y (g - sum g y), and g - exp(y) sum g. A kernel walks over the rows
 * (softmax_rows.c); few and very long ones are made of a maximum, a sum and chains, which use the whole device. */
#include "layers/softmax.h"

#include "layers/axes.h"
#include "layers/families.h"
#include "layers/pointwise.h"

static const attribute axis_attribute[] = { { .name = "dim", .type = ATTRIBUTE_INT, .value.i = -1 } };

static tuff_result infer_softmax(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    uint32_t axis;
    TRY(axis_check(inference, node->attributes[0].i, x->shape.rank, &axis));
    inference->shapes[0] = x->shape;
    return TUFF_OK;
}

static tuff_reduce_desc along_axis(const node *node) {
    return (tuff_reduce_desc){ .axes = { (int32_t)node->attributes[0].i }, .axis_count = 1, .keepdim = true };
}

/* By rows, where a kernel can walk over them. */
static tuff_tensor *by_rows(const operator* op, const node *node, tuff_tensor *const *inputs, uint32_t count,
                            bool logarithm) {
    const attribute_value attributes[] = { { .i = node->attributes[0].i }, { .i = logarithm } };
    if (!inputs[0] || !softmax_fits_rows(inputs[0]->graph, &inputs[0]->shape, node->attributes[0].i)) return NULL;
    return graph_apply(inputs[0]->graph, op, inputs, count, attributes, NULL);
}

static tuff_result expand_softmax(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc axis = along_axis(node);
    if ((outputs[0] = by_rows(&operator_softmax_rows, node, inputs, 1, false))) return graph->result;
    tuff_tensor *e = tuff_exp(tuff_sub(inputs[0], tuff_amax(inputs[0], &axis)));
    outputs[0] = tuff_div(e, tuff_sum(e, &axis));
    return graph->result;
}

static tuff_result expand_log_softmax(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc axis = along_axis(node);
    if ((outputs[0] = by_rows(&operator_softmax_rows, node, inputs, 1, true))) return graph->result;
    tuff_tensor *shifted = tuff_sub(inputs[0], tuff_amax(inputs[0], &axis));
    outputs[0] = tuff_sub(shifted, tuff_log(tuff_sum(tuff_exp(shifted), &axis)));
    return graph->result;
}

/* ---- the gradients: output, grad_output --------------------------------------------------------- */

static const operator softmax_backward, log_softmax_backward;

static tuff_tensor *apply_backward(const operator* op, const node *node, tuff_tensor *y, tuff_tensor *g) {
    return apply_binary(op, y, g, node->attributes);
}

static tuff_result gradient_softmax(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_backward(&softmax_backward, node, node->outputs[0], grad_outputs[0]);
    return TUFF_OK;
}

static tuff_result gradient_log_softmax(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                        tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_backward(&log_softmax_backward, node, node->outputs[0], grad_outputs[0]);
    return TUFF_OK;
}

static tuff_result infer_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[0]->shape;
    return TUFF_OK;
}

static tuff_result expand_softmax_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                           bool training, tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc axis = along_axis(node);
    tuff_tensor *y = inputs[0], *g = inputs[1];
    if ((outputs[0] = by_rows(&operator_softmax_rows_backward, node, inputs, 2, false))) return graph->result;
    outputs[0] = tuff_mul(y, tuff_sub(g, tuff_sum(tuff_mul(g, y), &axis)));
    return graph->result;
}

static tuff_result expand_log_softmax_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                               bool training, tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc axis = along_axis(node);
    tuff_tensor *y = inputs[0], *g = inputs[1];
    if ((outputs[0] = by_rows(&operator_softmax_rows_backward, node, inputs, 2, true))) return graph->result;
    outputs[0] = tuff_sub(g, tuff_mul(tuff_exp(y), tuff_sum(g, &axis)));
    return graph->result;
}

/* With u what arrives: for g the same again, for y  u (g - sum g y) - g sum u y. */
static tuff_result gradient_softmax_backward(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                             tuff_tensor **grad_inputs) {
    const tuff_reduce_desc axis = along_axis(node);
    tuff_tensor *y = node->inputs[0], *g = node->inputs[1], *u = grad_outputs[0];
    if (needs & 1)
        grad_inputs[0] = tuff_sub(tuff_mul(u, tuff_sub(g, tuff_sum(tuff_mul(g, y), &axis))),
                                  tuff_mul(g, tuff_sum(tuff_mul(u, y), &axis)));
    if (needs & 2) grad_inputs[1] = apply_backward(&softmax_backward, node, y, u);
    return TUFF_OK;
}

/* For g  u - sum u exp(y), for y  -u exp(y) sum g. */
static tuff_result gradient_log_softmax_backward(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                                 tuff_tensor **grad_inputs) {
    const tuff_reduce_desc axis = along_axis(node);
    tuff_tensor *g = node->inputs[1], *u = grad_outputs[0], *share = tuff_mul(u, tuff_exp(node->inputs[0]));
    if (needs & 1) grad_inputs[0] = tuff_neg(tuff_mul(share, tuff_sum(g, &axis)));
    if (needs & 2) grad_inputs[1] = tuff_sub(u, tuff_sum(share, &axis));
    return TUFF_OK;
}

static const operator operator_softmax = {
    .name = "softmax",
    .formula = "exp(x - max x) / sum exp(x - max x) along an axis",
    .inputs = { "input" },
    .pytorch = "torch.softmax",
    .attributes = axis_attribute,
    .attribute_count = 1,
    .infer = infer_softmax,
    .gradient = gradient_softmax,
    .expand = expand_softmax,
};

static const operator operator_log_softmax = {
    .name = "log_softmax",
    .formula = "x - max x - log sum exp(x - max x) along an axis",
    .inputs = { "input" },
    .pytorch = "torch.log_softmax",
    .attributes = axis_attribute,
    .attribute_count = 1,
    .infer = infer_softmax,
    .gradient = gradient_log_softmax,
    .expand = expand_log_softmax,
};

static const operator softmax_backward = {
    .name = "softmax_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "y (g - sum g y) along an axis",
    .inputs = { "output", "grad_output" },
    .attributes = axis_attribute,
    .attribute_count = 1,
    .infer = infer_backward,
    .gradient = gradient_softmax_backward,
    .expand = expand_softmax_backward,
};

static const operator log_softmax_backward = {
    .name = "log_softmax_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "g - exp(y) sum g along an axis",
    .inputs = { "output", "grad_output" },
    .attributes = axis_attribute,
    .attribute_count = 1,
    .infer = infer_backward,
    .gradient = gradient_log_softmax_backward,
    .expand = expand_log_softmax_backward,
};

static const operator* const rows[] = {
    &operator_softmax,     &operator_log_softmax,  &softmax_backward,
    &log_softmax_backward, &operator_softmax_rows, &operator_softmax_rows_backward,
};
const operator_family family_softmax = { rows, sizeof rows / sizeof *rows };

tuff_tensor *tuff_softmax(tuff_tensor *x, int32_t axis) {
    return apply_unary(&operator_softmax, x, &(attribute_value){ .i = axis });
}

tuff_tensor *tuff_log_softmax(tuff_tensor *x, int32_t axis) {
    return apply_unary(&operator_log_softmax, x, &(attribute_value){ .i = axis });
}
