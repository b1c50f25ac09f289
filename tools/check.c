/* tuff check: every operator's kernels, with every variant that the device can run, against the double-precision
 * reference, under the Khronos validation layer where it is installed. */
#include "command.h"

#include "layers/variants.h"
#include "tests/operators/optimizers.h"
#include "tests/operators/trial.h"
#include "tests/reference/cases.h"
#include <tuff/tuff.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A path that can be forced (tuff_device_desc.force), and the families of operators that it changes; NULL: all. Every
 * variant of the product's kernels is one, too. */
typedef struct forced_path {
    char force[48];
    const char *families;
} forced_path;

static const forced_path PATHS[] = {
    { "", NULL },
    { "product=row,split", "product convolution" },
    { "product=tile64,split", "product convolution" },
    { "direct=4096,split", "convolution" },
    { "fuse=none", "product convolution loss" },
    { "reduce=group", "reduction normalisation loss" },
    { "recurrent=tiled", "recurrent" },
    { "recurrent=product", "recurrent" },
    { "staging", "shape lookup" },
};
enum { PATH_COUNT = sizeof PATHS / sizeof *PATHS };

typedef struct options {
    const char *device, *filter;
    bool json;
} options;

typedef struct check {
    const options *options;
    tuff_device *device;
    const char *variant;
    uint32_t messages; /* of validation, since the last case */
    char message[512]; /* the first of them */
    int passed, failed, unsupported;
} check;

static void usage(FILE *file) {
    fprintf(file,
            "usage: tuff check [--device D] [--filter NAME] [--json]\n\n"
            "Runs every operator with every variant of its kernels on a device and compares values and gradients\n"
            "with a double-precision reference. error: the largest difference, as a share of the tolerance, which\n"
            "is what float32 rounding of the terms can explain. The exit status is 0 if all passed.\n\n"
            "  --device D     index, part of the name, or UUID (tuff info lists them)\n"
            "  --filter NAME  only operators, families or variants whose name contains NAME\n"
            "  --json         one JSON document in place of the table\n");
}

static void receive(void *user, tuff_log_level level, const char *message) {
    check *c = user;
    if (level == TUFF_LOG_INFO) return;
    if (!c->messages++) snprintf(c->message, sizeof c->message, "%s", message);
}

/* ---- output ---- */

static void print_json_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else if (byte < 0x20)
            printf("\\u%04x", byte);
        else
            putchar(byte);
    }
    putchar('"');
}

static void report(check *c, const char *family, const char *name, const char *shapes, trial *t) {
    if (c->messages) {
        t->passed = false;
        snprintf(t->message, sizeof t->message, "%u validation messages: %.400s", c->messages, c->message);
        c->messages = 0;
    }
    if (t->unsupported) { /* a forced variant that this device cannot run */
        c->unsupported++;
        return;
    }
    *(t->passed ? &c->passed : &c->failed) += 1;
    if (!c->options->json) {
        printf("%-13s %-17s %-20s %-56s %9.3g  %s\n", family, name, *c->variant ? c->variant : "-", shapes, t->error,
               t->passed ? "ok" : "FAILED");
        if (!t->passed) printf("    %s\n", t->message);
        fflush(stdout);
        return;
    }
    printf("%s{\"family\":\"%s\",\"operator\":\"%s\",\"variant\":\"%s\",\"shapes\":\"%s\",",
           c->passed + c->failed > 1 ? ",\n" : "", family, name, c->variant, shapes);
    if (isfinite(t->error)) printf("\"error\":%.4g,", t->error);
    printf("\"passed\":%s,\"message\":", t->passed ? "true" : "false");
    print_json_text(t->message);
    printf("}");
}

/* ---- running ---- */

/* With the validation layer if it is installed; *validating says so. */
static tuff_device *open_device(check *c, const char *force, bool *validating) {
    tuff_device_desc desc = { .select = c->options->device,
                              .force = force,
                              .log = receive,
                              .log_user = c,
                              .validation = TUFF_VALIDATION_DEFAULT };
    const char *environment = getenv("TUFF_VALIDATION");
    if (!environment) desc.validation = TUFF_VALIDATION_ON;
    tuff_device *device = NULL;
    tuff_result result = tuff_device_open(&desc, &device);
    *validating = result == TUFF_OK && (!environment || strcmp(environment, "0") != 0);
    if (result == TUFF_ERROR_UNSUPPORTED && !environment) {
        desc.validation = TUFF_VALIDATION_OFF;
        result = tuff_device_open(&desc, &device);
    }
    c->messages = 0;
    return device;
}

static bool wanted(const check *c, const char *family, const char *name) {
    const char *filter = c->options->filter;
    return !filter || strstr(family, filter) || strstr(name, filter) || strstr(c->variant, filter);
}

