/* A linear layer followed by cross entropy, without ever holding all logits (N, V): they are computed a block of rows
 * and classes at a time, forward into an online log-sum-exp, and backward once more, each block becoming its gradient
 * and going into the products with the input and the weight at once. What this saves is N V numbers, what it costs is
 * that the product runs twice. (As in Wijmans and others, Cut your losses in large-vocabulary language models, 2024.)
 */
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/losses.h"
#include "layers/product.h"
#include "layers/reduce.h"

enum { LANES = 64, BLOCK = 1 << 22 }; /* logits at once: 16 MiB */

enum { IGNORE = 0, REDUCTION, LABEL_SMOOTHING };

static const attribute attributes[] = {
    [IGNORE] = { .name = "ignore_index", .type = ATTRIBUTE_INT, .value.i = IGNORE_INDEX },
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [LABEL_SMOOTHING] = { .name = "label_smoothing", .type = ATTRIBUTE_FLOAT },
};

/* ---- blocks ------------------------------------------------------------------------------------- */

/* Operands of both passes: matrices of rank 2, of which the bias may be missing. */
typedef struct blocks {
    lowering *lowering;
    const node *node;
    const view *x, *weight, *bias, *target;
    int64_t rows, classes, features;
    int64_t row_step, class_step; /* a block's */
    view logits;                  /* of one block */
} blocks;

/* About square, as that reads least; "logits=COUNT" forces smaller ones. */
static tuff_result begin_blocks(blocks *b) {
    uint64_t forced;
    bool fewer = device_force_number(lowering_device(b->lowering), "logits", &forced);
    int64_t most = fewer ? (int64_t)forced : BLOCK, side = 1;
    most = smaller(most, (int64_t)bindable_elements(b->lowering));
    most = smaller(most, (int64_t)lowering_scratch_limit(b->lowering));
    if (most < 1) most = 1;
    b->rows = b->x->shape.sizes[0];
    b->features = b->x->shape.sizes[1];
    b->classes = b->weight->shape.sizes[0];
    while ((side + 1) * (side + 1) <= most) side++;
    b->row_step = smaller(b->rows, side);
    b->class_step = smaller(b->classes, most / b->row_step);
    b->row_step = smaller(b->rows, most / b->class_step);
    return lowering_scratch(b->lowering, (uint64_t)(b->row_step * b->class_step), "logits", &b->logits);
}

static product_matrix matrix_of(const view *view, bool transposed) {
    return (product_matrix){ .view = view,
                             .row = view->strides[transposed ? 1 : 0],
                             .column = view->strides[transposed ? 0 : 1] };
}

/* The block as a matrix, and parts of the operands. */
static view block_view(const blocks *b, int64_t rows, int64_t classes) {
    view block = b->logits;
    block.shape = TUFF_SHAPE(rows, classes);
    block.strides[0] = classes;
    block.strides[1] = 1;
    return block;
}

static tuff_result multiply(const blocks *b, const view *left, bool transpose_left, const view *right,
                            bool transpose_right, const view *out) {
    const product product = {
        .loader = LOADER_PLAIN,
        .m = out->shape.sizes[0],
        .n = out->shape.sizes[1],
        .k = left->shape.sizes[transpose_left ? 0 : 1],
        .a = matrix_of(left, transpose_left),
        .b = matrix_of(right, transpose_right),
        .d = matrix_of(out, false),
        .own_inputs = b->node->input_count,
    };
    return product_lower(b->lowering, b->node, &product);
}

static tuff_result compute_logits(const blocks *b, int64_t row, int64_t class, const view *block) {
    view x = view_part(b->x, row, block->shape.sizes[0]);
    view weight = view_part(b->weight, class, block->shape.sizes[1]);
    return multiply(b, &x, false, &weight, true, block);
}

/* The bias of a block, or something to bind in its place. */
static operand bias_operand(const blocks *b, int64_t class, int64_t classes, const operand *other, uint32_t *first) {
    if (!b->bias) return *first = 0, *other;
    view part = view_part(b->bias, class, classes);
    return lowering_operand(b->lowering, &part, ACCESS_READ, first);
}

