/* Normalisation within each example: layer, root mean square, group and instance normalisation, and division by a norm.
 *
 *   y = (x - mean) / sqrt(var + epsilon) * weight + bias
 *
 * over some axes of a view of x, which the kernels of norm_rows.c see as rows. */
#include "layers/axes.h"
#include "layers/normalisation.h"
#include "layers/pointwise.h"
#include "layers/reduction.h"

#include <math.h>

/* ---- the common part ----------------------------------------------------------------------------- */

/* Running statistics in place of x's own: constants. */
static tuff_tensor *given_inverse(tuff_tensor *running_var, const norm *n) {
    return inverse_deviation(as_channels(running_var, n->x), n->epsilon);
}

/* For a row's gradient: applies its backward row, whose outputs are the gradients of x, weight and bias. */
static tuff_result apply_backward(const operator* op, const node *node, tuff_tensor *const *grad_outputs,
                                  uint32_t needs, const uint32_t places[3], tuff_tensor **grad_inputs) {
    tuff_tensor *inputs[MAX_INPUTS] = { grad_outputs[0] };
    for (uint32_t i = 0; i < node->input_count; i++) inputs[1 + i] = node->inputs[i];
    tuff_tensor *first = graph_apply(node_graph(node), op, inputs, 1 + node->input_count, node->attributes, NULL);
    for (uint32_t i = 0; first && i < first->producer->output_count; i++)
        if (needs >> places[i] & 1) grad_inputs[places[i]] = first->producer->outputs[i];
    return node_graph(node)->result;
}

/* The gradients in the shapes of a backward row's outputs: x's, then the vectors'; missing ones are nothing's. */
static tuff_result finish_backward(tuff_graph *graph, tuff_tensor *const gradients[3], tuff_tensor *const likes[3],
                                   tuff_tensor **outputs) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < 3; i++)
        if (likes[i]) outputs[count++] = reshape_like(gradients[i], likes[i]);
    return graph->result;
}

/* ---- the last axes: layer_norm, rms_norm --------------------------------------------------------- */

static const attribute layer_attributes[] = {
    [LAYER_SHAPE] = { .name = "normalized_shape", .type = ATTRIBUTE_INTS, .required = true },
    [LAYER_EPSILON] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1e-5 },
};
static const attribute rms_attributes[] = {
    [LAYER_SHAPE] = { .name = "normalized_shape", .type = ATTRIBUTE_INTS, .required = true },
    [LAYER_EPSILON] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1.1920929e-7 },
};

static tuff_shape normalized_shape(const node *node) {
    const attribute_value *value = &node->attributes[LAYER_SHAPE];
    tuff_shape shape = { .rank = (uint32_t)(value->i < TUFF_MAX_RANK ? value->i : TUFF_MAX_RANK) };
    for (uint32_t i = 0; i < shape.rank; i++) shape.sizes[i] = value->list[i];
    return shape;
}

/* x at input `first`, then vectors of normalized_shape. */
static tuff_result check_last(inference *inference, uint32_t first) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[first];
    tuff_shape shape = normalized_shape(node);
    char text[160], given[SHAPE_TEXT], wanted[SHAPE_TEXT];
    bool fits = shape.rank > 0 && shape.rank == node->attributes[LAYER_SHAPE].i && shape.rank <= x->shape.rank;
    for (uint32_t i = 0; fits && i < shape.rank; i++)
        fits = shape.sizes[i] == x->shape.sizes[x->shape.rank - shape.rank + i];
    if (!fits)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: normalized_shape %s must be the sizes of the last axes of '%s' %s",
                          node_text(node, text), shape_text(&shape, wanted), x->name, shape_text(&x->shape, given));
    for (uint32_t i = first + 1; i < node->input_count; i++) {
        const tuff_tensor *vector = node->inputs[i];
        if (vector && !shape_equal(&vector->shape, &shape))
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape %s",
                              node_text(node, text), vector->name, shape_text(&vector->shape, given),
                              shape_text(&shape, wanted));
    }
    return TUFF_OK;
}

static tuff_result infer_last(inference *inference) {
    TRY(check_last(inference, 0));
    inference->shapes[0] = inference->node->inputs[0]->shape;
    return TUFF_OK;
}

