/* Scaled dot-product attention: torch.nn.functional.scaled_dot_product_attention.
 *
 *   P = softmax(scale q k^T + mask),  O = dropout(P) v
 *
 * The matrix P is never stored. The forward pass walks over the keys with an online softmax and leaves the output and
 * the logarithm of each row's sum of exponentials; from those the backward pass computes P again, block by block (Dao
 * 2023, FlashAttention-2). So memory grows with the number of tokens, not with its square.
 *
 * The public row is a composite, since dropout is for training alone; its kernels are internal rows. */
#include "layers/attention.h"

#include "layers/families.h"
#include "layers/pointwise.h"

#include <math.h>
#include <string.h>

#define ATTRIBUTES                                                                                                     \
    [ATTENTION_DROPOUT] = { .name = "dropout_p", .type = ATTRIBUTE_FLOAT },                                            \
    [ATTENTION_CAUSAL] = { .name = "is_causal", .type = ATTRIBUTE_BOOL },                                              \
    [ATTENTION_SCALE] = { .name = "scale", .type = ATTRIBUTE_FLOAT },                                                  \
    [ATTENTION_GQA] = { .name = "enable_gqa", .type = ATTRIBUTE_BOOL }

static const attribute attributes[] = { ATTRIBUTES };
/* cached: keys and values are a cache's. needs: bit i, input i's gradient is wanted */
#define CACHED [ATTENTION_CACHED] = { .name = "cached", .type = ATTRIBUTE_BOOL }
static const attribute kernel_attributes[] = { ATTRIBUTES, CACHED };
static const attribute backward_attributes[] = {
    ATTRIBUTES, CACHED, [ATTENTION_NEEDS] = { .name = "needs", .type = ATTRIBUTE_INT }
};

/* ---- shapes -------------------------------------------------------------------------------------- */

/* Axes `from` to the end, counted from the last one, are of equal sizes. */
static bool equal_behind(const tuff_shape *a, const tuff_shape *b, uint32_t from) {
    for (uint32_t i = from; i < a->rank; i++)
        if (a->sizes[a->rank - 1 - i] != b->sizes[b->rank - 1 - i]) return false;
    return true;
}

static tuff_result fail_pair(inference *inference, const tuff_tensor *a, const tuff_tensor *b, const char *rule) {
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s and '%s' %s do not fit: %s",
                      node_text(inference->node, text), a->name, shape_text(&a->shape, first), b->name,
                      shape_text(&b->shape, second), rule);
}

static tuff_result check_heads(inference *inference, const tuff_tensor *query, const tuff_tensor *key) {
    uint32_t rank = query->shape.rank;
    if (rank < 3) return TUFF_OK;
    int64_t heads = query->shape.sizes[rank - 3], key_heads = key->shape.sizes[rank - 3];
    if (heads == key_heads) return TUFF_OK;
    if (!inference->node->attributes[ATTENTION_GQA].i)
        return fail_pair(inference, query, key, "their heads differ; enable_gqa lets several heads share a key's");
    if (heads % key_heads) return fail_pair(inference, query, key, "the query's heads are no multiple of the key's");
    return TUFF_OK;
}

static tuff_result check_mask(inference *inference, const tuff_shape *scores) {
    const tuff_tensor *mask = inference->node->inputs[ATTENTION_MASK];
    tuff_shape out;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (!mask || (shape_broadcast(&mask->shape, scores, &out) && shape_equal(&out, scores))) return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: the mask '%s' %s does not broadcast to the scores' %s",
                      node_text(inference->node, text), mask->name, shape_text(&mask->shape, first),
                      shape_text(scores, second));
}

