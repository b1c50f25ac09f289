// What the kernels of attention's backward pass share: the rows' statistics, from statistics.comp, and
//
//   P = exp(score - log_sum),  dP(i, j) = keep(i, j) sum over f of dO[i, f] v[j, f],  dS = P (dP - D)
//
// so that dq = scale dS k, dk = scale dS^T q, dv = (keep P)^T dO, dmask = dS.
#ifndef TUFF_ATTENTION_BACKWARD_GLSL
#define TUFF_ATTENTION_BACKWARD_GLSL

#include "attention/attention.glsl"

layout(set = 0, binding = 4) readonly buffer Gradient { float gradient[]; }; // dO, row-major
// seed, step; log_sum, D of each row. Bound from its start
layout(set = 0, binding = 5) readonly buffer Statistics { uint statistics[]; };

#define GRADIENT_LIES Lies(EV, 1, L * EV, HEADS * L * EV)

// (log_sum, D) of a query.
vec2 statistics_of(uint batch, uint head, uint i) {
    uint at = 4 + 2 * (((batch_begin + batch) * HEADS + head) * L + min(i, L - 1));
    return vec2(uintBitsToFloat(statistics[at]), uintBitsToFloat(statistics[at + 1]));
}

// keep P and dS of one pair, from the two dot products.
vec2 pair_of(float qk, float gv, uint batch, uint head, uint i, uint j) {
    vec2 row = statistics_of(batch, head, i);
    float s = score_of(qk, batch, head, i, j);
    float weight = weight_of(s, row.x), keep = 1.0;
    if (DROPOUT)
        keep = keep_of(batch, head, i, j, uvec2(statistics[2], statistics[3]),
                       uvec2(statistics[0], statistics[1]));
    precise float ds = weight * (keep * gv - row.y);
    return vec2(weight * keep, mix(0.0, ds, is_seen(s)));
}

#endif
