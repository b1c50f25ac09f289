/* Losses and accuracy. The losses are composites of chains, reductions and one gather; so are their gradients, whose
 * factors (1 over the number of elements) are computed from the shapes when the graph is compiled. */
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/pointwise.h"
#include "shaders/common/chain_ops.h"

#include <tuff/layers.h>

enum { LANES = 64, REDUCTION = 0 };

static const attribute loss_attributes[] = {
    [REDUCTION] = { .name = "reduction", .type = ATTRIBUTE_CHOICE, .choices = "mean|sum|none" }
};

static tuff_loss_reduction reduction_of(const node *node) {
    return (tuff_loss_reduction)node->attributes[REDUCTION].i;
}

static tuff_tensor *reduce(tuff_tensor *values, const node *node) {
    switch (reduction_of(node)) {
    case TUFF_REDUCE_SUM: return tuff_sum(values, NULL);
    case TUFF_REDUCE_NONE: return values;
    case TUFF_REDUCE_MEAN: break;
    }
    return tuff_mean(values, NULL);
}

/* What arrives at each of `count` terms, times factor. */
static tuff_tensor *spread(tuff_tensor *gradient, const node *node, int64_t count, double factor) {
    if (reduction_of(node) == TUFF_REDUCE_MEAN) factor /= (double)count;
    return factor == 1 ? gradient : tuff_scale(gradient, (float)factor, 0);
}

static tuff_tensor *apply_loss(const operator* op, tuff_tensor *input, tuff_tensor *target,
                               const tuff_loss_desc *desc) {
    if (!input || !target) return NULL;
    attribute_value attributes[] = { [REDUCTION] = { .i = desc ? desc->reduction : TUFF_REDUCE_MEAN } };
    if (attributes[REDUCTION].i < TUFF_REDUCE_MEAN || attributes[REDUCTION].i > TUFF_REDUCE_NONE) {
        graph_fail(input->graph, TUFF_ERROR_ARGUMENT, "%s: %lld is not a tuff_loss_reduction", op->name,
                   (long long)attributes[REDUCTION].i);
        return NULL;
    }
    tuff_tensor *inputs[] = { input, target };
    return graph_apply(input->graph, op, inputs, 2, attributes, NULL);
}

/* ---- rows that cross entropy and accuracy are made of -------------------------------------------- */

/* Checks logits (N, C, ...) against int32 targets (N, ...). */
static tuff_result check_targets(inference *inference, const tuff_tensor *logits, const tuff_tensor *target) {
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    bool fits = logits->shape.rank >= 2 && target->shape.rank == logits->shape.rank - 1
                && target->shape.sizes[0] == logits->shape.sizes[0];
    for (uint32_t i = 1; fits && i < target->shape.rank; i++)
        fits = target->shape.sizes[i] == logits->shape.sizes[i + 1];
    if (fits) return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                      "%s: logits '%s' %s must have the shape (N, C, ...) and the target '%s' %s the shape (N, ...)",
                      node_text(inference->node, text), logits->name, shape_text(&logits->shape, first), target->name,
                      shape_text(&target->shape, second));
}

static tuff_result infer_pick(inference *inference) {
    const node *node = inference->node;
    TRY(check_targets(inference, node->inputs[0], node->inputs[1]));
    inference->shapes[0] = node->inputs[0]->shape;
    inference->shapes[0].sizes[1] = 1;
    return TUFF_OK;
}

/* Shared with shaders/gather/classes.comp. */
enum { PICK, HIT, INDEX };

