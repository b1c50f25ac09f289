/* Lowering: storages for the laid-out tensors, and each node's kernels through its row. */
#include "runtime/program/lower.h"
#include "runtime/program/trial.h"

#include "runtime/graph/recompute.h"
#include "runtime/model/model.h"
#include "runtime/program/view.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t NONE = UINT32_MAX;

struct lowering {
    const laid_out *laid_out;
    lowered *out;
    uint32_t *storage_of;  /* by tensor id of roots */
    uint32_t *state_of;    /* by the model's block: its storage */
    uint32_t *gradient_of; /* by the model's block: the storage of its gradients */
    uint32_t step_storage, record_storage;
    uint32_t record_count, record_capacity;
    uint32_t *records;
    const node *node; /* being lowered; NULL during updates */
    segment_kind segment;
    bool clears_gaps; /* between gradients: something reads across them */
    const char *label;
    view *views;     /* by tensor id, with storages */
    uint32_t *made;  /* by tensor id of roots: how many calls it takes to make it */
    uint32_t *waits; /* by tensor id of views: calls that come before its readers (recall) */
    uint32_t after;  /* of the calls of the node being lowered */
};

tuff_device *lowering_device(const lowering *l) {
    return l->out->device;
}

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

static tuff_result add_storage(lowering *l, const storage *storage, const char *name, uint32_t *index) {
    lowered *out = l->out;
    if (out->storage_count == out->storage_capacity) {
        uint32_t capacity = out->storage_capacity ? out->storage_capacity * 2 : 64;
        struct storage *moved = realloc(out->storages, capacity * sizeof *moved);
        if (!moved) return error_out_of_host_memory(capacity * sizeof *moved);
        out->storages = moved;
        out->storage_capacity = capacity;
    }
    struct storage *added = &out->storages[out->storage_count];
    *added = *storage;
    added->name = copy_text(name);
    if (!added->name) return error_out_of_host_memory(strlen(name));
    *index = out->storage_count++;
    return TUFF_OK;
}

static tuff_result add_transient(lowering *l, uint64_t size, const char *name, uint32_t *index) {
    return add_storage(l, &(storage){ .kind = STORAGE_TRANSIENT, .size = (size + 15) & ~UINT64_C(15) }, name, index);
}

static tuff_result state_storage(lowering *l, uint32_t block, uint32_t *index) {
    if (l->state_of[block] == NONE) {
        const state_block *state = &l->out->model->blocks[block];
        storage storage = { .kind = STORAGE_STATE,
                            .size = state->count * 4,
                            .range = { state->buffer, 0, state->count * 4 } };
        TRY(add_storage(l, &storage, state_block_name(state->kind), &l->state_of[block]));
    }
    *index = l->state_of[block];
    return TUFF_OK;
}

static tuff_result gradient_storage(lowering *l, uint32_t block, uint32_t *index) {
    if (l->gradient_of[block] == NONE)
        TRY(add_transient(l, l->out->model->blocks[block].count * 4, "gradients", &l->gradient_of[block]));
    *index = l->gradient_of[block];
    return TUFF_OK;
}

/* The storage of a tensor that has memory of its own, made on first use. */
static tuff_result root_storage(lowering *l, uint32_t root, uint32_t *index, uint64_t *offset) {
    const place *place = &l->laid_out->places[root];
    const tuff_tensor *tensor = l->laid_out->graph->tensors[root];
    *offset = 0;
    if (place->kind == PLACE_STATE || place->kind == PLACE_GRADIENT) {
        *offset = place->state->offset;
        return place->kind == PLACE_STATE ? state_storage(l, place->state->block, index)
                                          : gradient_storage(l, place->state->block, index);
    }
    if (l->storage_of[root] == NONE) {
        uint64_t size = (uint64_t)tuff_shape_count(&tensor->shape) * tuff_type_size(tensor->type);
        if (place->kind == PLACE_OWN) {
            TRY(add_transient(l, size, tensor->name, &l->storage_of[root]));
        } else {
            storage storage = { .kind = place->kind == PLACE_INPUT ? STORAGE_INPUT : STORAGE_OUTPUT,
                                .size = (size + 15) & ~UINT64_C(15),
                                .tensor = place->kind == PLACE_INPUT ? tensor->origin : place->output,
                                .tensor_name = copy_text(tensor->name),
                                .host_size = size };
            if (!storage.tensor_name) return error_out_of_host_memory(strlen(tensor->name));
            TRY(add_storage(l, &storage, tensor->name, &l->storage_of[root]));
        }
    }
    *index = l->storage_of[root];
    return TUFF_OK;
}

