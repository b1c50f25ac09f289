#version 450
#extension GL_GOOGLE_include_directive : require
// The gates' gradients of one step, before their nonlinearities, from dh = grad_output + what arrives from the step
// after it (its product with W_hh, and GRU's own part; in the last step: grad_h_n). One invocation for each element of h.
//
//   RNN   d = dh (1 - h^2), or dh where h > 0
//   GRU   dn = dh (1 - z) (1 - n^2), dz = dh (h' - n) z (1 - z), dr = dn hidden_n r (1 - r); what W_hh and b_hh see of n
//         is dn r; dh' = dh z + the product
//   LSTM  dc = dc + dh o (1 - t^2), t = tanh(f c' + i g); di = dc g i (1 - i), df = dc c' f (1 - f),
//         dg = dc i (1 - g^2), do = dh t o (1 - o); dc' = dc f
#include "recurrent/cell.glsl"

layout(set = 0, binding = 0) readonly buffer GradOutput { float grad_output[]; };
layout(set = 0, binding = 1) readonly buffer Arriving { float arriving[]; };
layout(set = 0, binding = 2) readonly buffer Kept { float kept[]; };         // RNN: h
layout(set = 0, binding = 3) readonly buffer Previous { float previous[]; }; // LSTM: c'; GRU: h'
layout(set = 0, binding = 4) readonly buffer Carried { float carried[]; };   // LSTM: dc; GRU: dh z of the step after
layout(set = 0, binding = 5) writeonly buffer Carry { float carry[]; };      // may be where `carried` is
layout(set = 0, binding = 6) writeonly buffer Gradient { float gradient[]; };
layout(set = 0, binding = 7) writeonly buffer GradHidden { float grad_hidden[]; }; // GRU

#define HAS_GRAD_OUTPUT 64u
#define HAS_CARRIED     128u

layout(push_constant) uniform Params {
    uint rows, size;
    uint flags;
    uint previous_row, y_row; // strides; y_row: of grad_output and of RNN's h
    uint first_grad_output, first_arriving, first_kept, first_previous, first_carried, first_carry, first_gradient,
        first_grad_hidden;
};

void main() {
    uint at = flat_index();
    if (at >= rows * size) return;
    uint n = at / size, j = at - n * size;
    precise float dh = 0.0;
    if ((flags & HAS_GRAD_OUTPUT) != 0u) dh = grad_output[first_grad_output + n * y_row + j];
    if ((flags & HAS_HIDDEN) != 0u) dh += arriving[first_arriving + at];
    float before = 0.0, carried_here = 0.0;
    if ((flags & HAS_PREVIOUS) != 0u) before = previous[first_previous + n * previous_row + j];
    if ((flags & HAS_CARRIED) != 0u) carried_here = carried[first_carried + at];
    vec4 gate = vec4(0);
#if MODE == MODE_RNN
    float h = kept[first_kept + n * y_row + j];
    precise float d = (flags & RELU) != 0u ? (h > 0.0 ? dh : 0.0) : dh * (1.0 - h * h);
    gradient[first_gradient + at] = d;
#else
    for (uint g = 0u; g < KEPT; g++) gate[g] = kept[first_kept + (n * KEPT + g) * size + j];
    uint first = first_gradient + n * GATES * size + j;
#if MODE == MODE_GRU
    dh += carried_here;
    float r = gate.x, z = gate.y, candidate = gate.z;
    precise float dn = dh * (1.0 - z) * (1.0 - candidate * candidate);
    precise float dz = dh * (before - candidate) * (z * (1.0 - z));
    precise float dr = dn * gate.w * (r * (1.0 - r));
    precise float through = dn * r, past = dh * z;
    uint second = first_grad_hidden + n * GATES * size + j;
    gradient[first] = dr;
    gradient[first + size] = dz;
    gradient[first + 2u * size] = dn;
    grad_hidden[second] = dr;
    grad_hidden[second + size] = dz;
    grad_hidden[second + 2u * size] = through;
    carry[first_carry + at] = past;
#else
    float i = gate.x, f = gate.y, g = gate.z, o = gate.w;
    precise float c = f * before + i * g; // as in the forward pass
    float t = tuff_tanh(c);
    precise float dc = carried_here + dh * o * (1.0 - t * t);
    precise float di = dc * g * (i * (1.0 - i)), df = dc * before * (f * (1.0 - f));
    precise float dg = dc * i * (1.0 - g * g), dou = dh * t * (o * (1.0 - o));
    precise float past = dc * f;
    gradient[first] = di;
    gradient[first + size] = df;
    gradient[first + 2u * size] = dg;
    gradient[first + 3u * size] = dou;
    carry[first_carry + at] = past;
#endif
#endif
}
