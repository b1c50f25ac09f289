/* Batch normalisation (Ioffe and Szegedy 2015) over every axis but axis 1.
 *
 *   y = (x - mean) / sqrt(var + epsilon) * weight + bias
 *
 * All rows here are composites: means and chains that fuse. A channel's mean is kept as its first element, x0, and the
 * mean of x - x0: the rounding of a large mean would shift all of y. The variance is the mean of squared deviations
 * from the mean, in a pass of its own: the difference of two large means would lose it. The batch's statistics of the
 * forward pass, of the backward pass and of what is assigned to the running ones are the same nodes and become one. */
#include "layers/normalisation.h"

#include "layers/families.h"
#include "layers/state.h"

#include <stdio.h>

enum { EPSILON = 0 }; /* of batch_norm and its backward row */

static const attribute norm_attributes[] = { [EPSILON] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1e-5 } };
const attribute running_attributes[1] = { [MOMENTUM] = {
                                              .name = "momentum", .type = ATTRIBUTE_FLOAT, .value.f = 0.1 } };

/* ---- statistics --------------------------------------------------------------------------------- */

static tuff_reduce_desc over_batch(const tuff_tensor *x) {
    tuff_reduce_desc desc = { .keepdim = true };
    for (uint32_t axis = 0; axis < x->shape.rank; axis++)
        if (axis != 1) desc.axes[desc.axis_count++] = (int32_t)axis;
    return desc;
}

/* Elements of each channel. */
static double batch_count(const tuff_tensor *x) {
    return (double)tuff_shape_count(&x->shape) / (double)x->shape.sizes[1];
}

tuff_tensor *as_channels(tuff_tensor *vector, const tuff_tensor *x) {
    tuff_shape shape = { .rank = x->shape.rank };
    for (uint32_t axis = 0; axis < shape.rank; axis++) shape.sizes[axis] = axis == 1 ? x->shape.sizes[1] : 1;
    return tuff_reshape(vector, shape);
}

tuff_tensor *as_vector(tuff_tensor *channels, const tuff_tensor *x) {
    return tuff_reshape(channels, TUFF_SHAPE(x->shape.sizes[1]));
}

tuff_tensor *variance_about(tuff_tensor *x, tuff_tensor *mean, const tuff_reduce_desc *axes) {
    return tuff_mean(tuff_square(tuff_sub(x, mean)), axes);
}

tuff_tensor *inverse_deviation(tuff_tensor *variance, double epsilon) {
    return tuff_rsqrt(tuff_scale(variance, 1.0f, (float)epsilon));
}

/* mean = from + rest; rest is NULL where the mean is a running one. */
typedef struct centre {
    tuff_tensor *from, *rest;
} centre;

static centre centre_of(tuff_tensor *x) {
    tuff_reduce_desc axes = over_batch(x);
    tuff_tensor *from = x;
    for (uint32_t axis = 0; axis < x->shape.rank; axis++)
        if (axis != 1) from = tuff_slice(from, (int32_t)axis, 0, 1, 1);
    return (centre){ from, tuff_mean(tuff_sub(x, from), &axes) };
}

static tuff_tensor *mean_of(tuff_tensor *x) {
    centre centre = centre_of(x);
    return tuff_add(centre.from, centre.rest);
}

static tuff_tensor *variance_of(tuff_tensor *x, const centre *centre) {
    tuff_reduce_desc axes = over_batch(x);
    return variance_about(tuff_sub(x, centre->from), centre->rest, &axes);
}

static tuff_result finish(tuff_graph *graph) {
    return graph->result;
}

/* ---- infer -------------------------------------------------------------------------------------- */

tuff_result check_channels(inference *inference, uint32_t x_index) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[x_index];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (x->shape.rank < 2 || x->shape.rank > 5)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have rank 2 to 5: (N, C) or (N, C, ...)", node_text(node, text), x->name,
                          shape_text(&x->shape, first));
    for (uint32_t i = x_index + 1; i < node->input_count; i++) {
        const tuff_tensor *vector = node->inputs[i];
        if (!vector) continue;
        if (vector->shape.rank != 1 || vector->shape.sizes[0] != x->shape.sizes[1])
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                              "%s: '%s' %s does not fit the %lld channels of '%s' %s", node_text(node, text),
                              vector->name, shape_text(&vector->shape, first), (long long)x->shape.sizes[1], x->name,
                              shape_text(&x->shape, second));
    }
    return TUFF_OK;
}

