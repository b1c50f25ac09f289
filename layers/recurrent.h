/* What the recurrent layers are made of: one layer over all steps, in one or both directions. */
#ifndef TUFF_LAYERS_RECURRENT_H
#define TUFF_LAYERS_RECURRENT_H

#include "runtime/graph/operator.h"

#include <tuff/layers.h>

/* Shared with shaders/recurrent/cell.glsl, but that there is one RNN with a flag. */
typedef enum recurrent_mode { RECURRENT_TANH = 0, RECURRENT_RELU, RECURRENT_GRU, RECURRENT_LSTM } recurrent_mode;

int64_t recurrent_gates(recurrent_mode mode);

/* Of one direction. bias: of GRU, which multiplies a part of it; the others' is in gates. */
typedef struct recurrent_direction {
    tuff_tensor *gates;  /* (T N, gates * hidden): the input's part */
    tuff_tensor *weight; /* (gates * hidden, hidden) */
    tuff_tensor *bias;   /* (gates * hidden) or NULL */
} recurrent_direction;

/* x: (T, N, ...), of which only the shape counts. (T, N, directions * hidden); results[1] and [2] are h_n and, of LSTM,
 * c_n (directions, N, hidden), as are hx and cx, which may be NULL. */
tuff_tensor *recurrent_sequence(tuff_tensor *x, recurrent_mode mode, const recurrent_direction *directions,
                                uint32_t count, tuff_tensor *hx, tuff_tensor *cx, tuff_tensor *results[3]);

#endif
