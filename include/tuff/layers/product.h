/* Matrix products and the layers made of them. <tuff/layers.h> says what holds for all functions here. */
#ifndef TUFF_PUBLIC_PRODUCT_H
#define TUFF_PUBLIC_PRODUCT_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_matmul_desc {
    bool transpose_a, transpose_b; /* of the last two axes */
} tuff_matmul_desc;

/* torch.matmul of (..., M, K) and (..., K, N), batch axes broadcast. A vector (K) on either side is summed over: (...,
 * M, K) and (K) give (..., M), two vectors a scalar. */
TUFF_API tuff_tensor *tuff_matmul(tuff_tensor *a, tuff_tensor *b, const tuff_matmul_desc *desc);

/* torch.outer of vectors: (M) and (N) give (M, N). */
TUFF_API tuff_tensor *tuff_outer(tuff_tensor *a, tuff_tensor *b);

/* torch.einsum: a letter for each axis, "bhqd,bhkd->bhqk"; what the result does not name is summed over. "..." stands
 * for the other axes, which broadcast. Without "->" the result has the letters that occur once, in alphabetical order.
 * Several tensors are contracted from left to right. At most 127 characters; a letter must not occur twice in one
 * operand (a diagonal). */
TUFF_API tuff_tensor *tuff_einsum(const char *equation, tuff_tensor *const *tensors, uint32_t count);

typedef struct tuff_linear_desc {
    const char *name; /* required */
    int64_t features; /* out_features, required */
    bool no_bias;
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.Linear's */
    /* in place of parameters of its own, as torch.nn.functional.linear takes them (from tuff_weight_norm, or tied to
     * another layer's): bias may be missing, name and features need not be given */
    tuff_tensor *weight, *bias;
} tuff_linear_desc;

/* torch.nn.Linear over the last axis: (..., in) to (..., features), (in) to (features). NAME.weight is [features, in].
 */
TUFF_API tuff_tensor *tuff_linear(tuff_tensor *x, const tuff_linear_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