/* Both running statistics or neither. */
static tuff_result check_running(inference *inference, uint32_t first) {
    const node *node = inference->node;
    char text[160];
    if (!node->inputs[first] == !node->inputs[first + 1]) return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: running_mean and running_var must be given together",
                      node_text(node, text));
}

static tuff_result infer_norm(inference *inference) {
    TRY(check_channels(inference, 0));
    TRY(check_running(inference, 1));
    inference->shapes[0] = inference->node->inputs[0]->shape;
    return TUFF_OK;
}

static tuff_result infer_backward(inference *inference) {
    const node *node = inference->node;
    TRY(check_channels(inference, 1));
    inference->output_count = 3;
    inference->shapes[0] = node->inputs[1]->shape;
    inference->shapes[1] = inference->shapes[2] = TUFF_SHAPE(node->inputs[1]->shape.sizes[1]);
    return TUFF_OK;
}

static tuff_result infer_running(inference *inference) {
    TRY(check_channels(inference, 0));
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

/* ---- batch_norm: x, running_mean?, running_var?, weight?, bias? --------------------------------- */

static tuff_result check_batch(tuff_graph *graph, const node *node, const tuff_tensor *x) {
    char text[160], shape[SHAPE_TEXT];
    if (batch_count(x) >= 2) return TUFF_OK;
    return graph_fail(graph, TUFF_ERROR_SHAPE,
                      "%s: training needs more than one value for each channel, '%s' has the shape %s",
                      node_text(node, text), x->name, shape_text(&x->shape, shape));
}

static tuff_result expand_norm(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    tuff_tensor *x = inputs[0], *variance;
    centre centre;
    if (training || !inputs[1]) {
        TRY(check_batch(graph, node, x));
        centre = centre_of(x);
        variance = variance_of(x, &centre);
    } else {
        centre = (struct centre){ as_channels(inputs[1], x), NULL };
        variance = as_channels(inputs[2], x);
    }
    tuff_tensor *factor = inverse_deviation(variance, node->attributes[EPSILON].f);
    if (inputs[3]) factor = tuff_mul(factor, as_channels(inputs[3], x));
    /* a value for each channel, so that the large chain has an input less */
    tuff_tensor *level = inputs[4] ? as_channels(inputs[4], x) : NULL;
    if (centre.rest) {
        tuff_tensor *rest = tuff_mul(centre.rest, factor);
        level = level ? tuff_sub(level, rest) : tuff_neg(rest);
    }
    outputs[0] = tuff_mul(tuff_sub(x, centre.from), factor);
    if (level) outputs[0] = tuff_add(outputs[0], level);
    return finish(graph);
}

static const operator batch_norm_backward;

static tuff_result gradient_norm(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    tuff_graph *graph = node_graph(node);
    tuff_tensor *inputs[] = { grad_outputs[0], node->inputs[0], node->inputs[1], node->inputs[2], node->inputs[3] };
    tuff_tensor *first = graph_apply(graph, &batch_norm_backward, inputs, 5, node->attributes, NULL);
    if (!first) return graph->result;
    grad_inputs[0] = first;
    if (needs & 1u << 3) grad_inputs[3] = first->producer->outputs[1];
    if (needs & 1u << 4) grad_inputs[4] = first->producer->outputs[2];
    return TUFF_OK;
}

static const operator batch_norm = {
    .name = "batch_norm",
    .flags = OPERATOR_TRAINING,
    .formula =
        "y = (x - mean) / sqrt(var + eps) * weight + bias; without running statistics the batch's, in evaluation too",
    .inputs = { "input", "running_mean?", "running_var?", "weight?", "bias?" },
    .pytorch = "torch.nn.functional.batch_norm",
    .limits = "no momentum: the running statistics are read, tuff_batch_norm updates them",
    .attributes = norm_attributes,
    .attribute_count = 1,
    .infer = infer_norm,
    .gradient = gradient_norm,
    .expand = expand_norm,
};

/* ---- its gradient: gradient, x, running_mean?, running_var?, weight? ----------------------------- */

/* With n elements a channel, d = x - mean, r = 1 / sqrt(var + epsilon), h = d r:
 *   gbias = sum g, gweight = sum g h, gx = weight r (g - gbias / n - h gweight / n)
 * and in evaluation, where mean and var are constants, gx = weight r g. */
static tuff_result expand_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    tuff_tensor *g = inputs[0], *x = inputs[1];
    training |= !inputs[2];
    centre centre = training ? centre_of(x) : (struct centre){ as_channels(inputs[2], x), NULL };
    tuff_tensor *variance = training ? variance_of(x, &centre) : as_channels(inputs[3], x);
    tuff_tensor *r = inverse_deviation(variance, node->attributes[EPSILON].f);
    tuff_reduce_desc axes = over_batch(x);
    /* x - x0 is written otherwise than in the forward pass, and otherwise again for gx, so that it is computed again
     * from x and not kept */
    tuff_tensor *from_first = tuff_add(x, tuff_neg(centre.from));
    tuff_tensor *d = centre.rest ? tuff_sub(from_first, centre.rest) : from_first;
    tuff_tensor *gbias = tuff_sum(g, &axes), *gweight = tuff_mul(tuff_sum(tuff_mul(g, d), &axes), r);
    tuff_tensor *factor = inputs[4] ? tuff_mul(r, as_channels(inputs[4], x)) : r, *gx = tuff_mul(g, factor);
    if (training) { /* g factor + (x0 - x) slope + level: what is the same for a channel is made once */
        tuff_tensor *share = tuff_scale(factor, (float)(1 / batch_count(x)), 0);
        tuff_tensor *slope = tuff_mul(tuff_mul(share, gweight), r);
        tuff_tensor *level = tuff_sub(tuff_mul(slope, centre.rest), tuff_mul(share, gbias));
        gx = tuff_add(gx, tuff_add(tuff_mul(tuff_sub(centre.from, x), slope), level));
    }
    outputs[0] = gx;
    outputs[1] = as_vector(gweight, x);
    outputs[2] = as_vector(gbias, x);
    return finish(graph);
}

