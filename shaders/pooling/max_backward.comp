#version 450
// gx[n, h, w, c] = sum of g[n, oh, ow, c] over the windows whose largest pixel is (h, w), the first of equal ones.
//
// Nothing is kept from the forward pass: a window's largest pixel is found again. Where windows overlap, each pixel
// looks at all that cover it. Where they do not (APART: stride >= kernel), an invocation owns a cell of stride x stride
// pixels, of which one window covers a part: it looks once and writes every pixel of the cell.
//
// GATED: x is a relu's result and gx what its gradient makes of the above: nothing passes where x is not above zero.
#extension GL_GOOGLE_include_directive : require
#include "pooling/window.glsl"

layout(constant_id = 0) const bool APART = false;
layout(constant_id = 1) const bool GATED = false;

layout(set = 0, binding = 0) readonly buffer Gradient { VALUE g[]; };
layout(set = 0, binding = 1) readonly buffer X { VALUE x[]; };
layout(set = 0, binding = 2) writeonly buffer Gx { VALUE gx[]; };

// The row-major number, in the image, of the largest pixel of window (o_row, o_column); what arrives for it is gated.
INDEX largest_of(place p, int o_row, int o_column, inout VALUE gradient) {
    int top = o_row * stride_y - padding_y, left = o_column * stride_x - padding_x;
    int row0 = max(top, 0), row1 = min(top + kernel_y, in_height);
    int column0 = max(left, 0), column1 = min(left + kernel_x, in_width);
    VALUE largest = x[first_x + offset_of(p, row0, column0, in_height, in_width)];
    INDEX best = INDEX(row0 * in_width + column0);
    for (int row = row0; row < row1; row++)
        for (int column = column0; column < column1; column++) {
            VALUE value = x[first_x + offset_of(p, row, column, in_height, in_width)];
            CHOICE take = takes_over(value, largest);
            largest = mix(largest, value, take);
            best = mix(best, INDEX(row * in_width + column), take);
        }
#if WIDTH == 4
    if (GATED) gradient = mix(VALUE(0.0), gradient, greaterThan(largest, VALUE(0.0)));
#else
    if (GATED) gradient = largest > 0.0 ? gradient : 0.0;
#endif
    return best;
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
    VALUE gradient = VALUE(0.0);
    INDEX best = INDEX(0);
    if (p.row < out_height && p.column < out_width) {
        gradient = g[first_g + offset_of(p, p.row, p.column, out_height, out_width)];
        best = largest_of(p, p.row, p.column, gradient);
    }
    int top = p.row * stride_y - padding_y, left = p.column * stride_x - padding_x;
    for (int row = max(top, 0); row < min(top + stride_y, in_height); row++)
        for (int column = max(left, 0); column < min(left + stride_x, in_width); column++)
            gx[first_y + offset_of(p, row, column, in_height, in_width)] = where_equal(best, row, column, gradient);
}

void pixel_at(place p) {
    int y = p.row + padding_y, x = p.column + padding_x;
    int row0 = y < kernel_y ? 0 : (y - kernel_y) / stride_y + 1, row1 = min(y / stride_y, out_height - 1);
    int column0 = x < kernel_x ? 0 : (x - kernel_x) / stride_x + 1, column1 = min(x / stride_x, out_width - 1);
    VALUE sum = VALUE(0.0);
    for (int row = row0; row <= row1; row++)
        for (int column = column0; column <= column1; column++) {
            VALUE gradient = g[first_g + offset_of(p, row, column, out_height, out_width)];
            INDEX best = largest_of(p, row, column, gradient);
            sum += where_equal(best, p.row, p.column, gradient);
        }
    gx[first_y + offset_of(p, p.row, p.column, in_height, in_width)] = sum;
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
