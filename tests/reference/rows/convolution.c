/* Convolutions. */
#include "tests/reference/rows.h"

#include <string.h>

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

/* The same numbers as a batch of one, where they are one image without an axis for a batch. */
static ref as_batch(const ref *x, const ref *weight) {
    ref batch = *x;
    if (x->shape.rank == weight->shape.rank) return batch;
    memmove(batch.shape.sizes + 1, batch.shape.sizes, batch.shape.rank++ * sizeof *batch.shape.sizes);
    batch.shape.sizes[0] = 1;
    return batch;
}

static ref *as_input(ref *y, const ref *x) {
    if (y->shape.rank != x->shape.rank)
        memmove(y->shape.sizes, y->shape.sizes + 1, --y->shape.rank * sizeof *y->shape.sizes);
    return y;
}

typedef void (*gradient_function)(const ref *, const ref *, const ref_convolution *, const ref *, ref *, ref *, ref *);

static void gradient_of_batch(gradient_function function, ref *const *in, const ref_convolution *c, const ref *gy,
                              ref *const *g) {
    ref x = as_batch(in[0], in[1]), batch_gy = as_batch(gy, in[1]), gx;
    if (g[0]) gx = as_batch(g[0], in[1]);
    function(&x, in[1], c, &batch_gy, g[0] ? &gx : NULL, g[1], g[2]);
    if (g[0]) g[0]->terms = gx.terms;
}

FORWARD(conv_forward) {
    ref_convolution c = convolution_of(a, in[1]);
    ref x = as_batch(in[0], in[1]);
    return as_input(ref_conv(&x, in[1], in[2], &c), in[0]);
}
GRADIENT(conv_gradient) {
    UNUSED;
    ref_convolution c = convolution_of(a, in[1]);
    gradient_of_batch(ref_conv_grad, in, &c, gy, g);
}

static ref_convolution transposed_of(const recipe_args *a, const ref *weight) {
    ref_convolution c = convolution_of(a, weight);
    arg_sizes(a, "output_padding", c.behind, (int64_t)weight->shape.rank - 2, 0);
    return c;
}

FORWARD(conv_transpose_forward) {
    ref_convolution c = transposed_of(a, in[1]);
    ref x = as_batch(in[0], in[1]);
    return as_input(ref_conv_transpose(&x, in[1], in[2], &c), in[0]);
}
GRADIENT(conv_transpose_gradient) {
    UNUSED;
    ref_convolution c = transposed_of(a, in[1]);
    gradient_of_batch(ref_conv_transpose_grad, in, &c, gy, g);
}

#define CONV(axes)                                                                                                     \
    { "conv" #axes "d", "convolution", conv_forward, conv_gradient, NULL, false }
#define TRANSPOSE(axes)                                                                                                \
    { "conv_transpose" #axes "d", "convolution", conv_transpose_forward, conv_transpose_gradient, NULL, false }

static const recipe_operator rows[] = {
    CONV(1), CONV(2), CONV(3), TRANSPOSE(1), TRANSPOSE(2), TRANSPOSE(3),
};
const recipe_family ROWS_CONVOLUTION = { rows, sizeof rows / sizeof *rows };
