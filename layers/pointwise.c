/* Pointwise operators: each is a row that names a step of the chain (shaders/common/chain.glsl has the formulas).
 * Gradients are built from the same operators, so the backward pass fuses too. */
#include "layers/families.h"
#include "layers/pointwise_rows.h"

#include <math.h>

tuff_tensor *apply_unary(const operator* op, tuff_tensor *x, const attribute_value *attributes) {
    return x ? graph_apply(x->graph, op, &x, 1, attributes, NULL) : NULL;
}

tuff_tensor *apply_binary(const operator* op, tuff_tensor *a, tuff_tensor *b, const attribute_value *attributes) {
    tuff_tensor *inputs[2] = { a, b };
    return a || b ? graph_apply(a ? a->graph : b->graph, op, inputs, 2, attributes, NULL) : NULL;
}

tuff_result infer_like_first(inference *inference) {
    inference->shapes[0] = inference->node->inputs[0]->shape;
    return TUFF_OK;
}

tuff_tensor *apply_ternary(const operator* op, tuff_tensor *a, tuff_tensor *b, tuff_tensor *c) {
    tuff_tensor *inputs[3] = { a, b, c }, *any = a ? a : b ? b : c;
    return any ? graph_apply(any->graph, op, inputs, 3, NULL, NULL) : NULL;
}

static const operator operator_sign = { .name = "sign",
                                        .formula = "x > 0 ? 1 : x < 0 ? -1 : 0",
                                        .inputs = { "input" },
                                        .pytorch = "torch.sign",
                                        .chain_op = CHAIN_SIGN,
                                        .flags = OPERATOR_DETACH };

static const operator operator_floor = { .name = "floor",
                                         .formula = "the largest integer <= x",
                                         .inputs = { "input" },
                                         .pytorch = "torch.floor",
                                         .chain_op = CHAIN_FLOOR,
                                         .flags = OPERATOR_DETACH };

/* ---- arithmetic ---------------------------------------------------------------------------------- */

GRADIENT_2(add, g, g)
GRADIENT_2(sub, g, tuff_neg(g))
GRADIENT_2(mul, tuff_mul(g, b), tuff_mul(g, a))
GRADIENT_2(div, tuff_div(g, b), tuff_neg(tuff_div(tuff_mul(g, y), b)))
NUMBERS_2(add, CHAIN_ADD, CHAIN_INT_ADD, "a + b", "; no alpha")
NUMBERS_2(sub, CHAIN_SUB, CHAIN_INT_SUB, "a - b", "; no alpha")
NUMBERS_2(mul, CHAIN_MUL, CHAIN_INT_MUL, "a * b", "")
ROW_2(div, CHAIN_DIV, "a / b", "no rounding_mode")

enum { SCALE_FACTOR = 0, SCALE_OFFSET };
static const attribute scale_attributes[] = {
    [SCALE_FACTOR] = { .name = "factor", .type = ATTRIBUTE_FLOAT, .value.f = 1 },
    [SCALE_OFFSET] = { .name = "offset", .type = ATTRIBUTE_FLOAT },
};

GRADIENT(scale, tuff_scale(g, (float)node->attributes[SCALE_FACTOR].f, 0))
static const operator operator_scale = { .name = "scale",
                                         .formula = "x * factor + offset",
                                         .inputs = { "input" },
                                         .attributes = scale_attributes,
                                         .attribute_count = 2,
                                         .chain_op = CHAIN_FMA,
                                         .gradient = gradient_scale };

GRADIENT(neg, tuff_neg(g))
GRADIENT(abs, tuff_mul(g, tuff_sign(x)))
GRADIENT(square, tuff_mul(g, tuff_scale(x, 2, 0)))
GRADIENT(exp, tuff_mul(g, y))
GRADIENT(log, tuff_div(g, x))
GRADIENT(sqrt, tuff_div(tuff_scale(g, 0.5f, 0), y))
GRADIENT(rsqrt, tuff_mul(g, tuff_scale(tuff_mul(y, tuff_square(y)), -0.5f, 0)))
NUMBERS_1(neg, CHAIN_NEG, CHAIN_INT_NEG, "-x")
NUMBERS_1(abs, CHAIN_ABS, CHAIN_INT_ABS, "|x|")
ROW_1(square, CHAIN_SQUARE, "x * x")
ROW_1(exp, CHAIN_EXP, "e^x")
ROW_1(log, CHAIN_LOG, "ln x")
ROW_1(sqrt, CHAIN_SQRT, "sqrt(x)")
ROW_1(rsqrt, CHAIN_RSQRT, "1 / sqrt(x)")

