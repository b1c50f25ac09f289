/* tuff_checkpoint: a marked segment is computed a second time in the backward pass, and nothing else changes. Not one
 * bit of the loss, the gradients and the states over several steps; only the bytes that a step plans. */
#include "support.h"
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

/* ---- networks ----------------------------------------------------------------------------------- */

static bool marking; /* whether mark() marks */

static tuff_tensor *mark(tuff_tensor *output, tuff_tensor *input) {
    return marking ? tuff_checkpoint(output, &input, 1) : output;
}

static tuff_tensor *linear(tuff_tensor *x, const char *name, int64_t features) {
    return tuff_linear(x, &(tuff_linear_desc){ .name = name, .features = features });
}
static tuff_tensor *conv(tuff_tensor *x, const char *name, int64_t channels) {
    return tuff_conv2d(
        x, &(tuff_conv2d_desc){ .name = name, .channels = channels, .kernel = { 3, 3 }, .padding = { 1, 1 } });
}
static tuff_tensor *norm(tuff_tensor *x, const char *name) {
    return tuff_batch_norm(x, &(tuff_batch_norm_desc){ .name = name });
}

/* Dropout without a name, before, in and behind segments: a mark must not change whose masks are whose. */
static tuff_tensor *dense(tuff_tensor *x) {
    x = tuff_dropout(tuff_tanh(linear(x, "first", 24)), 0.25f, NULL);
    for (int i = 0; i < 3; i++) {
        static const char *const names[][2] = { { "a1", "a2" }, { "b1", "b2" }, { "c1", "c2" } };
        tuff_tensor *y = tuff_dropout(tuff_gelu(linear(x, names[i][0], 48), NULL), 0.5f, NULL);
        x = mark(tuff_add(x, tuff_dropout(linear(y, names[i][1], 24), 0.25f, NULL)), x);
    }
    return linear(tuff_dropout(x, 0.25f, NULL), "last", 5);
}

/* Running statistics move once a step. The second block's input is a segment's output that is also needed further on.
 */
static tuff_tensor *residual(tuff_tensor *x) {
    x = conv(x, "stem", 8);
    for (int i = 0; i < 2; i++) {
        static const char *const names[][4] = { { "a1", "an1", "a2", "an2" }, { "b1", "bn1", "b2", "bn2" } };
        tuff_tensor *y = tuff_relu(norm(conv(x, names[i][0], 8), names[i][1]));
        y = tuff_dropout2d(norm(conv(y, names[i][2], 8), names[i][3]), 0.25f, NULL);
        x = mark(tuff_relu(tuff_add(x, y)), x);
        if (i == 0) x = tuff_max_pool2d(x, &(tuff_pool2d_desc){ .kernel = { 2, 2 } });
    }
    return linear(tuff_flatten(tuff_global_avg_pool2d(x)), "fc", 5);
}

static tuff_tensor *transformer(tuff_tensor *x) {
    for (int i = 0; i < 2; i++) {
        static const char *const names[][4] = { { "an1", "aa", "an2", "af" }, { "bn1", "ba", "bn2", "bf" } };
        tuff_tensor *const input = x;
        tuff_tensor *y = tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = names[i][0] });
        x = tuff_add(x,
                     tuff_multihead_attention(y, NULL, NULL,
                                              &(tuff_multihead_attention_desc){
                                                  .name = names[i][1], .heads = 2, .causal = true, .dropout = 0.25f }));
        y = tuff_rms_norm(x, &(tuff_rms_norm_desc){ .name = names[i][2] });
        x = mark(tuff_add(x, tuff_silu(linear(y, names[i][3], 16))), input);
    }
    return x;
}

/* The power iterations' vectors are written once, and what a segment makes of them is what the step uses. */
static tuff_tensor *normed_weights(tuff_tensor *x) {
    tuff_graph *graph = tuff_tensor_graph(x);
    const tuff_init_desc normal = { TUFF_INIT_NORMAL, 0.5f };
    tuff_tensor *const input = x, *v = tuff_parameter(graph, "v", TUFF_SHAPE(16, 16), &normal);
    tuff_tensor *w = tuff_spectral_norm(v, 0, &(tuff_spectral_norm_desc){ .name = "spectral" });
    x = tuff_tanh(tuff_matmul(x, tuff_transpose(w, 0, 1), NULL));
    w = tuff_weight_norm(tuff_parameter(graph, "v2", TUFF_SHAPE(16, 16), &normal),
                         tuff_parameter(graph, "g2", TUFF_SHAPE(16, 1), NULL), 0);
    return mark(tuff_tanh(tuff_matmul(x, tuff_transpose(w, 0, 1), NULL)), input);
}

