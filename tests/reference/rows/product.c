/* Matrix products. */
#include "tests/reference/rows.h"

#include <math.h>
#include <string.h>

/* A vector as a matrix: a row on the left, a column on the right. */
static ref as_matrix(const ref *x, bool right) {
    ref matrix = *x;
    if (x->shape.rank == 1) matrix.shape = right ? TUFF_SHAPE(x->count, 1) : TUFF_SHAPE(1, x->count);
    return matrix;
}
/* The product's shape without the axes that vectors do not have, or with them again. */
static tuff_shape product_shape(const tuff_shape *y, ref *const *in, bool whole) {
    tuff_shape out = { 0 };
    uint32_t batch = whole ? y->rank - (in[0]->shape.rank > 1) - (in[1]->shape.rank > 1) : y->rank - 2, at = batch;
    for (uint32_t i = 0; i < batch; i++) out.sizes[out.rank++] = y->sizes[i];
    for (int i = 0; i < 2; i++) {
        bool there = in[i]->shape.rank > 1;
        if (there || whole) out.sizes[out.rank++] = there ? y->sizes[at] : 1;
        at += there || !whole;
    }
    return out;
}
FORWARD(matmul_forward) {
    ref left = as_matrix(in[0], false), right = as_matrix(in[1], true);
    ref *y = ref_matmul(&left, &right, arg_flag(a, "transpose_a", false), arg_flag(a, "transpose_b", false));
    y->shape = product_shape(&y->shape, in, false);
    return y;
}
GRADIENT(matmul_gradient) {
    UNUSED;
    ref left = as_matrix(in[0], false), right = as_matrix(in[1], true), whole = *gy;
    whole.shape = product_shape(&gy->shape, in, true);
    ref_matmul_grad(&left, &right, arg_flag(a, "transpose_a", false), arg_flag(a, "transpose_b", false), &whole, g[0],
                    g[1]);
}

FORWARD(outer_forward) {
    (void)a;
    ref left = as_matrix(in[0], true), right = as_matrix(in[1], false);
    return ref_matmul(&left, &right, false, false);
}
GRADIENT(outer_gradient) {
    UNUSED;
    ref left = as_matrix(in[0], true), right = as_matrix(in[1], false);
    ref_matmul_grad(&left, &right, false, false, gy, g[0], g[1]);
}

/* ---- einsum: all values of all letters, one after the other -------------------------------------- */

enum { OPERANDS = 4, LABELS = 128 + TUFF_MAX_RANK }; /* letters by their codes; behind them the axes of "..." */

typedef struct subscripts {
    int labels[OPERANDS + 1][TUFF_MAX_RANK], ranks[OPERANDS + 1]; /* the last: the result's */
    int count;                                                    /* operands */
    int64_t sizes[LABELS];
} subscripts;

static subscripts subscripts_of(ref *const *in, const recipe_args *a) {
    subscripts s = { .count = 0 };
    char text[RECIPE_TEXT];
    int dots = 0, used[LABELS] = { 0 };
    arg_text(a, "equation", text, sizeof text);
    const char *arrow = strstr(text, "->"), *end = arrow ? arrow : text + strlen(text), *at = text;
    for (bool result = false;; at++) {
        int part = result ? OPERANDS : s.count, rank = 0, letters = 0;
        for (const char *c = at; *c && *c != ',' && *c != '-'; c++) letters += *c != '.';
        for (; *at && *at != ',' && *at != '-'; at++) {
            int more = result ? dots : (int)in[part]->shape.rank - letters;
            if (*at != '.') {
                s.labels[part][rank++] = *at;
                continue;
            }
            for (int k = more; k-- > 0;) s.labels[part][rank++] = 128 + k;
            if (more > dots) dots = more;
            at += 2;
        }
        s.ranks[part] = rank;
        if (result) break;
        for (int i = 0; i < rank; i++) {
            int64_t size = in[part]->shape.sizes[i], *whole = &s.sizes[s.labels[part][i]];
            used[s.labels[part][i]]++;
            if (size > *whole) *whole = size;
        }
        s.count++;
        if (at == end) {
            if (!arrow) break;
            result = true;
            at++;
        }
    }
    int *rank = &s.ranks[OPERANDS];
    for (int k = dots; !arrow && k-- > 0;) s.labels[OPERANDS][(*rank)++] = 128 + k;
    for (int c = 0; !arrow && c < 128; c++)
        if (used[c] == 1) s.labels[OPERANDS][(*rank)++] = c;
    return s;
}

/* Where the element lies at which the labels have these values. */
static int64_t element_at(const subscripts *s, int part, const tuff_shape *shape, const int64_t *values) {
    int64_t at = 0;
    for (int i = 0; i < s->ranks[part]; i++) {
        int64_t size = shape->sizes[i];
        at = at * size + (size == 1 ? 0 : values[s->labels[part][i]]);
    }
    return at;
}

/* y += product of all, or, where y's gradient is given, g[k] += gy times the product of the others. */
static void each_value(const subscripts *s, ref *const *in, ref *y, const ref *gy, ref *const *g) {
    int64_t values[LABELS] = { 0 }, at[OPERANDS], all = 1;
    for (int label = 0; label < LABELS; label++)
        if (s->sizes[label]) all *= s->sizes[label];
    for (int64_t i = 0; i < all; i++) {
        double product = 1;
        int64_t rest = i;
        for (int label = 0; label < LABELS; label++) {
            if (!s->sizes[label]) continue;
            values[label] = rest % s->sizes[label];
            rest /= s->sizes[label];
        }
        for (int k = 0; k < s->count; k++) {
            at[k] = element_at(s, k, &in[k]->shape, values);
            product *= in[k]->v[at[k]];
        }
        int64_t out = element_at(s, OPERANDS, gy ? &gy->shape : &y->shape, values);
        if (y) {
            y->v[out] += product;
            y->abs[out] += fabs(product);
        }
        for (int k = 0; gy && k < s->count; k++) {
            if (!g[k]) continue;
            double term = gy->v[out];
            for (int other = 0; other < s->count; other++)
                if (other != k) term *= in[other]->v[at[other]];
            g[k]->v[at[k]] += term;
            g[k]->abs[at[k]] += fabs(term);
        }
    }
    if (y) y->terms = fmax(1, (double)(all / y->count));
    for (int k = 0; gy && k < s->count; k++)
        if (g[k]) g[k]->terms = fmax(g[k]->terms, (double)(all / g[k]->count));
}

FORWARD(einsum_forward) {
    subscripts s = subscripts_of(in, a);
    tuff_shape shape = { .rank = (uint32_t)s.ranks[OPERANDS] };
    for (uint32_t i = 0; i < shape.rank; i++) shape.sizes[i] = s.sizes[s.labels[OPERANDS][i]];
    ref *y = ref_new(shape);
    each_value(&s, in, y, NULL, NULL);
    return y;
}
GRADIENT(einsum_gradient) {
    UNUSED;
    subscripts s = subscripts_of(in, a);
    each_value(&s, in, NULL, gy, g);
}

/* ---- layers -------------------------------------------------------------------------------------- */

FORWARD(linear_forward) {
    (void)a;
    return ref_linear(in[0], in[1], in[2]);
}
GRADIENT(linear_gradient) {
    UNUSED;
    ref_linear_grad(in[0], in[1], gy, g[0], g[1], g[2]);
}

static const recipe_operator rows[] = {
    ROW(matmul, "product"),
    ROW(outer, "product"),
    ROW(einsum, "product"),
    ROW(linear, "product"),
};
const recipe_family ROWS_PRODUCT = { rows, sizeof rows / sizeof *rows };
