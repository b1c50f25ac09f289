/* Bad input at the public interface: each is an error whose message helps, nothing breaks, and the device still works
 * afterwards. */
#include "support.h"
#include <tuff/layers.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    tuff_device *device;
    tuff_model *model;
    tuff_graph *graph;
} fixture;

static fixture the;

static int setup(void **state) {
    (void)state;
    the.model = tuff_model_create(the.device, NULL);
    the.graph = tuff_graph_create(the.model);
    return the.graph ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    tuff_graph_destroy(the.graph);
    tuff_model_destroy(the.model);
    return 0;
}

static int open_device(void **state) {
    (void)state;
    the.device = test_device_open(NULL);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    tuff_device_close(the.device);
    return 0;
}

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

static tuff_tensor *input(const char *name, tuff_shape shape) {
    return tuff_input(the.graph, name, TUFF_F32, shape);
}

static void assert_mentions(const char *message, const char *const *words) {
    for (int i = 0; words[i]; i++)
        if (!strstr(message, words[i])) fail_msg("\"%s\" does not mention \"%s\"", message, words[i]);
}
#define MENTIONS(message, ...) assert_mentions(message, (const char *const[]){ __VA_ARGS__, NULL })

/* The graph is in error with this result; the words stand in its message, and in the thread's. */
#define REFUSED(tensor, result, ...)                                                                                   \
    do {                                                                                                               \
        assert_null(tensor);                                                                                           \
        assert_int_equal(tuff_graph_result(the.graph), result);                                                        \
        MENTIONS(tuff_graph_message(the.graph), __VA_ARGS__);                                                          \
        MENTIONS(tuff_last_message(), __VA_ARGS__);                                                                    \
        restart();                                                                                                     \
    } while (0)
/* Errors are sticky: go on with another graph. */
static void restart(void) {
    tuff_graph_destroy(the.graph);
    the.graph = tuff_graph_create(the.model);
}

static tuff_result compile_outputs(tuff_tensor *const *outputs, uint32_t count, tuff_program **program) {
    return tuff_compile(the.graph, &(tuff_program_desc){ .outputs = outputs, .output_count = count }, program);
}

/* A small program runs and gives the right number. */
static void assert_device_works(void) {
    tuff_graph *graph = tuff_graph_create(the.model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(3)), *y = tuff_sum(tuff_square(x), NULL);
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1 }, &program));
    float value = 0;
    OK(tuff_write(program, x, (float[]){ 1, 2, 3 }, 3 * sizeof(float)));
    OK(tuff_run(program));
    OK(tuff_read(program, y, &value, sizeof value));
    assert_true(value == 14);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
}

/* ---- shapes that do not fit: operator, both tensors, both shapes ---- */

static void test_pointwise_shapes(void **state) {
    (void)state;
    REFUSED(tuff_add(input("left", TUFF_SHAPE(3, 4)), input("right", TUFF_SHAPE(5))), TUFF_ERROR_SHAPE, "add", "left",
            "right", "[3, 4]", "[5]");
    REFUSED(tuff_mul(input("left", TUFF_SHAPE(2, 3)), input("right", TUFF_SHAPE(3, 2))), TUFF_ERROR_SHAPE, "mul",
            "left", "right", "[2, 3]", "[3, 2]");
}

