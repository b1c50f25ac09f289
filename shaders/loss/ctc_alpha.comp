#version 450
// For each sample n the logarithm of the probability of all paths that stand in state s at time t,
//   alpha[0, s] = lp[0, l(s)] for s = 0, 1;  alpha[t, s] = lp[t, l(s)] + log(e^alpha[t-1, s] + e^alpha[t-1, s-1]
//   + (l(s) != l(s-2)) e^alpha[t-1, s-2]),  and  loss = -log(e^alpha[T-1, 2 U] + e^alpha[T-1, 2 U - 1])
// where l(s) is state s's label, U the sample's number of labels, T its number of times; NaN if a label or a length is
// out of range. A workgroup a sample: its lanes share the states, times are one after the other.
#extension GL_GOOGLE_include_directive : require
#include "loss/ctc.glsl"

layout(set = 0, binding = 0) readonly buffer LogProbs { float lp[]; };
layout(set = 0, binding = 1) readonly buffer Targets { int target[]; };
layout(set = 0, binding = 2) readonly buffer InputLengths { int input_length[]; };
layout(set = 0, binding = 3) readonly buffer TargetLengths { int target_length[]; };
layout(set = 0, binding = 4) writeonly buffer Loss { float loss[]; };
layout(set = 0, binding = 5) coherent buffer Alpha { float alpha[]; };
layout(set = 0, binding = 6) writeonly buffer Count { float labels[]; }; // U, at least 1

layout(push_constant) uniform Params {
    uint begin, count; // samples of this call
    uint times, samples, classes, most; // most: labels that a sample has room for
    uint blank;
    uint first_lp, first_target, first_input, first_length, first_loss, first_alpha, first_labels;
};

shared uint bad;

uint label_of(uint n, uint s) {
    return (s & 1u) == 0u ? blank : uint(target[first_target + n * most + s / 2u]);
}

float log_prob(uint t, uint n, uint label) {
    return lp[first_lp + (t * samples + n) * classes + label];
}

void main() {
    uint group = group_index(), lane = gl_LocalInvocationID.x, n = begin + group;
    if (group >= count) return; // the whole group, as below
    uint steps = uint(input_length[first_input + n]), own = uint(target_length[first_length + n]);
    if (lane == 0u) {
        bad = steps > times || own > most ? 1u : 0u;
        labels[first_labels + n] = own == 0u || own > most ? 1.0 : float(own);
    }
    barrier();
    for (uint i = lane; i < own && own <= most; i += LANES)
        if (uint(target[first_target + n * most + i]) >= classes) bad = 1u;
    barrier();
    if (bad != 0u || steps == 0u) {
        if (lane == 0u) loss[first_loss + n] = bad != 0u ? NOT_A_NUMBER : own == 0u ? 0.0 : TUFF_INFINITY;
        return;
    }
    uint states = 2u * own + 1u, width = 2u * most + 1u, row = first_alpha + group * times * width;
    for (uint s = lane; s < states; s += LANES)
        alpha[row + s] = s < 2u ? possible(log_prob(0u, n, label_of(n, s))) : IMPOSSIBLE;
    for (uint t = 1u; t < steps; t++) {
        memoryBarrierBuffer();
        barrier();
        uint before = row;
        row += width;
        for (uint s = lane; s < states; s += LANES) {
            uint label = label_of(n, s);
            float b = s > 0u ? alpha[before + s - 1u] : IMPOSSIBLE;
            float c = s > 1u && label_of(n, s - 2u) != label ? alpha[before + s - 2u] : IMPOSSIBLE;
            precise float value = log_add(alpha[before + s], b, c) + log_prob(t, n, label);
            alpha[row + s] = possible(value);
        }
    }
    memoryBarrierBuffer();
    barrier();
    if (lane > 0u) return;
    float path = log_add(alpha[row + states - 1u], own > 0u ? alpha[row + states - 2u] : IMPOSSIBLE, IMPOSSIBLE);
    loss[first_loss + n] = path < -1e29 ? TUFF_INFINITY : -path;
}
