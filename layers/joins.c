/* Tensors of tensors: concatenation copies each to its place, a stack is one along a new axis. */
#include "layers/axes.h"
#include "layers/chain.h"
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/rearrange.h"

#include <string.h>

/* ---- concatenation ------------------------------------------------------------------------------- */

enum { MAX_JOINED = MAX_INPUTS - 2 }; /* its gradients have other inputs, too */
_Static_assert(MAX_JOINED == 22, "the rows' limits say so");
static const attribute concat_attributes[] = { { .name = "dim", .type = ATTRIBUTE_INT } };

static tuff_result check_joined(inference *inference, const tuff_tensor *x, uint32_t axis) {
    const node *node = inference->node;
    const tuff_tensor *first = node->inputs[0];
    bool fits = x->shape.rank == first->shape.rank && x->type == first->type;
    char text[160], a[SHAPE_TEXT], b[SHAPE_TEXT];
    for (uint32_t i = 0; fits && i < x->shape.rank; i++) fits = i == axis || x->shape.sizes[i] == first->shape.sizes[i];
    if (fits) return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                      "%s: '%s' %s %s and '%s' %s %s must agree in type and in all axes%s", node_text(node, text),
                      first->name, type_text(first->type), shape_text(&first->shape, a), x->name, type_text(x->type),
                      shape_text(&x->shape, b), axis == UINT32_MAX ? "" : " but dim");
}

static tuff_result infer_concat(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *first = node->inputs[0];
    uint32_t axis;
    int64_t size = 0;
    char text[160];
    TRY(axis_check(inference, node->attributes[0].i, first->shape.rank, &axis));
    if (node->input_count > MAX_JOINED)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                          "%s: %u tensors are more than %d; tuff_concat takes any number", node_text(node, text),
                          node->input_count, MAX_JOINED);
    for (uint32_t i = 0; i < node->input_count; i++) {
        TRY(check_joined(inference, node->inputs[i], axis));
        size += node->inputs[i]->shape.sizes[axis];
    }
    inference->shapes[0] = first->shape;
    inference->shapes[0].sizes[axis] = size;
    inference->types[0] = first->type;
    return TUFF_OK;
}

/* Each tensor is copied to its place in the result. */
static tuff_result lower_concat(lowering *lowering, const node *node) {
    const view *y = lowering_view(lowering, node->outputs[0]);
    uint32_t axis = axis_of(node->attributes[0].i, y->shape.rank);
    view part = *y;
    for (uint32_t i = 0; i < node->input_count; i++) {
        const view *x = lowering_view(lowering, node->inputs[i]);
        part.shape.sizes[axis] = x->shape.sizes[axis];
        TRY(lower_copy(lowering, x, &part, node->label));
        part.offset += (uint64_t)(x->shape.sizes[axis] * y->strides[axis]);
    }
    return TUFF_OK;
}

static tuff_result gradient_concat(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs);

static const operator operator_concat = { .name = "concat",
                                          .formula = "tensors behind one another along dim",
                                          .inputs = { "tensors*" },
                                          .types = { TYPE_ANY },
                                          .flags = OPERATOR_FOLLOWS,
                                          .pytorch = "torch.cat",
                                          .limits = "at most 22 tensors a row; tuff_concat takes any number",
                                          .attributes = concat_attributes,
                                          .attribute_count = 1,
                                          .infer = infer_concat,
                                          .gradient = gradient_concat,
                                          .lower = lower_concat };

/* The last of the tensors' part of a concatenation of them and perhaps others. Only its sizes count. */
static tuff_result infer_concat_part(inference *inference) {
    const node *node = inference->node;
    inference->shapes[0] = node->inputs[node->input_count - 1]->shape;
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static bool look_concat_part(const node *node, const view *input, view *output) {
    uint32_t axis = axis_of(node->attributes[0].i, input->shape.rank);
    int64_t before = 0;
    for (uint32_t i = 1; i + 1 < node->input_count; i++) before += node->inputs[i]->shape.sizes[axis];
    output->offset = input->offset + (uint64_t)(before * input->strides[axis]);
    memcpy(output->strides, input->strides, sizeof output->strides);
    return true;
}

static tuff_result expand_concat_part_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                               bool training, tuff_tensor **outputs) {
    (void)training;
    uint32_t count = node->input_count, axis = axis_of(node->attributes[0].i, inputs[0]->shape.rank);
    int64_t before = 0;
    for (uint32_t i = 2; i + 1 < count; i++) before += inputs[i]->shape.sizes[axis];
    rearrangement r = rearrangement_of(inputs[0]);
    r.size[axis] = inputs[1]->shape.sizes[axis];
    r.add[axis] = -before;
    outputs[0] = rearrange(inputs[0], &r);
    return graph->result;
}

static tuff_result infer_concat_part_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    inference->types[0] = inference->node->inputs[0]->type;
    return TUFF_OK;
}

static const operator operator_concat_part_backward = {
    .name = "concat_part_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "zeros of whole's shape with input at the last tensor's place",
    .inputs = { "input", "whole", "tensors*" },
    .types = { TYPE_ANY, TYPE_ANY, TYPE_ANY },
    .shape_only = ~1u,
    .attributes = concat_attributes,
    .attribute_count = 1,
    .infer = infer_concat_part_backward,
    .expand = expand_concat_part_backward,
};

