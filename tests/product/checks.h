/* What a product is checked with: one program with many outputs, each with what it should be. */
#ifndef TUFF_TESTS_PRODUCT_CHECKS_H
#define TUFF_TESTS_PRODUCT_CHECKS_H

#include "support.h"
#include "tests/reference/reference.h"
#include <tuff/layers.h>

#define OK(call) check_ok(call, #call)
void check_ok(tuff_result result, const char *call);

/* In place of what is forced: each class of shapes gets the variant that wins. */
#define TUNED "measured"

enum { MAX_CHECKS = 64, MAX_LEAVES = 160 };

typedef struct bench_of_checks {
    tuff_device *device;
    tuff_model *model;
    tuff_graph *graph;
    tuff_tensor *outputs[MAX_CHECKS];
    ref *expected[MAX_CHECKS];
    char names[MAX_CHECKS][160];
    uint32_t count;
    tuff_tensor *leaves[MAX_LEAVES];
    ref *values[MAX_LEAVES];
    uint32_t leaf_count;
} checks;

/* Opens the device, with what is forced, and the graph. What is not forced goes by the rules, unless it is TUNED. */
void checks_begin(checks *c, const char *force);
/* An input of the graph; takes `value` over. */
tuff_tensor *checks_leaf(checks *c, ref *value);
/* An output, and what it should be, which it takes over. */
void checks_expect(checks *c, tuff_tensor *output, ref *expected, const char *name);
/* Compiles, runs, compares, and closes all. */
void checks_finish(checks *c, const char *force);

/* Numbers in [-1, 1), exact in float32; and any as float32. */
ref *checks_filled(tuff_shape shape, uint32_t seed);
float *checks_floats(const ref *x);
/* Its error is measured against the sum's terms, not against what is left of them. */
ref *checks_clipped(const ref *x, double slope);

/* A convolution: y, and the gradients of sum(y r). */
typedef struct conv_case {
    tuff_shape x, weight;
    ref_convolution c;
    bool last; /* x lies channels-last */
} conv_case;
/* x as the graph sees it, whichever way it lies in memory; takes it over. */
tuff_tensor *checks_image(checks *c, ref *x, bool last);
tuff_tensor *checks_apply_conv(tuff_tensor *x, tuff_tensor *w, tuff_tensor *b, const ref_convolution *c);
void checks_conv(checks *c, const conv_case *s, uint32_t index);

#endif
