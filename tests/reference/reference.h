/* The reference: every operator's forward pass and gradient in plain double precision, written to be read.
 *
 * A `ref` carries, beside its values, for each element the sum of the absolute values of the terms that it is the
 * sum of. Where sums cancel, a float32 result is off by a few units in the last place of that sum, not of the
 * value: ref_tolerance() is measured against it. Gradients are added to what their arguments hold, as reverse mode
 * needs it; a gradient that nobody wants is NULL. Integers (labels, indices) are stored as doubles.
 *
 * No dependency but the C library (tuff_shape is only a structure here). Running out of memory ends the process:
 * this library serves tests and `tuff check`, not Tuff. */
#ifndef TUFF_TESTS_REFERENCE_H
#define TUFF_TESTS_REFERENCE_H

#include <tuff/tuff.h>

typedef struct ref {
    tuff_shape shape;
    int64_t count;
    double *v;
    double *abs;  /* sums of absolute terms */
    bool whole;   /* an operand of int32 or uint8 */
    double terms; /* the number of terms in the longest of these sums */
} ref;

ref *ref_new(tuff_shape shape); /* zeros */
void ref_free(ref *x);
ref *ref_copy(const ref *x);

/* |float32 result - v[i]| that correct rounding in any order of summation can explain: 8 units for the formula's
 * own steps, 2 sqrt(n) for a sum of n terms whose roundings are independent. */
double ref_tolerance(const ref *x, int64_t i);

/* ---- shapes ---- */
int64_t ref_count(const tuff_shape *shape);
tuff_shape ref_broadcast_shape(const tuff_shape *a, const tuff_shape *b);
/* Where the element `flat` of `out` lies in `in`, whose axes of size 1 (or missing in front) are broadcast. */
int64_t ref_offset(const tuff_shape *in, const tuff_shape *out, int64_t flat);

/* ---- pointwise ---- */
typedef enum ref_function {
    REF_SCALE, /* x p + q */
    REF_NEG,
    REF_ABS,
    REF_SQUARE,
    REF_EXP,
    REF_LOG,
    REF_SQRT,
    REF_RSQRT,
    REF_RELU,
    REF_LEAKY_RELU, /* slope p */
    REF_SIGMOID,
    REF_TANH,
    REF_GELU,
    REF_GELU_TANH,
    REF_SILU,
    REF_ERF,
    REF_SIGN,
} ref_function;
ref *ref_unary(ref_function function, const ref *x, double p, double q);
void ref_unary_grad(ref_function function, const ref *x, double p, double q, const ref *gy, ref *gx);

typedef enum ref_arithmetic { REF_ADD, REF_SUB, REF_MUL, REF_DIV } ref_arithmetic;
ref *ref_binary(ref_arithmetic arithmetic, const ref *a, const ref *b);
void ref_binary_grad(ref_arithmetic arithmetic, const ref *a, const ref *b, const ref *gy, ref *ga, ref *gb);

/* keep[i] != 0: x / (1 - p), else 0. */
ref *ref_dropout(const ref *x, double p, const uint8_t *keep);
void ref_dropout_grad(double p, const uint8_t *keep, const ref *gy, ref *gx);

/* ---- shape ---- */
ref *ref_reshape(const ref *x, tuff_shape shape); /* one size may be -1 */
void ref_reshape_grad(const ref *gy, ref *gx);
ref *ref_transpose(const ref *x, int axis0, int axis1);
void ref_transpose_grad(int axis0, int axis1, const ref *gy, ref *gx);

/* ---- reductions: bit i of axes is axis i; 0 means all of them ---- */
typedef enum ref_reduction { REF_SUM, REF_MEAN, REF_MAX, REF_MIN } ref_reduction;
ref *ref_reduce(ref_reduction kind, const ref *x, uint32_t axes, bool keepdim);
void ref_reduce_grad(ref_reduction kind, const ref *x, uint32_t axes, const ref *y, const ref *gy, ref *gx);

