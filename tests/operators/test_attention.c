/* What attention does beside its formula: dropout's mask, rows that see no key, memory that grows with the length. */
#include "support.h"
#include "tests/reference/philox.h"
#include "trial.h"
#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;
static recipe the_recipe;

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

/* ---- dropout: the mask of an element is ref_dropout_keeps', forward and backward ---- */

static void check_dropout(const char *operands, const char *attributes, int64_t weights) {
    const char *message;
    assert_true(recipe_case(&the_recipe, "scaled_dot_product_attention", operands, attributes, &message));
    recipe_step *step = &the_recipe.steps[the_recipe.output];
    uint8_t *keep = malloc((size_t)weights);
    int kept = 0;
    for (int64_t i = 0; i < weights; i++)
        kept += keep[i] = ref_dropout_keeps(1, step->name, 0, i, (float)arg_number(&step->args, "dropout_p", 0));
    assert_true(kept >= 1 && kept <= weights - 1);
    if (arg_flag(&step->args, "training", false)) step->args.keep = keep;
    recipe_forward(&the_recipe, 0, 0);
    trial t = trial_run(device, &the_recipe);
    if (!t.passed) fail_msg("%s; %s: %s", operands, attributes, t.message);
    recipe_clear(&the_recipe);
    free(keep);
}

static void test_dropout(void **state) {
    (void)state;
    check_dropout("2x3x5x7 2x3x4x7 2x3x4x6", "dropout_p=0.5 training=true", 2 * 3 * 5 * 4);
    check_dropout("2x6x5x4 2x2x7x4 2x2x7x3", "dropout_p=0.25 enable_gqa=true is_causal=true training=true",
                  2 * 6 * 5 * 7);
    check_dropout("2x2x70x4 2x2x37x4 2x2x37x4 2x1x1x37", "dropout_p=0.1 training=true", 2 * 2 * 70 * 37);
    check_dropout("2x3x5x7 2x3x4x7 2x3x4x6", "dropout_p=0.5", 2 * 3 * 5 * 4); /* in evaluation it passes through */
}

/* ---- rows and keys that are masked out ---- */

enum { MASKED_ROWS = 70, MASKED_KEYS = 37, MASKED_SIZE = 5 };

typedef struct masked {
    float output[MASKED_ROWS * MASKED_SIZE], gradients[3][MASKED_ROWS * MASKED_SIZE];
} masked;

/* Row 3 sees no key, row 66 neither; nobody sees key 5. */
static void run_masked(float lowest, masked *m) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *inputs[] = { tuff_input(graph, "query", TUFF_F32, TUFF_SHAPE(MASKED_ROWS, MASKED_SIZE)),
                              tuff_input(graph, "key", TUFF_F32, TUFF_SHAPE(MASKED_KEYS, MASKED_SIZE)),
                              tuff_input(graph, "value", TUFF_F32, TUFF_SHAPE(MASKED_KEYS, MASKED_SIZE)) };
    tuff_tensor *mask = tuff_input(graph, "mask", TUFF_F32, TUFF_SHAPE(MASKED_ROWS, MASKED_KEYS)), *outputs[4];
    outputs[0] =
        tuff_scaled_dot_product_attention(inputs[0], inputs[1], inputs[2], &(tuff_attention_desc){ .mask = mask });
    OK(tuff_gradients(tuff_sum(tuff_square(outputs[0]), NULL), inputs, 3, outputs + 1));
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 4 }, &program));
    static float masks[MASKED_ROWS * MASKED_KEYS], values[MASKED_ROWS * MASKED_SIZE];
    for (int i = 0; i < MASKED_ROWS * MASKED_KEYS; i++)
        masks[i] = i / MASKED_KEYS % 63 == 3 || i % MASKED_KEYS == 5 ? lowest : 0;
    for (int i = 0; i < MASKED_ROWS * MASKED_SIZE; i++) values[i] = (float)(i % 11) / 8;
    OK(tuff_write(program, mask, masks, sizeof masks));
    OK(tuff_write(program, inputs[0], values, MASKED_ROWS * MASKED_SIZE * sizeof *values));
    for (int i = 1; i < 3; i++) OK(tuff_write(program, inputs[i], values, MASKED_KEYS * MASKED_SIZE * sizeof *values));
    OK(tuff_run(program));
    OK(tuff_read(program, outputs[0], m->output, sizeof m->output));
    OK(tuff_read(program, outputs[1], m->gradients[0], sizeof m->output));
    for (int i = 1; i < 3; i++)
        OK(tuff_read(program, outputs[1 + i], m->gradients[i], MASKED_KEYS * MASKED_SIZE * sizeof(float)));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static void test_masked(void **state) {
    (void)state;
    static const float lows[] = { -INFINITY, -3.40282347e38f };
    for (int l = 0; l < 2; l++) {
        static masked m;
        run_masked(lows[l], &m);
        for (int i = 0; i < MASKED_ROWS * MASKED_SIZE; i++) {
            bool sees = i / MASKED_SIZE % 63 != 3;
            if (sees ? !(m.output[i] > 0 && m.output[i] < 1.5f) : m.output[i] != 0 || m.gradients[0][i] != 0)
                fail_msg("output[%d] is %g, its gradient %g", i, m.output[i], m.gradients[0][i]);
            if (!isfinite(m.gradients[0][i])) fail_msg("gradient[%d] is %g", i, m.gradients[0][i]);
        }
        for (int i = 0; i < MASKED_KEYS * MASKED_SIZE; i++) {
            float k = m.gradients[1][i], v = m.gradients[2][i];
            bool seen = i / MASKED_SIZE != 5;
            if (!isfinite(k) || (seen ? !(v > 0) : v != 0 || k != 0))
                fail_msg("the gradients of key and value [%d] are %g and %g", i, k, v);
        }
    }
}

