/* States of several layers in one tensor: parts of it along axis 0, and the other way. */
#include "layers/chain.h"
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/recurrent.h"

#include <string.h>

enum { PART_FIRST, PART_COUNT };
static const attribute part_attributes[] = {
    [PART_FIRST] = { .name = "start", .type = ATTRIBUTE_INT, .required = true },
    [PART_COUNT] = { .name = "length", .type = ATTRIBUTE_INT, .required = true },
};

static tuff_result infer_part(inference *inference) {
    const node *node = inference->node;
    inference->shapes[0] = node->inputs[0]->shape;
    inference->shapes[0].sizes[0] = node->attributes[PART_COUNT].i;
    return TUFF_OK;
}

static bool look_part(const node *node, const view *input, view *output) {
    output->offset = input->offset + (uint64_t)(node->attributes[PART_FIRST].i * input->strides[0]);
    memcpy(output->strides, input->strides, sizeof output->strides);
    return true;
}

/* Zeros around what arrives. */
static tuff_result gradient_part(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    tuff_shape before = node->inputs[0]->shape, after = before;
    tuff_tensor *parts[3];
    uint32_t count = 0;
    before.sizes[0] = node->attributes[PART_FIRST].i;
    after.sizes[0] -= before.sizes[0] + node->attributes[PART_COUNT].i;
    if (before.sizes[0]) parts[count++] = tuff_constant(node_graph(node), 0, before);
    parts[count++] = grad_outputs[0];
    if (after.sizes[0]) parts[count++] = tuff_constant(node_graph(node), 0, after);
    grad_inputs[0] = recurrent_stack(parts, count);
    return TUFF_OK;
}

static const operator part_of = {
    .name = "recurrent_part",
    .formula = "y[i] = x[start + i]",
    .inputs = { "x" },
    .attributes = part_attributes,
    .attribute_count = 2,
    .flags = OPERATOR_INTERNAL,
    .infer = infer_part,
    .gradient = gradient_part,
    .look = look_part,
};

tuff_tensor *recurrent_part(tuff_tensor *x, int64_t first, int64_t count) {
    if (!x || (first == 0 && count == x->shape.sizes[0])) return x;
    const attribute_value attributes[] = { [PART_FIRST] = { .i = first }, [PART_COUNT] = { .i = count } };
    return graph_apply(x->graph, &part_of, &x, 1, attributes, NULL);
}

static tuff_result infer_stack(inference *inference) {
    const node *node = inference->node;
    inference->shapes[0] = node->inputs[0]->shape;
    for (uint32_t i = 1; i < node->input_count; i++) inference->shapes[0].sizes[0] += node->inputs[i]->shape.sizes[0];
    return TUFF_OK;
}

static tuff_result gradient_stack(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                  tuff_tensor **grad_inputs) {
    int64_t first = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        int64_t count = node->inputs[i]->shape.sizes[0];
        if (needs >> i & 1) grad_inputs[i] = recurrent_part(grad_outputs[0], first, count);
        first += count;
    }
    return TUFF_OK;
}

static tuff_result lower_stack(lowering *lowering, const node *node) {
    const view *y = lowering_view(lowering, node->outputs[0]);
    int64_t first = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        const view *part = lowering_view(lowering, node->inputs[i]);
        view to = view_part(y, first, part->shape.sizes[0]);
        TRY(lower_copy(lowering, part, &to, NULL));
        first += part->shape.sizes[0];
    }
    return TUFF_OK;
}

static const operator stack_of = {
    .name = "recurrent_stack",
    .formula = "the parts one behind the other along axis 0",
    .inputs = { "part", "parts*" },
    .flags = OPERATOR_INTERNAL,
    .infer = infer_stack,
    .gradient = gradient_stack,
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_stack,
};

/* In rows of as many as a node can have. */
tuff_tensor *recurrent_stack(tuff_tensor *const *parts, uint32_t count) {
    tuff_tensor *inputs[MAX_INPUTS], *y = parts[0];
    for (uint32_t done = 1; y && done < count;) {
        uint32_t more = count - done < MAX_INPUTS - 1 ? count - done : MAX_INPUTS - 1;
        inputs[0] = y;
        memcpy(inputs + 1, parts + done, more * sizeof *inputs);
        y = graph_apply(y->graph, &stack_of, inputs, 1 + more, NULL, NULL);
        done += more;
    }
    return y;
}

static const operator* const rows[] = { &part_of, &stack_of };
const operator_family family_recurrent_part = { rows, sizeof rows / sizeof *rows };
