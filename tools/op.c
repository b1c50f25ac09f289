/* tuff op: one operator on tensors from a file, and its gradients. */
#include "command.h"

#include "runtime/graph/attributes.h"
#include <tuff/io.h>
#include <tuff/layers.h>

#include <jansson.h>
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
    tuff_tensor *inputs[MAX_INPUTS], *grad_outputs[MAX_OUTPUTS];
    tuff_tensor *results[MAX_OUTPUTS + MAX_INPUTS]; /* outputs, then gradients */
    char names[MAX_OUTPUTS + MAX_INPUTS][96];
    uint32_t result_count;
} job;

static void usage(FILE *file) {
    fprintf(file,
            "usage: tuff op NAME [ATTRIBUTE=VALUE ...] --in CASE.safetensors --out RESULT.safetensors [--grad]\n"
            "       tuff op --list\n\n"
            "Runs one operator on a device. Its inputs are read by their names (input, weight, bias, ...), which are\n"
            "PyTorch's, as are its attributes' (stride=2,1 keepdim=true reduction=sum). A single result is written\n"
            "as \"output\", several under PyTorch's names, or as output.0, output.1 (split).\n\n"
            "  --grad      also reads grad_output (grad_NAME for each of several results; one that is missing sends\n"
            "              no gradient) and writes the gradient of each input that has one: grad_input, ...\n"
            "  --list      every operator with its inputs, attributes, types and defaults, as JSON\n"
            "  --device D  index, part of the name, or UUID (tuff info lists them)\n"
            "  training=true  what a program that trains does, for operators that have two ways (batch_norm)\n");
}

/* ---- the list ----------------------------------------------------------------------------------- */

static json_t *types_json(uint32_t types) {
    json_t *list = json_array();
    for (uint32_t type = 0; type < TUFF_TYPES; type++)
        if ((types ? types : TYPE_F32) >> type & 1)
            json_array_append_new(list, json_string(type_text((tuff_type)type)));
    return list;
}

static json_t *inputs_json(const operator* op) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < operator_input_count(op); i++) {
        size_t length = strcspn(op->inputs[i], "?*");
        json_array_append_new(list, json_pack("{s:o, s:b, s:b, s:o}", "name", json_stringn(op->inputs[i], length),
                                              "optional", op->inputs[i][length] == '?', "many",
                                              op->inputs[i][length] == '*', "types", types_json(op->types[i])));
    }
    return list;
}

static json_t *choices_json(const char *choices) {
    json_t *list = json_array();
    for (const char *at = choices; at && *at; at += strcspn(at, "|"), at += *at == '|')
        json_array_append_new(list, json_stringn(at, strcspn(at, "|")));
    return list;
}

static json_t *default_json(const attribute *attribute) {
    char text[ATTRIBUTE_TEXT];
    if (attribute->required) return json_null();
    if (attribute->like) return json_sprintf("%s", attribute->like);
    attribute_value_text(attribute, &attribute->value, text);
    return json_string(text);
}

static json_t *attributes_json(const operator* op) {
    static const char *const types[] = {
        [ATTRIBUTE_INT] = "int",       [ATTRIBUTE_FLOAT] = "float",   [ATTRIBUTE_BOOL] = "bool",
        [ATTRIBUTE_INTS] = "ints",     [ATTRIBUTE_FLOATS] = "floats", [ATTRIBUTE_CHOICE] = "choice",
        [ATTRIBUTE_STRING] = "string",
    };
    json_t *list = json_array();
    for (uint32_t i = 0; i < op->attribute_count; i++) {
        const attribute *a = &op->attributes[i];
        json_t *entry = json_pack("{s:s, s:s, s:b, s:o}", "name", a->name, "type", types[a->type], "required",
                                  a->required, "default", default_json(a));
        if (a->choices) json_object_set_new(entry, "choices", choices_json(a->choices));
        if (a->type == ATTRIBUTE_INTS && a->length) json_object_set_new(entry, "length", json_integer(a->length));
        json_array_append_new(list, entry);
    }
    return list;
}

