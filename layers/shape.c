/* Operators that look at a tensor in another shape: no kernel, only other strides, as far as those allow. */
#include "layers/axes.h"
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

bool axes_fit(tuff_tensor *x, const char *op, uint32_t count) {
    if (count <= TUFF_MAX_RANK) return true;
    graph_fail(x->graph, TUFF_ERROR_SHAPE, "%s of '%s': %u axes are more than %d", op, x->name, count, TUFF_MAX_RANK);
    return false;
}

bool list_fits(tuff_tensor *x, const char *op, const char *name, const void *list, uint32_t count) {
    if (!axes_fit(x, op, count)) return false;
    if (list || !count) return true;
    graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "%s of '%s': %s is NULL, and its count %u", op, x->name, name, count);
    return false;
}

/* ---- reshape ------------------------------------------------------------------------------------- */

static const attribute shape_attribute[] = { { .name = "shape", .type = ATTRIBUTE_INTS, .required = true } };

static tuff_result infer_reshape(inference *inference) {
    const node *node = inference->node;
    const attribute_value *wanted = &node->attributes[0];
    char text[160];
    if (wanted->i > TUFF_MAX_RANK)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: %lld axes are more than %d", node_text(node, text),
                          (long long)wanted->i, TUFF_MAX_RANK);
    tuff_shape shape = { .rank = (uint32_t)wanted->i };
    int64_t known = 1, count = tuff_shape_count(&node->inputs[0]->shape);
    uint32_t open = UINT32_MAX;
    for (uint32_t i = 0; i < shape.rank; i++) shape.sizes[i] = wanted->list[i]; /* all of it, for the message */
    for (uint32_t i = 0; i < shape.rank; i++) {
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
    if (!axes_fit(x, "reshape", shape.rank)) return NULL;
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

enum { FLATTEN_START = 0, FLATTEN_END };
static const attribute flatten_attributes[] = {
    [FLATTEN_START] = { .name = "start_dim", .type = ATTRIBUTE_INT },
    [FLATTEN_END] = { .name = "end_dim", .type = ATTRIBUTE_INT, .value.i = -1 },
};

static tuff_result infer_flatten(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape;
    tuff_shape *y = &inference->shapes[0];
    uint32_t rank = x->rank ? x->rank : 1, first, last; /* a scalar counts as one axis */
    char text[160], shape[SHAPE_TEXT];
    TRY(axis_check(inference, node->attributes[FLATTEN_START].i, rank, &first));
    TRY(axis_check(inference, node->attributes[FLATTEN_END].i, rank, &last));
    if (first > last)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: start_dim %u stands behind end_dim %u of '%s' %s",
                          node_text(node, text), first, last, node->inputs[0]->name, shape_text(x, shape));
    int64_t joined = 1;
    for (uint32_t i = 0; i < rank; i++) {
        int64_t size = x->rank ? x->sizes[i] : 1;
        joined *= i >= first && i <= last ? size : 1;
        if (i < first || i > last) y->sizes[y->rank++] = size;
        if (i == last) y->sizes[y->rank++] = joined;
    }
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static const operator operator_flatten = { .name = "flatten",
                                           .formula = "axes start_dim to end_dim as one",
                                           .inputs = { "input" },
                                           .types = { TYPE_ANY },
                                           .pytorch = "torch.flatten",
                                           .attributes = flatten_attributes,
                                           .attribute_count = 2,
                                           .infer = infer_flatten,
                                           .gradient = gradient_reshape,
                                           .look = look_reshape };

tuff_tensor *tuff_flatten_axes(tuff_tensor *x, int32_t start_dim, int32_t end_dim) {
    const attribute_value attributes[] = { [FLATTEN_START] = { .i = start_dim }, [FLATTEN_END] = { .i = end_dim } };
    return apply_unary(&operator_flatten, x, attributes);
}

enum { UNFLATTEN_DIM = 0, UNFLATTEN_SIZES };
static const attribute unflatten_attributes[] = {
    [UNFLATTEN_DIM] = { .name = "dim", .type = ATTRIBUTE_INT, .required = true },
    [UNFLATTEN_SIZES] = { .name = "sizes", .type = ATTRIBUTE_INTS, .required = true },
};

/* Unlike a reshape it says nothing of the other axes, whose sizes may be others when the graph is compiled. */
static tuff_result infer_unflatten(inference *inference) {
    const node *node = inference->node;
    const attribute_value *wanted = &node->attributes[UNFLATTEN_SIZES];
    const tuff_shape *x = &node->inputs[0]->shape;
    tuff_shape *y = &inference->shapes[0];
    uint32_t axis, open = UINT32_MAX;
    char text[160], shape[SHAPE_TEXT];
    TRY(axis_check(inference, node->attributes[UNFLATTEN_DIM].i, x->rank, &axis));
    if (wanted->i < 1 || x->rank - 1 + wanted->i > TUFF_MAX_RANK)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: %lld sizes for axis %u of '%s' %s; %s",
                          node_text(node, text), (long long)wanted->i, axis, node->inputs[0]->name,
                          shape_text(x, shape), wanted->i < 1 ? "give at least one" : "that makes too many axes");
    int64_t known = 1, size = x->sizes[axis];
    bool fits = true;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (i != axis) y->sizes[y->rank++] = x->sizes[i];
        for (int64_t k = 0; i == axis && k < wanted->i; k++) {
            if (wanted->list[k] == -1 && open == UINT32_MAX)
                open = y->rank;
            else
                fits = fits && wanted->list[k] >= 1 && wanted->list[k] <= size / known;
            if (fits && open != y->rank) known *= wanted->list[k];
            y->sizes[y->rank++] = wanted->list[k];
        }
    }
    if (!fits || size % known || (open == UINT32_MAX && size != known))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the sizes do not make up the %lld of axis %u of '%s' %s; one of them may be -1",
                          node_text(node, text), (long long)size, axis, node->inputs[0]->name, shape_text(x, shape));
    if (open != UINT32_MAX) y->sizes[open] = size / known;
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static const operator operator_unflatten = { .name = "unflatten",
                                             .formula = "axis dim as several of these sizes, one may be -1",
                                             .inputs = { "input" },
                                             .types = { TYPE_ANY },
                                             .pytorch = "torch.Tensor.unflatten",
                                             .attributes = unflatten_attributes,
                                             .attribute_count = 2,
                                             .infer = infer_unflatten,
                                             .gradient = gradient_reshape,
                                             .look = look_reshape };

