/* Cross entropy and the negative log likelihood. With m = max over classes and S = log of the sum of exp(x - m),
 * -log_softmax(x)[c] is S - (x[c] - m): nothing overflows and nothing cancels. */
#include "layers/families.h"
#include "layers/losses.h"

enum { IGNORE = 0, REDUCTION, LABEL_SMOOTHING };

static const attribute class_attributes[] = {
    [IGNORE] = { .name = "ignore_index", .type = ATTRIBUTE_INT, .value.i = IGNORE_INDEX },
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [LABEL_SMOOTHING] = { .name = "label_smoothing", .type = ATTRIBUTE_FLOAT },
};

/* ---- parts -------------------------------------------------------------------------------------- */

static tuff_tensor *over_classes(tuff_tensor *(*reduce_by)(tuff_tensor *, const tuff_reduce_desc *), tuff_tensor *x) {
    return reduce_by(x, &(tuff_reduce_desc){ .axes = { 1 }, .axis_count = 1, .keepdim = true });
}

/* The same nodes in both passes. */
static tuff_tensor *largest(tuff_tensor *x) {
    return over_classes(tuff_amax, x);
}

static tuff_tensor *log_sum(tuff_tensor *x, tuff_tensor *m) {
    return tuff_log(over_classes(tuff_sum, tuff_exp(tuff_sub(x, m))));
}

static tuff_tensor *times(tuff_tensor *factor, tuff_tensor *x) {
    return factor ? tuff_mul(factor, x) : x;
}

/* (C) with a scalar target is a batch of one. */
static tuff_tensor *as_batch(tuff_tensor *x) {
    return x && x->shape.rank == 1 ? tuff_reshape(x, TUFF_SHAPE(1, x->shape.sizes[0])) : x;
}

/* Of int32 targets. */
static tuff_tensor *as_targets(tuff_tensor *target) {
    return target && target->shape.rank == 0 ? tuff_reshape(target, TUFF_SHAPE(1)) : target;
}

/* (C), (N, C, ...) and targets that are classes: scalar, (N, ...). */
static tuff_result check_class_targets(inference *inference, const tuff_tensor *x, const tuff_tensor *target) {
    if (x->shape.rank == 1 && target->shape.rank == 0) return TUFF_OK;
    return check_targets(inference, x, target);
}

class_share share_classes(tuff_tensor *x, tuff_tensor *target, int64_t classes, tuff_tensor *weight,
                          int64_t ignore_index, int64_t reduction) {
    class_share share = { 0 };
    bool mean = reduction == TUFF_REDUCE_MEAN;
    if (weight) {
        share.own = pick_weight(weight, x, target, ignore_index);
        if (mean) share.mean = tuff_reciprocal(tuff_sum(share.own, NULL));
        share.known = known_class(target, classes, NULL, ignore_index);
    } else {
        if (mean) share.mean = share_of_class(target, classes, ignore_index);
        share.known = known_class(target, classes, share.mean, ignore_index);
    }
    return share;
}

tuff_tensor *spread_shared(const class_share *share, tuff_tensor *gradient) {
    if (share->mean) gradient = tuff_mul(gradient, share->own ? share->mean : share->known);
    return keep_if(share->known, gradient);
}

/* If all are ignored the mean is 0 times infinity, as PyTorch's is 0 / 0. */
tuff_tensor *reduce_shared(const class_share *share, tuff_tensor *terms, tuff_tensor *like, int64_t reduction) {
    terms = spread_shared(share, terms);
    if (share->mean) terms = tuff_add(terms, tuff_scale(share->mean, 0, 0));
    return reduction == TUFF_REDUCE_NONE ? reshape_like(terms, like) : tuff_sum(terms, NULL);
}

/* ---- cross entropy ------------------------------------------------------------------------------ */