static tuff_tensor *recurrent(tuff_tensor *x) {
    tuff_tensor *y = tuff_lstm(
        x, &(tuff_recurrent_desc){ .name = "lstm", .hidden_size = 8, .num_layers = 2, .dropout = 0.25f }, NULL, NULL);
    return linear(mark(tuff_tanh(linear(y, "fc", 8)), x), "last", 4);
}

/* A segment around others, one that shares nodes with another, one in one, and one without anything in it. */
static tuff_tensor *crossing(tuff_tensor *x) {
    tuff_tensor *const a = tuff_tanh(linear(x, "a", 16));
    tuff_tensor *const b = mark(tuff_dropout(tuff_sigmoid(linear(a, "b", 16)), 0.25f, NULL), a);
    tuff_tensor *const c = mark(tuff_exp(tuff_neg(linear(b, "c", 16))), b);
    tuff_tensor *const d = mark(tuff_gelu(tuff_mul(c, linear(b, "d", 16)), NULL), a);
    tuff_tensor *const e = tuff_sin(linear(d, "e", 16));
    tuff_tensor *const f = mark(tuff_sin(linear(e, "f", 16)), d);
    tuff_tensor *const g = mark(tuff_sigmoid(tuff_square(f)), e);
    return mark(mark(linear(g, "g", 16), g), g);
}

/* Values that leave a segment beside its output, read by what stands behind it: also by the gradient of its output,
 * before which no second copy can be there. */
static tuff_tensor *leaving(tuff_tensor *x) {
    tuff_tensor *const inside = tuff_tanh(linear(x, "a", 16)), *const second = tuff_exp(tuff_neg(tuff_square(inside)));
    tuff_tensor *y = mark(tuff_sin(linear(tuff_mul(second, inside), "b", 16)), x);
    return tuff_mul(tuff_mul(y, inside), tuff_softmax(second, -1));
}

/* Two segments of the same input beside each other, whose gradients add up. */
static tuff_tensor *side_by_side(tuff_tensor *x) {
    x = tuff_tanh(linear(x, "stem", 16));
    tuff_tensor *left = mark(tuff_gelu(linear(tuff_sin(linear(x, "a", 16)), "b", 16), NULL), x);
    tuff_tensor *right = mark(tuff_sigmoid(linear(tuff_tanh(linear(x, "c", 16)), "d", 16)), x);
    return tuff_mul(tuff_mul(left, right), x);
}

/* A gradient in the loss: nodes of a backward pass lie in a segment, and gradients of gradients pass it. */
static tuff_tensor *penalty(tuff_tensor *x) {
    tuff_tensor *y = tuff_tanh(linear(x, "a", 16)), *gradient = NULL;
    tuff_tensor *const z = mark(tuff_sin(linear(tuff_sigmoid(linear(y, "b", 16)), "c", 16)), y);
    OK(tuff_gradients(tuff_sum(tuff_square(linear(z, "d", 3)), NULL), &x, 1, &gradient));
    tuff_tensor *const first = gradient;
    return tuff_add(x, mark(tuff_square(tuff_sigmoid(linear(first, "e", 16))), first));
}

/* What nobody asks gradients of: no parameter lies in the segment or before it. */
static tuff_tensor *idle(tuff_tensor *x) {
    return linear(mark(tuff_sin(tuff_exp(tuff_neg(tuff_square(x)))), x), "fc", 4);
}

typedef struct network_case {
    const char *name;
    tuff_tensor *(*build)(tuff_tensor *x);
    tuff_shape shape;
    bool same_dispatches; /* nothing is there to be computed again */
} network_case;

#define SHAPE(...)                                                                                                     \
    {                                                                                                                  \
        .rank = sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), .sizes = { __VA_ARGS__ }                         \
    }
