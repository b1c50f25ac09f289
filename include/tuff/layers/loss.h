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
    TUFF_REDUCE_BATCH_MEAN, /* tuff_kl_div alone */
} tuff_loss_reduction;

typedef struct tuff_loss_desc {
    tuff_loss_reduction reduction;
} tuff_loss_desc;

/* What a target is, for cross_entropy and nll_loss. */
typedef struct tuff_cross_entropy_desc {
    tuff_loss_reduction reduction;
    tuff_tensor *weight;   /* (C), what each class counts; NULL: 1 */
    int32_t ignore_index;  /* this target counts nothing; 0: -100, as in PyTorch */
    bool ignore_zero;      /* ignore_index is 0 and means it: class 0 counts nothing */
    float label_smoothing; /* in [0, 1] */
} tuff_cross_entropy_desc;

/* torch.nn.functional.cross_entropy: logits (C), (N, C) or (N, C, d1, ...). The target is either int32 of the shape (),
 * (N) or (N, d1, ...), from 0 to C - 1, or float32 of the logits' shape: probabilities. The mean is over the sum of the
 * targets' weights, ignored ones left out (NaN if all are); of probabilities it is over N d1 ....
 * A target that is neither a class nor the one to ignore makes that loss NaN, so that it is seen. */
TUFF_API tuff_tensor *tuff_cross_entropy(tuff_tensor *logits, tuff_tensor *target, const tuff_cross_entropy_desc *desc);

typedef struct tuff_nll_loss_desc {
    tuff_loss_reduction reduction;
    tuff_tensor *weight; /* these as above */
    int32_t ignore_index;
    bool ignore_zero;
} tuff_nll_loss_desc;

/* torch.nn.functional.nll_loss: logarithms of probabilities (C), (N, C) or (N, C, d1, ...), targets int32 as above. */
TUFF_API tuff_tensor *tuff_nll_loss(tuff_tensor *log_probabilities, tuff_tensor *target,
                                    const tuff_nll_loss_desc *desc);

typedef struct tuff_linear_cross_entropy_desc {
    tuff_tensor *bias; /* (classes); NULL: none */
    tuff_loss_reduction reduction;
    int32_t ignore_index; /* these as tuff_cross_entropy's */
    bool ignore_zero;
    float label_smoothing;
} tuff_linear_cross_entropy_desc;

/* tuff_cross_entropy of a linear layer's result: input (..., D), weight (classes, D), target int32 (...). All logits
 * are never there at once: 2^22 of them at a time, computed again in the backward pass, so that memory grows with the
 * rows and with the classes, not with their product. For the last layer of a language model. The weight is a parameter
 * (tuff_parameter), or the table of an embedding. */
TUFF_API tuff_tensor *tuff_linear_cross_entropy(tuff_tensor *input, tuff_tensor *weight, tuff_tensor *target,
                                                const tuff_linear_cross_entropy_desc *desc);

TUFF_API tuff_tensor *tuff_mse_loss(tuff_tensor *input, tuff_tensor *target,
                                    const tuff_loss_desc *desc); /* torch.nn.functional.mse_loss; equal shapes */
TUFF_API tuff_tensor *tuff_l1_loss(tuff_tensor *input, tuff_tensor *target,
                                   const tuff_loss_desc *desc); /* torch.nn.functional.l1_loss; equal shapes */

/* torch.nn.functional.smooth_l1_loss, whose beta is 1 by default and 0 for l1_loss; and huber_loss, whose delta is 1 by
 * default and above 0. Equal shapes. Where input or target is infinite the gradient is NaN (PyTorch's is
 * the slope beyond the bend). */
TUFF_API tuff_tensor *tuff_smooth_l1_loss(tuff_tensor *input, tuff_tensor *target, float beta,
                                          const tuff_loss_desc *desc);
TUFF_API tuff_tensor *tuff_huber_loss(tuff_tensor *input, tuff_tensor *target, float delta, const tuff_loss_desc *desc);

