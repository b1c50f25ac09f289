/* Losses. */
#include "tests/reference/rows.h"

#include <math.h>
#include <stdlib.h>

int64_t loss_reduction(const recipe_args *a) {
    return arg_is(a, "reduction", "sum") || arg_is(a, "reduction", "batchmean") ? REF_LOSS_SUM
           : arg_is(a, "reduction", "none")                                     ? REF_LOSS_NONE
                                                                                : REF_LOSS_MEAN;
}

/* A loss of `terms` positions: a scalar, or one number for each. */
static ref *new_loss(const recipe_args *a, const tuff_shape *terms) {
    bool none = loss_reduction(a) == REF_LOSS_NONE;
    ref *y = ref_new(none ? *terms : TUFF_SCALAR);
    if (!none) y->terms = (double)ref_count(terms);
    return y;
}

/* Adds term i, whose own absolute terms sum up to `size`; share is 1, or 1 / divisor of the mean. */
static void add_loss(ref *y, int64_t i, double term, double size, double share) {
    int64_t at = y->count > 1 ? i : 0;
    y->v[at] += term * share;
    y->abs[at] += size * share;
}

/* ---- classes ---- */

/* Logits (C) or (N, C, ...) and what is wanted at each of their rows: classes, or a probability of each class. */
typedef struct class_rows {
    const ref *x, *target, *weight;
    bool probabilities;
    int64_t rows, classes, inner;
    double ignore, smoothing;
} class_rows;

static class_rows class_rows_of(ref *const *in, const recipe_args *a) {
    class_rows r = { .x = in[0], .target = in[1], .weight = in[2] };
    r.probabilities = in[0]->shape.rank == in[1]->shape.rank;
    r.classes = in[0]->shape.sizes[in[0]->shape.rank > 1];
    r.rows = in[0]->count / r.classes;
    r.inner = in[0]->shape.rank > 1 ? r.rows / in[0]->shape.sizes[0] : 1;
    r.ignore = (double)arg_int(a, "ignore_index", -100);
    r.smoothing = arg_number(a, "label_smoothing", 0);
    return r;
}

static int64_t class_at(const class_rows *r, int64_t row, int64_t c) {
    return row / r->inner * r->classes * r->inner + row % r->inner + c * r->inner;
}

static double weight_of(const class_rows *r, int64_t c) {
    return r->weight ? r->weight->v[c] : 1;
}

/* How much -log p[c] of a row counts. */
static double wanted(const class_rows *r, int64_t row, int64_t c) {
    double each = r->smoothing / (double)r->classes, keep = 1 - r->smoothing;
    if (r->probabilities) return weight_of(r, c) * (r->target->v[class_at(r, row, c)] * keep + each);
    if (r->target->v[row] == r->ignore) return 0;
    return weight_of(r, c) * ((c == (int64_t)r->target->v[row]) * keep + each);
}

/* 1, or one over what the mean divides by: the weights of the targets that are not ignored. */
static double class_share(const class_rows *r, const recipe_args *a) {
    double sum = 0;
    if (loss_reduction(a) != REF_LOSS_MEAN) return 1;
    for (int64_t row = 0; row < r->rows; row++)
        sum += r->probabilities ? 1 : r->target->v[row] == r->ignore ? 0 : weight_of(r, (int64_t)r->target->v[row]);
    return 1 / sum;
}

/* The shape of the rows: x's without its classes. */
static tuff_shape row_shape(const class_rows *r) {
    tuff_shape shape = { 0 };
    for (uint32_t i = 0; i < r->x->shape.rank; i++)
        if (i != (r->x->shape.rank > 1)) shape.sizes[shape.rank++] = r->x->shape.sizes[i];
    return shape;
}

/* log p, and how far rounding errors of logits that are sums themselves (their abs beyond |v|) carry. */
static ref *log_softmax_of(const class_rows *r) {
    ref *log_p = ref_log_softmax(r->x, r->x->shape.rank > 1);
    for (int64_t row = 0; row < r->rows; row++) {
        double mean = 0;
        for (int64_t c = 0; c < r->classes; c++) {
            int64_t at = class_at(r, row, c);
            mean += exp(log_p->v[at]) * fmax(0, r->x->abs[at] - fabs(r->x->v[at]));
        }
        for (int64_t c = 0; c < r->classes; c++) {
            int64_t at = class_at(r, row, c);
            log_p->abs[at] += mean + fmax(0, r->x->abs[at] - fabs(r->x->v[at]));
        }
    }
    return log_p;
}

