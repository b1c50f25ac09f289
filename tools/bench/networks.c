/* The networks that tuff bench trains: the digits' CNN, a residual network, a small GPT and an LSTM. Their sizes are
 * those that docs/performance.md compares; --small makes them tiny. */
#include "networks.h"

#include "runtime/program/program.h"

#include "runtime/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- inputs -------------------------------------------------------------------------------------- */

static tuff_tensor *add_input(network *net, const char *name, tuff_type type, tuff_shape shape, int64_t below) {
    int64_t count = tuff_shape_count(&shape);
    network_input *input = &net->inputs[net->input_count];
    input->size = (size_t)count * 4;
    input->data = malloc(input->size);
    if (!input->data) {
        error_out_of_host_memory(input->size);
        return NULL;
    }
    net->input_count++;
    float *floats = input->data;
    int32_t *integers = input->data;
    for (int64_t i = 0; i < count; i++) {
        int64_t value = i * 7919 % below;
        if (type == TUFF_F32)
            floats[i] = (float)value / (float)below;
        else
            integers[i] = (int32_t)value;
    }
    return input->tensor = tuff_input(net->graph, name, type, shape);
}

static tuff_tensor *pixels(network *net, tuff_shape shape) {
    return add_input(net, "image", TUFF_F32, shape, 256);
}

static tuff_tensor *classes(network *net, const char *name, tuff_shape shape, int64_t below) {
    return add_input(net, name, TUFF_I32, shape, below);
}

/* ---- layers, which count their products ---------------------------------------------------------- */

static tuff_tensor *linear(network *net, tuff_tensor *x, const char *name, int64_t features, bool no_bias) {
    const tuff_shape from = tuff_tensor_shape(x);
    net->products += 2.0 * (double)(tuff_shape_count(&from) * features);
    return tuff_linear(x, &(tuff_linear_desc){ .name = name, .features = features, .no_bias = no_bias });
}

static tuff_tensor *conv(network *net, tuff_tensor *x, const char *name, int64_t channels, int64_t kernel,
                         int64_t stride, bool no_bias) {
    const tuff_shape from = tuff_tensor_shape(x);
    tuff_tensor *y = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = name,
                                                         .channels = channels,
                                                         .kernel = { kernel, kernel },
                                                         .stride = { stride, stride },
                                                         .padding = { kernel / 2, kernel / 2 },
                                                         .no_bias = no_bias });
    const tuff_shape to = tuff_tensor_shape(y);
    if (y) net->products += 2.0 * (double)(tuff_shape_count(&to) * from.sizes[1] * kernel * kernel);
    return y;
}

/* ---- mnist-cnn ----------------------------------------------------------------------------------- */

static tuff_tensor *build_mnist(network *net, int64_t batch, bool small) {
    const int64_t wide = small ? 4 : 32;
    const tuff_pool2d_desc pool = { .kernel = { 2, 2 } };
    snprintf(net->shape, sizeof net->shape, "mnist-cnn, batch %lld", (long long)batch);
    net->items = (double)batch, net->unit = "images/s";
    net->optimizer = tuff_adam_create(net->model, NULL);
    tuff_tensor *x = pixels(net, TUFF_SHAPE(batch, 1, 28, 28));
    tuff_tensor *label = classes(net, "label", TUFF_SHAPE(batch), 10);
    x = tuff_max_pool2d(tuff_relu(conv(net, x, "conv1", wide, 3, 1, false)), &pool);
    x = tuff_max_pool2d(tuff_relu(conv(net, x, "conv2", 2 * wide, 3, 1, false)), &pool);
    x = tuff_relu(linear(net, tuff_flatten(x), "fc1", 4 * wide, false));
    return tuff_cross_entropy(linear(net, x, "fc2", 10, false), label, NULL);
}

/* ---- resnet18 ------------------------------------------------------------------------------------ */

/* name.a, name.b into text, which lasts until the next call. */
static const char *part(const char *name, const char *of) {
    static char text[64];
    snprintf(text, sizeof text, "%s.%s", name, of);
    return text;
}

static tuff_tensor *conv_norm(network *net, tuff_tensor *x, const char *name, int64_t channels, int64_t kernel,
                              int64_t stride) {
    char norm[80];
    snprintf(norm, sizeof norm, "%s_norm", name);
    x = conv(net, x, name, channels, kernel, stride, true);
    return tuff_batch_norm(x, &(tuff_batch_norm_desc){ .name = norm });
}

/* He et al. 2015, the basic block: two convolutions beside the identity, or beside a projection where sizes change. */
static tuff_tensor *basic_block(network *net, tuff_tensor *x, const char *name, int64_t channels, int64_t stride) {
    tuff_tensor *y = tuff_relu(conv_norm(net, x, part(name, "conv1"), channels, 3, stride));
    y = conv_norm(net, y, part(name, "conv2"), channels, 3, 1);
    if (stride != 1) x = conv_norm(net, x, part(name, "projection"), channels, 1, stride);
    return tuff_relu(tuff_add(y, x));
}

