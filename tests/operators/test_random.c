/* What is random: initialisers and dropout, their distributions, and that a seed gives the same bits. */
#include "support.h"
#include "tests/reference/philox.h"
#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

/* ---- initialisers ---- */

#define WEIGHT_SHAPE TUFF_SHAPE(64, 33, 3, 3)
enum { WEIGHTS = 64 * 33 * 9, FAN_IN = 33 * 9, FAN_OUT = 64 * 9 };

static float *initialised(uint64_t seed, const char *name, tuff_shape shape, const tuff_init_desc *init) {
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = seed });
    tuff_graph *graph = tuff_graph_create(model);
    if (!tuff_parameter(graph, name, shape, init)) fail_msg("%s", tuff_last_message());
    size_t bytes = (size_t)tuff_shape_count(&shape) * sizeof(float);
    float *floats = malloc(bytes);
    OK(tuff_model_read(model, name, floats, bytes));
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return floats;
}

/* Mean, deviation and bounds; normal has no bound (INFINITY). 6 deviations of each estimate are allowed. */
static void check_distribution(const char *what, const float *x, int n, double deviation, double bound) {
    double mean = 0, square = 0, fourth = 0, largest = 0;
    for (int i = 0; i < n; i++) mean += x[i] / n;
    for (int i = 0; i < n; i++) {
        double d = (x[i] - mean) / deviation;
        square += d * d / n;
        fourth += d * d * d * d / n;
        largest = fmax(largest, fabs(x[i]));
    }
    bool uniform = isfinite(bound);
    double kurtosis = uniform ? 1.8 : 3, spread = uniform ? 0.9 : 1.42;
    if (!(fabs(mean) < 6 * deviation / sqrt(n))) fail_msg("%s: mean %g", what, mean);
    if (!(fabs(square - 1) < 6 * spread / sqrt(n))) fail_msg("%s: variance %g of what it should be", what, square);
    if (!(fabs(fourth - kurtosis) < 6 * 10 / sqrt(n))) fail_msg("%s: kurtosis %g", what, fourth);
    if (uniform && !(largest <= bound && largest > 0.99 * bound)) fail_msg("%s: reaches to %g", what, largest / bound);
    if (!uniform && !(largest > 3 * deviation && largest < 7 * deviation)) fail_msg("%s: reaches to %g", what, largest);
}

