/* Embedding: rows of a table by their indices. torch.nn.functional.embedding. */
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/state.h"

/* ---- kernels ------------------------------------------------------------------------------------ */

enum { LANES = 64, BACKWARD_LANES = 32 };

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

/* Rows of the table that a workgroup owns. Each one walks over all indices, so there are no more of them than keep
 * the device busy. */
static int64_t rows_per_group(const lowering *lowering, int64_t rows, int64_t feature_groups) {
    int64_t groups = device_get_limits(lowering_device(lowering))->cpu ? 32 : 512;
    int64_t row_groups = groups / feature_groups > 1 ? groups / feature_groups : 1;
    return (rows + row_groups - 1) / row_groups;
}

static tuff_result lower_lookup_backward(lowering *lowering, const node *node) {
    const view *index = lowering_view(lowering, node->inputs[1]), *table = lowering_view(lowering, node->outputs[0]);
    view g = *lowering_view(lowering, node->inputs[0]), flat_index = *index;
    int64_t features = table->shape.sizes[1], rows = table->shape.sizes[0], count = view_count(index);
    flat_index.shape = TUFF_SHAPE(count);
    flat_index.strides[0] = 1;
    g.shape = TUFF_SHAPE(count, features);
    g.strides[0] = features;
    g.strides[1] = 1;
    uint32_t width = fits_vec4(lowering, features, table, &g) ? 4 : 1;
    int64_t values = features / width, feature_groups = (values + BACKWARD_LANES - 1) / BACKWARD_LANES;
    int64_t row_step = steps_that_fit(lowering, table), step = steps_that_fit(lowering, &g);
    for (int64_t r = 0; r < rows; r += row_step) {
        int64_t part_rows = smaller(row_step, rows - r), owned = rows_per_group(lowering, part_rows, feature_groups);
        view table_part = view_part(table, r, part_rows);
        for (int64_t i = 0; i < count; i += step) {
            int64_t part = smaller(step, count - i);
            view index_part = view_part(&flat_index, i, part), g_part = view_part(&g, i, part);
            uint32_t firsts[3];
            uint32_t access = i ? ACCESS_READ | ACCESS_WRITE : ACCESS_WRITE; /* the first call starts from nothing */
            kernel_call call = { .kernel = width == 4 ? KERNEL_EMBEDDING_BACKWARD_4 : KERNEL_EMBEDDING_BACKWARD_1,
                                 .operands = { lowering_operand(lowering, &index_part, ACCESS_READ, &firsts[0]),
                                               lowering_operand(lowering, &g_part, ACCESS_READ, &firsts[1]),
                                               lowering_operand(lowering, &table_part, access, &firsts[2]) },
                                 .operand_count = 3,
                                 .param_count = 9,
                                 .groups = { (uint32_t)((part_rows + owned - 1) / owned), (uint32_t)feature_groups,
                                             1 } };
            const uint32_t params[] = { (uint32_t)part,      (uint32_t)values,  (uint32_t)r,
                                        (uint32_t)part_rows, (uint32_t)owned,   firsts[0],
                                        firsts[1] / width,   firsts[2] / width, i == 0 };
            for (uint32_t p = 0; p < 9; p++) call.params[p] = params[p];
            TRY(lowering_call(lowering, &call));
        }
    }
    return TUFF_OK;
}

/* ---- rows --------------------------------------------------------------------------------------- */

static tuff_result infer_lookup(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *index = node->inputs[0], *table = node->inputs[1];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (table->shape.rank != 2 || index->shape.rank >= TUFF_MAX_RANK)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: the table '%s' %s must have rank 2, the index '%s' %s of rank %d at most",
                          node_text(node, text), table->name, shape_text(&table->shape, first), index->name,
                          shape_text(&index->shape, second), TUFF_MAX_RANK - 1);
    inference->shapes[0] = index->shape;
    inference->shapes[0].sizes[inference->shapes[0].rank++] = table->shape.sizes[1];
    return TUFF_OK;
}

static tuff_result infer_lookup_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[2]->shape;
    return TUFF_OK;
}

static const operator embedding_backward = {
    .name = "embedding_backward",
    .formula = "gtable[r] = sum of gradient[i] over index[i] = r",
    .inputs = { "grad_output", "input", "weight" },
    .types = { TYPE_F32, TYPE_I32 },
    .flags = OPERATOR_INTERNAL,
    .shape_only = 1u << 2,
    .infer = infer_lookup_backward,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_lookup_backward,
};

static tuff_result gradient_lookup(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    if (!(needs >> 1 & 1)) return TUFF_OK;
    tuff_tensor *inputs[] = { grad_outputs[0], node->inputs[0], node->inputs[1] };
    grad_inputs[1] = graph_apply(node_graph(node), &embedding_backward, inputs, 3, NULL, NULL);
    return TUFF_OK;
}

static const operator embedding_lookup = {
    .name = "embedding",
    .formula = "y[i] = table[index[i]]",
    .inputs = { "input", "weight" },
    .types = { TYPE_I32 },
    .pytorch = "torch.nn.functional.embedding",
    .infer = infer_lookup,
    .gradient = gradient_lookup,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_lookup,
};

static tuff_tensor *apply_lookup(tuff_tensor *index, tuff_tensor *table, const char *label) {
    if (!index || !table) return NULL;
    tuff_tensor *inputs[] = { index, table };
    return graph_apply(index->graph, &embedding_lookup, inputs, 2, NULL, label);
}

tuff_tensor *tuff_embedding_lookup(tuff_tensor *index, tuff_tensor *table) {
    return apply_lookup(index, table, NULL);
}

tuff_tensor *tuff_embedding(tuff_tensor *index, const tuff_embedding_desc *desc) {
    if (!index) return NULL;
    tuff_graph *graph = index->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_embedding_desc none;
    if (!desc) desc = &none;
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
    uint32_t states = tuff_model_state_count(graph->model);
    return layer_end(graph, states, apply_lookup(index, layer_state(graph, desc->name, &weight), desc->name));
}

static const operator* const rows[] = { &embedding_lookup, &embedding_backward };
const operator_family family_lookup = { rows, sizeof rows / sizeof *rows };