static void test_product_shapes(void **state) {
    (void)state;
    REFUSED(tuff_matmul(input("a", TUFF_SHAPE(3, 4)), input("bee", TUFF_SHAPE(5, 6)), NULL), TUFF_ERROR_SHAPE, "matmul",
            "'a'", "bee", "[3, 4]", "[5, 6]");
    REFUSED(tuff_matmul(input("a", TUFF_SHAPE(2, 3, 4)), input("bee", TUFF_SHAPE(3, 4, 6)), NULL), TUFF_ERROR_SHAPE,
            "matmul", "bee", "[2, 3, 4]", "[3, 4, 6]");
    REFUSED(tuff_matmul(input("a", TUFF_SHAPE(3)), input("bee", TUFF_SHAPE(4, 6)), NULL), TUFF_ERROR_SHAPE, "matmul",
            "[3]", "[4, 6]");
    REFUSED(tuff_conv2d(input("image", TUFF_SHAPE(8, 8)),
                        &(tuff_conv2d_desc){ .name = "conv1", .channels = 4, .kernel = { 3, 3 } }),
            TUFF_ERROR_SHAPE, "conv2d", "image", "[8, 8]");
    REFUSED(tuff_conv2d(input("image", TUFF_SHAPE(1, 3, 2, 8)),
                        &(tuff_conv2d_desc){ .name = "conv2", .channels = 4, .kernel = { 3, 3 } }),
            TUFF_ERROR_SHAPE, "conv2d", "image", "[1, 3, 2, 8]");
    restart();
    assert_null(tuff_conv2d(input("image", TUFF_SHAPE(1, 3, 8, 8)),
                            &(tuff_conv2d_desc){ .name = "conv3", .channels = 4, .kernel = { 3, 3 }, .groups = 2 }));
    assert_int_not_equal(tuff_graph_result(the.graph), TUFF_OK);
    MENTIONS(tuff_graph_message(the.graph), "conv", "groups");
    restart();
    assert_null(tuff_conv2d(input("image", TUFF_SHAPE(1, 3, 8, 8)), &(tuff_conv2d_desc){ .name = "conv4" }));
    assert_int_not_equal(tuff_graph_result(the.graph), TUFF_OK);
    restart();
}

/* Layers that fail have declared nothing: the corrected ones take the same names. */
static void test_failed_layers(void **state) {
    (void)state;
    uint32_t before = tuff_model_state_count(the.model);
    REFUSED(tuff_conv2d(input("image", TUFF_SHAPE(1, 1, 4, 4)),
                        &(tuff_conv2d_desc){ .name = "again", .channels = 2, .kernel = { 9, 9 } }),
            TUFF_ERROR_SHAPE, "larger than the padded image");
    REFUSED(tuff_linear(tuff_input(the.graph, "numbers", TUFF_I32, TUFF_SHAPE(2, 3)),
                        &(tuff_linear_desc){ .name = "full", .features = 5 }),
            TUFF_ERROR_SHAPE, "numbers");
    REFUSED(tuff_batch_norm(tuff_input(the.graph, "numbers", TUFF_I32, TUFF_SHAPE(2, 3)),
                            &(tuff_batch_norm_desc){ .name = "norm" }),
            TUFF_ERROR_SHAPE, "numbers");
    REFUSED(tuff_embedding(input("floats", TUFF_SHAPE(2)),
                           &(tuff_embedding_desc){ .name = "words", .count = 5, .features = 3 }),
            TUFF_ERROR_SHAPE, "floats");
    assert_int_equal(tuff_model_state_count(the.model), before);
    assert_non_null(tuff_conv2d(input("image", TUFF_SHAPE(1, 1, 4, 4)),
                                &(tuff_conv2d_desc){ .name = "again", .channels = 2, .kernel = { 3, 3 } }));
    assert_int_equal(tuff_model_state_count(the.model), before + 2);
    restart();
}