static void test_initialisers(void **state) {
    (void)state;
    const double he = 1 / sqrt(FAN_IN), leaky = sqrt(2 / 1.25), glorot = 1 / sqrt(FAN_IN + FAN_OUT);
    const struct {
        const char *name;
        tuff_init_desc init;
        double deviation;
        bool uniform;
    } cases[] = {
        { "uniform", { TUFF_INIT_UNIFORM, 0.5f }, 0.5 / sqrt(3), true },
        { "normal", { TUFF_INIT_NORMAL, 0.5f }, 0.5, false },
        { "kaiming_uniform", { TUFF_INIT_KAIMING_UNIFORM, 0 }, sqrt(2) * he, true },
        { "kaiming_uniform a", { TUFF_INIT_KAIMING_UNIFORM, 0.5f }, leaky * he, true },
        { "kaiming_normal", { TUFF_INIT_KAIMING_NORMAL, 0 }, sqrt(2) * he, false },
        { "xavier_uniform", { TUFF_INIT_XAVIER_UNIFORM, 0 }, sqrt(2) * glorot, true },
        { "xavier_uniform gain", { TUFF_INIT_XAVIER_UNIFORM, 3 }, 3 * sqrt(2) * glorot, true },
        { "xavier_normal", { TUFF_INIT_XAVIER_NORMAL, 0 }, sqrt(2) * glorot, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float *x = initialised(5, "w", WEIGHT_SHAPE, &cases[i].init);
        check_distribution(cases[i].name, x, WEIGHTS, cases[i].deviation,
                           cases[i].uniform ? sqrt(3) * cases[i].deviation * (1 + 1e-6) : INFINITY);
        free(x);
    }
    float *x = initialised(5, "w", TUFF_SHAPE(5), &(tuff_init_desc){ TUFF_INIT_CONSTANT, 2.5f });
    for (int i = 0; i < 5; i++) assert_true(x[i] == 2.5f);
    free(x);
    x = initialised(5, "w", TUFF_SHAPE(5), NULL);
    for (int i = 0; i < 5; i++) assert_true(x[i] == 0);
    free(x);
}

/* torch.nn.Linear's and Conv2d's: weight and bias uniform within 1 / sqrt(fan_in). */
static void test_layer_defaults(void **state) {
    (void)state;
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 3 });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(1, 33, 8, 8));
    x = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv", .channels = 64, .kernel = { 3, 3 } });
    assert_non_null(tuff_linear(tuff_flatten(x), &(tuff_linear_desc){ .name = "fc", .features = 8 }));
    float *w = malloc(WEIGHTS * sizeof *w), bias[8];
    OK(tuff_model_read(model, "conv.weight", w, WEIGHTS * sizeof *w));
    check_distribution("conv.weight", w, WEIGHTS, 1 / sqrt(3.0 * FAN_IN), (1 + 1e-6) / sqrt(FAN_IN));
    enum { IN = 64 * 36 };
    OK(tuff_model_read(model, "fc.weight", w, 8 * IN * sizeof *w));
    check_distribution("fc.weight", w, 8 * IN, 1 / sqrt(3.0 * IN), (1 + 1e-6) / sqrt(IN));
    OK(tuff_model_read(model, "fc.bias", bias, sizeof bias));
    for (int i = 0; i < 8; i++) assert_true(bias[i] != 0 && fabsf(bias[i]) <= 1 / sqrt(IN));
    free(w);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* The authors' test vectors (random123's kat_vectors). */