FORWARD(cross_entropy_forward) {
    class_rows r = class_rows_of(in, a);
    tuff_shape shape = row_shape(&r);
    ref *log_p = log_softmax_of(&r), *y = new_loss(a, &shape);
    double share = class_share(&r, a);
    for (int64_t row = 0; row < r.rows; row++)
        for (int64_t c = 0; c < r.classes; c++) {
            int64_t at = class_at(&r, row, c);
            double q = wanted(&r, row, c);
            if (q != 0) add_loss(y, row, -q * log_p->v[at], q * log_p->abs[at], share);
        }
    if (isinf(share)) y->v[0] = NAN; /* the mean of no targets */
    y->terms += (double)r.classes;
    ref_free(log_p);
    return y;
}

/* gx[c] = (p[c] sum q - q[c]) gy; of probabilities gq[c] = -w[c] (1 - smoothing) log p[c] gy */
GRADIENT(cross_entropy_gradient) {
    UNUSED;
    class_rows r = class_rows_of(in, a);
    ref *log_p = log_softmax_of(&r);
    double share = class_share(&r, a);
    if (isinf(share)) share = 0; /* as PyTorch: what is ignored has no gradient */
    for (int64_t row = 0; row < r.rows; row++) {
        double sum = 0, arriving = gy->v[gy->count > 1 ? row : 0] * share;
        for (int64_t c = 0; c < r.classes; c++) sum += wanted(&r, row, c);
        for (int64_t c = 0; c < r.classes; c++) {
            int64_t at = class_at(&r, row, c);
            double p = exp(log_p->v[at]), q = wanted(&r, row, c);
            if (g[0]) {
                g[0]->v[at] += (p * sum - q) * arriving;
                g[0]->abs[at] += (p * log_p->abs[at] * sum + q) * fabs(arriving);
            }
            if (g[1]) {
                double scale = weight_of(&r, c) * (1 - r.smoothing) * arriving;
                g[1]->v[at] -= log_p->v[at] * scale;
                g[1]->abs[at] += log_p->abs[at] * fabs(scale);
            }
        }
    }
    for (int k = 0; k < 2; k++)
        if (g[k]) g[k]->terms = fmax(g[k]->terms, (double)(r.classes + r.rows));
    ref_free(log_p);
}

FORWARD(nll_loss_forward) {
    class_rows r = class_rows_of(in, a);
    tuff_shape shape = row_shape(&r);
    ref *y = new_loss(a, &shape);
    double share = class_share(&r, a);
    for (int64_t row = 0; row < r.rows; row++) {
        if (r.target->v[row] == r.ignore) continue;
        int64_t c = (int64_t)r.target->v[row];
        double term = -weight_of(&r, c) * r.x->v[class_at(&r, row, c)];
        add_loss(y, row, term, fabs(term), share);
    }
    if (isinf(share)) y->v[0] = NAN;
    return y;
}

/* linear, then cross_entropy: input (..., D), weight (C, D), bias, target */
static ref *logits_of(ref *const *in) {
    int64_t features = in[1]->shape.sizes[1];
    ref *rows = ref_reshape(in[0], TUFF_SHAPE(in[0]->count / features, features));
    ref *logits = ref_linear(rows, in[1], in[2]);
    ref_free(rows);
    return logits;
}

FORWARD(linear_cross_entropy_forward) {
    ref *logits = logits_of(in), *target = ref_reshape(in[3], TUFF_SHAPE(in[3]->count));
    ref *y = cross_entropy_forward((ref *[]){ logits, target, NULL }, a);
    ref *shaped = y->count > 1 || in[3]->shape.rank == 0
                      ? ref_reshape(y, loss_reduction(a) == REF_LOSS_NONE ? in[3]->shape : TUFF_SCALAR)
                      : ref_copy(y);
    shaped->terms = y->terms + (double)in[1]->shape.sizes[1];
    ref_free(y);
    ref_free(target);
    ref_free(logits);
    return shaped;
}