/* Makes the views of all tensors that a node touches. */
static tuff_result resolve(lowering *l, const tuff_tensor *tensor) {
    const place *place = &l->laid_out->places[tensor->id];
    view *view = &l->views[tensor->id];
    *view = place->view;
    uint64_t offset;
    TRY(root_storage(l, place->root, &view->storage, &offset));
    view->offset += offset;
    return TUFF_OK;
}

const view *lowering_view(const lowering *l, const tuff_tensor *tensor) {
    return &l->views[tensor->id];
}

operand lowering_operand(const lowering *l, const view *view, uint32_t access, uint32_t *first) {
    uint64_t alignment = device_get_limits(l->out->device)->range_alignment;
    uint64_t each = tuff_type_size(view->type), begin = view->offset * each, start = begin & ~(alignment - 1);
    if (first) *first = (uint32_t)((begin - start) / each);
    return (operand){ .storage = view->storage,
                      .offset = start,
                      .size = (begin - start + view_span(view) * each + 3) & ~UINT64_C(3),
                      .access = access,
                      .bytes = each == 1 };
}

uint64_t lowering_scratch_limit(const lowering *l) {
    return lowered_block_limit(l->out->device) / 4;
}

tuff_result lowering_scratch(lowering *l, uint64_t count, const char *name, view *out) {
    char full[192];
    snprintf(full, sizeof full, "%.60s of %.100s", name, l->label);
    memset(out, 0, sizeof *out);
    TRY(add_transient(l, count * 4, full, &out->storage));
    out->shape = (tuff_shape){ .rank = 1, .sizes = { (int64_t)count } };
    out->strides[0] = 1;
    return TUFF_OK;
}

tuff_result lowering_record(lowering *l, const uint32_t *words, uint32_t count, operand *binding, uint32_t *first) {
    if (l->record_storage == NONE)
        TRY(add_storage(l, &(storage){ .kind = STORAGE_CONSTANT }, "records", &l->record_storage));
    uint32_t at = NONE;
    for (uint32_t i = 0; i + count <= l->record_count && at == NONE; i += 4)
        if (memcmp(l->records + i, words, count * sizeof *words) == 0) at = i;
    if (at == NONE) {
        at = (l->record_count + 3) & ~3u; /* each record starts at 16 bytes */
        if (at + count > l->record_capacity) {
            uint32_t capacity = (at + count) * 2 + 256;
            uint32_t *moved = realloc(l->records, capacity * sizeof *moved);
            if (!moved) return error_out_of_host_memory(capacity * sizeof *moved);
            l->records = moved;
            l->record_capacity = capacity;
        }
        memset(l->records + l->record_count, 0, (at - l->record_count) * sizeof *words);
        memcpy(l->records + at, words, count * sizeof *words);
        l->record_count = at + count;
    }
    *binding = (operand){ .storage = l->record_storage, .access = ACCESS_READ }; /* its size is known at the end */
    *first = at;
    return TUFF_OK;
}

operand lowering_step_record(const lowering *l) {
    return (operand){ .storage = l->step_storage, .size = sizeof(step_record), .access = ACCESS_READ };
}

void lowering_cache_room(lowering *l, uint64_t most) {
    if (!l->out->has_cache || most < l->out->cache_room) l->out->cache_room = most;
    l->out->has_cache = true;
}

