// One step of a recurrent cell: what follows the two products. `hidden` is W_hh h' without its bias, h' and c' are the
// states before the step, and the gates' part of the input comes from x = W_ih input + b_ih, of all steps at once (for
// RNN and LSTM with b_hh in it).
//
//   RNN   h = tanh(x + hidden), or relu
//   GRU   r, z = sigmoid(x + (hidden + b_hh)), n = tanh(x_n + r (hidden_n + b_n)), h = (1 - z) n + z h'
//   LSTM  i, f, o = sigmoid(x + hidden), g = tanh(x_g + hidden_g), c = f c' + i g, h = o tanh c
//
// The backward pass needs the gates: r, z, n, hidden_n + b_n, or i, f, g, o.
//
// TILED: the kernel makes the product with W_hh itself (recurrent/tile.glsl); otherwise it is there.

#include "common/math.glsl"

#define MODE_RNN  0
#define MODE_GRU  1
#define MODE_LSTM 2

#if MODE == MODE_RNN
#define GATES 1
#elif MODE == MODE_GRU
#define GATES 3
#else
#define GATES 4
#endif
#define KEPT 4 // gates that the backward pass reads

// layers/recurrent_step.c
#define HAS_HIDDEN   1u  // not in the first step, if there is no initial state
#define HAS_PREVIOUS 2u
#define HAS_BIAS     4u
#define KEEP         8u  // the gates, for the backward pass
#define LAST         16u // the last step: h goes to h_n, too
#define RELU         32u

#ifdef TILED
#include "recurrent/tile.glsl"
#else
layout(local_size_x = 64) in;

// One invocation an element; layers/flat.h chooses the workgroups.
uint flat_index() {
    return (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64u + gl_LocalInvocationID.x;
}
#endif
