/* Reductions over axes: sum, mean, max; and what gradients of broadcasting need. */
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/reduce.h"
#include "layers/softmax.h"

#include <string.h>

/* ---- axes ---------------------------------------------------------------------------------------- */

enum { AXES = 0, KEEPDIM, MEAN };
static const attribute reduce_attributes[] = {
    [AXES] = { .name = "dim", .type = ATTRIBUTE_INTS }, /* none: all */
    [KEEPDIM] = { .name = "keepdim", .type = ATTRIBUTE_BOOL },
    [MEAN] = { .name = "mean", .type = ATTRIBUTE_BOOL }, /* of expand_reduced alone */
};

/* Bit i: axis i is reduced. Axes were checked by infer. */
static uint32_t axis_mask(const node *node, const tuff_shape *shape) {
    const attribute_value *axes = &node->attributes[AXES];
    if (axes->i == 0) return shape->rank ? (uint32_t)((UINT64_C(1) << shape->rank) - 1) : 0;
    uint32_t mask = 0;
    for (int64_t i = 0; i < axes->i; i++)
        mask |= 1u << (axes->list[i] < 0 ? axes->list[i] + shape->rank : axes->list[i]);
    return mask;
}

static tuff_shape reduced_shape(const tuff_shape *shape, uint32_t mask, bool keepdim) {
    tuff_shape out = { 0 };
    for (uint32_t axis = 0; axis < shape->rank; axis++) {
        bool reduced = mask >> axis & 1;
        if (!reduced || keepdim) out.sizes[out.rank++] = reduced ? 1 : shape->sizes[axis];
    }
    return out;
}

static int64_t reduced_count(const tuff_shape *shape, uint32_t mask) {
    int64_t count = 1;
    for (uint32_t axis = 0; axis < shape->rank; axis++)
        if (mask >> axis & 1) count *= shape->sizes[axis];
    return count;
}

static tuff_result check_axes(inference *inference, const tuff_tensor *x) {
    const node *node = inference->node;
    const attribute_value *axes = &node->attributes[AXES];
    char text[160], shape[SHAPE_TEXT];
    int64_t rank = x->shape.rank;
    uint32_t mask = 0;
    for (int64_t i = 0; i < axes->i; i++) {
        int64_t axis = axes->list[i] < 0 ? axes->list[i] + rank : axes->list[i];
        if (axis < 0 || axis >= rank || mask >> axis & 1)
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: axis %lld of '%s' %s %s", node_text(node, text),
                              (long long)axes->list[i], x->name, shape_text(&x->shape, shape),
                              axis < 0 || axis >= rank ? "does not exist" : "is named twice");
        mask |= 1u << axis;
    }
    return TUFF_OK;
}

/* ---- sum, mean, max ------------------------------------------------------------------------------ */

static tuff_result infer_reduce(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    TRY(check_axes(inference, x));
    inference->shapes[0] = reduced_shape(&x->shape, axis_mask(node, &x->shape), node->attributes[KEEPDIM].i);
    return TUFF_OK;
}

static tuff_result lower_node(lowering *l, const node *node, reduce_kind kind, bool mean) {
    const tuff_shape *shape = node->chain ? &node->domain : &node->inputs[0]->shape;
    uint32_t mask = axis_mask(node, shape), inputs = node->chain ? node->chain->input_count : 1, axis_out = 0;
    const view *views[MAX_INPUTS] = { NULL }, *out = lowering_view(l, node->outputs[0]);
    for (uint32_t i = 0; i < inputs; i++) views[i] = lowering_view(l, node->inputs[i]);
    int64_t strides[TUFF_MAX_RANK] = { 0 };
    for (uint32_t axis = 0; axis < shape->rank; axis++) {
        bool reduced = mask >> axis & 1;
        if (!reduced) strides[axis] = out->strides[axis_out];
        axis_out += !reduced || node->attributes[KEEPDIM].i;
    }
    float scale = mean ? (float)(1.0 / (double)reduced_count(shape, mask)) : 1.0f;
    return lower_reduce(l, kind, scale, node->chain, shape, mask, views, out, strides, node->label);
}

