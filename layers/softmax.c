/* Softmax and its logarithm along an axis, made of a maximum, a sum and chains:
 *
 *   m = max x, e = exp(x - m), s = sum e;   softmax = e / s,   log_softmax = x - m - log s
 *
 * The gradients are built from the outputs: y (g - sum g y), and g - exp(y) sum g. */
#include "layers/softmax.h"

#include "layers/axes.h"
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

static tuff_result expand_softmax(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc axis = along_axis(node);
    tuff_tensor *e = tuff_exp(tuff_sub(inputs[0], tuff_amax(inputs[0], &axis)));
    outputs[0] = tuff_div(e, tuff_sum(e, &axis));
    return graph->result;
}

static tuff_result expand_log_softmax(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc axis = along_axis(node);
    tuff_tensor *shifted = tuff_sub(inputs[0], tuff_amax(inputs[0], &axis));
    outputs[0] = tuff_sub(shifted, tuff_log(tuff_sum(tuff_exp(shifted), &axis)));
    return graph->result;
}

static tuff_result gradient_softmax(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    const tuff_reduce_desc axis = along_axis(node);
    tuff_tensor *y = node->outputs[0], *g = grad_outputs[0];
    grad_inputs[0] = tuff_mul(y, tuff_sub(g, tuff_sum(tuff_mul(g, y), &axis)));
    return TUFF_OK;
}

static tuff_result gradient_log_softmax(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                        tuff_tensor **grad_inputs) {
    (void)needs;
    const tuff_reduce_desc axis = along_axis(node);
    tuff_tensor *y = node->outputs[0], *g = grad_outputs[0];
    grad_inputs[0] = tuff_sub(g, tuff_mul(tuff_exp(y), tuff_sum(g, &axis)));
    return TUFF_OK;
}

const operator operator_softmax = {
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

const operator operator_log_softmax = {
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

tuff_tensor *tuff_softmax(tuff_tensor *x, int32_t axis) {
    return apply_unary(&operator_softmax, x, &(attribute_value){ .i = axis });
}

tuff_tensor *tuff_log_softmax(tuff_tensor *x, int32_t axis) {
    return apply_unary(&operator_log_softmax, x, &(attribute_value){ .i = axis });
}
