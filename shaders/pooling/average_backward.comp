#version 450
// gx[n, h, w, c] = sum over the windows that cover (h, w) of g[n, oh, ow, c] / (pixels of that window).
#extension GL_GOOGLE_include_directive : require
#include "pooling/window.glsl"

layout(constant_id = 0) const bool EXCLUDE_PADDING = false;

layout(set = 0, binding = 0) readonly buffer Gradient { VALUE g[]; };
layout(set = 0, binding = 1) writeonly buffer Gx { VALUE gx[]; };

// Pixels of window o along an axis that lie in the image.
int covered(int o, int stride, int padding, int kernel, int size) {
    int begin = o * stride - padding;
    return min(begin + kernel, size) - max(begin, 0);
}

void work_at(place p) {
    int y = p.row + padding_y, x = p.column + padding_x;
    int row0 = y < kernel_y ? 0 : (y - kernel_y) / stride_y + 1, row1 = min(y / stride_y, out_height - 1);
    int column0 = x < kernel_x ? 0 : (x - kernel_x) / stride_x + 1, column1 = min(x / stride_x, out_width - 1);
    VALUE sum = VALUE(0.0);
    for (int row = row0; row <= row1; row++)
        for (int column = column0; column <= column1; column++) {
            int pixels = kernel_y * kernel_x;
            if (EXCLUDE_PADDING)
                pixels = covered(row, stride_y, padding_y, kernel_y, in_height)
                         * covered(column, stride_x, padding_x, kernel_x, in_width);
            sum += g[first_g + offset_of(p, row, column, out_height, out_width)] / float(pixels);
        }
    gx[first_y + offset_of(p, p.row, p.column, in_height, in_width)] = sum;
}

void main() {
    work(in_height, in_width);
}
