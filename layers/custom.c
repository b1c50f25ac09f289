/* Operators of users: a row made at run time around their shader and functions. */
#include "runtime/model/model.h"
#include "runtime/program/lowering.h"

#include <tuff/operator.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(TUFF_OPERATOR_BUFFERS == MAX_BINDINGS, "as many buffers as a kernel has bindings");
_Static_assert(TUFF_DISPATCH_PARAMS == MAX_PARAMS, "as many parameters as a kernel has");
_Static_assert(TUFF_OPERATOR_ATTRIBUTES <= MAX_ATTRIBUTES, "a node holds them");
_Static_assert(TUFF_DISPATCH_CONSTANTS <= MAX_CONSTANTS, "a pipeline takes them");

struct tuff_operator {
    operator row; /* the first member: a node's row leads here */
    attribute attributes[TUFF_OPERATOR_ATTRIBUTES];
    tuff_operator_desc desc;
    tuff_device *device;
    uint32_t kernel;
    char name[64];
    char input_names[TUFF_OPERATOR_BUFFERS][24];
};

static const tuff_operator *operator_of(const node *node) {
    return (const tuff_operator *)(const void *)node->op;
}

static void read_attributes(const node *node, float numbers[TUFF_OPERATOR_ATTRIBUTES]) {
    for (uint32_t i = 0; i < TUFF_OPERATOR_ATTRIBUTES; i++) numbers[i] = (float)node->attributes[i].f;
}

/* What a function of the user's returned. One that failed without a word would leave the message of some earlier
 * failure, or none; `failures` are those before the call. */
static tuff_result returned(const node *node, const char *function, tuff_result result, uint64_t failures) {
    if (result == TUFF_OK || (error_count() != failures && *tuff_last_message())) return result;
    return error_set(result, "operator '%s' (%s): its %s returned %s and said nothing (tuff_fail says why)",
                     node->op->name, node->label, function, tuff_result_name(result));
}

static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    const tuff_operator *op = operator_of(node);
    const tuff_operator_desc *desc = &op->desc;
    tuff_argument inputs[TUFF_OPERATOR_BUFFERS] = { 0 }, outputs[TUFF_OPERATOR_BUFFERS] = { 0 };
    float numbers[TUFF_OPERATOR_ATTRIBUTES];
    read_attributes(node, numbers);
    for (uint32_t i = 0; i < desc->input_count; i++)
        inputs[i] = (tuff_argument){ node->inputs[i]->type, node->inputs[i]->shape, 0 };
    for (uint32_t i = 0; i < desc->output_count && !desc->infer; i++) outputs[i] = inputs[0];
    const tuff_operator_call call = { node->label,        inputs,  outputs,   desc->input_count,
                                      desc->output_count, numbers, desc->user };
    uint64_t failures = error_count();
    if (desc->infer) TRY(returned(node, "infer", desc->infer(&call), failures));
    inference->output_count = desc->output_count;
    for (uint32_t i = 0; i < desc->output_count; i++) {
        if ((uint32_t)outputs[i].type >= TUFF_TYPES || tuff_type_size(outputs[i].type) != sizeof(uint32_t))
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: output %u must be float32 or int32", node->label,
                              i);
        inference->types[i] = outputs[i].type;
        inference->shapes[i] = outputs[i].shape;
    }
    return TUFF_OK;
}

static tuff_result gradient(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                            tuff_tensor **grad_inputs) {
    const tuff_operator_desc *desc = &operator_of(node)->desc;
    float numbers[TUFF_OPERATOR_ATTRIBUTES];
    read_attributes(node, numbers);
    const tuff_gradient_call call = { node->inputs,       node->outputs, grad_outputs, node->input_count,
                                      node->output_count, numbers,       needs,        desc->user };
    uint64_t failures = error_count();
    tuff_result result = returned(node, "gradient", desc->gradient(&call, grad_inputs), failures);
    /* the graph is half differentiated: it must not be compiled as if nothing had happened */
    return result == TUFF_OK ? TUFF_OK : graph_fail(node->outputs[0]->graph, result, "%s", tuff_last_message());
}

static tuff_result lower(lowering *lowering, const node *node) {
    const tuff_operator *op = operator_of(node);
    const tuff_operator_desc *desc = &op->desc;
    tuff_argument arguments[TUFF_OPERATOR_BUFFERS] = { 0 };
    float numbers[TUFF_OPERATOR_ATTRIBUTES];
    read_attributes(node, numbers);
    kernel_call call = { .kernel = op->kernel, .operand_count = desc->input_count + desc->output_count };
    for (uint32_t i = 0; i < call.operand_count; i++) {
        bool output = i >= desc->input_count;
        const tuff_tensor *tensor = output ? node->outputs[i - desc->input_count] : node->inputs[i];
        arguments[i] = (tuff_argument){ tensor->type, tensor->shape, 0 };
        call.operands[i] = lowering_operand(lowering, lowering_view(lowering, tensor),
                                            output ? ACCESS_WRITE : ACCESS_READ, &arguments[i].first);
    }
    const tuff_operator_call asked = { node->label,       arguments,          arguments + desc->input_count,
                                       desc->input_count, desc->output_count, numbers,
                                       desc->user };
    tuff_dispatch dispatch = { .groups = { 1, 1, 1 } };
    uint64_t failures = error_count();
    TRY(returned(node, "dispatch", desc->dispatch(&asked, &dispatch), failures));
    if (dispatch.param_count > TUFF_DISPATCH_PARAMS || dispatch.constant_count > TUFF_DISPATCH_CONSTANTS)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "%s: %u push constants and %u specialization constants; at most %d and %d "
                         "are possible",
                         node->label, dispatch.param_count, dispatch.constant_count, TUFF_DISPATCH_PARAMS,
                         TUFF_DISPATCH_CONSTANTS);
    TRY(device_check_call(op->device, op->name, op->kernel, dispatch.constants, dispatch.constant_count,
                          dispatch.param_count));
    for (uint32_t i = 0; i < 3; i++) call.groups[i] = dispatch.groups[i] ? dispatch.groups[i] : 1;
    call.param_count = dispatch.param_count;
    call.constant_count = dispatch.constant_count;
    memcpy(call.params, dispatch.params, sizeof dispatch.params);
    memcpy(call.constants, dispatch.constants, sizeof dispatch.constants);
    return lowering_call(lowering, &call);
}

