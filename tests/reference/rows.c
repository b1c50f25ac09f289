/* The table of operators: how a recipe calls the reference. */
#include "recipe.h"

#include <math.h>
#include <string.h>

#define FORWARD(NAME) static ref *NAME(ref *const *in, const recipe_args *a)
#define GRADIENT(NAME)                                                                                                 \
    static void NAME(ref *const *in, const recipe_args *a, const ref *y, const ref *gy, ref *const *g)
#define KINK(NAME) static double NAME(ref *const *in, const recipe_args *a, const ref *y)
#define UNUSED     ((void)in, (void)a, (void)y, (void)gy)

/* ---- pointwise ---- */

#define UNARY(name, FUNCTION, P, Q)                                                                                    \
    FORWARD(name##_forward) {                                                                                          \
        (void)a;                                                                                                       \
        return ref_unary(FUNCTION, in[0], P, Q);                                                                       \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        if (g[0]) ref_unary_grad(FUNCTION, in[0], P, Q, gy, g[0]);                                                     \
    }
UNARY(scale, REF_SCALE, a->factor, a->offset)
UNARY(neg, REF_NEG, 0, 0)
UNARY(abs, REF_ABS, 0, 0)
UNARY(square, REF_SQUARE, 0, 0)
UNARY(exp, REF_EXP, 0, 0)
UNARY(log, REF_LOG, 0, 0)
UNARY(sqrt, REF_SQRT, 0, 0)
UNARY(rsqrt, REF_RSQRT, 0, 0)
UNARY(relu, REF_RELU, 0, 0)
UNARY(leaky_relu, REF_LEAKY_RELU, a->slope, 0)
UNARY(sigmoid, REF_SIGMOID, 0, 0)
UNARY(tanh, REF_TANH, 0, 0)
UNARY(gelu, a->approximate_tanh ? REF_GELU_TANH : REF_GELU, 0, 0)
UNARY(silu, REF_SILU, 0, 0)

#define BINARY(name, ARITHMETIC)                                                                                       \
    FORWARD(name##_forward) {                                                                                          \
        (void)a;                                                                                                       \
        return ref_binary(ARITHMETIC, in[0], in[1]);                                                                   \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        ref_binary_grad(ARITHMETIC, in[0], in[1], gy, g[0], g[1]);                                                     \
    }
BINARY(add, REF_ADD)
BINARY(sub, REF_SUB)
BINARY(mul, REF_MUL)
BINARY(div, REF_DIV)

/* A zero is exact (another relu made it): float32 has it too. */
KINK(kink_at_zero) {
    (void)a, (void)y;
    double nearest = INFINITY;
    for (int64_t i = 0; i < in[0]->count; i++)
        if (in[0]->v[i] != 0) nearest = fmin(nearest, fabs(in[0]->v[i]));
    return nearest;
}

FORWARD(dropout_forward) {
    return a->keep ? ref_dropout(in[0], a->p, a->keep) : ref_reshape(in[0], in[0]->shape);
}
GRADIENT(dropout_gradient) {
    UNUSED;
    if (!g[0]) return;
    if (a->keep)
        ref_dropout_grad(a->p, a->keep, gy, g[0]);
    else
        ref_reshape_grad(gy, g[0]);
}

/* ---- shape ---- */

FORWARD(reshape_forward) {
    return ref_reshape(in[0], a->shape);
}
FORWARD(flatten_forward) {
    (void)a;
    return ref_reshape(in[0], TUFF_SHAPE(in[0]->shape.sizes[0], -1));
}
GRADIENT(reshape_gradient) {
    UNUSED;
    if (g[0]) ref_reshape_grad(gy, g[0]);
}
FORWARD(transpose_forward) {
    return ref_transpose(in[0], (int)a->axis0, (int)a->axis1);
}
GRADIENT(transpose_gradient) {
    UNUSED;
    if (g[0]) ref_transpose_grad((int)a->axis0, (int)a->axis1, gy, g[0]);
}

/* ---- reductions ---- */

static uint32_t axes_of(const recipe_args *a, const ref *x) {
    uint32_t axes = 0;
    for (int64_t i = 0; i < a->axis_count; i++)
        axes |= 1u << (a->axes[i] < 0 ? a->axes[i] + (int64_t)x->shape.rank : a->axes[i]);
    return axes;
}

