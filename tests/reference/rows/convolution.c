/* Convolutions. */
#include "tests/reference/rows.h"

static ref_convolution convolution_of(const recipe_args *a, const ref *weight) {
    ref_convolution c = { .groups = arg_int(a, "groups", 1) };
    int64_t axes = (int64_t)weight->shape.rank - 2;
    arg_sizes(a, "stride", c.stride, axes, 1);
    arg_sizes(a, "dilation", c.dilation, axes, 1);
    if (arg_is(a, "padding", "same")) { /* the odd pixel stands behind */
        for (int64_t i = 0; i < axes; i++) {
            int64_t both = c.dilation[i] * (weight->shape.sizes[2 + i] - 1);
            c.padding[i] = both / 2;
            c.behind[i] = both - both / 2;
        }
    } else if (!arg_is(a, "padding", "valid")) {
        arg_sizes(a, "padding", c.padding, axes, 0);
        arg_sizes(a, "padding", c.behind, axes, 0);
    }
    return c;
}

FORWARD(conv_forward) {
    ref_convolution c = convolution_of(a, in[1]);
    return ref_conv(in[0], in[1], in[2], &c);
}
GRADIENT(conv_gradient) {
    UNUSED;
    ref_convolution c = convolution_of(a, in[1]);
    ref_conv_grad(in[0], in[1], &c, gy, g[0], g[1], g[2]);
}

static ref_convolution transposed_of(const recipe_args *a, const ref *weight) {
    ref_convolution c = convolution_of(a, weight);
    arg_sizes(a, "output_padding", c.behind, (int64_t)weight->shape.rank - 2, 0);
    return c;
}

FORWARD(conv_transpose_forward) {
    ref_convolution c = transposed_of(a, in[1]);
    return ref_conv_transpose(in[0], in[1], in[2], &c);
}
GRADIENT(conv_transpose_gradient) {
    UNUSED;
    ref_convolution c = transposed_of(a, in[1]);
    ref_conv_transpose_grad(in[0], in[1], &c, gy, g[0], g[1], g[2]);
}

#define CONV(axes)                                                                                                     \
    { "conv" #axes "d", "convolution", conv_forward, conv_gradient, NULL, false }
#define TRANSPOSE(axes)                                                                                                \
    { "conv_transpose" #axes "d", "convolution", conv_transpose_forward, conv_transpose_gradient, NULL, false }

static const recipe_operator rows[] = {
    CONV(1), CONV(2), CONV(3), TRANSPOSE(1), TRANSPOSE(2), TRANSPOSE(3),
};
const recipe_family ROWS_CONVOLUTION = { rows, sizeof rows / sizeof *rows };
