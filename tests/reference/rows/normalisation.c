/* Normalisation. */
#include "tests/reference/rows.h"

/* input, running_mean, running_var, weight, bias */
FORWARD(batch_norm_forward) {
    bool training = arg_flag(a, "training", false);
    return ref_batch_norm(in[0], in[3], in[4], training ? NULL : in[1], training ? NULL : in[2],
                          arg_number(a, "eps", 1e-5));
}
GRADIENT(batch_norm_gradient) {
    UNUSED;
    bool training = arg_flag(a, "training", false);
    ref_batch_norm_grad(in[0], in[3], training ? NULL : in[1], training ? NULL : in[2], arg_number(a, "eps", 1e-5), gy,
                        g[0], g[3], g[4]);
}

static const recipe_operator rows[] = {
    ROW(batch_norm, "normalisation"),
};
const recipe_family ROWS_NORMALISATION = { rows, sizeof rows / sizeof *rows };
