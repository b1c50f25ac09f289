/* Images of another size, each pixel a weighted sum of some neighbours along each axis: interpolation, and means over
 * parts of nearly equal sizes. */
#ifndef TUFF_LAYERS_RESAMPLE_H
#define TUFF_LAYERS_RESAMPLE_H

#include "runtime/graph/operator.h"

#include <tuff/layers.h>

typedef enum resample_mode {
    RESAMPLE_NEAREST = 0,
    RESAMPLE_LINEAR,
    RESAMPLE_BILINEAR,  /* the same, of images */
    RESAMPLE_TRILINEAR, /* and of volumes */
    RESAMPLE_BICUBIC,
    RESAMPLE_AREA,
    RESAMPLE_NEAREST_EXACT,
} resample_mode;

typedef struct resampling {
    resample_mode mode;
    bool align_corners, recompute_scale_factor;
    int64_t size[2]; /* 0: from scale */
    double scale[2];
} resampling;

/* The size of an axis afterwards; below 1 if it is none that a tensor can have. */
int64_t resampled_size(const resampling *resampling, uint32_t axis, int64_t size);

/* x (N, C, H, W) in another size. */
tuff_tensor *resample(tuff_tensor *x, const resampling *resampling);

extern const operator operator_resample, operator_resample_backward, operator_interpolate;

#endif
