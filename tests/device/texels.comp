// y[i] = x[i + first], read as texels: for i below count. An invocation for each vec4.
//
// Only for tests of how kernels with TEXELS are bound.
#version 450
#extension GL_EXT_samplerless_texture_functions : require
layout(local_size_x = 64) in;
layout(set = 0, binding = 1) writeonly buffer Y { vec4 y[]; };
layout(set = 0, binding = 8) uniform textureBuffer x;
layout(push_constant) uniform Params {
    uint count, first;
};

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < count) y[i] = texelFetch(x, int(i + first));
}
