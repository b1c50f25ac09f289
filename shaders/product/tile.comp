#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// D[z][m][n] = epilogue(sum over k of A[z][m][k] * B[z][k][n]), for GPUs.
//
// A workgroup makes a tile of TILE x TILE; an invocation makes 4 x 4 of it in registers, or with SIDE 2 8 x 8, in four
// quarters that lie half a tile apart, so that neighbours read neighbouring vectors. STEP steps of k of both matrices
// stand in shared memory, twice: while one copy is multiplied, the next one's loads are under way, so each step has one
// barrier. What is read along k is turned on its way there: neighbours then write to lines STEP / 4 apart, which would
// lie in the same banks, so the fours of a line change places by its number (place_of).

#define ACROSS  (TILE / 4 / SIDE) // invocations along each direction
#define THREADS (ACROSS * ACROSS)
#define LOADS   (STEP * TILE / 4 / THREADS) // of each matrix, an invocation's for each step
#define PARTS   (SIDE * SIDE)

layout(local_size_x = THREADS) in;
layout(constant_id = 0) const uint UNUSED = 0;

#include "product/product.glsl"
#include "product/epilogue.glsl"

// 16 KiB for the larger tiles: the least that a device has
shared vec4 tile_a[2][STEP][TILE / 4], tile_b[2][STEP][TILE / 4];

// Where a line keeps its four: 32 banks of a word, for 32 neighbours that write STEP / 4 lines.
uint place_of(uint line, uint four) {
    return four ^ line / 4 * (32 / STEP);
}

void main() {
    uint tiles_m = (M + TILE - 1) / TILE, tiles_n = (N + TILE - 1) / TILE;
    uint tile = gl_WorkGroupID.y * min(tiles_m * tiles_n, 65535u) + gl_WorkGroupID.x;
    if (tile >= tiles_m * tiles_n) return;
    uint tile_m = tile / tiles_n;
    uint m0 = tile_m * TILE, n0 = (tile - tile_m * tiles_n) * TILE;
    Place p = place(gl_WorkGroupID.z);
    uint i = gl_LocalInvocationIndex;

    // what this invocation loads: (line, four) in a block of STEP lines of TILE (wide), or of TILE lines of STEP (tall)
    bool a_wide = A_MODE == MODE_ALONG_M, b_wide = B_MODE != MODE_ALONG_K;
    uint wide_line[LOADS], wide_four[LOADS], tall_line[LOADS], tall_four[LOADS];
    Row rows[LOADS];
    [[unroll]] for (uint l = 0; l < LOADS; l++) {
        uint at = i + l * THREADS;
        wide_line[l] = at / (TILE / 4);
        wide_four[l] = at % (TILE / 4);
        tall_line[l] = at / (STEP / 4);
        tall_four[l] = at % (STEP / 4);
        rows[l] = row_of(p, a_wide ? min(m0 + wide_four[l] * 4, M - 4) : min(m0 + tall_line[l], M - 1));
    }

    vec4 sums[PARTS * 4];
    [[unroll]] for (uint s = 0; s < PARTS * 4; s++) sums[s] = vec4(0);
    uint side = 0, mine_m = i / ACROSS, mine_n = i % ACROSS;
    for (uint k = p.k_begin; k < p.k_end + STEP; k += STEP) {
        vec4 next_a[LOADS], next_b[LOADS];
        bool more = k < p.k_end;
        if (more) {
            [[unroll]] for (uint l = 0; l < LOADS; l++) {
                next_a[l] = load_a(rows[l], k + (a_wide ? wide_line[l] : tall_four[l] * 4), p.k_end);
                next_b[l] = load_b(p.b, k + (b_wide ? wide_line[l] : tall_four[l] * 4),
                                   n0 + (b_wide ? wide_four[l] * 4 : tall_line[l]), p.k_end);
            }
        }
        if (k > p.k_begin) {
            [[unroll]] for (uint j = 0; j < STEP; j++) {
                vec4 a[SIDE], b[SIDE];
                [[unroll]] for (uint h = 0; h < SIDE; h++) {
                    a[h] = tile_a[side][j][place_of(j, h * ACROSS + mine_m)];
                    b[h] = tile_b[side][j][place_of(j, h * ACROSS + mine_n)];
                }
                [[unroll]] for (uint part = 0; part < PARTS; part++) {
                    [[unroll]] for (uint r = 0; r < 4; r++) sums[part * 4 + r] += a[part / SIDE][r] * b[part % SIDE];
                }
            }
        }
        if (more) { // the other copy's readers came past the barrier before
            side = 1 - side;
            [[unroll]] for (uint l = 0; l < LOADS; l++) {
                uint wide = place_of(wide_line[l], wide_four[l]);
                uint tall = place_of(tall_four[l] * 4, tall_line[l] / 4);
                if (a_wide) {
                    tile_a[side][wide_line[l]][wide] = next_a[l];
                } else {
                    [[unroll]] for (uint j = 0; j < 4; j++)
                        tile_a[side][tall_four[l] * 4 + j][tall][tall_line[l] % 4] = next_a[l][j];
                }
                if (b_wide) {
                    tile_b[side][wide_line[l]][wide] = next_b[l];
                } else {
                    [[unroll]] for (uint j = 0; j < 4; j++)
                        tile_b[side][tall_four[l] * 4 + j][tall][tall_line[l] % 4] = next_b[l][j];
                }
            }
        }
        barrier();
    }

    // a loop, since the code of a store is long; the sums of its turn are picked, since registers have no index
    for (uint part = 0; part < PARTS; part++) {
        uint m = m0 + (part / SIDE * ACROSS + mine_m) * 4, n = n0 + (part % SIDE * ACROSS + mine_n) * 4;
        Columns columns = columns_of(p, min(n, N - 1));
        [[unroll]] for (uint r = 0; r < 4; r++) {
            vec4 x = sums[r];
            [[unroll]] for (uint other = 1; other < PARTS; other++) x = part == other ? sums[other * 4 + r] : x;
            if (m + r < M && n < N) finish(p, m + r, n, x, columns);
        }
    }
}
