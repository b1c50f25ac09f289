/* Lookup: rows of tables, elements by their indices. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_LOOKUP_H
#define TUFF_PUBLIC_LOOKUP_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Indices are int32. One that is out of range reads and writes nowhere: what looks up gives NaN (of int32 the smallest
 * number, of uint8 0), what adds leaves it out. Sums by index (scatter_add, index_add, the gradients of embedding,
 * gather and index_select) have the same bits each time. They add one after the other in float32, as PyTorch's do
 * (GPUs, where the list is long, with the roundings kept), so a row to which n are added may be off by n units in the
 * last place of its largest partial sum. */

typedef struct tuff_embedding_desc {
    const char *name;           /* NAME.weight is [count, features]; required without weight */
    int64_t count;              /* num_embeddings, required without weight */
    int64_t features;           /* embedding_dim, required without weight */
    tuff_init_desc weight_init; /* default: normal, deviation 1 */
    tuff_tensor *weight;        /* float32 [count, features] in place of a parameter of its own; may be NULL */
    int64_t padding_idx;        /* if has_padding_idx: this row gets no gradient; negative: from the end */
    bool has_padding_idx;
} tuff_embedding_desc;

/* torch.nn.Embedding, and with desc.weight torch.nn.functional.embedding: int32 (...) to (..., features). Unlike
 * torch.nn.Embedding's, the row padding_idx does not begin as zeros. */
TUFF_API tuff_tensor *tuff_embedding(tuff_tensor *index, const tuff_embedding_desc *desc);

/* torch.gather: y[i][j][k] = x[index[i][j][k]][j][k] for dim 0, and so on. index has x's rank; along other axes it may
 * be smaller. y has its shape. x of any type. */
TUFF_API tuff_tensor *tuff_gather(tuff_tensor *x, int32_t dim, tuff_tensor *index);
/* torch.index_select: x at the indices of a list, along dim. x of any type; index has one axis (PyTorch takes a single
 * index without axes as well). */
TUFF_API tuff_tensor *tuff_index_select(tuff_tensor *x, int32_t dim, tuff_tensor *index);
/* torch.scatter_add: x, and src[i][j][k] added at [index[i][j][k]][j][k] for dim 0, and so on. src and index have one
 * shape, along other axes than dim no larger than x's. */
TUFF_API tuff_tensor *tuff_scatter_add(tuff_tensor *x, int32_t dim, tuff_tensor *index, tuff_tensor *src);
/* torch.index_add: x, and alpha times what source has along dim added at the indices of a list. */
TUFF_API tuff_tensor *tuff_index_add(tuff_tensor *x, int32_t dim, tuff_tensor *index, tuff_tensor *source, float alpha);

/* torch.nn.functional.one_hot, as float32 (PyTorch's is int64): int32 (...) to (..., num_classes). Zeros for an index
 * out of range. No gradient. */
TUFF_API tuff_tensor *tuff_one_hot(tuff_tensor *index, int64_t num_classes);

#ifdef __cplusplus
}
#endif
#endif
