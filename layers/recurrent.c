/* Recurrent networks: torch.nn.RNN, GRU and LSTM.
 *
 * The rows take all weights of all layers, as PyTorch names them; a row is taken apart into its layers, and each of
 * those into the input's product of all steps and the sequence (recurrent_step.c). The public functions apply a row of
 * one layer for each layer, so that they have no limit of weights. */
#include "layers/recurrent.h"

#include "layers/families.h"
#include "layers/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ATTRIBUTE_LAYERS,
    ATTRIBUTE_BIAS,
    ATTRIBUTE_BATCH_FIRST,
    ATTRIBUTE_DROPOUT,
    ATTRIBUTE_BIDIRECTIONAL,
    ATTRIBUTE_COUNT,
    ATTRIBUTE_NONLINEARITY = ATTRIBUTE_COUNT
};
/* The common ones; the row's inputs before its weights. */
enum { IN_X, IN_HX, IN_CX };

#define COMMON_ATTRIBUTES                                                                                              \
    [ATTRIBUTE_LAYERS] = { .name = "num_layers", .type = ATTRIBUTE_INT, .value.i = 1 },                                \
    [ATTRIBUTE_BIAS] = { .name = "bias", .type = ATTRIBUTE_BOOL, .value.i = true },                                    \
    [ATTRIBUTE_BATCH_FIRST] = { .name = "batch_first", .type = ATTRIBUTE_BOOL },                                       \
    [ATTRIBUTE_DROPOUT] = { .name = "dropout", .type = ATTRIBUTE_FLOAT },                                              \
    [ATTRIBUTE_BIDIRECTIONAL] = { .name = "bidirectional", .type = ATTRIBUTE_BOOL }

static const attribute common_attributes[] = { COMMON_ATTRIBUTES };
static const attribute rnn_attributes[] = {
    COMMON_ATTRIBUTES,
    [ATTRIBUTE_NONLINEARITY] = { .name = "nonlinearity", .type = ATTRIBUTE_CHOICE, .choices = "tanh|relu" },
};

static const operator row_rnn, row_gru, row_lstm;

/* ---- a row's numbers ------------------------------------------------------------------------------ */

enum { WEIGHT_IH, WEIGHT_HH, BIAS_IH, BIAS_HH, WEIGHT_KINDS }; /* of a layer's direction, in this order */

typedef struct form {
    recurrent_mode mode;
    int64_t layers, gates, features, hidden;
    uint32_t directions, kinds; /* kinds of weights: 4, or 2 without biases */
    uint32_t first_weight;      /* among the inputs */
    bool batched;
} form;

static uint32_t first_weight_of(const operator* op) {
    return op == &row_lstm ? IN_CX + 1 : IN_HX + 1;
}

/* What follows from the attributes alone. */
static form form_of_attributes(const operator* op, const attribute_value *attributes) {
    recurrent_mode mode = op == &row_lstm                        ? RECURRENT_LSTM
                          : op == &row_gru                       ? RECURRENT_GRU
                          : attributes[ATTRIBUTE_NONLINEARITY].i ? RECURRENT_RELU
                                                                 : RECURRENT_TANH;
    return (form){ .mode = mode,
                   .layers = attributes[ATTRIBUTE_LAYERS].i,
                   .gates = recurrent_gates(mode),
                   .directions = attributes[ATTRIBUTE_BIDIRECTIONAL].i ? 2 : 1,
                   .kinds = attributes[ATTRIBUTE_BIAS].i ? 4 : 2,
                   .first_weight = first_weight_of(op) };
}

static void weight_name(const form *f, uint32_t index, char *text, size_t size) {
    static const char *const kinds[] = { "weight_ih", "weight_hh", "bias_ih", "bias_hh" };
    uint32_t direction = index / f->kinds % f->directions, layer = index / f->kinds / f->directions;
    snprintf(text, size, "%s_l%u%s", kinds[index % f->kinds], layer, direction ? "_reverse" : "");
}

static void name_weight(const operator* op, uint32_t i, const attribute_value *attributes, char text[64]) {
    form f = form_of_attributes(op, attributes);
    weight_name(&f, i - f.first_weight, text, 64);
}
static void name_rnn_weight(uint32_t i, const attribute_value *attributes, char text[64]) {
    name_weight(&row_rnn, i, attributes, text);
}
static void name_gru_weight(uint32_t i, const attribute_value *attributes, char text[64]) {
    name_weight(&row_gru, i, attributes, text);
}
static void name_lstm_weight(uint32_t i, const attribute_value *attributes, char text[64]) {
    name_weight(&row_lstm, i, attributes, text);
}