GRADIENT(linear_cross_entropy_gradient) {
    UNUSED;
    int64_t features = in[1]->shape.sizes[1];
    ref *logits = logits_of(in), *target = ref_reshape(in[3], TUFF_SHAPE(in[3]->count));
    ref *rows = ref_reshape(in[0], TUFF_SHAPE(in[0]->count / features, features));
    ref *glogits = ref_new(logits->shape), *grows = g[0] ? ref_new(rows->shape) : NULL;
    cross_entropy_gradient((ref *[]){ logits, target, NULL }, a, y, gy, (ref *[]){ glogits, NULL, NULL });
    ref_linear_grad(rows, in[1], glogits, grows, g[1], g[2]);
    if (grows) ref_reshape_grad(grows, g[0]);
    /* the terms are as large as those of the logits' gradient */
    for (int64_t n = 0; n < rows->shape.sizes[0]; n++)
        for (int64_t c = 0; c < logits->shape.sizes[1]; c++) {
            int64_t at = n * logits->shape.sizes[1] + c;
            double more = glogits->abs[at] - fabs(glogits->v[at]);
            for (int64_t d = 0; d < features; d++) {
                if (g[0]) g[0]->abs[n * features + d] += more * fabs(in[1]->v[c * features + d]);
                if (g[1]) g[1]->abs[c * features + d] += more * fabs(rows->v[n * features + d]);
            }
            if (g[2]) g[2]->abs[c] += more;
        }
    ref_free(grows);
    ref_free(glogits);
    ref_free(rows);
    ref_free(target);
    ref_free(logits);
}

/* ---- connectionist temporal classification: log_probs (T, N, C), targets (N, S), lengths (N) each ---- */

/* One sample: its states are blanks and, between them, its labels. */
typedef struct ctc_sample {
    const ref *x, *targets;
    int64_t n, times, labels, states, blank;
    double *alpha, *beta; /* (times, states) each */
    double loss;
} ctc_sample;

static int64_t ctc_label(const ctc_sample *s, int64_t state) {
    return state % 2 ? (int64_t)s->targets->v[s->n * s->targets->shape.sizes[1] + state / 2] : s->blank;
}

static int64_t ctc_at(const ctc_sample *s, int64_t t, int64_t c) {
    return (t * s->x->shape.sizes[1] + s->n) * s->x->shape.sizes[2] + c;
}

static double ctc_sum(double a, double b) {
    double m = fmax(a, b);
    return m == -INFINITY ? m : m + log(exp(a - m) + exp(b - m));
}

/* Paths up to a time, or with step -1 from it on; the other end is where the sample starts or ends. */
static void ctc_paths(const ctc_sample *s, double *paths, int step) {
    int64_t first = step > 0 ? 0 : s->times - 1, edge = step > 0 ? 0 : s->states - 1;
    for (int64_t i = 0; i < s->times * s->states; i++) paths[i] = -INFINITY;
    for (int64_t t = first; t >= 0 && t < s->times; t += step)
        for (int64_t k = 0; k < s->states; k++) {
            const double *before = paths + (t - step) * s->states;
            int64_t one = k - step, two = k - 2 * step, label = ctc_label(s, k);
            double sum = t != first ? before[k] : k == edge || k == edge + step ? 0 : -INFINITY;
            if (t != first && one >= 0 && one < s->states) sum = ctc_sum(sum, before[one]);
            if (t != first && two >= 0 && two < s->states && ctc_label(s, two) != label)
                sum = ctc_sum(sum, before[two]);
            paths[t * s->states + k] = sum + s->x->v[ctc_at(s, t, label)];
        }
}

/* Whether lengths and labels are in range. */
static bool ctc_is_valid(const ctc_sample *s) {
    if (s->times < 0 || s->times > s->x->shape.sizes[0] || s->labels < 0 || s->labels > s->targets->shape.sizes[1])
        return false;
    for (int64_t k = 1; k < 2 * s->labels; k += 2)
        if (ctc_label(s, k) < 0 || ctc_label(s, k) >= s->x->shape.sizes[2]) return false;
    return true;
}

static ctc_sample ctc_open(ref *const *in, const recipe_args *a, int64_t n) {
    ctc_sample s = { .x = in[0],
                     .targets = in[1],
                     .n = n,
                     .times = (int64_t)in[2]->v[n],
                     .labels = (int64_t)in[3]->v[n],
                     .blank = arg_int(a, "blank", 0) };
    bool valid = ctc_is_valid(&s);
    if (!valid) s.times = s.labels = 0;
    s.states = 2 * s.labels + 1;
    s.alpha = calloc((size_t)(s.times * s.states + 1), sizeof *s.alpha);
    s.beta = calloc((size_t)(s.times * s.states + 1), sizeof *s.beta);
    ctc_paths(&s, s.alpha, 1);
    ctc_paths(&s, s.beta, -1);
    const double *last = s.alpha + (s.times ? s.times - 1 : 0) * s.states;
    if (!valid)
        s.loss = NAN;
    else if (s.times == 0)
        s.loss = s.labels ? INFINITY : 0;
    else
        s.loss = -ctc_sum(last[s.states - 1], s.labels ? last[s.states - 2] : -INFINITY);
    return s;
}