tuff_tensor *tuff_unflatten(tuff_tensor *x, int32_t dim, const int64_t *sizes, uint32_t count) {
    if (!x || !axes_fit(x, "unflatten", count)) return NULL;
    attribute_value attributes[] = { [UNFLATTEN_DIM] = { .i = dim }, [UNFLATTEN_SIZES] = { .i = sizes ? count : 0 } };
    if (sizes) memcpy(attributes[UNFLATTEN_SIZES].list, sizes, count * sizeof *sizes);
    return apply_unary(&operator_unflatten, x, attributes);
}

tuff_tensor *tuff_flatten(tuff_tensor *x) {
    return tuff_flatten_axes(x, 1, -1);
}

/* ---- axes of size 1 ------------------------------------------------------------------------------ */

static const attribute squeeze_attributes[] = { { .name = "dim", .type = ATTRIBUTE_INTS } }; /* none: all */

static tuff_result infer_squeeze(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape;
    tuff_shape *y = &inference->shapes[0];
    uint32_t mask;
    TRY(axes_check(inference, &node->attributes[0], x->rank, &mask));
    if (node->attributes[0].i == 0) mask = ~0u;
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->sizes[i] != 1 || !(mask >> i & 1)) y->sizes[y->rank++] = x->sizes[i];
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static const operator operator_squeeze = { .name = "squeeze",
                                           .formula = "x without axes of size 1: those of dim, or all",
                                           .inputs = { "input" },
                                           .types = { TYPE_ANY },
                                           .pytorch = "torch.squeeze",
                                           .attributes = squeeze_attributes,
                                           .attribute_count = 1,
                                           .infer = infer_squeeze,
                                           .gradient = gradient_reshape,
                                           .look = look_reshape };

