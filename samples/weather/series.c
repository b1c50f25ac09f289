/* The weather of one place. */
#include "series.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------- */

enum { COLUMN_DATE, COLUMN_PRECIPITATION, COLUMN_HIGHEST, COLUMN_LOWEST, COLUMN_WIND, COLUMNS, MAX_FIELDS = 64 };

static const char *const column_names[COLUMNS] = { "date", "precipitation", "temp_max", "temp_min", "wind" };

/* Cuts a line at its commas, in place. */
static int split(char *line, char *fields[MAX_FIELDS]) {
    line[strcspn(line, "\r\n")] = '\0';
    int count = 0;
    for (char *at = line; at != NULL && count < MAX_FIELDS;) {
        fields[count++] = at;
        at = strchr(at, ',');
        if (at != NULL) *at++ = '\0';
    }
    return count;
}

static bool is_leap(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_length(int year, int month) {
    static const int lengths[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return month == 2 && is_leap(year) ? 29 : lengths[month - 1];
}

static bool parse_date(const char *text, day *d) {
    char rest;
    if (sscanf(text, "%4d-%2d-%2d%c", &d->year, &d->month, &d->day_of_month, &rest) != 3) return false;
    if (d->year < 1 || d->month < 1 || d->month > 12 || d->day_of_month < 1
        || d->day_of_month > month_length(d->year, d->month)) {
        return false;
    }
    d->day_of_year = d->day_of_month - 1;
    for (int month = 1; month < d->month; month++) d->day_of_year += month_length(d->year, month);
    return true;
}

static bool follows(const day *before, const day *d) {
    bool new_year = before->day_of_year + 1 == (is_leap(before->year) ? 366 : 365);
    return new_year ? d->year == before->year + 1 && d->day_of_year == 0
                    : d->year == before->year && d->day_of_year == before->day_of_year + 1;
}

static bool parse_number(const char *text, float *value) {
    char *end = NULL;
    *value = strtof(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

static bool parse_day(char *const fields[], int count, const int columns[COLUMNS], day *d, char *message,
                      size_t message_size) {
    for (int c = 0; c < COLUMNS; c++) {
        if (columns[c] >= count) {
            snprintf(message, message_size, "has no %s", column_names[c]);
            return false;
        }
    }
    if (!parse_date(fields[columns[COLUMN_DATE]], d)) {
        snprintf(message, message_size, "\"%.40s\" is not a date (YYYY-MM-DD)", fields[columns[COLUMN_DATE]]);
        return false;
    }
    float *const values[COLUMNS] = { NULL, &d->precipitation, &d->highest, &d->lowest, &d->wind };
    for (int c = COLUMN_PRECIPITATION; c < COLUMNS; c++) {
        if (!parse_number(fields[columns[c]], values[c])) {
            snprintf(message, message_size, "%s: \"%.40s\" is not a number", column_names[c], fields[columns[c]]);
            return false;
        }
    }
    if (d->precipitation < 0) {
        snprintf(message, message_size, "precipitation: %g is less than nothing", (double)d->precipitation);
        return false;
    }
    return true;
}

static bool find_columns(char *const fields[], int count, int columns[COLUMNS], char *message, size_t message_size) {
    for (int c = 0; c < COLUMNS; c++) {
        columns[c] = -1;
        for (int i = 0; i < count; i++) {
            if (strcmp(fields[i], column_names[c]) == 0) columns[c] = i;
        }
        if (columns[c] < 0) {
            snprintf(message, message_size, "there is no column \"%s\"", column_names[c]);
            return false;
        }
    }
    return true;
}

static bool append(series *s, const day *d, char *message, size_t message_size) {
    if (s->count > 0 && !follows(&s->days[s->count - 1], d)) {
        snprintf(message, message_size, "%04d-%02d-%02d does not follow the day before: no day may be missing", d->year,
                 d->month, d->day_of_month);
        return false;
    }
    if ((s->count & (s->count - 1)) == 0) { /* full at each power of two */
        day *days = realloc(s->days, (s->count == 0 ? 1 : 2 * (size_t)s->count) * sizeof *days);
        if (days == NULL) {
            snprintf(message, message_size, "no memory for more days");
            return false;
        }
        s->days = days;
    }
    s->days[s->count++] = *d;
    return true;
}

static bool read_lines(FILE *file, series *s, uint32_t *line_number, char *message, size_t message_size) {
    char line[1024], *fields[MAX_FIELDS];
    int columns[COLUMNS];
    for (*line_number = 1; fgets(line, sizeof line, file) != NULL; ++*line_number) {
        int count = split(line, fields);
        if (*line_number == 1) {
            if (!find_columns(fields, count, columns, message, message_size)) return false;
        } else if (count > 1 || fields[0][0] != '\0') {
            day d;
            if (!parse_day(fields, count, columns, &d, message, message_size)) return false;
            if (!append(s, &d, message, message_size)) return false;
        }
    }
    return true;
}

bool series_read(const char *path, series *s, char *message, size_t message_size) {
    *s = (series){ .count = 0 };
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        snprintf(message, message_size, "%s: cannot be opened: %s", path, strerror(errno));
        return false;
    }
    char reason[256] = "";
    uint32_t line = 0;
    bool good = read_lines(file, s, &line, reason, sizeof reason);
    fclose(file);
    if (!good) snprintf(message, message_size, "%s: line %u: %s", path, line, reason);
    for (s->test_start = s->count; s->test_start > 0; s->test_start--) {
        if (s->days[s->test_start - 1].year != s->days[s->count - 1].year) break;
    }
    if (good && (s->test_start < 365 + PAST_DAYS || s->count - s->test_start < PAST_DAYS)) {
        snprintf(message, message_size,
                 "%s: %u days are too few: more than a year to learn from and a month of the next one are needed", path,
                 s->count);
        good = false;
    }
    if (!good) series_free(s);
    return good;
}

void series_free(series *s) {
    free(s->days);
    *s = (series){ .count = 0 };
}

/* ---- examples ------------------------------------------------------------------------------- */

typedef struct moments {
    double sum, squares;
} moments;

static void add(moments *m, double value) {
    m->sum += value;
    m->squares += value * value;
}

static void finish(const moments *m, uint32_t count, float *mean, float *deviation) {
    double average = m->sum / count, variance = m->squares / count - average * average;
    *mean = (float)average;
    *deviation = variance > 1e-12 ? (float)sqrt(variance) : 1;
}

scaling series_scaling(const series *s) {
    moments highest = { 0 }, precipitation = { 0 }, wind = { 0 };
    for (uint32_t i = 0; i < s->test_start; i++) {
        add(&highest, (double)s->days[i].highest);
        add(&precipitation, log1p((double)s->days[i].precipitation));
        add(&wind, (double)s->days[i].wind);
    }
    scaling scaling;
    finish(&highest, s->test_start, &scaling.highest_mean, &scaling.highest_deviation);
    finish(&precipitation, s->test_start, &scaling.precipitation_mean, &scaling.precipitation_deviation);
    finish(&wind, s->test_start, &scaling.wind_mean, &scaling.wind_deviation);
    return scaling;
}

void series_features(const series *s, const scaling *scaling, uint32_t index, float features[FEATURES]) {
    const float temperature_unit = 5, last = s->days[index - 1].highest;
    for (int i = 0; i < PAST_DAYS; i++) {
        const day *d = &s->days[index - PAST_DAYS + (uint32_t)i];
        /* Older days are written smaller: there are too few years to learn from the data alone that they matter less.
         */
        float weight = expf((float)(i + 1 - PAST_DAYS) / 5);
        *features++ = weight * (d->highest - last) / temperature_unit;
        *features++ = weight * (d->lowest - last) / temperature_unit;
        *features++ =
            weight * (log1pf(d->precipitation) - scaling->precipitation_mean) / scaling->precipitation_deviation;
        *features++ = weight * (d->wind - scaling->wind_mean) / scaling->wind_deviation;
    }
    double season = 2 * 3.14159265358979 * (s->days[index].day_of_year + 0.5) / 365.25;
    *features++ = (last - scaling->highest_mean) / scaling->highest_deviation;
    *features++ = (float)sin(season);
    *features++ = (float)cos(season);
}

float series_climatology(const series *s, uint32_t index, int within) {
    double sum = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->test_start; i++) {
        int distance = abs(s->days[i].day_of_year - s->days[index].day_of_year);
        if (distance > 182) distance = 365 - distance;
        if (distance > within) continue;
        sum += (double)s->days[i].highest;
        count++;
    }
    return (float)(sum / count); /* more than a year is learned from: every day of the year is there */
}
