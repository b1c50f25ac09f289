/* tuff op: one operator on tensors from a file, and its gradients. */
#include "command.h"
#include "op_describe.h"
#include "op_find.h"
#include "row_text.h"

#include "runtime/graph/attributes.h"
#include "runtime/io/io_internal.h"
#include <tuff/io.h>
#include <tuff/layers.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    const char *name, *in, *out, *device;
    bool grad, training;
    attributes attributes;
} options;

/* What the file holds for the operator, the graph made of it, and its results. */
typedef struct job {
    const options *options;
    const operator* op;
    tuff_safetensors *file;
    tuff_device *device;
    tuff_model *model;
    tuff_graph *graph;
    tuff_program *program;
    uint32_t input_count, output_count;
    uint32_t held; /* inputs that the file holds: of a list they may be more than a node takes */
    tuff_tensor *inputs[MAX_INPUTS], *grad_outputs[MAX_OUTPUTS];
    tuff_tensor *results[MAX_OUTPUTS + MAX_INPUTS]; /* outputs, then gradients */
    char names[MAX_OUTPUTS + MAX_INPUTS][96];
    uint32_t result_count;
} job;

static void usage(FILE *file) {
    fprintf(file,
            "usage: tuff op NAME [ATTRIBUTE=VALUE ...] --in CASE.safetensors --out RESULT.safetensors [--grad]\n"
            "       tuff op NAME --help\n"
            "       tuff op --list\n\n"
            "Runs one operator on a device. Its inputs are read by their names (input, weight, bias, ...), which are\n"
            "PyTorch's, as are its attributes' (stride=2,1 keepdim=true reduction=sum). A single result is written\n"
            "as \"output\", several under PyTorch's names (values, indices), or as output.0, output.1 (split).\n\n"
            "  --grad      also reads grad_output (grad_NAME for each of several results; one that is missing sends\n"
            "              no gradient; a single number without one gets 1) and writes the gradient of each input\n"
            "              that has one: grad_input, ...\n"
            "  --help      after a NAME: that operator's formula, inputs, attributes and outputs\n"
            "  --list      every operator with its inputs, attributes, types and defaults, as JSON\n"
            "  --device D  index, part of the name, or UUID (tuff info lists them)\n"
            "  training=true  what a program that trains does, for operators that have two ways (batch_norm)\n");
}

/* ---- the graph ---------------------------------------------------------------------------------- */

/* One result is "output", several have PyTorch's names, or numbers where those of PyTorch have none (split). */
static void output_name(const operator* op, uint32_t count, uint32_t i, char name[64]) {
    if (count == 1)
        snprintf(name, 64, "output"); /* also of a row that could have more: max without dim */
    else if (op->outputs[i])
        snprintf(name, 64, "%s", op->outputs[i]);
    else
        snprintf(name, 64, "output.%u", i);
}

/* A list of names, "input, other"; what does not fit is left out. */
static void append_name(char list[1024], const char *name) {
    size_t used = strlen(list);
    snprintf(list + used, 1024 - used, "%s%s", used ? ", " : "", name);
}

static tuff_result add_input(job *j, const char *name, tuff_tensor **tensor) {
    const tuff_file_tensor *given = tuff_safetensors_find(j->file, name);
    *tensor = given ? tuff_input(j->graph, name, given->type, given->shape) : NULL;
    return tuff_graph_result(j->graph);
}

static const char grad_prefix[] = "grad_";

/* What the name that the file holds, and that is none of the inputs, ought to be. */
static tuff_result fail_name(const job *j, const char *given) {
    char possible[1024] = "", name[64], first_missing[64] = "";
    const attribute_value *values = j->options->attributes.values;
    uint32_t named = operator_input_count(j->op);
    bool many = operator_takes_many(j->op);
    uint32_t names = many ? MAX_INPUTS + tuff_safetensors_count(j->file) : named;
    for (uint32_t i = 0; i < names; i++) {
        operator_input_name(j->op, i, values, name);
        if (i < j->input_count || i < named) {
            append_name(possible, name);
            continue;
        }
        if (!*first_missing) snprintf(first_missing, sizeof first_missing, "%s", name);
        if (strcmp(name, given) == 0)
            return error_set(TUFF_ERROR_ARGUMENT, "%s: the file holds '%s', but no '%s' before it", j->op->name, given,
                             first_missing);
    }
    return error_set(TUFF_ERROR_ARGUMENT, "%s has no input '%s' (the file holds one); it has %s%s", j->op->name, given,
                     *possible ? possible : "none", many ? ", and so on" : "");
}

