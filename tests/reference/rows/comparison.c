/* Comparisons, logic, choices by masks, conversions. */
#include "tests/reference/rows.h"

#include <math.h>

/* y = value of two operands p and q that broadcast. */
#define MASK(name, value)                                                                                              \
    FORWARD(name##_forward) {                                                                                          \
        ref *y = ref_new(ref_broadcast_shape(&in[0]->shape, &in[1]->shape));                                           \
        (void)a;                                                                                                       \
        for (int64_t i = 0; i < y->count; i++) {                                                                       \
            const double p = in[0]->v[ref_offset(&in[0]->shape, &y->shape, i)];                                        \
            const double q = in[1]->v[ref_offset(&in[1]->shape, &y->shape, i)];                                        \
            y->v[i] = y->abs[i] = value;                                                                               \
        }                                                                                                              \
        return y;                                                                                                      \
    }
MASK(eq, p == q)
MASK(ne, p != q)
MASK(lt, p < q)
MASK(le, p <= q)
MASK(gt, p > q)
MASK(ge, p >= q)
MASK(logical_and, p != 0 && q != 0)
MASK(logical_or, p != 0 || q != 0)

FORWARD(logical_not_forward) {
    ref *y = ref_new(in[0]->shape);
    (void)a;
    for (int64_t i = 0; i < y->count; i++) y->v[i] = y->abs[i] = in[0]->v[i] == 0;
    return y;
}

FORWARD(to_forward) {
    ref *y = ref_new(in[0]->shape);
    for (int64_t i = 0; i < y->count; i++) {
        double x = in[0]->v[i];
        if (!arg_is(a, "dtype", "float32")) x = trunc(x);
        if (arg_is(a, "dtype", "uint8")) x -= 256 * floor(x / 256);
        y->v[i] = x;
        y->abs[i] = fabs(x);
    }
    return y;
}

FORWARD(where_forward) {
    (void)a;
    tuff_shape shape = ref_broadcast_shape(&in[1]->shape, &in[2]->shape);
    ref *y = ref_new(ref_broadcast_shape(&in[0]->shape, &shape));
    for (int64_t i = 0; i < y->count; i++) {
        const ref *from = in[0]->v[ref_offset(&in[0]->shape, &y->shape, i)] != 0 ? in[1] : in[2];
        y->v[i] = from->v[ref_offset(&from->shape, &y->shape, i)];
        y->abs[i] = fabs(y->v[i]);
    }
    return y;
}
GRADIENT(where_gradient) {
    UNUSED;
    for (int64_t i = 0; i < gy->count; i++) {
        ref *to = in[0]->v[ref_offset(&in[0]->shape, &gy->shape, i)] != 0 ? g[1] : g[2];
        if (!to) continue;
        int64_t at = ref_offset(&to->shape, &gy->shape, i);
        to->v[at] += gy->v[i];
        to->abs[at] += fabs(gy->v[i]);
    }
    for (int k = 1; k < 3; k++)
        if (g[k]) g[k]->terms = fmax(g[k]->terms, (double)gy->count / (double)g[k]->count);
}

FORWARD(masked_fill_forward) {
    ref *y = ref_new(in[0]->shape);
    for (int64_t i = 0; i < y->count; i++) {
        bool masked = in[1]->v[ref_offset(&in[1]->shape, &y->shape, i)] != 0;
        y->v[i] = masked ? arg_number(a, "value", 0) : in[0]->v[i];
        y->abs[i] = fabs(y->v[i]);
    }
    return y;
}
GRADIENT(masked_fill_gradient) {
    UNUSED;
    for (int64_t i = 0; g[0] && i < gy->count; i++) {
        if (in[1]->v[ref_offset(&in[1]->shape, &gy->shape, i)] != 0) continue;
        g[0]->v[i] += gy->v[i];
        g[0]->abs[i] += fabs(gy->v[i]);
    }
}

static const recipe_operator rows[] = {
    DETACHED(eq, "pointwise"),          DETACHED(ne, "pointwise"),
    DETACHED(lt, "pointwise"),          DETACHED(le, "pointwise"),
    DETACHED(gt, "pointwise"),          DETACHED(ge, "pointwise"),
    DETACHED(logical_not, "pointwise"), DETACHED(logical_and, "pointwise"),
    DETACHED(logical_or, "pointwise"),  ROW(where, "pointwise"),
    ROW(masked_fill, "pointwise"),      DETACHED(to, "pointwise"),
};
const recipe_family ROWS_COMPARISON = { rows, sizeof rows / sizeof *rows };
