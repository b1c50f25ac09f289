#version 450
// The gradient of norm_rows.comp's y with respect to x, of each row of n elements: with h = (x - mean) r and gh = g weight
//   gx = r (gh - mean(gh) - h mean(gh h))
// without the first mean where x is not centred.
#extension GL_GOOGLE_include_directive : require
#include "reduction/norm.glsl"

layout(set = 0, binding = 0) readonly buffer G { float g[]; };
layout(set = 0, binding = 1) readonly buffer X { float x[]; };
layout(set = 0, binding = 2) readonly buffer Shift { float shifts[]; };
layout(set = 0, binding = 3) readonly buffer Inverse { float inverses[]; };
layout(set = 0, binding = 4) readonly buffer Weight { float weight[]; };
layout(set = 0, binding = 5) writeonly buffer Gx { float gx[]; };

layout(push_constant) uniform Params {
    uint rows, n;
    uint first_row;
    uint spread, weights;
    uint first_g, first_x, first_shift, first_inverse, first_weight, first_gx;
};

void main() {
    uint lane = gl_LocalInvocationID.x, l = lane % LANES;
    uint row = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * (gl_WorkGroupSize.x / LANES) + lane / LANES;
    bool real = row < rows;
    uint count = real ? n : 0u, at = real ? row : 0u, first = (first_row + row) * (n / spread);
    float x0 = CENTRED ? x[first_x + at * n] : 0.0, c = shifts[first_shift + at], r = inverses[first_inverse + at];
    vec2 sum = vec2(0.0), dot = vec2(0.0);
    for (uint j = l; j < count; j += LANES) {
        precise float h = ((x[first_x + at * n + j] - x0) - c) * r;
        precise float gh = g[first_g + at * n + j];
        if (WEIGHT) gh = gh * weight[first_weight + (first + j / spread) % weights];
        precise float product = gh * h;
        if (CENTRED) sum = add(sum, vec2(gh, 0.0));
        dot = add(dot, vec2(product, 0.0));
    }
    precise float mean = 0.0;
    if (CENTRED) mean = whole(sum) / float(n);
    precise float along = whole(dot) / float(n);
    for (uint j = l; j < count; j += LANES) {
        precise float h = ((x[first_x + at * n + j] - x0) - c) * r;
        precise float gh = g[first_g + at * n + j];
        if (WEIGHT) gh = gh * weight[first_weight + (first + j / spread) % weights];
        precise float slope = r * (gh - mean - h * along);
        gx[first_gx + at * n + j] = slope;
    }
}
