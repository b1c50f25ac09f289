/* tuff bench: what its parts share. */
#ifndef TUFF_TOOLS_BENCH_H
#define TUFF_TOOLS_BENCH_H

#include <tuff/layers.h>

typedef struct bench_options {
    bool json;
    int runs; /* measured ones, of which the median counts */
    int64_t batch;
    int64_t shape[3]; /* matmul's m, n, k; all 0: the standard list */
} bench_options;

typedef struct bench {
    bench_options options;
    tuff_device *device;
} bench;

double bench_seconds(void);
double bench_median(double *values, int count);

/* One line: a row of the table or an object of JSON. ratio 0: none. */
void bench_report(const bench *bench, const char *name, const char *shape, double rate, const char *unit, double ratio,
                  const char *ratio_to);

/* Seconds of one run of the program, medians over the options' runs; with sgemm_mnk OpenBLAS's product of these sizes
 * is run in turn, *blas its seconds (0: not installed). */
bool bench_program(const bench *bench, tuff_program *program, const int64_t sgemm_mnk[3], double *seconds,
                   double *blas);

bool bench_train(const bench *bench);

#endif
