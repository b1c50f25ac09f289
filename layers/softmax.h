/* The kernels of softmax, which its rows in softmax.c are expanded to. */
#ifndef TUFF_LAYERS_SOFTMAX_H
#define TUFF_LAYERS_SOFTMAX_H

#include "runtime/graph/operator.h"

extern const operator operator_softmax_rows, operator_softmax_rows_backward;

/* Whether they can walk over rows of this shape along `dim`, and fill the device. */
bool softmax_fits_rows(const tuff_graph *graph, const tuff_shape *shape, int64_t dim);

#endif
