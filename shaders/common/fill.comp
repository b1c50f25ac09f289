// out[i] = word, for i < count.
//
// Invocations stride over the range by the size of the whole grid, so that any number of workgroups
// fills a range of any length.
#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) writeonly buffer Out {
    uint data[];
} result;
layout(push_constant) uniform Params {
    uint word;
    uint count;
} params;

void main() {
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < params.count; i += stride) {
        result.data[i] = params.word;
    }
}
