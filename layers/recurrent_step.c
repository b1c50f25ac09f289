/* The recurrent layers' kernels: one layer over all steps.
 *
 * What the input adds to the gates is there for all steps at once (a matrix product, in recurrent.c). A step is then
 * the product of the state before it with W_hh, and a kernel that makes gates and the new state of both
 * (shaders/recurrent/cell.comp). Backward a step is the gates' gradients and their product with W_hh, which is the
 * gradient of the state before; the weights' gradient is one product over all steps. Both directions of a layer are
 * independent dispatches that share their levels, and write their halves of the output; the second runs through time
 * backwards. */
#include "layers/chain.h"
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/product.h"
#include "layers/recurrent_internal.h"

#include <string.h>

/* ---- rows' inputs, outputs, attributes ------------------------------------------------------------ */

enum { ATTRIBUTE_MODE, ATTRIBUTE_COUNT };
static const attribute mode_attributes[] = {
    [ATTRIBUTE_MODE] = { .name = "mode", .type = ATTRIBUTE_CHOICE, .choices = "tanh|relu|gru|lstm" }
};

enum { DIRECTIONS = 2 };
/* of the layer */
enum {
    IN_GATES,
    IN_WEIGHT = IN_GATES + DIRECTIONS,
    IN_BIAS = IN_WEIGHT + DIRECTIONS,
    IN_HX = IN_BIAS + DIRECTIONS,
    IN_CX,
    IN_LIKE,
    IN_COUNT
};
enum { OUT_Y, OUT_LAST, OUT_KEPT, OUT_CELL_LAST, OUT_CELLS, OUT_COUNT };
/* of its gradient */
enum {
    BACK_GRAD_Y,
    BACK_GRAD_LAST,
    BACK_GRAD_CELL_LAST,
    BACK_Y,
    BACK_KEPT,
    BACK_CELLS,
    BACK_WEIGHT,
    BACK_HX = BACK_WEIGHT + DIRECTIONS,
    BACK_CX,
    BACK_COUNT
};

int64_t recurrent_gates(recurrent_mode mode) {
    return mode == RECURRENT_GRU ? 3 : mode == RECURRENT_LSTM ? 4 : 1;
}

/* A layer's numbers. */
typedef struct sizes {
    recurrent_mode mode;
    int64_t steps, batch, hidden, gates; /* gates: of one direction, each of `hidden` */
    uint32_t directions;
} sizes;

/* of_steps: any tensor (T, N, ...); gates: (T N, gates * hidden). */
static sizes sizes_of(const node *node, const tuff_tensor *of_steps, const tuff_tensor *gates, bool both) {
    recurrent_mode mode = (recurrent_mode)node->attributes[ATTRIBUTE_MODE].i;
    int64_t count = recurrent_gates(mode);
    return (sizes){ .mode = mode,
                    .steps = of_steps->shape.sizes[0],
                    .batch = of_steps->shape.sizes[1],
                    .hidden = gates->shape.sizes[1] / count,
                    .gates = count,
                    .directions = both ? 2 : 1 };
}

enum { KEPT_GATES = 4 }; /* of GRU and LSTM, for the backward pass */

/* ---- views ---------------------------------------------------------------------------------------- */

/* Columns of matrix i of a row-major (I, rows, all columns). */
static view matrix_at(const view *whole, int64_t i, int64_t column, int64_t columns) {
    int64_t rows = whole->shape.sizes[1], width = whole->shape.sizes[2];
    view part = *whole;
    part.offset += (uint64_t)(i * rows * width + column);
    part.shape = TUFF_SHAPE(rows, columns);
    part.strides[0] = width;
    part.strides[1] = 1;
    return part;
}

const view *recurrent_matrix(const lowering *lowering, const tuff_tensor *tensor, int64_t i, view *storage) {
    if (!tensor) return NULL;
    const view *whole = lowering_view(lowering, tensor);
    *storage = matrix_at(whole, i, 0, whole->shape.sizes[2]);
    return storage;
}

/* Step t of what has a row for each step and example: gates and their gradients. */
static const view *gates_at(const lowering *lowering, const tuff_tensor *gates, const sizes *s, int64_t t,
                            view *storage) {
    *storage = *lowering_view(lowering, gates);
    storage->offset += (uint64_t)(t * s->batch * storage->shape.sizes[1]);
    storage->shape.sizes[0] = s->batch;
    return storage;
}

