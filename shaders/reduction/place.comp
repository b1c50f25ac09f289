#version 450
// y[outer, index[outer, j, inner], inner] = g[outer, j, inner] for j < k; before that, in a call of its own, y = 0. The
// indices of a row differ from one another.
// One invocation an element of g, or of y.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(set = 0, binding = 0) readonly buffer G { float g[]; };
layout(set = 0, binding = 1) readonly buffer Index { uint index[]; };
layout(set = 0, binding = 2) writeonly buffer Y { float y[]; };

layout(push_constant) uniform Params {
    uint count; // invocations
    uint clear;
    uint n, k, inner;
    uint first_g, first_index, first_y;
};

void main() {
    uint i = flat_index();
    if (i >= count) return;
    if (clear != 0u) {
        y[first_y + i] = 0.0;
        return;
    }
    uint outer = i / (k * inner), j = index[first_index + i];
    if (j < n) y[first_y + (outer * n + j) * inner + i % inner] = g[first_g + i];
}
