#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// D[z][m][n] = epilogue(sum over k of A[z][m][k] * B[z][k][n]) for a few rows, on GPUs: what counts is that B is read
// once, by all of a device.
//
// A workgroup makes 4 rows and 64 columns. Its invocations share both the columns and the sum: each makes 4 x 4, of every
// sixteenth four of k, and in the end one of sixteen adds up what they have. Neighbours lie along that axis of B whose
// elements do.

#define ROWS    4
#define ACROSS  16 // invocations along n
#define SHARERS 16 // of a sum
#define STEP    (4 * SHARERS)

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint UNUSED = 0;

#include "product/product.glsl"
#include "product/epilogue.glsl"

shared vec4 part[SHARERS][ROWS][ACROSS]; // 16 KiB: the least that a device has

void main() {
    uint tiles_m = (M + ROWS - 1) / ROWS, tiles_n = (N + 4 * ACROSS - 1) / (4 * ACROSS);
    uint tile = gl_WorkGroupID.y * min(tiles_m * tiles_n, 65535u) + gl_WorkGroupID.x;
    if (tile >= tiles_m * tiles_n) return;
    uint tile_m = tile / tiles_n;
    uint m0 = tile_m * ROWS, n0 = (tile - tile_m * tiles_n) * 4 * ACROSS;
    Place p = place(gl_WorkGroupID.z);
    uint i = gl_LocalInvocationIndex;
    bool a_wide = A_MODE == MODE_ALONG_M, b_tall = B_MODE == MODE_ALONG_K;
    uint sharer = b_tall ? i % SHARERS : i / ACROSS, column = b_tall ? i / SHARERS : i % ACROSS;
    uint n = n0 + column * 4;

    Row rows[ROWS];
    vec4 sums[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        rows[r] = row_of(p, a_wide ? min(m0, M - 4) : min(m0 + r, M - 1));
        sums[r] = vec4(0);
    }
    for (uint k = p.k_begin + sharer * 4; k < p.k_end; k += STEP) {
        mat4 a, b;
        // drivers for GPUs unroll this by themselves; told to, SwiftShader takes gigabytes to compile it for volumes
        for (uint j = 0; j < 4; j++) {
            a[j] = load_a(rows[j], a_wide ? k + j : k, p.k_end);
            b[j] = load_b(p.b, b_tall ? k : k + j, b_tall ? n + j : n, p.k_end);
        }
        if (a_wide) a = transpose(a);
        if (b_tall) b = transpose(b);
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            sums[r] += a[r].x * b[0] + a[r].y * b[1] + a[r].z * b[2] + a[r].w * b[3];
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++) part[sharer][r][column] = sums[r];
    barrier();
    if (i >= ROWS * ACROSS) return;
    uint r = i / ACROSS, c = i % ACROSS;
    vec4 sum = vec4(0);
    for (uint s = 0; s < SHARERS; s++) sum += part[s][r][c];
    n = n0 + c * 4;
    if (m0 + r < M && n < N) finish(p, m0 + r, n, sum, columns_of(p, n));
}
