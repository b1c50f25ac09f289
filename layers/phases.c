/* A convolution's input gradient with a stride, and so a transposed convolution: one product for each phase.
 *
 * Pixel q of the result meets the taps t for which q + padding - t * dilation is a multiple of the stride: which ones
 * depends on q's rest by the stride, its phase. So the pixels of a phase make a product of their own, over the taps
 * that they meet, and no other: with a stride of two in height and width a quarter of the multiplications. Along an
 * axis, with g the common divisor of dilation and stride, a phase's taps lie stride / g apart, and from one to the next
 * the pixel met is dilation / g nearer. */
#include "layers/flat.h"
#include "layers/product.h"

/* More are not told apart: a dispatch for each would cost more than it saves. */
enum { MOST_PHASES = 64 };

/* The taps that a phase meets along an axis. */
typedef struct taps {
    int64_t first, step, count;
} taps;

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Leaves of an axis the pixels first, first + stride, ...; false if there are none. */
static bool take_phase(product *p, uint32_t axis, int64_t first, taps *taps) {
    product_image *image = &p->image;
    int64_t stride = image->divide[axis], dilation = -image->advance[axis], size = image->grid[axis];
    int64_t divisor = common_divisor(dilation, stride), begin = image->offset[axis] + first;
    if (first >= size) return false;
    *taps = (struct taps){ .step = stride / divisor };
    while (taps->first < taps->step && (begin - taps->first * dilation) % stride != 0) taps->first++;
    if (taps->first < taps->step && taps->first < image->kernel[axis])
        taps->count = (image->kernel[axis] - taps->first + taps->step - 1) / taps->step;
    p->phase.first[axis] = first;
    p->phase.step[axis] = stride;
    image->grid[axis] = (size - first + stride - 1) / stride;
    image->divide[axis] = 1;
    image->advance[axis] = -dilation / divisor;
    /* what meets no tap looks beside the image, where all is zero */
    image->offset[axis] = taps->count ? (begin - taps->first * dilation) / stride : -image->grid[axis];
    return true;
}

/* All axes are divided: the kernel's sizes, and where its taps lie in B. */
static tuff_result lower_phase(lowering *lowering, const node *node, const product *part, const taps taps[IMAGE_AXES]) {
    product p = *part;
    product_image *image = &p.image;
    const int64_t *kernel = part->image.kernel, *grid = image->grid;
    const int64_t strides[IMAGE_AXES] = { kernel[1] * kernel[2] * image->b_tap, kernel[2] * image->b_tap,
                                          image->b_tap };
    int64_t count = taps[0].count * taps[1].count * taps[2].count;
    for (uint32_t axis = 0; axis < IMAGE_AXES; axis++) {
        image->kernel[axis] = count ? taps[axis].count : 1;
        if (count) p.b.offset += taps[axis].first * strides[axis];
    }
    image->b_tap = taps[2].step * strides[2];
    image->b_axis[1] = taps[1].step * strides[1] - image->kernel[2] * image->b_tap;
    image->b_axis[0] = taps[0].step * strides[0] - image->kernel[1] * image->kernel[2] * image->b_tap;
    p.k = count ? image->channels * count : image->channels < 4 ? image->channels : 4; /* of zeros few will do */
    p.m = image->view->shape.sizes[0] * grid[0] * grid[1] * grid[2];
    return product_lower(lowering, node, &p);
}

static tuff_result lower_axis(lowering *lowering, const node *node, const product *part, taps taps[IMAGE_AXES],
                              uint32_t axis, int64_t phases) {
    if (axis == IMAGE_AXES) return lower_phase(lowering, node, part, taps);
    int64_t stride = part->image.divide[axis];
    if (stride == 1 || phases * stride > MOST_PHASES) {
        product whole = *part;
        whole.phase.step[axis] = 1;
        taps[axis] = (struct taps){ .step = 1, .count = part->image.kernel[axis] };
        return lower_axis(lowering, node, &whole, taps, axis + 1, phases);
    }
    for (int64_t first = 0; first < stride; first++) {
        product phase = *part;
        if (take_phase(&phase, axis, first, &taps[axis]))
            TRY(lower_axis(lowering, node, &phase, taps, axis + 1, phases * stride));
    }
    return TUFF_OK;
}

tuff_result product_lower_phases(lowering *lowering, const node *node, const product *whole) {
    product part = *whole;
    taps taps[IMAGE_AXES];
    bool divides = false;
    for (uint32_t axis = 0; axis < IMAGE_AXES; axis++)
        divides = divides || (part.image.divide[axis] > 1 && part.image.divide[axis] <= MOST_PHASES);
    /* a long sum may have to go in parts, which lie together: a phase's result does not */
    if (!divides || (uint64_t)whole->k > turns_allowed(lowering) / 2) return product_lower(lowering, node, whole);
    part.phased = true;
    return lower_axis(lowering, node, &part, taps, 0, 1);
}
