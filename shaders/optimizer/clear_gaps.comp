#version 450
// x[gap.first + i] = 0 for i < gap.count, for each gap between tensors that share a flat block.
// One workgroup a gap (at most 63 elements): one invocation an element.
layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer Records { uint records[]; }; // (first, count) for each gap
layout(set = 0, binding = 1) writeonly buffer Block { float block[]; };

layout(push_constant) uniform Params { uint first_record; };

void main() {
    uint gap = first_record + 2u * gl_WorkGroupID.x;
    uint first = records[gap], count = records[gap + 1u];
    for (uint i = gl_LocalInvocationID.x; i < count; i += 64u) block[first + i] = 0.0;
}
