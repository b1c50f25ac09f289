#version 450
// The gradient of a loss of the softmax over classes. For logits x of (N, C, J...), m = max over c of x, s = log of the
// sum over c of exp(x - m), and for each row (n, j) a class and two factors a and b:
//   gx[n, c, j] = exp(x[n, c, j] - m[n, j] - s[n, j]) a[n, j] - (c == target[n, j] ? b[n, j] : 0)
// One invocation an element; x and gx lie as they like (j's axes have sizes and strides), the rest in the order (N, J).
#extension GL_GOOGLE_include_directive : require
#include "common/math.glsl"
#include "gather/flat.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Largest { float m[]; };
layout(set = 0, binding = 2) readonly buffer LogSum { float s[]; };
layout(set = 0, binding = 3) readonly buffer Target { int target[]; };
layout(set = 0, binding = 4) readonly buffer A { float a[]; };
layout(set = 0, binding = 5) readonly buffer B { float b[]; };
layout(set = 0, binding = 6) writeonly buffer GX { float gx[]; };

layout(push_constant) uniform Params {
    uint rows; // N J
    uint classes; // the upper bit: neighbouring invocations lie along the classes, not along the rows
    uint first_x, first_m, first_s, first_target, first_a, first_b, first_gx;
    uint x_batch, x_class, gx_batch, gx_class;
    uint axes; // of j, fastest first
    uint size[6], x_stride[6], gx_stride[6];
};

void main() {
    uint i = flat_index(), count = classes & 0x7fffffffu;
    if (i >= rows * count) return;
    bool by_class = count != classes;
    uint c = by_class ? i % count : i / rows, row = by_class ? i / count : i % rows;
    uint rest = row, from = first_x + c * x_class, to = first_gx + c * gx_class;
    for (uint axis = 0u; axis < axes; axis++) {
        uint j = rest % size[axis];
        from += j * x_stride[axis];
        to += j * gx_stride[axis];
        rest /= size[axis];
    }
    precise float shifted = x[from + rest * x_batch] - m[first_m + row] - s[first_s + row];
    precise float y = tuff_exp(shifted) * a[first_a + row];
    if (uint(target[first_target + row]) == c) y -= b[first_b + row];
    gx[to + rest * gx_batch] = y;
}