/* ---- forward ------------------------------------------------------------------------------------ */

enum { OF_X, OF_WEIGHT, OF_BIAS, OF_TARGET, OF_LARGEST, OF_LOG_SUM, OF_FACTOR };

static tuff_result infer_matrices(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[OF_X], *weight = node->inputs[OF_WEIGHT], *bias = node->inputs[OF_BIAS];
    const tuff_tensor *target = node->inputs[OF_TARGET];
    const tuff_shape *xs = &x->shape, *ws = &weight->shape, *ts = &target->shape;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (xs->rank < 1 || ws->rank != 2 || xs->sizes[xs->rank - 1] != ws->sizes[1])
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have the shape (..., D) and the weight '%s' %s the shape (classes, D)",
                          node_text(node, text), x->name, shape_text(xs, first), weight->name, shape_text(ws, second));
    if (bias && (bias->shape.rank != 1 || bias->shape.sizes[0] != ws->sizes[0]))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: the bias '%s' %s must have the shape (%lld)",
                          node_text(node, text), bias->name, shape_text(&bias->shape, first), (long long)ws->sizes[0]);
    bool fits = ts->rank == xs->rank - 1;
    for (uint32_t i = 0; fits && i < ts->rank; i++) fits = ts->sizes[i] == xs->sizes[i];
    if (!fits)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the target '%s' %s must have the shape of '%s' %s without its last axis",
                          node_text(node, text), target->name, shape_text(ts, first), x->name, shape_text(xs, second));
    return TUFF_OK;
}

static tuff_result infer_log_sum(inference *inference) {
    TRY(infer_matrices(inference));
    inference->output_count = 4;
    for (uint32_t i = 0; i < 4; i++) inference->shapes[i] = inference->node->inputs[OF_TARGET]->shape;
    return TUFF_OK;
}

static tuff_result take_block(const blocks *b, int64_t row, int64_t class, const view *block) {
    int64_t rows = block->shape.sizes[0], classes = block->shape.sizes[1], groups = (rows - 1) / MAX_GROUPS + 1;
    view target = view_part(b->target, row, rows);
    kernel_call call = { .kernel = KERNEL_LOGITS,
                         .operand_count = 7,
                         .params = { (uint32_t)rows, (uint32_t)classes, (uint32_t) class, class + classes == b->classes,
                                     b->bias != NULL },
                         .param_count = 12,
                         .groups = { (uint32_t)((rows + groups - 1) / groups), (uint32_t)groups, 1 } };
    call.operands[0] = lowering_operand(b->lowering, block, ACCESS_READ, &call.params[5]);
    call.operands[1] = bias_operand(b, class, classes, &call.operands[0], &call.params[6]);
    call.operands[2] = lowering_operand(b->lowering, &target, ACCESS_READ, &call.params[7]);
    for (uint32_t i = 0; i < 4; i++) {
        view state = view_part(lowering_view(b->lowering, b->node->outputs[i]), row, rows);
        call.operands[3 + i] = lowering_operand(b->lowering, &state, class ? ACCESS_READ | ACCESS_WRITE : ACCESS_WRITE,
                                                &call.params[8 + i]);
    }
    return lowering_call(b->lowering, &call);
}

static void set_operands(blocks *b, lowering *lowering, const node *node) {
    *b = (blocks){ .lowering = lowering,
                   .node = node,
                   .x = lowering_view(lowering, node->inputs[OF_X]),
                   .weight = lowering_view(lowering, node->inputs[OF_WEIGHT]),
                   .bias = node->inputs[OF_BIAS] ? lowering_view(lowering, node->inputs[OF_BIAS]) : NULL,
                   .target = lowering_view(lowering, node->inputs[OF_TARGET]) };
}

static tuff_result lower_log_sum(lowering *lowering, const node *node) {
    blocks b;
    set_operands(&b, lowering, node);
    TRY(begin_blocks(&b));
    for (int64_t row = 0; row < b.rows; row += b.row_step)
        for (int64_t class = 0; class < b.classes; class += b.class_step) {
            view block = block_view(&b, smaller(b.row_step, b.rows - row), smaller(b.class_step, b.classes - class));
            TRY(compute_logits(&b, row, class, &block));
            TRY(take_block(&b, row, class, &block));
        }
    return TUFF_OK;
}

