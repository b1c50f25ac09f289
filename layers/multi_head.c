/* Multi-head attention: the layer, made of products, views and scaled_dot_product_attention.
 * torch.nn.MultiheadAttention.
 *
 * The projections of query, key and value stand in one parameter, so that self-attention is one product, whose parts
 * the heads look at where they lie. */
#include "layers/attention.h"
#include "layers/state.h"
#include "runtime/graph/operator.h"

#include <tuff/layers.h>

#include <stdio.h>

typedef struct sizes {
    int64_t features, key_features, value_features; /* of the three tensors */
    int64_t heads, key_heads, head;
} sizes;

static bool refuse(tuff_graph *graph, const char *name, const char *what, int64_t value, const char *rule) {
    graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_multihead_attention '%.100s': %s is %lld, %s", name, what,
               (long long)value, rule);
    return false;
}

static int64_t last_of(const tuff_tensor *x) {
    return x->shape.sizes[x->shape.rank - 1];
}

static bool find_sizes(tuff_graph *graph, const tuff_multihead_attention_desc *desc, const tuff_tensor *query,
                       const tuff_tensor *key, const tuff_tensor *value, sizes *sizes) {
    const tuff_tensor *all[] = { query, key, value };
    char text[SHAPE_TEXT];
    for (int i = 0; i < 3; i++)
        if (all[i]->shape.rank < 2 || all[i]->shape.rank >= TUFF_MAX_RANK) {
            graph_fail(graph, TUFF_ERROR_SHAPE,
                       "tuff_multihead_attention '%s': '%s' %s must have rank 2 to %d: (..., length, features)",
                       desc->name, all[i]->name, shape_text(&all[i]->shape, text), TUFF_MAX_RANK - 1);
            return false;
        }
    sizes->features = last_of(query);
    sizes->key_features = last_of(key);
    sizes->value_features = last_of(value);
    sizes->heads = desc->heads;
    sizes->key_heads = desc->key_value_heads ? desc->key_value_heads : desc->heads;
    if (sizes->heads < 1 || sizes->features % sizes->heads)
        return refuse(graph, desc->name, "heads", desc->heads, "it must divide the query's features");
    if (sizes->key_heads < 1 || sizes->heads % sizes->key_heads)
        return refuse(graph, desc->name, "key_value_heads", desc->key_value_heads, "it must divide heads");
    sizes->head = sizes->features / sizes->heads;
    return true;
}

static tuff_tensor *projection(tuff_graph *graph, const char *layer, const char *name, int64_t rows, int64_t columns) {
    return layer_state(graph, layer,
                       &(state_desc){ .name = name,
                                      .shape = TUFF_SHAPE(rows, columns),
                                      .kind = TUFF_STATE_PARAMETER,
                                      .init = { TUFF_INIT_XAVIER_UNIFORM, 1 },
                                      .fan_in = columns,
                                      .fan_out = rows });
}

static tuff_tensor *project(tuff_tensor *x, tuff_tensor *weight, tuff_tensor *bias) {
    tuff_tensor *y = tuff_matmul(x, weight, &(tuff_matmul_desc){ .transpose_b = true });
    return bias ? tuff_add(y, bias) : y;
}

/* Consecutive parts along an axis. */
static void split(tuff_tensor *x, const int64_t *sections, uint32_t count, int32_t axis, tuff_tensor **parts) {
    for (uint32_t i = 0; i < count; i++) parts[i] = NULL;
    if (x) tuff_split_sections(x, sections, count, axis, parts);
}

/* The projected query, key and value, (..., length, heads * head) each. */
static void project_all(tuff_graph *graph, const tuff_multihead_attention_desc *desc, const sizes *sizes,
                        tuff_tensor *query, tuff_tensor *key, tuff_tensor *value, tuff_tensor *out[3]) {
    int64_t width = sizes->features, key_width = sizes->key_heads * sizes->head;
    const int64_t sections[] = { width, key_width, key_width }, two[] = { width, 2 * key_width };
    bool packed = sizes->key_features == width && sizes->value_features == width;
    tuff_tensor *weight = NULL, *bias = NULL, *weights[3] = { NULL }, *biases[3] = { NULL };
    if (packed) {
        weight = projection(graph, desc->name, "in_proj_weight", width + 2 * key_width, width);
    } else {
        weights[0] = projection(graph, desc->name, "q_proj_weight", width, width);
        weights[1] = projection(graph, desc->name, "k_proj_weight", key_width, sizes->key_features);
        weights[2] = projection(graph, desc->name, "v_proj_weight", key_width, sizes->value_features);
    }
    if (!desc->no_bias)
        bias = layer_state(graph, desc->name,
                           &(state_desc){ .name = "in_proj_bias",
                                          .shape = TUFF_SHAPE(width + 2 * key_width),
                                          .kind = TUFF_STATE_PARAMETER,
                                          .init = { TUFF_INIT_ZEROS, 0 } });
    if (packed && query == key && key == value) {
        split(project(query, weight, bias), sections, 3, -1, out);
    } else if (packed && key == value) {
        split(weight, two, 2, 0, weights);
        if (bias) split(bias, two, 2, 0, biases);
        out[0] = project(query, weights[0], biases[0]);
        const int64_t halves[] = { key_width, key_width };
        split(project(key, weights[1], biases[1]), halves, 2, -1, out + 1);
    } else {
        if (packed) split(weight, sections, 3, 0, weights);
        if (bias) split(bias, sections, 3, 0, biases);
        tuff_tensor *from[] = { query, key, value };
        for (int i = 0; i < 3; i++) out[i] = project(from[i], weights[i], biases[i]);
    }
}