static tuff_result infer_cross_entropy(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *target = node->inputs[1];
    const double smoothing = node->attributes[LABEL_SMOOTHING].f;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    tuff_shape terms = target->shape;
    if (!(smoothing >= 0 && smoothing <= 1))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: label_smoothing is %g, it must be in [0, 1]",
                          node_text(node, text), smoothing);
    if (target->type == TUFF_I32) {
        TRY(check_class_targets(inference, x, target));
    } else {
        if (x->shape.rank < 1 || !shape_equal(&x->shape, &target->shape))
            return graph_fail(
                inference->graph, TUFF_ERROR_SHAPE,
                "%s: logits '%s' %s must have the shape (C) or (N, C, ...), and the target '%s' %s the same "
                "if it is float32 (probabilities), (N, ...) if it is int32 (classes)",
                node_text(node, text), x->name, shape_text(&x->shape, first), target->name,
                shape_text(&target->shape, second));
        terms = (tuff_shape){ 0 };
        for (uint32_t i = 0; i < x->shape.rank; i++)
            if (i != (x->shape.rank > 1)) terms.sizes[terms.rank++] = x->shape.sizes[i];
    }
    TRY(check_class_weight(inference, x, node->inputs[2]));
    infer_loss(inference, node->attributes[REDUCTION].i, &terms);
    return TUFF_OK;
}

/* q (1 - smoothing) + smoothing / C: probabilities that are targets. */
static tuff_tensor *smoothed(tuff_tensor *q, float smoothing) {
    return smoothing == 0 || !q ? q : tuff_scale(q, 1 - smoothing, smoothing / (float)q->shape.sizes[1]);
}

/* loss = sum over c of w[c] q[c] (S - (x[c] - m)) */
static tuff_tensor *terms_of_probabilities(tuff_tensor *x, tuff_tensor *q, tuff_tensor *weight, float smoothing) {
    tuff_tensor *m = largest(x), *logs = log_sum(x, m);
    tuff_tensor *cost = tuff_sub(logs, tuff_sub(x, m));
    return over_classes(tuff_sum, tuff_mul(times(weights_along(weight, x), smoothed(q, smoothing)), cost));
}

/* loss = (1 - smoothing) w[t] (S - (x[t] - m)) + smoothing / C sum over c of w[c] (S - (x[c] - m)) */
static tuff_tensor *terms_of_classes(tuff_tensor *x, tuff_tensor *target, tuff_tensor *weight, tuff_tensor *own,
                                     int64_t ignore, float smoothing) {
    tuff_tensor *m = largest(x), *logs = log_sum(x, m);
    tuff_tensor *terms = times(own, tuff_sub(logs, tuff_sub(pick_class(x, target, ignore), m)));
    if (smoothing == 0 || !x) return terms;
    tuff_tensor *cost = times(weights_along(weight, x), tuff_sub(logs, tuff_sub(x, m)));
    tuff_tensor *spread = tuff_scale(over_classes(tuff_sum, cost), smoothing / (float)x->shape.sizes[1], 0);
    return tuff_add(tuff_scale(terms, 1 - smoothing, 0), spread);
}

static tuff_result expand_cross_entropy(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                        tuff_tensor **outputs) {
    (void)training;
    const int64_t ignore = node->attributes[IGNORE].i, reduction = node->attributes[REDUCTION].i;
    const float smoothing = (float)node->attributes[LABEL_SMOOTHING].f;
    tuff_tensor *x = as_batch(inputs[0]), *weight = inputs[2];
    if (inputs[1]->type == TUFF_I32) {
        tuff_tensor *target = as_targets(inputs[1]);
        class_share share = share_classes(x, target, x->shape.sizes[1], weight, ignore, reduction);
        tuff_tensor *terms = terms_of_classes(x, target, weight, share.own, ignore, smoothing);
        outputs[0] = reduce_shared(&share, terms, inputs[1], reduction);
    } else {
        tuff_tensor *terms = terms_of_probabilities(x, as_batch(inputs[1]), weight, smoothing);
        outputs[0] = reduction == TUFF_REDUCE_NONE ? tuff_reshape(terms, node->outputs[0]->shape)
                                                   : reduce_loss(terms, reduction);
    }
    return graph->result;
}

/* ---- its gradient ------------------------------------------------------------------------------- */

/* What arrives at each row, (N, 1, ...) or a scalar. */
static tuff_tensor *as_column(tuff_tensor *g, const tuff_tensor *x, int64_t reduction) {
    tuff_shape column = x->shape;
    column.sizes[1] = 1;
    return reduction == TUFF_REDUCE_NONE ? tuff_reshape(g, column) : g;
}

/* exp(x - m - S). x + (-m) where the forward pass has x - m: computed again, so that its exponentials need not be
 * kept. */
static tuff_tensor *probabilities(tuff_tensor *x) {
    tuff_tensor *m = largest(x), *logs = log_sum(x, m);
    return tuff_exp(tuff_sub(tuff_add(x, tuff_neg(m)), logs));
}

