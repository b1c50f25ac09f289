#version 450
// gtable[r, f] = sum over i with index[i] = r of g[i, f], i in ascending order: the same bits each time, no atomics.
//
// A workgroup owns group_rows rows of the table and 32 VALUEs of their features; each invocation owns its feature
// in all these rows. It zeroes them (unless an earlier call's slice of the indices is there), then walks over all
// indices, the same one in every lane, and adds the gradient where an index names one of its rows.
layout(local_size_x = 32) in;

#if WIDTH == 4
#define VALUE vec4
#else
#define VALUE float
#endif

layout(set = 0, binding = 0) readonly buffer Index { int index[]; };
layout(set = 0, binding = 1) readonly buffer Gradient { VALUE g[]; };
layout(set = 0, binding = 2) buffer Table { VALUE gtable[]; };

layout(push_constant) uniform Params {
    uint count; // indices
    uint features; // in VALUEs
    uint table_begin, table_rows; // the bound slice of the table
    uint group_rows;
    uint first_index, first_g, first_table; // the last two in VALUEs
    uint start; // 1: nothing is there yet
};

void main() {
    uint feature = gl_WorkGroupID.y * 32u + gl_LocalInvocationID.x;
    if (feature >= features) return;
    uint begin = gl_WorkGroupID.x * group_rows, rows = min(group_rows, table_rows - begin);
    uint owned = first_table + begin * features + feature;
    if (start != 0u)
        for (uint r = 0u; r < rows; r++) gtable[owned + r * features] = VALUE(0.0);
    begin += table_begin;
    for (uint i = 0u; i < count; i++) {
        uint r = uint(index[first_index + i]) - begin;
        if (r < rows) gtable[owned + r * features] += g[first_g + i * features + feature];
    }
}