/* grad_output, input and what vectors there are: as many gradients. */
static tuff_result infer_like_inputs(inference *inference) {
    const node *node = inference->node;
    inference->output_count = 0;
    for (uint32_t i = 1; i < node->input_count; i++)
        if (node->inputs[i]) inference->shapes[inference->output_count++] = node->inputs[i]->shape;
    return TUFF_OK;
}

static norm last_axes(const node *node, tuff_tensor *x, tuff_tensor *weight, tuff_tensor *bias, bool centred) {
    uint32_t axis = x->shape.rank - (uint32_t)node->attributes[LAYER_SHAPE].i;
    return (norm){ .x = x,
                   .weight = weight,
                   .bias = bias,
                   .axis = axis,
                   .spread = 1,
                   .epsilon = node->attributes[LAYER_EPSILON].f,
                   .centred = centred };
}

static tuff_result expand_layer_norm(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                     tuff_tensor **outputs) {
    (void)training;
    const norm n = last_axes(node, inputs[0], inputs[1], inputs[2], true);
    outputs[0] = norm_forward(&n);
    return graph->result;
}

static tuff_result expand_rms_norm(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    (void)training;
    const norm n = last_axes(node, inputs[0], inputs[1], NULL, false);
    outputs[0] = norm_forward(&n);
    return graph->result;
}

static tuff_result expand_last_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool centred,
                                        tuff_tensor **outputs) {
    const norm n = last_axes(node, inputs[1], inputs[2], centred ? inputs[3] : NULL, centred);
    tuff_tensor *gradients[3] = { NULL };
    norm_backward(&n, inputs[0], &gradients[0], &gradients[1], &gradients[2]);
    return finish_backward(graph, gradients, (tuff_tensor *const[]){ n.x, n.weight, n.bias }, outputs);
}

static tuff_result expand_layer_norm_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                              bool training, tuff_tensor **outputs) {
    (void)training;
    return expand_last_backward(graph, node, inputs, true, outputs);
}

static tuff_result expand_rms_norm_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                            bool training, tuff_tensor **outputs) {
    (void)training;
    return expand_last_backward(graph, node, inputs, false, outputs);
}

/* Where the gradients of input, weight and bias go; of the vectors only those that are there count. */
static void places_of(const node *node, uint32_t weight, uint32_t places[3]) {
    uint32_t count = 0;
    places[count++] = 0;
    for (uint32_t i = weight; i < weight + 2 && i < node->input_count; i++)
        if (node->inputs[i]) places[count++] = i;
}

static tuff_result gradient_layer_norm(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                       tuff_tensor **grad_inputs) {
    uint32_t places[3];
    places_of(node, 1, places);
    return apply_backward(&operator_layer_norm_backward, node, grad_outputs, needs, places, grad_inputs);
}

static tuff_result gradient_rms_norm(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                     tuff_tensor **grad_inputs) {
    uint32_t places[3];
    places_of(node, 1, places);
    return apply_backward(&operator_rms_norm_backward, node, grad_outputs, needs, places, grad_inputs);
}

const operator operator_layer_norm = {
    .name = "layer_norm",
    .formula = "y = (x - mean) / sqrt(var + eps) * weight + bias over the last axes",
    .inputs = { "input", "weight?", "bias?" },
    .pytorch = "torch.nn.functional.layer_norm",
    .attributes = layer_attributes,
    .attribute_count = 2,
    .infer = infer_last,
    .gradient = gradient_layer_norm,
    .expand = expand_layer_norm,
};

const operator operator_layer_norm_backward = {
    .name = "layer_norm_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "the gradients of layer_norm with respect to input, weight and bias",
    .inputs = { "grad_output", "input", "weight?", "bias?" },
    .attributes = layer_attributes,
    .attribute_count = 2,
    .shape_only = 1u << 3,
    .infer = infer_like_inputs,
    .expand = expand_layer_norm_backward,
};

const operator operator_rms_norm = {
    .name = "rms_norm",
    .formula = "y = x / sqrt(mean x^2 + eps) * weight over the last axes",
    .inputs = { "input", "weight?" },
    .pytorch = "torch.nn.functional.rms_norm",
    .attributes = rms_attributes,
    .attribute_count = 2,
    .infer = infer_last,
    .gradient = gradient_rms_norm,
    .expand = expand_rms_norm,
};

