#version 450
// scale = min(1, clip_norm / (sqrt(sum of part) + 1e-6)), as torch.nn.utils.clip_grad_norm_; not a number stays one.
// One workgroup: each lane strides through the parts, then the lanes' sums are added in a tree.
const uint LANES = 64u;
layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer Parts { float part[]; };
layout(set = 0, binding = 1) writeonly buffer Scale { float scale[]; };

layout(push_constant) uniform Params {
    uint count;
    uint first_part, first_scale;
    float clip_norm;
};

shared float sums[LANES];

void main() {
    uint lane = gl_LocalInvocationID.x;
    float sum = 0.0;
    for (uint i = lane; i < count; i += LANES) sum += part[first_part + i];
    sums[lane] = sum;
    for (uint half_lanes = LANES / 2u; half_lanes > 0u; half_lanes /= 2u) {
        barrier();
        if (lane < half_lanes) sums[lane] += sums[lane + half_lanes];
    }
    if (lane != 0u) return;
    uint bits = floatBitsToUint(sums[0]);
    bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    float factor = clip_norm / (sqrt(sums[0]) + 1e-6);
    scale[first_scale] = nan ? sums[0] : min(factor, 1.0);
}
