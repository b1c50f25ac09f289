/* What the files of tests/reference/rows share: each holds the rows of one family. */
#ifndef TUFF_TESTS_ROWS_H
#define TUFF_TESTS_ROWS_H

#include "recipe.h"

#define FORWARD(NAME) static ref *NAME(ref *const *in, const recipe_args *a)
#define GRADIENT(NAME)                                                                                                 \
    static void NAME(ref *const *in, const recipe_args *a, const ref *y, const ref *gy, ref *const *g)
#define KINK(NAME) static double NAME(ref *const *in, const recipe_args *a, const ref *y)
#define UNUSED     ((void)in, (void)a, (void)y, (void)gy)

/* Rows of an operator with a gradient, with a kink beside it, with central differences, with none. */
#define ROW(name, family)                                                                                              \
    { #name, family, name##_forward, name##_gradient, NULL, false }
#define KINKED(name, family, kink)                                                                                     \
    { #name, family, name##_forward, name##_gradient, kink, false }
#define NUMERIC(name, family)                                                                                          \
    { #name, family, name##_forward, NULL, NULL, false }
#define DETACHED(name, family)                                                                                         \
    { #name, family, name##_forward, NULL, NULL, true }

double kink_at_zero(ref *const *in, const recipe_args *a, const ref *y); /* of operand 0 */

/* TUFF_REDUCE_MEAN and so on, from "reduction=". */
int64_t loss_reduction(const recipe_args *a);

extern const recipe_family ROWS_POINTWISE;
extern const recipe_family ROWS_COMPARISON;
extern const recipe_family ROWS_SHAPE;
extern const recipe_family ROWS_REDUCTION;
extern const recipe_family ROWS_PRODUCT;
extern const recipe_family ROWS_CONVOLUTION;
extern const recipe_family ROWS_POOLING;
extern const recipe_family ROWS_NORMALISATION;
extern const recipe_family ROWS_ATTENTION;
extern const recipe_family ROWS_RECURRENT;
extern const recipe_family ROWS_LOOKUP;
extern const recipe_family ROWS_LOSS;

#endif
