/* Reductions made of others: variance, deviation, norms, log of a sum of exponentials. */
#include "layers/pointwise.h"
#include "layers/reduction.h"

#include <float.h>
#include <math.h>

/* ---- var, std ------------------------------------------------------------------------------------ */

enum { CORRECTION = KEEPDIM + 1 };
static const attribute var_attributes[] = {
    [AXES] = AXES_ATTRIBUTE,
    [KEEPDIM] = KEEPDIM_ATTRIBUTE,
    [CORRECTION] = { .name = "correction", .type = ATTRIBUTE_FLOAT, .value.f = 1 },
};

/* d = x - mean x in two passes over x: with x0 the first element, d = (x - x0) - mean(x - x0). The differences are
 * exact or nearly so where the mean is large against the deviation, and lose nothing that the largest of them would not
 * drown. */
static tuff_tensor *deviation(const node *node, tuff_tensor *x) {
    const tuff_reduce_desc axes = reduce_desc(node, true);
    tuff_tensor *shifted = tuff_sub(x, first_along(x, &axes));
    return tuff_sub(shifted, tuff_mean(shifted, &axes));
}

/* 1 / (n - correction); as in PyTorch not below n = correction, where it is infinite (and 0 times that not a number).
 */
static float share_of(const node *node, const tuff_tensor *x) {
    double count = reduced_elements(node, x) - node->attributes[CORRECTION].f;
    return count > 0 ? (float)(1 / count) : INFINITY;
}

static tuff_tensor *variance(const node *node, tuff_tensor *x) {
    if (!x) return NULL;
    const tuff_reduce_desc desc = reduce_desc(node, node->attributes[KEEPDIM].i);
    return tuff_scale(tuff_sum(tuff_square(deviation(node, x)), &desc), share_of(node, x), 0);
}

static tuff_result expand_var(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                              tuff_tensor **outputs) {
    (void)training;
    outputs[0] = variance(node, inputs[0]);
    return graph->result;
}

static tuff_result expand_std(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                              tuff_tensor **outputs) {
    (void)training;
    outputs[0] = tuff_sqrt(variance(node, inputs[0]));
    return graph->result;
}

/* The gradient: a row, since n is known when the graph is compiled. */
static tuff_result infer_var_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

static tuff_result expand_var_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                       tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc axes = reduce_desc(node, true);
    tuff_tensor *g = inputs[0], *x = inputs[1];
    if (!g || !x) return graph->result;
    tuff_tensor *factor = tuff_scale(reshape_like(g, first_along(x, &axes)), 2 * share_of(node, x), 0);
    outputs[0] = tuff_mul(factor, deviation(node, x));
    return graph->result;
}

const operator operator_var_backward = {
    .name = "var_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "grad_output 2 (x - mean x) / (n - correction)",
    .inputs = { "grad_output", "input" },
    .attributes = var_attributes,
    .attribute_count = 3,
    .infer = infer_var_backward,
    .expand = expand_var_backward,
};

static tuff_tensor *var_backward(const node *node, tuff_tensor *g) {
    return apply_binary(&operator_var_backward, g, node->inputs[0], node->attributes);
}

static tuff_result gradient_var(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = var_backward(node, grad_outputs[0]);
    return TUFF_OK;
}

/* Through the root: g / (2 y), 0 where y is. */
static tuff_result gradient_std(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs) {
    (void)needs;
    tuff_tensor *y = node->outputs[0];
    grad_inputs[0] = var_backward(node, keep_if(y, tuff_div(tuff_scale(grad_outputs[0], 0.5f, 0), y)));
    return TUFF_OK;
}

const operator operator_var = {
    .name = "var",
    .formula = "sum (x - mean x)^2 / (n - correction) over axes",
    .inputs = { "input" },
    .pytorch = "torch.var",
    .attributes = var_attributes,
    .attribute_count = 3,
    .infer = infer_reduce,
    .gradient = gradient_var,
    .expand = expand_var,
};

const operator operator_std = {
    .name = "std",
    .formula = "sqrt(sum (x - mean x)^2 / (n - correction)) over axes; gradient 0 where it is 0",
    .inputs = { "input" },
    .pytorch = "torch.std",
    .attributes = var_attributes,
    .attribute_count = 3,
    .infer = infer_reduce,
    .gradient = gradient_std,
    .expand = expand_std,
};

/* ---- norm ---------------------------------------------------------------------------------------- */

enum { POWER = KEEPDIM + 1 };
static const attribute norm_attributes[] = {
    [AXES] = AXES_ATTRIBUTE,
    [KEEPDIM] = KEEPDIM_ATTRIBUTE,
    [POWER] = { .name = "p", .type = ATTRIBUTE_FLOAT, .value.f = 2 },
};

/* 1 where x is not 0, also where it is not a number. */
static tuff_tensor *nonzero(tuff_tensor *x) {
    tuff_tensor *one = x ? tuff_constant(x->graph, 1, (tuff_shape){ 0 }) : NULL;
    return keep_if(x, expand_as(one, x));
}

static tuff_result infer_norm(inference *inference) {
    char text[160];
    if (isnan(inference->node->attributes[POWER].f))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: p is not a number",
                          node_text(inference->node, text));
    return infer_reduce(inference);
}