tuff_tensor *tuff_squeeze(tuff_tensor *x, const int32_t *dims, uint32_t count) {
    attribute_value attribute = { .i = count };
    if (!x || !list_fits(x, "squeeze", "dims", dims, count)) return NULL;
    for (uint32_t i = 0; i < count; i++) attribute.list[i] = dims[i];
    return apply_unary(&operator_squeeze, x, &attribute);
}

static const attribute unsqueeze_attributes[] = { { .name = "dim", .type = ATTRIBUTE_INT, .required = true } };

static tuff_result infer_unsqueeze(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape;
    tuff_shape *y = &inference->shapes[0];
    uint32_t axis;
    TRY(axis_check(inference, node->attributes[0].i, x->rank + 1, &axis));
    inference->types[0] = node->inputs[0]->type;
    y->rank = x->rank + 1;
    if (y->rank > TUFF_MAX_RANK) return TUFF_OK; /* graph_apply says that it is too many */
    for (uint32_t i = 0; i < y->rank; i++) y->sizes[i] = i == axis ? 1 : x->sizes[i - (i > axis)];
    return TUFF_OK;
}

static const operator operator_unsqueeze = { .name = "unsqueeze",
                                             .formula = "x with another axis, of size 1, at dim",
                                             .inputs = { "input" },
                                             .types = { TYPE_ANY },
                                             .pytorch = "torch.unsqueeze",
                                             .attributes = unsqueeze_attributes,
                                             .attribute_count = 1,
                                             .infer = infer_unsqueeze,
                                             .gradient = gradient_reshape,
                                             .look = look_reshape };

