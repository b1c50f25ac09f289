/* Chains: merging and pruning as data, then running: operands of every kind, many outputs, broadcasting, other layouts,
 * the same bits however operators were fused. */
#include "runtime/graph/chain.h"
#include "runtime/graph/fuse.h"
#include "support.h"

#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != TUFF_OK) fail_msg("%s: %s", #call, tuff_last_message());                                         \
    } while (0)

static tuff_device *device;

/* ---- merging ------------------------------------------------------------------------------------- */

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* a op b of two inputs, or of an input and a constant. */
static chain binary(uint8_t op, bool with_constant, float value) {
    chain c = { .step_count = 1, .input_count = with_constant ? 1 : 2, .output_count = 1, .outputs = { CHAIN_STEP } };
    c.steps[0] = (chain_step){ .op = op, .a = 0, .b = with_constant ? chain_constant(&c, bits_of(value)) : 1 };
    return c;
}

static void test_constants(void **state) {
    (void)state;
    chain c = { 0 };
    for (uint32_t i = 0; i < CHAIN_MAX_CONSTANTS; i++) assert_int_equal(chain_constant(&c, i), CHAIN_CONSTANT + i);
    assert_int_equal(chain_constant(&c, 3), CHAIN_CONSTANT + 3); /* there already */
    assert_int_equal(chain_constant(&c, 99), 0xff);
}

/* (x + y) * x: the shared input is one input, the producer's output is the second output. */
static void test_merge(void **state) {
    (void)state;
    tuff_tensor x = { 0 }, y = { 0 }, sum = { 0 }, *inputs[MAX_INPUTS];
    tuff_tensor *of_sum[] = { &x, &y }, *of_product[] = { &sum, &x }, *made[] = { &sum };
    chain add = binary(CHAIN_ADD, false, 0), mul = binary(CHAIN_MUL, false, 0), merged;
    uint32_t count;
    assert_true(chain_merge(&add, of_sum, made, &mul, of_product, &merged, inputs, &count));
    assert_int_equal(count, 2);
    assert_ptr_equal(inputs[0], &x);
    assert_ptr_equal(inputs[1], &y);
    assert_int_equal(merged.step_count, 2);
    assert_int_equal(chain_word(merged.steps[0]), chain_word((chain_step){ CHAIN_ADD, 0, 1, 0 }));
    assert_int_equal(chain_word(merged.steps[1]), chain_word((chain_step){ CHAIN_MUL, CHAIN_STEP, 0, 0 }));
    assert_int_equal(merged.output_count, 2);
    assert_int_equal(merged.outputs[0], CHAIN_STEP + 1);
    assert_int_equal(merged.outputs[1], CHAIN_STEP);
}

/* Equal constants and equal steps are kept once; constants keep their values. */
static void test_merge_equal(void **state) {
    (void)state;
    tuff_tensor x = { 0 }, first = { 0 }, *inputs[MAX_INPUTS];
    tuff_tensor *of_first[] = { &x }, *of_second[] = { &x, &first }, *made[] = { &first };
    chain producer = binary(CHAIN_MUL, true, 2), consumer = { .step_count = 2, .input_count = 2, .output_count = 1 };
    uint8_t three = chain_constant(&consumer, bits_of(3)), two = chain_constant(&consumer, bits_of(2));
    consumer.steps[0] = (chain_step){ CHAIN_MUL, 0, two, 0 }; /* what the producer computes, too */
    consumer.steps[1] = (chain_step){ CHAIN_FMA, 1, three, CHAIN_STEP };
    consumer.outputs[0] = CHAIN_STEP + 1;
    chain merged;
    uint32_t count;
    assert_true(chain_merge(&producer, of_first, made, &consumer, of_second, &merged, inputs, &count));
    assert_int_equal(count, 1);
    assert_int_equal(merged.step_count, 2);
    assert_int_equal(merged.constant_count, 2);
    const chain_step *last = &merged.steps[1];
    assert_int_equal(last->op, CHAIN_FMA);
    assert_int_equal(last->a, CHAIN_STEP);
    assert_int_equal(merged.constants[last->b - CHAIN_CONSTANT], bits_of(3));
    assert_int_equal(last->c, CHAIN_STEP);
}

