/* Normalisation. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_NORMALISATION_H
#define TUFF_PUBLIC_NORMALISATION_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_batch_norm_desc {
    const char *name; /* required: NAME.weight, .bias, .running_mean, .running_var */
    float epsilon;    /* 0: 1e-5 */
    float momentum;   /* 0: 0.1; for a true zero pass a negative number */
    bool no_affine;
} tuff_batch_norm_desc;

/* torch.nn.BatchNorm1d/2d: over every axis but axis 1. Training uses and follows the batch's statistics
 * (the running variance takes the unbiased one), evaluation the running ones. */
TUFF_API tuff_tensor *tuff_batch_norm(tuff_tensor *x, const tuff_batch_norm_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
