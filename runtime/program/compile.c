/* tuff_compile: the way from a user's graph to a program, one step after the other.
 *
 *   copy          what is needed, with the sizes asked for; operators without a gradient of their own in parts
 *   differentiate gradients of the parameters
 *   expand        composites into their parts, equal nodes into one
 *   recompute     marked segments a second time in the backward pass
 *   fuse          chains
 *   layout        where tensors lie
 *   lower         kernels
 *   schedule, plan, synchronise, record (program_create) */
#include "runtime/graph/fuse.h"
#include "runtime/graph/recompute.h"
#include "runtime/graph/rewrite.h"
#include "runtime/model/model.h"
#include "runtime/program/lower.h"
#include "runtime/program/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct compilation {
    const tuff_program_desc *desc;
    tuff_model *model;
    tuff_graph *graph;     /* the newest */
    tuff_tensor **targets; /* in graph: the loss, then outputs, then gradients */
    uint32_t target_count;
    uint32_t gradient_count; /* parameters trained */
    state_entry **states;
    laid_out laid_out;
    lowered *lowered;
    FILE *text, *dot;
    char *text_data, *dot_data;
    size_t text_size, dot_size;
} compilation;

static tuff_result check(const tuff_graph *graph, const tuff_program_desc *desc) {
    char text[SHAPE_TEXT];
    const char *name = desc->name ? desc->name : "program";
    if (desc->minimize) {
        if (desc->minimize->graph != graph)
            return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': minimize belongs to another graph", name);
        if (desc->minimize->type != TUFF_F32 || tuff_shape_count(&desc->minimize->shape) != 1)
            return error_set(
                TUFF_ERROR_SHAPE,
                "tuff_compile '%s': minimize '%s' %s is not a float scalar; reduce it by tuff_sum or tuff_mean", name,
                desc->minimize->name, shape_text(&desc->minimize->shape, text));
        if (!desc->optimizer)
            return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': minimize needs an optimizer (tuff_adamw_create)",
                             name);
        if (desc->evaluate)
            return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': a program that evaluates minimizes nothing",
                             name);
    } else if (desc->optimizer) {
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': an optimizer without minimize", name);
    }
    if (desc->optimizer && desc->optimizer->model != graph->model)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': the optimizer belongs to another model", name);
    if (!(desc->clip_norm >= 0))
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': clip_norm %g is not a norm", name,
                         (double)desc->clip_norm);
    if (desc->recordings > 16)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': %u recordings; 1 to 16 are possible, 2 is usual",
                         name, desc->recordings);
    if ((uint32_t)desc->profile > TUFF_PROFILE_DISPATCHES)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': there is no profile %d", name, (int)desc->profile);
    if (desc->output_count && !desc->outputs)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': output_count is %u but outputs is NULL", name,
                         desc->output_count);
    for (uint32_t i = 0; i < desc->output_count; i++)
        if (!desc->outputs[i] || desc->outputs[i]->graph != graph)
            return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': output %u %s", name, i,
                             desc->outputs[i] ? "belongs to another graph" : "is NULL");
    if (desc->input_size_count && !desc->input_sizes)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': input_size_count is %u but input_sizes is NULL", name,
                         desc->input_size_count);
    for (uint32_t i = 0; i < desc->input_size_count; i++) {
        const tuff_input_size *size = &desc->input_sizes[i];
        if (!size->input || size->input->graph != graph || size->input->kind != TENSOR_INPUT)
            return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile '%s': input_sizes[%u] names no input of this graph",
                             name, i);
        bool fits = size->shape.rank <= TUFF_MAX_RANK;
        double count = 1;
        for (uint32_t axis = 0; fits && axis < size->shape.rank; axis++) {
            fits = size->shape.sizes[axis] >= 1;
            count *= (double)size->shape.sizes[axis];
        }
        if (!fits || count > INT32_MAX)
            return error_set(TUFF_ERROR_SHAPE, "tuff_compile '%s': input '%s' cannot have the size %s", name,
                             size->input->name, shape_text(&size->shape, text));
    }
    return TUFF_OK;
}

static void dump_graph(compilation *c, const char *step) {
    if (!c->text) return;
    fprintf(c->text, "== %s: %u nodes, %u tensors\n", step, c->graph->node_count, c->graph->tensor_count);
    graph_dump_text(c->graph, c->text);
    if (strcmp(step, "differentiate") == 0 || strcmp(step, "fuse") == 0) graph_dump_dot(c->graph, step, c->dot);
}

static tuff_result rewrite(compilation *c, const tuff_graph *from, const rewrite_options *options) {
    tuff_graph *next;
    TRY(graph_rewrite(from, options, c->targets, c->target_count, &next));
    graph_free(c->graph);
    c->graph = next;
    return TUFF_OK;
}

