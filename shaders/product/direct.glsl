// Convolutions of few channels: what the direct kernels share, beside product.glsl.
//
// Under the taps side by side in one row of the kernel, a run, pixels side by side in one row of the grid meet
// neighbours in one row of the image, most of them the same ones. So the lanes load what a line of pixels meets under a
// run once, one number each, where product.glsl's loaders find an element for each pixel and tap; pixel q meets under
// tap j number
//
//   q + j / STRIDE  of the line's part  j % STRIDE,
//
// where part f is what the pixels meet under the run's tap f: as many parts as the stride has pixels. With STRIDE 0
// each tap has a part of its own: taps are not side by side in the image, or the stride is larger.
//
// RUN taps of one channel are a run, and the kernel's width is whole runs. Runs are counted along the kernel's row, then
// over channels, then over rows.

layout(constant_id = 12) const uint RUN = 3;    // at most MOST_RUN
layout(constant_id = 13) const uint STRIDE = 1; // 0, 1 or 2, less than RUN

#define MOST_RUN 8

#define PARTS (STRIDE == 0 ? RUN : STRIDE)
// Numbers of a part, for so many pixels, and where in the line lies what pixel q meets under tap j.
#define PART_SIZE(pixels)    (pixels + (RUN - 1) / PARTS)
#define LINE_SIZE(pixels)    (PARTS * PART_SIZE(pixels))
#define MET_AT(q, j, pixels) (j % PARTS * PART_SIZE(pixels) + q + j / PARTS)

// A channel's run: of a row of the kernel, from a column on.
struct Run {
    uint y, x, channel;
};

uint runs_of_row() {
    return kernel_w / RUN;
}

Run run_of(uint i) {
    uint across = runs_of_row(), line = i / across, y = line / channels;
    return Run(y, (i - line * across) * RUN, line - y * channels);
}

// How far number i of a line under a run lies from what the line's first pixel meets under the kernel's first tap: rows
// and columns of the image, and the channel's first element.
ivec3 reach_of(Run run, uint i, uint pixels) {
    ivec2 step = both(advance, volume_advance);
    uint part = i / PART_SIZE(pixels), q = i - part * PART_SIZE(pixels);
    int x = int(run.x + part) * step.y + int(q) * both(scale, volume_scale).y;
    return ivec3(int(run.y) * step.x, x, run.channel * image_c);
}

// A's element there, zero outside of the image.
float load_met(Row pixel, ivec3 reach) {
    ivec2 at = pixel.xy + reach.xy;
    bool inside = all(lessThan(uvec2(at), uvec2(both(size, volume_size))));
    uint element = pixel.z + (inside ? at.x * image_h + at.y * image_w + reach.z : 0);
    float one = A_ONE(element);
    return inside ? one : 0;
}

// One of many sums, in two steps, since in one the choice takes as long as a short sum over k: PICKED neighbours from
// row `first` on, then one of these.
#define PICKED  8
#define PICK(i) picked[i % PICKED] = first == i / PICKED * PICKED ? sum_##i : picked[i % PICKED];
vec4 pick(vec4 picked[PICKED], uint r) {
    vec4 x = picked[0];
    [[unroll]] for (uint i = 1; i < PICKED; i++) x = r == i ? picked[i] : x;
    return x;
}
