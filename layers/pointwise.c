/* Pointwise operators: each is a row that names a step of the chain (shaders/common/chain.glsl has the formulas).
 * Gradients are built from the same operators, so the backward pass fuses too. */
#include "layers/pointwise.h"

#include "layers/families.h"
#include "shaders/common/chain_ops.h"

#include <math.h>

tuff_tensor *apply_unary(const operator* op, tuff_tensor *x, const attribute_value *attributes) {
    return x ? graph_apply(x->graph, op, &x, 1, attributes, NULL) : NULL;
}

tuff_tensor *apply_binary(const operator* op, tuff_tensor *a, tuff_tensor *b, const attribute_value *attributes) {
    tuff_tensor *inputs[2] = { a, b };
    return a || b ? graph_apply(a ? a->graph : b->graph, op, inputs, 2, attributes, NULL) : NULL;
}

static tuff_tensor *apply_ternary(const operator* op, tuff_tensor *a, tuff_tensor *b, tuff_tensor *c) {
    tuff_tensor *inputs[3] = { a, b, c };
    return a && b && c ? graph_apply(a->graph, op, inputs, 3, NULL, NULL) : NULL;
}

/* A gradient function for one input: g is what arrives, x the input, y the output. */
#define GRADIENT(name, expression)                                                                                     \
    static tuff_result gradient_##name(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,             \
                                       tuff_tensor **grad_inputs) {                                                    \
        tuff_tensor *g = grad_outputs[0], *x = node->inputs[0], *y = node->outputs[0];                                 \
        (void)needs, (void)x, (void)y;                                                                                 \
        grad_inputs[0] = (expression);                                                                                 \
        return TUFF_OK;                                                                                                \
    }

/* Gradient functions for two inputs, which may have been broadcast. */
#define GRADIENT_2(name, first, second)                                                                                \
    static tuff_result gradient_##name(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,             \
                                       tuff_tensor **grad_inputs) {                                                    \
        tuff_tensor *g = grad_outputs[0], *a = node->inputs[0], *b = node->inputs[1], *y = node->outputs[0];           \
        (void)y;                                                                                                       \
        if (needs & 1) grad_inputs[0] = sum_to((first), a);                                                            \
        if (needs & 2) grad_inputs[1] = sum_to((second), b);                                                           \
        return TUFF_OK;                                                                                                \
    }

#define ROW_1(row, op, text)                                                                                           \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input" },                                                    \
                                             .pytorch = "torch." #row,                                                 \
                                             .chain_op = op,                                                           \
                                             .gradient = gradient_##row };
/* The same, for gradients and expansions alone. */
#define INTERNAL_1(row, op, text)                                                                                      \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input" },                                                    \
                                             .flags = OPERATOR_INTERNAL,                                               \
                                             .chain_op = op,                                                           \
                                             .gradient = gradient_##row };
#define ROW_2(row, op, text)                                                                                           \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input", "other" },                                           \
                                             .pytorch = "torch." #row,                                                 \
                                             .chain_op = op,                                                           \
                                             .gradient = gradient_##row };

/* ---- comparisons and choices --------------------------------------------------------------------- */

static const operator operator_sign = { .name = "sign",
                                        .formula = "x > 0 ? 1 : x < 0 ? -1 : 0",
                                        .inputs = { "input" },
                                        .pytorch = "torch.sign",
                                        .chain_op = CHAIN_SIGN,
                                        .flags = OPERATOR_DETACH };

static const attribute value_attribute[] = { { .name = "value", .type = ATTRIBUTE_FLOAT } };

static const operator operator_greater_than = { .name = "greater_than",
                                                .formula = "x > value ? 1 : 0",
                                                .inputs = { "input" },
                                                .attributes = value_attribute,
                                                .attribute_count = 1,
                                                .chain_op = CHAIN_GT,
                                                .flags = OPERATOR_DETACH | OPERATOR_INTERNAL };

static const operator operator_equal_to = { .name = "equal_to",
                                            .formula = "a == b ? 1 : 0",
                                            .inputs = { "input", "other" },
                                            .chain_op = CHAIN_EQ,
                                            .flags = OPERATOR_DETACH | OPERATOR_INTERNAL };

static const operator operator_is_zero = { .name = "is_zero",
                                           .formula = "x == value ? 1 : 0",
                                           .inputs = { "input" },
                                           .attributes = value_attribute,
                                           .attribute_count = 1,
                                           .chain_op = CHAIN_EQ,
                                           .flags = OPERATOR_DETACH | OPERATOR_INTERNAL };

static tuff_result gradient_keep_if(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    if (needs & 2) grad_inputs[1] = sum_to(keep_if(node->inputs[0], grad_outputs[0]), node->inputs[1]);
    return TUFF_OK;
}

static const operator operator_keep_if = { .name = "keep_if",
                                           .flags = OPERATOR_INTERNAL,
                                           .formula = "condition != 0 ? x : value",
                                           .inputs = { "condition", "input" },
                                           .attributes = value_attribute,
                                           .attribute_count = 1,
                                           .chain_op = CHAIN_SELECT,
                                           .gradient = gradient_keep_if };

static tuff_result gradient_select(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    tuff_tensor *g = grad_outputs[0], *condition = node->inputs[0];
    if (needs & 2) grad_inputs[1] = sum_to(keep_if(condition, g), node->inputs[1]);
    if (needs & 4) grad_inputs[2] = sum_to(keep_unless(condition, g), node->inputs[2]);
    return TUFF_OK;
}