static tuff_result lower_by_target(lowering *lowering, const node *node, uint32_t question) {
    const view *x = lowering_view(lowering, node->inputs[0]), *target = lowering_view(lowering, node->inputs[1]);
    const view *y = lowering_view(lowering, node->outputs[0]);
    int64_t rows = x->shape.sizes[0], each = view_count(target) / rows, step = steps_that_fit(lowering, x);
    view flat_target = *target, flat_y = *y; /* both row-major */
    flat_target.shape = flat_y.shape = TUFF_SHAPE(rows, each);
    flat_target.strides[0] = flat_y.strides[0] = each;
    flat_target.strides[1] = flat_y.strides[1] = 1;
    step = smaller(step, smaller(steps_that_fit(lowering, &flat_target), steps_that_fit(lowering, &flat_y)));
    for (int64_t n = 0; n < rows; n += step) {
        int64_t part = smaller(step, rows - n);
        view x_part = view_part(x, n, part), target_part = view_part(&flat_target, n, part);
        view y_part = view_part(&flat_y, n, part);
        uint32_t axes = x->shape.rank - 2;
        kernel_call call = { .kernel = KERNEL_CLASSES,
                             .operand_count = 3,
                             .params = { (uint32_t)(part * each), (uint32_t)x->shape.sizes[1], 0, 0, 0,
                                         (uint32_t)x->strides[0], (uint32_t)x->strides[1], question, axes },
                             .param_count = 21 };
        call.operands[0] = lowering_operand(lowering, &x_part, ACCESS_READ, &call.params[2]);
        call.operands[1] = lowering_operand(lowering, &target_part, ACCESS_READ, &call.params[3]);
        call.operands[2] = lowering_operand(lowering, &y_part, ACCESS_WRITE, &call.params[4]);
        for (uint32_t i = 0; i < axes; i++) {
            call.params[9 + i] = (uint32_t)x->shape.sizes[x->shape.rank - 1 - i];
            call.params[15 + i] = (uint32_t)x->strides[x->shape.rank - 1 - i];
        }
        flat_groups(&call, (uint64_t)(part * each), LANES);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

static tuff_result lower_pick(lowering *lowering, const node *node) {
    return lower_by_target(lowering, node, PICK);
}

static const operator pick = {
    .name = "pick",
    .formula = "y[n, 0, ...] = x[n, target[n, ...], ...]",
    .inputs = { "input", "target" },
    .types = { TYPE_F32, TYPE_I32 },
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL, /* cross_entropy has a gradient of its own */
    .infer = infer_pick,
    .input_layouts = { LAYOUT_ANY, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_pick,
};

static tuff_result infer_class_index(inference *inference) {
    const tuff_shape *like = &inference->node->inputs[0]->shape;
    inference->types[0] = TUFF_I32;
    inference->shapes[0].rank = like->rank;
    for (uint32_t i = 0; i < like->rank; i++) inference->shapes[0].sizes[i] = i == 1 ? like->sizes[1] : 1;
    return TUFF_OK;
}

static tuff_result lower_class_index(lowering *lowering, const node *node) {
    const view *y = lowering_view(lowering, node->outputs[0]);
    kernel_call call = { .kernel = KERNEL_CLASSES,
                         .operand_count = 3,
                         .params = { [0] = (uint32_t)view_count(y), [7] = INDEX },
                         .param_count = 21 };
    call.operands[2] = lowering_operand(lowering, y, ACCESS_WRITE, &call.params[4]);
    call.operands[0] = call.operands[1] = call.operands[2]; /* unread; every binding needs a buffer */
    flat_groups(&call, (uint64_t)view_count(y), LANES);
    return lowering_call(lowering, &call);
}

static const operator class_index = {
    .name = "class_index",
    .formula = "y[0, c, 0, ...] = c",
    .inputs = { "like" },
    .types = { TYPE_ANY },
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .shape_only = 1,
    .infer = infer_class_index,
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_class_index,
};

static tuff_result infer_int_equal(inference *inference) {
    const node *node = inference->node;
    shape_broadcast(&node->inputs[0]->shape, &node->inputs[1]->shape, &inference->shapes[0]);
    return TUFF_OK;
}

static const operator int_equal = {
    .name = "int_equal",
    .formula = "y = a == b ? 1 : 0",
    .inputs = { "input", "other" },
    .types = { TYPE_I32, TYPE_I32 },
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .chain_op = CHAIN_INT_EQ,
    .infer = infer_int_equal,
};

/* ---- cross entropy ------------------------------------------------------------------------------ */

static tuff_result infer_loss(inference *inference, const tuff_shape *terms) {
    if (reduction_of(inference->node) == TUFF_REDUCE_NONE) inference->shapes[0] = *terms;
    return TUFF_OK; /* else a scalar, as preset */
}

static tuff_result infer_cross_entropy(inference *inference) {
    const node *node = inference->node;
    TRY(check_targets(inference, node->inputs[0], node->inputs[1]));
    return infer_loss(inference, &node->inputs[1]->shape);
}

static tuff_tensor *over_classes(tuff_tensor *(*reduce_by)(tuff_tensor *, const tuff_reduce_desc *), tuff_tensor *x) {
    return reduce_by(x, &(tuff_reduce_desc){ .axes = { 1 }, .axis_count = 1, .keepdim = true });
}

/* m = max over classes, s = sum of exp(x - m): the same nodes in both passes. */
static tuff_tensor *largest(tuff_tensor *x) {
    return over_classes(tuff_amax, x);
}

static tuff_tensor *log_sum(tuff_tensor *x, tuff_tensor *m) {
    return tuff_log(over_classes(tuff_sum, tuff_exp(tuff_sub(x, m))));
}

/* loss = log s - (x[target] - m) */
static tuff_result expand_cross_entropy(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                        tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *x = inputs[0], *m = largest(x), *picked = graph_apply(graph, &pick, inputs, 2, NULL, NULL);
    tuff_tensor *terms = tuff_sub(log_sum(x, m), tuff_sub(picked, m));
    outputs[0] = reduce(tuff_reshape(terms, inputs[1]->shape), node);
    return graph->result;
}

/* gx = (exp(x - m - log s) - (class == target)) g / N */
static tuff_result expand_cross_entropy_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                                 bool training, tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *g = inputs[0], *x = inputs[1], *target = inputs[2], *m = largest(x), *logs = log_sum(x, m);
    tuff_shape column = x->shape; /* (N, 1, ...) */
    column.sizes[1] = 1;
    tuff_tensor *equal_inputs[2] = { graph_apply(graph, &class_index, &x, 1, NULL, NULL),
                                     tuff_reshape(target, column) };
    tuff_tensor *equal = graph_apply(graph, &int_equal, equal_inputs, 2, NULL, NULL);
    g = spread(g, node, tuff_shape_count(&column), 1);
    if (reduction_of(node) == TUFF_REDUCE_NONE) g = tuff_reshape(g, column);
    /* x + (-m) where the forward pass has x - m: computed again, so that its exponentials need not be kept */
    tuff_tensor *shifted = tuff_sub(tuff_add(x, tuff_neg(m)), logs);
    outputs[0] = tuff_mul(tuff_sub(tuff_exp(shifted), equal), g);
    return graph->result;
}

static tuff_result infer_like_second(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

static const operator cross_entropy_backward = {
    .name = "cross_entropy_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "(softmax(logits) - onehot(target)) * gradient / N",
    .inputs = { "grad_output", "input", "target" },
    .types = { TYPE_F32, TYPE_F32, TYPE_I32 },
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_like_second,
    .expand = expand_cross_entropy_backward,
};

static tuff_result gradient_cross_entropy(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                          tuff_tensor **grad_inputs) {
    (void)needs; /* the target is int32 and has none */
    tuff_tensor *inputs[] = { grad_outputs[0], node->inputs[0], node->inputs[1] };
    grad_inputs[0] = graph_apply(node_graph(node), &cross_entropy_backward, inputs, 3, node->attributes, NULL);
    return TUFF_OK;
}

static const operator cross_entropy = {
    .name = "cross_entropy",
    .formula = "-log_softmax(logits)[target], reduced",
    .inputs = { "input", "target" },
    .types = { TYPE_F32, TYPE_I32 },
    .pytorch = "torch.nn.functional.cross_entropy",
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_cross_entropy,
    .gradient = gradient_cross_entropy,
    .expand = expand_cross_entropy,
};

tuff_tensor *tuff_cross_entropy(tuff_tensor *logits, tuff_tensor *target, const tuff_loss_desc *desc) {
    return apply_loss(&cross_entropy, logits, target, desc);
}

/* ---- mean squared and mean absolute error --------------------------------------------------------- */

static tuff_result infer_regression(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *a = node->inputs[0], *b = node->inputs[1];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (!shape_equal(&a->shape, &b->shape))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s and '%s' %s must have equal shapes",
                          node_text(node, text), a->name, shape_text(&a->shape, first), b->name,
                          shape_text(&b->shape, second));
    return infer_loss(inference, &a->shape);
}

static tuff_result expand_mse(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                              tuff_tensor **outputs) {
    (void)training;
    outputs[0] = reduce(tuff_square(tuff_sub(inputs[0], inputs[1])), node);
    return graph->result;
}

static tuff_result expand_l1(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                             tuff_tensor **outputs) {
    (void)training;
    outputs[0] = reduce(tuff_abs(tuff_sub(inputs[0], inputs[1])), node);
    return graph->result;
}

static tuff_result expand_mse_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                       tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *g = spread(inputs[0], node, tuff_shape_count(&inputs[1]->shape), 2);
    outputs[0] = tuff_mul(tuff_sub(inputs[1], inputs[2]), g);
    return graph->result;
}

static tuff_result expand_l1_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *g = spread(inputs[0], node, tuff_shape_count(&inputs[1]->shape), 1);
    tuff_tensor *difference = tuff_sub(inputs[1], inputs[2]);
    outputs[0] = tuff_mul(tuff_sign(difference), g);
    return graph->result;
}