static json_t *outputs_json(const operator* op) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < MAX_OUTPUTS && op->outputs[i]; i++)
        json_array_append_new(list, json_string(op->outputs[i]));
    if (!op->outputs[0]) json_array_append_new(list, json_string("output"));
    return list;
}

static int print_list(void) {
    uint32_t count;
    const operator* const * rows = operator_table(&count);
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++) {
        const operator* op = rows[i];
        if (op->flags & OPERATOR_INTERNAL) continue;
        json_array_append_new(list, json_pack("{s:s, s:s*, s:s*, s:o, s:o, s:o, s:b, s:b, s:s*}", "name", op->name,
                                              "formula", op->formula, "pytorch", op->pytorch, "inputs", inputs_json(op),
                                              "attributes", attributes_json(op), "outputs", outputs_json(op),
                                              "gradient", !(op->flags & OPERATOR_DETACH), "training",
                                              !!(op->flags & OPERATOR_TRAINING), "limits", op->limits));
    }
    json_t *document = json_pack("{s:o}", "operators", list);
    int failed = !document || json_dumpf(document, stdout, JSON_INDENT(2)) != 0;
    json_decref(document);
    putchar('\n');
    return failed;
}

/* ---- the graph ---------------------------------------------------------------------------------- */

static const operator* find_operator(const char *name) {
    const operator* found = operator_find(name);
    if (found && !(found->flags & OPERATOR_INTERNAL)) return found;
    uint32_t count;
    const operator* const * rows = operator_table(&count);
    fprintf(stderr, "tuff op: there is no operator \"%s\"; there are", name);
    for (uint32_t i = 0, column = 0; i < count; i++) {
        if (rows[i]->flags & OPERATOR_INTERNAL) continue;
        fprintf(stderr, "%s%s", column++ % 10 ? " " : "\n  ", rows[i]->name);
    }
    fprintf(stderr, "\n");
    return NULL;
}

/* One result is "output", several have PyTorch's names, or numbers where those of PyTorch have none (split). */
static void output_name(const operator* op, uint32_t count, uint32_t i, char name[64]) {
    if (op->outputs[0] && op->outputs[i])
        snprintf(name, 64, "%s", op->outputs[i]);
    else if (count > 1)
        snprintf(name, 64, "output.%u", i);
    else
        snprintf(name, 64, "output");
}

static tuff_result add_input(job *j, const char *name, tuff_tensor **tensor) {
    const tuff_file_tensor *given = tuff_safetensors_find(j->file, name);
    *tensor = given ? tuff_input(j->graph, name, given->type, given->shape) : NULL;
    return tuff_graph_result(j->graph);
}

/* The names that the file may hold, and an error for any other. */
static tuff_result check_names(const job *j) {
    char possible[1024] = "", name[64];
    for (uint32_t t = 0; t < tuff_safetensors_count(j->file); t++) {
        const char *given = tuff_safetensors_at(j->file, t)->name;
        bool known = false;
        size_t used = 0;
        for (uint32_t i = 0; i < j->input_count || i < operator_input_count(j->op); i++) {
            operator_input_name(j->op, i, j->options->attributes.values, name);
            known |= strcmp(given, name) == 0;
            used += (size_t)snprintf(possible + used, used < sizeof possible ? sizeof possible - used : 0, "%s%s",
                                     i ? ", " : "", name);
            if (used > sizeof possible) used = sizeof possible;
        }
        known |= strncmp(given, "grad_", 5) == 0; /* those of outputs: checked when they are known */
        if (!known)
            return error_set(TUFF_ERROR_ARGUMENT, "%s has no input '%s' (the file holds one); it has %s", j->op->name,
                             given, *possible ? possible : "none");
    }
    return TUFF_OK;
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
    TRY(check_names(j));
    for (uint32_t i = 0; i < named; i++) {
        operator_input_name(j->op, i, j->options->attributes.values, name);
        if (!j->inputs[i] && !operator_input_optional(j->op, i))
            return error_set(TUFF_ERROR_ARGUMENT, "%s needs '%s', which the file does not hold", j->op->name, name);
    }
    return TUFF_OK;
}

