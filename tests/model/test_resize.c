/* A graph that is compiled for other sizes of its inputs computes the same bits as the graph that was built with them:
 * results, and gradients with respect to the input. */
#include "support.h"
#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

/* ---- what is built ------------------------------------------------------------------------------ */

static tuff_tensor *self_attention(tuff_tensor *x) {
    return tuff_add(
        x, tuff_multihead_attention(x, NULL, NULL,
                                    &(tuff_multihead_attention_desc){ .name = "self", .heads = 2, .causal = true }));
}
static tuff_tensor *rotary_attention(tuff_tensor *x) {
    return tuff_multihead_attention(
        x, NULL, NULL,
        &(tuff_multihead_attention_desc){
            .name = "rotary", .heads = 4, .key_value_heads = 2, .rotary = &(tuff_rotary_desc){ .offset = 2 } });
}
static tuff_tensor *cross_attention(tuff_tensor *x) {
    tuff_tensor *memory = tuff_mul(x, x);
    return tuff_multihead_attention(x, memory, NULL, &(tuff_multihead_attention_desc){ .name = "cross", .heads = 2 });
}
static tuff_tensor *attention(tuff_tensor *x) {
    return tuff_scaled_dot_product_attention(x, x, x, &(tuff_attention_desc){ .causal = true });
}
static tuff_tensor *transformer_block(tuff_tensor *x) {
    x = self_attention(tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = "norm", .axes = 1 }));
    return tuff_gelu(tuff_linear(x, &(tuff_linear_desc){ .name = "fc", .features = 12 }), NULL);
}
static tuff_tensor *lstm(tuff_tensor *x) {
    return tuff_lstm(x, &(tuff_recurrent_desc){ .name = "lstm", .hidden_size = 5, .bidirectional = true }, NULL, NULL);
}
static tuff_tensor *shuffle(tuff_tensor *x) {
    return tuff_pixel_shuffle(x, 2);
}
static tuff_tensor *unshuffle(tuff_tensor *x) {
    return tuff_pixel_unshuffle(x, 2);
}
static tuff_tensor *residual(tuff_tensor *x) {
    const tuff_conv2d_desc conv = { .name = "conv", .channels = 4, .kernel = { 3, 3 }, .padding = { 1, 1 } };
    x = tuff_add(x, tuff_relu(tuff_batch_norm(tuff_conv2d(x, &conv), &(tuff_batch_norm_desc){ .name = "norm" })));
    return tuff_softmax(tuff_flatten_axes(tuff_max_pool2d(x, &(tuff_pool2d_desc){ .kernel = { 2, 2 } }), -2, -1), -1);
}
static tuff_tensor *resampled(tuff_tensor *x) {
    x = tuff_interpolate(x, &(tuff_interpolate_desc){ .scale_factor = { 2, 2 }, .mode = TUFF_INTERPOLATE_BILINEAR });
    return tuff_concat((tuff_tensor *[]){ x, tuff_flip(x, (int32_t[]){ -1 }, 1) }, 2, 1);
}
static tuff_tensor *product(tuff_tensor *x) {
    return tuff_cumsum(tuff_einsum("bij,bkj->bik", (tuff_tensor *[]){ x, tuff_sin(x) }, 2), 1);
}

typedef struct resize_case {
    const char *name;
    tuff_tensor *(*build)(tuff_tensor *x);
    tuff_shape built, compiled;
} resize_case;

#define SHAPE(...)                                                                                                     \
    {                                                                                                                  \
        .rank = sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), .sizes = { __VA_ARGS__ }                         \
    }
