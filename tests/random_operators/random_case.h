/* Random cases of any operator in the table: a line of tests/operators/cases with other sizes and other attributes.
 *
 * Sizes that are equal in the line stay equal, so that operands go on fitting each other; attributes are drawn by their
 * types. What the operator refuses is drawn again. */
#ifndef TUFF_TESTS_RANDOM_CASE_H
#define TUFF_TESTS_RANDOM_CASE_H

#include "tests/operators/build.h"

typedef struct random_case {
    const char *op;
    char operands[RECIPE_TEXT], attributes[RECIPE_TEXT];
} random_case;

/* Draws from the lines of the operator; false if nothing was accepted. The model is for the graphs that try it. */
bool random_case_draw(random_case *c, tuff_model *model, const char *op, uint32_t seed);

#endif