static tuff_shape weight_shape(const form *f, uint32_t kind, int64_t layer) {
    int64_t rows = f->gates * f->hidden;
    if (kind >= BIAS_IH) return TUFF_SHAPE(rows);
    return TUFF_SHAPE(rows, kind == WEIGHT_HH ? f->hidden : layer ? f->directions * f->hidden : f->features);
}

/* ---- infer ---------------------------------------------------------------------------------------- */

static tuff_result check_weights(inference *inference, form *f) {
    const node *node = inference->node;
    tuff_graph *graph = inference->graph;
    char text[160], name[64], first[SHAPE_TEXT], second[SHAPE_TEXT];
    node_text(node, text);
    const int64_t most = MAX_INPUTS - f->first_weight;
    if (f->layers < 1 || f->layers > most || f->layers * f->directions * f->kinds > most)
        return graph_fail(graph, TUFF_ERROR_ARGUMENT,
                          "%s: num_layers is %lld, it must be 1 to %lld here: %lld weights at most are possible (the "
                          "layer's function "
                          "has no such limit)",
                          text, (long long)f->layers, (long long)(most / (f->directions * f->kinds)), (long long)most);
    int64_t wanted = f->layers * f->directions * f->kinds, given = (int64_t)node->input_count - f->first_weight;
    if (given > wanted)
        return graph_fail(graph, TUFF_ERROR_ARGUMENT,
                          "%s: %lld weights are given, num_layers, bidirectional and bias ask for %lld", text,
                          (long long)given, (long long)wanted);
    for (uint32_t i = 0; i < (uint32_t)wanted; i++) {
        weight_name(f, i, name, sizeof name);
        const tuff_tensor *weight = node->inputs[f->first_weight + i];
        if (!weight)
            return graph_fail(graph, TUFF_ERROR_ARGUMENT,
                              "%s: input '%s' is missing; num_layers, bidirectional and bias ask for %lld weights",
                              text, name, (long long)wanted);
        uint32_t kind = i % f->kinds;
        if (i == WEIGHT_IH) { /* hidden_size follows from the first one */
            f->hidden = weight->shape.rank == 2 ? weight->shape.sizes[0] / f->gates : 0;
            if (f->hidden < 1 || weight->shape.sizes[0] % f->gates)
                return graph_fail(graph, TUFF_ERROR_SHAPE,
                                  "%s: '%s' ('%s') has the shape %s, it must have (%lld * hidden_size, %lld)", text,
                                  name, weight->name, shape_text(&weight->shape, first), (long long)f->gates,
                                  (long long)f->features);
        }
        tuff_shape shape = weight_shape(f, kind, i / (f->kinds * f->directions));
        if (!shape_equal(&weight->shape, &shape))
            return graph_fail(graph, TUFF_ERROR_SHAPE, "%s: '%s' ('%s') has the shape %s, it must have %s", text, name,
                              weight->name, shape_text(&weight->shape, first), shape_text(&shape, second));
    }
    return TUFF_OK;
}

static tuff_result infer_network(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[IN_X];
    form f = form_of_attributes(node->op, node->attributes);
    double dropout = node->attributes[ATTRIBUTE_DROPOUT].f;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    node_text(node, text);
    if (x->shape.rank != 2 && x->shape.rank != 3)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have rank 3, (steps, batch, features), or 2 without a batch", text, x->name,
                          shape_text(&x->shape, first));
    if (!(dropout >= 0 && dropout <= 1))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: dropout is %g, it must be in [0, 1]", text,
                          dropout);
    f.batched = x->shape.rank == 3;
    f.features = x->shape.sizes[x->shape.rank - 1];
    TRY(check_weights(inference, &f));
    int64_t states = f.layers * f.directions,
            rows = f.batched ? x->shape.sizes[node->attributes[ATTRIBUTE_BATCH_FIRST].i ? 0 : 1] : 0;
    tuff_shape state = f.batched ? TUFF_SHAPE(states, rows, f.hidden) : TUFF_SHAPE(states, f.hidden);
    for (uint32_t i = IN_HX; i < f.first_weight; i++) {
        const tuff_tensor *given = node->inputs[i];
        if (given && !shape_equal(&given->shape, &state))
            return graph_fail(
                inference->graph, TUFF_ERROR_SHAPE,
                "%s: %s ('%s') has the shape %s, it must have %s: (num_layers * directions%s, hidden_size)", text,
                i == IN_HX ? "hx" : "cx", given->name, shape_text(&given->shape, first), shape_text(&state, second),
                f.batched ? ", batch" : "");
    }
    inference->shapes[0] = x->shape;
    inference->shapes[0].sizes[x->shape.rank - 1] = f.directions * f.hidden;
    inference->shapes[1] = inference->shapes[2] = state;
    inference->output_count = f.mode == RECURRENT_LSTM ? 3 : 2;
    return TUFF_OK;
}

