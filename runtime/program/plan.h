/* Byte ranges for values that live for some levels only: those whose lives do not meet share bytes. */
#ifndef TUFF_RUNTIME_PLAN_H
#define TUFF_RUNTIME_PLAN_H

#include "runtime/program/schedule.h"

#include <stdio.h>

/* From the first level that touches a value to the last one, both included. last < first: never touched. */
typedef struct life {
    uint64_t size; /* bytes */
    uint32_t first, last;
} life;

enum { PLAN_NOWHERE = UINT32_MAX };

typedef struct plan_place {
    uint32_t block; /* PLAN_NOWHERE: never touched */
    uint64_t offset;
} plan_place;

typedef struct plan {
    uint32_t count;
    plan_place *places;
    uint32_t block_count;
    uint64_t *blocks; /* bytes of each */
    uint64_t total;   /* their sum */
    uint64_t live;    /* the largest sum of sizes alive at a time */
} plan;

/* Places values in blocks of at most max_block bytes; none straddles two. alignment is a power of two. A pure function
 * of its arguments. Errors: MEMORY (a value larger than a block). */
tuff_result plan_create(const life *lives, uint32_t count, uint64_t alignment, uint64_t max_block, plan *out);
void plan_destroy(plan *plan);

/* The lives of all storages; those that are not transient count as never touched. */
void plan_lives(const lowered *lowered, const schedule *schedule, life *lives);

void plan_dump(const plan *plan, const life *lives, const lowered *lowered, FILE *file);

#endif
