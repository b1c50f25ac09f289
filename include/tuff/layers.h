/* Operators and layers: functions that add to a graph and return the new tensor.
 *
 * Names, arguments, defaults and results are PyTorch's, whose function each comment names. Images are
 * (N, C, H, W). Every function returns NULL after an error in the graph (see <tuff/tuff.h>, sticky);
 * passing such a NULL on is allowed. Operators without a gradient act as a detach.
 *
 * A layer is a function that makes parameters, named after desc.name ("conv1" gives "conv1.weight" and
 * "conv1.bias"), and calls operators. The same name again means the same parameters; a different shape
 * is then an error.
 */
#ifndef TUFF_LAYERS_H
#define TUFF_LAYERS_H

#include <tuff/tuff.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- state -------------------------------------------------------------------------------- */

typedef enum tuff_init {
    TUFF_INIT_DEFAULT = 0, /* what the layer's PyTorch class uses; for tuff_parameter: zeros */
    TUFF_INIT_ZEROS,
    TUFF_INIT_CONSTANT,        /* value */
    TUFF_INIT_UNIFORM,         /* in [-value, value) */
    TUFF_INIT_NORMAL,          /* mean 0, deviation value */
    TUFF_INIT_KAIMING_UNIFORM, /* torch.nn.init.kaiming_uniform_(a=value), fan_in, leaky_relu */
    TUFF_INIT_KAIMING_NORMAL,  /* torch.nn.init.kaiming_normal_(a=value), fan_in, leaky_relu */
    TUFF_INIT_XAVIER_UNIFORM,  /* torch.nn.init.xavier_uniform_(gain=value; 0: 1) */
    TUFF_INIT_XAVIER_NORMAL,   /* torch.nn.init.xavier_normal_(gain=value; 0: 1) */
} tuff_init;

/* The same seed gives the same bits on every driver: Philox4x32-10 by (seed, hash of the name, element). */
typedef struct tuff_init_desc {
    tuff_init kind;
    float value;
} tuff_init_desc;

/* A parameter of the graph's model, declared on its first use. torch.nn.Parameter. init may be NULL. */
TUFF_API tuff_tensor *tuff_parameter(tuff_graph *graph, const char *name, tuff_shape shape, const tuff_init_desc *init);

/* State that is not trained. torch.nn.Module.register_buffer. */
TUFF_API tuff_tensor *tuff_buffer(tuff_graph *graph, const char *name, tuff_shape shape, const tuff_init_desc *init);

/* After each run of a program that trains, buffer (made by tuff_buffer) holds value; readers in the same
 * run see what was there before. Does nothing in a program that evaluates. */
TUFF_API void tuff_assign(tuff_tensor *buffer, tuff_tensor *value);

/* A float32 constant with the given shape, every element value. torch.full. */
TUFF_API tuff_tensor *tuff_constant(tuff_graph *graph, float value, tuff_shape shape);

/* ---- pointwise, broadcasting as NumPy does ------------------------------------------------- */

TUFF_API tuff_tensor *tuff_add(tuff_tensor *a, tuff_tensor *b);               /* torch.add */
TUFF_API tuff_tensor *tuff_sub(tuff_tensor *a, tuff_tensor *b);               /* torch.sub */
TUFF_API tuff_tensor *tuff_mul(tuff_tensor *a, tuff_tensor *b);               /* torch.mul */
TUFF_API tuff_tensor *tuff_div(tuff_tensor *a, tuff_tensor *b);               /* torch.div */
TUFF_API tuff_tensor *tuff_scale(tuff_tensor *x, float factor, float offset); /* x * factor + offset */

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

typedef struct tuff_gelu_desc {
    bool approximate_tanh; /* PyTorch's approximate="tanh"; else the exact one, with erf */
} tuff_gelu_desc;
TUFF_API tuff_tensor *tuff_gelu(tuff_tensor *x, const tuff_gelu_desc *desc); /* torch.nn.functional.gelu */
TUFF_API tuff_tensor *tuff_silu(tuff_tensor *x);                             /* torch.nn.functional.silu */

/* torch.nn.functional.dropout. Each element is zero with probability p in [0, 1), else divided by
 * 1 - p; passes through in a program that evaluates. Philox4x32-10 by (seed, step, hash of the name,
 * element in PyTorch's order); name NULL: from the graph's order. */
TUFF_API tuff_tensor *tuff_dropout(tuff_tensor *x, float p, const char *name);

/* ---- shape -------------------------------------------------------------------------------- */

/* torch.reshape; one size may be -1. */
TUFF_API tuff_tensor *tuff_reshape(tuff_tensor *x, tuff_shape shape);
/* torch.flatten(start_dim=1): (N, ...) to (N, product of the rest). */
TUFF_API tuff_tensor *tuff_flatten(tuff_tensor *x);
/* torch.transpose; negative axes count from the end. */
TUFF_API tuff_tensor *tuff_transpose(tuff_tensor *x, int32_t axis0, int32_t axis1);

/* ---- reductions --------------------------------------------------------------------------- */

