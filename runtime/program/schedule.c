/* As soon as possible first: a call's level is one more than the latest level it conflicts with, within its segment.
 * Then, from the last call to the first, a call sinks towards its first user if that makes values live shorter: a
 * converted weight or a cleared accumulator need not wait for its use from the step's start. The critical path has no
 * room to sink, so no level becomes empty. A call may be told to wait for another one of which it reads nothing
 * (kernel_call.after): it comes in a later level, in both passes. */
#include "runtime/program/schedule.h"
#include "runtime/program/access_map.h"

#include <stdlib.h>
#include <string.h>

/* The latest time at which something conflicts with a call. */
static uint32_t conflict(const access_map *map, const storage_place *places, const kernel_call *call) {
    uint32_t latest = 0;
    for (uint32_t i = 0; i < call->operand_count; i++) {
        const operand *operand = &call->operands[i];
        uint64_t start = places[operand->storage].base + operand->offset;
        uint32_t time =
            access_map_conflict(map, places[operand->storage].space, start, start + operand->size, operand->access);
        if (time > latest) latest = time;
    }
    return latest;
}

static tuff_result mark(access_map *map, const storage_place *places, const kernel_call *call, uint32_t time) {
    for (uint32_t i = 0; i < call->operand_count; i++) {
        const operand *operand = &call->operands[i];
        uint64_t start = places[operand->storage].base + operand->offset;
        TRY(access_map_mark(map, places[operand->storage].space, start, start + operand->size, operand->access, time));
    }
    return TUFF_OK;
}

/* Times are levels + 1. A segment starts above all levels so far, so its calls need no look at earlier segments. */
static tuff_result rise(const lowered *lowered, const storage_place *places, uint32_t spaces, uint32_t fault_call,
                        schedule *schedule) {
    access_map map = { 0 };
    TRY(access_map_create(&map, spaces));
    tuff_result result = TUFF_OK;
    uint32_t base = 0;
    for (uint32_t i = 0; i < lowered->call_count && result == TUFF_OK; i++) {
        const kernel_call *call = &lowered->calls[i];
        if (i == 0 || call->segment != lowered->calls[i - 1].segment) {
            base = schedule->level_count;
            schedule->segments[schedule->segment_count] = call->segment;
            schedule->segment_start[schedule->segment_count++] = base;
        }
        uint32_t level = i == fault_call ? 0 : conflict(&map, places, call);
        if (level < base) level = base;
        if (call->after && level <= schedule->levels[call->after - 1]) level = schedule->levels[call->after - 1] + 1;
        schedule->levels[i] = level;
        if (level >= schedule->level_count) schedule->level_count = level + 1;
        result = mark(&map, places, call, level + 1);
    }
    schedule->segment_start[schedule->segment_count] = schedule->level_count;
    access_map_destroy(&map);
    return result;
}

/* First and last call that touch each transient storage, in list order. */
typedef struct touched {
    uint32_t first, last;
} touched;

/* Bytes of transients that begin with a call less those that end with it: what one level of sinking saves. */
static int64_t saving(const lowered *lowered, const touched *touched, uint32_t index) {
    const kernel_call *call = &lowered->calls[index];
    int64_t bytes = 0;
    for (uint32_t i = 0; i < call->operand_count; i++) {
        uint32_t s = call->operands[i].storage;
        if (lowered->storages[s].kind != STORAGE_TRANSIENT) continue;
        bool seen = false;
        for (uint32_t j = 0; j < i; j++) seen = seen || call->operands[j].storage == s;
        if (seen) continue;
        if (touched[s].first == index) bytes += (int64_t)lowered->storages[s].size;
        if (touched[s].last == index) bytes -= (int64_t)lowered->storages[s].size;
    }
    return bytes;
}