static void test_merge_limits(void **state) {
    (void)state;
    tuff_tensor x = { 0 }, y = { 0 }, *inputs[MAX_INPUTS], *of_x[] = { &x }, *of_y[] = { &y }, *made[] = { &y };
    uint32_t count;
    chain long_chain = {
        .step_count = CHAIN_MAX_STEPS, .input_count = 1, .output_count = 1, .outputs = { CHAIN_STEP }
    };
    for (uint32_t i = 0; i < CHAIN_MAX_STEPS; i++)
        long_chain.steps[i] = (chain_step){ CHAIN_NEG, i ? (uint8_t)(CHAIN_STEP + i - 1) : 0, 0, 0 };
    chain exp_of = { .steps = { { CHAIN_EXP, 0, 0, 0 } }, .step_count = 1, .input_count = 1, .output_count = 1 },
          merged;
    exp_of.outputs[0] = CHAIN_STEP;
    assert_false(chain_merge(&long_chain, of_x, made, &exp_of, of_y, &merged, inputs, &count));

    chain many = { .input_count = MAX_INPUTS, .step_count = 1, .output_count = 1, .outputs = { CHAIN_STEP } };
    tuff_tensor all[2 * MAX_INPUTS] = { { 0 } }, *some[MAX_INPUTS], *others[MAX_INPUTS];
    for (uint32_t i = 0; i < MAX_INPUTS; i++) some[i] = &all[i], others[i] = &all[MAX_INPUTS + i];
    many.steps[0] = (chain_step){ CHAIN_ADD, 0, 1, 0 };
    tuff_tensor result = { 0 }, *results[] = { &result };
    assert_false(chain_merge(&many, some, results, &many, others, &merged, inputs, &count));
}

static void test_prune(void **state) {
    (void)state;
    chain c = { .input_count = 3, .step_count = 4, .output_count = 1 };
    uint8_t unused = chain_constant(&c, 7), used = chain_constant(&c, 8), map[MAX_INPUTS];
    c.steps[0] = (chain_step){ CHAIN_ADD, 0, unused, 0 };
    c.steps[1] = (chain_step){ CHAIN_MUL, 2, used, 0 };
    c.steps[2] = (chain_step){ CHAIN_NEG, CHAIN_STEP, 0, 0 };
    c.steps[3] = (chain_step){ CHAIN_EXP, CHAIN_STEP + 1, 0, 0 };
    c.outputs[0] = CHAIN_STEP + 3;
    chain_prune(&c, map);
    assert_int_equal(c.input_count, 1);
    assert_int_equal(map[0], 0xff);
    assert_int_equal(map[1], 0xff);
    assert_int_equal(map[2], 0);
    assert_int_equal(c.step_count, 2);
    assert_int_equal(chain_word(c.steps[0]), chain_word((chain_step){ CHAIN_MUL, 0, CHAIN_CONSTANT, 0 }));
    assert_int_equal(c.constants[0], 8);
    assert_int_equal(chain_word(c.steps[1]), chain_word((chain_step){ CHAIN_EXP, CHAIN_STEP, 0, 0 }));
    assert_int_equal(c.outputs[0], CHAIN_STEP + 1);
}

/* ---- running ------------------------------------------------------------------------------------- */

enum { MOST = 4 };

typedef struct built {
    tuff_model *model;
    tuff_graph *graph;
    tuff_tensor *inputs[MOST], *outputs[MOST];
    uint32_t input_count, output_count;
} built;

static built build(void) {
    built b = { .model = tuff_model_create(device, &(tuff_model_desc){ .seed = 3 }) };
    b.graph = tuff_graph_create(b.model);
    return b;
}

static tuff_tensor *input(built *b, tuff_shape shape) {
    static const char *const names[] = { "a", "b", "c", "d" };
    tuff_tensor *made = tuff_input(b->graph, names[b->input_count], TUFF_F32, shape);
    return b->inputs[b->input_count++] = made;
}

static float *numbers(int64_t count, uint32_t seed) {
    float *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)seed / 1e9f;
    }
    return x;
}

/* Runs and returns the outputs; frees the rest. */
static void run(built *b, float *outputs[MOST]) {
    tuff_program *program;
    OK(tuff_compile(b->graph, &(tuff_program_desc){ .outputs = b->outputs, .output_count = b->output_count },
                    &program));
    for (uint32_t i = 0; i < b->input_count; i++) {
        tuff_shape shape = tuff_tensor_shape(b->inputs[i]);
        float *x = numbers(tuff_shape_count(&shape), i + 1);
        OK(tuff_write(program, b->inputs[i], x, (size_t)tuff_shape_count(&shape) * sizeof *x));
        free(x);
    }
    OK(tuff_run(program));
    for (uint32_t i = 0; i < b->output_count; i++) {
        tuff_shape shape = tuff_tensor_shape(b->outputs[i]);
        size_t size = (size_t)tuff_shape_count(&shape) * sizeof(float);
        outputs[i] = malloc(size);
        OK(tuff_read(program, b->outputs[i], outputs[i], size));
    }
    tuff_program_destroy(program);
    tuff_graph_destroy(b->graph);
    tuff_model_destroy(b->model);
}

