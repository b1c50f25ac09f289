/* Products: what matmul and the three passes of convolution ask of the one core in shaders/product. */
#ifndef TUFF_LAYERS_PRODUCT_H
#define TUFF_LAYERS_PRODUCT_H

#include "layers/variants.h"
#include "runtime/program/lowering.h"

enum { PRODUCT_BATCH_AXES = 6, PRODUCT_EXTRAS = 2, PRODUCT_STEPS = 4 };

/* A tensor in a product: the strides, in elements, by which its element (m, n), (m, k) or (k, n) of an index of the
 * batch is found. */
typedef struct product_matrix {
    const view *view;
    int64_t offset; /* elements from the view's own: 0 but for a slice */
    int64_t row, column;
    int64_t batch[PRODUCT_BATCH_AXES];
} product_matrix;

/* The images that LOADER_WINDOW and LOADER_PATCH read A from: pixel p of the grid meets, under tap t of the kernel,
 * pixel (p * scale + offset + t * advance) / divide of the image, if that is whole and inside: along each of three
 * axes, depth, height and width. An image that lacks the first of them is 1 pixel deep and high. */
enum { IMAGE_AXES = 3 };
typedef struct product_image {
    const view *view; /* (N, C, W), (N, C, H, W) or (N, C, D, H, W) */
    int64_t channels; /* of one group */
    int64_t kernel[IMAGE_AXES];
    int64_t grid[IMAGE_AXES]; /* of the pixels that are rows (WINDOW) or run over by k (PATCH) */
    int64_t scale[IMAGE_AXES], offset[IMAGE_AXES], advance[IMAGE_AXES], divide[IMAGE_AXES];
    int64_t b_tap;     /* WINDOW: from one tap's matrix in B to the next one's */
    int64_t b_axis[2]; /* phased: how much farther than by b_tap for each of the kernel's planes and rows */
    int64_t images;    /* this and the next are set by product_lower */
    bool volume;       /* there is a depth, or an axis is longer than 16 bits can say */
} product_image;

/* The place among a view's axes of depth (0), height (1) or width (2); 0 if it has none. */
static inline uint32_t image_axis(const view *image, uint32_t axis) {
    uint32_t at = image->shape.rank + axis;
    return at < 2 + IMAGE_AXES ? 0 : at - IMAGE_AXES;
}
static inline int64_t image_size(const view *image, uint32_t axis) {
    uint32_t at = image_axis(image, axis);
    return at ? image->shape.sizes[at] : 1;
}

/* Of a result's pixels those that lie `step` apart along each axis, from `first` on. */
typedef struct product_phase {
    int64_t first[IMAGE_AXES], step[IMAGE_AXES];
} product_phase;

typedef struct product {
    product_loader loader;
    int64_t m, n, k;
    /* Sizes of the batch's axes, fastest first. Convolutions: axis 0 alone, the groups. */
    int64_t batch[PRODUCT_BATCH_AXES];
    uint32_t batch_axes;
    product_matrix a, b, d; /* a: only view and batch[0] unless LOADER_PLAIN */
    product_image image;
    /* WINDOW, with `phased`: the rows are these pixels of the result d.view, which is channels-last; d.row is from one
     * of its pixels to the next. */
    product_phase phase;
    bool phased;
    /* Not 0: depthwise. All groups are columns of one product, in which A's element depends on the column too: this
     * many neighbouring columns have the same channels of the image. */
    int64_t depthwise;
    uint32_t own_inputs; /* the epilogue's extra inputs follow them in node->inputs */
} product;

tuff_result product_lower(lowering *lowering, const node *node, const product *product);

/* phases.c: a product with LOADER_WINDOW whose image is divided by strides, as one for each phase of its pixels. */
tuff_result product_lower_phases(lowering *lowering, const node *node, const product *whole);

/* For rows of the operator table: accepts_epilogue. */
bool product_accepts_epilogue(const node *node, const chain *chain, tuff_tensor *const *extra_inputs,
                              uint32_t extra_count);

#endif
