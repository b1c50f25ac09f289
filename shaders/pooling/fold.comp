#version 450
// image[plane, row, column] = sum of columns[plane, ky, kx, oy, ox] over the windows and taps that meet the pixel.
//
// One invocation a pixel, neighbours along the row. It walks over the windows whose reach it lies in and takes those
// that have a tap there; each of their rows is summed apart.
#extension GL_GOOGLE_include_directive : require
#include "pooling/columns.glsl"

layout(set = 0, binding = 0) writeonly buffer Image { float image[]; };
layout(set = 0, binding = 1) readonly buffer Columns { float columns[]; };

void main() {
    uint i = begin_line + gl_GlobalInvocationID.x, plane = gl_WorkGroupID.z;
    if (i >= uint(height) * uint(width)) return;
    uint image_row = i / uint(width);
    int y = int(image_row) + padding_y, x = int(i - image_row * uint(width)) + padding_x;
    int reach_y = (kernel_y - 1) * dilation_y + 1, reach_x = (kernel_x - 1) * dilation_x + 1;
    int top = y < reach_y ? 0 : (y - reach_y) / stride_y + 1, bottom = min(y / stride_y, out_height - 1);
    int left = x < reach_x ? 0 : (x - reach_x) / stride_x + 1, right = min(x / stride_x, out_width - 1);
    float sum = 0.0;
    for (int oy = top; oy <= bottom; oy++) {
        int distance_y = y - oy * stride_y, ky = distance_y / dilation_y;
        if (ky * dilation_y != distance_y) continue;
        float line = 0.0;
        for (int ox = left; ox <= right; ox++) {
            int distance_x = x - ox * stride_x, kx = distance_x / dilation_x;
            if (kx * dilation_x != distance_x) continue;
            uint tap = plane * uint(kernel_y * kernel_x) + uint(ky * kernel_x + kx);
            line += columns[first_columns + (tap * uint(out_height) + uint(oy)) * uint(out_width) + uint(ox)];
        }
        sum += line;
    }
    image[first_image + plane * uint(height) * uint(width) + i] = sum;
}
