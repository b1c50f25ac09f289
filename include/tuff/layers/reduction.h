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

TUFF_API tuff_tensor *tuff_sum(tuff_tensor *x, const tuff_reduce_desc *desc);  /* torch.sum */
TUFF_API tuff_tensor *tuff_mean(tuff_tensor *x, const tuff_reduce_desc *desc); /* torch.mean */
TUFF_API tuff_tensor *tuff_max(tuff_tensor *x, const tuff_reduce_desc *desc);  /* torch.amax; ties share the gradient */

TUFF_API tuff_tensor *tuff_softmax(tuff_tensor *x, int32_t axis);     /* torch.softmax */
TUFF_API tuff_tensor *tuff_log_softmax(tuff_tensor *x, int32_t axis); /* torch.log_softmax */

#ifdef __cplusplus
}
#endif
#endif
