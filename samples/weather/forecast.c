/* A small network that forecasts tomorrow's change of the highest temperature. */
#include "forecast.h"

#include "../common/random.h"
#include "../common/schedule.h"

#include <tuff/io.h>
#include <tuff/layers.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        tuff_result result_ = (call);                                                                                  \
        if (result_ != TUFF_OK) return result_;                                                                        \
    } while (0)

/* All that is on the device, and the examples. */
typedef struct forecaster {
    tuff_model *model;
    tuff_optimizer *optimizer;
    tuff_graph *graph;
    tuff_tensor *past, *target, *change, *loss;
    tuff_program *train, *train_rest, *test;
    float *features, *changes; /* of days[PAST_DAYS ..] */
    float *batch_features, *batch_changes;
    uint32_t *order;
} forecaster;

/* Three dense layers. Three years of weather are few days to learn from, so the dropout and the decay of the
 * weights are strong; both were chosen on 2014 with what 2012 and 2013 taught. */
static tuff_result build(forecaster *f, uint32_t batch) {
    f->graph = tuff_graph_create(f->model);
    f->past = tuff_input(f->graph, "past", TUFF_F32, TUFF_SHAPE(batch, FEATURES));
    f->target = tuff_input(f->graph, "target", TUFF_F32, TUFF_SHAPE(batch, 1));
    tuff_tensor *x = tuff_relu(tuff_linear(f->past, &(tuff_linear_desc){ .name = "fc1", .features = 64 }));
    x = tuff_dropout(x, 0.5f, "dropout1");
    x = tuff_relu(tuff_linear(x, &(tuff_linear_desc){ .name = "fc2", .features = 32 }));
    x = tuff_dropout(x, 0.5f, "dropout2");
    f->change = tuff_linear(x, &(tuff_linear_desc){ .name = "fc3", .features = 1 });
    f->loss = tuff_l1_loss(f->change, f->target, NULL);
    return tuff_graph_result(f->graph);
}

static tuff_result compile_train(forecaster *f, const char *name, uint32_t batch, tuff_program **program) {
    const tuff_input_size sizes[] = { { f->past, TUFF_SHAPE(batch, FEATURES) }, { f->target, TUFF_SHAPE(batch, 1) } };
    return tuff_compile(f->graph,
                        &(tuff_program_desc){ .name = name,
                                              .minimize = f->loss,
                                              .optimizer = f->optimizer,
                                              .outputs = &f->loss,
                                              .output_count = 1,
                                              .input_sizes = sizes,
                                              .input_size_count = 2 },
                        program);
}

static tuff_result compile_test(forecaster *f, uint32_t days) {
    const tuff_input_size size = { f->past, TUFF_SHAPE(days, FEATURES) };
    return tuff_compile(f->graph,
                        &(tuff_program_desc){ .name = "forecast",
                                              .outputs = &f->change,
                                              .output_count = 1,
                                              .input_sizes = &size,
                                              .input_size_count = 1,
                                              .evaluate = true },
                        &f->test);
}

static tuff_result make_examples(forecaster *f, const series *s, uint32_t batch) {
    uint32_t examples = s->count - PAST_DAYS;
    f->features = malloc((size_t)examples * FEATURES * sizeof *f->features);
    f->changes = malloc(examples * sizeof *f->changes);
    f->batch_features = malloc((size_t)batch * FEATURES * sizeof *f->batch_features);
    f->batch_changes = malloc(batch * sizeof *f->batch_changes);
    f->order = malloc(examples * sizeof *f->order);
    if (f->features == NULL || f->changes == NULL || f->batch_features == NULL || f->batch_changes == NULL
        || f->order == NULL) {
        return tuff_fail(TUFF_ERROR_MEMORY, "no host memory for the examples");
    }
    scaling scaling = series_scaling(s);
    for (uint32_t i = 0; i < examples; i++) {
        uint32_t day = i + PAST_DAYS;
        series_features(s, &scaling, day, f->features + (size_t)i * FEATURES);
        f->changes[i] = (s->days[day].highest - s->days[day - 1].highest) / CHANGE_UNIT;
        f->order[i] = i;
    }
    return TUFF_OK;
}

static tuff_result train_batch(forecaster *f, tuff_program *program, const uint32_t *order, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        for (int j = 0; j < FEATURES; j++) {
            f->batch_features[i * FEATURES + (uint32_t)j] = f->features[(size_t)order[i] * FEATURES + (size_t)j];
        }
        f->batch_changes[i] = f->changes[order[i]];
    }
    TRY(tuff_write(program, f->past, f->batch_features, (size_t)count * FEATURES * sizeof(float)));
    TRY(tuff_write(program, f->target, f->batch_changes, count * sizeof(float)));
    return tuff_run(program);
}

