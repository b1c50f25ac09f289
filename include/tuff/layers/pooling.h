/* Pooling and resampling of images (N, C, H, W), sequences (N, C, L) and volumes (N, C, D, H, W); the axis N may be
 * missing, but in tuff_interpolate. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_POOLING_H
#define TUFF_PUBLIC_POOLING_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- windows ---- */

/* height, width */
typedef struct tuff_pool2d_desc {
    int64_t kernel[2];        /* required */
    int64_t stride[2];        /* 0: the kernel's */
    int64_t padding[2];       /* at most half the kernel; never the largest, 0 in a sum */
    int64_t dilation[2];      /* max alone; 0: 1 */
    bool ceil_mode;           /* windows may reach past the padding, if they start before it */
    bool exclude_padding;     /* average alone: PyTorch's count_include_pad=False */
    int64_t divisor_override; /* average alone; 0: the window's number of pixels */
} tuff_pool2d_desc;

/* depth, height, width; as for images */
typedef struct tuff_pool3d_desc {
    int64_t kernel[3]; /* required */
    int64_t stride[3];
    int64_t padding[3];
    int64_t dilation[3];
    bool ceil_mode;
    bool exclude_padding;
    int64_t divisor_override;
} tuff_pool3d_desc;

typedef struct tuff_pool1d_desc {
    int64_t kernel;       /* required */
    int64_t stride;       /* 0: the kernel's */
    int64_t padding;      /* at most half the kernel; never the largest, 0 in a sum */
    int64_t dilation;     /* max alone; 0: 1 */
    bool ceil_mode;       /* windows may reach past the padding, if they start before it */
    bool exclude_padding; /* average alone: PyTorch's count_include_pad=False */
} tuff_pool1d_desc;

/* torch.nn.functional.max_pool1d, max_pool2d, max_pool3d; the first of equal maxima gets the gradient. */
TUFF_API tuff_tensor *tuff_max_pool1d(tuff_tensor *x, const tuff_pool1d_desc *desc);
TUFF_API tuff_tensor *tuff_max_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc);
TUFF_API tuff_tensor *tuff_max_pool3d(tuff_tensor *x, const tuff_pool3d_desc *desc);

/* torch.nn.functional.avg_pool1d, avg_pool2d, avg_pool3d. */
TUFF_API tuff_tensor *tuff_avg_pool1d(tuff_tensor *x, const tuff_pool1d_desc *desc);
TUFF_API tuff_tensor *tuff_avg_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc);
TUFF_API tuff_tensor *tuff_avg_pool3d(tuff_tensor *x, const tuff_pool3d_desc *desc);

/* torch.nn.functional.adaptive_max_pool1d and so on: as many windows as are asked for (1 to 65535), whose sizes differ
 * by one where they must, and which then may overlap. */
TUFF_API tuff_tensor *tuff_adaptive_max_pool1d(tuff_tensor *x, int64_t length);
TUFF_API tuff_tensor *tuff_adaptive_avg_pool1d(tuff_tensor *x, int64_t length);
TUFF_API tuff_tensor *tuff_adaptive_max_pool2d(tuff_tensor *x, int64_t height, int64_t width);
TUFF_API tuff_tensor *tuff_adaptive_avg_pool2d(tuff_tensor *x, int64_t height, int64_t width);
TUFF_API tuff_tensor *tuff_adaptive_max_pool3d(tuff_tensor *x, int64_t depth, int64_t height, int64_t width);
TUFF_API tuff_tensor *tuff_adaptive_avg_pool3d(tuff_tensor *x, int64_t depth, int64_t height, int64_t width);

/* adaptive pooling to one pixel: (N, C, 1) of sequences, (N, C, 1, 1) of images */
TUFF_API tuff_tensor *tuff_global_max_pool1d(tuff_tensor *x);
TUFF_API tuff_tensor *tuff_global_avg_pool1d(tuff_tensor *x);
TUFF_API tuff_tensor *tuff_global_max_pool2d(tuff_tensor *x);
TUFF_API tuff_tensor *tuff_global_avg_pool2d(tuff_tensor *x);

/* ---- other sizes ---- */

typedef enum tuff_interpolate_mode {
    TUFF_INTERPOLATE_NEAREST = 0,
    TUFF_INTERPOLATE_LINEAR,    /* (N, C, L) alone */
    TUFF_INTERPOLATE_BILINEAR,  /* (N, C, H, W) alone */
    TUFF_INTERPOLATE_TRILINEAR, /* (N, C, D, H, W) alone */
    TUFF_INTERPOLATE_BICUBIC,   /* (N, C, H, W) alone */
    TUFF_INTERPOLATE_AREA,      /* adaptive average pooling */
    TUFF_INTERPOLATE_NEAREST_EXACT,
} tuff_interpolate_mode;

/* Either size or scale_factor, for as many axes as there are. */
typedef struct tuff_interpolate_desc {
    int64_t size[3];
    double scale_factor[3];
    tuff_interpolate_mode mode;
    bool align_corners;          /* linear to bicubic: the corners' centres stay where they are */
    bool recompute_scale_factor; /* coordinates follow from the sizes, not from scale_factor */
} tuff_interpolate_desc;

/* torch.nn.functional.interpolate: (N, C, L), (N, C, H, W) or (N, C, D, H, W). */
TUFF_API tuff_tensor *tuff_interpolate(tuff_tensor *x, const tuff_interpolate_desc *desc);

/* torch.nn.functional.pixel_shuffle: (..., C r r, H, W) to (..., C, H r, W r); and back. */
TUFF_API tuff_tensor *tuff_pixel_shuffle(tuff_tensor *x, int64_t upscale_factor);
TUFF_API tuff_tensor *tuff_pixel_unshuffle(tuff_tensor *x, int64_t downscale_factor);

/* ---- patches as columns ---- */

/* height, width */
typedef struct tuff_unfold_desc {
    int64_t kernel[2];   /* required */
    int64_t dilation[2]; /* 0: 1 */
    int64_t padding[2];
    int64_t stride[2]; /* 0: 1 */
} tuff_unfold_desc;

/* torch.nn.functional.unfold: (N, C, H, W) to (N, C kh kw, windows). */
TUFF_API tuff_tensor *tuff_unfold(tuff_tensor *x, const tuff_unfold_desc *desc);
/* torch.nn.functional.fold: (N, C kh kw, windows) to (N, C, height, width); where windows overlap they are added. */
TUFF_API tuff_tensor *tuff_fold(tuff_tensor *x, int64_t height, int64_t width, const tuff_unfold_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
