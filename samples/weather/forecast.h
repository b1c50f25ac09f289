/* The network that forecasts, its training and its use. */
#ifndef SAMPLES_WEATHER_FORECAST_H
#define SAMPLES_WEATHER_FORECAST_H

#include "series.h"

#include "../common/report.h"

#include <tuff/tuff.h>

typedef struct forecast_training {
    int64_t epochs;
    uint32_t batch;
    double lr; /* the highest of the one-cycle schedule */
    uint64_t seed;
    const char *save, *load; /* files, or NULL */
    progress *progress;
} forecast_training;

/* Learns from the days before the test and forecasts each day of the test: the highest temperature in forecasts[0 ..
 * series->count - series->test_start). */
tuff_result forecast_run(tuff_device *device, const series *series, const forecast_training *training,
                         float *forecasts);

#endif