/* Of every row that has query, key, value and mask. */
static tuff_result check(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *query = node->inputs[ATTENTION_QUERY], *key = node->inputs[ATTENTION_KEY];
    const tuff_tensor *value = node->inputs[ATTENTION_VALUE];
    const tuff_shape *q = &query->shape, *k = &key->shape, *v = &value->shape;
    char text[160], shape[SHAPE_TEXT];
    double dropout = node->attributes[ATTENTION_DROPOUT].f;
    if (!(dropout >= 0 && dropout <= 1))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: dropout_p is %g, it must be in [0, 1]",
                          node_text(node, text), dropout);
    if (!isfinite(node->attributes[ATTENTION_SCALE].f))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: scale is %g", node_text(node, text),
                          node->attributes[ATTENTION_SCALE].f);
    if (q->rank < 2)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have rank 2 or more: (..., heads, length, features)", node_text(node, text),
                          query->name, shape_text(q, shape));
    if (k->rank != q->rank || !equal_behind(q, k, 3) || q->sizes[q->rank - 1] != k->sizes[q->rank - 1])
        return fail_pair(inference, query, key, "the batch's axes and the features must be equal");
    if (v->rank != q->rank || !equal_behind(k, v, 1))
        return fail_pair(inference, key, value, "all axes but the last must be equal");
    TRY(check_heads(inference, query, key));
    int64_t features = q->sizes[q->rank - 1], value_features = v->sizes[q->rank - 1];
    if (features > ATTENTION_MOST_FEATURES || value_features > ATTENTION_MOST_FEATURES)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s has %lld features a head; at most %d are possible, so use more heads",
                          node_text(node, text), features > value_features ? query->name : value->name,
                          shape_text(features > value_features ? q : v, shape),
                          (long long)(features > value_features ? features : value_features), ATTENTION_MOST_FEATURES);
    if (q->rank > 2 && q->sizes[q->rank - 3] > ATTENTION_MOST_HEADS)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s has more than %d heads",
                          node_text(node, text), query->name, shape_text(q, shape), ATTENTION_MOST_HEADS);
    tuff_shape scores = *q;
    scores.sizes[q->rank - 1] = k->sizes[q->rank - 2];
    return check_mask(inference, &scores);
}

static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    TRY(check(inference));
    const tuff_shape *q = &node->inputs[ATTENTION_QUERY]->shape, *v = &node->inputs[ATTENTION_VALUE]->shape;
    inference->output_count = 2;
    inference->shapes[0] = *q;
    inference->shapes[0].sizes[q->rank - 1] = v->sizes[q->rank - 1];
    inference->shapes[1] = *q;
    inference->shapes[1].rank--;
    return TUFF_OK;
}

static tuff_result infer_statistics(inference *inference) {
    const tuff_shape *rows = &inference->node->inputs[2]->shape;
    inference->shapes[0] = TUFF_SHAPE(4 + 2 * tuff_shape_count(rows));
    return TUFF_OK;
}

static tuff_result infer_query(inference *inference) {
    inference->shapes[0] = inference->node->inputs[ATTENTION_QUERY]->shape;
    return TUFF_OK;
}

static tuff_result infer_key_value(inference *inference) {
    inference->output_count = 2;
    inference->shapes[0] = inference->node->inputs[ATTENTION_KEY]->shape;
    inference->shapes[1] = inference->node->inputs[ATTENTION_VALUE]->shape;
    return TUFF_OK;
}

static tuff_result infer_mask(inference *inference) {
    inference->shapes[0] = inference->node->inputs[ATTENTION_MASK]->shape;
    return TUFF_OK;
}

static tuff_result infer_backward(inference *inference) {
    inference->output_count = 3;
    for (uint32_t i = ATTENTION_QUERY; i <= ATTENTION_VALUE; i++)
        inference->shapes[i] = inference->node->inputs[i]->shape;
    const tuff_tensor *mask = inference->node->inputs[ATTENTION_MASK];
    if (mask) inference->shapes[inference->output_count++] = mask->shape;
    return TUFF_OK;
}

/* ---- kernels' rows ------------------------------------------------------------------------------- */

#define KERNEL_ROW                                                                                                     \
    .flags = OPERATOR_INTERNAL | OPERATOR_RANDOM, .attributes = kernel_attributes,                                     \
    .attribute_count = sizeof kernel_attributes / sizeof *kernel_attributes, .output_layout = LAYOUT_ROW_MAJOR
#define BACKWARD_ROW                                                                                                   \
    KERNEL_ROW,                                                                                                        \
        .inputs = { "query", "key", "value", "attn_mask?", "grad_output", "statistics" },                              \
        .input_layouts = { [ATTENTION_GRADIENT] = LAYOUT_ROW_MAJOR, [ATTENTION_STATISTICS] = LAYOUT_ROW_MAJOR }

static const operator operator_forward = {
    .name = "attention_forward",
    .formula = "softmax(scale query key^T + mask) value, and log sum exp of the scores",
    .inputs = { "query", "key", "value", "attn_mask?" },
    .outputs = { "output", "logsumexp" },
    KERNEL_ROW,
    .infer = infer,
    .lower = attention_lower,
};

