#version 450
// y[o, r, i] = sum over k with index[o, k, i] = r of x[o, k, i], k in ascending order: the same bits each time, no
// atomics. PER_LINE 0: one list index[k] for all o and i. Indices out of range, and `skip`, count for nothing.
//
// An invocation owns one line (o, i) and group_rows of its rows: it zeroes them (unless an earlier call's slice of the
// sources is there), then walks over all the line's indices and adds where one names a row of its own. Neighbours in
// i are neighbours in memory and read the same or neighbouring indices. The cost is sources for each invocation, with
// as many of them as keep the device busy; scatter_sort.comp is for lists too long for that.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

#if WIDTH == 4
#define VALUE vec4
#else
#define VALUE float
#endif

layout(constant_id = 0) const uint PER_LINE = 0;

layout(set = 0, binding = 0) readonly buffer Index { int index[]; };
layout(set = 0, binding = 1) readonly buffer X { VALUE x[]; };
layout(set = 0, binding = 2) buffer Y { VALUE y[]; };

layout(push_constant) uniform Params {
    uint invocations;
    uint lines, inner; // (o, i), i; in VALUEs
    uint sources, x_step; // bound here; from o to o in x (and index), in VALUEs
    uint begin_row, rows, y_step; // bound here; from o to o in y
    uint group_rows;
    uint skip;
    uint first_index, first_x, first_y; // the last two in VALUEs
    uint start; // 1: nothing is there yet
};

void main() {
    uint id = flat_index();
    if (id >= invocations) return;
    uint line = id % lines, o = line / inner, i = line % inner;
    uint begin = id / lines * group_rows, owned = min(group_rows, rows - begin);
    uint at_y = first_y + o * y_step + begin * inner + i, at_x = first_x + o * x_step + i;
    uint at_index = first_index, index_step = 1u;
    if (PER_LINE != 0u) {
        at_index += o * x_step + i;
        index_step = inner;
    }
    if (start != 0u)
        for (uint r = 0u; r < owned; r++) y[at_y + r * inner] = VALUE(0.0);
    begin += begin_row;
    for (uint k = 0u; k < sources; k++) {
        uint named = uint(index[at_index + k * index_step]), r = named - begin;
        if (r < owned && named != skip) y[at_y + r * inner] += x[at_x + k * inner];
    }
}