static void test_philox(void **state) {
    (void)state;
    static const uint32_t none[4] = { 0 }, ones[4] = { ~0u, ~0u, ~0u, ~0u };
    static const uint32_t pi[6] = { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0 };
    static const uint32_t want[3][4] = { { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
                                         { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
                                         { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } };
    uint32_t words[4];
    ref_philox(none, none, words);
    assert_memory_equal(words, want[0], sizeof words);
    ref_philox(ones, ones, words);
    assert_memory_equal(words, want[1], sizeof words);
    ref_philox(pi, pi + 4, words);
    assert_memory_equal(words, want[2], sizeof words);
}

/* Every bit is what the same arithmetic gives here: so it is the same on every driver. */
static void test_initialiser_bits(void **state) {
    (void)state;
    const uint64_t seed = 0x123456789abcdef0;
    const tuff_init_desc inits[] = { { TUFF_INIT_UNIFORM, 0.3f }, { TUFF_INIT_NORMAL, 0.3f } };
    for (int kind = 0; kind < 2; kind++) {
        float *x = initialised(seed, "some.weight", WEIGHT_SHAPE, &inits[kind]);
        for (int i = 0; i < WEIGHTS; i++) {
            float want = ref_initial(seed, "some.weight", i, kind, 0.3f);
            if (memcmp(&x[i], &want, sizeof want))
                fail_msg("%s element %d is %.9g, should be %.9g", kind ? "normal" : "uniform", i, x[i], want);
        }
        free(x);
    }
}

/* The weights of convolutions lie in another order, and bounds are PyTorch's: fan_in counts the second size. */
static void test_convolution_bits(void **state) {
    (void)state;
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 11 });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *signal = tuff_input(graph, "signal", TUFF_F32, TUFF_SHAPE(1, 6, 9));
    tuff_tensor *volume = tuff_input(graph, "volume", TUFF_F32, TUFF_SHAPE(1, 6, 4, 4, 4));
    tuff_conv1d(signal, &(tuff_conv1d_desc){ .name = "a", .channels = 10, .kernel = 5, .groups = 2 });
    tuff_conv_transpose1d(signal, &(tuff_conv_transpose1d_desc){ .name = "b", .channels = 10, .kernel = 3 });
    tuff_conv3d(volume, &(tuff_conv3d_desc){ .name = "c", .channels = 5, .kernel = { 2, 3, 4 } });
    tuff_conv_transpose3d(
        volume, &(tuff_conv_transpose3d_desc){ .name = "d", .channels = 4, .kernel = { 3, 1, 2 }, .groups = 2 });
    OK(tuff_graph_result(graph));
    const struct {
        const char *name;
        int count, fan_in;
    } layers[] = {
        { "a", 10 * 3 * 5, 3 * 5 }, { "b", 6 * 10 * 3, 10 * 3 }, { "c", 5 * 6 * 24, 6 * 24 }, { "d", 6 * 2 * 6, 2 * 6 }
    };
    for (size_t l = 0; l < sizeof layers / sizeof *layers; l++) {
        char name[16];
        float x[5 * 6 * 24], bound = (float)(1 / sqrt(layers[l].fan_in));
        snprintf(name, sizeof name, "%s.weight", layers[l].name);
        OK(tuff_model_read(model, name, x, (size_t)layers[l].count * sizeof *x));
        for (int i = 0; i < layers[l].count; i++) {
            float want = ref_initial(11, name, i, 0, bound);
            if (memcmp(&x[i], &want, sizeof want)) fail_msg("%s[%d] is %.9g, should be %.9g", name, i, x[i], want);
        }
    }
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* Another seed or name: other numbers. */
static void test_initialiser_streams(void **state) {
    (void)state;
    const tuff_init_desc uniform = { TUFF_INIT_UNIFORM, 1 };
    float *a = initialised(5, "w", TUFF_SHAPE(64), &uniform), *b = initialised(6, "w", TUFF_SHAPE(64), &uniform);
    float *c = initialised(5, "v", TUFF_SHAPE(64), &uniform);
    assert_memory_not_equal(a, b, 64 * sizeof *a);
    assert_memory_not_equal(a, c, 64 * sizeof *a);
    free(a), free(b), free(c);
}

/* ---- dropout ---- */

enum { ROWS = 64, COLUMNS = 133, COUNT = ROWS * COLUMNS };

typedef struct dropped {
    float y[COUNT], gradient[COUNT];
} dropped;

static dropped *run_dropout(float p, const char *name, bool evaluate, int runs, uint32_t replay_seed) {
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 11 });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(ROWS, COLUMNS)), *outputs[2];
    outputs[0] = tuff_dropout(x, p, name);
    tuff_tensor *loss = tuff_sum(tuff_square(outputs[0]), NULL);
    OK(tuff_gradients(loss, &x, 1, &outputs[1]));
    tuff_program *program = NULL;
    OK(tuff_compile(
        graph,
        &(tuff_program_desc){ .outputs = outputs, .output_count = 2, .evaluate = evaluate, .replay_seed = replay_seed },
        &program));
    dropped *d = malloc(sizeof *d);
    for (int i = 0; i < COUNT; i++) d->y[i] = (float)(i + 1);
    OK(tuff_write(program, x, d->y, sizeof d->y));
    for (int i = 0; i < runs; i++) OK(tuff_run(program));
    OK(tuff_read(program, outputs[0], d->y, sizeof d->y));
    OK(tuff_read(program, outputs[1], d->gradient, sizeof d->gradient));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return d;
}

