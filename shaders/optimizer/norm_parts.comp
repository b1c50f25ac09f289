#version 450
// part[w] = sum of g[i]^2 over the w-th chunk of CHUNK vec4 of a flat block.
// A workgroup takes a chunk; each of its lanes strides through it, then the lanes' sums are added in a tree.
const uint LANES = 64u, CHUNK = 4096u;
layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer Gradient { vec4 gradient[]; };
layout(set = 0, binding = 1) writeonly buffer Parts { float part[]; };

layout(push_constant) uniform Params {
    uint count; // of vec4
    uint first_gradient; // in vec4
    uint first_part;
};

shared float sums[LANES];

void main() {
    uint lane = gl_LocalInvocationID.x, begin = gl_WorkGroupID.x * CHUNK, end = min(begin + CHUNK, count);
    vec4 sum = vec4(0.0);
    for (uint i = begin + lane; i < end; i += LANES) {
        vec4 g = gradient[first_gradient + i];
        sum += g * g;
    }
    sums[lane] = (sum.x + sum.y) + (sum.z + sum.w);
    for (uint half_lanes = LANES / 2u; half_lanes > 0u; half_lanes /= 2u) {
        barrier();
        if (lane < half_lanes) sums[lane] += sums[lane + half_lanes];
    }
    if (lane == 0u) part[first_part + gl_WorkGroupID.x] = sums[0];
}