ref *ref_softmax(const ref *x, int axis);
void ref_softmax_grad(const ref *x, int axis, const ref *gy, ref *gx);
ref *ref_log_softmax(const ref *x, int axis);
void ref_log_softmax_grad(const ref *x, int axis, const ref *gy, ref *gx);

/* ---- products ---- */
ref *ref_matmul(const ref *a, const ref *b, bool transpose_a, bool transpose_b);
void ref_matmul_grad(const ref *a, const ref *b, bool transpose_a, bool transpose_b, const ref *gy, ref *ga, ref *gb);
ref *ref_linear(const ref *x, const ref *weight, const ref *bias); /* bias may be NULL */
void ref_linear_grad(const ref *x, const ref *weight, const ref *gy, ref *gx, ref *gweight, ref *gbias);

/* ---- convolutions: each list is by axis of the image, of which there are one to three ---- */
typedef struct ref_convolution {
    int64_t stride[3], padding[3], dilation[3], groups;
    int64_t behind[3]; /* the padding behind the image; transposed: the output's */
} ref_convolution;
/* bias may be NULL, and so may gradients */
ref *ref_conv(const ref *x, const ref *weight, const ref *bias, const ref_convolution *c);
void ref_conv_grad(const ref *x, const ref *weight, const ref_convolution *c, const ref *gy, ref *gx, ref *gweight,
                   ref *gbias);
ref *ref_conv_transpose(const ref *x, const ref *weight, const ref *bias, const ref_convolution *c);
void ref_conv_transpose_grad(const ref *x, const ref *weight, const ref_convolution *c, const ref *gy, ref *gx,
                             ref *gweight, ref *gbias);

/* ---- pooling: how a window walks over an image, height and width ---- */
typedef struct ref_window {
    int64_t kernel[2], stride[2], padding[2], dilation[2];
} ref_window;

/* ---- normalisation over every axis but 1; mean and variance NULL: the batch's own (training) ---- */
ref *ref_batch_norm(const ref *x, const ref *weight, const ref *bias, const ref *mean, const ref *variance,
                    double epsilon);
void ref_batch_norm_grad(const ref *x, const ref *weight, const ref *mean, const ref *variance, double epsilon,
                         const ref *gy, ref *gx, ref *gweight, ref *gbias);
/* What training leaves in the running statistics. */
void ref_batch_norm_running(const ref *x, double momentum, ref *mean, ref *variance);

/* ---- lookup and losses ---- */
ref *ref_embedding(const ref *index, const ref *table);
void ref_embedding_grad(const ref *index, const ref *gy, ref *gtable);

typedef enum ref_loss_reduction { REF_LOSS_MEAN, REF_LOSS_SUM, REF_LOSS_NONE } ref_loss_reduction;
/* power 1: l1, 2: mean squared error */
ref *ref_regression(int power, const ref *a, const ref *b, ref_loss_reduction reduction);
void ref_regression_grad(int power, const ref *a, const ref *b, ref_loss_reduction reduction, const ref *gy, ref *ga,
                         ref *gb);
ref *ref_accuracy(const ref *logits, const ref *target);

/* ---- optimizers: one step over count elements; step counts from 1 ---- */
typedef struct ref_sgd {
    double lr, momentum, dampening, weight_decay;
    bool nesterov;
} ref_sgd;
void ref_sgd_step(const ref_sgd *sgd, int64_t step, int64_t count, double *parameter, const double *gradient,
                  double *buffer);
typedef struct ref_adam {
    double lr, beta1, beta2, epsilon, weight_decay;
    bool decoupled; /* AdamW */
} ref_adam;
void ref_adam_step(const ref_adam *adam, int64_t step, int64_t count, double *parameter, const double *gradient,
                   double *first, double *second);
/* torch.nn.utils.clip_grad_norm_: the factor for gradients of this norm */
double ref_clip_factor(double norm, double max_norm);

#endif
