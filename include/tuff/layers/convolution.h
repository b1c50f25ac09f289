/* Convolutions. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_CONVOLUTION_H
#define TUFF_PUBLIC_CONVOLUTION_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_conv2d_desc {
    const char *name;  /* required */
    int64_t channels;  /* out_channels, required */
    int64_t kernel[2]; /* height, width; required */
    int64_t stride[2]; /* 0: 1 */
    int64_t padding[2];
    int64_t dilation[2]; /* 0: 1 */
    int64_t groups;      /* 0: 1 */
    bool no_bias;
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.Conv2d's */
} tuff_conv2d_desc;

/* torch.nn.Conv2d: (N, C, H, W) to (N, channels, H', W'). NAME.weight is [channels, C/groups, kh, kw]. */
TUFF_API tuff_tensor *tuff_conv2d(tuff_tensor *x, const tuff_conv2d_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
