/* The public functions of <tuff/layers.h>: each must apply the row of its name with the attributes it was given, and a
 * layer must make the parameters that PyTorch's class has. What the rows compute, tests/operators checks. */
#ifndef TUFF_TESTS_LAYERS_H
#define TUFF_TESTS_LAYERS_H

#include <tuff/layers.h>

#include <stddef.h>

/* A graph of its own for each test; float inputs "x0", "x1", ... made on the way. */
typedef struct layers_case {
    tuff_model *model;
    tuff_graph *graph;
    unsigned inputs;
} layers_case;

tuff_tensor *layers_input(layers_case *c, tuff_shape shape);
tuff_tensor *layers_index(layers_case *c, tuff_shape shape); /* int32 */

/* y is the result of the row `op` whose attributes are these, "stride=2,1", and PyTorch's defaults otherwise. */
void layers_expect(const tuff_tensor *y, const char *op, const char *attributes);
/* The model has this state. */
void layers_expect_state(const layers_case *c, const char *name, tuff_state_kind kind, tuff_shape shape);
/* The model has as many states. */
void layers_expect_states(const layers_case *c, unsigned count);
/* The graph refused what was just built, with a message that has all these words ("conv1 channels"); it starts anew. */
void layers_expect_error(layers_case *c, tuff_result result, const char *words);

/* One function for each file layers_*.c: a list of tests. */
typedef struct layers_test {
    const char *name;
    void (*run)(layers_case *c);
} layers_test;
typedef struct layers_family {
    const layers_test *tests;
    size_t count;
} layers_family;
#define LAYERS_FAMILY(tests)                                                                                           \
    { tests, sizeof(tests) / sizeof *(tests) }

extern const layers_family LAYERS_ATTENTION;
extern const layers_family LAYERS_CONVOLUTION;
extern const layers_family LAYERS_LOOKUP;
extern const layers_family LAYERS_LOSS;
extern const layers_family LAYERS_NORMALISATION;
extern const layers_family LAYERS_POINTWISE;
extern const layers_family LAYERS_POOLING;
extern const layers_family LAYERS_PRODUCT;
extern const layers_family LAYERS_RECURRENT;
extern const layers_family LAYERS_REDUCTION;
extern const layers_family LAYERS_SHAPE;

#endif
