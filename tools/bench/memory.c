/* tuff bench pointwise, reduce and norm: work that memory limits. What counts are the bytes that it must read and write
 * at least, where nothing stays in a cache: as a share of the device's own copy. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

/* One figure: how the results are built of a tensor of the standard size, and how often its bytes go by. */
typedef struct memory_work {
    const char *bench, *name;
    int passes;     /* tensors of that size read and written */
    int operations; /* for each number, by the formula; a function such as exp is taken for one */
    bool (*build)(subject *subject, tuff_shape shape);
    bool images, training;
} memory_work;

static tuff_tensor *x_of(const subject *subject, tuff_shape shape) {
    return subject_values(subject, "x", shape);
}

/* The gradients of x, and of `vectors` parameters behind it. The forward pass is there too, with all
 * that it leaves to the backward one, but only the latter's dispatches count where the device has a clock. */
static bool backward(subject *subject, tuff_tensor *y, tuff_shape shape, uint32_t vectors) {
    tuff_tensor *gradients[8] = { NULL };
    uint32_t needs = (1u << (1 + vectors)) - 1;
    if (!subject_gradients(y, subject_values(subject, "gy", shape), needs, gradients)) return false;
    subject->segment = "backward";
    subject_result(subject, y);
    for (uint32_t i = 0; i <= vectors; i++)
        if (gradients[i]) subject_result(subject, gradients[i]);
    return true;
}

/* ---- pointwise ----------------------------------------------------------------------------------- */

static bool add(subject *subject, tuff_shape shape) {
    subject_result(subject, tuff_add(x_of(subject, shape), subject_values(subject, "y", shape)));
    return true;
}

static bool relu(subject *subject, tuff_shape shape) {
    subject_result(subject, tuff_relu(x_of(subject, shape)));
    return true;
}

static bool gelu(subject *subject, tuff_shape shape) {
    subject_result(subject, tuff_gelu(x_of(subject, shape), NULL));
    return true;
}

static bool gelu_backward(subject *subject, tuff_shape shape) {
    tuff_tensor *x = x_of(subject, shape), *gradient = NULL;
    tuff_tensor *loss = tuff_sum(tuff_mul(tuff_gelu(x, NULL), subject_values(subject, "gy", shape)), NULL);
    if (!loss || tuff_gradients(loss, &x, 1, &gradient) != TUFF_OK) return bench_failed("gelu");
    subject_result(subject, gradient); /* the loss is in nobody's way: nothing asks for it */
    return true;
}

/* relu((x + bias) scale) + residual: what follows a product in a network. */
static bool chain(subject *subject, tuff_shape shape) {
    tuff_shape row = TUFF_SHAPE(shape.sizes[shape.rank - 1]);
    tuff_tensor *y = tuff_add(x_of(subject, shape), subject_values(subject, "bias", row));
    y = tuff_relu(tuff_mul(y, subject_values(subject, "scale", row)));
    subject_result(subject, tuff_add(y, subject_values(subject, "residual", shape)));
    return true;
}

/* ---- reductions ---------------------------------------------------------------------------------- */

static bool sum_all(subject *subject, tuff_shape shape) {
    subject_result(subject, tuff_sum(x_of(subject, shape), NULL));
    return true;
}

static bool sum_rows(subject *subject, tuff_shape shape) {
    subject_result(subject, tuff_sum(x_of(subject, shape), &(tuff_reduce_desc){ .axes = { -1 }, .axis_count = 1 }));
    return true;
}

static bool sum_columns(subject *subject, tuff_shape shape) {
    subject_result(subject, tuff_sum(x_of(subject, shape), &(tuff_reduce_desc){ .axes = { 0 }, .axis_count = 1 }));
    return true;
}

static bool amax_rows(subject *subject, tuff_shape shape) {
    subject_result(subject, tuff_amax(x_of(subject, shape), &(tuff_reduce_desc){ .axes = { -1 }, .axis_count = 1 }));
    return true;
}

static bool sum_channels(subject *subject, tuff_shape shape) {
    const tuff_reduce_desc axes = { .axes = { 0, 2, 3 }, .axis_count = 3 };
    subject_result(subject, tuff_sum(x_of(subject, shape), &axes));
    return true;
}

/* ---- normalisation ------------------------------------------------------------------------------- */

static bool forward(subject *subject, tuff_tensor *y) {
    subject_result(subject, y);
    return true;
}

