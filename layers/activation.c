/* Activations: pointwise rows, and composites of them. From the output where it tells as much as the input, so that the
 * input need not be kept for the gradient. */
#include "layers/families.h"
#include "layers/pointwise_rows.h"

#include <float.h>
#include <math.h>

GRADIENT(relu, keep_if(greater_than(y, 0), g))
GRADIENT(sigmoid, tuff_mul(g, tuff_mul(y, tuff_scale(y, -1, 1))))
GRADIENT(tanh, tuff_mul(g, tuff_scale(tuff_square(y), -1, 1)))
ROW_1(relu, CHAIN_RELU, "max(x, 0)")
ROW_1(sigmoid, CHAIN_SIGMOID, "1 / (1 + e^-x)")
ROW_1(tanh, CHAIN_TANH, "tanh(x)")

static const attribute slope_attribute[] = {
    { .name = "negative_slope", .type = ATTRIBUTE_FLOAT, .value.f = 0.01 },
};

static tuff_result gradient_leaky_relu(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                       tuff_tensor **grad_inputs) {
    (void)needs;
    float slope = (float)node->attributes[0].f;
    tuff_tensor *positive = greater_than(slope > 0 ? node->outputs[0] : node->inputs[0], 0);
    grad_inputs[0] = tuff_where(positive, grad_outputs[0], tuff_scale(grad_outputs[0], slope, 0));
    return TUFF_OK;
}

static const operator operator_leaky_relu = { .name = "leaky_relu",
                                              .formula = "x > 0 ? x : x * negative_slope",
                                              .inputs = { "input" },
                                              .pytorch = "torch.nn.functional.leaky_relu",
                                              .attributes = slope_attribute,
                                              .attribute_count = 1,
                                              .chain_op = CHAIN_LEAKY_RELU,
                                              .gradient = gradient_leaky_relu };

/* Slopes of activations: rows of their own, whose gradients (second derivatives) are built from plain operators. */
static tuff_tensor *gelu_curvature(tuff_tensor *x) { /* (2 - x^2) e^(-x^2 / 2) / sqrt(2 pi) */
    tuff_tensor *square = tuff_square(x);
    tuff_tensor *density = tuff_scale(tuff_exp(tuff_scale(square, -0.5f, 0)), 0.3989422804f, 0);
    return tuff_mul(tuff_scale(square, -1, 2), density);
}

static tuff_tensor *gelu_tanh_curvature(tuff_tensor *x) {
    const float k = 0.7978845608f, c = 0.044715f; /* t = tanh(u), u = k (x + c x^3), y = x (1 + t) / 2 */
    tuff_tensor *square = tuff_square(x);
    tuff_tensor *t = tuff_tanh(tuff_mul(x, tuff_scale(square, k * c, k)));
    tuff_tensor *du = tuff_scale(square, 3 * k * c, k), *ddu = tuff_scale(x, 6 * k * c, 0);
    tuff_tensor *bend = tuff_sub(ddu, tuff_scale(tuff_mul(t, tuff_square(du)), 2, 0));
    tuff_tensor *sum = tuff_add(du, tuff_scale(tuff_mul(x, bend), 0.5f, 0));
    return tuff_mul(tuff_scale(tuff_square(t), -1, 1), sum);
}

static tuff_tensor *silu_curvature(tuff_tensor *x) { /* s (1 - s) (2 + x (1 - 2 s)) */
    tuff_tensor *s = tuff_sigmoid(x);
    tuff_tensor *slope = tuff_mul(s, tuff_scale(s, -1, 1));
    return tuff_mul(slope, tuff_scale(tuff_mul(x, tuff_scale(s, -2, 1)), 1, 2));
}

GRADIENT(gelu_slope, tuff_mul(g, gelu_curvature(x)))
GRADIENT(gelu_tanh_slope, tuff_mul(g, gelu_tanh_curvature(x)))
GRADIENT(silu_slope, tuff_mul(g, silu_curvature(x)))
INTERNAL_1(gelu_slope, CHAIN_GELU_GRAD, "Phi(x) + x phi(x), the derivative of gelu")
INTERNAL_1(gelu_tanh_slope, CHAIN_GELU_TANH_GRAD, "the derivative of gelu_tanh")
INTERNAL_1(silu_slope, CHAIN_SILU_GRAD, "the derivative of silu")