static tuff_result train_epochs(forecaster *f, uint32_t examples, uint32_t batch, const forecast_training *t) {
    double start = clock_seconds(), all = (double)t->epochs * examples;
    float loss = 0;
    for (int64_t epoch = 0; epoch < t->epochs; epoch++) {
        uint64_t random = t->seed * 0x9e3779b97f4a7c15u + (uint64_t)epoch;
        random_shuffle(&random, f->order, examples);
        tuff_program *program = NULL;
        for (uint32_t first = 0, count; first < examples; first += count) {
            count = examples - first < batch ? examples - first : batch;
            program = count < batch ? f->train_rest : f->train;
            double done = ((double)epoch * examples + first) / all;
            TRY(tuff_optimizer_set_lr(f->optimizer, (float)t->lr * one_cycle(done, 0.2)));
            TRY(train_batch(f, program, f->order + first, count));
        }
        TRY(tuff_read(program, f->loss, &loss, sizeof loss));
        if (!isfinite(loss)) {
            return tuff_fail(TUFF_ERROR_ARGUMENT, "the loss is not finite any more: a smaller --lr may help");
        }
        if (progress_wants(t->progress)) {
            double done = (double)(epoch + 1) * examples, seconds = clock_seconds() - start;
            char text[48];
            snprintf(text, sizeof text, "error %.2f degrees", (double)(loss * CHANGE_UNIT));
            progress_draw(t->progress, &(progress_state){ .epoch = epoch + 1,
                                                          .done = done / all,
                                                          .measures = text,
                                                          .per_second = done / seconds,
                                                          .seconds_left = (all - done) * seconds / done });
        }
    }
    if (t->epochs > 0) {
        progress_note(t->progress, "%lld epochs of %u days, the last batch's error %.2f degrees", (long long)t->epochs,
                      examples, (double)(loss * CHANGE_UNIT));
    }
    return TUFF_OK;
}

static tuff_result test(forecaster *f, const series *s, float *forecasts) {
    uint32_t days = s->count - s->test_start, first = s->test_start - PAST_DAYS;
    TRY(tuff_write(f->test, f->past, f->features + (size_t)first * FEATURES, (size_t)days * FEATURES * sizeof(float)));
    TRY(tuff_run(f->test));
    TRY(tuff_read(f->test, f->change, forecasts, days * sizeof(float)));
    for (uint32_t i = 0; i < days; i++) {
        forecasts[i] = s->days[s->test_start + i - 1].highest + forecasts[i] * CHANGE_UNIT;
    }
    return TUFF_OK;
}

static tuff_result run(forecaster *f, tuff_device *device, const series *s, const forecast_training *t,
                       float *forecasts) {
    uint32_t examples = s->test_start - PAST_DAYS, batch = t->batch < examples ? t->batch : examples;
    TRY(make_examples(f, s, batch));
    f->model = tuff_model_create(device, &(tuff_model_desc){ .seed = t->seed });
    if (f->model == NULL) return TUFF_ERROR_DEVICE;
    f->optimizer = tuff_adamw_create(f->model, &(tuff_adamw_desc){ .weight_decay = 0.3f });
    if (f->optimizer == NULL) return TUFF_ERROR_DEVICE;
    TRY(build(f, batch));
    if (t->epochs > 0) {
        TRY(compile_train(f, "train", batch, &f->train));
        if (examples % batch != 0) TRY(compile_train(f, "train the last batch", examples % batch, &f->train_rest));
    }
    TRY(compile_test(f, s->count - s->test_start));
    if (t->load != NULL) TRY(tuff_load(f->model, t->load, NULL));
    TRY(train_epochs(f, examples, batch, t));
    TRY(test(f, s, forecasts));
    if (t->save != NULL) {
        TRY(tuff_save(f->model, t->save, NULL));
        progress_note(t->progress, "saved as %s", t->save);
    }
    return TUFF_OK;
}

tuff_result forecast_run(tuff_device *device, const series *s, const forecast_training *t, float *forecasts) {
    forecaster f = { .model = NULL };
    tuff_result result = run(&f, device, s, t, forecasts);
    tuff_program_destroy(f.train);
    tuff_program_destroy(f.train_rest);
    tuff_program_destroy(f.test);
    tuff_graph_destroy(f.graph);
    tuff_model_destroy(f.model);
    free(f.features);
    free(f.changes);
    free(f.batch_features);
    free(f.batch_changes);
    free(f.order);
    return result;
}
