#version 450
// y[n, oh, ow, c] = the largest pixel of the window, or with INDICES its row-major number in the image: the first of
// equal ones, the last not-a-number.
#extension GL_GOOGLE_include_directive : require
#include "pooling/window.glsl"

layout(constant_id = 1) const bool INDICES = false;

layout(set = 0, binding = 0) readonly buffer X { VALUE x[]; };
#ifdef TEXELS
layout(set = 0, binding = 8) uniform textureBuffer x_texels;
#endif
layout(set = 0, binding = 1) writeonly buffer Y { INDEX y[]; };

#include "pooling/largest.glsl"

void work_at(place p) {
    VALUE largest;
    INDEX best = largest_of(p, p.row, p.column, largest);
    y[first_y + offset_of(p, p.row, p.column, out_height, out_width)] = INDICES ? best : floatBitsToUint(largest);
}

void main() {
    work(out_height, out_width);
}
