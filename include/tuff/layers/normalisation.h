/* Normalisation. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_NORMALISATION_H
#define TUFF_PUBLIC_NORMALISATION_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_batch_norm_desc {
    const char *name; /* NAME.weight, .bias, .running_mean, .running_var: required where one of them is made */
    float epsilon;    /* 0: 1e-5 */
    float momentum;   /* 0: 0.1; for a true zero pass a negative number */
    bool no_affine;   /* neither weight nor bias */
    bool no_running;  /* no running statistics (track_running_stats=False): evaluation uses the batch's, too */
    tuff_tensor *weight, *bias; /* (C); if one is given, there are none of the layer's own, and either may be missing */
} tuff_batch_norm_desc;

/* torch.nn.BatchNorm1d/2d: over every axis but axis 1. Training uses and follows the batch's statistics
 * (the running variance takes the unbiased one), evaluation the running ones. */
TUFF_API tuff_tensor *tuff_batch_norm(tuff_tensor *x, const tuff_batch_norm_desc *desc);

/* What the layers below have in common: they normalise within each example, in training as in evaluation. Each makes
 * its own parameters, NAME.weight (ones) and NAME.bias (zeros), unless it is given a weight or a bias: then it has
 * those alone, of which either may be missing, and `name` is a label that may be NULL. */

typedef struct tuff_layer_norm_desc {
    const char *name;
    uint32_t axes; /* how many axes, the last ones, normalized_shape covers; 0: 1 */
    float epsilon; /* 0: 1e-5 */
    bool no_affine, no_bias;
    tuff_tensor *weight, *bias;
} tuff_layer_norm_desc;
/* torch.nn.LayerNorm, torch.nn.functional.layer_norm. weight and bias have the shape of the last axes. */
TUFF_API tuff_tensor *tuff_layer_norm(tuff_tensor *x, const tuff_layer_norm_desc *desc);

typedef struct tuff_rms_norm_desc {
    const char *name;
    uint32_t axes; /* as above */
    float epsilon; /* 0: float32's, 1.1920929e-7 */
    bool no_affine;
    tuff_tensor *weight;
} tuff_rms_norm_desc;
/* torch.nn.RMSNorm, torch.nn.functional.rms_norm: x / sqrt(mean x^2 + epsilon) * weight over the last axes. */
TUFF_API tuff_tensor *tuff_rms_norm(tuff_tensor *x, const tuff_rms_norm_desc *desc);

typedef struct tuff_group_norm_desc {
    const char *name;
    int64_t groups; /* num_groups, required; divides the channels */
    float epsilon;  /* 0: 1e-5 */
    bool no_affine;
    tuff_tensor *weight, *bias; /* (C) */
} tuff_group_norm_desc;
/* torch.nn.GroupNorm, torch.nn.functional.group_norm: (N, C, ...), each example's channels in groups. */
TUFF_API tuff_tensor *tuff_group_norm(tuff_tensor *x, const tuff_group_norm_desc *desc);

typedef struct tuff_instance_norm_desc {
    const char *name;
    float epsilon;              /* 0: 1e-5 */
    float momentum;             /* 0: 0.1; for a true zero pass a negative number */
    bool affine;                /* weight and bias of its own: PyTorch's default is none */
    bool track_running_stats;   /* NAME.running_mean, .running_var: training follows, evaluation uses them */
    tuff_tensor *weight, *bias; /* (C) */
} tuff_instance_norm_desc;
/* torch.nn.InstanceNorm1d/2d/3d, torch.nn.functional.instance_norm: (N, C, ...), each channel of each example. */
TUFF_API tuff_tensor *tuff_instance_norm(tuff_tensor *x, const tuff_instance_norm_desc *desc);

typedef struct tuff_normalize_desc {
    float p;       /* 0: 2; INFINITY: the largest */
    float epsilon; /* 0: 1e-12 */
} tuff_normalize_desc;
/* torch.nn.functional.normalize: x / max(norm of x along axis, epsilon). PyTorch's default axis is 1. */
TUFF_API tuff_tensor *tuff_normalize(tuff_tensor *x, int32_t axis, const tuff_normalize_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
