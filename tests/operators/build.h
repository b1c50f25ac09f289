/* Makes of a recipe the same graph of Tuff's operators: each step is the row of its name. */
#ifndef TUFF_TESTS_BUILD_H
#define TUFF_TESTS_BUILD_H

#include "tests/reference/recipe.h"
#include <tuff/layers.h>
#include <tuff/tuff.h>

/* How inputs lie: as they are written, or as a part of what is written, which begins somewhere and skips elements of
 * NaN along its first or last axis, or with its last two axes exchanged. TUFF_TEST_VIEWS=first, last, exchanged. */
typedef enum build_views { VIEWS_NONE = 0, VIEWS_FIRST, VIEWS_LAST, VIEWS_EXCHANGED } build_views;
build_views build_views_asked(void);

/* tensors[i] is step i's. false: the graph refused (tuff_graph_message), or a tensor's shape is not the recipe's. */
bool build_graph(const recipe *r, tuff_graph *graph, tuff_tensor **tensors);

/* Whether the row takes such operands and attributes, written as a case has them. Tensors are added to the graph. */
bool build_accepts(tuff_graph *graph, const char *op, const char *operands, const char *attributes);

/* The type of a leaf's tensor. */
tuff_type build_type(const recipe_step *leaf);

/* Writes the leaves that steps up to `last` use: inputs to the program, parameters and buffers to the model. */
tuff_result build_write(const recipe *r, tuff_model *model, tuff_program *program, tuff_tensor *const *tensors,
                        int last);

#endif