/* Times count from the end: level_count - level, so that the same map finds the earliest level among later calls. */
static tuff_result sink(const lowered *lowered, const storage_place *places, uint32_t spaces, schedule *schedule) {
    touched *touched = malloc((lowered->storage_count + 1) * sizeof *touched);
    uint32_t *latest = malloc((lowered->call_count + 1) * sizeof *latest); /* before the calls that wait for it */
    access_map map = { 0 };
    tuff_result result = TUFF_OK;
    if (!touched || !latest) {
        result =
            error_out_of_host_memory(lowered->storage_count * sizeof *touched + lowered->call_count * sizeof *latest);
        goto done;
    }
    memset(touched, 0xff, (lowered->storage_count + 1) * sizeof *touched);
    memset(latest, 0xff, (lowered->call_count + 1) * sizeof *latest);
    for (uint32_t i = 0; i < lowered->call_count; i++) {
        for (uint32_t j = 0; j < lowered->calls[i].operand_count; j++) {
            uint32_t s = lowered->calls[i].operands[j].storage;
            if (touched[s].first == UINT32_MAX) touched[s].first = i;
            touched[s].last = i;
        }
    }
    result = access_map_create(&map, spaces);
    uint32_t segment = schedule->segment_count - 1;
    for (uint32_t i = lowered->call_count; i-- > 0 && result == TUFF_OK;) {
        const kernel_call *call = &lowered->calls[i];
        while (schedule->levels[i] < schedule->segment_start[segment]) segment--;
        uint32_t last = schedule->segment_start[segment + 1] - 1;
        uint32_t later = conflict(&map, places, call);
        if (later && schedule->level_count - later - 1 < last) last = schedule->level_count - later - 1;
        if (latest[i] < last) last = latest[i];
        if (last > schedule->levels[i] && saving(lowered, touched, i) > 0) schedule->levels[i] = last;
        if (call->after && schedule->levels[i] - 1 < latest[call->after - 1])
            latest[call->after - 1] = schedule->levels[i] - 1;
        result = mark(&map, places, call, schedule->level_count - schedule->levels[i]);
    }
done:
    access_map_destroy(&map);
    free(touched);
    free(latest);
    return result;
}

tuff_result schedule_create(const lowered *lowered, uint32_t fault_call, schedule *out) {
    *out = (schedule){ .call_count = lowered->call_count };
    storage_place *places = malloc((lowered->storage_count + 1) * sizeof *places);
    out->levels = calloc(lowered->call_count + 1, sizeof *out->levels);
    out->order = calloc(lowered->call_count + 1, sizeof *out->order);
    tuff_result result = TUFF_OK;
    if (!places || !out->levels || !out->order) {
        result = error_out_of_host_memory(lowered->storage_count * sizeof *places + lowered->call_count * 8);
        goto done;
    }
    uint32_t spaces;
    storage_places(lowered, places, &spaces);
    result = rise(lowered, places, spaces, fault_call, out);
    if (out->segment_count == 0) out->segment_count = 1; /* nothing to run is a run all the same */
    if (result == TUFF_OK && fault_call == SCHEDULE_NO_FAULT && out->level_count)
        result = sink(lowered, places, spaces, out);
    if (result != TUFF_OK) goto done;

    out->level_start = calloc(out->level_count + 2, sizeof *out->level_start);
    if (!out->level_start) {
        result = error_out_of_host_memory((out->level_count + 2) * sizeof *out->level_start);
        goto done;
    }
    /* counting sort: after it, level_start[l + 1] has moved to the end of level l */
    for (uint32_t i = 0; i < out->call_count; i++) out->level_start[out->levels[i] + 2]++;
    for (uint32_t l = 2; l < out->level_count + 2; l++) out->level_start[l] += out->level_start[l - 1];
    for (uint32_t i = 0; i < out->call_count; i++) out->order[out->level_start[out->levels[i] + 1]++] = i;

done:
    free(places);
    if (result != TUFF_OK) schedule_destroy(out);
    return result;
}

void schedule_destroy(schedule *schedule) {
    free(schedule->levels);
    free(schedule->order);
    free(schedule->level_start);
    memset(schedule, 0, sizeof *schedule);
}

const char *schedule_segment_name(segment_kind kind) {
    static const char *const names[] = { "forward", "backward", "update" };
    return names[kind];
}

void schedule_dump(const schedule *schedule, const lowered *lowered, FILE *file) {
    fprintf(file, "schedule: %u dispatches in %u levels, %u segments\n", schedule->call_count, schedule->level_count,
            schedule->segment_count);
    for (uint32_t s = 0; s < schedule->segment_count; s++) {
        fprintf(file, "  segment %u: %s\n", s, schedule_segment_name(schedule->segments[s]));
        for (uint32_t l = schedule->segment_start[s]; l < schedule->segment_start[s + 1]; l++) {
            fprintf(file, "    level %u\n", l);
            for (uint32_t k = schedule->level_start[l]; k < schedule->level_start[l + 1]; k++) {
                const kernel_call *call = &lowered->calls[schedule->order[k]];
                fprintf(file, "      %u %s: %s %u x %u x %u", schedule->order[k], call->label ? call->label : "",
                        device_kernel(lowered->device, call->kernel)->name, call->groups[0], call->groups[1],
                        call->groups[2]);
                for (uint32_t i = 0; i < call->operand_count; i++) {
                    const operand *o = &call->operands[i];
                    const char *way = o->access == ACCESS_READ ? "<" : o->access == ACCESS_WRITE ? ">" : "<>";
                    fprintf(file, " %s%s[%llu+%llu]", way, lowered->storages[o->storage].name,
                            (unsigned long long)o->offset, (unsigned long long)o->size);
                }
                fputc('\n', file);
            }
        }
    }
}
