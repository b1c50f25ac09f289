/* tuff operators: the table of operators as Markdown. docs/operators.md is this output; a test compares them. */
#include "command.h"

#include "runtime/graph/attributes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *sort_of(const operator* op) {
    if (op->look) return "view";
    if (op->chain_op) return "pointwise";
    if (op->expand) return "composite";
    return "kernel";
}

static void print_attribute(const attribute *attribute) {
    char text[ATTRIBUTE_TEXT];
    printf("`%s`", attribute->name);
    if (attribute->like)
        printf(" = `%s`", attribute->like);
    else if (!attribute->required)
        printf(" = %s", attribute_value_text(attribute, &attribute->value, text));
    if (attribute->type == ATTRIBUTE_CHOICE) printf(" (%s)", attribute_type_text(attribute, text));
}

/* A formula may hold '|', which would end a table's cell. */
static void print_cell(const char *text) {
    for (; text && *text; text++) {
        if (*text == '|') putchar('\\');
        putchar(*text);
    }
}

static void print_row(const operator* op) {
    printf("| `%s` | %s | ", op->name, sort_of(op));
    for (uint32_t i = 0; i < MAX_INPUTS && op->inputs[i]; i++) {
        size_t length = strlen(op->inputs[i]);
        bool optional = length && op->inputs[i][length - 1] == '?';
        printf("%s%.*s%s%s", i ? ", " : "", (int)(length - optional), op->inputs[i], optional ? " (optional)" : "",
               op->shape_only >> i & 1 ? " (shape alone)" : "");
    }
    printf(" | ");
    for (uint32_t i = 0; i < op->attribute_count; i++) {
        if (i) printf(", ");
        print_attribute(&op->attributes[i]);
    }
    printf(" | ");
    print_cell(op->formula);
    printf(" | %s |\n", op->flags & OPERATOR_DETACH ? "none: a detach" : op->gradient ? "its own" : "its parts'");
}

int command_operators(int argc, char **argv) {
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0;
        fprintf(help ? stdout : stderr,
                "usage: tuff operators\nprints the table of operators as Markdown (docs/operators.md)\n");
        return help ? 0 : 2;
    }
    uint32_t count;
    const operator* const * rows = operator_table(&count);
    printf("# Operators\n\n"
           "Made from the table by `build/bin/tuff operators`; a test compares this page with it. The functions that "
           "build\n"
           "them, with their arguments and the PyTorch function each matches, are in `include/tuff/layers`. "
           "Operators that\n"
           "only gradients use stand here too.\n\n"
           "Sorts: *pointwise*, a step of the one pointwise kernel's chain; *kernel*, asks for kernels of its own;\n"
           "*composite*, made of other operators; *view*, looks at the same memory in another way and runs nothing "
           "where the\n"
           "strides allow. Values are float32, indices and targets int32. Every size is at least 1: a size of 0 is "
           "refused.\n\n"
           "| operator | sort | inputs | attributes | formula | gradient |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (uint32_t i = 0; i < count; i++) print_row(rows[i]);
    return 0;
}
