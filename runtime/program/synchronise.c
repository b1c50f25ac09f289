/* Between two levels stands a memory barrier if the later one touches bytes that were touched since the last barrier,
 * one of the two accesses being a write. The time of an access is the number of barriers before it, so what an earlier
 * barrier has settled needs no clearing.
 *
 * A barrier orders everything since the one before it, not only the two accesses that made it necessary, so its masks
 * are those of all accesses since the last barrier and of all up to the next. */
#include "runtime/program/synchronise.h"
#include "runtime/program/access_map.h"

#include <stdlib.h>
#include <string.h>

/* Blocks of the arena come first among the spaces. */
static void planned_places(const lowered *lowered, const plan *plan, storage_place *places, uint32_t *spaces) {
    storage_places(lowered, places, spaces);
    for (uint32_t i = 0; i < lowered->storage_count; i++) {
        if (lowered->storages[i].kind == STORAGE_TRANSIENT)
            places[i] = (storage_place){ plan->places[i].block, plan->places[i].offset };
        else
            places[i].space += plan->block_count;
    }
    *spaces += plan->block_count;
}

static uint32_t uses_of(const kernel_call *call) {
    uint32_t uses = 0;
    for (uint32_t i = 0; i < call->operand_count; i++) {
        if (call->operands[i].access & ACCESS_READ) uses |= USE_KERNEL_READ;
        if (call->operands[i].access & ACCESS_WRITE) uses |= USE_KERNEL_WRITE;
    }
    return uses;
}

static bool conflicts(const access_map *map, const storage_place *places, const kernel_call *call, uint32_t time) {
    for (uint32_t i = 0; i < call->operand_count; i++) {
        const operand *operand = &call->operands[i];
        const storage_place *place = &places[operand->storage];
        uint64_t start = place->base + operand->offset;
        if (access_map_conflict(map, place->space, start, start + operand->size, operand->access) == time) return true;
    }
    return false;
}

static tuff_result mark(access_map *map, const storage_place *places, const kernel_call *call, uint32_t time) {
    for (uint32_t i = 0; i < call->operand_count; i++) {
        const operand *operand = &call->operands[i];
        const storage_place *place = &places[operand->storage];
        uint64_t start = place->base + operand->offset;
        TRY(access_map_mark(map, place->space, start, start + operand->size, operand->access, time));
    }
    return TUFF_OK;
}

static tuff_result find_barriers(const lowered *lowered, const schedule *schedule, const storage_place *places,
                                 access_map *map, synchronisation *out) {
    uint32_t time = 1, since = 0, latest = UINT32_MAX;
    for (uint32_t level = 0; level < schedule->level_count; level++) {
        uint32_t uses = 0;
        bool needed = false;
        for (uint32_t k = schedule->level_start[level]; k < schedule->level_start[level + 1]; k++) {
            const kernel_call *call = &lowered->calls[schedule->order[k]];
            uses |= uses_of(call);
            needed = needed || conflicts(map, places, call, time);
        }
        if (needed && level > 0) {
            out->barriers[level].before = since;
            out->barrier_count++;
            latest = level;
            since = 0;
            time++;
        }
        since |= uses;
        if (latest != UINT32_MAX) out->barriers[latest].after |= uses;
        for (uint32_t k = schedule->level_start[level]; k < schedule->level_start[level + 1]; k++)
            TRY(mark(map, places, &lowered->calls[schedule->order[k]], time));
    }
    return TUFF_OK;
}

tuff_result synchronise(const lowered *lowered, const schedule *schedule, const plan *plan, synchronisation *out) {
    *out = (synchronisation){ .level_count = schedule->level_count };
    out->barriers = calloc((size_t)schedule->level_count + 1, sizeof *out->barriers);
    storage_place *places = malloc(((size_t)lowered->storage_count + 1) * sizeof *places);
    access_map map = { 0 };
    tuff_result result = TUFF_OK;
    if (!out->barriers || !places) {
        result = error_out_of_host_memory(lowered->storage_count * sizeof *places);
    } else {
        uint32_t spaces;
        planned_places(lowered, plan, places, &spaces);
        result = access_map_create(&map, spaces);
    }
    if (result == TUFF_OK) result = find_barriers(lowered, schedule, places, &map, out);
    access_map_destroy(&map);
    free(places);
    if (result != TUFF_OK) synchronisation_destroy(out);
    return result;
}

void synchronisation_destroy(synchronisation *synchronisation) {
    free(synchronisation->barriers);
    memset(synchronisation, 0, sizeof *synchronisation);
}

static void dump_uses(uint32_t uses, FILE *file) {
    static const char *const names[] = { "kernel_read", "kernel_write", "copy_read",
                                         "copy_write",  "host_read",    "host_write" };
    const char *separator = "";
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!(uses & 1u << i)) continue;
        fprintf(file, "%s%s", separator, names[i]);
        separator = "|";
    }
}

void synchronise_dump(const synchronisation *synchronisation, FILE *file) {
    fprintf(file, "synchronise: %u barriers between %u levels\n", synchronisation->barrier_count,
            synchronisation->level_count);
    for (uint32_t l = 0; l < synchronisation->level_count; l++) {
        if (!synchronisation->barriers[l].before) continue;
        fprintf(file, "  before level %u: ", l);
        dump_uses(synchronisation->barriers[l].before, file);
        fputs(" -> ", file);
        dump_uses(synchronisation->barriers[l].after, file);
        fputc('\n', file);
    }
}
