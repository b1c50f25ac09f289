/* Embedding lookup, losses and accuracy. */
#include "reference.h"

#include <math.h>

static void add(ref *y, int64_t i, double term) {
    y->v[i] += term;
    y->abs[i] += fabs(term);
}

ref *ref_embedding(const ref *index, const ref *table) {
    int64_t features = table->shape.sizes[1];
    tuff_shape shape = index->shape;
    shape.sizes[shape.rank++] = features;
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t row = (int64_t)index->v[i / features];
        bool inside = row >= 0 && row < table->shape.sizes[0];
        add(y, i, inside ? table->v[row * features + i % features] : NAN);
    }
    return y;
}

void ref_embedding_grad(const ref *index, const ref *gy, ref *gtable) {
    int64_t features = gtable->shape.sizes[1];
    for (int64_t i = 0; i < gy->count; i++) {
        int64_t row = (int64_t)index->v[i / features];
        if (row >= 0 && row < gtable->shape.sizes[0]) add(gtable, row * features + i % features, gy->v[i]);
    }
    gtable->terms = fmax(gtable->terms, (double)index->count);
}

/* What a position's loss is multiplied with in the result. */
static double loss_share(ref_loss_reduction reduction, int64_t count) {
    return reduction == REF_LOSS_MEAN ? 1 / (double)count : 1;
}

static ref *new_loss(ref_loss_reduction reduction, const tuff_shape *positions) {
    ref *y = ref_new(reduction == REF_LOSS_NONE ? *positions : TUFF_SCALAR);
    if (reduction != REF_LOSS_NONE) y->terms = (double)ref_count(positions);
    return y;
}

ref *ref_regression(int power, const ref *a, const ref *b, ref_loss_reduction reduction) {
    ref *y = new_loss(reduction, &a->shape);
    for (int64_t i = 0; i < a->count; i++) {
        double d = a->v[i] - b->v[i];
        add(y, reduction == REF_LOSS_NONE ? i : 0, (power == 1 ? fabs(d) : d * d) * loss_share(reduction, a->count));
    }
    return y;
}

void ref_regression_grad(int power, const ref *a, const ref *b, ref_loss_reduction reduction, const ref *gy, ref *ga,
                         ref *gb) {
    for (int64_t i = 0; i < a->count; i++) {
        double d = a->v[i] - b->v[i], g = gy->v[reduction == REF_LOSS_NONE ? i : 0] * loss_share(reduction, a->count);
        g *= power == 1 ? (d > 0) - (d < 0) : 2 * d;
        if (ga) add(ga, i, g);
        if (gb) add(gb, i, -g);
    }
}

ref *ref_accuracy(const ref *logits, const ref *target) {
    ref *y = ref_new(TUFF_SCALAR);
    int64_t classes = logits->shape.sizes[1];
    for (int64_t i = 0; i < target->count; i++) {
        const double *row = logits->v + i * classes;
        int64_t best = 0;
        for (int64_t c = 1; c < classes; c++)
            if (row[c] > row[best]) best = c;
        add(y, 0, best == (int64_t)target->v[i] ? 1 / (double)target->count : 0);
    }
    return y;
}
