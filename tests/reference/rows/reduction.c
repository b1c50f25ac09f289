/* Reductions over axes. */
#include "tests/reference/rows.h"

#include <math.h>
#include <stdlib.h>

#define REDUCTION(name, KIND)                                                                                          \
    FORWARD(name##_forward) {                                                                                          \
        return ref_reduce(KIND, in[0], arg_axes(a, "dim", in[0]), arg_flag(a, "keepdim", false));                      \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        if (g[0]) ref_reduce_grad(KIND, in[0], arg_axes(a, "dim", in[0]), y, gy, g[0]);                                \
    }
REDUCTION(sum, REF_SUM)
REDUCTION(mean, REF_MEAN)
REDUCTION(amax, REF_MAX)
REDUCTION(amin, REF_MIN)

/* The smallest gap between a group's extreme and the next, by taking the extreme ones away. */
static double extreme_kink(ref_reduction kind, ref *const *in, const recipe_args *a, const ref *y) {
    ref *rest = ref_copy(in[0]), *mark = ref_new(in[0]->shape), *one = ref_new(y->shape);
    for (int64_t i = 0; i < one->count; i++) one->v[i] = 1;
    ref_reduce_grad(kind, in[0], arg_axes(a, "dim", in[0]), y, one, mark);
    for (int64_t i = 0; i < rest->count; i++)
        if (mark->v[i] != 0) rest->v[i] = kind == REF_MAX ? -INFINITY : INFINITY;
    ref *second = ref_reduce(kind, rest, arg_axes(a, "dim", in[0]), arg_flag(a, "keepdim", false));
    double nearest = INFINITY;
    for (int64_t i = 0; i < y->count; i++) nearest = fmin(nearest, fabs(y->v[i] - second->v[i]));
    ref_free(rest), ref_free(mark), ref_free(one), ref_free(second);
    return nearest;
}
KINK(amax_kink) {
    return extreme_kink(REF_MAX, in, a, y);
}
KINK(amin_kink) {
    return extreme_kink(REF_MIN, in, a, y);
}

/* ---- what is computed from all values of a group ---- */

/* The elements of x group by group, n of each; at[i] is where element i of x went. */
typedef struct groups {
    tuff_shape shape; /* of the result */
    int64_t n, *at;
    double *v;
} groups;

static groups groups_open(ref *const *in, const recipe_args *a) {
    const ref *x = in[0];
    uint32_t axes = arg_axes(a, "dim", x);
    bool keepdim = arg_flag(a, "keepdim", false);
    groups g = { .at = malloc((size_t)x->count * sizeof *g.at), .v = malloc((size_t)x->count * sizeof *g.v) };
    tuff_shape kept = x->shape;
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        bool reduced = !axes || axes >> i & 1;
        if (reduced) kept.sizes[i] = 1;
        if (!reduced || keepdim) g.shape.sizes[g.shape.rank++] = kept.sizes[i];
    }
    g.n = x->count / ref_count(&g.shape);
    int64_t *filled = calloc((size_t)ref_count(&g.shape), sizeof *filled);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t group = ref_offset(&kept, &x->shape, i);
        g.at[i] = group * g.n + filled[group]++;
        g.v[g.at[i]] = x->v[i];
    }
    free(filled);
    return g;
}

static void groups_close(groups *g) {
    free(g->at);
    free(g->v);
}

/* One element of the result from the n of its group, and its *abs. */
typedef double group_function(const double *v, int64_t n, const recipe_args *a, double *abs);

static ref *reduce_groups(ref *const *in, const recipe_args *a, group_function *f) {
    groups g = groups_open(in, a);
    ref *y = ref_new(g.shape);
    for (int64_t i = 0; i < y->count; i++) y->v[i] = f(g.v + i * g.n, g.n, a, &y->abs[i]);
    y->terms = (double)g.n;
    groups_close(&g);
    return y;
}

/* Element i of the gradient from its group, where it stands in that, the group's result and what arrives. */
typedef double group_slope(const double *v, int64_t n, int64_t i, const recipe_args *a, double y, double *abs);