const operator operator_rms_norm_backward = {
    .name = "rms_norm_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "the gradients of rms_norm with respect to input and weight",
    .inputs = { "grad_output", "input", "weight?" },
    .attributes = rms_attributes,
    .attribute_count = 2,
    .infer = infer_like_inputs,
    .expand = expand_rms_norm_backward,
};

/* ---- groups of channels -------------------------------------------------------------------------- */

static const attribute group_attributes[] = {
    [GROUP_COUNT] = { .name = "num_groups", .type = ATTRIBUTE_INT, .required = true },
    [GROUP_EPSILON] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1e-5 },
};

static tuff_result infer_group_norm(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    int64_t groups = node->attributes[GROUP_COUNT].i;
    char text[160], shape[SHAPE_TEXT];
    TRY(check_channels(inference, 0));
    if (groups < 1 || x->shape.sizes[1] % groups != 0)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the %lld channels of '%s' %s do not make %lld groups of the same size",
                          node_text(node, text), (long long)x->shape.sizes[1], x->name, shape_text(&x->shape, shape),
                          (long long)groups);
    inference->shapes[0] = x->shape;
    return TUFF_OK;
}

/* x as (N, groups, C / groups, ...), the vectors as (groups, C / groups, 1 ...). */
static norm in_groups(const node *node, tuff_tensor *x, tuff_tensor *weight, tuff_tensor *bias) {
    norm n = { .whole = x, .axis = 2, .spread = 1, .epsilon = node->attributes[GROUP_EPSILON].f, .centred = true };
    int64_t groups = node->attributes[GROUP_COUNT].i, each = x->shape.sizes[1] / groups;
    tuff_shape shape = { .rank = x->shape.rank + 1, .sizes = { x->shape.sizes[0], groups, each } };
    tuff_shape vector = { .rank = x->shape.rank, .sizes = { groups, each } };
    for (uint32_t i = 2; i < x->shape.rank; i++) {
        shape.sizes[i + 1] = x->shape.sizes[i];
        vector.sizes[i] = 1;
        n.spread *= x->shape.sizes[i];
    }
    n.x = tuff_reshape(x, shape);
    if (weight) n.weight = tuff_reshape(weight, vector);
    if (bias) n.bias = tuff_reshape(bias, vector);
    return n;
}

static tuff_result expand_group_norm(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                     tuff_tensor **outputs) {
    (void)training;
    const norm n = in_groups(node, inputs[0], inputs[1], inputs[2]);
    outputs[0] = norm_forward(&n);
    return graph->result;
}

static tuff_result expand_group_norm_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                              bool training, tuff_tensor **outputs) {
    (void)training;
    const norm n = in_groups(node, inputs[1], inputs[2], inputs[3]);
    tuff_tensor *gradients[3] = { NULL };
    norm_backward(&n, reshape_like(inputs[0], n.x), &gradients[0], &gradients[1], &gradients[2]);
    return finish_backward(graph, gradients, inputs + 1, outputs);
}

static tuff_result gradient_group_norm(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                       tuff_tensor **grad_inputs) {
    uint32_t places[3];
    places_of(node, 1, places);
    return apply_backward(&operator_group_norm_backward, node, grad_outputs, needs, places, grad_inputs);
}

const operator operator_group_norm = {
    .name = "group_norm",
    .formula = "y = (x - mean) / sqrt(var + eps) * weight + bias over groups of an example's channels",
    .inputs = { "input", "weight?", "bias?" },
    .pytorch = "torch.nn.functional.group_norm",
    .attributes = group_attributes,
    .attribute_count = 2,
    .infer = infer_group_norm,
    .gradient = gradient_group_norm,
    .expand = expand_group_norm,
};

const operator operator_group_norm_backward = {
    .name = "group_norm_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "the gradients of group_norm with respect to input, weight and bias",
    .inputs = { "grad_output", "input", "weight?", "bias?" },
    .attributes = group_attributes,
    .attribute_count = 2,
    .shape_only = 1u << 3,
    .infer = infer_like_inputs,
    .expand = expand_group_norm_backward,
};

/* ---- each channel of each example ---------------------------------------------------------------- */

static const attribute instance_attributes[] = {
    [INSTANCE_STATISTICS] = { .name = "use_input_stats", .type = ATTRIBUTE_CHOICE, .choices = "true|false|training" },
    [INSTANCE_EPSILON] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1e-5 },
};

static int64_t instance_count(const tuff_tensor *x) {
    return tuff_shape_count(&x->shape) / x->shape.sizes[0] / x->shape.sizes[1];
}

