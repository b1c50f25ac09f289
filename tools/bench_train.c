/* tuff bench train: the MNIST network (conv 32, conv 64, dense 128, Adam) on random images. tools/peers/train.py trains
 * the same with PyTorch. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 64, STEPS_TOGETHER = 5 };

typedef struct network {
    tuff_model *model;
    tuff_graph *graph;
    tuff_tensor *image, *label, *loss;
    tuff_program *program;
} network;

static bool build(const bench *bench, int64_t batch, network *net) {
    *net = (network){ .model = tuff_model_create(bench->device, &(tuff_model_desc){ .seed = 1 }) };
    if (!net->model) return false;
    tuff_optimizer *adam = tuff_adam_create(net->model, NULL);
    net->graph = tuff_graph_create(net->model);
    if (!adam || !net->graph) return false;
    net->image = tuff_input(net->graph, "image", TUFF_F32, TUFF_SHAPE(batch, 1, 28, 28));
    net->label = tuff_input(net->graph, "label", TUFF_I32, TUFF_SHAPE(batch));
    const tuff_pool2d_desc pool = { .kernel = { 2, 2 } };
    tuff_tensor *x = net->image;
    x = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv1", .channels = 32, .kernel = { 3, 3 }, .padding = { 1, 1 } });
    x = tuff_max_pool2d(tuff_relu(x), &pool);
    x = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv2", .channels = 64, .kernel = { 3, 3 }, .padding = { 1, 1 } });
    x = tuff_flatten(tuff_max_pool2d(tuff_relu(x), &pool));
    x = tuff_relu(tuff_linear(x, &(tuff_linear_desc){ .name = "fc1", .features = 128 }));
    x = tuff_linear(x, &(tuff_linear_desc){ .name = "fc2", .features = 10 });
    net->loss = tuff_cross_entropy(x, net->label, NULL);
    const tuff_program_desc desc = { .name = "train",
                                     .minimize = net->loss,
                                     .optimizer = adam,
                                     .outputs = (tuff_tensor *[]){ net->loss },
                                     .output_count = 1 };
    return tuff_compile(net->graph, &desc, &net->program) == TUFF_OK;
}

static bool step(const network *net, const float *images, const int32_t *labels, int64_t batch) {
    return tuff_write(net->program, net->image, images, (size_t)batch * 784 * sizeof *images) == TUFF_OK
           && tuff_write(net->program, net->label, labels, (size_t)batch * sizeof *labels) == TUFF_OK
           && tuff_run(net->program) == TUFF_OK;
}

bool bench_train(const bench *bench) {
    int64_t batch = bench->options.batch ? bench->options.batch : BATCH;
    int runs = bench->options.runs;
    float *images = malloc((size_t)batch * 784 * sizeof *images);
    int32_t *labels = malloc((size_t)batch * sizeof *labels);
    double *times = calloc((size_t)runs, sizeof *times), start = bench_seconds(), first = 0;
    network net = { 0 };
    bool good = images && labels && times;
    for (int64_t i = 0; good && i < batch * 784; i++) images[i] = (float)(i * 7919 % 256) / 255;
    for (int64_t i = 0; good && i < batch; i++) labels[i] = (int32_t)(i % 10);
    good = good && build(bench, batch, &net);
    float loss = 0;
    for (int r = -1; good && r < runs; r++) {
        double begin = bench_seconds();
        for (int i = 0; good && i < STEPS_TOGETHER; i++) {
            good = step(&net, images, labels, batch);
            if (good && !first) {
                good = tuff_device_wait(bench->device) == TUFF_OK;
                first = bench_seconds() - start;
            }
        }
        good = good && tuff_read(net.program, net.loss, &loss, sizeof loss) == TUFF_OK;
        if (r >= 0) times[r] = bench_seconds() - begin;
    }
    if (good) {
        char shape[64];
        snprintf(shape, sizeof shape, "mnist-cnn, batch %lld", (long long)batch);
        double seconds = bench_median(times, runs);
        bench_report(bench, "train", shape, (double)(batch * STEPS_TOGETHER) / seconds, "images/s", 0, NULL);
        bench_report(bench, "train_first_step", shape, first, "s", 0, NULL);
        tuff_program_info info;
        tuff_program_get_info(net.program, &info);
        bench_report(bench, "train_pipelines", shape, info.pipelines, "pipelines", 0, NULL);
    } else {
        fprintf(stderr, "tuff bench: train: %s\n", tuff_last_message());
    }
    tuff_program_destroy(net.program);
    tuff_graph_destroy(net.graph);
    tuff_model_destroy(net.model);
    free(images);
    free(labels);
    free(times);
    return good;
}
