#version 450
// torch.optim.SGD over a flat block:
//   g = scale grad + decay p
//   b = first step ? g : momentum b + (1 - dampening) g       (MOMENTUM)
//   p = p - lr (NESTEROV ? g + momentum b : b)                (without MOMENTUM: p - lr g)
// One invocation a vec4; lr and the first step come from the step record, scale (SCALED) from clipping.
#extension GL_GOOGLE_include_directive : require
#include "optimizer/flat.glsl"

layout(constant_id = 1) const bool MOMENTUM = false;
layout(constant_id = 2) const bool NESTEROV = false;

layout(set = 0, binding = 4) buffer Momentum { vec4 momentum_buffer[]; };

layout(push_constant) uniform Params {
    flat_params flat_block;
    uint first_moment; // in vec4
    float momentum, dampening, decay;
};

void main() {
    uint i = flat_index();
    if (i >= flat_block.count) return;
    vec4 p = parameter[flat_block.first_parameter + i];
    vec4 g = scaled_gradient(flat_block, i) + decay * p;
    if (MOMENTUM) {
        vec4 b = g;
        if (step_record.first_step == 0u) b = momentum * momentum_buffer[first_moment + i] + (1.0 - dampening) * g;
        momentum_buffer[first_moment + i] = b;
        g = NESTEROV ? g + momentum * b : b;
    }
    parameter[flat_block.first_parameter + i] = p - step_record.lr * g;
}
