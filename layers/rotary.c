/* Rotary position embedding (Su et al. 2021, RoFormer). */
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/pointwise.h"

#include <math.h>
#include <stdlib.h>

enum { BASE, OFFSET, INTERLEAVED, ROTATED, REVERSE, CACHED };

static const attribute attributes[] = {
    [BASE] = { .name = "base", .type = ATTRIBUTE_FLOAT, .value.f = 10000 },
    [OFFSET] = { .name = "offset", .type = ATTRIBUTE_INT },
    [INTERLEAVED] = { .name = "interleaved", .type = ATTRIBUTE_BOOL },
    [ROTATED] = { .name = "rotary_dim", .type = ATTRIBUTE_INT },
    [REVERSE] = { .name = "reverse", .type = ATTRIBUTE_BOOL },
    [CACHED] = { .name = "cached", .type = ATTRIBUTE_BOOL },
};

/* The features that are rotated. */
static int64_t rotated_of(const node *node) {
    const tuff_shape *x = &node->inputs[0]->shape;
    int64_t rotated = node->attributes[ROTATED].i;
    return rotated ? rotated : x->sizes[x->rank - 1];
}

static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *positions = node->inputs[1];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    node_text(node, text);
    shape_text(&x->shape, first);
    uint32_t rank = x->shape.rank;
    if (rank < 2)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have rank 2 or more: (..., length, features)", text, x->name, first);
    int64_t features = x->shape.sizes[rank - 1], rotated = rotated_of(node), offset = node->attributes[OFFSET].i;
    if (rotated < 2 || rotated % 2 || rotated > features || rotated > 65536)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: %lld features of '%s' %s are to be rotated in pairs; give an even rotary_dim up to %lld",
                          text, (long long)rotated, x->name, first, (long long)features);
    if (!(node->attributes[BASE].f > 0 && node->attributes[BASE].f < 1e30))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: base is %g, it must be above 0", text,
                          node->attributes[BASE].f);
    if (offset < INT32_MIN || offset > INT32_MAX)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: offset is %lld; positions are int32", text,
                          (long long)offset);
    tuff_shape rows = x->shape, all;
    rows.rank--;
    if (positions && !(shape_broadcast(&positions->shape, &rows, &all) && shape_equal(&all, &rows)))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the positions '%s' %s do not broadcast to the rows of '%s' %s", text, positions->name,
                          shape_text(&positions->shape, second), x->name, first);
    inference->shapes[0] = x->shape;
    return TUFF_OK;
}

static tuff_result gradient(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                            tuff_tensor **grad_inputs) {
    if (!(needs & 1)) return TUFF_OK;
    attribute_value values[MAX_ATTRIBUTES];
    memcpy(values, node->attributes, sizeof values);
    values[REVERSE].i = !values[REVERSE].i;
    grad_inputs[0] =
        graph_apply(node_graph(node), node->op, (tuff_tensor *[]){ grad_outputs[0], node->inputs[1] }, 2, values, NULL);
    return TUFF_OK;
}

/* base^(-2 pair / rotated) / (2 pi) modulo 1, of 2^64. */
static void put_turn(double base, int64_t pair, int64_t rotated, uint32_t *words) {
    double turn = pow(base, -2.0 * (double)pair / (double)rotated) / 6.283185307179586477;
    turn -= floor(turn);
    double high = floor(ldexp(turn, 32));
    words[1] = (uint32_t)high;
    words[0] = (uint32_t)ldexp(ldexp(turn, 32) - high, 32);
}

