/* A trial: a recipe built, compiled and run by Tuff, its results compared with the reference. */
#ifndef TUFF_TESTS_TRIAL_H
#define TUFF_TESTS_TRIAL_H

#include "build.h"

typedef struct trial {
    bool passed;
    bool unsupported;  /* the device cannot run it: what is forced needs a feature that it lacks */
    bool refused;      /* compiling said that shapes or attributes do not fit: a rule that building cannot check */
    double error;      /* the largest |difference| / tolerance of any element; below 1 passes */
    double epsilons;   /* the largest |difference| in float32 epsilons of the sum of absolute terms */
    char message[512]; /* why it failed; else the worst element */
    tuff_program_info info;
} trial;

/* Runs a case (recipe_case) forward and backward on a device: the result, the gradients of all float leaves, and, of a
 * batch norm that trains, the running statistics. */
trial trial_run(tuff_device *device, recipe *r);

/* |got - want| / tolerance; NaN in place of NaN is 0, NaN in place of a number is infinite. */
double trial_error(double got, double want, double tolerance);

#endif
