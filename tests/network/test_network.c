/* The whole network: 20 steps of Adam on a CNN for 28 x 28 pictures, from the same weights and batches as PyTorch.
 *
 * tests/fixtures/make.py ran it in float64 and in float32; Tuff's losses and parameters must lie within 4 times
 * the distance of the two. And the same seed trains to the same bits. */
#include "support.h"
#include "tests/fixtures/fixtures.h"
#include "tests/reference/recipe.h"
#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 20, BATCH = 64, SIDE = 28, CLASSES = 10, PIXELS = SIDE * SIDE, PARAMETERS = 8 };
enum { SEED = 1000 }; /* of weights and batches; make.py says why this one */
static const char *const NAMES[PARAMETERS] = { "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
                                               "fc1.weight",   "fc1.bias",   "fc2.weight",   "fc2.bias" };

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

typedef struct network {
    tuff_model *model;
    tuff_optimizer *adam;
    tuff_graph *graph;
    tuff_tensor *image, *label, *loss;
    tuff_program *train;
} network;

static network network_create(tuff_device *device, uint64_t seed, float dropout, uint32_t replay_seed) {
    network n = { .model = tuff_model_create(device, &(tuff_model_desc){ .seed = seed }) };
    n.adam = tuff_adam_create(n.model, &(tuff_adam_desc){ .lr = 1e-3f });
    n.graph = tuff_graph_create(n.model);
    n.image = tuff_input(n.graph, "image", TUFF_F32, TUFF_SHAPE(BATCH, 1, SIDE, SIDE));
    n.label = tuff_input(n.graph, "label", TUFF_I32, TUFF_SHAPE(BATCH));
    tuff_tensor *x = n.image;
    x = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv1", .channels = 32, .kernel = { 3, 3 }, .padding = { 1, 1 } });
    x = tuff_max_pool2d(tuff_relu(x), &(tuff_pool2d_desc){ .kernel = { 2, 2 } });
    x = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv2", .channels = 64, .kernel = { 3, 3 }, .padding = { 1, 1 } });
    x = tuff_max_pool2d(tuff_relu(x), &(tuff_pool2d_desc){ .kernel = { 2, 2 } });
    x = tuff_relu(tuff_linear(tuff_flatten(x), &(tuff_linear_desc){ .name = "fc1", .features = 128 }));
    if (dropout > 0) x = tuff_dropout(x, dropout, "drop");
    x = tuff_linear(x, &(tuff_linear_desc){ .name = "fc2", .features = CLASSES });
    n.loss = tuff_cross_entropy(x, n.label, NULL);
    OK(tuff_compile(n.graph,
                    &(tuff_program_desc){ .minimize = n.loss,
                                          .optimizer = n.adam,
                                          .outputs = &n.loss,
                                          .output_count = 1,
                                          .replay_seed = replay_seed },
                    &n.train));
    return n;
}

static void network_destroy(network *n) {
    tuff_program_destroy(n->train);
    tuff_graph_destroy(n->graph);
    tuff_model_destroy(n->model);
}

static ref *values(recipe_fill fill, int64_t count, uint32_t seed, int64_t below) {
    recipe_step leaf = { .fill = fill, .seed = seed, .below = below, .value = ref_new(TUFF_SHAPE(count)) };
    recipe_fill_leaf(&leaf);
    return leaf.value;
}

/* Pictures of a class: a fixed pattern and as much noise. */
static void network_batch(network *n, uint32_t step) {
    static float image[BATCH * PIXELS];
    int32_t label[BATCH];
    ref *pattern = values(FILL_ANY, CLASSES * PIXELS, 77, 0),
        *noise = values(FILL_ANY, BATCH * PIXELS, 5000 + SEED + step, 0);
    ref *target = values(FILL_INDEX, BATCH, 9000 + SEED + step, CLASSES);
    for (int i = 0; i < BATCH; i++) {
        label[i] = (int32_t)target->v[i];
        for (int j = 0; j < PIXELS; j++)
            image[i * PIXELS + j] = (float)(pattern->v[label[i] * PIXELS + j] + noise->v[i * PIXELS + j]);
    }
    ref_free(pattern), ref_free(noise), ref_free(target);
    OK(tuff_write(n->train, n->image, image, sizeof image));
    OK(tuff_write(n->train, n->label, label, sizeof label));
}

static tuff_state_info state_named(tuff_model *model, const char *name) {
    tuff_state_info info;
    for (uint32_t i = 0; i < tuff_model_state_count(model); i++) {
        OK(tuff_model_state_info(model, i, &info));
        if (!strcmp(info.name, name)) return info;
    }
    fail_msg("the model has no %s", name);
    return info;
}

