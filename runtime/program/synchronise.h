/* Barriers between levels, from the bytes that are really touched: ranges of the arena's blocks, of a model's buffers
 * and of slots, not names. */
#ifndef TUFF_RUNTIME_SYNCHRONISE_H
#define TUFF_RUNTIME_SYNCHRONISE_H

#include "runtime/program/plan.h"

#include <stdio.h>

/* One memory barrier before a level; before == 0: none is needed. */
typedef struct level_barrier {
    uint32_t before, after; /* USE_ bits */
} level_barrier;

typedef struct synchronisation {
    uint32_t level_count;
    level_barrier *barriers; /* one before each level; none before level 0, since a run begins with a full one */
    uint32_t barrier_count;
} synchronisation;

tuff_result synchronise(const lowered *lowered, const schedule *schedule, const plan *plan, synchronisation *out);
void synchronisation_destroy(synchronisation *synchronisation);
void synchronise_dump(const synchronisation *synchronisation, FILE *file);

#endif