static void ctc_close(ctc_sample *s) {
    free(s->alpha);
    free(s->beta);
}

/* What a sample's loss counts. */
static double ctc_share(const ctc_sample *s, const recipe_args *a) {
    if (loss_reduction(a) != REF_LOSS_MEAN) return 1;
    return 1 / (fmax(1, (double)s->labels) * (double)s->x->shape.sizes[1]);
}

/* The sum of the largest absolute logarithms, which the recursion's rounding errors are measured against. */
static double ctc_size(const ctc_sample *s) {
    double sum = 0;
    for (int64_t i = 0; i < s->times * s->states; i++)
        if (s->alpha[i] > -INFINITY) sum = fmax(sum, fabs(s->alpha[i]));
    return sum;
}

FORWARD(ctc_loss_forward) {
    ref *y = new_loss(a, &in[2]->shape);
    for (int64_t n = 0; n < in[2]->count; n++) {
        ctc_sample s = ctc_open(in, a, n);
        if (s.loss != INFINITY || !arg_flag(a, "zero_infinity", false))
            add_loss(y, n, s.loss, ctc_size(&s), ctc_share(&s, a));
        ctc_close(&s);
    }
    y->terms += (double)in[0]->shape.sizes[0];
    return y;
}

/* PyTorch's, which stands behind a log_softmax: (exp(x) - the share of the paths through a class) gy. Differences see
 * the second part alone. */
GRADIENT(ctc_loss_gradient) {
    UNUSED;
    for (int64_t n = 0; g[0] && n < in[2]->count; n++) {
        ctc_sample s = ctc_open(in, a, n);
        double arriving = gy->v[gy->count > 1 ? n : 0] * ctc_share(&s, a), size = 1 + ctc_size(&s);
        for (int64_t i = 0; isnan(s.loss) && i < in[0]->shape.sizes[0] * in[0]->shape.sizes[2]; i++)
            g[0]->v[ctc_at(&s, i / in[0]->shape.sizes[2], i % in[0]->shape.sizes[2])] = NAN;
        for (int64_t t = 0; t < s.times && s.loss < INFINITY; t++) {
            for (int64_t c = 0; c < in[0]->shape.sizes[2]; c++) {
                double p = exp(in[0]->v[ctc_at(&s, t, c)]) * arriving;
                g[0]->v[ctc_at(&s, t, c)] += p;
                g[0]->abs[ctc_at(&s, t, c)] += fabs(p);
            }
            for (int64_t k = 0; k < s.states; k++) {
                int64_t i = t * s.states + k, at = ctc_at(&s, t, ctc_label(&s, k));
                double share = exp(s.alpha[i] + s.beta[i] - in[0]->v[at] + s.loss) * arriving;
                g[0]->v[at] -= share;
                g[0]->abs[at] += fabs(share) * size;
            }
        }
        ctc_close(&s);
    }
    if (g[0]) g[0]->terms = fmax(g[0]->terms, (double)in[0]->shape.sizes[0]);
}

/* No difference quotient is its gradient. */
KINK(ctc_loss_kink) {
    (void)in, (void)a, (void)y;
    return 0;
}

/* ---- numbers ---- */

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

/* Where a square goes over into a line the second derivative jumps, which differences see. */
static double distance_from(ref *const *in, double border) {
    double nearest = INFINITY;
    for (int64_t i = 0; i < in[0]->count; i++) nearest = fmin(nearest, fabs(fabs(in[0]->v[i] - in[1]->v[i]) - border));
    return nearest;
}
KINK(smooth_l1_kink) {
    (void)y;
    return distance_from(in, arg_number(a, "beta", 1));
}
KINK(huber_kink) {
    (void)y;
    return distance_from(in, arg_number(a, "delta", 1));
}

