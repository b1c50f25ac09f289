/* Recomputation of marked segments, on the differentiated and expanded graph.
 *
 * Nodes are listed in an order in which they could run, and that order decides: who stands before the arrival of a
 * segment's output's gradient reads the value itself, who stands behind it reads its second copy. So no cycle can
 * arise, whatever lies in, around or across segments, and since differentiating knows nothing of all this the
 * gradients are the same formulas in the same order: the same bits. (Fusion comes later and looks at who reads what, so
 * it may make other chains of them; a sum over a chain takes its elements as they lie.)
 *
 * Kept, and so not computed again, is what other parts of the graph read before that: the segment's output, values
 * that leave it on another way, results of the program, states' new values. A copy has the original's name_hash: a
 * dropout mask comes out the same. Assignments stay with the originals. */
#include "runtime/graph/recompute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value from outside of a segment, as its second copies read it. */
typedef struct recalled {
    uint32_t segment;
    const tuff_tensor *value;
    tuff_tensor *tensor;
} recalled;

typedef struct recomputing {
    const tuff_graph *from;
    tuff_graph *to;
    const node **arrivals; /* by segment: of its output's gradient; NULL: nobody asks for any inside */
    bool *kept;            /* by tensor id in `from` */
    tuff_tensor **map;     /* the same: its copy, */
    tuff_tensor **again;   /* and its second one, NULL before somebody reads it */
    recalled *recalled;
    uint32_t recalled_count, recalled_capacity;
} recomputing;

static bool is_mark(const node *node) {
    return node->op == &operator_checkpoint || node->op == &operator_checkpoint_arrival;
}

static uint32_t segment_of_mark(const node *node) {
    return (uint32_t)node->attributes[0].i;
}

bool graph_has_checkpoints(const tuff_graph *graph) {
    for (uint32_t n = 0; n < graph->node_count; n++)
        if (is_mark(graph->nodes[n])) return true;
    return false;
}

/* The value that marks pass on. */
static const tuff_tensor *behind(const tuff_tensor *tensor) {
    while (tensor->producer && is_mark(tensor->producer)) tensor = tensor->producer->inputs[0];
    return tensor;
}

static uint32_t segment_of(const tuff_tensor *tensor) {
    return tensor->producer ? tensor->producer->checkpoint : 0;
}

/* Whether a value made inside a segment is gone when node number `reader` runs. */
static bool is_gone(const recomputing *r, const tuff_tensor *tensor, uint32_t reader) {
    const node *arrival = r->arrivals[segment_of(tensor)];
    return arrival && tensor->producer->id < arrival->id && arrival->id < reader && !r->kept[tensor->id];
}

/* ---- what is kept -------------------------------------------------------------------------------- */

static tuff_result find_arrivals(recomputing *r) {
    uint32_t most = 0;
    for (uint32_t n = 0; n < r->from->node_count; n++) {
        const node *node = r->from->nodes[n];
        uint32_t segment = is_mark(node) ? segment_of_mark(node) : node->checkpoint;
        if (segment > most) most = segment;
    }
    r->arrivals = calloc((size_t)most + 1, sizeof *r->arrivals);
    if (!r->arrivals) return error_out_of_host_memory(((size_t)most + 1) * sizeof *r->arrivals);
    /* the first arrival counts: the gradient of a gradient arrives a second time */
    for (uint32_t n = r->from->node_count; n-- > 0;)
        if (r->from->nodes[n]->op == &operator_checkpoint_arrival)
            r->arrivals[segment_of_mark(r->from->nodes[n])] = r->from->nodes[n];
    return TUFF_OK;
}

static void keep_what_node_reads(recomputing *r, const node *node) {
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i] || !node_reads(node, i)) continue;
        const tuff_tensor *value = behind(node->inputs[i]);
        uint32_t segment = segment_of(value);
        const struct node *arrival = r->arrivals[segment];
        bool is_output = node->op == &operator_checkpoint && segment_of_mark(node) == segment;
        bool is_outside = !is_mark(node) && node->checkpoint != segment;
        if (is_output || (is_outside && arrival && node->id < arrival->id)) r->kept[value->id] = true;
    }
}

static void mark_kept(recomputing *r, tuff_tensor *const *targets, uint32_t target_count) {
    for (uint32_t n = 0; n < r->from->node_count; n++) {
        const node *node = r->from->nodes[n];
        keep_what_node_reads(r, node);
        if (node->op->flags & OPERATOR_IN_PLACE) r->kept[node->outputs[0]->id] = true; /* written once */
    }
    for (uint32_t i = 0; i < target_count; i++)
        if (targets[i]) r->kept[behind(targets[i])->id] = true;
    for (uint32_t i = 0; i < r->from->assignment_count; i++) r->kept[behind(r->from->assignments[i].value)->id] = true;
}

/* ---- the new graph ------------------------------------------------------------------------------- */

static tuff_tensor *read(recomputing *r, const tuff_tensor *value, uint32_t reader);

