/* OpenBLAS, where it is installed: its product runs in turn with ours, on as many threads as it chooses. */
#include "bench.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void (*sgemm_fn)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                         const float *b, int ldb, float beta, float *c, int ldc);

struct blas {
    sgemm_fn sgemm;
    int m, n, k;
    float *a, *b, *c;
};

/* Stays loaded: its threads would outlive it. They look for work for 2^26 ticks after each product, 20 ms in which a
 * driver for the CPU has one core less; 2^4 is the least that OpenBLAS takes. It reads that as it is loaded. */
static sgemm_fn find_sgemm(void) {
    static const char *const names[] = { "libopenblas.so.0", "libopenblas.so" };
    setenv("OPENBLAS_THREAD_TIMEOUT", "4", 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        void *symbol = library ? dlsym(library, "cblas_sgemm") : NULL;
        sgemm_fn sgemm;
        memcpy(&sgemm, &symbol, sizeof sgemm); /* C has no cast from an object's pointer to a function's */
        if (sgemm) return sgemm;
    }
    return NULL;
}

static float *values(int64_t count, int period) {
    float *out = malloc((size_t)count * sizeof *out);
    for (int64_t i = 0; out && i < count; i++) out[i] = (float)(i % period) * 0.1f - 0.05f * (float)period;
    return out;
}

blas *blas_open(int64_t m, int64_t n, int64_t k) {
    sgemm_fn sgemm = find_sgemm();
    blas *blas = sgemm ? calloc(1, sizeof *blas) : NULL;
    if (!blas) return NULL;
    *blas = (struct blas){ sgemm, (int)m, (int)n, (int)k, values(m * k, 13), values(k * n, 11), values(m * n, 1) };
    if (blas->a && blas->b && blas->c) return blas;
    blas_close(blas);
    return NULL;
}

void blas_close(blas *blas) {
    if (!blas) return;
    free(blas->a);
    free(blas->b);
    free(blas->c);
    free(blas);
}

double blas_run(void *user) {
    enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111 };
    const blas *blas = user;
    double start = bench_seconds();
    blas->sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, blas->m, blas->n, blas->k, 1, blas->a, blas->k, blas->b, blas->n,
                0, blas->c, blas->n);
    return bench_seconds() - start;
}
