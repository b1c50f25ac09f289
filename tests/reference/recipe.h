/* A recipe: a small graph in the reference's words, that can be evaluated, differentiated and disturbed.
 *
 * The tests make one from a line of tests/operators/cases.def or at random; tests/operators/build.h makes the same
 * graph of Tuff's operators. A recipe's leaves are filled from hashes, exact in float32, so that make.py and every
 * test see the same numbers without storing them. */
#ifndef TUFF_TESTS_RECIPE_H
#define TUFF_TESTS_RECIPE_H

#include "reference.h"

enum { RECIPE_INPUTS = 5, RECIPE_STEPS = 96 };

/* The attributes of all operators; zero is each one's default. */
typedef struct recipe_args {
    ref_window window; /* stride and dilation 0: 1, for pooling stride 0: the kernel's */
    int64_t channels, groups, features, count;
    int64_t axes[TUFF_MAX_RANK];
    int64_t axis_count; /* 0: all */
    int64_t axis, axis0, axis1;
    tuff_shape shape;
    double factor, offset, slope, p, epsilon, momentum;
    bool keepdim, transpose_a, transpose_b, no_bias, no_affine, exclude_padding, approximate_tanh, evaluate;
    int64_t reduction;   /* ref_loss_reduction */
    const uint8_t *keep; /* dropout's mask; NULL: passes through */
    char values;         /* how all float inputs are filled: a fill, 0: as the operator wants it */
} recipe_args;

/* How a leaf is filled: all but ties and large are within (-1, 1) and distinct in a tensor of up to 65536 elements. */
typedef enum recipe_fill {
    FILL_ANY = 'a',
    FILL_POSITIVE = 'p', /* 0.25 to 2 */
    FILL_NONZERO = 'n',  /* the same, with either sign */
    FILL_INDEX = 'i',    /* 0 to args.count - 1 */
    FILL_TIES = 't',     /* multiples of 1/2 in [-1, 1]: many are equal, many are 0 */
    FILL_LARGE = 'l',    /* up to 60 */
    FILL_WIDE = 'w',     /* from 2^-26 to 2^6 */
    FILL_SHIFTED = 's',  /* 8 and a little */
} recipe_fill;

typedef enum recipe_leaf {
    LEAF_NONE = 0, /* an operator's result */
    LEAF_INPUT,
    LEAF_PARAMETER,
    LEAF_BUFFER,
} recipe_leaf;

typedef struct recipe_operator {
    const char *name;
    const char *family;     /* of kernels, for `tuff check` */
    const char *fills;      /* of the operands, a recipe_fill each; their number is the operator's */
    const char *parameters; /* names of what the layer makes, a word each; a buffer's begins with "running" */
    /* The shape of parameter `which`; rank UINT32_MAX if this layer goes without it. */
    tuff_shape (*parameter)(const recipe_args *args, const ref *x, int which);
    ref *(*forward)(ref *const *in, const recipe_args *args);
    /* NULL: a detach. g[i] is NULL where in[i] needs no gradient. */
    void (*gradient)(ref *const *in, const recipe_args *args, const ref *y, const ref *gy, ref *const *g);
    /* The smallest distance of an element from a kink (where the slope jumps); NULL: smooth. */
    double (*kink)(ref *const *in, const recipe_args *args, const ref *y);
} recipe_operator;

extern const recipe_operator RECIPE_OPERATORS[];
extern const int RECIPE_OPERATOR_COUNT;
const recipe_operator *recipe_find(const char *name); /* NULL: no such operator */

typedef struct recipe_step {
    const recipe_operator *op; /* NULL: a leaf */
    recipe_args args;
    int inputs[RECIPE_INPUTS]; /* steps; -1: none */
    int input_count;
    recipe_leaf leaf;
    recipe_fill fill;
    uint32_t seed; /* of a leaf's values */
    char name[48]; /* a leaf's, or the layer's (15 characters of it stand in its parameters' names) */
    ref *value;
    ref *grad;     /* after recipe_backward; NULL: none reaches it */
    uint8_t *mask; /* what args.keep points to, if the recipe owns it */
} recipe_step;

typedef struct recipe {
    recipe_step steps[RECIPE_STEPS];
    int count;
    int output, loss; /* of a case: the operator's result, and sum(result * weights) */
} recipe;

void recipe_clear(recipe *r);

int recipe_add_leaf(recipe *r, recipe_leaf leaf, const char *name, tuff_shape shape, recipe_fill fill, uint32_t seed,
                    int64_t index_count);
/* Applies an operator; parameters become leaves named after `name`. Its value is there at once. */
int recipe_apply(recipe *r, const recipe_operator *op, const int *inputs, const recipe_args *args, const char *name,
                 uint32_t seed);
/* sum(step * weights) with weights as another input. */
int recipe_loss(recipe *r, int step, uint32_t seed);

/* A case: operands' shapes "2x3x7 3" ("-" is a scalar), attributes "channels=4 kernel=3x3 no_bias". false: the
 * text is wrong, *message says where. */
bool recipe_case(recipe *r, const char *op, const char *shapes, const char *attributes, const char **message);
uint32_t recipe_seed(const char *op, const char *shapes, const char *attributes);

void recipe_fill_leaf(recipe_step *leaf, int64_t index_count);

/* Evaluates all operators again. With noise > 0 each result and each gradient is then disturbed by up to `noise` times
 * its float32 rounding error, so that two evaluations show how the graph carries rounding errors on. */
void recipe_forward(recipe *r, double noise, uint32_t noise_seed);
void recipe_backward(recipe *r, int of, double noise, uint32_t noise_seed);

/* The smallest distance from a kink, over all operators. */
double recipe_kink(const recipe *r);

/* A hash that depends on all bits of both. */
uint32_t recipe_hash(uint32_t a, uint32_t b);

#endif
