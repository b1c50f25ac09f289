/* Pointwise rows in few words: what layers/pointwise.c and layers/activation.c share. */
#ifndef TUFF_LAYERS_POINTWISE_ROWS_H
#define TUFF_LAYERS_POINTWISE_ROWS_H

#include "layers/pointwise.h"
#include "shaders/common/chain_ops.h"

/* A gradient function for one input: g is what arrives, x the input, y the output. */
#define GRADIENT(name, expression)                                                                                     \
    static tuff_result gradient_##name(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,             \
                                       tuff_tensor **grad_inputs) {                                                    \
        tuff_tensor *g = grad_outputs[0], *x = node->inputs[0], *y = node->outputs[0];                                 \
        (void)needs, (void)x, (void)y;                                                                                 \
        grad_inputs[0] = (expression);                                                                                 \
        return TUFF_OK;                                                                                                \
    }

/* Gradient functions for two inputs, which may have been broadcast. */
#define GRADIENT_2(name, first, second)                                                                                \
    static tuff_result gradient_##name(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,             \
                                       tuff_tensor **grad_inputs) {                                                    \
        tuff_tensor *g = grad_outputs[0], *a = node->inputs[0], *b = node->inputs[1], *y = node->outputs[0];           \
        (void)y;                                                                                                       \
        if (needs & 1) grad_inputs[0] = sum_to((first), a);                                                            \
        if (needs & 2) grad_inputs[1] = sum_to((second), b);                                                           \
        return TUFF_OK;                                                                                                \
    }

#define ROW_1(row, op, text)                                                                                           \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input" },                                                    \
                                             .pytorch = "torch." #row,                                                 \
                                             .chain_op = op,                                                           \
                                             .gradient = gradient_##row };
/* The same, for gradients and expansions alone. */
#define INTERNAL_1(row, op, text)                                                                                      \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input" },                                                    \
                                             .flags = OPERATOR_INTERNAL,                                               \
                                             .chain_op = op,                                                           \
                                             .gradient = gradient_##row };
/* less: what PyTorch can do and this cannot. */
#define ROW_2(row, op, text, less)                                                                                     \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input", "other" },                                           \
                                             .pytorch = "torch." #row,                                                 \
                                             .limits = less,                                                           \
                                             .chain_op = op,                                                           \
                                             .gradient = gradient_##row };
/* Rows of float32 and of int32 numbers. */
#define NUMBERS_1(row, op, int_op, text)                                                                               \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input" },                                                    \
                                             .types = { TYPE_F32 | TYPE_I32 },                                         \
                                             .pytorch = "torch." #row,                                                 \
                                             .chain_op = op,                                                           \
                                             .chain_op_i32 = int_op,                                                   \
                                             .gradient = gradient_##row };
#define NUMBERS_2(row, op, int_op, text, less)                                                                         \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input", "other" },                                           \
                                             .types = { TYPE_F32 | TYPE_I32, TYPE_F32 | TYPE_I32 },                    \
                                             .pytorch = "torch." #row,                                                 \
                                             .limits = "both of one type" less,                                        \
                                             .chain_op = op,                                                           \
                                             .chain_op_i32 = int_op,                                                   \
                                             .gradient = gradient_##row };
/* One of torch.nn.functional's. */
#define ACTIVATION(row, op, text)                                                                                      \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input" },                                                    \
                                             .pytorch = "torch.nn.functional." #row,                                   \
                                             .chain_op = op,                                                           \
                                             .gradient = gradient_##row };
/* An activation built from other rows: x is the input. */
#define COMPOSITE(row, expression)                                                                                     \
    static tuff_result expand_##row(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,    \
                                    tuff_tensor **outputs) {                                                           \
        tuff_tensor *x = inputs[0];                                                                                    \
        (void)training, (void)node;                                                                                    \
        outputs[0] = (expression);                                                                                     \
        return graph->result;                                                                                          \
    }

/* infer: the output has the first input's shape. */
tuff_result infer_like_first(inference *inference);

#endif
