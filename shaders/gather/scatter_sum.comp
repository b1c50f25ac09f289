#version 450
// y[row] = sum of x at the positions of the sorted pairs that have this row as their key, in order; y is zero before.
//
// CHUNKS: an invocation takes chunk_pairs pairs, for one VALUE of the features that share the list. Rows whose pairs
// all lie in its chunk it stores; what it has of a row that began in a chunk before goes into parts[2 chunk], of one
// that goes on behind it into parts[2 chunk + 1]. JOIN: of each row that spans chunks, the invocation of the chunk where
// it begins adds the parts up. However the indices are distributed, no invocation adds more than about the root of
// their number. Sums are compensated.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

#if WIDTH == 4
#define VALUE vec4
#else
#define VALUE float
#endif
#define CHUNKS 0u
#define JOIN   1u
#define NOTHING 0xffffffffu

layout(constant_id = 0) const uint STAGE = 0;
layout(constant_id = 1) const uint PER_LINE = 0;

layout(set = 0, binding = 0) readonly buffer Pairs { uvec2 pairs[]; };
layout(set = 0, binding = 1) readonly buffer X { VALUE x[]; };
layout(set = 0, binding = 2) writeonly buffer Y { VALUE y[]; };
layout(set = 0, binding = 3) buffer Parts { VALUE parts[]; };

layout(push_constant) uniform Params {
    uint invocations;
    uint entries, chunk_pairs;
    uint features, inner; // that share the list: (o, i), i; in VALUEs. PER_LINE: one; i counts lines
    uint sources, rows;
    uint first_x, first_y; // in VALUEs
};

uint key(uint e) {
    return pairs[e].x;
}

VALUE source(uint e, uint feature) {
    uint position = pairs[e].y;
    if (PER_LINE != 0u) return x[first_x + position];
    return x[first_x + (feature / inner * sources + position) * inner + feature % inner];
}

void store(uint row, uint feature, VALUE sum) {
    uint line = feature, r = row;
    if (PER_LINE != 0u) {
        line = row / rows;
        r = row % rows;
    }
    y[first_y + (line / inner * rows + r) * inner + line % inner] = sum;
}

void main() {
    uint id = flat_index();
    if (id >= invocations) return;
    uint feature = id % features, chunk = id / features;
    uint begin = chunk * chunk_pairs, end = min(begin + chunk_pairs, entries);
    uint head = chunk * 2u * features + feature, tail = head + features;
    precise VALUE sum = VALUE(0.0), lost = VALUE(0.0), term, next;
#define ADD(value)                                                                                                     \
    term = (value) - lost; /* Kahan */                                                                                 \
    next = sum + term;                                                                                                 \
    lost = (next - sum) - term;                                                                                        \
    sum = next;
    if (STAGE == JOIN) {
        uint row = key(end - 1u);
        if (row == NOTHING || end == entries || key(end) != row) return;
        if (begin > 0u && key(begin - 1u) == row) return;
        sum = parts[tail];
        for (uint at = end, part = head + 2u * features; at < entries && key(at) == row;
             at += chunk_pairs, part += 2u * features) {
            ADD(parts[part])
        }
        store(row, feature, sum);
        return;
    }
    bool before = begin > 0u && key(begin - 1u) == key(begin);
    uint row = key(begin);
    for (uint e = begin; e < end && row != NOTHING; e++) {
        uint named = key(e);
        if (named != row) {
            if (before)
                parts[head] = sum;
            else
                store(row, feature, sum);
            before = false;
            row = named;
            sum = lost = VALUE(0.0);
            if (row == NOTHING) return;
        }
        ADD(source(e, feature))
    }
    if (row == NOTHING) return;
    if (before)
        parts[head] = sum;
    else if (end < entries && key(end) == row)
        parts[tail] = sum;
    else
        store(row, feature, sum);
}