static const operator operator_select = { .name = "select",
                                          .flags = OPERATOR_INTERNAL,
                                          .formula = "condition != 0 ? a : b",
                                          .inputs = { "condition", "input", "other" },
                                          .chain_op = CHAIN_SELECT,
                                          .gradient = gradient_select };

tuff_tensor *sign_of(tuff_tensor *x) {
    return apply_unary(&operator_sign, x, NULL);
}

tuff_tensor *greater_than(tuff_tensor *x, float value) {
    return apply_unary(&operator_greater_than, x, &(attribute_value){ .f = value });
}

tuff_tensor *equal_to(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_equal_to, a, b, NULL);
}
tuff_tensor *keep_if(tuff_tensor *condition, tuff_tensor *x) {
    return apply_binary(&operator_keep_if, condition, x, NULL);
}

tuff_tensor *keep_unless(tuff_tensor *condition, tuff_tensor *x) {
    return keep_if(apply_unary(&operator_is_zero, condition, NULL), x);
}

tuff_tensor *select_of(tuff_tensor *condition, tuff_tensor *a, tuff_tensor *b) {
    return apply_ternary(&operator_select, condition, a, b);
}

/* ---- arithmetic ---------------------------------------------------------------------------------- */

GRADIENT_2(add, g, g)
GRADIENT_2(sub, g, tuff_neg(g))
GRADIENT_2(mul, tuff_mul(g, b), tuff_mul(g, a))
GRADIENT_2(div, tuff_div(g, b), tuff_neg(tuff_div(tuff_mul(g, y), b)))
ROW_2(add, CHAIN_ADD, "a + b")
ROW_2(sub, CHAIN_SUB, "a - b")
ROW_2(mul, CHAIN_MUL, "a * b")
ROW_2(div, CHAIN_DIV, "a / b")

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
GRADIENT(abs, tuff_mul(g, sign_of(x)))
GRADIENT(square, tuff_mul(g, tuff_scale(x, 2, 0)))
GRADIENT(exp, tuff_mul(g, y))
GRADIENT(log, tuff_div(g, x))
GRADIENT(sqrt, tuff_div(tuff_scale(g, 0.5f, 0), y))
GRADIENT(rsqrt, tuff_mul(g, tuff_scale(tuff_mul(y, tuff_square(y)), -0.5f, 0)))
ROW_1(neg, CHAIN_NEG, "-x")
ROW_1(abs, CHAIN_ABS, "|x|")
ROW_1(square, CHAIN_SQUARE, "x * x")
ROW_1(exp, CHAIN_EXP, "e^x")
ROW_1(log, CHAIN_LOG, "ln x")
ROW_1(sqrt, CHAIN_SQRT, "sqrt(x)")
ROW_1(rsqrt, CHAIN_RSQRT, "1 / sqrt(x)")

GRADIENT(erf, tuff_mul(g, tuff_scale(tuff_exp(tuff_neg(tuff_square(x))), 1.1283791671f, 0)))
ROW_1(erf, CHAIN_ERF, "2 / sqrt(pi) times the integral of e^-t^2 from 0 to x")

/* ---- activations --------------------------------------------------------------------------------- */

/* From the output where it tells as much, so that the input need not be kept. */
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
    grad_inputs[0] = select_of(positive, grad_outputs[0], tuff_scale(grad_outputs[0], slope, 0));
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
ROW_1(silu, CHAIN_SILU, "x / (1 + e^-x)")

static const attribute gelu_attributes[] = {
    { .name = "approximate", .type = ATTRIBUTE_CHOICE, .choices = "none|tanh" }
};

static tuff_result infer_like_first(inference *inference) {
    inference->shapes[0] = inference->node->inputs[0]->shape;
    return TUFF_OK;
}

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

static tuff_result expand_dropout(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    outputs[0] = inputs[0];
    if (!training || (float)node->attributes[0].f == 0) return graph->result;
    tuff_tensor *mask = graph_apply(graph, &operator_dropout_mask, inputs, 1, node->attributes, NULL);
    if (mask) mask->producer->name_hash = node->name_hash;
    outputs[0] = tuff_mul(inputs[0], mask);
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
    .infer = infer_like_first,
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

tuff_tensor *tuff_dropout(tuff_tensor *x, float p, const char *name) {
    if (!x) return NULL;
    if (!(p >= 0 && p < 1)) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "dropout of '%s': p is %g, it must be in [0, 1)", x->name, (double)p);
        return NULL;
    }
    return graph_apply(x->graph, &operator_dropout, &x, 1, &(attribute_value){ .f = p }, name);
}

static const operator* const rows[] = {
    &operator_add,
    &operator_sub,
    &operator_mul,
    &operator_div,
    &operator_scale,
    &operator_neg,
    &operator_abs,
    &operator_square,
    &operator_exp,
    &operator_log,
    &operator_sqrt,
    &operator_rsqrt,
    &operator_relu,
    &operator_leaky_relu,
    &operator_sigmoid,
    &operator_tanh,
    &operator_gelu,
    &operator_gelu_erf,
    &operator_gelu_tanh,
    &operator_silu,
    &operator_dropout,
    &operator_gelu_slope,
    &operator_gelu_tanh_slope,
    &operator_silu_slope,
    &operator_dropout_mask,
    &operator_erf,
    &operator_sign,
    &operator_greater_than,
    &operator_equal_to,
    &operator_is_zero,
    &operator_keep_if,
    &operator_select,
};
const operator_family family_pointwise = { rows, sizeof rows / sizeof *rows };
