#version 450
#extension GL_GOOGLE_include_directive : require
// y[o] = behind(scale * sum over r of chain(x)[o, r]) for o < outputs, r < terms; or its maximum, minimum or product. The
// chain behind has up to four further inputs, which have no reduced axes; of partial results there is none.
//
// o and r count through nests of loops (kept and reduced axes) whose sizes and strides are in the record. Invocation
// (o, p) takes the terms p, p + parts, p + 2 parts, ... of output o, or `chunk` terms from p * chunk on where that suits
// the caches better (drivers for the CPU); with more than one part the results are partial, and the next pass reduces
// them. Neighbouring invocations have neighbouring p (BY_PART) or o: whichever lies
// together in memory. WIDTH 4: four neighbours at once, along the same axis. GROUP: a whole workgroup shares a part,
// and adds up through shared memory.
//
// Sums are trees: blocks of 8, then blocks added with their rounding errors kept (Knuth's two-sum), then parts. With u
// = 2^-24, a pass is off by at most 7u for a block, 1u for what is kept and 4u for its own rounding (of 8192 blocks, the
// most that a pass takes), 2u for the four of WIDTH 4 and 8u for a group's tree, times the sum of the absolute terms,
// whatever their number; two passes and a sum in halves stay below 2^-18.
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
layout(constant_id = 7) const uint BEHIND = 0;   // steps of the chain behind the reduction,
layout(constant_id = 8) const uint EXTRAS = 0;   // its inputs beside the result (tensors behind the INPUTS),
layout(constant_id = 9) const uint OUTCOME = 0;  // and the operand that it makes
#define CHAIN_FIRST_ID 10
#define CHAIN_BEHIND   BEHIND

#include "reduction/operands.glsl"
layout(set = 0, binding = 0) writeonly buffer B0 { float y[]; };

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

#include "reduction/terms.glsl"

#ifdef GROUP
shared VALUE halves[128];
#endif

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

#if WIDTH == 4
VALUE combine(VALUE a, VALUE b) {
    return VALUE(combine_one(a.x, b.x), combine_one(a.y, b.y), combine_one(a.z, b.z), combine_one(a.w, b.w));
}
#else
#define combine combine_one
#endif

#if WIDTH == 4
#define ONE(b, place) FOUR(b, (place) >> 2)[(place) & 3u]
#else
#define ONE(b, place) b[place]
#endif
#define EXTRA(i, b)                                                                                                    \
    if (i >= INPUTS && i < INPUTS + EXTRAS) {                                                                          \
        uint place = at[i + 1];                                                                                        \
        chain_inputs[i - INPUTS + 1] = ONE(b, place);                                                                  \
    }

float finish(float value, uint o) {
    if (BEHIND == 0u) return value;
    uint at[TENSORS] = first, left = o;
    for (uint d = 0; d < kept_loops; d++) {
        uint w = record + d * LOOP_WORDS, coordinate = coordinate_of(load_loop(w), d + 1u == kept_loops, left);
        for (uint t = INPUTS + 1u; t <= INPUTS + EXTRAS; t++) at[t] += coordinate * words[w + 3u + t];
    }
    EXTRA(0u, b1)
    EXTRA(1u, b2)
    EXTRA(2u, b3)
    EXTRA(3u, b4)
    EXTRA(4u, b5)
    chain_inputs[0] = floatBitsToUint(value);
    chain_run_behind();
    uint outcome;
    CHAIN_VALUE(outcome, OUTCOME)
    return uintBitsToFloat(outcome);
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
        y[place] = finish(combine_one(combine_one(total.x, total.y), combine_one(total.z, total.w)) * scale, o);
    } else {
        uint stride = parts > 1u ? 1u : words[record + 3u]; // the four are along the fastest kept axis
        for (uint c = 0; c < 4; c++) y[place + c * stride] = finish(total[c] * scale, o + c);
    }
#else
    y[place] = finish(total * scale, o);
#endif
}
