/* Pointwise operators and activations; two operands broadcast as NumPy's do. <tuff/layers.h> says what holds for all
 * functions here. */
#ifndef TUFF_PUBLIC_POINTWISE_H
#define TUFF_PUBLIC_POINTWISE_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

TUFF_API tuff_tensor *tuff_add(tuff_tensor *a, tuff_tensor *b);               /* torch.add */
TUFF_API tuff_tensor *tuff_sub(tuff_tensor *a, tuff_tensor *b);               /* torch.sub */
TUFF_API tuff_tensor *tuff_mul(tuff_tensor *a, tuff_tensor *b);               /* torch.mul */
TUFF_API tuff_tensor *tuff_div(tuff_tensor *a, tuff_tensor *b);               /* torch.div */
TUFF_API tuff_tensor *tuff_scale(tuff_tensor *x, float factor, float offset); /* x * factor + offset */

/* A tie shares the gradient half and half; NaN where either is one. */
TUFF_API tuff_tensor *tuff_maximum(tuff_tensor *a, tuff_tensor *b); /* torch.maximum */
TUFF_API tuff_tensor *tuff_minimum(tuff_tensor *a, tuff_tensor *b); /* torch.minimum */

/* torch.pow with a tensor and with a number as exponent. Below zero the exponent must be an integer, else NaN; 0^0
 * is 1.
 */
TUFF_API tuff_tensor *tuff_pow(tuff_tensor *x, tuff_tensor *exponent);
TUFF_API tuff_tensor *tuff_pow_scalar(tuff_tensor *x, float exponent);

/* torch.clamp: min(max(x, min), max); -INFINITY and INFINITY for PyTorch's None. NaN stays; the gradient passes where
 * min <= x <= max. */
TUFF_API tuff_tensor *tuff_clamp(tuff_tensor *x, float min, float max);

TUFF_API tuff_tensor *tuff_sign(tuff_tensor *x);       /* torch.sign; no gradient */
TUFF_API tuff_tensor *tuff_floor(tuff_tensor *x);      /* torch.floor; no gradient */
TUFF_API tuff_tensor *tuff_expm1(tuff_tensor *x);      /* torch.expm1 */
TUFF_API tuff_tensor *tuff_log1p(tuff_tensor *x);      /* torch.log1p */
TUFF_API tuff_tensor *tuff_reciprocal(tuff_tensor *x); /* torch.reciprocal */
TUFF_API tuff_tensor *tuff_sin(tuff_tensor *x);        /* torch.sin, for angles of any size */
TUFF_API tuff_tensor *tuff_cos(tuff_tensor *x);        /* torch.cos, for angles of any size */
TUFF_API tuff_tensor *tuff_erf(tuff_tensor *x);        /* torch.erf */

TUFF_API tuff_tensor *tuff_neg(tuff_tensor *x);    /* torch.neg */
TUFF_API tuff_tensor *tuff_abs(tuff_tensor *x);    /* torch.abs; gradient 0 at 0 */
TUFF_API tuff_tensor *tuff_square(tuff_tensor *x); /* torch.square */
TUFF_API tuff_tensor *tuff_exp(tuff_tensor *x);    /* torch.exp */
TUFF_API tuff_tensor *tuff_log(tuff_tensor *x);    /* torch.log */
TUFF_API tuff_tensor *tuff_sqrt(tuff_tensor *x);   /* torch.sqrt */
TUFF_API tuff_tensor *tuff_rsqrt(tuff_tensor *x);  /* torch.rsqrt */
TUFF_API tuff_tensor *tuff_relu(tuff_tensor *x);   /* torch.relu; gradient 0 at 0 */
TUFF_API tuff_tensor *
tuff_leaky_relu(tuff_tensor *x,
                float negative_slope); /* torch.nn.functional.leaky_relu; PyTorch's default slope is 0.01 */
TUFF_API tuff_tensor *tuff_sigmoid(tuff_tensor *x); /* torch.sigmoid */
TUFF_API tuff_tensor *tuff_tanh(tuff_tensor *x);    /* torch.tanh */

