/* Flipping, rolling, repeating, triangles, one-hot vectors: each an arrangement of its input's elements. */
#include "layers/axes.h"
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/rearrange.h"

#include <string.h>

static tuff_result infer_same(inference *inference) {
    inference->shapes[0] = inference->node->inputs[0]->shape;
    inference->types[0] = inference->node->inputs[0]->type;
    return TUFF_OK;
}

/* ---- flip ---------------------------------------------------------------------------------------- */

static const attribute flip_attributes[] = { { .name = "dims", .type = ATTRIBUTE_INTS, .required = true } };

static tuff_result infer_flip(inference *inference) {
    uint32_t mask;
    TRY(axes_check(inference, &inference->node->attributes[0], inference->node->inputs[0]->shape.rank, &mask));
    return infer_same(inference);
}

static tuff_result expand_flip(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    (void)training;
    const attribute_value *dims = &node->attributes[0];
    rearrangement r = rearrangement_of(inputs[0]);
    for (int64_t i = 0; i < dims->i; i++) {
        uint32_t axis = axis_of(dims->list[i], inputs[0]->shape.rank);
        r.flip[axis] = true;
        r.add[axis] = r.size[axis] - 1;
    }
    outputs[0] = rearrange(inputs[0], &r);
    return graph->result;
}

static tuff_result gradient_flip(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(node->op, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

static const operator operator_flip = { .name = "flip",
                                        .formula = "x backwards along dims",
                                        .inputs = { "input" },
                                        .types = { TYPE_ANY },
                                        .pytorch = "torch.flip",
                                        .attributes = flip_attributes,
                                        .attribute_count = 1,
                                        .infer = infer_flip,
                                        .gradient = gradient_flip,
                                        .expand = expand_flip };

tuff_tensor *tuff_flip(tuff_tensor *x, const int32_t *dims, uint32_t count) {
    attribute_value attribute = { .i = count };
    if (!x || !list_fits(x, "flip", "dims", dims, count)) return NULL;
    for (uint32_t i = 0; i < count; i++) attribute.list[i] = dims[i];
    return apply_unary(&operator_flip, x, &attribute);
}

/* ---- roll ---------------------------------------------------------------------------------------- */

enum { SHIFTS = 0, ROLL_DIMS };
static const attribute roll_attributes[] = {
    [SHIFTS] = { .name = "shifts", .type = ATTRIBUTE_INTS, .required = true },
    [ROLL_DIMS] = { .name = "dims", .type = ATTRIBUTE_INTS }, /* none: x as one axis */
};

static tuff_result infer_roll(inference *inference) {
    const node *node = inference->node;
    const attribute_value *shifts = &node->attributes[SHIFTS], *dims = &node->attributes[ROLL_DIMS];
    uint32_t axis;
    char text[160];
    for (int64_t i = 0; i < dims->i; i++) TRY(axis_check(inference, dims->list[i], node->inputs[0]->shape.rank, &axis));
    for (int64_t i = 0; i < shifts->i; i++)
        if (shifts->list[i] < -INT64_MAX)
            return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: a shift is below %lld", node_text(node, text),
                              (long long)-INT64_MAX);
    if (shifts->i != (dims->i ? dims->i : 1))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                          "%s: %lld shifts for %lld dims; there must be one for each, or one without dims",
                          node_text(node, text), (long long)shifts->i, (long long)dims->i);
    return infer_same(inference);
}

static tuff_result expand_roll(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    (void)training;
    const attribute_value *shifts = &node->attributes[SHIFTS], *dims = &node->attributes[ROLL_DIMS];
    tuff_tensor *x = dims->i ? inputs[0] : tuff_reshape(inputs[0], TUFF_SHAPE(-1));
    if (!x) return graph->result;
    rearrangement r = rearrangement_of(x);
    r.outside = OUTSIDE_WRAPS;
    for (int64_t i = 0; i < shifts->i; i++) { /* -size < add <= 0; an axis may be named again */
        uint32_t axis = dims->i ? axis_of(dims->list[i], x->shape.rank) : 0;
        int64_t n = x->shape.sizes[axis];
        r.add[axis] = (r.add[axis] - shifts->list[i] % n) % n;
        if (r.add[axis] > 0) r.add[axis] -= n;
    }
    outputs[0] = rearrange(x, &r);
    if (!dims->i) outputs[0] = reshape_like(outputs[0], inputs[0]);
    return graph->result;
}

static tuff_result gradient_roll(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    attribute_value back[] = { node->attributes[SHIFTS], node->attributes[ROLL_DIMS] };
    for (int64_t i = 0; i < back[SHIFTS].i; i++) back[SHIFTS].list[i] *= -1;
    grad_inputs[0] = apply_unary(node->op, grad_outputs[0], back);
    return TUFF_OK;
}

