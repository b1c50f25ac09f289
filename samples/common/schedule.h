/* The one-cycle schedule of the samples' learning rates. */
#ifndef SAMPLES_SCHEDULE_H
#define SAMPLES_SCHEDULE_H

#include <math.h>

/* The share of the highest rate at `done` (0 to 1) of the training: it rises in a line over the first `warm` of it,
 * then falls along a cosine to 2 %. */
static inline float one_cycle(double done, double warm) {
    double share = done < warm ? done / warm : 0.5 * (1 + cos(3.14159265358979 * (done - warm) / (1 - warm)));
    return (float)(share > 0.02 ? share : 0.02);
}

#endif
