#version 450
// y = (x - mean) r weight + bias with r = 1 / sqrt(mean of (x - mean)^2 + epsilon) for each row of n elements, and what
// the backward pass needs: c = mean - x0 and r. Element j of a row has the weight number (row * n + j) / spread, counted
// round.
#extension GL_GOOGLE_include_directive : require
#include "reduction/norm.glsl"
layout(constant_id = 4) const bool BIAS = true;

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 3) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 4) writeonly buffer Shift { float shifts[]; };
layout(set = 0, binding = 5) writeonly buffer Inverse { float inverses[]; };

layout(push_constant) uniform Params {
    uint rows, n;
    uint first_row; // of these among all, counted round in the rows that have different weights
    uint spread, weights;
    float epsilon;
    uint first_x, first_weight, first_bias, first_y, first_shift, first_inverse;
};

void main() {
    uint lane = gl_LocalInvocationID.x, l = lane % LANES;
    uint row = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * (gl_WorkGroupSize.x / LANES) + lane / LANES;
    uint count = row < rows ? n : 0u, base = first_x + (row < rows ? row * n : 0u);
    float x0 = CENTRED ? x[base] : 0.0;
    vec2 sum = vec2(0.0);
    precise float c = 0.0;
    if (CENTRED) {
        for (uint j = l; j < count; j += LANES) {
            precise float d = x[base + j] - x0;
            sum = add(sum, vec2(d, 0.0));
        }
        c = whole(sum) / float(n);
        sum = vec2(0.0);
    }
    for (uint j = l; j < count; j += LANES) {
        precise float d = (x[base + j] - x0) - c;
        precise float square = d * d;
        sum = add(sum, vec2(square, 0.0));
    }
    precise float r = 1.0 / sqrt(whole(sum) / float(n) + epsilon);
    uint first = (first_row + row) * (n / spread);
    for (uint j = l; j < count; j += LANES) {
        precise float h = ((x[base + j] - x0) - c) * r;
        uint place = WEIGHT || BIAS ? (first + j / spread) % weights : 0u;
        if (WEIGHT) h = h * weight[first_weight + place];
        if (BIAS) h = h + bias[first_bias + place];
        y[first_y + row * n + j] = h;
    }
    if (row < rows && l == 0u) {
        shifts[first_shift + row] = c;
        inverses[first_inverse + row] = r;
    }
}
