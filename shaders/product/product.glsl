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
#define B_FOUR(i) texelFetch(b_texels, int(i))
#else
#define A_FOUR(i) a4[i]
#define B_FOUR(i) b4[i]
#endif
layout(set = 0, binding = 2) writeonly buffer D1 { float d1[]; };
layout(set = 0, binding = 2) writeonly buffer D4 { vec4 d4[]; };

// layers/product.c fills these; a quotient by a number that the host knows takes its `magic` and `shift`
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
    uint size;     // of A's image: height, width (16 bits each)
    uint grid;     // of the pixels that are rows (or k): height, width
    uint scale, offset, advance, divide; // (pixel * scale + offset + tap * advance) / divide, for height and width
    uint channels_magic, kernel_w_magic, grid_w_magic, grid_magic, shifts;
#endif
};

// The first elements of this workgroup's matrices, and its part of the sum.
struct Place {
    uint a, b, d, part, index, k_begin, k_end;
};

Place place(uint z) {
    Place p = Place(a_first, b_first, d_first, 0, 0, 0, K);
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
uint quotient(uint n, uint magic, uint which) {
    uint high, low;
    umulExtended(n, magic, high, low);
    return (high + n) >> (shifts >> which & 255u);
}

ivec2 both(uint packed) {
    return ivec2(int(packed << 16) >> 16, int(packed) >> 16);
}

// (tap, channel) of an index that runs over both, as (row of the kernel, column, channel)
ivec3 tap_of(uint i) {
    uint tap = quotient(i, channels_magic, 0), y = quotient(tap, kernel_w_magic, 8);
    return ivec3(y, tap - y * kernel_w, i - tap * channels);
}

// Where a pixel begins: y and x scaled, and the image's first element.
ivec3 pixel_of(uint i) {
    uint image = quotient(i, grid_magic, 24), in_image = i - image * (grid & 0xffffu) * (grid >> 16);
    uint y = quotient(in_image, grid_w_magic, 16), x = in_image - y * (grid >> 16);
    ivec2 at = ivec2(y, x) * both(scale) + both(offset);
    return ivec3(at, image * image_n);
}

// The element that a pixel meets under a tap, or false outside of the image.
bool meet(ivec3 pixel, ivec3 tap, out uint at) {
    ivec2 yx = pixel.xy + tap.xy * both(advance);
    bool inside = true;
#if LOADER == LOADER_WINDOW
    if (divide != 0x10001u) {
        ivec2 d = both(divide), q = yx / d; // toward zero: what is negative stays so, or becomes 0 with a rest
        inside = all(equal(q * d, yx));
        yx = q;
    }
#endif
    inside = inside && all(greaterThanEqual(yx, ivec2(0))) && all(lessThan(yx, ivec2(size & 0xffffu, size >> 16)));
    at = uint(pixel.z) + (inside ? uint(yx.x) * image_h + uint(yx.y) * image_w : 0u) + uint(tap.z) * image_c;
    return inside;
}

#define Row ivec4
#if LOADER == LOADER_WINDOW
Row row_of(Place p, uint m) {
    return ivec4(pixel_of(m), p.a);
}
bool source(Row row, uint k, out uint at) {
    bool inside = meet(row.xyz, tap_of(k), at);
    at += uint(row.w);
    return inside;
}
uint b_row(uint k) {
    uint tap = B_MODE == MODE_ALONG_N ? 0 : quotient(k, channels_magic, 0);
    return tap * b_tap + (k - tap * channels) * b_k;
}
#else
Row row_of(Place p, uint m) {
    return ivec4(tap_of(m), p.a);
}
bool source(Row row, uint k, out uint at) {
    bool inside = meet(pixel_of(k), row.xyz, at);
    at += uint(row.w);
    return inside;
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
            float one = a1[use ? at : 0u];
            value[j] = use && (!K_TAIL || k + j < k_end) ? one : 0.0;
        }
    } else {
        bool use = source(row, K_TAIL ? min(k, k_end - 1) : k, at);
        if (K_TAIL) use = use && k < k_end;
        value = A_FOUR(use ? at / 4 : 0u);
        value = use ? value : vec4(0);
    }
    return value;
}

// B(k, n .. n + 3), or with MODE_ALONG_K B(k .. k + 3, n); zero past the sum's end. b = the place's.
vec4 load_b(uint b, uint k, uint n, uint k_end) {
    vec4 value = vec4(0);
    uint at = b + b_row(K_TAIL ? min(k, k_end - 1) : k);
    if (B_MODE == MODE_ONE) {
        [[unroll]] for (uint c = 0; c < 4; c++) value[c] = b1[at + min(n + c, N - 1) * b_n];
    } else {
        value = B_FOUR((at + (B_MODE == MODE_ALONG_N ? min(n, N - 4) : min(n, N - 1) * b_n)) / 4);
    }
    return !K_TAIL || k < k_end ? value : vec4(0);
}
