#version 450
#extension GL_GOOGLE_include_directive : require
// For each row of n terms x = chain(inputs), with m = max x and s = sum exp(x - m),
//   SOFTMAX     y = exp(x - m) / s
//   LOG         y = x - m - log s
// and their gradients, of which the inputs are the result y and what arrives, g:
//   SOFTMAX_BACKWARD   gx = y (g - sum g y)
//   LOG_BACKWARD       gx = g - exp(y) sum g
//
// A row lies along one axis and rows count through a nest of loops; the record has the loops of the rows and then the
// row's own. A row belongs to LANES invocations of a workgroup, which add up through shared memory, or to one, which is
// what drivers for the CPU are fast with; it is walked two or three times, and what it computes is computed again rather
// than stored. WIDTH 4: four neighbours of a row at once (BY_ROW) or four rows (LANES 1), whichever lie together.
layout(local_size_x_id = 0) in;

#define SOFTMAX          0u
#define LOG              1u
#define SOFTMAX_BACKWARD 2u
#define LOG_BACKWARD     3u

layout(constant_id = 1) const uint LANES = 1;
layout(constant_id = 2) const uint INPUTS = 1;
layout(constant_id = 3) const uint KIND = SOFTMAX;
layout(constant_id = 4) const bool BY_ROW = true;
layout(constant_id = 5) const uint LEVELS = 0; // as in reduction/terms.glsl
layout(constant_id = 6) const uint RESULT = 0; // operand
#define CHAIN_FIRST_ID 7

#include "reduction/operands.glsl"
layout(set = 0, binding = 0) writeonly buffer B0 { VALUE y[]; };

layout(push_constant) uniform Params {
    uint rows, n;
    uint loops; // of the rows
    uint record;
    uint groups_x;
    uint first[TENSORS];
    uint constants[16];
};

uint chain_constant(uint i) {
    return constants[i];
}

#include "reduction/terms.glsl"
#include "reduction/sums.glsl"

#if WIDTH == 4
VALUE larger(VALUE a, VALUE b) {
    return VALUE(chain_max(a.x, b.x), chain_max(a.y, b.y), chain_max(a.z, b.z), chain_max(a.w, b.w));
}
VALUE exp_of(VALUE x) {
    return VALUE(tuff_exp(x.x), tuff_exp(x.y), tuff_exp(x.z), tuff_exp(x.w));
}
VALUE log_of(VALUE x) {
    return VALUE(tuff_log(x.x), tuff_log(x.y), tuff_log(x.z), tuff_log(x.w));
}
// The sum of each row for its terms.
VALUE sum_of(Sums s) {
    if (BY_ROW) return VALUE(whole(s));
    return VALUE(value_of(vec2(s.sum.x, s.lost.x)), value_of(vec2(s.sum.y, s.lost.y)),
                 value_of(vec2(s.sum.z, s.lost.z)), value_of(vec2(s.sum.w, s.lost.w)));
}
#else
#define larger chain_max
#define exp_of tuff_exp
#define log_of tuff_log
#define sum_of whole
#endif

// The largest term of each row for its terms.
VALUE largest_of(VALUE most) {
    if (!BY_ROW) return most;
#if WIDTH == 4
    float mine = chain_max(chain_max(most.x, most.y), chain_max(most.z, most.w));
#else
    float mine = most;
#endif
    for (uint distance = 1u; distance < LANES; distance *= 2u) {
        shares[gl_LocalInvocationID.x].x = mine;
        barrier();
        mine = chain_max(mine, shares[gl_LocalInvocationID.x ^ distance].x);
        barrier();
    }
    return VALUE(mine);
}

#define PLACE(j)                                                                                                       \
    uint at[TENSORS] = base, coordinate = j;                                                                           \
    locate(along, true, coordinate, at);

void main() {
    const uint row_width = BY_ROW ? 1u : WIDTH, term_width = BY_ROW ? WIDTH : 1u;
    uint group = gl_WorkGroupID.y * groups_x + gl_WorkGroupID.x, lane = gl_LocalInvocationID.x;
    uint row = (group * (gl_WorkGroupSize.x / LANES) + lane / LANES) * row_width;
    uint begin = lane % LANES * term_width, step = LANES * term_width, count = row < rows ? n : 0u;
    uint base[TENSORS] = first, left = row < rows ? row : 0u;
    for (uint d = 0; d < loops; d++) locate(load_loop(record + d * LOOP_WORDS), d + 1u == loops, left, base);
    Loop along = load_loop(record + loops * LOOP_WORDS);

    VALUE most = VALUE(-TUFF_INFINITY);
    if (KIND == SOFTMAX || KIND == LOG) {
        for (uint j = begin; j < count; j += step) {
            PLACE(j)
            most = larger(most, term(at));
        }
        most = largest_of(most);
    }
    Sums sums = Sums(VALUE(0.0), VALUE(0.0));
    for (uint j = begin; j < count; j += step) {
        PLACE(j)
        precise VALUE share;
        if (KIND == SOFTMAX || KIND == LOG) {
            precise VALUE below = term(at) - most;
            share = exp_of(below);
        } else {
            BITS value[5];
            fetch(at, value);
            share = uintBitsToFloat(value[1]);
            if (KIND == SOFTMAX_BACKWARD) share = share * uintBitsToFloat(value[0]);
        }
        add(sums, share);
    }
    VALUE sum = sum_of(sums);
    if (KIND == LOG) sum = log_of(sum);
    for (uint j = begin; j < count; j += step) {
        PLACE(j)
        precise VALUE result;
        if (KIND == SOFTMAX || KIND == LOG) {
            precise VALUE below = term(at) - most;
            if (KIND == LOG)
                result = below - sum;
            else
                result = exp_of(below) / sum;
        } else {
            BITS value[5];
            fetch(at, value);
            VALUE made = uintBitsToFloat(value[0]), g = uintBitsToFloat(value[1]);
            if (KIND == LOG_BACKWARD)
                result = g - exp_of(made) * sum;
            else
                result = made * (g - sum);
        }
        y[at[0] / WIDTH] = result;
    }
}
