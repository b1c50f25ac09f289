/* An operator of one's own, from its shader to a trained network: `samples/run custom_operator --help`.
 *
 * A network that knows the date alone learns four years of temperatures, day by day, and is asked for a year it has not
 * seen. With tanh it cannot: beyond the days it has learned from it is constant. With snake, which is not in Tuff and
 * comes from this folder, it goes on with the seasons. */
#include "snake.h"

#include "../common/options.h"
#include "../common/report.h"
#include "../common/schedule.h"
#include "../weather/series.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char sample[] = "custom_operator";

enum { HIDDEN = 64 };

typedef struct settings {
    int64_t steps, seed;
    double lr;
    const char *device, *data, *activation;
    bool json_only;
} settings;

static int parse(settings *s, int argc, char **argv) {
    const option options[] = {
        { "--steps", OPTION_COUNT, &s->steps, "N", "updates, each over all days (1500)", 0, 1000000, NULL },
        { "--activation", OPTION_CHOICE, &s->activation, "NAME", "snake, or tanh to compare with", 0, 0, "snake|tanh" },
        { "--lr", OPTION_NUMBER, &s->lr, "RATE", "the highest learning rate (0.01)", 0, 1000, NULL },
        { "--seed", OPTION_COUNT, &s->seed, "N", "of weights (1)", 0, INT64_MAX, NULL },
        { "--device", OPTION_TEXT, &s->device, "DEVICE",
          "its number, a part of its name, or its UUID (tuff info lists them)", 0, 0, NULL },
        { "--data", OPTION_TEXT, &s->data, "FILE",
          "CSV: date, precipitation, temp_max, temp_min, wind (Seattle, 2012 to 2015)", 0, 0, NULL },
        { "--json-only", OPTION_FLAG, &s->json_only, NULL, "print nothing but the line of JSON", 0, 0, NULL },
    };
    const option_table table = {
        .sample = sample,
        .about = "Defines an operator of its own (the snake activation: SPIR-V, shape rule, gradient), checks its "
                 "gradient,\n"
                 "and trains a network of it that forecasts the last year's highest temperatures from the date alone.\n"
                 "Ends with one line of JSON: the mean absolute error in degrees beside that of the mean of all days.",
        .options = options,
        .count = sizeof options / sizeof options[0],
    };
    return options_parse(&table, argc, argv);
}

/* ---- is the gradient right? ---------------------------------------------------------------------- */

static tuff_tensor *build_snake(tuff_graph *graph, tuff_tensor *const *inputs, void *user) {
    (void)graph;
    return snake_apply(user, inputs[0], inputs[1]);
}

static tuff_result check(tuff_device *device, snake *snake) {
    const tuff_shape shapes[] = { TUFF_SHAPE(7, 5), TUFF_SHAPE(5) };
    const float frequencies[] = { 0.5f, 1, 1.5f, 2, 3 }, *values[] = { NULL, frequencies };
    return tuff_check_gradient(device, build_snake, snake,
                               &(tuff_gradient_check){ .shapes = shapes, .values = values, .input_count = 2 });
}

/* ---- training ------------------------------------------------------------------------------------ */

typedef struct network {
    tuff_model *model;
    tuff_graph *graph;
    tuff_optimizer *adam;
    tuff_tensor *time, *temperature, *forecast, *loss;
    tuff_program *train, *ask;
} network;

static tuff_tensor *activate(const settings *s, const snake *snake, tuff_tensor *x, const char *name) {
    return strcmp(s->activation, "tanh") == 0 ? tuff_tanh(x) : snake_layer(snake, x, name, 3.14159265f);
}

static tuff_result build(network *n, tuff_device *device, const snake *snake, const settings *s, uint32_t days,
                         uint32_t asked) {
    n->model = tuff_model_create(device, &(tuff_model_desc){ .seed = (uint64_t)s->seed });
    n->graph = tuff_graph_create(n->model);
    n->adam = tuff_adamw_create(n->model, &(tuff_adamw_desc){ .lr = (float)s->lr, .weight_decay = 0.1f });
    n->time = tuff_input(n->graph, "time", TUFF_F32, TUFF_SHAPE(days, 1));
    n->temperature = tuff_input(n->graph, "temperature", TUFF_F32, TUFF_SHAPE(days, 1));
    tuff_tensor *x = tuff_linear(n->time, &(tuff_linear_desc){ .name = "fc1", .features = HIDDEN });
    x = activate(s, snake, x, "snake");
    n->forecast = tuff_linear(x, &(tuff_linear_desc){ .name = "fc2", .features = 1 });
    n->loss = tuff_mse_loss(n->forecast, n->temperature, NULL);
    tuff_result result = tuff_compile(
        n->graph,
        &(tuff_program_desc){
            .name = "train", .minimize = n->loss, .optimizer = n->adam, .outputs = &n->loss, .output_count = 1 },
        &n->train);
    if (result != TUFF_OK) return result;
    return tuff_compile(n->graph,
                        &(tuff_program_desc){ .name = "forecast",
                                              .evaluate = true,
                                              .outputs = &n->forecast,
                                              .output_count = 1,
                                              .input_sizes = (tuff_input_size[]){ { n->time, TUFF_SHAPE(asked, 1) } },
                                              .input_size_count = 1 },
                        &n->ask);
}

static void destroy(network *n) {
    tuff_program_destroy(n->train);
    tuff_program_destroy(n->ask);
    tuff_graph_destroy(n->graph);
    tuff_model_destroy(n->model);
}