/* By tiles, one invocation walks over all keys: more turns than lavapipe makes, which has tiles only where they are
 * forced. Then the program must be refused. */
static bool is_too_long(tuff_graph *graph, const tuff_program_desc *desc, tuff_program **program) {
    const char *forced = getenv("TUFF_FORCE");
    tuff_result result = tuff_compile(graph, desc, program);
    if (result == TUFF_ERROR_UNSUPPORTED && forced && strstr(forced, "attention=tile")
        && strstr(tuff_last_message(), "turns"))
        return true;
    OK(result);
    return false;
}

/* ---- memory ---- */

static uint64_t arena_of(int64_t length) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_shape shape = TUFF_SHAPE(1, 4, length, 32);
    tuff_tensor *inputs[] = { tuff_input(graph, "query", TUFF_F32, shape), tuff_input(graph, "key", TUFF_F32, shape),
                              tuff_input(graph, "value", TUFF_F32, shape) };
    tuff_tensor *y = tuff_scaled_dot_product_attention(inputs[0], inputs[1], inputs[2],
                                                       &(tuff_attention_desc){ .causal = true, .dropout = 0.1f }),
                *outputs[3];
    OK(tuff_gradients(tuff_mean(tuff_square(y), NULL), inputs, 3, outputs));
    tuff_program *program = NULL;
    const tuff_program_desc desc = { .outputs = outputs, .output_count = 3 };
    tuff_program_info info = { .arena_bytes = 0 };
    if (!is_too_long(graph, &desc, &program)) tuff_program_get_info(program, &info);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return info.arena_bytes;
}

/* Of 4,096 tokens and 4 heads of 32: the output, its gradient and, where nothing is fused, its square (2 MiB each), the
 * logarithms of the sums and the rows' statistics (64 KiB and 128 KiB). The weights alone would be 256 MiB. */
static void test_memory(void **state) {
    (void)state;
    uint64_t some = arena_of(2048), twice = arena_of(4096);
    if (twice > 6u * 1024 * 1024 + 256 * 1024) fail_msg("4096 tokens take %llu bytes", (unsigned long long)twice);
    if (twice > 2 * some + 4096)
        fail_msg("2048 tokens take %llu bytes, 4096 %llu", (unsigned long long)some, (unsigned long long)twice);
}

/* ---- long rows: 4,096 keys, some rows against a sum in double ---- */

enum { LENGTH = 4096, SIZE = 64 }; /* more turns of loops than lavapipe makes in one invocation */

