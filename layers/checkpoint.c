/* Segments that the backward pass computes again: marking them, and the rows of runtime/graph/recompute.c. */
#include "runtime/graph/recompute.h"

#include "layers/families.h"
#include "layers/pointwise.h"

#include <stdlib.h>
#include <string.h>

/* ---- rows: values passed on as they are ------------------------------------------------------------ */

static tuff_result infer_same(inference *inference) {
    inference->shapes[0] = inference->node->inputs[0]->shape;
    inference->types[0] = inference->node->inputs[0]->type;
    return TUFF_OK;
}

static bool look_same(const node *node, const view *input, view *output) {
    (void)node;
    output->offset = input->offset;
    memcpy(output->strides, input->strides, sizeof output->strides);
    return true;
}

static const attribute segment_attributes[] = { { .name = "segment", .type = ATTRIBUTE_INT } };

/* A mark changes nothing, so the names of what follows should not change with it. */
static tuff_tensor *apply_mark(const operator* op, tuff_tensor *x, const attribute_value *segment) {
    tuff_tensor *marked = apply_unary(op, x, segment);
    if (marked) marked->graph->unnumbered++;
    return marked;
}

static tuff_result gradient_checkpoint(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                       tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_mark(&operator_checkpoint_arrival, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

const operator operator_checkpoint = { .name = "checkpoint",
                                       .formula = "x, the output of a segment that the backward pass computes again",
                                       .inputs = { "input" },
                                       .types = { TYPE_ANY },
                                       .flags = OPERATOR_INTERNAL,
                                       .attributes = segment_attributes,
                                       .attribute_count = 1,
                                       .infer = infer_same,
                                       .gradient = gradient_checkpoint,
                                       .look = look_same };

static tuff_result gradient_same(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)node;
    (void)needs;
    grad_inputs[0] = grad_outputs[0];
    return TUFF_OK;
}

const operator operator_checkpoint_arrival = { .name = "checkpoint_arrival",
                                               .formula = "x, the gradient of such a segment's output",
                                               .inputs = { "input" },
                                               .types = { TYPE_ANY },
                                               .flags = OPERATOR_INTERNAL,
                                               .attributes = segment_attributes,
                                               .attribute_count = 1,
                                               .infer = infer_same,
                                               .gradient = gradient_same,
                                               .look = look_same };

const operator operator_recall = { .name = "recall",
                                   .formula = "x, read once the other is there",
                                   .inputs = { "input", "after" },
                                   .types = { TYPE_ANY, TYPE_ANY },
                                   .flags = OPERATOR_INTERNAL,
                                   .infer = infer_same,
                                   .look = look_same };

static const operator* const rows[] = { &operator_checkpoint, &operator_checkpoint_arrival, &operator_recall };
const operator_family family_checkpoint = { rows, sizeof rows / sizeof *rows };

/* ---- marking ---------------------------------------------------------------------------------------- */

static bool is_among(const tuff_tensor *tensor, tuff_tensor *const *inputs, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (inputs[i] == tensor) return true;
    return false;
}

/* Marks the nodes from the inputs to the output in inside[]; an error where another input of the graph is reached. */
static tuff_result find_inside(const tuff_tensor *output, tuff_tensor *const *inputs, uint32_t count, bool *inside) {
    tuff_graph *graph = output->graph;
    const tuff_tensor *next = output;
    uint32_t n = output->producer ? output->producer->id + 1 : 0, i = 0;
    for (;;) {
        if (next && !is_among(next, inputs, count)) {
            if (next->kind == TENSOR_INPUT)
                return graph_fail(
                    graph, TUFF_ERROR_ARGUMENT,
                    "tuff_checkpoint '%s': the segment reaches back to the input '%s', which is not among "
                    "its inputs; add it, or what is made of it outside of the segment",
                    output->name, next->name);
            if (next->producer) inside[next->producer->id] = true;
        }
        while (n > 0 && (!inside[n - 1] || i >= graph->nodes[n - 1]->input_count)) n--, i = 0;
        if (n == 0) return TUFF_OK;
        next = node_reads(graph->nodes[n - 1], i) ? graph->nodes[n - 1]->inputs[i] : NULL;
        i++;
    }
}

static tuff_result check_inputs(const tuff_tensor *output, tuff_tensor *const *inputs, uint32_t count) {
    tuff_graph *graph = output->graph;
    if (count && !inputs)
        return graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_checkpoint '%s': input_count is %u but inputs is NULL",
                          output->name, count);
    for (uint32_t i = 0; i < count; i++)
        if (!inputs[i] || inputs[i]->graph != graph)
            return graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_checkpoint '%s': input %u %s", output->name, i,
                              inputs[i] ? "belongs to another graph" : "is NULL");
    return TUFF_OK;
}

static tuff_result mark_segment(const tuff_tensor *output, tuff_tensor *const *inputs, uint32_t count) {
    tuff_graph *graph = output->graph;
    TRY(check_inputs(output, inputs, count));
    bool *inside = calloc((size_t)graph->node_count + 1, sizeof *inside);
    if (!inside) return graph_fail(graph, TUFF_ERROR_MEMORY, "tuff_checkpoint: out of host memory");
    tuff_result result = find_inside(output, inputs, count, inside);
    if (result == TUFF_OK) {
        graph->checkpoint_count++;
        for (uint32_t n = 0; n < graph->node_count; n++)
            if (inside[n]) graph->nodes[n]->checkpoint = graph->checkpoint_count;
    }
    free(inside);
    return result;
}

tuff_tensor *tuff_checkpoint(tuff_tensor *output, tuff_tensor *const *inputs, uint32_t input_count) {
    if (!output || output->graph->result != TUFF_OK || mark_segment(output, inputs, input_count) != TUFF_OK)
        return NULL;
    tuff_tensor *marked =
        apply_mark(&operator_checkpoint, output, &(attribute_value){ .i = output->graph->checkpoint_count });
    return marked ? tuff_set_name(marked, output->name) : NULL;
}