static const operator operator_roll = { .name = "roll",
                                        .formula = "x moved on by shifts along dims; what leaves comes in at the start",
                                        .inputs = { "input" },
                                        .types = { TYPE_ANY },
                                        .pytorch = "torch.roll",
                                        .attributes = roll_attributes,
                                        .attribute_count = 2,
                                        .infer = infer_roll,
                                        .gradient = gradient_roll,
                                        .expand = expand_roll };

tuff_tensor *tuff_roll(tuff_tensor *x, const int64_t *shifts, const int32_t *dims, uint32_t count) {
    attribute_value attributes[] = { [SHIFTS] = { .i = dims ? count : 1 }, [ROLL_DIMS] = { .i = dims ? count : 0 } };
    if (!x || !axes_fit(x, "roll", count)) return NULL;
    if (!shifts || !count) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "roll of '%s': there are no shifts", x->name);
        return NULL;
    }
    for (int64_t i = 0; i < attributes[SHIFTS].i; i++) attributes[SHIFTS].list[i] = shifts[i];
    for (int64_t i = 0; i < attributes[ROLL_DIMS].i; i++) attributes[ROLL_DIMS].list[i] = dims[i];
    return apply_unary(&operator_roll, x, attributes);
}

/* ---- repeat, tile -------------------------------------------------------------------------------- */

static const attribute repeat_attributes[] = { { .name = "repeats", .type = ATTRIBUTE_INTS, .required = true } };
static const attribute tile_attributes[] = { { .name = "dims", .type = ATTRIBUTE_INTS, .required = true } };

/* How often an axis of the result, which has `rank` of them, is repeated: counts align at the last axis. */
static int64_t repeats_of(const node *node, uint32_t rank, uint32_t axis) {
    const attribute_value *repeats = &node->attributes[0];
    int64_t missing = rank - repeats->i;
    return axis < missing ? 1 : repeats->list[axis - missing];
}

static tuff_result repeated_shape(inference *inference, const tuff_tensor *x, uint32_t rank, tuff_shape *y) {
    const node *node = inference->node;
    const attribute_value *repeats = &node->attributes[0];
    char text[160], shape[SHAPE_TEXT];
    y->rank = rank;
    if (rank > TUFF_MAX_RANK) return TUFF_OK; /* graph_apply says that it is too many */
    for (uint32_t i = 0; i < rank; i++) {
        int64_t times = repeats_of(node, rank, i);
        if (times < 1 || times > INT32_MAX || rank < x->shape.rank)
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                              "%s: %lld counts for '%s' %s; they must be 1 or more%s", node_text(node, text),
                              (long long)repeats->i, x->name, shape_text(&x->shape, shape),
                              rank < x->shape.rank ? ", one for each axis" : "");
        y->sizes[i] = times * (i < rank - x->shape.rank ? 1 : x->shape.sizes[i - (rank - x->shape.rank)]);
    }
    return TUFF_OK;
}

static tuff_result infer_repeat(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    int64_t counts = inference->node->attributes[0].i;
    char text[160], shape[SHAPE_TEXT];
    inference->types[0] = x->type;
    if (counts < x->shape.rank)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: %lld counts for '%s' %s; it needs one for each axis",
                          node_text(inference->node, text), (long long)counts, x->name, shape_text(&x->shape, shape));
    return repeated_shape(inference, x, (uint32_t)counts, &inference->shapes[0]);
}

/* Where axes of size 1 alone are repeated, it is a view. */
static tuff_result expand_repeat(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)training;
    tuff_shape wide = { .rank = node->outputs[0]->shape.rank }, result = wide;
    uint32_t missing = wide.rank - inputs[0]->shape.rank;
    bool views = true;
    for (uint32_t i = 0; i < wide.rank; i++) {
        int64_t times = repeats_of(node, wide.rank, i);
        wide.sizes[i] = i < missing ? 1 : inputs[0]->shape.sizes[i - missing];
        result.sizes[i] = wide.sizes[i] * times;
        views = views && (wide.sizes[i] == 1 || times == 1);
    }
    tuff_tensor *x = missing ? tuff_reshape(inputs[0], wide) : inputs[0];
    rearrangement r = rearrangement_of(x);
    memcpy(r.size, result.sizes, sizeof r.size);
    r.outside = OUTSIDE_WRAPS;
    outputs[0] = views ? tuff_expand(x, result) : rearrange(x, &r);
    return graph->result;
}