static tuff_tensor *layer_norm(const subject *subject, tuff_shape shape) {
    return tuff_layer_norm(x_of(subject, shape), &(tuff_layer_norm_desc){ .name = "norm" });
}

static tuff_tensor *batch_norm(const subject *subject, tuff_shape shape) {
    return tuff_batch_norm(x_of(subject, shape), &(tuff_batch_norm_desc){ .name = "norm" });
}

static bool layer_norm_forward(subject *subject, tuff_shape shape) {
    return forward(subject, layer_norm(subject, shape));
}

static bool layer_norm_backward(subject *subject, tuff_shape shape) {
    return backward(subject, layer_norm(subject, shape), shape, 2);
}

static bool batch_norm_forward(subject *subject, tuff_shape shape) {
    return forward(subject, batch_norm(subject, shape));
}

static bool batch_norm_backward(subject *subject, tuff_shape shape) {
    return backward(subject, batch_norm(subject, shape), shape, 2);
}

static bool softmax_forward(subject *subject, tuff_shape shape) {
    return forward(subject, tuff_softmax(x_of(subject, shape), -1));
}

static bool softmax_backward(subject *subject, tuff_shape shape) {
    return backward(subject, tuff_softmax(x_of(subject, shape), -1), shape, 0);
}

/* ---- the list ------------------------------------------------------------------------------------ */

/* A row stays in a cache between two walks over it, a batch's channel does not: batch norm's statistics, and the sums
 * of its backward pass, are walks of their own. */
static const memory_work works[] = {
    { "pointwise", "add", 3, 1, add, false, false },
    { "pointwise", "relu", 2, 1, relu, false, false },
    { "pointwise", "gelu", 2, 5, gelu, false, false },
    { "pointwise", "gelu backward", 3, 9, gelu_backward, false, false },
    { "pointwise", "bias, scale, relu, residual", 3, 4, chain, false, false },
    { "reduce", "sum", 1, 1, sum_all, false, false },
    { "reduce", "sum of rows", 1, 1, sum_rows, false, false },
    { "reduce", "sum of columns", 1, 1, sum_columns, false, false },
    { "reduce", "sum of channels", 1, 1, sum_channels, true, false },
    { "reduce", "amax of rows", 1, 1, amax_rows, false, false },
    { "norm", "layer_norm", 2, 8, layer_norm_forward, false, false },
    { "norm", "layer_norm backward", 3, 12, layer_norm_backward, false, false },
    { "norm", "batch_norm training", 3, 8, batch_norm_forward, true, true },
    { "norm", "batch_norm backward", 5, 10, batch_norm_backward, true, true },
    { "norm", "softmax", 2, 5, softmax_forward, false, false },
    { "norm", "softmax backward", 3, 4, softmax_backward, false, false },
};

/* Rows of 1,024, or images of 64 channels of 64 x 64, of mib MiB. */
static tuff_shape standard_shape(int64_t mib, bool images) {
    return images ? TUFF_SHAPE(mib, 64, 64, 64) : TUFF_SHAPE(mib * 256, 1024);
}

static bool run(const bench *bench, const memory_work *w) {
    tuff_shape shape = standard_shape(bench->options.mib, w->images);
    subject subject;
    work work = { .bench = w->bench,
                  .flops = (double)tuff_shape_count(&shape) * w->operations,
                  .bytes = 4.0 * (double)tuff_shape_count(&shape) * w->passes,
                  .memory_bound = true };
    int used = snprintf(work.shape, sizeof work.shape, "%s ", w->name);
    for (uint32_t i = 0; i < shape.rank; i++)
        used += snprintf(work.shape + used, sizeof work.shape - (size_t)used, "%s%lld", i ? "x" : "",
                         (long long)shape.sizes[i]);
    if (!subject_open(bench, &subject)) return false;
    subject.training = w->training;
    if (w->build(&subject, shape)) return subject_measure(&subject, &work, NULL, 0);
    subject_close(&subject);
    return false;
}

static bool run_all(const bench *bench, const char *name) {
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(works[i].bench, name) == 0 && !run(bench, &works[i])) return false;
    return true;
}

bool bench_pointwise(const bench *bench) {
    return run_all(bench, "pointwise");
}

bool bench_reduce(const bench *bench) {
    return run_all(bench, "reduce");
}

bool bench_norm(const bench *bench) {
    return run_all(bench, "norm");
}
