/* Layout: walks the fused graph and decides where each tensor lies.
 *
 * Kernels state what they want of an input (operator.h, enum layout); where it lies otherwise a copy is added, once for
 * each tensor and layout. Convolutions and pools leave their results channels-last, and pointwise chains follow
 * their inputs, so a convolution network stays channels-last from end to end. Gradients of parameters are placed into
 * the flat block at their parameter's offset and in its order; outputs into their slots, row-major as the host expects.
 */
#include "runtime/program/layout.h"

#include "runtime/graph/chain.h"
#include "runtime/graph/fuse.h"
#include "runtime/model/model.h"
#include "runtime/program/lowering.h"
#include "runtime/program/view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct copied {
    uint32_t tensor; /* id in the new graph */
    layout layout;
    tuff_tensor *copy;
} copied;

/* Where a tensor is to lie in the flat block of gradients. */
typedef struct wish {
    state_entry *state; /* the parameter whose gradient this is, or, seen through reshapes, becomes; NULL */
    int64_t strides[TUFF_MAX_RANK];
} wish;

typedef struct laying {
    laid_out *out;
    tuff_tensor **map; /* by id in the fused graph */
    copied *copies;
    uint32_t copy_count, copy_capacity;
    wish *wanted; /* by id in the fused graph */
} laying;

static place *place_of(laying *l, const tuff_tensor *tensor) {
    return &l->out->places[tensor->id];
}

/* The new tensor's place, its own memory, row-major, until said otherwise. */
static tuff_result add_place(laying *l, const tuff_tensor *tensor) {
    laid_out *out = l->out;
    if (tensor->id >= out->place_capacity) {
        uint32_t capacity = tensor->id + 64 + out->place_capacity;
        place *moved = realloc(out->places, capacity * sizeof *moved);
        if (!moved) return error_out_of_host_memory(capacity * sizeof *moved);
        out->places = moved;
        out->place_capacity = capacity;
    }
    while (out->place_count <= tensor->id) out->places[out->place_count++] = (place){ .root = UINT32_MAX };
    place *place = &out->places[tensor->id];
    place->root = tensor->id;
    place->view.shape = tensor->shape;
    place->view.type = tensor->type;
    strides_for(&tensor->shape, LAYOUT_ROW_MAJOR, place->view.strides);
    return TUFF_OK;
}

static void place_at_state(place *place, place_kind kind, state_entry *state) {
    place->kind = kind;
    place->state = state;
    memcpy(place->view.strides, state->strides, sizeof place->view.strides);
}

/* A node that copies `from`; the caller says where the copy lies. */
static tuff_tensor *add_copy(laying *l, tuff_tensor *from, const char *label) {
    tuff_graph *graph = l->out->graph;
    graph->in_backward = from->producer ? from->producer->backward : false;
    node *node = graph_add_node(graph, &operator_chain, label);
    if (!node) return NULL;
    node->chain = calloc(1, sizeof *node->chain);
    tuff_tensor *copy = graph_add_tensor(graph, TENSOR_NODE, from->type, &from->shape, from->name);
    if (!node->chain || !copy) {
        graph_fail(graph, TUFF_ERROR_MEMORY, "out of host memory for a copy of '%s'", from->name);
        return NULL;
    }
    *node->chain = (chain){ .steps = { { .op = CHAIN_COPY } },
                            .step_count = 1,
                            .input_count = 1,
                            .outputs = { CHAIN_STEP },
                            .output_count = 1 };
    node->inputs[0] = from;
    node->input_count = 1;
    node->domain = from->shape;
    node->outputs[0] = copy;
    node->output_count = 1;
    copy->producer = node;
    l->out->copies++;
    if (add_place(l, copy) != TUFF_OK) return NULL;
    return copy;
}

