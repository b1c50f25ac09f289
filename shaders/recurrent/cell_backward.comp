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
//
// TILED: what arrives is made here, sum over k of gradient'[n, k] W[k, j] with the gradient of the step after, which
// `arriving` then is.
#include "recurrent/cell.glsl"

layout(set = 0, binding = 0) readonly buffer GradOutput { float grad_output[]; };
layout(set = 0, binding = 1) readonly buffer Arriving { float arriving[]; };
layout(set = 0, binding = 2) readonly buffer Kept { float kept[]; };         // RNN: h
layout(set = 0, binding = 3) readonly buffer Previous { float previous[]; }; // LSTM: c'; GRU: h'
#if MODE == MODE_GRU
layout(set = 0, binding = 4) readonly buffer Weight { float weight[]; }; // TILED
layout(set = 0, binding = 5) buffer Carry { float carry[]; };            // dh z of the step after, and of this one
layout(set = 0, binding = 7) writeonly buffer GradHidden { float grad_hidden[]; };
#else
layout(set = 0, binding = 4) readonly buffer Carried { float carried[]; }; // LSTM: dc
layout(set = 0, binding = 5) writeonly buffer Carry { float carry[]; };    // may be where `carried` is
layout(set = 0, binding = 7) readonly buffer Weight { float weight[]; };   // TILED
#endif
layout(set = 0, binding = 6) writeonly buffer Gradient { float gradient[]; };

#define HAS_GRAD_OUTPUT 64u
#define HAS_CARRIED     128u
#define HAS_PRODUCT     256u // TILED

layout(push_constant) uniform Params {
    uint rows, size;
    uint flags;
    uint previous_row, y_row; // strides; y_row: of grad_output and of RNN's h
    uint first_grad_output, first_arriving, first_kept, first_previous, first_4, first_carry, first_gradient, first_7;
};

void finish(uint n, uint j, float product) {
    uint at = n * size + j;
    precise float dh = product;
    if ((flags & HAS_HIDDEN) != 0u) dh = arriving[first_arriving + at];
    if ((flags & HAS_GRAD_OUTPUT) != 0u) dh = grad_output[first_grad_output + n * y_row + j] + dh;
    float before = 0.0, carried_here = 0.0;
    if ((flags & HAS_PREVIOUS) != 0u) before = previous[first_previous + n * previous_row + j];
#if MODE == MODE_GRU
    if ((flags & HAS_CARRIED) != 0u) carried_here = carry[first_carry + at];
#else
    if ((flags & HAS_CARRIED) != 0u) carried_here = carried[first_4 + at];
#endif
    vec4 gate = vec4(0);
#if MODE == MODE_RNN
    float h = kept[first_kept + n * y_row + j];
    precise float d = (flags & RELU) != 0u ? (h > 0.0 ? dh : 0.0) : dh * ((1.0 - h) * (1.0 + h));
    gradient[first_gradient + at] = d;
#else
    for (uint g = 0u; g < KEPT; g++) gate[g] = kept[first_kept + (n * KEPT + g) * size + j];
    uint first = first_gradient + n * GATES * size + j;
#if MODE == MODE_GRU
    dh += carried_here;
    float r = gate.x, z = gate.y, candidate = gate.z;
    precise float dn = dh * (1.0 - z) * ((1.0 - candidate) * (1.0 + candidate));
    precise float dz = dh * (before - candidate) * (z * (1.0 - z));
    precise float dr = dn * gate.w * (r * (1.0 - r));
    precise float through = dn * r, past = dh * z;
    uint second = first_7 + n * GATES * size + j;
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
    precise float dc = carried_here + dh * o * ((1.0 - t) * (1.0 + t));
    precise float di = dc * g * (i * (1.0 - i)), df = dc * before * (f * (1.0 - f));
    precise float dg = dc * i * ((1.0 - g) * (1.0 + g)), dou = dh * t * (o * (1.0 - o));
    precise float past = dc * f;
    gradient[first] = di;
    gradient[first + size] = df;
    gradient[first + 2u * size] = dg;
    gradient[first + 3u * size] = dou;
    carry[first_carry + at] = past;
#endif
#endif
}

#ifdef TILED

#define STEP 128

shared float tile_g[TILE][STEP + 1], tile_w[STEP][TILE + 1]; // one more: the rows' banks differ
shared float sums[PARTS][TILE * TILE];

void main() {
    uint n0 = gl_WorkGroupID.y * TILE, j0 = gl_WorkGroupID.x * TILE, i = gl_LocalInvocationIndex;
    uint part = my_part(), row = my_row(), column = my_column(), terms = GATES * size;
#if MODE == MODE_GRU
    uint first_weight = first_4;
#else
    uint first_weight = first_7;
#endif
    float sum = 0.0;
    for (uint k0 = 0u; (flags & HAS_PRODUCT) != 0u && k0 < terms; k0 += STEP) {
        for (uint e = i; e < TILE * STEP; e += 256u) {
            uint line = e / STEP, k = e % STEP;
            bool there = n0 + line < rows && k0 + k < terms;
            float value = 0.0;
            if (there) value = arriving[first_arriving + (n0 + line) * terms + k0 + k];
            tile_g[line][k] = value;
        }
        for (uint e = i; e < TILE * STEP; e += 256u) {
            uint k = e / TILE, j = e % TILE;
            bool there = j0 + j < size && k0 + k < terms;
            float value = 0.0;
            if (there) value = weight[first_weight + (k0 + k) * size + j0 + j];
            tile_w[k][j] = value;
        }
        barrier();
        for (uint k = part * (STEP / PARTS); k < (part + 1u) * (STEP / PARTS); k++)
            sum += tile_g[row][k] * tile_w[k][column];
        barrier();
    }
    sums[part][i % 64u] = sum;
    barrier();
    if (part != 0u || n0 + row >= rows || j0 + column >= size) return;
    finish(n0 + row, j0 + column, (sum + sums[1][i]) + (sums[2][i] + sums[3][i]));
}

#else

void main() {
    uint at = flat_index();
    if (at < rows * size) finish(at / size, at % size, 0.0);
}

#endif
