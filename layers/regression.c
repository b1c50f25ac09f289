/* Losses of numbers against numbers: squared and absolute errors, and what lies between. */
#include "layers/families.h"
#include "layers/losses.h"

#include <float.h>

enum { REDUCTION = 0 };

static const attribute loss_attributes[] = { [REDUCTION] = REDUCTION_ATTRIBUTE };

static tuff_result infer_regression(inference *inference) {
    TRY(check_same_shape(inference, 0, 1));
    infer_loss(inference, inference->node->attributes[REDUCTION].i, &inference->node->inputs[0]->shape);
    return TUFF_OK;
}

static tuff_result infer_like_second(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

static tuff_result expand_mse(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                              tuff_tensor **outputs) {
    (void)training;
    outputs[0] = reduce_loss(tuff_square(tuff_sub(inputs[0], inputs[1])), node->attributes[REDUCTION].i);
    return graph->result;
}

static tuff_result expand_l1(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                             tuff_tensor **outputs) {
    (void)training;
    outputs[0] = reduce_loss(tuff_abs(tuff_sub(inputs[0], inputs[1])), node->attributes[REDUCTION].i);
    return graph->result;
}

static tuff_result expand_mse_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                       tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *g = spread_loss(inputs[0], node->attributes[REDUCTION].i, tuff_shape_count(&inputs[1]->shape), 2);
    outputs[0] = tuff_mul(tuff_sub(inputs[1], inputs[2]), g);
    return graph->result;
}

static tuff_result expand_l1_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *g = spread_loss(inputs[0], node->attributes[REDUCTION].i, tuff_shape_count(&inputs[1]->shape), 1);
    tuff_tensor *difference = tuff_sub(inputs[1], inputs[2]);
    outputs[0] = tuff_mul(tuff_sign(difference), g);
    return graph->result;
}

static const operator mse_loss_backward = {
    .name = "mse_loss_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "2 (input - target) * gradient / N",
    .inputs = { "grad_output", "input", "target" },
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_like_second,
    .expand = expand_mse_backward,
};

static const operator l1_loss_backward = {
    .name = "l1_loss_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "sign(input - target) * gradient / N",
    .inputs = { "grad_output", "input", "target" },
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_like_second,
    .expand = expand_l1_backward,
};

static tuff_result gradient_regression(const node *node, const operator* backward, tuff_tensor *gradient,
                                       uint32_t needs, tuff_tensor **grad_inputs) {
    tuff_tensor *inputs[] = { gradient, node->inputs[0], node->inputs[1] };
    tuff_tensor *first = graph_apply(node_graph(node), backward, inputs, 3, node->attributes, NULL);
    if (needs & 1) grad_inputs[0] = first;
    if (needs & 2) grad_inputs[1] = tuff_neg(first);
    return TUFF_OK;
}

static tuff_result gradient_mse(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs) {
    return gradient_regression(node, &mse_loss_backward, grad_outputs[0], needs, grad_inputs);
}

static tuff_result gradient_l1(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                               tuff_tensor **grad_inputs) {
    return gradient_regression(node, &l1_loss_backward, grad_outputs[0], needs, grad_inputs);
}

static const operator mse_loss = {
    .name = "mse_loss",
    .formula = "(input - target)^2, reduced",
    .inputs = { "input", "target" },
    .pytorch = "torch.nn.functional.mse_loss",
    .limits = "equal shapes alone",
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_regression,
    .gradient = gradient_mse,
    .expand = expand_mse,
};

static const operator l1_loss = {
    .name = "l1_loss",
    .formula = "|input - target|, reduced",
    .inputs = { "input", "target" },
    .pytorch = "torch.nn.functional.l1_loss",
    .limits = "equal shapes alone",
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_regression,
    .gradient = gradient_l1,
    .expand = expand_l1,
};

/* ---- between the two: quadratic near zero, linear from a bend on --------------------------------- */

enum { BEND = 1 };

static const attribute smooth_l1_attributes[] = {
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [BEND] = { .name = "beta", .type = ATTRIBUTE_FLOAT, .value.f = 1 },
};

static const attribute huber_attributes[] = {
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [BEND] = { .name = "delta", .type = ATTRIBUTE_FLOAT, .value.f = 1 },
};