/* The fixtures' weights: a power of two near 1 / sqrt(fan_in) times a value that float32 holds. */
static void write_weights(network *n) {
    for (uint32_t i = 0; i < PARAMETERS; i++) {
        tuff_state_info weight = state_named(n->model, NAMES[i / 2 * 2]), info = state_named(n->model, NAMES[i]);
        int64_t count = tuff_shape_count(&info.shape);
        double fan_in = (double)tuff_shape_count(&weight.shape) / (double)weight.shape.sizes[0];
        double bound = exp2(rint(log2(1 / sqrt(fan_in))));
        ref *v = values(FILL_ANY, count, 300 + SEED + i, 0);
        float *floats = malloc((size_t)count * sizeof *floats);
        for (int64_t j = 0; j < count; j++) floats[j] = (float)(v->v[j] * bound);
        OK(tuff_model_write(n->model, NAMES[i], floats, (size_t)count * sizeof *floats));
        free(floats);
        ref_free(v);
    }
}

static float *read_state(tuff_model *model, const char *name, int64_t *count) {
    tuff_state_info info = state_named(model, name);
    *count = tuff_shape_count(&info.shape);
    float *floats = malloc((size_t)*count * sizeof *floats);
    OK(tuff_model_read(model, name, floats, (size_t)*count * sizeof *floats));
    return floats;
}

/* How many times PyTorch's own distance is allowed. With Winograd's convolution forced on images this small four times
 * as much: its rounding decides otherwise where pixels of a pooling window are almost equal, as PyTorch's does, and one
 * such pixel moves its part of the gradient. */
static double allowance(void) {
    const char *force = getenv("TUFF_FORCE");
    return force && strstr(force, "winograd") ? 16 : 4;
}

/* The relative L2 distance of Tuff's elements from the stored ones, in units of what is allowed. */
static double compare(const fixtures *f, const char *key, const float *got, int64_t count) {
    const fixture *want = fixtures_find(f, key);
    assert_non_null(want);
    assert_int_equal(want->count, count);
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < want->stored; i++) {
        double d = got[i * want->step] - want->values[i];
        difference += d * d;
        norm += want->values[i] * want->values[i];
    }
    double distance = sqrt(difference / norm);
    print_message("%-13s %.2e, PyTorch's float32 %.2e\n", key, distance, want->distance);
    return distance / (allowance() * want->distance);
}

static void test_pytorch(void **state) {
    network n = network_create(*state, 1, 0, 0);
    write_weights(&n);
    float losses[STEPS];
    for (uint32_t step = 0; step < STEPS; step++) {
        network_batch(&n, step);
        OK(tuff_run(n.train));
        OK(tuff_read(n.train, n.loss, &losses[step], sizeof losses[step]));
    }
    fixtures f = fixtures_open("network.bin");
    double worst = compare(&f, "losses", losses, STEPS);
    for (int i = 0; i < PARAMETERS; i++) {
        int64_t count;
        float *got = read_state(n.model, NAMES[i], &count);
        double error = compare(&f, NAMES[i], got, count);
        if (!(error <= worst)) worst = error;
        free(got);
    }
    fixtures_close(&f);
    network_destroy(&n);
    if (!(worst <= 1)) fail_msg("%.2g times as far as allowed", worst);
}

enum { SHORT_EPOCH = 3 };

/* All parameters after a short epoch with dropout, Tuff's own initialisers and two runs in flight. */
static float *short_epoch(tuff_device *device, uint64_t seed, uint32_t replay_seed, int64_t *total) {
    network n = network_create(device, seed, 0.25f, replay_seed);
    for (uint32_t step = 0; step < SHORT_EPOCH; step++) {
        network_batch(&n, step);
        OK(tuff_run(n.train));
    }
    float *all = NULL;
    *total = 0;
    for (int i = 0; i < PARAMETERS; i++) {
        int64_t count;
        float *got = read_state(n.model, NAMES[i], &count);
        all = realloc(all, (size_t)(*total + count) * sizeof *all);
        memcpy(all + *total, got, (size_t)count * sizeof *all);
        *total += count;
        free(got);
    }
    network_destroy(&n);
    return all;
}

static void test_same_seed_same_bits(void **state) {
    int64_t total, again_total;
    float *once = short_epoch(*state, 7, 0, &total);
    for (int64_t i = 0; i < total; i++)
        if (!isfinite(once[i])) fail_msg("parameter %lld is not finite", (long long)i);
    float *again = short_epoch(*state, 7, 0, &again_total);
    assert_int_equal(total, again_total);
    assert_memory_equal(once, again, (size_t)total * sizeof *once);
    free(again);
    again = short_epoch(*state, 7, 12345, &again_total);
    assert_memory_equal(once, again, (size_t)total * sizeof *once);
    free(again);
    again = short_epoch(*state, 8, 0, &again_total);
    assert_memory_not_equal(once, again, (size_t)total * sizeof *once);
    free(again);
    free(once);
}

static int open_device(void **state) {
    *state = test_device_open(NULL);
    return 0;
}

static int close_device(void **state) {
    tuff_device_close(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pytorch),
        cmocka_unit_test(test_same_seed_same_bits),
    };
    return cmocka_run_group_tests_name("network", tests, open_device, close_device);
}