/* Step t of an output (T, N, directions * hidden): a direction's half. */
static view half_at(const lowering *lowering, const tuff_tensor *output, const sizes *s, int64_t t, uint32_t d) {
    return matrix_at(lowering_view(lowering, output), t, d * s->hidden, s->hidden);
}

/* Where step k of a direction stands in time. */
static int64_t time_of(const sizes *s, uint32_t d, int64_t k) {
    return d ? s->steps - 1 - k : k;
}

static tuff_result scratch_matrix(lowering *lowering, int64_t rows, int64_t columns, const char *name, view *out) {
    TRY(lowering_scratch(lowering, (uint64_t)rows * (uint64_t)columns, name, out));
    out->shape = TUFF_SHAPE(rows, columns);
    out->strides[0] = columns;
    out->strides[1] = 1;
    return TUFF_OK;
}

/* ---- calls ---------------------------------------------------------------------------------------- */

tuff_result recurrent_multiply(lowering *lowering, const node *node, const view *a, const view *b, bool transpose_b,
                               const view *d) {
    const product product = { .loader = LOADER_PLAIN,
                              .m = d->shape.sizes[0],
                              .n = d->shape.sizes[1],
                              .k = a->shape.sizes[1],
                              .a = { .view = a, .row = a->strides[0], .column = a->strides[1] },
                              .b = { .view = b, .row = b->strides[transpose_b], .column = b->strides[!transpose_b] },
                              .d = { .view = d, .row = d->strides[0], .column = d->strides[1] },
                              .own_inputs = node->input_count };
    return product_lower(lowering, node, &product);
}

/* Binds a matrix (NULL: nothing, which the kernel's flags say) as the call's next operand. */
static void bind(const lowering *lowering, kernel_call *call, const view *matrix, uint32_t access, uint32_t *first) {
    uint32_t i = call->operand_count++;
    if (matrix)
        call->operands[i] = lowering_operand(lowering, matrix, access, first);
    else
        call->operands[i] = call->operands[0];
}

/* as in shaders/recurrent/cell.glsl */
enum {
    HAS_HIDDEN = 1,
    HAS_PREVIOUS = 2,
    HAS_BIAS = 4,
    KEEP = 8,
    LAST = 16,
    RELU = 32,
    HAS_GRAD_OUTPUT = 64,
    HAS_CARRIED = 128,
    HAS_PRODUCT = 256,
};
enum { LANES = 64, TILE = 8 };

/* Whether a step's kernel makes its product itself: one dispatch a step where there are two or, with a product split
 * along k, three. On a CPU the product's own kernels are 4 to 35 times as fast. On a GPU they are worth their
 * dispatches where a step alone fills it with their tiles. "recurrent=tiled" and "recurrent=product" force one. */
static bool is_tiled(const lowering *lowering, const sizes *s) {
    enum { PRODUCT_TILE = 64, ENOUGH = 256 };
    const tuff_device *device = lowering_device(lowering);
    const char *force = device_force(device, "recurrent");
    int64_t columns = s->gates * s->hidden;
    int64_t tiles = (s->batch + PRODUCT_TILE - 1) / PRODUCT_TILE * ((columns + PRODUCT_TILE - 1) / PRODUCT_TILE);
    if ((uint64_t)(columns * s->hidden) > bindable_elements(lowering) || s->batch > INT64_C(1) * TILE * MAX_GROUPS)
        return false;
    return force ? strcmp(force, "tiled") == 0 : !device_get_limits(device)->cpu && tiles < ENOUGH;
}

static tuff_result call_over(lowering *lowering, const sizes *s, bool tiled, kernel_call *call) {
    if (tiled) {
        call->groups[0] = (uint32_t)((s->hidden + TILE - 1) / TILE);
        call->groups[1] = (uint32_t)((s->batch + TILE - 1) / TILE);
        call->groups[2] = 1;
        call->work = (uint64_t)(s->batch * s->hidden * s->gates * s->hidden);
    } else {
        flat_groups(call, (uint64_t)(s->batch * s->hidden), LANES);
    }
    return lowering_call(lowering, call);
}

