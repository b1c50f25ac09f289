/* Building graphs: tensors, nodes, the first error. */
#include "runtime/graph/graph.h"

#include "runtime/graph/chain.h"
#include "runtime/graph/operator.h"
#include "runtime/model/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tuff_result graph_fail(tuff_graph *graph, tuff_result result, const char *format, ...) {
    if (graph->result == TUFF_OK) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(graph->message, sizeof graph->message, format, arguments);
        va_end(arguments);
        graph->result = result;
    }
    return error_set(graph->result, "%s", graph->message);
}

/* Keeps what a deeper call already put into the thread's message. */
static void fail_as(tuff_graph *graph, tuff_result result) {
    char message[sizeof graph->message];
    snprintf(message, sizeof message, "%s", tuff_last_message());
    graph_fail(graph, result, "%s", message);
}

static uint32_t hash_text(const char *text) { /* FNV-1a */
    uint32_t hash = 2166136261u;
    for (; *text; text++) hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

static bool grow(void **items, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity) return true;
    uint32_t wanted = *capacity ? *capacity * 2 : 32;
    void *moved = realloc(*items, wanted * size);
    if (!moved) return false;
    *items = moved;
    *capacity = wanted;
    return true;
}

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

tuff_tensor *graph_add_tensor(tuff_graph *graph, tensor_kind kind, tuff_type type, const tuff_shape *shape,
                              const char *name) {
    tuff_tensor *tensor = calloc(1, sizeof *tensor);
    char *copy = copy_text(name);
    if (!tensor || !copy
        || !grow((void **)&graph->tensors, graph->tensor_count, &graph->tensor_capacity, sizeof *graph->tensors)) {
        free(tensor);
        free(copy);
        error_out_of_host_memory(sizeof *tensor);
        fail_as(graph, TUFF_ERROR_MEMORY);
        return NULL;
    }
    *tensor = (tuff_tensor){ .graph = graph,
                             .id = graph->tensor_count,
                             .origin = UINT32_MAX,
                             .name = copy,
                             .kind = kind,
                             .type = type,
                             .shape = *shape };
    graph->tensors[graph->tensor_count++] = tensor;
    return tensor;
}

node *graph_add_node(tuff_graph *graph, const operator* op, const char *label) {
    node *added = calloc(1, sizeof *added);
    char *copy = copy_text(label);
    if (!added || !copy
        || !grow((void **)&graph->nodes, graph->node_count, &graph->node_capacity, sizeof *graph->nodes)) {
        free(added);
        free(copy);
        error_out_of_host_memory(sizeof *added);
        fail_as(graph, TUFF_ERROR_MEMORY);
        return NULL;
    }
    added->op = op;
    added->id = graph->node_count;
    added->label = copy;
    added->name_hash = hash_text(label);
    added->backward = graph->in_backward;
    added->checkpoint = graph->checkpoint;
    graph->nodes[graph->node_count++] = added;
    return added;
}

tuff_tensor *graph_copy_leaf(tuff_graph *graph, const tuff_tensor *leaf) {
    tuff_tensor *copy = leaf->kind == TENSOR_STATE
                            ? graph_add_state(graph, leaf->state)
                            : graph_add_tensor(graph, TENSOR_INPUT, leaf->type, &leaf->shape, leaf->name);
    if (copy) copy->origin = leaf->origin;
    return copy;
}

tuff_result graph_copy_chain(tuff_graph *graph, const chain *from, chain **to) {
    if (!from) return TUFF_OK;
    *to = malloc(sizeof **to);
    if (!*to) return graph_fail(graph, TUFF_ERROR_MEMORY, "out of host memory for a chain");
    **to = *from;
    return TUFF_OK;
}

