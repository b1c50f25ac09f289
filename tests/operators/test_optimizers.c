/* The optimizers against the reference, and that against PyTorch. */
#include "optimizers.h"
#include "support.h"
#include "tests/fixtures/fixtures.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

static void test_reference_is_pytorch(void **state) {
    (void)state;
    fixtures f = fixtures_open("optimizers.bin");
    for (int i = 0; i < 2 * OPTIMIZER_CASE_COUNT; i++) {
        const optimizer_case *c = &OPTIMIZER_CASES[i / 2];
        char key[64];
        snprintf(key, sizeof key, "%s%s", c->name, i % 2 ? " clip" : "");
        const fixture *stored = fixtures_find(&f, key);
        assert_non_null(stored);
        assert_int_equal(stored->count, OPTIMIZER_ELEMENTS);
        optimizer_track k;
        optimizer_track_start(&k);
        for (int step = 0; step < OPTIMIZER_STEPS; step++) optimizer_track_step(&k, c, step, i % 2 ? 0.5 : 0);
        for (int j = 0; j < OPTIMIZER_ELEMENTS; j++)
            if (!(fabs(k.parameter[j] - stored->values[j]) < 1e-13))
                fail_msg("%s[%d]: PyTorch has %.17g, the reference %.17g", key, j, stored->values[j], k.parameter[j]);
    }
    fixtures_close(&f);
}

static void test_optimizers(void **state) {
    for (int i = 0; i < 2 * OPTIMIZER_CASE_COUNT; i++) {
        trial t = optimizer_trial(*state, &OPTIMIZER_CASES[i / 2], i % 2 ? 0.5 : 0);
        if (!t.passed)
            fail_msg("%s, %s: %s", OPTIMIZER_CASES[i / 2].name, i % 2 ? "clipped" : "not clipped", t.message);
    }
}

/* A learning rate set between steps counts from the next run on, without another program. */
static void test_learning_rate(void **state) {
    tuff_model *model = tuff_model_create(*state, NULL);
    tuff_optimizer *sgd = tuff_sgd_create(model, &(tuff_sgd_desc){ .lr = 0.5f });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *loss = tuff_sum(tuff_parameter(graph, "w", TUFF_SHAPE(3), NULL), NULL);
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .minimize = loss, .optimizer = sgd }, &program));
    OK(tuff_run(program));
    OK(tuff_optimizer_set_lr(sgd, 0.25f));
    assert_true(tuff_optimizer_lr(sgd) == 0.25f);
    OK(tuff_run(program));
    OK(tuff_run(program));
    float w[3];
    OK(tuff_model_read(model, "w", w, sizeof w));
    for (int i = 0; i < 3; i++) assert_true(w[i] == -1.0f);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
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
        cmocka_unit_test(test_reference_is_pytorch),
        cmocka_unit_test(test_optimizers),
        cmocka_unit_test(test_learning_rate),
    };
    return cmocka_run_group_tests_name("optimizers", tests, open_device, close_device);
}
