#include "trial.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double trial_error(double got, double want, double tolerance) {
    if (got == want) return 0; /* infinities, too */
    if (isnan(want)) return isnan(got) ? 0 : INFINITY;
    double error = fabs(got - want) / tolerance;
    return isnan(error) ? INFINITY : error;
}

/* One tensor that Tuff computes and the reference knows. */
typedef struct expected {
    char what[64];
    tuff_tensor *tensor;
    const ref *want;
} expected;

typedef struct attempt {
    recipe *recipe;
    tuff_model *model;
    tuff_graph *graph;
    tuff_program *program;
    tuff_tensor *tensors[RECIPE_STEPS];
    expected list[RECIPE_STEPS];
    uint32_t count;
    bool mismatch; /* of a shape, which no tuff_result tells */
} attempt;

static void expect(attempt *a, const char *what, tuff_tensor *tensor, const ref *want) {
    expected *e = &a->list[a->count++];
    snprintf(e->what, sizeof e->what, "%s", what);
    e->tensor = tensor;
    e->want = want;
}

/* The gradients of what stands before the operator's result. */
static tuff_result expect_gradients(attempt *a) {
    const recipe *r = a->recipe;
    tuff_tensor *leaves[RECIPE_STEPS], *gradients[RECIPE_STEPS] = { NULL };
    int steps[RECIPE_STEPS];
    uint32_t count = 0;
    for (int i = 0; i < r->output; i++)
        if (!r->steps[i].op && r->steps[i].grad) {
            steps[count] = i;
            leaves[count++] = a->tensors[i];
        }
    if (!count || r->steps[r->output].op->detach) return TUFF_OK;
    tuff_result result = tuff_gradients(a->tensors[r->loss], leaves, count, gradients);
    for (uint32_t i = 0; result == TUFF_OK && i < count; i++) {
        char what[64];
        snprintf(what, sizeof what, "grad %s", r->steps[steps[i]].name);
        expect(a, what, gradients[i], r->steps[steps[i]].grad);
    }
    return result;
}

static tuff_result attempt_run(attempt *a, tuff_device *device) {
    recipe *r = a->recipe;
    const recipe_step *s = &r->steps[r->output];
    a->model = tuff_model_create(device, &(tuff_model_desc){ .seed = 1 });
    a->graph = a->model ? tuff_graph_create(a->model) : NULL;
    if (!a->graph) return TUFF_ERROR_STATE;
    if (!build_graph(r, a->graph, a->tensors)) {
        a->mismatch = tuff_graph_result(a->graph) == TUFF_OK;
        return TUFF_ERROR_SHAPE;
    }
    expect(a, "output", a->tensors[r->output], s->value);
    tuff_result result = expect_gradients(a);
    if (result != TUFF_OK) return result;
    tuff_tensor *outputs[RECIPE_STEPS];
    for (uint32_t i = 0; i < a->count; i++) outputs[i] = a->list[i].tensor;
    result = tuff_compile(a->graph,
                          &(tuff_program_desc){ .name = s->op->name,
                                                .outputs = outputs,
                                                .output_count = a->count,
                                                .evaluate = !arg_flag(&s->args, "training", false) },
                          &a->program);
    if (result == TUFF_OK)
        result = build_write(r, a->model, a->program, a->tensors, a->count > 1 ? r->loss : r->output);
    if (result == TUFF_OK) result = tuff_run(a->program);
    return result;
}

static tuff_result read_doubles(tuff_program *program, const tuff_tensor *tensor, double *values) {
    tuff_shape shape = tuff_tensor_shape(tensor);
    int64_t count = tuff_shape_count(&shape);
    union {
        float f;
        int32_t i;
    } *words = malloc((size_t)count * sizeof *words);
    tuff_result result = tuff_read(program, tensor, words, (size_t)count * tuff_type_size(tuff_tensor_type(tensor)));
    const unsigned char *bytes = (const unsigned char *)words;
    const tuff_type type = tuff_tensor_type(tensor);
    for (int64_t i = 0; i < count; i++)
        values[i] = type == TUFF_U8 ? bytes[i] : type == TUFF_I32 ? (double)words[i].i : (double)words[i].f;
    free(words);
    return result;
}

static tuff_result attempt_compare(attempt *a, trial *t) {
    for (uint32_t i = 0; i < a->count; i++) {
        const expected *e = &a->list[i];
        double *got = malloc((size_t)e->want->count * sizeof *got);
        tuff_result result = read_doubles(a->program, e->tensor, got);
        for (int64_t j = 0; result == TUFF_OK && j < e->want->count; j++) {
            /* what integers have in the place of NaN */
            tuff_type type = tuff_tensor_type(e->tensor);
            bool stands_for_nan = type == TUFF_I32 ? got[j] == INT32_MIN : type == TUFF_U8 && got[j] == 0;
            if (isnan(e->want->v[j]) && stands_for_nan) got[j] = NAN;
            double error = trial_error(got[j], e->want->v[j], ref_tolerance(e->want, j));
            double epsilons = fabs(got[j] - e->want->v[j]) / (FLT_EPSILON * e->want->abs[j] + FLT_MIN);
            if (epsilons > t->epsilons) t->epsilons = epsilons;
            if (error <= t->error && t->message[0]) continue;
            t->error = error;
            snprintf(t->message, sizeof t->message, "%s[%lld] is %.9g, should be %.9g (off by %.2g tolerances)",
                     e->what, (long long)j, got[j], e->want->v[j], error);
        }
        free(got);
        if (result != TUFF_OK) return result;
    }
    t->passed = t->error <= 1;
    return TUFF_OK;
}

trial trial_run(tuff_device *device, recipe *r) {
    trial t = { 0 };
    attempt *a = calloc(1, sizeof *a);
    a->recipe = r;
    if (!r->steps[r->output].op->detach) recipe_backward(r, r->loss, 0, 0);
    tuff_result result = attempt_run(a, device);
    if (result == TUFF_OK) {
        tuff_program_get_info(a->program, &t.info);
        result = attempt_compare(a, &t);
    }
    if (result != TUFF_OK) {
        t.passed = false;
        t.error = INFINITY;
        t.unsupported = result == TUFF_ERROR_UNSUPPORTED;
        t.refused = result == TUFF_ERROR_SHAPE && !a->mismatch;
        snprintf(t.message, sizeof t.message, "%s: %s", tuff_result_name(result),
                 a->mismatch ? "a tensor has not the reference's shape" : tuff_last_message());
    }
    tuff_program_destroy(a->program);
    tuff_graph_destroy(a->graph);
    tuff_model_destroy(a->model);
    free(a);
    return t;
}
