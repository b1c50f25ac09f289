// What all products share: D[z][m][n] = sum over k of A[z][m][k] * B[z][k][n], and how A and B are read.
//
// A is one of three things (LOADER):
//   LOADER_PLAIN   a matrix with strides: A(m, k) = a[m * a_m + k * a_k]
//   LOADER_WINDOW  rows are pixels, k runs over (tap, channel): a row meets another pixel of the image for each tap
//                  of the kernel. Convolution's forward pass, and its input's gradient (which divides by the stride).
//   LOADER_PATCH   the same image the other way round: rows are (tap, channel), k runs over pixels. The gradient
//                  of convolution's weights.
// B is a matrix; for the input's gradient one matrix for each tap. z runs over a batch, or a convolution's groups.
//
// How a kernel may read is said by modes: one by one, or vec4 along k, m or n. Constants 1 to 5 of every product.
//
// PHASED: a transposed convolution is made of as many products as pixels of the result meet different taps
// (layers/phases.c). Each writes every STRIDEth pixel, and reads every STRIDEth tap of the kernel.
//
// A kernel that defines TAP_BY_TAP, a condition, follows LOADER_WINDOW's k from one tap to the next where it holds: what
// a row meets under the tap is found once (tap_of_row), and the tap's channels are read from there (load_tap).

#include "common/chain_ops.h"

#define LOADER_PLAIN  0
#define LOADER_WINDOW 1
#define LOADER_PATCH  2

#define MODE_ONE     0
#define MODE_ALONG_K 1
#define MODE_ALONG_M 2 // of A
#define MODE_ALONG_N 2 // of B and D

layout(constant_id = 1) const uint A_MODE = MODE_ONE;
layout(constant_id = 2) const uint B_MODE = MODE_ONE;
layout(constant_id = 3) const uint D_MODE = MODE_ONE; // MODE_ONE or MODE_ALONG_N
layout(constant_id = 4) const bool K_TAIL = true;     // a step of k may reach past the end of the sum
layout(constant_id = 5) const bool LAYERED = true;    // there is a batch, or the sum is in parts: z says which
layout(constant_id = 11) const uint IMAGE = 0;        // two flags:
#define VOLUME ((IMAGE & 1u) != 0u) // the image has a depth, or axes longer than 32767
#define PHASED ((IMAGE & 2u) != 0u) // the result's pixels, and the kernel's taps in B, lie apart

#ifndef TAP_BY_TAP
#define TAP_BY_TAP false
#endif

layout(set = 0, binding = 0) readonly buffer A1 { float a1[]; };
layout(set = 0, binding = 0) readonly buffer A4 { vec4 a4[]; };
layout(set = 0, binding = 1) readonly buffer B1 { float b1[]; };
layout(set = 0, binding = 1) readonly buffer B4 { vec4 b4[]; };
#ifdef TEXELS
#extension GL_EXT_samplerless_texture_functions : require
// Drivers for the CPU fetch a texel as one vector, but make a loop over lanes and components of a buffer's load.
layout(set = 0, binding = 8) uniform textureBuffer a_texels;
layout(set = 0, binding = 9) uniform textureBuffer b_texels;
#define A_FOUR(i) texelFetch(a_texels, int(i))
#define A_ONE(i)  texelFetch(a_texels, int((i) / 4))[(i) % 4]
#define B_FOUR(i) texelFetch(b_texels, int(i))
#define B_ONE(i)  texelFetch(b_texels, int((i) / 4))[(i) % 4]
#else
#define A_FOUR(i) a4[i]
#define A_ONE(i)  a1[i]
#define B_FOUR(i) b4[i]
#define B_ONE(i)  b1[i]
#endif
layout(set = 0, binding = 2) writeonly buffer D1 { float d1[]; };
layout(set = 0, binding = 2) writeonly buffer D4 { vec4 d4[]; };
layout(set = 0, binding = 5) readonly buffer Record { uint words[]; };

