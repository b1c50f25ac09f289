/* The device's peaks: multiply-adds by a shader that does nothing else (peak.comp), and its own copy of a large buffer
 * by a transfer command, bytes read and written. */
#include "bench.h"

#include "runtime/device/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peak_spirv.h"

/* ---- commands that are timed --------------------------------------------------------------------- */

/* Submits and waits; seconds by the stamps 0 and 1 in the commands, or by the host's clock without. */
static tuff_result timed_submit(tuff_device *device, commands *list, timestamps *stamps, double *seconds) {
    queue_point done;
    double start = bench_seconds(), times[2];
    TRY(queue_submit(device, QUEUE_COMPUTE, &list, 1, NULL, 0, &done));
    TRY(queue_wait(device, done));
    *seconds = bench_seconds() - start;
    if (!stamps) return TUFF_OK;
    TRY(timestamps_read(stamps, times));
    *seconds = (times[1] - times[0]) * 1e-9;
    return TUFF_OK;
}

static tuff_result timed_begin(tuff_device *device, const char *name, commands **list, timestamps **stamps) {
    TRY(commands_create(device, name, list));
    if (device_get_limits(device)->timestamp_period > 0) TRY(timestamps_create(device, 2, stamps));
    TRY(commands_begin(*list));
    /* what the submission before wrote is written again */
    commands_barrier(*list, USE_COPY_WRITE | USE_KERNEL_WRITE, USE_COPY_WRITE | USE_KERNEL_WRITE);
    if (*stamps) commands_timestamp(*list, *stamps, 0);
    return TUFF_OK;
}

static tuff_result timed_end(commands *list, timestamps *stamps) {
    if (stamps) commands_timestamp(list, stamps, 1);
    return commands_end(list);
}

/* ---- the copy ------------------------------------------------------------------------------------ */

struct device_copy {
    tuff_device *device;
    uint64_t size;
    buffer *from, *to;
    commands *list;
    timestamps *stamps;
};

static tuff_result copy_open(device_copy *copy) {
    tuff_device *device = copy->device;
    TRY(buffer_create(device, BUFFER_DEVICE, copy->size, "copied from", &copy->from));
    TRY(buffer_create(device, BUFFER_DEVICE, copy->size, "copied to", &copy->to));
    const buffer_range from = { copy->from, 0, copy->size }, to = { copy->to, 0, copy->size };
    /* memory that nobody wrote may not be there yet */
    TRY(device_fill(device, from, 1));
    TRY(device_fill(device, to, 2));
    TRY(timed_begin(device, "copy", &copy->list, &copy->stamps));
    commands_copy(copy->list, from, to);
    return timed_end(copy->list, copy->stamps);
}

static double copy_run(void *user) {
    const device_copy *copy = user;
    double seconds;
    if (timed_submit(copy->device, copy->list, copy->stamps, &seconds) == TUFF_OK) return seconds;
    bench_failed("the device's copy");
    return -1;
}

rival peaks_copy(const bench *bench) {
    return (
        rival){ .name = "device copy", .amount = 2 * (double)bench->copy->size, .run = copy_run, .user = bench->copy };
}

void peaks_close(bench *bench) {
    device_copy *copy = bench->copy;
    if (!copy) return;
    timestamps_destroy(copy->stamps);
    commands_destroy(copy->list);
    buffer_destroy(copy->to);
    buffer_destroy(copy->from);
    free(copy);
    bench->copy = NULL;
}

/* ---- multiply-adds ------------------------------------------------------------------------------- */

enum { LOCAL = 64, TURNS = 4096, FLOPS_A_TURN = 2 * 4 * 12 }; /* as in peak.comp */
#define LONG_ENOUGH 0.02                                      /* seconds: starting and ending a dispatch vanish in it */

typedef struct peak {
    tuff_device *device;
    uint32_t kernel;
    buffer *out;
    dispatch_set *set;
    commands *list;
    timestamps *stamps;
} peak;

static void peak_close(peak *p) {
    timestamps_destroy(p->stamps);
    commands_destroy(p->list);
    dispatch_set_destroy(p->set);
    buffer_destroy(p->out);
    *p = (peak){ .device = p->device, .kernel = p->kernel };
}

