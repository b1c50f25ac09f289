/* Forecasts tomorrow's highest temperature: `samples/run weather --help`. */
#include "forecast.h"
#include "picture.h"
#include "series.h"

#include "../common/files.h"
#include "../common/options.h"
#include "../common/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char sample[] = "weather";

/* Days before and after a date that tell what is usual on it. */
enum { CLIMATOLOGY_WITHIN = 10 };

typedef struct settings {
    int64_t epochs, batch, seed;
    double lr;
    const char *device, *data, *picture, *save, *load;
    bool json_only;
} settings;

static int parse(settings *s, int argc, char **argv) {
    const option options[] = {
        { "--epochs", OPTION_COUNT, &s->epochs, "N", "passes over the days to learn from (40)", 0, 100000, NULL },
        { "--batch", OPTION_COUNT, &s->batch, "N", "days for each step (32)", 1, 65536, NULL },
        { "--lr", OPTION_NUMBER, &s->lr, "RATE", "the highest learning rate (0.001)", 0, 1000, NULL },
        { "--seed", OPTION_COUNT, &s->seed, "N", "of weights, shuffling and dropout (1)", 0, INT64_MAX, NULL },
        { "--device", OPTION_TEXT, &s->device, "DEVICE",
          "its number, a part of its name, or its UUID (tuff info lists them)", 0, 0, NULL },
        { "--data", OPTION_TEXT, &s->data, "FILE",
          "CSV: date, precipitation, temp_max, temp_min, wind (Seattle, 2012 to 2015)", 0, 0, NULL },
        { "--picture", OPTION_TEXT, &s->picture, "FILE", "where the picture goes, an SVG (weather.svg)", 0, 0, NULL },
        { "--save", OPTION_TEXT, &s->save, "FILE", "write the trained model as safetensors", 0, 0, NULL },
        { "--load", OPTION_TEXT, &s->load, "FILE", "start from a saved model", 0, 0, NULL },
        { "--json-only", OPTION_FLAG, &s->json_only, NULL, "print nothing but the line of JSON", 0, 0, NULL },
    };
    const option_table table = {
        .sample = sample,
        .about = "Learns to forecast tomorrow's highest temperature from the last 30 days, is tested on the last year, "
                 "which\n"
                 "it has not seen, draws forecast against truth, and ends with one line of JSON: its mean absolute "
                 "error in\n"
                 "degrees beside those of persistence (as warm as today) and climatology (as usual on that date).",
        .options = options,
        .count = sizeof options / sizeof options[0],
    };
    return options_parse(&table, argc, argv);
}

typedef struct outcome {
    float *forecasts, *climatology;
    double mae, mae_persistence, mae_climatology;
} outcome;

static void measure(const series *s, outcome *o) {
    uint32_t days = s->count - s->test_start;
    for (uint32_t i = 0; i < days; i++) {
        uint32_t index = s->test_start + i;
        double truth = (double)s->days[index].highest;
        o->climatology[i] = series_climatology(s, index, CLIMATOLOGY_WITHIN);
        o->mae += fabs((double)o->forecasts[i] - truth) / days;
        o->mae_persistence += fabs((double)s->days[index - 1].highest - truth) / days;
        o->mae_climatology += fabs((double)o->climatology[i] - truth) / days;
    }
}

static int run(const settings *settings, const series *s, tuff_device *device, progress *progress, outcome *o,
               double start) {
    char message[4400];
    const forecast_training training = {
        .epochs = settings->epochs,
        .batch = (uint32_t)settings->batch,
        .lr = settings->lr,
        .seed = (uint64_t)settings->seed,
        .save = settings->save,
        .load = settings->load,
        .progress = progress,
    };
    if (forecast_run(device, s, &training, o->forecasts) != TUFF_OK) return report_failure(sample, tuff_last_message());
    measure(s, o);
    progress_note(progress, "mean absolute error over %d: %.2f degrees; persistence %.2f, climatology %.2f",
                  s->days[s->test_start].year, o->mae, o->mae_persistence, o->mae_climatology);
    const picture picture = { .series = s,
                              .forecasts = o->forecasts,
                              .climatology = o->climatology,
                              .mae = o->mae,
                              .mae_persistence = o->mae_persistence,
                              .mae_climatology = o->mae_climatology };
    if (!picture_write(&picture, settings->picture, message, sizeof message)) return report_failure(sample, message);
    progress_note(progress, "drawn as %s", settings->picture);
    json_begin(sample);
    json_device(tuff_device_get_info(device));
    json_number("mae", o->mae, 4);
    json_number("mae_persistence", o->mae_persistence, 4);
    json_number("mae_climatology", o->mae_climatology, 4);
    json_number("seconds", clock_seconds() - start, 1);
    json_end();
    return 0;
}

int main(int argc, char **argv) {
    double start = clock_seconds();
    settings settings = {
        .epochs = 40, .batch = 32, .seed = 1, .lr = 1e-3, .data = SAMPLE_DATA, .picture = "weather.svg"
    };
    int status = parse(&settings, argc, argv);
    if (status >= 0) return status;
    char message[4400];
    series series;
    if (!files_can_load(settings.load, message, sizeof message)
        || !files_can_write(settings.save, message, sizeof message)
        || !files_can_write(settings.picture, message, sizeof message)
        || !series_read(settings.data, &series, message, sizeof message))
        return report_failure(sample, message);
    progress progress;
    progress_begin(&progress, settings.json_only, settings.epochs, "days");

    uint32_t days = series.count - series.test_start;
    outcome outcome = { .forecasts = calloc(days, sizeof(float)), .climatology = calloc(days, sizeof(float)) };
    tuff_device *device = NULL;
    tuff_device_desc desc = { .select = settings.device, .log = report_log, .log_user = (void *)sample };
    if (outcome.forecasts == NULL || outcome.climatology == NULL) {
        status = report_failure(sample, "no memory for the forecasts");
    } else if (tuff_device_open(&desc, &device) != TUFF_OK) {
        status = report_failure(sample, tuff_last_message());
    } else {
        report_device(&progress, tuff_device_get_info(device));
        status = run(&settings, &series, device, &progress, &outcome, start);
    }
    tuff_device_close(device);
    free(outcome.forecasts);
    free(outcome.climatology);
    series_free(&series);
    return status;
}
