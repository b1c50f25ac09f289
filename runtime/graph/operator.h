/* An operator is one row: a name, inputs, attributes, and what it means to the compiler's steps.
 *
 * The rows stand in layers/, one file for each family; the runtime knows operators only through this
 * interface. A row is one of three sorts:
 *
 * - pointwise: `chain_op` names a step of the pointwise chain (shaders/common/chain_ops.h); there is no lower.
 *   Its operands are the inputs in order, then the FLOAT attributes in order as constants.
 * - composite: `expand` builds it from other operators, after differentiation; there is no lower.
 * - kernel: `lower` asks for kernels.
 *
 * `gradient` may be missing for a composite (its parts are differentiated, so it must expand alike in training and in
 * evaluation) and where OPERATOR_DETACH is set. */
#ifndef TUFF_RUNTIME_OPERATOR_H
#define TUFF_RUNTIME_OPERATOR_H

#include "runtime/graph/graph.h"

typedef struct lowering lowering; /* runtime/program/lowering.h */

typedef enum attribute_type {
    ATTRIBUTE_INT = 0,
    ATTRIBUTE_FLOAT,
    ATTRIBUTE_BOOL,
    ATTRIBUTE_INTS,
    ATTRIBUTE_CHOICE, /* one of some words; value.i counts them */
    ATTRIBUTE_FLOATS,
    ATTRIBUTE_STRING,
} attribute_type;

/* PyTorch's None, where an INT may be that. */
#define ATTRIBUTE_NONE INT64_MIN

typedef struct attribute {
    const char *name; /* PyTorch's */
    attribute_type type;
    attribute_value value; /* the default */
    const char *choices;   /* CHOICE: the words, "mean|sum|none". INTS: words that may stand in place of the numbers;
                              value.i is then -1 for the first, -2 for the second, ... */
    const char *like;      /* INTS: the attribute whose value is the default */
    uint32_t length;       /* INTS, FLOATS: how many, and one number stands for all of them; 0: any number */
    bool required;         /* there is no default */
} attribute;

/* What infer fills in: its node has op, attributes and inputs set. */
typedef struct inference {
    tuff_graph *graph; /* for graph_fail */
    const node *node;
    uint32_t output_count; /* preset to 1 */
    tuff_shape shapes[MAX_OUTPUTS];
    tuff_type types[MAX_OUTPUTS]; /* preset to TUFF_F32 */
} inference;

/* How a kernel wants an input to lie, or leaves an output. The layout step copies where it must. */
typedef enum layout {
    LAYOUT_ANY = 0,       /* input: any strides. output: as the step likes (follows the largest input) */
    LAYOUT_ROW_MAJOR,     /* contiguous, last axis fastest */
    LAYOUT_CHANNELS_LAST, /* (N, C, ...) contiguous in the order N, ..., C: images of one to three axes */
    LAYOUT_MATRIX,        /* one of the last two axes has stride 1; the others are free */
    LAYOUT_KERNEL_LAST, /* (O, I, ...) contiguous in the order ..., I, O: convolution's weights, of one to three axes */
} layout;

/* Where a tensor lies: strides in elements for each logical axis. */
typedef struct view {
    uint32_t storage; /* in lowered.storages */
    uint64_t offset;  /* elements from the storage's start */
    tuff_type type;
    tuff_shape shape;
    int64_t strides[TUFF_MAX_RANK];
} view;

enum {
    OPERATOR_DETACH = 1,     /* does not change with its inputs (a comparison): a path ends here. Not for what has a
                                gradient that is not written: such a path is refused */
    OPERATOR_PROLOGUE = 2,   /* a reduction: its only input may be replaced by a chain, run over node->domain */
    OPERATOR_BROADCAST = 4,  /* the output is the input, broadcast as NumPy does: chains look through it */
    OPERATOR_INTERNAL = 8,   /* made by gradients and expansions alone: not for users to name */
    OPERATOR_TRAINING = 16,  /* does something else in a program that trains than in one that evaluates */
    OPERATOR_FOLLOWS = 32,   /* the result lies channels-last where an input does; its kernels write either order */
    OPERATOR_RANDOM = 64,    /* takes random numbers from the stream of the node's name_hash: equal only with it */
    OPERATOR_IN_PLACE = 128, /* the result lies where input 0, a state, lies: the kernel writes a part of it at once,
                                in evaluation too. Who reads the state itself sees one or the other */
    OPERATOR_REPEATS = 512,  /* a prologue is computed several times: none that costs more than its loads */
    /* an epilogue saves nothing but a dispatch: it takes what follows as a whole chain */
    OPERATOR_WHOLE_EPILOGUE = 256,
};