static void check_long(tuff_program *program, tuff_tensor *x, tuff_tensor *q, tuff_tensor *y) {
    static float values[LENGTH * SIZE], queries[3 * SIZE], got[3 * SIZE];
    for (int i = 0; i < LENGTH * SIZE; i++) values[i] = 1 + sinf((float)i * 0.37f) / 4;
    for (int i = 0; i < 3 * SIZE; i++) queries[i] = (float)(i * 7 % 11 - 5) / 16;
    OK(tuff_write(program, x, values, sizeof values));
    OK(tuff_write(program, q, queries, sizeof queries));
    OK(tuff_run(program));
    OK(tuff_read(program, y, got, sizeof got));
    for (int r = 0; r < 3; r++) {
        double sums[SIZE] = { 0 }, whole = 0;
        for (int j = 0; j < LENGTH; j++) {
            double s = 0;
            for (int e = 0; e < SIZE; e++) s += (double)queries[r * SIZE + e] * values[j * SIZE + e];
            double w = exp(s);
            whole += w;
            for (int e = 0; e < SIZE; e++) sums[e] += w * values[j * SIZE + e];
        }
        for (int e = 0; e < SIZE; e++) /* blocks of keys are added one after the other: 512 roundings */
            if (!(fabs(got[r * SIZE + e] - sums[e] / whole) < 40 * 1.2e-7))
                fail_msg("y[%d, %d] is %.9g, should be %.9g", r, e, got[r * SIZE + e], sums[e] / whole);
    }
}

static void test_long(void **state) {
    (void)state;
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(LENGTH, SIZE));
    tuff_tensor *q = tuff_input(graph, "q", TUFF_F32, TUFF_SHAPE(3, SIZE));
    tuff_tensor *y = tuff_scaled_dot_product_attention(q, x, x, &(tuff_attention_desc){ .scale = 1 });
    tuff_program *program = NULL;
    const tuff_program_desc desc = { .outputs = &y, .output_count = 1, .evaluate = true };
    if (!is_too_long(graph, &desc, &program)) check_long(program, x, q, y);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* ---- the layer, against its formula in double ---- */

enum { BATCH = 2, QUERIES = 5, KEYS = 7, FEATURES = 8, HEADS = 4 };

/* y[row] = x[row] weight^T + bias */
static void apply_linear(const double *x, int64_t rows, int64_t in, const float *weight, const float *bias, int64_t out,
                         double *y) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            y[r * out + o] = bias[o];
            for (int64_t i = 0; i < in; i++) y[r * out + o] += x[r * in + i] * weight[o * in + i];
        }
}

static float *read_state(tuff_model *model, const char *name, size_t count) {
    float *values = calloc(count, sizeof *values);
    OK(tuff_model_read(model, name, values, count * sizeof *values));
    return values;
}

static tuff_tensor *layer_input(tuff_graph *graph, const char *name, int64_t rows, int64_t features) {
    return tuff_input(graph, name, TUFF_F32, TUFF_SHAPE(BATCH, rows, features));
}

static void layer_write(tuff_program *program, tuff_tensor *input, double *values, int64_t count, double phase) {
    float *floats = calloc((size_t)count, sizeof *floats);
    for (int64_t i = 0; i < count; i++) values[i] = floats[i] = (float)sin(phase + (double)i * 0.7);
    OK(tuff_write(program, input, floats, (size_t)count * sizeof *floats));
    free(floats);
}

/* Whether masks of truth values hide key j from query i of sequence n. */
static bool is_masked(int64_t i, int64_t j) {
    return (i + 2 * j) % 5 == 1;
}
static bool is_padding(int64_t n, int64_t j) {
    return n == 1 && j >= 2;
}

static void write_masks(tuff_program *program, tuff_tensor *mask, tuff_tensor *padding, int64_t keys) {
    uint8_t masked[QUERIES * KEYS], padded[BATCH * KEYS];
    for (int64_t i = 0; i < QUERIES * keys; i++) masked[i] = is_masked(i / keys, i % keys) ? 255 : 0;
    for (int64_t i = 0; i < BATCH * keys; i++) padded[i] = is_padding(i / keys, i % keys);
    OK(tuff_write(program, mask, masked, (size_t)(QUERIES * keys)));
    OK(tuff_write(program, padding, padded, (size_t)(BATCH * keys)));
}

