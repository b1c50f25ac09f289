/* Normalisation. */
#include "tests/reference/rows.h"

#include <math.h>
#include <stdlib.h>

/* input, running_mean, running_var, weight, bias */
FORWARD(batch_norm_forward) {
    bool training = arg_flag(a, "training", false) || !in[1];
    return ref_batch_norm(in[0], in[3], in[4], training ? NULL : in[1], training ? NULL : in[2],
                          arg_number(a, "eps", 1e-5));
}
GRADIENT(batch_norm_gradient) {
    UNUSED;
    bool training = arg_flag(a, "training", false) || !in[1];
    ref_batch_norm_grad(in[0], in[3], training ? NULL : in[1], training ? NULL : in[2], arg_number(a, "eps", 1e-5), gy,
                        g[0], g[3], g[4]);
}

/* ---- within each example ---- */

/* Where an element of x belongs: what it is normalised with, and its place in weight and bias. */
typedef struct place {
    int64_t group, parameter;
} place;
typedef place place_function(const ref *x, int64_t i, const recipe_args *a);

/* How a group is normalised: y = (x - mean) r. `rough` is the absolute value of the terms of x - mean. */
typedef struct group {
    double n, mean, r, mean_abs;
} group;

typedef struct groups {
    group *of;
    int64_t count;
    place *at;
} groups;

/* mean, variance: of each parameter's place, in place of the group's own. centred false: about 0. */
static groups groups_open(const ref *x, const recipe_args *a, place_function *where, bool centred, const ref *mean,
                          const ref *variance, double eps) {
    groups g = { .at = malloc((size_t)x->count * sizeof *g.at) };
    for (int64_t i = 0; i < x->count; i++) {
        g.at[i] = where(x, i, a);
        g.count = g.at[i].group >= g.count ? g.at[i].group + 1 : g.count;
    }
    g.of = calloc((size_t)g.count, sizeof *g.of);
    double *square = calloc((size_t)g.count, sizeof *square);
    for (int64_t i = 0; i < x->count; i++) {
        group *of = &g.of[g.at[i].group];
        of->n++;
        of->mean += x->v[i];
        of->mean_abs += fabs(x->v[i]);
    }
    for (int64_t k = 0; k < g.count; k++) {
        g.of[k].mean *= centred / g.of[k].n;
        g.of[k].mean_abs *= centred / g.of[k].n;
    }
    for (int64_t i = 0; i < x->count; i++) {
        group *of = &g.of[g.at[i].group];
        double d = x->v[i] - of->mean;
        square[g.at[i].group] += d * d / of->n;
    }
    for (int64_t i = 0; i < x->count; i++) {
        group *of = &g.of[g.at[i].group];
        if (mean) of->mean = mean->v[g.at[i].parameter], of->mean_abs = fabs(of->mean);
        of->r = 1 / sqrt((variance ? variance->v[g.at[i].parameter] : square[g.at[i].group]) + eps);
    }
    free(square);
    return g;
}

static void groups_close(groups *g) {
    free(g->of);
    free(g->at);
}

static ref *normalised(const ref *x, const ref *weight, const ref *bias, const groups *g) {
    ref *y = ref_new(x->shape);
    for (int64_t i = 0; i < x->count; i++) {
        const group *of = &g->of[g->at[i].group];
        double w = weight ? weight->v[g->at[i].parameter] : 1, b = bias ? bias->v[g->at[i].parameter] : 0;
        y->v[i] = (x->v[i] - of->mean) * of->r * w + b;
        y->abs[i] = (fabs(x->v[i]) + of->mean_abs) * of->r * fabs(w) + fabs(b);
        y->terms = fmax(y->terms, of->n);
    }
    return y;
}

/* gx = r (gh - mean(gh) - h mean(gh h)), gh = g weight, h = (x - mean) r; without the means where the statistics are
 * given, without the first of them where x is not centred. Of a product's two factors one has its error at a time. */