/* Numbers whose products no int64_t holds. */
static void test_huge_convolutions(void **state) {
    (void)state;
    const tuff_conv2d_desc descs[] = {
        { .name = "huge", .channels = INT64_C(1) << 60, .kernel = { 3, 3 } },
        { .name = "huge", .channels = 4, .kernel = { INT64_C(1) << 40, INT64_C(1) << 40 } },
        { .name = "huge", .channels = 4, .kernel = { 3, 3 }, .dilation = { INT64_C(1) << 62, 1 } },
        { .name = "huge", .channels = 4, .kernel = { 3, 3 }, .padding = { 1, INT64_C(1) << 62 } },
        { .name = "huge", .channels = 4, .kernel = { 3, 3 }, .stride = { INT64_MAX, 1 } },
    };
    for (size_t i = 0; i < sizeof descs / sizeof *descs; i++)
        REFUSED(tuff_conv2d(input("image", TUFF_SHAPE(1, 3, 8, 8)), &descs[i]), TUFF_ERROR_ARGUMENT, "32767");
    /* of one to three axes, and transposed */
    const int64_t huge = INT64_C(1) << 62;
    const tuff_conv1d_desc signal = { .name = "huge", .channels = 4, .kernel = 3, .groups = 3, .dilation = huge };
    const tuff_conv_transpose2d_desc wide = {
        .name = "huge", .channels = 3, .kernel = { 3, 3 }, .stride = { 1, huge }
    };
    const tuff_conv_transpose3d_desc more = {
        .name = "huge", .channels = 3, .kernel = { 3, 3, 3 }, .output_padding = { huge }
    };
    const tuff_conv_transpose1d_desc vast = { .name = "huge", .channels = 3, .kernel = 32767, .stride = 32767 };
    REFUSED(tuff_conv1d(input("signal", TUFF_SHAPE(1, 3, 8)), &signal), TUFF_ERROR_SHAPE, "conv1d", "groups");
    REFUSED(tuff_conv_transpose2d(input("image", TUFF_SHAPE(1, 3, 8, 8)), &wide), TUFF_ERROR_ARGUMENT, "32767");
    REFUSED(tuff_conv_transpose3d(input("volume", TUFF_SHAPE(1, 3, 4, 4, 4)), &more), TUFF_ERROR_ARGUMENT,
            "output_padding");
    REFUSED(tuff_conv_transpose1d(input("signal", TUFF_SHAPE(1, 3, 70000)), &vast), TUFF_ERROR_SHAPE, "elements");
}

static void test_other_shapes(void **state) {
    (void)state;
    REFUSED(tuff_reshape(input("x", TUFF_SHAPE(3, 4)), TUFF_SHAPE(5, 2)), TUFF_ERROR_SHAPE, "reshape", "[3, 4]",
            "[5, 2]");
    REFUSED(tuff_max_pool2d(input("x", TUFF_SHAPE(1, 1, 2, 2)), &(tuff_pool2d_desc){ .kernel = { 3, 3 } }),
            TUFF_ERROR_SHAPE, "max_pool2d", "[1, 1, 2, 2]");
    tuff_tensor *logits = input("logits", TUFF_SHAPE(5, 10));
    REFUSED(tuff_cross_entropy(logits, tuff_input(the.graph, "target", TUFF_I32, TUFF_SHAPE(4)), NULL),
            TUFF_ERROR_SHAPE, "cross_entropy", "logits", "target", "[5, 10]", "[4]");
    logits = input("logits", TUFF_SHAPE(5, 10));
    REFUSED(tuff_cross_entropy(logits, input("target", TUFF_SHAPE(5)), NULL), TUFF_ERROR_SHAPE, "cross_entropy",
            "target");
    REFUSED(tuff_mse_loss(input("a", TUFF_SHAPE(5, 10)), input("bee", TUFF_SHAPE(5)), NULL), TUFF_ERROR_SHAPE,
            "mse_loss", "bee", "[5, 10]", "[5]");
    assert_null(tuff_transpose(input("x", TUFF_SHAPE(3, 4)), 0, 2));
    assert_int_not_equal(tuff_graph_result(the.graph), TUFF_OK);
    MENTIONS(tuff_graph_message(the.graph), "transpose", "2");
    restart();
    assert_null(tuff_sum(input("x", TUFF_SHAPE(3, 4)), &(tuff_reduce_desc){ .axes = { -3 }, .axis_count = 1 }));
    assert_int_not_equal(tuff_graph_result(the.graph), TUFF_OK);
    MENTIONS(tuff_graph_message(the.graph), "sum", "-3");
    restart();
    assert_null(input("empty", TUFF_SHAPE(3, 0)));
    assert_int_not_equal(tuff_graph_result(the.graph), TUFF_OK);
    MENTIONS(tuff_graph_message(the.graph), "empty", "[3, 0]");
    restart();
}

