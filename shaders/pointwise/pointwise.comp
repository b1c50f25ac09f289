#version 450
#extension GL_GOOGLE_include_directive : require
// outputs[j][e] = chain(inputs[0][e], inputs[1][e], ...) for e < count: a whole chain of pointwise operators.
//
// Elements are counted in the order in which the first output lies in memory. Each invocation takes `items` elements, a
// workgroup's size apart; WIDTH 4: each element stands for four neighbours, loaded and stored at once. A buffer is
// LINEAR where element e lies at e, SINGLE where there is one value for all, STRIDED by the sizes and strides of the
// record otherwise (a broadcast input, another layout); with WIDTH 4, LEVEL is STRIDED with one value for the four.
//
// Bytes (uint8 tensors) are read out of their 32-bit words as floats, and written four to a word: by WIDTH 4, or by
// PACKED, where each invocation takes four neighbours one by one. Where a word's other bytes belong to someone else (a
// part of a larger tensor), APART, each byte is put into its word by atomics. None of it needs 8-bit storage.
//
// Outputs, then inputs; how many outputs is fixed in the shader, so that inputs can be declared read-only.
layout(local_size_x_id = 0) in;

#define LINEAR  0u
#define STRIDED 1u
#define SINGLE  2u
#define LEVEL   3u

layout(constant_id = 1) const uint INPUTS = 0;
layout(constant_id = 2) const uint MODES = 0;   // two bits for each buffer, at bit 12 for the index; at bit 16: bytes, 22: APART
layout(constant_id = 3) const uint RESULTS = 0; // a byte each: the outputs' operands
#define CHAIN_FIRST_ID 4

#define BUFFERS 6
#define INDEX 6 // of the logical index among the strides
#define DIM_WORDS 11

#if WIDTH == 4
#define VALUE uvec4
#else
#define VALUE uint
#endif
#ifdef PACKED
layout(set = 0, binding = 0) buffer B0 { VALUE b0[]; };
#else
layout(set = 0, binding = 0) writeonly buffer B0 { VALUE b0[]; };
#endif
#if OUTPUTS > 1
layout(set = 0, binding = 1) writeonly buffer B1 { VALUE b1[]; };
#else
layout(set = 0, binding = 1) readonly buffer B1 { VALUE b1[]; };
#endif
layout(set = 0, binding = 2) readonly buffer B2 { VALUE b2[]; };
layout(set = 0, binding = 3) readonly buffer B3 { VALUE b3[]; };
layout(set = 0, binding = 4) readonly buffer B4 { VALUE b4[]; };
layout(set = 0, binding = 5) readonly buffer B5 { VALUE b5[]; };
#ifdef TEXELS
#extension GL_EXT_samplerless_texture_functions : require
// The inputs once more: drivers for the CPU load a texel as one.
layout(set = 0, binding = 9) uniform textureBuffer b1_texels;
layout(set = 0, binding = 10) uniform textureBuffer b2_texels;
layout(set = 0, binding = 11) uniform textureBuffer b3_texels;
layout(set = 0, binding = 12) uniform textureBuffer b4_texels;
layout(set = 0, binding = 13) uniform textureBuffer b5_texels;
#define READ(b, i) floatBitsToUint(texelFetch(b##_texels, int(i)))
#else
#define READ(b, i) b[i]
#endif
// each dimension, the fastest first: size, division by it as multiplication and shift, the buffers' strides, the index'
layout(set = 0, binding = 6) readonly buffer Record { uint words[]; };
#define STEP_RECORD_BINDING 7
#include "common/step_record.glsl"

layout(push_constant) uniform Params {
    uint count;
    uint groups_x;
    uint record;
    uint dims;
    uint items;
    uint first[BUFFERS + 1];
    uint constants[16];
};

uint chain_constant(uint i) {
    return constants[i];
}

#define CHAIN_RANDOM
#define CHAIN_INPUTS (BUFFERS - OUTPUTS)
#include "common/chain.glsl"

#define MODE_OF(i) (MODES >> 2 * i & 3u)
#define IS_BYTE(i) ((MODES >> 16 + i & 1u) != 0u)

const bool APART = (MODES >> 22 & 1u) != 0u;
const bool STRIDED_AT_ALL = (MODES & 0x1555u) != 0u;

// A loop of the nest. The first three are kept in registers: loading their words for each element would cost more than
// all the rest on drivers for the CPU.
struct Loop {
    uint size, multiplier, shift;
    uint strides[BUFFERS + 1];
};

#define EACH_TENSOR(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6)
#define IS_STRIDED(i) ((MODES >> 2 * i & 1u) != 0u) // LEVEL, too

Loop load_loop(uint d) {
    Loop loop;
    uint w = record + d * DIM_WORDS;
    loop.size = words[w];
    loop.multiplier = words[w + 1u];
    loop.shift = words[w + 2u];
#define LOAD_STRIDE(i) if (IS_STRIDED(i)) loop.strides[i] = words[w + 3u + i];
    EACH_TENSOR(LOAD_STRIDE)
    return loop;
}

// What is left of e takes its coordinate in the loop; the last loop takes all.
void locate(Loop loop, bool last, inout uint e, inout uint at[BUFFERS + 1]) {
    uint coordinate = e;
    if (!last) {
        uint high, low;
        umulExtended(e, loop.multiplier, high, low);
        uint quotient = high >> loop.shift;
        coordinate = e - quotient * loop.size;
        e = quotient;
    }
#define ADD(i) if (IS_STRIDED(i)) at[i] += coordinate * loop.strides[i];
    EACH_TENSOR(ADD)
}

uint byte_of(uint word, uint at) {
    return floatBitsToUint(float(word >> 8u * (at & 3u) & 255u));
}
uint byte_to(uint value, uint at) {
    return uint(uintBitsToFloat(value)) << 8u * at;
}

