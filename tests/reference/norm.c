/* Batch normalisation: y = (x - mean) / sqrt(variance + epsilon) weight + bias, for each channel (axis 1). */
#include "reference.h"

#include <math.h>

/* A channel's statistics; `mean_abs` is the sum of the absolute terms of the mean. */
typedef struct statistics {
    double mean, mean_abs, variance, n;
} statistics;

static int64_t channels_of(const ref *x) {
    return x->shape.sizes[1];
}

static int64_t inner_of(const ref *x) {
    return x->count / (x->shape.sizes[0] * x->shape.sizes[1]);
}

/* Element j of channel c. */
static int64_t at_channel(const ref *x, int64_t c, int64_t j) {
    int64_t inner = inner_of(x);
    return (j / inner * channels_of(x) + c) * inner + j % inner;
}

static statistics statistics_of(const ref *x, int64_t c) {
    int64_t n = x->count / channels_of(x);
    statistics s = { .n = (double)n };
    for (int64_t j = 0; j < n; j++) {
        double v = x->v[at_channel(x, c, j)];
        s.mean += v / s.n;
        s.mean_abs += fabs(v) / s.n;
    }
    for (int64_t j = 0; j < n; j++) {
        double d = x->v[at_channel(x, c, j)] - s.mean;
        s.variance += d * d / s.n;
    }
    return s;
}

static statistics given(const ref *x, const ref *mean, const ref *variance, int64_t c) {
    if (!mean) return statistics_of(x, c);
    return (statistics){ mean->v[c], fabs(mean->v[c]), variance->v[c], (double)(x->count / channels_of(x)) };
}

ref *ref_batch_norm(const ref *x, const ref *weight, const ref *bias, const ref *mean, const ref *variance,
                    double epsilon) {
    ref *y = ref_new(x->shape);
    for (int64_t c = 0; c < channels_of(x); c++) {
        statistics s = given(x, mean, variance, c);
        double r = 1 / sqrt(s.variance + epsilon), w = weight ? weight->v[c] : 1, b = bias ? bias->v[c] : 0;
        for (int64_t j = 0; j < (int64_t)s.n; j++) {
            int64_t i = at_channel(x, c, j);
            y->v[i] = (x->v[i] - s.mean) * r * w + b;
            y->abs[i] = (fabs(x->v[i]) + s.mean_abs) * r * fabs(w) + fabs(b);
        }
        y->terms = mean ? 1 : s.n;
    }
    return y;
}

/* Training: gx = weight r (gy - mean(gy) - x^ mean(gy x^)); evaluation: gx = weight r gy. */
void ref_batch_norm_grad(const ref *x, const ref *weight, const ref *mean, const ref *variance, double epsilon,
                         const ref *gy, ref *gx, ref *gweight, ref *gbias) {
    for (int64_t c = 0; c < channels_of(x); c++) {
        statistics s = given(x, mean, variance, c);
        double r = 1 / sqrt(s.variance + epsilon), w = weight ? weight->v[c] : 1;
        double sum = 0, sum_abs = 0, dot = 0, dot_abs = 0;
        for (int64_t j = 0; j < (int64_t)s.n; j++) {
            int64_t i = at_channel(x, c, j);
            sum += gy->v[i];
            sum_abs += fabs(gy->v[i]);
            dot += gy->v[i] * (x->v[i] - s.mean) * r;
            dot_abs += fabs(gy->v[i]) * (fabs(x->v[i]) + s.mean_abs) * r;
        }
        for (int64_t j = 0; gx && j < (int64_t)s.n; j++) {
            int64_t i = at_channel(x, c, j);
            double centred = (x->v[i] - s.mean) * r, centred_abs = (fabs(x->v[i]) + s.mean_abs) * r;
            gx->v[i] += w * r * (mean ? gy->v[i] : gy->v[i] - sum / s.n - centred * dot / s.n);
            gx->abs[i] +=
                fabs(w) * r
                * (mean ? fabs(gy->v[i])
                        : fabs(gy->v[i]) + (sum_abs + centred_abs * fabs(dot) + fabs(centred) * dot_abs) / s.n);
        }
        if (gweight) gweight->v[c] += dot, gweight->abs[c] += dot_abs, gweight->terms = s.n;
        if (gbias) gbias->v[c] += sum, gbias->abs[c] += sum_abs, gbias->terms = s.n;
        if (gx && !mean) gx->terms = fmax(gx->terms, s.n);
    }
}

void ref_batch_norm_running(const ref *x, double momentum, ref *mean, ref *variance) {
    for (int64_t c = 0; c < channels_of(x); c++) {
        statistics s = statistics_of(x, c);
        double unbiased = s.variance * s.n / (s.n - 1);
        mean->abs[c] = (1 - momentum) * fabs(mean->v[c]) + momentum * s.mean_abs;
        mean->v[c] = (1 - momentum) * mean->v[c] + momentum * s.mean;
        variance->v[c] = (1 - momentum) * variance->v[c] + momentum * unbiased;
        variance->abs[c] = fabs(variance->v[c]);
        mean->terms = variance->terms = s.n;
    }
}
