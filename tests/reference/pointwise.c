/* Pointwise operators: y = f(x), and arithmetic of two with broadcasting. */
#include "reference.h"

#include <math.h>

static const double SQRT_HALF = 0.70710678118654752440, INV_SQRT_2PI = 0.39894228040143267794;
static const double INV_SQRT_PI = 0.56418958354775628695;
static const double SQRT_2_OVER_PI = 0.79788456080286535588, GELU_CUBE = 0.044715;

/* A value and the sum of the absolute terms that make it. */
typedef struct sum {
    double v, abs;
} sum;

static sum plain(double v) {
    return (sum){ v, fabs(v) };
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static sum value(ref_function function, double x, double p, double q) {
    switch (function) {
    case REF_SCALE: return (sum){ x * p + q, fabs(x * p) + fabs(q) };
    case REF_NEG: return plain(-x);
    case REF_ABS: return plain(fabs(x));
    case REF_SQUARE: return plain(x * x);
    case REF_EXP: return plain(exp(x));
    case REF_LOG: return plain(log(x));
    case REF_SQRT: return plain(sqrt(x));
    case REF_RSQRT: return plain(1 / sqrt(x));
    case REF_RELU: return plain(x > 0 ? x : 0);
    case REF_LEAKY_RELU: return plain(x > 0 ? x : p * x);
    case REF_SIGMOID: return plain(sigmoid(x));
    case REF_TANH: return plain(tanh(x));
    /* 1 + erf and 1 + tanh cancel on the left side. */
    case REF_GELU: return (sum){ 0.5 * x * (1 + erf(x * SQRT_HALF)), 0.5 * fabs(x) * (1 + fabs(erf(x * SQRT_HALF))) };
    case REF_GELU_TANH: {
        double t = tanh(SQRT_2_OVER_PI * (x + GELU_CUBE * x * x * x));
        return (sum){ 0.5 * x * (1 + t), 0.5 * fabs(x) * (1 + fabs(t)) };
    }
    case REF_SILU: return plain(x * sigmoid(x));
    case REF_ERF: return plain(erf(x));
    case REF_SIGN: return plain((x > 0) - (x < 0));
    }
    return plain(NAN);
}

static sum slope(ref_function function, double x, double p) {
    switch (function) {
    case REF_SCALE: return plain(p);
    case REF_NEG: return plain(-1);
    case REF_ABS: return plain((x > 0) - (x < 0));
    case REF_SQUARE: return plain(2 * x);
    case REF_EXP: return plain(exp(x));
    case REF_LOG: return plain(1 / x);
    case REF_SQRT: return plain(0.5 / sqrt(x));
    case REF_RSQRT: return plain(-0.5 / (x * sqrt(x)));
    case REF_RELU: return plain(x > 0);
    case REF_LEAKY_RELU: return plain(x > 0 ? 1 : p);
    case REF_SIGMOID: return (sum){ sigmoid(x) * sigmoid(-x), sigmoid(x) * (1 + sigmoid(x)) };
    case REF_TANH: return (sum){ 1 - tanh(x) * tanh(x), 1 + tanh(x) * tanh(x) };
    case REF_GELU: {
        double phi = INV_SQRT_2PI * exp(-0.5 * x * x), e = erf(x * SQRT_HALF);
        /* exp's argument is rounded: x^2 / 2 units more */
        return (sum){ 0.5 * (1 + e) + x * phi, 0.5 * (1 + fabs(e)) + fabs(x) * phi * (1 + x * x) };
    }
    case REF_GELU_TANH: {
        double t = tanh(SQRT_2_OVER_PI * (x + GELU_CUBE * x * x * x));
        double inner = SQRT_2_OVER_PI * (1 + 3 * GELU_CUBE * x * x);
        return (sum){ 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner,
                      0.5 * (1 + fabs(t)) + 0.5 * fabs(x) * (1 + t * t) * inner };
    }
    case REF_ERF: /* exp's argument is rounded */
        return (sum){ 2 * INV_SQRT_PI * exp(-x * x), 2 * INV_SQRT_PI * exp(-x * x) * (1 + x * x) };
    case REF_SIGN: return plain(0);
    case REF_SILU: {
        double s = sigmoid(x);
        return (sum){ s + x * s * sigmoid(-x), s + fabs(x) * s * (1 + s) };
    }
    }
    return plain(NAN);
}

ref *ref_unary(ref_function function, const ref *x, double p, double q) {
    ref *y = ref_new(x->shape);
    for (int64_t i = 0; i < x->count; i++) {
        sum s = value(function, x->v[i], p, q);
        y->v[i] = s.v;
        y->abs[i] = s.abs;
    }
    return y;
}

void ref_unary_grad(ref_function function, const ref *x, double p, double q, const ref *gy, ref *gx) {
    (void)q;
    for (int64_t i = 0; i < x->count; i++) {
        sum s = slope(function, x->v[i], p);
        gx->v[i] += gy->v[i] * s.v;
        gx->abs[i] += fabs(gy->v[i]) * s.abs;
    }
}

ref *ref_binary(ref_arithmetic arithmetic, const ref *a, const ref *b) {
    ref *y = ref_new(ref_broadcast_shape(&a->shape, &b->shape));
    for (int64_t i = 0; i < y->count; i++) {
        double va = a->v[ref_offset(&a->shape, &y->shape, i)], vb = b->v[ref_offset(&b->shape, &y->shape, i)];
        sum s = { 0, 0 };
        switch (arithmetic) {
        case REF_ADD: s = (sum){ va + vb, fabs(va) + fabs(vb) }; break;
        case REF_SUB: s = (sum){ va - vb, fabs(va) + fabs(vb) }; break;
        case REF_MUL: s = plain(va * vb); break;
        case REF_DIV: s = plain(va / vb); break;
        }
        y->v[i] = s.v;
        y->abs[i] = s.abs;
    }
    return y;
}

/* Adds `term` to an operand's gradient; a broadcast operand sums over what it was broadcast to. */
static void add_term(ref *gradient, const ref *gy, int64_t i, double term) {
    if (!gradient) return;
    int64_t at = ref_offset(&gradient->shape, &gy->shape, i);
    gradient->v[at] += term;
    gradient->abs[at] += fabs(term);
}

void ref_binary_grad(ref_arithmetic arithmetic, const ref *a, const ref *b, const ref *gy, ref *ga, ref *gb) {
    for (int64_t i = 0; i < gy->count; i++) {
        double va = a->v[ref_offset(&a->shape, &gy->shape, i)], vb = b->v[ref_offset(&b->shape, &gy->shape, i)];
        double g = gy->v[i];
        switch (arithmetic) {
        case REF_ADD: add_term(ga, gy, i, g), add_term(gb, gy, i, g); break;
        case REF_SUB: add_term(ga, gy, i, g), add_term(gb, gy, i, -g); break;
        case REF_MUL: add_term(ga, gy, i, g * vb), add_term(gb, gy, i, g * va); break;
        case REF_DIV: add_term(ga, gy, i, g / vb), add_term(gb, gy, i, -g * va / (vb * vb)); break;
        }
    }
    if (ga) ga->terms = fmax(ga->terms, (double)gy->count / (double)ga->count);
    if (gb) gb->terms = fmax(gb->terms, (double)gy->count / (double)gb->count);
}

ref *ref_dropout(const ref *x, double p, const uint8_t *keep) {
    ref *y = ref_new(x->shape);
    for (int64_t i = 0; i < x->count; i++) {
        y->v[i] = keep[i] ? x->v[i] / (1 - p) : 0;
        y->abs[i] = fabs(y->v[i]);
    }
    return y;
}

void ref_dropout_grad(double p, const uint8_t *keep, const ref *gy, ref *gx) {
    for (int64_t i = 0; i < gx->count; i++) {
        double g = keep[i] ? gy->v[i] / (1 - p) : 0;
        gx->v[i] += g;
        gx->abs[i] += fabs(g);
    }
}
