/* The optimizers' cases: five steps with given gradients, by the reference and by Tuff. */
#ifndef TUFF_TESTS_OPTIMIZERS_H
#define TUFF_TESTS_OPTIMIZERS_H

#include "trial.h"

enum { OPTIMIZER_STEPS = 5, OPTIMIZER_ELEMENTS = 37 + 5 };

typedef enum optimizer_kind { SGD, ADAM, ADAMW } optimizer_kind;
typedef struct optimizer_case {
    const char *name; /* as in make.py */
    optimizer_kind kind;
    ref_sgd sgd;
    ref_adam adam;
} optimizer_case;

extern const optimizer_case OPTIMIZER_CASES[];
extern const int OPTIMIZER_CASE_COUNT;

/* Two parameters and their optimizer's state, one after the other. */
typedef struct optimizer_track {
    double parameter[OPTIMIZER_ELEMENTS], gradient[OPTIMIZER_ELEMENTS];
    double first[OPTIMIZER_ELEMENTS], second[OPTIMIZER_ELEMENTS];
} optimizer_track;

void optimizer_track_start(optimizer_track *k);
/* clip > 0: gradients are scaled to this norm over both parameters at most. step counts from 0. */
void optimizer_track_step(optimizer_track *k, const optimizer_case *c, int64_t step, double clip);

/* Tuff's steps, each compared with the reference's. */
trial optimizer_trial(tuff_device *device, const optimizer_case *c, double clip);

#endif
