/* Training and testing on digits. */
#include "train.h"

#include "../common/random.h"
#include "../common/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        tuff_result result_ = (call);                                                                                  \
        if (result_ != TUFF_OK) return result_;                                                                        \
    } while (0)

static const double warm_up = 0.25; /* of the training, until the learning rate is at its highest */

tuff_result runner_make(runner *r, const network *network, uint32_t batch, uint32_t count, tuff_optimizer *optimizer) {
    *r = (runner){ .network = network, .batch = batch };
    r->pixels = malloc((size_t)batch * IMAGE_PIXELS * sizeof *r->pixels);
    r->labels = malloc(batch * sizeof *r->labels);
    if (r->pixels == NULL || r->labels == NULL) return tuff_fail(TUFF_ERROR_MEMORY, "no host memory for a batch");
    if (count >= batch) {
        TRY(network_compile(network, optimizer != NULL ? "train" : "test", batch, optimizer, &r->full));
    }
    if (count % batch != 0) {
        const char *name = optimizer != NULL ? "train the last batch" : "test the last batch";
        TRY(network_compile(network, name, count % batch, optimizer, &r->rest));
    }
    return TUFF_OK;
}

void runner_free(runner *r) {
    tuff_program_destroy(r->full);
    tuff_program_destroy(r->rest);
    free(r->pixels);
    free(r->labels);
}

/* Writes the batch that starts at `first` and gives the program it is for. The device may still be at work on the
 * batch before: this goes into the program's other recording. */
static tuff_result write_batch(runner *r, const digits *set, const uint32_t *order, uint32_t first, uint64_t *random,
                               tuff_program **program, uint32_t *count) {
    uint32_t left = set->count - first;
    *count = left < r->batch ? left : r->batch;
    *program = left < r->batch ? r->rest : r->full;
    digits_batch(set, order + first, *count, random, r->pixels, r->labels);
    TRY(tuff_write(*program, r->network->image, r->pixels, *count * IMAGE_PIXELS * sizeof *r->pixels));
    return tuff_write(*program, r->network->label, r->labels, *count * sizeof *r->labels);
}

tuff_result test_all(runner *test, const digits *set, double *accuracy) {
    uint32_t *order = malloc(set->count * sizeof *order);
    if (order == NULL) return tuff_fail(TUFF_ERROR_MEMORY, "no host memory for the order of the test");
    for (uint32_t i = 0; i < set->count; i++) order[i] = i;
    double right = 0;
    tuff_result result = TUFF_OK;
    for (uint32_t first = 0, count; first < set->count && result == TUFF_OK; first += count) {
        tuff_program *program = NULL;
        float share = 0;
        result = write_batch(test, set, order, first, NULL, &program, &count);
        if (result == TUFF_OK) result = tuff_run(program);
        if (result == TUFF_OK) result = tuff_read(program, test->network->accuracy, &share, sizeof share);
        right += rint((double)share * count);
    }
    free(order);
    *accuracy = right / set->count;
    return result;
}

/* The measures of one program's last run, as running means. */
typedef struct measures {
    double loss, accuracy;
    bool any;
} measures;

static tuff_result read_measures(const network *network, tuff_program *program, measures *m) {
    float loss, accuracy;
    TRY(tuff_read(program, network->loss, &loss, sizeof loss));
    TRY(tuff_read(program, network->accuracy, &accuracy, sizeof accuracy));
    double share = m->any ? 0.2 : 1;
    m->loss += share * ((double)loss - m->loss);
    m->accuracy += share * ((double)accuracy - m->accuracy);
    m->any = true;
    if (!isfinite(loss)) {
        return tuff_fail(TUFF_ERROR_ARGUMENT, "the loss is not finite any more: a smaller --lr may help");
    }
    return TUFF_OK;
}

static tuff_result train_epoch(training *t, int64_t epoch, runner *r, const digits *set, uint32_t *order, measures *m) {
    uint64_t random = t->seed * 0x9e3779b97f4a7c15u + (uint64_t)epoch;
    random_shuffle(&random, order, set->count);
    double start = clock_seconds(), all_images = (double)t->epochs * set->count;
    tuff_program *last = NULL;
    for (uint32_t first = 0, count; first < set->count; first += count) {
        tuff_program *program = NULL;
        TRY(write_batch(r, set, order, first, &random, &program, &count));
        /* Between the upload of this batch and its start: the batch before has run meanwhile, or is about to end. */
        if (last != NULL && progress_wants(t->progress)) {
            TRY(read_measures(r->network, last, m));
            char text[64];
            snprintf(text, sizeof text, "loss %.4f  accuracy %.1f %%", m->loss, 100 * m->accuracy);
            double done = (double)epoch * set->count + first, seconds = t->train_seconds + clock_seconds() - start;
            progress_draw(t->progress, &(progress_state){ .epoch = epoch + 1,
                                                          .done = (double)first / set->count,
                                                          .measures = text,
                                                          .per_second = done / seconds,
                                                          .seconds_left = (all_images - done) * seconds / done });
        }
        double done = ((double)epoch * set->count + first) / all_images;
        TRY(tuff_optimizer_set_lr(t->optimizer, (float)t->lr * one_cycle(done, warm_up)));
        TRY(tuff_run(program));
        last = program;
    }
    TRY(read_measures(r->network, last, m)); /* waits for the last batch */
    t->train_seconds += clock_seconds() - start;
    t->images_per_second = (double)(epoch + 1) * set->count / t->train_seconds;
    return TUFF_OK;
}

static tuff_result train_with_order(training *t, runner *train, const digits *train_set, runner *test,
                                    const digits *test_set, uint32_t *order) {
    for (uint32_t i = 0; i < train_set->count; i++) order[i] = i;
    measures m = { .any = false };
    for (int64_t epoch = 0; epoch < t->epochs; epoch++) {
        TRY(train_epoch(t, epoch, train, train_set, order, &m));
        TRY(test_all(test, test_set, &t->test_accuracy));
        char line[128];
        snprintf(line, sizeof line, "epoch %lld/%lld  loss %.4f  test accuracy %.2f %%  %.0f images/s",
                 (long long)epoch + 1, (long long)t->epochs, m.loss, 100 * t->test_accuracy, t->images_per_second);
        progress_epoch(t->progress, line);
    }
    return TUFF_OK;
}

tuff_result train_all(training *t, runner *train, const digits *train_set, runner *test, const digits *test_set) {
    uint32_t *order = malloc(train_set->count * sizeof *order);
    if (order == NULL) return tuff_fail(TUFF_ERROR_MEMORY, "no host memory for the order of an epoch");
    tuff_result result = train_with_order(t, train, train_set, test, test_set, order);
    free(order);
    return result;
}
