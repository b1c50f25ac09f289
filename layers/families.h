/* The table's parts: each file of operators exports its rows as a family; layers/families.def lists the families. */
#ifndef TUFF_LAYERS_FAMILIES_H
#define TUFF_LAYERS_FAMILIES_H

#include "runtime/graph/operator.h"

typedef struct operator_family {
    const operator* const * rows;
    uint32_t count;
} operator_family;

#define FAMILY(name) extern const operator_family family_##name;
#include "layers/families.def"
#undef FAMILY

#endif
