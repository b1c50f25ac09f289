/* Fusion of pointwise chains, into each other and into the kernels around them.
 *
 * A unit is what will be one node: at first each node, then whole chains. Four moves, in this order, each as long as
 * it applies:
 *   epilogue   product -> pointwise    where the product's result is used there alone
 *   chain      pointwise -> pointwise  over the same shape; values needed elsewhere become further outputs
 *   behind     reduction -> pointwise  where the result is used there alone and the chain makes one value of it
 *   prologue   pointwise -> reduction  where the value is used there alone, or is cheap to compute again
 * No move may close a cycle: there must be no way from the producer to the consumer through a third unit. */
#include "runtime/graph/fuse.h"

#include "runtime/graph/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct unit {
    const node *node;
    bool alive;
    bool pointwise;
    bool has_chain; /* pointwise, or an epilogue */
    bool has_prologue;
    chain chain, prologue;
    tuff_shape domain;
    tuff_tensor *inputs[MAX_INPUTS]; /* its own or its prologue's first, then the epilogue's from input 1 */
    uint32_t input_count;
    tuff_tensor *outputs[MAX_OUTPUTS];
    uint32_t output_count;
    uint32_t own_inputs; /* before the epilogue's */
    uint32_t mark;
    char label[96];
} unit;

typedef struct fusing {
    const tuff_graph *from;
    unit *units;
    uint32_t count;
    uint32_t *unit_of; /* by tensor id: the unit that makes it, UINT32_MAX for leaves */
    bool *kept;        /* by tensor id: needed after the graph */
    uint32_t mark;
} fusing;

static bool reads(const unit *unit, uint32_t input) {
    return unit->inputs[input] && (unit->pointwise || unit->has_prologue || !(unit->node->op->shape_only >> input & 1));
}

static uint32_t producer_of(const fusing *f, const tuff_tensor *tensor) {
    return f->unit_of[tensor->id];
}

/* Units that read a tensor, other than `except`; stops counting at 2. */
static uint32_t count_readers(const fusing *f, const tuff_tensor *tensor, uint32_t except, uint32_t *reader) {
    uint32_t readers = 0;
    for (uint32_t u = 0; u < f->count && readers < 2; u++) {
        const unit *unit = &f->units[u];
        if (!unit->alive || u == except) continue;
        for (uint32_t i = 0; i < unit->input_count; i++)
            if (unit->inputs[i] == tensor && reads(unit, i)) {
                if (reader) *reader = u;
                readers++;
                break;
            }
    }
    return readers;
}

static bool depends(fusing *f, uint32_t on, uint32_t what) {
    if (what == on) return true;
    unit *unit = &f->units[what];
    if (unit->mark == f->mark) return false;
    unit->mark = f->mark;
    for (uint32_t i = 0; i < unit->input_count; i++) {
        if (!reads(unit, i)) continue;
        uint32_t p = producer_of(f, unit->inputs[i]);
        if (p != UINT32_MAX && depends(f, on, p)) return true;
    }
    return false;
}

/* True if a way leads from producer to consumer through a third unit. */
static bool has_detour(fusing *f, uint32_t producer, uint32_t consumer) {
    f->mark++;
    const unit *unit = &f->units[consumer];
    for (uint32_t i = 0; i < unit->input_count; i++) {
        if (!reads(unit, i)) continue;
        uint32_t p = producer_of(f, unit->inputs[i]);
        if (p != UINT32_MAX && p != producer && depends(f, producer, p)) return true;
    }
    return false;
}

static void join_labels(char *label, size_t size, const char *first, const char *second) {
    char joined[256];
    snprintf(joined, sizeof joined, "%s+%s", first, second);
    if (strlen(joined) >= size) snprintf(joined, sizeof joined, "%s", second);
    snprintf(label, size, "%.*s", (int)(size - 1), joined);
}

/* ---- making units ------------------------------------------------------------------------------- */

/* Chains broadcast by themselves: a broadcasting view between two operators is looked through. */
static tuff_tensor *look_through(tuff_tensor *tensor) {
    while (tensor->producer && tensor->producer->op->flags & OPERATOR_BROADCAST) tensor = tensor->producer->inputs[0];
    return tensor;
}