static const resize_case cases[] = {
    { "self-attention, shorter", self_attention, SHAPE(2, 8, 4), SHAPE(2, 4, 4) },
    { "self-attention, longer", self_attention, SHAPE(2, 1, 4), SHAPE(3, 8, 4) },
    { "self-attention, without a batch", self_attention, SHAPE(8, 4), SHAPE(5, 4) },
    { "self-attention, twice the batch", self_attention, SHAPE(2, 12, 8), SHAPE(4, 6, 8) },
    { "rotary", rotary_attention, SHAPE(1, 7, 16), SHAPE(2, 11, 16) },
    { "cross-attention", cross_attention, SHAPE(2, 6, 8), SHAPE(2, 12, 8) },
    { "attention", attention, SHAPE(2, 3, 6, 8), SHAPE(3, 3, 4, 8) },
    { "transformer's block", transformer_block, SHAPE(2, 6, 8), SHAPE(3, 4, 8) },
    { "lstm", lstm, SHAPE(6, 2, 3), SHAPE(4, 3, 3) },
    { "pixel_shuffle, higher", shuffle, SHAPE(2, 4, 8, 8), SHAPE(2, 4, 16, 8) },
    { "pixel_shuffle, more and narrower", shuffle, SHAPE(2, 4, 8, 8), SHAPE(4, 4, 8, 4) },
    { "pixel_shuffle, smaller", shuffle, SHAPE(2, 4, 8, 8), SHAPE(2, 4, 4, 4) },
    { "pixel_shuffle, more channels", shuffle, SHAPE(4, 8, 8), SHAPE(8, 2, 4) },
    { "pixel_unshuffle", unshuffle, SHAPE(2, 3, 8, 4), SHAPE(1, 3, 4, 10) },
    { "residual block", residual, SHAPE(2, 4, 8, 8), SHAPE(3, 4, 6, 10) },
    { "interpolate, concat, flip", resampled, SHAPE(2, 3, 4, 4), SHAPE(1, 3, 6, 5) },
    { "einsum, cumsum", product, SHAPE(2, 5, 3), SHAPE(3, 2, 7) },
};

/* ---- comparing ---------------------------------------------------------------------------------- */

typedef struct values {
    float *y, *gradient;
    size_t y_size, gradient_size;
} values;

static values run(const resize_case *c, tuff_shape built, tuff_shape compiled) {
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 3 });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, built), *outputs[2];
    outputs[0] = c->build(x);
    if (!outputs[0]) fail_msg("%s: %s", c->name, tuff_last_message());
    OK(tuff_gradients(tuff_sum(tuff_sin(outputs[0]), NULL), &x, 1, &outputs[1]));
    tuff_program *program = NULL;
    const tuff_input_size size = { .input = x, .shape = compiled };
    OK(tuff_compile(
        graph,
        &(tuff_program_desc){
            .name = c->name, .outputs = outputs, .output_count = 2, .input_sizes = &size, .input_size_count = 1 },
        &program));
    size_t count = (size_t)tuff_shape_count(&compiled);
    float *data = calloc(count, sizeof *data);
    for (size_t i = 0; i < count; i++) data[i] = sinf((float)i * 1.7f);
    OK(tuff_write(program, x, data, count * sizeof *data));
    OK(tuff_run(program));
    /* the graph's own shapes are those it was built with: how large the result is, a second graph says */
    tuff_graph *sized = tuff_graph_create(model);
    tuff_tensor *y = c->build(tuff_input(sized, "x", TUFF_F32, compiled));
    tuff_shape shape = tuff_tensor_shape(y);
    values v = { .y_size = (size_t)tuff_shape_count(&shape) * sizeof(float), .gradient_size = count * sizeof(float) };
    v.y = calloc(1, v.y_size);
    v.gradient = calloc(1, v.gradient_size);
    OK(tuff_read(program, outputs[0], v.y, v.y_size));
    OK(tuff_read(program, outputs[1], v.gradient, v.gradient_size));
    free(data);
    tuff_graph_destroy(sized);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return v;
}