static void normalised_grad(const ref *x, const ref *weight, const groups *g, bool centred, bool given, const ref *gy,
                            ref *gx, ref *gweight, ref *gbias) {
    double *sum = calloc((size_t)g->count * 4, sizeof *sum), *sum_abs = sum + g->count, *dot = sum_abs + g->count,
           *dot_abs = dot + g->count;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t k = g->at[i].group, p = g->at[i].parameter;
        const group *of = &g->of[k];
        double h = (x->v[i] - of->mean) * of->r, h_abs = (fabs(x->v[i]) + of->mean_abs) * of->r;
        double gh = gy->v[i] * (weight ? weight->v[p] : 1);
        sum[k] += gh / of->n;
        sum_abs[k] += fabs(gh) / of->n;
        dot[k] += gh * h / of->n;
        dot_abs[k] += fabs(gh) * h_abs / of->n;
        if (gweight) {
            gweight->v[p] += gy->v[i] * h;
            gweight->abs[p] += fabs(gy->v[i]) * h_abs;
            gweight->terms = (double)(x->count / gweight->count);
        }
        if (gbias) {
            gbias->v[p] += gy->v[i];
            gbias->abs[p] += fabs(gy->v[i]);
            gbias->terms = (double)(x->count / gbias->count);
        }
    }
    for (int64_t i = 0; gx && i < x->count; i++) {
        int64_t k = g->at[i].group, p = g->at[i].parameter;
        const group *of = &g->of[k];
        double h = (x->v[i] - of->mean) * of->r, h_abs = (fabs(x->v[i]) + of->mean_abs) * of->r;
        double gh = gy->v[i] * (weight ? weight->v[p] : 1);
        double mean = centred && !given ? sum[k] : 0, along = given ? 0 : dot[k];
        gx->v[i] += of->r * (gh - mean - h * along);
        gx->abs[i] += of->r * fabs(gh);
        if (centred && !given) gx->abs[i] += of->r * sum_abs[k];
        if (!given) gx->abs[i] += of->r * (h_abs * fabs(along) + fabs(h) * dot_abs[k]);
        gx->terms = fmax(gx->terms, of->n);
    }
    free(sum);
}

static place last_place(const ref *x, int64_t i, const recipe_args *a) {
    int64_t sizes[TUFF_MAX_RANK], count = arg_list(a, "normalized_shape", sizes, TUFF_MAX_RANK), n = 1;
    (void)x;
    for (int64_t k = 0; k < count; k++) n *= sizes[k];
    return (place){ i / n, i % n };
}

static int64_t inner_of(const ref *x) {
    return x->count / x->shape.sizes[0] / x->shape.sizes[1];
}
static place channel_place(const ref *x, int64_t i, const recipe_args *a) {
    (void)a;
    return (place){ i / inner_of(x), i / inner_of(x) % x->shape.sizes[1] };
}
static place group_place(const ref *x, int64_t i, const recipe_args *a) {
    place p = channel_place(x, i, a);
    int64_t channels = x->shape.sizes[1], each = channels / arg_int(a, "num_groups", 1);
    p.group = p.group / channels * channels + p.parameter / each; /* numbers with gaps: those groups are empty */
    return p;
}

#define NORM(name, where, centred, eps, wi, bi)                                                                        \
    FORWARD(name##_forward) {                                                                                          \
        groups g = groups_open(in[0], a, where, centred, NULL, NULL, arg_number(a, "eps", eps));                       \
        ref *y = normalised(in[0], in[wi], in[bi], &g);                                                                \
        groups_close(&g);                                                                                              \
        return y;                                                                                                      \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        groups s = groups_open(in[0], a, where, centred, NULL, NULL, arg_number(a, "eps", eps));                       \
        normalised_grad(in[0], in[wi], &s, centred, false, gy, g[0], g[wi], g[bi]);                                    \
        groups_close(&s);                                                                                              \
    }
