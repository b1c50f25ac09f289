/* Which variant of the product a shape gets, by measuring. */
#ifndef TUFF_LAYERS_TUNER_H
#define TUFF_LAYERS_TUNER_H

#include "layers/product_internal.h"

/* Puts another variant into s->variant, the one that the rules chose, where the device measures and another one won for
 * this class of shapes: loader, m, n, k and batch to the next power of two, how the operands can be read, and whether
 * the sum can be split. A class without a choice is measured with the shape at hand. What cannot be measured keeps the
 * rules' variant. */
tuff_result product_tune(product_lowering *s);

/* The quickest of `count`, or the standard one where that is not slower by more than noise: noise must not choose. */
uint32_t tuner_winner(const double *seconds, uint32_t count, uint32_t standard);

#endif
