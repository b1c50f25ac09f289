/* Lookup: rows of tables, elements by their indices. */
#include "tests/reference/rows.h"

#include <math.h>
#include <stdlib.h>

FORWARD(embedding_forward) {
    (void)a;
    return ref_embedding(in[0], in[1]);
}
GRADIENT(embedding_gradient) {
    UNUSED;
    if (!g[1]) return;
    ref_embedding_grad(in[0], gy, g[1]);
    int64_t rows = in[1]->shape.sizes[0], features = in[1]->shape.sizes[1];
    if (!arg_given(a, "padding_idx")) return;
    int64_t padding = (arg_int(a, "padding_idx", 0) + rows) % rows;
    for (int64_t i = 0; i < features; i++) g[1]->v[padding * features + i] = g[1]->abs[padding * features + i] = 0;
}

/* Where element i of a tensor lies in x when index names its place along an axis; -1: out of range. */
static int64_t place_of(const ref *x, int axis, const ref *index, const tuff_shape *shape, int64_t i) {
    int64_t at[TUFF_MAX_RANK], place = 0, rest = i;
    for (uint32_t k = shape->rank; k-- > 0; rest /= shape->sizes[k]) at[k] = rest % shape->sizes[k];
    at[axis] = (int64_t)index->v[index->shape.rank == 1 && shape->rank >= 1 ? at[axis] : i];
    if (at[axis] < 0 || at[axis] >= x->shape.sizes[axis]) return -1;
    for (uint32_t k = 0; k < shape->rank; k++) place = place * x->shape.sizes[k] + at[k];
    return place;
}

static ref *taken(const ref *x, int axis, const ref *index, tuff_shape shape) {
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t from = place_of(x, axis, index, &shape, i);
        y->v[i] = from < 0 ? NAN : x->v[from];
        y->abs[i] = from < 0 ? 0 : x->abs[from];
    }
    return y;
}
FORWARD(gather_forward) {
    return taken(in[0], arg_axis(a, "dim", 0, in[0]), in[1], in[1]->shape);
}
FORWARD(index_select_forward) {
    int axis = arg_axis(a, "dim", 0, in[0]);
    tuff_shape shape = in[0]->shape;
    shape.sizes[axis] = in[1]->count;
    return taken(in[0], axis, in[1], shape);
}

/* y[place of i] += factor * source[i], for each i of source */
static void add_at(ref *y, int axis, const ref *index, const ref *source, double factor) {
    double most = 1;
    double *counts = calloc((size_t)y->count, sizeof *counts);
    for (int64_t i = 0; i < source->count; i++) {
        int64_t to = place_of(y, axis, index, &source->shape, i);
        if (to < 0) continue;
        y->v[to] += factor * source->v[i];
        y->abs[to] += fabs(factor * source->v[i]);
        most = fmax(most, ++counts[to]);
    }
    y->terms = fmax(y->terms, most + 1);
    free(counts);
}
FORWARD(scatter_add_forward) {
    ref *y = ref_copy(in[0]);
    add_at(y, arg_axis(a, "dim", 0, in[0]), in[1], in[2], 1);
    return y;
}
FORWARD(index_add_forward) {
    ref *y = ref_copy(in[0]);
    add_at(y, arg_axis(a, "dim", 0, in[0]), in[1], in[2], arg_number(a, "alpha", 1));
    return y;
}

/* Large cases would take long by differences. */
GRADIENT(taken_gradient) {
    UNUSED;
    if (g[0]) add_at(g[0], arg_axis(a, "dim", 0, in[0]), in[1], gy, 1);
}
GRADIENT(added_gradient) {
    UNUSED;
    int axis = arg_axis(a, "dim", 0, in[0]);
    double alpha = arg_number(a, "alpha", 1);
    for (int64_t i = 0; g[0] && i < gy->count; i++) {
        g[0]->v[i] += gy->v[i];
        g[0]->abs[i] += fabs(gy->v[i]);
    }
    for (int64_t i = 0; g[2] && i < in[2]->count; i++) {
        int64_t from = place_of(gy, axis, in[1], &in[2]->shape, i);
        if (from < 0) continue;
        g[2]->v[i] += alpha * gy->v[from];
        g[2]->abs[i] += fabs(alpha * gy->v[from]);
    }
}

FORWARD(one_hot_forward) {
    tuff_shape shape = in[0]->shape;
    int64_t classes = arg_int(a, "num_classes", 1);
    shape.sizes[shape.rank++] = classes;
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) y->v[i] = y->abs[i] = (double)(i % classes) == in[0]->v[i / classes];
    return y;
}

static const recipe_operator rows[] = {
    ROW(embedding, "lookup"),
    DETACHED(one_hot, "lookup"),
    { "gather", "lookup", gather_forward, taken_gradient, NULL, false },
    { "index_select", "lookup", index_select_forward, taken_gradient, NULL, false },
    { "scatter_add", "lookup", scatter_add_forward, added_gradient, NULL, false },
    { "index_add", "lookup", index_add_forward, added_gradient, NULL, false },
};
const recipe_family ROWS_LOOKUP = { rows, sizeof rows / sizeof *rows };
