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

/* torch.matmul of (..., M, K) and (..., K, N), batch axes broadcast; rank 2 or more. */
TUFF_API tuff_tensor *tuff_matmul(tuff_tensor *a, tuff_tensor *b, const tuff_matmul_desc *desc);

typedef struct tuff_linear_desc {
    const char *name; /* required */
    int64_t features; /* out_features, required */
    bool no_bias;
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.Linear's */
} tuff_linear_desc;

/* torch.nn.Linear over the last axis: (..., in) to (..., features). NAME.weight is [features, in]. */
TUFF_API tuff_tensor *tuff_linear(tuff_tensor *x, const tuff_linear_desc *desc);

#ifdef __cplusplus
}
#endif
#endif
