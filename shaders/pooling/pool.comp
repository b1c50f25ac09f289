#version 450
// y[n, oh, ow, c] = max or mean over the window's pixels (oh stride - padding + ky, ow stride - padding + kx) that lie
// in the image; the mean divides by the kernel's size, or with EXCLUDE_PADDING by the number of pixels in the image.
#extension GL_GOOGLE_include_directive : require
#include "pooling/window.glsl"

layout(constant_id = 0) const bool AVERAGE = false;
layout(constant_id = 1) const bool EXCLUDE_PADDING = false;

layout(set = 0, binding = 0) readonly buffer X { VALUE x[]; };
layout(set = 0, binding = 1) writeonly buffer Y { VALUE y[]; };

void work_at(place p) {
    int top = p.row * stride_y - padding_y, left = p.column * stride_x - padding_x;
    int row0 = max(top, 0), row1 = min(top + kernel_y, in_height);
    int column0 = max(left, 0), column1 = min(left + kernel_x, in_width);
    VALUE result = AVERAGE ? VALUE(0.0) : x[first_x + offset_of(p, row0, column0, in_height, in_width)];
    for (int row = row0; row < row1; row++)
        for (int column = column0; column < column1; column++) {
            VALUE value = x[first_x + offset_of(p, row, column, in_height, in_width)];
            if (AVERAGE)
                result += value;
            else
                result = mix(result, value, takes_over(value, result));
        }
    if (AVERAGE) {
        int pixels = EXCLUDE_PADDING ? (row1 - row0) * (column1 - column0) : kernel_y * kernel_x;
        result = result / float(pixels);
    }
    y[first_y + offset_of(p, p.row, p.column, out_height, out_width)] = result;
}

void main() {
    work(out_height, out_width);
}
