/* tuff bench train: training steps of whole networks; with --profile where their time goes. tools/peers/train.py trains
 * the same with PyTorch. */
#include "networks.h"

#include "runtime/device/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- steps --------------------------------------------------------------------------------------- */

typedef struct step_times {
    double host, device; /* seconds of a step; device 0: it has no clock */
} step_times;

/* Steps that follow one another as in training, the next one's data written while this one runs. */
static bool run_steps(network *net, int steps, step_times *times) {
    double start = bench_seconds();
    float loss;
    for (int i = 0; i < steps; i++)
        if (!network_step(net)) return false;
    if (tuff_read(net->program, net->loss, &loss, sizeof loss) != TUFF_OK) return bench_failed(net->shape);
    times->host = (bench_seconds() - start) / steps;
    times->device = 0;
    if (device_get_limits(net->bench->device)->timestamp_period == 0) return true;
    return tuff_program_profile(net->program, &times->device, NULL, 0, NULL) == TUFF_OK || bench_failed(net->shape);
}

/* So many steps that starting and ending them does not show, but no more of slow ones than are needed to overlap. */
static int steps_together(double seconds) {
    int steps = (int)(0.25 / seconds);
    return steps < 2 ? 2 : steps > 20 ? 20 : steps;
}

static bool median_step(network *net, step_times *median) {
    int runs = net->bench->options.runs;
    double *host = calloc((size_t)runs * 2, sizeof *host), *device = host ? host + runs : NULL;
    step_times times = { 0 };
    bool good = host != NULL;
    for (int i = 0; good && i < WARM_RUNS; i++) good = run_steps(net, 1, &times);
    int steps = good ? steps_together(times.host) : 0;
    for (int i = 0; good && i < runs; i++) {
        good = run_steps(net, steps, &times);
        host[i] = times.host, device[i] = times.device;
    }
    if (good) *median = (step_times){ bench_median(host, runs), bench_median(device, runs) };
    free(host);
    return good;
}

static void report_steps(const network *net, const step_times *times) {
    double seconds = times->device > 0 ? times->device : times->host;
    measurement m = { .bench = "train",
                      .shape = net->shape,
                      .seconds = seconds,
                      .rate = net->items / seconds,
                      .unit = net->unit,
                      .host_clock = times->device == 0 };
    /* the backward pass is two products for each one of the forward pass */
    measurement_compare_peaks(net->bench, &m, 3 * net->products / seconds, 0);
    report(net->bench, &m);
    m = (measurement){ .bench = "train_host",
                       .shape = net->shape,
                       .seconds = times->host,
                       .rate = net->items / times->host,
                       .unit = net->unit,
                       .host_clock = true };
    measurement_compare(&m, times->device / times->host, "device time");
    measurement_compare_peaks(net->bench, &m, 3 * net->products / times->host, 0);
    report(net->bench, &m);
}

/* ---- where the time goes ------------------------------------------------------------------------- */

/* All dispatches of one label and kernel. */
typedef struct share {
    const tuff_profile_entry *first;
    int count;
    double seconds, bytes;
} share;

static int by_seconds(const void *a, const void *b) {
    const share *x = a, *y = b;
    return x->seconds < y->seconds ? 1 : x->seconds > y->seconds ? -1 : 0;
}

static uint32_t add_up(const tuff_profile_entry *entries, uint32_t count, share *shares) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        const tuff_profile_entry *e = &entries[i];
        uint32_t s = 0;
        while (s < used && (strcmp(shares[s].first->label, e->label) || strcmp(shares[s].first->kernel, e->kernel)))
            s++;
        if (s == used) shares[used++] = (share){ .first = e };
        shares[s].count++;
        shares[s].seconds += e->seconds;
        shares[s].bytes += (double)(e->bytes_read + e->bytes_written);
    }
    qsort(shares, used, sizeof *shares, by_seconds);
    return used;
}

static void report_share(const network *net, const share *share, double whole) {
    const tuff_profile_entry *e = share->first;
    double rate = share->seconds > 0 ? share->bytes / share->seconds * 1e-9 : 0;
    if (!net->bench->options.json) {
        printf("  %5.1f %% %8.3f ms %7.2f GB/s %4d x %-8s %-26s %s\n", 100 * share->seconds / whole,
               share->seconds * 1e3, rate, share->count, e->segment, e->kernel, e->label);
        return;
    }
    measurement m = {
        .bench = "profile", .shape = net->shape, .seconds = share->seconds, .rate = rate, .unit = "GB/s", .dispatch = e
    };
    measurement_compare(&m, share->seconds / whole, "step");
    report(net->bench, &m);
}

/* Of one step, every dispatch by itself. */
static bool profile(network *net) {
    enum { ROOM = 1 << 14 };
    tuff_profile_entry *entries = calloc(ROOM, sizeof *entries);
    share *shares = calloc(ROOM, sizeof *shares);
    double whole = 0;
    uint32_t count = 0;
    bool good = entries && shares && network_compile(net, TUFF_PROFILE_DISPATCHES);
    for (int i = 0; good && i <= WARM_RUNS; i++)
        good = network_step(net) && tuff_device_wait(net->bench->device) == TUFF_OK;
    good = good && tuff_program_profile(net->program, &whole, entries, ROOM, &count) == TUFF_OK;
    if (good) {
        count = add_up(entries, count < ROOM ? count : ROOM, shares);
        if (!net->bench->options.json)
            printf("where the %.3f ms of %s go, one dispatch after the other:\n", whole * 1e3, net->shape);
        for (uint32_t i = 0; i < count; i++) report_share(net, &shares[i], whole);
    }
    free(entries);
    free(shares);
    return good || bench_failed("the profile");
}

/* ---- a network ----------------------------------------------------------------------------------- */

static bool train(const bench *bench, const network_kind *kind) {
    bool clock = device_get_limits(bench->device)->timestamp_period > 0;
    network net;
    step_times times;
    bool good = network_open(bench, kind, &net) && network_compile(&net, clock ? TUFF_PROFILE_RUN : TUFF_PROFILE_NONE)
                && median_step(&net, &times);
    if (good) report_steps(&net, &times);
    if (good && bench->options.profile) good = profile(&net);
    network_close(&net);
    return good;
}

bool bench_train(const bench *bench) {
    return networks_each(bench, train);
}
