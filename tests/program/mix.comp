// out[i] = a[i mod na] * factor + b[i mod nb], for i < count; with copy = 1: the words of a[i mod na].
//
// Only for tests of programs, which need some kernel that reads and writes. Invocations stride over the range.
#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) writeonly buffer Out {
    uint data[];
} result;
layout(set = 0, binding = 1, std430) readonly buffer A {
    uint data[];
} a;
layout(set = 0, binding = 2, std430) readonly buffer B {
    uint data[];
} b;
layout(push_constant) uniform Params {
    uint count;
    uint na;
    uint nb;
    float factor;
    uint copy;
} params;

void main() {
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < params.count; i += stride) {
        uint word = a.data[i % params.na];
        if (params.copy == 0) {
            precise float value = uintBitsToFloat(word) * params.factor + uintBitsToFloat(b.data[i % params.nb]);
            word = floatBitsToUint(value);
        }
        result.data[i] = word;
    }
}
