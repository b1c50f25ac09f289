#version 450
// The largest (or smallest) of the n values x[outer, 0 .. n, inner] of each row and where the first of them stands. A NaN
// is the largest and the smallest, -0 is 0.
//
// Invocation (row, p) takes the elements p, p + parts, ...; with more than one part the results are partial and the next
// call reduces them, with their indices (INDEXED). Neighbours have neighbouring p if the rows lie contiguous, else
// neighbouring rows.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"
#include "reduction/order.glsl"

layout(constant_id = 0) const bool INDEXED = false;

layout(set = 0, binding = 0) readonly buffer X { uint x[]; };
layout(set = 0, binding = 1) readonly buffer Given { uint given[]; }; // INDEXED: laid out as x
layout(set = 0, binding = 2) writeonly buffer Values { uint values[]; }; // [part][row]
layout(set = 0, binding = 3) writeonly buffer Indices { uint indices[]; };

layout(push_constant) uniform Params {
    uint rows, n, inner, parts;
    uint smallest;
    uint first_x, first_given, first_values, first_indices;
};

uint rank_of(uint bits) {
    uint order = order_of((bits & 0x7fffffffu) == 0u ? 0u : bits);
    return smallest != 0u && order != NOTHING ? ~order : order;
}

void main() {
    uint id = flat_index(), row, p;
    if (id >= rows * parts) return;
    if (inner == 1u) {
        row = id / parts;
        p = id - row * parts;
    } else {
        p = id / rows;
        row = id - p * rows;
    }
    uint base = row / inner * (n * inner) + row % inner;
    uint best = 0u, where = NOTHING, value = 0u;
    for (uint j = p; j < n; j += parts) {
        uint at = base + j * inner, bits = x[first_x + at], rank = rank_of(bits);
        uint index = INDEXED ? given[first_given + at] : j;
        if (where == NOTHING || rank > best || (rank == best && index < where)) {
            best = rank;
            where = index;
            value = bits;
        }
    }
    values[first_values + p * rows + row] = value;
    indices[first_indices + p * rows + row] = where;
}
