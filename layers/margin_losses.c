/* Losses that ask for a margin: of numbers, of pairs and of triplets. At a tie the gradient passes, as PyTorch's. */
#include "layers/families.h"
#include "layers/losses.h"

#include <math.h>

enum { REDUCTION = 0, MARGIN, P, EPS, SWAP };

static const attribute hinge_attributes[] = {
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [MARGIN] = { .name = "margin", .type = ATTRIBUTE_FLOAT, .value.f = 1 },
};

static const attribute pair_attributes[] = {
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [MARGIN] = { .name = "margin", .type = ATTRIBUTE_FLOAT },
};

static const attribute triplet_attributes[] = {
    [REDUCTION] = REDUCTION_ATTRIBUTE,
    [MARGIN] = { .name = "margin", .type = ATTRIBUTE_FLOAT, .value.f = 1 },
    [P] = { .name = "p", .type = ATTRIBUTE_FLOAT, .value.f = 2 },
    [EPS] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1e-6 },
    [SWAP] = { .name = "swap", .type = ATTRIBUTE_BOOL },
};

static float margin_of(const node *node) {
    return (float)node->attributes[MARGIN].f;
}

static tuff_tensor *at_least_zero(tuff_tensor *x) {
    return tuff_clamp(x, 0, INFINITY);
}

/* x where the target is `value`, else 0; and the other way round. */
static tuff_tensor *where_target_is(tuff_tensor *target, float value, tuff_tensor *x) {
    return keep_unless(tuff_scale(target, 1, -value), x);
}
static tuff_tensor *where_target_is_not(tuff_tensor *target, float value, tuff_tensor *x) {
    return keep_if(tuff_scale(target, 1, -value), x);
}

static tuff_tensor *over_last(tuff_tensor *x) {
    return tuff_sum(x, &(tuff_reduce_desc){ .axes = { -1 }, .axis_count = 1 });
}

/* All inputs of one shape, which the terms have too. */
static tuff_result infer_numbers(inference *inference) {
    const node *node = inference->node;
    for (uint32_t i = 1; i < node->input_count; i++) TRY(check_same_shape(inference, 0, i));
    infer_loss(inference, node->attributes[REDUCTION].i, &node->inputs[0]->shape);
    return TUFF_OK;
}

/* ---- hinge embedding ---------------------------------------------------------------------------- */

static tuff_result expand_hinge(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *far = at_least_zero(tuff_scale(inputs[0], -1, margin_of(node)));
    tuff_tensor *terms =
        tuff_add(where_target_is_not(inputs[1], 1, far), where_target_is_not(inputs[1], -1, inputs[0]));
    outputs[0] = reduce_loss(terms, node->attributes[REDUCTION].i);
    return graph->result;
}

static const operator hinge_embedding_loss = {
    .name = "hinge_embedding_loss",
    .formula = "target 1: input; target -1: max(0, margin - input), reduced",
    .inputs = { "input", "target" },
    .pytorch = "torch.nn.functional.hinge_embedding_loss",
    .limits = "equal shapes alone",
    .attributes = hinge_attributes,
    .attribute_count = 2,
    .infer = infer_numbers,
    .expand = expand_hinge,
};

/* ---- margin ranking ----------------------------------------------------------------------------- */

static tuff_result expand_ranking(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *wrong = tuff_mul(inputs[2], tuff_sub(inputs[1], inputs[0]));
    outputs[0] = reduce_loss(at_least_zero(tuff_scale(wrong, 1, margin_of(node))), node->attributes[REDUCTION].i);
    return graph->result;
}

static const operator margin_ranking_loss = {
    .name = "margin_ranking_loss",
    .formula = "max(0, margin - target (input1 - input2)), reduced",
    .inputs = { "input1", "input2", "target" },
    .pytorch = "torch.nn.functional.margin_ranking_loss",
    .limits = "equal shapes alone",
    .attributes = pair_attributes,
    .attribute_count = 2,
    .infer = infer_numbers,
    .expand = expand_ranking,
};

/* ---- cosine embedding --------------------------------------------------------------------------- */

static tuff_shape without_last(const tuff_shape *shape) {
    tuff_shape rest = *shape;
    rest.rank--;
    return rest;
}

static tuff_result fail_vectors(inference *inference, const char *wanted) {
    const node *node = inference->node;
    char text[160], shape[SHAPE_TEXT];
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape %s", node_text(node, text),
                      node->inputs[0]->name, shape_text(&node->inputs[0]->shape, shape), wanted);
}

static tuff_result infer_cosine(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape;
    const tuff_tensor *target = node->inputs[2];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (x->rank < 1 || x->rank > 2) return fail_vectors(inference, "(D) or (N, D)");
    TRY(check_same_shape(inference, 0, 1));
    tuff_shape terms = without_last(x);
    if (!shape_equal(&terms, &target->shape))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the target '%s' %s must have the shape of '%s' %s without its last axis",
                          node_text(node, text), target->name, shape_text(&target->shape, first), node->inputs[0]->name,
                          shape_text(x, second));
    infer_loss(inference, node->attributes[REDUCTION].i, &terms);
    return TUFF_OK;
}

static tuff_result expand_cosine(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)training;
    const float tiny = 1e-12f; /* PyTorch's */
    tuff_tensor *a = inputs[0], *b = inputs[1], *target = inputs[2];
    tuff_tensor *lengths =
        tuff_mul(tuff_scale(over_last(tuff_square(a)), 1, tiny), tuff_scale(over_last(tuff_square(b)), 1, tiny));
    tuff_tensor *cosine = tuff_div(over_last(tuff_mul(a, b)), tuff_sqrt(lengths));
    tuff_tensor *near = where_target_is(target, 1, tuff_scale(cosine, -1, 1));
    tuff_tensor *far = where_target_is(target, -1, at_least_zero(tuff_scale(cosine, 1, -margin_of(node))));
    outputs[0] = reduce_loss(tuff_add(near, far), node->attributes[REDUCTION].i);
    return graph->result;
}