static tuff_result peak_open(peak *p, uint32_t groups) {
    const float factors[2] = { 0.999f, 0.001f };
    uint64_t size = (uint64_t)groups * LOCAL * sizeof(float);
    TRY(buffer_create(p->device, BUFFER_DEVICE, size, "multiply-adds", &p->out));
    dispatch d = { .kernel = p->kernel,
                   .bindings = { { p->out, 0, size } },
                   .binding_count = 1,
                   .params = { TURNS },
                   .param_count = 3,
                   .groups = { groups, 1, 1 },
                   .label = "multiply-adds" };
    memcpy(&d.params[1], factors, sizeof factors);
    TRY(dispatch_set_create(p->device, &d, 1, "multiply-adds", &p->set));
    TRY(timed_begin(p->device, "multiply-adds", &p->list, &p->stamps));
    commands_dispatch(p->list, p->set, 0);
    return timed_end(p->list, p->stamps);
}

/* The best of some runs: other work can only take from a peak. */
static tuff_result peak_run(const peak *p, int runs, double *best) {
    for (int i = -1; i < runs; i++) {
        double seconds;
        TRY(timed_submit(p->device, p->list, p->stamps, &seconds));
        if (i <= 0 || seconds < *best) *best = seconds;
    }
    return TUFF_OK;
}

/* Doubles the workgroups until a dispatch is long enough. */
static tuff_result peak_measure(peak *p, bool small, double *flops, double *seconds) {
    TRY(device_add_kernel(p->device, "peak", peak_spirv, sizeof peak_spirv, 0, 1, &p->kernel));
    for (uint32_t groups = small ? 1 : 16; *seconds < LONG_ENOUGH && groups <= MAX_GROUPS; groups *= 2) {
        peak_close(p);
        TRY(peak_open(p, groups));
        TRY(peak_run(p, 1, seconds));
        *flops = (double)groups * LOCAL * TURNS * FLOPS_A_TURN;
        if (small) break;
    }
    TRY(peak_run(p, small ? 1 : 5, seconds));
    *flops /= *seconds;
    return TUFF_OK;
}

/* ---- both ---------------------------------------------------------------------------------------- */

static void report_peak(const bench *bench, const char *shape, double seconds, double rate, const char *unit) {
    report(bench, &(measurement){ .bench = "peak",
                                  .shape = shape,
                                  .seconds = seconds,
                                  .rate = rate * 1e-9,
                                  .unit = unit,
                                  .host_clock = device_get_limits(bench->device)->timestamp_period == 0 });
}

static bool measure_multiply_adds(bench *bench) {
    peak p = { .device = bench->device };
    double seconds = 0;
    tuff_result result = peak_measure(&p, bench->options.small, &bench->peak_flops, &seconds);
    peak_close(&p);
    if (result != TUFF_OK) return bench_failed("the rate of multiply-adds");
    report_peak(bench, "multiply-adds", seconds, bench->peak_flops, "GFLOP/s");
    return true;
}

static bool measure_copy(bench *bench) {
    enum { COPIES = 5 };
    bench->copy = calloc(1, sizeof *bench->copy);
    if (!bench->copy) return false;
    *bench->copy = (device_copy){ .device = bench->device, .size = (uint64_t)bench->options.mib << 20 };
    if (copy_open(bench->copy) != TUFF_OK) return bench_failed("the device's copy");
    double best = 0;
    for (int i = 0; i < COPIES; i++) {
        double seconds = copy_run(bench->copy);
        if (seconds < 0) return false;
        if (i == 0 || seconds < best) best = seconds;
    }
    bench->peak_bytes = peaks_copy(bench).amount / best;
    char shape[64];
    snprintf(shape, sizeof shape, "copy of %lld MiB", (long long)bench->options.mib);
    report_peak(bench, shape, best, bench->peak_bytes, "GB/s");
    return true;
}

bool peaks_measure(bench *bench) {
    return measure_multiply_adds(bench) && measure_copy(bench);
}