static tuff_tensor *build_resnet(network *net, int64_t batch, bool small) {
    const int64_t width = small ? 4 : 16, side = small ? 8 : 32;
    snprintf(net->shape, sizeof net->shape, "resnet18, width %lld, %lldx%lld, batch %lld", (long long)width,
             (long long)side, (long long)side, (long long)batch);
    net->items = (double)batch, net->unit = "images/s";
    net->optimizer = tuff_sgd_create(net->model, &(tuff_sgd_desc){ .lr = 1e-2f, .momentum = 0.9f });
    tuff_tensor *x = pixels(net, TUFF_SHAPE(batch, 3, side, side));
    tuff_tensor *label = classes(net, "label", TUFF_SHAPE(batch), 10);
    x = tuff_relu(conv_norm(net, x, "conv", width, 3, 1));
    for (int stage = 0; stage < 4; stage++)
        for (int block = 0; block < 2; block++) {
            char name[32];
            snprintf(name, sizeof name, "layer%d.%d", stage + 1, block);
            x = basic_block(net, x, name, width << stage, stage && !block ? 2 : 1);
        }
    x = linear(net, tuff_flatten(tuff_global_avg_pool2d(x)), "fc", 10, false);
    return tuff_cross_entropy(x, label, NULL);
}

/* ---- gpt ----------------------------------------------------------------------------------------- */

/* Radford et al. 2019: normalise, attend, add; normalise, two layers, add. */
static tuff_tensor *gpt_block(network *net, tuff_tensor *x, const char *name, int64_t heads, bool checkpoint) {
    tuff_tensor *const input = x;
    const tuff_shape shape = tuff_tensor_shape(x);
    double tokens = (double)(shape.sizes[0] * shape.sizes[1]), width = (double)shape.sizes[2];
    tuff_tensor *y = tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = part(name, "norm1") });
    y = tuff_multihead_attention(
        y, NULL, NULL,
        &(tuff_multihead_attention_desc){ .name = part(name, "attention"), .heads = heads, .causal = true });
    /* four projections, and two products of which half is masked */
    net->products += 2 * tokens * width * (4 * width + (double)shape.sizes[1]);
    x = tuff_add(x, y);
    y = tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = part(name, "norm2") });
    y = tuff_gelu(linear(net, y, part(name, "fc1"), 4 * shape.sizes[2], false), NULL);
    y = tuff_add(x, linear(net, y, part(name, "fc2"), shape.sizes[2], false));
    return checkpoint ? tuff_checkpoint(y, &input, 1) : y;
}

static tuff_tensor *gpt(network *net, const char *kind, int64_t batch, bool small, bool checkpoint) {
    const int64_t layers = small ? 1 : 6, heads = small ? 2 : 6, width = heads * (small ? 8 : 64);
    const int64_t tokens = small ? 16 : 256, vocabulary = 256;
    const tuff_init_desc normal = { TUFF_INIT_NORMAL, 0.02f };
    snprintf(net->shape, sizeof net->shape, "%s, %lld layers, width %lld, %lld tokens, batch %lld", kind,
             (long long)layers, (long long)width, (long long)tokens, (long long)batch);
    net->items = (double)(batch * tokens), net->unit = "tokens/s";
    net->optimizer = tuff_adamw_create(net->model, NULL);
    tuff_tensor *token = classes(net, "token", TUFF_SHAPE(batch, tokens), vocabulary);
    tuff_tensor *next = classes(net, "next", TUFF_SHAPE(batch, tokens), vocabulary);
    tuff_tensor *x = tuff_embedding(
        token,
        &(tuff_embedding_desc){ .name = "token", .count = vocabulary, .features = width, .weight_init = normal });
    x = tuff_add(x, tuff_parameter(net->graph, "position", TUFF_SHAPE(tokens, width), &normal));
    for (int64_t layer = 0; layer < layers; layer++) {
        char name[32];
        snprintf(name, sizeof name, "block%lld", (long long)layer);
        x = gpt_block(net, x, name, heads, checkpoint);
    }
    x = tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = "norm" });
    net->products += 2 * net->items * (double)(width * vocabulary);
    tuff_tensor *head = tuff_parameter(net->graph, "head.weight", TUFF_SHAPE(vocabulary, width), &normal);
    return tuff_linear_cross_entropy(x, head, next, NULL);
}

static tuff_tensor *build_gpt(network *net, int64_t batch, bool small) {
    return gpt(net, "gpt", batch, small, false);
}