/* An error for a tensor in the file that is no input. Gradients of outputs are checked when those are known. */
static tuff_result check_names(const job *j) {
    char name[64];
    for (uint32_t t = 0; t < tuff_safetensors_count(j->file); t++) {
        const char *given = tuff_safetensors_at(j->file, t)->name;
        bool known = strncmp(given, grad_prefix, strlen(grad_prefix)) == 0;
        for (uint32_t i = 0; !known && (i < j->input_count || i < operator_input_count(j->op)); i++) {
            operator_input_name(j->op, i, j->options->attributes.values, name);
            known = strcmp(given, name) == 0;
        }
        if (!known) return fail_name(j, given);
    }
    return TUFF_OK;
}

/* Before the graph checks it, which knows only names that it was given: here both are the same. */
static tuff_result check_type(const job *j, uint32_t i, const char *name) {
    uint32_t types = row_types(j->op, i), wanted = TUFF_F32;
    char possible[TYPES_TEXT];
    if (!j->inputs[i] || types >> j->inputs[i]->type & 1) return TUFF_OK;
    while (!(types >> wanted & 1)) wanted++;
    return error_set(TUFF_ERROR_SHAPE, "%s: '%s' is %s, it must be %s; `tuff op to dtype=%s` converts it", j->op->name,
                     name, type_text(j->inputs[i]->type), types_text(types, possible), type_text((tuff_type)wanted));
}

static uint32_t count_held(const job *j) {
    uint32_t held = j->input_count;
    char name[64];
    for (; held >= MAX_INPUTS && operator_takes_many(j->op); held++) {
        operator_input_name(j->op, held, j->options->attributes.values, name);
        if (!tuff_safetensors_find(j->file, name)) break;
    }
    return held;
}

static tuff_result add_inputs(job *j) {
    char name[64];
    uint32_t named = operator_input_count(j->op);
    for (uint32_t i = 0; i < MAX_INPUTS && (i < named || operator_takes_many(j->op)); i++) {
        operator_input_name(j->op, i, j->options->attributes.values, name);
        TRY(add_input(j, name, &j->inputs[i]));
        if (j->inputs[i])
            j->input_count = i + 1;
        else if (i + 1 >= named)
            break;
    }
    j->held = count_held(j);
    if (j->held <= MAX_INPUTS) TRY(check_names(j)); /* else they are too many, whatever their names */
    for (uint32_t i = 0; i < named || i < j->input_count; i++) {
        operator_input_name(j->op, i, j->options->attributes.values, name);
        if (!j->inputs[i] && !operator_input_optional(j->op, i))
            return error_set(TUFF_ERROR_ARGUMENT, "%s needs '%s', which the file does not hold", j->op->name, name);
        TRY(check_type(j, i, name));
    }
    return TUFF_OK;
}

/* An error for a gradient in the file that no output takes: without one, a misspelt name would be a gradient of 1. */
static tuff_result check_gradient_names(const job *j, const node *node) {
    for (uint32_t t = 0; t < tuff_safetensors_count(j->file); t++) {
        const char *given = tuff_safetensors_at(j->file, t)->name, *of = given + strlen(grad_prefix);
        char possible[1024] = "", name[64];
        const tuff_tensor *output = NULL;
        if (strncmp(given, grad_prefix, strlen(grad_prefix)) != 0) continue;
        for (uint32_t i = 0; i < node->output_count; i++) {
            output_name(j->op, node->output_count, i, name);
            append_name(possible, name);
            if (strcmp(of, name) == 0) output = node->outputs[i];
        }
        if (!output)
            return error_set(TUFF_ERROR_ARGUMENT, "%s has no output '%s' (the file holds '%s'); it has %s", j->op->name,
                             of, given, possible);
        if (j->options->grad && output->type != TUFF_F32)
            return error_set(TUFF_ERROR_ARGUMENT, "%s: '%s' is %s and has no gradient (the file holds '%s')",
                             j->op->name, of, type_text(output->type), given);
    }
    return TUFF_OK;
}

