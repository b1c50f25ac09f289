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
    assert_in_range(kept, 1, weights - 1);
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
    outputs[0] = tuff_scaled_dot_product_attention(inputs[0], inputs[1], inputs[2],
                                                   &(tuff_attention_desc){ .mask = mask });
    OK(tuff_gradients(tuff_sum(tuff_square(outputs[0]), NULL), inputs, 3, outputs + 1));
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 4 }, &program));
    static float masks[MASKED_ROWS * MASKED_KEYS], values[MASKED_ROWS * MASKED_SIZE];
    for (int i = 0; i < MASKED_ROWS * MASKED_KEYS; i++)
        masks[i] = i / MASKED_KEYS % 63 == 3 || i % MASKED_KEYS == 5 ? lowest : 0;
    for (int i = 0; i < MASKED_ROWS * MASKED_SIZE; i++) values[i] = (float)(i % 11) / 8;
    OK(tuff_write(program, mask, masks, sizeof masks));
    OK(tuff_write(program, inputs[0], values, MASKED_ROWS * MASKED_SIZE * sizeof *values));
    for (int i = 1; i < 3; i++)
        OK(tuff_write(program, inputs[i], values, MASKED_KEYS * MASKED_SIZE * sizeof *values));
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

/* ---- memory ---- */

static uint64_t arena_of(int64_t length) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_shape shape = TUFF_SHAPE(1, 4, length, 32);
    tuff_tensor *inputs[] = { tuff_input(graph, "query", TUFF_F32, shape), tuff_input(graph, "key", TUFF_F32, shape),
                              tuff_input(graph, "value", TUFF_F32, shape) };
    tuff_tensor *y = tuff_scaled_dot_product_attention(
        inputs[0], inputs[1], inputs[2], &(tuff_attention_desc){ .causal = true, .dropout = 0.1f }), *outputs[3];
    OK(tuff_gradients(tuff_mean(tuff_square(y), NULL), inputs, 3, outputs));
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 3 }, &program));
    tuff_program_info info;
    tuff_program_get_info(program, &info);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return info.arena_bytes;
}

/* Of 4,096 tokens and 4 heads of 32: the output, its gradient (2 MiB each), the logarithms of the sums and the rows'
 * statistics (64 KiB and 128 KiB). The weights alone would be 256 MiB. */
static void test_memory(void **state) {
    (void)state;
    uint64_t some = arena_of(2048), twice = arena_of(4096);
    if (twice > 4u * 1024 * 1024 + 256 * 1024) fail_msg("4096 tokens take %llu bytes", (unsigned long long)twice);
    if (twice > 2 * some + 4096)
        fail_msg("2048 tokens take %llu bytes, 4096 %llu", (unsigned long long)some, (unsigned long long)twice);
}

/* ---- long rows: 4,096 keys, some rows against a sum in double ---- */

static void test_long(void **state) {
    (void)state;
    enum { LENGTH = 4096, SIZE = 4 };
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(LENGTH, SIZE));
    tuff_tensor *q = tuff_input(graph, "q", TUFF_F32, TUFF_SHAPE(3, SIZE));
    tuff_tensor *y = tuff_scaled_dot_product_attention(q, x, x, &(tuff_attention_desc){ .scale = 1 });
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program));
    static float values[LENGTH * SIZE], queries[3 * SIZE], got[3 * SIZE];
    for (int i = 0; i < LENGTH * SIZE; i++) values[i] = 1 + sinf((float)i * 0.37f) / 4;
    for (int i = 0; i < 3 * SIZE; i++) queries[i] = (float)(i - 5) * 2;
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
        for (int e = 0; e < SIZE; e++)
            if (!(fabs(got[r * SIZE + e] - sums[e] / whole) < 8 * 1.2e-7))
                fail_msg("y[%d, %d] is %.9g, should be %.9g", r, e, got[r * SIZE + e], sums[e] / whole);
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
    };
    return cmocka_run_group_tests_name("attention", tests, open_device, close_device);
}
