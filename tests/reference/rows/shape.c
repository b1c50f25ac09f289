/* Operators that move or repeat elements. */
#include "tests/reference/rows.h"

FORWARD(reshape_forward) {
    tuff_shape shape = { 0 };
    shape.rank = (uint32_t)arg_list(a, "shape", shape.sizes, TUFF_MAX_RANK);
    return ref_reshape(in[0], shape);
}
FORWARD(flatten_forward) {
    (void)a;
    return ref_reshape(in[0], TUFF_SHAPE(in[0]->shape.sizes[0], -1));
}
GRADIENT(reshape_gradient) {
    UNUSED;
    if (g[0]) ref_reshape_grad(gy, g[0]);
}
FORWARD(transpose_forward) {
    return ref_transpose(in[0], arg_axis(a, "dim0", 0, in[0]), arg_axis(a, "dim1", 1, in[0]));
}
GRADIENT(transpose_gradient) {
    UNUSED;
    if (g[0]) ref_transpose_grad(arg_axis(a, "dim0", 0, in[0]), arg_axis(a, "dim1", 1, in[0]), gy, g[0]);
}

static const recipe_operator rows[] = {
    ROW(reshape, "shape"),
    { "flatten", "shape", flatten_forward, reshape_gradient, NULL, false },
    ROW(transpose, "shape"),
};
const recipe_family ROWS_SHAPE = { rows, sizeof rows / sizeof *rows };
