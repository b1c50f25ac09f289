/* What losses share. Most are composites of chains and reductions whose gradients follow from their parts; a gradient
 * of its own computes again what need not be kept. */
#include "layers/losses.h"

void infer_loss(inference *inference, int64_t reduction, const tuff_shape *terms) {
    if (reduction == TUFF_REDUCE_NONE) inference->shapes[0] = *terms; /* else a scalar, as preset */
}

tuff_tensor *reduce_loss(tuff_tensor *terms, int64_t reduction) {
    if (reduction == TUFF_REDUCE_NONE) return terms;
    return reduction == TUFF_REDUCE_SUM ? tuff_sum(terms, NULL) : tuff_mean(terms, NULL);
}

tuff_tensor *spread_loss(tuff_tensor *gradient, int64_t reduction, int64_t count, double factor) {
    if (reduction == TUFF_REDUCE_MEAN) factor /= (double)count;
    return factor == 1 ? gradient : tuff_scale(gradient, (float)factor, 0);
}

tuff_result check_same_shape(inference *inference, uint32_t i, uint32_t k) {
    const node *node = inference->node;
    const tuff_tensor *a = node->inputs[i], *b = node->inputs[k];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (shape_equal(&a->shape, &b->shape)) return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s and '%s' %s must have equal shapes",
                      node_text(node, text), a->name, shape_text(&a->shape, first), b->name,
                      shape_text(&b->shape, second));
}

bool ignored_target(const tuff_tensor *x, const operator* op, int32_t ignore_index, bool ignore_zero,
                    int64_t *ignored) {
    *ignored = ignore_index || ignore_zero ? ignore_index : IGNORE_INDEX;
    if (!x || !ignore_zero || !ignore_index) return true;
    graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "%s: ignore_zero is set, and ignore_index is %d", op->name,
               (int)ignore_index);
    return false;
}

tuff_tensor *apply_loss(const operator* op, tuff_tensor *const *inputs, uint32_t count, uint32_t required,
                        const attribute_value *attributes, int64_t reduction, int64_t choices) {
    for (uint32_t i = 0; i < required; i++)
        if (!inputs[i]) return NULL;
    if (reduction >= 0 && reduction < choices)
        return graph_apply(inputs[0]->graph, op, inputs, count, attributes, NULL);
    graph_fail(inputs[0]->graph, TUFF_ERROR_ARGUMENT, "%s: %lld is not a reduction that it has", op->name,
               (long long)reduction);
    return NULL;
}