// layers/product_call.c fills these; a quotient by a number that the host knows takes its `magic` and `shift`
layout(push_constant) uniform Params {
    uint M, N, K;
    uint K_part;   // k of one part; a sum split in parts writes part i at i * batch * M * N
    uint batch;    // of z: part * batch + index in the batch
    uint record;   // the epilogue's words in its record
    uint a_first, b_first, d_first;
    uint d_m;
    uint b_k, b_n;
#if LOADER == LOADER_PLAIN
    uint z_first;
    uint d_n;
    uint a_m, a_k;
    uint batch_0, batch_1; // sizes, fastest first
    uint a_0, b_0, d_0, a_1, b_1, d_1, a_2, b_2, d_2;
#else
    uint a_group, b_group;
    uint channels; // of one tap
    uint kernel_w;
    uint b_tap;
    uint image_n, image_h, image_w, image_c; // strides of A
    uint size;     // of A's image: height, width (16 bits each); VOLUME reads this and what follows from the record
    uint grid;     // of the pixels that are rows (or k): height, width
    uint scale, offset, advance, divide; // (pixel * scale + offset + tap * advance) / divide, for height and width
    uint channels_magic, kernel_w_magic, grid_w_magic, grid_magic, shifts;
#endif
};

// PHASED: how far apart D's images, planes, rows and pixels lie, and how much farther a tap lies in B for each plane and
// row of the kernel.
#define PHASED_WORDS 6
uint phased_word(uint i) {
    return words[record - PHASED_WORDS + i];
}

#if LOADER != LOADER_PLAIN
// VOLUME: depth, height and width of what `size` to `divide` have for two axes, and what else the depth needs. They
// stand in the record, in front of PHASED's and the epilogue's words.
#define VOLUME_WORDS 23
ivec3 volume_size, volume_grid, volume_scale, volume_offset, volume_advance, volume_divide;
uint image_d, kernel_h, kernel_h_magic, grid_h_magic, volume_shifts;

ivec3 volume_axes(uint w) {
    return ivec3(words[w], words[w + 1], words[w + 2]);
}

void load_volume() {
    uint w = record - VOLUME_WORDS - (PHASED ? PHASED_WORDS : 0);
    volume_size = volume_axes(w);
    volume_grid = volume_axes(w + 3);
    volume_scale = volume_axes(w + 6);
    volume_offset = volume_axes(w + 9);
    volume_advance = volume_axes(w + 12);
    volume_divide = volume_axes(w + 15);
    image_d = words[w + 18];
    kernel_h = words[w + 19];
    kernel_h_magic = words[w + 20];
    grid_h_magic = words[w + 21];
    volume_shifts = words[w + 22];
}
#endif

// The first elements of this workgroup's matrices, and its part of the sum.
struct Place {
    uint a, b, d, part, index, k_begin, k_end;
};

Place place(uint z) {
    Place p = Place(a_first, b_first, d_first, 0, 0, 0, K);
#if LOADER != LOADER_PLAIN
    if (VOLUME) load_volume();
#endif
    if (LAYERED) {
#if LOADER == LOADER_PLAIN
        z += z_first;
#endif
        p.part = z / batch;
        p.index = z - p.part * batch;
        p.k_begin = p.part * K_part;
        p.k_end = min(K, p.k_begin + K_part);
#if LOADER == LOADER_PLAIN
        uint i0 = p.index % batch_0, i1 = p.index / batch_0 % batch_1, i2 = p.index / batch_0 / batch_1;
        p.a += i0 * a_0 + i1 * a_1 + i2 * a_2;
        p.b += i0 * b_0 + i1 * b_1 + i2 * b_2;
        p.d += i0 * d_0 + i1 * d_1 + i2 * d_2;
#else
        p.a += p.index * a_group;
        p.b += p.index * b_group;
        p.d += p.index * N;
#endif
        if (K_part < K) p.d = d_first + z * M * N; // parts lie row by row in scratch memory
    }
    return p;
}

uint row_stride() {
    return LAYERED && K_part < K ? N : d_m;
}

#if LOADER == LOADER_PLAIN

