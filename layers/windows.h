/* Pooling over windows of images (N, C, H, W): the rows with kernels that layers/pooling.c's are built from. */
#ifndef TUFF_LAYERS_WINDOWS_H
#define TUFF_LAYERS_WINDOWS_H

#include "runtime/graph/operator.h"

#include <tuff/layers.h>

/* height, width */
typedef struct windows {
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    bool ceil_mode;       /* a window may reach past the padded image, if it starts within the image or before it */
    bool exclude_padding; /* of an average's divisor */
    int64_t divisor;      /* of an average; 0: the number of pixels */
    bool adaptive;        /* `count` windows of nearly equal sizes, and none of the above */
    int64_t count[2];
} windows;

/* How many windows there are along an axis of `size` pixels; below 1 if none fits. */
int64_t window_count(const windows *windows, uint32_t axis, int64_t size);

/* Fails if the numbers for an axis of node->inputs[0], which has `size` pixels, are impossible. what: "height". */
tuff_result windows_check(inference *inference, const windows *windows, uint32_t axis, int64_t size, const char *what);

tuff_tensor *max_windows(tuff_tensor *x, const windows *windows);
tuff_tensor *average_windows(tuff_tensor *x, const windows *windows); /* not adaptive */

extern const operator operator_max_windows, operator_max_windows_backward, operator_average_windows,
    operator_average_windows_backward;

#endif
