/* The lowering step: from a laid-out graph to storages and kernel calls. What rows call is in lowering.h. */
#ifndef TUFF_RUNTIME_LOWER_H
#define TUFF_RUNTIME_LOWER_H

#include "runtime/program/layout.h"
#include "runtime/program/lowering.h"

typedef struct lower_options {
    const char *name;
    tuff_optimizer *optimizer; /* NULL: no update */
    uint32_t gradient_count;   /* of laid_out->gradients */
    float clip_norm;           /* 0: none */
} lower_options;

tuff_result graph_lower(const laid_out *laid_out, const lower_options *options, lowered **out);

/* At the start of the backward segment. */
tuff_result lower_clear_gaps(lowering *lowering);

/* min(1, clip_norm / (norm + 1e-6)), norm over all gradients: one float in *scale (layers/optimizers.c). */
tuff_result lower_clip_scale(lowering *lowering, const view *gradients, uint32_t count, float clip_norm, view *scale);

#endif
