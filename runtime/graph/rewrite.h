/* Steps that make a new graph from an old one. */
#ifndef TUFF_RUNTIME_REWRITE_H
#define TUFF_RUNTIME_REWRITE_H

#include "runtime/graph/operator.h"

typedef struct rewrite_options {
    const tuff_input_size *input_sizes; /* other sizes for inputs; tensors of the user's graph */
    uint32_t input_size_count;
    bool training;    /* false: assignments are left out and composites expand for evaluation */
    bool expand_all;  /* expand every composite; false: only those without a gradient of their own */
    bool merge_equal; /* nodes that compute the same become one */
} rewrite_options;

/* Copies what `targets` (and, in training, the assignments) need. targets[i] is replaced by its copy; NULL stays NULL.
 */
tuff_result graph_rewrite(const tuff_graph *from, const rewrite_options *options, tuff_tensor **targets,
                          uint32_t target_count, tuff_graph **out);

/* Text and Graphviz of a graph, for dumps. */
#include <stdio.h>
void graph_dump_text(const tuff_graph *graph, FILE *file);
void graph_dump_dot(const tuff_graph *graph, const char *name, FILE *file);

#endif
