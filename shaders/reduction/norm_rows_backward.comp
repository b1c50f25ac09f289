#version 450
// The gradient of norm_rows.comp's y with respect to x, of each row of n elements: with h = (x - mean) r and gh = g weight
//   gx = r (gh - mean(gh) - h mean(gh h))
// without the first mean where x is not centred.
#extension GL_GOOGLE_include_directive : require
#include "reduction/norm.glsl"

layout(constant_id = 4) const bool PLAIN = false; // every row has the weights 0 to n - 1

layout(set = 0, binding = 0) readonly buffer G { VALUE g[]; };
layout(set = 0, binding = 1) readonly buffer X { VALUE x[]; };
layout(set = 0, binding = 2) readonly buffer Weight { VALUE weight[]; };
layout(set = 0, binding = 3) writeonly buffer Gx { VALUE gx[]; };
layout(set = 0, binding = 4) readonly buffer Shift { float shifts[]; };
layout(set = 0, binding = 5) readonly buffer Inverse { float inverses[]; };
#ifdef TEXELS
layout(set = 0, binding = 8) uniform textureBuffer g_texels;
layout(set = 0, binding = 9) uniform textureBuffer x_texels;
layout(set = 0, binding = 10) uniform textureBuffer weight_texels;
#endif

layout(push_constant) uniform Params {
    uint rows, n;
    uint first_row;
    uint spread, weights;
    uint first_g, first_x, first_weight, first_gx, first_shift, first_inverse;
};

void main() {
    uint lane = gl_LocalInvocationID.x, l = lane % LANES * WIDTH;
    uint row = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * (gl_WorkGroupSize.x / LANES) + lane / LANES;
    bool real = row < rows;
    uint count = real ? n : 0u, at = real ? row : 0u, first = (first_row + row) * (n / spread);
    float x0 = CENTRED ? READ(x, first_x + at * n).x : 0.0;
    float c = shifts[first_shift + at], r = inverses[first_inverse + at];
    Sums sum = Sums(VALUE(0.0), VALUE(0.0)), dot = sum;
    for (uint j = l; j < count; j += LANES * WIDTH) {
        precise VALUE h = ((READ(x, first_x + at * n + j) - x0) - c) * r;
        precise VALUE gh = READ(g, first_g + at * n + j);
        if (WEIGHT) gh = gh * EACH_WEIGHT(weight, first_weight, j);
        precise VALUE product = gh * h;
        if (CENTRED) add(sum, gh);
        add(dot, product);
    }
    precise float mean = 0.0;
    if (CENTRED) mean = whole(sum) / float(n);
    precise float along = whole(dot) / float(n);
    for (uint j = l; j < count; j += LANES * WIDTH) {
        precise VALUE h = ((READ(x, first_x + at * n + j) - x0) - c) * r;
        precise VALUE gh = READ(g, first_g + at * n + j);
        if (WEIGHT) gh = gh * EACH_WEIGHT(weight, first_weight, j);
        precise VALUE slope = r * (gh - mean - h * along);
        gx[(first_gx + at * n + j) / WIDTH] = slope;
    }
}