static void reduce_groups_grad(ref *const *in, const recipe_args *a, const ref *y, const ref *gy, ref *gx,
                               group_slope *f) {
    groups g = groups_open(in, a);
    for (int64_t i = 0; gx && i < gx->count; i++) {
        double abs;
        int64_t group = g.at[i] / g.n;
        gx->v[i] += gy->v[group] * f(g.v + group * g.n, g.n, g.at[i] % g.n, a, y->v[group], &abs);
        gx->abs[i] += fabs(gy->v[group]) * abs;
    }
    if (gx) gx->terms = fmax(gx->terms, (double)g.n);
    groups_close(&g);
}

#define GROUPS(name)                                                                                                   \
    FORWARD(name##_forward) {                                                                                          \
        return reduce_groups(in, a, name##_of);                                                                        \
    }
#define GROUPS_GRADIENT(name)                                                                                          \
    GRADIENT(name##_gradient) {                                                                                        \
        reduce_groups_grad(in, a, y, gy, g[0], name##_slope);                                                          \
    }

static double prod_of(const double *v, int64_t n, const recipe_args *a, double *abs) {
    double product = 1;
    (void)a;
    for (int64_t i = 0; i < n; i++) product *= v[i];
    *abs = fabs(product);
    return product;
}
GROUPS(prod)

/* Never below 0, as PyTorch's. */
static double divisor_of(int64_t n, const recipe_args *a) {
    return fmax(0, (double)n - arg_number(a, "correction", 1));
}

static double mean_of(const double *v, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += v[i];
    return sum / (double)n;
}

/* The differences that the squares are taken of are rounded as numbers of the size of |v - v[0]|: that and no more,
 * however large the mean. */
static double var_of(const double *v, int64_t n, const recipe_args *a, double *abs) {
    double mean = mean_of(v, n), sum = 0, count = divisor_of(n, a);
    *abs = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = v[i] - mean;
        sum += d * d;
        *abs += fabs(d) * (fabs(d) + fabs(v[0] - mean)) / count;
    }
    return sum / count;
}
static double var_slope(const double *v, int64_t n, int64_t i, const recipe_args *a, double y, double *abs) {
    double mean = mean_of(v, n), count = divisor_of(n, a), d = v[i] - mean;
    (void)y;
    *abs = 2 * (fabs(d) + fabs(v[0] - mean)) / count;
    return 2 * d / count;
}
GROUPS(var)
GROUPS_GRADIENT(var)

static double std_of(const double *v, int64_t n, const recipe_args *a, double *abs) {
    double y = sqrt(var_of(v, n, a, abs));
    *abs = y > 0 ? *abs / y : 0;
    return y;
}
static double std_slope(const double *v, int64_t n, int64_t i, const recipe_args *a, double y, double *abs) {
    double slope = var_slope(v, n, i, a, y, abs);
    *abs = y > 0 ? *abs / (2 * y) : 0;
    return y > 0 ? slope / (2 * y) : 0;
}
GROUPS(std)
GROUPS_GRADIENT(std)

static double norm_of(const double *v, int64_t n, const recipe_args *a, double *abs) {
    double p = arg_number(a, "p", 2), sum = 0, largest = 0, smallest = INFINITY;
    for (int64_t i = 0; i < n; i++) {
        sum += p == 0 ? v[i] != 0 : pow(fabs(v[i]), p);
        largest = fmax(largest, fabs(v[i]));
        smallest = fmin(smallest, fabs(v[i]));
    }
    double y = p == 0 ? sum : isinf(p) ? p > 0 ? largest : smallest : pow(sum, 1 / p);
    *abs = y;
    return y;
}
/* sign(x) (|x| / y)^(p - 1): a power's relative error is its logarithm's absolute one */
static double norm_slope(const double *v, int64_t n, int64_t i, const recipe_args *a, double y, double *abs) {
    double p = arg_number(a, "p", 2), ties = 0, slope = 0, ratio = fabs(v[i]) / y;
    for (int64_t j = 0; j < n; j++) ties += fabs(v[j]) == y;
    if (v[i] == 0 || p == 0)
        slope = 0;
    else if (isinf(p))
        slope = fabs(v[i]) == y ? 1 / ties : 0;
    else
        slope = pow(ratio, p - 1);
    *abs = slope * (1 + (slope > 0 && !isinf(p) ? fabs((p - 1) * log(ratio)) : 0));
    return v[i] < 0 ? -slope : slope;
}
GROUPS(norm)
GROUPS_GRADIENT(norm)

static double logsumexp_of(const double *v, int64_t n, const recipe_args *a, double *abs) {
    double m = -INFINITY, sum = 0, shift = 0;
    (void)a;
    for (int64_t i = 0; i < n; i++) m = fmax(m, v[i]);
    for (int64_t i = 0; i < n; i++) sum += exp(v[i] - m), shift += exp(v[i] - m) * fabs(v[i] - m);
    *abs = fabs(m) + fabs(log(sum)) + 1 + shift / sum; /* v - m is rounded before exp */
    return m + log(sum);
}
static double logsumexp_slope(const double *v, int64_t n, int64_t i, const recipe_args *a, double y, double *abs) {
    double share = exp(v[i] - y);
    (void)n, (void)a;
    *abs = share * (1 + fabs(v[i]) + fabs(y)); /* both are rounded before exp */
    return share;
}
GROUPS(logsumexp)
GROUPS_GRADIENT(logsumexp)

/* ---- what stands where along an axis ---- */

/* Row `row` of x along an axis: its elements start + j * inner for j < n. */
typedef struct line {
    int64_t n, inner, start;
} line;

static line line_of(const ref *x, int axis, int64_t row) {
    line l = { x->shape.sizes[axis], 1, 0 };
    for (uint32_t i = (uint32_t)axis + 1; i < x->shape.rank; i++) l.inner *= x->shape.sizes[i];
    l.start = row / l.inner * l.n * l.inner + row % l.inner;
    return l;
}

/* The indices of the best k of each row, best first, of equal ones the first: by k passes. */
static int64_t *picks_of(const ref *x, int axis, int64_t k, bool smallest) {
    int64_t rows = x->count / x->shape.sizes[axis], *picks = malloc((size_t)(rows * k) * sizeof *picks);
    for (int64_t row = 0; row < rows; row++) {
        line l = line_of(x, axis, row);
        bool *taken = calloc((size_t)l.n, sizeof *taken);
        for (int64_t t = 0; t < k; t++) {
            int64_t best = -1;
            for (int64_t j = 0; j < l.n; j++) {
                double v = x->v[l.start + j * l.inner], most = best < 0 ? 0 : x->v[l.start + best * l.inner];
                if (!taken[j] && (best < 0 || (smallest ? v < most : v > most))) best = j;
            }
            taken[best] = true;
            picks[row * k + t] = best;
        }
        free(taken);
    }
    return picks;
}

/* Result 0: the values, 1: their indices; the axis has size k, or is gone. */
static ref *pick(const ref *x, const recipe_args *a, int axis, int64_t k, bool smallest, bool keep, int64_t take) {
    int64_t *picks = picks_of(x, axis, k, smallest);
    tuff_shape shape = { 0 };
    for (int i = 0; i < (int)x->shape.rank; i++)
        if (i != axis || keep) shape.sizes[shape.rank++] = i == axis ? k : x->shape.sizes[i];
    ref *y = ref_new(shape);
    (void)a;
    for (int64_t i = 0; i < y->count; i++) {
        line l = line_of(x, axis, 0);
        int64_t outer = i / (k * l.inner), t = i / l.inner % k, row = outer * l.inner + i % l.inner;
        int64_t j = picks[row * k + t];
        y->v[i] = take ? (double)j : x->v[line_of(x, axis, row).start + j * l.inner];
        y->abs[i] = fabs(y->v[i]);
    }
    free(picks);
    return y;
}

static void pick_grad(const ref *x, int axis, int64_t k, bool smallest, const ref *gy, ref *gx) {
    int64_t *picks = picks_of(x, axis, k, smallest);
    for (int64_t i = 0; i < gy->count; i++) {
        line l = line_of(x, axis, 0);
        int64_t outer = i / (k * l.inner), t = i / l.inner % k, row = outer * l.inner + i % l.inner;
        int64_t at = line_of(x, axis, row).start + picks[row * k + t] * l.inner;
        gx->v[at] += gy->v[i];
        gx->abs[at] += fabs(gy->v[i]);
    }
    free(picks);
}

#define MAX_ROW(name, SMALLEST, KIND)                                                                                  \
    FORWARD(name##_forward) {                                                                                          \
        if (!arg_given(a, "dim") || arg_is(a, "dim", "none")) return ref_reduce(KIND, in[0], 0, false);                \
        return pick(in[0], a, arg_axis(a, "dim", 0, in[0]), 1, SMALLEST, arg_flag(a, "keepdim", false),                \
                    arg_int(a, "take", 0));                                                                            \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        if (!g[0]) return;                                                                                             \
        if (!arg_given(a, "dim") || arg_is(a, "dim", "none"))                                                          \
            ref_reduce_grad(KIND, in[0], 0, y, gy, g[0]);                                                              \
        else                                                                                                           \
            pick_grad(in[0], arg_axis(a, "dim", 0, in[0]), 1, SMALLEST, gy, g[0]);                                     \
    }                                                                                                                  \
    FORWARD(arg##name##_forward) {                                                                                     \
        bool keep = arg_flag(a, "keepdim", false);                                                                     \
        if (arg_given(a, "dim") && !arg_is(a, "dim", "none"))                                                          \
            return pick(in[0], a, arg_axis(a, "dim", 0, in[0]), 1, SMALLEST, keep, 1);                                 \
        ref *flat = ref_reshape(in[0], TUFF_SHAPE(-1)), *y = pick(flat, a, 0, 1, SMALLEST, false, 1);                  \
        ref_free(flat);                                                                                                \
        for (; keep && y->shape.rank < in[0]->shape.rank; y->shape.rank++) y->shape.sizes[y->shape.rank] = 1;          \
        return y;                                                                                                      \
    }
MAX_ROW(max, false, REF_MAX)
MAX_ROW(min, true, REF_MIN)

FORWARD(topk_forward) {
    return pick(in[0], a, arg_axis(a, "dim", -1, in[0]), arg_int(a, "k", 1), !arg_flag(a, "largest", true), true,
                arg_int(a, "take", 0));
}
GRADIENT(topk_gradient) {
    (void)y;
    if (g[0])
        pick_grad(in[0], arg_axis(a, "dim", -1, in[0]), arg_int(a, "k", 1), !arg_flag(a, "largest", true), gy, g[0]);
}

/* ---- running sums ---- */

static void scan(const ref *x, int axis, bool reversed, ref *y) {
    for (int64_t row = 0; row < x->count / x->shape.sizes[axis]; row++) {
        line l = line_of(x, axis, row);
        double sum = 0, sum_abs = 0;
        for (int64_t j = 0; j < l.n; j++) {
            int64_t at = l.start + (reversed ? l.n - 1 - j : j) * l.inner;
            y->v[at] += sum += x->v[at];
            y->abs[at] += sum_abs += fabs(x->v[at]);
        }
    }
}
FORWARD(cumsum_forward) {
    ref *y = ref_new(in[0]->shape);
    scan(in[0], arg_axis(a, "dim", 0, in[0]), false, y);
    return y;
}
GRADIENT(cumsum_gradient) {
    (void)y;
    if (g[0]) scan(gy, arg_axis(a, "dim", 0, in[0]), true, g[0]);
}

/* ---- softmax ---- */

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
    ROW(sum, "reduction"),
    ROW(mean, "reduction"),
    KINKED(amax, "reduction", amax_kink),
    KINKED(amin, "reduction", amin_kink),
    NUMERIC(prod, "reduction"),
    ROW(var, "reduction"),
    ROW(std, "reduction"),
    ROW(norm, "reduction"),
    ROW(logsumexp, "reduction"),
    ROW(max, "reduction"),
    ROW(min, "reduction"),
    DETACHED(argmax, "reduction"),
    DETACHED(argmin, "reduction"),
    ROW(topk, "reduction"),
    ROW(cumsum, "reduction"),
    ROW(softmax, "reduction"),
    ROW(log_softmax, "reduction"),
};
const recipe_family ROWS_REDUCTION = { rows, sizeof rows / sizeof *rows };