tuff_tensor *tuff_unsqueeze(tuff_tensor *x, int32_t dim) {
    return apply_unary(&operator_unsqueeze, x, &(attribute_value){ .i = dim });
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
    for (uint32_t i = 0; i < 2; i++) TRY(axis_check(inference, node->attributes[i].i, x->rank, &axes[i]));
    inference->shapes[0] = *x;
    inference->shapes[0].sizes[axes[0]] = x->sizes[axes[1]];
    inference->shapes[0].sizes[axes[1]] = x->sizes[axes[0]];
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static bool look_transpose(const node *node, const view *input, view *output) {
    uint32_t axes[2];
    for (uint32_t i = 0; i < 2; i++) axes[i] = axis_of(node->attributes[i].i, input->shape.rank);
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

/* ---- permute ------------------------------------------------------------------------------------- */

static const attribute permute_attributes[] = { { .name = "dims", .type = ATTRIBUTE_INTS, .required = true } };

static tuff_result infer_permute(inference *inference) {
    const node *node = inference->node;
    const attribute_value *dims = &node->attributes[0];
    const tuff_shape *x = &node->inputs[0]->shape;
    uint32_t mask;
    char text[160], shape[SHAPE_TEXT];
    if (dims->i != x->rank)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: dims names %lld axes of '%s' %s; it must name each",
                          node_text(node, text), (long long)dims->i, node->inputs[0]->name, shape_text(x, shape));
    TRY(axes_check(inference, dims, x->rank, &mask));
    inference->shapes[0].rank = x->rank;
    for (uint32_t i = 0; i < x->rank; i++) inference->shapes[0].sizes[i] = x->sizes[axis_of(dims->list[i], x->rank)];
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static bool look_permute(const node *node, const view *input, view *output) {
    uint32_t rank = input->shape.rank;
    output->offset = input->offset;
    for (uint32_t i = 0; i < rank; i++) output->strides[i] = input->strides[axis_of(node->attributes[0].list[i], rank)];
    return true;
}

static tuff_result gradient_permute(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    uint32_t rank = node->inputs[0]->shape.rank;
    attribute_value inverse = { .i = rank };
    for (uint32_t i = 0; i < rank; i++) inverse.list[axis_of(node->attributes[0].list[i], rank)] = i;
    grad_inputs[0] = apply_unary(node->op, grad_outputs[0], &inverse);
    return TUFF_OK;
}

static const operator operator_permute = { .name = "permute",
                                           .formula = "x with its axes in the order dims",
                                           .inputs = { "input" },
                                           .types = { TYPE_ANY },
                                           .pytorch = "torch.permute",
                                           .attributes = permute_attributes,
                                           .attribute_count = 1,
                                           .infer = infer_permute,
                                           .gradient = gradient_permute,
                                           .look = look_permute };

tuff_tensor *tuff_permute(tuff_tensor *x, const int32_t *dims, uint32_t count) {
    attribute_value attribute = { .i = count };
    if (!x || !list_fits(x, "permute", "dims", dims, count)) return NULL;
    for (uint32_t i = 0; i < count; i++) attribute.list[i] = dims[i];
    return apply_unary(&operator_permute, x, &attribute);
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

static const attribute expand_attributes[] = { { .name = "size", .type = ATTRIBUTE_INTS, .required = true } };

static tuff_result infer_expand(inference *inference) {
    const node *node = inference->node;
    const attribute_value *size = &node->attributes[0];
    const tuff_shape *x = &node->inputs[0]->shape;
    tuff_shape *y = &inference->shapes[0];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    bool fits = size->i >= x->rank && size->i <= TUFF_MAX_RANK;
    y->rank = fits ? (uint32_t)size->i : 0;
    uint32_t missing = y->rank - x->rank;
    for (uint32_t i = 0; fits && i < y->rank; i++) {
        int64_t given = i < missing ? 0 : x->sizes[i - missing], wanted = size->list[i];
        y->sizes[i] = wanted == -1 ? given : wanted;
        fits = y->sizes[i] >= 1 && (i < missing || given == 1 || given == y->sizes[i]);
    }
    inference->types[0] = node->inputs[0]->type;
    if (fits) return TUFF_OK;
    tuff_shape asked = { .rank = (uint32_t)(size->i < TUFF_MAX_RANK ? size->i : TUFF_MAX_RANK) };
    for (uint32_t i = 0; i < asked.rank; i++) asked.sizes[i] = size->list[i];
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                      "%s: '%s' %s does not expand to %s; only axes of size 1 and new ones in front can become larger, "
                      "-1 keeps an axis",
                      node_text(node, text), node->inputs[0]->name, shape_text(x, first), shape_text(&asked, second));
}

static tuff_result gradient_expand(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = sum_to(grad_outputs[0], node->inputs[0]);
    return TUFF_OK;
}

static const operator operator_expand = { .name = "expand",
                                          .formula = "x repeated along axes of size 1 and new ones in front",
                                          .inputs = { "input" },
                                          .types = { TYPE_ANY },
                                          .flags = OPERATOR_BROADCAST,
                                          .pytorch = "torch.Tensor.expand",
                                          .attributes = expand_attributes,
                                          .attribute_count = 1,
                                          .infer = infer_expand,
                                          .gradient = gradient_expand,
                                          .look = look_expand_as };

tuff_tensor *tuff_expand(tuff_tensor *x, tuff_shape size) {
    attribute_value attribute = { .i = size.rank };
    if (!x || !axes_fit(x, "expand", size.rank)) return NULL;
    memcpy(attribute.list, size.sizes, size.rank * sizeof *size.sizes);
    return apply_unary(&operator_expand, x, &attribute);
}

static const operator* const rows[] = { &operator_reshape,   &operator_reshape_like, &operator_flatten,
                                        &operator_unflatten, &operator_squeeze,      &operator_unsqueeze,
                                        &operator_transpose, &operator_permute,      &operator_expand_as,
                                        &operator_expand };
const operator_family family_shape = { rows, sizeof rows / sizeof *rows };
