#version 450
// For logits x of (N, C, J...) and a class target[n, j] of each row, one of
//   pick:  y[n, j] = x[n, target[n, j], j], what a loss takes from the logits; NaN where the target is no class
//   hit:   y[n, j] = 1 if the first largest of x[n, 0 .. C, j] stands at target[n, j], else 0; NaN counts as largest,
//          as in torch.argmax
// One invocation an element of y; x lies as it likes: j's axes have sizes and strides. Both in one kernel: two would be
// compiled for the sake of a loop.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Target { int target[]; };
layout(set = 0, binding = 2) writeonly buffer Y { float y[]; };

layout(push_constant) uniform Params {
    uint count; // of y
    uint classes;
    uint first_x, first_target, first_y;
    uint batch_stride, class_stride;
    uint hit; // else pick
    uint axes; // of j, fastest first
    uint size[6], stride[6];
};

uint first_largest(uint at) {
    uint best = 0u;
    float largest = x[at];
    for (uint c = 1u; c < classes; c++) {
        float value = x[at + c * class_stride];
        if (!is_nan(largest) && (is_nan(value) || value > largest)) {
            largest = value;
            best = c;
        }
    }
    return best;
}

void main() {
    uint i = flat_index();
    if (i >= count) return;
    uint at = first_x, rest = i;
    for (uint axis = 0u; axis < axes; axis++) {
        at += rest % size[axis] * stride[axis];
        rest /= size[axis];
    }
    at += rest * batch_stride;
    uint wanted = uint(target[first_target + i]);
    float value = NOT_A_NUMBER;
    if (hit != 0u)
        value = first_largest(at) == wanted ? 1.0 : 0.0;
    else if (wanted < classes)
        value = x[at + wanted * class_stride];
    y[first_y + i] = value;
}