// Where row m starts.
#define Row uint
Row row_of(Place p, uint m) {
    return p.a + m * a_m;
}
bool source(Row row, uint k, out uint at) {
    at = row + k * a_k;
    return true;
}
uint b_row(uint k) {
    return k * b_k;
}

#else

// n / d for n below 2^31 (Granlund and Montgomery)
uint quotient(uint n, uint magic, uint shift) {
    uint high, low;
    umulExtended(n, magic, high, low);
    return (high + n) >> (shift & 255u);
}

// Height and width of a pair of words, or of a volume's three.
ivec2 both(uint packed, ivec3 volume) {
    if (VOLUME) return volume.yz;
    return ivec2(int(packed << 16) >> 16, int(packed) >> 16);
}

// (tap, channel) of an index that runs over both, as (row of the kernel, column, the channel's element, depth)
ivec4 tap_of(uint i) {
    uint tap = quotient(i, channels_magic, shifts), y = quotient(tap, kernel_w_magic, shifts >> 8), z = 0;
    uint x = tap - y * kernel_w;
    if (VOLUME) {
        z = quotient(y, kernel_h_magic, volume_shifts);
        y -= z * kernel_h;
    }
    return ivec4(y, x, (i - tap * channels) * image_c, z);
}

// A pixel of the grid, by its number: image, z, y, x
uvec4 grid_place(uint i) {
    uint image = quotient(i, grid_magic, shifts >> 24), z = 0;
    uvec2 plane = uvec2(both(grid, volume_grid));
    uint in_image = i - image * plane.x * plane.y * (VOLUME ? uint(volume_grid.x) : 1u);
    uint y = quotient(in_image, grid_w_magic, shifts >> 16), x = in_image - y * plane.y;
    if (VOLUME) {
        z = quotient(y, grid_h_magic, volume_shifts >> 8);
        y -= z * plane.x;
    }
    return uvec4(image, z, y, x);
}

// Where a pixel begins: y and x scaled, the image's first element, and z scaled.
ivec4 pixel_of(uint i) {
    uvec4 p = grid_place(i);
    ivec2 at = ivec2(p.zw) * both(scale, volume_scale) + both(offset, volume_offset);
    return ivec4(at, p.x * image_n, VOLUME ? int(p.y) * volume_scale.x + volume_offset.x : 0);
}

// The element that a pixel meets under a tap, or false outside of the image. Without branches: a kernel asks for many
// pixels, and row16 with a volume took SwiftShader's compiler six minutes and 24 GB.
bool meet(ivec4 pixel, ivec4 tap, out uint at) {
    ivec2 yx = pixel.xy + tap.xy * both(advance, volume_advance);
    int z = 0;
    bool inside = true;
    if (VOLUME) z = pixel.w + tap.w * volume_advance.x;
#if LOADER == LOADER_WINDOW
    if (VOLUME || divide != 0x10001u) {
        ivec2 d = both(divide, volume_divide), q = yx / d; // toward zero: what is negative stays so, or becomes 0 with a rest
        inside = all(equal(q * d, yx));
        yx = q;
    }
    if (VOLUME) {
        int q = z / volume_divide.x;
        inside = all(bvec2(inside, q * volume_divide.x == z));
        z = q;
    }
#endif
    ivec2 plane = both(size, volume_size);
    inside = all(bvec3(inside, all(greaterThanEqual(yx, ivec2(0))), all(lessThan(yx, plane))));
    if (VOLUME) inside = all(bvec3(inside, z >= 0, z < volume_size.x));
    uint in_image = uint(yx.x) * image_h + uint(yx.y) * image_w;
    if (VOLUME) in_image += uint(z) * image_d;
    at = uint(pixel.z) + mix(0u, in_image, inside) + uint(tap.z);
    return inside;
}

