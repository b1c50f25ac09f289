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

/* Networks that run in turn: the one that is measured, and beside it the one that it is compared with, if any. */
enum { MOST_NETWORKS = 2 };

static bool median_steps(network *nets, int count, step_times *medians) {
    int runs = nets->bench->options.runs, steps[MOST_NETWORKS] = { 0 };
    double *host = calloc((size_t)runs * 2 * MOST_NETWORKS, sizeof *host);
    step_times times = { 0 };
    bool good = host != NULL;
    for (int n = 0; n < count; n++) {
        for (int i = 0; good && i < WARM_RUNS; i++) good = run_steps(&nets[n], 1, &times);
        if (good) steps[n] = steps_together(times.host);
    }
    for (int i = 0; good && i < runs; i++)
        for (int n = 0; good && n < count; n++) {
            good = run_steps(&nets[n], steps[n], &times);
            host[2 * n * runs + i] = times.host, host[(2 * n + 1) * runs + i] = times.device;
        }
    for (int n = 0; good && n < count; n++)
        medians[n] =
            (step_times){ bench_median(host + 2 * n * runs, runs), bench_median(host + (2 * n + 1) * runs, runs) };
    free(host);
    return good;
}

/* Planned bytes, beside the seconds that they cost. */
static double planned_bytes(const network *net) {
    tuff_program_info info;
    tuff_program_get_info(net->program, &info);
    return (double)info.arena_bytes;
}

static double step_seconds(const step_times *times) {
    return times->device > 0 ? times->device : times->host;
}

static void report_memory(const network *nets, int count, const char *beside, const step_times *times) {
    measurement m = { .bench = "train_memory",
                      .shape = nets->shape,
                      .seconds = step_seconds(times),
                      .rate = planned_bytes(nets) / (1 << 20),
                      .unit = "MiB",
                      .host_clock = times->device == 0 };
    if (count > 1) measurement_compare(&m, planned_bytes(&nets[0]) / planned_bytes(&nets[1]), beside);
    report(nets->bench, &m);
}

static void report_steps(const network *net, const step_times *times, const char *beside, const step_times *others) {
    double seconds = step_seconds(times);
    measurement m = { .bench = "train",
                      .shape = net->shape,
                      .seconds = seconds,
                      .rate = net->items / seconds,
                      .unit = net->unit,
                      .host_clock = times->device == 0 };
    if (beside) measurement_compare(&m, seconds / step_seconds(others), beside);
    /* the backward pass is two products for each one of the forward pass */
    measurement_compare_peaks(net->bench, &m, 3 * net->products / seconds, network_bytes(net) / seconds);
    report(net->bench, &m);
    m = (measurement){ .bench = "train_host",
                       .shape = net->shape,
                       .seconds = times->host,
                       .rate = net->items / times->host,
                       .unit = net->unit,
                       .host_clock = true };
    measurement_compare(&m, times->device / times->host, "device time");
    measurement_compare_peaks(net->bench, &m, 3 * net->products / times->host, network_bytes(net) / times->host);
    report(net->bench, &m);
}

/* ---- where the time goes ------------------------------------------------------------------------- */

/* All dispatches of one kernel, or of one kernel and label. */
typedef struct share {
    const tuff_profile_entry *first;
    int count;
    double seconds, bytes;
} share;

typedef struct step_profile {
    tuff_profile_entry *entries;
    share *shares;
    uint32_t count;
    double seconds;
} step_profile;

static int by_seconds(const void *a, const void *b) {
    const share *x = a, *y = b;
    return x->seconds < y->seconds ? 1 : x->seconds > y->seconds ? -1 : 0;
}

static bool together(const tuff_profile_entry *a, const tuff_profile_entry *b, bool by_label) {
    return strcmp(a->kernel, b->kernel) == 0 && (!by_label || strcmp(a->label, b->label) == 0);
}

/* Fills in the shares, largest first; how many there are. */
static uint32_t add_up(step_profile *p, bool by_label) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const tuff_profile_entry *e = &p->entries[i];
        uint32_t s = 0;
        while (s < used && !together(p->shares[s].first, e, by_label)) s++;
        if (s == used) p->shares[used++] = (share){ .first = e };
        p->shares[s].count++;
        p->shares[s].seconds += e->seconds;
        p->shares[s].bytes += (double)(e->bytes_read + e->bytes_written);
    }
    qsort(p->shares, used, sizeof *p->shares, by_seconds);
    return used;
}

static double gigabytes(const share *share) {
    return share->seconds > 0 ? share->bytes / share->seconds * 1e-9 : 0;
}