static const operator batch_norm_backward = {
    .name = "batch_norm_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "the gradients of batch_norm with respect to x, weight and bias",
    .inputs = { "grad_output", "input", "running_mean?", "running_var?", "weight?" },
    .attributes = norm_attributes,
    .attribute_count = 1,
    .infer = infer_backward,
    .expand = expand_backward,
};

/* ---- what the running statistics become: x, running ---------------------------------------------- */

tuff_tensor *blend(tuff_tensor *running, tuff_tensor *statistic, float momentum) {
    return tuff_add(tuff_scale(running, 1 - momentum, 0), tuff_scale(statistic, momentum, 0));
}

static tuff_result expand_running(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                  tuff_tensor *statistic, tuff_tensor **outputs) {
    outputs[0] = blend(inputs[1], as_vector(statistic, inputs[0]), (float)node->attributes[MOMENTUM].f);
    return finish(graph);
}

static tuff_result expand_running_mean(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                       tuff_tensor **outputs) {
    outputs[0] = inputs[1];
    if (!training) return TUFF_OK;
    return expand_running(graph, node, inputs, mean_of(inputs[0]), outputs);
}

static tuff_result expand_running_var(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    outputs[0] = inputs[1];
    if (!training) return TUFF_OK;
    TRY(check_batch(graph, node, inputs[0]));
    double n = batch_count(inputs[0]);
    centre centre = centre_of(inputs[0]);
    tuff_tensor *variance = variance_of(inputs[0], &centre);
    return expand_running(graph, node, inputs, tuff_scale(variance, (float)(n / (n - 1)), 0), outputs);
}

const operator batch_norm_running_mean = {
    .name = "batch_norm_running_mean",
    .formula = "y = (1 - momentum) running + momentum mean(x)",
    .inputs = { "input", "running" },
    .attributes = running_attributes,
    .attribute_count = 1,
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .infer = infer_running,
    .expand = expand_running_mean,
};

static const operator batch_norm_running_var = {
    .name = "batch_norm_running_var",
    .formula = "y = (1 - momentum) running + momentum var(x), the variance unbiased",
    .inputs = { "input", "running" },
    .attributes = running_attributes,
    .attribute_count = 1,
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .infer = infer_running,
    .expand = expand_running_var,
};