static tuff_result make_units(fusing *f) {
    for (uint32_t n = 0; n < f->from->node_count; n++) {
        const node *node = f->from->nodes[n];
        unit *unit = &f->units[n];
        unit->node = node;
        unit->pointwise = unit->has_chain = node->op->chain_op != CHAIN_NONE;
        unit->domain = node->outputs[0]->shape;
        unit->input_count = unit->own_inputs = node->input_count;
        unit->output_count = node->output_count;
        snprintf(unit->label, sizeof unit->label, "%s", node->label);
        memcpy(unit->inputs, node->inputs, sizeof unit->inputs);
        memcpy(unit->outputs, node->outputs, sizeof unit->outputs);
        for (uint32_t i = 0; i < node->output_count; i++) f->unit_of[node->outputs[i]->id] = n;
        if (!unit->pointwise) continue;
        if (!chain_of_node(node, &unit->chain))
            return error_set(TUFF_ERROR_UNSUPPORTED, "operator '%s' has a row that is no single step", node->op->name);
        unit->input_count = unit->chain.input_count; /* shape-only inputs are no inputs of the chain */
        for (uint32_t i = 0; i < unit->input_count; i++) unit->inputs[i] = look_through(unit->inputs[i]);
    }
    return TUFF_OK;
}

/* Units that nothing needed depends on are dropped: inputs whose shape alone matters keep nothing alive. */
static void mark_alive(fusing *f) {
    for (uint32_t n = f->count; n-- > 0;) { /* ids are a topological order */
        unit *unit = &f->units[n];
        for (uint32_t i = 0; i < unit->output_count; i++)
            if (f->kept[unit->outputs[i]->id]) unit->alive = true;
        if (!unit->alive) continue;
        for (uint32_t i = 0; i < unit->input_count; i++) {
            if (!reads(unit, i)) continue;
            uint32_t p = producer_of(f, unit->inputs[i]);
            if (p != UINT32_MAX) f->units[p].alive = true;
        }
    }
}

/* ---- the moves ---------------------------------------------------------------------------------- */

/* Merges pointwise unit p into pointwise unit c in *c. p stays as it is; the caller retires it where nobody else reads.
 */
static bool merge_into(fusing *f, uint32_t p, uint32_t c, bool recompute) {
    unit *producer = &f->units[p], *consumer = &f->units[c];
    unit merged = *consumer;
    if (!chain_merge(&producer->chain, producer->inputs, producer->outputs, &consumer->chain, consumer->inputs,
                     &merged.chain, merged.inputs, &merged.input_count))
        return false;
    /* of the producer's outputs keep those that others read */
    uint32_t outputs = consumer->output_count;
    for (uint32_t i = 0; i < producer->output_count && !recompute; i++) {
        tuff_tensor *output = producer->outputs[i];
        if (!f->kept[output->id] && count_readers(f, output, c, NULL) == 0) continue;
        if (outputs == CHAIN_MAX_OUTPUTS) return false;
        merged.chain.outputs[outputs] = merged.chain.outputs[consumer->output_count + i];
        merged.outputs[outputs++] = output;
    }
    merged.output_count = merged.chain.output_count = outputs;
    if (merged.input_count + outputs > CHAIN_MAX_BUFFERS) return false;
    join_labels(merged.label, sizeof merged.label, producer->label, consumer->label);
    *consumer = merged;
    if (!recompute) {
        producer->alive = false;
        for (uint32_t i = 0; i < outputs; i++) f->unit_of[merged.outputs[i]->id] = c;
    }
    return true;
}

/* Few steps that cost about as much as a load. */
static bool is_cheap(const chain *chain, uint32_t most) {
    if (chain->step_count > most) return false;
    for (uint32_t i = 0; i < chain->step_count; i++) switch (chain->steps[i].op) {
        case CHAIN_COPY:
        case CHAIN_ADD:
        case CHAIN_SUB:
        case CHAIN_MUL:
        case CHAIN_FMA:
        case CHAIN_NEG:
        case CHAIN_ABS:
        case CHAIN_SQUARE:
        case CHAIN_RELU:
        case CHAIN_GT:
        case CHAIN_GE:
        case CHAIN_EQ:
        case CHAIN_INT_EQ:
        case CHAIN_WITHIN:
        case CHAIN_SELECT:
        case CHAIN_FILL: break;
        default: return false;
        }
    return true;
}