static void test_dropout(void **state) {
    (void)state;
    const float p = 0.25f;
    dropped *d = run_dropout(p, "drop", false, 1, 0);
    int kept = 0, columns[COLUMNS] = { 0 };
    for (int i = 0; i < COUNT; i++) {
        float x = (float)(i + 1), scaled = x / (1 - p);
        bool keep = ref_dropout_keeps(11, "drop", 0, i, p);
        kept += keep;
        columns[i % COLUMNS] += keep;
        /* y = x / (1 - p); the gradient of y^2 through the same mask is 2 y / (1 - p) */
        if (fabsf(d->y[i] - (keep ? scaled : 0)) > 2e-7f * scaled) fail_msg("y[%d] is %g", i, d->y[i]);
        float gradient = keep ? 2 * scaled / (1 - p) : 0;
        if (fabsf(d->gradient[i] - gradient) > 4e-7f * gradient) fail_msg("gradient[%d] is %g", i, d->gradient[i]);
    }
    if (fabs(kept - COUNT * 0.75) > 5 * sqrt(COUNT * 0.75 * 0.25)) fail_msg("%d of %d kept", kept, COUNT);
    for (int i = 0; i < COLUMNS; i++)
        if (abs(columns[i] - ROWS * 3 / 4) > 5 * sqrt(ROWS * 0.75 * 0.25))
            fail_msg("column %d keeps %d", i, columns[i]);

    dropped *other = run_dropout(p, "drop", false, 1, 77); /* the same bits under adversarial replay */
    assert_memory_equal(d, other, sizeof *d);
    free(other);
    other = run_dropout(p, "drop", false, 2, 0); /* another step, another mask */
    assert_memory_not_equal(d, other, sizeof *d);
    free(other);
    other = run_dropout(p, "another", false, 1, 0); /* another name, another mask */
    assert_memory_not_equal(d, other, sizeof *d);
    free(other);
    free(d);
    d = run_dropout(p, "drop", true, 1, 0);
    for (int i = 0; i < COUNT; i++) assert_true(d->y[i] == (float)(i + 1));
    free(d);
    d = run_dropout(0, "drop", false, 1, 0);
    for (int i = 0; i < COUNT; i++) assert_true(d->y[i] == (float)(i + 1));
    free(d);
}

/* p = 1: zeros, whatever there was, and no gradient. Of 1 / (1 - p) nothing is seen. */
static void test_nothing_kept(void **state) {
    (void)state;
    enum { KINDS = 5, PARTS = 2 * 3 * 4 };
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 11 });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(2, 3, 4)), *outputs[2 * KINDS];
    tuff_tensor *finite = tuff_input(graph, "finite", TUFF_F32, TUFF_SHAPE(2, 3, 4));
    outputs[0] = tuff_dropout(x, 1, NULL);
    outputs[1] = tuff_dropout2d(x, 1, NULL);
    outputs[2] = tuff_stochastic_depth(x, 1, TUFF_DEPTH_ROW, NULL);
    outputs[3] = tuff_stochastic_depth(x, 1, TUFF_DEPTH_BATCH, NULL);
    outputs[4] = tuff_scaled_dot_product_attention(finite, finite, finite, &(tuff_attention_desc){ .dropout = 1 });
    for (int i = 0; i < KINDS; i++)
        OK(tuff_gradients(tuff_sum(outputs[i], NULL), i < 4 ? &x : &finite, 1, &outputs[KINDS + i]));
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 2 * KINDS }, &program));
    float values[PARTS], got[PARTS];
    for (int i = 0; i < PARTS; i++) values[i] = (float)(i + 1) / 8;
    OK(tuff_write(program, finite, values, sizeof values));
    values[1] = NAN, values[2] = INFINITY, values[23] = -INFINITY;
    (void)tuff_write(program, x, values, sizeof values); /* which the program has no use for */
    OK(tuff_run(program));
    for (int k = 0; k < 2 * KINDS; k++) {
        OK(tuff_read(program, outputs[k], got, sizeof got));
        for (int i = 0; i < PARTS; i++)
            if (got[i] != 0) fail_msg("%s of %d: element %d is %g", k < KINDS ? "y" : "gradient", k % KINDS, i, got[i]);
    }
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static int open_device(void **state) {
    (void)state;
    device = test_device_open(NULL);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    tuff_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_initialisers),     cmocka_unit_test(test_layer_defaults),
        cmocka_unit_test(test_philox),           cmocka_unit_test(test_initialiser_bits),
        cmocka_unit_test(test_convolution_bits), cmocka_unit_test(test_initialiser_streams),
        cmocka_unit_test(test_dropout),          cmocka_unit_test(test_nothing_kept),
    };
    return cmocka_run_group_tests_name("random", tests, open_device, close_device);
}
