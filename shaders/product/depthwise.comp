#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// D[m][n] = epilogue(sum over k of A[m][k][n] * B[k][n]): convolutions with a group for each channel, in which every
// column has a matrix A of its own: k chooses the tap (WINDOW) or the pixel (PATCH), and, with the column, the channel.
//
// An invocation makes four columns of four neighbouring rows, so that what it reads of B, and where k leads, serves four
// times; neighbours take the next columns, which lie side by side in channels-last images. The sum goes in blocks, which
// keeps its rounding errors those of a short one.

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint UNUSED = 0;

#include "product/product.glsl"
#include "product/epilogue.glsl"

#define ROWS  4
#define BLOCK 16

// A's columns n .. n + 3 for a place of the image.
vec4 load_columns(uint at, uint n) {
    if (A_MODE == MODE_ALONG_N) return A_FOUR((at + n) / 4);
    vec4 value;
    [[unroll]] for (uint c = 0; c < 4; c++) // a_group columns have one channel
        value[c] = a1[at + min(n + c, N - 1) / a_group * channels * image_c];
    return value;
}

void main() {
    uint fours = (N + 3) / 4, count = fours * ((M + ROWS - 1) / ROWS);
    uint group = gl_WorkGroupID.y * min((count + 63) / 64, 65535u) + gl_WorkGroupID.x;
    uint i = group * 64 + gl_LocalInvocationID.x, strip = i / fours, n = (i - strip * fours) * 4, m = strip * ROWS;
    if (i >= count) return;
    Place p = place(gl_WorkGroupID.z);

    Row rows[ROWS];
    vec4 sums[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        rows[r] = row_of(p, min(m + r, M - 1));
        sums[r] = vec4(0);
    }
    for (uint begin = p.k_begin; begin < p.k_end; begin += BLOCK) {
        vec4 block[ROWS] = { vec4(0), vec4(0), vec4(0), vec4(0) };
        for (uint k = begin; k < min(begin + BLOCK, p.k_end); k++) {
            vec4 b = load_b(p.b, k, n, p.k_end);
#if LOADER == LOADER_WINDOW
            ivec4 tap = tap_of(k);
#else
            ivec4 pixel = pixel_of(k);
#endif
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                uint at; // of the image's first pixel, where it meets none
#if LOADER == LOADER_WINDOW
                bool inside = meet(rows[r], tap, at);
#else
                bool inside = meet(pixel, rows[r], at);
#endif
                vec4 a = load_columns(at, n);
                block[r] += (inside ? a : vec4(0)) * b;
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) sums[r] += block[r];
    }
    Columns columns = columns_of(p, n);
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        if (m + r < M) finish(p, m + r, n, sums[r], columns);
}
