/* The optimizers' cases: five steps with given gradients. */
#include "optimizers.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS = 2 };
static const int64_t SIZES[TENSORS] = { 37, 5 };

const optimizer_case OPTIMIZER_CASES[] = {
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
const int OPTIMIZER_CASE_COUNT = sizeof OPTIMIZER_CASES / sizeof *OPTIMIZER_CASES;

static ref *values(int64_t count, uint32_t seed) {
    recipe_step leaf = { .fill = FILL_ANY, .seed = seed, .value = ref_new(TUFF_SHAPE(count)) };
    recipe_fill_leaf(&leaf);
    return leaf.value;
}

/* ---- the reference's run ---- */

static void gradients_of_step(double *gradient, int64_t step, double clip) {
    double norm = 0;
    for (int t = 0, at = 0; t < TENSORS; at += (int)SIZES[t++]) {
        ref *g = values(SIZES[t], (uint32_t)(1000 * SIZES[t] + step));
        memcpy(gradient + at, g->v, (size_t)g->count * sizeof(double));
        ref_free(g);
    }
    for (int i = 0; i < OPTIMIZER_ELEMENTS; i++) norm += gradient[i] * gradient[i];
    double factor = clip > 0 ? ref_clip_factor(sqrt(norm), clip) : 1;
    for (int i = 0; i < OPTIMIZER_ELEMENTS; i++) gradient[i] *= factor;
}

void optimizer_track_start(optimizer_track *k) {
    memset(k, 0, sizeof *k);
    for (int t = 0, at = 0; t < TENSORS; at += (int)SIZES[t++]) {
        ref *p = values(SIZES[t], (uint32_t)SIZES[t]);
        memcpy(k->parameter + at, p->v, (size_t)p->count * sizeof(double));
        ref_free(p);
    }
}

void optimizer_track_step(optimizer_track *k, const optimizer_case *c, int64_t step, double clip) {
    gradients_of_step(k->gradient, step, clip);
    if (c->kind == SGD)
        ref_sgd_step(&c->sgd, step + 1, OPTIMIZER_ELEMENTS, k->parameter, k->gradient, k->first);
    else
        ref_adam_step(&c->adam, step + 1, OPTIMIZER_ELEMENTS, k->parameter, k->gradient, k->first, k->second);
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

static const char *const NAMES[TENSORS] = { "a", "b" }, *const INPUTS[TENSORS] = { "grad_a", "grad_b" };

typedef struct training {
    tuff_model *model;
    tuff_optimizer *optimizer;
    tuff_graph *graph;
    tuff_tensor *input[TENSORS];
    tuff_program *program;
    optimizer_track track;
} training;

static size_t hashed_floats(int tensor, uint32_t seed, float *to) {
    ref *x = values(SIZES[tensor], seed);
    for (int64_t i = 0; i < x->count; i++) to[i] = (float)x->v[i];
    ref_free(x);
    return (size_t)SIZES[tensor] * sizeof *to;
}

static tuff_result training_start(training *t, const optimizer_case *c, double clip) {
    tuff_tensor *loss = NULL;
    for (int i = 0; i < TENSORS; i++) {
        /* the gradient of sum(parameter * input) is the input */
        tuff_tensor *parameter = tuff_parameter(t->graph, NAMES[i], TUFF_SHAPE(SIZES[i]), NULL);
        t->input[i] = tuff_input(t->graph, INPUTS[i], TUFF_F32, TUFF_SHAPE(SIZES[i]));
        tuff_tensor *term = tuff_sum(tuff_mul(parameter, t->input[i]), NULL);
        loss = loss ? tuff_add(loss, term) : term;
    }
    t->optimizer = create(c, t->model);
    tuff_program_desc desc = { .minimize = loss, .optimizer = t->optimizer, .clip_norm = (float)clip };
    tuff_result result = tuff_compile(t->graph, &desc, &t->program);
    optimizer_track_start(&t->track);
    for (int i = 0; result == TUFF_OK && i < TENSORS; i++) {
        float floats[OPTIMIZER_ELEMENTS];
        size_t bytes = hashed_floats(i, (uint32_t)SIZES[i], floats);
        result = tuff_model_write(t->model, NAMES[i], floats, bytes);
    }
    return result;
}

static tuff_result training_step(training *t, const optimizer_case *c, int step, double clip) {
    tuff_result result = TUFF_OK;
    for (int i = 0; result == TUFF_OK && i < TENSORS; i++) {
        float floats[OPTIMIZER_ELEMENTS];
        size_t bytes = hashed_floats(i, (uint32_t)(1000 * SIZES[i] + step), floats);
        result = tuff_write(t->program, t->input[i], floats, bytes);
    }
    optimizer_track_step(&t->track, c, step, clip);
    return result == TUFF_OK ? tuff_run(t->program) : result;
}

/* Each step rounds the parameter once and its update to a dozen units. */
static double tolerance_of(const optimizer_case *c, int step, double want) {
    double update = c->kind == SGD ? c->sgd.lr * 10 : c->adam.lr;
    return (step + 1) * FLT_EPSILON * (fabs(want) + 16 * update);
}

static tuff_result training_compare(training *t, const optimizer_case *c, int step, trial *out) {
    const double *want = t->track.parameter;
    for (int i = 0; i < TENSORS; want += SIZES[i++]) {
        float got[OPTIMIZER_ELEMENTS];
        tuff_result result = tuff_model_read(t->model, NAMES[i], got, (size_t)SIZES[i] * sizeof *got);
        if (result != TUFF_OK) return result;
        for (int j = 0; j < SIZES[i]; j++) {
            double error = trial_error(got[j], want[j], tolerance_of(c, step, want[j]));
            out->epsilons = fmax(out->epsilons, fabs(got[j] - want[j]) / FLT_EPSILON);
            if (error <= out->error && out->message[0]) continue;
            out->error = error;
            snprintf(out->message, sizeof out->message, "step %d: %s[%d] is %.9g, should be %.9g (%.2g tolerances)",
                     step, NAMES[i], j, got[j], want[j], error);
        }
    }
    return TUFF_OK;
}

trial optimizer_trial(tuff_device *device, const optimizer_case *c, double clip) {
    trial out = { 0 };
    training t = { .model = tuff_model_create(device, NULL) };
    t.graph = tuff_graph_create(t.model);
    tuff_result result = t.graph ? training_start(&t, c, clip) : TUFF_ERROR_STATE;
    for (int step = 0; result == TUFF_OK && step < OPTIMIZER_STEPS; step++) {
        result = training_step(&t, c, step, clip);
        if (result == TUFF_OK) result = training_compare(&t, c, step, &out);
    }
    if (result != TUFF_OK) {
        out.error = INFINITY;
        snprintf(out.message, sizeof out.message, "%s: %s", tuff_result_name(result), tuff_last_message());
    } else if (tuff_optimizer_step_count(t.optimizer) != OPTIMIZER_STEPS) {
        out.error = INFINITY;
        snprintf(out.message, sizeof out.message, "the optimizer has counted other steps than %d", OPTIMIZER_STEPS);
    }
    out.passed = out.error <= 1;
    tuff_program_destroy(t.program);
    tuff_graph_destroy(t.graph);
    tuff_model_destroy(t.model);
    return out;
}
