/* What changes from step to step: a small buffer that kernels read, one for each recording, filled by the host
 * before each run. shaders/common/step_record.glsl has the same words. */
#ifndef TUFF_RUNTIME_STEP_RECORD_H
#define TUFF_RUNTIME_STEP_RECORD_H

#include <stdint.h>

typedef struct step_record {
    uint32_t seed_lo, seed_hi; /* the model's */
    uint32_t step_lo, step_hi; /* the optimizer's step count before this run, or the program's runs */
    float lr;
    float bias_correction1; /* 1 - beta1^t, t counted from 1 */
    float bias_correction2; /* 1 - beta2^t */
    float loss_scale;
    uint32_t accumulate;
    uint32_t cache_length;
    uint32_t first_step; /* 1 in an optimizer's first step (SGD's momentum starts with the gradient itself) */
    uint32_t reserved[5];
} step_record;

#endif