/* The first error stays, is passed on by every later call, and comes out of tuff_compile. */
static void test_sticky(void **state) {
    (void)state;
    tuff_tensor *bad = tuff_add(input("left", TUFF_SHAPE(3)), input("right", TUFF_SHAPE(4)));
    assert_null(bad);
    char first[1024];
    snprintf(first, sizeof first, "%s", tuff_graph_message(the.graph));
    tuff_tensor *later = tuff_relu(tuff_mul(bad, bad));
    assert_null(later);
    assert_null(tuff_matmul(input("p", TUFF_SHAPE(3, 4)), input("q", TUFF_SHAPE(3, 4)), NULL));
    assert_string_equal(tuff_graph_message(the.graph), first);
    tuff_program *program = NULL;
    assert_int_equal(compile_outputs(&later, 1, &program), TUFF_ERROR_SHAPE);
    assert_null(program);
    assert_string_equal(tuff_last_message(), first);
}

/* ---- names ---- */

static void test_names(void **state) {
    (void)state;
    tuff_tensor *x = input("x", TUFF_SHAPE(2, 3));
    assert_non_null(tuff_linear(x, &(tuff_linear_desc){ .name = "fc", .features = 4 }));
    REFUSED(tuff_linear(x, &(tuff_linear_desc){ .name = "fc", .features = 5 }), TUFF_ERROR_SHAPE, "fc.weight", "[4, 3]",
            "[5, 3]");
    assert_non_null(input("x", TUFF_SHAPE(2)));
    assert_null(input("x", TUFF_SHAPE(2)));
    assert_int_equal(tuff_graph_result(the.graph), TUFF_ERROR_ARGUMENT);
    MENTIONS(tuff_graph_message(the.graph), "'x'");
    restart();
    assert_null(tuff_linear(input("y", TUFF_SHAPE(2, 3)), &(tuff_linear_desc){ .features = 5 }));
    assert_int_equal(tuff_graph_result(the.graph), TUFF_ERROR_ARGUMENT);
    restart();
    float value;
    assert_int_equal(tuff_model_read(the.model, "fc.weigth", &value, sizeof value), TUFF_ERROR_ARGUMENT);
    MENTIONS(tuff_last_message(), "fc.weigth", "fc.weight");
    assert_int_equal(tuff_model_write(the.model, "fc.bias", &value, sizeof value), TUFF_ERROR_SHAPE);
    MENTIONS(tuff_last_message(), "fc.bias", "16", "4");
}

/* ---- NULL everywhere ---- */

static void test_null(void **state) {
    (void)state;
    tuff_tensor *x = input("x", TUFF_SHAPE(2, 3));
    assert_null(tuff_relu(NULL));
    assert_null(tuff_add(NULL, NULL));
    tuff_tensor *mixed = tuff_add(x, NULL); /* NULL without an error before it: an argument error of the graph */
    assert_null(mixed);
    tuff_program *program = NULL;
    tuff_result result = tuff_compile(the.graph, NULL, &program);
    assert_int_not_equal(result, TUFF_OK);
    restart();
    assert_null(tuff_graph_create(NULL));
    assert_null(tuff_model_create(NULL, NULL));
    assert_null(tuff_sgd_create(NULL, NULL));
    assert_null(tuff_input(NULL, "x", TUFF_F32, TUFF_SHAPE(1)));
    assert_null(input(NULL, TUFF_SHAPE(1)));
    restart();
    x = input("x", TUFF_SHAPE(2, 3));
    assert_null(tuff_linear(x, NULL));
    restart();
    x = input("x", TUFF_SHAPE(2, 3));
    assert_int_equal(tuff_compile(NULL, NULL, &program), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_compile(the.graph, NULL, NULL), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_run(NULL), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_write(NULL, x, "", 1), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_read(NULL, x, &program, 4), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_model_read(NULL, "w", &program, 4), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_device_open(NULL, NULL), TUFF_ERROR_ARGUMENT);
    tuff_tensor *y = tuff_relu(x), *outputs[] = { y, NULL };
    assert_int_equal(compile_outputs(outputs, 2, &program), TUFF_ERROR_ARGUMENT);
    OK(compile_outputs(outputs, 1, &program));
    assert_int_equal(tuff_write(program, x, NULL, 24), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_write(program, NULL, "", 1), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_read(program, NULL, &y, 4), TUFF_ERROR_ARGUMENT);
    tuff_program_destroy(program);
    tuff_program_destroy(NULL);
    tuff_graph_destroy(NULL);
    tuff_model_destroy(NULL);
    tuff_device_close(NULL);
}