node *graph_copy_node(tuff_graph *graph, const node *from, tuff_tensor *const inputs[MAX_INPUTS], const char *label) {
    node *copy = graph_add_node(graph, from->op, label);
    if (!copy) return NULL;
    copy->name_hash = from->name_hash;
    copy->domain = from->domain;
    copy->input_count = from->input_count;
    memcpy(copy->inputs, inputs, sizeof copy->inputs);
    memcpy(copy->attributes, from->attributes, sizeof copy->attributes);
    if (graph_copy_chain(graph, from->chain, &copy->chain) != TUFF_OK
        || graph_copy_chain(graph, from->prologue, &copy->prologue) != TUFF_OK)
        return NULL;
    for (uint32_t i = 0; i < from->output_count; i++) {
        const tuff_tensor *was = from->outputs[i];
        tuff_tensor *output = graph_add_tensor(graph, TENSOR_NODE, was->type, &was->shape, was->name);
        if (!output) return NULL;
        output->origin = was->origin;
        output->producer = copy;
        output->output = i;
        copy->outputs[i] = output;
        copy->output_count = i + 1;
    }
    return copy;
}

/* Takes back the newest node, which nothing refers to yet. */
static void drop_last_node(tuff_graph *graph) {
    node *last = graph->nodes[--graph->node_count];
    free(last->label);
    free(last);
}

const char *node_text(const node *node, char text[160]) {
    if (strncmp(node->label, node->op->name, strlen(node->op->name)) == 0)
        snprintf(text, 160, "%s", node->label);
    else
        snprintf(text, 160, "%s '%s'", node->op->name, node->label);
    return text;
}

tuff_result check_one_type(inference *inference) {
    const node *node = inference->node;
    for (uint32_t i = 1; i < node->input_count; i++) {
        const tuff_tensor *a = node->inputs[0], *b = node->inputs[i];
        char text[160];
        if (a->type != b->type)
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                              "%s: '%s' is %s and '%s' is %s; convert one by tuff_to", node_text(node, text), a->name,
                              type_text(a->type), b->name, type_text(b->type));
    }
    return TUFF_OK;
}

tuff_result infer_pointwise(inference *inference) {
    const node *node = inference->node;
    if (node->op->chain_op_i32) TRY(check_one_type(inference));
    if (node->op->chain_op_i32 && node->inputs[0]->type == TUFF_I32) inference->types[0] = TUFF_I32;
    tuff_shape shape = { 0 };
    for (uint32_t i = 0; i < node->input_count; i++) {
        tuff_tensor *input = node->inputs[i];
        char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
        tuff_shape wider;
        if (!shape_broadcast(&shape, &input->shape, &wider))
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                              "%s: '%s' %s and '%s' %s do not broadcast; sizes must be equal or 1, from the last axis",
                              node_text(node, text), node->inputs[0]->name, shape_text(&node->inputs[0]->shape, first),
                              input->name, shape_text(&input->shape, second));
        shape = wider;
    }
    inference->shapes[0] = shape;
    return TUFF_OK;
}

/* Checks that an inferred shape is one that Tuff can hold. */
static tuff_result check_shape(tuff_graph *graph, const char *what, const tuff_shape *shape) {
    char text[SHAPE_TEXT];
    if (shape->rank > TUFF_MAX_RANK)
        return graph_fail(graph, TUFF_ERROR_SHAPE, "%s: rank %u is more than %d", what, shape->rank, TUFF_MAX_RANK);
    int64_t count = 1;
    for (uint32_t i = 0; i < shape->rank; i++) {
        if (shape->sizes[i] < 1)
            return graph_fail(graph, TUFF_ERROR_SHAPE, "%s: shape %s has a size below 1", what,
                              shape_text(shape, text));
        /* 2^31 - 1 elements: indices in kernels are 32-bit */
        if (shape->sizes[i] > INT32_MAX || count > INT32_MAX / shape->sizes[i])
            return graph_fail(graph, TUFF_ERROR_SHAPE, "%s: shape %s has more than %d elements", what,
                              shape_text(shape, text), INT32_MAX);
        count *= shape->sizes[i];
    }
    return TUFF_OK;
}

