#include "build.h"

#include <stdlib.h>
#include <string.h>

typedef tuff_tensor *(*builder)(tuff_tensor **in, const recipe_args *a, const char *name);

#define BUILD(op, call)                                                                                                \
    static tuff_tensor *build_##op(tuff_tensor **in, const recipe_args *a, const char *name) {                         \
        (void)a, (void)name;                                                                                           \
        return call;                                                                                                   \
    }

static const tuff_reduce_desc *reduce_desc(const recipe_args *a, tuff_reduce_desc *desc) {
    *desc = (tuff_reduce_desc){ .axis_count = (uint32_t)a->axis_count, .keepdim = a->keepdim };
    for (int64_t i = 0; i < a->axis_count; i++) desc->axes[i] = (int32_t)a->axes[i];
    return desc;
}

static const tuff_conv2d_desc *conv2d_desc(const recipe_args *a, const char *name, tuff_conv2d_desc *desc) {
    const ref_window *w = &a->window;
    *desc = (tuff_conv2d_desc){ .name = name,
                                .channels = a->channels,
                                .kernel = { w->kernel[0], w->kernel[1] },
                                .stride = { w->stride[0], w->stride[1] },
                                .padding = { w->padding[0], w->padding[1] },
                                .dilation = { w->dilation[0], w->dilation[1] },
                                .groups = a->groups,
                                .no_bias = a->no_bias };
    return desc;
}

static const tuff_pool2d_desc *pool2d_desc(const recipe_args *a, tuff_pool2d_desc *desc) {
    const ref_window *w = &a->window;
    *desc = (tuff_pool2d_desc){ .kernel = { w->kernel[0], w->kernel[1] },
                                .stride = { w->stride[0], w->stride[1] },
                                .padding = { w->padding[0], w->padding[1] },
                                .exclude_padding = a->exclude_padding };
    return desc;
}

static const tuff_loss_desc *loss_desc(const recipe_args *a, tuff_loss_desc *desc) {
    *desc = (tuff_loss_desc){ .reduction = (tuff_loss_reduction)a->reduction };
    return desc;
}

BUILD(add, tuff_add(in[0], in[1]))
BUILD(sub, tuff_sub(in[0], in[1]))
BUILD(mul, tuff_mul(in[0], in[1]))
BUILD(div, tuff_div(in[0], in[1]))
BUILD(scale, tuff_scale(in[0], (float)a->factor, (float)a->offset))
BUILD(neg, tuff_neg(in[0]))
BUILD(abs, tuff_abs(in[0]))
BUILD(square, tuff_square(in[0]))
BUILD(exp, tuff_exp(in[0]))
BUILD(log, tuff_log(in[0]))
BUILD(sqrt, tuff_sqrt(in[0]))
BUILD(rsqrt, tuff_rsqrt(in[0]))
BUILD(relu, tuff_relu(in[0]))
BUILD(leaky_relu, tuff_leaky_relu(in[0], (float)a->slope))
BUILD(sigmoid, tuff_sigmoid(in[0]))
BUILD(tanh, tuff_tanh(in[0]))
BUILD(gelu, tuff_gelu(in[0], &(tuff_gelu_desc){ .approximate_tanh = a->approximate_tanh }))
BUILD(silu, tuff_silu(in[0]))
BUILD(dropout, tuff_dropout(in[0], (float)a->p, name))
BUILD(reshape, tuff_reshape(in[0], a->shape))
BUILD(flatten, tuff_flatten(in[0]))
BUILD(transpose, tuff_transpose(in[0], (int32_t)a->axis0, (int32_t)a->axis1))
BUILD(sum, tuff_sum(in[0], reduce_desc(a, &(tuff_reduce_desc){ 0 })))
BUILD(mean, tuff_mean(in[0], reduce_desc(a, &(tuff_reduce_desc){ 0 })))
BUILD(max, tuff_max(in[0], reduce_desc(a, &(tuff_reduce_desc){ 0 })))
BUILD(softmax, tuff_softmax(in[0], (int32_t)a->axis))
BUILD(log_softmax, tuff_log_softmax(in[0], (int32_t)a->axis))
BUILD(matmul,
      tuff_matmul(in[0], in[1], &(tuff_matmul_desc){ .transpose_a = a->transpose_a, .transpose_b = a->transpose_b }))
BUILD(linear, tuff_linear(in[0], &(tuff_linear_desc){ .name = name, .features = a->features, .no_bias = a->no_bias }))
BUILD(conv2d, tuff_conv2d(in[0], conv2d_desc(a, name, &(tuff_conv2d_desc){ 0 })))
BUILD(max_pool2d, tuff_max_pool2d(in[0], pool2d_desc(a, &(tuff_pool2d_desc){ 0 })))
BUILD(avg_pool2d, tuff_avg_pool2d(in[0], pool2d_desc(a, &(tuff_pool2d_desc){ 0 })))
BUILD(global_avg_pool2d, tuff_global_avg_pool2d(in[0]))
BUILD(batch_norm, tuff_batch_norm(in[0], &(tuff_batch_norm_desc){ .name = name,
                                                                  .epsilon = (float)a->epsilon,
                                                                  .momentum = (float)a->momentum,
                                                                  .no_affine = a->no_affine }))