/* ---- expand --------------------------------------------------------------------------------------- */

/* One layer; weights: of its first direction, then of its second. x: (T, N, features). */
static tuff_tensor *apply_layer(const form *f, tuff_tensor *x, tuff_tensor *const *weights, tuff_tensor *hx,
                                tuff_tensor *cx, tuff_tensor *results[3]) {
    recurrent_direction directions[2] = { { 0 } };
    /* sizes of steps and batch stay open: the graph may be compiled with others */
    tuff_tensor *rows = tuff_reshape(x, TUFF_SHAPE(-1, x->shape.sizes[2]));
    for (uint32_t d = 0; d < f->directions; d++, weights += f->kinds) {
        recurrent_direction *direction = &directions[d];
        tuff_tensor *gates = tuff_matmul(rows, weights[WEIGHT_IH], &(tuff_matmul_desc){ .transpose_b = true });
        if (f->kinds > BIAS_IH) {
            gates = tuff_add(gates, weights[BIAS_IH]);
            if (f->mode == RECURRENT_GRU)
                direction->bias = weights[BIAS_HH];
            else
                gates = tuff_add(gates, weights[BIAS_HH]);
        }
        direction->gates = gates;
        direction->weight = weights[WEIGHT_HH];
    }
    return recurrent_sequence(x, f->mode, directions, f->directions, hx, cx, results);
}

/* A tensor with an axis of one in the middle: the batch. */
static tuff_tensor *with_batch(tuff_tensor *x) {
    return x ? tuff_reshape(x, TUFF_SHAPE(-1, 1, x->shape.sizes[1])) : NULL;
}
static tuff_tensor *without_batch(tuff_tensor *x) {
    return x ? tuff_reshape(x, TUFF_SHAPE(-1, x->shape.sizes[2])) : NULL;
}

static tuff_tensor *dropout_between(tuff_tensor *x, float p, const char *name, int64_t layer) {
    char label[512];
    if (!x || p == 0) return x;
    snprintf(label, sizeof label, "%.480s.dropout_l%lld", name, (long long)layer);
    return tuff_dropout(x, p, label);
}

/* Each layer's states as parts of one tensor's axis 0; NULL stays NULL. */
static tuff_tensor *part_of_layer(tuff_tensor *states, int64_t layer, uint32_t directions) {
    if (!states || states->shape.sizes[0] == directions) return states;
    return tuff_slice(states, 0, layer * directions, (layer + 1) * directions, 1);
}

static tuff_result expand_network(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)training;
    form f = form_of_attributes(node->op, node->attributes);
    tuff_tensor *x = inputs[IN_X], *hx = inputs[IN_HX], *cx = f.mode == RECURRENT_LSTM ? inputs[IN_CX] : NULL;
    tuff_tensor *last[2][MAX_INPUTS], *results[3] = { NULL };
    bool batched = x->shape.rank == 3, batch_first = batched && node->attributes[ATTRIBUTE_BATCH_FIRST].i;
    f.hidden = inputs[f.first_weight]->shape.sizes[0] / f.gates;
    if (!batched) x = with_batch(x), hx = with_batch(hx), cx = with_batch(cx);
    if (batch_first) x = tuff_transpose(x, 0, 1);
    for (int64_t layer = 0; x && layer < f.layers; layer++) {
        if (layer) x = dropout_between(x, (float)node->attributes[ATTRIBUTE_DROPOUT].f, node->label, layer - 1);
        if (!x) break;
        x = apply_layer(&f, x, inputs + f.first_weight + layer * f.directions * f.kinds,
                        part_of_layer(hx, layer, f.directions), part_of_layer(cx, layer, f.directions), results);
        last[0][layer] = results[1];
        last[1][layer] = results[2];
    }
    TRY(graph->result);
    outputs[0] = batch_first ? tuff_transpose(x, 0, 1) : batched ? x : without_batch(x);
    for (uint32_t i = 0; i < node->output_count - 1; i++) {
        tuff_tensor *states = f.layers > 1 ? tuff_concat(last[i], (uint32_t)f.layers, 0) : last[i][0];
        outputs[1 + i] = batched ? states : without_batch(states);
    }
    return graph->result;
}