GRADIENT(gelu_erf, tuff_mul(g, apply_unary(&operator_gelu_slope, x, NULL)))
GRADIENT(gelu_tanh, tuff_mul(g, apply_unary(&operator_gelu_tanh_slope, x, NULL)))
GRADIENT(silu, tuff_mul(g, apply_unary(&operator_silu_slope, x, NULL)))
INTERNAL_1(gelu_erf, CHAIN_GELU, "x Phi(x)")
INTERNAL_1(gelu_tanh, CHAIN_GELU_TANH, "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2")
ACTIVATION(silu, CHAIN_SILU, "x / (1 + e^-x)")

static const attribute gelu_attributes[] = {
    { .name = "approximate", .type = ATTRIBUTE_CHOICE, .choices = "none|tanh" }
};

static tuff_result expand_gelu(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    (void)training;
    outputs[0] = apply_unary(node->attributes[0].i ? &operator_gelu_tanh : &operator_gelu_erf, inputs[0], NULL);
    return graph->result;
}

static const operator operator_gelu = { .name = "gelu",
                                        .formula =
                                            "x Phi(x); with tanh x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
                                        .inputs = { "input" },
                                        .pytorch = "torch.nn.functional.gelu",
                                        .attributes = gelu_attributes,
                                        .attribute_count = 1,
                                        .infer = infer_like_first,
                                        .expand = expand_gelu };

/* ---- bounded and bent lines ------------------------------------------------------------------------ */

/* Between the bounds, both left out. */
static tuff_tensor *between(tuff_tensor *x, float low, float high) {
    return within(x, nextafterf(low, high), nextafterf(high, low));
}

COMPOSITE(relu6, tuff_clamp(x, 0, 6))
GRADIENT(relu6, keep_if(within(y, FLT_MIN, nextafterf(6, 0)), g))
static const operator operator_relu6 = { .name = "relu6",
                                         .formula = "min(max(x, 0), 6); the gradient is 0 on the bounds",
                                         .inputs = { "input" },
                                         .pytorch = "torch.nn.functional.relu6",
                                         .infer = infer_like_first,
                                         .gradient = gradient_relu6,
                                         .expand = expand_relu6 };

COMPOSITE(hardsigmoid, tuff_scale(tuff_clamp(tuff_scale(x, 1, 3), 0, 6), 1.0f / 6, 0))
GRADIENT(hardsigmoid, keep_if(between(x, -3, 3), tuff_scale(g, 1.0f / 6, 0)))
static const operator operator_hardsigmoid = { .name = "hardsigmoid",
                                               .formula = "min(max(x + 3, 0), 6) / 6",
                                               .inputs = { "input" },
                                               .pytorch = "torch.nn.functional.hardsigmoid",
                                               .infer = infer_like_first,
                                               .gradient = gradient_hardsigmoid,
                                               .expand = expand_hardsigmoid };

/* The slope's own is 1/3 between the bounds. */
GRADIENT(hardswish_slope, keep_if(between(x, -3, 3), tuff_scale(g, 1.0f / 3, 0)))
INTERNAL_1(hardswish_slope, CHAIN_HARDSWISH_GRAD, "x < -3 ? 0 : x < 3 ? x / 3 + 1 / 2 : 1")
GRADIENT(hardswish, tuff_mul(g, apply_unary(&operator_hardswish_slope, x, NULL)))
ACTIVATION(hardswish, CHAIN_HARDSWISH, "x min(max(x + 3, 0), 6) / 6")

/* ---- of exponentials ------------------------------------------------------------------------------- */

enum { ELU_BELOW = 0, ELU_ABOVE };
static const attribute elu_scales[] = {
    [ELU_BELOW] = { .name = "below", .type = ATTRIBUTE_FLOAT },
    [ELU_ABOVE] = { .name = "above", .type = ATTRIBUTE_FLOAT },
};
static tuff_tensor *apply_elu(const operator* op, tuff_tensor *x, double below, double above) {
    return apply_unary(op, x, (attribute_value[]){ [ELU_BELOW] = { .f = below }, [ELU_ABOVE] = { .f = above } });
}

