/* Reductions over axes by one kernel: sum, mean, largest, smallest, product; and what gradients of broadcasting need.
 *
 * A sum of any length is off by at most 2^-18 times the sum of the absolute terms and usually by less than a unit in
 * the last place: the kernel adds in a tree and keeps what it rounds away (shaders/reduction/reduce.comp). */
#include "layers/reduction.h"

#include "layers/axes.h"
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/reduce.h"
#include "layers/search.h"

#include <string.h>

/* ---- axes ---------------------------------------------------------------------------------------- */

enum { MEAN = KEEPDIM + 1 };
static const attribute reduce_attributes[] = {
    [AXES] = AXES_ATTRIBUTE,
    [KEEPDIM] = KEEPDIM_ATTRIBUTE,
    /* of expand_reduced alone: */
    [MEAN] = { .name = "mean", .type = ATTRIBUTE_BOOL },
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
    uint32_t mask = 0, axis;
    for (int64_t i = 0; i < axes->i; i++) {
        TRY(axis_check_of(inference, x, axes->list[i], x->shape.rank, &axis));
        if (mask >> axis & 1)
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: axis %lld of '%s' %s is named twice",
                              node_text(node, text), (long long)axes->list[i], x->name, shape_text(&x->shape, shape));
        mask |= 1u << axis;
    }
    return TUFF_OK;
}

tuff_reduce_desc reduce_desc(const node *node, bool keepdim) {
    const attribute_value *axes = &node->attributes[AXES];
    tuff_reduce_desc desc = { .axis_count = (uint32_t)axes->i, .keepdim = keepdim };
    for (int64_t i = 0; i < axes->i; i++) desc.axes[i] = (int32_t)axes->list[i];
    return desc;
}

double reduced_elements(const node *node, const tuff_tensor *x) {
    return (double)reduced_count(&x->shape, axis_mask(node, &x->shape));
}

/* ---- sum, mean, largest, smallest, product ------------------------------------------------------- */

tuff_result infer_reduce(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    TRY(check_axes(inference, x));
    inference->shapes[0] = reduced_shape(&x->shape, axis_mask(node, &x->shape), node->attributes[KEEPDIM].i);
    return TUFF_OK;
}

/* What has the result's shape, or broadcasts to it, over the axes of what is reduced. */
static reduced_view without_reduced(const node *node, const reduce_call *call, const view *view,
                                    const tuff_shape *result) {
    reduced_view of = { view, { 0 } };
    int64_t strides[TUFF_MAX_RANK] = { 0 };
    broadcast_strides(view, result, strides);
    for (uint32_t axis = 0, axis_out = 0; axis < call->shape.rank; axis++) {
        bool reduced = call->reduced >> axis & 1;
        if (!reduced) of.strides[axis] = strides[axis_out];
        axis_out += !reduced || node->attributes[KEEPDIM].i;
    }
    return of;
}

static tuff_result lower_node(lowering *l, const node *node, reduce_kind kind, bool mean) {
    const tuff_shape *shape = node->prologue ? &node->domain : &node->inputs[0]->shape;
    uint32_t inputs = node->prologue ? node->prologue->input_count : 1, extras = node->input_count - inputs;
    reduce_call call = { .kind = kind,
                         .prologue = node->prologue,
                         .epilogue = node->chain,
                         .shape = *shape,
                         .reduced = axis_mask(node, shape),
                         .label = node->label };
    if (mean) call.scale = (float)(1.0 / (double)reduced_count(shape, call.reduced));
    for (uint32_t i = 0; i < inputs; i++) call.inputs[i] = lowering_view(l, node->inputs[i]);
    const tuff_shape *of_result = &node->outputs[0]->shape;
    call.out = without_reduced(node, &call, lowering_view(l, node->outputs[0]), of_result);
    for (uint32_t i = 0; i < extras; i++)
        call.extras[i] = without_reduced(node, &call, lowering_view(l, node->inputs[inputs + i]), of_result);
    return lower_reduce(l, &call);
}