BUILD(embedding,
      tuff_embedding(in[0], &(tuff_embedding_desc){ .name = name, .count = a->count, .features = a->features }))
BUILD(embedding_lookup, tuff_embedding_lookup(in[0], in[1]))
BUILD(cross_entropy, tuff_cross_entropy(in[0], in[1], loss_desc(a, &(tuff_loss_desc){ 0 })))
BUILD(mse_loss, tuff_mse_loss(in[0], in[1], loss_desc(a, &(tuff_loss_desc){ 0 })))
BUILD(l1_loss, tuff_l1_loss(in[0], in[1], loss_desc(a, &(tuff_loss_desc){ 0 })))
BUILD(accuracy, tuff_accuracy(in[0], in[1]))

#define ROW(op)                                                                                                        \
    { #op, build_##op }
static const struct {
    const char *op;
    builder build;
} BUILDERS[] = {
    ROW(add),           ROW(sub),        ROW(mul),
    ROW(div),           ROW(scale),      ROW(neg),
    ROW(abs),           ROW(square),     ROW(exp),
    ROW(log),           ROW(sqrt),       ROW(rsqrt),
    ROW(relu),          ROW(leaky_relu), ROW(sigmoid),
    ROW(tanh),          ROW(gelu),       ROW(silu),
    ROW(dropout),       ROW(reshape),    ROW(flatten),
    ROW(transpose),     ROW(sum),        ROW(mean),
    ROW(max),           ROW(softmax),    ROW(log_softmax),
    ROW(matmul),        ROW(linear),     ROW(conv2d),
    ROW(max_pool2d),    ROW(avg_pool2d), ROW(global_avg_pool2d),
    ROW(batch_norm),    ROW(embedding),  ROW(embedding_lookup),
    ROW(cross_entropy), ROW(mse_loss),   ROW(l1_loss),
    ROW(accuracy),
};

static tuff_tensor *build_step(const recipe_step *s, tuff_graph *graph, tuff_tensor **tensors) {
    tuff_type type = s->fill == FILL_INDEX ? TUFF_I32 : TUFF_F32;
    switch (s->leaf) {
    case LEAF_INPUT: return tuff_input(graph, s->name, type, s->value->shape);
    case LEAF_PARAMETER: return tuff_parameter(graph, s->name, s->value->shape, NULL);
    case LEAF_BUFFER: return tuff_buffer(graph, s->name, s->value->shape, NULL);
    case LEAF_NONE: break;
    }
    tuff_tensor *in[RECIPE_INPUTS] = { NULL };
    for (int i = 0; i < s->input_count; i++) in[i] = s->inputs[i] < 0 ? NULL : tensors[s->inputs[i]];
    for (size_t i = 0; i < sizeof BUILDERS / sizeof *BUILDERS; i++)
        if (!strcmp(BUILDERS[i].op, s->op->name)) return BUILDERS[i].build(in, &s->args, s->name);
    return NULL;
}

bool build_graph(const recipe *r, tuff_graph *graph, tuff_tensor **tensors) {
    for (int i = 0; i < r->count; i++) {
        tensors[i] = build_step(&r->steps[i], graph, tensors);
        if (!tensors[i]) return false;
        tuff_shape shape = tuff_tensor_shape(tensors[i]), wanted = r->steps[i].value->shape;
        if (shape.rank != wanted.rank || memcmp(shape.sizes, wanted.sizes, shape.rank * sizeof *shape.sizes))
            return false;
    }
    return true;
}

static bool is_used(const recipe *r, int leaf, int last) {
    for (int i = 0; i <= last; i++)
        for (int j = 0; j < r->steps[i].input_count; j++)
            if (r->steps[i].inputs[j] == leaf) return true;
    return false;
}

tuff_result build_write(const recipe *r, tuff_model *model, tuff_program *program, tuff_tensor *const *tensors,
                        int last) {
    for (int i = 0; i <= last; i++) {
        const recipe_step *s = &r->steps[i];
        if (s->op || !is_used(r, i, last)) continue;
        size_t count = (size_t)s->value->count;
        union {
            float f;
            int32_t i;
        } *words = malloc(count * sizeof *words);
        for (size_t j = 0; j < count; j++) {
            if (s->fill == FILL_INDEX)
                words[j].i = (int32_t)s->value->v[j];
            else
                words[j].f = (float)s->value->v[j];
        }
        tuff_result result = s->leaf == LEAF_INPUT ? tuff_write(program, tensors[i], words, count * sizeof *words)
                                                   : tuff_model_write(model, s->name, words, count * sizeof *words);
        free(words);
        if (result != TUFF_OK) return result;
    }
    return TUFF_OK;
}
