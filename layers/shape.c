/* Operators that look at a tensor in another shape: no kernel, only other strides, as far as those allow. */
#include "layers/families.h"
#include "layers/pointwise.h"

#include <string.h>

/* ---- looking ------------------------------------------------------------------------------------- */

/* Strides of `to` over the elements of `from` in row-major order. Both shapes are walked from the last axis in runs of
 * equal counts; within a run, from's axes must be joined without gaps. */
static bool reshape_strides(const view *from, const tuff_shape *to, int64_t *strides) {
    int64_t sizes[TUFF_MAX_RANK], given[TUFF_MAX_RANK];
    uint32_t rank = 0;
    for (uint32_t i = 0; i < from->shape.rank; i++) { /* axes of size 1 do not matter */
        if (from->shape.sizes[i] == 1) continue;
        sizes[rank] = from->shape.sizes[i];
        given[rank++] = from->strides[i];
    }
    uint32_t in = rank, out = to->rank;
    while (out > 0) {
        if (to->sizes[out - 1] == 1) {
            strides[--out] = 1;
            continue;
        }
        if (in == 0) return false;
        int64_t stride = given[in - 1], taken = sizes[--in], made = to->sizes[--out];
        strides[out] = stride;
        int64_t next = stride * made;
        while (taken != made) {
            if (taken < made) {
                if (in == 0 || given[in - 1] != given[in] * sizes[in]) return false;
                taken *= sizes[--in];
            } else {
                if (out == 0) return false;
                strides[--out] = next;
                made *= to->sizes[out];
                next *= to->sizes[out];
            }
        }
    }
    return true;
}

static bool look_reshape(const node *node, const view *input, view *output) {
    (void)node;
    output->offset = input->offset;
    return reshape_strides(input, &output->shape, output->strides);
}

static tuff_result fail_count(inference *inference, const tuff_shape *wanted) {
    const node *node = inference->node;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s does not have the elements of the shape %s",
                      node_text(node, text), node->inputs[0]->name, shape_text(&node->inputs[0]->shape, first),
                      shape_text(wanted, second));
}

/* ---- reshape ------------------------------------------------------------------------------------- */

static const attribute shape_attribute[] = { { .name = "shape", .type = ATTRIBUTE_INTS, .required = true } };

