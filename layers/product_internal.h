/* What the product's files share. */
#ifndef TUFF_LAYERS_PRODUCT_INTERNAL_H
#define TUFF_LAYERS_PRODUCT_INTERNAL_H

#include "layers/product.h"

enum { BINDING_A, BINDING_B, BINDING_D, BINDING_EXTRA, BINDING_RECORD = BINDING_EXTRA + PRODUCT_EXTRAS };
enum { CONSTANT_EXTRA = 6, CONSTANT_STEPS = 7, CONSTANT_IMAGE = CONSTANT_STEPS + PRODUCT_STEPS, CONSTANTS };
enum { VOLUME_WORDS = 23, PHASED_WORDS = 6 };
enum { IMAGE_VOLUME = 1, IMAGE_PHASED = 2 }; /* constant CONSTANT_IMAGE */
enum { BATCH_IN_KERNEL = 3 };
/* How an operand is read, as in shaders/product/product.glsl. */
enum { MODE_ONE = 0, MODE_ALONG_K = 1, MODE_ALONG_M = 2, MODE_ALONG_N = 2 };

/* An extra input of the epilogue: where its element for (m, n) lies. For convolutions m counts images of grid pixels.
 */
typedef struct product_extra {
    const view *view;
    uint64_t offset; /* elements from the view's own */
    int64_t n, image, z, y, x;
    int64_t batch[PRODUCT_BATCH_AXES];
    uint32_t kind, first;
} product_extra;

typedef struct product_lowering {
    lowering *lowering;
    const node *node;
    const chain *chain; /* the epilogue; NULL: none */
    product p;          /* with a collapsed batch; of one slice */
    const product_variant *variant;
    bool winograd; /* a convolution by way of winograd.c */
    bool direct;   /* ... or by direct.c's variant, before the other two */
    product_extra extras[PRODUCT_EXTRAS];
    uint32_t extra_count;
    product_extra d_place;  /* phased: where D's elements lie */
    uint32_t parts, k_part; /* of a sum that the kernel splits */
    operand operands[BINDING_RECORD];
    uint32_t a_first, b_first, d_first;
    uint32_t a_mode, b_mode, d_mode;
} product_lowering;

/* product.c */
uint64_t product_batch(const product *p);
/* Whether the sum over k may be made in parts. */
bool product_can_split(const product_lowering *s);
/* The kernels of a product, of which all is known, by its variant, the direct one or Winograd's way. */
tuff_result product_lower_way(const product_lowering *whole);
/* A product of matrices without an epilogue, within a node's kernels. */
tuff_result product_lower_matrices(lowering *lowering, const node *node, const product *product);
/* Leaves the images [begin, begin + count) of a convolution. */
void product_take_images(product_lowering *s, int64_t begin, int64_t count);

/* product_epilogue.c */
void product_find_extras(product_lowering *s);
void product_classify_extras(product_lowering *s);
/* Of a phased product: sets d_place, and where D begins. */
void product_place_phase(product_lowering *s);
tuff_result product_add_epilogue(const product_lowering *s, kernel_call *call);

/* product_call.c: the kernels for what fits into bindings. */
tuff_result product_call(product_lowering *s);
/* m, as the variant's tiles count it. */
uint64_t product_rows(const product_lowering *s);
/* What all kernels of a product take: constants, operands and parameters, but neither kernel nor workgroups. */
tuff_result product_fill_call(const product_lowering *s, kernel_call *call);
/* Sets the operands and how they are read: a_mode, b_mode, d_mode. */
void product_find_modes(product_lowering *s);
/* n / d = (high word of n * magic + n) >> shift for n below 2^31 (Granlund and Montgomery). */
uint32_t product_magic(uint32_t d, uint32_t *shift);

/* The ranges of memory that a slice touches, as views. */
view product_view_a(const product_lowering *s);
view product_view_b(const product_lowering *s);
view product_view_d(const product_lowering *s);
view product_view_extra(const product_lowering *s, const product_extra *e);

#endif