#define Row ivec4
#if LOADER == LOADER_WINDOW
Row row_of(Place p, uint m) {
    return pixel_of(m) + ivec4(0, 0, p.a, 0);
}
bool source(Row row, uint k, out uint at) {
    return meet(row, tap_of(k), at);
}
// Where a tap's matrix in B begins.
uint b_of_tap(uint tap) {
    uint at = tap * b_tap;
    if (PHASED) {
        uint y = quotient(tap, kernel_w_magic, shifts >> 8);
        if (VOLUME) {
            uint z = quotient(y, kernel_h_magic, volume_shifts);
            y -= z * kernel_h;
            at += z * phased_word(4);
        }
        at += y * phased_word(5);
    }
    return at;
}
uint b_row(uint k) {
    bool one_matrix = !PHASED && B_MODE == MODE_ALONG_N;
    uint tap = one_matrix || TAP_BY_TAP ? 0 : quotient(k, channels_magic, shifts);
    return b_of_tap(tap) + (k - tap * channels) * b_k;
}

// One tap's part of k: where it ends, and how much farther its matrix in B begins than b_row says.
struct Tap {
    ivec4 place;
    uint end, b;
};
Tap tap_from(uint k) {
    uint tap = quotient(k, channels_magic, shifts);
    bool one_matrix = !PHASED && B_MODE == MODE_ALONG_N;
    return Tap(tap_of(k), (tap + 1) * channels, one_matrix ? 0 : b_of_tap(tap) - tap * channels * b_k);
}

// A row under a tap: its element for k = 0, if the tap's channels were read on to there, and whether there is one.
struct TapRow {
    uint first;
    bool inside;
};
TapRow tap_of_row(Row row, Tap tap, uint k) {
    uint at;
    bool inside = meet(row, tap.place, at);
    return TapRow(at - k, inside);
}

// A(m, k .. k + 3) under a tap.
vec4 load_tap(TapRow row, uint k) {
    vec4 value = A_FOUR(row.inside ? (row.first + k) / 4 : 0u);
    return row.inside ? value : vec4(0);
}
#else
Row row_of(Place p, uint m) {
    return tap_of(m) + ivec4(0, 0, p.a, 0);
}
bool source(Row row, uint k, out uint at) {
    return meet(pixel_of(k), row, at);
}
uint b_row(uint k) {
    return k * b_k;
}
#endif
#endif

// A(m, k .. k + 3), or with MODE_ALONG_M A(m .. m + 3, k), where row = row_of(m); zero past the sum's end.
vec4 load_a(Row row, uint k, uint k_end) {
    vec4 value = vec4(0);
    uint at;
    if (A_MODE == MODE_ONE) {
        [[unroll]] for (uint j = 0; j < 4; j++) {
            bool use = source(row, K_TAIL ? min(k + j, k_end - 1) : k + j, at);
            float one = A_ONE(mix(0u, at, use));
            if (K_TAIL) use = all(bvec2(use, k + j < k_end));
            value[j] = mix(0.0, one, use);
        }
    } else {
        bool use = source(row, K_TAIL ? min(k, k_end - 1) : k, at);
        if (K_TAIL) use = all(bvec2(use, k < k_end));
        value = A_FOUR(mix(0u, at / 4, use));
        value = mix(vec4(0), value, bvec4(use));
    }
    return value;
}

// B's columns n .. n + 3 of the row that begins at `at`, or with MODE_ALONG_K four rows of column n.
vec4 load_b_at(uint at, uint n) {
    vec4 value = vec4(0);
    if (B_MODE == MODE_ONE) {
        [[unroll]] for (uint c = 0; c < 4; c++) value[c] = B_ONE(at + min(n + c, N - 1) * b_n);
    } else {
        value = B_FOUR((at + (B_MODE == MODE_ALONG_N ? min(n, N - 4) : min(n, N - 1) * b_n)) / 4);
    }
    return value;
}

// B(k, n .. n + 3), or with MODE_ALONG_K B(k .. k + 3, n); zero past the sum's end. b = the place's.
vec4 load_b(uint b, uint k, uint n, uint k_end) {
    vec4 value = load_b_at(b + b_row(K_TAIL ? min(k, k_end - 1) : k), n);
    return !K_TAIL || k < k_end ? value : vec4(0);
}