/* A loss of input and target alone, element by element. */
#define ELEMENTWISE(name, expression)                                                                                  \
    FORWARD(name##_forward) {                                                                                          \
        ref *loss = new_loss(a, &in[0]->shape);                                                                        \
        double share = loss_reduction(a) == REF_LOSS_MEAN ? 1 / (double)in[0]->count : 1;                              \
        for (int64_t i = 0; i < in[0]->count; i++) {                                                                   \
            double x = in[0]->v[i], y = in[1]->v[i], d = fabs(x - y), term = (expression);                             \
            (void)d;                                                                                                   \
            add_loss(loss, i, term, fabs(term), share);                                                                \
        }                                                                                                              \
        return loss;                                                                                                   \
    }

ELEMENTWISE(smooth_l1_loss,
            d < arg_number(a, "beta", 1) ? d * d / (2 * arg_number(a, "beta", 1)) : d - arg_number(a, "beta", 1) / 2)
ELEMENTWISE(huber_loss, d <= arg_number(a, "delta", 1)
                            ? d * d / 2
                            : arg_number(a, "delta", 1) * (d - arg_number(a, "delta", 1) / 2))

/* log sigmoid(x) */
static double log_sigmoid(double x) {
    return fmin(x, 0) - log1p(exp(-fabs(x)));
}

FORWARD(binary_cross_entropy_with_logits_forward) {
    ref *loss = new_loss(a, &in[0]->shape);
    double share = loss_reduction(a) == REF_LOSS_MEAN ? 1 / (double)in[0]->count : 1;
    for (int64_t i = 0; i < in[0]->count; i++) {
        double x = in[0]->v[i], y = in[1]->v[i];
        double weight = in[2] ? in[2]->v[ref_offset(&in[2]->shape, &in[0]->shape, i)] : 1;
        double positive = in[3] ? in[3]->v[ref_offset(&in[3]->shape, &in[0]->shape, i)] : 1;
        double one = -positive * y * log_sigmoid(x) * weight, zero = -(1 - y) * log_sigmoid(-x) * weight;
        add_loss(loss, i, one + zero, fabs(one) + fabs(zero), share);
    }
    return loss;
}

/* Adds a gradient that is the sum of two terms, which may cancel. */
static void add_two(ref *g, int64_t i, double one, double two) {
    if (!g) return;
    g->v[i] += one + two;
    g->abs[i] += fabs(one) + fabs(two);
}

static double arriving_at(const recipe_args *a, const ref *gy, int64_t i, int64_t count) {
    return gy->v[gy->count > 1 ? i : 0] * (loss_reduction(a) == REF_LOSS_MEAN ? 1 / (double)count : 1);
}

GRADIENT(binary_cross_entropy_with_logits_gradient) {
    UNUSED;
    for (int64_t i = 0; i < in[0]->count; i++) {
        double x = in[0]->v[i], t = in[1]->v[i], arriving = arriving_at(a, gy, i, in[0]->count);
        double positive = in[3] ? in[3]->v[ref_offset(&in[3]->shape, &in[0]->shape, i)] : 1;
        if (in[2]) arriving *= in[2]->v[ref_offset(&in[2]->shape, &in[0]->shape, i)];
        add_two(g[0], i, -positive * t * exp(log_sigmoid(-x)) * arriving, (1 - t) * exp(log_sigmoid(x)) * arriving);
        add_two(g[1], i, -positive * log_sigmoid(x) * arriving, log_sigmoid(-x) * arriving);
    }
}

FORWARD(kl_div_forward) {
    ref *loss = new_loss(a, &in[0]->shape);
    double share = arg_is(a, "reduction", "batchmean")  ? 1 / (double)in[0]->shape.sizes[0]
                   : loss_reduction(a) == REF_LOSS_MEAN ? 1 / (double)in[0]->count
                                                        : 1;
    for (int64_t i = 0; i < in[0]->count; i++) {
        double x = in[0]->v[i], y = in[1]->v[i];
        bool is_log = arg_flag(a, "log_target", false);
        double p = is_log ? exp(y) : y, log_p = is_log ? y : y ? log(y) : 0;
        add_loss(loss, i, p * (log_p - x), p * (fabs(log_p) + fabs(x)), share);
    }
    return loss;
}