static tuff_result infer_reshape(inference *inference) {
    const node *node = inference->node;
    const attribute_value *wanted = &node->attributes[0];
    tuff_shape shape = { .rank = (uint32_t)wanted->i };
    int64_t known = 1, count = tuff_shape_count(&node->inputs[0]->shape);
    uint32_t open = UINT32_MAX;
    for (uint32_t i = 0; i < shape.rank; i++) {
        shape.sizes[i] = wanted->list[i];
        if (shape.sizes[i] == -1 && open == UINT32_MAX) {
            open = i;
            continue;
        }
        if (shape.sizes[i] < 1 || known > count) return fail_count(inference, &shape); /* known stays far from 2^63 */
        if (shape.sizes[i] > count) return fail_count(inference, &shape);
        known *= shape.sizes[i];
    }
    if (open != UINT32_MAX ? count % known != 0 : count != known) return fail_count(inference, &shape);
    if (open != UINT32_MAX) shape.sizes[open] = count / known;
    inference->shapes[0] = shape;
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static tuff_result gradient_reshape(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = reshape_like(grad_outputs[0], node->inputs[0]);
    return TUFF_OK;
}

static const operator operator_reshape = { .name = "reshape",
                                           .formula = "x in another shape, one size may be -1",
                                           .inputs = { "input" },
                                           .types = { TYPE_ANY },
                                           .pytorch = "torch.reshape",
                                           .attributes = shape_attribute,
                                           .attribute_count = 1,
                                           .infer = infer_reshape,
                                           .gradient = gradient_reshape,
                                           .look = look_reshape };

tuff_tensor *tuff_reshape(tuff_tensor *x, tuff_shape shape) {
    if (!x) return NULL;
    if (shape.rank > TUFF_MAX_RANK) {
        graph_fail(x->graph, TUFF_ERROR_SHAPE, "reshape of '%s': rank %u is more than %d", x->name, shape.rank,
                   TUFF_MAX_RANK);
        return NULL;
    }
    attribute_value attribute = { .i = shape.rank };
    memcpy(attribute.list, shape.sizes, shape.rank * sizeof *shape.sizes);
    return apply_unary(&operator_reshape, x, &attribute);
}

static tuff_result infer_reshape_like(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *like = &node->inputs[1]->shape;
    if (tuff_shape_count(like) != tuff_shape_count(&node->inputs[0]->shape)) return fail_count(inference, like);
    inference->shapes[0] = *like;
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static const operator operator_reshape_like = { .name = "reshape_like",
                                                .flags = OPERATOR_INTERNAL,
                                                .formula = "x in the shape of like",
                                                .inputs = { "input", "like" },
                                                .types = { TYPE_ANY, TYPE_ANY },
                                                .shape_only = 1 << 1,
                                                .infer = infer_reshape_like,
                                                .gradient = gradient_reshape,
                                                .look = look_reshape };

tuff_tensor *reshape_like(tuff_tensor *x, tuff_tensor *like) {
    return apply_binary(&operator_reshape_like, x, like, NULL);
}

static tuff_result infer_flatten(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape;
    char text[160], shape[SHAPE_TEXT];
    if (x->rank < 1)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have rank 1 or more",
                          node_text(node, text), node->inputs[0]->name, shape_text(x, shape));
    inference->shapes[0] = TUFF_SHAPE(x->sizes[0], tuff_shape_count(x) / x->sizes[0]);
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static const operator operator_flatten = { .name = "flatten",
                                           .formula = "(N, ...) as (N, product of the rest)",
                                           .inputs = { "input" },
                                           .types = { TYPE_ANY },
                                           .pytorch = "torch.flatten",
                                           .infer = infer_flatten,
                                           .gradient = gradient_reshape,
                                           .look = look_reshape };

tuff_tensor *tuff_flatten(tuff_tensor *x) {
    return apply_unary(&operator_flatten, x, NULL);
}

/* ---- transpose ----------------------------------------------------------------------------------- */

static const attribute transpose_attributes[] = {
    { .name = "dim0", .type = ATTRIBUTE_INT },
    { .name = "dim1", .type = ATTRIBUTE_INT, .value.i = 1 },
};

static tuff_result infer_transpose(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape;
    uint32_t axes[2];
    for (uint32_t i = 0; i < 2; i++) {
        int64_t axis = node->attributes[i].i;
        char text[160], shape[SHAPE_TEXT];
        if (axis < -(int64_t)x->rank || axis >= (int64_t)x->rank)
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s has no axis %lld", node_text(node, text),
                              node->inputs[0]->name, shape_text(x, shape), (long long)axis);
        axes[i] = (uint32_t)(axis < 0 ? axis + x->rank : axis);
    }
    inference->shapes[0] = *x;
    inference->shapes[0].sizes[axes[0]] = x->sizes[axes[1]];
    inference->shapes[0].sizes[axes[1]] = x->sizes[axes[0]];
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static bool look_transpose(const node *node, const view *input, view *output) {
    uint32_t axes[2];
    for (uint32_t i = 0; i < 2; i++) {
        int64_t axis = node->attributes[i].i;
        axes[i] = (uint32_t)(axis < 0 ? axis + input->shape.rank : axis);
    }
    output->offset = input->offset;
    memcpy(output->strides, input->strides, sizeof output->strides);
    output->strides[axes[0]] = input->strides[axes[1]];
    output->strides[axes[1]] = input->strides[axes[0]];
    return true;
}

static tuff_result gradient_transpose(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                      tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(node->op, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

static const operator operator_transpose = { .name = "transpose",
                                             .formula = "x with two axes exchanged",
                                             .inputs = { "input" },
                                             .types = { TYPE_ANY },
                                             .pytorch = "torch.transpose",
                                             .attributes = transpose_attributes,
                                             .attribute_count = 2,
                                             .infer = infer_transpose,
                                             .gradient = gradient_transpose,
                                             .look = look_transpose };

tuff_tensor *tuff_transpose(tuff_tensor *x, int32_t axis0, int32_t axis1) {
    const attribute_value attributes[2] = { { .i = axis0 }, { .i = axis1 } };
    return apply_unary(&operator_transpose, x, attributes);
}

/* ---- broadcasting -------------------------------------------------------------------------------- */

static tuff_result infer_expand_as(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape, *like = &node->inputs[1]->shape;
    tuff_shape wide;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (!shape_broadcast(x, like, &wide) || !shape_equal(&wide, like))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s does not broadcast to '%s' %s",
                          node_text(node, text), node->inputs[0]->name, shape_text(x, first), node->inputs[1]->name,
                          shape_text(like, second));
    inference->shapes[0] = *like;
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static bool look_expand_as(const node *node, const view *input, view *output) {
    (void)node;
    uint32_t missing = output->shape.rank - input->shape.rank;
    output->offset = input->offset;
    for (uint32_t i = 0; i < output->shape.rank; i++) {
        bool repeated = i < missing || (input->shape.sizes[i - missing] == 1 && output->shape.sizes[i] != 1);
        output->strides[i] = repeated ? 0 : input->strides[i - missing];
    }
    return true;
}

static tuff_result gradient_expand_as(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                      tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = sum_to(grad_outputs[0], node->inputs[0]);
    return TUFF_OK;
}

static const operator operator_expand_as = { .name = "expand_as",
                                             .formula = "x repeated to the shape of like",
                                             .inputs = { "input", "like" },
                                             .types = { TYPE_ANY, TYPE_ANY },
                                             .flags = OPERATOR_BROADCAST | OPERATOR_INTERNAL,
                                             .shape_only = 1 << 1,
                                             .infer = infer_expand_as,
                                             .gradient = gradient_expand_as,
                                             .look = look_expand_as };

tuff_tensor *expand_as(tuff_tensor *x, tuff_tensor *like) {
    return apply_binary(&operator_expand_as, x, like, NULL);
}

static const operator* const rows[] = { &operator_reshape, &operator_reshape_like, &operator_flatten,
                                        &operator_transpose, &operator_expand_as };
const operator_family family_shape = { rows, sizeof rows / sizeof *rows };