static uint32_t row_stride(const view *matrix) {
    return matrix ? (uint32_t)matrix->strides[0] : 0;
}

/* ---- forward -------------------------------------------------------------------------------------- */

typedef struct step {
    bool tiled;
    const view *x, *hidden, *previous, *y, *last, *kept, *bias, *cell;
    const view *weight, *state; /* tiled */
} step;

static tuff_result call_cell(lowering *lowering, const sizes *s, const step *step) {
    static const enum kernel_id kernels[] = { KERNEL_RECURRENT_RNN, KERNEL_RECURRENT_RNN, KERNEL_RECURRENT_GRU,
                                              KERNEL_RECURRENT_LSTM };
    static const enum kernel_id tiled[] = { KERNEL_RECURRENT_TILED_RNN, KERNEL_RECURRENT_TILED_RNN,
                                            KERNEL_RECURRENT_TILED_GRU, KERNEL_RECURRENT_TILED_LSTM };
    kernel_call call = { .kernel = step->tiled ? tiled[s->mode] : kernels[s->mode], .param_count = 14 };
    uint32_t *params = call.params;
    params[0] = (uint32_t)s->batch;
    params[1] = (uint32_t)s->hidden;
    params[2] = (step->hidden || step->state ? HAS_HIDDEN : 0) | (step->previous ? HAS_PREVIOUS : 0)
                | (step->bias ? HAS_BIAS : 0) | (step->kept ? KEEP : 0) | (step->last ? LAST : 0)
                | (s->mode == RECURRENT_RELU ? RELU : 0);
    params[3] = row_stride(step->previous);
    params[4] = row_stride(step->y);
    bind(lowering, &call, step->x, ACCESS_READ, &params[5]);
    bind(lowering, &call, step->tiled ? step->weight : step->hidden, ACCESS_READ, &params[6]);
    bind(lowering, &call, step->previous, ACCESS_READ, &params[7]);
    bind(lowering, &call, step->y, ACCESS_WRITE, &params[8]);
    bind(lowering, &call, step->last, ACCESS_WRITE, &params[9]);
    bind(lowering, &call, step->kept, ACCESS_WRITE, &params[10]);
    if (step->cell)
        bind(lowering, &call, step->cell, ACCESS_WRITE, &params[11]);
    else
        bind(lowering, &call, step->bias, ACCESS_READ, &params[11]);
    bind(lowering, &call, step->state, ACCESS_READ, &params[13]);
    params[12] = row_stride(step->state);
    return call_over(lowering, s, step->tiled, &call);
}

/* Whether anybody reads a result. */
static bool is_read(const node *node, const tuff_tensor *result) {
    const tuff_graph *graph = node_graph(node);
    for (uint32_t n = node->id + 1; n < graph->node_count; n++)
        for (uint32_t i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i] == result && node_reads(graph->nodes[n], i)) return true;
    return false;
}

static tuff_result lower_step(lowering *lowering, const node *node, const sizes *s, uint32_t d, int64_t k, bool keeps,
                              const view *scratch) {
    int64_t t = time_of(s, d, k), kept_at = d * s->steps + k;
    bool lstm = s->mode == RECURRENT_LSTM, last = k == s->steps - 1;
    view x, before, past_cell, y, h_n, kept, bias, cell;
    const view *weight = lowering_view(lowering, node->inputs[IN_WEIGHT + d]);
    step step = { .x = gates_at(lowering, node->inputs[IN_GATES + d], s, t, &x), .tiled = !scratch, .weight = weight };
    const view *state = recurrent_matrix(lowering, node->inputs[IN_HX], d, &before);
    if (k > 0) {
        before = half_at(lowering, node->outputs[OUT_Y], s, time_of(s, d, k - 1), d);
        state = &before;
    }
    if (step.tiled) {
        step.state = state;
    } else if (state) {
        TRY(recurrent_multiply(lowering, node, state, weight, true, scratch));
        step.hidden = scratch;
    }
    y = half_at(lowering, node->outputs[OUT_Y], s, t, d);
    step.y = &y;
    if (last) step.last = recurrent_matrix(lowering, node->outputs[OUT_LAST], d, &h_n);
    if (keeps) step.kept = recurrent_matrix(lowering, node->outputs[OUT_KEPT], kept_at, &kept);
    if (s->mode == RECURRENT_GRU) {
        step.previous = state;
        if (node->inputs[IN_BIAS + d]) {
            bias = *lowering_view(lowering, node->inputs[IN_BIAS + d]);
            step.bias = &bias;
        }
    } else if (lstm) {
        /* kept for the backward pass, or in one place */
        const tuff_tensor *cells = node->outputs[OUT_CELLS], *cell_last = node->outputs[OUT_CELL_LAST];
        step.cell = keeps && !last ? recurrent_matrix(lowering, cells, kept_at, &cell)
                                   : recurrent_matrix(lowering, cell_last, d, &cell);
        if (k == 0)
            step.previous = recurrent_matrix(lowering, node->inputs[IN_CX], d, &past_cell);
        else
            step.previous = keeps ? recurrent_matrix(lowering, cells, kept_at - 1, &past_cell)
                                  : recurrent_matrix(lowering, cell_last, d, &past_cell);
    }
    return call_cell(lowering, s, &step);
}

