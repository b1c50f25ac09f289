/* The optimizers: five steps with given gradients, against the reference, and that against PyTorch. The model's state
 * is read after each step; clipping by the global norm is one of the attributes. */
#include "support.h"
#include "tests/fixtures/fixtures.h"
#include "tests/reference/recipe.h"
#include <tuff/layers.h>

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STEPS = 5, TENSORS = 2, TOTAL = 37 + 5 };
static const int64_t SIZES[TENSORS] = { 37, 5 };

typedef enum kind { SGD, ADAM, ADAMW } kind;
typedef struct optimizer_case {
    const char *name; /* as in make.py */
    kind kind;
    ref_sgd sgd;
    ref_adam adam;
} optimizer_case;

static const optimizer_case CASES[] = {
    { .name = "sgd", .kind = SGD, .sgd = { .lr = 0.1 } },
    { .name = "sgd momentum", .kind = SGD, .sgd = { .lr = 0.1, .momentum = 0.9 } },
    { .name = "sgd dampening",
      .kind = SGD,
      .sgd = { .lr = 0.1, .momentum = 0.9, .dampening = 0.5, .weight_decay = 0.01 } },
    { .name = "sgd nesterov",
      .kind = SGD,
      .sgd = { .lr = 0.1, .momentum = 0.75, .weight_decay = 0.1, .nesterov = true } },
    { .name = "adam", .kind = ADAM, .adam = { 0.01, 0.9, 0.999, 1e-8, 0, false } },
    { .name = "adam decay", .kind = ADAM, .adam = { 0.01, 0.5, 0.75, 1e-3, 0.1, false } },
    { .name = "adamw", .kind = ADAMW, .adam = { 0.01, 0.9, 0.999, 1e-8, 0.01, true } },
    { .name = "adamw decay", .kind = ADAMW, .adam = { 0.05, 0.5, 0.875, 1e-8, 0.25, true } },
};
enum { CASE_COUNT = sizeof CASES / sizeof *CASES };

static ref *values(int64_t count, uint32_t seed) {
    recipe_step leaf = { .fill = FILL_ANY, .seed = seed, .value = ref_new(TUFF_SHAPE(count)) };
    recipe_fill_leaf(&leaf, 0);
    return leaf.value;
}

/* ---- the reference's run ---- */

typedef struct track {
    double parameter[TOTAL], gradient[TOTAL], first[TOTAL], second[TOTAL];
} track;

static void gradients_of_step(double *gradient, int64_t step, double clip) {
    double norm = 0;
    for (int t = 0, at = 0; t < TENSORS; at += (int)SIZES[t++]) {
        ref *g = values(SIZES[t], (uint32_t)(1000 * SIZES[t] + step));
        memcpy(gradient + at, g->v, (size_t)g->count * sizeof(double));
        ref_free(g);
    }
    for (int i = 0; i < TOTAL; i++) norm += gradient[i] * gradient[i];
    double factor = clip > 0 ? ref_clip_factor(sqrt(norm), clip) : 1;
    for (int i = 0; i < TOTAL; i++) gradient[i] *= factor;
}

static void track_start(track *k) {
    memset(k, 0, sizeof *k);
    for (int t = 0, at = 0; t < TENSORS; at += (int)SIZES[t++]) {
        ref *p = values(SIZES[t], (uint32_t)SIZES[t]);
        memcpy(k->parameter + at, p->v, (size_t)p->count * sizeof(double));
        ref_free(p);
    }
}

static void track_step(track *k, const optimizer_case *c, int64_t step, double clip) {
    gradients_of_step(k->gradient, step, clip);
    if (c->kind == SGD)
        ref_sgd_step(&c->sgd, step + 1, TOTAL, k->parameter, k->gradient, k->first);
    else
        ref_adam_step(&c->adam, step + 1, TOTAL, k->parameter, k->gradient, k->first, k->second);
}

static void test_reference_is_pytorch(void **state) {
    (void)state;
    fixtures f = fixtures_open("optimizers.bin");
    for (int i = 0; i < 2 * CASE_COUNT; i++) {
        const optimizer_case *c = &CASES[i / 2];
        char key[64];
        snprintf(key, sizeof key, "%s%s", c->name, i % 2 ? " clip" : "");
        const fixture *stored = fixtures_find(&f, key);
        assert_non_null(stored);
        assert_int_equal(stored->count, TOTAL);
        track k;
        track_start(&k);
        for (int step = 0; step < STEPS; step++) track_step(&k, c, step, i % 2 ? 0.5 : 0);
        for (int j = 0; j < TOTAL; j++)
            if (!(fabs(k.parameter[j] - stored->values[j]) < 1e-13))
                fail_msg("%s[%d]: PyTorch has %.17g, the reference %.17g", key, j, stored->values[j], k.parameter[j]);
    }
    fixtures_close(&f);
}

