/* Pointwise operators. */
#include "tests/reference/rows.h"

#include <math.h>

#define UNARY(name, FUNCTION, P, Q)                                                                                    \
    FORWARD(name##_forward) {                                                                                          \
        (void)a;                                                                                                       \
        return ref_unary(FUNCTION, in[0], P, Q);                                                                       \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        if (g[0]) ref_unary_grad(FUNCTION, in[0], P, Q, gy, g[0]);                                                     \
    }
UNARY(scale, REF_SCALE, arg_number(a, "factor", 1), arg_number(a, "offset", 0))
UNARY(neg, REF_NEG, 0, 0)
UNARY(abs, REF_ABS, 0, 0)
UNARY(square, REF_SQUARE, 0, 0)
UNARY(exp, REF_EXP, 0, 0)
UNARY(log, REF_LOG, 0, 0)
UNARY(sqrt, REF_SQRT, 0, 0)
UNARY(rsqrt, REF_RSQRT, 0, 0)
UNARY(relu, REF_RELU, 0, 0)
UNARY(leaky_relu, REF_LEAKY_RELU, arg_number(a, "negative_slope", 0.01), 0)
UNARY(sigmoid, REF_SIGMOID, 0, 0)
UNARY(tanh, REF_TANH, 0, 0)
UNARY(gelu, arg_is(a, "approximate", "tanh") ? REF_GELU_TANH : REF_GELU, 0, 0)
UNARY(silu, REF_SILU, 0, 0)
UNARY(erf, REF_ERF, 0, 0)

FORWARD(sign_forward) {
    (void)a;
    return ref_unary(REF_SIGN, in[0], 0, 0);
}

#define BINARY(name, ARITHMETIC)                                                                                       \
    FORWARD(name##_forward) {                                                                                          \
        (void)a;                                                                                                       \
        return ref_binary(ARITHMETIC, in[0], in[1]);                                                                   \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        ref_binary_grad(ARITHMETIC, in[0], in[1], gy, g[0], g[1]);                                                     \
    }
BINARY(add, REF_ADD)
BINARY(sub, REF_SUB)
BINARY(mul, REF_MUL)
BINARY(div, REF_DIV)

/* A zero is exact (another relu made it): float32 has it too. */
double kink_at_zero(ref *const *in, const recipe_args *a, const ref *y) {
    (void)a, (void)y;
    double nearest = INFINITY;
    for (int64_t i = 0; i < in[0]->count; i++)
        if (in[0]->v[i] != 0) nearest = fmin(nearest, fabs(in[0]->v[i]));
    return nearest;
}

FORWARD(dropout_forward) {
    return a->keep ? ref_dropout(in[0], arg_number(a, "p", 0.5), a->keep) : ref_reshape(in[0], in[0]->shape);
}
GRADIENT(dropout_gradient) {
    UNUSED;
    if (!g[0]) return;
    if (a->keep)
        ref_dropout_grad(arg_number(a, "p", 0.5), a->keep, gy, g[0]);
    else
        ref_reshape_grad(gy, g[0]);
}

static const recipe_operator rows[] = {
    ROW(add, "pointwise"),
    ROW(sub, "pointwise"),
    ROW(mul, "pointwise"),
    ROW(div, "pointwise"),
    ROW(scale, "pointwise"),
    ROW(neg, "pointwise"),
    KINKED(abs, "pointwise", kink_at_zero),
    ROW(square, "pointwise"),
    ROW(exp, "pointwise"),
    ROW(log, "pointwise"),
    ROW(sqrt, "pointwise"),
    ROW(rsqrt, "pointwise"),
    KINKED(relu, "pointwise", kink_at_zero),
    KINKED(leaky_relu, "pointwise", kink_at_zero),
    ROW(sigmoid, "pointwise"),
    ROW(tanh, "pointwise"),
    ROW(gelu, "pointwise"),
    ROW(silu, "pointwise"),
    ROW(erf, "pointwise"),
    DETACHED(sign, "pointwise"),
    ROW(dropout, "pointwise"),
};
const recipe_family ROWS_POINTWISE = { rows, sizeof rows / sizeof *rows };