static tuff_result lower_sequence(lowering *lowering, const node *node) {
    sizes s = sizes_of(node, node->inputs[IN_LIKE], node->inputs[IN_GATES], node->inputs[IN_GATES + 1]);
    bool keeps = s.mode >= RECURRENT_GRU && is_read(node, node->outputs[OUT_KEPT]);
    bool tiled = is_tiled(lowering, &s);
    view scratch[DIRECTIONS];
    for (uint32_t d = 0; d < s.directions && !tiled; d++)
        TRY(scratch_matrix(lowering, s.batch, s.gates * s.hidden, "gates", &scratch[d]));
    for (int64_t k = 0; k < s.steps; k++)
        for (uint32_t d = 0; d < s.directions; d++)
            TRY(lower_step(lowering, node, &s, d, k, keeps, tiled ? NULL : &scratch[d]));
    return TUFF_OK;
}

/* ---- backward ------------------------------------------------------------------------------------- */

typedef struct backward_step {
    bool tiled;
    const view *grad_output, *arriving, *kept, *previous, *carried, *carry, *gradient, *grad_hidden;
    const view *weight; /* tiled, but in the last step: arriving is the gradient of the step after */
} backward_step;

static tuff_result call_cell_backward(lowering *lowering, const sizes *s, const backward_step *step) {
    static const enum kernel_id kernels[] = { KERNEL_RECURRENT_BACKWARD_RNN, KERNEL_RECURRENT_BACKWARD_RNN,
                                              KERNEL_RECURRENT_BACKWARD_GRU, KERNEL_RECURRENT_BACKWARD_LSTM };
    static const enum kernel_id tiled[] = { KERNEL_RECURRENT_BACKWARD_TILED_RNN, KERNEL_RECURRENT_BACKWARD_TILED_RNN,
                                            KERNEL_RECURRENT_BACKWARD_TILED_GRU, KERNEL_RECURRENT_BACKWARD_TILED_LSTM };
    kernel_call call = { .kernel = step->tiled ? tiled[s->mode] : kernels[s->mode], .param_count = 13 };
    bool gru = s->mode == RECURRENT_GRU;
    uint32_t *params = call.params;
    params[0] = (uint32_t)s->batch;
    params[1] = (uint32_t)s->hidden;
    params[2] = (step->weight     ? HAS_PRODUCT
                 : step->arriving ? HAS_HIDDEN
                                  : 0)
                | (step->previous ? HAS_PREVIOUS : 0) | (step->grad_output ? HAS_GRAD_OUTPUT : 0)
                | (step->carried ? HAS_CARRIED : 0) | (s->mode == RECURRENT_RELU ? RELU : 0);
    params[3] = row_stride(step->previous);
    params[4] = (uint32_t)(s->directions * s->hidden);
    /* operand 0 stands in for what is missing */
    call.operands[0] = lowering_operand(lowering, step->kept, ACCESS_READ, NULL);
    bind(lowering, &call, step->grad_output, ACCESS_READ, &params[5]);
    bind(lowering, &call, step->arriving, ACCESS_READ, &params[6]);
    bind(lowering, &call, step->kept, ACCESS_READ, &params[7]);
    bind(lowering, &call, step->previous, ACCESS_READ, &params[8]);
    bind(lowering, &call, gru ? step->weight : step->carried, ACCESS_READ, &params[9]);
    bind(lowering, &call, step->carry, gru ? ACCESS_READ | ACCESS_WRITE : ACCESS_WRITE, &params[10]);
    bind(lowering, &call, step->gradient, ACCESS_WRITE, &params[11]);
    bind(lowering, &call, gru ? step->grad_hidden : step->weight, gru ? ACCESS_WRITE : ACCESS_READ, &params[12]);
    return call_over(lowering, s, step->tiled, &call);
}

