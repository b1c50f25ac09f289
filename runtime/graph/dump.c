/* Graphs as text and as Graphviz. */
#include "runtime/graph/chain.h"
#include "runtime/graph/rewrite.h"

#include <inttypes.h>
#include <string.h>

static void dump_operand(const chain *chain, uint8_t operand, FILE *file) {
    if (operand >= CHAIN_STEP) {
        fprintf(file, "v%u", operand - CHAIN_STEP);
    } else if (operand == CHAIN_INDEX) {
        fprintf(file, "index");
    } else if (operand >= CHAIN_CONSTANT) {
        float value;
        memcpy(&value, &chain->constants[operand - CHAIN_CONSTANT], sizeof value);
        fprintf(file, "%g", (double)value);
    } else {
        fprintf(file, "in%u", operand);
    }
}

static void dump_chain(const chain *chain, FILE *file) {
    for (uint32_t s = 0; s < chain->step_count; s++) {
        const chain_step *step = &chain->steps[s];
        fprintf(file, "      v%u = op%u(", s, step->op);
        dump_operand(chain, step->a, file);
        fprintf(file, ", ");
        dump_operand(chain, step->b, file);
        fprintf(file, ", ");
        dump_operand(chain, step->c, file);
        fprintf(file, ")\n");
    }
}

void graph_dump_text(const tuff_graph *graph, FILE *file) {
    char text[SHAPE_TEXT];
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        const tuff_tensor *tensor = graph->tensors[t];
        if (tensor->kind == TENSOR_NODE) continue;
        fprintf(file, "  %%%u %s '%s' %s\n", t, tensor->kind == TENSOR_INPUT ? "input" : "state", tensor->name,
                shape_text(&tensor->shape, text));
    }
    for (uint32_t n = 0; n < graph->node_count; n++) {
        const node *node = graph->nodes[n];
        fprintf(file, "  ");
        for (uint32_t i = 0; i < node->output_count; i++)
            fprintf(file, "%s%%%u %s", i ? ", " : "", node->outputs[i]->id, shape_text(&node->outputs[i]->shape, text));
        fprintf(file, " = %s(", node->op->name);
        for (uint32_t i = 0; i < node->input_count; i++)
            if (node->inputs[i])
                fprintf(file, "%s%s%%%u", i ? ", " : "", node_reads(node, i) ? "" : "shape of ", node->inputs[i]->id);
        fprintf(file, ") '%s'%s", node->label, node->backward ? " backward" : "");
        if (node->checkpoint) fprintf(file, " checkpoint %u", node->checkpoint);
        fputc('\n', file);
        if (node->prologue) {
            fprintf(file, "    before:\n");
            dump_chain(node->prologue, file);
        }
        if (node->chain) dump_chain(node->chain, file);
    }
    for (uint32_t i = 0; i < graph->assignment_count; i++)
        fprintf(file, "  assign %%%u to '%s'\n", graph->assignments[i].value->id, graph->assignments[i].state->name);
}

static void dump_quoted(const char *text, FILE *file) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', file);
        fputc(*text, file);
    }
}

void graph_dump_dot(const tuff_graph *graph, const char *name, FILE *file) {
    char text[SHAPE_TEXT];
    fprintf(file, "digraph \"");
    dump_quoted(name, file);
    fprintf(file, "\" {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (uint32_t t = 0; t < graph->tensor_count; t++) {
        const tuff_tensor *tensor = graph->tensors[t];
        if (tensor->kind == TENSOR_NODE) continue;
        fprintf(file, "  t%u [label=\"", t);
        dump_quoted(tensor->name, file);
        fprintf(file, "\\n%s\", shape=ellipse];\n", shape_text(&tensor->shape, text));
    }
    for (uint32_t n = 0; n < graph->node_count; n++) {
        const node *node = graph->nodes[n];
        fprintf(file, "  n%u [label=\"%s\\n", n, node->op->name);
        dump_quoted(node->label, file);
        fprintf(file, "\"%s];\n", node->backward ? ", style=filled, fillcolor=\"#ffe8cc\"" : "");
        for (uint32_t i = 0; i < node->input_count; i++) {
            const tuff_tensor *input = node->inputs[i];
            if (!input || !node_reads(node, i)) continue;
            if (input->producer)
                fprintf(file, "  n%u -> n%u", input->producer->id, n);
            else
                fprintf(file, "  t%u -> n%u", input->id, n);
            fprintf(file, " [label=\"%s\"];\n", shape_text(&input->shape, text));
        }
    }
    fprintf(file, "}\n");
}
