/* tuff bench attention: scaled dot product attention, forward, and forward with backward. */
#include "bench.h"

#include <stdio.h>

typedef struct attention_size {
    int64_t batch, heads, length, features;
} attention_size;

enum { Q = 1, K = 2, V = 4 }; /* of subject_gradients */

/* A forward pass is two products, a backward pass five (the scores once more). With a causal mask half of them count.
 */
static double flops_of(const attention_size *size, bool backward, bool causal) {
    double product =
        2.0 * (double)(size->batch * size->heads) * (double)(size->length * size->length) * (double)size->features;
    return product * (backward ? 7 : 2) * (causal ? 0.5 : 1);
}

static bool attention(const bench *bench, const attention_size *size, bool backward, bool causal) {
    const tuff_shape shape = TUFF_SHAPE(size->batch, size->heads, size->length, size->features);
    subject subject;
    if (!subject_open(bench, &subject)) return false;
    tuff_tensor *q = subject_values(&subject, "q", shape), *k = subject_values(&subject, "k", shape);
    tuff_tensor *v = subject_values(&subject, "v", shape), *gradients[8] = { NULL };
    tuff_tensor *y = tuff_scaled_dot_product_attention(q, k, v, &(tuff_attention_desc){ .causal = causal });
    subject_result(&subject, y);
    bool good = true;
    if (backward) good = subject_gradients(y, subject_values(&subject, "gy", shape), Q | K | V, gradients);
    for (int i = 0; good && backward && i < 3; i++) subject_result(&subject, gradients[i]);
    /* q, k, v and y; then y again, its gradient and three more */
    work work = { .bench = backward ? "attention_training" : "attention",
                  .flops = flops_of(size, backward, causal),
                  .bytes = 4.0 * (double)tuff_shape_count(&shape) * (backward ? 12 : 4) };
    snprintf(work.shape, sizeof work.shape, "%lldx%lldx%lldx%lld%s", (long long)size->batch, (long long)size->heads,
             (long long)size->length, (long long)size->features, causal ? " causal" : "");
    if (good) return subject_measure(&subject, &work, NULL, 0);
    subject_close(&subject);
    return false;
}

bool bench_attention(const bench *bench) {
    static const attention_size sizes[] = { { 8, 6, 256, 64 }, { 1, 4, 768, 64 } };
    static const attention_size small = { 1, 2, 16, 8 };
    attention_size given;
    int64_t numbers[4];
    if (bench->options.shape && !shape_parse(bench->options.shape, numbers, 4)) return false;
    if (bench->options.shape) given = (attention_size){ numbers[0], numbers[1], numbers[2], numbers[3] };
    bool one = bench->options.shape || bench->options.small;
    for (size_t i = 0; i < (one ? 1 : sizeof sizes / sizeof *sizes); i++) {
        attention_size size = bench->options.shape ? given : one ? small : sizes[i];
        if (bench->options.batch) size.batch = bench->options.batch;
        for (int kind = 0; kind < 4; kind++)
            if (!attention(bench, &size, kind / 2, kind % 2 == 0)) return false;
    }
    return true;
}