static const operator linear_log_sum = {
    .name = "linear_log_sum",
    .formula =
        "of z = input weight^T + bias along the classes: m = max z, log sum exp(z - m), z[target] - m, sum (z - m)",
    .inputs = { "input", "weight", "bias?", "target" },
    .types = { [OF_TARGET] = TYPE_I32 },
    .outputs = { "largest", "log_sum", "picked", "total" },
    .flags = OPERATOR_INTERNAL,
    .infer = infer_log_sum,
    .input_layouts = { LAYOUT_MATRIX, LAYOUT_MATRIX, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_log_sum,
};

/* ---- backward ----------------------------------------------------------------------------------- */

enum { KERNEL_SMOOTHING = 0, KERNEL_NEEDS };

static const attribute backward_attributes[] = {
    [KERNEL_SMOOTHING] = { .name = "label_smoothing", .type = ATTRIBUTE_FLOAT },
    [KERNEL_NEEDS] = { .name = "needs", .type = ATTRIBUTE_INT, .value.i = 7 }, /* bits: input, weight, bias */
};

/* The gradients somebody needs, in the order of the inputs. */
static tuff_result infer_logits_backward(inference *inference) {
    const node *node = inference->node;
    TRY(infer_matrices(inference));
    inference->output_count = 0;
    for (uint32_t i = OF_X; i <= OF_BIAS; i++)
        if (node->attributes[KERNEL_NEEDS].i >> i & 1)
            inference->shapes[inference->output_count++] = node->inputs[i]->shape;
    return TUFF_OK;
}

static tuff_result make_gradient(const blocks *b, int64_t row, int64_t class, const view *block) {
    int64_t rows = block->shape.sizes[0], classes = block->shape.sizes[1];
    const double smoothing = b->node->attributes[KERNEL_SMOOTHING].f;
    float factors[2] = { (float)(1 - smoothing), (float)(smoothing / (double)b->classes) };
    kernel_call call = { .kernel = KERNEL_LOGITS_BACKWARD,
                         .operand_count = 6,
                         .params = { (uint32_t)(rows * classes), (uint32_t)classes, (uint32_t) class, b->bias != NULL },
                         .param_count = 12 };
    call.operands[0] = lowering_operand(b->lowering, block, ACCESS_READ | ACCESS_WRITE, &call.params[4]);
    call.operands[2] = (operand){ 0 };
    for (uint32_t i = OF_TARGET; i <= OF_FACTOR; i++) {
        view part = view_part(lowering_view(b->lowering, b->node->inputs[i]), row, rows);
        call.operands[2 + i - OF_TARGET] =
            lowering_operand(b->lowering, &part, ACCESS_READ, &call.params[6 + i - OF_TARGET]);
    }
    call.operands[1] = bias_operand(b, class, classes, &call.operands[2], &call.params[5]);
    memcpy(&call.params[10], factors, sizeof factors);
    flat_groups(&call, (uint64_t)(rows * classes), LANES);
    return lowering_call(b->lowering, &call);
}

/* out += sums, both contiguous. */
static tuff_result accumulate(const blocks *b, const view *sums, const view *out) {
    kernel_call call = {
        .kernel = KERNEL_ACCUMULATE, .operand_count = 2, .params = { (uint32_t)view_count(out) }, .param_count = 3
    };
    view part = *sums;
    part.shape = TUFF_SHAPE(view_count(out));
    call.operands[0] = lowering_operand(b->lowering, &part, ACCESS_READ, &call.params[1]);
    call.operands[1] = lowering_operand(b->lowering, out, ACCESS_READ | ACCESS_WRITE, &call.params[2]);
    flat_groups(&call, (uint64_t)view_count(out), LANES);
    return lowering_call(b->lowering, &call);
}

/* A part of a gradient: what the first block leaves there, the others add to. */
static view target_of(const view *out, const view *sums, bool first) {
    view to = *out;
    if (first) return to;
    to.storage = sums->storage;
    to.offset = sums->offset;
    return to;
}

static tuff_result add_block(const blocks *b, int64_t row, int64_t class, const view *block, const view *sums,
                             view *const *gradients) {
    int64_t rows = block->shape.sizes[0], classes = block->shape.sizes[1];
    if (gradients[OF_X]) {
        view weight = view_part(b->weight, class, classes), out = view_part(gradients[OF_X], row, rows);
        view to = target_of(&out, sums, class == 0);
        TRY(multiply(b, block, false, &weight, false, &to));
        if (class) TRY(accumulate(b, sums, &out));
    }
    if (gradients[OF_WEIGHT]) {
        view x = view_part(b->x, row, rows), out = view_part(gradients[OF_WEIGHT], class, classes);
        view to = target_of(&out, sums, row == 0);
        TRY(multiply(b, block, true, &x, false, &to));
        if (row) TRY(accumulate(b, sums, &out));
    }
    if (gradients[OF_BIAS]) {
        view out = view_part(gradients[OF_BIAS], class, classes), to = target_of(&out, sums, row == 0);
        const reduce_call sum = {
            .shape = block->shape, .reduced = 1, .inputs = { block }, .out = { &to, { 0, 1 } }, .label = b->node->label
        };
        TRY(lower_reduce(b->lowering, &sum));
        if (row) TRY(accumulate(b, sums, &out));
    }
    return TUFF_OK;
}

static tuff_result lower_logits_backward(lowering *lowering, const node *node) {
    blocks b;
    view sums = { 0 }, held[3], *gradients[3] = { NULL };
    uint32_t taken = 0;
    set_operands(&b, lowering, node);
    for (uint32_t i = OF_X; i <= OF_BIAS; i++) {
        if (!(node->attributes[KERNEL_NEEDS].i >> i & 1)) continue;
        held[i] = *lowering_view(lowering, node->outputs[taken++]);
        gradients[i] = &held[i];
    }
    TRY(begin_blocks(&b));
    int64_t most = 0;
    if (gradients[OF_X] && b.class_step < b.classes) most = b.row_step * b.features;
    if (gradients[OF_WEIGHT] && b.row_step < b.rows && b.class_step * b.features > most)
        most = b.class_step * b.features;
    if (gradients[OF_BIAS] && b.row_step < b.rows && b.class_step > most) most = b.class_step;
    if (most) TRY(lowering_scratch(lowering, (uint64_t)most, "sums", &sums));
    for (int64_t row = 0; row < b.rows; row += b.row_step)
        for (int64_t class = 0; class < b.classes; class += b.class_step) {
            view block = block_view(&b, smaller(b.row_step, b.rows - row), smaller(b.class_step, b.classes - class));
            TRY(compute_logits(&b, row, class, &block));
            TRY(make_gradient(&b, row, class, &block));
            TRY(add_block(&b, row, class, &block, &sums, gradients));
        }
    return TUFF_OK;
}

static const operator linear_logits_backward = {
    .name = "linear_logits_backward",
    .formula = "gz = (softmax(z) - (1 - label_smoothing) onehot(target) - label_smoothing / C) factor: gz weight, "
               "gz^T input, sum of gz",
    .inputs = { "input", "weight", "bias?", "target", "largest", "log_sum", "factor" },
    .types = { [OF_TARGET] = TYPE_I32 },
    .flags = OPERATOR_INTERNAL,
    .attributes = backward_attributes,
    .attribute_count = 2,
    .infer = infer_logits_backward,
    .input_layouts = { LAYOUT_MATRIX, LAYOUT_MATRIX, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR,
                       LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_logits_backward,
};

/* ---- the operator ------------------------------------------------------------------------------- */

static tuff_result infer_linear_cross_entropy(inference *inference) {
    const node *node = inference->node;
    const double smoothing = node->attributes[LABEL_SMOOTHING].f;
    char text[160];
    TRY(infer_matrices(inference));
    if (!(smoothing >= 0 && smoothing <= 1))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: label_smoothing is %g, it must be in [0, 1]",
                          node_text(node, text), smoothing);
    infer_loss(inference, node->attributes[REDUCTION].i, &node->inputs[OF_TARGET]->shape);
    return TUFF_OK;
}

/* (..., D) as (N, D), and what has a number for each row as (N). */
static tuff_tensor *as_rows(tuff_tensor *x, uint32_t rank) {
    if (!x || x->shape.rank == rank) return x;
    return tuff_reshape(x, rank == 2 ? TUFF_SHAPE(-1, x->shape.sizes[x->shape.rank - 1]) : TUFF_SHAPE(-1));
}

/* The same nodes in both passes. */
static node *log_sums_of(tuff_graph *graph, tuff_tensor *const *inputs) {
    tuff_tensor *flat[] = { as_rows(inputs[OF_X], 2), inputs[OF_WEIGHT], inputs[OF_BIAS],
                            as_rows(inputs[OF_TARGET], 1) };
    tuff_tensor *first = graph_apply(graph, &linear_log_sum, flat, 4, NULL, NULL);
    return first ? first->producer : NULL;
}

static class_share share_of(const node *node, tuff_tensor *const *inputs) {
    return share_classes(NULL, as_rows(inputs[OF_TARGET], 1), inputs[OF_WEIGHT]->shape.sizes[0], NULL,
                         node->attributes[IGNORE].i, node->attributes[REDUCTION].i);
}

static tuff_result expand_linear_cross_entropy(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                               bool training, tuff_tensor **outputs) {
    (void)training;
    const float smoothing = (float)node->attributes[LABEL_SMOOTHING].f;
    const struct node *parts = log_sums_of(graph, inputs);
    if (!parts) return graph->result;
    tuff_tensor *log_sum = parts->outputs[1], *terms = tuff_sub(log_sum, parts->outputs[2]);
    if (smoothing > 0) { /* the mean over the classes of log_sum - (z - m) */
        double classes = (double)inputs[OF_WEIGHT]->shape.sizes[0];
        tuff_tensor *cost = tuff_sub(log_sum, tuff_scale(parts->outputs[3], (float)(1 / classes), 0));
        terms = tuff_add(tuff_scale(terms, 1 - smoothing, 0), tuff_scale(cost, smoothing, 0));
    }
    class_share share = share_of(node, inputs);
    outputs[0] =
        reduce_shared(&share, reshape_like(terms, share.known), inputs[OF_TARGET], node->attributes[REDUCTION].i);
    return graph->result;
}

enum { BACKWARD_NEEDS = LABEL_SMOOTHING + 1, BACKWARD_GRADIENT = OF_TARGET + 1 };

static const attribute whole_attributes[] = {
    [IGNORE] = { .name = "ignore_index", .type = ATTRIBUTE_INT, .value.i = IGNORE_INDEX },
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [LABEL_SMOOTHING] = { .name = "label_smoothing", .type = ATTRIBUTE_FLOAT },
    [BACKWARD_NEEDS] = { .name = "needs", .type = ATTRIBUTE_INT, .value.i = 7 },
};

static tuff_result infer_backward(inference *inference) {
    const node *node = inference->node;
    inference->output_count = 0;
    for (uint32_t i = OF_X; i <= OF_BIAS; i++)
        if (node->attributes[BACKWARD_NEEDS].i >> i & 1)
            inference->shapes[inference->output_count++] = node->inputs[i]->shape;
    return TUFF_OK;
}

static tuff_result expand_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    (void)training;
    const struct node *parts = log_sums_of(graph, inputs);
    class_share share = share_of(node, inputs);
    tuff_tensor *g = inputs[BACKWARD_GRADIENT];
    if (g && share.known && node->attributes[REDUCTION].i == TUFF_REDUCE_NONE) g = reshape_like(g, share.known);
    tuff_tensor *factor = as_rows(spread_shared(&share, g), 1);
    if (!parts || !factor) return graph->result;
    tuff_tensor *all[] = { as_rows(inputs[OF_X], 2), inputs[OF_WEIGHT], inputs[OF_BIAS], as_rows(inputs[OF_TARGET], 1),
                           parts->outputs[0],        parts->outputs[1], factor };
    const attribute_value values[] = {
        [KERNEL_SMOOTHING] = node->attributes[LABEL_SMOOTHING], [KERNEL_NEEDS] = node->attributes[BACKWARD_NEEDS]
    };
    tuff_tensor *first = graph_apply(graph, &linear_logits_backward, all, 7, values, NULL);
    uint32_t taken = 0;
    for (uint32_t i = OF_X; first && i <= OF_BIAS; i++) {
        if (!(node->attributes[BACKWARD_NEEDS].i >> i & 1)) continue;
        tuff_tensor *gradient = first->producer->outputs[taken];
        outputs[taken++] = i == OF_X ? reshape_like(gradient, inputs[OF_X]) : gradient;
    }
    return graph->result;
}

