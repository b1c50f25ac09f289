/* Pooling and resampling of images. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_POOLING_H
#define TUFF_PUBLIC_POOLING_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_pool2d_desc {
    int64_t kernel[2];    /* required */
    int64_t stride[2];    /* 0: the kernel's */
    int64_t padding[2];   /* at most half the kernel */
    bool exclude_padding; /* average: PyTorch's count_include_pad=False */
} tuff_pool2d_desc;

TUFF_API tuff_tensor *
tuff_max_pool2d(tuff_tensor *x,
                const tuff_pool2d_desc *desc); /* torch.nn.MaxPool2d; the first of equal maxima gets the gradient */
TUFF_API tuff_tensor *tuff_avg_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc); /* torch.nn.AvgPool2d */
TUFF_API tuff_tensor *tuff_global_avg_pool2d(tuff_tensor *x); /* torch.nn.AdaptiveAvgPool2d(1): (N, C, 1, 1) */

#ifdef __cplusplus
}
#endif
#endif