GRADIENT(expm1, tuff_mul(g, tuff_exp(x))) /* y + 1 would cancel */
GRADIENT(log1p, tuff_div(g, tuff_scale(x, 1, 1)))
GRADIENT(reciprocal, tuff_neg(tuff_mul(g, tuff_square(y))))
GRADIENT(sin, tuff_mul(g, tuff_cos(x)))
GRADIENT(cos, tuff_neg(tuff_mul(g, tuff_sin(x))))
ROW_1(expm1, CHAIN_EXPM1, "e^x - 1")
ROW_1(log1p, CHAIN_LOG1P, "ln(1 + x)")
ROW_1(reciprocal, CHAIN_RECIPROCAL, "1 / x")
ROW_1(sin, CHAIN_SIN, "sin x")
ROW_1(cos, CHAIN_COS, "cos x")

GRADIENT(erf, tuff_mul(g, tuff_scale(tuff_exp(tuff_neg(tuff_square(x))), 1.1283791671f, 0)))
ROW_1(erf, CHAIN_ERF, "2 / sqrt(pi) times the integral of e^-t^2 from 0 to x")

/* ---- the larger, the smaller, the bounded ---------------------------------------------------------- */

/* PyTorch's gradient of max(a, b) for a: all of g, half of it in a tie, nothing. Linear in g. */
static tuff_tensor *share_of(tuff_tensor *a, tuff_tensor *b, tuff_tensor *g);
static tuff_result gradient_share(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                  tuff_tensor **grad_inputs) {
    tuff_tensor *const *in = node->inputs;
    if (needs & 4) grad_inputs[2] = sum_to(share_of(in[0], in[1], grad_outputs[0]), in[2]);
    return TUFF_OK;
}
static const operator operator_share = { .name = "share",
                                         .flags = OPERATOR_INTERNAL,
                                         .formula = "a > b ? g : a == b ? g / 2 : 0",
                                         .inputs = { "input", "other", "grad" },
                                         .chain_op = CHAIN_SHARE,
                                         .gradient = gradient_share };
static tuff_tensor *share_of(tuff_tensor *a, tuff_tensor *b, tuff_tensor *g) {
    return apply_ternary(&operator_share, a, b, g);
}

GRADIENT_2(maximum, share_of(a, b, g), share_of(b, a, g))
GRADIENT_2(minimum, share_of(b, a, g), share_of(a, b, g))
NUMBERS_2(maximum, CHAIN_MAX, CHAIN_INT_MAX,
          "max(a, b); NaN where either is one; a tie shares the gradient half and half", "")
NUMBERS_2(minimum, CHAIN_MIN, CHAIN_INT_MIN,
          "min(a, b); NaN where either is one; a tie shares the gradient half and half", "")

enum { CLAMP_MIN = 0, CLAMP_MAX };
static const attribute clamp_attributes[] = {
    [CLAMP_MIN] = { .name = "min", .type = ATTRIBUTE_FLOAT, .value.f = -INFINITY },
    [CLAMP_MAX] = { .name = "max", .type = ATTRIBUTE_FLOAT, .value.f = INFINITY },
};
GRADIENT(clamp, keep_if(within(x, (float)node->attributes[CLAMP_MIN].f, (float)node->attributes[CLAMP_MAX].f), g))
static const operator operator_clamp = { .name = "clamp",
                                         .formula = "min(max(x, min), max); the gradient passes on the bounds, too",
                                         .inputs = { "input" },
                                         .pytorch = "torch.clamp",
                                         .limits = "min and max are numbers",
                                         .attributes = clamp_attributes,
                                         .attribute_count = 2,
                                         .chain_op = CHAIN_CLAMP,
                                         .gradient = gradient_clamp };

/* ---- powers ---------------------------------------------------------------------------------------- */

/* As PyTorch: 0 where the exponent is 0; y ln x, or 0 where x is 0 and the exponent not below. */
static tuff_tensor *pow_slope(tuff_tensor *x, tuff_tensor *exponent) {
    return keep_if(exponent, tuff_mul(exponent, tuff_pow(x, tuff_scale(exponent, 1, -1))));
}
static tuff_tensor *pow_growth(tuff_tensor *x, tuff_tensor *exponent, tuff_tensor *y) {
    tuff_tensor *nothing = keep_if(within(exponent, 0, INFINITY), tuff_logical_not(x)); /* 0 ln 0 */
    return keep_unless(nothing, tuff_mul(y, tuff_log(x)));
}
GRADIENT_2(pow, tuff_mul(g, pow_slope(a, b)), tuff_mul(g, pow_growth(a, b, y)))
static const operator operator_pow = { .name = "pow",
                                       .formula = "a^b",
                                       .inputs = { "input", "exponent" },
                                       .pytorch = "torch.pow",
                                       .limits = "for a number as exponent see pow_scalar",
                                       .chain_op = CHAIN_POW,
                                       .gradient = gradient_pow };

