/* Attention over a cache of keys and values, for generation: a run brings the keys and values of its own tokens, which
 * are written to the cache in place, and its queries see all that is there then.
 *
 * How many rows the cache has is no shape but a field of the step record, so a program is compiled and recorded once
 * for all lengths. */
#include "layers/attention.h"

#include "layers/families.h"
#include "layers/flat.h"
#include "layers/state.h"

#include <tuff/layers.h>

#include <string.h>

/* ---- writing ------------------------------------------------------------------------------------- */

static tuff_result infer_append(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *cache = node->inputs[0], *rows = node->inputs[1];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    uint32_t rank = cache->shape.rank;
    bool fits = cache->kind == TENSOR_STATE && rank == rows->shape.rank && rank >= 2 && rank <= 4;
    for (uint32_t i = 0; fits && i < rank; i++) {
        int64_t there = cache->shape.sizes[i], given = rows->shape.sizes[i];
        fits = i == rank - 2 ? given <= there : given == there;
    }
    if (!fits)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must be a buffer (N, heads, most rows, features) that has room for '%s' %s",
                          node_text(node, text), cache->name, shape_text(&cache->shape, first), rows->name,
                          shape_text(&rows->shape, second));
    inference->shapes[0] = cache->shape;
    return TUFF_OK;
}

static tuff_result lower_append(lowering *lowering, const node *node) {
    const view *cache = lowering_view(lowering, node->outputs[0]), *x = lowering_view(lowering, node->inputs[1]);
    uint32_t rank = x->shape.rank, firsts[2];
    int64_t rows = x->shape.sizes[rank - 2], features = x->shape.sizes[rank - 1], count = view_count(x);
    int64_t capacity = cache->shape.sizes[rank - 2];
    kernel_call call = { .kernel = KERNEL_ATTENTION_APPEND,
                         .operands = { lowering_operand(lowering, x, ACCESS_READ, &firsts[0]),
                                       lowering_operand(lowering, cache, ACCESS_READ | ACCESS_WRITE, &firsts[1]),
                                       lowering_step_record(lowering) },
                         .operand_count = 3,
                         .params = { (uint32_t)count, (uint32_t)rows, (uint32_t)features,
                                     rank > 2 ? (uint32_t)x->shape.sizes[rank - 3] : 1, (uint32_t)capacity,
                                     (uint32_t)x->strides[rank - 2], (uint32_t)x->strides[rank - 1],
                                     rank > 2 ? (uint32_t)x->strides[rank - 3] : 0,
                                     rank > 3 ? (uint32_t)x->strides[rank - 4] : 0, firsts[0], firsts[1] },
                         .param_count = 11 };
    lowering_cache_room(lowering, (uint64_t)(capacity - rows));
    flat_groups(&call, (uint64_t)count, 64);
    return lowering_call(lowering, &call);
}

static const operator operator_append = {
    .name = "cache_append",
    .formula = "the cache with rows written from its length on, in place",
    .inputs = { "cache", "rows" },
    .flags = OPERATOR_INTERNAL | OPERATOR_IN_PLACE,
    .infer = infer_append,
    .lower = lower_append,
};

/* ---- attention ----------------------------------------------------------------------------------- */

enum { SCALE, GQA };

static const attribute attributes[] = {
    [SCALE] = { .name = "scale", .type = ATTRIBUTE_FLOAT },
    [GQA] = { .name = "enable_gqa", .type = ATTRIBUTE_BOOL },
};

static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *query = node->inputs[0], *key = node->inputs[1], *value = node->inputs[2];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    uint32_t rank = query->shape.rank;
    if (rank < 2 || rank > 4 || key->shape.rank != rank || value->shape.rank != rank
        || key->shape.sizes[rank - 2] != query->shape.sizes[rank - 2])
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s and '%s' %s: query, key and value are those of the same new tokens, (N, heads, "
                          "length, features)",
                          node_text(node, text), query->name, shape_text(&query->shape, first), key->name,
                          shape_text(&key->shape, second));
    inference->shapes[0] = query->shape;
    inference->shapes[0].sizes[rank - 1] = value->shape.sizes[rank - 1];
    return TUFF_OK;
}

