/* Graphs of random operators on random shapes, as recipes. */
#ifndef TUFF_TESTS_RANDOM_GRAPH_H
#define TUFF_TESTS_RANDOM_GRAPH_H

#include "tests/reference/recipe.h"

/* Dropout's masks are those of a model of this seed in a program's third run. */
enum { RANDOM_GRAPH_SEED = 17, RANDOM_GRAPH_RUNS = 3 };

/* Fills r; its loss sums up everything that nothing else uses. No value lies so near a kink (of relu, of a maximum)
 * that float32 could take the other side. The same seed gives the same recipe everywhere. */
void random_graph(recipe *r, uint32_t seed);

/* One line for each step, for a failing test's message. */
void random_graph_print(const recipe *r);

#endif
