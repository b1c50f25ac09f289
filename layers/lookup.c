/* Lookup: rows of tables and elements by their indices, and sums by index (layers/scatter.c has the kernels). */
#include "layers/axes.h"
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/pointwise.h"
#include "layers/scatter.h"
#include "layers/state.h"

/* ---- kernels ------------------------------------------------------------------------------------ */

enum { LANES = 64 };

/* The features in vec4 if the views allow it. */
static bool fits_vec4(const lowering *lowering, int64_t features, const view *a, const view *b) {
    return wide_allowed(lowering) && features % 4 == 0 && a->offset % 4 == 0 && b->offset % 4 == 0;
}

static tuff_result lower_lookup(lowering *lowering, const node *node) {
    const view *index = lowering_view(lowering, node->inputs[0]), *table = lowering_view(lowering, node->inputs[1]);
    view y = *lowering_view(lowering, node->outputs[0]), flat_index = *index;
    int64_t features = table->shape.sizes[1], rows = table->shape.sizes[0], count = view_count(index);
    flat_index.shape = TUFF_SHAPE(count);
    flat_index.strides[0] = 1;
    y.shape = TUFF_SHAPE(count, features);
    y.strides[0] = features;
    y.strides[1] = 1;
    uint32_t width = fits_vec4(lowering, features, table, &y) ? 4 : 1;
    int64_t row_step = steps_that_fit(lowering, table), step = steps_that_fit(lowering, &y);
    for (int64_t i = 0; i < count; i += step) {
        int64_t part = smaller(step, count - i);
        view index_part = view_part(&flat_index, i, part), y_part = view_part(&y, i, part);
        for (int64_t r = 0; r < rows; r += row_step) {
            int64_t part_rows = smaller(row_step, rows - r);
            view table_part = view_part(table, r, part_rows);
            uint32_t firsts[3];
            kernel_call call = { .kernel = width == 4 ? KERNEL_EMBEDDING_4 : KERNEL_EMBEDDING_1,
                                 .operands = { lowering_operand(lowering, &index_part, ACCESS_READ, &firsts[0]),
                                               lowering_operand(lowering, &table_part, ACCESS_READ, &firsts[1]),
                                               lowering_operand(lowering, &y_part, ACCESS_WRITE, &firsts[2]) },
                                 .operand_count = 3,
                                 .param_count = 8 };
            const uint32_t params[] = { (uint32_t)part,    (uint32_t)features / width, (uint32_t)rows,
                                        (uint32_t)r,       (uint32_t)part_rows,        firsts[0],
                                        firsts[1] / width, firsts[2] / width };
            for (uint32_t p = 0; p < 8; p++) call.params[p] = params[p];
            flat_groups(&call, (uint64_t)(part * features) / width, LANES);
            TRY(lowering_call(lowering, &call));
        }
    }
    return TUFF_OK;
}

/* ---- rows --------------------------------------------------------------------------------------- */

static const attribute embedding_attributes[] = {
    { .name = "padding_idx", .type = ATTRIBUTE_INT, .value.i = ATTRIBUTE_NONE },
};

static tuff_result infer_lookup(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *index = node->inputs[0], *table = node->inputs[1];
    int64_t padding = node->attributes[0].i;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (table->shape.rank != 2 || index->shape.rank >= TUFF_MAX_RANK)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the table '%s' %s must have rank 2, the index '%s' %s rank %d at most",
                          node_text(node, text), table->name, shape_text(&table->shape, first), index->name,
                          shape_text(&index->shape, second), TUFF_MAX_RANK - 1);
    uint32_t row;
    if (padding != ATTRIBUTE_NONE && !axis_find(padding, (uint32_t)table->shape.sizes[0], &row))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: padding_idx %lld is no row of '%s' %s",
                          node_text(node, text), (long long)padding, table->name, shape_text(&table->shape, first));
    inference->shapes[0] = index->shape;
    inference->shapes[0].sizes[inference->shapes[0].rank++] = table->shape.sizes[1];
    return TUFF_OK;
}

static tuff_result gradient_lookup(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    if (!(needs >> 1 & 1)) return TUFF_OK;
    tuff_tensor *index = node->inputs[0], *table = node->inputs[1], *g = grad_outputs[0];
    int64_t padding = node->attributes[0].i;
    if (padding != ATTRIBUTE_NONE) padding = axis_of(padding, (uint32_t)table->shape.sizes[0]);
    if (index->shape.rank == 0) g = tuff_unsqueeze(g, 0);
    if (index->shape.rank > 1) g = tuff_flatten_axes(g, 0, -2);
    grad_inputs[1] = scatter_like(g, tuff_flatten_axes(index, 0, -1), table, 0, true,
                                  padding == ATTRIBUTE_NONE ? SCATTER_NOTHING : padding);
    return TUFF_OK;
}