static tuff_result expand(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                          tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *key = graph_apply(graph, &operator_append, (tuff_tensor *[]){ inputs[3], inputs[1] }, 2, NULL, NULL);
    tuff_tensor *value = graph_apply(graph, &operator_append, (tuff_tensor *[]){ inputs[4], inputs[2] }, 2, NULL, NULL);
    tuff_tensor *mask = mask_as_scores(inputs[5], true);
    TRY(graph->result);
    outputs[0] =
        attention_over_cache(inputs[0], key, value, mask, node->attributes[SCALE].f, node->attributes[GQA].i != 0);
    return graph->result;
}

/* Here, since the parts' own refusal would name a part, and say that it has no second derivative. */
static tuff_result gradient(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                            tuff_tensor **grad_inputs) {
    (void)grad_outputs, (void)needs, (void)grad_inputs;
    char text[160];
    return graph_fail(node_graph(node), TUFF_ERROR_UNSUPPORTED,
                      "%s has no gradient: attention over a cache is for generation; train in a graph of the model "
                      "without the cache",
                      node_text(node, text));
}

static const operator cached_attention = {
    .name = "cached_attention",
    .formula = "causal attention over a cache's rows and new ones, which are written behind them; refuses a gradient",
    .inputs = { "query", "key", "value", "key_cache", "value_cache", "attn_mask?" },
    .limits = "the caches are states of a model; the mask, float32 or uint8, has a column for each row of the cache",
    .types = { [5] = TYPE_F32 | TYPE_U8 },
    .attributes = attributes,
    .attribute_count = sizeof attributes / sizeof *attributes,
    .flags = OPERATOR_INTERNAL, /* its caches are a model's: `tuff op` has none */
    .infer = infer,
    .gradient = gradient,
    .expand = expand,
};

static const operator* const rows[] = { &cached_attention, &operator_append };
const operator_family family_cache = { rows, sizeof rows / sizeof *rows };

/* ---- the public function ------------------------------------------------------------------------- */

static tuff_tensor *cache_of(tuff_graph *graph, const tuff_cached_attention_desc *desc, const char *name,
                             const tuff_tensor *rows) {
    tuff_shape shape = rows->shape;
    shape.sizes[shape.rank - 2] = desc->max_length;
    return layer_state(graph, desc->name, &(state_desc){ .name = name, .shape = shape, .kind = TUFF_STATE_CACHE });
}

static bool is_used(const tuff_graph *graph, const tuff_tensor *cache) {
    for (uint32_t n = 0; n < graph->node_count; n++)
        if (graph->nodes[n]->op == &cached_attention && graph->nodes[n]->inputs[3]->state == cache->state) return true;
    return false;
}

tuff_tensor *tuff_cached_attention(tuff_tensor *query, tuff_tensor *key, tuff_tensor *value,
                                   const tuff_cached_attention_desc *desc) {
    if (!query || !key || !value) return NULL;
    tuff_graph *graph = query->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_cached_attention_desc none;
    if (!desc) desc = &none;
    if (!layer_is_named(graph, "tuff_cached_attention", desc->name)) return NULL;
    if (key->shape.rank < 2 || value->shape.rank < 2 || desc->max_length < 1) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT,
                   "tuff_cached_attention '%s': max_length is %lld and must be at least 1; keys and values have rank 2 "
                   "to 4",
                   desc->name, (long long)desc->max_length);
        return NULL;
    }
    uint32_t states = tuff_model_state_count(graph->model);
    tuff_tensor *caches[] = { cache_of(graph, desc, "key_cache", key), cache_of(graph, desc, "value_cache", value) };
    if (caches[0] && is_used(graph, caches[0])) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_cached_attention '%s': its cache is used twice in one graph",
                   desc->name);
        return NULL;
    }
    tuff_tensor *inputs[] = { query, key, value, caches[0], caches[1], desc->mask };
    const attribute_value values[] = { [SCALE] = { .f = desc->scale }, [GQA] = { .i = desc->grouped_heads } };
    tuff_tensor *y = NULL;
    if (caches[0] && caches[1]) y = graph_apply(graph, &cached_attention, inputs, 6, values, desc->name);
    return layer_end(graph, states, y);
}