GRADIENT(kl_div_gradient) {
    UNUSED;
    bool is_log = arg_flag(a, "log_target", false);
    for (int64_t i = 0; i < in[0]->count; i++) {
        double x = in[0]->v[i], t = in[1]->v[i], arriving = arriving_at(a, gy, i, in[0]->count);
        if (arg_is(a, "reduction", "batchmean")) arriving /= (double)in[0]->shape.sizes[0];
        if (g[0]) g[0]->v[i] -= (is_log ? exp(t) : t) * arriving;
        if (g[0]) g[0]->abs[i] += (is_log ? exp(t) : t) * fabs(arriving);
        if (!is_log && t == 0) continue; /* PyTorch's: 0 */
        double scale = is_log ? exp(t) * arriving : arriving, log_t = is_log ? t : log(t);
        add_two(g[1], i, log_t * scale, scale);
        add_two(g[1], i, -x * scale, 0);
    }
}

ELEMENTWISE(hinge_embedding_loss, (y != 1 ? fmax(0, arg_number(a, "margin", 1) - x) : 0) + (y != -1 ? x : 0))

FORWARD(margin_ranking_loss_forward) {
    ref *loss = new_loss(a, &in[0]->shape);
    double share = loss_reduction(a) == REF_LOSS_MEAN ? 1 / (double)in[0]->count : 1,
           margin = arg_number(a, "margin", 0);
    for (int64_t i = 0; i < in[0]->count; i++) {
        double term = margin - in[2]->v[i] * (in[0]->v[i] - in[1]->v[i]);
        add_loss(loss, i, fmax(0, term), fabs(margin) + fabs(in[0]->v[i]) + fabs(in[1]->v[i]), share);
    }
    return loss;
}

/* A loss of vectors along the last axis: their number, and the shape without it. */
static int64_t vectors_of(const ref *x, tuff_shape *shape) {
    *shape = x->shape;
    shape->rank--;
    return ref_count(shape);
}

FORWARD(cosine_embedding_loss_forward) {
    tuff_shape shape;
    int64_t vectors = vectors_of(in[0], &shape), size = in[0]->count / vectors;
    ref *loss = new_loss(a, &shape);
    double share = loss_reduction(a) == REF_LOSS_MEAN ? 1 / (double)vectors : 1, margin = arg_number(a, "margin", 0);
    for (int64_t n = 0; n < vectors; n++) {
        double product = 0, first = 1e-12, second = 1e-12, absolute = 0;
        for (int64_t d = n * size; d < (n + 1) * size; d++) {
            product += in[0]->v[d] * in[1]->v[d];
            absolute += fabs(in[0]->v[d] * in[1]->v[d]);
            first += in[0]->v[d] * in[0]->v[d];
            second += in[1]->v[d] * in[1]->v[d];
        }
        double cosine = product / sqrt(first * second), y = in[2]->v[n];
        double term = y == 1 ? 1 - cosine : y == -1 ? fmax(0, cosine - margin) : 0;
        add_loss(loss, n, term, (y == 1) + fabs(margin) + absolute / sqrt(first * second), share);
    }
    loss->terms += (double)size;
    return loss;
}

/* d cosine / da = b / (|a| |b|) - cosine a / |a|^2 */
GRADIENT(cosine_embedding_loss_gradient) {
    UNUSED;
    tuff_shape shape;
    int64_t vectors = vectors_of(in[0], &shape), size = in[0]->count / vectors;
    for (int64_t n = 0; n < vectors; n++) {
        double product = 0, absolute = 0, squares[2] = { 1e-12, 1e-12 }, t = in[2]->v[n];
        for (int64_t d = n * size; d < (n + 1) * size; d++) {
            product += in[0]->v[d] * in[1]->v[d];
            absolute += fabs(in[0]->v[d] * in[1]->v[d]);
            for (int k = 0; k < 2; k++) squares[k] += in[k]->v[d] * in[k]->v[d];
        }
        double lengths = sqrt(squares[0] * squares[1]), cosine = product / lengths;
        double slope = t == 1 ? -1 : t == -1 && cosine >= arg_number(a, "margin", 0) ? 1 : 0;
        slope *= arriving_at(a, gy, n, vectors);
        for (int k = 0; k < 2; k++)
            for (int64_t d = n * size; g[k] && d < (n + 1) * size; d++) {
                add_two(g[k], d, slope * in[1 - k]->v[d] / lengths, -slope * cosine * in[k]->v[d] / squares[k]);
                g[k]->abs[d] += fabs(slope * in[k]->v[d] / squares[k]) * absolute / lengths;
            }
    }
    for (int k = 0; k < 2; k++)
        if (g[k]) g[k]->terms = fmax(g[k]->terms, (double)size);
}