static tuff_result gradient_concat_part(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                        tuff_tensor **grad_inputs) {
    (void)needs;
    tuff_tensor *inputs[MAX_INPUTS] = { grad_outputs[0], node->inputs[0] };
    memcpy(inputs + 2, node->inputs + 1, (node->input_count - 1) * sizeof *inputs);
    grad_inputs[0] = graph_apply(node_graph(node), &operator_concat_part_backward, inputs, node->input_count + 1,
                                 node->attributes, NULL);
    return TUFF_OK;
}

static const operator operator_concat_part = { .name = "concat_part",
                                               .flags = OPERATOR_INTERNAL,
                                               .formula = "the last tensor's part of their concatenation",
                                               .inputs = { "input", "tensors*" },
                                               .types = { TYPE_ANY, TYPE_ANY },
                                               .shape_only = ~1u,
                                               .attributes = concat_attributes,
                                               .attribute_count = 1,
                                               .infer = infer_concat_part,
                                               .gradient = gradient_concat_part,
                                               .look = look_concat_part };

static tuff_result gradient_concat(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    tuff_tensor *inputs[MAX_INPUTS] = { grad_outputs[0] };
    for (uint32_t i = 0; i < node->input_count; i++) {
        inputs[i + 1] = node->inputs[i];
        if (needs >> i & 1)
            grad_inputs[i] =
                graph_apply(node_graph(node), &operator_concat_part, inputs, i + 2, node->attributes, NULL);
    }
    return TUFF_OK;
}

/* Any number of tensors: in groups, those in groups again. */
static tuff_tensor *join(const operator* op, tuff_tensor *const *tensors, uint32_t count, int32_t dim) {
    tuff_tensor *groups[MAX_JOINED];
    uint32_t each = count, group_count = 0;
    tuff_graph *graph = NULL;
    for (uint32_t i = 0; i < count && !graph; i++)
        if (tensors[i]) graph = tensors[i]->graph;
    if (!graph) return NULL;
    for (uint32_t i = 0; i < count && graph->result == TUFF_OK; i++)
        if (!tensors[i]) graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s: tensor %u of %u is NULL", op->name, i, count);
    if (graph->result != TUFF_OK) return NULL;
    if (count <= MAX_JOINED) return graph_apply(graph, op, tensors, count, &(attribute_value){ .i = dim }, NULL);
    while (each > MAX_JOINED) each = (each + MAX_JOINED - 1) / MAX_JOINED;
    while ((uint64_t)each * MAX_JOINED < count) each *= MAX_JOINED;
    for (uint32_t i = 0; i < count; i += each)
        groups[group_count++] = join(op, tensors + i, i + each < count ? each : count - i, dim);
    return graph_apply(graph, &operator_concat, groups, group_count, &(attribute_value){ .i = dim }, NULL);
}

tuff_tensor *tuff_concat(tuff_tensor *const *tensors, uint32_t count, int32_t dim) {
    if (tensors && count) return join(&operator_concat, tensors, count, dim);
    error_set(TUFF_ERROR_ARGUMENT, "tuff_concat: no tensors");
    return NULL;
}

/* ---- stack --------------------------------------------------------------------------------------- */

static tuff_result infer_stack(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape;
    tuff_shape *y = &inference->shapes[0];
    uint32_t axis;
    TRY(axis_check(inference, node->attributes[0].i, x->rank + 1, &axis));
    for (uint32_t i = 0; i < node->input_count; i++) TRY(check_joined(inference, node->inputs[i], UINT32_MAX));
    inference->types[0] = node->inputs[0]->type;
    y->rank = x->rank + 1;
    if (y->rank > TUFF_MAX_RANK) return TUFF_OK; /* graph_apply says that it is too many */
    for (uint32_t i = 0; i < y->rank; i++) y->sizes[i] = i == axis ? node->input_count : x->sizes[i - (i > axis)];
    return TUFF_OK;
}

static tuff_result expand_stack(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *parts[MAX_INPUTS];
    int32_t dim = (int32_t)node->attributes[0].i;
    for (uint32_t i = 0; i < node->input_count; i++) parts[i] = tuff_unsqueeze(inputs[i], dim);
    outputs[0] = tuff_concat(parts, node->input_count, dim);
    return graph->result;
}

static const operator operator_stack = { .name = "stack",
                                         .formula = "tensors along another axis at dim",
                                         .inputs = { "tensors*" },
                                         .types = { TYPE_ANY },
                                         .pytorch = "torch.stack",
                                         .limits = "at most 22 tensors a row; tuff_stack takes any number",
                                         .attributes = concat_attributes,
                                         .attribute_count = 1,
                                         .infer = infer_stack,
                                         .expand = expand_stack };

tuff_tensor *tuff_stack(tuff_tensor *const *tensors, uint32_t count, int32_t dim) {
    if (tensors && count) return join(&operator_stack, tensors, count, dim);
    error_set(TUFF_ERROR_ARGUMENT, "tuff_stack: no tensors");
    return NULL;
}

static const operator* const rows[] = { &operator_concat, &operator_concat_part, &operator_concat_part_backward,
                                        &operator_stack };
const operator_family family_joins = { rows, sizeof rows / sizeof *rows };
