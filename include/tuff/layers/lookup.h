/* Lookup: rows of tables, elements by their indices. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_LOOKUP_H
#define TUFF_PUBLIC_LOOKUP_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_embedding_desc {
    const char *name;           /* required: NAME.weight is [count, features] */
    int64_t count;              /* num_embeddings, required */
    int64_t features;           /* embedding_dim, required */
    tuff_init_desc weight_init; /* default: normal, deviation 1 */
} tuff_embedding_desc;

/* torch.nn.Embedding: int32 (...) to (..., features). An index out of range gives a row of NaN. */
TUFF_API tuff_tensor *tuff_embedding(tuff_tensor *index, const tuff_embedding_desc *desc);
/* The same with a given float table (count, features). torch.nn.functional.embedding. */
TUFF_API tuff_tensor *tuff_embedding_lookup(tuff_tensor *index, tuff_tensor *table);

/* torch.nn.functional.one_hot, as float32 (PyTorch's is int64): int32 (...) to (..., num_classes). Zeros for an index out
 * of range. No gradient. */
TUFF_API tuff_tensor *tuff_one_hot(tuff_tensor *index, int64_t num_classes);

#ifdef __cplusplus
}
#endif
#endif