static tuff_tensor *in_layout(laying *l, tuff_tensor *tensor, layout wanted) {
    if (view_has_layout(&place_of(l, tensor)->view, wanted)) return tensor;
    if (wanted == LAYOUT_MATRIX) wanted = LAYOUT_ROW_MAJOR;
    for (uint32_t i = 0; i < l->copy_count; i++)
        if (l->copies[i].tensor == tensor->id && l->copies[i].layout == wanted) return l->copies[i].copy;
    if (l->copy_count == l->copy_capacity) {
        uint32_t capacity = l->copy_capacity ? l->copy_capacity * 2 : 16;
        copied *moved = realloc(l->copies, capacity * sizeof *moved);
        if (!moved) {
            error_out_of_host_memory(capacity * sizeof *moved);
            return NULL;
        }
        l->copies = moved;
        l->copy_capacity = capacity;
    }
    char label[128];
    snprintf(label, sizeof label, "layout %.100s", tensor->name);
    tuff_tensor *copy = add_copy(l, tensor, label);
    if (!copy) return NULL;
    strides_for(&copy->shape, wanted, place_of(l, copy)->view.strides);
    l->copies[l->copy_count++] = (copied){ tensor->id, wanted, copy };
    return copy;
}

/* Strides of a result that may lie as it likes: those of an input of the same shape, the channels-last one first. */
static void follow_inputs(laying *l, const node *node, view *output) {
    const view *best = NULL;
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (!node_reads(node, i)) continue;
        const view *input = &place_of(l, node->inputs[i])->view;
        if (!shape_equal(&input->shape, &output->shape) || !view_is_dense(input)) continue;
        if (!best || (view_is_channels_last(input) && !view_is_channels_last(best))) best = input;
    }
    if (best) memcpy(output->strides, best->strides, sizeof output->strides);
}

static bool is_channels_last(laying *l, const node *node) {
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node_reads(node, i) && view_is_channels_last(&place_of(l, node->inputs[i])->view)
            && !view_is_row_major(&place_of(l, node->inputs[i])->view))
            return true;
    return false;
}

static tuff_result lay_node(laying *l, const node *old) {
    tuff_graph *graph = l->out->graph;
    graph->in_backward = old->backward;
    tuff_tensor *inputs[MAX_INPUTS] = { NULL };
    for (uint32_t i = 0; i < old->input_count; i++) {
        if (!old->inputs[i]) continue;
        tuff_tensor *input = l->map[old->inputs[i]->id];
        if (!node_reads(old, i)) {
            if (!input) { /* a shape of which nobody has the values */
                input = graph_add_tensor(graph, TENSOR_NODE, old->inputs[i]->type, &old->inputs[i]->shape,
                                         old->inputs[i]->name);
                if (!input) return graph->result;
                TRY(add_place(l, input));
            }
        } else {
            bool own = !old->prologue && old->op->inputs[i];
            input = in_layout(l, input, own ? old->op->input_layouts[i] : LAYOUT_ANY);
            if (!input) return graph->result != TUFF_OK ? graph->result : TUFF_ERROR_MEMORY;
        }
        inputs[i] = input;
    }
    graph->in_backward = old->backward;
    node *node = graph_copy_node(graph, old, inputs, old->label);
    if (!node) return graph->result;
    for (uint32_t i = 0; i < node->output_count; i++) {
        TRY(add_place(l, node->outputs[i]));
        l->map[old->outputs[i]->id] = node->outputs[i];
    }
    if (node->op->look) {
        place *output = place_of(l, node->outputs[0]);
        if (!node->op->look(node, &place_of(l, node->inputs[0])->view, &output->view)) {
            tuff_tensor *copy = in_layout(l, node->inputs[0], LAYOUT_ROW_MAJOR);
            if (!copy) return graph->result != TUFF_OK ? graph->result : TUFF_ERROR_MEMORY;
            /* the copy's node stands behind this one; a view runs nothing, so the order does not matter to it */
            node->inputs[0] = copy;
            output = place_of(l, node->outputs[0]);
            if (!node->op->look(node, &place_of(l, copy)->view, &output->view))
                return graph_fail(graph, TUFF_ERROR_UNSUPPORTED,
                                  "%s cannot look at a row-major tensor: a bug in its row", node->label);
        }
        const place *input = place_of(l, node->inputs[0]);
        output->root = input->root;
        output->kind = input->kind;
        output->state = input->state;
        return TUFF_OK;
    }
    if (node->op->flags & OPERATOR_IN_PLACE) {
        const place *input = place_of(l, node->inputs[0]);
        place *output = place_of(l, node->outputs[0]);
        output->root = input->root;
        output->kind = input->kind;
        output->state = input->state;
        output->view = input->view;
        return TUFF_OK;
    }
    for (uint32_t i = 0; i < node->output_count; i++) {
        place *output = place_of(l, node->outputs[i]);
        layout wanted = node->op->output_layout;
        if (node->op->flags & OPERATOR_FOLLOWS && is_channels_last(l, node)) wanted = LAYOUT_CHANNELS_LAST;
        if (node->op == &operator_chain)
            follow_inputs(l, node, &output->view);
        else
            strides_for(&output->view.shape, wanted, output->view.strides);
        /* straight into the flat block, where the kernel leaves it in the parameter's own order */
        const wish *wish = &l->wanted[old->outputs[i]->id];
        bool free_strides = node->op->output_layout == LAYOUT_ANY;
        if (wish->state && (free_strides || strides_equal(&output->view.shape, output->view.strides, wish->strides))) {
            place_at_state(output, PLACE_GRADIENT, wish->state);
            memcpy(output->view.strides, wish->strides, sizeof output->view.strides);
        }
    }
    /* all outputs of a chain are written in one order of iteration; the others follow the first */
    return TUFF_OK;
}

