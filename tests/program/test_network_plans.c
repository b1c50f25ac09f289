/* Whole networks: the arena is at most 1.1 times the largest sum of live bytes, and pipelines are few. */
#include "program_test.h"
#include "support.h"

#include "samples/mnist/network.h"

#include <stdlib.h>

static tuff_device *device;

typedef tuff_tensor *(*builder)(tuff_graph *graph, int64_t batch); /* logits of 10 classes */

static tuff_tensor *image(tuff_graph *graph, int64_t batch) {
    return tuff_input(graph, "image", TUFF_F32, TUFF_SHAPE(batch, 1, 28, 28));
}

static tuff_tensor *conv(tuff_tensor *x, const char *name, int64_t channels) {
    return tuff_conv2d(
        x, &(tuff_conv2d_desc){ .name = name, .channels = channels, .kernel = { 3, 3 }, .padding = { 1, 1 } });
}

static tuff_tensor *pool(tuff_tensor *x) {
    return tuff_max_pool2d(x, &(tuff_pool2d_desc){ .kernel = { 2, 2 } });
}

static tuff_tensor *linear(tuff_tensor *x, const char *name, int64_t features) {
    return tuff_linear(x, &(tuff_linear_desc){ .name = name, .features = features });
}

static tuff_tensor *cnn(tuff_graph *graph, int64_t batch) {
    tuff_tensor *x = pool(tuff_relu(conv(image(graph, batch), "conv1", 32)));
    x = tuff_dropout(pool(tuff_relu(conv(x, "conv2", 64))), 0.25f, "drop1");
    x = tuff_dropout(tuff_relu(linear(tuff_flatten(x), "fc1", 128)), 0.5f, "drop2");
    return linear(x, "fc2", 10);
}

static tuff_tensor *mlp(tuff_graph *graph, int64_t batch) {
    tuff_tensor *x = tuff_relu(linear(tuff_flatten(image(graph, batch)), "fc1", 256));
    return linear(tuff_relu(linear(x, "fc2", 128)), "fc3", 10);
}

/* Batch norm and residual connections: many values, and long and short lives. */
static tuff_tensor *residual(tuff_graph *graph, int64_t batch) {
    tuff_tensor *x = conv(image(graph, batch), "stem", 16);
    static const char *const names[][4] = { { "a1", "an1", "a2", "an2" },
                                            { "b1", "bn1", "b2", "bn2" },
                                            { "c1", "cn1", "c2", "cn2" } };
    for (uint32_t i = 0; i < 3; i++) {
        tuff_tensor *y = tuff_batch_norm(conv(x, names[i][0], 16), &(tuff_batch_norm_desc){ .name = names[i][1] });
        y = tuff_batch_norm(conv(tuff_relu(y), names[i][2], 16), &(tuff_batch_norm_desc){ .name = names[i][3] });
        x = tuff_relu(tuff_add(x, y));
        if (i == 1) x = pool(x);
    }
    return linear(tuff_flatten(tuff_global_avg_pool2d(x)), "fc", 10);
}

static void check(builder build, const char *name) {
    enum { BATCH = 64 };
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_optimizer *adam = tuff_adam_create(model, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *logits = build(graph, BATCH);
    tuff_tensor *label = tuff_input(graph, "label", TUFF_I32, TUFF_SHAPE(BATCH));
    tuff_tensor *loss = tuff_cross_entropy(logits, label, NULL);
    tuff_program *program = NULL;
    ASSERT_OK(tuff_compile(
        graph, &(tuff_program_desc){ .minimize = loss, .optimizer = adam, .outputs = &loss, .output_count = 1 },
        &program));
    tuff_program_info info;
    tuff_program_get_info(program, &info);
    double ratio = (double)info.arena_bytes / (double)info.live_bytes;
    print_message("%s: %u dispatches, %u levels, %u barriers, %u pipelines, %.1f KiB, %.3f of live\n", name,
                  info.dispatches, info.levels, info.barriers, info.pipelines, (double)info.arena_bytes / 1024, ratio);
    if (ratio > 1.1) fail_msg("%s: %.3f times the live bytes", name, ratio);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static void test_cnn(void **state) {
    (void)state;
    check(cnn, "cnn");
}
static void test_mlp(void **state) {
    (void)state;
    check(mlp, "mlp");
}
static void test_residual(void **state) {
    (void)state;
    check(residual, "residual");
}

/* The digits' sample to the end of its first step, on a device of its own: what is compiled for it. */
static void test_pipelines(void **state) {
    (void)state;
    tuff_device *own =
        test_device_open(&(tuff_device_desc){ .tuning = TUFF_TUNING_OFF }); /* measuring compiles all that may win */
    tuff_model *model = tuff_model_create(own, NULL);
    tuff_optimizer *adam = tuff_adamw_create(model, NULL);
    const recipe *recipe = recipe_find("cnn");
    network network = { 0 };
    ASSERT_OK(network_build(model, recipe, recipe->batch, &network));
    tuff_program *program = NULL;
    ASSERT_OK(network_compile(&network, "train", recipe->batch, adam, &program));
    float *images = calloc((size_t)recipe->batch * IMAGE_PIXELS, sizeof *images);
    int32_t *labels = calloc((size_t)recipe->batch, sizeof *labels);
    assert_true(images && labels);
    ASSERT_OK(tuff_write(program, network.image, images, (size_t)recipe->batch * IMAGE_PIXELS * sizeof *images));
    ASSERT_OK(tuff_write(program, network.label, labels, (size_t)recipe->batch * sizeof *labels));
    ASSERT_OK(tuff_run(program));
    ASSERT_OK(tuff_device_wait(own));
    tuff_device_counters counters;
    tuff_device_get_counters(own, &counters);
    print_message("mnist to its first step: %u pipelines\n", (unsigned)counters.pipelines);
    /* forced paths need what they need */
    if (!getenv("TUFF_FORCE") && counters.pipelines > 26) fail_msg("%u pipelines", (unsigned)counters.pipelines);
    free(images);
    free(labels);
    tuff_program_destroy(program);
    tuff_graph_destroy(network.graph);
    tuff_model_destroy(model);
    tuff_device_close(own);
}

int main(void) {
    device = test_device_open(NULL);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cnn), cmocka_unit_test(test_mlp),
                                        cmocka_unit_test(test_residual), cmocka_unit_test(test_pipelines) };
    int failed = cmocka_run_group_tests_name("network plans", tests, NULL, NULL);
    tuff_device_close(device);
    return failed;
}