#define REDUCTION(name, KIND)                                                                                          \
    FORWARD(name##_forward) {                                                                                          \
        return ref_reduce(KIND, in[0], axes_of(a, in[0]), a->keepdim);                                                 \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        if (g[0]) ref_reduce_grad(KIND, in[0], axes_of(a, in[0]), y, gy, g[0]);                                        \
    }
REDUCTION(sum, REF_SUM)
REDUCTION(mean, REF_MEAN)
REDUCTION(max, REF_MAX)

/* The smallest gap between a group's largest value and the next, by taking the largest ones away. */
KINK(max_kink) {
    ref *rest = ref_copy(in[0]), *mark = ref_new(in[0]->shape), *one = ref_new(y->shape);
    for (int64_t i = 0; i < one->count; i++) one->v[i] = 1;
    ref_reduce_grad(REF_MAX, in[0], axes_of(a, in[0]), y, one, mark);
    for (int64_t i = 0; i < rest->count; i++)
        if (mark->v[i] != 0) rest->v[i] = -INFINITY;
    ref *second = ref_reduce(REF_MAX, rest, axes_of(a, in[0]), a->keepdim);
    double nearest = INFINITY;
    for (int64_t i = 0; i < y->count; i++) nearest = fmin(nearest, y->v[i] - second->v[i]);
    ref_free(rest), ref_free(mark), ref_free(one), ref_free(second);
    return nearest;
}

FORWARD(softmax_forward) {
    return ref_softmax(in[0], (int)a->axis);
}
GRADIENT(softmax_gradient) {
    UNUSED;
    if (g[0]) ref_softmax_grad(in[0], (int)a->axis, gy, g[0]);
}
FORWARD(log_softmax_forward) {
    return ref_log_softmax(in[0], (int)a->axis);
}
GRADIENT(log_softmax_gradient) {
    UNUSED;
    if (g[0]) ref_log_softmax_grad(in[0], (int)a->axis, gy, g[0]);
}

/* ---- products ---- */

static tuff_shape none(void) {
    return (tuff_shape){ .rank = UINT32_MAX };
}

FORWARD(matmul_forward) {
    return ref_matmul(in[0], in[1], a->transpose_a, a->transpose_b);
}
GRADIENT(matmul_gradient) {
    UNUSED;
    ref_matmul_grad(in[0], in[1], a->transpose_a, a->transpose_b, gy, g[0], g[1]);
}

static tuff_shape linear_parameter(const recipe_args *a, const ref *x, int which) {
    if (which == 1) return a->no_bias ? none() : TUFF_SHAPE(a->features);
    return TUFF_SHAPE(a->features, x->shape.sizes[x->shape.rank - 1]);
}
FORWARD(linear_forward) {
    (void)a;
    return ref_linear(in[0], in[1], in[2]);
}
GRADIENT(linear_gradient) {
    UNUSED;
    ref_linear_grad(in[0], in[1], gy, g[0], g[1], g[2]);
}

static int64_t groups_of(const recipe_args *a) {
    return a->groups ? a->groups : 1;
}

static ref_window conv_window(const recipe_args *a) {
    ref_window w = a->window;
    for (int i = 0; i < 2; i++) {
        if (!w.stride[i]) w.stride[i] = 1;
        if (!w.dilation[i]) w.dilation[i] = 1;
    }
    return w;
}
static tuff_shape conv2d_parameter(const recipe_args *a, const ref *x, int which) {
    if (which == 1) return a->no_bias ? none() : TUFF_SHAPE(a->channels);
    return TUFF_SHAPE(a->channels, x->shape.sizes[1] / groups_of(a), a->window.kernel[0], a->window.kernel[1]);
}
FORWARD(conv2d_forward) {
    ref_window w = conv_window(a);
    return ref_conv2d(in[0], in[1], in[2], &w, groups_of(a));
}
GRADIENT(conv2d_gradient) {
    UNUSED;
    ref_window w = conv_window(a);
    ref_conv2d_grad(in[0], in[1], &w, groups_of(a), gy, g[0], g[1], g[2]);
}

