/* Losses of probabilities: binary cross entropy of logits, and the Kullback-Leibler divergence. */
#include "layers/families.h"
#include "layers/losses.h"

enum { REDUCTION = 0, LOG_TARGET };

/* ---- binary cross entropy ----------------------------------------------------------------------- */

enum { OF_INPUT, OF_TARGET, OF_WEIGHT, OF_POS_WEIGHT };

static const attribute reduction_attribute[] = { [REDUCTION] = REDUCTION_ATTRIBUTE };

static tuff_result infer_binary(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *shape = &node->inputs[OF_INPUT]->shape;
    TRY(check_same_shape(inference, OF_INPUT, OF_TARGET));
    for (uint32_t i = OF_WEIGHT; i <= OF_POS_WEIGHT; i++) {
        const tuff_tensor *weight = node->inputs[i];
        char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
        tuff_shape wide;
        if (weight && (!shape_broadcast(&weight->shape, shape, &wide) || !shape_equal(&wide, shape)))
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s does not broadcast to '%s' %s",
                              node_text(node, text), weight->name, shape_text(&weight->shape, first),
                              node->inputs[OF_INPUT]->name, shape_text(shape, second));
    }
    infer_loss(inference, node->attributes[REDUCTION].i, shape);
    return TUFF_OK;
}

/* -(pos_weight y log sigmoid(x) + (1 - y) log sigmoid(-x)): neither term cancels, so that small losses keep their
 * digits. */
static tuff_result expand_binary(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *x = inputs[OF_INPUT], *y = inputs[OF_TARGET], *one = y;
    if (inputs[OF_POS_WEIGHT]) one = tuff_mul(y, inputs[OF_POS_WEIGHT]);
    one = tuff_mul(one, tuff_logsigmoid(x));
    tuff_tensor *terms = tuff_sub(tuff_mul(tuff_scale(y, 1, -1), tuff_logsigmoid(tuff_neg(x))), one);
    if (inputs[OF_WEIGHT]) terms = tuff_mul(terms, inputs[OF_WEIGHT]);
    outputs[0] = reduce_loss(terms, node->attributes[REDUCTION].i);
    return graph->result;
}

static const operator binary_cross_entropy_with_logits = {
    .name = "binary_cross_entropy_with_logits",
    .formula = "-(pos_weight target log sigmoid(input) + (1 - target) log sigmoid(-input)) weight, reduced",
    .inputs = { "input", "target", "weight?", "pos_weight?" },
    .pytorch = "torch.nn.functional.binary_cross_entropy_with_logits",
    .attributes = reduction_attribute,
    .attribute_count = 1,
    .infer = infer_binary,
    .expand = expand_binary,
};

tuff_tensor *tuff_binary_cross_entropy_with_logits(tuff_tensor *input, tuff_tensor *target,
                                                   const tuff_binary_cross_entropy_desc *desc) {
    static const tuff_binary_cross_entropy_desc none;
    if (!desc) desc = &none;
    return apply_loss(&binary_cross_entropy_with_logits,
                      (tuff_tensor *[]){ input, target, desc->weight, desc->pos_weight }, 4, 2,
                      &(attribute_value){ .i = desc->reduction }, desc->reduction, TUFF_REDUCE_BATCH_MEAN);
}

/* ---- Kullback-Leibler divergence ---------------------------------------------------------------- */

static const attribute divergence_attributes[] = {
    [REDUCTION] = { .name = "reduction", .type = ATTRIBUTE_CHOICE, .choices = "mean|sum|none|batchmean" },
    [LOG_TARGET] = { .name = "log_target", .type = ATTRIBUTE_BOOL },
};

static tuff_result infer_divergence(inference *inference) {
    TRY(check_same_shape(inference, 0, 1));
    infer_loss(inference, inference->node->attributes[REDUCTION].i, &inference->node->inputs[0]->shape);
    return TUFF_OK;
}

/* The mean over the first axis of the sums over the others: counted when the program is compiled, for other batches. */
static tuff_tensor *batch_mean(tuff_tensor *terms) {
    tuff_reduce_desc others = { 0 };
    for (uint32_t i = 1; terms && i < terms->shape.rank; i++) others.axes[others.axis_count++] = (int32_t)i;
    return tuff_mean(others.axis_count ? tuff_sum(terms, &others) : terms, NULL);
}

static tuff_result expand_divergence(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                     tuff_tensor **outputs) {
    (void)training;
    const int64_t reduction = node->attributes[REDUCTION].i;
    tuff_tensor *x = inputs[0], *y = inputs[1], *terms;
    if (node->attributes[LOG_TARGET].i) {
        terms = tuff_mul(tuff_exp(y), tuff_sub(y, x));
    } else { /* 0 where the target is 0, and so are its gradients: no logarithm of 0 is multiplied with anything */
        tuff_tensor *safe = tuff_where(y, y, tuff_scale(y, 0, 1));
        terms = keep_if(y, tuff_mul(y, tuff_sub(tuff_log(safe), x)));
    }
    outputs[0] = reduction == TUFF_REDUCE_BATCH_MEAN ? batch_mean(terms) : reduce_loss(terms, reduction);
    return graph->result;
}

static const operator kl_div = {
    .name = "kl_div",
    .formula = "target (log target - input), reduced; with log_target e^target (target - input)",
    .inputs = { "input", "target" },
    .pytorch = "torch.nn.functional.kl_div",
    .limits = "equal shapes alone",
    .attributes = divergence_attributes,
    .attribute_count = 2,
    .infer = infer_divergence,
    .expand = expand_divergence,
};

tuff_tensor *tuff_kl_div(tuff_tensor *input, tuff_tensor *target, const tuff_kl_div_desc *desc) {
    static const tuff_kl_div_desc none;
    if (!desc) desc = &none;
    const attribute_value attributes[] = {
        [REDUCTION] = { .i = desc->reduction }, [LOG_TARGET] = { .i = desc->log_target }
    };
    return apply_loss(&kl_div, (tuff_tensor *[]){ input, target }, 2, 2, attributes, desc->reduction,
                      TUFF_REDUCE_BATCH_MEAN + 1);
}

static const operator* const rows[] = { &binary_cross_entropy_with_logits, &kl_div };
const operator_family family_probability_losses = { rows, sizeof rows / sizeof *rows };
