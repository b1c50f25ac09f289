/* Convolutions of few channels, beside the product's other variants: their kernels find a run of taps at once where the
 * loaders find each element by itself (shaders/product/direct.glsl). */
#ifndef TUFF_LAYERS_DIRECT_H
#define TUFF_LAYERS_DIRECT_H

#include "layers/product_internal.h"

/* Whether a convolution can go that way: forward, its weights' gradient, and its input's where the stride is 1; not
 * over volumes, nor with a group for each channel. */
bool direct_fits(const product_lowering *s);
/* Whether it fits and measured faster on this kind of device, or is forced: "direct=COUNT" is the most channels of a
 * group; "direct=0" is never. */
bool direct_pays(const product_lowering *s);
/* Whether measuring it is worth the time: it fits, channels are few, and the device gets variants by rows. */
bool direct_may_pay(const product_lowering *s);
/* The variant that a device gets. */
const product_variant *direct_variant(const product_lowering *s);

/* For product_call.c, of a lowering with that variant: the kernels' own constants, and m as the tiles count it. */
void direct_fill_call(const product_lowering *s, kernel_call *call);
int64_t direct_rows(const product_lowering *s);

#endif
