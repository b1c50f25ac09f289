/* The fully connected layer: a matrix product, whose epilogue adds the bias. */
#include "layers/state.h"

#include <math.h>

tuff_tensor *tuff_linear(tuff_tensor *x, const tuff_linear_desc *desc) {
    if (!x) return NULL;
    tuff_graph *graph = x->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_linear_desc none;
    if (!desc) desc = &none;
    if (!layer_is_named(graph, "tuff_linear", desc->name)) return NULL;
    char text[SHAPE_TEXT];
    if (desc->features < 1) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_linear '%s': features is %lld, it must be at least 1", desc->name,
                   (long long)desc->features);
        return NULL;
    }
    if (x->shape.rank < 2) {
        graph_fail(graph, TUFF_ERROR_SHAPE, "tuff_linear '%s': '%s' %s must have rank 2 or more", desc->name, x->name,
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
    tuff_tensor *weight = layer_state(graph, desc->name, &weight_desc), *bias = NULL;
    if (!desc->no_bias) {
        const state_desc bias_desc = { .name = "bias",
                                       .shape = TUFF_SHAPE(desc->features),
                                       .kind = TUFF_STATE_PARAMETER,
                                       .init = init_or(&desc->bias_init, TUFF_INIT_UNIFORM, bound) };
        bias = layer_state(graph, desc->name, &bias_desc);
    }
    const char *outer = graph->scope;
    graph->scope = desc->name; /* labels both nodes */
    tuff_tensor *y = weight ? tuff_matmul(x, weight, &(tuff_matmul_desc){ .transpose_b = true }) : NULL;
    if (bias && y) y = tuff_add(y, bias);
    graph->scope = outer;
    return layer_end(graph, states, y);
}
