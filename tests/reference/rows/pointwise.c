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

/* y = value of x, with the slope beside it (PyTorch's where there are two) and the sums of their absolute terms. */
#define MAP(name, value, value_terms, slope, slope_terms)                                                              \
    FORWARD(name##_forward) {                                                                                          \
        ref *y = ref_new(in[0]->shape);                                                                                \
        (void)a;                                                                                                       \
        for (int64_t i = 0; i < y->count; i++) {                                                                       \
            const double x = in[0]->v[i];                                                                              \
            y->v[i] = value;                                                                                           \
            y->abs[i] = value_terms;                                                                                   \
        }                                                                                                              \
        return y;                                                                                                      \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        for (int64_t i = 0; g[0] && i < gy->count; i++) {                                                              \
            const double x = in[0]->v[i];                                                                              \
            (void)x;                                                                                                   \
            g[0]->v[i] += gy->v[i] * (slope);                                                                          \
            g[0]->abs[i] += fabs(gy->v[i]) * (slope_terms);                                                            \
        }                                                                                                              \
    }
/* The same where nothing cancels. */
#define PLAIN_MAP(name, value, slope) MAP(name, value, fabs(value), slope, fabs(slope))

static double softplus(double z) {
    return fmax(z, 0) + log1p(exp(-fabs(z)));
}
static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double bounded(double x, double low, double high) {
    return fmin(fmax(x, low), high);
}

PLAIN_MAP(expm1, expm1(x), exp(x))
PLAIN_MAP(log1p, log1p(x), 1 / (1 + x))
PLAIN_MAP(reciprocal, 1 / x, -1 / (x * x))
PLAIN_MAP(sin, sin(x), cos(x))
PLAIN_MAP(cos, cos(x), -sin(x))
PLAIN_MAP(clamp, bounded(x, arg_number(a, "min", -INFINITY), arg_number(a, "max", INFINITY)),
          (arg_number(a, "min", -INFINITY) <= x && x <= arg_number(a, "max", INFINITY)) ? 1.0 : 0)
PLAIN_MAP(relu6, bounded(x, 0, 6), 0 < x && x < 6 ? 1.0 : 0)
PLAIN_MAP(hardsigmoid, bounded(x + 3, 0, 6) / 6, -3 < x && x < 3 ? 1.0 / 6 : 0)
MAP(hardswish, x *bounded(x + 3, 0, 6) / 6, fabs(x *bounded(x + 3, 0, 6) / 6),
    x < -3  ? 0
    : x < 3 ? x / 3 + 0.5
            : 1,
    fabs(x) < 3 ? fabs(x) / 3 + 0.5 : 1)
PLAIN_MAP(elu, x > 0 ? x : arg_number(a, "alpha", 1) * expm1(x), x > 0 ? 1 : arg_number(a, "alpha", 1) * exp(x))

static const double SELU_ALPHA = 1.6732632423543772848, SELU_SCALE = 1.0507009873554804934;
PLAIN_MAP(selu, SELU_SCALE *(x > 0 ? x : SELU_ALPHA * expm1(x)), SELU_SCALE *(x > 0 ? 1 : SELU_ALPHA * exp(x)))

#define BETA         arg_number(a, "beta", 1)
#define THRESHOLD    arg_number(a, "threshold", 20)
#define LINEAR_THERE ((double)((float)x * (float)BETA) > THRESHOLD) /* on the side where float32 is */
PLAIN_MAP(softplus, LINEAR_THERE ? x : softplus(BETA *x) / BETA, LINEAR_THERE ? 1 : sigmoid(BETA *x))
PLAIN_MAP(logsigmoid, -softplus(-x), sigmoid(-x))

static double mish_bend(double x) {
    double t = tanh(softplus(x));
    return x * sigmoid(x) * (1 - t * t);
}
MAP(mish, x *tanh(softplus(x)), fabs(x *tanh(softplus(x))), tanh(softplus(x)) + mish_bend(x),
    tanh(softplus(x)) + fabs(x) * sigmoid(x) * (1 + tanh(softplus(x)) * tanh(softplus(x))))

#define EXPONENT arg_number(a, "exponent", 1)
PLAIN_MAP(pow_scalar, pow(x, EXPONENT), EXPONENT == 0 ? 0 : EXPONENT * pow(x, EXPONENT - 1))

FORWARD(floor_forward) {
    ref *y = ref_new(in[0]->shape);
    (void)a;
    for (int64_t i = 0; i < y->count; i++) {
        y->v[i] = floor(in[0]->v[i]);
        y->abs[i] = fabs(y->v[i]);
    }
    return y;
}

