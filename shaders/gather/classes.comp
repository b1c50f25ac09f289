#version 450
// What losses ask about classes. For logits x of (N, C, J...) and a class target[n, j] of each row, one of
//   pick:   y[n, j] = x[n, target[n, j], j], what a loss takes from the logits; 0 where the target is one to ignore, NaN
//           where it is no class
//   known:  y[n, j] = 1, or x if there is one, where the target is a class; 0 where it is one to ignore, else NaN
//   hit:    y[n, j] = 1 if the first largest of x[n, 0 .. C, j] stands at target[n, j], else 0; NaN counts as largest,
//           as in torch.argmax
//   index:  y[c] = c as an integer, which a chain compares with the target
//   count:  y[g] = the sum over group g's part of the targets of what `known` says of them
//   share:  y[0] = 1 / the sum of x, which count left
// One invocation an element of y but for the last two, where a workgroup sums up in a tree; x lies as it likes: j's axes have sizes and strides. They run for microseconds and are
// compiled for many milliseconds: hence one kernel.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Target { int target[]; };
layout(set = 0, binding = 2) writeonly buffer Y { uint y[]; };

#define PICK  0u
#define HIT   1u
#define INDEX 2u
#define KNOWN 3u
#define COUNT 4u
#define SHARE 5u

layout(push_constant) uniform Params {
    uint count; // of y
    uint classes;
    uint first_x, first_target, first_y;
    uint batch_stride, class_stride; // known: the first says whether there is an x
    uint question;
    uint axes; // of j, fastest first
    uint size[6], stride[6];
    int ignore; // this target
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

float known(int label) {
    return label == ignore ? 0.0 : uint(label) < classes ? 1.0 : NOT_A_NUMBER;
}

float answer(uint i) {
    int label = target[first_target + i];
    uint at = first_x, rest = i, wanted = uint(label);
    if (question == KNOWN) return label == ignore ? 0.0 : batch_stride != 0u ? known(label) * x[first_x] : known(label);
    if (question == PICK && label == ignore) return 0.0;
    for (uint axis = 0u; axis < axes; axis++) {
        at += rest % size[axis] * stride[axis];
        rest /= size[axis];
    }
    at += rest * batch_stride;
    if (question == HIT) return first_largest(at) == wanted ? 1.0 : 0.0;
    return wanted < classes ? x[at + wanted * class_stride] : NOT_A_NUMBER;
}

shared float sums[64];

void sum_up() {
    uint lane = gl_LocalInvocationID.x, step = 64u * gl_NumWorkGroups.x * gl_NumWorkGroups.y;
    float sum = 0.0;
    for (uint i = flat_index(); i < count; i += step)
        sum += question == COUNT ? known(target[first_target + i]) : x[first_x + i];
    sums[lane] = sum;
    barrier();
    for (uint reach = 32u; reach > 0u; reach >>= 1) {
        if (lane < reach) sums[lane] += sums[lane + reach];
        barrier();
    }
    if (lane == 0u) y[first_y + flat_index() / 64u] = floatBitsToUint(question == COUNT ? sums[0] : 1.0 / sums[0]);
}

void main() {
    if (question >= COUNT) {
        sum_up();
        return;
    }
    uint i = flat_index();
    if (i < count) y[first_y + i] = question == INDEX ? i : floatBitsToUint(answer(i));
}
