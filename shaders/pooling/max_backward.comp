#version 450
// gx[n, h, w, c] = sum of g[n, oh, ow, c] over the windows whose largest pixel is (h, w), the first of equal ones.
//
// Nothing is kept from the forward pass. Where windows overlap, max.comp has found each one's largest pixel again
// (`indices`), and a pixel looks at all windows that cover it. Where they do not (APART: stride >= the kernel's reach),
// an invocation owns a cell of stride x stride pixels, of which one window covers a part: it looks for the largest
// itself and writes every pixel of the cell.
//
// GATED: x is a relu's result and gx what its gradient makes of the above: nothing passes where x is not above zero.
#extension GL_GOOGLE_include_directive : require
#include "pooling/window.glsl"

layout(constant_id = 1) const bool APART = false;
layout(constant_id = 2) const bool GATED = false;

layout(set = 0, binding = 0) readonly buffer Gradient { VALUE g[]; };
layout(set = 0, binding = 1) readonly buffer X { VALUE x[]; };
layout(set = 0, binding = 2) writeonly buffer Gx { VALUE gx[]; };
layout(set = 0, binding = 3) readonly buffer Indices { INDEX indices[]; };
#ifdef TEXELS
layout(set = 0, binding = 8) uniform textureBuffer g_texels;
layout(set = 0, binding = 9) uniform textureBuffer x_texels;
#endif

#include "pooling/largest.glsl"

// The gradient where `value`, a relu's result, is above zero.
VALUE gated(VALUE gradient, VALUE value) {
#if WIDTH == 4
    return mix(VALUE(0.0), gradient, greaterThan(value, VALUE(0.0)));
#else
    return value > 0.0 ? gradient : 0.0;
#endif
}

VALUE where_equal(INDEX best, int row, int column, VALUE gradient) {
    uint here = uint(row * in_width + column);
#if WIDTH == 4
    return mix(vec4(0.0), gradient, equal(best, uvec4(here)));
#else
    return best == here ? gradient : 0.0;
#endif
}

// A cell's place counts cells.
void cell_at(place p) {
    VALUE gradient = VALUE(0.0), largest;
    INDEX best = INDEX(0);
    if (p.row < out_height && p.column < out_width) {
        gradient = READ(g, first_g + offset_of(p, p.row, p.column, out_height, out_width));
        best = largest_of(p, p.row, p.column, largest);
        if (GATED) gradient = gated(gradient, largest);
    }
    int top = p.row * stride_y - padding_y, left = p.column * stride_x - padding_x;
    for (int row = max(top, 0); row < min(top + stride_y, in_height); row++)
        for (int column = max(left, 0); column < min(left + stride_x, in_width); column++)
            gx[first_y + offset_of(p, row, column, in_height, in_width)] = where_equal(best, row, column, gradient);
}

void pixel_at(place p) {
    span rows = window_rows(p.row), columns = window_columns(p.column);
    VALUE sum = VALUE(0.0);
    for (int row = rows.begin; row < rows.end; row++)
        for (int column = columns.begin; column < columns.end; column++) {
            uint at = offset_of(p, row, column, out_height, out_width);
            sum += where_equal(indices[first_index + at], p.row, p.column, READ(g, first_g + at));
        }
    uint here = offset_of(p, p.row, p.column, in_height, in_width);
    if (GATED) sum = gated(sum, READ(x, first_x + here));
    gx[first_y + here] = sum;
}

void work_at(place p) {
    if (APART)
        cell_at(p);
    else
        pixel_at(p);
}

void main() {
    if (APART)
        work((in_height + padding_y - 1) / stride_y + 1, (in_width + padding_x - 1) / stride_x + 1);
    else
        work(in_height, in_width);
}
