/* Training and testing on digits: batches in, the measures out. */
#ifndef SAMPLES_MNIST_TRAIN_H
#define SAMPLES_MNIST_TRAIN_H

#include "digits.h"
#include "network.h"

#include "../common/report.h"

/* One way of running over a set: a program for full batches and one for the last, partial batch (either may be NULL).
 */
typedef struct runner {
    const network *network;
    uint32_t batch;
    tuff_program *full, *rest;
    float *pixels; /* of a batch */
    int32_t *labels;
} runner;

/* optimizer NULL: the programs evaluate. */
tuff_result runner_make(runner *runner, const network *network, uint32_t batch, uint32_t count,
                        tuff_optimizer *optimizer);
void runner_free(runner *runner);

typedef struct training {
    tuff_optimizer *optimizer;
    double lr; /* the highest */
    int64_t epochs;
    uint64_t seed;
    progress *progress;
    double train_seconds;
    double images_per_second; /* over all epochs, tests between them not counted */
    double test_accuracy;
} training;

/* Trains all epochs, each followed by a test. */
tuff_result train_all(training *training, runner *train, const digits *train_set, runner *test, const digits *test_set);

/* The share of the set that is recognised. */
tuff_result test_all(runner *test, const digits *set, double *accuracy);

#endif