tuff_result lowering_call(lowering *l, const kernel_call *call) {
    lowered *out = l->out;
    const device_limits *limits = device_get_limits(out->device);
    const char *label = call->label ? call->label : l->label;
    for (uint32_t i = 0; i < call->operand_count; i++) {
        const operand *operand = &call->operands[i];
        const storage *storage = &out->storages[operand->storage];
        if (operand->size > limits->max_range)
            return error_set(
                TUFF_ERROR_UNSUPPORTED,
                "%s: '%s' spans %llu bytes, more than the %llu that one kernel argument may span on this device; "
                "use smaller batches",
                label, storage->name, (unsigned long long)operand->size, (unsigned long long)limits->max_range);
        if (operand->bytes && !call->takes_bytes)
            return error_set(TUFF_ERROR_UNSUPPORTED,
                             "%s: '%s' is uint8, which this operator's kernel cannot take; convert it by tuff_to",
                             label, storage->name);
        if (storage->kind != STORAGE_CONSTANT && operand->offset + operand->size > storage->size)
            return error_set(TUFF_ERROR_UNSUPPORTED, "%s: binding %u reaches past '%s': a bug in the operator's row",
                             label, i, storage->name);
    }
    for (uint32_t i = 0; i < 3; i++)
        if (call->groups[i] < 1 || call->groups[i] > MAX_GROUPS)
            return error_set(TUFF_ERROR_UNSUPPORTED, "%s: %u workgroups in direction %u; 1 to %d are possible", label,
                             call->groups[i], i, MAX_GROUPS);
    if (out->call_count == out->call_capacity) {
        uint32_t capacity = out->call_capacity ? out->call_capacity * 2 : 64;
        kernel_call *moved = realloc(out->calls, capacity * sizeof *moved);
        if (!moved) return error_out_of_host_memory(capacity * sizeof *moved);
        out->calls = moved;
        out->call_capacity = capacity;
    }
    char *owned = copy_text(label);
    if (!owned) return error_out_of_host_memory(strlen(label));
    kernel_call *added = &out->calls[out->call_count++];
    *added = *call;
    added->label = owned;
    added->segment = l->segment;
    added->after = l->after;
    return TUFF_OK;
}

/* ---- the parts of trial.h ------------------------------------------------------------------------ */

lowering_mark lowering_now(const lowering *l) {
    return (lowering_mark){ l->out->call_count, l->out->storage_count, l->record_count, l->record_storage };
}

const lowered *lowering_so_far(const lowering *l, lowering_records *records) {
    *records = (lowering_records){ l->record_storage, l->records, l->record_count };
    return l->out;
}

void lowering_forget(lowering *l, const lowering_mark *mark) {
    lowered *out = l->out;
    while (out->call_count > mark->calls) free((char *)out->calls[--out->call_count].label);
    while (out->storage_count > mark->storages) free(out->storages[--out->storage_count].name);
    l->record_count = mark->records;
    l->record_storage = mark->record_storage;
}

/* ---- the parts of lower.h ----------------------------------------------------------------------- */

/* Views have no calls to wait for something: their readers do. */
static void pass_waits_on(lowering *l, const node *node) {
    uint32_t *wait = &l->waits[node->outputs[0]->id];
    *wait = l->waits[node->inputs[0]->id];
    if (node->op != &operator_recall) return;
    uint32_t made = l->made[l->laid_out->places[node->inputs[1]->id].root];
    if (made > *wait) *wait = made;
}

static tuff_result lower_nodes(lowering *l) {
    const tuff_graph *graph = l->laid_out->graph;
    for (uint32_t n = 0; n < graph->node_count; n++) {
        const node *node = graph->nodes[n];
        if (node->op->look) {
            pass_waits_on(l, node);
            continue;
        }
        /* segments only go forward: what the compiler moved behind the first backward node belongs there */
        if (node->backward && l->segment == SEGMENT_FORWARD) {
            l->segment = SEGMENT_BACKWARD;
            if (l->clears_gaps) TRY(lower_clear_gaps(l));
        }
        l->node = node;
        l->label = node->label;
        l->after = 0;
        for (uint32_t i = 0; i < node->input_count; i++) {
            if (!node_reads(node, i)) continue;
            TRY(resolve(l, node->inputs[i]));
            if (l->waits[node->inputs[i]->id] > l->after) l->after = l->waits[node->inputs[i]->id];
        }
        for (uint32_t i = 0; i < node->output_count; i++) TRY(resolve(l, node->outputs[i]));
        if (!node->op->lower)
            return error_set(TUFF_ERROR_UNSUPPORTED, "operator '%s' has no kernel: a bug in its row", node->op->name);
        TRY(node->op->lower(l, node));
        for (uint32_t i = 0; i < node->output_count; i++) l->made[node->outputs[i]->id] = l->out->call_count;
    }
    l->after = 0;
    return TUFF_OK;
}

static tuff_result finish_records(lowering *l) {
    if (l->record_storage == NONE) return TUFF_OK;
    storage *records = &l->out->storages[l->record_storage];
    records->size = ((uint64_t)l->record_count * 4 + 15) & ~UINT64_C(15);
    records->data = calloc(1, records->size);
    if (!records->data) return error_out_of_host_memory(records->size);
    memcpy(records->data, l->records, l->record_count * sizeof *l->records);
    for (uint32_t c = 0; c < l->out->call_count; c++) {
        kernel_call *call = &l->out->calls[c];
        for (uint32_t i = 0; i < call->operand_count; i++)
            if (call->operands[i].storage == l->record_storage) call->operands[i].size = records->size;
    }
    return TUFF_OK;
}