/* What a reduction may do several times to what it reads: cheap steps, with a quotient among them. */
static bool is_scale_or_mask(const chain *chain) {
    struct chain without = *chain;
    for (uint32_t i = 0; i < without.step_count; i++)
        if (without.steps[i].op == CHAIN_DIV) without.steps[i].op = CHAIN_MUL;
    return is_cheap(&without, 8);
}

/* Cheap, and it reads no more than its result would: then computing it again saves a pass over memory. */
static bool is_worth_repeating(const unit *unit) {
    uint32_t large = 0;
    for (uint32_t i = 0; i < unit->input_count; i++)
        if (shape_equal(&unit->inputs[i]->shape, &unit->domain)) large++;
    return large <= 1 && is_cheap(&unit->chain, 4);
}

static bool all_outputs_private(const fusing *f, uint32_t p, uint32_t c) {
    const unit *producer = &f->units[p];
    for (uint32_t i = 0; i < producer->output_count; i++)
        if (f->kept[producer->outputs[i]->id] || count_readers(f, producer->outputs[i], c, NULL)) return false;
    return true;
}

static void retire_unread(fusing *f, uint32_t p) {
    if (all_outputs_private(f, p, UINT32_MAX)) f->units[p].alive = false;
}

/* Without inputs each reader may have its own; where the index counts (a dropout mask), only over the same shape. */
static bool is_constant_for(const unit *producer, const tuff_shape *domain) {
    return producer->input_count == 0
           && (!chain_uses_index(&producer->chain) || shape_equal(&producer->domain, domain));
}

static bool fuse_one_input(fusing *f, uint32_t c) {
    unit *consumer = &f->units[c];
    for (uint32_t i = 0; i < consumer->input_count; i++) {
        uint32_t p = producer_of(f, consumer->inputs[i]);
        if (p == UINT32_MAX || p == c || !f->units[p].alive || !f->units[p].pointwise) continue;
        const unit *producer = &f->units[p];
        if (is_constant_for(producer, &consumer->domain)) {
            if (merge_into(f, p, c, true)) {
                retire_unread(f, p);
                return true;
            }
            continue;
        }
        if (shape_equal(&producer->domain, &consumer->domain)) {
            /* a value of the forward pass that others read must not wait for the backward pass */
            if (producer->node->backward != consumer->node->backward && !all_outputs_private(f, p, c)) continue;
            if (!has_detour(f, p, c) && merge_into(f, p, c, false)) return true;
        } else if (is_cheap(&producer->chain, 3) && all_outputs_private(f, p, c)) {
            /* smaller, broadcast here: computing it for each element beats a dispatch of its own */
            if (!has_detour(f, p, c) && merge_into(f, p, c, false)) return true;
        }
    }
    return false;
}

/* Puts chain input `index` first, as an epilogue's accumulator must be. */
static void swap_inputs(unit *unit, uint32_t index) {
    chain *chain = &unit->chain;
    for (uint32_t s = 0; s < chain->step_count; s++) {
        uint8_t *operands[3] = { &chain->steps[s].a, &chain->steps[s].b, &chain->steps[s].c };
        for (uint32_t i = 0; i < 3; i++)
            *operands[i] = *operands[i] == 0 ? (uint8_t)index : *operands[i] == index ? 0 : *operands[i];
    }
    tuff_tensor *first = unit->inputs[0];
    unit->inputs[0] = unit->inputs[index];
    unit->inputs[index] = first;
}

/* Merges into `next`, what consumer c is to become as an epilogue, the units that make its other inputs: constants, and
 * with `private` those that nothing else reads. */
static bool absorb_producers(fusing *f, uint32_t c, bool private, unit *next) {
    for (uint32_t i = 0; i < next->input_count; i++) {
        uint32_t k = producer_of(f, next->inputs[i]);
        if (k == UINT32_MAX || !f->units[k].alive || !f->units[k].pointwise) continue;
        const unit *producer = &f->units[k];
        bool alone = private && producer->output_count == 1 && shape_equal(&producer->domain, &next->domain)
                     && !chain_uses_index(&producer->chain) && all_outputs_private(f, k, c);
        if (!is_constant_for(producer, &next->domain) && !alone) continue;
        unit with = *next;
        if (!chain_merge(&producer->chain, producer->inputs, producer->outputs, &next->chain, next->inputs, &with.chain,
                         with.inputs, &with.input_count))
            return false;
        with.chain.output_count = 1;
        *next = with;
        i = UINT32_MAX; /* from the start: the inputs moved */
    }
    return true;
}