NORM(layer_norm, last_place, true, 1e-5, 1, 2)
NORM(rms_norm, last_place, false, 1.1920928955078125e-7, 1, 2)
NORM(group_norm, group_place, true, 1e-5, 1, 2)

/* input, running_mean, running_var, weight, bias */
static bool uses_running(const recipe_args *a) {
    return arg_is(a, "use_input_stats", "false")
           || (arg_is(a, "use_input_stats", "training") && !arg_flag(a, "training", false));
}
FORWARD(instance_norm_forward) {
    bool running = uses_running(a);
    groups g = groups_open(in[0], a, channel_place, true, running ? in[1] : NULL, running ? in[2] : NULL,
                           arg_number(a, "eps", 1e-5));
    ref *y = normalised(in[0], in[3], in[4], &g);
    groups_close(&g);
    return y;
}
GRADIENT(instance_norm_gradient) {
    UNUSED;
    bool running = uses_running(a);
    groups s = groups_open(in[0], a, channel_place, true, running ? in[1] : NULL, running ? in[2] : NULL,
                           arg_number(a, "eps", 1e-5));
    normalised_grad(in[0], in[3], &s, true, running, gy, g[0], g[3], g[4]);
    groups_close(&s);
}

/* x / max(norm, eps): the shape of the norms */
static tuff_shape norms_shape(const ref *x, const recipe_args *a) {
    uint32_t axes = arg_given(a, "dim") ? arg_axes(a, "dim", x) : 2;
    tuff_shape kept = x->shape;
    for (uint32_t i = 0; i < kept.rank; i++)
        if (axes >> i & 1 || !axes) kept.sizes[i] = 1;
    return kept;
}

static double *norms_of(const ref *x, const tuff_shape *kept, double p) {
    int64_t count = ref_count(kept);
    double *norms = calloc((size_t)count, sizeof *norms);
    for (int64_t i = 0; i < x->count; i++) {
        double *of = &norms[ref_offset(kept, &x->shape, i)], v = fabs(x->v[i]);
        *of = isinf(p) ? fmax(*of, v) : *of + pow(v, p);
    }
    for (int64_t k = 0; k < count && !isinf(p); k++) norms[k] = pow(norms[k], 1 / p);
    return norms;
}

FORWARD(normalize_forward) {
    ref *y = ref_new(in[0]->shape);
    double p = arg_number(a, "p", 2), eps = arg_number(a, "eps", (float)1e-12);
    tuff_shape kept = norms_shape(in[0], a);
    double *norms = norms_of(in[0], &kept, p);
    for (int64_t i = 0; i < y->count; i++) {
        y->v[i] = in[0]->v[i] / fmax(norms[ref_offset(&kept, &y->shape, i)], eps);
        y->abs[i] = fabs(y->v[i]);
    }
    y->terms = (double)y->count / (double)ref_count(&kept);
    free(norms);
    return y;
}

/* gx = gy / norm - (sum of gy x) / norm^2 dnorm, the second term only where eps is not the larger */
GRADIENT(normalize_gradient) {
    UNUSED;
    const ref *x = in[0];
    double p = arg_number(a, "p", 2), eps = arg_number(a, "eps", (float)1e-12);
    tuff_shape kept = norms_shape(x, a);
    size_t count = (size_t)ref_count(&kept);
    double *norms = norms_of(x, &kept, p), *sums = calloc(3 * count, sizeof *sums);
    double *sizes = sums + count, *equal = sizes + count;
    for (int64_t i = 0; i < x->count; i++) {
        int64_t k = ref_offset(&kept, &x->shape, i);
        sums[k] += gy->v[i] * x->v[i];
        sizes[k] += fabs(gy->v[i] * x->v[i]);
        equal[k] += fabs(x->v[i]) == norms[k];
    }
    for (int64_t i = 0; g[0] && i < x->count; i++) {
        int64_t k = ref_offset(&kept, &x->shape, i);
        double norm = norms[k], v = fabs(x->v[i]), slope = v == norm ? 1 / equal[k] : 0;
        if (!isinf(p)) slope = v == 0 ? 0 : pow(v / norm, p - 1);
        if (norm < eps) norm = eps, slope = 0;
        slope = copysign(slope, x->v[i]) / (norm * norm);
        g[0]->v[i] += gy->v[i] / norm - slope * sums[k];
        g[0]->abs[i] += fabs(gy->v[i]) / norm + fabs(slope) * sizes[k];
    }
    free(norms), free(sums);
}