/* key_features: of key and value; 0: self-attention. */
static void check_layer(int64_t key_heads, int64_t key_features, bool causal, bool masks) {
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 5 });
    tuff_graph *graph = tuff_graph_create(model);
    int64_t keys = key_features ? KEYS : QUERIES, from = key_features ? key_features : FEATURES;
    int64_t head = FEATURES / HEADS, width = head * key_heads;
    tuff_tensor *query = layer_input(graph, "query", QUERIES, FEATURES);
    tuff_tensor *memory = key_features ? layer_input(graph, "memory", KEYS, key_features) : NULL;
    tuff_tensor *mask = masks ? tuff_input(graph, "mask", TUFF_U8, TUFF_SHAPE(QUERIES, keys)) : NULL;
    tuff_tensor *padding = masks ? tuff_input(graph, "padding", TUFF_U8, TUFF_SHAPE(BATCH, keys)) : NULL;
    tuff_tensor *y = tuff_multihead_attention(query, memory, NULL,
                                              &(tuff_multihead_attention_desc){ .name = "mha",
                                                                                .heads = HEADS,
                                                                                .key_value_heads = key_heads,
                                                                                .mask = mask,
                                                                                .key_padding_mask = padding,
                                                                                .causal = causal });
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program));
    double x[BATCH * KEYS * 16], m[BATCH * KEYS * 16], q[BATCH * KEYS * 16], k[BATCH * KEYS * 16], v[BATCH * KEYS * 16];
    double mixed[BATCH * QUERIES * FEATURES], want[BATCH * QUERIES * FEATURES];
    float bias[3 * FEATURES], got[BATCH * QUERIES * FEATURES];
    for (int i = 0; i < 3 * FEATURES; i++) bias[i] = (float)(i % 5) / 4 - 0.5f;
    OK(tuff_model_write(model, "mha.in_proj_bias", bias, (size_t)(FEATURES + 2 * width) * sizeof *bias));
    layer_write(program, query, x, BATCH * QUERIES * FEATURES, 0);
    if (memory)
        layer_write(program, memory, m, BATCH * KEYS * key_features, 1);
    else
        memcpy(m, x, sizeof m);
    if (masks) write_masks(program, mask, padding, keys);
    OK(tuff_run(program));
    OK(tuff_read(program, y, got, sizeof got));

    float *weights[3], *packed = NULL;
    if (from == FEATURES) {
        packed = read_state(model, "mha.in_proj_weight", (size_t)((FEATURES + 2 * width) * FEATURES));
        weights[0] = packed;
        weights[1] = packed + FEATURES * FEATURES;
        weights[2] = weights[1] + width * FEATURES;
    } else {
        weights[0] = read_state(model, "mha.q_proj_weight", FEATURES * FEATURES);
        weights[1] = read_state(model, "mha.k_proj_weight", (size_t)(width * from));
        weights[2] = read_state(model, "mha.v_proj_weight", (size_t)(width * from));
    }
    apply_linear(x, BATCH * QUERIES, FEATURES, weights[0], bias, FEATURES, q);
    apply_linear(m, BATCH * keys, from, weights[1], bias + FEATURES, width, k);
    apply_linear(m, BATCH * keys, from, weights[2], bias + FEATURES + width, width, v);
    for (int64_t r = 0; r < BATCH * QUERIES * HEADS; r++) {
        int64_t n = r / (QUERIES * HEADS), i = r / HEADS % QUERIES, h = r % HEADS, kh = h / (HEADS / key_heads);
        double scores[KEYS], whole = 0;
        for (int64_t j = 0; j < keys; j++) {
            double s = 0;
            for (int64_t e = 0; e < head; e++)
                s += q[(n * QUERIES + i) * FEATURES + h * head + e] * k[(n * keys + j) * width + kh * head + e];
            bool hidden = (causal && j > i) || (masks && (is_masked(i, j) || is_padding(n, j)));
            scores[j] = hidden ? 0 : exp(s / sqrt((double)head));
            whole += scores[j];
        }
        for (int64_t e = 0; e < head; e++) {
            double *sum = &mixed[(n * QUERIES + i) * FEATURES + h * head + e];
            *sum = 0;
            for (int64_t j = 0; j < keys && whole > 0; j++)
                *sum += scores[j] / whole * v[(n * keys + j) * width + kh * head + e];
        }
    }
    float *weight = read_state(model, "mha.out_proj.weight", FEATURES * FEATURES);
    float *out_bias = read_state(model, "mha.out_proj.bias", FEATURES);
    apply_linear(mixed, BATCH * QUERIES, FEATURES, weight, out_bias, FEATURES, want);
    for (int i = 0; i < BATCH * QUERIES * FEATURES; i++) {
        if (!(fabs(got[i] - want[i]) < 2e-6)) fail_msg("y[%d] is %.9g, should be %.9g", i, got[i], want[i]);
    }
    for (int i = 0; !packed && i < 3; i++) free(weights[i]);
    free(packed), free(weight), free(out_bias);
    tuff_program_destroy(program);

    /* the same graph for another batch */
    tuff_input_size sizes[3] = { { .input = query, .shape = TUFF_SHAPE(1, QUERIES, FEATURES) } };
    uint32_t size_count = 1;
    if (memory) sizes[size_count++] = (tuff_input_size){ .input = memory, .shape = TUFF_SHAPE(1, KEYS, key_features) };
    if (masks) sizes[size_count++] = (tuff_input_size){ .input = padding, .shape = TUFF_SHAPE(1, keys) };
    OK(tuff_compile(
        graph,
        &(tuff_program_desc){
            .outputs = &y, .output_count = 1, .evaluate = true, .input_sizes = sizes, .input_size_count = size_count },
        &program));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static void test_layer(void **state) {
    (void)state;
    check_layer(HEADS, 0, true, false);
    check_layer(2, 0, false, false);
    check_layer(HEADS, FEATURES, false, false);
    check_layer(1, 6, false, false);
    check_layer(2, 0, true, true);
    check_layer(HEADS, 6, false, true);
}