/* What a direction hands from step to step. sums: its product with W_hh, and GRU's own part. */
typedef struct handed {
    view sums, product, carry;
} handed;

static uint32_t back_out_hidden(const sizes *s) { /* GRU: the gradients that W_hh and b_hh see */
    return s->directions;
}
static uint32_t back_out_hx(const sizes *s) {
    return s->mode == RECURRENT_GRU ? 2 * s->directions : s->directions;
}
static uint32_t back_out_cx(const sizes *s) {
    return back_out_hx(s) + 1;
}

static tuff_result begin_handing(lowering *lowering, const sizes *s, handed *h) {
    int64_t count = s->batch * s->hidden;
    bool carries = s->mode >= RECURRENT_GRU;
    TRY(lowering_scratch(lowering, (uint64_t)(carries ? 2 * count : count), "state's gradient", &h->sums));
    h->product = h->sums;
    h->product.shape = TUFF_SHAPE(s->batch, s->hidden);
    h->product.strides[0] = s->hidden;
    h->product.strides[1] = 1;
    h->carry = h->product;
    if (carries) h->carry.offset += (uint64_t)count;
    return TUFF_OK;
}

static tuff_result lower_backward_step(lowering *lowering, const node *node, const sizes *s, uint32_t d, int64_t k,
                                       bool tiled, const handed *h) {
    int64_t t = time_of(s, d, k), kept_at = d * s->steps + k;
    bool first = k == 0, last = k == s->steps - 1, gru = s->mode == RECURRENT_GRU, lstm = s->mode == RECURRENT_LSTM;
    view grad_y, arriving, kept, previous, carried, carry, gradient, grad_hidden, grad_hx;
    const view *weight = lowering_view(lowering, node->inputs[BACK_WEIGHT + d]);
    const tuff_tensor *seen = node->outputs[gru ? back_out_hidden(s) + d : d]; /* by W_hh */
    backward_step step = { .tiled = tiled, .gradient = gates_at(lowering, node->outputs[d], s, t, &gradient) };
    if (node->inputs[BACK_GRAD_Y]) {
        grad_y = half_at(lowering, node->inputs[BACK_GRAD_Y], s, t, d);
        step.grad_output = &grad_y;
    }
    if (last) {
        step.arriving = recurrent_matrix(lowering, node->inputs[BACK_GRAD_LAST], d, &arriving);
    } else if (tiled) {
        step.arriving = gates_at(lowering, seen, s, time_of(s, d, k + 1), &arriving);
        step.weight = weight;
    } else {
        step.arriving = &h->product;
    }
    if (gru || lstm) {
        step.kept = recurrent_matrix(lowering, node->inputs[BACK_KEPT], kept_at, &kept);
        if (first)
            step.previous = recurrent_matrix(lowering, node->inputs[gru ? BACK_HX : BACK_CX], d, &previous);
        else if (lstm)
            step.previous = recurrent_matrix(lowering, node->inputs[BACK_CELLS], kept_at - 1, &previous);
        else {
            previous = half_at(lowering, node->inputs[BACK_Y], s, time_of(s, d, k - 1), d);
            step.previous = &previous;
        }
        step.carried = !last  ? &h->carry
                       : lstm ? recurrent_matrix(lowering, node->inputs[BACK_GRAD_CELL_LAST], d, &carried)
                              : NULL;
        step.carry = first && lstm && node->inputs[BACK_CX]
                         ? recurrent_matrix(lowering, node->outputs[back_out_cx(s)], d, &carry)
                         : &h->carry;
    } else {
        kept = half_at(lowering, node->inputs[BACK_Y], s, t, d);
        step.kept = &kept;
    }
    if (gru) step.grad_hidden = gates_at(lowering, seen, s, t, &grad_hidden);
    TRY(call_cell_backward(lowering, s, &step));
    if (first ? !node->inputs[BACK_HX] : tiled) return TUFF_OK;

    /* the gradient of the state before */
    const view *gates = gru ? step.grad_hidden : step.gradient;
    if (!first) return recurrent_multiply(lowering, node, gates, weight, false, &h->product);
    recurrent_matrix(lowering, node->outputs[back_out_hx(s)], d, &grad_hx);
    TRY(recurrent_multiply(lowering, node, gates, weight, false, gru ? &h->product : &grad_hx));
    if (!gru) return TUFF_OK;
    uint64_t count = (uint64_t)(s->batch * s->hidden);
    return lower_sum_parts(lowering, &h->sums, 2, count, count, &grad_hx);
}