static const operator embedding_lookup = {
    .name = "embedding",
    .formula = "y[i] = weight[input[i]]",
    .inputs = { "input", "weight" },
    .types = { TYPE_I32 },
    .pytorch = "torch.nn.functional.embedding",
    .limits = "no max_norm, no scale_grad_by_freq; an index out of range gives a row of NaN",
    .attributes = embedding_attributes,
    .attribute_count = 1,
    .infer = infer_lookup,
    .gradient = gradient_lookup,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_lookup,
};

tuff_tensor *tuff_embedding(tuff_tensor *index, const tuff_embedding_desc *desc) {
    if (!index) return NULL;
    tuff_graph *graph = index->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_embedding_desc none;
    if (!desc) desc = &none;
    uint32_t states = tuff_model_state_count(graph->model);
    tuff_tensor *table = desc->weight;
    if (!table) {
        if (!layer_is_named(graph, "tuff_embedding", desc->name)) return NULL;
        if (desc->count < 1 || desc->features < 1) {
            graph_fail(graph, TUFF_ERROR_ARGUMENT,
                       "tuff_embedding '%s': count is %lld, features %lld; both must be at least 1", desc->name,
                       (long long)desc->count, (long long)desc->features);
            return NULL;
        }
        const state_desc weight = { .name = "weight",
                                    .shape = TUFF_SHAPE(desc->count, desc->features),
                                    .kind = TUFF_STATE_PARAMETER,
                                    .init = init_or(&desc->weight_init, TUFF_INIT_NORMAL, 1),
                                    .fan_in = desc->features,
                                    .fan_out = desc->count };
        table = layer_state(graph, desc->name, &weight);
    }
    tuff_tensor *inputs[] = { index, table };
    attribute_value padding = { .i = desc->has_padding_idx ? desc->padding_idx : ATTRIBUTE_NONE };
    return layer_end(graph, states, graph_apply(graph, &embedding_lookup, inputs, 2, &padding, desc->name));
}

/* ---- along an axis ------------------------------------------------------------------------------- */

static const attribute dim_attribute[] = { { .name = "dim", .type = ATTRIBUTE_INT, .required = true } };

/* index has x's rank, and along other axes no more than x. */
static tuff_result check_index(inference *inference, const tuff_tensor *x, const tuff_tensor *index, uint32_t axis) {
    const node *node = inference->node;
    bool fits = x->shape.rank == index->shape.rank;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    for (uint32_t i = 0; fits && i < x->shape.rank; i++) fits = i == axis || index->shape.sizes[i] <= x->shape.sizes[i];
    if (fits) return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                      "%s: index '%s' %s must have the rank of '%s' %s, and no larger sizes but along axis %u",
                      node_text(node, text), index->name, shape_text(&index->shape, first), x->name,
                      shape_text(&x->shape, second), axis);
}

static tuff_result check_list(inference *inference, const tuff_tensor *index) {
    char text[160], shape[SHAPE_TEXT];
    if (index->shape.rank == 1) return TUFF_OK;
    return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: index '%s' %s must have rank 1",
                      node_text(inference->node, text), index->name, shape_text(&index->shape, shape));
}

static tuff_result infer_gather(inference *inference) {
    const node *node = inference->node;
    uint32_t axis;
    TRY(axis_check(inference, node->attributes[0].i, node->inputs[0]->shape.rank, &axis));
    TRY(check_index(inference, node->inputs[0], node->inputs[1], axis));
    inference->shapes[0] = node->inputs[1]->shape;
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static tuff_result expand_gather(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)training;
    uint32_t axis = axis_of(node->attributes[0].i, inputs[0]->shape.rank);
    outputs[0] = gather_rows(inputs[0], inputs[1], axis, false, false);
    return graph->result;
}

static tuff_result gradient_gather(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    if (needs & 1)
        grad_inputs[0] = scatter_like(grad_outputs[0], node->inputs[1], node->inputs[0], node->attributes[0].i, false,
                                      SCATTER_NOTHING);
    return TUFF_OK;
}

static const operator operator_gather = {
    .name = "gather",
    .formula = "y[..., k, ...] = x[..., index[..., k, ...], ...] along dim",
    .inputs = { "input", "index" },
    .types = { TYPE_ANY, TYPE_I32 },
    .pytorch = "torch.gather",
    .limits = "an index out of range gives NaN (of int32 the smallest, of uint8 0)",
    .attributes = dim_attribute,
    .attribute_count = 1,
    .infer = infer_gather,
    .gradient = gradient_gather,
    .expand = expand_gather,
};