static tuff_result lower_sum(lowering *l, const node *node) {
    return lower_node(l, node, REDUCE_SUM, false);
}
static tuff_result lower_mean(lowering *l, const node *node) {
    return lower_node(l, node, REDUCE_SUM, true);
}
static tuff_result lower_max(lowering *l, const node *node) {
    return lower_node(l, node, REDUCE_MAXIMUM, false);
}

/* A reduced tensor spread over the axes again. */
static tuff_tensor *expand_reduced(const node *node, tuff_tensor *reduced, bool mean);

static tuff_result gradient_sum(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = expand_reduced(node, grad_outputs[0], false);
    return TUFF_OK;
}

static tuff_result gradient_mean(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = expand_reduced(node, grad_outputs[0], true);
    return TUFF_OK;
}

static tuff_tensor *reduce_again(const operator* op, const node *node, tuff_tensor *x);

/* Equal maxima share what arrives. */
static tuff_result gradient_max(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs);

#define REDUCE_ROW(row, text)                                                                                          \
    static const operator operator_##row = {                                                                           \
        .name = #row,                                                                                                  \
        .formula = text,                                                                                               \
        .inputs = { "input" },                                                                                         \
        .attributes = reduce_attributes,                                                                               \
        .attribute_count = 2,                                                                                          \
        .flags = OPERATOR_PROLOGUE,                                                                                    \
        .infer = infer_reduce,                                                                                         \
        .gradient = gradient_##row,                                                                                    \
        .lower = lower_##row,                                                                                          \
    };
REDUCE_ROW(sum, "sum of x over axes")
REDUCE_ROW(mean, "mean of x over axes")
REDUCE_ROW(max, "largest x over axes")

static tuff_tensor *reduce_again(const operator* op, const node *node, tuff_tensor *x) {
    return apply_unary(op, x, node->attributes);
}

static tuff_result gradient_max(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs) {
    (void)needs;
    tuff_tensor *x = node->inputs[0], *y = node->outputs[0];
    tuff_tensor *largest = equal_to(x, expand_reduced(node, y, false));
    tuff_tensor *share = tuff_div(grad_outputs[0], reduce_again(&operator_sum, node, largest));
    grad_inputs[0] = keep_if(largest, expand_reduced(node, share, false));
    return TUFF_OK;
}

/* ---- back to the shape before -------------------------------------------------------------------- */

static tuff_result infer_expand_reduced(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *reduced = node->inputs[0], *like = node->inputs[1];
    TRY(check_axes(inference, like));
    tuff_shape shape = reduced_shape(&like->shape, axis_mask(node, &like->shape), node->attributes[KEEPDIM].i);
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (!shape_equal(&shape, &reduced->shape))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s is no reduction of '%s' %s",
                          node_text(node, text), reduced->name, shape_text(&reduced->shape, first), like->name,
                          shape_text(&like->shape, second));
    inference->shapes[0] = like->shape;
    return TUFF_OK;
}

static tuff_result expand_expand_reduced(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                         tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *reduced = inputs[0], *like = inputs[1];
    const tuff_shape *shape = &like->shape;
    uint32_t mask = axis_mask(node, shape);
    if (node->attributes[MEAN].i) reduced = tuff_scale(reduced, (float)(1.0 / (double)reduced_count(shape, mask)), 0);
    if (!node->attributes[KEEPDIM].i && reduced && reduced->shape.rank)
        reduced = tuff_reshape(reduced, reduced_shape(shape, mask, true));
    outputs[0] = expand_as(reduced, like);
    return graph->result;
}

static tuff_result gradient_expand_reduced(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                           tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = reduce_again(node->attributes[MEAN].i ? &operator_mean : &operator_sum, node, grad_outputs[0]);
    return TUFF_OK;
}