/* (..., L, heads * head) to (..., heads, L, head), a view for any batch and length. */
static tuff_tensor *to_heads(tuff_tensor *x, int64_t heads, int64_t head) {
    return tuff_transpose(tuff_unflatten(x, -1, (int64_t[]){ heads, head }, 2), -2, -3);
}

static tuff_tensor *from_heads(tuff_tensor *x) {
    return tuff_flatten_axes(tuff_transpose(x, -2, -3), -2, -1);
}

/* Products would be made before graph_apply saw them. */
static bool are_ours(tuff_graph *graph, const tuff_multihead_attention_desc *desc, const tuff_tensor *key,
                     const tuff_tensor *value) {
    const tuff_tensor *all[] = { key, value, desc->mask, desc->key_padding_mask, desc->positions };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] && all[i]->graph != graph) {
            graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_multihead_attention '%s': '%s' belongs to another graph",
                       desc->name, all[i]->name);
            return false;
        }
    if (!desc->positions || desc->rotary) return true;
    graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_multihead_attention '%s': positions are rotary's, which is NULL",
               desc->name);
    return false;
}

/* What is added to the scores: of PyTorch's two masks, where a truth value means that a key is not seen. */
static bool find_mask(tuff_graph *graph, const tuff_multihead_attention_desc *desc, const tuff_tensor *key,
                      tuff_tensor **mask) {
    *mask = mask_as_scores(desc->mask, false);
    tuff_tensor *padding = desc->key_padding_mask;
    if (!padding) return graph->result == TUFF_OK;
    const tuff_shape *shape = &padding->shape;
    char first[SHAPE_TEXT], second[SHAPE_TEXT];
    bool fits = shape->rank == key->shape.rank - 1 && (padding->type == TUFF_U8 || padding->type == TUFF_F32);
    for (uint32_t i = 0; fits && i < shape->rank; i++) fits = shape->sizes[i] == key->shape.sizes[i];
    if (!fits) {
        graph_fail(
            graph, TUFF_ERROR_SHAPE,
            "tuff_multihead_attention '%s': key_padding_mask '%s' %s must be uint8 or float32 and have the shape "
            "of '%s' %s without its features",
            desc->name, padding->name, shape_text(shape, first), key->name, shape_text(&key->shape, second));
        return false;
    }
    padding = mask_as_scores(tuff_unsqueeze(tuff_unsqueeze(padding, -2), -2), false); /* heads, queries */
    *mask = *mask ? tuff_add(*mask, padding) : padding;
    return graph->result == TUFF_OK;
}

static tuff_tensor *build(tuff_graph *graph, const tuff_multihead_attention_desc *desc, tuff_tensor *query,
                          tuff_tensor *key, tuff_tensor *value) {
    sizes sizes;
    tuff_tensor *parts[3] = { NULL }, *mask;
    char name[512];
    if (!are_ours(graph, desc, key, value)) return NULL;
    if (!find_sizes(graph, desc, query, key, value, &sizes) || !find_mask(graph, desc, key, &mask)) return NULL;
    int length = snprintf(name, sizeof name, "%s.out_proj", desc->name);
    if (length >= (int)sizeof name) {
        refuse(graph, desc->name, "the length of its name", length, "which is too long");
        return NULL;
    }
    project_all(graph, desc, &sizes, query, key, value, parts);
    for (int i = 0; i < 3; i++) parts[i] = to_heads(parts[i], i ? sizes.key_heads : sizes.heads, sizes.head);
    if (desc->cache_length && (desc->dropout > 0 || query != key || key != value || desc->key_padding_mask)) {
        refuse(graph, desc->name, "cache_length", desc->cache_length,
               "but a cache is for self-attention without dropout and without key_padding_mask");
        return NULL;
    }
    for (int i = 0; i < 2 && desc->rotary; i++) {
        tuff_rotary_desc rotary = *desc->rotary;
        rotary.cached |= desc->cache_length != 0;
        parts[i] = tuff_rotary(parts[i], desc->positions, &rotary);
    }
    bool grouped = sizes.heads != sizes.key_heads;
    tuff_tensor *y;
    if (desc->cache_length)
        y = tuff_cached_attention(
            parts[0], parts[1], parts[2],
            &(tuff_cached_attention_desc){
                .name = desc->name, .max_length = desc->cache_length, .mask = mask, .grouped_heads = grouped });
    else
        y = tuff_scaled_dot_product_attention(parts[0], parts[1], parts[2],
                                              &(tuff_attention_desc){ .name = desc->name,
                                                                      .mask = mask,
                                                                      .dropout = desc->dropout,
                                                                      .causal = desc->causal,
                                                                      .grouped_heads = grouped });
    return tuff_linear(from_heads(y), &(tuff_linear_desc){ .name = name,
                                                           .features = sizes.features,
                                                           .no_bias = desc->no_bias,
                                                           .bias_init = { TUFF_INIT_ZEROS, 0 } });
}

tuff_tensor *tuff_multihead_attention(tuff_tensor *query, tuff_tensor *key, tuff_tensor *value,
                                      const tuff_multihead_attention_desc *desc) {
    if (!query) return NULL;
    tuff_graph *graph = query->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_multihead_attention_desc none;
    if (!desc) desc = &none;
    if (!layer_is_named(graph, "tuff_multihead_attention", desc->name)) return NULL;
    if (!key) key = query;
    if (!value) value = key;
    uint32_t states = tuff_model_state_count(graph->model);
    return layer_end(graph, states, build(graph, desc, query, key, value));
}