static tuff_result gradient_repeat(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs);

static const operator operator_repeat = { .name = "repeat",
                                          .formula = "x repeated along its axes and new ones in front",
                                          .inputs = { "input" },
                                          .types = { TYPE_ANY },
                                          .pytorch = "torch.Tensor.repeat",
                                          .attributes = repeat_attributes,
                                          .attribute_count = 1,
                                          .infer = infer_repeat,
                                          .gradient = gradient_repeat,
                                          .expand = expand_repeat };

static tuff_result infer_repeat_backward(inference *inference) {
    const tuff_tensor *g = inference->node->inputs[0], *like = inference->node->inputs[1];
    tuff_shape shape = { 0 };
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    TRY(repeated_shape(inference, like, (uint32_t)inference->node->attributes[0].i, &shape));
    if (!shape_equal(&shape, &g->shape))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s is not what repeating '%s' %s gives",
                          node_text(inference->node, text), g->name, shape_text(&g->shape, first), like->name,
                          shape_text(&like->shape, second));
    inference->shapes[0] = like->shape;
    return TUFF_OK;
}

/* Axis after axis, each seen as (what is before, repeats, size, what is behind). */
static tuff_result expand_repeat_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                          bool training, tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *g = inputs[0], *like = inputs[1];
    uint32_t rank = g->shape.rank;
    tuff_shape shape = g->shape;
    for (uint32_t i = 0; i < rank && g; i++) {
        int64_t times = repeats_of(node, rank, i), before = 1, behind = 1;
        if (times == 1) continue;
        shape.sizes[i] /= times;
        for (uint32_t k = 0; k < i; k++) before *= shape.sizes[k];
        for (uint32_t k = i + 1; k < rank; k++) behind *= shape.sizes[k];
        g = tuff_sum(tuff_reshape(g, TUFF_SHAPE(before, times, shape.sizes[i], behind)),
                     &(tuff_reduce_desc){ .axes = { 1 }, .axis_count = 1 });
    }
    outputs[0] = reshape_like(g, like);
    return graph->result;
}

