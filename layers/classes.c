/* Questions about classes: the logit at a target, whether a target is a class, and which it is. Accuracy. */
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/losses.h"
#include "shaders/common/chain_ops.h"

enum { LANES = 64 };

enum { IGNORE = 0, CLASSES };

/* The first is all that a row has whose input has the classes. */
static const attribute class_attributes[] = {
    [IGNORE] = { .name = "ignore_index", .type = ATTRIBUTE_INT, .value.i = IGNORE_INDEX },
    [CLASSES] = { .name = "classes", .type = ATTRIBUTE_INT, .required = true },
};

tuff_result check_targets(inference *inference, const tuff_tensor *logits, const tuff_tensor *target) {
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

/* Shared with shaders/gather/classes.comp. */
enum { PICK, HIT, INDEX, KNOWN, COUNT, SHARE };

static tuff_result lower_by_target(lowering *lowering, const node *node, uint32_t question, int64_t ignore) {
    const view *x = question == KNOWN ? NULL : lowering_view(lowering, node->inputs[0]);
    const view *share = question == KNOWN && node->inputs[1] ? lowering_view(lowering, node->inputs[1]) : NULL;
    const view *target = lowering_view(lowering, node->inputs[x ? 1 : 0]),
               *y = lowering_view(lowering, node->outputs[0]);
    int64_t rows = target->shape.sizes[0], each = view_count(target) / rows, step = rows;
    int64_t classes = x ? x->shape.sizes[1] : node->attributes[CLASSES].i;
    view flat_target = *target, flat_y = *y; /* both row-major */
    flat_target.shape = flat_y.shape = TUFF_SHAPE(rows, each);
    flat_target.strides[0] = flat_y.strides[0] = each;
    flat_target.strides[1] = flat_y.strides[1] = 1;
    if (x) step = smaller(step, steps_that_fit(lowering, x));
    step = smaller(step, smaller(steps_that_fit(lowering, &flat_target), steps_that_fit(lowering, &flat_y)));
    for (int64_t n = 0; n < rows; n += step) {
        int64_t part = smaller(step, rows - n);
        view target_part = view_part(&flat_target, n, part), y_part = view_part(&flat_y, n, part);
        kernel_call call = { .kernel = KERNEL_CLASSES,
                             .operand_count = 3,
                             .params = { (uint32_t)(part * each),
                                         (uint32_t)classes, [7] = question, [21] = (uint32_t)(int32_t)ignore },
                             .param_count = 22 };
        call.operands[1] = lowering_operand(lowering, &target_part, ACCESS_READ, &call.params[3]);
        call.operands[2] = lowering_operand(lowering, &y_part, ACCESS_WRITE, &call.params[4]);
        call.operands[0] = call.operands[1]; /* unread; every binding needs a buffer */
        if (x) {
            view x_part = view_part(x, n, part);
            call.operands[0] = lowering_operand(lowering, &x_part, ACCESS_READ, &call.params[2]);
            call.params[5] = (uint32_t)x->strides[0];
            call.params[6] = (uint32_t)x->strides[1];
            call.params[8] = x->shape.rank - 2;
            for (uint32_t i = 0; i < call.params[8]; i++) {
                call.params[9 + i] = (uint32_t)x->shape.sizes[x->shape.rank - 1 - i];
                call.params[15 + i] = (uint32_t)x->strides[x->shape.rank - 1 - i];
            }
        }
        if (share) {
            call.operands[0] = lowering_operand(lowering, share, ACCESS_READ, &call.params[2]);
            call.params[5] = 1;
        }
        flat_groups(&call, (uint64_t)(part * each), LANES);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

static tuff_result infer_column(inference *inference) {
    const node *node = inference->node;
    TRY(check_targets(inference, node->inputs[0], node->inputs[1]));
    inference->shapes[0] = node->inputs[0]->shape;
    inference->shapes[0].sizes[1] = 1;
    return TUFF_OK;
}

static tuff_result lower_pick(lowering *lowering, const node *node) {
    return lower_by_target(lowering, node, PICK, node->attributes[IGNORE].i);
}

static tuff_result lower_known(lowering *lowering, const node *node) {
    return lower_by_target(lowering, node, KNOWN, node->attributes[IGNORE].i);
}

static tuff_result gradient_pick(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs; /* the target is int32 and has none */
    tuff_tensor *x = node->inputs[0], *target = node->inputs[1];
    tuff_tensor *g = keep_if(known_class(target, x->shape.sizes[1], NULL, node->attributes[IGNORE].i), grad_outputs[0]);
    grad_inputs[0] = keep_if(one_hot_of(x, target), g);
    return TUFF_OK;
}

static const operator pick = {
    .name = "pick",
    .formula = "y[n, 0, ...] = x[n, target[n, ...], ...]; 0 where the target is ignore_index, NaN where it is no class",
    .inputs = { "input", "target" },
    .types = { TYPE_F32, TYPE_I32 },
    .attributes = class_attributes,
    .attribute_count = 1,
    .flags = OPERATOR_INTERNAL,
    .infer = infer_column,
    .gradient = gradient_pick,
    .input_layouts = { LAYOUT_ANY, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_pick,
};

/* Of targets (N, ...), and not too many classes. */
static tuff_result check_classes(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *target = node->inputs[0];
    char text[160], shape[SHAPE_TEXT];
    int64_t classes = node->attributes[CLASSES].i;
    if (target->shape.rank >= 1 && target->shape.rank < TUFF_MAX_RANK && classes >= 1 && classes <= INT32_MAX)
        return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                      "%s: the target '%s' %s has no shape (N, ...), or %lld classes", node_text(node, text),
                      target->name, shape_text(&target->shape, shape), (long long)classes);
}

static tuff_result infer_known(inference *inference) {
    TRY(check_classes(inference));
    const tuff_shape *target = &inference->node->inputs[0]->shape;
    tuff_shape *column = &inference->shapes[0];
    for (uint32_t i = 0; i < target->rank; i++) {
        column->sizes[column->rank++] = target->sizes[i];
        if (i == 0) column->sizes[column->rank++] = 1;
    }
    return TUFF_OK;
}

static const operator known = {
    .name = "known",
    .formula = "y[n, 0, ...] = share, or 1, where the target is a class; 0 where it is ignore_index, else NaN",
    .inputs = { "target", "share?" },
    .types = { TYPE_I32 },
    .attributes = class_attributes,
    .attribute_count = 2,
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .infer = infer_known,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_known,
};

tuff_tensor *pick_class(tuff_tensor *x, tuff_tensor *target, int64_t ignore_index) {
    return apply_binary(&pick, x, target, &(attribute_value){ .i = ignore_index });
}

tuff_tensor *known_class(tuff_tensor *target, int64_t classes, tuff_tensor *share, int64_t ignore_index) {
    const attribute_value attributes[] = { [IGNORE] = { .i = ignore_index }, [CLASSES] = { .i = classes } };
    tuff_tensor *inputs[] = { target, share };
    return target ? graph_apply(target->graph, &known, inputs, 2, attributes, NULL) : NULL;
}

/* The targets are counted by several workgroups, and what they counted by one. */
static tuff_result lower_share(lowering *lowering, const node *node) {
    enum { EACH = 4096, MOST_GROUPS = 256 };
    const view *y = lowering_view(lowering, node->outputs[0]);
    view target = *lowering_view(lowering, node->inputs[0]), counts, part;
    int64_t count = view_count(&target), step = (int64_t)bindable_elements(lowering);
    int64_t groups = smaller((smaller(count, step) + EACH - 1) / EACH, MOST_GROUPS), slices = (count + step - 1) / step;
    target.shape = TUFF_SHAPE(count);
    target.strides[0] = 1;
    TRY(lowering_scratch(lowering, (uint64_t)(groups * slices), "counts", &counts));
    kernel_call call = { .kernel = KERNEL_CLASSES,
                         .operand_count = 3,
                         .params = { [1] = (uint32_t)node->attributes[CLASSES].i,
                                     [7] = COUNT,
                                     [21] = (uint32_t)(int32_t)node->attributes[IGNORE].i },
                         .param_count = 22,
                         .groups = { (uint32_t)groups, 1, 1 },
                         .whole = true };
    for (int64_t slice = 0; slice < slices; slice++) {
        part = view_part(&target, slice * step, smaller(step, count - slice * step));
        call.params[0] = (uint32_t)part.shape.sizes[0];
        call.operands[0] = call.operands[1] = lowering_operand(lowering, &part, ACCESS_READ, &call.params[3]);
        part = view_part(&counts, slice * groups, groups);
        call.operands[2] = lowering_operand(lowering, &part, ACCESS_WRITE, &call.params[4]);
        TRY(lowering_call(lowering, &call));
    }
    call.params[0] = (uint32_t)(groups * slices);
    call.params[7] = SHARE;
    call.operands[0] = call.operands[1] = lowering_operand(lowering, &counts, ACCESS_READ, &call.params[2]);
    call.operands[2] = lowering_operand(lowering, y, ACCESS_WRITE, &call.params[4]);
    call.groups[0] = 1;
    return lowering_call(lowering, &call);
}

static const operator share_row = {
    .name = "class_share",
    .formula = "1 / the number of targets that are not ignore_index; NaN if one is no class",
    .inputs = { "target" },
    .types = { TYPE_I32 },
    .attributes = class_attributes,
    .attribute_count = 2,
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .infer = check_classes,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_share,
};

tuff_tensor *share_of_class(tuff_tensor *target, int64_t classes, int64_t ignore_index) {
    const attribute_value attributes[] = { [IGNORE] = { .i = ignore_index }, [CLASSES] = { .i = classes } };
    return apply_unary(&share_row, target, attributes);
}

tuff_result check_class_weight(inference *inference, const tuff_tensor *logits, const tuff_tensor *weight) {
    const tuff_shape *shape = &logits->shape;
    int64_t classes = shape->sizes[shape->rank > 1];
    char text[160], given[SHAPE_TEXT];
    if (!weight || (weight->shape.rank == 1 && weight->shape.sizes[0] == classes)) return TUFF_OK;
    return graph_fail(
        inference->graph, TUFF_ERROR_SHAPE, "%s: the weight '%s' %s must have the shape (%lld), the classes",
        node_text(inference->node, text), weight->name, shape_text(&weight->shape, given), (long long)classes);
}

tuff_tensor *weights_along(tuff_tensor *weight, tuff_tensor *x) {
    if (!weight || !x) return NULL;
    tuff_shape shape = { .rank = x->shape.rank };
    for (uint32_t i = 0; i < shape.rank; i++) shape.sizes[i] = i == 1 ? weight->shape.sizes[0] : 1;
    return tuff_reshape(weight, shape);
}

tuff_tensor *pick_weight(tuff_tensor *weight, tuff_tensor *x, tuff_tensor *target, int64_t ignore_index) {
    return pick_class(expand_as(weights_along(weight, x), x), target, ignore_index);
}

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

static tuff_result infer_one_hot(inference *inference) {
    TRY(infer_column(inference));
    inference->shapes[0] = inference->node->inputs[0]->shape;
    return TUFF_OK;
}

static tuff_result expand_one_hot(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)node, (void)training;
    tuff_shape column = inputs[0]->shape; /* (N, 1, ...) */
    column.sizes[1] = 1;
    tuff_tensor *classes = graph_apply(graph, &class_index, inputs, 1, NULL, NULL);
    outputs[0] = apply_binary(&int_equal, classes, tuff_reshape(inputs[1], column), NULL);
    return graph->result;
}

static const operator one_hot = {
    .name = "class_equal",
    .formula = "y[n, c, ...] = c == target[n, ...] ? 1 : 0",
    .inputs = { "input", "target" },
    .types = { TYPE_F32, TYPE_I32 },
    .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
    .shape_only = 1,
    .infer = infer_one_hot,
    .expand = expand_one_hot,
};

tuff_tensor *one_hot_of(tuff_tensor *x, tuff_tensor *target) {
    return apply_binary(&one_hot, x, target, NULL);
}

/* ---- the gradient of losses of a softmax --------------------------------------------------------- */

/* All but `wide` and the output have one number for each row (N, J). */
enum { OF_X, OF_LARGEST, OF_LOG_SUM, OF_TARGET, OF_SOFTMAX, OF_HIT, OF_OUTPUT };

static tuff_result infer_softmax_target(inference *inference) {
    inference->shapes[0] = inference->node->inputs[OF_X]->shape;
    return TUFF_OK;
}

static tuff_result lower_softmax_target(lowering *lowering, const node *node) {
    const view *x = lowering_view(lowering, node->inputs[OF_X]), *y = lowering_view(lowering, node->outputs[0]);
    int64_t rows = x->shape.sizes[0], classes = x->shape.sizes[1], each = view_count(x) / rows / classes;
    int64_t step = smaller(rows, smaller(steps_that_fit(lowering, x), steps_that_fit(lowering, y)));
    view flat[OF_OUTPUT];
    for (uint32_t i = OF_LARGEST; i < OF_OUTPUT; i++) {
        flat[i] = *lowering_view(lowering, node->inputs[i]);
        flat[i].shape = TUFF_SHAPE(rows, each);
        flat[i].strides[0] = each;
        flat[i].strides[1] = 1;
        step = smaller(step, steps_that_fit(lowering, &flat[i]));
    }
    /* invocations are counted in 32 bits */
    step = smaller(step, UINT32_MAX / 2 / (each * classes) > 0 ? UINT32_MAX / 2 / (each * classes) : 1);
    for (int64_t n = 0; n < rows; n += step) {
        int64_t part = smaller(step, rows - n);
        uint32_t axes = x->shape.rank - 2, by_class = x->strides[1] == 1 ? 1u << 31 : 0;
        kernel_call call = {
            .kernel = KERNEL_CLASSES_BACKWARD,
            .operand_count = 7,
            .params = { (uint32_t)(part * each), (uint32_t)classes | by_class, [9] = (uint32_t)x->strides[0],
                        (uint32_t)x->strides[1], (uint32_t)y->strides[0], (uint32_t)y->strides[1], axes },
            .param_count = 32
        };
        for (uint32_t i = 0; i <= OF_OUTPUT; i++) {
            view slice = view_part(i == OF_X ? x : i == OF_OUTPUT ? y : &flat[i], n, part);
            call.operands[i] =
                lowering_operand(lowering, &slice, i == OF_OUTPUT ? ACCESS_WRITE : ACCESS_READ, &call.params[2 + i]);
        }
        for (uint32_t i = 0; i < axes; i++) {
            call.params[14 + i] = (uint32_t)x->shape.sizes[x->shape.rank - 1 - i];
            call.params[20 + i] = (uint32_t)x->strides[x->shape.rank - 1 - i];
            call.params[26 + i] = (uint32_t)y->strides[x->shape.rank - 1 - i];
        }
        flat_groups(&call, (uint64_t)(part * each * classes), LANES);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

static const operator softmax_target = {
    .name = "softmax_target",
    .formula = "y[n, c, ...] = exp(x - largest - log_sum) softmax - (c == target ? hit : 0)",
    .inputs = { "input", "largest", "log_sum", "target", "softmax", "hit" },
    .types = { [OF_TARGET] = TYPE_I32 },
    .flags = OPERATOR_INTERNAL | OPERATOR_FOLLOWS,
    .infer = infer_softmax_target,
    .input_layouts = { LAYOUT_ANY, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR,
                       LAYOUT_ROW_MAJOR },
    .lower = lower_softmax_target,
};

tuff_tensor *softmax_less_target(tuff_tensor *x, tuff_tensor *largest, tuff_tensor *log_sum, tuff_tensor *target,
                                 tuff_tensor *softmax, tuff_tensor *hit) {
    tuff_tensor *inputs[] = { x, largest, log_sum, target, softmax, hit };
    return x ? graph_apply(x->graph, &softmax_target, inputs, 6, NULL, NULL) : NULL;
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
    return lower_by_target(lowering, node, HIT, IGNORE_INDEX);
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

enum { MOST_IN_ONE = 4096 };

static tuff_result infer_accuracy(inference *inference) {
    TRY(infer_hit(inference));
    inference->shapes[0] = (tuff_shape){ 0 };
    return TUFF_OK;
}

static tuff_result expand_accuracy(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    (void)node, (void)training;
    tuff_tensor *hits;
    if (inputs[0]->shape.sizes[1] > MOST_IN_ONE) { /* hit's kernel walks over the classes in one invocation */
        tuff_tensor *best = tuff_argmax(inputs[0], &(tuff_reduce_desc){ .axes = { 1 }, .axis_count = 1 });
        hits = tuff_to(tuff_eq(best, inputs[1]), TUFF_F32);
    } else {
        hits = graph_apply(graph, &hit, inputs, 2, NULL, NULL);
    }
    outputs[0] = tuff_mean(hits, NULL);
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

static const operator* const rows[] = { &accuracy,  &hit,     &pick,      &known,         &class_index,
                                        &int_equal, &one_hot, &share_row, &softmax_target };
const operator_family family_classes = { rows, sizeof rows / sizeof *rows };
