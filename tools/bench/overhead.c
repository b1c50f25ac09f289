/* tuff bench overhead: what a step costs the host, tuff_write and tuff_run of a program of 200 small operators.
 *
 * The device's time is not in it: a run only submits, as long as a recording is free. So steps are timed one by one, as
 * many as there are recordings, beginning with none in flight; then all are waited for. The first of them wakes
 * whatever works on the queue, which those behind it find at work already: two figures, medians of single steps, so
 * that those during which the host's thread did not run count little. A driver on the CPU works on the same cores
 * meanwhile. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { OPERATORS = 200, SIZE = 8, RECORDINGS = 16 };

/* A chain of products, which do not fuse. */
static bool build(subject *subject, tuff_tensor **input) {
    const tuff_shape shape = TUFF_SHAPE(SIZE, SIZE);
    tuff_tensor *x = *input = tuff_input(subject->graph, "x", TUFF_F32, shape),
                *w = subject_values(subject, "w", shape);
    for (int i = 0; i < OPERATORS; i++) x = tuff_matmul(x, w, NULL);
    const tuff_program_desc desc = {
        .name = "overhead", .outputs = &x, .output_count = 1, .evaluate = true, .recordings = RECORDINGS
    };
    return tuff_compile(subject->graph, &desc, &subject->program) == TUFF_OK || bench_failed("overhead");
}

/* One round of steps: one that finds the queue idle, the others behind it. */
static bool run_round(const subject *subject, const tuff_tensor *input, double *idle, double *busy) {
    static const float values[SIZE * SIZE];
    for (int i = 0; i < RECORDINGS; i++) {
        double start = bench_seconds();
        if (tuff_write(subject->program, input, values, sizeof values) != TUFF_OK
            || tuff_run(subject->program) != TUFF_OK)
            return bench_failed("overhead");
        *(i ? &busy[i - 1] : idle) = bench_seconds() - start;
    }
    return tuff_device_wait(subject->bench->device) == TUFF_OK || bench_failed("overhead");
}

static void report_step(const subject *subject, const char *queue, double seconds) {
    tuff_program_info info;
    char shape[64];
    tuff_program_get_info(subject->program, &info);
    snprintf(shape, sizeof shape, "%d operators, %u dispatches, %s", OPERATORS, info.dispatches, queue);
    report(subject->bench, &(measurement){ .bench = "overhead",
                                           .shape = shape,
                                           .seconds = seconds,
                                           .rate = seconds * 1e6,
                                           .unit = "us/step",
                                           .host_clock = true });
}

bool bench_overhead(const bench *bench) {
    int rounds = bench->options.runs;
    subject subject;
    tuff_tensor *input = NULL;
    double *idle = calloc((size_t)rounds * RECORDINGS, sizeof *idle), *busy = idle ? idle + rounds : NULL;
    bool good = subject_open(bench, &subject) && idle && build(&subject, &input);
    for (int i = -WARM_RUNS; good && i < rounds; i++) {
        int round = i < 0 ? 0 : i; /* a warm one's times are overwritten */
        good = run_round(&subject, input, idle + round, busy + (size_t)round * (RECORDINGS - 1));
    }
    if (good) {
        report_step(&subject, "idle queue", bench_median(idle, rounds));
        report_step(&subject, "busy queue", bench_median(busy, rounds * (RECORDINGS - 1)));
    }
    subject_close(&subject);
    free(idle);
    return good;
}
