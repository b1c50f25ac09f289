/* Losses. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_LOSS_H
#define TUFF_PUBLIC_LOSS_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tuff_loss_reduction {
    TUFF_REDUCE_MEAN = 0,
    TUFF_REDUCE_SUM,
    TUFF_REDUCE_NONE,
} tuff_loss_reduction;

typedef struct tuff_loss_desc {
    tuff_loss_reduction reduction;
} tuff_loss_desc;

/* torch.nn.functional.cross_entropy: logits (N, C) or (N, C, d1, ...), target int32 (N) or (N, d1, ...), 0 to C - 1.
 * Another target makes that loss NaN, so that it is seen: nothing is ignored by default, as -100 is in PyTorch. */
TUFF_API tuff_tensor *tuff_cross_entropy(tuff_tensor *logits, tuff_tensor *target, const tuff_loss_desc *desc);
TUFF_API tuff_tensor *tuff_mse_loss(tuff_tensor *input, tuff_tensor *target,
                                    const tuff_loss_desc *desc); /* torch.nn.functional.mse_loss; equal shapes */
TUFF_API tuff_tensor *tuff_l1_loss(tuff_tensor *input, tuff_tensor *target,
                                   const tuff_loss_desc *desc); /* torch.nn.functional.l1_loss; equal shapes */

/* The share of rows of logits (N, C) whose largest value stands at target (N): a float scalar without a
 * gradient. The first of equal values counts. */
TUFF_API tuff_tensor *tuff_accuracy(tuff_tensor *logits, tuff_tensor *target);

#ifdef __cplusplus
}
#endif
#endif
