#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// D[z][m][n] = epilogue(sum over k of A[z][m][k] * B[z][k][n]), for GPUs.
//
// A workgroup of 256 makes a tile of 64 x 64, each invocation 4 x 4 of it in registers. Sixteen steps of k of both
// matrices stand in shared memory, twice: while one copy is multiplied, the next one's loads are under way, so each
// step has one barrier. An invocation loads one vec4 of each matrix.

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint UNUSED = 0;

#include "product/product.glsl"
#include "product/epilogue.glsl"

#define TILE 64
#define STEP 16

shared vec4 tile_a[2][STEP][TILE / 4], tile_b[2][STEP][TILE / 4]; // 16 KiB: the least that a device has

void main() {
    uint tiles_m = (M + TILE - 1) / TILE, tiles_n = (N + TILE - 1) / TILE;
    uint tile = gl_WorkGroupID.y * min(tiles_m * tiles_n, 65535u) + gl_WorkGroupID.x;
    if (tile >= tiles_m * tiles_n) return;
    uint tile_m = tile / tiles_n;
    uint m0 = tile_m * TILE, n0 = (tile - tile_m * tiles_n) * TILE;
    Place p = place(gl_WorkGroupID.z);
    uint i = gl_LocalInvocationIndex;

    // what this invocation loads: (line, four) in a block of 16 lines of 64, or of 64 lines of 16
    uint wide_line = i / 16, wide_four = i % 16, tall_line = i / 4, tall_four = i % 4;
    bool a_wide = A_MODE == MODE_ALONG_M, b_wide = B_MODE != MODE_ALONG_K;
    Row row = row_of(p, a_wide ? min(m0 + wide_four * 4, M - 4) : min(m0 + tall_line, M - 1));
    uint a_k = a_wide ? wide_line : tall_four * 4, b_k0 = b_wide ? wide_line : tall_four * 4;
    uint b_n0 = n0 + (b_wide ? wide_four * 4 : tall_line);

    vec4 sums[4] = { vec4(0), vec4(0), vec4(0), vec4(0) };
    uint side = 0, mine_m = i / 16, mine_n = i % 16;
    for (uint k = p.k_begin; k < p.k_end + STEP; k += STEP) {
        vec4 next_a, next_b;
        bool more = k < p.k_end;
        if (more) {
            next_a = load_a(row, k + a_k, p.k_end);
            next_b = load_b(p.b, k + b_k0, b_n0, p.k_end);
        }
        if (k > p.k_begin) {
            [[unroll]] for (uint j = 0; j < STEP; j++) {
                vec4 a = tile_a[side][j][mine_m], b = tile_b[side][j][mine_n];
                sums[0] += a.x * b;
                sums[1] += a.y * b;
                sums[2] += a.z * b;
                sums[3] += a.w * b;
            }
        }
        if (more) { // the other copy's readers came past the barrier before
            side = 1 - side;
            if (a_wide) {
                tile_a[side][wide_line][wide_four] = next_a;
            } else {
                [[unroll]] for (uint j = 0; j < 4; j++)
                    tile_a[side][tall_four * 4 + j][tall_line / 4][tall_line % 4] = next_a[j];
            }
            if (b_wide) {
                tile_b[side][wide_line][wide_four] = next_b;
            } else {
                [[unroll]] for (uint j = 0; j < 4; j++)
                    tile_b[side][tall_four * 4 + j][tall_line / 4][tall_line % 4] = next_b[j];
            }
        }
        barrier();
    }

    [[unroll]] for (uint r = 0; r < 4; r++) {
        uint m = m0 + mine_m * 4 + r, n = n0 + mine_n * 4;
        if (m < M && n < N) finish(p, m, n, sums[r]);
    }
}