/* y = value of two operands p and q that broadcast, with both slopes. */
#define MAP_2(name, value, slope_p, slope_q)                                                                           \
    FORWARD(name##_forward) {                                                                                          \
        ref *y = ref_new(ref_broadcast_shape(&in[0]->shape, &in[1]->shape));                                           \
        (void)a;                                                                                                       \
        for (int64_t i = 0; i < y->count; i++) {                                                                       \
            const double p = in[0]->v[ref_offset(&in[0]->shape, &y->shape, i)];                                        \
            const double q = in[1]->v[ref_offset(&in[1]->shape, &y->shape, i)];                                        \
            y->v[i] = value;                                                                                           \
            y->abs[i] = fabs(y->v[i]);                                                                                 \
        }                                                                                                              \
        return y;                                                                                                      \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        for (int64_t i = 0; i < gy->count; i++) {                                                                      \
            const double p = in[0]->v[ref_offset(&in[0]->shape, &gy->shape, i)];                                       \
            const double q = in[1]->v[ref_offset(&in[1]->shape, &gy->shape, i)];                                       \
            const double slopes[2] = { slope_p, slope_q };                                                             \
            for (int k = 0; k < 2; k++) {                                                                              \
                if (!g[k]) continue;                                                                                   \
                int64_t at = ref_offset(&in[k]->shape, &gy->shape, i);                                                 \
                g[k]->v[at] += gy->v[i] * slopes[k];                                                                   \
                g[k]->abs[at] += fabs(gy->v[i] * slopes[k]);                                                           \
            }                                                                                                          \
        }                                                                                                              \
        for (int k = 0; k < 2; k++)                                                                                    \
            if (g[k]) g[k]->terms = fmax(g[k]->terms, (double)gy->count / (double)g[k]->count);                        \
    }

/* Of max(p, q): all of p's slope, half in a tie, none. */
static double share(double p, double q) {
    return p > q ? 1 : p == q ? 0.5 : 0;
}
MAP_2(maximum, fmax(p, q), share(p, q), share(q, p))
MAP_2(minimum, fmin(p, q), share(q, p), share(p, q))
/* 0 log 0 is 0, as PyTorch has it */
MAP_2(pow, pow(p, q), q == 0 ? 0 : q * pow(p, q - 1), p == 0 && q >= 0 ? 0 : pow(p, q) * log(p))

/* The nearest tie of two operands that is none. */
KINK(kink_of_two) {
    (void)a;
    double nearest = INFINITY;
    for (int64_t i = 0; i < y->count; i++) {
        double d =
            in[0]->v[ref_offset(&in[0]->shape, &y->shape, i)] - in[1]->v[ref_offset(&in[1]->shape, &y->shape, i)];
        if (d != 0) nearest = fmin(nearest, fabs(d));
    }
    return nearest;
}
/* The nearest to either of two places, 0 itself as kink_at_zero has it. */
static double kink_at(const ref *x, double first, double second) {
    double nearest = INFINITY;
    for (int64_t i = 0; i < x->count; i++) {
        double d = fmin(fabs(x->v[i] - first), fabs(x->v[i] - second));
        if (d != 0) nearest = fmin(nearest, d);
    }
    return nearest;
}
KINK(kink_clamp) {
    (void)y;
    return kink_at(in[0], arg_number(a, "min", -INFINITY), arg_number(a, "max", INFINITY));
}
KINK(kink_relu6) {
    (void)a, (void)y;
    return kink_at(in[0], 0, 6);
}
KINK(kink_hard) {
    (void)a, (void)y;
    return kink_at(in[0], -3, 3);
}
KINK(kink_softplus) {
    (void)y;
    return kink_at(in[0], THRESHOLD / BETA, INFINITY);
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
    ROW(expm1, "pointwise"),
    ROW(log1p, "pointwise"),
    ROW(reciprocal, "pointwise"),
    ROW(sin, "pointwise"),
    ROW(cos, "pointwise"),
    DETACHED(floor, "pointwise"),
    ROW(pow, "pointwise"),
    ROW(pow_scalar, "pointwise"),
    KINKED(clamp, "pointwise", kink_clamp),
    KINKED(relu6, "pointwise", kink_relu6),
    KINKED(hardswish, "pointwise", kink_hard),
    KINKED(hardsigmoid, "pointwise", kink_hard),
    KINKED(elu, "pointwise", kink_at_zero),
    KINKED(selu, "pointwise", kink_at_zero),
    KINKED(softplus, "pointwise", kink_softplus),
    ROW(logsigmoid, "pointwise"),
    ROW(mish, "pointwise"),
    KINKED(maximum, "pointwise", kink_of_two),
    KINKED(minimum, "pointwise", kink_of_two),
};
const recipe_family ROWS_POINTWISE = { rows, sizeof rows / sizeof *rows };
