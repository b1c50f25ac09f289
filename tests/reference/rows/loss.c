/* Losses. */
#include "tests/reference/rows.h"

#include <math.h>

int64_t loss_reduction(const recipe_args *a) {
    return arg_is(a, "reduction", "sum")    ? REF_LOSS_SUM
           : arg_is(a, "reduction", "none") ? REF_LOSS_NONE
                                            : REF_LOSS_MEAN;
}

FORWARD(cross_entropy_forward) {
    return ref_cross_entropy(in[0], in[1], (ref_loss_reduction)loss_reduction(a));
}
GRADIENT(cross_entropy_gradient) {
    UNUSED;
    if (g[0]) ref_cross_entropy_grad(in[0], in[1], (ref_loss_reduction)loss_reduction(a), gy, g[0]);
}
#define REGRESSION(name, POWER)                                                                                        \
    FORWARD(name##_forward) {                                                                                          \
        return ref_regression(POWER, in[0], in[1], (ref_loss_reduction)loss_reduction(a));                             \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        ref_regression_grad(POWER, in[0], in[1], (ref_loss_reduction)loss_reduction(a), gy, g[0], g[1]);               \
    }
REGRESSION(l1_loss, 1)
REGRESSION(mse_loss, 2)
KINK(l1_loss_kink) {
    (void)a, (void)y;
    double nearest = INFINITY;
    for (int64_t i = 0; i < in[0]->count; i++) nearest = fmin(nearest, fabs(in[0]->v[i] - in[1]->v[i]));
    return nearest;
}
FORWARD(accuracy_forward) {
    (void)a;
    return ref_accuracy(in[0], in[1]);
}

static const recipe_operator rows[] = {
    ROW(cross_entropy, "loss"),
    ROW(mse_loss, "loss"),
    KINKED(l1_loss, "loss", l1_loss_kink),
    DETACHED(accuracy, "loss"),
};
const recipe_family ROWS_LOSS = { rows, sizeof rows / sizeof *rows };
