/* Pooling. */
#include "tests/reference/rows.h"

#include <math.h>

static ref_window pool_window(const recipe_args *a) {
    ref_window w = { 0 };
    arg_sizes(a, "kernel_size", w.kernel, 2, 0);
    arg_sizes(a, "stride", w.stride, 2, 0);
    arg_sizes(a, "padding", w.padding, 2, 0);
    for (int i = 0; i < 2; i++)
        if (!w.stride[i]) w.stride[i] = w.kernel[i];
    return w;
}
FORWARD(max_pool2d_forward) {
    ref_window w = pool_window(a);
    return ref_max_pool2d(in[0], &w);
}
GRADIENT(max_pool2d_gradient) {
    UNUSED;
    ref_window w = pool_window(a);
    if (g[0]) ref_max_pool2d_grad(in[0], &w, gy, g[0]);
}
/* The smallest gap between two elements of a plane: no window has a smaller one. Zeros are exact. */
KINK(max_pool2d_kink) {
    (void)a, (void)y;
    double nearest = INFINITY;
    for (int64_t i = 0; i < in[0]->count; i++)
        for (int64_t j = 0; j < i; j++) {
            int64_t plane = in[0]->shape.sizes[2] * in[0]->shape.sizes[3];
            bool zeros = in[0]->v[i] == 0 && in[0]->v[j] == 0;
            if (i / plane == j / plane && !zeros) nearest = fmin(nearest, fabs(in[0]->v[i] - in[0]->v[j]));
        }
    return nearest;
}
FORWARD(avg_pool2d_forward) {
    ref_window w = pool_window(a);
    return ref_avg_pool2d(in[0], &w, !arg_flag(a, "count_include_pad", true));
}
GRADIENT(avg_pool2d_gradient) {
    UNUSED;
    ref_window w = pool_window(a);
    if (g[0]) ref_avg_pool2d_grad(in[0], &w, !arg_flag(a, "count_include_pad", true), gy, g[0]);
}
static ref_window whole_image(const ref *x) {
    const int64_t *s = x->shape.sizes;
    return (ref_window){ .kernel = { s[2], s[3] }, .stride = { s[2], s[3] } };
}
FORWARD(global_avg_pool2d_forward) {
    (void)a;
    ref_window w = whole_image(in[0]);
    return ref_avg_pool2d(in[0], &w, false);
}
GRADIENT(global_avg_pool2d_gradient) {
    UNUSED;
    ref_window w = whole_image(in[0]);
    if (g[0]) ref_avg_pool2d_grad(in[0], &w, false, gy, g[0]);
}

static const recipe_operator rows[] = {
    KINKED(max_pool2d, "pooling", max_pool2d_kink),
    ROW(avg_pool2d, "pooling"),
    ROW(global_avg_pool2d, "pooling"),
};
const recipe_family ROWS_POOLING = { rows, sizeof rows / sizeof *rows };
