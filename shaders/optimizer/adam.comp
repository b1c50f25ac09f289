#version 450
// torch.optim.Adam and AdamW (DECOUPLED) over a flat block, t counted from 1:
//   g = scale grad + decay p            (DECOUPLED: g = scale grad, p = p - lr decay p)
//   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g g
//   p = p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
// One invocation a vec4; lr and the bias corrections come from the step record, scale (SCALED) from clipping.
#extension GL_GOOGLE_include_directive : require
#include "optimizer/flat.glsl"

layout(constant_id = 1) const bool DECOUPLED = false;

layout(set = 0, binding = 4) buffer First { vec4 first_moment[]; };
layout(set = 0, binding = 5) buffer Second { vec4 second_moment[]; };

layout(push_constant) uniform Params {
    flat_params flat_block;
    uint first_first, first_second;   // in vec4
    float beta1, beta2;
    float one_minus_beta1, one_minus_beta2; // rounded from double precision, as PyTorch's are
    float epsilon, decay;
};

void main() {
    uint i = flat_index();
    if (i >= flat_block.count) return;
    vec4 p = parameter[flat_block.first_parameter + i];
    vec4 g = scaled_gradient(flat_block, i);
    if (DECOUPLED)
        p = p * (1.0 - step_record.lr * decay);
    else
        g = g + decay * p;
    vec4 m = beta1 * first_moment[first_first + i] + one_minus_beta1 * g;
    vec4 v = beta2 * second_moment[first_second + i] + one_minus_beta2 * (g * g);
    first_moment[first_first + i] = m;
    second_moment[first_second + i] = v;
    vec4 denominator = sqrt(v) / sqrt(step_record.bias_correction2) + epsilon;
    parameter[flat_block.first_parameter + i] = p - (step_record.lr / step_record.bias_correction1) * (m / denominator);
}