/* ---- pooling ---- */

static ref_window pool_window(const recipe_args *a) {
    ref_window w = a->window;
    for (int i = 0; i < 2; i++)
        if (!w.stride[i]) w.stride[i] = w.kernel[i];
    return w;
}
FORWARD(max_pool2d_forward) {
    ref_window w = pool_window(a);
    return ref_max_pool2d(in[0], &w);
}
GRADIENT(max_pool2d_gradient) {
    UNUSED;
    ref_window w = pool_window(a);
    if (g[0]) ref_max_pool2d_grad(in[0], &w, gy, g[0]);
}
/* The smallest gap between two elements of a plane: no window has a smaller one. Zeros are exact. */
KINK(max_pool2d_kink) {
    (void)a, (void)y;
    double nearest = INFINITY;
    for (int64_t i = 0; i < in[0]->count; i++)
        for (int64_t j = 0; j < i; j++) {
            int64_t plane = in[0]->shape.sizes[2] * in[0]->shape.sizes[3];
            bool zeros = in[0]->v[i] == 0 && in[0]->v[j] == 0;
            if (i / plane == j / plane && !zeros) nearest = fmin(nearest, fabs(in[0]->v[i] - in[0]->v[j]));
        }
    return nearest;
}
FORWARD(avg_pool2d_forward) {
    ref_window w = pool_window(a);
    return ref_avg_pool2d(in[0], &w, a->exclude_padding);
}
GRADIENT(avg_pool2d_gradient) {
    UNUSED;
    ref_window w = pool_window(a);
    if (g[0]) ref_avg_pool2d_grad(in[0], &w, a->exclude_padding, gy, g[0]);
}
static ref_window whole_image(const ref *x) {
    const int64_t *s = x->shape.sizes;
    return (ref_window){ .kernel = { s[2], s[3] }, .stride = { s[2], s[3] } };
}
FORWARD(global_avg_pool2d_forward) {
    (void)a;
    ref_window w = whole_image(in[0]);
    return ref_avg_pool2d(in[0], &w, false);
}
GRADIENT(global_avg_pool2d_gradient) {
    UNUSED;
    ref_window w = whole_image(in[0]);
    if (g[0]) ref_avg_pool2d_grad(in[0], &w, false, gy, g[0]);
}

/* ---- normalisation ---- */

static double epsilon_of(const recipe_args *a) {
    return a->epsilon != 0 ? a->epsilon : 1e-5;
}
static tuff_shape batch_norm_parameter(const recipe_args *a, const ref *x, int which) {
    return which < 2 && a->no_affine ? none() : TUFF_SHAPE(x->shape.sizes[1]);
}
FORWARD(batch_norm_forward) {
    bool e = a->evaluate;
    return ref_batch_norm(in[0], in[1], in[2], e ? in[3] : NULL, e ? in[4] : NULL, epsilon_of(a));
}
GRADIENT(batch_norm_gradient) {
    UNUSED;
    bool e = a->evaluate;
    ref_batch_norm_grad(in[0], in[1], e ? in[3] : NULL, e ? in[4] : NULL, epsilon_of(a), gy, g[0], g[1], g[2]);
}

/* ---- lookup and losses ---- */

static tuff_shape embedding_parameter(const recipe_args *a, const ref *x, int which) {
    (void)x, (void)which;
    return TUFF_SHAPE(a->count, a->features);
}
FORWARD(embedding_forward) {
    (void)a;
    return ref_embedding(in[0], in[1]);
}
GRADIENT(embedding_gradient) {
    UNUSED;
    if (g[1]) ref_embedding_grad(in[0], gy, g[1]);
}
FORWARD(cross_entropy_forward) {
    return ref_cross_entropy(in[0], in[1], (ref_loss_reduction)a->reduction);
}
GRADIENT(cross_entropy_gradient) {
    UNUSED;
    if (g[0]) ref_cross_entropy_grad(in[0], in[1], (ref_loss_reduction)a->reduction, gy, g[0]);
}
#define REGRESSION(name, POWER)                                                                                        \
    FORWARD(name##_forward) {                                                                                          \
        return ref_regression(POWER, in[0], in[1], (ref_loss_reduction)a->reduction);                                  \
    }                                                                                                                  \
    GRADIENT(name##_gradient) {                                                                                        \
        UNUSED;                                                                                                        \
        ref_regression_grad(POWER, in[0], in[1], (ref_loss_reduction)a->reduction, gy, g[0], g[1]);                    \
    }
