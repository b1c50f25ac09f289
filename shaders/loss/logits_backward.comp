#version 450
// A block of logits z (rows, columns) becomes the gradient of cross entropy with respect to them:
//   z = exp(z + bias - m - s) f - (class == target ? (1 - smoothing) f : 0) - smoothing / classes f
// f, 0 for ignored rows, is what arrives at a row. One invocation an element.
#extension GL_GOOGLE_include_directive : require
#include "common/math.glsl"
#include "gather/flat.glsl"

layout(set = 0, binding = 0) buffer Z { float z[]; };
layout(set = 0, binding = 1) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 2) readonly buffer Target { int target[]; };
layout(set = 0, binding = 3) readonly buffer Largest { float m[]; };
layout(set = 0, binding = 4) readonly buffer LogSum { float s[]; };
layout(set = 0, binding = 5) readonly buffer Factor { float f[]; };

layout(push_constant) uniform Params {
    uint count, columns;
    uint begin; // the first column's class
    uint has_bias;
    uint first_z, first_bias, first_target, first_m, first_s, first_f;
    float keep, each; // 1 - smoothing, smoothing / classes
};

void main() {
    uint i = flat_index();
    if (i >= count) return;
    uint row = i / columns, column = i % columns;
    float factor = f[first_f + row];
    precise float value = z[first_z + i];
    if (has_bias != 0u) value += bias[first_bias + column];
    value = tuff_exp(value - m[first_m + row] - s[first_s + row]);
    if (uint(target[first_target + row]) == begin + column) value -= keep;
    value = factor == 0.0 ? 0.0 : (value - each) * factor;
    z[first_z + i] = value;
}
