/* Operators that look at elements in another shape, move them or repeat them. <tuff/layers.h> says what holds for all
 * functions here. */
#ifndef TUFF_PUBLIC_SHAPE_H
#define TUFF_PUBLIC_SHAPE_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

/* torch.reshape; one size may be -1. */
TUFF_API tuff_tensor *tuff_reshape(tuff_tensor *x, tuff_shape shape);
/* torch.flatten(start_dim=1): (N, ...) to (N, product of the rest). */
TUFF_API tuff_tensor *tuff_flatten(tuff_tensor *x);
/* torch.transpose; negative axes count from the end. */
TUFF_API tuff_tensor *tuff_transpose(tuff_tensor *x, int32_t axis0, int32_t axis1);

#ifdef __cplusplus
}
#endif
#endif