/* ---- the layer ---------------------------------------------------------------------------------- */

void follow_statistic(tuff_graph *graph, const operator* op, tuff_tensor *x, tuff_tensor *running, float momentum) {
    assignment *earlier = NULL;
    for (uint32_t i = 0; i < graph->assignment_count; i++)
        if (graph->assignments[i].state == running) earlier = &graph->assignments[i];
    const attribute_value attributes[] = { [MOMENTUM] = { .f = momentum } };
    tuff_tensor *inputs[] = { x, earlier ? earlier->value : running };
    tuff_tensor *next = graph_apply(graph, op, inputs, 2, attributes, running->name);
    if (next && earlier)
        earlier->value = next;
    else if (next)
        tuff_assign(running, next);
}

tuff_tensor *tuff_batch_norm(tuff_tensor *x, const tuff_batch_norm_desc *desc) {
    if (!x) return NULL;
    tuff_graph *graph = x->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_batch_norm_desc none;
    if (!desc) desc = &none;
    bool own = !desc->weight && !desc->bias && !desc->no_affine;
    if ((own || !desc->no_running) && !layer_is_named(graph, "tuff_batch_norm", desc->name)) return NULL;
    const char *name = desc->name ? desc->name : "";
    char text[SHAPE_TEXT];
    if (x->shape.rank < 2) {
        graph_fail(graph, TUFF_ERROR_SHAPE, "tuff_batch_norm '%s': '%s' %s has no axis 1", name, x->name,
                   shape_text(&x->shape, text));
        return NULL;
    }
    double epsilon = desc->epsilon == 0 ? 1e-5 : (double)desc->epsilon;
    float momentum = desc->momentum == 0 ? 0.1f : desc->momentum < 0 ? 0 : desc->momentum;
    if (!(epsilon > 0) || !(momentum <= 1)) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_batch_norm '%s': epsilon %g, momentum %g are out of range", name,
                   epsilon, (double)momentum);
        return NULL;
    }
    static const struct {
        const char *name;
        tuff_state_kind kind;
        float value;
    } states[] = { { "running_mean", TUFF_STATE_BUFFER, 0 },
                   { "running_var", TUFF_STATE_BUFFER, 1 },
                   { "weight", TUFF_STATE_PARAMETER, 1 },
                   { "bias", TUFF_STATE_PARAMETER, 0 } };
    uint32_t before = tuff_model_state_count(graph->model);
    tuff_tensor *inputs[5] = { x, NULL, NULL, desc->weight, desc->bias };
    for (uint32_t i = desc->no_running ? 2 : 0; i < (own ? 4 : 2); i++) {
        const state_desc state = { .name = states[i].name,
                                   .shape = TUFF_SHAPE(x->shape.sizes[1]),
                                   .kind = states[i].kind,
                                   .init = { TUFF_INIT_CONSTANT, states[i].value } };
        if (!(inputs[1 + i] = layer_state(graph, desc->name, &state))) return layer_end(graph, before, NULL);
    }
    const attribute_value attributes[] = { [EPSILON] = { .f = epsilon } };
    tuff_tensor *y = graph_apply(graph, &batch_norm, inputs, 5, attributes, desc->name);
    if (!y) return layer_end(graph, before, NULL);
    if (inputs[1]) follow_statistic(graph, &batch_norm_running_mean, x, inputs[1], momentum);
    if (inputs[2]) follow_statistic(graph, &batch_norm_running_var, x, inputs[2], momentum);
    return layer_end(graph, before, y);
}

static const operator* const rows[] = {
    &batch_norm,
    &batch_norm_backward,
    &batch_norm_running_mean,
    &batch_norm_running_var,
    &operator_layer_norm,
    &operator_layer_norm_backward,
    &operator_rms_norm,
    &operator_rms_norm_backward,
    &operator_group_norm,
    &operator_group_norm_backward,
    &operator_instance_norm,
    &operator_instance_norm_backward,
    &operator_instance_norm_running_var,
    &operator_normalize,
    &operator_norm_rows,
    &operator_norm_rows_backward,
};
const operator_family family_normalisation = { rows, sizeof rows / sizeof *rows };
