#version 450
// y[n] = 1 if the first largest of x[n, 0 .. C) stands at target[n], else 0; NaN counts as largest, as in torch.argmax.
// One invocation a row.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Target { int target[]; };
layout(set = 0, binding = 2) writeonly buffer Y { float y[]; };

layout(push_constant) uniform Params {
    uint count;
    uint classes;
    uint first_x, first_target, first_y;
    uint batch_stride, class_stride;
};

void main() {
    uint n = flat_index();
    if (n >= count) return;
    uint at = first_x + n * batch_stride, best = 0u;
    float largest = x[at];
    for (uint c = 1u; c < classes; c++) {
        float value = x[at + c * class_stride];
        if (!is_nan(largest) && (is_nan(value) || value > largest)) {
            largest = value;
            best = c;
        }
    }
    y[first_y + n] = int(best) == target[first_target + n] ? 1.0 : 0.0;
}
