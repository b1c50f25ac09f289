#version 450
#extension GL_GOOGLE_include_directive : require
// y[o] = scale * sum over r of chain(x)[o, r] for o < outputs, r < terms; or its maximum, minimum or product.
//
// o and r count through nests of loops (kept and reduced axes) whose sizes and strides are in the record. Invocation
// (o, p) takes the terms p, p + parts, p + 2 parts, ... of output o, or `chunk` terms from p * chunk on where that suits
// the caches better (drivers for the CPU); with more than one part the results are partial, and the next pass reduces
// them. Neighbouring invocations have neighbouring p (BY_PART) or o: whichever lies
// together in memory. WIDTH 4: four neighbours at once, along the same axis. GROUP: a whole workgroup shares a part,
// and adds up through shared memory.
//
// Sums are trees: blocks of 8, then blocks added with their rounding errors kept (Knuth's two-sum), then parts. With u
// = 2^-24, a pass is off by at most 7u for a block, 1u for what is kept, 2u for the four of WIDTH 4 and 8u for a group's
// tree, times the sum of the absolute terms, whatever their number; two passes and a sum in halves stay below 2^-18.
layout(local_size_x_id = 0) in;

#define SUM     0u
#define MAXIMUM 1u
#define MINIMUM 2u
#define PRODUCT 3u

layout(constant_id = 1) const uint INPUTS = 1;
layout(constant_id = 2) const uint KIND = SUM;
layout(constant_id = 3) const bool BY_PART = false;
layout(constant_id = 4) const bool PLAIN = true; // at most one reduced axis: an input's terms lie a stride apart
layout(constant_id = 5) const uint LEVELS = 0;   // WIDTH 4: bit i, input i has one value for the four; bit 8 + i: bytes
layout(constant_id = 6) const uint RESULT = 0;   // operand
#define CHAIN_FIRST_ID 7

#define TENSORS 6 // the output, then inputs
#define LOOP_WORDS 11

#if WIDTH == 4
#define VALUE vec4
#define BITS uvec4
#else
#define VALUE float
#define BITS uint
#endif
layout(set = 0, binding = 0) writeonly buffer B0 { float y[]; };
layout(set = 0, binding = 1) readonly buffer B1 { BITS b1[]; };
layout(set = 0, binding = 2) readonly buffer B2 { BITS b2[]; };
layout(set = 0, binding = 3) readonly buffer B3 { BITS b3[]; };
layout(set = 0, binding = 4) readonly buffer B4 { BITS b4[]; };
layout(set = 0, binding = 5) readonly buffer B5 { BITS b5[]; };
layout(set = 0, binding = 6) readonly buffer Record { uint words[]; };
#ifdef TEXELS
#extension GL_EXT_samplerless_texture_functions : require
// The inputs once more: drivers for the CPU load a texel as one.
layout(set = 0, binding = 9) uniform textureBuffer b1_texels;
layout(set = 0, binding = 10) uniform textureBuffer b2_texels;
layout(set = 0, binding = 11) uniform textureBuffer b3_texels;
layout(set = 0, binding = 12) uniform textureBuffer b4_texels;
layout(set = 0, binding = 13) uniform textureBuffer b5_texels;
#define FOUR(b, i) floatBitsToUint(texelFetch(b##_texels, int(i)))
#else
#define FOUR(b, i) b[i]
#endif

layout(push_constant) uniform Params {
    uint outputs;
    uint terms;
    uint parts;
    uint kept_loops, reduced_loops;
    uint record; // kept loops, then reduced ones, the fastest first
    uint groups_x;
    float scale;
    uint chunk; // terms of a part that lie together; 0: parts take turns
    uint first[TENSORS];
    uint constants[16];
};

uint chain_constant(uint i) {
    return constants[i];
}

#define CHAIN_INPUTS 5
#include "common/chain.glsl"

#ifdef GROUP
shared VALUE halves[128];
#endif

// A loop of a nest, in registers: loading its words for each term would cost more than all the rest on drivers for the
// CPU.
struct Loop {
    uint size, multiplier, shift;
    uint strides[TENSORS];
};

