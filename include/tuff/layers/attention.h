/* Attention. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_ATTENTION_H
#define TUFF_PUBLIC_ATTENTION_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_attention_desc {
    const char *name;   /* the stream of dropout's random numbers; NULL: from the graph's order */
    tuff_tensor *mask;  /* broadcasts to (..., Hq, L, S). float32: added to the scores; uint8: a key takes part where
                           it is not 0. NULL: none */
    float dropout;      /* of the weights, in [0, 1]; passes through in a program that evaluates */
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

typedef struct tuff_rotary_desc {
    float base;       /* 0: 10000 */
    int64_t offset;   /* added to every position */
    bool interleaved; /* pairs are features (2 i, 2 i + 1); otherwise (i, i + features / 2), as in GPT-NeoX and Llama */
    int64_t features; /* how many are rotated, an even number; those behind are copied. 0: all */
    bool reverse;     /* rotates back */
    bool cached;      /* the cache's length (tuff_program_set_cache_length) is added to every position */
} tuff_rotary_desc;

/* Rotary position embedding (Su et al. 2021, RoFormer): in each row of x (..., L, E) pair i of the features is turned
 * by position * base^(-2 i / features). positions: int32, its shape broadcasts to (..., L); NULL: 0 to L - 1. Angles
 * are exact for every position. PyTorch has no function for it. */
TUFF_API tuff_tensor *tuff_rotary(tuff_tensor *x, tuff_tensor *positions, const tuff_rotary_desc *desc);

typedef struct tuff_cached_attention_desc {
    const char *name;   /* required: NAME.key_cache is [N, Hkv, max_length, E], NAME.value_cache the same with Ev */
    int64_t max_length; /* rows that there is room for; required */
    tuff_tensor *mask;  /* as in tuff_attention_desc, broadcasts to (N, Hq, L, max_length); NULL: none */
    float scale;        /* 0: 1 / sqrt(E) */
    bool grouped_heads; /* as in tuff_attention_desc */
} tuff_cached_attention_desc;

/* Causal attention for generation: query (N, Hq, L, E), key (N, Hkv, L, E) and value (N, Hkv, L, Ev) are those of L new
 * tokens. Keys and values are written to the model's caches behind the rows that are there, in evaluation too, and
 * query i sees all of those and the new ones up to i. How many are there the host says before a run
 * (tuff_program_set_cache_length); nothing is compiled or recorded again. Files of the model hold no caches. No
 * gradient. */
TUFF_API tuff_tensor *tuff_cached_attention(tuff_tensor *query, tuff_tensor *key, tuff_tensor *value,
                                            const tuff_cached_attention_desc *desc);

typedef struct tuff_multihead_attention_desc {
    const char *name;        /* required */
    int64_t heads;           /* num_heads, required: divides the query's features */
    int64_t key_value_heads; /* fewer heads of key and value, each shared by neighbouring heads; 0: heads */
    bool no_bias;
    bool causal; /* query i sees keys 0 to i */
    /* attn_mask, broadcasts to (N, heads, L, S). float32: added to the scores; uint8: a key is not seen where it is not
     * 0, as in PyTorch's layer, whose function means the contrary. NULL: none */
    tuff_tensor *mask;
    tuff_tensor *key_padding_mask;  /* (N, S), types as mask's: keys that no query sees; NULL: none */
    float dropout;                  /* of the weights */
    const tuff_rotary_desc *rotary; /* turns query and key; NULL: not */
    tuff_tensor *positions;         /* of rotary; NULL: 0 to L - 1 */
    int64_t cache_length; /* max_length of tuff_cached_attention, which then takes the place of causal attention, and
                             whose rows are added to the positions; 0: no cache */
} tuff_multihead_attention_desc;

/* torch.nn.MultiheadAttention(batch_first=True): query (N, L, E), key (N, S, Ek), value (N, S, Ev) to (N, L, E), or
 * without N. key NULL: the query; value NULL: the key.
 *
 * NAME.in_proj_weight is [3 E, E] (with fewer heads of key and value [E + 2 E key_value_heads / heads, E]), or, where
 * Ek or Ev is not E, NAME.q_proj_weight, NAME.k_proj_weight and NAME.v_proj_weight; NAME.in_proj_bias [3 E],
 * NAME.out_proj.weight [E, E] and NAME.out_proj.bias [E]. Unlike PyTorch's there are no add_bias_kv, add_zero_attn or
 * the weights as a second result. */
TUFF_API tuff_tensor *tuff_multihead_attention(tuff_tensor *query, tuff_tensor *key, tuff_tensor *value,
                                               const tuff_multihead_attention_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