/* ---- generation: a prompt, then token by token over a cache, against one causal pass ---- */

enum { TOKENS = 75, PROMPT = 4, ROOM = 80, WIDTH = 12 };

static tuff_program *compile_layer(tuff_graph *graph, int64_t length, int64_t cache, uint32_t replay_seed,
                                   tuff_tensor **x, tuff_tensor **y) {
    *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(2, length, WIDTH));
    *y = tuff_multihead_attention(*x, NULL, NULL,
                                  &(tuff_multihead_attention_desc){ .name = "mha",
                                                                    .heads = 3,
                                                                    .key_value_heads = 1,
                                                                    .causal = true,
                                                                    .rotary = &(tuff_rotary_desc){ .offset = 1 },
                                                                    .cache_length = cache });
    tuff_program *program = NULL;
    OK(tuff_compile(
        graph, &(tuff_program_desc){ .outputs = y, .output_count = 1, .evaluate = true, .replay_seed = replay_seed },
        &program));
    return program;
}

/* Rows `from` to `to` of both sequences through a program. */
static void run_tokens(tuff_program *program, tuff_tensor *x, tuff_tensor *y, int from, int to,
                       float (*tokens)[TOKENS][WIDTH], float (*results)[TOKENS][WIDTH]) {
    static float in[2 * TOKENS * WIDTH], out[2 * TOKENS * WIDTH];
    size_t rows = (size_t)(to - from), part = rows * WIDTH;
    for (int n = 0; n < 2; n++) memcpy(in + (size_t)n * part, tokens[n][from], part * sizeof *in);
    OK(tuff_write(program, x, in, 2 * part * sizeof *in));
    OK(tuff_run(program));
    OK(tuff_read(program, y, out, 2 * part * sizeof *out));
    for (int n = 0; n < 2; n++) memcpy(results[n][from], out + (size_t)n * part, part * sizeof *out);
}

