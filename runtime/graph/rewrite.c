/* Copies a graph: only what is needed, with other input sizes, composites expanded into their parts, equal nodes made
 * one. Every operator infers its shapes again on the way. */
#include "runtime/graph/rewrite.h"

#include "runtime/graph/chain.h"

#include <stdlib.h>
#include <string.h>

typedef struct rewriting {
    const tuff_graph *from;
    const rewrite_options *options;
    tuff_graph *to;
    tuff_tensor **map; /* by id in `from` */
    bool *needed;      /* nodes of `from` */
} rewriting;

static void need(rewriting *r, const tuff_tensor *tensor) {
    if (tensor && tensor->producer) r->needed[tensor->producer->id] = true;
}

static tuff_tensor *copy_leaf(rewriting *r, const tuff_tensor *leaf) {
    tuff_tensor *copy = graph_copy_leaf(r->to, leaf);
    for (uint32_t i = 0; copy && i < r->options->input_size_count; i++)
        if (r->options->input_sizes[i].input && r->options->input_sizes[i].input->id == leaf->origin)
            copy->shape = r->options->input_sizes[i].shape;
    return copy;
}

/* An earlier node of the new graph that computes the same as `candidate`, the newest one; NULL if there is none. */
static const node *find_equal(const tuff_graph *graph, const node *candidate) {
    for (uint32_t n = graph->node_count; n-- > 0;) {
        const node *other = graph->nodes[n];
        if (other == candidate || other->op != candidate->op || other->input_count != candidate->input_count) continue;
        if (memcmp(other->inputs, candidate->inputs, sizeof other->inputs) != 0) continue;
        if (memcmp(other->attributes, candidate->attributes, sizeof other->attributes) != 0) continue;
        bool random = other->op->chain_op == CHAIN_DROPOUT || other->op->flags & OPERATOR_RANDOM;
        if (random && other->name_hash != candidate->name_hash) continue;
        return other;
    }
    return NULL;
}

/* Sets the map for a node's outputs. */
static tuff_result copy_node(rewriting *r, const node *node) {
    tuff_graph *to = r->to;
    tuff_tensor *inputs[MAX_INPUTS] = { NULL }, *outputs[MAX_OUTPUTS] = { NULL };
    for (uint32_t i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i] ? r->map[node->inputs[i]->id] : NULL;
    to->in_backward = node->backward;
    to->checkpoint = node->checkpoint;
    bool expands = node->op->expand && (r->options->expand_all || !node->op->gradient);
    uint32_t first_new = to->tensor_count;
    if (expands) {
        to->scope = node->label;
        tuff_result result = node->op->expand(to, node, inputs, r->options->training, outputs);
        to->scope = NULL;
        if (result != TUFF_OK && to->result == TUFF_OK) graph_fail(to, result, "%s", tuff_last_message());
    } else {
        tuff_tensor *first = graph_apply(to, node->op, inputs, node->input_count, node->attributes, node->label);
        if (first) {
            struct node *copy = first->producer;
            copy->name_hash = node->name_hash;
            for (uint32_t i = 0; i < copy->output_count; i++) outputs[i] = copy->outputs[i];
            const struct node *equal = r->options->merge_equal ? find_equal(to, copy) : NULL;
            if (equal)
                for (uint32_t i = 0; i < equal->output_count; i++) outputs[i] = equal->outputs[i];
        }
    }
    TRY(to->result);
    for (uint32_t i = 0; i < node->output_count; i++) {
        r->map[node->outputs[i]->id] = outputs[i];
        /* names the user gave, and which tensor of his this is: only where the tensor is this node's own */
        if (outputs[i] && outputs[i]->id >= first_new) {
            outputs[i]->origin = node->outputs[i]->origin;
            tuff_set_name(outputs[i], node->outputs[i]->name);
        }
    }
    return to->result;
}

tuff_result graph_rewrite(const tuff_graph *from, const rewrite_options *options, tuff_tensor **targets,
                          uint32_t target_count, tuff_graph **out) {
    rewriting r = { .from = from,
                    .options = options,
                    .to = graph_new(from->model),
                    .map = calloc(from->tensor_count + 1, sizeof *r.map),
                    .needed = calloc(from->node_count + 1, sizeof *r.needed) };
    tuff_result result = TUFF_OK;
    if (!r.to || !r.map || !r.needed) result = error_out_of_host_memory(from->tensor_count * sizeof *r.map);
    if (result == TUFF_OK) {
        for (uint32_t i = 0; i < target_count; i++) need(&r, targets[i]);
        for (uint32_t i = 0; options->training && i < from->assignment_count; i++) need(&r, from->assignments[i].value);
        for (uint32_t n = from->node_count; n-- > 0;)
            for (uint32_t i = 0; r.needed[n] && i < from->nodes[n]->input_count; i++)
                need(&r, from->nodes[n]->inputs[i]);
        for (uint32_t t = 0; t < from->tensor_count && result == TUFF_OK; t++) {
            if (from->tensors[t]->kind == TENSOR_NODE) continue;
            r.map[t] = copy_leaf(&r, from->tensors[t]);
            result = r.to->result;
        }
        for (uint32_t n = 0; n < from->node_count && result == TUFF_OK; n++)
            if (r.needed[n]) result = copy_node(&r, from->nodes[n]);
        for (uint32_t i = 0; options->training && i < from->assignment_count && result == TUFF_OK; i++)
            result = graph_add_assignment(r.to, r.map[from->assignments[i].state->id],
                                          r.map[from->assignments[i].value->id]);
        for (uint32_t i = 0; i < target_count && result == TUFF_OK; i++)
            if (targets[i]) targets[i] = r.map[targets[i]->id];
        r.to->in_backward = false;
        r.to->checkpoint = 0;
    }
    free(r.map);
    free(r.needed);
    if (result != TUFF_OK) {
        graph_free(r.to);
        r.to = NULL;
    }
    *out = r.to;
    return result;
}
