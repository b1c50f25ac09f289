/* The forecasts as a picture (SVG). */
#ifndef SAMPLES_WEATHER_PICTURE_H
#define SAMPLES_WEATHER_PICTURE_H

#include "series.h"

typedef struct picture {
    const series *series;
    const float *forecasts, *climatology; /* of the test's days */
    double mae, mae_persistence, mae_climatology;
} picture;

/* Returns false after saying in message what failed. */
bool picture_write(const picture *picture, const char *path, char *message, size_t message_size);

#endif
