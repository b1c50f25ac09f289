/* tuff bench optimizer: the update of parameters, bytes a second. Only the update's own dispatches count, where the
 * device has a clock. */
#include "bench.h"

#include "runtime/device/device.h"

#include <stdio.h>

static tuff_optimizer *sgd(tuff_model *model) {
    return tuff_sgd_create(model, &(tuff_sgd_desc){ .lr = 1e-3f });
}

static tuff_optimizer *sgd_momentum(tuff_model *model) {
    return tuff_sgd_create(model, &(tuff_sgd_desc){ .lr = 1e-3f, .momentum = 0.9f });
}

static tuff_optimizer *adam(tuff_model *model) {
    return tuff_adam_create(model, NULL);
}

static tuff_optimizer *adamw(tuff_model *model) {
    return tuff_adamw_create(model, NULL);
}

/* passes: how often as many bytes as the parameters have are read and written: parameter, gradient, moments.
 * operations: for each parameter, by the formula. */
static bool step(const bench *bench, const char *name, tuff_optimizer *(*create)(tuff_model *model), int passes,
                 int operations) {
    const tuff_shape shape = TUFF_SHAPE(bench->options.mib * 256, 1024);
    bool clock = device_get_limits(bench->device)->timestamp_period > 0;
    subject subject;
    if (!subject_open(bench, &subject)) return false;
    subject.optimizer = create(subject.model);
    subject.segment = "update";
    /* the cheapest loss: its gradient is written, which counts where only the whole can be timed */
    subject.minimize = tuff_sum(subject_values(&subject, "p", shape), NULL);
    work work = { .bench = "optimizer",
                  .flops = (double)tuff_shape_count(&shape) * operations,
                  .bytes = 4.0 * (double)tuff_shape_count(&shape) * (passes + !clock),
                  .memory_bound = true };
    snprintf(work.shape, sizeof work.shape, "%s %lldx%lld", name, (long long)shape.sizes[0], (long long)shape.sizes[1]);
    if (subject.optimizer) return subject_measure(&subject, &work, NULL, 0);
    subject_close(&subject);
    return bench_failed(name);
}

bool bench_optimizer(const bench *bench) {
    return step(bench, "sgd", sgd, 3, 2) && step(bench, "sgd momentum", sgd_momentum, 5, 4)
           && step(bench, "adam", adam, 7, 12) && step(bench, "adamw", adamw, 7, 14);
}