static tuff_result gradient_repeat_backward(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                            tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(&operator_repeat, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

static const operator operator_repeat_backward = { .name = "repeat_backward",
                                                   .flags = OPERATOR_INTERNAL,
                                                   .formula = "the sum of the repetitions",
                                                   .inputs = { "grad_output", "input" },
                                                   .shape_only = 1 << 1,
                                                   .attributes = repeat_attributes,
                                                   .attribute_count = 1,
                                                   .infer = infer_repeat_backward,
                                                   .gradient = gradient_repeat_backward,
                                                   .expand = expand_repeat_backward };

static tuff_result gradient_repeat(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_binary(&operator_repeat_backward, grad_outputs[0], node->inputs[0], node->attributes);
    return TUFF_OK;
}

static uint32_t tiled_rank(const node *node) {
    uint32_t rank = node->inputs[0]->shape.rank, given = (uint32_t)node->attributes[0].i;
    return given > rank ? given : rank;
}

static tuff_result infer_tile(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    inference->types[0] = x->type;
    return repeated_shape(inference, x, tiled_rank(inference->node), &inference->shapes[0]);
}

static tuff_result expand_tile(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    (void)training;
    attribute_value repeats = { .i = tiled_rank(node) };
    for (uint32_t i = 0; i < repeats.i; i++) repeats.list[i] = repeats_of(node, (uint32_t)repeats.i, i);
    outputs[0] = apply_unary(&operator_repeat, inputs[0], &repeats);
    return graph->result;
}

static const operator operator_tile = { .name = "tile",
                                        .formula = "x repeated along its last axes; as repeat with 1 for the others",
                                        .inputs = { "input" },
                                        .types = { TYPE_ANY },
                                        .pytorch = "torch.tile",
                                        .attributes = tile_attributes,
                                        .attribute_count = 1,
                                        .infer = infer_tile,
                                        .expand = expand_tile };

static tuff_tensor *apply_counts(const operator* op, tuff_tensor *x, const int64_t *counts, uint32_t count) {
    attribute_value attribute = { .i = count };
    if (!x || !list_fits(x, op->name, op->attributes[0].name, counts, count)) return NULL;
    for (uint32_t i = 0; i < count; i++) attribute.list[i] = counts[i];
    return apply_unary(op, x, &attribute);
}

tuff_tensor *tuff_repeat(tuff_tensor *x, const int64_t *repeats, uint32_t count) {
    return apply_counts(&operator_repeat, x, repeats, count);
}

tuff_tensor *tuff_tile(tuff_tensor *x, const int64_t *dims, uint32_t count) {
    return apply_counts(&operator_tile, x, dims, count);
}

/* ---- triangles ----------------------------------------------------------------------------------- */

static const attribute triangle_attributes[] = { { .name = "diagonal", .type = ATTRIBUTE_INT } };

static tuff_result infer_triangle(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    char text[160], shape[SHAPE_TEXT];
    if (x->shape.rank >= 2) return infer_same(inference);
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have rank 2 or more",
                      node_text(inference->node, text), x->name, shape_text(&x->shape, shape));
}

static tuff_result expand_triangle(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, uint32_t kind,
                                   tuff_tensor **outputs) {
    rearrangement r = rearrangement_of(inputs[0]);
    r.kind = kind;
    r.diagonal = node->attributes[0].i;
    outputs[0] = rearrange(inputs[0], &r);
    return graph->result;
}

static tuff_result expand_tril(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    (void)training;
    return expand_triangle(graph, node, inputs, REARRANGE_LOWER, outputs);
}

static tuff_result expand_triu(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                               tuff_tensor **outputs) {
    (void)training;
    return expand_triangle(graph, node, inputs, REARRANGE_UPPER, outputs);
}

static const operator operator_tril = { .name = "tril",
                                        .formula = "x where column - row <= diagonal in the last two axes, else 0",
                                        .inputs = { "input" },
                                        .types = { TYPE_ANY },
                                        .pytorch = "torch.tril",
                                        .attributes = triangle_attributes,
                                        .attribute_count = 1,
                                        .infer = infer_triangle,
                                        .gradient = gradient_flip, /* the same of what arrives */
                                        .expand = expand_tril };

static const operator operator_triu = { .name = "triu",
                                        .formula = "x where column - row >= diagonal in the last two axes, else 0",
                                        .inputs = { "input" },
                                        .types = { TYPE_ANY },
                                        .pytorch = "torch.triu",
                                        .attributes = triangle_attributes,
                                        .attribute_count = 1,
                                        .infer = infer_triangle,
                                        .gradient = gradient_flip,
                                        .expand = expand_triu };

tuff_tensor *tuff_tril(tuff_tensor *x, int64_t diagonal) {
    return apply_unary(&operator_tril, x, &(attribute_value){ .i = diagonal });
}

tuff_tensor *tuff_triu(tuff_tensor *x, int64_t diagonal) {
    return apply_unary(&operator_triu, x, &(attribute_value){ .i = diagonal });
}

/* ---- one_hot ------------------------------------------------------------------------------------- */

static const attribute one_hot_attributes[] = { { .name = "num_classes", .type = ATTRIBUTE_INT, .required = true } };

static tuff_result infer_one_hot(inference *inference) {
    const node *node = inference->node;
    tuff_shape *y = &inference->shapes[0];
    char text[160];
    if (node->attributes[0].i < 1)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: num_classes is %lld; it must be 1 or more",
                          node_text(node, text), (long long)node->attributes[0].i);
    *y = node->inputs[0]->shape;
    if (y->rank < TUFF_MAX_RANK) y->sizes[y->rank] = node->attributes[0].i;
    y->rank++;
    return TUFF_OK;
}

static tuff_result expand_one_hot(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *index = tuff_unsqueeze(inputs[0], -1);
    if (!index) return graph->result;
    rearrangement r = rearrangement_of(index);
    r.size[index->shape.rank - 1] = node->attributes[0].i;
    r.outside = OUTSIDE_REPLICATES; /* each column reads the one index */
    r.kind = REARRANGE_EQUALS;
    outputs[0] = rearrange(index, &r);
    return graph->result;
}

static const operator operator_one_hot = {
    .name = "one_hot",
    .formula = "y[..., c] = x[...] == c ? 1 : 0",
    .inputs = { "input" },
    .types = { TYPE_I32 },
    .flags = OPERATOR_DETACH,
    .pytorch = "torch.nn.functional.one_hot",
    .limits = "num_classes is required; float32 where PyTorch has int64; an index out of range gives zeros",
    .attributes = one_hot_attributes,
    .attribute_count = 1,
    .infer = infer_one_hot,
    .expand = expand_one_hot,
};

tuff_tensor *tuff_one_hot(tuff_tensor *index, int64_t num_classes) {
    return apply_unary(&operator_one_hot, index, &(attribute_value){ .i = num_classes });
}

static const operator* const rows[] = { &operator_flip, &operator_roll, &operator_repeat, &operator_repeat_backward,
                                        &operator_tile, &operator_tril, &operator_triu,   &operator_one_hot };
const operator_family family_moves = { rows, sizeof rows / sizeof *rows };
