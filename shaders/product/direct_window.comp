#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// D[z][m][n] = epilogue(sum over k of A[z][m][k] * B[z][k][n]): convolutions of images with few channels, for drivers
// that run on the CPU.
//
// As row.comp, but k goes in runs (direct.glsl). A workgroup is one subgroup and makes ROWS rows of D, pixels side by
// side, each lane four columns of all of them. For each run of the kernel the lanes share the loads of what the pixels
// meet and hand it round by shuffles. What leads from one run to the next is added up, without a division.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8; // the subgroup's size

#include "product/product.glsl"
#include "product/epilogue.glsl"
#include "product/direct.glsl"
#include "product/rows.glsl"

#define MOST_LOADS (ROWS * MOST_RUN / 4) // with four lanes

#define HELD(r, j) subgroupShuffle(held[MET_AT(r, j, ROWS) / LANES], MET_AT(r, j, ROWS) % LANES)

void main() {
    const uint COLUMNS = 4 * LANES;
    uint lane = gl_SubgroupInvocationID, width = both(grid, volume_grid).y;
    uint across = (width + ROWS - 1) / ROWS, tiles_m = M / width * across, tiles_n = (N + COLUMNS - 1) / COLUMNS;
    uint tile = gl_WorkGroupID.y * min(tiles_m * tiles_n, 65535u) + gl_WorkGroupID.x;
    uint tile_n = tile / tiles_m, tile_m = tile - tile_n * tiles_m; // along m first: what was read of B is in the cache
    uint line = tile_m / across, x0 = (tile_m - line * across) * ROWS, m0 = line * width + x0;
    uint n = tile_n * COLUMNS + lane * 4;
    Place p = place(gl_WorkGroupID.z);
    bool past = tile >= tiles_m * tiles_n; // the last of several lines of workgroups may reach past the tiles

    uint loads = (LINE_SIZE(ROWS) + LANES - 1) / LANES, runs = past ? 0 : K / kernel_w * runs_of_row();
    Row pixel = row_of(p, min(m0, M - 1));

#define CLEAR(r) vec4 sum_##r = vec4(0);
    EACH_ROW(CLEAR)
    Run run = Run(0, 0, 0);
    for (uint i = 0; i < runs; i++) {
        float held[MOST_LOADS];
        [[unroll]] for (uint l = 0; l < loads; l++) held[l] = load_met(pixel, reach_of(run, l * LANES + lane, ROWS));
        vec4 b[MOST_RUN];
        uint row = p.b + (run.y * kernel_w + run.x) * b_tap + run.channel * b_k;
        [[unroll]] for (uint j = 0; j < RUN; j++) b[j] = load_b_at(row + j * b_tap, n);
#define TERM(r, j)                                                                                                     \
    if (RUN > j) x += HELD(r, j) * b[j];
#define MULTIPLY(r)                                                                                                    \
    {                                                                                                                  \
        vec4 x = HELD(r, 0) * b[0];                                                                                    \
        TERM(r, 1) TERM(r, 2) TERM(r, 3) TERM(r, 4) TERM(r, 5) TERM(r, 6) TERM(r, 7)                                   \
        sum_##r += x;                                                                                                  \
    }
        EACH_ROW(MULTIPLY)
        run.x += RUN;
        if (run.x >= kernel_w) {
            run.x = 0;
            run.channel++;
        }
        if (run.channel == channels) {
            run.channel = 0;
            run.y++;
        }
    }

    uint count = n < N && !past ? min(ROWS, width - x0) : 0;
    Columns columns = columns_of(p, min(n, N - 1));
    for (uint first = 0; first < count; first += PICKED) {
        vec4 picked[PICKED];
        EACH_ROW(PICK)
        for (uint r = 0; r < min(PICKED, count - first); r++) finish(p, m0 + first + r, n, pick(picked, r), columns);
    }
}