static const network_case cases[] = {
    { "dense", dense, SHAPE(12, 10), false },
    { "residual", residual, SHAPE(4, 3, 8, 8), false },
    { "transformer", transformer, SHAPE(2, 12, 16), false },
    { "normed weights", normed_weights, SHAPE(6, 16), false },
    { "recurrent", recurrent, SHAPE(5, 3, 6), false },
    { "crossing", crossing, SHAPE(6, 16), false },
    { "leaving", leaving, SHAPE(6, 16), false },
    { "side by side", side_by_side, SHAPE(6, 16), false },
    { "penalty", penalty, SHAPE(6, 16), false },
    { "idle", idle, SHAPE(6, 16), true },
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- the same bits ------------------------------------------------------------------------------ */

typedef struct outcome {
    float *numbers; /* results, gradients and all states, step by step */
    size_t count;
    tuff_program_info info;
} outcome;

static void keep(outcome *o, const float *numbers, size_t count) {
    o->numbers = realloc(o->numbers, (o->count + count) * sizeof *numbers);
    assert_non_null(o->numbers);
    memcpy(o->numbers + o->count, numbers, count * sizeof *numbers);
    o->count += count;
}

static void keep_states(outcome *o, tuff_model *model) {
    for (uint32_t i = 0; i < tuff_model_state_count(model); i++) {
        tuff_state_info info;
        OK(tuff_model_state_info(model, i, &info));
        size_t count = (size_t)tuff_shape_count(&info.shape);
        float *numbers = malloc(count * sizeof *numbers);
        OK(tuff_model_read(model, info.name, numbers, count * sizeof *numbers));
        keep(o, numbers, count);
        free(numbers);
    }
}

static void keep_output(outcome *o, tuff_program *program, const tuff_tensor *output, const tuff_shape *shape) {
    size_t count = (size_t)tuff_shape_count(shape);
    float *numbers = malloc(count * sizeof *numbers);
    OK(tuff_read(program, output, numbers, count * sizeof *numbers));
    keep(o, numbers, count);
    free(numbers);
}

typedef struct way {
    bool marked;
    uint32_t replay_seed;
    tuff_shape compiled; /* rank 0: as built */
    bool evaluate;
    bool gradient; /* with respect to the input as well, of another loss: a second backward pass */
} way;

/* Three steps, or runs of an evaluation. */
static outcome run(const network_case *c, way way) {
    outcome o = { 0 };
    marking = way.marked;
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 5 });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, c->shape), *y = c->build(x);
    if (!y) fail_msg("%s: %s", c->name, tuff_last_message());
    tuff_tensor *loss = tuff_mean(tuff_sin(y), NULL), *outputs[3] = { loss, y, NULL };
    OK(tuff_graph_result(graph));
    if (way.gradient) OK(tuff_gradients(tuff_sum(tuff_square(y), NULL), &x, 1, &outputs[2]));
    const tuff_shape shape = way.compiled.rank ? way.compiled : c->shape;
    tuff_shape result = tuff_tensor_shape(y);
    for (uint32_t i = 0; i < result.rank && way.compiled.rank; i++)
        if (result.sizes[i] == c->shape.sizes[i]) result.sizes[i] = shape.sizes[i];
    const tuff_input_size size = { .input = x, .shape = shape };
    tuff_optimizer *adam = tuff_adam_create(model, &(tuff_adam_desc){ .lr = 0.01f });
    tuff_program *program = NULL;
    OK(tuff_compile(graph,
                    &(tuff_program_desc){ .name = c->name,
                                          .minimize = way.evaluate ? NULL : loss,
                                          .optimizer = way.evaluate ? NULL : adam,
                                          .outputs = outputs,
                                          .output_count = way.gradient ? 3 : 2,
                                          .input_sizes = &size,
                                          .input_size_count = 1,
                                          .evaluate = way.evaluate,
                                          .replay_seed = way.replay_seed },
                    &program));
    tuff_program_get_info(program, &o.info);
    size_t count = (size_t)tuff_shape_count(&shape);
    float *data = malloc(count * sizeof *data);
    for (int step = 0; step < 3; step++) {
        for (size_t i = 0; i < count; i++) data[i] = sinf((float)(i + (size_t)step * count) * 1.7f);
        OK(tuff_write(program, x, data, count * sizeof *data));
        OK(tuff_run(program));
        keep_output(&o, program, loss, &(tuff_shape){ 0 });
        keep_output(&o, program, y, &result);
        if (way.gradient) keep_output(&o, program, outputs[2], &shape);
        keep_states(&o, model);
    }
    free(data);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return o;
}

/* Bit by bit. But where all sums that can be are split by force, a product with an epilogue is not, and in "crossing"
 * one is computed again without: there the steps drift apart by rounding. */
