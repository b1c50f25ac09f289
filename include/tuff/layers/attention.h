/* Attention. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_ATTENTION_H
#define TUFF_PUBLIC_ATTENTION_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_attention_desc {
    const char *name;   /* the stream of dropout's random numbers; NULL: from the graph's order */
    tuff_tensor *mask;  /* added to the scores; its shape broadcasts to (..., Hq, L, S). NULL: none */
    float dropout;      /* of the weights, in [0, 1); passes through in a program that evaluates */
    bool causal;        /* query i sees keys 0 to i */
    float scale;        /* 0: 1 / sqrt(E) */
    bool grouped_heads; /* PyTorch's enable_gqa: Hq is a multiple of Hkv, neighbouring heads share a key's */
} tuff_attention_desc;

/* torch.nn.functional.scaled_dot_product_attention: query (..., Hq, L, E), key (..., Hkv, S, E), value
 * (..., Hkv, S, Ev) to (..., Hq, L, Ev); E and Ev at most 256. Memory grows with L and S, not with their product.
 *
 * A query that sees no key gives 0 (PyTorch from 2.5 on does so too, before it gave NaN). Scores of -3e38 and below
 * count as minus infinity. Unlike PyTorch's, a mask and causal may stand together. */
TUFF_API tuff_tensor *tuff_scaled_dot_product_attention(tuff_tensor *query, tuff_tensor *key, tuff_tensor *value,
                                                        const tuff_attention_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