static tuff_result infer_instance_norm(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    char text[160], shape[SHAPE_TEXT];
    TRY(check_channels(inference, 0));
    if (node->attributes[INSTANCE_STATISTICS].i != FROM_INPUT && (!node->inputs[1] || !node->inputs[2]))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                          "%s: without the input's statistics it needs running_mean and running_var",
                          node_text(node, text));
    if (node->attributes[INSTANCE_STATISTICS].i != FROM_RUNNING && instance_count(x) < 2)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s has one value in each channel: more are needed to normalise by their statistics",
                          node_text(node, text), x->name, shape_text(&x->shape, shape));
    inference->shapes[0] = x->shape;
    return TUFF_OK;
}

static bool uses_running(const node *node, bool training) {
    int64_t statistics = node->attributes[INSTANCE_STATISTICS].i;
    return statistics == FROM_RUNNING || (statistics == BY_PURPOSE && !training);
}

static norm by_channel(const node *node, tuff_tensor *x, tuff_tensor *weight, tuff_tensor *bias) {
    return (norm){ .x = x,
                   .weight = weight ? as_channels(weight, x) : NULL,
                   .bias = bias ? as_channels(bias, x) : NULL,
                   .axis = 2,
                   .spread = instance_count(x),
                   .epsilon = node->attributes[INSTANCE_EPSILON].f,
                   .centred = true };
}

static tuff_result expand_instance_norm(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                        tuff_tensor **outputs) {
    const norm n = by_channel(node, inputs[0], inputs[3], inputs[4]);
    if (uses_running(node, training)) {
        tuff_tensor *d = tuff_sub(n.x, as_channels(inputs[1], n.x));
        tuff_tensor *y = tuff_mul(d, given_inverse(inputs[2], &n));
        if (n.weight) y = tuff_mul(y, n.weight);
        outputs[0] = n.bias ? tuff_add(y, n.bias) : y;
    } else {
        outputs[0] = norm_forward(&n);
    }
    return graph->result;
}

static tuff_result expand_instance_norm_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                                 bool training, tuff_tensor **outputs) {
    const norm n = by_channel(node, inputs[1], inputs[4], inputs[5]);
    tuff_tensor *g = inputs[0], *gradients[3] = { NULL };
    if (uses_running(node, training)) {
        tuff_tensor *r = given_inverse(inputs[3], &n), *d = tuff_sub(n.x, as_channels(inputs[2], n.x));
        gradients[0] = tuff_mul(n.weight ? tuff_mul(g, n.weight) : g, r);
        if (n.weight) gradients[1] = sum_to(tuff_mul(g, tuff_mul(d, r)), n.weight);
        if (n.bias) gradients[2] = sum_to(g, n.bias);
    } else {
        norm_backward(&n, g, &gradients[0], &gradients[1], &gradients[2]);
    }
    return finish_backward(graph, gradients, (tuff_tensor *const[]){ n.x, inputs[4], inputs[5] }, outputs);
}

static tuff_result infer_instance_norm_backward(inference *inference) {
    const node *node = inference->node;
    inference->output_count = 0;
    for (uint32_t i = 1; i < node->input_count; i++)
        if (node->inputs[i] && i != 2 && i != 3) inference->shapes[inference->output_count++] = node->inputs[i]->shape;
    return TUFF_OK;
}

static tuff_result gradient_instance_norm(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                          tuff_tensor **grad_inputs) {
    uint32_t places[3];
    places_of(node, 3, places);
    return apply_backward(&operator_instance_norm_backward, node, grad_outputs, needs, places, grad_inputs);
}

const operator operator_instance_norm = {
    .name = "instance_norm",
    .flags = OPERATOR_TRAINING,
    .formula = "y = (x - mean) / sqrt(var + eps) * weight + bias over each channel of each example; "
               "use_input_stats=training: by the running statistics in evaluation",
    .inputs = { "input", "running_mean?", "running_var?", "weight?", "bias?" },
    .pytorch = "torch.nn.functional.instance_norm",
    .attributes = instance_attributes,
    .attribute_count = 2,
    .infer = infer_instance_norm,
    .gradient = gradient_instance_norm,
    .expand = expand_instance_norm,
};