static void add_result(job *j, tuff_tensor *tensor, const char *prefix, const char *name) {
    snprintf(j->names[j->result_count], sizeof j->names[0], "%s%s", prefix, name);
    j->results[j->result_count++] = tensor;
}

/* Nothing to differentiate: no output has a gradient, or the file holds none. */
static tuff_result fail_loss(const job *j, const node *node) {
    char possible[1024] = "", name[64], full[96];
    for (uint32_t i = 0; i < node->output_count; i++) {
        if (node->outputs[i]->type != TUFF_F32) continue;
        output_name(j->op, node->output_count, i, name);
        snprintf(full, sizeof full, "%s%s", grad_prefix, name);
        append_name(possible, full);
    }
    if (*possible)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "%s: --grad needs the gradient of an output, and the file holds none; it can hold %s",
                         j->op->name, possible);
    output_name(j->op, node->output_count, 0, name);
    return error_set(TUFF_ERROR_ARGUMENT, "%s: '%s' is %s, which has no gradient; leave --grad out", j->op->name, name,
                     type_text(node->outputs[0]->type));
}

/* What is differentiated: the sum of each output times what arrives at it. */
static tuff_result add_loss(job *j, const node *node, tuff_tensor **loss) {
    char name[64], full[96];
    for (uint32_t i = 0; i < node->output_count; i++) {
        output_name(j->op, node->output_count, i, name);
        snprintf(full, sizeof full, "%s%s", grad_prefix, name);
        if (node->outputs[i]->type != TUFF_F32) continue;
        TRY(add_input(j, full, &j->grad_outputs[i]));
        tuff_tensor *arriving = j->grad_outputs[i];
        if (!arriving && node->output_count == 1 && tuff_shape_count(&node->outputs[i]->shape) > 1)
            return error_set(TUFF_ERROR_ARGUMENT, "--grad needs 'grad_output', which the file does not hold");
        if (!arriving && node->output_count > 1) continue;
        if (arriving && arriving->type != TUFF_F32)
            return error_set(TUFF_ERROR_SHAPE, "'%s' is %s, it must be float32", full, type_text(arriving->type));
        if (arriving && !shape_equal(&arriving->shape, &node->outputs[i]->shape)) {
            char first[SHAPE_TEXT], second[SHAPE_TEXT];
            return error_set(TUFF_ERROR_SHAPE, "'%s' has the shape %s, %s of %s has %s", full,
                             shape_text(&arriving->shape, first), name, j->op->name,
                             shape_text(&node->outputs[i]->shape, second));
        }
        tuff_tensor *term = arriving ? tuff_mul(node->outputs[i], arriving) : node->outputs[i];
        term = tuff_sum(term, NULL);
        *loss = *loss ? tuff_add(*loss, term) : term;
    }
    TRY(tuff_graph_result(j->graph));
    return *loss ? TUFF_OK : fail_loss(j, node);
}

static tuff_result add_gradients(job *j, const node *node) {
    tuff_tensor *loss = NULL, *wanted[MAX_INPUTS], *gradients[MAX_INPUTS] = { NULL };
    uint32_t of[MAX_INPUTS], count = 0;
    char name[64];
    TRY(add_loss(j, node, &loss));
    for (uint32_t i = 0; i < j->input_count; i++) {
        if (!j->inputs[i] || j->inputs[i]->type != TUFF_F32 || j->op->shape_only >> i & 1) continue;
        of[count] = i;
        wanted[count++] = j->inputs[i];
    }
    TRY(graph_differentiate(j->graph, loss, wanted, count, gradients));
    for (uint32_t i = 0; i < count; i++) {
        if (!gradients[i]) continue;
        operator_input_name(j->op, of[i], j->options->attributes.values, name);
        add_result(j, gradients[i], grad_prefix, name);
    }
    return TUFF_OK;
}

/* Of a list that is longer than a node's inputs. What the operator says of those that it was given stands first: it
 * knows its own limit. */