/* ---- dropout of parts: only evaluation, where x passes; tests/operators/test_long.c looks at the masks ---- */

FORWARD(dropout2d_forward) {
    (void)a;
    return ref_reshape(in[0], in[0]->shape);
}
#define stochastic_depth_forward dropout2d_forward

/* ---- weights in other parameters ---- */

FORWARD(weight_norm_forward) {
    const ref *v = in[0], *g = in[1];
    ref *y = ref_new(v->shape);
    double *squares = calloc((size_t)g->count, sizeof *squares);
    (void)a;
    for (int64_t i = 0; i < y->count; i++) squares[ref_offset(&g->shape, &v->shape, i)] += v->v[i] * v->v[i];
    for (int64_t i = 0; i < y->count; i++) {
        int64_t k = ref_offset(&g->shape, &v->shape, i);
        y->v[i] = v->v[i] * g->v[k] / sqrt(squares[k]);
        y->abs[i] = fabs(y->v[i]);
    }
    y->terms = (double)(y->count / g->count);
    free(squares);
    return y;
}

/* y = v g / n: gv = (gy - v (sum of gy v) / n^2) g / n, gg = (sum of gy v) / n */
GRADIENT(weight_norm_gradient) {
    UNUSED;
    const ref *v = in[0], *scale = in[1];
    size_t count = (size_t)scale->count;
    double *squares = calloc(3 * count, sizeof *squares), *sums = squares + count, *sizes = sums + count;
    for (int64_t i = 0; i < v->count; i++) {
        int64_t k = ref_offset(&scale->shape, &v->shape, i);
        squares[k] += v->v[i] * v->v[i];
        sums[k] += gy->v[i] * v->v[i];
        sizes[k] += fabs(gy->v[i] * v->v[i]);
    }
    for (int64_t i = 0; g[0] && i < v->count; i++) {
        int64_t k = ref_offset(&scale->shape, &v->shape, i);
        double factor = scale->v[k] / sqrt(squares[k]);
        g[0]->v[i] += (gy->v[i] - v->v[i] * sums[k] / squares[k]) * factor;
        g[0]->abs[i] += (fabs(gy->v[i]) + fabs(v->v[i]) * sizes[k] / squares[k]) * fabs(factor);
    }
    for (int64_t k = 0; g[1] && k < scale->count; k++) {
        g[1]->v[k] += sums[k] / sqrt(squares[k]);
        g[1]->abs[k] += sizes[k] / sqrt(squares[k]);
    }
    free(squares);
}

/* The weight as an h x w matrix: element i of it stands in row[i], column[i]. */
typedef struct matrix {
    int64_t h, w, *row, *column;
    double *u, *v, sigma, sigma_abs;
} matrix;

static void unit(double *x, int64_t n) {
    double square = 0;
    for (int64_t i = 0; i < n; i++) square += x[i] * x[i];
    for (int64_t i = 0; i < n; i++) x[i] /= fmax(sqrt(square), 1e-12);
}

