#version 450
// y[i, f] = table[index[i], f]; a row of NaN where index[i] is no row of the table.
// One invocation a vec4 (WIDTH 4) or a number (WIDTH 1) of y. A large table comes in slices: the rows
// table_begin .. table_begin + table_rows are bound here, others leave y to their own slice's call.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

#if WIDTH == 4
#define VALUE vec4
#else
#define VALUE float
#endif

layout(set = 0, binding = 0) readonly buffer Index { int index[]; };
layout(set = 0, binding = 1) readonly buffer Table { VALUE table[]; };
layout(set = 0, binding = 2) writeonly buffer Y { VALUE y[]; };

layout(push_constant) uniform Params {
    uint rows; // of y
    uint features; // in VALUEs
    uint vocabulary; // rows of the whole table
    uint table_begin, table_rows;
    uint first_index, first_table, first_y; // the last two in VALUEs
};

void main() {
    uint i = flat_index();
    if (i >= rows * features) return;
    uint row = uint(index[first_index + i / features]); // negative: huge
    uint at = row - table_begin;
    if (row < vocabulary && at < table_rows)
        y[first_y + i] = table[first_table + at * features + i % features];
    else if (row >= vocabulary && table_begin == 0u)
        y[first_y + i] = VALUE(NOT_A_NUMBER);
}
