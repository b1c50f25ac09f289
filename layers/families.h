/* The table's parts: each file of operators exports its rows as a family; layers/table.c lists the families. */
#ifndef TUFF_LAYERS_FAMILIES_H
#define TUFF_LAYERS_FAMILIES_H

#include "runtime/graph/operator.h"

typedef struct operator_family {
    const operator* const * rows;
    uint32_t count;
} operator_family;

extern const operator_family family_pointwise;     /* pointwise.c */
extern const operator_family family_activation;    /* activation.c */
extern const operator_family family_shape;         /* shape.c: reshape, flatten, transpose, broadcasting */
extern const operator_family family_reduction;     /* reduction.c: sum, mean, max, softmax */
extern const operator_family family_linear;        /* linear.c */
extern const operator_family family_matmul;        /* matmul.c */
extern const operator_family family_convolution;   /* convolution.c */
extern const operator_family family_pooling;       /* pooling.c */
extern const operator_family family_normalisation; /* normalisation.c */
extern const operator_family family_lookup;        /* lookup.c */
extern const operator_family family_losses;        /* losses.c */
extern const operator_family family_state;         /* state.c: constants */

#endif
