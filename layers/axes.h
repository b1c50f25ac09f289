/* What rows that name axes share. */
#ifndef TUFF_LAYERS_AXES_H
#define TUFF_LAYERS_AXES_H

#include "runtime/graph/operator.h"

#include <stdio.h>

/* An axis that may count from the end; false if there is none such. */
static inline bool axis_find(int64_t axis, uint32_t rank, uint32_t *found) {
    *found = 0;
    if (axis < -(int64_t)rank || axis >= (int64_t)rank) return false;
    *found = (uint32_t)(axis < 0 ? axis + rank : axis);
    return true;
}

/* The same where infer has checked it. */
static inline uint32_t axis_of(int64_t axis, uint32_t rank) {
    return (uint32_t)(axis < 0 ? axis + rank : axis);
}

/* An axis of x, or of what has `rank` axes and is made of it; or the graph's error. */
static inline tuff_result axis_check_of(inference *inference, const tuff_tensor *x, int64_t axis, uint32_t rank,
                                        uint32_t *found) {
    char text[160], shape[SHAPE_TEXT], possible[48] = "it has no axes";
    if (axis_find(axis, rank, found)) return TUFF_OK;
    if (rank) snprintf(possible, sizeof possible, "%d to %d are possible", -(int)rank, (int)rank - 1);
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: there is no axis %lld for '%s' %s; %s",
                      node_text(inference->node, text), (long long)axis, x->name, shape_text(&x->shape, shape),
                      possible);
}

/* The same of the node's input 0. */
static inline tuff_result axis_check(inference *inference, int64_t axis, uint32_t rank, uint32_t *found) {
    return axis_check_of(inference, inference->node->inputs[0], axis, rank, found);
}

/* In shape.c: whether a public function was given no more axes than there can be; the graph's error otherwise. */
bool axes_fit(tuff_tensor *x, const char *op, uint32_t count);
/* The same of a list, which may only be NULL where it has no elements. */
bool list_fits(tuff_tensor *x, const char *op, const char *name, const void *list, uint32_t count);

/* Which axes a list names, a bit each; each of them once. */
static inline tuff_result axes_check(inference *inference, const attribute_value *list, uint32_t rank, uint32_t *mask) {
    const node *node = inference->node;
    char text[160], shape[SHAPE_TEXT];
    *mask = 0;
    for (int64_t i = 0; i < list->i; i++) {
        uint32_t axis;
        TRY(axis_check(inference, list->list[i], rank, &axis));
        if (*mask >> axis & 1)
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: axis %lld of '%s' %s is named twice",
                              node_text(node, text), (long long)list->list[i], node->inputs[0]->name,
                              shape_text(&node->inputs[0]->shape, shape));
        *mask |= 1u << axis;
    }
    return TUFF_OK;
}

#endif
