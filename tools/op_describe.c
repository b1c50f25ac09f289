#include "op_describe.h"

#include "row_text.h"
#include "runtime/graph/attributes.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- tuff op --list ------------------------------------------------------------------------------ */

static json_t *types_json(uint32_t types) {
    json_t *list = json_array();
    for (uint32_t type = 0; type < TUFF_TYPES; type++)
        if (types >> type & 1) json_array_append_new(list, json_string(type_text((tuff_type)type)));
    return list;
}

static json_t *inputs_json(const operator* op) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < operator_input_count(op); i++) {
        size_t length = strcspn(op->inputs[i], "?*");
        json_array_append_new(list, json_pack("{s:o, s:b, s:b, s:o}", "name", json_stringn(op->inputs[i], length),
                                              "optional", op->inputs[i][length] == '?', "many",
                                              op->inputs[i][length] == '*', "types", types_json(row_types(op, i))));
    }
    return list;
}

static json_t *choices_json(const char *choices) {
    json_t *list = json_array();
    for (const char *at = choices; at && *at; at += strcspn(at, "|"), at += *at == '|')
        json_array_append_new(list, json_stringn(at, strcspn(at, "|")));
    return list;
}

/* JSON has no infinities: they are texts, as attributes take them. */
static json_t *number_json(double value) {
    return isfinite(value) ? json_real(value) : json_string(value < 0 ? "-inf" : "inf");
}

static json_t *list_json(const attribute *attribute) {
    json_t *list = json_array();
    for (int64_t i = 0; i < attribute->value.i; i++)
        json_array_append_new(list, attribute->type == ATTRIBUTE_INTS ? json_integer(attribute->value.list[i])
                                                                      : number_json(attribute->value.numbers[i]));
    return list;
}

static json_t *default_json(const attribute *attribute) {
    char text[ATTRIBUTE_TEXT];
    if (attribute->required || attribute->like) return json_null();
    int64_t value = attribute->value.i;
    switch (attribute->type) {
    case ATTRIBUTE_INT: return value == ATTRIBUTE_NONE ? json_null() : json_integer(value);
    case ATTRIBUTE_FLOAT: return number_json(attribute->value.f);
    case ATTRIBUTE_BOOL: return json_boolean(value);
    case ATTRIBUTE_INTS:
    case ATTRIBUTE_FLOATS:
        if (value == 0) return json_null();
        if (value > 0) return list_json(attribute);
        break; /* below 0: a word in place of the numbers */
    case ATTRIBUTE_CHOICE:
    case ATTRIBUTE_STRING: break;
    }
    return json_string(attribute_value_text(attribute, &attribute->value, text));
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
        if (a->like) json_object_set_new(entry, "default_from", json_string(a->like));
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

int op_print_list(void) {
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
    /* the digits of a float: 0.1, not 0.10000000149011612 */
    int failed = !document || json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != 0;
    json_decref(document);
    putchar('\n');
    return failed;
}

/* ---- tuff op NAME --help ------------------------------------------------------------------------- */

static void print_inputs(const operator* op) {
    attributes defaults;
    attributes_begin(&defaults, op);
    printf("\ninputs\n");
    for (uint32_t i = 0; i < operator_input_count(op); i++) {
        char name[64], second[64], types[TYPES_TEXT];
        bool many = op->inputs[i][strcspn(op->inputs[i], "?*")] == '*';
        operator_input_name(op, i, defaults.values, name);
        printf("  %-24s %s", name, types_text(row_types(op, i), types));
        if (op->shape_only >> i & 1) printf(", only its shape matters");
        if (operator_input_optional(op, i)) printf(", optional");
        if (many) {
            operator_input_name(op, i + 1, defaults.values, second);
            printf(", and so on: %s, ...", second);
        }
        printf("\n");
    }
}

static void print_attributes(const operator* op) {
    if (op->attribute_count || op->flags & OPERATOR_TRAINING) printf("\nattributes\n");
    for (uint32_t i = 0; i < op->attribute_count; i++) {
        const attribute *a = &op->attributes[i];
        char name[ATTRIBUTE_TEXT + 64], text[ATTRIBUTE_TEXT];
        snprintf(name, sizeof name, "%s=%s", a->name,
                 a->required ? "..."
                 : a->like   ? a->like
                             : attribute_value_text(a, &a->value, text));
        printf("  %-24s %s%s\n", name, attribute_type_text(a, text), a->required ? "; required" : "");
    }
    if (op->flags & OPERATOR_TRAINING)
        printf("  %-24s true or false: what a program that trains does\n", "training=false");
}

static void print_outputs(const operator* op) {
    bool renamed = op->outputs[0] && strcmp(op->outputs[0], "output") != 0;
    printf("\noutputs\n  ");
    for (uint32_t i = 0; i < MAX_OUTPUTS && op->outputs[i]; i++) printf("%s%s", i ? ", " : "", op->outputs[i]);
    printf("%s%s\n", op->outputs[0] ? "" : "output", renamed ? "; a single result is called output" : "");
    if (op->flags & OPERATOR_DETACH) printf("  no gradient\n");
}

void op_print_help(const operator* op) {
    printf("tuff op %s: %s\n", op->name, op->formula ? op->formula : "");
    print_inputs(op);
    print_attributes(op);
    print_outputs(op);
    printf("\nPyTorch\n  %s\n", op->pytorch ? op->pytorch : "none");
    if (op->limits) printf("  limits: %s\n", op->limits);
    printf("\n`tuff op --help` has the options, and says what files hold.\n");
}