/* The units that made a dead unit's inputs, where nobody else reads them. */
static void retire_producers(fusing *f, const unit *dead) {
    for (uint32_t i = 0; i < dead->input_count; i++) {
        uint32_t k = producer_of(f, dead->inputs[i]);
        if (k == UINT32_MAX || !f->units[k].alive || !f->units[k].pointwise) continue;
        retire_unread(f, k);
        if (!f->units[k].alive) retire_producers(f, &f->units[k]);
    }
}

static bool fuse_epilogue_with(fusing *f, uint32_t p, bool private) {
    unit *product = &f->units[p];
    tuff_tensor *result = product->outputs[0];
    uint32_t c = UINT32_MAX;
    if (f->kept[result->id] || count_readers(f, result, UINT32_MAX, &c) != 1) return false;
    const unit *consumer = &f->units[c];
    if (!consumer->pointwise || consumer->output_count != 1 || !shape_equal(&consumer->domain, &result->shape)
        || consumer->outputs[0]->type != result->type || consumer->node->backward != product->node->backward)
        return false;
    unit next = *consumer; /* first as a pointwise unit whose inputs are the accumulator and the extra ones */
    if (!absorb_producers(f, c, private, &next)) return false;
    if (product->has_chain) {
        tuff_tensor *inputs[MAX_INPUTS] = { result }; /* stands for the raw accumulator */
        tuff_tensor raw = *result;
        inputs[0] = &raw;
        for (uint32_t i = 1; i < product->chain.input_count; i++)
            inputs[i] = product->inputs[product->own_inputs + i - 1];
        unit with = next;
        if (!chain_merge(&product->chain, inputs, &result, &next.chain, next.inputs, &with.chain, with.inputs,
                         &with.input_count))
            return false;
        with.chain.output_count = 1;
        next = with;
        for (uint32_t i = 0; i < next.input_count; i++)
            if (next.inputs[i] == &raw) {
                swap_inputs(&next, i);
                next.inputs[0] = result;
                break;
            }
    } else {
        for (uint32_t i = 0; i < next.input_count; i++)
            if (next.inputs[i] == result) {
                swap_inputs(&next, i);
                break;
            }
    }
    uint32_t extra = next.input_count - 1;
    if (next.inputs[0] != result || product->own_inputs + extra > MAX_INPUTS) return false;
    if (!product->node->op->accepts_epilogue(product->node, &next.chain, next.inputs + 1, extra)) return false;
    bool whole = product->node->op->flags & OPERATOR_WHOLE_EPILOGUE;
    for (uint32_t i = 0; i < extra; i++) { /* an extra input made from the product itself would be a cycle */
        uint32_t made_by = producer_of(f, next.inputs[i + 1]);
        /* a reduction that waited for it would keep its own input alive, in place of its small result */
        if (whole && made_by != UINT32_MAX && made_by > p) return false;
        f->mark++;
        if (made_by != UINT32_MAX && depends(f, p, made_by)) return false;
    }
    product->has_chain = true;
    product->chain = next.chain;
    for (uint32_t i = 0; i < extra; i++) product->inputs[product->own_inputs + i] = next.inputs[i + 1];
    product->input_count = product->own_inputs + extra;
    product->outputs[0] = consumer->outputs[0];
    f->unit_of[consumer->outputs[0]->id] = p;
    join_labels(product->label, sizeof product->label, product->label, consumer->label);
    f->units[c].alive = false;
    retire_producers(f, &f->units[c]);
    return true;
}

/* With what the consumer alone needs (relu's gradient: a comparison), else with the consumer itself. */
static bool fuse_epilogue(fusing *f, uint32_t p) {
    return fuse_epilogue_with(f, p, true) || fuse_epilogue_with(f, p, false);
}

