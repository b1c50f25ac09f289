/* Matrix products. */
#include "tests/reference/rows.h"

FORWARD(matmul_forward) {
    return ref_matmul(in[0], in[1], arg_flag(a, "transpose_a", false), arg_flag(a, "transpose_b", false));
}
GRADIENT(matmul_gradient) {
    UNUSED;
    ref_matmul_grad(in[0], in[1], arg_flag(a, "transpose_a", false), arg_flag(a, "transpose_b", false), gy, g[0], g[1]);
}

FORWARD(linear_forward) {
    (void)a;
    return ref_linear(in[0], in[1], in[2]);
}
GRADIENT(linear_gradient) {
    UNUSED;
    ref_linear_grad(in[0], in[1], gy, g[0], g[1], g[2]);
}

static const recipe_operator rows[] = {
    ROW(matmul, "product"),
    ROW(linear, "product"),
};
const recipe_family ROWS_PRODUCT = { rows, sizeof rows / sizeof *rows };
