/* What the files of recurrent layers' kernels share. */
#ifndef TUFF_LAYERS_RECURRENT_INTERNAL_H
#define TUFF_LAYERS_RECURRENT_INTERNAL_H

#include "layers/recurrent.h"
#include "runtime/program/lowering.h"

/* recurrent_step.c: matrix i of a row-major (I, rows, columns); NULL stays NULL. */
const view *recurrent_matrix(const lowering *lowering, const tuff_tensor *tensor, int64_t i, view *storage);
/* d = a b, or a b^T, of matrices. */
tuff_result recurrent_multiply(lowering *lowering, const node *node, const view *a, const view *b, bool transpose_b,
                               const view *d);

/* recurrent_weights.c: of one direction, from the gates' gradient (T N, gates * hidden), the layer's output and its
 * initial state, which may be NULL. */
extern const operator recurrent_weight_backward;
tuff_tensor *recurrent_weight_gradient(tuff_tensor *gradient, tuff_tensor *y, tuff_tensor *hx, bool reverse,
                                       int64_t hidden);

#endif
