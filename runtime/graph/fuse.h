/* Fusion: chains of pointwise operators become one node; a chain goes into the product or the reduction before it, or
 * into the reduction after it. */
#ifndef TUFF_RUNTIME_FUSE_H
#define TUFF_RUNTIME_FUSE_H

#include "runtime/graph/operator.h"

/* The node of a fused chain (layers/pointwise.c). */
extern const operator operator_chain;

/* The chain of a single pointwise node. */
bool chain_of_node(const node *node, struct chain *chain);

/* A producer's chain and its consumer's become one. Consumer inputs that are producer outputs become internal;
 * merged->outputs are the consumer's followed by the producer's. False where a limit of chain_ops.h is exceeded. */
bool chain_merge(const struct chain *producer, tuff_tensor *const *producer_inputs,
                 tuff_tensor *const *producer_outputs, const struct chain *consumer,
                 tuff_tensor *const *consumer_inputs, struct chain *merged, tuff_tensor **merged_inputs,
                 uint32_t *merged_input_count);

/* The moves of fuse.c, bits of a set; without any every pointwise operator stays a chain of its own. */
enum { FUSE_EPILOGUE = 1, FUSE_CHAIN = 2, FUSE_PROLOGUE = 4, FUSE_BEHIND = 8, FUSE_ALL = 15 };

/* Takes a graph without composites and makes the fused one by the moves of a set. targets as in graph_rewrite. */
tuff_result graph_fuse(const tuff_graph *from, uint32_t moves, tuff_tensor **targets, uint32_t target_count,
                       tuff_graph **out);

#endif
