/* Graphs: tensors and the nodes (operators applied) between them. A description: no GPU work.
 *
 * The compiler's steps make new graphs from old ones (graph_copy) or append to one (differentiate). What the
 * public functions of <tuff/layers.h> build is the same structure. */
#ifndef TUFF_RUNTIME_GRAPH_H
#define TUFF_RUNTIME_GRAPH_H

#include "runtime/error.h"
#include <tuff/tuff.h>

typedef struct operator operator;       /* a row of the table: runtime/graph/operator.h */
typedef struct state_entry state_entry; /* runtime/model/model.h */
typedef struct node node;

enum { MAX_ATTRIBUTES = 12, MAX_INPUTS = 24, MAX_OUTPUTS = 16, MAX_LIST = 16 };

typedef enum tensor_kind {
    TENSOR_NODE = 0, /* a node's output */
    TENSOR_INPUT,    /* written by the host */
    TENSOR_STATE,    /* a model's state, as it was before the step */
} tensor_kind;

struct tuff_tensor {
    tuff_graph *graph;
    uint32_t id;     /* index in graph->tensors */
    uint32_t origin; /* id in the graph that the user built, through all copies; UINT32_MAX if made later */
    char *name;      /* never NULL */
    tensor_kind kind;
    tuff_type type;
    tuff_shape shape;
    node *producer;     /* TENSOR_NODE */
    uint32_t output;    /* which of the producer's */
    state_entry *state; /* TENSOR_STATE */
};

typedef struct attribute_value {
    int64_t i; /* INT, BOOL, CHOICE */
    double f;  /* FLOAT */
    union {
        int64_t list[MAX_LIST];                /* INTS; i is the length */
        double numbers[MAX_LIST];              /* FLOATS; i is the length */
        char text[MAX_LIST * sizeof(int64_t)]; /* STRING, with its end; the rest is zero */
    };
} attribute_value;

struct node {
    const operator* op;
    uint32_t id;        /* index in graph->nodes: a topological order */
    char *label;        /* of messages, dumps and captures: "conv1", "relu_3", "grad conv1"; never NULL */
    uint32_t name_hash; /* of the name in the user's graph: the stream of random operators */
    attribute_value attributes[MAX_ATTRIBUTES];
    tuff_tensor *inputs[MAX_INPUTS];
    uint32_t input_count;
    tuff_tensor *outputs[MAX_OUTPUTS];
    uint32_t output_count;
    bool backward;       /* made by differentiate */
    uint32_t checkpoint; /* the segment that it belongs to (runtime/graph/recompute.h); 0: none */
    tuff_shape domain;   /* with a prologue: the shape that it runs over; a pointwise chain's: the output's */
    /* After fusion (runtime/graph/chain.h): */
    struct chain *prologue; /* what this node does to inputs before it reduces them */
    struct chain *chain;    /* the pointwise chain that this node runs, or its epilogue */
};

/* value is stored to state after the last reader; state is a TENSOR_STATE. */
typedef struct assignment {
    tuff_tensor *state;
    tuff_tensor *value;
} assignment;

struct tuff_graph {
    tuff_model *model;
    tuff_tensor **tensors;
    uint32_t tensor_count, tensor_capacity;
    node **nodes;
    uint32_t node_count, node_capacity;
    assignment *assignments;
    uint32_t assignment_count, assignment_capacity;
    const char *scope; /* label prefix while a gradient or an expansion is being built, NULL otherwise */
    bool in_backward;
    uint32_t checkpoint;       /* of nodes that are added, as in_backward */
    uint32_t checkpoint_count; /* segments marked so far */
    uint32_t unnumbered;       /* nodes that automatic labels do not count: marking a segment changes no later name */
    tuff_result result;        /* the first error; sticky */
    char message[1024];
};

/* Applies an operator: checks inputs and attributes, infers the outputs, appends the node. inputs may hold NULL
 * after an error (then NULL is returned) or for optional inputs. attributes may be NULL (defaults).
 * Returns the first output. label may be NULL. */
tuff_tensor *graph_apply(tuff_graph *graph, const operator* op, tuff_tensor *const *inputs, uint32_t input_count,
                         const attribute_value *attributes, const char *label);

tuff_tensor *graph_add_state(tuff_graph *graph, state_entry *state);

/* Keeps the first error of a graph, and sets the thread's message. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
tuff_result
graph_fail(tuff_graph *graph, tuff_result result, const char *format, ...);

/* Reverse mode: appends to the graph the gradients of the scalar `of`. gradients[i] is NULL where no path leads
 * there (the caller decides whether that is an error). */
tuff_result graph_differentiate(tuff_graph *graph, tuff_tensor *of, tuff_tensor *const *with_respect_to, uint32_t count,
                                tuff_tensor **gradients);

tuff_graph *graph_new(tuff_model *model);
void graph_free(tuff_graph *graph);

/* The parts of graph_apply for steps that know what they do: nothing is checked or inferred. NULL and a sticky error
 * without host memory. */
tuff_tensor *graph_add_tensor(tuff_graph *graph, tensor_kind kind, tuff_type type, const tuff_shape *shape,
                              const char *name);
node *graph_add_node(tuff_graph *graph, const operator* op, const char *label);
/* An input or a state of another graph, as it is there. */
tuff_tensor *graph_copy_leaf(tuff_graph *graph, const tuff_tensor *leaf);
/* A chain's copy for a node; none of NULL. */
tuff_result graph_copy_chain(tuff_graph *graph, const struct chain *from, struct chain **to);
/* A node of another graph, with outputs of its own, but other inputs (as many) and label. */
node *graph_copy_node(tuff_graph *graph, const node *from, tuff_tensor *const inputs[MAX_INPUTS], const char *label);
tuff_result graph_add_assignment(tuff_graph *graph, tuff_tensor *state, tuff_tensor *value);

enum { TUFF_TYPES = TUFF_U8 + 1 };
const char *type_text(tuff_type type); /* "float32" */

/* "[64, 1, 28, 28]" into text; returns text. */
enum { SHAPE_TEXT = 128 };
char *shape_text(const tuff_shape *shape, char text[SHAPE_TEXT]);
bool shape_equal(const tuff_shape *a, const tuff_shape *b);
/* NumPy's rule; false if they do not fit. */
bool shape_broadcast(const tuff_shape *a, const tuff_shape *b, tuff_shape *out);

#endif
