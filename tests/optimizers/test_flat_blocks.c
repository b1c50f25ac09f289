/* Updates and clipping over flat blocks of odd sizes, larger than one workgroup's part, against double precision; the
 * parameters' gradients are inputs, so they are known to the bit. */
#include "support.h"
#include "tests/reference/reference.h"
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

enum { TENSORS = 4, TOTAL = 33001 + 1 + 64 + 1023, STEPS = 4 };
static const int64_t SIZES[TENSORS] = { 33001, 1, 64, 1023 };

static float number(uint32_t i) { /* in [-1, 1) */
    i = (i ^ 61) ^ (i >> 16);
    i *= 9;
    i ^= i >> 4;
    i *= 0x27d4eb2d;
    i ^= i >> 15;
    return (float)(i >> 8) * 0x1p-23f - 1;
}

typedef enum rule { SGD, ADAM, ADAMW } rule;

static void run(rule rule, float clip) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_optimizer *optimizer = NULL;
    if (rule == SGD)
        optimizer = tuff_sgd_create(model, &(tuff_sgd_desc){ .lr = 0.125f, .momentum = 0.5f, .weight_decay = 0.25f });
    else if (rule == ADAM)
        optimizer = tuff_adam_create(model, &(tuff_adam_desc){ .lr = 0.125f, .weight_decay = 0.25f });
    else
        optimizer = tuff_adamw_create(model, &(tuff_adamw_desc){ .lr = 0.125f, .weight_decay = 0.25f });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *inputs[TENSORS], *loss = NULL;
    for (int t = 0; t < TENSORS; t++) {
        char name[2] = { (char)('a' + t), 0 }, input[3] = { 'g', name[0], 0 };
        tuff_tensor *parameter = tuff_parameter(graph, name, TUFF_SHAPE(SIZES[t]), NULL);
        inputs[t] = tuff_input(graph, input, TUFF_F32, TUFF_SHAPE(SIZES[t]));
        tuff_tensor *sum = tuff_sum(tuff_mul(parameter, inputs[t]), NULL);
        loss = loss ? tuff_add(loss, sum) : sum;
    }
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .minimize = loss, .optimizer = optimizer, .clip_norm = clip },
                    &program));
    float *values = malloc(TOTAL * sizeof *values);
    double *p = malloc(TOTAL * sizeof *p), *g = malloc(TOTAL * sizeof *g), *first = calloc(TOTAL, sizeof *first),
           *second = calloc(TOTAL, sizeof *second);
    for (int i = 0; i < TOTAL; i++) p[i] = values[i] = number((uint32_t)i);
    for (int t = 0, at = 0; t < TENSORS; at += (int)SIZES[t++])
        OK(tuff_model_write(model, (char[]){ (char)('a' + t), 0 }, values + at, (size_t)SIZES[t] * sizeof *values));
    for (int step = 1; step <= STEPS; step++) {
        double norm = 0;
        for (int i = 0; i < TOTAL; i++) {
            values[i] = number((uint32_t)(step * TOTAL + i));
            norm += (double)values[i] * values[i];
        }
        double factor = clip > 0 ? ref_clip_factor(sqrt(norm), clip) : 1;
        for (int i = 0; i < TOTAL; i++) g[i] = values[i] * factor;
        for (int t = 0, at = 0; t < TENSORS; at += (int)SIZES[t++])
            OK(tuff_write(program, inputs[t], values + at, (size_t)SIZES[t] * sizeof *values));
        float lr = 0.125f / (float)step; /* another one in each step */
        OK(tuff_optimizer_set_lr(optimizer, lr));
        OK(tuff_run(program));
        if (rule == SGD)
            ref_sgd_step(&(ref_sgd){ .lr = lr, .momentum = 0.5, .weight_decay = 0.25 }, step, TOTAL, p, g, first);
        else
            ref_adam_step(&(ref_adam){ lr, 0.9f, 0.999f, 1e-8f, 0.25, rule == ADAMW }, step, TOTAL, p, g, first,
                          second);
    }
    assert_int_equal(tuff_optimizer_step_count(optimizer), STEPS);
    for (int t = 0, at = 0; t < TENSORS; at += (int)SIZES[t++])
        OK(tuff_model_read(model, (char[]){ (char)('a' + t), 0 }, values + at, (size_t)SIZES[t] * sizeof *values));
    for (int i = 0; i < TOTAL; i++)
        if (!(fabs(values[i] - p[i]) < 4e-6)) /* NaN fails, too */
            fail_msg("rule %d, clip %g: parameter %d is %.9g, should be %.9g", rule, (double)clip, i, (double)values[i],
                     p[i]);
    free(values);
    free(p);
    free(g);
    free(first);
    free(second);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static void test_rules(void **state) {
    (void)state;
    for (int rule = SGD; rule <= ADAMW; rule++) run(rule, 0);
}

static void test_clipped(void **state) {
    (void)state;
    for (int rule = SGD; rule <= ADAMW; rule++) run(rule, 3);
    run(SGD, 1e6f); /* far beyond the norm: changes nothing */
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
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_clipped),
    };
    return cmocka_run_group_tests_name("flat_blocks", tests, open_device, close_device);
}
