/* tuff bench: what its files share. Each measures one subject; a figure is always a time, a rate, and ratios to what
 * was measured in the same run. */
#ifndef TUFF_TOOLS_BENCH_H
#define TUFF_TOOLS_BENCH_H

#include <tuff/layers.h>

typedef struct bench_options {
    bool json, small, profile;
    int runs;            /* measured ones, of which the median counts */
    const char *device;  /* as in tuff_device_desc.select; NULL: the environment's */
    const char *network; /* of train and start; NULL: all */
    const char *shape;   /* "64x32x16": in place of the standard list; NULL */
    int64_t batch;       /* 0: the standard ones */
    int64_t mib;         /* of the tensors that memory-bound work goes through, and of the copy beside it */
} bench_options;

typedef struct device_copy device_copy;

typedef struct bench {
    bench_options options;
    tuff_device *device;
    double peak_flops, peak_bytes; /* a second, measured at start-up */
    device_copy *copy;
} bench;

/* Says what failed, and why, on stderr; false. */
bool bench_failed(const char *what);

/* ---- measuring (measure.c) ----------------------------------------------------------------------- */

double bench_seconds(void);
double bench_median(double *values, int count);
/* How often something runs before its runs count: the first one compiles, the second one warms caches. */
enum { WARM_RUNS = 2 };

/* One program: the tensors that it computes, on a model of its own. */
typedef struct subject {
    const bench *bench;
    tuff_model *model;
    tuff_graph *graph;
    tuff_tensor *results[8]; /* an element of each one */
    uint32_t result_count;
    bool training;       /* as in a program that trains: batch norm takes the batch's statistics */
    const char *segment; /* only this segment's dispatches count; NULL: the whole run */
    tuff_tensor *minimize;
    tuff_optimizer *optimizer;
    tuff_program *program;
} subject;

bool subject_open(const bench *bench, subject *subject);
void subject_close(subject *subject);
/* Random values in [-1, 1) that lie on the device. */
tuff_tensor *subject_values(const subject *subject, const char *name, tuff_shape shape);
/* A run computes the whole tensor, in the device's own memory. */
void subject_result(subject *subject, tuff_tensor *tensor);
/* The gradients of y's inputs where gy arrives at y, those of them whose bits are in needs: as in the backward pass of
 * a network, with no kernels but those of y's operator. */
bool subject_gradients(tuff_tensor *y, tuff_tensor *gy, uint32_t needs, tuff_tensor **gradients);
bool subject_compile(subject *subject, const char *name);
/* Seconds of one run of a compiled subject, by the device's clock where it has one; below 0 after a failure. */
double subject_run(void *subject);

/* Something that does a known amount of the same work and runs in turn with what is measured: on a shared machine the
 * speed drifts, so only neighbours can be compared. */
typedef struct rival {
    const char *name;
    double amount;             /* of work in one run: floating-point operations, or bytes */
    double (*run)(void *user); /* seconds of one run; below 0 after a failure */
    void *user;
    double rest; /* seconds to wait behind it, until its threads are asleep */
} rival;
enum { MAX_RIVALS = 2 };

/* What one run does. */
typedef struct work {
    const char *bench;
    char shape[96];
    double flops;      /* a multiply-add is two; 0: not counted */
    double bytes;      /* that must be read and written at least; 0: not counted */
    bool memory_bound; /* the rate is bytes a second, and the device's copy runs in turn */
} work;

/* Compiles, runs in turn with the rivals, reports and closes the subject. */
bool subject_measure(subject *subject, const work *work, const rival *rivals, int rival_count);

/* ---- reporting (report.c) ------------------------------------------------------------------------ */

typedef struct measurement {
    const char *bench, *shape, *unit;
    double seconds, rate;
    bool host_clock;
    const tuff_profile_entry *dispatch; /* of a profile: kernel, label and segment are told as well; or NULL */
    int ratio_count;
    struct {
        double ratio;
        const char *to;
    } ratios[MAX_RIVALS + 3];
} measurement;

void measurement_compare(measurement *measurement, double ratio, const char *to);
/* Ratios of flops and bytes a second to the device's peaks; 0: not counted. */
void measurement_compare_peaks(const bench *bench, measurement *measurement, double flops, double bytes);
void report(const bench *bench, const measurement *measurement);

/* ---- what measurements are compared with --------------------------------------------------------- */

/* The device's multiply-adds and copy (peaks.c), measured once. */
bool peaks_measure(bench *bench);
void peaks_close(bench *bench);
/* The copy, to run in turn with something. */
rival peaks_copy(const bench *bench);

/* OpenBLAS's product (blas.c), where it is installed. */
typedef struct blas blas;
blas *blas_open(int64_t m, int64_t n, int64_t k); /* NULL: not installed, or no memory */
void blas_close(blas *blas);                      /* NULL is allowed */
double blas_run(void *blas);

/* ---- the subjects -------------------------------------------------------------------------------- */

/* "64x32x16" into sizes; false unless it is just so many numbers, each 1 or more (the last ones of conv2d may be 0). */
bool shape_parse(const char *text, int64_t *sizes, int count);

bool bench_matmul(const bench *bench);
bool bench_conv2d(const bench *bench);
bool bench_attention(const bench *bench);
bool bench_pointwise(const bench *bench);
bool bench_reduce(const bench *bench);
bool bench_norm(const bench *bench);
bool bench_optimizer(const bench *bench);
bool bench_train(const bench *bench);
bool bench_start(const bench *bench);
bool bench_first_step(const bench *bench);
bool bench_plans(const bench *bench);
bool bench_overhead(const bench *bench);

#endif
