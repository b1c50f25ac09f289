// What the update rules share: the parameters' and gradients' flat blocks, a scale for the gradient, the step record.
layout(local_size_x = 64) in;

layout(constant_id = 0) const bool SCALED = false;

#define STEP_RECORD_BINDING 0
#include "common/step_record.glsl"

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
