#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// D[z][m][n] = epilogue(sum over k of A[z][m][k] * B[z][k][n]), for drivers that run on the CPU.
//
// A workgroup is one subgroup. It makes ROWS rows of D, each lane four columns of all of them, in registers. Memory
// is read as rarely as it can be, since a lane's loads cost one by one there: for four steps of k the lanes share
// the loads of A among them and hand the values round by shuffles with constant lanes, which cost nothing but an
// instruction. No shared memory and no barriers. Rows are written in a loop: a store's code is long there and would be
// compiled ROWS times.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8; // the subgroup's size

#include "product/product.glsl"
#include "product/epilogue.glsl"

#define LOADS (ROWS / 4) // enough for four lanes

// EACH_ROW(X) is X(0) X(1) ... : names in place of an array, since some drivers keep arrays in memory
#define ROWS_16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#if ROWS == 16
#define EACH_ROW(X) ROWS_16(X)
#elif ROWS == 32
#define EACH_ROW(X)                                                                                                    \
    ROWS_16(X)                                                                                                         \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#endif
#if LOADS == 4
#define EACH_LOAD(X) X(0) X(1) X(2) X(3)
#else
#define EACH_LOAD(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#endif

vec4 held[LOADS];

// A(m0 + r, k + j) as it came in: load r / LANES of lane r % LANES, or vec4s along m one after the other, j slowest
float held_along_m(uint r, uint j) {
    uint i = j * (ROWS / 4) + r / 4;
    return subgroupShuffle(held[i / LANES][r % 4], i % LANES);
}
vec4 a_row(uint r) {
    if (A_MODE == MODE_ALONG_M)
        return vec4(held_along_m(r, 0), held_along_m(r, 1), held_along_m(r, 2), held_along_m(r, 3));
    return subgroupShuffle(held[r / LANES], r % LANES);
}

void main() {
    uint lane = gl_SubgroupInvocationID;
    uint tiles_m = (M + ROWS - 1) / ROWS, tiles_n = (N + 4 * LANES - 1) / (4 * LANES);
    uint tile = gl_WorkGroupID.y * min(tiles_m * tiles_n, 65535u) + gl_WorkGroupID.x;
    if (tile >= tiles_m * tiles_n) return;
    uint tile_n = tile / tiles_m; // along m first: what was read of B is in the cache
    uint m0 = (tile - tile_n * tiles_m) * ROWS, n = (tile_n * LANES + lane) * 4;
    Place p = place(gl_WorkGroupID.z);

    Row rows[LOADS];
    uint steps[LOADS];
#define FIND(i)                                                                                                        \
    if (i * LANES < ROWS) {                                                                                            \
        uint l = i * LANES + lane;                                                                                     \
        uint m = A_MODE == MODE_ALONG_M ? min(m0 + l % (ROWS / 4) * 4, M - 4) : min(m0 + l, M - 1);                    \
        steps[i] = A_MODE == MODE_ALONG_M ? l / (ROWS / 4) : 0;                                                        \
        rows[i] = row_of(p, m);                                                                                        \
    }
    EACH_LOAD(FIND)

#define CLEAR(r) vec4 sum_##r = vec4(0);
    EACH_ROW(CLEAR)
    for (uint k = p.k_begin; k < p.k_end; k += 4) {
        vec4 b_0, b_1, b_2, b_3;
        if (B_MODE == MODE_ALONG_K) {
            b_0 = load_b(p.b, k, n, p.k_end);
            b_1 = load_b(p.b, k, n + 1, p.k_end);
            b_2 = load_b(p.b, k, n + 2, p.k_end);
            b_3 = load_b(p.b, k, n + 3, p.k_end);
            mat4 b = transpose(mat4(b_0, b_1, b_2, b_3));
            b_0 = b[0];
            b_1 = b[1];
            b_2 = b[2];
            b_3 = b[3];
        } else {
            b_0 = load_b(p.b, k, n, p.k_end);
            b_1 = load_b(p.b, k + 1, n, p.k_end);
            b_2 = load_b(p.b, k + 2, n, p.k_end);
            b_3 = load_b(p.b, k + 3, n, p.k_end);
        }
#define LOAD(i)                                                                                                        \
    if (i * LANES < ROWS) held[i] = load_a(rows[i], k + steps[i], p.k_end);
        EACH_LOAD(LOAD)
#define MULTIPLY(r)                                                                                                    \
    {                                                                                                                  \
        vec4 a = a_row(r);                                                                                             \
        sum_##r += a.x * b_0 + a.y * b_1 + a.z * b_2 + a.w * b_3;                                                      \
    }
        EACH_ROW(MULTIPLY)
    }

    uint count = min(ROWS, M - m0);
    for (uint r = 0; r < count; r++) {
        vec4 x = sum_0;
#define PICK(i) x = r == i ? sum_##i : x;
        EACH_ROW(PICK)
        finish(p, m0 + r, n, x);
    }
}
