#include "test_layers.h"

#include <math.h>

static void of_one(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(3, 5));
    layers_expect(tuff_neg(x), "neg", "");
    layers_expect(tuff_abs(x), "abs", "");
    layers_expect(tuff_sign(x), "sign", "");
    layers_expect(tuff_floor(x), "floor", "");
    layers_expect(tuff_square(x), "square", "");
    layers_expect(tuff_exp(x), "exp", "");
    layers_expect(tuff_expm1(x), "expm1", "");
    layers_expect(tuff_log(x), "log", "");
    layers_expect(tuff_log1p(x), "log1p", "");
    layers_expect(tuff_sqrt(x), "sqrt", "");
    layers_expect(tuff_rsqrt(x), "rsqrt", "");
    layers_expect(tuff_reciprocal(x), "reciprocal", "");
    layers_expect(tuff_sin(x), "sin", "");
    layers_expect(tuff_cos(x), "cos", "");
    layers_expect(tuff_erf(x), "erf", "");
    layers_expect(tuff_scale(x, 2, 0.5f), "scale", "factor=2 offset=0.5");
    layers_expect(tuff_pow_scalar(x, 2.5f), "pow_scalar", "exponent=2.5");
    layers_expect(tuff_clamp(x, -INFINITY, 0.5f), "clamp", "max=0.5");
    layers_expect(tuff_clamp(x, 0, INFINITY), "clamp", "min=0");
}

static void of_two(layers_case *c) {
    tuff_tensor *a = layers_input(c, TUFF_SHAPE(3, 5)), *b = layers_input(c, TUFF_SHAPE(5));
    layers_expect(tuff_add(a, b), "add", "");
    layers_expect(tuff_sub(a, b), "sub", "");
    layers_expect(tuff_mul(a, b), "mul", "");
    layers_expect(tuff_div(a, b), "div", "");
    layers_expect(tuff_pow(a, b), "pow", "");
    layers_expect(tuff_maximum(a, b), "maximum", "");
    layers_expect(tuff_minimum(a, b), "minimum", "");
    tuff_maximum(a, layers_input(c, TUFF_SHAPE(4)));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "maximum [3, 5] [4]");
}

static void activations(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(3, 5));
    layers_expect(tuff_relu(x), "relu", "");
    layers_expect(tuff_relu6(x), "relu6", "");
    layers_expect(tuff_leaky_relu(x, 0.25f), "leaky_relu", "negative_slope=0.25");
    layers_expect(tuff_elu(x, 0.5f), "elu", "alpha=0.5");
    layers_expect(tuff_selu(x), "selu", "");
    layers_expect(tuff_gelu(x, NULL), "gelu", "");
    layers_expect(tuff_gelu(x, &(tuff_gelu_desc){ .approximate_tanh = true }), "gelu", "approximate=tanh");
    layers_expect(tuff_silu(x), "silu", "");
    layers_expect(tuff_softplus(x, 2, 10), "softplus", "beta=2 threshold=10");
    layers_expect(tuff_mish(x), "mish", "");
    layers_expect(tuff_hardswish(x), "hardswish", "");
    layers_expect(tuff_hardsigmoid(x), "hardsigmoid", "");
    layers_expect(tuff_sigmoid(x), "sigmoid", "");
    layers_expect(tuff_logsigmoid(x), "logsigmoid", "");
    layers_expect(tuff_tanh(x), "tanh", "");
    layers_expect(tuff_dropout(x, 0.25f, "drop"), "dropout", "p=0.25");
    layers_expect(tuff_dropout(x, 1, NULL), "dropout", "p=1");
    static const float impossible[] = { 1.5f, -1, NAN };
    for (int i = 0; i < 3; i++) {
        tuff_dropout(layers_input(c, TUFF_SHAPE(4)), impossible[i], NULL);
        layers_expect_error(c, TUFF_ERROR_ARGUMENT, "dropout p [0, 1]");
    }
}

static void masks(layers_case *c) {
    tuff_tensor *a = layers_input(c, TUFF_SHAPE(3, 5)), *b = layers_input(c, TUFF_SHAPE(5));
    tuff_tensor *mask = tuff_gt(a, b), *index = layers_index(c, TUFF_SHAPE(5));
    layers_expect(mask, "gt", "");
    layers_expect(tuff_ge(a, b), "ge", "");
    layers_expect(tuff_lt(a, b), "lt", "");
    layers_expect(tuff_le(a, b), "le", "");
    layers_expect(tuff_eq(index, index), "eq", "");
    layers_expect(tuff_ne(mask, mask), "ne", "");
    layers_expect(tuff_logical_not(mask), "logical_not", "");
    layers_expect(tuff_logical_and(mask, a), "logical_and", "");
    layers_expect(tuff_logical_or(a, mask), "logical_or", "");
    layers_expect(tuff_where(mask, a, b), "where", "");
    layers_expect(tuff_masked_fill(a, mask, -INFINITY), "masked_fill", "value=-inf");
    layers_expect(tuff_to(a, TUFF_I32), "to", "dtype=int32");
    layers_expect(tuff_to(index, TUFF_U8), "to", "dtype=uint8");
    tuff_masked_fill(b, mask, 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "masked_fill [3, 5] [5]");
    tuff_where(layers_index(c, TUFF_SHAPE(5)), layers_input(c, TUFF_SHAPE(5)), layers_input(c, TUFF_SHAPE(5)));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "where condition int32 uint8");
}

static const layers_test tests[] = {
    { "masks", masks },
    { "pointwise of one", of_one },
    { "pointwise of two", of_two },
    { "activations", activations },
};
const layers_family LAYERS_POINTWISE = LAYERS_FAMILY(tests);