static void check_case(check *c, const operator_case *line, const char *families) {
    static recipe r;
    const char *family = recipe_find(line->op)->family, *message;
    if ((families && !strstr(families, family)) || !wanted(c, family, line->op)) return;
    char shapes[160];
    snprintf(shapes, sizeof shapes, "%s%s%s", line->shapes, *line->attributes ? "; " : "", line->attributes);
    trial t = { 0 };
    if (recipe_case(&r, line->op, line->shapes, line->attributes, &message))
        t = trial_run(c->device, &r);
    else
        snprintf(t.message, sizeof t.message, "the case is not understood at \"%s\"", message);
    recipe_clear(&r);
    report(c, family, line->op, shapes, &t);
}

static void check_optimizer(check *c, const optimizer_case *line, double clip) {
    static const char *const kinds[] = { "sgd", "adam", "adamw" };
    const char *name = kinds[line->kind];
    if (!wanted(c, "optimizer", name)) return;
    char shapes[160];
    const char *attributes = strchr(line->name, ' ');
    snprintf(shapes, sizeof shapes, "37 5;%s%s", attributes ? attributes : "", clip > 0 ? " clip" : "");
    trial t = optimizer_trial(c->device, line, clip);
    report(c, "optimizer", name, shapes, &t);
}

static bool check_path(check *c, const forced_path *path, bool first) {
    bool validating;
    c->variant = path->force;
    c->device = open_device(c, *c->variant ? c->variant : NULL, &validating);
    if (!c->device) {
        fprintf(stderr, "tuff check: %s\n", tuff_last_message());
        return false;
    }
    const tuff_device_info *info = tuff_device_get_info(c->device);
    if (first && c->options->json) {
        printf("{\"device\":");
        print_json_text(info->name);
        printf(",\"driver\":");
        print_json_text(info->driver_info);
        printf(",\"validation\":%s,\"checks\":[\n", validating ? "true" : "false");
    } else if (first) {
        printf("device %s, driver %s %s\n%s\n\n%-13s %-17s %-20s %-56s %9s  %s\n", info->name, info->driver,
               info->driver_info,
               validating ? "under the Khronos validation layer"
                          : "without validation (TUFF_VALIDATION=0, or vulkan-validationlayers is not installed)",
               "family", "operator", "variant", "shapes", "error", "verdict");
    }
    for (int i = 0; i < OPERATOR_CASE_COUNT; i++) check_case(c, &OPERATOR_CASES[i], path->families);
    for (int i = 0; !path->families && i < 2 * OPTIMIZER_CASE_COUNT; i++)
        check_optimizer(c, &OPTIMIZER_CASES[i / 2], i % 2 ? 0.5 : 0);
    tuff_device_close(c->device);
    return true;
}

int command_check(int argc, char **argv) {
    options o = { 0 };
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            o.json = true;
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            usage(stdout);
            return 0;
        } else if (!strcmp(argv[i], "--device") && i + 1 < argc) {
            o.device = argv[++i];
        } else if (!strcmp(argv[i], "--filter") && i + 1 < argc) {
            o.filter = argv[++i];
        } else {
            bool cut = !strcmp(argv[i], "--device") || !strcmp(argv[i], "--filter");
            fprintf(stderr, cut ? "tuff check: %s needs a value\n\n" : "tuff check: \"%s\" is not an option\n\n",
                    argv[i]);
            usage(stderr);
            return 2;
        }
    }
    check c = { .options = &o };
    for (int i = 0; i < PATH_COUNT; i++)
        if (!check_path(&c, &PATHS[i], i == 0)) return 1;
    uint32_t variants;
    const product_variant *variant = product_variants(&variants);
    for (uint32_t i = 0; i < variants; i++) {
        forced_path path = { .families = "product convolution" };
        snprintf(path.force, sizeof path.force, "product=%s", variant[i].name);
        if (!check_path(&c, &path, false)) return 1;
    }
    bool found = c.passed || c.failed || c.unsupported;
    if (!found) fprintf(stderr, "tuff check: nothing has the name \"%s\"\n", o.filter);
    if (o.json)
        printf("\n],\"passed\":%d,\"failed\":%d,\"unsupported\":%d}\n", c.passed, c.failed, c.unsupported);
    else if (!found)
        return 2;
    else if (c.unsupported)
        printf("\n%d passed, %d failed, %d need what this device lacks\n", c.passed, c.failed, c.unsupported);
    else
        printf("\n%d passed, %d failed\n", c.passed, c.failed);
    if (!found) return 2;
    return c.failed ? 1 : 0;
}
