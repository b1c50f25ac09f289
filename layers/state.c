/* State and constants in graphs: parameters, buffers, assignments. */
#include "layers/state.h"

#include "layers/families.h"
#include "shaders/common/chain_ops.h"

#include <stdio.h>
#include <string.h>

/* ---- declaring ---------------------------------------------------------------------------------- */

static tuff_tensor *declare(tuff_graph *graph, const state_desc *desc) {
    if (graph->result != TUFF_OK) return NULL;
    state_entry *entry;
    tuff_result result = model_declare(graph->model, desc, &entry);
    if (result != TUFF_OK) {
        graph_fail(graph, result, "%s", tuff_last_message());
        return NULL;
    }
    return graph_add_state(graph, entry);
}

tuff_tensor *layer_state(tuff_graph *graph, const char *layer, const state_desc *desc) {
    char name[512];
    if (snprintf(name, sizeof name, "%s.%s", layer, desc->name) >= (int)sizeof name) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "the name '%.40s...' is longer than %zu characters", layer,
                   sizeof name - 32);
        return NULL;
    }
    state_desc named = *desc;
    named.name = name;
    return declare(graph, &named);
}

tuff_tensor *layer_end(tuff_graph *graph, uint32_t states, tuff_tensor *y) {
    if (graph->result == TUFF_OK) return y;
    model_forget(graph->model, states);
    return NULL;
}

tuff_init_desc init_or(const tuff_init_desc *init, tuff_init kind, float value) {
    return init->kind == TUFF_INIT_DEFAULT ? (tuff_init_desc){ kind, value } : *init;
}

bool layer_is_named(tuff_graph *graph, const char *layer_kind, const char *name) {
    if (name && *name) return true;
    graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s: desc.name is missing; its parameters are named after it", layer_kind);
    return false;
}

/* torch.nn.init._calculate_fan_in_and_fan_out; zeros below rank 2, which has none. */
static void set_fans(state_desc *desc) {
    if (desc->shape.rank < 2) return;
    int64_t receptive = 1;
    for (uint32_t i = 2; i < desc->shape.rank && i < TUFF_MAX_RANK; i++) receptive *= desc->shape.sizes[i];
    desc->fan_in = desc->shape.sizes[1] * receptive;
    desc->fan_out = desc->shape.sizes[0] * receptive;
}

static tuff_tensor *public_state(tuff_graph *graph, const char *call, const char *name, tuff_shape shape,
                                 const tuff_init_desc *init, tuff_state_kind kind) {
    if (!graph) {
        error_set(TUFF_ERROR_ARGUMENT, "%s: graph is NULL", call);
        return NULL;
    }
    state_desc desc = { .name = name, .shape = shape, .kind = kind };
    if (init) desc.init = *init;
    set_fans(&desc);
    return declare(graph, &desc);
}

tuff_tensor *tuff_parameter(tuff_graph *graph, const char *name, tuff_shape shape, const tuff_init_desc *init) {
    return public_state(graph, "tuff_parameter", name, shape, init, TUFF_STATE_PARAMETER);
}

tuff_tensor *tuff_buffer(tuff_graph *graph, const char *name, tuff_shape shape, const tuff_init_desc *init) {
    return public_state(graph, "tuff_buffer", name, shape, init, TUFF_STATE_BUFFER);
}

/* ---- assigning ---------------------------------------------------------------------------------- */

void tuff_assign(tuff_tensor *buffer, tuff_tensor *value) {
    if (!buffer || !value) {
        tuff_graph *graph = buffer ? buffer->graph : value ? value->graph : NULL;
        if (graph && graph->result == TUFF_OK)
            graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_assign: %s is NULL", buffer ? "value" : "buffer");
        return;
    }
    tuff_graph *graph = buffer->graph;
    if (graph->result != TUFF_OK) return;
    char first[SHAPE_TEXT], second[SHAPE_TEXT];
    if (value->graph != graph)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_assign: '%s' belongs to another graph than '%s'", value->name,
                   buffer->name);
    else if (buffer->kind != TENSOR_STATE || buffer->state->kind != TUFF_STATE_BUFFER)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_assign: '%s' is no buffer (tuff_buffer makes one)", buffer->name);
    else if (!shape_equal(&buffer->shape, &value->shape) || buffer->type != value->type)
        graph_fail(graph, TUFF_ERROR_SHAPE, "tuff_assign: '%s' has the shape %s, '%s' %s%s", buffer->name,
                   shape_text(&buffer->shape, first), value->name, shape_text(&value->shape, second),
                   buffer->type != value->type ? " and another type" : "");
    if (graph->result != TUFF_OK) return;
    for (uint32_t i = 0; i < graph->assignment_count; i++)
        if (graph->assignments[i].state == buffer) {
            graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_assign: '%s' is assigned twice ('%s' and '%s')", buffer->name,
                       graph->assignments[i].value->name, value->name);
            return;
        }
    graph_add_assignment(graph, buffer, value);
}

/* ---- constants ---------------------------------------------------------------------------------- */

enum { CONSTANT_VALUE, CONSTANT_SHAPE };

static const attribute constant_attributes[] = {
    [CONSTANT_VALUE] = { .name = "fill_value", .type = ATTRIBUTE_FLOAT },
    [CONSTANT_SHAPE] = { .name = "size", .type = ATTRIBUTE_INTS },
};

static tuff_result infer_constant(inference *inference) {
    const attribute_value *shape = &inference->node->attributes[CONSTANT_SHAPE];
    inference->shapes[0].rank = (uint32_t)shape->i;
    for (int64_t i = 0; i < shape->i; i++) inference->shapes[0].sizes[i] = shape->list[i];
    return TUFF_OK;
}

/* A chain without inputs: what reads it takes the number into its own chain. */
static const operator constant = {
    .name = "constant",
    .flags = OPERATOR_INTERNAL,
    .formula = "y = fill_value",
    .attributes = constant_attributes,
    .attribute_count = 2,
    .chain_op = CHAIN_COPY,
    .infer = infer_constant,
};

tuff_tensor *tuff_constant(tuff_graph *graph, float value, tuff_shape shape) {
    if (!graph) {
        error_set(TUFF_ERROR_ARGUMENT, "tuff_constant: graph is NULL");
        return NULL;
    }
    attribute_value attributes[2] = { 0 };
    if (shape.rank > TUFF_MAX_RANK) {
        graph_fail(graph, TUFF_ERROR_SHAPE, "tuff_constant: rank %u is more than %d", shape.rank, TUFF_MAX_RANK);
        return NULL;
    }
    attributes[CONSTANT_VALUE].f = value;
    attributes[CONSTANT_SHAPE].i = shape.rank;
    memcpy(attributes[CONSTANT_SHAPE].list, shape.sizes, shape.rank * sizeof *shape.sizes);
    return graph_apply(graph, &constant, NULL, 0, attributes, NULL);
}

static const operator* const rows[] = { &constant };
const operator_family family_state = { rows, sizeof rows / sizeof *rows };
