/* Convolutions. */
#include "tests/reference/rows.h"

static ref_window window_of(const recipe_args *a, const ref *weight) {
    ref_window w = { .kernel = { weight->shape.sizes[2], weight->shape.sizes[3] } };
    arg_sizes(a, "stride", w.stride, 2, 1);
    arg_sizes(a, "padding", w.padding, 2, 0);
    arg_sizes(a, "dilation", w.dilation, 2, 1);
    return w;
}

FORWARD(conv2d_forward) {
    ref_window w = window_of(a, in[1]);
    return ref_conv2d(in[0], in[1], in[2], &w, arg_int(a, "groups", 1));
}
GRADIENT(conv2d_gradient) {
    UNUSED;
    ref_window w = window_of(a, in[1]);
    ref_conv2d_grad(in[0], in[1], &w, arg_int(a, "groups", 1), gy, g[0], g[1], g[2]);
}

static const recipe_operator rows[] = {
    ROW(conv2d, "convolution"),
};
const recipe_family ROWS_CONVOLUTION = { rows, sizeof rows / sizeof *rows };
