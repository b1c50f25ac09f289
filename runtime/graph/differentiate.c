/* Reverse mode: appends to a graph the gradients of a scalar.
 *
 * From the scalar back to the tensors asked for, each node's row builds its inputs' gradients from its outputs'. Only
 * nodes that lie on a path to a wanted tensor are visited, and a row is told which inputs are wanted, so nothing is
 * built that nobody needs. A tensor used more than once sums what arrives. A node without a gradient (a comparison, an
 * argmax) ends its paths: it acts as a detach. */
#include "runtime/graph/operator.h"

#include <tuff/layers.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Marks, for each tensor that was there before, whether a wanted tensor can be reached by going on to its producer. */
static void mark_wanted(const tuff_graph *graph, tuff_tensor *const *wanted, uint32_t count, bool *marks) {
    for (uint32_t i = 0; i < count; i++) marks[wanted[i]->id] = true;
    for (uint32_t n = 0; n < graph->node_count; n++) {
        const node *node = graph->nodes[n];
        if (node->op->flags & OPERATOR_DETACH) continue;
        bool reaches = false;
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] && !(node->op->shape_only >> i & 1) && marks[node->inputs[i]->id]) reaches = true;
        for (uint32_t i = 0; i < node->output_count; i++)
            if (reaches && node->outputs[i]->type == TUFF_F32) marks[node->outputs[i]->id] = true;
    }
}

static tuff_result visit(tuff_graph *graph, const node *node, const bool *marks, tuff_tensor **gradients) {
    tuff_tensor *arriving[MAX_OUTPUTS] = { NULL };
    bool any = false;
    for (uint32_t i = 0; i < node->output_count; i++) {
        arriving[i] = gradients[node->outputs[i]->id];
        any |= arriving[i] != NULL;
    }
    uint32_t needs = 0;
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !(node->op->shape_only >> i & 1) && marks[node->inputs[i]->id]) needs |= 1u << i;
    if (!any || !needs || node->op->flags & OPERATOR_DETACH) return TUFF_OK;

    char text[160], scope[160];
    if (!node->op->gradient)
        return graph_fail(graph, TUFF_ERROR_UNSUPPORTED,
                          "%s has no gradient of its own; compile with .minimize, which differentiates its parts",
                          node_text(node, text));
    snprintf(scope, sizeof scope, "grad %.140s", node->label);
    graph->scope = scope;
    tuff_tensor *built[MAX_INPUTS] = { NULL };
    tuff_result result = node->op->gradient(node, arriving, needs, built);
    if (result == TUFF_OK) result = graph->result;
    for (uint32_t i = 0; result == TUFF_OK && i < node->input_count; i++) {
        if (!built[i] || !(needs >> i & 1)) continue;
        const tuff_tensor *input = node->inputs[i];
        char given[SHAPE_TEXT], expected[SHAPE_TEXT];
        if (!shape_equal(&built[i]->shape, &input->shape))
            result = graph_fail(graph, TUFF_ERROR_SHAPE,
                                "%s: its row built a gradient of shape %s for '%s' of shape %s: a bug in the row",
                                node_text(node, text), shape_text(&built[i]->shape, given), input->name,
                                shape_text(&input->shape, expected));
        else if (!gradients[input->id])
            gradients[input->id] = built[i];
        else
            gradients[input->id] = tuff_add(gradients[input->id], built[i]);
        if (graph->result != TUFF_OK) result = graph->result;
    }
    graph->scope = NULL;
    return result;
}

tuff_result graph_differentiate(tuff_graph *graph, tuff_tensor *of, tuff_tensor *const *with_respect_to, uint32_t count,
                                tuff_tensor **gradients) {
    TRY(graph->result);
    uint32_t tensor_count = graph->tensor_count;
    bool *marks = calloc(tensor_count, sizeof *marks);
    tuff_tensor **arrived = calloc(tensor_count, sizeof *arrived);
    tuff_result result = TUFF_OK;
    if (!marks || !arrived) {
        result = error_out_of_host_memory(tensor_count * sizeof *arrived);
    } else {
        mark_wanted(graph, with_respect_to, count, marks);
        graph->in_backward = true;
        graph->scope = "grad";
        if (marks[of->id]) arrived[of->id] = tuff_constant(graph, 1.0f, of->shape);
        graph->scope = NULL;
        /* only nodes that were there: what is appended on the way is the gradients themselves */
        for (uint32_t n = of->producer ? of->producer->id + 1 : 0; n-- > 0 && result == TUFF_OK;)
            result = visit(graph, graph->nodes[n], marks, arrived);
        graph->in_backward = false;
        if (result == TUFF_OK) result = graph->result;
        for (uint32_t i = 0; i < count; i++) gradients[i] = result == TUFF_OK ? arrived[with_respect_to[i]->id] : NULL;
    }
    free(marks);
    free(arrived);
    return result;
}

/* Names the operators at which every path from `of` towards `wanted` ends. */
static void list_cuts(const tuff_graph *graph, const tuff_tensor *of, char *text, size_t size) {
    bool *seen = calloc(graph->node_count + 1, sizeof *seen);
    size_t used = 0;
    text[0] = 0;
    if (!seen) return;
    if (of->producer) seen[of->producer->id] = true;
    for (uint32_t n = graph->node_count; n-- > 0;) {
        const node *node = graph->nodes[n];
        if (!seen[n]) continue;
        char name[160];
        if (node->op->flags & OPERATOR_DETACH) {
            if (used < size)
                used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", node_text(node, name));
            continue;
        }
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] && node->inputs[i]->producer) seen[node->inputs[i]->producer->id] = true;
    }
    free(seen);
}

tuff_result tuff_gradients(tuff_tensor *of, tuff_tensor *const *with_respect_to, uint32_t count,
                           tuff_tensor **gradients) {
    if (!of || (count && (!with_respect_to || !gradients)))
        return of && of->graph->result != TUFF_OK
                   ? of->graph->result
                   : error_set(TUFF_ERROR_ARGUMENT, "tuff_gradients: an argument is NULL");
    tuff_graph *graph = of->graph;
    TRY(graph->result);
    char text[SHAPE_TEXT];
    if (of->type != TUFF_F32 || tuff_shape_count(&of->shape) != 1)
        return graph_fail(graph, TUFF_ERROR_SHAPE,
                          "tuff_gradients: '%s' %s is not a float scalar; reduce it by tuff_sum or tuff_mean", of->name,
                          shape_text(&of->shape, text));
    for (uint32_t i = 0; i < count; i++) {
        if (!with_respect_to[i] || with_respect_to[i]->graph != graph)
            return graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_gradients: tensor %u %s", i,
                              with_respect_to[i] ? "belongs to another graph" : "is NULL");
        if (with_respect_to[i]->type != TUFF_F32)
            return graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_gradients: '%s' holds integers, which have no gradient",
                              with_respect_to[i]->name);
    }
    TRY(graph_differentiate(graph, of, with_respect_to, count, gradients));
    for (uint32_t i = 0; i < count; i++)
        if (!gradients[i]) {
            char cuts[512];
            list_cuts(graph, of, cuts, sizeof cuts);
            return graph_fail(graph, TUFF_ERROR_ARGUMENT,
                              "tuff_gradients: no path with a gradient leads from '%s' to '%s'%s%s", of->name,
                              with_respect_to[i]->name, cuts[0] ? "; paths end at " : "", cuts);
        }
    return TUFF_OK;
}