static tuff_result check_input(tuff_graph *graph, const operator* op, uint32_t i, const tuff_tensor *input,
                               const char *label) {
    char name[64];
    operator_input_name(op, i, NULL, name);
    if (!input)
        return operator_input_optional(op, i)
                   ? TUFF_OK
                   : graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': input '%s' is NULL", op->name, label, name);
    if (input->graph != graph)
        return graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': input '%s' ('%s') belongs to another graph", op->name,
                          label, name, input->name);
    uint32_t last = operator_input_count(op) - 1, types = op->types[i < last ? i : last];
    if (!types) types = TYPE_F32;
    if (types >> input->type & 1) return TUFF_OK;
    char possible[64] = "";
    for (uint32_t type = 0; type < TUFF_TYPES; type++)
        if (types >> type & 1)
            snprintf(possible + strlen(possible), sizeof possible - strlen(possible), "%s%s", *possible ? " or " : "",
                     type_text((tuff_type)type));
    return graph_fail(graph, TUFF_ERROR_SHAPE, "%s '%s': input '%s' ('%s') is %s, it must be %s; convert it by tuff_to",
                      op->name, label, name, input->name, type_text(input->type), possible);
}

static tuff_result check_inputs(tuff_graph *graph, const operator* op, tuff_tensor *const *inputs, uint32_t count,
                                const char *label) {
    uint32_t named = operator_input_count(op);
    if (count > MAX_INPUTS || (count > named && !operator_takes_many(op)))
        return graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': %u inputs; at most %d are possible", op->name, label,
                          count, operator_takes_many(op) ? MAX_INPUTS : (int)named);
    for (uint32_t i = 0; i < named || i < count; i++)
        TRY(check_input(graph, op, i, i < count ? inputs[i] : NULL, label));
    return TUFF_OK;
}

tuff_tensor *graph_apply(tuff_graph *graph, const operator* op, tuff_tensor *const *inputs, uint32_t input_count,
                         const attribute_value *attributes, const char *label) {
    if (graph->result != TUFF_OK) return NULL;
    char automatic[96];
    if (!label && graph->scope) label = graph->scope;
    if (!label) {
        snprintf(automatic, sizeof automatic, "%s_%u", op->name, graph->node_count - graph->unnumbered);
        label = automatic;
    }
    if (check_inputs(graph, op, inputs, input_count, label) != TUFF_OK) return NULL;
    node *node = graph_add_node(graph, op, label);
    if (!node) return NULL;
    while (input_count > 0 && !inputs[input_count - 1]) input_count--;
    node->input_count = input_count;
    for (uint32_t i = 0; i < input_count; i++) node->inputs[i] = inputs[i];
    for (uint32_t i = 0; i < op->attribute_count; i++)
        node->attributes[i] = attributes ? attributes[i] : op->attributes[i].value;

    inference inference = { .graph = graph, .node = node, .output_count = 1 };
    tuff_result result = op->infer ? op->infer(&inference) : infer_pointwise(&inference);
    if (result == TUFF_OK && graph->result == TUFF_OK) {
        char text[160];
        node_text(node, text);
        for (uint32_t i = 0; i < inference.output_count && result == TUFF_OK; i++)
            result = check_shape(graph, text, &inference.shapes[i]);
    } else if (graph->result == TUFF_OK) {
        fail_as(graph, result);
    }
    if (graph->result != TUFF_OK) {
        drop_last_node(graph);
        return NULL;
    }
    for (uint32_t i = 0; i < inference.output_count; i++) {
        char name[128];
        if (inference.output_count > 1)
            snprintf(name, sizeof name, "%.100s.%u", label, i);
        else
            snprintf(name, sizeof name, "%.120s", label);
        tuff_tensor *output = graph_add_tensor(graph, TENSOR_NODE, inference.types[i], &inference.shapes[i], name);
        if (!output) return NULL; /* the node stays without this output; the graph is broken and says so */
        output->producer = node;
        output->output = i;
        node->outputs[i] = output;
        node->output_count = i + 1;
    }
    return node->outputs[0];
}

tuff_tensor *graph_add_state(tuff_graph *graph, state_entry *state) {
    if (graph->result != TUFF_OK) return NULL;
    for (uint32_t i = 0; i < graph->tensor_count; i++)
        if (graph->tensors[i]->kind == TENSOR_STATE && graph->tensors[i]->state == state) return graph->tensors[i];
    tuff_tensor *tensor = graph_add_tensor(graph, TENSOR_STATE, state->type, &state->shape, state->name);
    if (tensor) tensor->state = state;
    return tensor;
}

