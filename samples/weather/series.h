/* The weather of one place, day by day, and what a forecast may know of it. */
#ifndef SAMPLES_WEATHER_SERIES_H
#define SAMPLES_WEATHER_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct day {
    int year, month, day_of_month;
    int day_of_year;       /* from 0 */
    float precipitation;   /* mm */
    float highest, lowest; /* degrees Celsius */
    float wind;            /* m/s */
} day;

typedef struct series {
    day *days;
    uint32_t count;
    uint32_t test_start; /* the first day of the last year: what comes before is learned from */
} series;

/* A CSV with the columns date (YYYY-MM-DD, without gaps), precipitation, temp_max, temp_min and wind. On failure says
 * what is wrong, with the line, in message and returns false. */
bool series_read(const char *path, series *series, char *message, size_t message_size);
void series_free(series *series);

/* ---- one example: the 30 days before a day, and that day's highest temperature --------------------- */

enum {
    PAST_DAYS = 30,
    DAY_VALUES = 4,                        /* highest, lowest, precipitation, wind */
    FEATURES = PAST_DAYS * DAY_VALUES + 3, /* and the last day's highest temperature, sine and cosine of the season */
};

/* The network forecasts the change from the day before, in these units of degrees. */
#define CHANGE_UNIT 3.0f

/* Means and deviations of the days that are learned from. */
typedef struct scaling {
    float highest_mean, highest_deviation;
    float precipitation_mean, precipitation_deviation; /* of log(1 + mm) */
    float wind_mean, wind_deviation;
} scaling;

scaling series_scaling(const series *series);

/* What is known on the evening before days[index]; index >= PAST_DAYS. Temperatures are relative to the last day's
 * highest one, so that a cold week in winter and one in summer look alike. */
void series_features(const series *series, const scaling *scaling, uint32_t index, float features[FEATURES]);

/* The forecast that needs no learning at all: each day of the year as it was, on the average of `within` days before
 * and after it, in the years before the test. */
float series_climatology(const series *series, uint32_t index, int within);

#endif