REGRESSION(l1_loss, 1)
REGRESSION(mse_loss, 2)
KINK(l1_loss_kink) {
    (void)a, (void)y;
    double nearest = INFINITY;
    for (int64_t i = 0; i < in[0]->count; i++) nearest = fmin(nearest, fabs(in[0]->v[i] - in[1]->v[i]));
    return nearest;
}
FORWARD(accuracy_forward) {
    (void)a;
    return ref_accuracy(in[0], in[1]);
}

#define ROW(name, family, fills)                                                                                       \
    { #name, family, fills, NULL, NULL, name##_forward, name##_gradient, NULL }
#define KINKED(name, family, fills, kink)                                                                              \
    { #name, family, fills, NULL, NULL, name##_forward, name##_gradient, kink }
#define LAYER(name, family, fills, parameters)                                                                         \
    { #name, family, fills, parameters, name##_parameter, name##_forward, name##_gradient, NULL }

const recipe_operator RECIPE_OPERATORS[] = {
    ROW(add, "pointwise", "aa"),
    ROW(sub, "pointwise", "aa"),
    ROW(mul, "pointwise", "aa"),
    ROW(div, "pointwise", "an"),
    ROW(scale, "pointwise", "a"),
    ROW(neg, "pointwise", "a"),
    KINKED(abs, "pointwise", "a", kink_at_zero),
    ROW(square, "pointwise", "a"),
    ROW(exp, "pointwise", "a"),
    ROW(log, "pointwise", "p"),
    ROW(sqrt, "pointwise", "p"),
    ROW(rsqrt, "pointwise", "p"),
    KINKED(relu, "pointwise", "a", kink_at_zero),
    KINKED(leaky_relu, "pointwise", "a", kink_at_zero),
    ROW(sigmoid, "pointwise", "a"),
    ROW(tanh, "pointwise", "a"),
    ROW(gelu, "pointwise", "a"),
    ROW(silu, "pointwise", "a"),
    ROW(dropout, "pointwise", "a"),
    { "reshape", "shape", "a", NULL, NULL, reshape_forward, reshape_gradient, NULL },
    { "flatten", "shape", "a", NULL, NULL, flatten_forward, reshape_gradient, NULL },
    ROW(transpose, "shape", "a"),
    ROW(sum, "reduction", "a"),
    ROW(mean, "reduction", "a"),
    KINKED(max, "reduction", "a", max_kink),
    ROW(softmax, "reduction", "a"),
    ROW(log_softmax, "reduction", "a"),
    ROW(matmul, "product", "aa"),
    LAYER(linear, "product", "a", "weight bias"),
    LAYER(conv2d, "product", "a", "weight bias"),
    KINKED(max_pool2d, "pooling", "a", max_pool2d_kink),
    ROW(avg_pool2d, "pooling", "a"),
    ROW(global_avg_pool2d, "pooling", "a"),
    LAYER(batch_norm, "normalisation", "a", "weight bias running_mean running_var"),
    LAYER(embedding, "lookup", "i", "weight"),
    { "embedding_lookup", "lookup", "ia", NULL, NULL, embedding_forward, embedding_gradient, NULL },
    ROW(cross_entropy, "loss", "ai"),
    ROW(mse_loss, "loss", "aa"),
    KINKED(l1_loss, "loss", "aa", l1_loss_kink),
    { "accuracy", "loss", "ai", NULL, NULL, accuracy_forward, NULL, NULL },
};
const int RECIPE_OPERATOR_COUNT = sizeof RECIPE_OPERATORS / sizeof *RECIPE_OPERATORS;

const recipe_operator *recipe_find(const char *name) {
    for (int i = 0; i < RECIPE_OPERATOR_COUNT; i++)
        if (!strcmp(RECIPE_OPERATORS[i].name, name)) return &RECIPE_OPERATORS[i];
    return NULL;
}