static tuff_result expand_norm(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc desc = reduce_desc(node, node->attributes[KEEPDIM].i);
    tuff_tensor *x = inputs[0];
    float p = (float)node->attributes[POWER].f;
    if (p == 2)
        outputs[0] = tuff_sqrt(tuff_sum(tuff_square(x), &desc));
    else if (p == 1)
        outputs[0] = tuff_sum(tuff_abs(x), &desc);
    else if (p == 0)
        outputs[0] = tuff_sum(nonzero(x), &desc);
    else if (isinf(p))
        outputs[0] = p > 0 ? tuff_amax(tuff_abs(x), &desc) : tuff_amin(tuff_abs(x), &desc);
    else
        outputs[0] = tuff_pow_scalar(tuff_sum(tuff_pow_scalar(tuff_abs(x), p), &desc), 1 / p);
    return graph->result;
}

/* g sign(x) (|x| / y)^(p - 1), which is 0 where x is; an infinite p: elements of that size share. */
static tuff_result gradient_norm(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    tuff_tensor *g = grad_outputs[0], *x = node->inputs[0], *y = node->outputs[0];
    const tuff_reduce_desc desc = reduce_desc(node, node->attributes[KEEPDIM].i);
    float p = (float)node->attributes[POWER].f;
    if (p == 2) {
        grad_inputs[0] = tuff_mul(x, expand_reduced(node, keep_if(y, tuff_div(g, y)), false));
    } else if (p == 1) {
        grad_inputs[0] = tuff_mul(tuff_sign(x), expand_reduced(node, g, false));
    } else if (p == 0) {
        grad_inputs[0] = tuff_mul(tuff_scale(tuff_sign(x), 0, 0), expand_reduced(node, g, false));
    } else if (isinf(p)) {
        tuff_tensor *there = tuff_eq(tuff_abs(x), expand_reduced(node, y, false));
        tuff_tensor *share = tuff_div(g, tuff_sum(tuff_to(there, TUFF_F32), &desc));
        grad_inputs[0] = keep_if(there, tuff_mul(tuff_sign(x), expand_reduced(node, share, false)));
    } else {
        tuff_tensor *ratio = tuff_div(tuff_abs(x), expand_reduced(node, y, false));
        tuff_tensor *slope = tuff_mul(tuff_sign(x), tuff_pow_scalar(ratio, p - 1));
        grad_inputs[0] = keep_if(x, tuff_mul(slope, expand_reduced(node, g, false)));
    }
    return TUFF_OK;
}

const operator operator_norm = {
    .name = "norm",
    .formula = "(sum |x|^p)^(1 / p) over axes; p = inf: max |x|, -inf: min |x|, 0: how many are not 0",
    .inputs = { "input" },
    .pytorch = "torch.norm",
    .limits = "of vectors (torch.linalg.vector_norm), not the nuclear norm",
    .attributes = norm_attributes,
    .attribute_count = 3,
    .infer = infer_norm,
    .gradient = gradient_norm,
    .expand = expand_norm,
};

/* ---- logsumexp ----------------------------------------------------------------------------------- */

static const attribute axes_attributes[] = { [AXES] = AXES_ATTRIBUTE, [KEEPDIM] = KEEPDIM_ATTRIBUTE };

/* m + log sum exp(x - m), m = max x, or 0 where that is infinite */
static tuff_result expand_logsumexp(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                    tuff_tensor **outputs) {
    (void)training;
    const tuff_reduce_desc kept = reduce_desc(node, true), desc = reduce_desc(node, node->attributes[KEEPDIM].i);
    tuff_tensor *x = inputs[0], *largest = tuff_amax(x, &kept);
    tuff_tensor *m = keep_unless(greater_than(tuff_abs(largest), FLT_MAX), largest);
    tuff_tensor *sum = tuff_sum(tuff_exp(tuff_sub(x, m)), &desc);
    outputs[0] = tuff_add(reshape_like(m, sum), tuff_log(sum));
    return graph->result;
}

/* g exp(x - y), 0 where y is -inf */
static tuff_result gradient_logsumexp(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                      tuff_tensor **grad_inputs) {
    (void)needs;
    tuff_tensor *x = node->inputs[0], *y = node->outputs[0];
    tuff_tensor *from = keep_unless(greater_than(tuff_neg(y), FLT_MAX), y);
    tuff_tensor *share = tuff_exp(tuff_sub(x, expand_reduced(node, from, false)));
    grad_inputs[0] = tuff_mul(expand_reduced(node, grad_outputs[0], false), share);
    return TUFF_OK;
}

const operator operator_logsumexp = {
    .name = "logsumexp",
    .formula = "log sum exp x over axes; gradient 0 where all are -inf",
    .inputs = { "input" },
    .pytorch = "torch.logsumexp",
    .attributes = axes_attributes,
    .attribute_count = 2,
    .infer = infer_reduce,
    .gradient = gradient_logsumexp,
    .expand = expand_logsumexp,
};

/* ---- the public functions ------------------------------------------------------------------------ */

tuff_tensor *tuff_var(tuff_tensor *x, float correction, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_var, x, desc, &(attribute_value){ .f = correction });
}
tuff_tensor *tuff_std(tuff_tensor *x, float correction, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_std, x, desc, &(attribute_value){ .f = correction });
}
tuff_tensor *tuff_norm(tuff_tensor *x, float p, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_norm, x, desc, &(attribute_value){ .f = p });
}
tuff_tensor *tuff_logsumexp(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_logsumexp, x, desc, NULL);
}