static bool has_composites(const tuff_graph *graph, bool all) {
    for (uint32_t n = 0; n < graph->node_count; n++) {
        const operator* op = graph->nodes[n]->op;
        if (op->expand && (all || !op->gradient)) return true;
    }
    return false;
}

static tuff_result copy(compilation *c, tuff_graph *graph) {
    for (uint32_t t = 0; t < graph->tensor_count; t++) graph->tensors[t]->origin = t;
    c->targets = calloc(1 + c->desc->output_count, sizeof(tuff_tensor *));
    if (!c->targets) return error_out_of_host_memory(c->desc->output_count * sizeof(tuff_tensor *));
    c->targets[0] = c->desc->minimize;
    for (uint32_t i = 0; i < c->desc->output_count; i++) c->targets[1 + i] = c->desc->outputs[i];
    c->target_count = 1 + c->desc->output_count;
    rewrite_options options = { .input_sizes = c->desc->input_sizes,
                                .input_size_count = c->desc->input_size_count,
                                .training = !c->desc->evaluate };
    TRY(rewrite(c, graph, &options));
    options.input_size_count = 0;
    while (has_composites(c->graph, false)) TRY(rewrite(c, c->graph, &options));
    dump_graph(c, "copy");
    return TUFF_OK;
}

/* Appends the gradients of all parameters that the loss depends on to the targets. */
static tuff_result differentiate(compilation *c) {
    if (!c->desc->minimize) return TUFF_OK;
    tuff_graph *graph = c->graph;
    tuff_tensor **parameters = calloc(graph->tensor_count + 1, sizeof *parameters);
    tuff_tensor **gradients = calloc(graph->tensor_count + 1, sizeof *gradients);
    c->states = calloc(graph->tensor_count + 1, sizeof *c->states);
    uint32_t count = 0;
    tuff_result result = TUFF_OK;
    if (!parameters || !gradients || !c->states)
        result = error_out_of_host_memory(graph->tensor_count * sizeof *gradients);
    for (uint32_t t = 0; t < graph->tensor_count && result == TUFF_OK; t++)
        if (graph->tensors[t]->kind == TENSOR_STATE && graph->tensors[t]->state->kind == TUFF_STATE_PARAMETER)
            parameters[count++] = graph->tensors[t];
    if (result == TUFF_OK) result = graph_differentiate(graph, c->targets[0], parameters, count, gradients);
    tuff_tensor **targets =
        result == TUFF_OK ? realloc(c->targets, (c->target_count + count) * sizeof(tuff_tensor *)) : NULL;
    if (result == TUFF_OK && !targets) result = error_out_of_host_memory(count * sizeof *targets);
    if (result == TUFF_OK) {
        c->targets = targets;
        for (uint32_t i = 0; i < count; i++) {
            if (!gradients[i]) continue; /* a parameter that only outputs use is not trained here */
            c->states[c->gradient_count++] = parameters[i]->state;
            c->targets[c->target_count++] = gradients[i];
        }
        if (!c->gradient_count)
            result =
                error_set(TUFF_ERROR_ARGUMENT,
                          "tuff_compile '%s': no path with a gradient leads from '%s' to a parameter; is everything "
                          "behind it an input, or cut by a comparison or an argmax?",
                          c->desc->name ? c->desc->name : "program", c->targets[0]->name);
    }
    free(parameters);
    free(gradients);
    return result;
}

static tuff_result expand(compilation *c) {
    rewrite_options options = { .training = !c->desc->evaluate, .expand_all = true, .merge_equal = true };
    uint32_t before;
    do TRY(rewrite(c, c->graph, &options));
    while (has_composites(c->graph, true));
    /* until nothing goes any more: one round finds what is equal, the next one leaves the copies out */
    do {
        before = c->graph->node_count;
        TRY(rewrite(c, c->graph, &options));
    } while (c->graph->node_count < before);
    dump_graph(c, "expand");
    return TUFF_OK;
}

/* "fuse=none" or a list of moves with + between them forces just these. */
static tuff_result fusing_moves(const tuff_device *device, uint32_t *moves) {
    static const char *const names[] = { "epilogue", "chain", "prologue", "behind" };
    const char *force = device_force(device, "fuse");
    *moves = force ? 0 : FUSE_ALL;
    if (!force || strcmp(force, "none") == 0) return TUFF_OK;
    for (const char *at = force; at; at = strchr(at, '+') ? strchr(at, '+') + 1 : NULL) {
        size_t length = strcspn(at, "+");
        uint32_t found = 0;
        for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
            if (length == strlen(names[i]) && memcmp(at, names[i], length) == 0) found = 1u << i;
        if (!found)
            return error_set(TUFF_ERROR_ARGUMENT,
                             "the forced path fuse=%s wants none, or some of epilogue, chain, prologue and behind with "
                             "+ between them",
                             force);
        *moves |= found;
    }
    return TUFF_OK;
}

