/* Reductions over axes. */
#include "tests/reference/rows.h"

#include <math.h>

#define REDUCTION(name, KIND)                                                                                          \
    FORWARD(name##_forward) {                                                                                          \
        return ref_reduce(KIND, in[0], arg_axes(a, "dim", in[0]), arg_flag(a, "keepdim", false));                      \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        if (g[0]) ref_reduce_grad(KIND, in[0], arg_axes(a, "dim", in[0]), y, gy, g[0]);                                \
    }
REDUCTION(sum, REF_SUM)
REDUCTION(mean, REF_MEAN)
REDUCTION(max, REF_MAX)

/* The smallest gap between a group's largest value and the next, by taking the largest ones away. */
KINK(max_kink) {
    ref *rest = ref_copy(in[0]), *mark = ref_new(in[0]->shape), *one = ref_new(y->shape);
    for (int64_t i = 0; i < one->count; i++) one->v[i] = 1;
    ref_reduce_grad(REF_MAX, in[0], arg_axes(a, "dim", in[0]), y, one, mark);
    for (int64_t i = 0; i < rest->count; i++)
        if (mark->v[i] != 0) rest->v[i] = -INFINITY;
    ref *second = ref_reduce(REF_MAX, rest, arg_axes(a, "dim", in[0]), arg_flag(a, "keepdim", false));
    double nearest = INFINITY;
    for (int64_t i = 0; i < y->count; i++) nearest = fmin(nearest, y->v[i] - second->v[i]);
    ref_free(rest), ref_free(mark), ref_free(one), ref_free(second);
    return nearest;
}

FORWARD(softmax_forward) {
    return ref_softmax(in[0], arg_axis(a, "dim", -1, in[0]));
}
GRADIENT(softmax_gradient) {
    UNUSED;
    if (g[0]) ref_softmax_grad(in[0], arg_axis(a, "dim", -1, in[0]), gy, g[0]);
}
FORWARD(log_softmax_forward) {
    return ref_log_softmax(in[0], arg_axis(a, "dim", -1, in[0]));
}
GRADIENT(log_softmax_gradient) {
    UNUSED;
    if (g[0]) ref_log_softmax_grad(in[0], arg_axis(a, "dim", -1, in[0]), gy, g[0]);
}

static const recipe_operator rows[] = {
    ROW(sum, "reduction"),     ROW(mean, "reduction"),        KINKED(max, "reduction", max_kink),
    ROW(softmax, "reduction"), ROW(log_softmax, "reduction"),
};
const recipe_family ROWS_REDUCTION = { rows, sizeof rows / sizeof *rows };