static tuff_result lower(lowering *lowering, const node *node) {
    view x = *lowering_view(lowering, node->inputs[0]), y = *lowering_view(lowering, node->outputs[0]), positions = x;
    uint32_t rank = x.shape.rank - 1; /* of the rows */
    int64_t features = x.shape.sizes[rank], rotated = rotated_of(node), pairs = rotated / 2, begin = 0;
    int64_t position_strides[TUFF_MAX_RANK] = { 0 };
    if (node->inputs[1]) {
        positions = *lowering_view(lowering, node->inputs[1]);
        for (uint32_t i = 0; i < positions.shape.rank; i++)
            if (positions.shape.sizes[i] > 1) position_strides[rank - positions.shape.rank + i] = positions.strides[i];
    }
    bool along = positions.shape.rank == rank && position_strides[0] > 0; /* positions are sliced with the rows */
    int64_t step = smaller(steps_that_fit(lowering, &x), steps_that_fit(lowering, &y)), all = x.shape.sizes[0];
    if (node->attributes[CACHED].i) lowering_cache_room(lowering, INT32_MAX);
    for (; begin < all; begin += step) {
        int64_t part = smaller(step, all - begin);
        view x_part = view_part(&x, begin, part), y_part = view_part(&y, begin, part), p_part = positions;
        if (node->inputs[1] && along) p_part = view_part(&positions, begin, part);
        if (!node->inputs[1]) p_part = x_part;
        uint32_t *words = malloc((size_t)(3 * rank + 2 * (uint64_t)pairs) * sizeof *words), count = 0, firsts[3], at;
        if (!words) return error_out_of_host_memory((size_t)pairs * 8);
        for (uint32_t i = rank; i-- > 0;) {
            words[count++] = (uint32_t)x_part.shape.sizes[i];
            words[count++] = (uint32_t)x.strides[i];
            words[count++] = (uint32_t)position_strides[i];
        }
        for (int64_t pair = 0; pair < pairs; pair++, count += 2)
            put_turn(node->attributes[BASE].f, pair, rotated, words + count);
        operand record;
        tuff_result result = lowering_record(lowering, words, count, &record, &at);
        free(words);
        TRY(result);
        int64_t invocations = view_count(&x_part) / features * (features - pairs);
        /* without positions they count along the last axis of the rows, which a slice may begin in the middle of */
        int64_t offset = node->attributes[OFFSET].i + (rank == 1 && !node->inputs[1] ? begin : 0);
        kernel_call call = { .kernel = KERNEL_ROTARY,
                             .constants = { node->inputs[1] != NULL, node->attributes[INTERLEAVED].i != 0,
                                            node->attributes[REVERSE].i != 0, node->attributes[CACHED].i != 0 },
                             .constant_count = 4,
                             .operands = { lowering_operand(lowering, &x_part, ACCESS_READ, &firsts[0]),
                                           lowering_operand(lowering, &p_part, ACCESS_READ, &firsts[1]),
                                           lowering_operand(lowering, &y_part, ACCESS_WRITE, &firsts[2]), record,
                                           lowering_step_record(lowering) },
                             .operand_count = 5,
                             .params = { (uint32_t)invocations, (uint32_t)pairs, (uint32_t)features, rank, at,
                                         (uint32_t)x.strides[rank], (uint32_t)offset, firsts[0], firsts[1], firsts[2] },
                             .param_count = 10 };
        flat_groups(&call, (uint64_t)invocations, 64);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

static const operator rotary_embedding = {
    .name = "rotary_embedding",
    .formula = "pairs (a, b) of features turned by position base^(-2 i / rotary_dim); rotary_dim 0: all features",
    .inputs = { "input", "positions?" },
    .types = { TYPE_F32, TYPE_I32 },
    .attributes = attributes,
    .attribute_count = sizeof attributes / sizeof *attributes,
    .infer = infer,
    .gradient = gradient,
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower,
};

static const operator* const rows[] = { &rotary_embedding };
const operator_family family_rotary = { rows, sizeof rows / sizeof *rows };

tuff_tensor *tuff_rotary(tuff_tensor *x, tuff_tensor *positions, const tuff_rotary_desc *desc) {
    if (!x) return NULL;
    static const tuff_rotary_desc none;
    if (!desc) desc = &none;
    const attribute_value values[] = {
        [BASE] = { .f = desc->base != 0 ? desc->base : 10000 },
        [OFFSET] = { .i = desc->offset },
        [INTERLEAVED] = { .i = desc->interleaved },
        [ROTATED] = { .i = desc->features },
        [REVERSE] = { .i = desc->reverse },
        [CACHED] = { .i = desc->cached },
    };
    return graph_apply(x->graph, &rotary_embedding, (tuff_tensor *[]){ x, positions }, 2, values, NULL);
}