static tuff_result infer_bent(inference *inference) {
    const node *node = inference->node;
    const double bend = node->attributes[BEND].f;
    const attribute *attribute = &node->op->attributes[BEND];
    char text[160];
    bool zero = node->op->attributes == smooth_l1_attributes; /* which is l1 then */
    if (!(bend > 0 || (zero && bend == 0)) || bend > FLT_MAX)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: %s is %g, it must be %s", node_text(node, text),
                          attribute->name, bend, zero ? "0 or more" : "more than 0");
    return infer_regression(inference);
}

static tuff_result expand_smooth_l1(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                    tuff_tensor **outputs) {
    (void)training;
    const float beta = (float)node->attributes[BEND].f;
    tuff_tensor *d = tuff_sub(inputs[0], inputs[1]), *terms = tuff_abs(d);
    if (beta > 0)
        terms = tuff_where(greater_than(terms, beta), tuff_scale(terms, 1, -beta / 2),
                           tuff_scale(tuff_square(d), 0.5f / beta, 0));
    outputs[0] = reduce_loss(terms, node->attributes[REDUCTION].i);
    return graph->result;
}

static tuff_result expand_huber(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                tuff_tensor **outputs) {
    (void)training;
    const float delta = (float)node->attributes[BEND].f;
    tuff_tensor *d = tuff_sub(inputs[0], inputs[1]), *size = tuff_abs(d);
    tuff_tensor *far = tuff_scale(tuff_scale(size, 1, -delta / 2), delta, 0);
    tuff_tensor *terms = tuff_where(greater_than(size, delta), far, tuff_scale(tuff_square(d), 0.5f, 0));
    outputs[0] = reduce_loss(terms, node->attributes[REDUCTION].i);
    return graph->result;
}

static const operator smooth_l1_loss = {
    .name = "smooth_l1_loss",
    .formula = "d = |input - target|: d > beta ? d - beta / 2 : d^2 / (2 beta), reduced",
    .inputs = { "input", "target" },
    .pytorch = "torch.nn.functional.smooth_l1_loss",
    .limits = "equal shapes alone",
    .attributes = smooth_l1_attributes,
    .attribute_count = 2,
    .infer = infer_bent,
    .expand = expand_smooth_l1,
};

static const operator huber_loss = {
    .name = "huber_loss",
    .formula = "d = |input - target|: d > delta ? delta (d - delta / 2) : d^2 / 2, reduced",
    .inputs = { "input", "target" },
    .pytorch = "torch.nn.functional.huber_loss",
    .limits = "equal shapes alone",
    .attributes = huber_attributes,
    .attribute_count = 2,
    .infer = infer_bent,
    .expand = expand_huber,
};

/* ---- the public functions ----------------------------------------------------------------------- */

static tuff_tensor *apply_regression(const operator* op, tuff_tensor *input, tuff_tensor *target,
                                     tuff_loss_reduction reduction, float value) {
    const attribute_value attributes[] = { [REDUCTION] = { .i = reduction }, [BEND] = { .f = value } };
    return apply_loss(op, (tuff_tensor *[]){ input, target }, 2, 2, attributes, reduction, 3);
}

tuff_tensor *tuff_mse_loss(tuff_tensor *input, tuff_tensor *target, const tuff_loss_desc *desc) {
    return apply_regression(&mse_loss, input, target, desc ? desc->reduction : TUFF_REDUCE_MEAN, 0);
}

tuff_tensor *tuff_l1_loss(tuff_tensor *input, tuff_tensor *target, const tuff_loss_desc *desc) {
    return apply_regression(&l1_loss, input, target, desc ? desc->reduction : TUFF_REDUCE_MEAN, 0);
}

tuff_tensor *tuff_smooth_l1_loss(tuff_tensor *input, tuff_tensor *target, float beta, const tuff_loss_desc *desc) {
    return apply_regression(&smooth_l1_loss, input, target, desc ? desc->reduction : TUFF_REDUCE_MEAN, beta);
}

tuff_tensor *tuff_huber_loss(tuff_tensor *input, tuff_tensor *target, float delta, const tuff_loss_desc *desc) {
    return apply_regression(&huber_loss, input, target, desc ? desc->reduction : TUFF_REDUCE_MEAN, delta);
}

static const operator* const rows[] = { &mse_loss,         &mse_loss_backward, &l1_loss,
                                        &l1_loss_backward, &smooth_l1_loss,    &huber_loss };
const operator_family family_regression = { rows, sizeof rows / sizeof *rows };