static bool fuse_prologue(fusing *f, uint32_t r) {
    unit *reduction = &f->units[r];
    tuff_tensor *input = reduction->inputs[0];
    uint32_t extra = reduction->input_count - 1;
    uint32_t p = producer_of(f, input);
    if (p == UINT32_MAX || !f->units[p].alive || !f->units[p].pointwise) return false;
    const unit *producer = &f->units[p];
    bool alone = all_outputs_private(f, p, r);
    if (reduction->node->op->flags & OPERATOR_REPEATS && !is_scale_or_mask(&producer->chain)) return false;
    for (uint32_t i = 1; i <= extra; i++) /* the epilogue may read the same */
        if (producer_of(f, reduction->inputs[i]) == p) alone = false;
    if (producer->output_count != 1 || (!alone && !is_worth_repeating(producer))) return false;
    if (producer->input_count + extra + 1 > CHAIN_MAX_BUFFERS || chain_is_random(&producer->chain)) return false;
    const chain *behind = &reduction->chain; /* both have their steps and constants in one place */
    if (producer->chain.step_count + behind->step_count > CHAIN_MAX_STEPS
        || producer->chain.constant_count + behind->constant_count > CHAIN_MAX_CONSTANTS)
        return false;
    reduction->has_prologue = true;
    reduction->prologue = producer->chain;
    reduction->domain = input->shape;
    tuff_tensor *inputs[MAX_INPUTS] = { NULL };
    memcpy(inputs, producer->inputs, producer->input_count * sizeof *inputs);
    memcpy(inputs + producer->input_count, reduction->inputs + 1, extra * sizeof *inputs);
    memcpy(reduction->inputs, inputs, sizeof reduction->inputs);
    reduction->own_inputs = producer->input_count;
    reduction->input_count = producer->input_count + extra;
    join_labels(reduction->label, sizeof reduction->label, producer->label, reduction->label);
    if (alone) f->units[p].alive = false;
    return true;
}

static bool has_epilogue(const unit *unit, bool whole) {
    return unit->alive && unit->node->op->accepts_epilogue
           && whole == ((unit->node->op->flags & OPERATOR_WHOLE_EPILOGUE) != 0);
}

static void fuse_all(fusing *f, uint32_t moves) {
    for (uint32_t u = 0; u < f->count && (moves & FUSE_EPILOGUE); u++)
        while (has_epilogue(&f->units[u], false) && fuse_epilogue(f, u)) {
        }
    for (uint32_t u = 0; u < f->count && (moves & FUSE_CHAIN); u++)
        while (f->units[u].alive && f->units[u].pointwise && fuse_one_input(f, u)) {
        }
    for (uint32_t u = 0; u < f->count && (moves & FUSE_BEHIND); u++)
        if (has_epilogue(&f->units[u], true)) fuse_epilogue_with(f, u, false);
    for (uint32_t u = 0; u < f->count && (moves & FUSE_PROLOGUE); u++)
        if (f->units[u].alive && f->units[u].node->op->flags & OPERATOR_PROLOGUE) fuse_prologue(f, u);
}

/* ---- the new graph ------------------------------------------------------------------------------ */

typedef struct emitting {
    fusing *f;
    tuff_graph *to;
    tuff_tensor **map;
} emitting;

/* A tensor of which only the shape is known: what shape-only inputs point to. */
static tuff_tensor *shape_of(emitting *e, const tuff_tensor *tensor) {
    return graph_add_tensor(e->to, TENSOR_NODE, tensor->type, &tensor->shape, tensor->name);
}

static tuff_result emit(emitting *e, uint32_t index);

static tuff_result emit_inputs(emitting *e, const unit *unit) {
    for (uint32_t i = 0; i < unit->input_count; i++) {
        if (!reads(unit, i)) continue;
        uint32_t p = producer_of(e->f, unit->inputs[i]);
        if (p != UINT32_MAX) TRY(emit(e, p));
    }
    return TUFF_OK;
}

