/* tuff operators: the table of operators as Markdown. docs/operators.md is this output; a test compares them. */
#include "command.h"
#include "row_text.h"

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
    if (attribute->choices) printf(" (%s)", attribute_type_text(attribute, text));
}

/* A formula may hold '|', which would end a table's cell. */
static void print_cell(const char *text) {
    for (; text && *text; text++) {
        if (*text == '|') putchar('\\');
        putchar(*text);
    }
}

static void print_inputs(const operator* op) {
    for (uint32_t i = 0; i < operator_input_count(op); i++) {
        size_t length = strcspn(op->inputs[i], "?*");
        uint32_t types = row_types(op, i);
        char text[TYPES_TEXT];
        printf("%s`%.*s`", i ? ", " : "", (int)length, op->inputs[i]);
        if (types != TYPE_F32) printf(" %s", types_text(types, text)); /* what is usual goes without saying */
        if (op->inputs[i][length] == '?') printf(" (optional)");
        if (op->inputs[i][length] == '*') printf(" (one or more)");
        if (op->shape_only >> i & 1) printf(" (shape alone)");
    }
}

static void print_row(const operator* op, bool public) {
    printf("| `%s` | %s | ", op->name, sort_of(op));
    print_inputs(op);
    printf(" | ");
    for (uint32_t i = 0; i < op->attribute_count; i++) {
        if (i) printf(", ");
        print_attribute(&op->attributes[i]);
    }
    if (public && op->flags & OPERATOR_TRAINING) printf("%s`training` = false", op->attribute_count ? ", " : "");
    printf(" | ");
    print_cell(op->formula);
    for (uint32_t i = 0; i < MAX_OUTPUTS && op->outputs[i]; i++)
        printf("%s`%s`", i ? ", " : "; gives ", op->outputs[i]);
    printf(" | %s |", op->flags & OPERATOR_DETACH ? "none" : op->gradient ? "its own" : "its parts'");
    if (public) {
        printf(" ");
        if (op->pytorch) printf("`%s`", op->pytorch);
        if (op->pytorch && op->limits) printf(": ");
        print_cell(op->limits);
        printf(" |");
    }
    printf("\n");
}

static const char introduction[] =
    "# Operators\n\n"
    "Made from the table by `build/bin/tuff operators`; a test compares this page with it. The functions that build\n"
    "them, with their arguments, are in `include/tuff/layers`. `build/bin/tuff op NAME --help` says of one\n"
    "operator what this page says of all, `build/bin/tuff op NAME` runs it on tensors from a file, with its "
    "gradients,\n"
    "`build/bin/tuff op --list` is this page as JSON. [How exact they are](accuracy.md), measured beside PyTorch.\n\n"
    "Names, attributes, defaults and results are those of the PyTorch function in the last column, which also says "
    "what\n"
    "that one can and this one cannot. Inputs are float32 where no type is named; an attribute without a value has to "
    "be\n"
    "given. An operator without a gradient acts as a detach. **Size 0 is refused**, with an error that names the "
    "tensor:\n"
    "every size is at least 1, in inputs and in results.\n\n"
    "What differs from PyTorch everywhere, and is not repeated in each row:\n\n"
    "- A tensor of 0 axes takes no `dim`; PyTorch accepts 0 and -1 there.\n"
    "- Where a function has no derivative, the gradient may differ from PyTorch's. At NaN `relu` and `relu6` give 0\n"
    "  (PyTorch passes the gradient on); `amax` and `amin` of a row with a NaN give 0 (PyTorch NaN); the\n"
    "  gradient of `kl_div`'s target is 0 where the target is 0 (PyTorch NaN).\n"
    "- At infinities: `huber_loss` and `smooth_l1_loss` have a NaN for gradient where input or target is infinite\n"
    "  (PyTorch the slope beyond the bend). `prod`'s gradient of a row without a 0 is y / x, as PyTorch's, so NaN at "
    "an\n"
    "  infinite x and all along a row with a NaN; of a row with a 0 and one of these it may differ from PyTorch's.\n"
    "- `sigmoid` is 0 where it would be below 2^-126, that is, below -87.3, and so are `silu` and `mish` there, whose\n"
    "  values would be about -1e-36 and smaller.\n"
    "- Long reductions: of a million elements tests hold `sum` to 2^-21 of the sum of the absolute terms, `mean` to "
    "that\n"
    "  of their mean, `var`, `std` and `norm` to that of the value, `logsumexp` to that of |max x| + log n + 1; what "
    "`sum`\n"
    "  and `mean` promise at any length stands in their rows. `prod` rounds at each factor. Sums by index "
    "(`scatter_add`,\n"
    "  `index_add`, the gradients of `embedding`, `gather` and `index_select`) add one after the other in float32, as\n"
    "  PyTorch's (GPUs, where the list is long, with the roundings kept): n of them may be off by n units in the last\n"
    "  place of the largest partial sum.\n"
    "- `training` is what a program says in C (`.evaluate` in its descriptor): with true an operator does what it does "
    "in\n"
    "  one that trains, as dropping elements, with false, which is the default of `tuff op`, what it does in one that\n"
    "  evaluates. PyTorch's `dropout`, `dropout2d` and `stochastic_depth` have true as their default, and its\n"
    "  `scaled_dot_product_attention` drops always.\n"
    "- A file's BOOL tensors are uint8 in `tuff op` and keep their bytes: they are not made 0 or 1.\n\n"
    "Sorts: *pointwise*, a step of the one pointwise kernel's chain; *kernel*, asks for kernels of its own;\n"
    "*composite*, made of other operators, whose gradient is its parts' unless it has its own; *view*, looks at the "
    "same\n"
    "memory in another way and runs nothing where the strides allow.\n\n";

int command_operators(int argc, char **argv) {
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0;
        fprintf(help ? stdout : stderr,
                "usage: tuff operators\nprints the table of operators as Markdown (docs/operators.md)\n");
        return help ? 0 : 2;
    }
    uint32_t count;
    const operator* const * rows = operator_table(&count);
    printf("%s| operator | sort | inputs | attributes | formula | gradient | PyTorch |\n"
           "| --- | --- | --- | --- | --- | --- | --- |\n",
           introduction);
    for (uint32_t i = 0; i < count; i++)
        if (!(rows[i]->flags & OPERATOR_INTERNAL)) print_row(rows[i], true);
    printf("\n## What gradients and composites are made of\n\n"
           "Not to be named by users; dumps and captures show them.\n\n"
           "| operator | sort | inputs | attributes | formula | gradient |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (uint32_t i = 0; i < count; i++)
        if (rows[i]->flags & OPERATOR_INTERNAL) print_row(rows[i], false);
    return 0;
}
