#version 450
// y[e] = x[t(o)]: o are the coordinates of element e, t those of the element that it is read from. Along each axis
// t = +-o + add, of which only multiples of `step` count, divided by it; where t is outside the axis it is reflected,
// brought to the nearest end or wrapped around, or y[e] is `value`.
// KIND keeps a triangle, where column - row is at most (LOWER) or at least (UPPER) diagonal, or compares: 1.0 where
// x[t] equals the column.
//
// One invocation an element, in the order in which y lies in memory: consecutive ones write consecutive elements.
// Numbers are moved as bits, whatever their type.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(constant_id = 0) const uint OUTSIDE = 0;
layout(constant_id = 1) const uint KIND = 0;

#define FILLS      0u // layers/rearrange.h has the same numbers
#define REFLECTS   1u
#define REPLICATES 2u
#define WRAPS      3u
#define MOVES      0u
#define LOWER      1u
#define UPPER      2u
#define EQUALS     3u

layout(set = 0, binding = 0) readonly buffer X { uint x[]; };
layout(set = 0, binding = 1) writeonly buffer Y { uint y[]; };
// each axis, the fastest of y first: its size in y, division by it as multiplication and shift, its sign, add, step, its
// size in x, its stride in x
layout(set = 0, binding = 2) readonly buffer Record { uint words[]; };
#define AXIS_WORDS 8u

layout(push_constant) uniform Params {
    uint count; // elements of this call, the first one being `begin`
    uint begin;
    uint axes, record;
    uint first_x, first_y;
    uint value;
    uint row, column; // which axes of the record these are; as many as there are axes: always 0
    int diagonal;
};

void main() {
    uint i = flat_index();
    if (i >= count) return;
    uint rest = begin + i, at = first_x;
    int row_at = 0, column_at = 0;
    bool inside = true;
    for (uint d = 0u; d < axes; d++) {
        uint w = record + d * AXIS_WORDS, coordinate = rest;
        if (d + 1u < axes) {
            uint high, low;
            umulExtended(rest, words[w + 1u], high, low);
            uint quotient = words[w] == 1u ? rest : high >> words[w + 2u];
            coordinate = rest - quotient * words[w];
            rest = quotient;
        }
        int t = int(coordinate) * int(words[w + 3u]) + int(words[w + 4u]), n = int(words[w + 6u]);
        if (d == row) row_at = int(coordinate);
        if (d == column) column_at = int(coordinate);
        if (OUTSIDE == FILLS) {
            uint step = words[w + 5u], reduced = uint(t) / step;
            inside = inside && t >= 0 && reduced * step == uint(t) && reduced < uint(n);
            t = int(reduced);
        } else if (OUTSIDE == REFLECTS) {
            t = t < 0 ? -t : t >= n ? 2 * (n - 1) - t : t;
        } else if (OUTSIDE == REPLICATES) {
            t = clamp(t, 0, n - 1);
        } else {
            t = t < 0 ? t + n : int(uint(t) % uint(n));
        }
        at += uint(t) * words[w + 7u];
    }
    if (KIND == LOWER) inside = inside && column_at - row_at <= diagonal;
    if (KIND == UPPER) inside = inside && column_at - row_at >= diagonal;
    uint moved = value;
    if (inside) moved = x[at];
    if (KIND == EQUALS) moved = moved == uint(column_at) ? floatBitsToUint(1.0) : 0u;
    y[first_y + i] = moved;
}
