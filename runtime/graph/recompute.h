/* Recomputation: what a marked segment (tuff_checkpoint) computes inside is not kept for the backward pass but computed
 * a second time there (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
 *
 * A segment is a number: that of the `checkpoint` node which passes its output on, and of all nodes between its inputs
 * and that output (node.checkpoint), through all copies, expansions included. */
#ifndef TUFF_RUNTIME_RECOMPUTE_H
#define TUFF_RUNTIME_RECOMPUTE_H

#include "runtime/graph/operator.h"

/* Rows of layers/checkpoint.c. The first two pass a value on and say where in the graph that is; this step takes them
 * out. Their attribute 0 is the segment. */
extern const operator operator_checkpoint;         /* the segment's output */
extern const operator operator_checkpoint_arrival; /* the output's gradient, whole */
/* Input 0, to be read only once input 1 is there: without it what needs nothing but values of the forward pass would
 * run at its end already, and lie there until it is needed. */
extern const operator operator_recall;

bool graph_has_checkpoints(const tuff_graph *graph);

/* Copies a differentiated graph, without its checkpoint nodes. Where a segment's output has a gradient, what stands
 * behind that gradient's arrival reads second copies of the values inside the segment. targets as in graph_rewrite. */
tuff_result graph_recompute(const tuff_graph *from, tuff_tensor **targets, uint32_t target_count, tuff_graph **out);

#endif