/* The gradient that belongs to a place in a block of parameters; NULL if the program has none. */
static const place *gradient_place(const lowering *l, uint32_t gradient_count, uint32_t i) {
    return i < gradient_count ? &l->laid_out->places[l->laid_out->gradients[i]->id] : NULL;
}

typedef struct run {
    uint32_t block;
    uint64_t begin, end; /* elements; between them every state has a gradient */
} run;

static int compare_runs(const void *a, const void *b) {
    const run *x = a, *y = b;
    if (x->block != y->block) return x->block < y->block ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static uint64_t round_up(uint64_t value, uint64_t to) {
    return (value + to - 1) / to * to;
}

/* Stretches of parameters that all have gradients, each with its padding: what one update covers. */
static tuff_result find_runs(const lowering *l, uint32_t gradient_count, run **out, uint32_t *count) {
    run *runs = calloc(gradient_count + 1, sizeof *runs);
    if (!runs) return error_out_of_host_memory(gradient_count * sizeof *runs);
    for (uint32_t i = 0; i < gradient_count; i++) {
        const state_entry *state = gradient_place(l, gradient_count, i)->state;
        runs[i] = (run){ state->block, state->offset, round_up(state->offset + state->count, STATE_ALIGNMENT) };
    }
    qsort(runs, gradient_count, sizeof *runs, compare_runs);
    uint32_t merged = 0;
    for (uint32_t i = 0; i < gradient_count; i++) {
        if (merged && runs[merged - 1].block == runs[i].block && runs[merged - 1].end == runs[i].begin)
            runs[merged - 1].end = runs[i].end;
        else
            runs[merged++] = runs[i];
    }
    *out = runs;
    *count = merged;
    return TUFF_OK;
}

static view flat_view(uint32_t storage, uint64_t offset, uint64_t count) {
    return (view){
        .storage = storage, .offset = offset, .shape = { .rank = 1, .sizes = { (int64_t)count } }, .strides = { 1 }
    };
}

/* Zeroes what lies between the gradients in their flat blocks, so that a norm may run over whole blocks. Updates run
 * over the gaps, too, but what they make of them nobody reads. */
tuff_result lower_clear_gaps(lowering *l) {
    enum { WORDS = 2 };
    uint32_t gradient_count = l->out->gradient_count;
    for (uint32_t block = 0; block < l->out->model->block_count && gradient_count; block++) {
        uint32_t *gaps = malloc(gradient_count * WORDS * sizeof *gaps), count = 0;
        if (!gaps) return error_out_of_host_memory(gradient_count * WORDS * sizeof *gaps);
        for (uint32_t i = 0; i < gradient_count; i++) {
            const state_entry *state = gradient_place(l, gradient_count, i)->state;
            uint64_t end = state->offset + state->count, padded = round_up(end, STATE_ALIGNMENT);
            if (state->block != block || end == padded) continue;
            gaps[count * WORDS] = (uint32_t)end;
            gaps[count * WORDS + 1] = (uint32_t)(padded - end);
            count++;
        }
        tuff_result result = TUFF_OK;
        for (uint32_t done = 0; done < count && result == TUFF_OK; done += MAX_GROUPS) {
            uint32_t groups = count - done < MAX_GROUPS ? count - done : MAX_GROUPS;
            kernel_call call = {
                .kernel = KERNEL_CLEAR_GAPS, .operand_count = 2, .param_count = 1, .label = "clear gaps"
            };
            uint32_t storage;
            result = gradient_storage(l, block, &storage);
            if (result != TUFF_OK) break;
            view all = flat_view(storage, 0, l->out->model->blocks[block].count);
            result = lowering_record(l, gaps + done * WORDS, groups * WORDS, &call.operands[0], &call.params[0]);
            call.operands[1] = lowering_operand(l, &all, ACCESS_WRITE, NULL);
            call.groups[0] = groups;
            call.groups[1] = call.groups[2] = 1;
            if (result == TUFF_OK) result = lowering_call(l, &call);
        }
        free(gaps);
        TRY(result);
    }
    return TUFF_OK;
}

static tuff_result lower_update(lowering *l, const run *runs, uint32_t run_count, float clip_norm) {
    tuff_optimizer *optimizer = l->out->optimizer;
    l->segment = SEGMENT_UPDATE;
    l->label = optimizer->name;
    view *gradients = calloc(run_count + 1, sizeof *gradients), scale;
    if (!gradients) return error_out_of_host_memory(run_count * sizeof *gradients);
    tuff_result result = TUFF_OK;
    for (uint32_t r = 0; r < run_count && result == TUFF_OK; r++) {
        uint32_t storage;
        result = gradient_storage(l, runs[r].block, &storage);
        if (result == TUFF_OK) gradients[r] = flat_view(storage, runs[r].begin, runs[r].end - runs[r].begin);
    }
    if (result == TUFF_OK && clip_norm > 0) result = lower_clip_scale(l, gradients, run_count, clip_norm, &scale);
    for (uint32_t r = 0; r < run_count && result == TUFF_OK; r++) {
        optimizer_block block;
        uint32_t storage;
        view moments[MAX_MOMENTS];
        uint64_t count = runs[r].end - runs[r].begin;
        result = optimizer_place(optimizer, runs[r].block, &block);
        for (uint32_t m = 0; m < optimizer->rule->moment_count && result == TUFF_OK; m++) {
            result = state_storage(l, block.moments[m], &storage);
            if (result == TUFF_OK) moments[m] = flat_view(storage, runs[r].begin, count);
        }
        if (result == TUFF_OK) result = state_storage(l, runs[r].block, &storage);
        if (result != TUFF_OK) break;
        view parameter = flat_view(storage, runs[r].begin, count);
        result = optimizer->rule->lower(l, optimizer, &parameter, &gradients[r], moments, clip_norm > 0 ? &scale : NULL,
                                        count);
    }
    free(gradients);
    return result;
}

tuff_result graph_lower(const laid_out *laid_out, const lower_options *options, lowered **result_out) {
    tuff_model *model = laid_out->graph->model;
    lowered *out = calloc(1, sizeof *out);
    if (!out) return error_out_of_host_memory(sizeof *out);
    *out = (lowered){ .device = model->device,
                      .model = model,
                      .optimizer = options->optimizer,
                      .name = copy_text(options->name),
                      .gradient_count = options->gradient_count };
    uint32_t tensor_count = laid_out->graph->tensor_count;
    run *runs = NULL;
    uint32_t run_count = 0;
    lowering l = { .laid_out = laid_out,
                   .out = out,
                   .record_storage = NONE,
                   .label = "program",
                   .clears_gaps = options->optimizer && options->clip_norm > 0,
                   .storage_of = malloc((tensor_count + 1) * sizeof *l.storage_of),
                   .views = calloc(tensor_count + 1, sizeof *l.views),
                   .made = calloc(tensor_count + 1, sizeof *l.made),
                   .waits = calloc(tensor_count + 1, sizeof *l.waits) };
    tuff_result result = TUFF_OK;
    /* moments of the optimizer come first: placing them adds blocks to the model */
    for (uint32_t i = 0; i < options->gradient_count && options->optimizer && result == TUFF_OK; i++) {
        optimizer_block block;
        result =
            optimizer_place(options->optimizer, gradient_place(&l, options->gradient_count, i)->state->block, &block);
    }
    l.state_of = malloc((model->block_count + 1) * sizeof *l.state_of);
    l.gradient_of = malloc((model->block_count + 1) * sizeof *l.gradient_of);
    if (result == TUFF_OK
        && (!out->name || !l.storage_of || !l.views || !l.made || !l.waits || !l.state_of || !l.gradient_of))
        result = error_out_of_host_memory(tensor_count * sizeof *l.views);
    if (result == TUFF_OK) {
        memset(l.storage_of, 0xff, tensor_count * sizeof *l.storage_of);
        memset(l.state_of, 0xff, model->block_count * sizeof *l.state_of);
        memset(l.gradient_of, 0xff, model->block_count * sizeof *l.gradient_of);
        result = add_storage(&l, &(storage){ .kind = STORAGE_STEP, .size = sizeof(step_record) }, "step record",
                             &l.step_storage);
    }
    if (result == TUFF_OK) result = lower_nodes(&l);
    if (result == TUFF_OK && options->optimizer) {
        result = find_runs(&l, options->gradient_count, &runs, &run_count);
        if (result == TUFF_OK) result = lower_update(&l, runs, run_count, options->clip_norm);
    }
    if (result == TUFF_OK) result = finish_records(&l);
    free(runs);
    free(l.storage_of);
    free(l.state_of);
    free(l.gradient_of);
    free(l.records);
    free(l.views);
    free(l.made);
    free(l.waits);
    if (result != TUFF_OK) {
        lowered_free(out);
        out = NULL;
    }
    *result_out = out;
    return result;
}
