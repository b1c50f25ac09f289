#version 450
#extension GL_GOOGLE_include_directive : require
// The gates and the new state of one step, one invocation for each element of h.
// TILED: hidden[n, g, j] = sum over k of h'[n, k] W[g, j, k] is made here.
#include "recurrent/cell.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Hidden { float hidden[]; }; // TILED: W
layout(set = 0, binding = 2) readonly buffer Previous { float previous[]; }; // LSTM: c', may be where c goes; GRU: h'
layout(set = 0, binding = 3) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 4) writeonly buffer Last { float last[]; };
layout(set = 0, binding = 5) writeonly buffer Kept { float kept[]; };
#if MODE == MODE_GRU
layout(set = 0, binding = 6) readonly buffer Bias { float bias[]; };
#else
layout(set = 0, binding = 6) writeonly buffer Cell { float cell[]; };
#endif
layout(set = 0, binding = 7) readonly buffer State { float state[]; }; // TILED: h'

layout(push_constant) uniform Params {
    uint rows, size; // of h
    uint flags;
    uint previous_row, y_row; // strides
    uint first_x, first_hidden, first_previous, first_y, first_last, first_kept, first_6;
    uint state_row, first_state; // TILED
};

void finish(uint n, uint j, vec4 from_h) {
    uint at = n * size + j;
    vec4 from_x = vec4(0);
    for (uint g = 0u; g < GATES; g++) from_x[g] = x[first_x + (n * GATES + g) * size + j];
    float before = 0.0;
    if ((flags & HAS_PREVIOUS) != 0u) before = previous[first_previous + n * previous_row + j];
    precise float h;
    vec4 keep = vec4(0);
#if MODE == MODE_RNN
    h = from_x.x + from_h.x;
    if ((flags & RELU) != 0u)
        h = h < 0.0 ? 0.0 : h;
    else
        h = tuff_tanh(h);
#elif MODE == MODE_GRU
    if ((flags & HAS_BIAS) != 0u)
        for (uint g = 0u; g < GATES; g++) from_h[g] += bias[first_6 + g * size + j];
    float r = tuff_sigmoid(from_x.x + from_h.x), z = tuff_sigmoid(from_x.y + from_h.y);
    precise float inner = from_x.z + r * from_h.z;
    float candidate = tuff_tanh(inner);
    h = (1.0 - z) * candidate + z * before;
    keep = vec4(r, z, candidate, from_h.z);
#else
    vec4 a = from_x + from_h;
    keep = vec4(tuff_sigmoid(a.x), tuff_sigmoid(a.y), tuff_tanh(a.z), tuff_sigmoid(a.w));
    precise float c = keep.y * before + keep.x * keep.z;
    h = keep.w * tuff_tanh(c);
    cell[first_6 + at] = c;
#endif
    y[first_y + n * y_row + j] = h;
    if ((flags & LAST) != 0u) last[first_last + at] = h;
#if MODE != MODE_RNN
    if ((flags & KEEP) != 0u)
        for (uint g = 0u; g < KEPT; g++) kept[first_kept + (n * KEPT + g) * size + j] = keep[g];
#endif
}

#ifdef TILED

#define STEP 64

shared vec4 tile_h[TILE][STEP / 4 + 1], tile_w[GATES * TILE][STEP / 4 + 1]; // a vec4 more: the rows' banks differ
shared vec4 sums[PARTS][TILE * TILE];

void main() {
    uint n0 = gl_WorkGroupID.y * TILE, j0 = gl_WorkGroupID.x * TILE, i = gl_LocalInvocationIndex;
    uint part = my_part(), row = my_row(), column = my_column();
    vec4 sum = vec4(0);
    for (uint k0 = 0u; (flags & HAS_HIDDEN) != 0u && k0 < size; k0 += STEP) {
        for (uint e = i; e < (1 + GATES) * TILE * STEP; e += 256u) {
            uint line = e / STEP, k = e % STEP;
            bool of_h = line < TILE;
            uint in_w = line - TILE, gate = in_w / TILE, j = j0 + in_w % TILE, n = n0 + line;
            bool there = k0 + k < size && (of_h ? n < rows : j < size);
            float value = 0.0;
            if (there && of_h)
                value = state[first_state + n * state_row + k0 + k];
            else if (there)
                value = hidden[first_hidden + (gate * size + j) * size + k0 + k];
            if (of_h)
                tile_h[line][k / 4u][k % 4u] = value;
            else
                tile_w[in_w][k / 4u][k % 4u] = value;
        }
        barrier();
        for (uint q = part * (STEP / PARTS / 4); q < (part + 1u) * (STEP / PARTS / 4); q++) {
            vec4 h = tile_h[row][q];
            for (uint g = 0u; g < GATES; g++) sum[g] += dot(h, tile_w[g * TILE + column][q]);
        }
        barrier();
    }
    sums[part][i % 64u] = sum;
    barrier();
    if (part != 0u || n0 + row >= rows || j0 + column >= size) return;
    finish(n0 + row, j0 + column, (sum + sums[1][i]) + (sums[2][i] + sums[3][i]));
}

#else

void main() {
    uint at = flat_index();
    if (at >= rows * size) return;
    uint n = at / size, j = at - n * size;
    vec4 from_h = vec4(0);
    if ((flags & HAS_HIDDEN) != 0u)
        for (uint g = 0u; g < GATES; g++) from_h[g] = hidden[first_hidden + (n * GATES + g) * size + j];
    finish(n, j, from_h);
}

#endif
