/* Measuring programs: medians of runs by the device's clock, in turn with what they are compared with. */
#include "bench.h"

#include "runtime/device/device.h"
#include "runtime/graph/operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool bench_failed(const char *what) {
    fprintf(stderr, "tuff bench: %s: %s\n", what, tuff_last_message());
    return false;
}

double bench_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

/* ---- a program ----------------------------------------------------------------------------------- */

bool subject_open(const bench *bench, subject *subject) {
    *subject = (struct subject){ .bench = bench, .model = tuff_model_create(bench->device, NULL) };
    subject->graph = subject->model ? tuff_graph_create(subject->model) : NULL;
    return subject->graph || bench_failed("a model");
}

void subject_close(subject *subject) {
    tuff_program_destroy(subject->program);
    tuff_graph_destroy(subject->graph);
    tuff_model_destroy(subject->model);
    *subject = (struct subject){ 0 };
}

tuff_tensor *subject_values(const subject *subject, const char *name, tuff_shape shape) {
    return tuff_parameter(subject->graph, name, shape, &(tuff_init_desc){ TUFF_INIT_UNIFORM, 1 });
}

void subject_result(subject *subject, tuff_tensor *tensor) {
    /* what is read is one element, a view: written to the host's memory, the whole would measure the bus to it */
    for (int32_t axis = 0; tensor && axis < (int32_t)tensor->shape.rank; axis++)
        if (tensor->shape.sizes[axis] > 1) tensor = tuff_slice(tensor, axis, 0, 1, 1);
    subject->results[subject->result_count++] = tensor;
}

bool subject_gradients(tuff_tensor *y, tuff_tensor *gy, uint32_t needs, tuff_tensor **gradients) {
    if (!y || !gy) return bench_failed("the graph");
    const node *node = y->producer;
    tuff_tensor *arriving[MAX_OUTPUTS] = { [0] = NULL };
    arriving[y->output] = gy;
    y->graph->in_backward = true;
    tuff_result result = node->op->gradient(node, arriving, needs, gradients);
    y->graph->in_backward = false;
    return result == TUFF_OK || bench_failed("gradients");
}

static bool has_clock(const bench *bench) {
    return device_get_limits(bench->device)->timestamp_period > 0;
}

bool subject_compile(subject *subject, const char *name) {
    tuff_program_desc desc = { .name = name,
                               .minimize = subject->minimize,
                               .optimizer = subject->optimizer,
                               .outputs = subject->results,
                               .output_count = subject->result_count,
                               .evaluate = !subject->training && !subject->minimize,
                               .recordings = 1 };
    if (has_clock(subject->bench)) desc.profile = subject->segment ? TUFF_PROFILE_DISPATCHES : TUFF_PROFILE_RUN;
    return tuff_compile(subject->graph, &desc, &subject->program) == TUFF_OK || bench_failed(name);
}

static tuff_result segment_seconds(const subject *subject, double *seconds) {
    enum { ENTRIES = 64 };
    tuff_profile_entry entries[ENTRIES];
    uint32_t count = 0;
    TRY(tuff_program_profile(subject->program, NULL, entries, ENTRIES, &count));
    *seconds = 0;
    for (uint32_t i = 0; i < count && i < ENTRIES; i++)
        if (strcmp(entries[i].segment, subject->segment) == 0) *seconds += entries[i].seconds;
    return TUFF_OK;
}

double subject_run(void *user) {
    const subject *subject = user;
    double start = bench_seconds(), seconds = 0;
    tuff_result result = tuff_run(subject->program);
    if (result == TUFF_OK) result = tuff_device_wait(subject->bench->device);
    double host = bench_seconds() - start;
    if (result == TUFF_OK && !has_clock(subject->bench)) return host;
    if (result == TUFF_OK && subject->segment)
        result = segment_seconds(subject, &seconds);
    else if (result == TUFF_OK)
        result = tuff_program_profile(subject->program, &seconds, NULL, 0, NULL);
    if (result == TUFF_OK) return seconds;
    bench_failed("running");
    return -1;
}

/* ---- in turn ------------------------------------------------------------------------------------- */

/* The second of two runs, so that each has the caches and the cores as its own run leaves them, not another's; long
 * ones make them so by themselves. */
static double settled_run(double (*run)(void *user), void *user) {
    const double is_long = 0.2;
    double seconds = run(user);
    return seconds >= 0 && seconds < is_long ? run(user) : seconds;
}

static void rest(double seconds) {
    const struct timespec pause = { .tv_sec = (time_t)seconds,
                                    .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9) };
    if (seconds > 0) nanosleep(&pause, NULL);
}

/* medians[0] is the subject's, behind it the rivals'. */
static bool run_in_turn(subject *subject, const rival *rivals, int rival_count, double medians[1 + MAX_RIVALS]) {
    int runs = subject->bench->options.runs;
    double *times = calloc((size_t)runs * (1 + MAX_RIVALS), sizeof *times);
    bool good = times != NULL;
    for (int i = -WARM_RUNS; good && i < runs; i++)
        for (int who = 0; good && who <= rival_count; who++) {
            const rival *rival = who ? &rivals[who - 1] : NULL;
            double seconds = rival ? settled_run(rival->run, rival->user) : settled_run(subject_run, subject);
            if (rival) rest(rival->rest);
            good = seconds >= 0;
            if (i >= 0) times[who * runs + i] = seconds;
        }
    for (int who = 0; good && who <= rival_count; who++) medians[who] = bench_median(times + who * runs, runs);
    free(times);
    return good;
}

bool subject_measure(subject *subject, const work *work, const rival *rivals, int rival_count) {
    const bench *bench = subject->bench;
    double amount = work->memory_bound ? work->bytes : work->flops, medians[1 + MAX_RIVALS];
    rival copy;
    if (work->memory_bound) {
        copy = peaks_copy(bench);
        rivals = &copy;
        rival_count = 1;
    }
    bool good = subject_compile(subject, work->bench) && run_in_turn(subject, rivals, rival_count, medians);
    if (good) {
        double seconds = medians[0];
        measurement m = { .bench = work->bench,
                          .shape = work->shape,
                          .seconds = seconds,
                          .rate = amount / seconds * 1e-9,
                          .unit = work->memory_bound ? "GB/s" : "GFLOP/s",
                          .host_clock = !has_clock(bench) };
        for (int i = 0; i < rival_count; i++)
            measurement_compare(&m, amount / seconds / (rivals[i].amount / medians[1 + i]), rivals[i].name);
        measurement_compare_peaks(bench, &m, work->flops / seconds, work->bytes / seconds);
        report(bench, &m);
    }
    subject_close(subject);
    return good;
}
