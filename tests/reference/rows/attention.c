/* Attention. */
#include "tests/reference/rows.h"

#include <math.h>
#include <stdlib.h>

/* A score this low counts as minus infinity. */
static const double UNSEEN = -3.0e38;

/* Where the row (batch and head z of the query, row i) of a tensor starts; its heads may be fewer. */
static int64_t row_of(const ref *x, const ref *query, int64_t z, int64_t i) {
    uint32_t rank = x->shape.rank;
    int64_t heads = rank > 2 ? x->shape.sizes[rank - 3] : 1, query_heads = rank > 2 ? query->shape.sizes[rank - 3] : 1;
    int64_t own = z / query_heads * heads + z % query_heads / (query_heads / heads);
    return (own * x->shape.sizes[rank - 2] + i) * x->shape.sizes[rank - 1];
}

/* The scores of one query, and in size[j] the sum of their absolute terms. */
static void scores_of(ref *const *in, const recipe_args *a, int64_t z, int64_t i, double *scores, double *size) {
    const ref *query = in[0], *key = in[1], *mask = in[3];
    uint32_t rank = query->shape.rank;
    int64_t rows = query->shape.sizes[rank - 2], keys = key->shape.sizes[rank - 2];
    int64_t features = query->shape.sizes[rank - 1];
    double scale = arg_number(a, "scale", 0);
    if (scale == 0) scale = 1 / sqrt((double)features);
    tuff_shape shape = query->shape;
    shape.sizes[rank - 1] = keys;
    for (int64_t j = 0; j < keys; j++) {
        const double *q = query->v + row_of(query, query, z, i), *k = key->v + row_of(key, query, z, j);
        scores[j] = size[j] = 0;
        for (int64_t e = 0; e < features; e++) {
            scores[j] += scale * q[e] * k[e];
            size[j] += fabs(scale * q[e] * k[e]);
        }
        double added = mask ? mask->v[ref_offset(&mask->shape, &shape, (z * rows + i) * keys + j)] : 0;
        if (mask && mask->whole) added = added != 0 ? 0 : -INFINITY;
        scores[j] += added;
        if (added > -INFINITY) size[j] += fabs(added);
        if ((arg_flag(a, "is_causal", false) && j > i) || scores[j] <= UNSEEN) scores[j] = -INFINITY;
    }
}

/* softmax of the scores in place; the logarithm of the sum of their exponentials, 0 if there are none. */
static double soften(double *scores, int64_t keys) {
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) most = fmax(most, scores[j]);
    for (int64_t j = 0; j < keys; j++) {
        scores[j] = most == -INFINITY ? 0 : exp(scores[j] - most);
        sum += scores[j];
    }
    for (int64_t j = 0; j < keys && sum > 0; j++) scores[j] /= sum;
    return sum > 0 ? most + log(sum) : 0;
}

/* What dropout multiplies a weight with, counted as in (..., L, S). */
static double kept(const recipe_args *a, int64_t element) {
    return !a->keep ? 1 : a->keep[element] ? 1 / (1 - arg_number(a, "dropout_p", 0)) : 0;
}

FORWARD(scaled_dot_product_attention_forward) {
    const ref *query = in[0], *key = in[1], *value = in[2];
    uint32_t rank = query->shape.rank;
    int64_t rows = query->shape.sizes[rank - 2], keys = key->shape.sizes[rank - 2];
    int64_t features = value->shape.sizes[rank - 1], batch = 1;
    bool log_sum = arg_int(a, "take", 0) == 1;
    for (uint32_t i = 0; i + 2 < rank; i++) batch *= query->shape.sizes[i];
    tuff_shape shape = query->shape;
    shape.sizes[rank - 1] = features;
    if (log_sum) shape.rank--;
    ref *y = ref_new(shape);
    double *weights = calloc((size_t)keys, sizeof *weights), *size = calloc((size_t)keys, sizeof *size);
    for (int64_t r = 0; r < batch * rows; r++) {
        int64_t z = r / rows;
        scores_of(in, a, z, r % rows, weights, size);
        double whole = soften(weights, keys);
        double *v = log_sum ? &y->v[r] : y->v + r * features, *abs = log_sum ? &y->abs[r] : y->abs + r * features;
        if (log_sum) {
            *v = whole;
            *abs = fabs(whole);
        }
        for (int64_t j = 0; j < keys; j++) {
            const double *from = value->v + row_of(value, query, z, j);
            /* a score's rounding error is one of its weight, relative to it */
            if (log_sum) *abs += weights[j] * (1 + size[j]);
            for (int64_t f = 0; !log_sum && f < features; f++) {
                double term = weights[j] * kept(a, r * keys + j) * from[f];
                v[f] += term;
                abs[f] += fabs(term) * (1 + size[j]);
            }
        }
    }
    y->terms = (double)(keys + query->shape.sizes[rank - 1]);
    free(weights);
    free(size);
    return y;
}

