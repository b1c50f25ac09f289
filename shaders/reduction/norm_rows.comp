#version 450
// y = behind((x - mean) r weight + bias) with r = 1 / sqrt(mean of (x - mean)^2 + epsilon) for each row of n elements, where
// behind is a chain (an activation), and what the backward pass needs: c = mean - x0 and r. Element j of a row has the
// weight number (row * n + j) / spread, counted round.
#extension GL_GOOGLE_include_directive : require
#include "reduction/norm.glsl"
layout(constant_id = 4) const bool BIAS = true;
layout(constant_id = 5) const bool PLAIN = false; // every row has the weights 0 to n - 1
layout(constant_id = 6) const uint OUTCOME = 0;   // the operand that the chain makes
#define CHAIN_FIRST_ID 7
#define CHAIN_INPUTS   1

layout(set = 0, binding = 0) readonly buffer X { VALUE x[]; };
layout(set = 0, binding = 1) readonly buffer Weight { VALUE weight[]; };
layout(set = 0, binding = 2) readonly buffer Bias { VALUE bias[]; };
layout(set = 0, binding = 3) writeonly buffer Y { VALUE y[]; };
layout(set = 0, binding = 4) writeonly buffer Shift { float shifts[]; };
layout(set = 0, binding = 5) writeonly buffer Inverse { float inverses[]; };
#ifdef TEXELS
layout(set = 0, binding = 8) uniform textureBuffer x_texels;
layout(set = 0, binding = 9) uniform textureBuffer weight_texels;
layout(set = 0, binding = 10) uniform textureBuffer bias_texels;
#endif

layout(push_constant) uniform Params {
    uint rows, n;
    uint first_row; // of these among all, counted round in the rows that have different weights
    uint spread, weights;
    float epsilon;
    uint first_x, first_weight, first_bias, first_y, first_shift, first_inverse;
    uint constants[16];
};

uint chain_constant(uint i) {
    return constants[i];
}
#include "common/chain.glsl"

float behind(float value) {
    chain_inputs[0] = floatBitsToUint(value);
    chain_run();
    uint outcome;
    CHAIN_VALUE(outcome, OUTCOME)
    return uintBitsToFloat(outcome);
}

void main() {
    uint lane = gl_LocalInvocationID.x, l = lane % LANES * WIDTH;
    uint row = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * (gl_WorkGroupSize.x / LANES) + lane / LANES;
    uint count = row < rows ? n : 0u, base = first_x + (row < rows ? row * n : 0u);
    float x0 = CENTRED ? READ(x, base).x : 0.0;
    Sums sum = Sums(VALUE(0.0), VALUE(0.0));
    precise float c = 0.0;
    if (CENTRED) {
        for (uint j = l; j < count; j += LANES * WIDTH) {
            precise VALUE d = READ(x, base + j) - x0;
            add(sum, d);
        }
        c = whole(sum) / float(n);
        sum = Sums(VALUE(0.0), VALUE(0.0));
    }
    for (uint j = l; j < count; j += LANES * WIDTH) {
        precise VALUE d = (READ(x, base + j) - x0) - c;
        precise VALUE square = d * d;
        add(sum, square);
    }
    precise float r = 1.0 / sqrt(whole(sum) / float(n) + epsilon);
    uint first = (first_row + row) * (n / spread);
    for (uint j = l; j < count; j += LANES * WIDTH) {
        precise VALUE h = ((READ(x, base + j) - x0) - c) * r;
        if (WEIGHT) h = h * EACH_WEIGHT(weight, first_weight, j);
        if (BIAS) h = h + EACH_WEIGHT(bias, first_bias, j);
#if WIDTH == 4
        if (chain_steps > 0u) h = VALUE(behind(h.x), behind(h.y), behind(h.z), behind(h.w));
#else
        if (chain_steps > 0u) h = behind(h);
#endif
        y[(first_y + row * n + j) / WIDTH] = h;
    }
    if (row < rows && l == 0u) {
        shifts[first_shift + row] = c;
        inverses[first_inverse + row] = r;
    }
}
