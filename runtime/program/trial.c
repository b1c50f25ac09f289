/* Trials. All ways are lowered one behind the other, their kernels bound to scratch memory and run in turn; then
 * everything that was lowered is forgotten. */
#include "runtime/program/trial.h"

#include "runtime/program/parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_CALLS = 256, /* of a way */
    MOST_ROUNDS = 15,
    LEAST_ROUNDS = 3,
    MOST_REPEATS = 32,
    ONE = 0x3f800000, /* 1.0f: a denormal number would take a CPU longer than what it stands for */
};
static const double ALL_ROUNDS = 0.2;      /* seconds for the rounds of all ways together */
static const double SHORTEST = 200e-6;     /* seconds between two timestamps: shorter kernels are repeated */
static const double OUT_OF_THE_RACE = 3.0; /* times the quickest's time: not measured any further */

/* The stretch of a storage that some call touches, and the scratch memory for it. */
typedef struct stretch {
    uint32_t storage;
    uint64_t begin, end;
    buffer *buffer;
} stretch;

typedef struct way {
    uint32_t begin, end; /* its calls */
    commands *commands;
} way;

typedef struct trial {
    tuff_device *device;
    const lowered *lowered;
    lowering_records records;
    stretch *stretches;
    uint32_t stretch_count, first_call;
    dispatch_set *set;
    timestamps *stamps;
    way ways[MOST_WAYS];
    uint32_t way_count, rounds;
    double times[MOST_WAYS][MOST_ROUNDS];
} trial;

static void trial_free(trial *t) {
    for (uint32_t i = 0; i < t->way_count; i++) commands_destroy(t->ways[i].commands);
    timestamps_destroy(t->stamps);
    dispatch_set_destroy(t->set);
    for (uint32_t i = 0; i < t->stretch_count; i++) buffer_destroy(t->stretches[i].buffer);
    free(t->stretches);
}

/* ---- scratch memory ------------------------------------------------------------------------------ */

static uint64_t record_bytes(const trial *t) {
    return ((uint64_t)t->records.count * 4 + 15) & ~UINT64_C(15);
}

static buffer_range range_of(const trial *t, const operand *operand) {
    for (uint32_t i = 0; i < t->stretch_count; i++) {
        const stretch *s = &t->stretches[i];
        uint64_t size = operand->storage == t->records.storage ? record_bytes(t) : operand->size;
        if (s->storage == operand->storage) return (buffer_range){ s->buffer, operand->offset - s->begin, size };
    }
    return (buffer_range){ 0 };
}

static void cover(trial *t, const operand *operand) {
    uint64_t begin = operand->offset, end = begin + operand->size;
    if (operand->storage == t->records.storage) begin = 0, end = record_bytes(t);
    for (uint32_t i = 0; i < t->stretch_count; i++) {
        stretch *s = &t->stretches[i];
        if (s->storage != operand->storage) continue;
        if (begin < s->begin) s->begin = begin;
        if (end > s->end) s->end = end;
        return;
    }
    t->stretches[t->stretch_count++] = (stretch){ .storage = operand->storage, .begin = begin, .end = end };
}

static tuff_result make_stretch(trial *t, stretch *s) {
    uint64_t size = s->end - s->begin;
    TRY(buffer_create(t->device, BUFFER_DEVICE, size, "scratch for measuring", &s->buffer));
    TRY(device_fill(t->device, (buffer_range){ s->buffer, 0, size }, ONE));
    if (s->storage != t->records.storage) return TUFF_OK;
    return device_upload(t->device, (buffer_range){ s->buffer, 0, (uint64_t)t->records.count * 4 }, t->records.words);
}

static tuff_result make_scratch(trial *t) {
    uint32_t calls = t->lowered->call_count - t->first_call;
    t->stretches = calloc((size_t)calls * MAX_BINDINGS + 1, sizeof *t->stretches);
    if (!t->stretches) return error_out_of_host_memory(calls * MAX_BINDINGS * sizeof *t->stretches);
    for (uint32_t c = t->first_call; c < t->lowered->call_count; c++)
        for (uint32_t i = 0; i < t->lowered->calls[c].operand_count; i++) cover(t, &t->lowered->calls[c].operands[i]);
    uint64_t total = 0, available = device_memory_available(t->device);
    for (uint32_t i = 0; i < t->stretch_count; i++) total += t->stretches[i].end - t->stretches[i].begin;
    if (total > available / 2)
        return error_set(TUFF_ERROR_MEMORY, "measuring would take %llu bytes of the %llu that are available",
                         (unsigned long long)total, (unsigned long long)available);
    for (uint32_t i = 0; i < t->stretch_count; i++) TRY(make_stretch(t, &t->stretches[i]));
    return TUFF_OK;
}

/* ---- kernels -------------------------------------------------------------------------------------- */

static tuff_result make_set(trial *t) {
    uint32_t count = t->lowered->call_count - t->first_call;
    dispatch *dispatches = calloc(count + 1, sizeof *dispatches);
    if (!dispatches) return error_out_of_host_memory(count * sizeof *dispatches);
    for (uint32_t i = 0; i < count; i++) {
        const kernel_call *call = &t->lowered->calls[t->first_call + i];
        dispatch *d = &dispatches[i];
        *d = (dispatch){ .kernel = call->kernel,
                         .constant_count = call->constant_count,
                         .binding_count = call->operand_count,
                         .param_count = call->param_count,
                         .label = call->label };
        memcpy(d->constants, call->constants, sizeof d->constants);
        memcpy(d->params, call->params, sizeof d->params);
        memcpy(d->groups, call->groups, sizeof d->groups);
        for (uint32_t b = 0; b < call->operand_count; b++) d->bindings[b] = range_of(t, &call->operands[b]);
    }
    tuff_result result = dispatch_set_create(t->device, dispatches, count, "measuring", &t->set);
    free(dispatches);
    return result;
}