static void add(ref *x, int64_t at, double term, double size) {
    if (!x) return;
    x->v[at] += term;
    x->abs[at] += fabs(size);
}

/* With dP = gy v^T and D the sum over j of P dP: dS = P (dP - D), of which all follow. Written out, since what float32
 * can do depends on the terms of each of these sums. */
GRADIENT(scaled_dot_product_attention_gradient) {
    UNUSED;
    const ref *query = in[0], *key = in[1], *value = in[2], *mask = in[3];
    uint32_t rank = query->shape.rank;
    int64_t rows = query->shape.sizes[rank - 2], keys = key->shape.sizes[rank - 2], count = 1;
    int64_t features = query->shape.sizes[rank - 1], value_features = value->shape.sizes[rank - 1];
    bool log_sum = arg_int(a, "take", 0) == 1;
    double scale = arg_number(a, "scale", 0);
    if (scale == 0) scale = 1 / sqrt((double)features);
    for (uint32_t i = 0; i + 1 < rank; i++) count *= query->shape.sizes[i];
    tuff_shape shape = query->shape;
    shape.sizes[rank - 1] = keys;
    double *memory = calloc((size_t)keys * 4, sizeof *memory);
    double *weights = memory, *size = memory + keys, *slope = size + keys, *slope_size = slope + keys;
    for (int64_t r = 0; r < count; r++) {
        int64_t z = r / rows, i = r % rows, at = row_of(query, query, z, i);
        double sum = 0, sum_size = 0;
        scores_of(in, a, z, i, weights, size);
        soften(weights, keys);
        for (int64_t j = 0; j < keys; j++) {
            int64_t from = row_of(value, query, z, j);
            double keep = kept(a, r * keys + j);
            slope[j] = slope_size[j] = 0;
            for (int64_t f = 0; !log_sum && f < value_features; f++) {
                double term = keep * gy->v[r * value_features + f] * value->v[from + f];
                slope[j] += term;
                slope_size[j] += fabs(term);
                double given = weights[j] * keep * gy->v[r * value_features + f];
                add(g[2], from + f, given, given * (1 + size[j]));
            }
            sum += weights[j] * slope[j];
            sum_size += weights[j] * slope_size[j] * (1 + size[j]);
        }
        if (log_sum) sum = -gy->v[r], sum_size = fabs(sum);
        for (int64_t j = 0; j < keys; j++) {
            int64_t from = row_of(key, query, z, j);
            double ds = weights[j] * (slope[j] - sum),
                   ds_size = weights[j] * (slope_size[j] + sum_size) * (1 + size[j]);
            if (mask) add(g[3], ref_offset(&mask->shape, &shape, r * keys + j), ds, ds_size);
            for (int64_t e = 0; e < features; e++) {
                double q = scale * query->v[at + e], k = scale * key->v[from + e];
                add(g[0], at + e, ds * k, ds_size * k);
                add(g[1], from + e, ds * q, ds_size * q);
            }
        }
    }
    double terms = (double)(rows > keys ? rows : keys) + (double)(features + value_features);
    for (int i = 0; i < 4; i++)
        if (g[i]) g[i]->terms = fmax(g[i]->terms, terms);
    free(memory);
}

/* ---- rotary embedding ---- */

FORWARD(rotary_embedding_forward) {
    const ref *x = in[0], *positions = in[1];
    int64_t features = x->shape.sizes[x->shape.rank - 1], length = x->shape.sizes[x->shape.rank - 2];
    int64_t rotated = arg_int(a, "rotary_dim", 0), pairs = (rotated ? rotated : features) / 2;
    bool interleaved = arg_flag(a, "interleaved", false);
    ref *y = ref_copy(x);
    tuff_shape rows = x->shape;
    rows.rank--;
    for (int64_t r = 0; r < x->count / features; r++) {
        double position = (double)arg_int(a, "offset", 0);
        position += positions ? positions->v[ref_offset(&positions->shape, &rows, r)] : (double)(r % length);
        for (int64_t i = 0; i < pairs; i++) {
            double angle = position * pow(arg_number(a, "base", 10000), -(double)i / (double)pairs);
            double c = cos(angle), s = arg_flag(a, "reverse", false) ? -sin(angle) : sin(angle);
            int64_t first = r * features + (interleaved ? 2 * i : i), second = first + (interleaved ? 1 : pairs);
            y->v[first] = x->v[first] * c - x->v[second] * s;
            y->v[second] = x->v[second] * c + x->v[first] * s;
            y->abs[first] = y->abs[second] = fabs(x->v[first]) + fabs(x->v[second]);
        }
    }
    return y;
}

static const recipe_operator rows[] = {
    NUMERIC(rotary_embedding, "attention"),
    ROW(scaled_dot_product_attention, "attention"),
};
const recipe_family ROWS_ATTENTION = { rows, sizeof rows / sizeof *rows };