/* ---- making one --------------------------------------------------------------------------------- */

static tuff_result check(const tuff_device *device, const tuff_operator_desc *desc) {
    if (!device || !desc || !desc->name || !*desc->name || !desc->spirv || !desc->dispatch)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_operator_create: device, name, spirv and dispatch are required");
    uint32_t outputs = desc->output_count ? desc->output_count : 1;
    if (desc->input_count < 1 || desc->input_count > TUFF_OPERATOR_BUFFERS || outputs > MAX_OUTPUTS
        || desc->input_count + outputs > TUFF_OPERATOR_BUFFERS || desc->attribute_count > TUFF_OPERATOR_ATTRIBUTES)
        return error_set(
            TUFF_ERROR_ARGUMENT,
            "operator '%s': %u inputs, %u outputs and %u attributes; it needs an input, may have %d inputs "
            "and outputs together and %d attributes",
            desc->name, desc->input_count, outputs, desc->attribute_count, TUFF_OPERATOR_BUFFERS,
            TUFF_OPERATOR_ATTRIBUTES);
    for (uint32_t i = 0; desc->input_types && i < desc->input_count; i++)
        if ((uint32_t)desc->input_types[i] >= TUFF_TYPES || tuff_type_size(desc->input_types[i]) != sizeof(uint32_t))
            return error_set(TUFF_ERROR_ARGUMENT, "operator '%s': input %u must be float32 or int32", desc->name, i);
    return TUFF_OK;
}

tuff_result tuff_operator_create(tuff_device *device, const tuff_operator_desc *desc, tuff_operator **out) {
    if (!out) return error_set(TUFF_ERROR_ARGUMENT, "tuff_operator_create: op is NULL");
    *out = NULL;
    TRY(check(device, desc));
    tuff_operator *op = calloc(1, sizeof *op);
    if (!op) return error_out_of_host_memory(sizeof *op);
    op->desc = *desc;
    op->desc.output_count = desc->output_count ? desc->output_count : 1;
    op->device = device;
    snprintf(op->name, sizeof op->name, "%s", desc->name);
    op->row = (operator){ .name = op->name,
                          .formula = "a user's operator",
                          .attributes = op->attributes,
                          .attribute_count = desc->attribute_count,
                          .flags = OPERATOR_INTERNAL | (desc->gradient ? 0 : OPERATOR_DETACH),
                          .infer = infer,
                          .gradient = desc->gradient ? gradient : NULL,
                          .output_layout = LAYOUT_ROW_MAJOR,
                          .lower = lower };
    for (uint32_t i = 0; i < desc->attribute_count; i++)
        op->attributes[i] = (attribute){ .name = "attribute", .type = ATTRIBUTE_FLOAT };
    for (uint32_t i = 0; i < desc->input_count; i++) {
        snprintf(op->input_names[i], sizeof op->input_names[i], "input %u", i);
        op->row.inputs[i] = op->input_names[i];
        op->row.types[i] = desc->input_types ? 1u << desc->input_types[i] : TYPE_F32;
        op->row.input_layouts[i] = LAYOUT_ROW_MAJOR;
    }
    tuff_result result = device_add_kernel(device, op->name, desc->spirv, desc->spirv_size, op->desc.input_count,
                                           op->desc.output_count, &op->kernel);
    op->desc.spirv = NULL; /* the device has its own */
    op->desc.input_types = NULL;
    if (result != TUFF_OK) {
        free(op);
        return result;
    }
    *out = op;
    return TUFF_OK;
}

void tuff_operator_destroy(tuff_operator *op) {
    free(op);
}

tuff_tensor *tuff_operator_apply(tuff_operator *op, tuff_tensor *const *inputs, const float *attributes) {
    if (!op || !inputs || !inputs[0]) return NULL;
    tuff_graph *graph = inputs[0]->graph;
    if (graph->result == TUFF_OK && graph->model->device != op->device)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "operator '%s' belongs to another device than the graph's model",
                   op->name);
    attribute_value values[MAX_ATTRIBUTES] = { 0 };
    for (uint32_t i = 0; attributes && i < op->desc.attribute_count; i++) values[i].f = attributes[i];
    return graph_apply(graph, &op->row, inputs, op->desc.input_count, values, NULL);
}

tuff_tensor *tuff_operator_output(tuff_tensor *first, uint32_t index) {
    const node *node = first ? first->producer : NULL;
    return node && index < node->output_count ? node->outputs[index] : NULL;
}