/* ---- programs ---- */

static void test_run_and_read(void **state) {
    (void)state;
    tuff_tensor *x = input("pixels", TUFF_SHAPE(2, 3)), *bias = input("offsets", TUFF_SHAPE(3));
    tuff_tensor *hidden = tuff_set_name(tuff_relu(x), "hidden");
    tuff_tensor *y = tuff_set_name(tuff_add(hidden, bias), "result");
    tuff_program *program = NULL;
    OK(compile_outputs(&y, 1, &program));
    float six[6] = { 1, -1, 2, -2, 3, -3 }, got[6];
    assert_int_equal(tuff_read(program, y, got, sizeof got), TUFF_ERROR_STATE); /* never run */
    assert_int_equal(tuff_run(program), TUFF_ERROR_STATE);
    OK(tuff_write(program, x, six, sizeof six));
    assert_int_equal(tuff_run(program), TUFF_ERROR_STATE);
    MENTIONS(tuff_last_message(), "offsets");
    assert_int_equal(tuff_write(program, bias, six, sizeof six), TUFF_ERROR_SHAPE);
    MENTIONS(tuff_last_message(), "offsets", "24", "12");
    assert_int_equal(tuff_write(program, y, six, sizeof six), TUFF_ERROR_ARGUMENT); /* not an input */
    OK(tuff_write(program, bias, six, 3 * sizeof *six));
    OK(tuff_run(program));
    assert_int_equal(tuff_read(program, hidden, got, sizeof got), TUFF_ERROR_ARGUMENT);
    MENTIONS(tuff_last_message(), "result"); /* a program does not know the names of what it lacks */
    assert_int_equal(tuff_read(program, y, got, sizeof got - 4), TUFF_ERROR_SHAPE);
    OK(tuff_read(program, y, got, sizeof got));
    assert_true(got[0] == 2 && got[5] == 2);
    tuff_program_destroy(program);
}

static void test_training(void **state) {
    (void)state;
    tuff_tensor *x = input("x", TUFF_SHAPE(2, 3));
    tuff_tensor *y = tuff_linear(x, &(tuff_linear_desc){ .name = "fc", .features = 4 }), *loss = tuff_mean(y, NULL);
    tuff_optimizer *sgd = tuff_sgd_create(the.model, NULL);
    assert_non_null(sgd);
    tuff_program *program = NULL;
    assert_int_equal(tuff_compile(the.graph, &(tuff_program_desc){ .minimize = loss }, &program), TUFF_ERROR_ARGUMENT);
    MENTIONS(tuff_last_message(), "optimizer");
    /* not a scalar */
    assert_int_equal(tuff_compile(the.graph, &(tuff_program_desc){ .minimize = y, .optimizer = sgd }, &program),
                     TUFF_ERROR_SHAPE);
    MENTIONS(tuff_last_message(), "[2, 4]");
    /* nothing to train on the way */
    tuff_tensor *constant = tuff_mean(tuff_square(x), NULL);
    assert_int_equal(tuff_compile(the.graph, &(tuff_program_desc){ .minimize = constant, .optimizer = sgd }, &program),
                     TUFF_ERROR_ARGUMENT);
    /* an optimizer of another model */
    tuff_model *other = tuff_model_create(the.device, NULL);
    tuff_optimizer *foreign = tuff_sgd_create(other, NULL);
    assert_int_equal(tuff_compile(the.graph, &(tuff_program_desc){ .minimize = loss, .optimizer = foreign }, &program),
                     TUFF_ERROR_ARGUMENT);
    tuff_model_destroy(other);
    assert_null(program);
    assert_device_works();
}

