/* What the files of losses share: the reduction, and the rows that answer questions about classes (classes.c). */
#ifndef TUFF_LAYERS_LOSSES_H
#define TUFF_LAYERS_LOSSES_H

#include "layers/pointwise.h"

/* value.i is a tuff_loss_reduction. */
#define REDUCTION_ATTRIBUTE                                                                                            \
    { .name = "reduction", .type = ATTRIBUTE_CHOICE, .choices = "mean|sum|none" }

/* A loss's shape: that of its terms, or a scalar. */
void infer_loss(inference *inference, int64_t reduction, const tuff_shape *terms);
tuff_tensor *reduce_loss(tuff_tensor *terms, int64_t reduction);
/* What arrives at each of `count` terms, times factor. */
tuff_tensor *spread_loss(tuff_tensor *gradient, int64_t reduction, int64_t count, double factor);
/* Inputs that must have one shape: fails with both names otherwise. */
tuff_result check_same_shape(inference *inference, uint32_t i, uint32_t k);

/* Applies a loss's row; NULL if one of the first `required` inputs is. Refuses what is no reduction below `choices`. */
tuff_tensor *apply_loss(const operator* op, tuff_tensor *const *inputs, uint32_t count, uint32_t required,
                        const attribute_value *attributes, int64_t reduction, int64_t choices);

/* ---- classes.c: logits (N, C, ...) and int32 targets (N, ...) ---- */

/* PyTorch's default. */
enum { IGNORE_INDEX = -100 };

/* What a descriptor says of the target that counts nothing; false, with x's graph's error, if it says two things. */
bool ignored_target(const tuff_tensor *x, const operator* op, int32_t ignore_index, bool ignore_zero, int64_t *ignored);
/* Fails unless they are of those shapes. */
tuff_result check_targets(inference *inference, const tuff_tensor *logits, const tuff_tensor *target);
/* (N, 1, ...): x[n, target[n], ...]; 0 where the target is ignore_index, NaN where it is no class. */
tuff_tensor *pick_class(tuff_tensor *x, tuff_tensor *target, int64_t ignore_index);
/* (N, 1, ...): 1, or share (a scalar) if that is not NULL, where the target is a class; 0 where it is ignore_index, NaN
 * otherwise. */
tuff_tensor *known_class(tuff_tensor *target, int64_t classes, tuff_tensor *share, int64_t ignore_index);
/* 1 / the sum of known_class: a scalar. */
tuff_tensor *share_of_class(tuff_tensor *target, int64_t classes, int64_t ignore_index);

/* How the terms of targets that are classes are weighted and summed up: cross_entropy.c. */
typedef struct class_share {
    tuff_tensor *own;   /* (N, 1, ...): what the target's class weighs; NULL: 1 */
    tuff_tensor *mean;  /* 1 / the sum of these weights without the ignored ones, as PyTorch's mean; NULL: no mean */
    tuff_tensor *known; /* (N, 1, ...): 0 where the target is ignored; mean elsewhere if own is NULL, 1 otherwise */
} class_share;

/* weight and x may be NULL, both. */
class_share share_classes(tuff_tensor *x, tuff_tensor *target, int64_t classes, tuff_tensor *weight,
                          int64_t ignore_index, int64_t reduction);
/* Terms without the factor of the mean, reduced; `like` has the shape of those that are not. */
tuff_tensor *reduce_shared(const class_share *share, tuff_tensor *terms, tuff_tensor *like, int64_t reduction);
/* What of a gradient, (N, 1, ...) or a scalar, arrives at the terms. */
tuff_tensor *spread_shared(const class_share *share, tuff_tensor *gradient);

/* (N, C, ...): 1 at the target, 0 elsewhere; of x only the shape matters. */
tuff_tensor *one_hot_of(tuff_tensor *x, tuff_tensor *target);
/* exp(x - largest - log_sum) softmax - (c == target ? hit : 0); all but x have one number for each row. */
tuff_tensor *softmax_less_target(tuff_tensor *x, tuff_tensor *largest, tuff_tensor *log_sum, tuff_tensor *target,
                                 tuff_tensor *softmax, tuff_tensor *hit);
/* A weight for each class (C) in the shape (1, C, 1, ...), and one of each target, as pick_class. */
tuff_tensor *weights_along(tuff_tensor *weight, tuff_tensor *x);
tuff_tensor *pick_weight(tuff_tensor *weight, tuff_tensor *x, tuff_tensor *target, int64_t ignore_index);
/* Of a weight (C) for logits (N, C, ...). */
tuff_result check_class_weight(inference *inference, const tuff_tensor *logits, const tuff_tensor *weight);

#endif
