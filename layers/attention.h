/* What attention's rows (attention.c) and the lowering of their kernels (attention_call.c) share. */
#ifndef TUFF_LAYERS_ATTENTION_H
#define TUFF_LAYERS_ATTENTION_H

#include "runtime/program/lowering.h"

/* Attributes of all of attention's rows, in this order; the public row has the first four. */
enum { ATTENTION_DROPOUT, ATTENTION_CAUSAL, ATTENTION_SCALE, ATTENTION_GQA, ATTENTION_CACHED, ATTENTION_NEEDS };

/* Inputs of the kernels; the forward pass has the first four. */
enum {
    ATTENTION_QUERY,
    ATTENTION_KEY,
    ATTENTION_VALUE,
    ATTENTION_MASK,
    ATTENTION_GRADIENT,   /* of the output */
    ATTENTION_STATISTICS, /* of the rows: shaders/attention/statistics.comp */
};

enum { ATTENTION_MOST_FEATURES = 256, ATTENTION_MOST_HEADS = 65535 };

/* A mask of truth values as one to add: minus infinity where a key is not seen. They say which are seen, or which are
 * not. One that is added stays itself. */
tuff_tensor *mask_as_scores(tuff_tensor *mask, bool seen);

/* Causal attention of new queries to a cache whose last rows are theirs. */
tuff_tensor *attention_over_cache(tuff_tensor *query, tuff_tensor *key, tuff_tensor *value, tuff_tensor *mask,
                                  double scale, bool grouped);

tuff_result attention_lower(lowering *lowering, const node *node);            /* outputs: output, logsumexp */
tuff_result attention_lower_statistics(lowering *lowering, const node *node); /* inputs: gradient, output, logsumexp,
                                                                                 logsumexp's gradient or NULL */
tuff_result attention_lower_query(lowering *lowering, const node *node);      /* output: the query's gradient */
tuff_result attention_lower_key_value(lowering *lowering, const node *node);  /* outputs: the key's, the value's */
tuff_result attention_lower_mask(lowering *lowering, const node *node);       /* output: the mask's */

#endif
