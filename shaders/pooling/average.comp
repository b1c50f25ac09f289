#version 450
// y[n, oh, ow, c] = the sum of the window's pixels that lie in the image, divided by `divisor`, by the window's pixels
// in the padded image, or with EXCLUDE_PADDING by its pixels in the image. Each of its rows is summed apart, a long one in parts of 32.
#extension GL_GOOGLE_include_directive : require
#include "pooling/window.glsl"

layout(constant_id = 1) const bool EXCLUDE_PADDING = false;

layout(set = 0, binding = 0) readonly buffer X { VALUE x[]; };
#ifdef TEXELS
layout(set = 0, binding = 8) uniform textureBuffer x_texels;
#endif
layout(set = 0, binding = 1) writeonly buffer Y { VALUE y[]; };

#include "pooling/average.glsl"

void work_at(place p) {
    span rows = rows_of(p.row), columns = columns_of(p.column);
    VALUE sum = VALUE(0.0);
    for (int row = rows.begin; row < rows.end; row++) {
        VALUE line = VALUE(0.0);
        for (int from = columns.begin; from < columns.end; from += 32) {
            VALUE part = VALUE(0.0);
            for (int column = from; column < min(from + 32, columns.end); column++)
                part += READ(x, first_x + offset_of(p, row, column, in_height, in_width));
            line += part;
        }
        sum += line;
    }
    y[first_y + offset_of(p, p.row, p.column, out_height, out_width)] = sum / divisor_of(p.row, p.column);
}

void main() {
    work(out_height, out_width);
}