/* Years since the first day; temperatures in deviations from their mean. */
static void prepare(const series *s, float *time, float *temperature, double *mean, double *deviation) {
    *mean = *deviation = 0;
    for (uint32_t i = 0; i < s->test_start; i++) *mean += (double)s->days[i].highest / s->test_start;
    for (uint32_t i = 0; i < s->test_start; i++)
        *deviation += pow((double)s->days[i].highest - *mean, 2) / s->test_start;
    *deviation = sqrt(*deviation);
    for (uint32_t i = 0; i < s->count; i++) {
        time[i] = (float)(i / 365.25);
        temperature[i] = (float)(((double)s->days[i].highest - *mean) / *deviation);
    }
}

static tuff_result train(network *n, const settings *s, progress *progress, const float *time, const float *temperature,
                         uint32_t days) {
    tuff_result result = tuff_write(n->train, n->time, time, days * sizeof *time);
    if (result == TUFF_OK) result = tuff_write(n->train, n->temperature, temperature, days * sizeof *temperature);
    double start = clock_seconds();
    for (int64_t step = 0; step < s->steps && result == TUFF_OK; step++) {
        double done = (double)(step + 1) / (double)s->steps;
        tuff_optimizer_set_lr(n->adam, (float)s->lr * one_cycle(done, 0.1));
        result = tuff_run(n->train);
        if (result != TUFF_OK || !(progress_wants(progress) || step + 1 == s->steps)) continue;
        float loss = 0;
        char measures[64];
        double seconds = clock_seconds() - start;
        result = tuff_read(n->train, n->loss, &loss, sizeof loss);
        snprintf(measures, sizeof measures, "loss %.4f", (double)loss);
        progress_draw(progress, &(progress_state){ .epoch = 1,
                                                   .done = done,
                                                   .measures = measures,
                                                   .per_second = (double)(step + 1) * days / seconds,
                                                   .seconds_left = seconds / done * (1 - done) });
        if (step + 1 == s->steps) progress_epoch(progress, measures);
    }
    return result;
}

typedef struct outcome {
    double mae, mae_mean;
} outcome;

static tuff_result learn(tuff_device *device, snake *snake, const settings *settings, const series *s,
                         progress *progress, outcome *o) {
    uint32_t days = s->test_start, asked = s->count - days;
    float *time = calloc(s->count, sizeof *time), *temperature = calloc(s->count, sizeof *temperature);
    float *forecast = calloc(asked, sizeof *forecast);
    double mean = 0, deviation = 0;
    network n = { 0 };
    tuff_result result = time && temperature && forecast ? TUFF_OK : tuff_fail(TUFF_ERROR_MEMORY, "no memory");
    if (result == TUFF_OK) {
        prepare(s, time, temperature, &mean, &deviation);
        result = build(&n, device, snake, settings, days, asked);
    }
    if (result == TUFF_OK) result = train(&n, settings, progress, time, temperature, days);
    if (result == TUFF_OK) result = tuff_write(n.ask, n.time, time + days, asked * sizeof *time);
    if (result == TUFF_OK) result = tuff_run(n.ask);
    if (result == TUFF_OK) result = tuff_read(n.ask, n.forecast, forecast, asked * sizeof *forecast);
    for (uint32_t i = 0; i < asked && result == TUFF_OK; i++) {
        double truth = (double)s->days[days + i].highest;
        o->mae += fabs(mean + deviation * (double)forecast[i] - truth) / asked;
        o->mae_mean += fabs(mean - truth) / asked;
    }
    destroy(&n);
    free(time);
    free(temperature);
    free(forecast);
    return result;
}

static int run(const settings *settings, const series *s, tuff_device *device, progress *progress, double start) {
    snake snake;
    outcome o = { 0 };
    tuff_result result = snake_create(device, &snake);
    if (result != TUFF_OK) return report_failure(sample, tuff_last_message());
    result = check(device, &snake);
    if (result == TUFF_OK) progress_note(progress, "snake's gradient agrees with differences of its result");
    if (result == TUFF_OK) result = learn(device, &snake, settings, s, progress, &o);
    snake_destroy(&snake);
    if (result != TUFF_OK) return report_failure(sample, tuff_last_message());
    progress_note(progress,
                  "mean absolute error over %d, from the date alone: %.2f degrees; the mean of all days: %.2f",
                  s->days[s->test_start].year, o.mae, o.mae_mean);
    json_begin(sample);
    json_device(tuff_device_get_info(device));
    json_text("activation", settings->activation);
    json_number("mae", o.mae, 4);
    json_number("mae_mean", o.mae_mean, 4);
    json_number("seconds", clock_seconds() - start, 1);
    json_end();
    return 0;
}

int main(int argc, char **argv) {
    double start = clock_seconds();
    settings settings = { .steps = 1500, .seed = 1, .lr = 0.01, .data = SAMPLE_DATA, .activation = "snake" };
    int status = parse(&settings, argc, argv);
    if (status >= 0) return status;
    char message[4400];
    series series;
    if (!series_read(settings.data, &series, message, sizeof message)) return report_failure(sample, message);
    progress progress;
    progress_begin(&progress, settings.json_only, 1, "days");
    tuff_device *device = NULL;
    tuff_device_desc desc = { .select = settings.device, .log = report_log, .log_user = (void *)sample };
    if (tuff_device_open(&desc, &device) != TUFF_OK) {
        status = report_failure(sample, tuff_last_message());
    } else {
        report_device(&progress, tuff_device_get_info(device));
        status = run(&settings, &series, device, &progress, start);
    }
    tuff_device_close(device);
    series_free(&series);
    return status;
}
