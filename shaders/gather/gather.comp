#version 450
// y[o] = x[o with its coordinate along one axis replaced by index[o]]; `outside` where that is no index of the axis.
// index may be one list for all coordinates of the other axes: its strides are 0 there.
//
// One invocation an element of y, in the order in which y lies in memory. A large x comes in slices: of the axis,
// begin_row .. begin_row + bound_rows are bound here, others leave y to their own slice's call. Numbers are moved as
// bits, whatever their type.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(set = 0, binding = 0) readonly buffer Index { int index[]; };
layout(set = 0, binding = 1) readonly buffer X { uint x[]; };
layout(set = 0, binding = 2) writeonly buffer Y { uint y[]; };
// each loop over y's axes, the fastest first: size, division by it as multiplication and shift, strides: y's, index',
// x's, which is 0 along the axis that is indexed (layers/chain.h, loops_words)
layout(set = 0, binding = 3) readonly buffer Record { uint words[]; };
#define LOOP_WORDS 11u

layout(push_constant) uniform Params {
    uint count;
    uint loops, record;
    uint first_index, first_x, first_y;
    uint rows; // of the whole axis
    uint begin_row, bound_rows;
    uint row_stride; // x's along the axis
    uint outside;
};

void main() {
    uint i = flat_index();
    if (i >= count) return;
    uint rest = i, at_index = first_index, at_x = first_x;
    for (uint d = 0u; d < loops; d++) {
        uint w = record + d * LOOP_WORDS, coordinate = rest;
        if (d + 1u < loops) {
            uint high, low;
            umulExtended(rest, words[w + 1u], high, low);
            uint quotient = words[w] == 1u ? rest : high >> words[w + 2u];
            coordinate = rest - quotient * words[w];
            rest = quotient;
        }
        at_index += coordinate * words[w + 4u];
        at_x += coordinate * words[w + 5u];
    }
    uint row = uint(index[at_index]), bound = row - begin_row; // negative: huge
    if (row < rows && bound < bound_rows)
        y[first_y + i] = x[at_x + bound * row_stride];
    else if (row >= rows && begin_row == 0u)
        y[first_y + i] = outside;
}
