#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// D[z][m][n] = epilogue(sum over k of A[z][m][k] * B[z][k][n]), for drivers that run on the CPU.
//
// A workgroup is one subgroup. It makes ROWS rows of D, each lane four columns of all of them (VECTORS 2: eight, half of
// them behind the other lanes' first four), in registers. Memory
// is read as rarely as it can be, since a lane's loads cost one by one there: for four steps of k the lanes share
// the loads of A among them and hand the values round by shuffles with constant lanes, which cost nothing but an
// instruction. No shared memory and no barriers. Rows are written in a loop: a store's code is long there and would be
// compiled ROWS times.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8; // the subgroup's size

#define TAP_BY_TAP (A_MODE == MODE_ALONG_K) // where LOADER_WINDOW reads four channels at a time
#include "product/product.glsl"
#include "product/epilogue.glsl"
#include "product/rows.glsl"

#define MOST_LOADS (ROWS / 4) // with four lanes

#if VECTORS == 2
#define SECOND(x) x
#else
#define SECOND(x)
#endif

// Which load, counted through the lanes, holds row r for four steps of k, or with MODE_ALONG_M step r % 4 of the four
// rows around r.
#define HOLDER(r) (A_MODE == MODE_ALONG_M ? (r % 4) * (ROWS / 4) + r / 4 : r)
#define HELD(r)   subgroupShuffle(held[HOLDER(r) / LANES], HOLDER(r) % LANES)

// B's columns n .. n + 3 for four steps of k.
mat4 load_four(Place p, uint k, uint n) {
    mat4 b;
    [[unroll]] for (uint j = 0; j < 4; j++)
        b[j] = load_b(p.b, B_MODE == MODE_ALONG_K ? k : k + j, B_MODE == MODE_ALONG_K ? n + j : n, p.k_end);
    return B_MODE == MODE_ALONG_K ? transpose(b) : b;
}

void main() {
    const uint COLUMNS = 4 * VECTORS * LANES;
    uint lane = gl_SubgroupInvocationID;
    uint tiles_m = (M + ROWS - 1) / ROWS, tiles_n = (N + COLUMNS - 1) / COLUMNS;
    uint tile = gl_WorkGroupID.y * min(tiles_m * tiles_n, 65535u) + gl_WorkGroupID.x;
    uint tile_n = tile / tiles_m; // along m first: what was read of B is in the cache
    uint m0 = (tile - tile_n * tiles_m) * ROWS, n = tile_n * COLUMNS + lane * 4;
    Place p = place(gl_WorkGroupID.z);
    bool past = tile >= tiles_m * tiles_n; // the last of several lines of workgroups may reach past the tiles
    if (past) p.k_end = p.k_begin;

    // Loops over loads are unrolled by drivers that unroll as they are told, and stay small for those that do not.
    uint loads = (ROWS + LANES - 1) / LANES;
    Row rows[MOST_LOADS];
    uint steps[MOST_LOADS];
    [[unroll]] for (uint i = 0; i < loads; i++) {
        uint at = i * LANES + lane;
        bool along_m = A_MODE == MODE_ALONG_M;
        rows[i] = row_of(p, along_m ? min(m0 + at % (ROWS / 4) * 4, M - 4) : min(m0 + at, M - 1));
        steps[i] = along_m ? min(at / (ROWS / 4), 3) : 0; // more lanes than loads repeat the last
    }

#define CLEAR(r) vec4 sum_##r = vec4(0); SECOND(vec4 more_##r = vec4(0);)
    EACH_ROW(CLEAR)
    uint k = p.k_begin;
#if LOADER == LOADER_WINDOW
    TapRow taps[MOST_LOADS];
    uint part_end = p.k_end, b_begin = p.b;
    while (k < part_end) {
        if (TAP_BY_TAP) {
            Tap tap = tap_from(k);
            [[unroll]] for (uint i = 0; i < loads; i++) taps[i] = tap_of_row(rows[i], tap, k);
            p.k_end = min(part_end, tap.end);
            p.b = b_begin + tap.b;
        }
#define LOAD_A(i) (TAP_BY_TAP ? load_tap(taps[i], k) : load_a(rows[i], k + steps[i], p.k_end))
#else
    {
#define LOAD_A(i) load_a(rows[i], k + steps[i], p.k_end)
#endif
    for (; k < p.k_end; k += 4) { // a whole product, or one tap
        mat4 b = load_four(p, k, n);
        SECOND(mat4 b_more = load_four(p, k, n + 4 * LANES);)
        vec4 held[MOST_LOADS];
        [[unroll]] for (uint i = 0; i < loads; i++) held[i] = LOAD_A(i);
#define MULTIPLY(r, a)                                                                                                 \
    sum_##r += (a).x * b[0] + (a).y * b[1] + (a).z * b[2] + (a).w * b[3];                                              \
    SECOND(more_##r += (a).x * b_more[0] + (a).y * b_more[1] + (a).z * b_more[2] + (a).w * b_more[3];)
#define MULTIPLY_FOUR(r0, r1, r2, r3)                                                                                  \
    {                                                                                                                  \
        mat4 a = mat4(HELD(r0), HELD(r1), HELD(r2), HELD(r3));                                                         \
        if (A_MODE == MODE_ALONG_M) a = transpose(a);                                                                  \
        MULTIPLY(r0, a[0]) MULTIPLY(r1, a[1]) MULTIPLY(r2, a[2]) MULTIPLY(r3, a[3])                                    \
    }
        EACH_FOUR_ROWS(MULTIPLY_FOUR)
    }
    }

    for (uint v = 0; v < VECTORS; v++, n += 4 * LANES) {
        uint count = n < N && !past ? min(ROWS, M - m0) : 0;
        Columns columns = columns_of(p, min(n, N - 1));
        for (uint r = 0; r < count; r++) {
            vec4 x = sum_0;
            SECOND(if (v == 1) x = more_0;)
#define PICK(i) x = r == i ? SECOND(v == 1 ? more_##i :) sum_##i : x;
            EACH_ROW(PICK)
            finish(p, m0 + r, n, x, columns);
        }
    }
}