static void check_cache(uint32_t replay_seed) {
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 3 });
    tuff_graph *graphs[] = { tuff_graph_create(model), tuff_graph_create(model), tuff_graph_create(model) };
    const int64_t lengths[] = { TOKENS, PROMPT, 1 };
    tuff_tensor *x[3], *y[3];
    tuff_program *programs[3];
    for (int i = 0; i < 3; i++)
        programs[i] = compile_layer(graphs[i], lengths[i], i ? ROOM : 0, replay_seed, &x[i], &y[i]);
    static float tokens[2][TOKENS][WIDTH], whole[2][TOKENS][WIDTH], steps[2][TOKENS][WIDTH];
    for (int i = 0; i < 2 * TOKENS * WIDTH; i++) (&tokens[0][0][0])[i] = sinf((float)i * 1.3f);
    /* what is past the length is nobody's: it may hold anything */
    float *nothing = malloc(2 * ROOM * 4 * sizeof *nothing);
    for (int i = 0; i < 2 * ROOM * 4; i++) nothing[i] = NAN;
    OK(tuff_model_write(model, "mha.value_cache", nothing, 2 * ROOM * 4 * sizeof *nothing));
    OK(tuff_model_write(model, "mha.key_cache", nothing, 2 * ROOM * 4 * sizeof *nothing));
    free(nothing);

    run_tokens(programs[0], x[0], y[0], 0, TOKENS, tokens, whole);
    run_tokens(programs[1], x[1], y[1], 0, PROMPT, tokens, steps);
    for (int i = PROMPT; i < TOKENS; i++) {
        OK(tuff_program_set_cache_length(programs[2], (uint64_t)i));
        run_tokens(programs[2], x[2], y[2], i, i + 1, tokens, steps);
    }
    for (int i = 0; i < 2 * TOKENS * WIDTH; i++) {
        float a = (&whole[0][0][0])[i], b = (&steps[0][0][0])[i];
        if (!(fabsf(a - b) < 1e-6f)) fail_msg("y[%d] is %.9g in one pass, %.9g token by token", i, a, b);
    }
    OK(tuff_program_set_cache_length(programs[1], ROOM - PROMPT));
    assert_int_equal(tuff_program_set_cache_length(programs[1], ROOM - PROMPT + 1), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_program_set_cache_length(programs[0], 1), TUFF_ERROR_ARGUMENT);
    for (int i = 0; i < 3; i++) {
        tuff_program_destroy(programs[i]);
        tuff_graph_destroy(graphs[i]);
    }
    tuff_model_destroy(model);
}

static void test_cache(void **state) {
    (void)state;
    check_cache(0);
    check_cache(77); /* dispatches in another order, dead bytes filled with NaN */
}

/* Generation alone: that it cannot be trained through is said of it, not of what it is made of. */
static void check_no_gradient(bool layer) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(2, 3, 4));
    tuff_tensor *y;
    if (layer) {
        y = tuff_multihead_attention(
            x, NULL, NULL,
            &(tuff_multihead_attention_desc){ .name = "mha", .heads = 2, .causal = true, .cache_length = 8 });
    } else {
        tuff_tensor *q = tuff_linear(x, &(tuff_linear_desc){ .name = "q", .features = 4 });
        y = tuff_cached_attention(q, x, x, &(tuff_cached_attention_desc){ .name = "c", .max_length = 8 });
    }
    tuff_tensor *loss = tuff_mean(tuff_mul(y, y), NULL);
    tuff_program *program = NULL;
    const tuff_program_desc desc = { .minimize = loss, .optimizer = tuff_sgd_create(model, NULL) };
    assert_int_equal(tuff_compile(graph, &desc, &program), TUFF_ERROR_UNSUPPORTED);
    assert_null(program);
    const char *message = tuff_last_message();
    if (!strstr(message, layer ? "cached_attention 'mha" : "cached_attention 'c'") || !strstr(message, "no gradient")
        || strstr(message, "second derivative"))
        fail_msg("%s", message);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static void test_cache_without_gradient(void **state) {
    (void)state;
    check_no_gradient(false);
    check_no_gradient(true);
}

static int open_device(void **state) {
    (void)state;
    device = test_device_open(NULL);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    recipe_clear(&the_recipe);
    tuff_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_masked),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_layer),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_cache_without_gradient),
    };
    return cmocka_run_group_tests_name("attention", tests, open_device, close_device);
}