static const operator linear_cross_entropy_backward = {
    .name = "linear_cross_entropy_backward",
    .formula = "the gradients of linear_cross_entropy with respect to input, weight and bias",
    .inputs = { "input", "weight", "bias?", "target", "grad_output" },
    .types = { [OF_TARGET] = TYPE_I32 },
    .flags = OPERATOR_INTERNAL,
    .attributes = whole_attributes,
    .attribute_count = 4,
    .infer = infer_backward,
    .expand = expand_backward,
};

static tuff_result gradient_linear_cross_entropy(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                                 tuff_tensor **grad_inputs) {
    attribute_value values[4];
    tuff_tensor *inputs[] = { node->inputs[OF_X], node->inputs[OF_WEIGHT], node->inputs[OF_BIAS],
                              node->inputs[OF_TARGET], grad_outputs[0] };
    memcpy(values, node->attributes, 3 * sizeof *values);
    values[BACKWARD_NEEDS] = (attribute_value){ .i = needs & 7 };
    if (!(needs & 7)) return TUFF_OK;
    tuff_tensor *first = graph_apply(node_graph(node), &linear_cross_entropy_backward, inputs, 5, values, NULL);
    uint32_t taken = 0;
    for (uint32_t i = OF_X; first && i <= OF_BIAS; i++)
        if (needs >> i & 1) grad_inputs[i] = first->producer->outputs[taken++];
    return TUFF_OK;
}

