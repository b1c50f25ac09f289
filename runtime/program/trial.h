/* Trials: ways to lower the same thing, timed on the device before one of them is lowered in earnest. */
#ifndef TUFF_RUNTIME_TRIAL_H
#define TUFF_RUNTIME_TRIAL_H

#include "runtime/program/lowering.h"

enum { MOST_WAYS = 16 };

/* Lowers way `way`. Views that it touches are those of the node being lowered, and scratch. */
typedef tuff_result (*lowering_way)(const void *context, uint32_t way);

/* How long each way's kernels take, in seconds: the median of runs in turn, on scratch memory of ones in place of the
 * tensors, which are not there yet. INFINITY: it cannot be lowered. What was lowered is forgotten. Errors: UNSUPPORTED
 * (no timestamps, too many kernels), MEMORY (of what is available half is left alone), DEVICE, DEVICE_LOST. */
tuff_result lowering_time(lowering *lowering, lowering_way lower, const void *context, uint32_t count, double *seconds);

/* What trial.c asks of lowering.c: what was lowered since a mark, and to forget it. */
typedef struct lowering_mark {
    uint32_t calls, storages, records, record_storage;
} lowering_mark;

typedef struct lowering_records {
    uint32_t storage;
    const uint32_t *words;
    uint32_t count;
} lowering_records;

lowering_mark lowering_now(const lowering *lowering);
const lowered *lowering_so_far(const lowering *lowering, lowering_records *records);
void lowering_forget(lowering *lowering, const lowering_mark *mark);

#endif