static tuff_result recompute(compilation *c) {
    if (!graph_has_checkpoints(c->graph)) return TUFF_OK;
    tuff_graph *next;
    TRY(graph_recompute(c->graph, c->targets, c->target_count, &next));
    graph_free(c->graph);
    c->graph = next;
    dump_graph(c, "recompute");
    return TUFF_OK;
}

static tuff_result fuse(compilation *c) {
    uint32_t moves;
    tuff_graph *fused;
    TRY(fusing_moves(c->model->device, &moves));
    TRY(graph_fuse(c->graph, moves, c->targets, c->target_count, &fused));
    graph_free(c->graph);
    c->graph = fused;
    dump_graph(c, "fuse");
    return TUFF_OK;
}

static tuff_result lay_out_and_lower(compilation *c, uint32_t operator_count) {
    uint32_t outputs = c->desc->output_count;
    TRY(model_place(c->model));
    TRY(graph_layout(c->graph, c->targets + 1, outputs, c->targets + 1 + outputs, c->states, c->gradient_count,
                     &c->laid_out));
    if (c->text) {
        fprintf(c->text, "== layout: %u copies\n", c->laid_out.copies);
        layout_dump(&c->laid_out, c->text);
    }
    lower_options options = { .name = c->desc->name ? c->desc->name : "program",
                              .optimizer = c->desc->minimize ? c->desc->optimizer : NULL,
                              .gradient_count = c->gradient_count,
                              .clip_norm = c->desc->clip_norm };
    TRY(graph_lower(&c->laid_out, &options, &c->lowered));
    c->lowered->operator_count = operator_count;
    /* outputs are known to the user by the tensors of his own graph */
    for (uint32_t s = 0; s < c->lowered->storage_count; s++) {
        storage *storage = &c->lowered->storages[s];
        if (storage->kind == STORAGE_OUTPUT) storage->tensor = c->desc->outputs[storage->tensor]->id;
    }
    return TUFF_OK;
}

static tuff_result compile(compilation *c, tuff_graph *graph, tuff_program **program) {
    TRY(copy(c, graph));
    TRY(differentiate(c));
    if (c->desc->minimize) dump_graph(c, "differentiate");
    uint32_t operator_count = c->graph->node_count;
    if (c->desc->minimize && c->gradient_count) c->targets[0] = NULL; /* the loss itself is needed only as an output */
    TRY(expand(c));
    TRY(recompute(c));
    TRY(fuse(c));
    TRY(lay_out_and_lower(c, operator_count));
    /* by address: the user's graph may be gone when its tensors are written and read */
    for (uint32_t s = 0; s < c->lowered->storage_count; s++) {
        storage *storage = &c->lowered->storages[s];
        if (storage->kind == STORAGE_INPUT || storage->kind == STORAGE_OUTPUT)
            storage->handle = graph->tensors[storage->tensor];
    }
    program_options options = { .recordings = c->desc->recordings ? c->desc->recordings : 2,
                                .replay_seed = c->desc->replay_seed,
                                .profile = c->desc->profile };
    TRY(program_create(c->lowered, &options, program));
    c->lowered = NULL; /* the program's now */
    if (c->text) {
        tuff_result result = program_dump_text(*program, c->text);
        fclose(c->text);
        fclose(c->dot);
        c->text = c->dot = NULL;
        program_keep_dumps(*program, c->text_data, c->dot_data);
        c->text_data = c->dot_data = NULL;
        return result;
    }
    return TUFF_OK;
}

tuff_result tuff_compile(tuff_graph *graph, const tuff_program_desc *desc, tuff_program **program) {
    static const tuff_program_desc defaults;
    if (!graph || !program)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_compile: %s is NULL", graph ? "program" : "graph");
    *program = NULL;
    if (graph->result != TUFF_OK) return error_set(graph->result, "%s", graph->message);
    if (!desc) desc = &defaults;
    TRY(check(graph, desc));
    compilation c = { .desc = desc, .model = graph->model };
    tuff_result result = TUFF_OK;
    if (desc->capture_steps) {
        c.text = open_memstream(&c.text_data, &c.text_size);
        c.dot = open_memstream(&c.dot_data, &c.dot_size);
        if (!c.text || !c.dot) result = error_out_of_host_memory(0);
    }
    if (result == TUFF_OK) result = compile(&c, graph, program);
    if (c.text) fclose(c.text);
    if (c.dot) fclose(c.dot);
    free(c.text_data);
    free(c.dot_data);
    graph_free(c.graph);
    free(c.targets);
    free(c.states);
    laid_out_free(&c.laid_out);
    lowered_free(c.lowered);
    return result;
}