static const operator linear_cross_entropy = {
    .name = "linear_cross_entropy",
    .formula = "cross_entropy(input weight^T + bias, target), without holding all logits",
    .inputs = { "input", "weight", "bias?", "target" },
    .types = { [OF_TARGET] = TYPE_I32 },
    .limits =
        "PyTorch's own are linear and cross_entropy, one after the other; no weights of classes, no probabilities as "
        "targets",
    .attributes = attributes,
    .attribute_count = 3,
    .infer = infer_linear_cross_entropy,
    .gradient = gradient_linear_cross_entropy,
    .expand = expand_linear_cross_entropy,
};

tuff_tensor *tuff_linear_cross_entropy(tuff_tensor *input, tuff_tensor *weight, tuff_tensor *target,
                                       const tuff_linear_cross_entropy_desc *desc) {
    static const tuff_linear_cross_entropy_desc none;
    if (!desc) desc = &none;
    int64_t ignored;
    if (!ignored_target(input, &linear_cross_entropy, desc->ignore_index, desc->ignore_zero, &ignored)) return NULL;
    const attribute_value values[] = {
        [IGNORE] = { .i = ignored },
        [REDUCTION] = { .i = desc->reduction },
        [LABEL_SMOOTHING] = { .f = desc->label_smoothing },
    };
    if (!target) return NULL;
    return apply_loss(&linear_cross_entropy, (tuff_tensor *[]){ input, weight, desc->bias, target }, 4, 2, values,
                      desc->reduction, 3);
}

static const operator* const rows[] = { &linear_cross_entropy, &linear_cross_entropy_backward, &linear_log_sum,
                                        &linear_logits_backward };
const operator_family family_linear_cross_entropy = { rows, sizeof rows / sizeof *rows };
