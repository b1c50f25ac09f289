/* A recipe: a small graph in the reference's words, that can be evaluated, differentiated and disturbed.
 *
 * The tests make one from a line of tests/operators/cases.def or at random; tests/operators/build.h makes the same
 * graph of Tuff's operators. A recipe's leaves are filled from hashes, exact in float32, so that make.py and every
 * test see the same numbers without storing them. */
#ifndef TUFF_TESTS_RECIPE_H
#define TUFF_TESTS_RECIPE_H

#include "reference.h"

enum { RECIPE_INPUTS = 24, RECIPE_STEPS = 96, RECIPE_TEXT = 240 };

/* An operator's attributes as the table of cases has them, "stride=2,1 keepdim=true": PyTorch's names. Beside them
 * there may be training=true (what a program that trains does) and take=1 (which of several results is meant). */
typedef struct recipe_args {
    char text[RECIPE_TEXT];
    const uint8_t *keep; /* dropout's mask; NULL: passes through */
} recipe_args;

/* One attribute; the default where the text has none. A number is rounded to float32, as Tuff's are. */
double arg_number(const recipe_args *args, const char *name, double standard);
int64_t arg_int(const recipe_args *args, const char *name, int64_t standard);
bool arg_flag(const recipe_args *args, const char *name, bool standard);
bool arg_is(const recipe_args *args, const char *name, const char *word); /* "approximate=tanh" */
bool arg_given(const recipe_args *args, const char *name);
/* The numbers of a list and how many there are; 0: it is not given, or "none". */
int64_t arg_list(const recipe_args *args, const char *name, int64_t *values, int64_t most);
/* A list of `count`, for which one number may stand; `standard` for all if it is not given. */
void arg_sizes(const recipe_args *args, const char *name, int64_t *values, int64_t count, int64_t standard);
/* The same of numbers, which are not rounded. */
void arg_numbers(const recipe_args *args, const char *name, double *values, int64_t count, double standard);
/* A word, cut to fit; "" if it is not given. */
void arg_text(const recipe_args *args, const char *name, char *text, size_t size);
/* An axis that may count from the end. */
int arg_axis(const recipe_args *args, const char *name, int64_t standard, const ref *x);
/* A set of axes as bits, 0 (all) if it is not given. */
uint32_t arg_axes(const recipe_args *args, const char *name, const ref *x);

/* How a leaf is filled: all but ties and large are within (-1, 1) and distinct in a tensor of up to 65536 elements. */
typedef enum recipe_fill {
    FILL_ANY = 'a',
    FILL_POSITIVE = 'p', /* 0.25 to 2 */
    FILL_NONZERO = 'n',  /* the same, with either sign */
    FILL_INDEX = 'i',    /* 0 to below - 1 */
    FILL_TIES = 't',     /* multiples of 1/2 in [-1, 1]: many are equal, many are 0 */
    FILL_LARGE = 'l',    /* up to 60 */
    FILL_WIDE = 'w',     /* from 2^-26 to 2^6 */
    FILL_SHIFTED = 's',  /* 8 and a little */
    FILL_MEAN = 'm',     /* 10000 and up to 2 about it: not distinct, and exact in float32 */
    FILL_UNIT = 'u',     /* 0 to 1 */
    FILL_BOOL = 'b',     /* 0 or 1, float32 without a gradient */
    FILL_MASK = 'k',     /* 0 or 1: uint8 */
    FILL_BYTE = 'y',     /* 0 to 255: uint8 */
} recipe_fill;

typedef enum recipe_leaf {
    LEAF_NONE = 0, /* an operator's result */
    LEAF_INPUT,
    LEAF_PARAMETER,
    LEAF_BUFFER,
} recipe_leaf;

typedef struct recipe_operator {
    const char *name;
    const char *family; /* of kernels, for `tuff check` */
    ref *(*forward)(ref *const *in, const recipe_args *args);
    /* g[i] is NULL where in[i] needs no gradient. NULL: central differences of forward, which cost two of it for each
     * element and stand for a slope that is the same on both sides. */
    void (*gradient)(ref *const *in, const recipe_args *args, const ref *y, const ref *gy, ref *const *g);
    /* The smallest distance of an element from a kink (where the slope jumps); NULL: smooth. */
    double (*kink)(ref *const *in, const recipe_args *args, const ref *y);
    bool detach; /* it has no gradient */
} recipe_operator;

/* One file of tests/reference/rows each. */
typedef struct recipe_family {
    const recipe_operator *rows;
    int count;
} recipe_family;

int recipe_operator_count(void);
const recipe_operator *recipe_operator_at(int i);
const recipe_operator *recipe_find(const char *name); /* NULL: no such operator */

typedef struct recipe_step {
    const recipe_operator *op; /* NULL: a leaf */
    recipe_args args;
    int inputs[RECIPE_INPUTS]; /* steps; -1: none */
    int input_count;
    recipe_leaf leaf;
    recipe_fill fill;
    uint32_t seed; /* of a leaf's values */
    int64_t below; /* of a leaf's indices */
    char name[48];
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
                    int64_t below);
/* Applies an operator. Its value is there at once. */
int recipe_apply(recipe *r, const recipe_operator *op, const int *inputs, int input_count, const recipe_args *args,
                 const char *name);
/* sum(step * weights) with weights as another input. */
int recipe_loss(recipe *r, int step, uint32_t seed);

/* A case: operands "2x3x7 3:p - 4:i10 _", which are shapes ("-" is a scalar, "_" is an operand left out) with a fill
 * behind a colon (of indices with their bound), and attributes. false: the text is wrong, *message says where. */
bool recipe_case(recipe *r, const char *op, const char *operands, const char *attributes, const char **message);
uint32_t recipe_seed(const char *op, const char *operands, const char *attributes);
/* One word of the operands, up to a space: constant if a "!" says that its gradient is not asked for. */
bool recipe_operand(const char *word, tuff_shape *shape, recipe_fill *fill, int64_t *below, bool *constant);

/* Fills a leaf whose fill, seed, bound and shape are set. */
void recipe_fill_leaf(recipe_step *leaf);

/* Evaluates all operators again. With noise > 0 each result and each gradient is then disturbed by up to `noise` times
 * its float32 rounding error, so that two evaluations show how the graph carries rounding errors on. */
void recipe_forward(recipe *r, double noise, uint32_t noise_seed);
void recipe_backward(recipe *r, int of, double noise, uint32_t noise_seed);

/* The smallest distance from a kink, over all operators. */
double recipe_kink(const recipe *r);

/* A hash that depends on all bits of both. */
uint32_t recipe_hash(uint32_t a, uint32_t b);

#endif
