#version 450
// The gradient with respect to the logarithms of probabilities that a log_softmax left, as PyTorch has it:
//   grad[t, n, c] = (exp(lp[t, n, c]) - sum over s with l(s) = c of exp(alpha[t, s] + beta[t, s] - lp[t, n, c] + loss)) g
// 0 behind the sample's times, NaN where its loss is infinite or NaN. A workgroup a time of a sample: its lanes share the
// classes, then the blanks, which they sum up in a tree, then the labels, each class of which has one lane.
#extension GL_GOOGLE_include_directive : require
#include "loss/ctc.glsl"

layout(set = 0, binding = 0) readonly buffer LogProbs { float lp[]; };
layout(set = 0, binding = 1) readonly buffer Targets { int target[]; };
layout(set = 0, binding = 2) readonly buffer Links { uint link[]; };
layout(set = 0, binding = 3) readonly buffer Alpha { float alpha[]; };
layout(set = 0, binding = 4) readonly buffer Beta { float beta[]; };
layout(set = 0, binding = 5) coherent buffer Grad { float grad[]; };

layout(push_constant) uniform Params {
    uint begin, count;
    uint times, samples, classes, most;
    uint blank;
    uint first_lp, first_target, first_link, first_alpha, first_beta, first_grad;
};

#define HEAD 4u

shared float sums[LANES];

// The share of the paths through state s.
float through(uint at, uint s, float log_prob, float loss) {
    float a = alpha[first_alpha + at + s], b = beta[first_beta + at + s];
    if (a < -1e29 || b < -1e29) return 0.0;
    precise float path = a + b - log_prob + loss;
    return tuff_exp(path);
}

void main() {
    uint group = group_index(), lane = gl_LocalInvocationID.x, t = group / count, part = group % count;
    if (t >= times) return; // the whole group, as below
    uint n = begin + part, head = first_link + part * (most + HEAD);
    uint row = (t * samples + n) * classes, from = first_lp + row, to = first_grad + row;
    uint steps = link[head], own = link[head + 1u];
    float loss = uintBitsToFloat(link[head + 2u]), g = uintBitsToFloat(link[head + 3u]);
    bool none = t >= steps, wrong = is_nan(loss) || loss > 1e29;
    for (uint c = lane; c < classes; c += LANES) {
        precise float value = tuff_exp(lp[from + c]) * g;
        grad[to + c] = none ? 0.0 : wrong ? NOT_A_NUMBER : value;
    }
    if (none || wrong) return;
    uint at = (part * times + t) * (2u * most + 1u);
    float sum = 0.0;
    for (uint i = lane; i <= own; i += LANES) sum += through(at, 2u * i, lp[from + blank], loss);
    sums[lane] = sum;
    memoryBarrierBuffer();
    barrier();
    for (uint reach = LANES / 2u; reach > 0u; reach >>= 1) {
        if (lane < reach) sums[lane] += sums[lane + reach];
        barrier();
    }
    if (lane == 0u) grad[to + blank] -= sums[0] * g;
    memoryBarrierBuffer(); // a label may be the blank
    barrier();
    for (uint i = lane; i < own; i += LANES) {
        if (link[head + HEAD + i] < 0x80000000u) continue;
        uint label = uint(target[first_target + n * most + i]);
        sum = 0.0;
        for (uint k = i; k < own; k = link[head + HEAD + k] & 0x7fffffffu)
            sum += through(at, 2u * k + 1u, lp[from + label], loss);
        grad[to + label] -= sum * g;
    }
}
