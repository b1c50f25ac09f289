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
    uint32_t *left; /* of the nodes that were there before: inputs left without a gradient, a bit each; may be NULL */
    uint32_t left_count;
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
    graph->checkpoint = node->checkpoint;
    graph->scope = node->label;
    tuff_result result = node->op->expand(graph, node, inputs, true, outputs);
    graph->scope = NULL;
    graph->checkpoint = 0;
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
        if (!(needs >> i & 1)) continue;
        if (!built[i] && d->left && node->id < d->left_count) d->left[node->id] |= 1u << i;
        if (!built[i]) continue;
        const tuff_tensor *input = node->inputs[i];
        char given[SHAPE_TEXT], expected[SHAPE_TEXT];
        if (shape_equal(&built[i]->shape, &input->shape))
            result = arrive(d, input, built[i]);
        else
            result = graph_fail(graph, TUFF_ERROR_SHAPE,
                                "%s: its gradient function built one of shape %s for the input '%s' of shape %s; a "
                                "gradient has its input's shape",
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

static tuff_result differentiate(tuff_graph *graph, tuff_tensor *of, tuff_tensor *const *with_respect_to,
                                 uint32_t count, tuff_tensor **gradients, uint32_t *left) {
    TRY(graph->result);
    differentiation d = { .graph = graph, .left = left, .left_count = graph->node_count };
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

tuff_result graph_differentiate(tuff_graph *graph, tuff_tensor *of, tuff_tensor *const *with_respect_to, uint32_t count,
                                tuff_tensor **gradients) {
    return differentiate(graph, of, with_respect_to, count, gradients, NULL);
}

/* ---- for the user ------------------------------------------------------------------------------- */

enum { REACHES = 1, SEEN = 2 }; /* of nodes: `wanted` lies before it, a gradient gets from `of` to it */

static bool leads_to(const tuff_tensor *tensor, const tuff_tensor *wanted, const uint8_t *marks) {
    return tensor && (tensor == wanted || (tensor->producer && (marks[tensor->producer->id] & REACHES)));
}

/* Names the operators at which every path from `of` towards `wanted` ends: those without a gradient, and those whose
 * gradient left the inputs out that lead there. */
static void list_cuts(const tuff_graph *graph, const tuff_tensor *of, const tuff_tensor *wanted, const uint32_t *left,
                      uint32_t left_count, char *text, size_t size) {
    uint8_t *marks = calloc(graph->node_count + 1, sizeof *marks);
    size_t used = 0;
    text[0] = 0;
    if (!marks) return;
    for (uint32_t n = 0; n < graph->node_count; n++)
        for (uint32_t i = 0; i < graph->nodes[n]->input_count; i++)
            if (leads_to(graph->nodes[n]->inputs[i], wanted, marks)) marks[n] |= REACHES;
    if (of->producer) marks[of->producer->id] |= SEEN;
    for (uint32_t n = graph->node_count; n-- > 0;) {
        const node *node = graph->nodes[n];
        if (marks[n] != (REACHES | SEEN)) continue;
        bool ends = false;
        for (uint32_t i = 0; i < node->input_count; i++) {
            const tuff_tensor *input = node->inputs[i];
            if (!leads_to(input, wanted, marks)) continue;
            if ((node->op->flags & OPERATOR_DETACH) || (node->op->shape_only >> i & 1)
                || (n < left_count && left[n] >> i & 1))
                ends = true;
            else if (input->producer)
                marks[input->producer->id] |= SEEN;
        }
        char name[160];
        if (ends && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", node_text(node, name));
    }
    free(marks);
}

static tuff_result gradients_of(tuff_tensor *of, tuff_tensor *const *with_respect_to, uint32_t count,
                                tuff_tensor **gradients, uint32_t *left, uint32_t left_count) {
    tuff_graph *graph = of->graph;
    TRY(differentiate(graph, of, with_respect_to, count, gradients, left));
    for (uint32_t i = 0; i < count; i++) {
        if (gradients[i]) continue;
        char cuts[512];
        list_cuts(graph, of, with_respect_to[i], left, left_count, cuts, sizeof cuts);
        return graph_fail(graph, TUFF_ERROR_ARGUMENT,
                          "tuff_gradients: no path with a gradient leads from '%s' to '%s'%s%s", of->name,
                          with_respect_to[i]->name, cuts[0] ? "; paths end at " : "", cuts);
    }
    return TUFF_OK;
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
    uint32_t left_count = graph->node_count;
    uint32_t *left = calloc(left_count + 1, sizeof *left);
    if (!left) return error_out_of_host_memory((left_count + 1) * sizeof *left);
    tuff_result result = gradients_of(of, with_respect_to, count, gradients, left, left_count);
    free(left);
    return result;
}
