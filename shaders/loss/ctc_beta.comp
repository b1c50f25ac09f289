#version 450
// The other way, from the end: the logarithm of the probability of all paths from state s at time t on, that time
// included, as ctc_alpha.comp has those up to it. Beside it what ctc_backward.comp reads of each sample: a head, and for
// each label its next occurrence (the upper bit: it is the first one), so that a class is summed up by one invocation.
// A workgroup a sample.
#extension GL_GOOGLE_include_directive : require
#include "loss/ctc.glsl"

layout(set = 0, binding = 0) readonly buffer LogProbs { float lp[]; };
layout(set = 0, binding = 1) readonly buffer Targets { int target[]; };
layout(set = 0, binding = 2) readonly buffer InputLengths { int input_length[]; };
layout(set = 0, binding = 3) readonly buffer TargetLengths { int target_length[]; };
layout(set = 0, binding = 4) readonly buffer Loss { float loss[]; };
layout(set = 0, binding = 5) readonly buffer Gradient { float g[]; };
layout(set = 0, binding = 6) coherent buffer Beta { float beta[]; };
layout(set = 0, binding = 7) writeonly buffer Links { uint link[]; };

layout(push_constant) uniform Params {
    uint begin, count;
    uint times, samples, classes, most;
    uint blank;
    uint first_lp, first_target, first_input, first_length, first_loss, first_g, first_beta, first_link;
};

#define HEAD 4u // times, labels, the loss, what arrives; no times: no gradient

uint label_of(uint n, uint s) {
    return (s & 1u) == 0u ? blank : uint(target[first_target + n * most + s / 2u]);
}

float log_prob(uint t, uint n, uint label) {
    return lp[first_lp + (t * samples + n) * classes + label];
}

void main() {
    uint group = group_index(), lane = gl_LocalInvocationID.x, n = begin + group;
    if (group >= count) return;
    uint steps = uint(input_length[first_input + n]), own = uint(target_length[first_length + n]);
    uint head = first_link + group * (most + HEAD);
    float value = loss[first_loss + n], arriving = g[first_g + n];
    bool wrong = is_nan(value);
    if (arriving == 0.0) steps = 0u;
    if (lane == 0u) {
        link[head] = wrong && steps > times ? times : steps;
        link[head + 1u] = own;
        link[head + 2u] = floatBitsToUint(value);
        link[head + 3u] = floatBitsToUint(arriving);
    }
    if (wrong || steps == 0u || value > 1e29) return; // for the whole group
    for (uint i = lane; i < own; i += LANES) {
        uint label = label_of(n, 2u * i + 1u), next = i + 1u, before = 0u;
        while (next < own && label_of(n, 2u * next + 1u) != label) next++;
        while (label_of(n, 2u * before + 1u) != label) before++;
        link[head + HEAD + i] = next | (before == i ? 0x80000000u : 0u);
    }
    uint states = 2u * own + 1u, width = 2u * most + 1u, row = first_beta + (group * times + steps - 1u) * width;
    for (uint s = lane; s < states; s += LANES)
        beta[row + s] = s + 2u >= states ? possible(log_prob(steps - 1u, n, label_of(n, s))) : IMPOSSIBLE;
    for (uint t = steps - 1u; t-- > 0u;) {
        memoryBarrierBuffer();
        barrier();
        uint after = row;
        row -= width;
        for (uint s = lane; s < states; s += LANES) {
            uint label = label_of(n, s);
            float b = s + 1u < states ? beta[after + s + 1u] : IMPOSSIBLE;
            float c = s + 2u < states && label_of(n, s + 2u) != label ? beta[after + s + 2u] : IMPOSSIBLE;
            precise float sum = log_add(beta[after + s], b, c) + log_prob(t, n, label);
            beta[row + s] = possible(sum);
        }
    }
}
