/* Convolutions. <tuff/layers.h> says what holds for all functions here.
 *
 * In all descriptors `weight`, and with it `bias`, may be a tensor in place of parameters of the layer's own; name,
 * channels and kernel then need not be given (channels and kernel must be the weight's where they are). x may be one
 * image, without the axis N. A group for each channel (depthwise) has kernels of its own. */
#ifndef TUFF_PUBLIC_CONVOLUTION_H
#define TUFF_PUBLIC_CONVOLUTION_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_conv1d_desc {
    const char *name; /* required */
    int64_t channels; /* out_channels, required */
    int64_t kernel;   /* required */
    int64_t stride;   /* 0: 1 */
    int64_t padding;
    int64_t dilation; /* 0: 1 */
    int64_t groups;   /* 0: 1 */
    bool no_bias;
    bool padding_same;                     /* PyTorch's padding="same": as many pixels as x has; the stride must be 1 */
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.Conv1d's */
    tuff_tensor *weight, *bias;
} tuff_conv1d_desc;

typedef struct tuff_conv2d_desc {
    const char *name;  /* required */
    int64_t channels;  /* out_channels, required */
    int64_t kernel[2]; /* height, width; required */
    int64_t stride[2]; /* 0: 1 */
    int64_t padding[2];
    int64_t dilation[2]; /* 0: 1 */
    int64_t groups;      /* 0: 1 */
    bool no_bias;
    bool padding_same;                     /* PyTorch's padding="same": as many pixels as x has; strides must be 1 */
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.Conv2d's */
    tuff_tensor *weight, *bias;
} tuff_conv2d_desc;

typedef struct tuff_conv3d_desc {
    const char *name;  /* required */
    int64_t channels;  /* out_channels, required */
    int64_t kernel[3]; /* depth, height, width; required */
    int64_t stride[3]; /* 0: 1 */
    int64_t padding[3];
    int64_t dilation[3]; /* 0: 1 */
    int64_t groups;      /* 0: 1 */
    bool no_bias;
    bool padding_same;                     /* PyTorch's padding="same": as many pixels as x has; strides must be 1 */
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.Conv3d's */
    tuff_tensor *weight, *bias;
} tuff_conv3d_desc;

/* torch.nn.Conv1d: (N, C, L) to (N, channels, L'). NAME.weight is [channels, C/groups, k]. */
TUFF_API tuff_tensor *tuff_conv1d(tuff_tensor *x, const tuff_conv1d_desc *desc);
/* torch.nn.Conv2d: (N, C, H, W) to (N, channels, H', W'). NAME.weight is [channels, C/groups, kh, kw]. */
TUFF_API tuff_tensor *tuff_conv2d(tuff_tensor *x, const tuff_conv2d_desc *desc);
/* torch.nn.Conv3d: (N, C, D, H, W) to (N, channels, D', H', W'). NAME.weight is [channels, C/groups, kd, kh, kw]. */
TUFF_API tuff_tensor *tuff_conv3d(tuff_tensor *x, const tuff_conv3d_desc *desc);

typedef struct tuff_conv_transpose1d_desc {
    const char *name;       /* required */
    int64_t channels;       /* out_channels, required */
    int64_t kernel;         /* required */
    int64_t stride;         /* 0: 1 */
    int64_t padding;        /* takes pixels away at both ends */
    int64_t output_padding; /* adds pixels behind; less than the stride or the dilation */
    int64_t dilation;       /* 0: 1 */
    int64_t groups;         /* 0: 1 */
    bool no_bias;
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.ConvTranspose1d's */
    tuff_tensor *weight, *bias;
} tuff_conv_transpose1d_desc;

typedef struct tuff_conv_transpose2d_desc {
    const char *name;          /* required */
    int64_t channels;          /* out_channels, required */
    int64_t kernel[2];         /* height, width; required */
    int64_t stride[2];         /* 0: 1 */
    int64_t padding[2];        /* takes pixels away at both ends */
    int64_t output_padding[2]; /* adds pixels behind; less than the stride or the dilation */
    int64_t dilation[2];       /* 0: 1 */
    int64_t groups;            /* 0: 1 */
    bool no_bias;
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.ConvTranspose2d's */
    tuff_tensor *weight, *bias;
} tuff_conv_transpose2d_desc;

typedef struct tuff_conv_transpose3d_desc {
    const char *name;          /* required */
    int64_t channels;          /* out_channels, required */
    int64_t kernel[3];         /* depth, height, width; required */
    int64_t stride[3];         /* 0: 1 */
    int64_t padding[3];        /* takes pixels away at both ends */
    int64_t output_padding[3]; /* adds pixels behind; less than the stride or the dilation */
    int64_t dilation[3];       /* 0: 1 */
    int64_t groups;            /* 0: 1 */
    bool no_bias;
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.ConvTranspose3d's */
    tuff_tensor *weight, *bias;
} tuff_conv_transpose3d_desc;

/* torch.nn.ConvTranspose1d: (N, C, L) to (N, channels, (L - 1) stride - 2 padding + dilation (kernel - 1) +
 * output_padding + 1). NAME.weight is [C, channels/groups, k]. */
TUFF_API tuff_tensor *tuff_conv_transpose1d(tuff_tensor *x, const tuff_conv_transpose1d_desc *desc);
/* torch.nn.ConvTranspose2d: each axis as in tuff_conv_transpose1d. NAME.weight is [C, channels/groups, kh, kw]. */
TUFF_API tuff_tensor *tuff_conv_transpose2d(tuff_tensor *x, const tuff_conv_transpose2d_desc *desc);
/* torch.nn.ConvTranspose3d: each axis as in tuff_conv_transpose1d. NAME.weight is [C, channels/groups, kd, kh, kw]. */
TUFF_API tuff_tensor *tuff_conv_transpose3d(tuff_tensor *x, const tuff_conv_transpose3d_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