static tuff_result lower_sum(lowering *l, const node *node) {
    return lower_node(l, node, REDUCE_SUM, false);
}
static tuff_result lower_mean(lowering *l, const node *node) {
    return lower_node(l, node, REDUCE_SUM, true);
}
static tuff_result lower_amax(lowering *l, const node *node) {
    return lower_node(l, node, REDUCE_MAXIMUM, false);
}
static tuff_result lower_amin(lowering *l, const node *node) {
    return lower_node(l, node, REDUCE_MINIMUM, false);
}
static tuff_result lower_prod(lowering *l, const node *node) {
    return lower_node(l, node, REDUCE_PRODUCT, false);
}

static bool accepts_epilogue(const node *node, const chain *chain, tuff_tensor *const *extra_inputs,
                             uint32_t extra_count) {
    for (uint32_t i = 0; i < extra_count; i++) {
        tuff_shape shape;
        if (extra_inputs[i]->type == TUFF_U8) return false;
        if (!shape_broadcast(&extra_inputs[i]->shape, &node->outputs[0]->shape, &shape)
            || !shape_equal(&shape, &node->outputs[0]->shape))
            return false;
    }
    return reduce_accepts_epilogue(chain, extra_count);
}

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

static tuff_result gradient_amax(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs);
static tuff_result gradient_amin(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs);
static tuff_result gradient_prod(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs);

#define REDUCE_ROW(row, text)                                                                                          \
    static const operator operator_##row = {                                                                           \
        .name = #row,                                                                                                  \
        .formula = text,                                                                                               \
        .inputs = { "input" },                                                                                         \
        .pytorch = "torch." #row,                                                                                      \
        .attributes = reduce_attributes,                                                                               \
        .attribute_count = 2,                                                                                          \
        .flags = OPERATOR_PROLOGUE | OPERATOR_WHOLE_EPILOGUE,                                                          \
        .infer = infer_reduce,                                                                                         \
        .gradient = gradient_##row,                                                                                    \
        .lower = lower_##row,                                                                                          \
        .accepts_epilogue = accepts_epilogue,                                                                          \
    };
REDUCE_ROW(sum, "sum of x over axes, of any length off by at most 2^-18 of the sum of the absolute terms")
REDUCE_ROW(mean, "mean of x over axes, of any length off by at most 2^-18 of the mean of the absolute terms")
REDUCE_ROW(amax, "largest x over axes; equal ones share the gradient")
REDUCE_ROW(amin, "smallest x over axes; equal ones share the gradient")
REDUCE_ROW(prod, "product of x over axes, of n elements off by at most n units in the last place")

static tuff_tensor *reduce_again(const operator* op, const node *node, tuff_tensor *x) {
    return apply_unary(op, x, node->attributes);
}

/* Equal extremes share what arrives. */
static tuff_result gradient_extreme(const node *node, tuff_tensor *const *grad_outputs, tuff_tensor **grad_inputs) {
    tuff_tensor *x = node->inputs[0], *y = node->outputs[0];
    tuff_tensor *there = tuff_eq(x, expand_reduced(node, y, false));
    tuff_tensor *share = tuff_div(grad_outputs[0], reduce_again(&operator_sum, node, tuff_to(there, TUFF_F32)));
    grad_inputs[0] = keep_if(there, expand_reduced(node, share, false));
    return TUFF_OK;
}

static tuff_result gradient_amax(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    return gradient_extreme(node, grad_outputs, grad_inputs);
}

static tuff_result gradient_amin(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    return gradient_extreme(node, grad_outputs, grad_inputs);
}

/* The product of the other elements. With P the product of those that are not zero, it is P / x where no element is
 * zero; where one is, it is P there and 0 elsewhere; where more are, 0. */