static matrix matrix_open(ref *const *in, const recipe_args *a) {
    const ref *x = in[0];
    int axis = arg_axis(a, "dim", 0, x);
    matrix m = { .h = x->shape.sizes[axis] };
    size_t count = (size_t)x->count;
    m.w = x->count / m.h;
    m.row = malloc(count * sizeof *m.row);
    m.column = malloc(count * sizeof *m.column);
    m.u = malloc((size_t)m.h * sizeof *m.u);
    m.v = malloc((size_t)m.w * sizeof *m.v);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t inner = 1;
        for (uint32_t k = (uint32_t)axis + 1; k < x->shape.rank; k++) inner *= x->shape.sizes[k];
        m.row[i] = i / inner % m.h;
        m.column[i] = i / inner / m.h * inner + i % inner;
    }
    for (int64_t i = 0; i < m.h; i++) m.u[i] = in[1]->v[i];
    for (int64_t i = 0; i < m.w; i++) m.v[i] = in[2]->v[i];
    int64_t iterations = arg_flag(a, "training", false) ? arg_int(a, "n_power_iterations", 1) : 0;
    for (int64_t k = 0; k < iterations; k++) {
        for (int64_t i = 0; i < m.w; i++) m.v[i] = 0;
        for (int64_t i = 0; i < x->count; i++) m.v[m.column[i]] += x->v[i] * m.u[m.row[i]];
        unit(m.v, m.w);
        for (int64_t i = 0; i < m.h; i++) m.u[i] = 0;
        for (int64_t i = 0; i < x->count; i++) m.u[m.row[i]] += x->v[i] * m.v[m.column[i]];
        unit(m.u, m.h);
    }
    for (int64_t i = 0; i < x->count; i++) {
        double term = m.u[m.row[i]] * x->v[i] * m.v[m.column[i]];
        m.sigma += term;
        m.sigma_abs += fabs(term);
    }
    return m;
}

static void matrix_close(matrix *m) {
    free(m->row), free(m->column), free(m->u), free(m->v);
}

FORWARD(spectral_norm_forward) {
    matrix m = matrix_open(in, a);
    ref *y = ref_new(in[0]->shape);
    for (int64_t i = 0; i < y->count; i++) {
        y->v[i] = in[0]->v[i] / m.sigma;
        y->abs[i] = fabs(y->v[i]) * m.sigma_abs / fabs(m.sigma);
    }
    y->terms = (double)y->count;
    matrix_close(&m);
    return y;
}
/* (gy - u v^T sum(gy W) / sigma) / sigma: none through the iterations */
GRADIENT(spectral_norm_gradient) {
    UNUSED;
    matrix m = matrix_open(in, a);
    double along = 0, along_abs = 0, worse = m.sigma_abs / fabs(m.sigma);
    for (int64_t i = 0; i < gy->count; i++) {
        along += gy->v[i] * in[0]->v[i] / m.sigma;
        along_abs += fabs(gy->v[i] * in[0]->v[i] / m.sigma);
    }
    for (int64_t i = 0; g[0] && i < gy->count; i++) {
        double direction = m.u[m.row[i]] * m.v[m.column[i]];
        g[0]->v[i] += (gy->v[i] - direction * along) / m.sigma;
        g[0]->abs[i] += (fabs(gy->v[i]) + fabs(direction) * along_abs) * worse * worse / fabs(m.sigma);
    }
    if (g[0]) g[0]->terms = fmax(g[0]->terms, (double)gy->count);
    matrix_close(&m);
}

static const recipe_operator rows[] = {
    ROW(batch_norm, "normalisation"),    ROW(layer_norm, "normalisation"),           ROW(rms_norm, "normalisation"),
    ROW(group_norm, "normalisation"),    ROW(instance_norm, "normalisation"),        ROW(normalize, "normalisation"),
    NUMERIC(dropout2d, "normalisation"), NUMERIC(stochastic_depth, "normalisation"), ROW(weight_norm, "normalisation"),
    ROW(spectral_norm, "normalisation"),
};
const recipe_family ROWS_NORMALISATION = { rows, sizeof rows / sizeof *rows };
