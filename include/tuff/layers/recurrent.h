/* Recurrent networks over whole sequences. <tuff/layers.h> says what holds for all functions here.
 *
 * x is (T, N, features), with batch_first (N, T, features), or (T, features) without a batch. The result is output, the
 * last layer's h of every step, (T, N, directions * hidden_size) in the same order as x; *h_n and *c_n, where they are
 * not NULL, become the states after the last step, (num_layers * directions, N, hidden_size), as hx and cx are given
 * (without the N where x has no batch). In the second direction time runs backwards. dropout is between the layers, in
 * programs that train.
 *
 * Of layer l there are NAME.weight_ih_lL (gates * hidden_size, features or directions * hidden_size), .weight_hh_lL
 * (gates * hidden_size, hidden_size), .bias_ih_lL and .bias_hh_lL, of the second direction with _reverse behind it, as
 * torch.nn.RNN, GRU and LSTM have them, with the gates in PyTorch's order. All begin in U(-1 / sqrt(hidden_size),
 * 1 / sqrt(hidden_size)). There is no proj_size, and no packed sequences: all of a batch have T steps. */
#ifndef TUFF_PUBLIC_RECURRENT_H
#define TUFF_PUBLIC_RECURRENT_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_recurrent_desc {
    const char *name;    /* required */
    int64_t hidden_size; /* required */
    int64_t num_layers;  /* 0: 1 */
    bool no_bias;
    bool batch_first;
    bool bidirectional;
    bool relu;           /* tuff_rnn alone: in place of tanh */
    float dropout;       /* in [0, 1] */
    tuff_tensor *hx;     /* initial states; NULL: zeros */
    tuff_tensor *cx;     /* tuff_lstm alone */
    tuff_init_desc init; /* of weights and biases; default: PyTorch's */
} tuff_recurrent_desc;

/* torch.nn.RNN: h = tanh(W_ih x + b_ih + W_hh h + b_hh). */
TUFF_API tuff_tensor *tuff_rnn(tuff_tensor *x, const tuff_recurrent_desc *desc, tuff_tensor **h_n);
/* torch.nn.GRU: h = (1 - z) n + z h, n = tanh(W_in x + b_in + r (W_hn h + b_hn)); gates r, z, n. */
TUFF_API tuff_tensor *tuff_gru(tuff_tensor *x, const tuff_recurrent_desc *desc, tuff_tensor **h_n);
/* torch.nn.LSTM: c = f c + i g, h = o tanh(c); gates i, f, g, o. */
TUFF_API tuff_tensor *tuff_lstm(tuff_tensor *x, const tuff_recurrent_desc *desc, tuff_tensor **h_n, tuff_tensor **c_n);

#ifdef __cplusplus
}
#endif
#endif
