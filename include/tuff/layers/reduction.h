/* Reductions over axes. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_REDUCTION_H
#define TUFF_PUBLIC_REDUCTION_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

/* axis_count 0: over all axes. Negative axes count from the end. keepdim keeps reduced axes as size 1. */
typedef struct tuff_reduce_desc {
    int32_t axes[TUFF_MAX_RANK];
    uint32_t axis_count;
    bool keepdim;
} tuff_reduce_desc;

/* A sum of any length is off by at most 2^-18 of the sum of its absolute terms, usually by less than a unit in the last
 * place; a mean by as much of the mean of the absolute terms, and one rounding. var, std, norm and logsumexp are made
 * of such sums: of a million elements the tests hold them to 2^-21 of their value (logsumexp: of |max x| + log n + 1).
 * prod has no such bound: each of n factors rounds, so it may be off by n units in the last place.
 *
 * A NaN among the elements makes each of these results NaN. */
TUFF_API tuff_tensor *tuff_sum(tuff_tensor *x, const tuff_reduce_desc *desc);  /* torch.sum */
TUFF_API tuff_tensor *tuff_mean(tuff_tensor *x, const tuff_reduce_desc *desc); /* torch.mean */
TUFF_API tuff_tensor *tuff_amax(tuff_tensor *x, const tuff_reduce_desc *desc); /* torch.amax; ties share the gradient */
TUFF_API tuff_tensor *tuff_amin(tuff_tensor *x, const tuff_reduce_desc *desc); /* torch.amin; ties share the gradient */
/* torch.prod, over any axes. In a row without a 0 the gradient is the product over x, as PyTorch's: NaN at an infinite
 * element, and all along a row with a NaN. */
TUFF_API tuff_tensor *tuff_prod(tuff_tensor *x, const tuff_reduce_desc *desc);

/* torch.var, torch.std: the sum of the squared deviations from the mean over n - correction; PyTorch's default is 1,
 * the unbiased one. As accurate where the mean is large as where it is 0. */
TUFF_API tuff_tensor *tuff_var(tuff_tensor *x, float correction, const tuff_reduce_desc *desc);
TUFF_API tuff_tensor *tuff_std(tuff_tensor *x, float correction, const tuff_reduce_desc *desc);

/* torch.linalg.vector_norm: (sum |x|^p)^(1 / p), PyTorch's default is 2; INFINITY: max |x|, -INFINITY: min |x|, 0: how
 * many are not 0. The gradient is 0 at 0. */
TUFF_API tuff_tensor *tuff_norm(tuff_tensor *x, float p, const tuff_reduce_desc *desc);

/* torch.logsumexp, without overflow; -inf where all elements are, with a gradient of 0. */
TUFF_API tuff_tensor *tuff_logsumexp(tuff_tensor *x, const tuff_reduce_desc *desc);

/* torch.max, torch.min with dim: the extreme along an axis and, if indices is not NULL, where the first of equal ones
 * stands (int32). A NaN counts as the extreme. Its place takes the whole gradient. Over all axes: tuff_amax, tuff_amin.
 */
TUFF_API tuff_tensor *tuff_max(tuff_tensor *x, int32_t axis, bool keepdim, tuff_tensor **indices);
TUFF_API tuff_tensor *tuff_min(tuff_tensor *x, int32_t axis, bool keepdim, tuff_tensor **indices);

/* torch.argmax, torch.argmin along one axis; with none the index in PyTorch's order of all elements. int32, the first
 * of equal ones, a NaN counts as the extreme; no gradient. */
TUFF_API tuff_tensor *tuff_argmax(tuff_tensor *x, const tuff_reduce_desc *desc);
TUFF_API tuff_tensor *tuff_argmin(tuff_tensor *x, const tuff_reduce_desc *desc);

typedef struct tuff_topk_desc {
    bool smallest; /* largest=False */
} tuff_topk_desc;
/* torch.topk: the k largest along an axis (PyTorch's default is -1), in order, and their indices (int32) if indices is
 * not NULL. Of equal ones the first come first; a NaN counts as largest. */
TUFF_API tuff_tensor *tuff_topk(tuff_tensor *x, int64_t k, int32_t axis, const tuff_topk_desc *desc,
                                tuff_tensor **indices);

/* torch.cumsum. Each sum is off by about a unit in its last place, however long the axis. */
TUFF_API tuff_tensor *tuff_cumsum(tuff_tensor *x, int32_t axis);

/* torch.softmax, torch.log_softmax; but a tensor without axes is refused, where PyTorch lets it have one. */
TUFF_API tuff_tensor *tuff_softmax(tuff_tensor *x, int32_t axis);
TUFF_API tuff_tensor *tuff_log_softmax(tuff_tensor *x, int32_t axis);

#ifdef __cplusplus
}
#endif
#endif