tuff_tensor *tuff_gather(tuff_tensor *x, int32_t dim, tuff_tensor *index) {
    return apply_binary(&operator_gather, x, index, &(attribute_value){ .i = dim });
}

static tuff_result infer_index_select(inference *inference) {
    const node *node = inference->node;
    uint32_t axis;
    TRY(axis_check(inference, node->attributes[0].i, node->inputs[0]->shape.rank, &axis));
    TRY(check_list(inference, node->inputs[1]));
    inference->shapes[0] = node->inputs[0]->shape;
    inference->shapes[0].sizes[axis] = node->inputs[1]->shape.sizes[0];
    inference->types[0] = node->inputs[0]->type;
    return TUFF_OK;
}

static tuff_result expand_index_select(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                       tuff_tensor **outputs) {
    (void)training;
    uint32_t axis = axis_of(node->attributes[0].i, inputs[0]->shape.rank);
    outputs[0] = gather_rows(inputs[0], inputs[1], axis, true, false);
    return graph->result;
}

static tuff_result gradient_index_select(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                         tuff_tensor **grad_inputs) {
    if (needs & 1)
        grad_inputs[0] = scatter_like(grad_outputs[0], node->inputs[1], node->inputs[0], node->attributes[0].i, true,
                                      SCATTER_NOTHING);
    return TUFF_OK;
}

static const operator operator_index_select = {
    .name = "index_select",
    .formula = "y[..., k, ...] = x[..., index[k], ...] along dim",
    .inputs = { "input", "index" },
    .types = { TYPE_ANY, TYPE_I32 },
    .pytorch = "torch.index_select",
    .limits = "an index without axes; an index out of range gives NaN (of int32 the smallest, of uint8 0)",
    .attributes = dim_attribute,
    .attribute_count = 1,
    .infer = infer_index_select,
    .gradient = gradient_index_select,
    .expand = expand_index_select,
};

tuff_tensor *tuff_index_select(tuff_tensor *x, int32_t dim, tuff_tensor *index) {
    return apply_binary(&operator_index_select, x, index, &(attribute_value){ .i = dim });
}

/* ---- sums by index ------------------------------------------------------------------------------- */

static tuff_result infer_scatter_add(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *index = node->inputs[1], *src = node->inputs[2];
    uint32_t axis;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    TRY(axis_check(inference, node->attributes[0].i, x->shape.rank, &axis));
    TRY(check_index(inference, x, index, axis));
    if (!shape_equal(&index->shape, &src->shape))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: index '%s' %s and src '%s' %s must have one shape",
                          node_text(node, text), index->name, shape_text(&index->shape, first), src->name,
                          shape_text(&src->shape, second));
    inference->shapes[0] = x->shape;
    return TUFF_OK;
}

static tuff_result expand_scatter_add(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *sums = scatter_like(inputs[2], inputs[1], inputs[0], node->attributes[0].i, false, SCATTER_NOTHING);
    outputs[0] = tuff_add(inputs[0], sums);
    return graph->result;
}

/* What was left out has no part in the result: zero. */
static tuff_result infer_taken(inference *inference) {
    inference->shapes[0] = inference->node->inputs[2]->shape;
    return TUFF_OK;
}

static tuff_result expand_taken(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                tuff_tensor **outputs) {
    (void)training;
    uint32_t axis = axis_of(node->attributes[0].i, inputs[0]->shape.rank);
    outputs[0] = gather_rows(inputs[0], inputs[1], axis, inputs[1]->shape.rank == 1 && node->attributes[1].i, true);
    return graph->result;
}

static const attribute taken_attributes[] = {
    { .name = "dim", .type = ATTRIBUTE_INT },
    { .name = "shared", .type = ATTRIBUTE_BOOL },
};

static const operator operator_taken = { .name = "scatter_backward",
                                         .flags = OPERATOR_INTERNAL,
                                         .formula = "x by index along dim, 0 where that is out of range",
                                         .inputs = { "input", "index", "like" },
                                         .types = { TYPE_F32, TYPE_I32, TYPE_ANY },
                                         .shape_only = 1 << 2,
                                         .attributes = taken_attributes,
                                         .attribute_count = 2,
                                         .infer = infer_taken,
                                         .expand = expand_taken };

static tuff_tensor *taken(const node *node, tuff_tensor *g, bool shared) {
    tuff_tensor *inputs[] = { g, node->inputs[1], node->inputs[2] };
    const attribute_value attributes[] = { node->attributes[0], { .i = shared } };
    return graph_apply(node_graph(node), &operator_taken, inputs, 3, attributes, NULL);
}

