#version 450
// gx[n, h, w, c] = sum over the windows that cover (h, w) of g[n, oh, ow, c] / (what that window's sum is divided by).
#extension GL_GOOGLE_include_directive : require
#include "pooling/window.glsl"

layout(constant_id = 1) const bool EXCLUDE_PADDING = false;

layout(set = 0, binding = 0) readonly buffer Gradient { VALUE g[]; };
#ifdef TEXELS
layout(set = 0, binding = 8) uniform textureBuffer g_texels;
#endif
layout(set = 0, binding = 1) writeonly buffer Gx { VALUE gx[]; };

#include "pooling/average.glsl"

void work_at(place p) {
    span rows = window_rows(p.row), columns = window_columns(p.column);
    VALUE sum = VALUE(0.0);
    for (int row = rows.begin; row < rows.end; row++) {
        VALUE line = VALUE(0.0);
        for (int column = columns.begin; column < columns.end; column++)
            line += READ(g, first_g + offset_of(p, row, column, out_height, out_width)) / divisor_of(row, column);
        sum += line;
    }
    gx[first_y + offset_of(p, p.row, p.column, in_height, in_width)] = sum;
}

void main() {
    work(in_height, in_width);
}