static void add_result(job *j, tuff_tensor *tensor, const char *prefix, const char *name) {
    snprintf(j->names[j->result_count], sizeof j->names[0], "%s%s", prefix, name);
    j->results[j->result_count++] = tensor;
}

/* What is differentiated: the sum of each output times what arrives at it. */
static tuff_result add_loss(job *j, const node *node, tuff_tensor **loss) {
    char name[64], full[96];
    for (uint32_t i = 0; i < node->output_count; i++) {
        output_name(j->op, node->output_count, i, name);
        snprintf(full, sizeof full, "grad_%s", name);
        if (node->outputs[i]->type != TUFF_F32) continue;
        TRY(add_input(j, full, &j->grad_outputs[i]));
        tuff_tensor *arriving = j->grad_outputs[i];
        if (!arriving && node->output_count == 1 && tuff_shape_count(&node->outputs[i]->shape) > 1)
            return error_set(TUFF_ERROR_ARGUMENT, "--grad needs 'grad_output', which the file does not hold");
        if (!arriving && node->output_count > 1) continue;
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
    return *loss ? TUFF_OK : error_set(TUFF_ERROR_ARGUMENT, "%s: the file holds no gradient of an output", j->op->name);
}

static tuff_result add_gradients(job *j, const node *node) {
    tuff_tensor *loss = NULL, *wanted[MAX_INPUTS], *gradients[MAX_INPUTS] = { NULL };
    uint32_t of[MAX_INPUTS], count = 0;
    char name[64];
    if (j->op->flags & OPERATOR_DETACH)
        return error_set(TUFF_ERROR_ARGUMENT, "%s has no gradient; leave --grad out", j->op->name);
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
        add_result(j, gradients[i], "grad_", name);
    }
    return TUFF_OK;
}

static tuff_result build(job *j) {
    char name[64];
    TRY(add_inputs(j));
    tuff_tensor *first =
        graph_apply(j->graph, j->op, j->inputs, j->input_count, j->options->attributes.values, j->op->name);
    if (!first) return tuff_graph_result(j->graph);
    const node *node = first->producer;
    j->output_count = node->output_count;
    for (uint32_t i = 0; i < node->output_count; i++) {
        output_name(j->op, node->output_count, i, name);
        add_result(j, node->outputs[i], "", name);
    }
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
    fprintf(stderr, "tuff op: %s\n", tuff_last_message());
    return 2;
}

int command_op(int argc, char **argv) {
    options o = { 0 };
    const operator* op = NULL;
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
            return print_list();
        } else if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            usage(stdout);
            return 0;
        } else if (word[0] == '-') {
            return fail_usage("\"%s\" is not an option", word);
        } else if (!op) {
            if (!(op = find_operator(word))) return 2;
            attributes_begin(&o.attributes, op);
        } else {
            int status = read_attribute(&o, op, word);
            if (status) return status;
        }
    }
    if (!op) return fail_usage("%s is missing", "the operator's name");
    if (attributes_end(&o.attributes) != TUFF_OK) {
        fprintf(stderr, "tuff op: %s\n", tuff_last_message());
        return 2;
    }
    if (!o.in || !o.out) return fail_usage("%s FILE is missing", o.in ? "--out" : "--in");
    job *j = calloc(1, sizeof *j);
    if (!j) return 1;
    j->options = &o;
    j->op = op;
    tuff_result result = run_job(j);
    if (result != TUFF_OK) fprintf(stderr, "tuff op: %s\n", tuff_last_message());
    end_job(j);
    free(j);
    return result != TUFF_OK;
}