static const operator mse_loss_backward = {
    .name = "mse_loss_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "2 (input - target) * gradient / N",
    .inputs = { "grad_output", "input", "target" },
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_like_second,
    .expand = expand_mse_backward,
};

static const operator l1_loss_backward = {
    .name = "l1_loss_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "sign(input - target) * gradient / N",
    .inputs = { "grad_output", "input", "target" },
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_like_second,
    .expand = expand_l1_backward,
};

static tuff_result gradient_regression(const node *node, const operator* backward, tuff_tensor *gradient,
                                       uint32_t needs, tuff_tensor **grad_inputs) {
    tuff_tensor *inputs[] = { gradient, node->inputs[0], node->inputs[1] };
    tuff_tensor *first = graph_apply(node_graph(node), backward, inputs, 3, node->attributes, NULL);
    if (needs & 1) grad_inputs[0] = first;
    if (needs & 2) grad_inputs[1] = tuff_neg(first);
    return TUFF_OK;
}

static tuff_result gradient_mse(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs) {
    return gradient_regression(node, &mse_loss_backward, grad_outputs[0], needs, grad_inputs);
}

static tuff_result gradient_l1(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                               tuff_tensor **grad_inputs) {
    return gradient_regression(node, &l1_loss_backward, grad_outputs[0], needs, grad_inputs);
}