static tuff_result record(trial *t, way *way, uint32_t repeats) {
    enum { USES = USE_KERNEL_READ | USE_KERNEL_WRITE, COPIES = USE_COPY_READ | USE_COPY_WRITE };
    commands_destroy(way->commands);
    way->commands = NULL;
    TRY(commands_create(t->device, "measuring", &way->commands));
    TRY(commands_begin(way->commands));
    commands_barrier(way->commands, USES | COPIES | USE_HOST_WRITE, USES);
    commands_timestamp(way->commands, t->stamps, 0);
    for (uint32_t r = 0; r < repeats; r++)
        for (uint32_t c = way->begin; c < way->end; c++) {
            if (r || c > way->begin) commands_barrier(way->commands, USES, USES);
            const kernel_call *call = &t->lowered->calls[c];
            const parts parts = parts_of(t->device, call); /* as in a program: no command holds the device for long */
            parts_record(&parts, t->device, call, t->set, c - t->first_call, false, way->commands);
        }
    commands_timestamp(way->commands, t->stamps, 1);
    return commands_end(way->commands);
}

/* ---- time ----------------------------------------------------------------------------------------- */

static tuff_result run_once(trial *t, const way *way, double *seconds) {
    queue_point done;
    double stamps[2];
    TRY(queue_submit(t->device, QUEUE_COMPUTE, &way->commands, 1, NULL, 0, &done));
    TRY(queue_wait(t->device, done));
    TRY(timestamps_read(t->stamps, stamps));
    *seconds = (stamps[1] - stamps[0]) * 1e-9;
    return TUFF_OK;
}

static int compare_times(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double smallest(const double *seconds, uint32_t count) {
    double least = INFINITY;
    for (uint32_t i = 0; i < count; i++)
        if (seconds[i] < least) least = seconds[i];
    return least;
}

/* Times each way once, after a run in which drivers may still compile. */
static tuff_result warm_up(trial *t, double *seconds) {
    for (uint32_t w = 0; w < t->way_count; w++) {
        if (t->ways[w].begin == t->ways[w].end) continue;
        TRY(record(t, &t->ways[w], 1));
        for (int run = 0; run < 2; run++) TRY(run_once(t, &t->ways[w], &seconds[w]));
    }
    return TUFF_OK;
}

/* Runs the ways that are still in the race in turn, each round from another one on, and takes medians. */
static tuff_result race(trial *t, double *seconds) {
    double best = smallest(seconds, t->way_count), round = 0;
    bool runs[MOST_WAYS];
    uint32_t repeats = best < SHORTEST ? (uint32_t)(SHORTEST / (best + SHORTEST / MOST_REPEATS)) + 1 : 1;
    for (uint32_t w = 0; w < t->way_count; w++) {
        runs[w] = seconds[w] <= OUT_OF_THE_RACE * best;
        if (!runs[w]) continue;
        round += seconds[w] * repeats;
        if (repeats > 1) TRY(record(t, &t->ways[w], repeats));
    }
    uint32_t rounds = round * MOST_ROUNDS < ALL_ROUNDS ? MOST_ROUNDS : (uint32_t)(ALL_ROUNDS / round);
    if (rounds < LEAST_ROUNDS) rounds = LEAST_ROUNDS;
    for (uint32_t r = 0; r < rounds; r++)
        for (uint32_t i = 0; i < t->way_count; i++) {
            uint32_t w = (r * 7 + (r & 1 ? t->way_count - 1 - i : i)) % t->way_count;
            if (!runs[w]) continue;
            TRY(run_once(t, &t->ways[w], &t->times[w][r]));
        }
    for (uint32_t w = 0; w < t->way_count; w++) {
        if (!runs[w]) continue;
        qsort(t->times[w], rounds, sizeof *t->times[w], compare_times);
        seconds[w] = t->times[w][rounds / 2] / repeats;
    }
    return TUFF_OK;
}

static tuff_result measure(trial *t, double *seconds) {
    if (t->lowered->call_count == t->first_call) return TUFF_OK;
    TRY(timestamps_create(t->device, 2, &t->stamps));
    TRY(make_scratch(t));
    TRY(make_set(t));
    TRY(warm_up(t, seconds));
    return race(t, seconds);
}

tuff_result lowering_time(lowering *lowering, lowering_way lower, const void *context, uint32_t count,
                          double *seconds) {
    trial t = { .device = lowering_device(lowering), .way_count = count };
    if (count > MOST_WAYS)
        return error_set(TUFF_ERROR_UNSUPPORTED, "%u ways to time; %d are possible", count, MOST_WAYS);
    lowering_mark start = lowering_now(lowering);
    t.first_call = start.calls;
    uint32_t most = 0; /* kernels of a way that has too many of them, which does not run */
    for (uint32_t w = 0; w < count; w++) {
        lowering_mark before = lowering_now(lowering);
        seconds[w] = INFINITY;
        if (lower(context, w) != TUFF_OK) lowering_forget(lowering, &before);
        t.lowered = lowering_so_far(lowering, &t.records);
        uint32_t calls = t.lowered->call_count - before.calls;
        if (calls > MOST_CALLS) {
            lowering_forget(lowering, &before);
            most = calls;
        }
        t.ways[w] = (way){ .begin = before.calls, .end = t.lowered->call_count };
    }
    tuff_result result = TUFF_OK;
    if (most && t.lowered->call_count == t.first_call)
        result = error_set(TUFF_ERROR_UNSUPPORTED, "%u kernels are too many to be timed", most);
    if (result == TUFF_OK) result = measure(&t, seconds);
    trial_free(&t);
    lowering_forget(lowering, &start);
    return result;
}