static const attribute exponent_attribute[] = { { .name = "exponent", .type = ATTRIBUTE_FLOAT, .required = true } };

GRADIENT(pow_number, tuff_mul(g, tuff_scale(tuff_pow_scalar(x, (float)(node->attributes[0].f - 1)),
                                            (float)node->attributes[0].f, 0)))
static const operator operator_pow_number = { .name = "pow_number",
                                              .flags = OPERATOR_INTERNAL,
                                              .formula = "x^exponent",
                                              .inputs = { "input" },
                                              .attributes = exponent_attribute,
                                              .attribute_count = 1,
                                              .chain_op = CHAIN_POW,
                                              .gradient = gradient_pow_number };

/* PyTorch's own cases, which differ from pow's at 0 and infinity. */
static tuff_tensor *power(tuff_tensor *x, float exponent) {
    if (exponent == 0) return tuff_scale(keep_if(greater_than(x, INFINITY), x), 0, 1);
    if (exponent == 1) return x;
    if (exponent == 2) return tuff_square(x);
    if (exponent == 3) return tuff_mul(tuff_square(x), x);
    if (exponent == 0.5f) return tuff_sqrt(x);
    if (exponent == -0.5f) return tuff_rsqrt(x);
    if (exponent == -1) return tuff_reciprocal(x);
    if (exponent == -2) return tuff_square(tuff_reciprocal(x)); /* its slope is finite wherever x^-3 is */
    return apply_unary(&operator_pow_number, x, &(attribute_value){ .f = exponent });
}
COMPOSITE(pow_scalar, power(x, (float)node->attributes[0].f))
static const operator operator_pow_scalar = { .name = "pow_scalar",
                                              .formula = "x^exponent",
                                              .inputs = { "input" },
                                              .pytorch = "torch.pow",
                                              .limits = "the exponent is a number",
                                              .attributes = exponent_attribute,
                                              .attribute_count = 1,
                                              .infer = infer_like_first,
                                              .expand = expand_pow_scalar };

/* ---- dropout ------------------------------------------------------------------------------------- */

static const attribute dropout_attributes[] = { { .name = "p", .type = ATTRIBUTE_FLOAT, .value.f = 0.5 } };

/* The mask is a function of (seed, step, the node's name_hash, element), so each use computes it again. */
static const operator operator_dropout_mask = {
    .name = "dropout_mask",
    .formula = "0 with probability p, else 1 / (1 - p)",
    .inputs = { "like" },
    .types = { TYPE_ANY },
    .attributes = dropout_attributes,
    .attribute_count = 1,
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .shape_only = 1,
    .chain_op = CHAIN_DROPOUT,
    .infer = infer_like_first,
};

tuff_result infer_dropped(inference *inference) {
    double p = inference->node->attributes[0].f;
    char text[160];
    if (p >= 0 && p <= 1) return infer_like_first(inference);
    return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: p is %g, it must be in [0, 1]",
                      node_text(inference->node, text), p);
}

tuff_tensor *dropped(const node *node, tuff_tensor *x, tuff_tensor *like) {
    float p = (float)node->attributes[0].f;
    if (!x || p == 0) return x;
    /* nothing of x: infinite numbers would survive a product with zeros as NaN */
    if (p == 1) return expand_as(tuff_constant(x->graph, 0, TUFF_SCALAR), x);
    tuff_tensor *mask = apply_unary(&operator_dropout_mask, like, node->attributes);
    if (mask) mask->producer->name_hash = node->name_hash;
    return tuff_mul(x, mask);
}

static tuff_result expand_dropout(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    outputs[0] = training ? dropped(node, inputs[0], inputs[0]) : inputs[0];
    return graph->result;
}

/* Linear in x: the gradient passes through the same mask. */
static tuff_result gradient_dropout(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(node->op, grad_outputs[0], node->attributes);
    if (grad_inputs[0]) grad_inputs[0]->producer->name_hash = node->name_hash;
    return TUFF_OK;
}

static const operator operator_dropout = {
    .name = "dropout",
    .flags = OPERATOR_TRAINING,
    .formula = "x times 0 with probability p, else times 1 / (1 - p); x itself in evaluation",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.dropout",
    .attributes = dropout_attributes,
    .attribute_count = 1,
    .infer = infer_dropped,
    .gradient = gradient_dropout,
    .expand = expand_dropout,
};