tuff_tensor *attention_over_cache(tuff_tensor *query, tuff_tensor *key, tuff_tensor *value, tuff_tensor *mask,
                                  double scale, bool grouped) {
    if (!query || !key || !value) return NULL;
    const attribute_value values[] = { [ATTENTION_CAUSAL] = { .i = 1 },
                                       [ATTENTION_SCALE] = { .f = scale },
                                       [ATTENTION_GQA] = { .i = grouped },
                                       [ATTENTION_CACHED] = { .i = 1 } };
    return graph_apply(query->graph, &operator_forward, (tuff_tensor *[]){ query, key, value, mask }, 4, values, NULL);
}

static const operator operator_statistics = {
    .name = "attention_statistics",
    .formula = "log sum exp, and the sum of grad_output output, of each row",
    .inputs = { "grad_output", "output", "logsumexp", "grad_logsumexp?" },
    .flags = OPERATOR_INTERNAL,
    .infer = infer_statistics,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = attention_lower_statistics,
};

static const operator operator_query = {
    .name = "attention_grad_query",
    .formula = "scale dS key, dS = P (dP - D)",
    BACKWARD_ROW,
    .infer = infer_query,
    .lower = attention_lower_query,
};

static const operator operator_key_value = {
    .name = "attention_grad_key_value",
    .formula = "scale dS^T query; P^T grad_output",
    .outputs = { "grad_key", "grad_value" },
    BACKWARD_ROW,
    .infer = infer_key_value,
    .lower = attention_lower_key_value,
};

static const operator operator_mask = {
    .name = "attention_grad_mask",
    .formula = "dS, summed to the mask's shape",
    BACKWARD_ROW,
    .infer = infer_mask,
    .lower = attention_lower_mask,
};

/* ---- the backward pass --------------------------------------------------------------------------- */

/* A row applied in the stream of `of`'s dropout, which does nothing in evaluation. */
static tuff_tensor *apply_for(tuff_graph *graph, const operator* op, tuff_tensor *const *inputs, uint32_t count,
                              const node *of, bool training) {
    attribute_value values[MAX_ATTRIBUTES];
    memcpy(values, of->attributes, sizeof values);
    if (!training) values[ATTENTION_DROPOUT].f = 0;
    tuff_tensor *first = graph_apply(graph, op, inputs, count, values, NULL);
    if (first) first->producer->name_hash = of->name_hash;
    return first;
}

/* inputs: query, key, value, mask, gradient, output, logsumexp, logsumexp's gradient */
static tuff_result expand_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    int64_t needs = node->attributes[ATTENTION_NEEDS].i;
    tuff_tensor *of_rows[] = { inputs[4], inputs[5], inputs[6], inputs[7] };
    tuff_tensor *operands[] = {
        inputs[0], inputs[1], inputs[2],
        inputs[3], inputs[4], graph_apply(graph, &operator_statistics, of_rows, 4, NULL, NULL)
    };
    TRY(graph->result);
    if (needs & 1 << ATTENTION_QUERY) outputs[0] = apply_for(graph, &operator_query, operands, 6, node, training);
    if (needs & (1 << ATTENTION_KEY | 1 << ATTENTION_VALUE)) {
        outputs[1] = apply_for(graph, &operator_key_value, operands, 6, node, training);
        if (outputs[1]) outputs[2] = outputs[1]->producer->outputs[1];
    }
    if (needs & 1 << ATTENTION_MASK) outputs[3] = apply_for(graph, &operator_mask, operands, 6, node, training);
    return graph->result;
}

static const operator operator_backward = {
    .name = "scaled_dot_product_attention_backward",
    .formula = "the gradients of query, key, value and mask",
    .inputs = { "query", "key", "value", "attn_mask?", "grad_output", "output", "logsumexp", "grad_logsumexp?" },
    .outputs = { "grad_query", "grad_key", "grad_value", "grad_attn_mask" },
    .attributes = backward_attributes,
    .attribute_count = sizeof backward_attributes / sizeof *backward_attributes,
    .flags = OPERATOR_INTERNAL | OPERATOR_RANDOM | OPERATOR_TRAINING,
    .infer = infer_backward,
    .expand = expand_backward,
};