static tuff_result lower_sequence_backward(lowering *lowering, const node *node) {
    sizes s = sizes_of(node, node->inputs[BACK_Y], node->outputs[0], node->inputs[BACK_WEIGHT + 1]);
    handed handed[DIRECTIONS];
    for (uint32_t d = 0; d < s.directions; d++) TRY(begin_handing(lowering, &s, &handed[d]));
    for (int64_t k = s.steps; k-- > 0;)
        for (uint32_t d = 0; d < s.directions; d++)
            TRY(lower_backward_step(lowering, node, &s, d, k, is_tiled(lowering, &s), &handed[d]));
    return TUFF_OK;
}

/* ---- rows ----------------------------------------------------------------------------------------- */

static tuff_result infer_sequence(inference *inference) {
    const node *node = inference->node;
    sizes s = sizes_of(node, node->inputs[IN_LIKE], node->inputs[IN_GATES], node->inputs[IN_GATES + 1]);
    int64_t both = s.directions;
    inference->output_count = s.mode == RECURRENT_LSTM ? OUT_COUNT : s.mode == RECURRENT_GRU ? OUT_KEPT + 1 : OUT_KEPT;
    inference->shapes[OUT_Y] = TUFF_SHAPE(s.steps, s.batch, both * s.hidden);
    inference->shapes[OUT_LAST] = inference->shapes[OUT_CELL_LAST] = TUFF_SHAPE(both, s.batch, s.hidden);
    inference->shapes[OUT_KEPT] = TUFF_SHAPE(both * s.steps, s.batch, KEPT_GATES * s.hidden);
    inference->shapes[OUT_CELLS] = TUFF_SHAPE(both * s.steps, s.batch, s.hidden);
    return TUFF_OK;
}

/* The shape of an input's gradient follows from the weight's and the output's. */
static tuff_result infer_sequence_backward(inference *inference) {
    const node *node = inference->node;
    const tuff_shape *y = &node->inputs[BACK_Y]->shape, *weight = &node->inputs[BACK_WEIGHT]->shape;
    recurrent_mode mode = (recurrent_mode)node->attributes[ATTRIBUTE_MODE].i;
    uint32_t directions = node->inputs[BACK_WEIGHT + 1] ? 2 : 1, count = 0;
    for (uint32_t i = 0; i < (mode == RECURRENT_GRU ? 2 : 1) * directions; i++)
        inference->shapes[count++] = TUFF_SHAPE(y->sizes[0] * y->sizes[1], weight->sizes[0]);
    for (uint32_t i = 0; i < (mode == RECURRENT_LSTM ? 2 : 1); i++)
        inference->shapes[count++] = TUFF_SHAPE(directions, y->sizes[1], weight->sizes[1]);
    inference->output_count = count;
    return TUFF_OK;
}

static const operator sequence_backward = {
    .name = "recurrent_backward",
    .formula = "the gradients of recurrent with respect to gates, hx and cx; of GRU, what W_hh and b_hh see, too",
    .inputs = { "grad_output?", "grad_h_n?", "grad_c_n?", "output", "kept?", "cells?", "weight", "weight_reverse?",
                "hx?", "cx?" },
    .attributes = mode_attributes,
    .attribute_count = ATTRIBUTE_COUNT,
    .flags = OPERATOR_INTERNAL,
    .infer = infer_sequence_backward,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR,
                       LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_sequence_backward,
};