Loop load_loop(uint w) {
    Loop loop;
    loop.size = words[w];
    loop.multiplier = words[w + 1u];
    loop.shift = words[w + 2u];
    for (uint t = 0; t <= INPUTS; t++) loop.strides[t] = words[w + 3u + t];
    return loop;
}

// What is left of e takes its coordinate in the loop; the last loop takes all.
void locate(Loop loop, bool last, inout uint e, inout uint at[TENSORS]) {
    uint coordinate = e;
    if (!last) {
        uint high, low;
        umulExtended(e, loop.multiplier, high, low);
        uint quotient = high >> loop.shift;
        coordinate = e - quotient * loop.size;
        e = quotient;
    }
    for (uint t = 0; t <= INPUTS; t++) at[t] += coordinate * loop.strides[t];
}

float combine_one(float a, float b) {
    if (KIND == MAXIMUM) return a > b || is_nan(a) ? a : b;
    if (KIND == MINIMUM) return a < b || is_nan(a) ? a : b;
    if (KIND == PRODUCT) {
        precise float product = a * b;
        return product;
    }
    precise float sum = a + b;
    return sum;
}

uint byte_of(uint word, uint at) {
    return floatBitsToUint(float(word >> 8u * (at & 3u) & 255u));
}
#define IS_BYTE(i) ((LEVELS >> 8 + i & 1u) != 0u)

#if WIDTH == 4
BITS bytes_of(uint word) {
    return BITS(byte_of(word, 0u), byte_of(word, 1u), byte_of(word, 2u), byte_of(word, 3u));
}
VALUE combine(VALUE a, VALUE b) {
    return VALUE(combine_one(a.x, b.x), combine_one(a.y, b.y), combine_one(a.z, b.z), combine_one(a.w, b.w));
}
#define FETCH(i, b)                                                                                                    \
    if (i < INPUTS) {                                                                                                  \
        uint place = at[i + 1];                                                                                        \
        bool level = (LEVELS >> i & 1u) != 0u;                                                                         \
        if (IS_BYTE(i)) {                                                                                              \
            uint word = FOUR(b, place >> 4)[place >> 2 & 3u];                                                          \
            value[i] = level ? BITS(byte_of(word, place)) : bytes_of(word);                                            \
        } else {                                                                                                       \
            value[i] = FOUR(b, place >> 2);                                                                            \
            if (level) value[i] = BITS(value[i][place & 3u]);                                                          \
        }                                                                                                              \
    }
#define TAKE(i, c) if (i < INPUTS) chain_inputs[i] = value[i][c];
#else
#define combine combine_one
#define FETCH(i, b)                                                                                                    \
    if (i < INPUTS) {                                                                                                  \
        uint place = at[i + 1];                                                                                        \
        if (IS_BYTE(i))                                                                                                \
            value[i] = byte_of(b[place >> 2], place);                                                                  \
        else                                                                                                           \
            value[i] = b[place];                                                                                       \
    }
#define TAKE(i, c) if (i < INPUTS) chain_inputs[i] = value[i];
#endif

float run(BITS value[5], uint c) {
    TAKE(0, c)
    TAKE(1, c)
    TAKE(2, c)
    TAKE(3, c)
    TAKE(4, c)
    chain_run();
    uint result;
    CHAIN_VALUE(result, RESULT)
    return uintBitsToFloat(result);
}

VALUE term(uint at[TENSORS]) {
    BITS value[5];
    FETCH(0, b1)
    FETCH(1, b2)
    FETCH(2, b3)
    FETCH(3, b4)
    FETCH(4, b5)
#if WIDTH == 4
    return VALUE(run(value, 0), run(value, 1), run(value, 2), run(value, 3));
#else
    return run(value, 0);
#endif
}

