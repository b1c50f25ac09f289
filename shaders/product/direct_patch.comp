#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
// D[z][m][n] = sum over k of A[z][m][k] * B[z][k][n]: the gradient of a convolution's weights, of images with few
// channels, for drivers that run on the CPU. m counts taps and channels, k pixels.
//
// A workgroup is one subgroup. It makes RUNS runs of taps (direct.glsl), which are up to ROWS rows of D, each lane four
// columns of all of them. For PIXELS pixels side by side the lanes share the loads of what these meet under all the
// runs, and hand it round by shuffles; each lane reads its four columns of B. So both are read once for all the rows.
// The pixels' products are added up before they meet the sum, which keeps its rounding errors those of a shorter one.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8; // the subgroup's size
layout(constant_id = 14) const uint RUNS = 3; // times RUN at most ROWS

#include "product/product.glsl"
#include "product/epilogue.glsl"
#include "product/direct.glsl"
#include "product/rows.glsl"

#define MOST_LOADS (ROWS * PIXELS / 4) // with four lanes, and a part for each tap

#define HOLDER(r, q) (r / RUN * LINE_SIZE(PIXELS) + MET_AT(q, r % RUN, PIXELS))
// nothing past the line's end: what stands there may be infinite
#define HELD(r, q) mix(0.0, subgroupShuffle(held[HOLDER(r, q) / LANES], HOLDER(r, q) % LANES), there[q])

void main() {
    const uint COLUMNS = 4 * LANES, width = both(grid, volume_grid).y;
    uint lane = gl_SubgroupInvocationID;
    uint runs = M / kernel_w * runs_of_row(), tiles_m = (runs + RUNS - 1) / RUNS, tiles_n = (N + COLUMNS - 1) / COLUMNS;
    uint tile = gl_WorkGroupID.y * min(tiles_m * tiles_n, 65535u) + gl_WorkGroupID.x;
    uint tile_n = tile / tiles_m, first_run = (tile - tile_n * tiles_m) * RUNS, n = tile_n * COLUMNS + lane * 4;
    Place p = place(gl_WorkGroupID.z);
    bool past = tile >= tiles_m * tiles_n; // the last of several lines of workgroups may reach past the tiles
    if (past) p.k_end = p.k_begin;

    uint loads = (RUNS * LINE_SIZE(PIXELS) + LANES - 1) / LANES;
    ivec3 reaches[MOST_LOADS];
    [[unroll]] for (uint l = 0; l < loads; l++) {
        uint at = l * LANES + lane, run = at / LINE_SIZE(PIXELS);
        reaches[l] = reach_of(run_of(min(first_run + run, runs - 1)), at - run * LINE_SIZE(PIXELS), PIXELS);
    }
#define CLEAR(r) vec4 sum_##r = vec4(0);
    EACH_ROW(CLEAR)
    uint x = p.k_begin % width; // a line of pixels ends where the grid's row does
    for (uint k = p.k_begin; k < p.k_end;) {
        uint end = min(k + min(PIXELS, width - x), p.k_end);
        Row pixel = pixel_of(k) + ivec4(0, 0, p.a, 0);
        float held[MOST_LOADS];
        [[unroll]] for (uint l = 0; l < loads; l++) held[l] = load_met(pixel, reaches[l]);
        vec4 b[PIXELS];
        bool there[PIXELS];
        [[unroll]] for (uint q = 0; q < PIXELS; q++) {
            there[q] = k + q < end;
            b[q] = load_b(p.b, k + q, n, end);
        }
#if PIXELS == 8
#define MORE(r) +HELD(r, 4) * b[4] + HELD(r, 5) * b[5] + HELD(r, 6) * b[6] + HELD(r, 7) * b[7]
#else
#define MORE(r)
#endif
#define MULTIPLY(r)                                                                                                    \
    if (r < RUNS * RUN) {                                                                                              \
        sum_##r += HELD(r, 0) * b[0] + HELD(r, 1) * b[1] + HELD(r, 2) * b[2] + HELD(r, 3) * b[3] MORE(r);              \
    }
        EACH_ROW(MULTIPLY)
        x = x + (end - k) == width ? 0 : x + (end - k);
        k = end;
    }

    uint count = n < N && !past ? min(RUNS, runs - first_run) * RUN : 0;
    Columns columns = columns_of(p, min(n, N - 1));
    for (uint first = 0; first < count; first += PICKED) {
        vec4 picked[PICKED];
        EACH_ROW(PICK)
        for (uint r = first; r < min(first + PICKED, count); r++) {
            Run run = run_of(first_run + r / RUN);
            uint tap = run.x + r % RUN, m = (run.y * kernel_w + tap) * channels + run.channel;
            finish(p, m, n, pick(picked, r - first), columns);
        }
    }
}