/* ---- rows ----------------------------------------------------------------------------------------- */

static const operator row_rnn = {
    .name = "rnn",
    .formula = "h = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu, step by step",
    .inputs = { "input", "hx?", "weights*" },
    .outputs = { "output", "h_n" },
    .pytorch = "torch.nn.RNN",
    .limits =
        "no packed sequences; at most 22 weights a row, with biases 5 layers, or 2 in two directions; tuff_rnn takes "
        "any number",
    .attributes = rnn_attributes,
    .attribute_count = ATTRIBUTE_COUNT + 1,
    .flags = OPERATOR_TRAINING,
    .input_name = name_rnn_weight,
    .infer = infer_network,
    .expand = expand_network,
};

static const operator row_gru = {
    .name = "gru",
    .formula = "h = (1 - z) n + z h, n = tanh(W_in x + b_in + r (W_hn h + b_hn)), gates r, z, step by step",
    .inputs = { "input", "hx?", "weights*" },
    .outputs = { "output", "h_n" },
    .pytorch = "torch.nn.GRU",
    .limits =
        "no packed sequences; at most 22 weights a row, with biases 5 layers, or 2 in two directions; tuff_gru takes "
        "any number",
    .attributes = common_attributes,
    .attribute_count = ATTRIBUTE_COUNT,
    .flags = OPERATOR_TRAINING,
    .input_name = name_gru_weight,
    .infer = infer_network,
    .expand = expand_network,
};

static const operator row_lstm = {
    .name = "lstm",
    .formula = "c = f c + i g, h = o tanh(c), gates i, f, g, o of W_ih x + b_ih + W_hh h + b_hh, step by step",
    .inputs = { "input", "hx?", "cx?", "weights*" },
    .outputs = { "output", "h_n", "c_n" },
    .pytorch = "torch.nn.LSTM",
    .limits = "no proj_size, no packed sequences; at most 21 weights a row, with biases 5 layers, or 2 in two "
              "directions; tuff_lstm takes any number",
    .attributes = common_attributes,
    .attribute_count = ATTRIBUTE_COUNT,
    .flags = OPERATOR_TRAINING,
    .input_name = name_lstm_weight,
    .infer = infer_network,
    .expand = expand_network,
};

static const operator* const rows[] = { &row_rnn, &row_gru, &row_lstm };
const operator_family family_recurrent = { rows, sizeof rows / sizeof *rows };

/* ---- the layers ----------------------------------------------------------------------------------- */

/* The layer's parameters into `inputs`, in the row's order. */
static bool declare_weights(tuff_graph *graph, const tuff_recurrent_desc *desc, const form *f, int64_t layer,
                            tuff_tensor **inputs) {
    float bound = (float)(1 / sqrt((double)f->hidden));
    for (uint32_t i = 0; i < f->directions * f->kinds; i++) {
        char name[64];
        uint32_t kind = i % f->kinds;
        weight_name(f, (uint32_t)layer * f->directions * f->kinds + i, name, sizeof name);
        tuff_shape shape = weight_shape(f, kind, layer);
        const state_desc state = { .name = name,
                                   .shape = shape,
                                   .kind = TUFF_STATE_PARAMETER,
                                   .init = init_or(&desc->init, TUFF_INIT_UNIFORM, bound),
                                   .fan_in = shape.rank == 2 ? shape.sizes[1] : 0,
                                   .fan_out = shape.rank == 2 ? shape.sizes[0] : 0 };
        if (!(inputs[f->first_weight + i] = layer_state(graph, desc->name, &state))) return false;
    }
    return true;
}

