#version 450
// y[i] += x[i]. One invocation an element.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) buffer Y { float y[]; };

layout(push_constant) uniform Params {
    uint count, first_x, first_y;
};

void main() {
    uint i = flat_index();
    if (i < count) y[first_y + i] += x[first_x + i];
}