/* a + b * c over [5, 6, 7, 8]: b broadcast along some axes, c transposed. */
static void test_strides(void **state) {
    (void)state;
    enum { N = 5, H = 6, W = 7, C = 8, COUNT = N * H * W * C };
    for (uint32_t mask = 0; mask < 16; mask++) {
        built b = build();
        const int64_t sizes[4] = { N, H, W, C };
        tuff_shape small = { .rank = 4 };
        for (uint32_t i = 0; i < 4; i++) small.sizes[i] = mask >> i & 1 ? 1 : sizes[i];
        tuff_tensor *a = input(&b, TUFF_SHAPE(N, H, W, C)), *y = input(&b, small),
                    *z = input(&b, TUFF_SHAPE(N, C, W, H));
        b.outputs[b.output_count++] = tuff_add(a, tuff_mul(y, tuff_transpose(z, 1, 3)));
        float *got[MOST];
        run(&b, got);
        float *x0 = numbers(COUNT, 1), *x1 = numbers(tuff_shape_count(&small), 2), *x2 = numbers(COUNT, 3);
        for (int i = 0; i < COUNT; i++) {
            const int64_t at[4] = { i / (H * W * C), i / (W * C) % H, i / C % W, i % C };
            int64_t at_1 = 0, at_2 = ((at[0] * C + at[3]) * W + at[2]) * H + at[1];
            for (uint32_t k = 0; k < 4; k++) at_1 = at_1 * small.sizes[k] + (mask >> k & 1 ? 0 : at[k]);
            float product = x1[at_1] * x2[at_2], want = x0[i] + product;
            if (got[0][i] != want) fail_msg("mask %u: element %d is %.9g, should be %.9g", mask, i, got[0][i], want);
        }
        free(x0), free(x1), free(x2), free(got[0]);
    }
}

/* Sizes around those of workgroups and of four elements. */
static void test_counts(void **state) {
    (void)state;
    static const int counts[] = { 1, 2, 3, 4, 5, 127, 128, 129, 511, 512, 513, 2047, 2048, 2049, 8192, 65537, 262147 };
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        built b = build();
        b.outputs[b.output_count++] = tuff_scale(input(&b, TUFF_SHAPE(counts[k])), 2, 0.5f);
        float *got[MOST], *x = numbers(counts[k], 1);
        run(&b, got);
        for (int i = 0; i < counts[k]; i++) {
            float product = x[i] * 2, want = product + 0.5f;
            if (got[0][i] != want) fail_msg("element %d of %d is %g, should be %g", i, counts[k], got[0][i], want);
        }
        free(x), free(got[0]);
    }
}

/* Four outputs of one chain, and the same bits when nothing is fused. */
static void test_outputs(void **state) {
    (void)state;
    enum { COUNT = 1001 };
    float *results[2][MOST];
    for (int fused = 0; fused < 2; fused++) {
        tuff_device *usual = device;
        if (!fused) device = test_device_open(&(tuff_device_desc){ .force = "fuse=none" });
        built b = build();
        tuff_tensor *x = input(&b, TUFF_SHAPE(COUNT)), *y = input(&b, TUFF_SHAPE(COUNT));
        b.outputs[0] = tuff_tanh(tuff_add(x, y));
        b.outputs[1] = tuff_gelu(tuff_mul(b.outputs[0], x), NULL);
        b.outputs[2] = tuff_div(b.outputs[1], tuff_exp(y));
        b.outputs[3] = tuff_sub(tuff_square(b.outputs[2]), b.outputs[0]);
        b.output_count = 4;
        run(&b, results[fused]);
        if (!fused) tuff_device_close(device);
        device = usual;
    }
    for (int i = 0; i < MOST; i++) {
        assert_memory_equal(results[0][i], results[1][i], COUNT * sizeof(float));
        free(results[0][i]), free(results[1][i]);
    }
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
        cmocka_unit_test(test_constants),    cmocka_unit_test(test_merge),   cmocka_unit_test(test_merge_equal),
        cmocka_unit_test(test_merge_limits), cmocka_unit_test(test_prune),   cmocka_unit_test(test_strides),
        cmocka_unit_test(test_counts),       cmocka_unit_test(test_outputs),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