static void print_shares(step_profile *p, bool by_label) {
    const double least = 0.005; /* of the step; what is less adds up to little */
    uint32_t count = add_up(p, by_label), shown = 0;
    printf("  by %s:\n", by_label ? "kernel and label" : "kernel");
    for (; shown < count && p->shares[shown].seconds >= least * p->seconds; shown++) {
        const share *s = &p->shares[shown];
        printf("  %5.1f %% %9.3f ms %8.2f GB/s %4d x %s", 100 * s->seconds / p->seconds, s->seconds * 1e3, gigabytes(s),
               s->count, s->first->kernel);
        if (by_label) printf("  %s", s->first->label);
        putchar('\n');
    }
    if (shown < count) printf("  %u others below %.1f %% each\n", count - shown, 100 * least);
}

/* Seconds of the largest part of a dispatch, workgroups being taken for alike. */
static double longest_command(const tuff_profile_entry *e) {
    return e->seconds * (double)e->part_groups / ((double)e->groups[0] * e->groups[1] * e->groups[2]);
}

/* The command that holds the device longest. */
static void report_longest(const network *net, const step_profile *p) {
    const tuff_profile_entry *longest = &p->entries[0];
    for (uint32_t i = 1; i < p->count; i++)
        if (longest_command(&p->entries[i]) > longest_command(longest)) longest = &p->entries[i];
    if (net->bench->options.json) {
        measurement m = { .bench = "longest",
                          .shape = net->shape,
                          .seconds = longest_command(longest),
                          .rate = longest->parts,
                          .unit = "parts",
                          .dispatch = longest };
        measurement_compare(&m, m.seconds / p->seconds, "step");
        report(net->bench, &m);
        return;
    }
    printf("  longest: %.3f ms, %s  %s", longest_command(longest) * 1e3, longest->kernel, longest->label);
    if (longest->parts > 1) printf(", the largest of %u parts", longest->parts);
    putchar('\n');
}

static void report_shares(const network *net, step_profile *p) {
    uint32_t count = add_up(p, true);
    for (uint32_t i = 0; i < count; i++) {
        measurement m = { .bench = "profile",
                          .shape = net->shape,
                          .seconds = p->shares[i].seconds,
                          .rate = gigabytes(&p->shares[i]),
                          .unit = "GB/s",
                          .dispatch = p->shares[i].first };
        measurement_compare(&m, m.seconds / p->seconds, "step");
        report(net->bench, &m);
    }
}

/* Of one step, every dispatch by itself. */
static bool read_profile(network *net, step_profile *p) {
    if (!network_compile(net, TUFF_PROFILE_DISPATCHES)) return false;
    for (int i = 0; i <= WARM_RUNS; i++)
        if (!network_step(net) || tuff_device_wait(net->bench->device) != TUFF_OK) return false;
    if (tuff_program_profile(net->program, NULL, NULL, 0, &p->count) != TUFF_OK) return false;
    p->entries = calloc(p->count, sizeof *p->entries);
    p->shares = calloc(p->count, sizeof *p->shares);
    return p->entries && p->shares
           && tuff_program_profile(net->program, &p->seconds, p->entries, p->count, NULL) == TUFF_OK;
}

static bool profile(network *net) {
    step_profile p = { 0 };
    bool good = read_profile(net, &p) || bench_failed("the profile");
    if (good && net->bench->options.json) {
        report_shares(net, &p);
        report_longest(net, &p);
    } else if (good) {
        printf("where the %.3f ms of %s go, one dispatch after the other:\n", p.seconds * 1e3, net->shape);
        print_shares(&p, false);
        print_shares(&p, true);
        report_longest(net, &p);
    }
    free(p.entries);
    free(p.shares);
    return good;
}

/* ---- a network ----------------------------------------------------------------------------------- */

static bool train(const bench *bench, const network_kind *kind) {
    bool clock = device_get_limits(bench->device)->timestamp_period > 0;
    const network_kind *kinds[MOST_NETWORKS] = { kind, kind->beside ? network_find(kind->beside) : NULL };
    const char *beside = kinds[1] ? kinds[1]->name : NULL;
    network nets[MOST_NETWORKS] = { 0 };
    step_times times[MOST_NETWORKS];
    int count = beside ? 2 : 1;
    bool good = true;
    for (int n = 0; good && n < count; n++)
        good = network_open(bench, kinds[n], &nets[n])
               && network_compile(&nets[n], clock ? TUFF_PROFILE_RUN : TUFF_PROFILE_NONE);
    good = good && median_steps(nets, count, times);
    if (good) {
        report_steps(&nets[0], &times[0], beside, &times[1]);
        report_memory(nets, count, beside, &times[0]);
    }
    if (good && bench->options.profile) good = profile(&nets[0]);
    for (int n = 0; n < count; n++) network_close(&nets[n]);
    return good;
}

bool bench_train(const bench *bench) {
    return networks_each(bench, train);
}