static void check_same(const char *name, const outcome *plain, const outcome *marked) {
    const char *force = getenv("TUFF_FORCE");
    bool split = force && strstr(force, "split") && strcmp(name, "crossing") == 0;
    assert_int_equal(plain->count, marked->count);
    for (size_t i = 0; i < plain->count; i++) {
        if (!isfinite(plain->numbers[i])) fail_msg("%s: number %zu is %g", name, i, (double)plain->numbers[i]);
        float most = split ? 1e-3f * (fabsf(plain->numbers[i]) + 1e-3f) : 0;
        bool near = fabsf(plain->numbers[i] - marked->numbers[i]) <= most;
        if (split ? !near : memcmp(&plain->numbers[i], &marked->numbers[i], sizeof(float)) != 0)
            fail_msg("%s: number %zu of %zu is %.9g, marked %.9g", name, i, plain->count, (double)plain->numbers[i],
                     (double)marked->numbers[i]);
    }
}

static void check_ways(const network_case *c, way way) {
    outcome plain = run(c, way);
    way.marked = true;
    outcome marked = run(c, way);
    print_message("%s: %u dispatches in %u levels, %u in %u\n", c->name, plain.info.dispatches, plain.info.levels,
                  marked.info.dispatches, marked.info.levels);
    check_same(c->name, &plain, &marked);
    bool same = marked.info.dispatches == plain.info.dispatches;
    if (same != (c->same_dispatches || way.evaluate)) fail_msg("%s: %u dispatches", c->name, marked.info.dispatches);
    free(plain.numbers);
    free(marked.numbers);
}

static void test_bits(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) check_ways(&cases[i], (way){ 0 });
}

static void test_two_passes(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        if (!cases[i].same_dispatches) check_ways(&cases[i], (way){ .gradient = true });
}

/* The waiting copies and their shared bytes, with dispatches shuffled and dead memory filled. */
static void test_replay(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        outcome plain = run(&cases[i], (way){ 0 });
        outcome marked = run(&cases[i], (way){ .marked = true, .replay_seed = 7 });
        check_same(cases[i].name, &plain, &marked);
        free(plain.numbers);
        free(marked.numbers);
    }
}

static void test_evaluation(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        if (cases[i].build != penalty) check_ways(&cases[i], (way){ .evaluate = true });
}

static void test_resize(void **state) {
    (void)state;
    check_ways(&cases[0], (way){ .compiled = TUFF_SHAPE(7, 10) });
    check_ways(&cases[1], (way){ .compiled = TUFF_SHAPE(3, 3, 10, 6) });
    check_ways(&cases[2], (way){ .compiled = TUFF_SHAPE(3, 8, 16) });
}

/* ---- bytes -------------------------------------------------------------------------------------- */

enum { LAYERS = 6, HEADS = 2, WIDTH = 32, TOKENS = 64, BATCH = 4, VOCABULARY = 32 };

/* Radford et al. 2019, small. */
static tuff_tensor *gpt_block(tuff_tensor *x, int layer) {
    tuff_tensor *const input = x;
    char names[5][32];
    static const char *const parts[] = { "norm1", "attention", "norm2", "fc1", "fc2" };
    for (int i = 0; i < 5; i++) snprintf(names[i], sizeof names[i], "block%d.%s", layer, parts[i]);
    tuff_tensor *y = tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = names[0] });
    y = tuff_multihead_attention(y, NULL, NULL,
                                 &(tuff_multihead_attention_desc){ .name = names[1], .heads = HEADS, .causal = true });
    x = tuff_add(x, y);
    y = tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = names[2] });
    y = linear(tuff_gelu(linear(y, names[3], 4 * WIDTH), NULL), names[4], WIDTH);
    return mark(tuff_add(x, y), input);
}