/* Emits a unit after what it reads. Depth is bounded by the graph's; units already emitted return at once. */
static tuff_result emit(emitting *e, uint32_t index) {
    unit *unit = &e->f->units[index];
    if (unit->mark == e->f->mark) return TUFF_OK;
    unit->mark = e->f->mark;
    TRY(emit_inputs(e, unit));
    e->to->in_backward = unit->node->backward;
    node *copy = graph_add_node(e->to, unit->pointwise ? &operator_chain : unit->node->op, unit->label);
    if (!copy) return e->to->result;
    copy->name_hash = unit->node->name_hash;
    memcpy(copy->attributes, unit->node->attributes, sizeof copy->attributes);
    copy->input_count = unit->input_count;
    copy->domain = unit->domain;
    for (uint32_t i = 0; i < unit->input_count; i++) {
        tuff_tensor *input = unit->inputs[i];
        copy->inputs[i] = !input ? NULL : reads(unit, i) ? e->map[input->id] : shape_of(e, input);
    }
    for (uint32_t i = 0; i < unit->output_count; i++) {
        const tuff_tensor *output = unit->outputs[i];
        tuff_tensor *made = graph_add_tensor(e->to, TENSOR_NODE, output->type, &output->shape, output->name);
        if (!made) return e->to->result;
        made->origin = output->origin;
        made->producer = copy;
        made->output = i;
        copy->outputs[i] = made;
        copy->output_count = i + 1;
        e->map[output->id] = made;
    }
    TRY(graph_copy_chain(e->to, unit->has_chain ? &unit->chain : NULL, &copy->chain));
    return graph_copy_chain(e->to, unit->has_prologue ? &unit->prologue : NULL, &copy->prologue);
}

static tuff_result emit_all(fusing *f, tuff_graph *to, tuff_tensor **targets, uint32_t target_count) {
    emitting e = { f, to, calloc(f->from->tensor_count + 1, sizeof *e.map) };
    if (!e.map) return error_out_of_host_memory(f->from->tensor_count * sizeof *e.map);
    tuff_result result = TUFF_OK;
    for (uint32_t t = 0; t < f->from->tensor_count && result == TUFF_OK; t++) {
        const tuff_tensor *leaf = f->from->tensors[t];
        if (leaf->kind == TENSOR_NODE) continue;
        e.map[t] = graph_copy_leaf(to, leaf);
        result = to->result;
    }
    f->mark++;
    /* in the order of the user's graph, as far as it goes: forward before backward */
    for (uint32_t u = 0; u < f->count && result == TUFF_OK; u++)
        if (f->units[u].alive) result = emit(&e, u);
    for (uint32_t i = 0; i < f->from->assignment_count && result == TUFF_OK; i++)
        result = graph_add_assignment(to, e.map[f->from->assignments[i].state->id],
                                      e.map[f->from->assignments[i].value->id]);
    for (uint32_t i = 0; i < target_count && result == TUFF_OK; i++)
        if (targets[i]) targets[i] = e.map[targets[i]->id];
    to->in_backward = false;
    free(e.map);
    return result;
}

tuff_result graph_fuse(const tuff_graph *from, uint32_t moves, tuff_tensor **targets, uint32_t target_count,
                       tuff_graph **out) {
    fusing f = { .from = from,
                 .units = calloc(from->node_count + 1, sizeof *f.units),
                 .count = from->node_count,
                 .unit_of = malloc((from->tensor_count + 1) * sizeof *f.unit_of),
                 .kept = calloc(from->tensor_count + 1, sizeof *f.kept) };
    tuff_graph *to = graph_new(from->model);
    tuff_result result = TUFF_OK;
    if (!f.units || !f.unit_of || !f.kept || !to) result = error_out_of_host_memory(from->node_count * sizeof *f.units);
    if (result == TUFF_OK) {
        for (uint32_t t = 0; t < from->tensor_count; t++) f.unit_of[t] = UINT32_MAX;
        for (uint32_t i = 0; i < target_count; i++)
            if (targets[i]) f.kept[targets[i]->id] = true;
        for (uint32_t i = 0; i < from->assignment_count; i++) f.kept[from->assignments[i].value->id] = true;
        result = make_units(&f);
    }
    if (result == TUFF_OK) {
        mark_alive(&f);
        fuse_all(&f, moves);
        result = emit_all(&f, to, targets, target_count);
    }
    free(f.units);
    free(f.unit_of);
    free(f.kept);
    if (result != TUFF_OK) {
        graph_free(to);
        to = NULL;
    }
    *out = to;
    return result;
}