/* The same, of whose blocks only the inputs are kept for the backward pass. */
static tuff_tensor *build_gpt_checkpoint(network *net, int64_t batch, bool small) {
    return gpt(net, "gpt-checkpoint", batch, small, true);
}

/* ---- lstm ---------------------------------------------------------------------------------------- */

/* A language model of characters: two layers over whole sequences. */
static tuff_tensor *build_lstm(network *net, int64_t batch, bool small) {
    const int64_t layers = 2, hidden = small ? 8 : 256, features = hidden / 2, steps = small ? 5 : 64, vocabulary = 96;
    snprintf(net->shape, sizeof net->shape, "lstm, %lld layers, width %lld, %lld steps, batch %lld", (long long)layers,
             (long long)hidden, (long long)steps, (long long)batch);
    net->items = (double)(batch * steps), net->unit = "tokens/s";
    net->optimizer = tuff_adam_create(net->model, NULL);
    tuff_tensor *token = classes(net, "token", TUFF_SHAPE(steps, batch), vocabulary);
    tuff_tensor *next = classes(net, "next", TUFF_SHAPE(steps * batch), vocabulary);
    tuff_tensor *x =
        tuff_embedding(token, &(tuff_embedding_desc){ .name = "token", .count = vocabulary, .features = features });
    x = tuff_lstm(x, &(tuff_recurrent_desc){ .name = "lstm", .hidden_size = hidden, .num_layers = layers }, NULL, NULL);
    net->products += 8 * net->items * (double)(hidden * (features + hidden + (layers - 1) * 2 * hidden));
    x = linear(net, tuff_flatten_axes(x, 0, 1), "head", vocabulary, false);
    return tuff_cross_entropy(x, next, NULL);
}

/* ---- all of them --------------------------------------------------------------------------------- */

const network_kind network_kinds[NETWORKS] = {
    { "mnist-cnn", 64, build_mnist, NULL }, { "resnet18", 64, build_resnet, NULL },
    { "gpt", 8, build_gpt, NULL },          { "gpt-checkpoint", 8, build_gpt_checkpoint, "gpt" },
    { "lstm", 32, build_lstm, NULL },
};

const network_kind *network_find(const char *name) {
    for (int i = 0; i < NETWORKS; i++)
        if (strcmp(network_kinds[i].name, name) == 0) return &network_kinds[i];
    return NULL;
}

bool network_open(const bench *bench, const network_kind *kind, network *net) {
    *net = (network){ .bench = bench, .model = tuff_model_create(bench->device, &(tuff_model_desc){ .seed = 1 }) };
    net->graph = net->model ? tuff_graph_create(net->model) : NULL;
    int64_t batch = bench->options.batch ? bench->options.batch : bench->options.small ? 2 : kind->batch;
    if (net->graph) net->loss = kind->build(net, batch, bench->options.small);
    return (net->loss && net->optimizer) || bench_failed(kind->name);
}

bool network_compile(network *net, tuff_profile profile) {
    const tuff_program_desc desc = { .name = "train",
                                     .minimize = net->loss,
                                     .optimizer = net->optimizer,
                                     .outputs = &net->loss,
                                     .output_count = 1,
                                     .profile = profile };
    tuff_program_destroy(net->program);
    return tuff_compile(net->graph, &desc, &net->program) == TUFF_OK || bench_failed(net->shape);
}

double network_bytes(const network *net) {
    const lowered *lowered = net->program->lowered;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < lowered->call_count; i++) {
        const kernel_call *call = &lowered->calls[i];
        for (uint32_t j = 0; j < call->operand_count; j++) {
            uint32_t access = call->operands[j].access;
            bytes += call->operands[j].size * ((access & ACCESS_READ ? 1 : 0) + (access & ACCESS_WRITE ? 1 : 0));
        }
    }
    return (double)bytes;
}

bool network_step(const network *net) {
    bool good = true;
    for (int i = 0; i < net->input_count && good; i++)
        good = tuff_write(net->program, net->inputs[i].tensor, net->inputs[i].data, net->inputs[i].size) == TUFF_OK;
    return (good && tuff_run(net->program) == TUFF_OK) || bench_failed(net->shape);
}

void network_close(network *net) {
    tuff_program_destroy(net->program);
    tuff_graph_destroy(net->graph);
    tuff_model_destroy(net->model);
    for (int i = 0; i < net->input_count; i++) free(net->inputs[i].data);
    *net = (network){ 0 };
}

bool networks_each(const bench *bench, bool (*run)(const struct bench *bench, const network_kind *kind)) {
    const char *wanted = bench->options.network;
    for (int i = 0; i < NETWORKS; i++)
        if ((!wanted || strcmp(wanted, network_kinds[i].name) == 0) && !run(bench, &network_kinds[i])) return false;
    return true;
}