void main() {
    uint group = gl_WorkGroupID.y * groups_x + gl_WorkGroupID.x;
    const uint along_kept = BY_PART ? 1u : WIDTH, along_reduced = BY_PART ? WIDTH : 1u;
#ifdef GROUP
    uint o = group / parts, p = (group - o * parts) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    uint step = parts * gl_WorkGroupSize.x;
    if (o >= outputs) return; // the whole workgroup
#else
    uint id = group * gl_WorkGroupSize.x + gl_LocalInvocationID.x, o, p, step = parts;
    uint counts = outputs / along_kept;
    if (id >= counts * parts) return;
    if (BY_PART) {
        o = id / parts;
        p = id - o * parts;
    } else {
        p = id / counts;
        o = (id - p * counts) * WIDTH;
    }
#endif
    uint base[TENSORS] = first, left = o;
    for (uint d = 0; d < kept_loops; d++) locate(load_loop(record + d * LOOP_WORDS), d + 1u == kept_loops, left, base);
    uint reduced = record + kept_loops * LOOP_WORDS;
    Loop loop_0, loop_1;
    if (reduced_loops > 0u) loop_0 = load_loop(reduced);
    if (!PLAIN) loop_1 = load_loop(reduced + LOOP_WORDS);

    float nothing = 0.0; // by branches: they fold before a driver sees them
    if (KIND == MAXIMUM) nothing = -TUFF_INFINITY;
    if (KIND == MINIMUM) nothing = TUFF_INFINITY;
    if (KIND == PRODUCT) nothing = 1.0;
    precise VALUE total = VALUE(nothing), lost = VALUE(0.0);
    uint r = p * along_reduced, end = terms;
    step *= along_reduced;
    if (chunk > 0u) {
        r = p * chunk;
        end = min(terms, r + chunk);
        step = along_reduced;
    }
    while (r < end) {
        VALUE block = VALUE(nothing);
        uint stop = min(end, r + 8u * step);
        for (; r < stop; r += step) {
            uint at[TENSORS] = base;
            left = r;
            if (PLAIN) {
                if (reduced_loops > 0u) locate(loop_0, true, left, at);
            } else {
                locate(loop_0, false, left, at);
                locate(loop_1, reduced_loops == 2u, left, at);
                for (uint d = 2u; d < reduced_loops; d++)
                    locate(load_loop(reduced + d * LOOP_WORDS), d + 1u == reduced_loops, left, at);
            }
            block = combine(block, term(at));
        }
        if (KIND != SUM) {
            total = combine(total, block);
        } else {
            precise VALUE sum = total + block;
            precise VALUE part = sum - total;
            lost = lost + ((total - (sum - part)) + (block - part));
            total = sum;
        }
    }
    // an infinite sum leaves a NaN in what was lost
#if WIDTH == 4
    for (uint c = 0; c < 4; c++)
        if ((floatBitsToUint(total[c]) & 0x7f800000u) != 0x7f800000u && !is_nan(lost[c])) total[c] = total[c] + lost[c];
#else
    if ((floatBitsToUint(total) & 0x7f800000u) != 0x7f800000u && !is_nan(lost)) total = total + lost;
#endif

#ifdef GROUP
    for (uint half_size = gl_WorkGroupSize.x / 2u; half_size > 0u; half_size /= 2u) {
        if (gl_LocalInvocationID.x >= half_size && gl_LocalInvocationID.x < 2u * half_size)
            halves[gl_LocalInvocationID.x - half_size] = total;
        barrier();
        if (gl_LocalInvocationID.x < half_size) total = combine(total, halves[gl_LocalInvocationID.x]);
        barrier();
    }
    if (gl_LocalInvocationID.x > 0u) return;
    p = group - o * parts;
#endif
    // partial results of the parts lie behind one another: the output's stride in `reduced` does not exist
    uint place = parts > 1u ? (BY_PART ? o * parts + p : p * outputs + o) + first[0] : base[0];
#if WIDTH == 4
    if (BY_PART) {
        y[place] = combine_one(combine_one(total.x, total.y), combine_one(total.z, total.w)) * scale;
    } else {
        uint stride = parts > 1u ? 1u : words[record + 3u]; // the four are along the fastest kept axis
        for (uint c = 0; c < 4; c++) y[place + c * stride] = total[c] * scale;
    }
#else
    y[place] = total * scale;
#endif
}