static tuff_result fail_count(const job *j, tuff_result result) {
    char name[64], said[1024];
    uint32_t before = operator_input_count(j->op) - 1; /* inputs in front of the list */
    uint32_t held = j->held - before, taken = MAX_INPUTS - before;
    const char *any = j->op->limits ? strstr(j->op->limits, "tuff_") : NULL;
    operator_input_name(j->op, before, j->options->attributes.values, name);
    if (result == TUFF_OK)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "%s: the file holds %u tensors from '%s' on, of which `tuff op` can take %u%s%s", j->op->name,
                         held, name, taken, any ? "; " : "", any ? any : "");
    snprintf(said, sizeof said, "%s", tuff_last_message());
    return error_set(result, "%s; the file holds %u tensors from '%s' on, of which `tuff op` reads %u", said, held,
                     name, taken);
}

static tuff_result build(job *j) {
    char name[64];
    TRY(add_inputs(j));
    tuff_tensor *first =
        graph_apply(j->graph, j->op, j->inputs, j->input_count, j->options->attributes.values, j->op->name);
    if (j->held > MAX_INPUTS) return fail_count(j, tuff_graph_result(j->graph));
    if (!first) return tuff_graph_result(j->graph);
    const node *node = first->producer;
    j->output_count = node->output_count;
    for (uint32_t i = 0; i < node->output_count; i++) {
        output_name(j->op, node->output_count, i, name);
        add_result(j, node->outputs[i], "", name);
    }
    if (j->options->grad && j->op->flags & OPERATOR_DETACH)
        return error_set(TUFF_ERROR_ARGUMENT, "%s has no gradient; leave --grad out", j->op->name);
    TRY(check_gradient_names(j, node));
    return j->options->grad ? add_gradients(j, node) : TUFF_OK;
}

/* ---- running ------------------------------------------------------------------------------------ */

static tuff_result write_input(const job *j, const tuff_tensor *tensor) {
    if (!tensor) return TUFF_OK;
    const tuff_file_tensor *given = tuff_safetensors_find(j->file, tensor->name);
    tuff_result result = tuff_write(j->program, tensor, given->data, given->size);
    /* an input of which only the shape matters is no input of the program */
    return result == TUFF_ERROR_ARGUMENT ? TUFF_OK : result;
}

static tuff_result run(job *j) {
    const tuff_program_desc desc = {
        .name = j->op->name, .outputs = j->results, .output_count = j->result_count, .evaluate = !j->options->training
    };
    TRY(tuff_compile(j->graph, &desc, &j->program));
    for (uint32_t i = 0; i < j->input_count; i++) TRY(write_input(j, j->inputs[i]));
    for (uint32_t i = 0; i < j->output_count; i++) TRY(write_input(j, j->grad_outputs[i]));
    return tuff_run(j->program);
}

static tuff_result write_results(job *j) {
    tuff_file_tensor tensors[MAX_OUTPUTS + MAX_INPUTS] = { 0 };
    void *data[MAX_OUTPUTS + MAX_INPUTS] = { NULL };
    tuff_result result = TUFF_OK;
    for (uint32_t i = 0; i < j->result_count && result == TUFF_OK; i++) {
        const tuff_tensor *tensor = j->results[i];
        size_t size = (size_t)tuff_shape_count(&tensor->shape) * tuff_type_size(tensor->type);
        data[i] = malloc(size);
        if (!data[i]) result = error_out_of_host_memory(size);
        if (result == TUFF_OK) result = tuff_read(j->program, tensor, data[i], size);
        tensors[i] = (tuff_file_tensor){ j->names[i], tensor->type, tensor->shape, data[i], size };
    }
    if (result == TUFF_OK) result = tuff_safetensors_write(j->options->out, tensors, j->result_count, NULL, 0);
    for (uint32_t i = 0; i < j->result_count; i++) free(data[i]);
    return result;
}

static void complain(void *user, tuff_log_level level, const char *message) {
    (void)user;
    if (level != TUFF_LOG_INFO) fprintf(stderr, "tuff op: %s\n", message);
}

static tuff_result run_job(job *j) {
    TRY(tuff_safetensors_open(j->options->in, &j->file));
    TRY(tuff_device_open(&(tuff_device_desc){ .select = j->options->device, .log = complain }, &j->device));
    j->model = tuff_model_create(j->device, NULL);
    j->graph = j->model ? tuff_graph_create(j->model) : NULL;
    if (!j->graph) return error_last();
    TRY(build(j));
    TRY(run(j));
    return write_results(j);
}

