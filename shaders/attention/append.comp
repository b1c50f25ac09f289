#version 450
#extension GL_GOOGLE_include_directive : require
// Rows of new keys or values into a cache, in place: cache[..., length + i, :] = x[..., i, :], where the length is the
// step record's. Rows past the cache's end are left out. One invocation an element.
#define STEP_RECORD_BINDING 2
#include "common/step_record.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) writeonly buffer Cache { float cache[]; };

layout(push_constant) uniform Params {
    uint count;
    uint rows, features, heads, capacity;
    uint x_row, x_column, x_head, x_batch; // x's strides
    uint first_x, first_cache;
};

void main() {
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64 + gl_LocalInvocationID.x;
    if (i >= count) return;
    uint f = i % features, row = i / features % rows, z = i / (features * rows), to = step_record.cache_length + row;
    if (to >= capacity || to < row) return;
    cache[first_cache + (z * capacity + to) * features + f] =
        x[first_x + z / heads * x_batch + z % heads * x_head + row * x_row + f * x_column];
}
