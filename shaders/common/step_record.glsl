// What changes from step to step: the words of runtime/program/step_record.h. STEP_RECORD_BINDING is the includer's.
#ifndef TUFF_STEP_RECORD_GLSL
#define TUFF_STEP_RECORD_GLSL

layout(set = 0, binding = STEP_RECORD_BINDING) readonly buffer StepRecord {
    uvec2 seed;
    uvec2 step; // low word first
    float lr;
    float bias_correction1;
    float bias_correction2;
    float loss_scale;
    uint accumulate;
    uint cache_length;
    uint first_step;
} step_record;

#endif
