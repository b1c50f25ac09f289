/* What rows that reduce over axes share: their first two attributes are dim and keepdim. */
#ifndef TUFF_LAYERS_REDUCTION_H
#define TUFF_LAYERS_REDUCTION_H

#include "runtime/graph/operator.h"

#include <tuff/layers.h>

enum { AXES = 0, KEEPDIM };
#define AXES_ATTRIBUTE                                                                                                 \
    { .name = "dim", .type = ATTRIBUTE_INTS } /* none: all */
#define KEEPDIM_ATTRIBUTE                                                                                              \
    { .name = "keepdim", .type = ATTRIBUTE_BOOL }

/* Checks the axes of input 0; the output has the reduced shape. */
tuff_result infer_reduce(inference *inference);

/* The node's axes as a descriptor. */
tuff_reduce_desc reduce_desc(const node *node, bool keepdim);

/* Elements of x for each of what the node's axes leave. */
double reduced_elements(const node *node, const tuff_tensor *x);

/* A tensor of the node's reduced shape spread over input 0's; divided by their count for a mean. */
tuff_tensor *expand_reduced(const node *node, tuff_tensor *reduced, bool mean);

/* x at index 0 of the axes, which keep size 1: a view, and no gradient passes. */
tuff_tensor *first_along(tuff_tensor *x, const tuff_reduce_desc *axes);

/* Applies a row whose attributes are dim, keepdim and, if `third`, one more. */
tuff_tensor *apply_reduce(const operator* op, tuff_tensor *x, const tuff_reduce_desc *desc,
                          const attribute_value *third);

extern const operator operator_var;
extern const operator operator_std;
extern const operator operator_var_backward;
extern const operator operator_norm;
extern const operator operator_logsumexp;

#endif
