/* The gradient of a recurrent layer's W_hh: the sum over steps of gradient^T state before, one product over all steps
 * but the first, which saw the initial state. */
#include "layers/chain.h"
#include "layers/recurrent_internal.h"

enum { WEIGHT_GRADIENT, WEIGHT_Y, WEIGHT_HX };
enum { ATTRIBUTE_REVERSE, ATTRIBUTE_HIDDEN };
static const attribute weight_attributes[] = {
    [ATTRIBUTE_REVERSE] = { .name = "reverse", .type = ATTRIBUTE_BOOL },
    [ATTRIBUTE_HIDDEN] = { .name = "hidden_size", .type = ATTRIBUTE_INT, .required = true },
};

/* `steps` steps of row-major (T, N, all columns) as one matrix; rows: of one step. */
static view steps_of(const view *whole, int64_t rows, int64_t begin, int64_t steps, int64_t column, int64_t columns) {
    int64_t width = whole->shape.sizes[whole->shape.rank - 1];
    view part = *whole;
    part.offset += (uint64_t)(begin * rows * width + column);
    part.shape = TUFF_SHAPE(steps * rows, columns);
    part.strides[0] = width;
    part.strides[1] = 1;
    return part;
}

static view transposed(const view *matrix) {
    view turned = *matrix;
    turned.shape = TUFF_SHAPE(matrix->shape.sizes[1], matrix->shape.sizes[0]);
    turned.strides[0] = matrix->strides[1];
    turned.strides[1] = matrix->strides[0];
    return turned;
}

/* One step from a state of zeros. */
static tuff_result clear(lowering *lowering, const view *out) {
    static const chain zero = { .steps = { { .op = CHAIN_COPY, .a = CHAIN_CONSTANT } },
                                .step_count = 1,
                                .constant_count = 1,
                                .outputs = { CHAIN_STEP },
                                .output_count = 1 };
    return lower_chain_over(lowering, &zero, &out->shape, NULL, &out, NULL);
}

static tuff_result lower_weight_backward(lowering *lowering, const node *node) {
    const view *gradient = lowering_view(lowering, node->inputs[WEIGHT_GRADIENT]);
    const view *y = lowering_view(lowering, node->inputs[WEIGHT_Y]), *out = lowering_view(lowering, node->outputs[0]);
    bool reverse = node->attributes[ATTRIBUTE_REVERSE].i;
    int64_t steps = y->shape.sizes[0], batch = y->shape.sizes[1], gates = gradient->shape.sizes[1];
    int64_t hidden = out->shape.sizes[1];
    uint64_t count = (uint64_t)(gates * hidden);
    view parts[2] = { *out, *out }, whole, hx;
    const view *initial = recurrent_matrix(lowering, node->inputs[WEIGHT_HX], reverse, &hx);
    if (initial && steps > 1) {
        TRY(lowering_scratch(lowering, 2 * count, "parts", &whole));
        parts[0].storage = parts[1].storage = whole.storage;
        parts[0].offset = 0;
        parts[1].offset = count;
    }
    if (steps > 1) {
        view later = steps_of(gradient, batch, reverse ? 0 : 1, steps - 1, 0, gates), a = transposed(&later);
        view before = steps_of(y, batch, reverse ? 1 : 0, steps - 1, reverse ? hidden : 0, hidden);
        TRY(recurrent_multiply(lowering, node, &a, &before, false, &parts[0]));
    }
    if (initial) {
        view first = steps_of(gradient, batch, reverse ? steps - 1 : 0, 1, 0, gates), a = transposed(&first);
        TRY(recurrent_multiply(lowering, node, &a, initial, false, &parts[1]));
    }
    if (!initial && steps == 1) return clear(lowering, out);
    return initial && steps > 1 ? lower_sum_parts(lowering, &whole, 2, count, count, out) : TUFF_OK;
}

/* ---- row ------------------------------------------------------------------------------------------ */

static tuff_result infer_weight_backward(inference *inference) {
    const node *node = inference->node;
    inference->shapes[0] =
        TUFF_SHAPE(node->inputs[WEIGHT_GRADIENT]->shape.sizes[1], node->attributes[ATTRIBUTE_HIDDEN].i);
    return TUFF_OK;
}

const operator recurrent_weight_backward = {
    .name = "recurrent_weight_backward",
    .formula = "the gradient of W_hh: the sum over all steps of grad^T and the state before the step",
    .inputs = { "grad", "output", "hx?" },
    .attributes = weight_attributes,
    .attribute_count = 2,
    .flags = OPERATOR_INTERNAL,
    .infer = infer_weight_backward,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_weight_backward,
};

tuff_tensor *recurrent_weight_gradient(tuff_tensor *gradient, tuff_tensor *y, tuff_tensor *hx, bool reverse,
                                       int64_t hidden) {
    tuff_tensor *inputs[] = { gradient, y, hx };
    if (!gradient) return NULL;
    const attribute_value attributes[] = {
        [ATTRIBUTE_REVERSE] = { .i = reverse }, [ATTRIBUTE_HIDDEN] = { .i = hidden }
    };
    return graph_apply(gradient->graph, &recurrent_weight_backward, inputs, 3, attributes, NULL);
}
