#version 450
// columns[plane, ky, kx, oy, ox] = image[plane, oy stride - padding + ky dilation, ...], 0 beyond the image.
//
// One invocation a number; a row of workgroups takes the windows under one tap, neighbours along ox.
#extension GL_GOOGLE_include_directive : require
#include "pooling/columns.glsl"

layout(set = 0, binding = 0) readonly buffer Image { float image[]; };
layout(set = 0, binding = 1) writeonly buffer Columns { float columns[]; };

void main() {
    uint i = begin_line + gl_GlobalInvocationID.x, windows = uint(out_height) * uint(out_width);
    uint tap = begin_tap + gl_WorkGroupID.y, plane = gl_WorkGroupID.z;
    if (i >= windows) return;
    uint oy = i / uint(out_width), ox = i - oy * uint(out_width);
    uint ky = tap / uint(kernel_x), kx = tap - ky * uint(kernel_x);
    int row = int(oy) * stride_y - padding_y + int(ky) * dilation_y;
    int column = int(ox) * stride_x - padding_x + int(kx) * dilation_x;
    bool inside = row >= 0 && row < height && column >= 0 && column < width;
    uint at = first_image + (plane * uint(height) + uint(row)) * uint(width) + uint(column);
    float value = 0.0;
    if (inside) value = image[at];
    columns[first_columns + (plane * uint(kernel_y * kernel_x) + tap) * windows + i] = value;
}