/* ---- Tuff's run ---- */

/* PyTorch's zero is a default here; a negative number is a true zero. */
static float zero_or(double x) {
    return x == 0 ? -1.0f : (float)x;
}

static tuff_optimizer *create(const optimizer_case *c, tuff_model *model) {
    const ref_adam *a = &c->adam;
    const ref_sgd *s = &c->sgd;
    switch (c->kind) {
    case SGD:
        return tuff_sgd_create(model, &(tuff_sgd_desc){ .lr = (float)s->lr,
                                                        .momentum = (float)s->momentum,
                                                        .dampening = (float)s->dampening,
                                                        .weight_decay = (float)s->weight_decay,
                                                        .nesterov = s->nesterov });
    case ADAM:
        return tuff_adam_create(model, &(tuff_adam_desc){ .lr = (float)a->lr,
                                                          .beta1 = zero_or(a->beta1),
                                                          .beta2 = zero_or(a->beta2),
                                                          .epsilon = (float)a->epsilon,
                                                          .weight_decay = (float)a->weight_decay });
    case ADAMW: break;
    }
    return tuff_adamw_create(model, &(tuff_adamw_desc){ .lr = (float)a->lr,
                                                        .beta1 = zero_or(a->beta1),
                                                        .beta2 = zero_or(a->beta2),
                                                        .epsilon = (float)a->epsilon,
                                                        .weight_decay = zero_or(a->weight_decay) });
}

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

static void write_floats(const ref *x, float *to) {
    for (int64_t i = 0; i < x->count; i++) to[i] = (float)x->v[i];
}

static void run_case(tuff_device *device, const optimizer_case *c, double clip) {
    static const char *const names[TENSORS] = { "a", "b" }, *const inputs[TENSORS] = { "ga", "gb" };
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_optimizer *optimizer = create(c, model);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *input[TENSORS], *loss = NULL;
    for (int t = 0; t < TENSORS; t++) {
        /* the gradient of sum(parameter * input) is the input */
        input[t] = tuff_input(graph, inputs[t], TUFF_F32, TUFF_SHAPE(SIZES[t]));
        tuff_tensor *term =
            tuff_sum(tuff_mul(tuff_parameter(graph, names[t], TUFF_SHAPE(SIZES[t]), NULL), input[t]), NULL);
        loss = loss ? tuff_add(loss, term) : term;
    }
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .minimize = loss, .optimizer = optimizer, .clip_norm = (float)clip },
                    &program));
    track k;
    track_start(&k);
    float floats[TOTAL];
    for (int t = 0; t < TENSORS; t++) {
        ref *p = values(SIZES[t], (uint32_t)SIZES[t]);
        write_floats(p, floats);
        OK(tuff_model_write(model, names[t], floats, (size_t)p->count * sizeof(float)));
        ref_free(p);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int t = 0; t < TENSORS; t++) {
            ref *g = values(SIZES[t], (uint32_t)(1000 * SIZES[t] + step));
            write_floats(g, floats);
            OK(tuff_write(program, input[t], floats, (size_t)g->count * sizeof(float)));
            ref_free(g);
        }
        OK(tuff_run(program));
        track_step(&k, c, step, clip);
        for (int t = 0, at = 0; t < TENSORS; at += (int)SIZES[t++]) {
            OK(tuff_model_read(model, names[t], floats, (size_t)SIZES[t] * sizeof(float)));
            for (int i = 0; i < SIZES[t]; i++) {
                double want = k.parameter[at + i];
                /* Each step rounds the parameter once and its update to a dozen units. */
                double lr = c->kind == SGD ? c->sgd.lr * 10 : c->adam.lr;
                double tolerance = (step + 1) * FLT_EPSILON * (fabs(want) + 16 * lr);
                if (!(fabs(floats[i] - want) <= tolerance))
                    fail_msg("%s, clip %g, step %d: %s[%d] is %.9g, should be %.9g", c->name, clip, step, names[t], i,
                             floats[i], want);
            }
        }
    }
    assert_int_equal(tuff_optimizer_step_count(optimizer), STEPS);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static void test_optimizers(void **state) {
    for (int i = 0; i < CASE_COUNT; i++) {
        run_case(*state, &CASES[i], 0);
        run_case(*state, &CASES[i], 0.5);
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
