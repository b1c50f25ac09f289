/* The table of operators: how a recipe calls the reference. Each family's rows stand in a file of rows/. */
#include "rows.h"

#include <string.h>

static const recipe_family *const FAMILIES[] = {
    &ROWS_POINTWISE, &ROWS_COMPARISON,    &ROWS_SHAPE,     &ROWS_REDUCTION, &ROWS_PRODUCT, &ROWS_CONVOLUTION,
    &ROWS_POOLING,   &ROWS_NORMALISATION, &ROWS_ATTENTION, &ROWS_RECURRENT, &ROWS_LOOKUP,  &ROWS_LOSS,
};
enum { FAMILY_COUNT = sizeof FAMILIES / sizeof *FAMILIES };

int recipe_operator_count(void) {
    int count = 0;
    for (int f = 0; f < FAMILY_COUNT; f++) count += FAMILIES[f]->count;
    return count;
}

const recipe_operator *recipe_operator_at(int i) {
    for (int f = 0; f < FAMILY_COUNT; f++) {
        if (i < FAMILIES[f]->count) return &FAMILIES[f]->rows[i];
        i -= FAMILIES[f]->count;
    }
    return NULL;
}

const recipe_operator *recipe_find(const char *name) {
    const recipe_operator *row = NULL;
    for (int i = 0; (row = recipe_operator_at(i)); i++)
        if (!strcmp(row->name, name)) break;
    return row;
}
