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

/* The images that LOADER_WINDOW and LOADER_PATCH read A from: pixel (y, x) of the grid meets, under tap (ty, tx) of the
 * kernel, pixel (y * scale + offset + ty * advance) / divide of the image, if that is whole and inside. */
typedef struct product_image {
    const view *view; /* (N, C, H, W) */
    int64_t channels; /* of one group */
    int64_t kernel_w; /* taps in a row of the kernel */
    int64_t grid[2];  /* of the pixels that are rows (WINDOW) or run over by k (PATCH) */
    int64_t scale[2], offset[2], advance[2], divide[2];
    int64_t images; /* set by product_lower */
    int64_t b_tap;  /* WINDOW: from one tap's matrix in B to the next one's */
} product_image;

typedef struct product {
    product_loader loader;
    int64_t m, n, k;
    /* Sizes of the batch's axes, fastest first. Convolutions: axis 0 alone, the groups. */
    int64_t batch[PRODUCT_BATCH_AXES];
    uint32_t batch_axes;
    product_matrix a, b, d; /* a: only view and batch[0] unless LOADER_PLAIN */
    product_image image;
    uint32_t own_inputs; /* the epilogue's extra inputs follow them in node->inputs */
} product;

tuff_result product_lower(lowering *lowering, const node *node, const product *product);

/* For rows of the operator table: accepts_epilogue. */
bool product_accepts_epilogue(const node *node, const chain *chain, tuff_tensor *const *extra_inputs,
                              uint32_t extra_count);

#endif
