#version 450
// y[n, j] = x[n, target[n, j], j], for x of (N, C, J...): what a loss takes from the logits; NaN where the target is
// no class.
// One invocation an element of y; x lies as it likes: j's axes have sizes and strides.
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
    uint axes; // of j, fastest first
    uint size[6], stride[6];
};

void main() {
    uint i = flat_index();
    if (i >= count) return;
    uint c = uint(target[first_target + i]);
    float value = NOT_A_NUMBER;
    if (c < classes) {
        uint at = first_x + c * class_stride, rest = i;
        for (uint axis = 0u; axis < axes; axis++) {
            at += rest % size[axis] * stride[axis];
            rest /= size[axis];
        }
        value = x[at + rest * batch_stride];
    }
    y[first_y + i] = value;
}