tuff_result graph_add_assignment(tuff_graph *graph, tuff_tensor *state, tuff_tensor *value) {
    if (graph->result != TUFF_OK) return graph->result;
    if (!grow((void **)&graph->assignments, graph->assignment_count, &graph->assignment_capacity,
              sizeof *graph->assignments)) {
        error_out_of_host_memory(sizeof *graph->assignments);
        fail_as(graph, TUFF_ERROR_MEMORY);
        return graph->result;
    }
    graph->assignments[graph->assignment_count++] = (assignment){ state, value };
    return TUFF_OK;
}

tuff_graph *graph_new(tuff_model *model) {
    tuff_graph *graph = calloc(1, sizeof *graph);
    if (!graph) {
        error_out_of_host_memory(sizeof *graph);
        return NULL;
    }
    graph->model = model;
    return graph;
}

void graph_free(tuff_graph *graph) {
    if (!graph) return;
    for (uint32_t i = 0; i < graph->tensor_count; i++) {
        free(graph->tensors[i]->name);
        free(graph->tensors[i]);
    }
    for (uint32_t i = 0; i < graph->node_count; i++) {
        free(graph->nodes[i]->label);
        free(graph->nodes[i]->chain);
        free(graph->nodes[i]->prologue);
        free(graph->nodes[i]);
    }
    free(graph->tensors);
    free(graph->nodes);
    free(graph->assignments);
    free(graph);
}

/* ---- the public part -------------------------------------------------------------------------- */

tuff_graph *tuff_graph_create(tuff_model *model) {
    if (!model) {
        error_set(TUFF_ERROR_ARGUMENT, "tuff_graph_create: model is NULL");
        return NULL;
    }
    return graph_new(model);
}

void tuff_graph_destroy(tuff_graph *graph) {
    graph_free(graph);
}

tuff_result tuff_graph_result(const tuff_graph *graph) {
    return graph ? graph->result : TUFF_ERROR_ARGUMENT;
}

const char *tuff_graph_message(const tuff_graph *graph) {
    return graph ? graph->message : "graph is NULL";
}

tuff_tensor *tuff_input(tuff_graph *graph, const char *name, tuff_type type, tuff_shape shape) {
    if (!graph) {
        error_set(TUFF_ERROR_ARGUMENT, "tuff_input: graph is NULL");
        return NULL;
    }
    if (graph->result != TUFF_OK) return NULL;
    if (!name || !*name) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_input: an input needs a name");
        return NULL;
    }
    if ((unsigned)type >= TUFF_TYPES) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_input '%s': %d is not a tuff_type", name, (int)type);
        return NULL;
    }
    for (uint32_t i = 0; i < graph->tensor_count; i++)
        if (graph->tensors[i]->kind == TENSOR_INPUT && strcmp(graph->tensors[i]->name, name) == 0) {
            graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_input: the graph already has an input '%s'", name);
            return NULL;
        }
    char what[160];
    snprintf(what, sizeof what, "tuff_input '%.100s'", name);
    if (check_shape(graph, what, &shape) != TUFF_OK) return NULL;
    return graph_add_tensor(graph, TENSOR_INPUT, type, &shape, name);
}

tuff_type tuff_tensor_type(const tuff_tensor *tensor) {
    return tensor ? tensor->type : TUFF_F32;
}

tuff_shape tuff_tensor_shape(const tuff_tensor *tensor) {
    return tensor ? tensor->shape : (tuff_shape){ 0 };
}

const char *tuff_tensor_name(const tuff_tensor *tensor) {
    return tensor ? tensor->name : "";
}

tuff_graph *tuff_tensor_graph(const tuff_tensor *tensor) {
    return tensor ? tensor->graph : NULL;
}

tuff_tensor *tuff_set_name(tuff_tensor *tensor, const char *name) {
    if (!tensor || !name || !*name || tensor->kind != TENSOR_NODE) return tensor; /* inputs and states have theirs */
    char *copy = copy_text(name);
    if (!copy) {
        error_out_of_host_memory(strlen(name) + 1);
        fail_as(tensor->graph, TUFF_ERROR_MEMORY);
        return NULL;
    }
    free(tensor->name);
    tensor->name = copy;
    return tensor;
}