GRADIENT(elu_slope, tuff_mul(g, apply_elu(node->op, x, node->attributes[ELU_BELOW].f, 0)))
static const operator operator_elu_slope = { .name = "elu_slope",
                                             .flags = OPERATOR_INTERNAL,
                                             .formula = "x > 0 ? above : below e^x",
                                             .inputs = { "input" },
                                             .attributes = elu_scales,
                                             .attribute_count = 2,
                                             .chain_op = CHAIN_ELU_GRAD,
                                             .gradient = gradient_elu_slope };

GRADIENT(elu_scaled,
         tuff_mul(g, apply_elu(&operator_elu_slope, x, node->attributes[ELU_BELOW].f, node->attributes[ELU_ABOVE].f)))
static const operator operator_elu_scaled = { .name = "elu_scaled",
                                              .flags = OPERATOR_INTERNAL,
                                              .formula = "x > 0 ? above x : below (e^x - 1)",
                                              .inputs = { "input" },
                                              .attributes = elu_scales,
                                              .attribute_count = 2,
                                              .chain_op = CHAIN_ELU,
                                              .gradient = gradient_elu_scaled };

static const attribute alpha_attribute[] = { { .name = "alpha", .type = ATTRIBUTE_FLOAT, .value.f = 1 } };
COMPOSITE(elu, apply_elu(&operator_elu_scaled, x, node->attributes[0].f, 1))
static const operator operator_elu = { .name = "elu",
                                       .formula = "x > 0 ? x : alpha (e^x - 1)",
                                       .inputs = { "input" },
                                       .pytorch = "torch.nn.functional.elu",
                                       .attributes = alpha_attribute,
                                       .attribute_count = 1,
                                       .infer = infer_like_first,
                                       .expand = expand_elu };

static const double SELU_ALPHA = 1.6732632423543772848170429916717, SELU_SCALE = 1.0507009873554804934193349852946;
COMPOSITE(selu, apply_elu(&operator_elu_scaled, x, SELU_ALPHA *SELU_SCALE, SELU_SCALE))
static const operator operator_selu = { .name = "selu",
                                        .formula = "1.0507 (x > 0 ? x : 1.67326 (e^x - 1))",
                                        .inputs = { "input" },
                                        .pytorch = "torch.nn.functional.selu",
                                        .infer = infer_like_first,
                                        .expand = expand_selu };

enum { SOFTPLUS_BETA = 0, SOFTPLUS_THRESHOLD };
static const attribute softplus_attributes[] = {
    [SOFTPLUS_BETA] = { .name = "beta", .type = ATTRIBUTE_FLOAT, .value.f = 1 },
    [SOFTPLUS_THRESHOLD] = { .name = "threshold", .type = ATTRIBUTE_FLOAT, .value.f = 20 },
};
static tuff_result gradient_softplus(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                     tuff_tensor **grad_inputs) {
    const float beta = (float)node->attributes[SOFTPLUS_BETA].f;
    const float threshold = (float)node->attributes[SOFTPLUS_THRESHOLD].f;
    tuff_tensor *g = grad_outputs[0], *z = tuff_scale(node->inputs[0], beta, 0);
    (void)needs;
    grad_inputs[0] = tuff_mul(g, tuff_sigmoid(z));
    if (threshold < 17) /* beyond, the sigmoid is 1 */
        grad_inputs[0] = tuff_where(greater_than(z, threshold), g, grad_inputs[0]);
    return TUFF_OK;
}
static const operator operator_softplus = { .name = "softplus",
                                            .formula = "beta x > threshold ? x : ln(1 + e^(beta x)) / beta",
                                            .inputs = { "input" },
                                            .pytorch = "torch.nn.functional.softplus",
                                            .attributes = softplus_attributes,
                                            .attribute_count = 2,
                                            .chain_op = CHAIN_SOFTPLUS,
                                            .gradient = gradient_softplus };

COMPOSITE(logsigmoid, tuff_neg(tuff_softplus(tuff_neg(x), 1, INFINITY)))
GRADIENT(logsigmoid, tuff_mul(g, tuff_sigmoid(tuff_neg(x))))
static const operator operator_logsigmoid = { .name = "logsigmoid",
                                              .formula = "ln(1 / (1 + e^-x))",
                                              .inputs = { "input" },
                                              .pytorch = "torch.nn.functional.logsigmoid",
                                              .infer = infer_like_first,
                                              .gradient = gradient_logsigmoid,
                                              .expand = expand_logsigmoid };

