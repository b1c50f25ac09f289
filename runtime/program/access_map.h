/* When bytes were last read and last written: for each space (a storage, a buffer, a block of the arena) the disjoint
 * byte ranges touched so far, each with the time of its last write and last read. What a time is, is the caller's: the
 * scheduler's levels, counted from either end, or the synchroniser's barriers. Times never decrease where accesses
 * conflict, so a write forgets what it covers. */
#ifndef TUFF_RUNTIME_ACCESS_MAP_H
#define TUFF_RUNTIME_ACCESS_MAP_H

#include "runtime/program/lowered.h"

typedef struct access_interval {
    uint64_t start, end;
    uint32_t write, read; /* times, 0: never */
} access_interval;

typedef struct access_space {
    access_interval *intervals; /* disjoint, ascending */
    uint32_t count, capacity;
} access_space;

typedef struct access_map {
    access_space *spaces;
    uint32_t count;
} access_map;

tuff_result access_map_create(access_map *map, uint32_t spaces);
void access_map_destroy(access_map *map);

/* The latest time at which bytes of the range were touched in a way that conflicts with `access` (two reads do not);
 * 0 if there is none. */
uint32_t access_map_conflict(const access_map *map, uint32_t space, uint64_t start, uint64_t end, uint32_t access);

/* Notes an access at a time, which is 1 or more. */
tuff_result access_map_mark(access_map *map, uint32_t space, uint64_t start, uint64_t end, uint32_t access,
                            uint32_t time);

/* Where a storage's bytes lie among the spaces. */
typedef struct storage_place {
    uint32_t space; /* UINT32_MAX: nowhere (never touched) */
    uint64_t base;  /* bytes */
} storage_place;

/* Each storage a space of its own, but states of one buffer share one: their ranges may overlap, as an optimizer's
 * whole block and its parameters do. places has storage_count entries. */
void storage_places(const lowered *lowered, storage_place *places, uint32_t *space_count);

#endif
