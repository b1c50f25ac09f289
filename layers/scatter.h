/* Elements by their indices along an axis, and sums back to where they came from: the kernels behind gather,
 * index_select, embedding, scatter_add, index_add and their gradients. */
#ifndef TUFF_LAYERS_SCATTER_H
#define TUFF_LAYERS_SCATTER_H

#include "runtime/graph/operator.h"

enum { SCATTER_NOTHING = -1 }; /* no index is skipped */

/* index of x's rank, or `shared`: a list for all coordinates of the other axes. Out of range: NaN (of integers the
 * smallest), or zero. */
tuff_tensor *gather_rows(tuff_tensor *x, tuff_tensor *index, uint32_t dim, bool shared, bool zero);

/* The converse: like's shape, each element the sum of those of x whose indices name it. Indices out of range, and
 * `skip`, count for nothing. Of like only the shape counts. */
tuff_tensor *scatter_like(tuff_tensor *x, tuff_tensor *index, tuff_tensor *like, int64_t dim, bool shared,
                          int64_t skip);

#endif