static tuff_tensor *mish_curve(tuff_tensor *x) {
    return tuff_tanh(tuff_softplus(x, 1, INFINITY));
}
static tuff_tensor *mish_slope(tuff_tensor *x) { /* t + x sigmoid(x) (1 - t^2) */
    tuff_tensor *t = mish_curve(x), *bend = tuff_scale(tuff_square(t), -1, 1);
    return tuff_add(t, tuff_mul(tuff_mul(x, tuff_sigmoid(x)), bend));
}
COMPOSITE(mish, tuff_mul(x, mish_curve(x)))
GRADIENT(mish, tuff_mul(g, mish_slope(x)))
static const operator operator_mish = { .name = "mish",
                                        .formula = "x tanh(ln(1 + e^x))",
                                        .inputs = { "input" },
                                        .pytorch = "torch.nn.functional.mish",
                                        .infer = infer_like_first,
                                        .gradient = gradient_mish,
                                        .expand = expand_mish };

/* ---- the public functions -------------------------------------------------------------------------- */

tuff_tensor *tuff_relu(tuff_tensor *x) {
    return apply_unary(&operator_relu, x, NULL);
}

tuff_tensor *tuff_leaky_relu(tuff_tensor *x, float negative_slope) {
    return apply_unary(&operator_leaky_relu, x, &(attribute_value){ .f = negative_slope });
}

tuff_tensor *tuff_sigmoid(tuff_tensor *x) {
    return apply_unary(&operator_sigmoid, x, NULL);
}
tuff_tensor *tuff_tanh(tuff_tensor *x) {
    return apply_unary(&operator_tanh, x, NULL);
}

tuff_tensor *tuff_gelu(tuff_tensor *x, const tuff_gelu_desc *desc) {
    return apply_unary(&operator_gelu, x, &(attribute_value){ .i = desc && desc->approximate_tanh });
}

tuff_tensor *tuff_silu(tuff_tensor *x) {
    return apply_unary(&operator_silu, x, NULL);
}

tuff_tensor *tuff_relu6(tuff_tensor *x) {
    return apply_unary(&operator_relu6, x, NULL);
}
tuff_tensor *tuff_hardsigmoid(tuff_tensor *x) {
    return apply_unary(&operator_hardsigmoid, x, NULL);
}
tuff_tensor *tuff_hardswish(tuff_tensor *x) {
    return apply_unary(&operator_hardswish, x, NULL);
}
tuff_tensor *tuff_selu(tuff_tensor *x) {
    return apply_unary(&operator_selu, x, NULL);
}
tuff_tensor *tuff_logsigmoid(tuff_tensor *x) {
    return apply_unary(&operator_logsigmoid, x, NULL);
}
tuff_tensor *tuff_mish(tuff_tensor *x) {
    return apply_unary(&operator_mish, x, NULL);
}

tuff_tensor *tuff_elu(tuff_tensor *x, float alpha) {
    return apply_unary(&operator_elu, x, &(attribute_value){ .f = alpha });
}

tuff_tensor *tuff_softplus(tuff_tensor *x, float beta, float threshold) {
    const attribute_value values[] = { [SOFTPLUS_BETA] = { .f = beta }, [SOFTPLUS_THRESHOLD] = { .f = threshold } };
    return apply_unary(&operator_softplus, x, values);
}

static const operator* const rows[] = {
    &operator_relu,       &operator_leaky_relu,      &operator_sigmoid,    &operator_tanh,
    &operator_gelu,       &operator_gelu_erf,        &operator_gelu_tanh,  &operator_silu,
    &operator_relu6,      &operator_hardsigmoid,     &operator_hardswish,  &operator_elu,
    &operator_selu,       &operator_softplus,        &operator_logsigmoid, &operator_mish,
    &operator_gelu_slope, &operator_gelu_tanh_slope, &operator_silu_slope, &operator_hardswish_slope,
    &operator_elu_scaled, &operator_elu_slope,
};
const operator_family family_activation = { rows, sizeof rows / sizeof *rows };
