#include "snake.h"

#include <stdio.h>

/* SPIR-V of snake.comp and snake_backward.comp, made by glslang when the sample is built */
#include "snake_backward_spirv.h"
#include "snake_spirv.h"

enum { LANES = 64, MOST_GROUPS = 65535 };

static tuff_result infer_forward(const tuff_operator_call *call) {
    const tuff_shape *x = &call->inputs[0].shape, *a = &call->inputs[1].shape;
    if (x->rank != 2 || a->rank != 1 || x->sizes[1] != a->sizes[0])
        return tuff_fail(TUFF_ERROR_SHAPE, "snake: x must have the shape (N, C) and a the shape (C)");
    call->outputs[0] = call->inputs[0];
    return TUFF_OK;
}

/* Of g, x and a: gx and, for each element, ga. */
static tuff_result infer_backward(const tuff_operator_call *call) {
    call->outputs[0] = call->outputs[1] = call->inputs[1];
    return TUFF_OK;
}

/* Both shaders: an invocation for each element of x, whose shape the first input has as well. */
static tuff_result dispatch(const tuff_operator_call *call, tuff_dispatch *dispatch) {
    const tuff_shape *x = &call->inputs[0].shape;
    int64_t groups = (x->sizes[0] * x->sizes[1] + LANES - 1) / LANES, rows = (groups + MOST_GROUPS - 1) / MOST_GROUPS;
    dispatch->groups[0] = (uint32_t)((groups + rows - 1) / rows);
    dispatch->groups[1] = (uint32_t)rows;
    uint32_t *params = dispatch->params, count = 0;
    params[count++] = (uint32_t)(x->sizes[0] * x->sizes[1]);
    params[count++] = (uint32_t)x->sizes[1];
    for (uint32_t i = 0; i < call->input_count; i++) params[count++] = call->inputs[i].first;
    for (uint32_t i = 0; i < call->output_count; i++) params[count++] = call->outputs[i].first;
    dispatch->param_count = count;
    return TUFF_OK;
}

/* The gradient is another operator of ours; the sum over the batch is one of Tuff's. */
static tuff_result gradient(const tuff_gradient_call *call, tuff_tensor **grad_inputs) {
    const snake *snake = call->user;
    tuff_tensor *inputs[] = { call->grad_outputs[0], call->inputs[0], call->inputs[1] };
    tuff_tensor *gx = tuff_operator_apply(snake->backward, inputs, NULL), *ga = tuff_operator_output(gx, 1);
    if (call->needs & 1) grad_inputs[0] = gx;
    if (call->needs & 2) grad_inputs[1] = tuff_sum(ga, &(tuff_reduce_desc){ .axes = { 0 }, .axis_count = 1 });
    return TUFF_OK;
}

tuff_result snake_create(tuff_device *device, snake *snake) {
    const tuff_operator_desc backward = { .name = "snake_backward",
                                          .input_count = 3,
                                          .output_count = 2,
                                          .spirv = snake_backward_spirv,
                                          .spirv_size = sizeof snake_backward_spirv,
                                          .infer = infer_backward,
                                          .dispatch = dispatch };
    const tuff_operator_desc forward = { .name = "snake",
                                         .input_count = 2,
                                         .spirv = snake_spirv,
                                         .spirv_size = sizeof snake_spirv,
                                         .user = snake,
                                         .infer = infer_forward,
                                         .dispatch = dispatch,
                                         .gradient = gradient };
    snake->forward = snake->backward = NULL;
    tuff_result result = tuff_operator_create(device, &backward, &snake->backward);
    if (result == TUFF_OK) result = tuff_operator_create(device, &forward, &snake->forward);
    if (result != TUFF_OK) snake_destroy(snake);
    return result;
}

void snake_destroy(snake *snake) {
    tuff_operator_destroy(snake->forward);
    tuff_operator_destroy(snake->backward);
    snake->forward = snake->backward = NULL;
}

tuff_tensor *snake_apply(const snake *snake, tuff_tensor *x, tuff_tensor *a) {
    return tuff_operator_apply(snake->forward, (tuff_tensor *[]){ x, a }, NULL);
}

tuff_tensor *snake_layer(const snake *snake, tuff_tensor *x, const char *name, float frequency) {
    if (!x) return NULL;
    char full[64];
    snprintf(full, sizeof full, "%s.a", name);
    tuff_tensor *a = tuff_parameter(tuff_tensor_graph(x), full, TUFF_SHAPE(tuff_tensor_shape(x).sizes[1]),
                                    &(tuff_init_desc){ TUFF_INIT_CONSTANT, frequency });
    return snake_apply(snake, x, a);
}