#if WIDTH == 4
VALUE bytes_of(uint word) {
    return VALUE(byte_of(word, 0u), byte_of(word, 1u), byte_of(word, 2u), byte_of(word, 3u));
}
VALUE one_of(VALUE four, uint i) {
    return VALUE(four[i & 3u]);
}
#define PLACE(at) ((at) >> 2)
#define LOAD_BYTES(i, b, at)                                                                                           \
    uint word = READ(b, (at) >> 4)[(at) >> 2 & 3u];                                                                    \
    value[i - OUTPUTS] = MODE_OF(i) >= SINGLE ? VALUE(byte_of(word, at)) : bytes_of(word);
#define ONE(four, at) one_of(four, at)
#else
#define PLACE(at) (at)
#define LOAD_BYTES(i, b, at) value[i - OUTPUTS] = byte_of(b[(at) >> 2], at);
#define ONE(four, at) four
#endif

void main() {
    uint group = gl_WorkGroupID.y * groups_x + gl_WorkGroupID.x;
    uint begin = group * gl_WorkGroupSize.x * items + gl_LocalInvocationID.x;
    Loop loop_0, loop_1, loop_2;
    if (STRIDED_AT_ALL) {
        loop_0 = load_loop(0u);
        if (dims > 1u) loop_1 = load_loop(1u);
        if (dims > 2u) loop_2 = load_loop(2u);
    }
    for (uint item = 0; item < items; item++) {
#ifdef PACKED
        uint four = begin + item * gl_WorkGroupSize.x, packed = 0u;
        if (four * 4u >= count) return;
        for (uint e = four * 4u; e < min(four * 4u + 4u, count); e++) {
#else
        uint e = begin + item * gl_WorkGroupSize.x;
        if (e * WIDTH >= count) return;
#endif
        uint at[BUFFERS + 1] = first;
        if (STRIDED_AT_ALL) {
            uint rest = e * WIDTH;
            locate(loop_0, dims == 1u, rest, at);
            if (dims > 1u) locate(loop_1, dims == 2u, rest, at);
            if (dims > 2u) locate(loop_2, dims == 3u, rest, at);
            for (uint d = 3u; d < dims; d++) locate(load_loop(d), dims == d + 1u, rest, at);
        }
        VALUE value[BUFFERS - OUTPUTS];
#define LOAD(i, b)                                                                                                     \
    if (i - OUTPUTS < INPUTS) {                                                                                        \
        uint place = at[i];                                                                                            \
        if (MODE_OF(i) == LINEAR) place += e * WIDTH;                                                                  \
        if (IS_BYTE(i)) {                                                                                              \
            LOAD_BYTES(i, b, place)                                                                                    \
        } else {                                                                                                       \
            value[i - OUTPUTS] = READ(b, PLACE(place));                                                                \
            if (MODE_OF(i) >= SINGLE) value[i - OUTPUTS] = ONE(value[i - OUTPUTS], place);                             \
        }                                                                                                              \
    }
#if OUTPUTS == 1
        LOAD(1, b1)
#endif
        LOAD(2, b2)
        LOAD(3, b3)
        LOAD(4, b4)
        LOAD(5, b5)
        VALUE result[OUTPUTS];
#if WIDTH == 4
#define OF(v, c) v[c]
#else
#define OF(v, c) v
#endif
#define TAKE(i, c) if (i < INPUTS) chain_inputs[i] = OF(value[i], c);
#define GIVE(j, c)                                                                                                     \
    {                                                                                                                  \
        uint given;                                                                                                    \
        CHAIN_VALUE(given, (RESULTS >> 8 * j & 255u))                                                                  \
        OF(result[j], c) = given;                                                                                      \
    }
        uint index = at[INDEX];
        if (MODE_OF(INDEX) == LINEAR) index += e * WIDTH;
#if OUTPUTS == 1
#define LAST(c) TAKE(4, c) chain_run(); GIVE(0, c)
#else
#define LAST(c) chain_run(); GIVE(0, c) GIVE(1, c)
#endif
#define RUN(c) chain_index = index + c; TAKE(0, c) TAKE(1, c) TAKE(2, c) TAKE(3, c) LAST(c)
        RUN(0)
#if WIDTH == 4
        RUN(1)
        RUN(2)
        RUN(3)
#endif
#ifdef PACKED
            if (APART) {
                uint place = at[0], shift;
                if (MODE_OF(0) == LINEAR) place += e;
                shift = 8u * (place & 3u);
                atomicAnd(b0[place >> 2], ~(255u << shift));
                atomicOr(b0[place >> 2], byte_to(result[0], place & 3u));
            } else {
                packed |= byte_to(result[0], e & 3u);
            }
        }
        if (!APART) b0[(first[0] >> 2) + four] = packed;
#else
#if WIDTH == 4
#define STORE_BYTES(i, b, at)                                                                                          \
    b[(at) >> 4][(at) >> 2 & 3u] = byte_to(result[i].x, 0u) | byte_to(result[i].y, 1u) | byte_to(result[i].z, 2u)      \
                                   | byte_to(result[i].w, 3u);
#else
#define STORE_BYTES(i, b, at) // PACKED does
#endif
#define STORE(i, b)                                                                                                    \
    if (MODE_OF(i) == LINEAR) at[i] += e * WIDTH;                                                                      \
    if (IS_BYTE(i)) {                                                                                                  \
        STORE_BYTES(i, b, at[i])                                                                                       \
    } else {                                                                                                           \
        b[PLACE(at[i])] = result[i];                                                                                   \
    }
        STORE(0, b0)
#if OUTPUTS > 1
        STORE(1, b1)
#endif
#endif
    }
}
