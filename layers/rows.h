/* What kernels share that walk over rows three times: whether a row belongs to one invocation or to a workgroup. */
#ifndef TUFF_LAYERS_ROWS_H
#define TUFF_LAYERS_ROWS_H

#include "layers/flat.h"

enum { ROW_WALKS = 3 };

typedef struct cover {
    int64_t rows, n;
    uint32_t lanes; /* that share a row */
    uint32_t local; /* size of a workgroup */
} cover;

static inline cover cover_rows(const lowering *lowering, int64_t rows, int64_t n) {
    cover c = { .rows = rows, .n = n, .lanes = 1, .local = 64 };
    const char *force = device_force(lowering_device(lowering), "reduce");
    /* shared memory and barriers are dear where the CPU runs them: there only to spread few rows */
    bool group = !device_get_limits(lowering_device(lowering))->cpu || (rows < 64 && n >= 4096);
    if (force) group = strcmp(force, "group") == 0;
    group |= ROW_WALKS * (uint64_t)n > turns_allowed(lowering);
    if (group) c.lanes = c.local = n >= 2048 ? 256 : 64;
    return c;
}

#endif
