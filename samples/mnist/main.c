/* Trains a network on MNIST's digits: `samples/run mnist --help`. */
#include "digits.h"
#include "network.h"
#include "train.h"

#include "../common/files.h"
#include "../common/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char sample[] = "mnist";

typedef struct settings {
    int64_t epochs, batch; /* 0 of batch, -1 of epochs, 0 of lr: the recipe's */
    double lr;
    int64_t seed;
    const char *device, *model, *save, *load, *data;
    bool json_only;
} settings;

static int parse(settings *s, int argc, char **argv) {
    const option options[] = {
        { "--epochs", OPTION_COUNT, &s->epochs, "N", "passes over the digits (cnn: 3, mlp: 20); 0 tests only", 0,
          100000, NULL },
        { "--batch", OPTION_COUNT, &s->batch, "N", "images for each step (64)", 1, 65536, NULL },
        { "--lr", OPTION_NUMBER, &s->lr, "RATE", "the highest learning rate (cnn: 0.005, mlp: 0.002)", 0, 1000, NULL },
        { "--seed", OPTION_COUNT, &s->seed, "N", "of weights, shuffling and dropout (1)", 0, INT64_MAX, NULL },
        { "--device", OPTION_TEXT, &s->device, "DEVICE",
          "its number, a part of its name, or its UUID (tuff info lists them)", 0, 0, NULL },
        { "--model", OPTION_CHOICE, &s->model, NULL, "a convolutional network or a plain one (cnn)", 0, 0, "cnn|mlp" },
        { "--save", OPTION_TEXT, &s->save, "FILE", "write the trained model as safetensors", 0, 0, NULL },
        { "--load", OPTION_TEXT, &s->load, "FILE", "start from a saved model", 0, 0, NULL },
        { "--data", OPTION_TEXT, &s->data, "DIR", "MNIST in IDX form (10,000 digits that come with Tuff)", 0, 0, NULL },
        { "--json-only", OPTION_FLAG, &s->json_only, NULL, "print nothing but the line of JSON", 0, 0, NULL },
    };
    const option_table table = {
        .sample = sample,
        .about = "Trains a network to read handwritten digits, tests it on digits it has not seen, and ends with one\n"
                 "line of JSON.",
        .options = options,
        .count = sizeof options / sizeof options[0],
    };
    return options_parse(&table, argc, argv);
}

/* All that is on a device, so that one function can give it back. */
typedef struct trainer {
    double start;
    digits train_set, test_set;
    tuff_device *device;
    tuff_model *model;
    tuff_optimizer *optimizer;
    network network;
    runner train, test;
    training training;
    progress progress;
} trainer;

static int fail(const char *message) {
    return report_failure(sample, message);
}

static int prepare(trainer *s, const settings *settings, const recipe *recipe) {
    tuff_device_desc desc = { .select = settings->device, .log = report_log, .log_user = (void *)sample };
    if (tuff_device_open(&desc, &s->device) != TUFF_OK) return fail(tuff_last_message());
    report_device(&s->progress, tuff_device_get_info(s->device));

    uint32_t batch = (uint32_t)(settings->batch > 0 ? settings->batch : recipe->batch);
    if (batch > s->train_set.count) batch = s->train_set.count;
    uint32_t test_batch = s->test_set.count < 250 ? s->test_set.count : 250;
    s->model = tuff_model_create(s->device, &(tuff_model_desc){ .seed = (uint64_t)settings->seed });
    if (s->model == NULL) return fail(tuff_last_message());
    s->optimizer = tuff_adamw_create(s->model, &(tuff_adamw_desc){ .weight_decay = recipe->weight_decay });
    if (s->optimizer == NULL || network_build(s->model, recipe, batch, &s->network) != TUFF_OK
        || (s->training.epochs > 0
            && runner_make(&s->train, &s->network, batch, s->train_set.count, s->optimizer) != TUFF_OK)
        || runner_make(&s->test, &s->network, test_batch, s->test_set.count, NULL) != TUFF_OK) {
        return fail(tuff_last_message());
    }
    if (settings->load != NULL && tuff_load(s->model, settings->load, NULL) != TUFF_OK)
        return fail(tuff_last_message());
    /* kernels are compiled, where that is left to do, while the first batch is made */
    if (s->train.full != NULL && tuff_program_warm(s->train.full) != TUFF_OK) return fail(tuff_last_message());
    return 0;
}

static int work(trainer *s, const settings *settings) {
    training *t = &s->training;
    tuff_result result = t->epochs > 0 ? train_all(t, &s->train, &s->train_set, &s->test, &s->test_set)
                                       : test_all(&s->test, &s->test_set, &t->test_accuracy);
    if (result != TUFF_OK) return fail(tuff_last_message());
    if (settings->save != NULL) {
        if (tuff_save(s->model, settings->save, NULL) != TUFF_OK) return fail(tuff_last_message());
        progress_note(&s->progress, "saved as %s", settings->save);
    }
    json_begin(sample);
    json_device(tuff_device_get_info(s->device));
    json_number("test_accuracy", t->test_accuracy, 4);
    json_number("images_per_second", t->epochs > 0 ? t->images_per_second : NAN, 1);
    json_number("seconds", clock_seconds() - s->start, 1);
    json_end();
    return 0;
}

static int run(trainer *s, const settings *settings) {
    const recipe *recipe = recipe_find(settings->model);
    char message[4400];
    const char *data = settings->data != NULL ? settings->data : SAMPLE_DATA;
    if (!files_can_load(settings->load, message, sizeof message)
        || !files_can_write(settings->save, message, sizeof message)
        || !digits_read(data, "train", &s->train_set, message, sizeof message)
        || !digits_read(data, "t10k", &s->test_set, message, sizeof message)) {
        return fail(message);
    }
    s->training = (training){
        .lr = settings->lr > 0 ? settings->lr : recipe->lr,
        .epochs = settings->epochs >= 0 ? settings->epochs : recipe->epochs,
        .seed = (uint64_t)settings->seed,
        .progress = &s->progress,
    };
    progress_begin(&s->progress, settings->json_only, s->training.epochs, "images");
    int status = prepare(s, settings, recipe);
    if (status != 0) return status;
    s->training.optimizer = s->optimizer;
    return work(s, settings);
}

int main(int argc, char **argv) {
    trainer s = { .start = clock_seconds() };
    settings settings = { .epochs = -1, .seed = 1, .model = "cnn" };
    int status = parse(&settings, argc, argv);
    if (status >= 0) return status;
    status = run(&s, &settings);
    runner_free(&s.train);
    runner_free(&s.test);
    tuff_graph_destroy(s.network.graph);
    tuff_model_destroy(s.model);
    tuff_device_close(s.device);
    digits_free(&s.train_set);
    digits_free(&s.test_set);
    return status;
}
