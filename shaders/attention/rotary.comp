#version 450
#extension GL_GOOGLE_include_directive : require
// Rotary position embedding: pairs (a, b) of a row's features become (a cos t - b sin t, b cos t + a sin t), where
// t = position * base^(-2 i / rotated) for pair i; the features behind the rotated ones are copied.
//
// An angle is counted in turns: what one position adds stands in the record as a fraction of 64 bits, so the product is
// exact modulo whole turns, however far the position. One invocation a pair, or a feature that is copied; x's strides
// and the positions' stand in the record as well.
#define STEP_RECORD_BINDING 4
#include "common/math.glsl"
#include "common/step_record.glsl"

layout(local_size_x = 64) in;

layout(constant_id = 0) const bool POSITIONS = false;   // each row has its own; otherwise they count from `offset` on
layout(constant_id = 1) const bool INTERLEAVED = false; // pairs are neighbours; otherwise (i, i + rotated / 2)
layout(constant_id = 2) const bool REVERSE = false;     // back
layout(constant_id = 3) const bool CACHED = false;      // the step record's cache length is added

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Positions { int positions[]; };
layout(set = 0, binding = 2) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 3) readonly buffer Record { uint record[]; };

layout(push_constant) uniform Params {
    uint count;   // of invocations
    uint pairs, features;
    uint rank;    // axes before the features, the fastest first
    uint at;      // in the record: size, x's stride, the positions' of each axis; then a turn's fraction of each pair
    uint column;  // x's stride along the features
    int offset;
    uint first_x, first_positions, first_y;
};

void main() {
    uint lanes = features - pairs;
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64 + gl_LocalInvocationID.x;
    if (i >= count) return;
    uint row = i / lanes, pair = i % lanes, rest = row, from = first_x, p = first_positions;
    int position = offset;
    for (uint axis = 0; axis < rank; axis++) {
        uint size = record[at + 3 * axis], index = rest % size;
        rest /= size;
        from += index * record[at + 3 * axis + 1];
        p += index * record[at + 3 * axis + 2];
        if (axis == 0 && !POSITIONS) position += int(index);
    }
    uint to = first_y + row * features;
    if (pair >= pairs) {
        y[to + pairs + pair] = x[from + (pairs + pair) * column];
        return;
    }
    if (POSITIONS) position += positions[p];
    if (CACHED) position += int(step_record.cache_length);
    uint fraction = at + 3 * rank + 2 * pair, low = record[fraction], high = record[fraction + 1], carried, least;
    umulExtended(uint(position), low, carried, least);
    uint turn = uint(position) * high + carried - (position < 0 ? low : 0u); // of 2^32
    uint quadrant = (turn + 0x20000000u) >> 30;
    precise float r = float(int(turn - (quadrant << 30))) * 1.4629180792671596e-09; // 2 pi / 2^32
    float cosine = circle(r, quadrant + 1u), sine = circle(r, quadrant);
    if (REVERSE) sine = -sine;
    uint a = INTERLEAVED ? 2 * pair : pair, b = INTERLEAVED ? a + 1 : a + pairs;
    float xa = x[from + a * column], xb = x[from + b * column];
    precise float ya = xa * cosine - xb * sine, yb = xb * cosine + xa * sine;
    y[to + a] = ya;
    y[to + b] = yb;
}