static tuff_result gradient_scatter_add(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                        tuff_tensor **grad_inputs) {
    grad_inputs[0] = grad_outputs[0];
    if (needs >> 2 & 1) grad_inputs[2] = taken(node, grad_outputs[0], false);
    return TUFF_OK;
}

static const operator operator_scatter_add = {
    .name = "scatter_add",
    .formula = "input, and src[..., k, ...] added at index[..., k, ...] along dim",
    .inputs = { "input", "index", "src" },
    .types = { TYPE_F32, TYPE_I32, TYPE_F32 },
    .pytorch = "torch.scatter_add",
    .limits = "src has index' shape; what an index out of range names is left out",
    .attributes = dim_attribute,
    .attribute_count = 1,
    .infer = infer_scatter_add,
    .gradient = gradient_scatter_add,
    .expand = expand_scatter_add,
};

static tuff_tensor *apply_sums(const operator* op, tuff_tensor *x, tuff_tensor *index, tuff_tensor *source,
                               const attribute_value *attributes) {
    tuff_tensor *inputs[] = { x, index, source };
    for (uint32_t i = 0; i < 3; i++)
        if (inputs[i]) return graph_apply(inputs[i]->graph, op, inputs, 3, attributes, NULL);
    return NULL;
}

tuff_tensor *tuff_scatter_add(tuff_tensor *x, int32_t dim, tuff_tensor *index, tuff_tensor *src) {
    return apply_sums(&operator_scatter_add, x, index, src, &(attribute_value){ .i = dim });
}

enum { ADD_DIM = 0, ADD_ALPHA };
static const attribute index_add_attributes[] = {
    [ADD_DIM] = { .name = "dim", .type = ATTRIBUTE_INT, .required = true },
    [ADD_ALPHA] = { .name = "alpha", .type = ATTRIBUTE_FLOAT, .value.f = 1 },
};

static tuff_result infer_index_add(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *index = node->inputs[1], *source = node->inputs[2];
    uint32_t axis;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT], third[SHAPE_TEXT];
    TRY(axis_check(inference, node->attributes[ADD_DIM].i, x->shape.rank, &axis));
    TRY(check_list(inference, index));
    tuff_shape wanted = x->shape;
    wanted.sizes[axis] = index->shape.sizes[0];
    if (!shape_equal(&source->shape, &wanted))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: source '%s' %s must have the shape of '%s' %s but with %s along axis %u",
                          node_text(node, text), source->name, shape_text(&source->shape, first), x->name,
                          shape_text(&x->shape, second), shape_text(&index->shape, third), axis);
    inference->shapes[0] = x->shape;
    return TUFF_OK;
}

static tuff_result expand_index_add(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                    tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *sums =
        scatter_like(inputs[2], inputs[1], inputs[0], node->attributes[ADD_DIM].i, true, SCATTER_NOTHING);
    if (node->attributes[ADD_ALPHA].f != 1) sums = tuff_scale(sums, (float)node->attributes[ADD_ALPHA].f, 0);
    outputs[0] = tuff_add(inputs[0], sums);
    return graph->result;
}

static tuff_result gradient_index_add(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                      tuff_tensor **grad_inputs) {
    grad_inputs[0] = grad_outputs[0];
    if (needs >> 2 & 1) {
        grad_inputs[2] = taken(node, grad_outputs[0], true);
        if (node->attributes[ADD_ALPHA].f != 1)
            grad_inputs[2] = tuff_scale(grad_inputs[2], (float)node->attributes[ADD_ALPHA].f, 0);
    }
    return TUFF_OK;
}

static const operator operator_index_add = {
    .name = "index_add",
    .formula = "input, and alpha source[..., k, ...] added at index[k] along dim",
    .inputs = { "input", "index", "source" },
    .types = { TYPE_F32, TYPE_I32, TYPE_F32 },
    .pytorch = "torch.index_add",
    .limits = "what an index out of range names is left out",
    .attributes = index_add_attributes,
    .attribute_count = 2,
    .infer = infer_index_add,
    .gradient = gradient_index_add,
    .expand = expand_index_add,
};

tuff_tensor *tuff_index_add(tuff_tensor *x, int32_t dim, tuff_tensor *index, tuff_tensor *source, float alpha) {
    const attribute_value attributes[] = { [ADD_DIM] = { .i = dim }, [ADD_ALPHA] = { .f = alpha } };
    return apply_sums(&operator_index_add, x, index, source, attributes);
}

static const operator* const rows[] = { &embedding_lookup,     &operator_gather, &operator_index_select,
                                        &operator_scatter_add, &operator_taken,  &operator_index_add };
const operator_family family_lookup = { rows, sizeof rows / sizeof *rows };
