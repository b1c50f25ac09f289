/* Operators, attributes and shapes drawn from the table, forward and backward, against the reference.
 *
 * TUFF_TEST_SEED: the first seed (default: another each day; it is printed). TUFF_TEST_COUNT: how many are drawn.
 * TUFF_TEST_FILTER: all of one operator. A failure prints its line as tests/operators/cases has it. */
#include "random_case.h"
#include "runtime/graph/operator.h"
#include "support.h"
#include "tests/operators/trial.h"
#include "tests/reference/cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static tuff_device *device;
static recipe the_recipe;

/* Whether the exact result cannot be told: no number, too large for float32, or a kink within the step of the
 * reference's differences (1e-5 of a value). */
static bool is_delicate(const recipe *r) {
    double largest = 0, operand = 1;
    for (int i = 0; i < r->count; i++)
        for (int64_t j = 0; j < r->steps[i].value->count; j++) {
            largest = fmax(largest, fabs(r->steps[i].value->v[j]));
            if (!r->steps[i].op) operand = fmax(operand, fabs(r->steps[i].value->v[j]));
        }
    return !(largest < 1e6) || recipe_kink(r) < 2e-5 * operand;
}

static void test_draws(void **state) {
    (void)state;
    uint32_t seed = (uint32_t)test_number("TUFF_TEST_SEED", (uint64_t)(time(NULL) / 86400), UINT32_MAX);
    uint32_t count = (uint32_t)test_number("TUFF_TEST_COUNT", 64, 1000000);
    const char *filter = test_filter(operator_has_cases);
    uint32_t rows, ran = 0;
    const operator* const * table = operator_table(&rows);
    tuff_model *model = tuff_model_create(device, NULL);
    print_message("seed %u, %u draws\n", seed, count);
    for (uint32_t i = 0; ran < count && i < 20 * count; i++) {
        const operator* row = filter ? operator_find(filter) : table[recipe_hash(seed, i) % rows];
        random_case c;
        const char *message;
        if (!row || row->flags & OPERATOR_INTERNAL) continue;
        if (!random_case_draw(&c, model, row->name, recipe_hash(seed, 1000000 + i))) continue;
        if (getenv("TUFF_TEST_VERBOSE")) print_message("CASE(%s, \"%s\", \"%s\")\n", c.op, c.operands, c.attributes);
        if (!recipe_case(&the_recipe, c.op, c.operands, c.attributes, &message))
            fail_msg("CASE(%s, \"%s\", \"%s\"): not understood at \"%s\"", c.op, c.operands, c.attributes, message);
        if (is_delicate(&the_recipe)) continue;
        trial t = trial_run(device, &the_recipe);
        if (getenv("TUFF_TEST_VERBOSE")) print_message("    %s\n", t.message);
        ran++;
        if (!t.passed && !t.refused)
            fail_msg("seed %u, draw %u: CASE(%s, \"%s\", \"%s\"): %s", seed, i, c.op, c.operands, c.attributes,
                     t.message);
    }
    print_message("%u ran\n", ran);
    assert_true(filter || ran >= count / 2);
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_draws) };
    return cmocka_run_group_tests_name("random operators", tests, open_device, close_device);
}