/* Bytes that live at once beside the parameters' gradients, which live until the update. */
static uint64_t gpt_activations(bool marked, uint64_t *arena) {
    marking = marked;
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *token = tuff_input(graph, "token", TUFF_I32, TUFF_SHAPE(BATCH, TOKENS));
    tuff_tensor *next = tuff_input(graph, "next", TUFF_I32, TUFF_SHAPE(BATCH * TOKENS));
    tuff_tensor *x =
        tuff_embedding(token, &(tuff_embedding_desc){ .name = "token", .count = VOCABULARY, .features = WIDTH });
    for (int layer = 0; layer < LAYERS; layer++) x = gpt_block(x, layer);
    x = tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = "norm" });
    tuff_tensor *loss = tuff_cross_entropy(tuff_flatten_axes(linear(x, "head", VOCABULARY), 0, 1), next, NULL);
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .minimize = loss, .optimizer = tuff_adamw_create(model, NULL) },
                    &program));
    tuff_program_info info;
    tuff_program_get_info(program, &info);
    uint64_t gradients = 0;
    for (uint32_t i = 0; i < tuff_model_state_count(model); i++) {
        tuff_state_info state;
        OK(tuff_model_state_info(model, i, &state));
        if (state.kind == TUFF_STATE_PARAMETER) gradients += 4 * (uint64_t)tuff_shape_count(&state.shape);
    }
    *arena = info.arena_bytes;
    assert_true(info.live_bytes > gradients);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return info.live_bytes - gradients;
}

static void test_bytes(void **state) {
    (void)state;
    uint64_t plain_arena, marked_arena;
    uint64_t plain = gpt_activations(false, &plain_arena), marked = gpt_activations(true, &marked_arena);
    print_message("gpt: activations %.0f KiB, marked %.0f KiB (%.3f); arena %.0f and %.0f KiB\n", (double)plain / 1024,
                  (double)marked / 1024, (double)marked / (double)plain, (double)plain_arena / 1024,
                  (double)marked_arena / 1024);
    assert_true(2 * marked <= plain);
    assert_true(marked_arena < plain_arena);
}

/* ---- errors ------------------------------------------------------------------------------------- */

static void check_refused(tuff_graph *graph, const tuff_tensor *made, const char *part) {
    assert_null(made);
    assert_int_equal(tuff_graph_result(graph), TUFF_ERROR_ARGUMENT);
    if (!strstr(tuff_graph_message(graph), part)) fail_msg("\"%s\" is not in: %s", part, tuff_graph_message(graph));
}

static void test_errors(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++) {
        tuff_model *model = tuff_model_create(device, NULL);
        tuff_graph *graph = tuff_graph_create(model), *other = tuff_graph_create(model);
        tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(4)), *stray = NULL;
        tuff_tensor *mask = tuff_input(graph, "mask", TUFF_F32, TUFF_SHAPE(4));
        tuff_tensor *y = tuff_mul(tuff_sin(x), tuff_exp(mask));
        if (i == 0) check_refused(graph, tuff_checkpoint(y, &x, 1), "reaches back to the input 'mask'");
        if (i == 1) check_refused(graph, tuff_checkpoint(y, NULL, 0), "reaches back to the input 'x'");
        if (i == 2) check_refused(graph, tuff_checkpoint(y, &stray, 1), "input 0 is NULL");
        if (i == 3) check_refused(graph, tuff_checkpoint(y, NULL, 2), "inputs is NULL");
        if (i == 4) {
            stray = tuff_input(other, "x", TUFF_F32, TUFF_SHAPE(4));
            check_refused(graph, tuff_checkpoint(y, &stray, 1), "another graph");
        }
        assert_null(tuff_checkpoint(y, (tuff_tensor *[]){ x, mask }, 2)); /* sticky */
        assert_null(tuff_checkpoint(NULL, &x, 1));
        tuff_graph_destroy(other);
        tuff_graph_destroy(graph);
        tuff_model_destroy(model);
    }
}

/* The returned tensor is called what the output is called, and what the segment does not read may be named. */
static void test_names(void **state) {
    (void)state;
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(4)), *z = tuff_sin(x);
    tuff_tensor *y = tuff_set_name(tuff_exp(x), "the result");
    y = tuff_checkpoint(y, (tuff_tensor *[]){ x, z }, 2);
    assert_non_null(y);
    assert_string_equal(tuff_tensor_name(y), "the result");
    assert_string_equal(tuff_tensor_name(tuff_checkpoint(x, &x, 1)), "x");
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

int main(void) {
    device = test_device_open(NULL);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_bits),   cmocka_unit_test(test_two_passes),
                                        cmocka_unit_test(test_replay), cmocka_unit_test(test_evaluation),
                                        cmocka_unit_test(test_resize), cmocka_unit_test(test_bytes),
                                        cmocka_unit_test(test_errors), cmocka_unit_test(test_names) };
    int failed = cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
    tuff_device_close(device);
    return failed;
}
