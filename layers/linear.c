/* The fully connected layer: a matrix product, whose epilogue adds the bias. */
#include "layers/families.h"
#include "layers/state.h"

#include <math.h>

static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *weight = node->inputs[1], *bias = node->inputs[2];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    const tuff_shape *xs = &x->shape, *ws = &weight->shape;
    if (xs->rank < 1 || ws->rank != 2 || xs->sizes[xs->rank - 1] != ws->sizes[1])
        return graph_fail(
            inference->graph, TUFF_ERROR_SHAPE,
            "%s: '%s' %s must have rank 1 or more and the weight '%s' %s the shape (features, size of the "
            "input's last axis)",
            node_text(node, text), x->name, shape_text(xs, first), weight->name, shape_text(ws, second));
    if (bias && (bias->shape.rank != 1 || bias->shape.sizes[0] != ws->sizes[0]))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: the bias '%s' %s must have the shape (%lld)",
                          node_text(node, text), bias->name, shape_text(&bias->shape, first), (long long)ws->sizes[0]);
    inference->shapes[0] = *xs;
    inference->shapes[0].sizes[xs->rank - 1] = ws->sizes[0];
    return TUFF_OK;
}

static tuff_result expand(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                          tuff_tensor **outputs) {
    (void)node, (void)training;
    outputs[0] = tuff_matmul(inputs[0], inputs[1], &(tuff_matmul_desc){ .transpose_b = true });
    if (inputs[2]) outputs[0] = tuff_add(outputs[0], inputs[2]);
    return graph->result;
}

static const operator linear = {
    .name = "linear",
    .formula = "y = input weight^T + bias",
    .inputs = { "input", "weight", "bias?" },
    .pytorch = "torch.nn.functional.linear",
    .limits = "no weight of one axis (tuff_matmul takes it)",
    .infer = infer,
    .expand = expand,
};

static const operator* const rows[] = { &linear };
const operator_family family_linear = { rows, sizeof rows / sizeof *rows };

/* What the descriptor says beside weight and bias that are given: nothing, or the same. */
static bool agrees(tuff_graph *graph, const tuff_linear_desc *desc) {
    char text[SHAPE_TEXT];
    const char *name = desc->name ? desc->name : "";
    if (!desc->weight)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_linear '%s': a bias is given, but no weight", name);
    else if (desc->bias && desc->no_bias)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_linear '%s': a bias is given, and no_bias is set", name);
    else if (desc->features && desc->features != desc->weight->shape.sizes[0])
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_linear '%s': features is %lld, but the weight '%s' given is %s",
                   name, (long long)desc->features, desc->weight->name, shape_text(&desc->weight->shape, text));
    return graph->result == TUFF_OK;
}

tuff_tensor *tuff_linear(tuff_tensor *x, const tuff_linear_desc *desc) {
    if (!x) return NULL;
    tuff_graph *graph = x->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_linear_desc none;
    if (!desc) desc = &none;
    tuff_tensor *inputs[] = { x, desc->weight, desc->bias };
    if (desc->weight || desc->bias)
        return agrees(graph, desc) ? graph_apply(graph, &linear, inputs, 3, NULL, desc->name) : NULL;
    if (!layer_is_named(graph, "tuff_linear", desc->name)) return NULL;
    char text[SHAPE_TEXT];
    if (desc->features < 1) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_linear '%s': features is %lld, it must be at least 1", desc->name,
                   (long long)desc->features);
        return NULL;
    }
    if (x->shape.rank < 1) {
        graph_fail(graph, TUFF_ERROR_SHAPE, "tuff_linear '%s': '%s' %s must have rank 1 or more", desc->name, x->name,
                   shape_text(&x->shape, text));
        return NULL;
    }
    int64_t in = x->shape.sizes[x->shape.rank - 1];
    /* torch.nn.Linear: kaiming_uniform_(a=sqrt(5)) is U(-1/sqrt(in), 1/sqrt(in)), the bias the same */
    float bound = (float)(1 / sqrt((double)in));
    const state_desc weight_desc = { .name = "weight",
                                     .shape = TUFF_SHAPE(desc->features, in),
                                     .kind = TUFF_STATE_PARAMETER,
                                     .init = init_or(&desc->weight_init, TUFF_INIT_UNIFORM, bound),
                                     .fan_in = in,
                                     .fan_out = desc->features };
    uint32_t states = tuff_model_state_count(graph->model);
    inputs[1] = layer_state(graph, desc->name, &weight_desc);
    if (!desc->no_bias) {
        const state_desc bias_desc = { .name = "bias",
                                       .shape = TUFF_SHAPE(desc->features),
                                       .kind = TUFF_STATE_PARAMETER,
                                       .init = init_or(&desc->bias_init, TUFF_INIT_UNIFORM, bound) };
        inputs[2] = layer_state(graph, desc->name, &bias_desc);
    }
    return layer_end(graph, states, graph_apply(graph, &linear, inputs, 3, NULL, desc->name));
}