static double distance_of(const recipe_args *a, const ref *x, const ref *y, int64_t n, int64_t size) {
    double p = arg_number(a, "p", 2), sum = 0;
    for (int64_t d = n * size; d < (n + 1) * size; d++)
        sum += pow(fabs(x->v[d] - y->v[d] + arg_number(a, "eps", 1e-6)), p);
    return pow(sum, 1 / p);
}

FORWARD(triplet_margin_loss_forward) {
    tuff_shape shape;
    int64_t vectors = vectors_of(in[0], &shape), size = in[0]->count / vectors;
    ref *loss = new_loss(a, &shape);
    double share = loss_reduction(a) == REF_LOSS_MEAN ? 1 / (double)vectors : 1, margin = arg_number(a, "margin", 1);
    for (int64_t n = 0; n < vectors; n++) {
        double near = distance_of(a, in[0], in[1], n, size), far = distance_of(a, in[0], in[2], n, size);
        if (arg_flag(a, "swap", false)) far = fmin(far, distance_of(a, in[1], in[2], n, size));
        add_loss(loss, n, fmax(0, margin + near - far), fabs(margin) + near + far, share);
    }
    loss->terms += (double)size;
    return loss;
}

/* What a distance's slope adds to the gradients of its ends, times scale. The difference of the ends has their rounding
 * errors, and the slope turns with it unless p is 1. */
static void add_distance(const recipe_args *a, const ref *x, const ref *y, int64_t n, int64_t size, double scale,
                         ref *gx, ref *gy) {
    double p = arg_number(a, "p", 2), length = distance_of(a, x, y, n, size);
    for (int64_t d = n * size; d < (n + 1) * size; d++) {
        double difference = x->v[d] - y->v[d] + arg_number(a, "eps", 1e-6);
        double slope = scale * copysign(pow(fabs(difference) / length, p - 1), difference);
        double size_of = fabs(slope) + fabs(scale) * (p - 1) * (fabs(x->v[d]) + fabs(y->v[d])) / length;
        if (gx) gx->v[d] += slope, gx->abs[d] += size_of;
        if (gy) gy->v[d] -= slope, gy->abs[d] += size_of;
    }
}

GRADIENT(triplet_margin_loss_gradient) {
    UNUSED;
    tuff_shape shape;
    int64_t vectors = vectors_of(in[0], &shape), size = in[0]->count / vectors;
    for (int64_t n = 0; n < vectors; n++) {
        double near = distance_of(a, in[0], in[1], n, size), far = distance_of(a, in[0], in[2], n, size);
        double other = distance_of(a, in[1], in[2], n, size), arriving = arriving_at(a, gy, n, vectors);
        bool swap = arg_flag(a, "swap", false) && other < far;
        if (arg_number(a, "margin", 1) + near - (swap ? other : far) < 0) continue;
        add_distance(a, in[0], in[1], n, size, arriving, g[0], g[1]);
        if (swap)
            add_distance(a, in[1], in[2], n, size, -arriving, g[1], g[2]);
        else
            add_distance(a, in[0], in[2], n, size, -arriving, g[0], g[2]);
    }
    for (int k = 0; k < 3; k++)
        if (g[k]) g[k]->terms = fmax(g[k]->terms, (double)size);
}

FORWARD(accuracy_forward) {
    (void)a;
    return ref_accuracy(in[0], in[1]);
}

static const recipe_operator rows[] = {
    ROW(cross_entropy, "loss"),
    ROW(linear_cross_entropy, "loss"),
    KINKED(ctc_loss, "loss", ctc_loss_kink),
    NUMERIC(nll_loss, "loss"),
    ROW(mse_loss, "loss"),
    KINKED(l1_loss, "loss", l1_loss_kink),
    { "smooth_l1_loss", "loss", smooth_l1_loss_forward, NULL, smooth_l1_kink, false },
    { "huber_loss", "loss", huber_loss_forward, NULL, huber_kink, false },
    ROW(binary_cross_entropy_with_logits, "loss"),
    ROW(kl_div, "loss"),
    NUMERIC(hinge_embedding_loss, "loss"),
    NUMERIC(margin_ranking_loss, "loss"),
    ROW(cosine_embedding_loss, "loss"),
    ROW(triplet_margin_loss, "loss"),
    DETACHED(accuracy, "loss"),
};
const recipe_family ROWS_LOSS = { rows, sizeof rows / sizeof *rows };