static const operator operator_expand_reduced = {
    .name = "expand_reduced",
    .flags = OPERATOR_INTERNAL,
    .formula = "x, a reduction of like, repeated over the reduced axes; divided by their count for a mean",
    .inputs = { "input", "like" },
    .attributes = reduce_attributes,
    .attribute_count = 3,
    .shape_only = 1 << 1,
    .infer = infer_expand_reduced,
    .gradient = gradient_expand_reduced,
    .expand = expand_expand_reduced,
};

static tuff_tensor *expand_reduced(const node *node, tuff_tensor *reduced, bool mean) {
    attribute_value attributes[3] = { node->attributes[AXES], node->attributes[KEEPDIM], { .i = mean } };
    return apply_binary(&operator_expand_reduced, reduced, node->inputs[0], attributes);
}

/* ---- the converse of broadcasting ---------------------------------------------------------------- */

static tuff_result infer_sum_to(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *like = node->inputs[1];
    tuff_shape wide;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (!shape_broadcast(&x->shape, &like->shape, &wide) || !shape_equal(&wide, &x->shape))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s does not broadcast to '%s' %s",
                          node_text(node, text), like->name, shape_text(&like->shape, second), x->name,
                          shape_text(&x->shape, first));
    inference->shapes[0] = like->shape;
    return TUFF_OK;
}

static tuff_result expand_sum_to(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)node, (void)training;
    tuff_tensor *x = inputs[0], *like = inputs[1];
    attribute_value attributes[2] = { { 0 }, { .i = true } };
    uint32_t missing = x->shape.rank - like->shape.rank;
    for (uint32_t axis = 0; axis < x->shape.rank; axis++)
        if (x->shape.sizes[axis] != 1 && (axis < missing || like->shape.sizes[axis - missing] == 1))
            attributes[AXES].list[attributes[AXES].i++] = axis;
    tuff_tensor *sum = attributes[AXES].i ? apply_unary(&operator_sum, x, attributes) : x;
    outputs[0] = sum && !shape_equal(&sum->shape, &like->shape) ? tuff_reshape(sum, like->shape) : sum;
    return graph->result;
}

static tuff_result gradient_sum_to(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = expand_as(grad_outputs[0], node->inputs[0]);
    return TUFF_OK;
}

static const operator operator_sum_to = {
    .name = "sum_to",
    .flags = OPERATOR_INTERNAL,
    .formula = "x summed to the shape of like, which broadcasts to x's",
    .inputs = { "input", "like" },
    .shape_only = 1 << 1,
    .infer = infer_sum_to,
    .gradient = gradient_sum_to,
    .expand = expand_sum_to,
};

tuff_tensor *sum_to(tuff_tensor *x, tuff_tensor *like) {
    return apply_binary(&operator_sum_to, x, like, NULL);
}

/* ---- the public functions ------------------------------------------------------------------------ */

static tuff_tensor *apply_reduce(const operator* op, tuff_tensor *x, const tuff_reduce_desc *desc) {
    if (!x) return NULL;
    attribute_value attributes[2] = { 0 };
    if (desc && desc->axis_count > TUFF_MAX_RANK) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "%s of '%s': %u axes; a tensor has at most %d", op->name, x->name,
                   desc->axis_count, TUFF_MAX_RANK);
        return NULL;
    }
    for (uint32_t i = 0; desc && i < desc->axis_count; i++) attributes[AXES].list[i] = desc->axes[i];
    attributes[AXES].i = desc ? desc->axis_count : 0;
    attributes[KEEPDIM].i = desc && desc->keepdim;
    return apply_unary(op, x, attributes);
}

tuff_tensor *tuff_sum(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_sum, x, desc);
}
tuff_tensor *tuff_mean(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_mean, x, desc);
}
tuff_tensor *tuff_max(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_max, x, desc);
}

static const operator* const rows[] = { &operator_sum,        &operator_mean,
                                        &operator_max,        &operator_expand_reduced,
                                        &operator_sum_to,     &operator_softmax,
                                        &operator_log_softmax };
const operator_family family_reduction = { rows, sizeof rows / sizeof *rows };