/* axis_count 0: over all axes. Negative axes count from the end. keepdim keeps reduced axes as size 1. */
typedef struct tuff_reduce_desc {
    int32_t axes[TUFF_MAX_RANK];
    uint32_t axis_count;
    bool keepdim;
} tuff_reduce_desc;

TUFF_API tuff_tensor *tuff_sum(tuff_tensor *x, const tuff_reduce_desc *desc);  /* torch.sum */
TUFF_API tuff_tensor *tuff_mean(tuff_tensor *x, const tuff_reduce_desc *desc); /* torch.mean */
TUFF_API tuff_tensor *tuff_max(tuff_tensor *x, const tuff_reduce_desc *desc);  /* torch.amax; ties share the gradient */

TUFF_API tuff_tensor *tuff_softmax(tuff_tensor *x, int32_t axis);     /* torch.softmax */
TUFF_API tuff_tensor *tuff_log_softmax(tuff_tensor *x, int32_t axis); /* torch.log_softmax */

/* ---- products ----------------------------------------------------------------------------- */

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

typedef struct tuff_conv2d_desc {
    const char *name;  /* required */
    int64_t channels;  /* out_channels, required */
    int64_t kernel[2]; /* height, width; required */
    int64_t stride[2]; /* 0: 1 */
    int64_t padding[2];
    int64_t dilation[2]; /* 0: 1 */
    int64_t groups;      /* 0: 1 */
    bool no_bias;
    tuff_init_desc weight_init, bias_init; /* default: torch.nn.Conv2d's */
} tuff_conv2d_desc;

/* torch.nn.Conv2d: (N, C, H, W) to (N, channels, H', W'). NAME.weight is [channels, C/groups, kh, kw]. */
TUFF_API tuff_tensor *tuff_conv2d(tuff_tensor *x, const tuff_conv2d_desc *desc);

/* ---- pooling ------------------------------------------------------------------------------ */

typedef struct tuff_pool2d_desc {
    int64_t kernel[2];    /* required */
    int64_t stride[2];    /* 0: the kernel's */
    int64_t padding[2];   /* at most half the kernel */
    bool exclude_padding; /* average: PyTorch's count_include_pad=False */
} tuff_pool2d_desc;

TUFF_API tuff_tensor *
tuff_max_pool2d(tuff_tensor *x,
                const tuff_pool2d_desc *desc); /* torch.nn.MaxPool2d; the first of equal maxima gets the gradient */
TUFF_API tuff_tensor *tuff_avg_pool2d(tuff_tensor *x, const tuff_pool2d_desc *desc); /* torch.nn.AvgPool2d */
TUFF_API tuff_tensor *tuff_global_avg_pool2d(tuff_tensor *x); /* torch.nn.AdaptiveAvgPool2d(1): (N, C, 1, 1) */

/* ---- normalisation ------------------------------------------------------------------------ */

typedef struct tuff_batch_norm_desc {
    const char *name; /* required: NAME.weight, .bias, .running_mean, .running_var */
    float epsilon;    /* 0: 1e-5 */
    float momentum;   /* 0: 0.1; for a true zero pass a negative number */
    bool no_affine;
} tuff_batch_norm_desc;

/* torch.nn.BatchNorm1d/2d: over every axis but axis 1. Training uses and follows the batch's statistics
 * (the running variance takes the unbiased one), evaluation the running ones. */
TUFF_API tuff_tensor *tuff_batch_norm(tuff_tensor *x, const tuff_batch_norm_desc *desc);

/* ---- lookup ------------------------------------------------------------------------------- */

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

/* ---- losses ------------------------------------------------------------------------------- */

typedef enum tuff_loss_reduction {
    TUFF_REDUCE_MEAN = 0,
    TUFF_REDUCE_SUM,
    TUFF_REDUCE_NONE,
} tuff_loss_reduction;

typedef struct tuff_loss_desc {
    tuff_loss_reduction reduction;
} tuff_loss_desc;

/* torch.nn.functional.cross_entropy: logits (N, C) or (N, C, d1, ...), target int32 (N) or (N, d1, ...), 0 to C - 1.
 * Another target makes that loss NaN, so that it is seen: nothing is ignored by default, as -100 is in PyTorch. */
TUFF_API tuff_tensor *tuff_cross_entropy(tuff_tensor *logits, tuff_tensor *target, const tuff_loss_desc *desc);
TUFF_API tuff_tensor *tuff_mse_loss(tuff_tensor *input, tuff_tensor *target,
                                    const tuff_loss_desc *desc); /* torch.nn.functional.mse_loss; equal shapes */
TUFF_API tuff_tensor *tuff_l1_loss(tuff_tensor *input, tuff_tensor *target,
                                   const tuff_loss_desc *desc); /* torch.nn.functional.l1_loss; equal shapes */

/* The share of rows of logits (N, C) whose largest value stands at target (N): a float scalar without a
 * gradient. The first of equal values counts. */
TUFF_API tuff_tensor *tuff_accuracy(tuff_tensor *logits, tuff_tensor *target);

#ifdef __cplusplus
}
#endif
#endif
