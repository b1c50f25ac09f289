// out[i] = the sum of 12 numbers a, each taken through a = a * scale + offset as often as `turns` says, 4 times a turn.
//
// The device's rate of multiply-adds: nothing is loaded, and the 12 do not depend on one another, so that units which
// take several cycles for one are kept busy. They fit the registers of a CPU of 16. An invocation makes 48 multiply-adds
// a turn; turns stay far below the 65,535 that a loop has on lavapipe.
#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) writeonly buffer Out {
    float data[];
} result;
layout(push_constant) uniform Params {
    uint turns;
    float scale, offset; // not known to the compiler, which could leave the loop out
} params;

void main() {
    float first = float(gl_GlobalInvocationID.x & 1023) * 0.001;
    vec4 a = vec4(0.1, 0.2, 0.3, 0.4) + first, b = vec4(0.5, 0.6, 0.7, 0.8) + first, c = vec4(0.9, 1.1, 1.2, 1.3) + first;
    vec4 scale = vec4(params.scale), offset = vec4(params.offset);
    for (uint i = 0; i < params.turns; i++) {
        a = a * scale + offset, b = b * scale + offset, c = c * scale + offset;
        a = a * scale + offset, b = b * scale + offset, c = c * scale + offset;
        a = a * scale + offset, b = b * scale + offset, c = c * scale + offset;
        a = a * scale + offset, b = b * scale + offset, c = c * scale + offset;
    }
    vec4 sum = a + b + c;
    result.data[gl_GlobalInvocationID.x] = sum.x + sum.y + sum.z + sum.w;
}