static void end_job(job *j) {
    tuff_program_destroy(j->program);
    tuff_graph_destroy(j->graph);
    tuff_model_destroy(j->model);
    tuff_device_close(j->device);
    tuff_safetensors_close(j->file);
}

/* ---- the command line --------------------------------------------------------------------------- */

/* A message that says of a tensor "'input' is int32" does not know that the file's is int64. */
static void print_file_types(const tuff_safetensors *file, const char *message) {
    for (uint32_t t = 0; t < tuff_safetensors_count(file); t++) {
        const tuff_file_tensor *tensor = tuff_safetensors_at(file, t);
        const char *there = io_file_type_text(tensor), *type = type_text(tensor->type);
        char said[160], listed[160];
        snprintf(said, sizeof said, "'%.100s' is %s", tensor->name, type);
        snprintf(listed, sizeof listed, "'%.100s' %s", tensor->name, type);
        if (there && (strstr(message, said) || strstr(message, listed)))
            fprintf(stderr, " ('%s' is %s in the file, which is read as %s)", tensor->name, there, type);
    }
}

/* The thread's message, with the name of a function of C as a command has it. file may be NULL. */
static void print_failure(const tuff_safetensors *file) {
    const char *message = tuff_last_message(), *function = strstr(message, "by tuff_to");
    if (function)
        fprintf(stderr, "tuff op: %.*sby `tuff op to`%s", (int)(function - message), message,
                function + strlen("by tuff_to"));
    else
        fprintf(stderr, "tuff op: %s", message);
    print_file_types(file, message);
    fprintf(stderr, "\n");
}

static int fail_usage(const char *message, const char *word) {
    fprintf(stderr, "tuff op: ");
    fprintf(stderr, message, word);
    fprintf(stderr, "\n\n");
    usage(stderr);
    return 2;
}

/* 0: go on; else the exit status. */
static int read_attribute(options *o, const operator* op, const char *text) {
    if (op->flags & OPERATOR_TRAINING && strncmp(text, "training=", 9) == 0) {
        o->training = strcmp(text + 9, "true") == 0;
        if (o->training || strcmp(text + 9, "false") == 0) return 0;
        fprintf(stderr, "tuff op: %s: attribute 'training' is '%s'; it must be true or false\n", op->name, text + 9);
        return 2;
    }
    if (attributes_set(&o->attributes, text) == TUFF_OK) return 0;
    print_failure(NULL);
    return 2;
}

int command_op(int argc, char **argv) {
    options o = { 0 };
    const operator* op = NULL;
    bool help = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        const char **value = !strcmp(word, "--in")       ? &o.in
                             : !strcmp(word, "--out")    ? &o.out
                             : !strcmp(word, "--device") ? &o.device
                                                         : NULL;
        if (value) {
            if (i + 1 == argc) return fail_usage("%s needs a value", word);
            *value = argv[++i];
        } else if (!strcmp(word, "--grad")) {
            o.grad = true;
        } else if (!strcmp(word, "--list")) {
            if (argc > 2) return fail_usage("--list stands alone; \"%s\" is unknown beside it", argv[i == 1 ? 2 : 1]);
            return op_print_list();
        } else if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            help = true; /* of the operator, which may stand behind it */
        } else if (word[0] == '-') {
            return fail_usage("\"%s\" is not an option", word);
        } else if (!op) {
            if (!(op = op_find(word))) return 2;
            attributes_begin(&o.attributes, op);
        } else {
            int status = read_attribute(&o, op, word);
            if (status) return status;
        }
    }
    if (help) {
        op ? op_print_help(op) : usage(stdout);
        return 0;
    }
    if (!op) return fail_usage("%s is missing", "the operator's name");
    if (attributes_end(&o.attributes) != TUFF_OK) {
        print_failure(NULL);
        return 2;
    }
    if (!o.in || !o.out) return fail_usage("%s FILE is missing", o.in ? "--out" : "--in");
    job *j = calloc(1, sizeof *j);
    if (!j) return 1;
    j->options = &o;
    j->op = op;
    tuff_result result = run_job(j);
    if (result != TUFF_OK) print_failure(j->file);
    end_job(j);
    free(j);
    return result != TUFF_OK;
}