static void test_sizes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const resize_case *c = &cases[i];
        values resized = run(c, c->built, c->compiled), direct = run(c, c->compiled, c->compiled);
        assert_int_equal(resized.y_size, direct.y_size);
        if (memcmp(resized.y, direct.y, direct.y_size) != 0) fail_msg("%s: the results differ", c->name);
        if (memcmp(resized.gradient, direct.gradient, direct.gradient_size) != 0)
            fail_msg("%s: the gradients differ", c->name);
        free(resized.y), free(resized.gradient), free(direct.y), free(direct.gradient);
    }
}

/* One graph for a prompt and for single tokens behind it. */
static void test_cache(void **state) {
    (void)state;
    enum { PROMPT = 4, TOKENS = 6, WIDTH = 8 };
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 3 });
    tuff_graph *graph = tuff_graph_create(model), *whole = tuff_graph_create(model);
    tuff_multihead_attention_desc desc = { .name = "mha", .heads = 2, .cache_length = 16 };
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(2, PROMPT, WIDTH));
    tuff_tensor *y = tuff_multihead_attention(x, NULL, NULL, &desc);
    desc.cache_length = 0;
    desc.causal = true;
    tuff_tensor *all = tuff_input(whole, "x", TUFF_F32, TUFF_SHAPE(2, TOKENS, WIDTH));
    tuff_tensor *want = tuff_multihead_attention(all, NULL, NULL, &desc);
    const tuff_input_size single = { .input = x, .shape = TUFF_SHAPE(2, 1, WIDTH) };
    tuff_program *prompt = NULL, *token = NULL, *full = NULL;
    tuff_program_desc of_y = { .outputs = &y, .output_count = 1, .evaluate = true };
    OK(tuff_compile(graph, &of_y, &prompt));
    of_y.input_sizes = &single;
    of_y.input_size_count = 1;
    OK(tuff_compile(graph, &of_y, &token));
    OK(tuff_compile(whole, &(tuff_program_desc){ .outputs = &want, .output_count = 1, .evaluate = true }, &full));
    float tokens[2][TOKENS][WIDTH], expected[2][TOKENS][WIDTH], in[2][PROMPT][WIDTH], out[2][PROMPT][WIDTH];
    for (int i = 0; i < 2 * TOKENS * WIDTH; i++) (&tokens[0][0][0])[i] = sinf((float)i * 1.3f);
    OK(tuff_write(full, all, tokens, sizeof tokens));
    OK(tuff_run(full));
    OK(tuff_read(full, want, expected, sizeof expected));
    for (int n = 0; n < 2; n++) memcpy(in[n], tokens[n], sizeof in[n]);
    OK(tuff_write(prompt, x, in, sizeof in));
    OK(tuff_run(prompt));
    OK(tuff_read(prompt, y, out, sizeof out));
    for (int n = 0; n < 2; n++)
        for (int i = 0; i < PROMPT * WIDTH; i++)
            assert_true(fabsf(out[n][i / WIDTH][i % WIDTH] - expected[n][i / WIDTH][i % WIDTH]) < 1e-6f);
    for (int t = PROMPT; t < TOKENS; t++) {
        float one[2][WIDTH], got[2][WIDTH];
        for (int n = 0; n < 2; n++) memcpy(one[n], tokens[n][t], sizeof one[n]);
        OK(tuff_program_set_cache_length(token, (uint64_t)t));
        OK(tuff_write(token, x, one, sizeof one));
        OK(tuff_run(token));
        OK(tuff_read(token, y, got, sizeof got));
        for (int n = 0; n < 2; n++)
            for (int i = 0; i < WIDTH; i++) assert_true(fabsf(got[n][i] - expected[n][t][i]) < 1e-6f);
    }
    tuff_program_destroy(prompt);
    tuff_program_destroy(token);
    tuff_program_destroy(full);
    tuff_graph_destroy(graph);
    tuff_graph_destroy(whole);
    tuff_model_destroy(model);
}

int main(void) {
    device = test_device_open(NULL);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sizes), cmocka_unit_test(test_cache) };
    int failed = cmocka_run_group_tests_name("resize", tests, NULL, NULL);
    tuff_device_close(device);
    return failed;
}
