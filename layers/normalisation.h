/* What layers/normalisation.c (over the batch) and layers/row_norms.c (within each example) share. */
#ifndef TUFF_LAYERS_NORMALISATION_H
#define TUFF_LAYERS_NORMALISATION_H

#include "runtime/graph/operator.h"

#include <tuff/layers.h>

/* Input 0 or 1 has channels at axis 1, and what follows it is a vector of them or missing. */
tuff_result check_channels(inference *inference, uint32_t x_index);

/* (C) as (1, C, 1, ...), and back. */
tuff_tensor *as_channels(tuff_tensor *vector, const tuff_tensor *x);
tuff_tensor *as_vector(tuff_tensor *channels, const tuff_tensor *x);

/* The mean of squared deviations from the mean: in a pass of its own, since the difference of two large means would
 * lose it. */
tuff_tensor *variance_about(tuff_tensor *x, tuff_tensor *mean, const tuff_reduce_desc *axes);
tuff_tensor *inverse_deviation(tuff_tensor *variance, double epsilon);

/* (1 - momentum) running + momentum statistic */
tuff_tensor *blend(tuff_tensor *running, tuff_tensor *statistic, float momentum);

/* Assigns to a running statistic what a row (input, running) with the attribute momentum makes of it; a layer used
 * twice follows both batches, one after the other. */
void follow_statistic(tuff_graph *graph, const operator* op, tuff_tensor *x, tuff_tensor *running, float momentum);

enum { MOMENTUM = 0 };
extern const attribute running_attributes[1];
extern const operator batch_norm_running_mean;

/* What is normalised within each example, in norm_rows.c: the axes of x from `axis` on are rows, whose elements in runs
 * of `spread` share a weight and a bias. These, of any shape that broadcasts to x, may be NULL. */
typedef struct norm {
    tuff_tensor *x, *weight, *bias;
    tuff_tensor *whole; /* x as it was before axis - 1 was divided into groups; NULL: it was not */
    uint32_t axis;
    int64_t spread;
    double epsilon;
    bool centred; /* false: by the root mean square, about 0 */
} norm;

/* In the shape of x, or the whole. */
tuff_tensor *norm_forward(const norm *n);
/* Gradients in the shapes of x, weight and bias, where there are such. */
void norm_backward(const norm *n, tuff_tensor *g, tuff_tensor **gx, tuff_tensor **gweight, tuff_tensor **gbias);
extern const operator operator_norm_rows, operator_norm_rows_backward;

/* In row_norms.c: rows and the places of their attributes. */
enum { LAYER_SHAPE = 0, LAYER_EPSILON }; /* rms_norm's, too */
enum { GROUP_COUNT = 0, GROUP_EPSILON };
enum { INSTANCE_STATISTICS = 0, INSTANCE_EPSILON };
enum { FROM_INPUT = 0, FROM_RUNNING, BY_PURPOSE }; /* the statistics */
extern const operator operator_layer_norm, operator_layer_norm_backward, operator_rms_norm, operator_rms_norm_backward,
    operator_group_norm, operator_group_norm_backward, operator_instance_norm, operator_instance_norm_backward,
    operator_instance_norm_running_var, operator_normalize;

#endif
