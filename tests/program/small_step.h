/* A small program with all that a training step has: inputs, a record, state that it reads and then replaces, values
 * that share bytes, an output and the step record. */
#ifndef TUFF_TESTS_SMALL_STEP_H
#define TUFF_TESTS_SMALL_STEP_H

#include "program_test.h"

#include "runtime/graph/graph.h"
#include "runtime/model/model.h"

enum { STEP_WIDTH = 300, STEP_LAYERS = 6 };

typedef struct small_step {
    tuff_device *device;
    tuff_model model;
    tuff_optimizer optimizer;
    buffer *weights;                /* STEP_LAYERS times STEP_WIDTH floats */
    bool lent;                      /* weights are another's */
    tuff_tensor x, bias, y, record; /* what tuff_write and tuff_read are called with */
    lowered *lowered;
    tuff_program *program;
    uint32_t hidden[STEP_LAYERS]; /* storages */
} small_step;

/* Makes the program, with its state at its first values. options may be NULL. */
void small_step_open(small_step *step, tuff_device *device, const program_options *options);
/* The same, on the state of another one. */
void small_step_open_beside(small_step *step, const small_step *other, const program_options *options);
void small_step_close(small_step *step);

/* The i-th batch: STEP_WIDTH floats. */
void small_step_batch(uint32_t i, float *x);

/* The same on the host, float by float: what `runs` runs on batches 0, 1, ... leave. The bias is 0.5 throughout. */
typedef struct small_step_values {
    float y[STEP_WIDTH];
    float weights[STEP_LAYERS][STEP_WIDTH];
} small_step_values;
void small_step_expect(uint32_t runs, small_step_values *values);

/* Reads the last run's output and the state, which waits for the device. */
void small_step_read(small_step *step, small_step_values *values);

#endif
