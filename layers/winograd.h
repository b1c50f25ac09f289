/* Winograd's convolution, beside the product's own kernels. */
#ifndef TUFF_LAYERS_WINOGRAD_H
#define TUFF_LAYERS_WINOGRAD_H

#include "layers/product_internal.h"

/* Whether a convolution can go that way: kernels of 3 x 3 to 5 x 5 that move pixel by pixel over images whose channels
 * come in fours. */
bool winograd_fits(const product_lowering *s);
/* Whether it fits and measured faster on this kind of device, or is forced: "winograd=COUNT" numbers of tiles at once,
 * but an image at least; "winograd=0" is never. */
bool winograd_pays(const product_lowering *s);
/* Tiles of all its images; 0 if it does not fit. */
int64_t winograd_tiles(const product_lowering *s);
tuff_result winograd_lower(const product_lowering *s);

#endif