static tuff_result gradient(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                            tuff_tensor **grad_inputs) {
    tuff_tensor *output = node->outputs[0], *arrived = grad_outputs[0];
    tuff_graph *graph = node_graph(node);
    if (!arrived) arrived = tuff_constant(graph, 0, output->shape); /* only the logsumexp is used */
    tuff_tensor *mask = mask_as_scores(node->inputs[ATTENTION_MASK], true);
    TRY(graph->result);
    tuff_tensor *inputs[] = { node->inputs[0], node->inputs[1], node->inputs[2],  mask,
                              arrived,         output,          node->outputs[1], grad_outputs[1] };
    attribute_value values[MAX_ATTRIBUTES];
    memcpy(values, node->attributes, sizeof values);
    values[ATTENTION_NEEDS] = (attribute_value){ .i = needs };
    tuff_tensor *first = graph_apply(graph, &operator_backward, inputs, 8, values, NULL);
    if (!first) return graph->result;
    first->producer->name_hash = node->name_hash;
    for (uint32_t i = 0; i < first->producer->output_count; i++)
        if (needs >> i & 1) grad_inputs[i] = first->producer->outputs[i];
    return TUFF_OK;
}

/* ---- the public row ------------------------------------------------------------------------------ */

tuff_tensor *mask_as_scores(tuff_tensor *mask, bool seen) {
    if (!mask || mask->type == TUFF_F32) return mask;
    tuff_tensor *open = tuff_constant(mask->graph, 0, TUFF_SHAPE(1));
    tuff_tensor *shut = tuff_constant(mask->graph, -INFINITY, TUFF_SHAPE(1));
    return seen ? tuff_where(mask, open, shut) : tuff_where(mask, shut, open);
}

static tuff_result expand(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                          tuff_tensor **outputs) {
    tuff_tensor *operands[] = { inputs[0], inputs[1], inputs[2], mask_as_scores(inputs[ATTENTION_MASK], true) };
    TRY(graph->result);
    outputs[0] = apply_for(graph, &operator_forward, operands, 4, node, training);
    if (outputs[0]) outputs[1] = outputs[0]->producer->outputs[1];
    return graph->result;
}

static const operator scaled_dot_product_attention = {
    .name = "scaled_dot_product_attention",
    .formula = "dropout(softmax(scale query key^T + mask)) value; scale 0: 1 / sqrt(features)",
    .inputs = { "query", "key", "value", "attn_mask?" },
    .outputs = { "output", "logsumexp" },
    .pytorch = "torch.nn.functional.scaled_dot_product_attention",
    .types = { [ATTENTION_MASK] = TYPE_F32 | TYPE_U8 },
    .limits = "scale 0 stands for None; a mask of uint8 is PyTorch's of truth values: a key takes part where it is not "
              "0; batch axes are equal, "
              "not broadcast; at most 256 features a head; a mask and "
              "is_causal may stand together; a row that sees no key is 0, as in PyTorch from 2.5 on (NaN before), and "
              "scores of -3e38 and below count as minus infinity",
    .attributes = attributes,
    .attribute_count = sizeof attributes / sizeof *attributes,
    .flags = OPERATOR_TRAINING | OPERATOR_RANDOM,
    .infer = infer,
    .gradient = gradient,
    .expand = expand,
};

static const operator* const rows[] = {
    &scaled_dot_product_attention, &operator_backward, &operator_forward, &operator_statistics, &operator_query,
    &operator_key_value,           &operator_mask
};
const operator_family family_attention = { rows, sizeof rows / sizeof *rows };

tuff_tensor *tuff_scaled_dot_product_attention(tuff_tensor *query, tuff_tensor *key, tuff_tensor *value,
                                               const tuff_attention_desc *desc) {
    tuff_tensor *any = query ? query : key ? key : value;
    if (!any) return NULL;
    static const tuff_attention_desc none;
    if (!desc) desc = &none;
    tuff_tensor *inputs[] = { query, key, value, desc->mask };
    const attribute_value values[] = {
        [ATTENTION_DROPOUT] = { .f = desc->dropout },
        [ATTENTION_CAUSAL] = { .i = desc->causal },
        [ATTENTION_SCALE] = { .f = desc->scale },
        [ATTENTION_GQA] = { .i = desc->grouped_heads },
    };
    return graph_apply(any->graph, &scaled_dot_product_attention, inputs, 4, values, desc->name);
}