static tuff_tensor *weight_gradient(const node *node, tuff_tensor *gradient, uint32_t d) {
    int64_t hidden = node->inputs[IN_WEIGHT + d]->shape.sizes[1];
    return recurrent_weight_gradient(gradient, node->outputs[OUT_Y], node->inputs[IN_HX], d, hidden);
}

static tuff_result gradient_sequence(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                     tuff_tensor **grad_inputs) {
    sizes s = sizes_of(node, node->inputs[IN_LIKE], node->inputs[IN_GATES], node->inputs[IN_GATES + 1]);
    bool gru = s.mode == RECURRENT_GRU, lstm = s.mode == RECURRENT_LSTM;
    tuff_tensor *inputs[BACK_COUNT] = { grad_outputs[OUT_Y],
                                        grad_outputs[OUT_LAST],
                                        lstm ? grad_outputs[OUT_CELL_LAST] : NULL,
                                        node->outputs[OUT_Y],
                                        gru || lstm ? node->outputs[OUT_KEPT] : NULL,
                                        lstm ? node->outputs[OUT_CELLS] : NULL,
                                        node->inputs[IN_WEIGHT],
                                        node->inputs[IN_WEIGHT + 1],
                                        node->inputs[IN_HX],
                                        lstm ? node->inputs[IN_CX] : NULL };
    tuff_tensor *first = graph_apply(node_graph(node), &sequence_backward, inputs, BACK_COUNT, node->attributes, NULL);
    if (!first) return node_graph(node)->result;
    tuff_tensor *const *built = first->producer->outputs;
    static const tuff_reduce_desc over_steps = { .axes = { 0 }, .axis_count = 1 };
    for (uint32_t d = 0; d < s.directions; d++) {
        tuff_tensor *seen = gru ? built[back_out_hidden(&s) + d] : built[d];
        grad_inputs[IN_GATES + d] = built[d];
        if (needs >> (IN_WEIGHT + d) & 1) grad_inputs[IN_WEIGHT + d] = weight_gradient(node, seen, d);
        if (needs >> (IN_BIAS + d) & 1) grad_inputs[IN_BIAS + d] = tuff_sum(seen, &over_steps);
    }
    if (node->inputs[IN_HX]) grad_inputs[IN_HX] = built[back_out_hx(&s)];
    if (node->inputs[IN_CX]) grad_inputs[IN_CX] = built[back_out_cx(&s)];
    return TUFF_OK;
}

static const operator sequence = {
    .name = "recurrent",
    .formula = "one recurrent layer over all steps, from what the input adds to its gates",
    .inputs = { "gates", "gates_reverse?", "weight", "weight_reverse?", "bias?", "bias_reverse?", "hx?", "cx?",
                "like" },
    .shape_only = 1u << IN_LIKE,
    .outputs = { "output", "h_n", "kept", "c_n", "cells" },
    .attributes = mode_attributes,
    .attribute_count = ATTRIBUTE_COUNT,
    .flags = OPERATOR_INTERNAL,
    .infer = infer_sequence,
    .gradient = gradient_sequence,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR,
                       LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_sequence,
};

tuff_tensor *recurrent_sequence(tuff_tensor *x, recurrent_mode mode, const recurrent_direction *directions,
                                uint32_t count, tuff_tensor *hx, tuff_tensor *cx, tuff_tensor *results[3]) {
    tuff_tensor *inputs[IN_COUNT] = { [IN_HX] = hx, [IN_CX] = cx, [IN_LIKE] = x };
    for (uint32_t d = 0; d < count; d++) {
        inputs[IN_GATES + d] = directions[d].gates;
        inputs[IN_WEIGHT + d] = directions[d].weight;
        inputs[IN_BIAS + d] = directions[d].bias;
    }
    const attribute_value attributes[] = { [ATTRIBUTE_MODE] = { .i = mode } };
    tuff_tensor *y = graph_apply(x->graph, &sequence, inputs, IN_COUNT, attributes, NULL);
    results[0] = y;
    results[1] = y ? y->producer->outputs[OUT_LAST] : NULL;
    results[2] = y && mode == RECURRENT_LSTM ? y->producer->outputs[OUT_CELL_LAST] : NULL;
    return y;
}

static const operator* const rows[] = { &sequence, &sequence_backward, &recurrent_weight_backward };
const operator_family family_recurrent_step = { rows, sizeof rows / sizeof *rows };