static void test_gradients(void **state) {
    (void)state;
    tuff_tensor *x = input("x", TUFF_SHAPE(2, 3)), *other = input("other", TUFF_SHAPE(2));
    tuff_tensor *loss = tuff_mean(tuff_relu(x), NULL), *gradient = NULL;
    assert_int_equal(tuff_gradients(loss, &other, 1, &gradient), TUFF_ERROR_ARGUMENT);
    MENTIONS(tuff_last_message(), "other");
    restart();
    x = input("x", TUFF_SHAPE(2, 3));
    assert_int_equal(tuff_gradients(tuff_relu(x), &x, 1, &gradient), TUFF_ERROR_SHAPE);
    MENTIONS(tuff_last_message(), "[2, 3]");
    restart();
    /* accuracy cuts the only path, and is named */
    x = input("x", TUFF_SHAPE(2, 3));
    loss = tuff_accuracy(x, tuff_input(the.graph, "target", TUFF_I32, TUFF_SHAPE(2)));
    assert_non_null(loss);
    assert_int_equal(tuff_gradients(loss, &x, 1, &gradient), TUFF_ERROR_ARGUMENT);
    MENTIONS(tuff_last_message(), "accuracy");
}

/* Sizes given at compilation go through every operator's shape rule again. */
static void test_input_sizes(void **state) {
    (void)state;
    tuff_tensor *x = input("x", TUFF_SHAPE(8, 3)), *w = tuff_parameter(the.graph, "w", TUFF_SHAPE(3, 2), NULL);
    tuff_tensor *y = tuff_matmul(x, w, NULL);
    tuff_program *program = NULL;
    tuff_input_size size = { x, TUFF_SHAPE(5, 4) };
    tuff_program_desc desc = { .outputs = &y, .output_count = 1, .input_sizes = &size, .input_size_count = 1 };
    assert_int_equal(tuff_compile(the.graph, &desc, &program), TUFF_ERROR_SHAPE);
    MENTIONS(tuff_last_message(), "matmul", "[5, 4]", "[3, 2]");
    assert_null(program);
    size.shape = TUFF_SHAPE(5, 3);
    OK(tuff_compile(the.graph, &desc, &program));
    tuff_program_destroy(program);
}

/* ---- memory ---- */

/* A batch that makes 2 TiB of activations: the message names the bytes asked for and those there are, and what is
 * large. */
static void test_too_large(void **state) {
    (void)state;
    /* in forced slices this would be tens of millions of kernel calls, each with its memory */
    const char *force = getenv("TUFF_FORCE");
    enum { LAYERS = 256 };
    if (force && strstr(force, "slice=")) return;
    tuff_tensor *x = input("huge_batch", TUFF_SHAPE((1 << 19) - 1, 1 << 12)), *outputs[LAYERS];
    for (int i = 0; i < LAYERS; i++) outputs[i] = x = tuff_exp(x);
    tuff_program *program = NULL;
    assert_int_equal(compile_outputs(outputs, LAYERS, &program), TUFF_ERROR_MEMORY);
    assert_null(program);
    MENTIONS(tuff_last_message(), "bytes", "available", "huge_batch");
    assert_device_works();
    /* and a tensor that no kernel could count */
    REFUSED(input("endless", TUFF_SHAPE(1 << 20, 1 << 12)), TUFF_ERROR_SHAPE, "endless", "[1048576, 4096]", "elements");
}

/* The same against a budget that the caller set, so that any device shows it. */
static void test_budget(void **state) {
    (void)state;
    tuff_device *device = test_device_open(&(tuff_device_desc){ .memory_budget = 64 << 20 });
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    enum { OUTPUTS = 128 }; /* of one MiB each: "block" may be forced to that */
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(512, 512)), *y = x, *outputs[OUTPUTS];
    for (int i = 0; i < OUTPUTS; i++) outputs[i] = y = tuff_tanh(y);
    tuff_program *program = NULL;
    tuff_program_desc desc = { .outputs = outputs, .output_count = OUTPUTS };
    assert_int_equal(tuff_compile(graph, &desc, &program), TUFF_ERROR_MEMORY);
    MENTIONS(tuff_last_message(), "bytes", "available");
    tuff_input_size size = { x, TUFF_SHAPE(8, 8) };
    desc.input_sizes = &size;
    desc.input_size_count = 1;
    OK(tuff_compile(graph, &desc, &program));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_device_close(device);
}

