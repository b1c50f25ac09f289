// What the update rules share: the parameters' and gradients' flat blocks, a scale for the gradient, the step record.
layout(local_size_x = 64) in;

layout(constant_id = 0) const bool SCALED = false;

layout(set = 0, binding = 0) readonly buffer Step { // runtime/program/step_record.h
    uint step_seed_lo, step_seed_hi;
    uint step_lo, step_hi;
    float step_lr;
    float step_bias_correction1, step_bias_correction2;
    float step_loss_scale;
    uint step_accumulate, step_cache_length, step_first_step;
};
layout(set = 0, binding = 1) buffer Parameter { vec4 parameter[]; };
layout(set = 0, binding = 2) readonly buffer Gradient { vec4 gradient[]; };
layout(set = 0, binding = 3) readonly buffer Scale { float scale[]; };

struct flat_params {
    uint count; // of vec4
    uint first_parameter, first_gradient; // in vec4
    uint first_scale;
};

uint flat_index() {
    return gl_GlobalInvocationID.x;
}

vec4 scaled_gradient(flat_params params, uint i) {
    vec4 g = gradient[params.first_gradient + i];
    return SCALED ? g * scale[params.first_scale] : g;
}