const operator operator_instance_norm_backward = {
    .name = "instance_norm_backward",
    .flags = OPERATOR_INTERNAL | OPERATOR_TRAINING,
    .formula = "the gradients of instance_norm with respect to input, weight and bias",
    .inputs = { "grad_output", "input", "running_mean?", "running_var?", "weight?", "bias?" },
    .attributes = instance_attributes,
    .attribute_count = 2,
    .shape_only = 1u << 5,
    .infer = infer_instance_norm_backward,
    .expand = expand_instance_norm_backward,
};

/* What the running variance becomes: it follows the mean of the examples' unbiased variances. */
static tuff_result infer_running_var(inference *inference) {
    TRY(check_channels(inference, 0));
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

static tuff_result expand_running_var(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    outputs[0] = inputs[1];
    if (!training) return TUFF_OK;
    tuff_tensor *x = inputs[0];
    tuff_reduce_desc axes = { .keepdim = true };
    for (uint32_t i = 2; i < x->shape.rank; i++) axes.axes[axes.axis_count++] = (int32_t)i;
    double count = (double)instance_count(x);
    tuff_tensor *variance = variance_about(x, tuff_mean(x, &axes), &axes);
    tuff_tensor *batch = tuff_mean(variance, &(tuff_reduce_desc){ .axes = { 0 }, .axis_count = 1 });
    tuff_tensor *unbiased = tuff_scale(as_vector(batch, x), (float)(count / (count - 1)), 0);
    outputs[0] = blend(inputs[1], unbiased, (float)node->attributes[MOMENTUM].f);
    return graph->result;
}

const operator operator_instance_norm_running_var = {
    .name = "instance_norm_running_var",
    .formula = "y = (1 - momentum) running + momentum mean over examples of var(x), the variance unbiased",
    .inputs = { "input", "running" },
    .attributes = running_attributes,
    .attribute_count = 1,
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .infer = infer_running_var,
    .expand = expand_running_var,
};

/* ---- division by a norm -------------------------------------------------------------------------- */

enum { NORM_P = 0, NORM_AXES, NORM_EPSILON };
static const attribute normalize_attributes[] = {
    [NORM_P] = { .name = "p", .type = ATTRIBUTE_FLOAT, .value.f = 2 },
    [NORM_AXES] = { .name = "dim", .type = ATTRIBUTE_INTS, .value = { .i = 1, .list = { 1 } } },
    [NORM_EPSILON] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1e-12 },
};

/* The axes are checked where the norm is taken. */
static tuff_result infer_normalize(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    const attribute_value *axes = &node->attributes[NORM_AXES];
    uint32_t axis;
    for (int64_t i = 0; i < axes->i; i++) TRY(axis_check(inference, axes->list[i], x->shape.rank, &axis));
    inference->shapes[0] = x->shape;
    return TUFF_OK;
}

static tuff_result expand_normalize(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                    tuff_tensor **outputs) {
    (void)training;
    const attribute_value *axes = &node->attributes[NORM_AXES];
    const float epsilon = (float)node->attributes[NORM_EPSILON].f;
    tuff_reduce_desc desc = { .keepdim = true };
    for (int64_t i = 0; i < axes->i && i < TUFF_MAX_RANK; i++) desc.axes[desc.axis_count++] = (int32_t)axes->list[i];
    tuff_tensor *length = tuff_norm(inputs[0], (float)node->attributes[NORM_P].f, &desc);
    outputs[0] = tuff_div(inputs[0], tuff_clamp(length, epsilon, INFINITY));
    return graph->result;
}

const operator operator_normalize = {
    .name = "normalize",
    .formula = "x / max((sum |x|^p)^(1 / p), eps) over axes",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.normalize",
    .attributes = normalize_attributes,
    .attribute_count = 3,
    .infer = infer_normalize,
    .expand = expand_normalize,
};

tuff_tensor *tuff_normalize(tuff_tensor *x, int32_t axis, const tuff_normalize_desc *desc) {
    static const tuff_normalize_desc none;
    if (!desc) desc = &none;
    attribute_value attributes[] = { [NORM_P] = { .f = desc->p == 0 ? 2 : desc->p },
                                     [NORM_AXES] = { .i = 1, .list = { axis } },
                                     [NORM_EPSILON] = { .f = desc->epsilon == 0 ? 1e-12 : (double)desc->epsilon } };
    return apply_unary(&operator_normalize, x, attributes);
}
