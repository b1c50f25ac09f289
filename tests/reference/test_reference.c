/* The reference itself: its gradients against central differences of its own forward pass, and all of it against
 * what PyTorch computed. Needs no GPU. */
#include "cases.h"
#include "recipe.h"
#include "runtime/graph/operator.h"
#include "tests/fixtures/fixtures.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static recipe the_recipe;

static void open_case(const operator_case *c) {
    const char *message;
    if (!recipe_case(&the_recipe, c->op, c->shapes, c->attributes, &message))
        fail_msg("%s(%s; %s): not understood at \"%s\"", c->op, c->shapes, c->attributes, message);
    if (!the_recipe.steps[the_recipe.output].op->detach) recipe_backward(&the_recipe, the_recipe.loss, 0, 0);
}

/* The loss with a leaf moved by h along a direction of entries in [-1, 1]. */
static double moved_loss(recipe *r, int leaf, double h, uint32_t seed) {
    ref *x = r->steps[leaf].value, *before = ref_copy(x);
    for (int64_t i = 0; i < x->count; i++) x->v[i] += h * (recipe_hash(seed, (uint32_t)i) / 2147483648.0 - 1);
    recipe_forward(r, 0, 0);
    memcpy(x->v, before->v, (size_t)x->count * sizeof *x->v);
    ref_free(before);
    return r->steps[r->loss].value->v[0];
}

/* The slope of the loss along random directions: each covers all elements of a leaf. Leaves' values keep 7e-6 from
 * zero and 3e-5 from one another, so a step of 1e-6 meets no kink. */
static void test_central_differences(void **state) {
    (void)state;
    const double h = 1e-6;
    int checked = 0;
    for (int i = 0; i < OPERATOR_CASE_COUNT; i++) {
        const operator_case *c = &OPERATOR_CASES[i];
        const recipe_operator *op = recipe_find(c->op);
        /* ties stand on kinks; what has no gradient function of its own is made of differences */
        if (!op || strstr(c->shapes, ":t") || !op->gradient) continue;
        open_case(c);
        recipe *r = &the_recipe;
        if (op->kink && recipe_kink(r) == 0) continue; /* its gradient is not that of its result: ctc_loss */
        double loss_abs = r->steps[r->loss].value->abs[0];
        for (int leaf = 0; leaf < r->count; leaf++) {
            const ref *grad = r->steps[leaf].grad;
            if (r->steps[leaf].op || !grad) continue;
            for (uint32_t seed = 1; seed <= 2; seed++) {
                double slope = 0, slope_abs = 0;
                for (int64_t j = 0; j < grad->count; j++) {
                    double d = recipe_hash(seed, (uint32_t)j) / 2147483648.0 - 1;
                    slope += grad->v[j] * d;
                    slope_abs += grad->abs[j] * fabs(d);
                }
                double measured = (moved_loss(r, leaf, h, seed) - moved_loss(r, leaf, -h, seed)) / (2 * h);
                /* the difference quotient's truncation, and its rounding: 1e-16 of the loss's terms over h */
                double tolerance = 1e-7 * slope_abs + 1e-9 * loss_abs;
                if (!(fabs(measured - slope) <= tolerance))
                    fail_msg("%s(%s; %s): gradient of %s along a direction is %.12g, differences say %.12g", c->op,
                             c->shapes, c->attributes, r->steps[leaf].name, slope, measured);
                checked++;
            }
        }
    }
    print_message("%d slopes\n", checked);
}

/* 16: PyTorch's float64 kernels and this library add up in different orders. Central differences are good to 1e-8. */
static void compare(const fixtures *f, const operator_case *c, const char *what, const ref *x, bool differences) {
    char key[256];
    snprintf(key, sizeof key, "%s|%s|%s#%s", c->op, c->shapes, c->attributes, what);
    const fixture *stored = fixtures_find(f, key);
    if (!stored) fail_msg("%s has no fixture: run tests/pytorch/fixtures.py", key);
    assert_int_equal(stored->count, x->count);
    double largest = 0;
    for (int64_t i = 0; i < x->count; i++) largest = fmax(largest, ref_tolerance(x, i));
    for (int64_t i = 0; i < stored->stored; i++) {
        int64_t at = i * stored->step;
        double tolerance = 16 * ref_tolerance(x, at) * (DBL_EPSILON / FLT_EPSILON);
        if (differences) tolerance += 1e-8 * (x->abs[at] + 1e-2);
        if (!(fabs(x->v[at] - stored->values[i]) <= tolerance))
            fail_msg("%s[%lld]: PyTorch has %.17g, the reference %.17g", key, (long long)at, stored->values[i],
                     x->v[at]);
    }
    /* The tolerance that Tuff is held to must be one that PyTorch's float32 meets too. */
    if (!(stored->error <= largest))
        fail_msg("%s: PyTorch's float32 is off by %g, the tolerance is %g", key, stored->error, largest);
}

static void test_pytorch(void **state) {
    (void)state;
    fixtures f = { 0 };
    for (int i = 0; i < OPERATOR_CASE_COUNT; i++) {
        const operator_case *c = &OPERATOR_CASES[i];
        if (i == 0 || strcmp(c->family, c[-1].family) != 0) {
            char name[64];
            snprintf(name, sizeof name, "operators-%s.bin", c->family);
            if (i) fixtures_close(&f);
            f = fixtures_open(name);
        }
        open_case(c);
        const recipe *r = &the_recipe;
        compare(&f, c, "output", r->steps[r->output].value, false);
        for (int leaf = 0; leaf < r->output; leaf++) {
            char what[64];
            snprintf(what, sizeof what, "grad %s", r->steps[leaf].name);
            if (r->steps[leaf].grad) compare(&f, c, what, r->steps[leaf].grad, !r->steps[r->output].op->gradient);
        }
    }
    print_message("%d cases\n", OPERATOR_CASE_COUNT);
    recipe_clear(&the_recipe);
    fixtures_close(&f);
}

/* Every operator has a case, so nothing enters the table untested. */
static void test_every_operator_has_a_case(void **state) {
    (void)state;
    uint32_t count;
    const operator* const * rows = operator_table(&count);
    for (uint32_t i = 0; i < count; i++) {
        int cases = 0;
        if (rows[i]->flags & OPERATOR_INTERNAL) continue;
        for (int j = 0; j < OPERATOR_CASE_COUNT; j++) cases += !strcmp(OPERATOR_CASES[j].op, rows[i]->name);
        if (!cases) fail_msg("%s has no line in tests/operators/cases", rows[i]->name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operator_has_a_case),
        cmocka_unit_test(test_central_differences),
        cmocka_unit_test(test_pytorch),
    };
    return cmocka_run_group_tests_name("reference", tests, NULL, NULL);
}
