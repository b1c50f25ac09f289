/* Pointwise operators that other rows are built from, beside the public ones. */
#ifndef TUFF_LAYERS_POINTWISE_H
#define TUFF_LAYERS_POINTWISE_H

#include "runtime/graph/operator.h"

#include <tuff/layers.h>

/* Apply a row to one, two or three inputs. NULL where an input is NULL after an error. */
tuff_tensor *apply_unary(const operator* op, tuff_tensor *x, const attribute_value *attributes);
tuff_tensor *apply_binary(const operator* op, tuff_tensor *a, tuff_tensor *b, const attribute_value *attributes);
tuff_tensor *apply_ternary(const operator* op, tuff_tensor *a, tuff_tensor *b, tuff_tensor *c);

tuff_tensor *greater_than(tuff_tensor *x, float value);           /* 1 or 0; no gradient */
tuff_tensor *within(tuff_tensor *x, float low, float high);       /* low <= x <= high, as that */
tuff_tensor *keep_if(tuff_tensor *condition, tuff_tensor *x);     /* condition != 0 ? x : 0 */
tuff_tensor *keep_unless(tuff_tensor *condition, tuff_tensor *x); /* condition != 0 ? 0 : x */

/* In reduction.c and shape.c: sums x to the shape of `like`, which broadcasts to x's; and the other way. */
tuff_tensor *sum_to(tuff_tensor *x, tuff_tensor *like);
tuff_tensor *expand_as(tuff_tensor *x, tuff_tensor *like);
/* x in the shape of `like`, which has as many elements. */
tuff_tensor *reshape_like(tuff_tensor *x, tuff_tensor *like);

/* For rows whose attribute 0 is dropout's p: its check, and x's shape; and what `node` makes of x in training: x times
 * a mask of `like`'s shape, which broadcasts to x's, 0 with probability p, else 1 / (1 - p). */
tuff_result infer_dropped(inference *inference);
tuff_tensor *dropped(const node *node, tuff_tensor *x, tuff_tensor *like);

#endif