static const operator cosine_embedding_loss = {
    .name = "cosine_embedding_loss",
    .formula = "target 1: 1 - cos(input1, input2); target -1: max(0, cos(input1, input2) - margin), reduced",
    .inputs = { "input1", "input2", "target" },
    .pytorch = "torch.nn.functional.cosine_embedding_loss",
    .attributes = pair_attributes,
    .attribute_count = 2,
    .infer = infer_cosine,
    .expand = expand_cosine,
};

/* ---- triplet margin ----------------------------------------------------------------------------- */

static tuff_result infer_triplet(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *x = &node->inputs[0]->shape;
    char text[160];
    if (x->rank < 1) return fail_vectors(inference, "(..., D)");
    if (!(node->attributes[P].f >= 0))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: p is %g, it must be 0 or more",
                          node_text(node, text), node->attributes[P].f);
    for (uint32_t i = 1; i < 3; i++) TRY(check_same_shape(inference, 0, i));
    tuff_shape terms = without_last(x);
    infer_loss(inference, node->attributes[REDUCTION].i, &terms);
    return TUFF_OK;
}

/* PyTorch's pairwise_distance: the norm of a - b + eps. */
static tuff_tensor *distance(const node *node, tuff_tensor *a, tuff_tensor *b) {
    tuff_tensor *difference = tuff_scale(tuff_sub(a, b), 1, (float)node->attributes[EPS].f);
    return tuff_norm(difference, (float)node->attributes[P].f, &(tuff_reduce_desc){ .axes = { -1 }, .axis_count = 1 });
}

static tuff_result expand_triplet(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *near = distance(node, inputs[0], inputs[1]), *far = distance(node, inputs[0], inputs[2]);
    if (node->attributes[SWAP].i) far = tuff_minimum(far, distance(node, inputs[1], inputs[2]));
    tuff_tensor *terms = at_least_zero(tuff_scale(tuff_sub(near, far), 1, margin_of(node)));
    outputs[0] = reduce_loss(terms, node->attributes[REDUCTION].i);
    return graph->result;
}

static const operator triplet_margin_loss = {
    .name = "triplet_margin_loss",
    .formula = "max(0, margin + |anchor - positive| - |anchor - negative|), reduced; swap: of |anchor - negative| and "
               "|positive - negative| the smaller one",
    .inputs = { "anchor", "positive", "negative" },
    .pytorch = "torch.nn.functional.triplet_margin_loss",
    .limits = "equal shapes alone",
    .attributes = triplet_attributes,
    .attribute_count = 5,
    .infer = infer_triplet,
    .expand = expand_triplet,
};

/* ---- the public functions ----------------------------------------------------------------------- */

static tuff_tensor *apply_margin(const operator* op, tuff_tensor *const *inputs, uint32_t count, float margin,
                                 const tuff_loss_desc *desc) {
    tuff_loss_reduction reduction = desc ? desc->reduction : TUFF_REDUCE_MEAN;
    const attribute_value attributes[] = { [REDUCTION] = { .i = reduction }, [MARGIN] = { .f = margin } };
    return apply_loss(op, inputs, count, count, attributes, reduction, TUFF_REDUCE_BATCH_MEAN);
}

tuff_tensor *tuff_hinge_embedding_loss(tuff_tensor *input, tuff_tensor *target, float margin,
                                       const tuff_loss_desc *desc) {
    return apply_margin(&hinge_embedding_loss, (tuff_tensor *[]){ input, target }, 2, margin, desc);
}

tuff_tensor *tuff_margin_ranking_loss(tuff_tensor *input1, tuff_tensor *input2, tuff_tensor *target, float margin,
                                      const tuff_loss_desc *desc) {
    return apply_margin(&margin_ranking_loss, (tuff_tensor *[]){ input1, input2, target }, 3, margin, desc);
}

tuff_tensor *tuff_cosine_embedding_loss(tuff_tensor *input1, tuff_tensor *input2, tuff_tensor *target, float margin,
                                        const tuff_loss_desc *desc) {
    return apply_margin(&cosine_embedding_loss, (tuff_tensor *[]){ input1, input2, target }, 3, margin, desc);
}

tuff_tensor *tuff_triplet_margin_loss(tuff_tensor *anchor, tuff_tensor *positive, tuff_tensor *negative, float margin,
                                      const tuff_triplet_margin_desc *desc) {
    static const tuff_triplet_margin_desc none;
    if (!desc) desc = &none;
    const attribute_value attributes[] = {
        [REDUCTION] = { .i = desc->reduction },
        [MARGIN] = { .f = margin },
        [P] = { .f = desc->p != 0 ? desc->p : 2 },
        [EPS] = { .f = desc->eps != 0 ? (double)desc->eps : 1e-6 },
        [SWAP] = { .i = desc->swap },
    };
    return apply_loss(&triplet_margin_loss, (tuff_tensor *[]){ anchor, positive, negative }, 3, 3, attributes,
                      desc->reduction, TUFF_REDUCE_BATCH_MEAN);
}

static const operator* const rows[] = { &hinge_embedding_loss, &margin_ranking_loss, &cosine_embedding_loss,
                                        &triplet_margin_loss };
const operator_family family_margin_losses = { rows, sizeof rows / sizeof *rows };