/* Comparisons of two tensors of one type: 1 where it holds, else 0, of type TUFF_U8; no gradient. torch.eq, ... */
TUFF_API tuff_tensor *tuff_eq(tuff_tensor *a, tuff_tensor *b);
TUFF_API tuff_tensor *tuff_ne(tuff_tensor *a, tuff_tensor *b);
TUFF_API tuff_tensor *tuff_lt(tuff_tensor *a, tuff_tensor *b);
TUFF_API tuff_tensor *tuff_le(tuff_tensor *a, tuff_tensor *b);
TUFF_API tuff_tensor *tuff_gt(tuff_tensor *a, tuff_tensor *b);
TUFF_API tuff_tensor *tuff_ge(tuff_tensor *a, tuff_tensor *b);

/* Of float32 or uint8 tensors, in which all but 0 is true; the result is uint8. torch.logical_not, ... */
TUFF_API tuff_tensor *tuff_logical_not(tuff_tensor *x);
TUFF_API tuff_tensor *tuff_logical_and(tuff_tensor *a, tuff_tensor *b);
TUFF_API tuff_tensor *tuff_logical_or(tuff_tensor *a, tuff_tensor *b);

/* torch.where: a where the condition (uint8 or float32) is not 0, else b; a and b of one type. All three broadcast. */
TUFF_API tuff_tensor *tuff_where(tuff_tensor *condition, tuff_tensor *a, tuff_tensor *b);
/* torch.Tensor.masked_fill: value where the mask (uint8 or float32), which broadcasts to x, is not 0, else x. */
TUFF_API tuff_tensor *tuff_masked_fill(tuff_tensor *x, tuff_tensor *mask, float value);

/* torch.Tensor.to another type. To int32 towards zero, -2^31 for NaN and for what does not fit (as PyTorch on x86); to
 * uint8 the low 8 bits of that. The gradient passes from float32 to float32 alone. */
TUFF_API tuff_tensor *tuff_to(tuff_tensor *x, tuff_type type);

typedef struct tuff_gelu_desc {
    bool approximate_tanh; /* PyTorch's approximate="tanh"; else the exact one, with erf */
} tuff_gelu_desc;
TUFF_API tuff_tensor *tuff_gelu(tuff_tensor *x, const tuff_gelu_desc *desc); /* torch.nn.functional.gelu */
TUFF_API tuff_tensor *tuff_silu(tuff_tensor *x); /* torch.nn.functional.silu; 0 below -87.3, as mish */

TUFF_API tuff_tensor *tuff_relu6(tuff_tensor *x); /* torch.nn.functional.relu6; gradient 0 at 0 and 6 */
/* torch.nn.functional.elu; PyTorch's default alpha is 1 */
TUFF_API tuff_tensor *tuff_elu(tuff_tensor *x, float alpha);
TUFF_API tuff_tensor *tuff_selu(tuff_tensor *x); /* torch.nn.functional.selu */
/* torch.nn.functional.softplus: x itself where beta x > threshold; PyTorch's defaults are 1 and 20 */
TUFF_API tuff_tensor *tuff_softplus(tuff_tensor *x, float beta, float threshold);
TUFF_API tuff_tensor *tuff_mish(tuff_tensor *x);        /* torch.nn.functional.mish */
TUFF_API tuff_tensor *tuff_hardswish(tuff_tensor *x);   /* torch.nn.functional.hardswish */
TUFF_API tuff_tensor *tuff_hardsigmoid(tuff_tensor *x); /* torch.nn.functional.hardsigmoid; gradient 0 at -3 and 3 */
TUFF_API tuff_tensor *tuff_logsigmoid(tuff_tensor *x);  /* torch.nn.functional.logsigmoid */

/* torch.nn.functional.dropout. Each element is zero with probability p in [0, 1], else divided by
 * 1 - p; passes through in a program that evaluates. Philox4x32-10 by (seed, step, hash of the name,
 * element in PyTorch's order); name NULL: from the graph's order. */
TUFF_API tuff_tensor *tuff_dropout(tuff_tensor *x, float p, const char *name);

#ifdef __cplusplus
}
#endif
#endif
