/* Every operator of some families (FAMILIES, each build of this file has its own), forward and backward, against the
 * reference: the lines of cases.def. */
#include "support.h"
#include "tests/reference/cases.h"
#include "trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;
static recipe the_recipe;

static void test_case(void **state) {
    const operator_case *c = *state;
    const char *message;
    assert_true(recipe_case(&the_recipe, c->op, c->shapes, c->attributes, &message));
    trial t = trial_run(device, &the_recipe);
    if (!t.passed) fail_msg("%s(%s; %s): %s", c->op, c->shapes, c->attributes, t.message);
    if (getenv("TUFF_TEST_VERBOSE"))
        print_message("%s; %u operators, %u dispatches, %u pipelines\n", t.message, t.info.operators, t.info.dispatches,
                      t.info.pipelines);
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

/* TUFF_TEST_FILTER=conv2d runs the cases of one operator. */
int main(void) {
    const char *filter = test_filter(operator_has_cases);
    struct CMUnitTest *tests = calloc((size_t)OPERATOR_CASE_COUNT, sizeof *tests);
    char(*names)[160] = calloc((size_t)OPERATOR_CASE_COUNT, sizeof *names);
    size_t count = 0;
    for (int i = 0; i < OPERATOR_CASE_COUNT; i++) {
        operator_case c = OPERATOR_CASES[i];
        const recipe_operator *row = recipe_find(c.op);
        if ((filter && strcmp(filter, c.op)) || (row ? !strstr(FAMILIES, row->family) : !strstr(FAMILIES, "pointwise")))
            continue; /* one that nobody knows fails somewhere */
        snprintf(names[count], sizeof *names, "%s(%s; %s)", c.op, c.shapes, c.attributes);
        tests[count] = (struct CMUnitTest){ .name = names[count],
                                            .test_func = test_case,
                                            .initial_state = (void *)(uintptr_t)&OPERATOR_CASES[i] };
        count++;
    }
    int failed = _cmocka_run_group_tests("operators: " FAMILIES, tests, count, open_device, close_device);
    free(tests);
    free(names);
    return failed;
}
