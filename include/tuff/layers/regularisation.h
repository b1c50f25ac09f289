/* Regularisation: dropout of whole parts, weights in other parameters. <tuff/layers.h> says what holds for all
 * functions here. */
#ifndef TUFF_PUBLIC_REGULARISATION_H
#define TUFF_PUBLIC_REGULARISATION_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

/* torch.nn.functional.dropout2d, for any (N, C, ...): each channel of each example is zero with probability p in [0,
 * 1], else divided by 1 - p; passes through in a program that evaluates. The mask is tuff_dropout's for a tensor (N,
 * C). */
TUFF_API tuff_tensor *tuff_dropout2d(tuff_tensor *x, float p, const char *name);

typedef enum tuff_depth_mode {
    TUFF_DEPTH_BATCH = 0, /* all of x */
    TUFF_DEPTH_ROW,       /* each example */
} tuff_depth_mode;
/* torchvision.ops.stochastic_depth, of a residual branch: x is zero with probability p in [0, 1], else divided by 1 -
 * p; passes through in a program that evaluates. */
TUFF_API tuff_tensor *tuff_stochastic_depth(tuff_tensor *x, float p, tuff_depth_mode mode, const char *name);

/* torch.nn.utils.weight_norm: the weight v g / |v|, the norm over every axis but one (PyTorch's default is 0). g has
 * v's shape with 1 in place of the other axes' sizes. As in PyTorch -1 is not the last axis, it stands for dim=None:
 * one norm, over all axes, and g has none (TUFF_SCALAR); -2 and below count from the end. */
TUFF_API tuff_tensor *tuff_weight_norm(tuff_tensor *v, tuff_tensor *g, int32_t axis);

typedef struct tuff_spectral_norm_desc {
    const char *name;   /* required: NAME.weight_u, NAME.weight_v */
    int32_t iterations; /* n_power_iterations; 0: 1 */
    float epsilon;      /* 0: 1e-12 */
} tuff_spectral_norm_desc;
/* torch.nn.utils.spectral_norm: weight over the largest singular value of its matrix (axis, all others), as power
 * iterations that training continues find it; evaluation uses where they are. PyTorch's default axis is 0, 1 for
 * transposed convolutions. The vectors start at random, about of length 1: train or load before evaluating. Once a
 * graph for each name. */
TUFF_API tuff_tensor *tuff_spectral_norm(tuff_tensor *weight, int32_t axis, const tuff_spectral_norm_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