static tuff_result lay_leaf(laying *l, const tuff_tensor *leaf) {
    tuff_graph *graph = l->out->graph;
    tuff_tensor *copy = graph_copy_leaf(graph, leaf);
    if (!copy) return graph->result;
    TRY(add_place(l, copy));
    place *place = place_of(l, copy);
    if (leaf->kind == TENSOR_STATE)
        place_at_state(place, PLACE_STATE, leaf->state);
    else
        place->kind = PLACE_INPUT;
    l->map[leaf->id] = copy;
    return TUFF_OK;
}

/* A gradient that is another tensor reshaped (a bias's, a sum that kept its axes): that one is to lie in the block. */
static void wish_through_views(laying *l, const tuff_tensor *tensor, state_entry *state) {
    int64_t strides[TUFF_MAX_RANK];
    memcpy(strides, state->strides, sizeof strides);
    while (!l->wanted[tensor->id].state) {
        wish *wish = &l->wanted[tensor->id];
        wish->state = state;
        memcpy(wish->strides, strides, sizeof wish->strides);
        const node *node = tensor->producer;
        if (!node || !node->op->look) return;
        /* seen through it, a row-major tensor must lie as is wished */
        const tuff_tensor *input = node->inputs[0];
        view from = { .shape = input->shape, .type = input->type }, to = { .shape = tensor->shape };
        strides_for(&input->shape, LAYOUT_ROW_MAJOR, from.strides);
        if (view_count(&from) != view_count(&to) || !node->op->look(node, &from, &to)
            || !strides_equal(&tensor->shape, to.strides, strides))
            return;
        memcpy(strides, from.strides, sizeof strides);
        tensor = input;
    }
}

static tuff_result lay_gradient(laying *l, tuff_tensor *old, state_entry *state, tuff_tensor **gradient) {
    tuff_tensor *tensor = l->map[old->id];
    place *place = place_of(l, tensor);
    if (place->kind != PLACE_GRADIENT || place->state != state || place->view.offset != 0
        || !strides_equal(&tensor->shape, place->view.strides, state->strides)) {
        char label[128];
        snprintf(label, sizeof label, "gradient of %.100s", state->name);
        l->out->graph->in_backward = true;
        tensor = add_copy(l, tensor, label);
        if (!tensor) return TUFF_ERROR_MEMORY;
        tensor->producer->backward = true;
        place_at_state(place_of(l, tensor), PLACE_GRADIENT, state);
    }
    *gradient = tensor;
    return TUFF_OK;
}