/* An index out of range is not the host's to see: it gives a row of NaN, and touches nothing else. */
static void test_index_out_of_range(void **state) {
    (void)state;
    tuff_tensor *index = tuff_input(the.graph, "index", TUFF_I32, TUFF_SHAPE(4));
    tuff_tensor *table = input("table", TUFF_SHAPE(3, 2));
    tuff_tensor *y = tuff_embedding(index, &(tuff_embedding_desc){ .weight = table });
    tuff_program *program = NULL;
    OK(compile_outputs(&y, 1, &program));
    OK(tuff_write(program, index, (int32_t[]){ 2, 3, -1, 0 }, 16));
    OK(tuff_write(program, table, (float[]){ 1, 2, 3, 4, 5, 6 }, 24));
    OK(tuff_run(program));
    float got[8];
    OK(tuff_read(program, y, got, sizeof got));
    assert_true(got[0] == 5 && got[1] == 6 && got[6] == 1 && got[7] == 2);
    for (int i = 2; i < 6; i++) assert_true(got[i] != got[i]);
    tuff_program_destroy(program);
}

/* The same of gather, and sums by index leave it out, as their gradients do. */
static void test_elements_out_of_range(void **state) {
    (void)state;
    enum { ROWS = 3, COUNT = 5 };
    tuff_tensor *index = tuff_input(the.graph, "index", TUFF_I32, TUFF_SHAPE(COUNT));
    tuff_tensor *x = input("x", TUFF_SHAPE(ROWS)), *source = input("source", TUFF_SHAPE(COUNT)), *gradients[2];
    tuff_tensor *sums = tuff_scatter_add(x, 0, index, source);
    OK(tuff_gradients(tuff_sum(tuff_square(sums), NULL), (tuff_tensor *[]){ x, source }, 2, gradients));
    tuff_tensor *outputs[] = { tuff_gather(x, 0, index),
                               tuff_index_select(x, 0, index),
                               tuff_gather(index, 0, index),
                               sums,
                               gradients[0],
                               gradients[1] };
    tuff_program *program = NULL;
    OK(compile_outputs(outputs, 6, &program));
    OK(tuff_write(program, index, (int32_t[]){ 2, -1, 0, INT32_MAX, 2 }, 20));
    OK(tuff_write(program, x, (float[]){ 1, 2, 3 }, 12));
    OK(tuff_write(program, source, (float[]){ 10, 20, 30, 40, 50 }, 20));
    OK(tuff_run(program));
    float got[COUNT];
    for (int i = 0; i < 2; i++) {
        OK(tuff_read(program, outputs[i], got, sizeof got));
        assert_true(got[0] == 3 && got[1] != got[1] && got[2] == 1 && got[3] != got[3] && got[4] == 3);
    }
    int32_t whole[COUNT];
    OK(tuff_read(program, outputs[2], whole, sizeof whole));
    assert_true(whole[0] == 0 && whole[1] == INT32_MIN && whole[2] == 2 && whole[3] == INT32_MIN && whole[4] == 0);
    for (int i = 3; i < 5; i++) { /* the sums, and twice them */
        float times = (float)(i - 2);
        OK(tuff_read(program, outputs[i], got, ROWS * sizeof *got));
        assert_true(got[0] == 31 * times && got[1] == 2 * times && got[2] == 63 * times);
    }
    OK(tuff_read(program, outputs[5], got, sizeof got));
    assert_true(got[0] == 126 && got[1] == 0 && got[2] == 62 && got[3] == 0 && got[4] == 126);
    tuff_program_destroy(program);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(pointwise_shapes),
        TEST(product_shapes),
        TEST(failed_layers),
        TEST(huge_convolutions),
        TEST(other_shapes),
        TEST(sticky),
        TEST(names),
        TEST(null),
        TEST(run_and_read),
        TEST(training),
        TEST(gradients),
        TEST(input_sizes),
        TEST(too_large),
        TEST(budget),
        TEST(index_out_of_range),
        TEST(elements_out_of_range),
    };
    return cmocka_run_group_tests_name("errors", tests, open_device, close_device);
}