/* Types that an input may have, as bits; 0: float32. */
enum { TYPE_F32 = 1u << TUFF_F32, TYPE_I32 = 1u << TUFF_I32, TYPE_U8 = 1u << TUFF_U8, TYPE_ANY = 0xff };

struct operator{
    const char *name;    /* "conv2d" */
    const char *formula; /* one line for the documentation */
    const char
        *inputs[MAX_INPUTS];    /* PyTorch's names; optional ones end in '?', the last in '*' if there may be many */
    uint32_t types[MAX_INPUTS]; /* which types each input may have; 0: float32; of many, the last one's */
    const char *outputs[MAX_OUTPUTS]; /* names, where there are several: PyTorch's */
    const char *pytorch;              /* the function whose names, defaults and results these are */
    const char *limits;               /* what PyTorch's can and this cannot; NULL: nothing known */
    const attribute *attributes;
    uint32_t attribute_count;
    uint32_t flags;
    uint32_t shape_only; /* bit i: of input i only the shape matters; it is never read */

    uint32_t chain_op;     /* pointwise: a CHAIN_ code; 0 otherwise */
    uint32_t chain_op_i32; /* the step where the inputs, of one type, are int32; 0: the same step */

    /* Of the inputs of an operator that takes many: input i's name, for files; NULL: "NAME.i". */
    void (*input_name)(uint32_t i, const attribute_value *attributes, char text[64]);

    /* Outputs' shapes and types, or graph_fail(g, TUFF_ERROR_SHAPE, ...) naming operator, tensors, shapes. Missing
     * for a pointwise row: its inputs broadcast to one float output. */
    tuff_result (*infer)(inference * inference);

    /* grad_outputs[i] may be NULL (no gradient arrives). Sets grad_inputs[i] to tensors of the inputs' shapes built in
     * node->outputs[0]->graph, or leaves NULL. needs bit i: somebody wants grad_inputs[i]. */
    tuff_result (*gradient)(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                            tuff_tensor **grad_inputs);

    /* Builds the outputs from inputs (which stand in graph) by other operators. training: dropout drops. */
    tuff_result (*expand)(tuff_graph * graph, const node *node, tuff_tensor *const *inputs, bool training,
                          tuff_tensor **outputs);

    layout input_layouts[MAX_INPUTS];
    layout output_layout;
    /* For operators that only look at their input differently: the output's view, or false if the input's strides
     * do not allow it (the step then copies the input to row-major and asks again). Such a row has no lower. */
    bool (*look)(const node *node, const view *input, view *output);

    tuff_result (*lower)(lowering * lowering, const node *node);

    /* Whether the row's kernels can run this chain on their first result (chain.h says whose its inputs are). */
    bool (*accepts_epilogue)(const node *node, const struct chain *chain, tuff_tensor *const *extra_inputs,
                             uint32_t extra_count);
};

/* Whether a node reads input i, or looks at its shape alone. */
static inline bool node_reads(const node *node, uint32_t i) {
    return node->inputs[i] && (node->prologue || !(node->op->shape_only >> i & 1)); /* its inputs are the chain's */
}

/* What input i of an operator is called, without '?' or '*'. attributes may be NULL. */
void operator_input_name(const operator* op, uint32_t i, const attribute_value *attributes, char text[64]);
/* How many inputs it names, whether input i may be missing, and whether the last name stands for many. */
uint32_t operator_input_count(const operator* op);
bool operator_input_optional(const operator* op, uint32_t i);
bool operator_takes_many(const operator* op);

/* Attribute access by name is for messages; rows use their own enumerators as indices. */
/* The infer of pointwise rows, for those that go on from there: shapes broadcast. Where there is a step for int32, the
 * inputs must be of one type, which the output has, too. */
tuff_result infer_pointwise(inference *inference);
/* An error unless all inputs are of one type. */
tuff_result check_one_type(inference *inference);

static inline tuff_graph *node_graph(const node *node) {
    return node->outputs[0]->graph;
}

/* All rows, for `tuff op`, documentation and tests; each family's file exports its array (layers/table.c). */
const operator* const * operator_table(uint32_t *count);
/* The row of a name, an internal one too; NULL: there is none. */
const operator* operator_find(const char *name);

/* "conv2d 'conv1': " into text, for messages. */
const char *node_text(const node *node, char text[160]);

#endif
