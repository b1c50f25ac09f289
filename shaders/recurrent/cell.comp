#version 450
#extension GL_GOOGLE_include_directive : require
// The gates and the new state of one step, one invocation for each element of h.
#include "recurrent/cell.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Hidden { float hidden[]; };
layout(set = 0, binding = 2) readonly buffer Previous { float previous[]; }; // LSTM: c', may be where c goes; GRU: h'
layout(set = 0, binding = 3) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 4) writeonly buffer Last { float last[]; };
layout(set = 0, binding = 5) writeonly buffer Kept { float kept[]; };
#if MODE == MODE_GRU
layout(set = 0, binding = 6) readonly buffer Bias { float bias[]; };
#else
layout(set = 0, binding = 6) writeonly buffer Cell { float cell[]; };
#endif

layout(push_constant) uniform Params {
    uint rows, size; // of h
    uint flags;
    uint previous_row, y_row; // strides
    uint first_x, first_hidden, first_previous, first_y, first_last, first_kept, first_6;
};

void main() {
    uint at = flat_index();
    if (at >= rows * size) return;
    uint n = at / size, j = at - n * size;
    vec4 from_x = vec4(0), from_h = vec4(0);
    for (uint g = 0u; g < GATES; g++) {
        uint gate = (n * GATES + g) * size + j;
        from_x[g] = x[first_x + gate];
        if ((flags & HAS_HIDDEN) != 0u) from_h[g] = hidden[first_hidden + gate];
    }
    float before = 0.0;
    if ((flags & HAS_PREVIOUS) != 0u) before = previous[first_previous + n * previous_row + j];
    precise float h;
    vec4 keep = vec4(0);
#if MODE == MODE_RNN
    h = from_x.x + from_h.x;
    if ((flags & RELU) != 0u)
        h = h < 0.0 ? 0.0 : h;
    else
        h = tuff_tanh(h);
#elif MODE == MODE_GRU
    if ((flags & HAS_BIAS) != 0u)
        for (uint g = 0u; g < GATES; g++) from_h[g] += bias[first_6 + g * size + j];
    float r = tuff_sigmoid(from_x.x + from_h.x), z = tuff_sigmoid(from_x.y + from_h.y);
    precise float inner = from_x.z + r * from_h.z;
    float candidate = tuff_tanh(inner);
    h = (1.0 - z) * candidate + z * before;
    keep = vec4(r, z, candidate, from_h.z);
#else
    vec4 a = from_x + from_h;
    keep = vec4(tuff_sigmoid(a.x), tuff_sigmoid(a.y), tuff_tanh(a.z), tuff_sigmoid(a.w));
    precise float c = keep.y * before + keep.x * keep.z;
    h = keep.w * tuff_tanh(c);
    cell[first_6 + at] = c;
#endif
    y[first_y + n * y_row + j] = h;
    if ((flags & LAST) != 0u) last[first_last + at] = h;
#if MODE != MODE_RNN
    if ((flags & KEEP) != 0u)
        for (uint g = 0u; g < KEPT; g++) kept[first_kept + (n * KEPT + g) * size + j] = keep[g];
#endif
}
