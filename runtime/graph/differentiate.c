/* Reverse mode: appends to a graph the gradients of a scalar.
 *
 * From the scalar back to the tensors asked for, each node's row builds its inputs' gradients from its outputs'. Only
 * nodes that lie on a path to a wanted tensor are visited, and a row is told which inputs are wanted, so nothing is
 * built that nobody needs. A tensor used more than once sums what arrives. A node whose result does not
 * change with its inputs (a comparison, an argmax) ends its paths: it acts as a detach. One whose gradient is not
 * written, as of most backward kernels, is an error on a path, or a part of the gradient would be missing silently. */
#include "runtime/graph/operator.h"

#include <tuff/layers.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct differentiation {
    tuff_graph *graph;
    /* by tensor id, for the tensors that were there before, and those that composites were taken apart into */
    bool *marks;           /* a wanted tensor can be reached by going on to its producer */
    tuff_tensor **arrived; /* its gradient so far */
    uint32_t capacity;
} differentiation;

static tuff_result reserve(differentiation *d, uint32_t count) {
    if (count <= d->capacity) return TUFF_OK;
    uint32_t capacity = count * 2;
    bool *marks = realloc(d->marks, capacity * sizeof *marks);
    if (marks) d->marks = marks;
    tuff_tensor **arrived = realloc(d->arrived, capacity * sizeof *arrived);
    if (arrived) d->arrived = arrived;
    if (!marks || !arrived) return error_out_of_host_memory(capacity * sizeof *arrived);
    memset(marks + d->capacity, 0, (capacity - d->capacity) * sizeof *marks);
    memset(arrived + d->capacity, 0, (capacity - d->capacity) * sizeof(tuff_tensor *));
    d->capacity = capacity;
    return TUFF_OK;
}

/* Which inputs of a node somebody wants the gradients of, a bit each. */
static uint32_t needs_of(const differentiation *d, const node *node) {
    uint32_t needs = 0;
    if (node->op->flags & OPERATOR_DETACH) return 0;
    for (uint32_t i = 0; i < node->input_count; i++)
        if (node->inputs[i] && !(node->op->shape_only >> i & 1) && d->marks[node->inputs[i]->id]) needs |= 1u << i;
    return needs;
}

static void mark_wanted(differentiation *d, uint32_t first, uint32_t end) {
    for (uint32_t n = first; n < end; n++) {
        const node *node = d->graph->nodes[n];
        bool reaches = needs_of(d, node) != 0;
        for (uint32_t i = 0; i < node->output_count; i++)
            if (reaches && node->outputs[i]->type == TUFF_F32) d->marks[node->outputs[i]->id] = true;
    }
}

static tuff_result arrive(differentiation *d, const tuff_tensor *at, tuff_tensor *gradient) {
    tuff_tensor **sum = &d->arrived[at->id];
    *sum = *sum ? tuff_add(*sum, gradient) : gradient;
    return d->graph->result;
}

static tuff_result visit(differentiation *d, const node *node);

/* A composite without a gradient of its own: its parts are built a second time, beside it, and differentiated. (When
 * the graph is compiled the composite itself is taken apart, too, and equal parts become one.) */
static tuff_result visit_parts(differentiation *d, const node *node, tuff_tensor *const *arriving) {
    tuff_graph *graph = d->graph;
    tuff_tensor *inputs[MAX_INPUTS] = { NULL }, *outputs[MAX_OUTPUTS] = { NULL };
    memcpy(inputs, node->inputs, sizeof inputs);
    uint32_t first = graph->node_count;
    graph->in_backward = false;
    graph->scope = node->label;
    tuff_result result = node->op->expand(graph, node, inputs, true, outputs);
    graph->scope = NULL;
    graph->in_backward = true;
    TRY(result);
    TRY(graph->result);
    uint32_t end = graph->node_count;
    TRY(reserve(d, graph->tensor_count));
    mark_wanted(d, first, end);
    for (uint32_t i = 0; i < node->output_count; i++)
        if (arriving[i] && d->marks[outputs[i]->id]) TRY(arrive(d, outputs[i], arriving[i]));
    for (uint32_t n = end; n-- > first;) TRY(visit(d, graph->nodes[n]));
    return TUFF_OK;
}

static tuff_result visit_gradient(differentiation *d, const node *node, tuff_tensor *const *arriving, uint32_t needs) {
    tuff_graph *graph = d->graph;
    char text[160], scope[160];
    snprintf(scope, sizeof scope, "grad %.140s", node->label);
    graph->scope = scope;
    tuff_tensor *built[MAX_INPUTS] = { NULL };
    tuff_result result = node->op->gradient(node, arriving, needs, built);
    if (result == TUFF_OK) result = graph->result;
    for (uint32_t i = 0; result == TUFF_OK && i < node->input_count; i++) {
        if (!built[i] || !(needs >> i & 1)) continue;
        const tuff_tensor *input = node->inputs[i];
        char given[SHAPE_TEXT], expected[SHAPE_TEXT];
        if (shape_equal(&built[i]->shape, &input->shape))
            result = arrive(d, input, built[i]);
        else
            result = graph_fail(graph, TUFF_ERROR_SHAPE,
                                "%s: its row built a gradient of shape %s for '%s' of shape %s: a bug in the row",
                                node_text(node, text), shape_text(&built[i]->shape, given), input->name,
                                shape_text(&input->shape, expected));
    }
    graph->scope = NULL;
    return result;
}

static tuff_result visit(differentiation *d, const node *node) {
    tuff_tensor *arriving[MAX_OUTPUTS] = { NULL };
    bool any = false;
    for (uint32_t i = 0; i < node->output_count; i++) {
        arriving[i] = d->arrived[node->outputs[i]->id];
        any |= arriving[i] != NULL;
    }
    uint32_t needs = needs_of(d, node);
    char text[160];
    if (!any || !needs) return TUFF_OK;
    if (node->op->gradient) return visit_gradient(d, node, arriving, needs);
    if (node->op->expand) return visit_parts(d, node, arriving);
    return graph_fail(d->graph, TUFF_ERROR_UNSUPPORTED,
                      node->op->flags & OPERATOR_INTERNAL
                          ? "%s has no gradient: the operator that it is a part of has no second derivative"
                          : "%s has no gradient",
                      node_text(node, text));
}

tuff_result graph_differentiate(tuff_graph *graph, tuff_tensor *of, tuff_tensor *const *with_respect_to, uint32_t count,
                                tuff_tensor **gradients) {
    TRY(graph->result);
    differentiation d = { .graph = graph };
    tuff_result result = reserve(&d, graph->tensor_count);
    if (result == TUFF_OK) {
        for (uint32_t i = 0; i < count; i++) d.marks[with_respect_to[i]->id] = true;
        mark_wanted(&d, 0, graph->node_count);
        graph->in_backward = true;
        graph->scope = "grad";
        if (d.marks[of->id]) d.arrived[of->id] = tuff_constant(graph, 1.0f, of->shape);
        graph->scope = NULL;
        /* only nodes that were there: what is appended on the way is the gradients themselves */
        for (uint32_t n = of->producer ? of->producer->id + 1 : 0; n-- > 0 && result == TUFF_OK;)
            result = visit(&d, graph->nodes[n]);
        graph->in_backward = false;
        if (result == TUFF_OK) result = graph->result;
        for (uint32_t i = 0; i < count; i++)
            gradients[i] = result == TUFF_OK ? d.arrived[with_respect_to[i]->id] : NULL;
    }
    free(d.marks);
    free(d.arrived);
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
    for (uint32_t i = 0; gradients && i < count; i++) gradients[i] = NULL;
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