/* ---- the public functions ------------------------------------------------------------------------ */

tuff_tensor *tuff_add(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_add, a, b, NULL);
}
tuff_tensor *tuff_sub(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_sub, a, b, NULL);
}
tuff_tensor *tuff_mul(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_mul, a, b, NULL);
}
tuff_tensor *tuff_div(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_div, a, b, NULL);
}

tuff_tensor *tuff_scale(tuff_tensor *x, float factor, float offset) {
    const attribute_value attributes[] = { [SCALE_FACTOR] = { .f = factor }, [SCALE_OFFSET] = { .f = offset } };
    return apply_unary(&operator_scale, x, attributes);
}

tuff_tensor *tuff_neg(tuff_tensor *x) {
    return apply_unary(&operator_neg, x, NULL);
}
tuff_tensor *tuff_abs(tuff_tensor *x) {
    return apply_unary(&operator_abs, x, NULL);
}
tuff_tensor *tuff_square(tuff_tensor *x) {
    return apply_unary(&operator_square, x, NULL);
}
tuff_tensor *tuff_exp(tuff_tensor *x) {
    return apply_unary(&operator_exp, x, NULL);
}
tuff_tensor *tuff_log(tuff_tensor *x) {
    return apply_unary(&operator_log, x, NULL);
}
tuff_tensor *tuff_sqrt(tuff_tensor *x) {
    return apply_unary(&operator_sqrt, x, NULL);
}
tuff_tensor *tuff_rsqrt(tuff_tensor *x) {
    return apply_unary(&operator_rsqrt, x, NULL);
}
tuff_tensor *tuff_sign(tuff_tensor *x) {
    return apply_unary(&operator_sign, x, NULL);
}

tuff_tensor *tuff_floor(tuff_tensor *x) {
    return apply_unary(&operator_floor, x, NULL);
}
tuff_tensor *tuff_expm1(tuff_tensor *x) {
    return apply_unary(&operator_expm1, x, NULL);
}
tuff_tensor *tuff_log1p(tuff_tensor *x) {
    return apply_unary(&operator_log1p, x, NULL);
}
tuff_tensor *tuff_reciprocal(tuff_tensor *x) {
    return apply_unary(&operator_reciprocal, x, NULL);
}
tuff_tensor *tuff_sin(tuff_tensor *x) {
    return apply_unary(&operator_sin, x, NULL);
}
tuff_tensor *tuff_cos(tuff_tensor *x) {
    return apply_unary(&operator_cos, x, NULL);
}
tuff_tensor *tuff_erf(tuff_tensor *x) {
    return apply_unary(&operator_erf, x, NULL);
}
tuff_tensor *tuff_maximum(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_maximum, a, b, NULL);
}
tuff_tensor *tuff_minimum(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_minimum, a, b, NULL);
}
tuff_tensor *tuff_pow(tuff_tensor *x, tuff_tensor *exponent) {
    return apply_binary(&operator_pow, x, exponent, NULL);
}
tuff_tensor *tuff_pow_scalar(tuff_tensor *x, float exponent) {
    return apply_unary(&operator_pow_scalar, x, &(attribute_value){ .f = exponent });
}

tuff_tensor *tuff_clamp(tuff_tensor *x, float min, float max) {
    return apply_unary(&operator_clamp, x,
                       (attribute_value[]){ [CLAMP_MIN] = { .f = min }, [CLAMP_MAX] = { .f = max } });
}

tuff_tensor *tuff_dropout(tuff_tensor *x, float p, const char *name) {
    return x ? graph_apply(x->graph, &operator_dropout, &x, 1, &(attribute_value){ .f = p }, name) : NULL;
}

static const operator* const rows[] = {
    &operator_add,  &operator_sub,        &operator_mul,        &operator_div,          &operator_scale,
    &operator_neg,  &operator_abs,        &operator_square,     &operator_exp,          &operator_log,
    &operator_sqrt, &operator_rsqrt,      &operator_dropout,    &operator_dropout_mask, &operator_erf,
    &operator_sign, &operator_floor,      &operator_expm1,      &operator_log1p,        &operator_reciprocal,
    &operator_sin,  &operator_cos,        &operator_maximum,    &operator_minimum,      &operator_clamp,
    &operator_pow,  &operator_pow_scalar, &operator_pow_number, &operator_share,
};
const operator_family family_pointwise = { rows, sizeof rows / sizeof *rows };