/* gx = p a g - (1 - smoothing) w[t] [c == t] g - smoothing / C w[c] g, a the sum of what is taken off p:
 * (1 - smoothing) w[t] + smoothing / C sum w */
static tuff_tensor *backward_of_classes(tuff_tensor *g, tuff_tensor *x, tuff_tensor *target, tuff_tensor *weight,
                                        const node *node) {
    if (!x) return NULL;
    const int64_t reduction = node->attributes[REDUCTION].i;
    const float smoothing = (float)node->attributes[LABEL_SMOOTHING].f, each = smoothing / (float)x->shape.sizes[1];
    class_share share = share_classes(x, target, x->shape.sizes[1], weight, node->attributes[IGNORE].i, reduction);
    tuff_tensor *m = largest(x), *logs = log_sum(x, m);
    g = spread_shared(&share, as_column(g, x, reduction));
    tuff_tensor *hit = times(share.own, g);
    if (smoothing == 0) return softmax_less_target(x, m, logs, target, hit, hit);
    hit = tuff_scale(hit, 1 - smoothing, 0);
    tuff_tensor *all = g, *spread = tuff_scale(g, each, 0);
    if (weight) {
        all = tuff_add(hit, tuff_mul(spread, tuff_sum(weight, NULL)));
        spread = tuff_mul(spread, weights_along(weight, x));
    }
    return tuff_sub(softmax_less_target(x, m, logs, target, all, hit), spread);
}

/* gx = (p sum of w q - w q) g */
static tuff_tensor *backward_of_probabilities(tuff_tensor *g, tuff_tensor *x, tuff_tensor *q, tuff_tensor *weight,
                                              const node *node) {
    const int64_t reduction = node->attributes[REDUCTION].i;
    q = times(weights_along(weight, x), smoothed(q, (float)node->attributes[LABEL_SMOOTHING].f));
    tuff_tensor *p = tuff_mul(probabilities(x), over_classes(tuff_sum, q));
    g = spread_loss(as_column(g, x, reduction), reduction, tuff_shape_count(&x->shape) / x->shape.sizes[1], 1);
    return tuff_mul(tuff_sub(p, q), g);
}

static tuff_result expand_cross_entropy_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                                 bool training, tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *x = as_batch(inputs[1]);
    if (inputs[2]->type == TUFF_I32)
        outputs[0] = backward_of_classes(inputs[0], x, as_targets(inputs[2]), inputs[3], node);
    else
        outputs[0] = backward_of_probabilities(inputs[0], x, as_batch(inputs[2]), inputs[3], node);
    outputs[0] = reshape_like(outputs[0], inputs[1]);
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
    .inputs = { "grad_output", "input", "target", "weight?" },
    .types = { TYPE_F32, TYPE_F32, TYPE_F32 | TYPE_I32 },
    .attributes = class_attributes,
    .attribute_count = 3,
    .infer = infer_like_second,
    .expand = expand_cross_entropy_backward,
};

/* gq = (1 - smoothing) w (S - (x - m)) g, of probabilities. */
static tuff_result expand_cross_entropy_grad_target(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                                    bool training, tuff_tensor **outputs) {
    (void)training;
    const int64_t reduction = node->attributes[REDUCTION].i;
    const double keep = 1 - node->attributes[LABEL_SMOOTHING].f;
    tuff_tensor *x = as_batch(inputs[1]), *m = largest(x), *logs = log_sum(x, m);
    tuff_tensor *cost = times(weights_along(inputs[2], x), tuff_sub(logs, tuff_sub(x, m)));
    int64_t rows = tuff_shape_count(&x->shape) / x->shape.sizes[1];
    outputs[0] = tuff_mul(cost, spread_loss(as_column(inputs[0], x, reduction), reduction, rows, keep));
    outputs[0] = reshape_like(outputs[0], inputs[1]);
    return graph->result;
}

static const operator cross_entropy_grad_target = {
    .name = "cross_entropy_grad_target",
    .flags = OPERATOR_INTERNAL,
    .formula = "-log_softmax(logits) * gradient / N: of targets that are probabilities",
    .inputs = { "grad_output", "input", "weight?" },
    .attributes = class_attributes,
    .attribute_count = 3,
    .infer = infer_like_second,
    .expand = expand_cross_entropy_grad_target,
};