static const operator mse_loss = {
    .name = "mse_loss",
    .formula = "(input - target)^2, reduced",
    .inputs = { "input", "target" },
    .pytorch = "torch.nn.functional.mse_loss",
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_regression,
    .gradient = gradient_mse,
    .expand = expand_mse,
};

static const operator l1_loss = {
    .name = "l1_loss",
    .formula = "|input - target|, reduced",
    .inputs = { "input", "target" },
    .pytorch = "torch.nn.functional.l1_loss",
    .attributes = loss_attributes,
    .attribute_count = 1,
    .infer = infer_regression,
    .gradient = gradient_l1,
    .expand = expand_l1,
};

tuff_tensor *tuff_mse_loss(tuff_tensor *input, tuff_tensor *target, const tuff_loss_desc *desc) {
    return apply_loss(&mse_loss, input, target, desc);
}

tuff_tensor *tuff_l1_loss(tuff_tensor *input, tuff_tensor *target, const tuff_loss_desc *desc) {
    return apply_loss(&l1_loss, input, target, desc);
}

/* ---- accuracy ----------------------------------------------------------------------------------- */

static tuff_result infer_hit(inference *inference) {
    const node *node = inference->node;
    char text[160], shape[SHAPE_TEXT];
    TRY(check_targets(inference, node->inputs[0], node->inputs[1]));
    if (node->inputs[0]->shape.rank != 2)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: logits '%s' %s must have the shape (N, C)",
                          node_text(node, text), node->inputs[0]->name, shape_text(&node->inputs[0]->shape, shape));
    inference->shapes[0] = node->inputs[1]->shape;
    return TUFF_OK;
}

static tuff_result lower_hit(lowering *lowering, const node *node) {
    return lower_by_target(lowering, node, HIT);
}

static const operator hit = {
    .name = "hit",
    .formula = "y[n] = argmax(logits[n]) == target[n] ? 1 : 0",
    .inputs = { "input", "target" },
    .types = { TYPE_F32, TYPE_I32 },
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .infer = infer_hit,
    .input_layouts = { LAYOUT_ANY, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_hit,
};

static tuff_result infer_accuracy(inference *inference) {
    TRY(infer_hit(inference));
    inference->shapes[0] = (tuff_shape){ 0 };
    return TUFF_OK;
}

static tuff_result expand_accuracy(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    (void)node, (void)training;
    outputs[0] = tuff_mean(graph_apply(graph, &hit, inputs, 2, NULL, NULL), NULL);
    return graph->result;
}

static const operator accuracy = {
    .name = "accuracy",
    .formula = "mean over n of argmax(logits[n]) == target[n]",
    .inputs = { "input", "target" },
    .types = { TYPE_F32, TYPE_I32 },
    .flags = OPERATOR_DETACH,
    .infer = infer_accuracy,
    .expand = expand_accuracy,
};

tuff_tensor *tuff_accuracy(tuff_tensor *logits, tuff_tensor *target) {
    if (!logits || !target) return NULL;
    tuff_tensor *inputs[] = { logits, target };
    return graph_apply(logits->graph, &accuracy, inputs, 2, NULL, NULL);
}

static const operator* const rows[] = { &cross_entropy, &cross_entropy_backward,
                                        &mse_loss,      &mse_loss_backward,
                                        &l1_loss,       &l1_loss_backward,
                                        &accuracy,      &hit,
                                        &pick,          &class_index,
                                        &int_equal };
const operator_family family_losses = { rows, sizeof rows / sizeof *rows };