static tuff_result gradient_prod(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    tuff_tensor *g = grad_outputs[0], *x = node->inputs[0];
    if (!g) return TUFF_OK;
    tuff_tensor *one = tuff_constant(g->graph, 1, (tuff_shape){ 0 });
    tuff_tensor *zero = tuff_eq(x, tuff_constant(g->graph, 0, (tuff_shape){ 0 }));
    tuff_tensor *safe = tuff_where(zero, one, x);
    tuff_tensor *zeros = reduce_again(&operator_sum, node, tuff_to(zero, TUFF_F32));
    tuff_tensor *product = tuff_mul(g, reduce_again(node->op, node, safe));
    tuff_tensor *without = keep_unless(zeros, product), *with_one = keep_if(tuff_eq(zeros, one), product);
    grad_inputs[0] =
        tuff_where(zero, expand_reduced(node, with_one, false), tuff_div(expand_reduced(node, without, false), safe));
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

tuff_tensor *expand_reduced(const node *node, tuff_tensor *reduced, bool mean) {
    attribute_value attributes[3] = { node->attributes[AXES], node->attributes[KEEPDIM], { .i = mean } };
    return apply_binary(&operator_expand_reduced, reduced, node->inputs[0], attributes);
}

/* ---- the first element along axes ---------------------------------------------------------------- */

/* What sums and deviations are measured from where the mean would drown them: of the same size as the others, so that
 * x - first is exact or nearly so. A view. Whatever is computed from the differences does not depend on it, so it needs
 * no gradient. */
static tuff_result infer_first(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    TRY(check_axes(inference, x));
    inference->shapes[0] = reduced_shape(&x->shape, axis_mask(node, &x->shape), true);
    return TUFF_OK;
}

static bool look_first(const node *node, const view *input, view *output) {
    (void)node;
    output->offset = input->offset;
    memcpy(output->strides, input->strides, sizeof output->strides);
    return true;
}

static const operator operator_first = {
    .name = "first",
    .flags = OPERATOR_INTERNAL | OPERATOR_DETACH,
    .formula = "x at index 0 of the axes",
    .inputs = { "input" },
    .attributes = reduce_attributes,
    .attribute_count = 2,
    .infer = infer_first,
    .look = look_first,
};

tuff_tensor *first_along(tuff_tensor *x, const tuff_reduce_desc *axes) {
    return apply_reduce(&operator_first, x, axes, NULL);
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

tuff_tensor *apply_reduce(const operator* op, tuff_tensor *x, const tuff_reduce_desc *desc,
                          const attribute_value *third) {
    if (!x) return NULL;
    attribute_value attributes[3] = { 0 };
    if (desc && desc->axis_count > TUFF_MAX_RANK) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "%s of '%s': %u axes; a tensor has at most %d", op->name, x->name,
                   desc->axis_count, TUFF_MAX_RANK);
        return NULL;
    }
    for (uint32_t i = 0; desc && i < desc->axis_count; i++) attributes[AXES].list[i] = desc->axes[i];
    attributes[AXES].i = desc ? desc->axis_count : 0;
    attributes[KEEPDIM].i = desc && desc->keepdim;
    if (third) attributes[KEEPDIM + 1] = *third;
    return apply_unary(op, x, attributes);
}

tuff_tensor *tuff_sum(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_sum, x, desc, NULL);
}
tuff_tensor *tuff_mean(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_mean, x, desc, NULL);
}
tuff_tensor *tuff_amax(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_amax, x, desc, NULL);
}
tuff_tensor *tuff_amin(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_amin, x, desc, NULL);
}
tuff_tensor *tuff_prod(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_reduce(&operator_prod, x, desc, NULL);
}

static const operator* const rows[] = {
    &operator_sum,          &operator_mean,
    &operator_amax,         &operator_amin,
    &operator_prod,         &operator_var,
    &operator_std,          &operator_norm,
    &operator_logsumexp,    &operator_max,
    &operator_min,          &operator_argmax,
    &operator_argmin,       &operator_topk,
    &operator_cumsum,       &operator_expand_reduced,
    &operator_var_backward, &operator_first,
    &operator_sum_to,       &operator_extreme,
    &operator_place,        &operator_cumsum_reversed,
};
const operator_family family_reduction = { rows, sizeof rows / sizeof *rows };