typedef struct tuff_binary_cross_entropy_desc {
    tuff_loss_reduction reduction;
    tuff_tensor *weight, *pos_weight; /* NULL: 1; they broadcast to the input */
} tuff_binary_cross_entropy_desc;

/* torch.nn.functional.binary_cross_entropy_with_logits: equal shapes. */
TUFF_API tuff_tensor *tuff_binary_cross_entropy_with_logits(tuff_tensor *input, tuff_tensor *target,
                                                            const tuff_binary_cross_entropy_desc *desc);

typedef struct tuff_kl_div_desc {
    tuff_loss_reduction reduction; /* TUFF_REDUCE_BATCH_MEAN: the sum over the size of the first axis */
    bool log_target;
} tuff_kl_div_desc;

/* torch.nn.functional.kl_div: the input logarithms of probabilities, the target probabilities, or with log_target their
 * logarithms; equal shapes. */
TUFF_API tuff_tensor *tuff_kl_div(tuff_tensor *input, tuff_tensor *target, const tuff_kl_div_desc *desc);

/* torch.nn.functional.hinge_embedding_loss (margin 1 by default), of targets 1 and -1. Equal shapes. */
TUFF_API tuff_tensor *tuff_hinge_embedding_loss(tuff_tensor *input, tuff_tensor *target, float margin,
                                                const tuff_loss_desc *desc);
/* torch.nn.functional.margin_ranking_loss (margin 0 by default), of targets 1 and -1. Equal shapes. */
TUFF_API tuff_tensor *tuff_margin_ranking_loss(tuff_tensor *input1, tuff_tensor *input2, tuff_tensor *target,
                                               float margin, const tuff_loss_desc *desc);
/* torch.nn.functional.cosine_embedding_loss (margin 0 by default): inputs (N, D) or (D), targets 1 and -1, (N) or ().
 */
TUFF_API tuff_tensor *tuff_cosine_embedding_loss(tuff_tensor *input1, tuff_tensor *input2, tuff_tensor *target,
                                                 float margin, const tuff_loss_desc *desc);

typedef struct tuff_triplet_margin_desc {
    tuff_loss_reduction reduction;
    float p;   /* of the norm; 0: 2 */
    float eps; /* 0: 1e-6 */
    bool swap;
} tuff_triplet_margin_desc;

/* torch.nn.functional.triplet_margin_loss (margin 1 by default): (..., D) each, distances along the last axis. */
TUFF_API tuff_tensor *tuff_triplet_margin_loss(tuff_tensor *anchor, tuff_tensor *positive, tuff_tensor *negative,
                                               float margin, const tuff_triplet_margin_desc *desc);

typedef struct tuff_ctc_loss_desc {
    int32_t blank; /* the class that stands for no label */
    tuff_loss_reduction reduction;
    bool zero_infinity; /* a target that no path fits counts 0, and has no gradient, where it is infinite otherwise */
} tuff_ctc_loss_desc;

/* torch.nn.functional.ctc_loss: log_probs (T, N, C), what a log_softmax over the classes left; targets int32 (N, S), of
 * which each sample's first target_lengths (N) count; input_lengths (N), how many of the T times count. The mean is
 * over the samples' losses, each divided by its target's length (1 for none). The gradient is PyTorch's: the one that
 * log_softmax expects, which is right for what stands before that. A label or a length out of range makes a sample's
 * loss NaN. */
TUFF_API tuff_tensor *tuff_ctc_loss(tuff_tensor *log_probs, tuff_tensor *targets, tuff_tensor *input_lengths,
                                    tuff_tensor *target_lengths, const tuff_ctc_loss_desc *desc);

/* The share of rows of logits (N, C) whose largest value stands at target (N): a float scalar without a
 * gradient. The first of equal values counts. */
TUFF_API tuff_tensor *tuff_accuracy(tuff_tensor *logits, tuff_tensor *target);

#ifdef __cplusplus
}
#endif
#endif
