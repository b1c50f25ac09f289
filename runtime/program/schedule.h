/* Levels: dispatches of one level do not depend on one another, and may run in any order. */
#ifndef TUFF_RUNTIME_SCHEDULE_H
#define TUFF_RUNTIME_SCHEDULE_H

#include "runtime/program/lowered.h"

#include <stdio.h>

enum { MAX_SEGMENTS = SEGMENT_UPDATE + 1 };

typedef struct schedule {
    uint32_t call_count;
    uint32_t level_count;
    uint32_t *levels;                         /* of each call */
    uint32_t *order;                          /* calls by level, in list order within one */
    uint32_t *level_start;                    /* level_count + 1 places in order */
    uint32_t segment_count;                   /* those that have calls; at least 1 */
    segment_kind segments[MAX_SEGMENTS];      /* which they are */
    uint32_t segment_start[MAX_SEGMENTS + 1]; /* their first levels; the last entry is level_count */
} schedule;

/* The call whose dependencies schedule_create leaves out: a planted mistake, for tests. */
enum { SCHEDULE_NO_FAULT = UINT32_MAX };

/* Running the calls one by one in list order is what counts: a call comes after those that it conflicts with (one of
 * both writes, bytes in common). Segments do not share a level. */
tuff_result schedule_create(const lowered *lowered, uint32_t fault_call, schedule *out);
void schedule_destroy(schedule *schedule);
const char *schedule_segment_name(segment_kind kind); /* "forward" */
void schedule_dump(const schedule *schedule, const lowered *lowered, FILE *file);

#endif
