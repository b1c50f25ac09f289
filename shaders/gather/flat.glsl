// One invocation an element of a flat list; layers/flat.h chooses the workgroups.
layout(local_size_x = 64) in;

uint flat_index() {
    return (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64u + gl_LocalInvocationID.x;
}

#define NOT_A_NUMBER uintBitsToFloat(0x7fc00000u)

#ifndef TUFF_MATH_GLSL // which has it
bool is_nan(float x) {
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u;
}
#endif
