/* Rows of search.c, topk.c and scan.c, for the table; and what they share. */
#ifndef TUFF_LAYERS_SEARCH_H
#define TUFF_LAYERS_SEARCH_H

#include "runtime/graph/operator.h"

/* The gradient of what was picked along an axis: values at their indices in the shape of `like`, 0 elsewhere. The
 * indices of a row differ. */
tuff_tensor *place_along(tuff_tensor *values, tuff_tensor *indices, tuff_tensor *like, int64_t axis);

extern const operator operator_place, operator_extreme, operator_max, operator_min, operator_argmax, operator_argmin;
extern const operator operator_topk;
extern const operator operator_cumsum, operator_cumsum_reversed;

#endif