static tuff_result gradient_cross_entropy(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                          tuff_tensor **grad_inputs) {
    tuff_graph *graph = node_graph(node);
    tuff_tensor *inputs[] = { grad_outputs[0], node->inputs[0], node->inputs[1], node->inputs[2] };
    if (needs & 1) grad_inputs[0] = graph_apply(graph, &cross_entropy_backward, inputs, 4, node->attributes, NULL);
    inputs[2] = node->inputs[2];
    if (needs & 2) grad_inputs[1] = graph_apply(graph, &cross_entropy_grad_target, inputs, 3, node->attributes, NULL);
    return TUFF_OK;
}

static const operator cross_entropy = {
    .name = "cross_entropy",
    .formula = "-log_softmax(logits)[target], or the sum of target * -log_softmax(logits), reduced",
    .inputs = { "input", "target", "weight?" },
    .types = { TYPE_F32, TYPE_F32 | TYPE_I32 },
    .pytorch = "torch.nn.functional.cross_entropy",
    .limits = "a target that is neither a class nor ignore_index gives NaN where PyTorch stops; the weight has no "
              "gradient",
    .attributes = class_attributes,
    .attribute_count = 3,
    .infer = infer_cross_entropy,
    .gradient = gradient_cross_entropy,
    .expand = expand_cross_entropy,
};

/* ---- negative log likelihood -------------------------------------------------------------------- */

static tuff_result infer_nll_loss(inference *inference) {
    const node *node = inference->node;
    TRY(check_class_targets(inference, node->inputs[0], node->inputs[1]));
    TRY(check_class_weight(inference, node->inputs[0], node->inputs[2]));
    infer_loss(inference, node->attributes[REDUCTION].i, &node->inputs[1]->shape);
    return TUFF_OK;
}

static tuff_result expand_nll_loss(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    (void)training;
    const int64_t ignore = node->attributes[IGNORE].i, reduction = node->attributes[REDUCTION].i;
    tuff_tensor *x = as_batch(inputs[0]), *target = as_targets(inputs[1]), *weight = inputs[2];
    class_share share = share_classes(x, target, x->shape.sizes[1], weight, ignore, reduction);
    tuff_tensor *terms = times(share.own, tuff_neg(pick_class(x, target, ignore)));
    outputs[0] = reduce_shared(&share, terms, inputs[1], reduction);
    return graph->result;
}

static const operator nll_loss = {
    .name = "nll_loss",
    .formula = "-input[target], reduced",
    .inputs = { "input", "target", "weight?" },
    .types = { TYPE_F32, TYPE_I32 },
    .pytorch = "torch.nn.functional.nll_loss",
    .limits = "a target that is neither a class nor ignore_index gives NaN where PyTorch stops",
    .attributes = class_attributes,
    .attribute_count = 2,
    .infer = infer_nll_loss,
    .expand = expand_nll_loss,
};

/* ---- the public functions ----------------------------------------------------------------------- */

static tuff_tensor *apply_classes(const operator* op, tuff_tensor *input, tuff_tensor *target,
                                  const tuff_cross_entropy_desc *desc) {
    static const tuff_cross_entropy_desc none;
    if (!desc) desc = &none;
    int64_t ignored;
    if (!ignored_target(input, op, desc->ignore_index, desc->ignore_zero, &ignored)) return NULL;
    const attribute_value attributes[] = {
        [IGNORE] = { .i = ignored },
        [REDUCTION] = { .i = desc->reduction },
        [LABEL_SMOOTHING] = { .f = desc->label_smoothing },
    };
    return apply_loss(op, (tuff_tensor *[]){ input, target, desc->weight }, 3, 2, attributes, desc->reduction, 3);
}

tuff_tensor *tuff_cross_entropy(tuff_tensor *logits, tuff_tensor *target, const tuff_cross_entropy_desc *desc) {
    return apply_classes(&cross_entropy, logits, target, desc);
}

tuff_tensor *tuff_nll_loss(tuff_tensor *log_probabilities, tuff_tensor *target, const tuff_nll_loss_desc *desc) {
    static const tuff_nll_loss_desc none;
    if (!desc) desc = &none;
    return apply_classes(&nll_loss, log_probabilities, target,
                         &(tuff_cross_entropy_desc){ .reduction = desc->reduction,
                                                     .weight = desc->weight,
                                                     .ignore_index = desc->ignore_index,
                                                     .ignore_zero = desc->ignore_zero });
}

static const operator* const rows[] = { &cross_entropy, &cross_entropy_backward, &cross_entropy_grad_target,
                                        &nll_loss };
const operator_family family_cross_entropy = { rows, sizeof rows / sizeof *rows };