static bool check_desc(tuff_graph *graph, const operator* op, const char *call, const tuff_recurrent_desc *desc,
                       const tuff_tensor *x, int64_t layers) {
    char text[SHAPE_TEXT];
    if (!layer_is_named(graph, call, desc->name)) return false;
    if (desc->hidden_size < 1 || desc->hidden_size > INT32_MAX)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': hidden_size is %lld, it must be 1 to %d", call, desc->name,
                   (long long)desc->hidden_size, INT32_MAX);
    else if (layers < 1 || layers > UINT16_MAX)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': num_layers is %lld, it must be 1 to %d (0 stands for 1)", call,
                   desc->name, (long long)layers, UINT16_MAX);
    else if (desc->relu && op != &row_rnn)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': relu is tuff_rnn's alone", call, desc->name);
    else if (desc->cx && op != &row_lstm)
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': cx is tuff_lstm's alone", call, desc->name);
    else if (!(desc->dropout >= 0 && desc->dropout <= 1))
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s '%s': dropout is %g, it must be in [0, 1]", call, desc->name,
                   (double)desc->dropout);
    else if (x->shape.rank != 2 && x->shape.rank != 3)
        graph_fail(graph, TUFF_ERROR_SHAPE,
                   "%s '%s': '%s' %s must have rank 3, (steps, batch, features), or 2 without a batch", call,
                   desc->name, x->name, shape_text(&x->shape, text));
    for (uint32_t i = 0; i < 2 && graph->result == TUFF_OK; i++) {
        const tuff_tensor *state = i ? desc->cx : desc->hx;
        int64_t states = layers * (desc->bidirectional ? 2 : 1);
        if (state && (state->shape.rank != x->shape.rank || state->shape.sizes[0] != states))
            graph_fail(graph, TUFF_ERROR_SHAPE,
                       "%s '%s': %s '%s' %s must have rank %u and %lld (num_layers * directions) as its first size",
                       call, desc->name, i ? "cx" : "hx", state->name, shape_text(&state->shape, text), x->shape.rank,
                       (long long)states);
    }
    return graph->result == TUFF_OK;
}

static tuff_tensor *network(const operator* op, const char *call, tuff_tensor *x, const tuff_recurrent_desc *desc,
                            tuff_tensor **h_n, tuff_tensor **c_n) {
    if (h_n) *h_n = NULL;
    if (c_n) *c_n = NULL;
    if (!x) return NULL;
    tuff_graph *graph = x->graph;
    if (graph->result != TUFF_OK) return NULL;
    static const tuff_recurrent_desc none;
    if (!desc) desc = &none;
    int64_t layers = desc->num_layers == 0 ? 1 : desc->num_layers;
    if (!check_desc(graph, op, call, desc, x, layers)) return NULL;
    attribute_value attributes[ATTRIBUTE_COUNT + 1] = { [ATTRIBUTE_LAYERS] = { .i = 1 },
                                                        [ATTRIBUTE_BIAS] = { .i = !desc->no_bias },
                                                        [ATTRIBUTE_BATCH_FIRST] = { .i = desc->batch_first },
                                                        [ATTRIBUTE_BIDIRECTIONAL] = { .i = desc->bidirectional },
                                                        [ATTRIBUTE_NONLINEARITY] = { .i = op == &row_rnn
                                                                                          && desc->relu } };
    form f = form_of_attributes(op, attributes);
    f.hidden = desc->hidden_size;
    f.features = x->shape.sizes[x->shape.rank - 1];
    uint32_t before = tuff_model_state_count(graph->model);
    tuff_tensor *last[2] = { NULL };
    for (int64_t layer = 0; layer < layers; layer++) {
        tuff_tensor *inputs[MAX_INPUTS] = { NULL };
        char label[512];
        if (layer) x = dropout_between(x, desc->dropout, desc->name, layer - 1);
        inputs[IN_X] = x;
        inputs[IN_HX] = part_of_layer(desc->hx, layer, f.directions);
        if (op == &row_lstm) inputs[IN_CX] = part_of_layer(desc->cx, layer, f.directions);
        if (!x || graph->result != TUFF_OK || !declare_weights(graph, desc, &f, layer, inputs)) break;
        snprintf(label, sizeof label, layers > 1 ? "%.480s.l%lld" : "%.480s", desc->name, (long long)layer);
        x = graph_apply(graph, op, inputs, f.first_weight + f.directions * f.kinds, attributes, label);
        if (!x) break;
        for (uint32_t i = 0; i + 1 < x->producer->output_count; i++) {
            tuff_tensor *pair[] = { last[i], x->producer->outputs[1 + i] };
            last[i] = layer ? tuff_concat(pair, 2, 0) : pair[1];
        }
    }
    x = layer_end(graph, before, x);
    if (h_n && x) *h_n = last[0];
    if (c_n && x) *c_n = last[1];
    return x;
}

tuff_tensor *tuff_rnn(tuff_tensor *x, const tuff_recurrent_desc *desc, tuff_tensor **h_n) {
    return network(&row_rnn, "tuff_rnn", x, desc, h_n, NULL);
}

tuff_tensor *tuff_gru(tuff_tensor *x, const tuff_recurrent_desc *desc, tuff_tensor **h_n) {
    return network(&row_gru, "tuff_gru", x, desc, h_n, NULL);
}

tuff_tensor *tuff_lstm(tuff_tensor *x, const tuff_recurrent_desc *desc, tuff_tensor **h_n, tuff_tensor **c_n) {
    return network(&row_lstm, "tuff_lstm", x, desc, h_n, c_n);
}
