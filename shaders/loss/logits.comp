#version 450
// Log-sum-exp of rows of logits that come a block of classes at a time (Milakov and Gimelshein, Online normalizer
// calculation for softmax, 2018). For a block z of (rows, columns), with the bias added, and what the blocks before left:
//   m' = max(m, max z),  s' = s exp(m - m') + sum exp(z - m'),  t' = t + seen (m - m') + sum (z - m')
// and p = z at the target's column. The last block leaves log s and p - m.
// A workgroup a row: its lanes share the columns and sum up in a tree.
#extension GL_GOOGLE_include_directive : require
#include "common/math.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer Z { float z[]; };
layout(set = 0, binding = 1) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 2) readonly buffer Target { int target[]; };
layout(set = 0, binding = 3) buffer Largest { float m[]; };
layout(set = 0, binding = 4) buffer Sum { float s[]; };
layout(set = 0, binding = 5) buffer Picked { float p[]; };
layout(set = 0, binding = 6) buffer Total { float t[]; };

layout(push_constant) uniform Params {
    uint rows, columns;
    uint begin; // the first column's class; 0: there is nothing yet
    uint last; // 1: no block follows
    uint has_bias;
    uint first_z, first_bias, first_target, first_m, first_s, first_p, first_t;
};

#define LEAST        -3.4028235e38
#define NOT_A_NUMBER uintBitsToFloat(0x7fc00000u)

shared float sums[64], others[64];

float logit(uint row, uint column) {
    precise float value = z[first_z + row * columns + column];
    if (has_bias != 0u) value += bias[first_bias + column];
    return value;
}

void main() {
    uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, lane = gl_LocalInvocationID.x;
    if (row >= rows) return; // the whole group
    float largest = LEAST;
    for (uint c = lane; c < columns; c += 64u) {
        float value = logit(row, c);
        if (value > largest) largest = value;
    }
    sums[lane] = largest;
    barrier();
    for (uint reach = 32u; reach > 0u; reach >>= 1) {
        if (lane < reach && sums[lane + reach] > sums[lane]) sums[lane] = sums[lane + reach];
        barrier();
    }
    float before = begin > 0u ? m[first_m + row] : LEAST;
    largest = before > sums[0] ? before : sums[0];
    barrier();
    precise float sum = 0.0, total = 0.0;
    for (uint c = lane; c < columns; c += 64u) {
        precise float shifted = logit(row, c) - largest;
        sum += tuff_exp(shifted);
        total += shifted;
    }
    sums[lane] = sum;
    others[lane] = total;
    barrier();
    for (uint reach = 32u; reach > 0u; reach >>= 1) {
        if (lane < reach) {
            sums[lane] += sums[lane + reach];
            others[lane] += others[lane + reach];
        }
        barrier();
    }
    if (lane > 0u) return;
    sum = sums[0];
    total = others[0];
    if (begin > 0u) {
        precise float moved = before - largest;
        sum += s[first_s + row] * tuff_exp(moved);
        total += t[first_t + row] + float(begin) * moved;
    }
    uint column = uint(target[first_target + row]) - begin;
    float picked = begin > 0u ? p[first_p + row] : NOT_A_NUMBER;
    if (column < columns) picked = logit(row, column);
    m[first_m + row] = largest;
    s[first_s + row] = last != 0u ? tuff_log(sum) : sum;
    p[first_p + row] = last != 0u ? picked - largest : picked;
    t[first_t + row] = total;
}