static tuff_result lay_output(laying *l, tuff_tensor *old, uint32_t index, tuff_tensor **output) {
    tuff_tensor *tensor = l->map[old->id];
    place *place = place_of(l, tensor);
    if (place->kind != PLACE_OWN || place->root != tensor->id || !view_is_row_major(&place->view)) {
        char label[128];
        snprintf(label, sizeof label, "output %.100s", tensor->name);
        tensor = add_copy(l, tensor, label);
        if (!tensor) return TUFF_ERROR_MEMORY;
    }
    place = place_of(l, tensor);
    place->kind = PLACE_OUTPUT;
    place->output = index;
    *output = tensor;
    return TUFF_OK;
}

/* The new value is copied in at the very end, after the last reader of the old one. */
static tuff_result lay_assignment(laying *l, const assignment *assignment) {
    tuff_tensor *value = l->map[assignment->value->id];
    char label[128];
    snprintf(label, sizeof label, "assign %.100s", assignment->state->name);
    tuff_tensor *copy = add_copy(l, value, label);
    if (!copy) return TUFF_ERROR_MEMORY;
    place_at_state(place_of(l, copy), PLACE_STATE, assignment->state->state);
    return TUFF_OK;
}

tuff_result graph_layout(const tuff_graph *from, tuff_tensor *const *outputs, uint32_t output_count,
                         tuff_tensor *const *gradients, state_entry *const *states, uint32_t gradient_count,
                         laid_out *out) {
    *out = (laid_out){ .graph = graph_new(from->model),
                       .gradients = calloc(gradient_count + 1, sizeof *out->gradients),
                       .outputs = calloc(output_count + 1, sizeof *out->outputs) };
    laying l = { .out = out,
                 .map = calloc(from->tensor_count + 1, sizeof *l.map),
                 .wanted = calloc(from->tensor_count + 1, sizeof *l.wanted) };
    tuff_result result = TUFF_OK;
    if (!out->graph || !out->gradients || !out->outputs || !l.map || !l.wanted)
        result = error_out_of_host_memory(from->tensor_count * sizeof *l.map);
    for (uint32_t i = 0; i < gradient_count && result == TUFF_OK; i++) wish_through_views(&l, gradients[i], states[i]);
    for (uint32_t t = 0; t < from->tensor_count && result == TUFF_OK; t++)
        if (from->tensors[t]->kind != TENSOR_NODE) result = lay_leaf(&l, from->tensors[t]);
    for (uint32_t n = 0; n < from->node_count && result == TUFF_OK; n++) result = lay_node(&l, from->nodes[n]);
    for (uint32_t i = 0; i < gradient_count && result == TUFF_OK; i++)
        result = lay_gradient(&l, gradients[i], states[i], &out->gradients[i]);
    for (uint32_t i = 0; i < output_count && result == TUFF_OK; i++)
        result = lay_output(&l, outputs[i], i, &out->outputs[i]);
    for (uint32_t i = 0; i < from->assignment_count && result == TUFF_OK; i++)
        result = lay_assignment(&l, &from->assignments[i]);
    if (result != TUFF_OK && out->graph && out->graph->result != TUFF_OK) result = out->graph->result;
    free(l.map);
    free(l.wanted);
    free(l.copies);
    if (result != TUFF_OK) laid_out_free(out);
    return result;
}

void laid_out_free(laid_out *laid_out) {
    graph_free(laid_out->graph);
    free(laid_out->places);
    free(laid_out->gradients);
    free(laid_out->outputs);
    memset(laid_out, 0, sizeof *laid_out);
}

void layout_dump(const laid_out *laid_out, FILE *file) {
    static const char *const kinds[] = { "own", "input", "output", "state", "gradient" };
    for (uint32_t t = 0; t < laid_out->graph->tensor_count; t++) {
        const tuff_tensor *tensor = laid_out->graph->tensors[t];
        const place *place = &laid_out->places[t];
        char text[SHAPE_TEXT];
        fprintf(file, "%%%u '%s' %s %s", t, tensor->name, shape_text(&tensor->shape, text), kinds[place->kind]);
        if (place->root != t) fprintf(file, " of %%%u", place->root);
        fprintf(file, " strides [");
        for (uint32_t i = 0; i < tensor->shape.rank; i++)
            fprintf(file, "%s%" PRId64, i ? ", " : "", place->view.strides[i]);
        fprintf(file, "]\n");
    }
}