/* What a segment's second copies read of a value from outside: one tensor for all of them. */
static tuff_tensor *recall(recomputing *r, uint32_t segment, const tuff_tensor *value, uint32_t reader) {
    for (uint32_t i = r->recalled_count; i-- > 0;)
        if (r->recalled[i].segment == segment && r->recalled[i].value == value) return r->recalled[i].tensor;
    tuff_tensor *now = read(r, value, reader);
    if (value->kind == TENSOR_STATE) return now; /* there all the time, and so is what is made of states alone */
    const node *arrival = r->arrivals[segment];
    tuff_tensor *inputs[2] = { now, read(r, behind(arrival->inputs[0]), arrival->id) };
    /* reading may have recalled others, so room is made only now */
    if (r->recalled_count == r->recalled_capacity) {
        uint32_t capacity = r->recalled_capacity ? r->recalled_capacity * 2 : 16;
        recalled *moved = realloc(r->recalled, capacity * sizeof *moved);
        if (!moved) {
            graph_fail(r->to, TUFF_ERROR_MEMORY, "out of host memory for %u recalled values", capacity);
            return NULL;
        }
        r->recalled = moved;
        r->recalled_capacity = capacity;
    }
    r->to->in_backward = true;
    tuff_tensor *tensor = graph_apply(r->to, &operator_recall, inputs, 2, NULL, "recall");
    if (tensor) tuff_set_name(tensor, value->name);
    r->recalled[r->recalled_count++] = (recalled){ segment, value, tensor };
    return tensor;
}

/* The second copy of a value inside a segment. Depth is bounded by the segment's. */
static tuff_tensor *compute_again(recomputing *r, const tuff_tensor *value) {
    if (r->again[value->id]) return r->again[value->id];
    const node *node = value->producer;
    tuff_tensor *inputs[MAX_INPUTS] = { NULL };
    for (uint32_t i = 0; i < node->input_count && r->to->result == TUFF_OK; i++) {
        if (!node->inputs[i]) continue;
        const tuff_tensor *input = behind(node->inputs[i]);
        if (!node_reads(node, i))
            inputs[i] = r->map[input->id];
        else if (segment_of(input) == node->checkpoint && !r->kept[input->id])
            inputs[i] = compute_again(r, input);
        else
            inputs[i] = recall(r, node->checkpoint, input, node->id);
    }
    if (r->to->result != TUFF_OK) return NULL;
    char label[160];
    snprintf(label, sizeof label, "again %.140s", node->label);
    r->to->in_backward = true;
    const struct node *copy = graph_copy_node(r->to, node, inputs, label);
    if (!copy) return NULL;
    for (uint32_t i = 0; i < copy->output_count; i++) {
        copy->outputs[i]->origin = UINT32_MAX;
        r->again[node->outputs[i]->id] = copy->outputs[i];
    }
    return r->again[value->id];
}

/* A value as node number `reader` finds it. */
static tuff_tensor *read(recomputing *r, const tuff_tensor *value, uint32_t reader) {
    return is_gone(r, value, reader) ? compute_again(r, value) : r->map[value->id];
}

static tuff_result copy_node(recomputing *r, const node *node) {
    tuff_tensor *inputs[MAX_INPUTS] = { NULL };
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (!node->inputs[i]) continue;
        const tuff_tensor *input = behind(node->inputs[i]);
        inputs[i] = node_reads(node, i) ? read(r, input, node->id) : r->map[input->id];
    }
    TRY(r->to->result);
    r->to->in_backward = node->backward;
    const struct node *copy = graph_copy_node(r->to, node, inputs, node->label);
    if (!copy) return r->to->result;
    for (uint32_t i = 0; i < copy->output_count; i++) r->map[node->outputs[i]->id] = copy->outputs[i];
    return TUFF_OK;
}

static tuff_result copy_all(recomputing *r, tuff_tensor **targets, uint32_t target_count) {
    const tuff_graph *from = r->from;
    for (uint32_t t = 0; t < from->tensor_count; t++) {
        if (from->tensors[t]->kind == TENSOR_NODE) continue;
        r->map[t] = graph_copy_leaf(r->to, from->tensors[t]);
        TRY(r->to->result);
    }
    for (uint32_t n = 0; n < from->node_count; n++)
        if (!is_mark(from->nodes[n])) TRY(copy_node(r, from->nodes[n]));
    for (uint32_t i = 0; i < from->assignment_count; i++)
        TRY(graph_add_assignment(r->to, r->map[from->assignments[i].state->id],
                                 r->map[behind(from->assignments[i].value)->id]));
    for (uint32_t i = 0; i < target_count; i++)
        if (targets[i]) targets[i] = r->map[behind(targets[i])->id];
    r->to->in_backward = false;
    return TUFF_OK;
}

tuff_result graph_recompute(const tuff_graph *from, tuff_tensor **targets, uint32_t target_count, tuff_graph **out) {
    size_t tensors = (size_t)from->tensor_count + 1;
    recomputing r = { .from = from,
                      .to = graph_new(from->model),
                      .kept = calloc(tensors, sizeof *r.kept),
                      .map = calloc(tensors, sizeof *r.map),
                      .again = calloc(tensors, sizeof *r.again) };
    tuff_result result = TUFF_OK;
    if (!r.to || !r.kept || !r.map || !r.again) result = error_out_of_host_memory(tensors * 2 * sizeof *r.map);
    if (result == TUFF_OK) result = find_arrivals(&r);
    if (result == TUFF_OK) {
        mark_kept(&r, targets, target_count);
        result = copy_all(&r, targets, target_count);
    }
    free(r.arrivals);
    free(r.kept);
    free(r.map);
    free(r.again);
    free(r.recalled);
    if (result != TUFF_OK) {
        graph_free(r.to);
        r.to = NULL;
    }
    *out = r.to;
    return result;
}
