#version 450
// gx[t] = sum of g[o] over the outputs o of a padding that read x[t]: along each axis o = t + before, and what was
// reflected, brought to the end or wrapped around from there. The same order each time, no atomics; the sum is
// compensated, since an end may have been read many times.
//
// One invocation an element of gx, in the order in which it lies in memory. For each axis it counts the outputs that
// read its coordinate, then walks over all combinations; inside the image that is one.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(constant_id = 0) const uint OUTSIDE = 1;

#define REFLECTS   1u // layers/rearrange.h has the same numbers
#define REPLICATES 2u
#define WRAPS      3u
#define MAX_AXES   8

layout(set = 0, binding = 0) readonly buffer G { float g[]; };
layout(set = 0, binding = 1) writeonly buffer GX { float gx[]; };
// each axis, the fastest of gx first: its size, division by it as multiplication and shift, before, its size in g, its
// stride in g
layout(set = 0, binding = 2) readonly buffer Record { uint words[]; };
#define AXIS_WORDS 6u

layout(push_constant) uniform Params {
    uint count;
    uint begin;
    uint axes, record;
    uint first_g, first_gx;
};

// The candidates: what lies at t itself, what came from below, what came from above.
int source(int t, int n, int before, uint which) {
    if (which == 0u) return t + before;
    if (OUTSIDE == REFLECTS) return which == 1u ? (t >= 1 ? before - t : -1) : (t < n - 1 ? 2 * (n - 1) - t + before : -1);
    return which == 1u ? t + before - n : t + before + n;
}

void main() {
    uint i = flat_index();
    if (i >= count) return;
    uint rest = begin + i, total = 1u;
    uint from[MAX_AXES], counts[MAX_AXES]; // REPLICATES: the first of them; otherwise a bit for each candidate
    for (uint d = 0u; d < axes; d++) {
        uint w = record + d * AXIS_WORDS, coordinate = rest;
        if (d + 1u < axes) {
            uint high, low;
            umulExtended(rest, words[w + 1u], high, low);
            uint quotient = words[w] == 1u ? rest : high >> words[w + 2u];
            coordinate = rest - quotient * words[w];
            rest = quotient;
        }
        int t = int(coordinate), n = int(words[w]), before = int(words[w + 3u]), m = int(words[w + 4u]);
        if (OUTSIDE == REPLICATES) {
            int low = max(t == 0 ? 0 : t + before, 0), high = min(t == n - 1 ? m - 1 : t + before, m - 1);
            from[d] = uint(low);
            counts[d] = uint(max(high - low + 1, 0));
        } else {
            uint bits = 0u;
            for (uint k = 0u; k < 3u; k++) {
                int o = source(t, n, before, k);
                if (o >= 0 && o < m) bits |= 1u << k;
            }
            from[d] = bits | coordinate << 3;
            counts[d] = uint(bitCount(bits));
        }
        total *= counts[d];
    }
    precise float sum = 0.0, lost = 0.0;
    for (uint s = 0u; s < total; s++) {
        uint which = s, at = first_g;
        for (uint d = 0u; d < axes; d++) {
            uint w = record + d * AXIS_WORDS, k = which % counts[d];
            which /= counts[d];
            uint o = from[d] + k;
            if (OUTSIDE != REPLICATES) {
                uint bits = from[d] & 7u;
                for (uint b = 0u; b < k; b++) bits &= bits - 1u;
                o = uint(source(int(from[d] >> 3), int(words[w]), int(words[w + 3u]), uint(findLSB(bits))));
            }
            at += o * words[w + 5u];
        }
        precise float term = g[at] - lost, next = sum + term; // Kahan
        lost = (next - sum) - term;
        sum = next;
    }
    gx[first_gx + i] = sum;
}
