/* Intervals in an ascending array for each space; a step program has few of them in each. */
#include "runtime/program/access_map.h"

#include <stdlib.h>
#include <string.h>

tuff_result access_map_create(access_map *map, uint32_t spaces) {
    map->count = spaces;
    map->spaces = calloc(spaces ? spaces : 1, sizeof *map->spaces);
    if (!map->spaces) return error_out_of_host_memory(spaces * sizeof *map->spaces);
    return TUFF_OK;
}

void access_map_destroy(access_map *map) {
    for (uint32_t i = 0; map->spaces && i < map->count; i++) free(map->spaces[i].intervals);
    free(map->spaces);
    *map = (access_map){ 0 };
}

/* The first interval that ends after `start`. */
static uint32_t first_after(const access_space *space, uint64_t start) {
    uint32_t low = 0, high = space->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (space->intervals[middle].end > start)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint32_t access_map_conflict(const access_map *map, uint32_t space_index, uint64_t start, uint64_t end,
                             uint32_t access) {
    const access_space *space = &map->spaces[space_index];
    uint32_t latest = 0;
    for (uint32_t i = first_after(space, start); i < space->count && space->intervals[i].start < end; i++) {
        const access_interval *interval = &space->intervals[i];
        if (interval->write > latest) latest = interval->write;
        if ((access & ACCESS_WRITE) && interval->read > latest) latest = interval->read;
    }
    return latest;
}

/* Replaces `removed` intervals at `at` by `count` new ones. */
static tuff_result splice(access_space *space, uint32_t at, uint32_t removed, const access_interval *added,
                          uint32_t count) {
    uint32_t needed = space->count - removed + count;
    if (needed > space->capacity) {
        uint32_t capacity = needed < 8 ? 8 : needed * 2;
        access_interval *grown = realloc(space->intervals, capacity * sizeof *grown);
        if (!grown) return error_out_of_host_memory(capacity * sizeof *grown);
        space->intervals = grown;
        space->capacity = capacity;
    }
    access_interval *place = space->intervals + at;
    memmove(place + count, place + removed, (space->count - at - removed) * sizeof *place);
    memcpy(place, added, count * sizeof *place);
    space->count = needed;
    return TUFF_OK;
}

/* Makes `position` a border between intervals. */
static tuff_result split(access_space *space, uint64_t position) {
    uint32_t i = first_after(space, position);
    if (i == space->count || space->intervals[i].start >= position) return TUFF_OK;
    access_interval halves[2] = { space->intervals[i], space->intervals[i] };
    halves[0].end = halves[1].start = position;
    return splice(space, i, 1, halves, 2);
}

tuff_result access_map_mark(access_map *map, uint32_t space_index, uint64_t start, uint64_t end, uint32_t access,
                            uint32_t time) {
    if (start >= end) return TUFF_OK;
    access_space *space = &map->spaces[space_index];
    TRY(split(space, start));
    TRY(split(space, end));
    uint32_t i = first_after(space, start);
    if (access & ACCESS_WRITE) {
        uint32_t covered = 0;
        while (i + covered < space->count && space->intervals[i + covered].start < end) covered++;
        access_interval whole = { start, end, time, 0 };
        return splice(space, i, covered, &whole, 1);
    }
    uint64_t position = start;
    while (position < end) {
        if (i < space->count && space->intervals[i].start == position) {
            if (space->intervals[i].read < time) space->intervals[i].read = time;
        } else { /* a gap up to the next interval or the end */
            uint64_t next = i < space->count && space->intervals[i].start < end ? space->intervals[i].start : end;
            access_interval gap = { position, next, 0, time };
            TRY(splice(space, i, 0, &gap, 1));
        }
        position = space->intervals[i++].end;
    }
    return TUFF_OK;
}

void storage_places(const lowered *lowered, storage_place *places, uint32_t *space_count) {
    uint32_t spaces = 0;
    for (uint32_t i = 0; i < lowered->storage_count; i++) {
        const storage *storage = &lowered->storages[i];
        places[i] = (storage_place){ UINT32_MAX, 0 };
        if (storage->kind == STORAGE_STATE && storage->range.buffer) {
            places[i].base = storage->range.offset;
            for (uint32_t j = 0; j < i && places[i].space == UINT32_MAX; j++) {
                if (lowered->storages[j].kind == STORAGE_STATE
                    && lowered->storages[j].range.buffer == storage->range.buffer)
                    places[i].space = places[j].space;
            }
        }
        if (places[i].space == UINT32_MAX) places[i].space = spaces++;
    }
    *space_count = spaces;
}
