/* tuff bench: the command and its options. */
#include "bench.h"
#include "networks.h"

#include "tools/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what there is to measure -------------------------------------------------------------------- */

enum {
    PEAKS = 1, /* is compared with the device's peaks, of which the copy takes --mib */
    BATCH = 2, /* takes --batch, and so on */
    NETWORK = 4,
    PROFILE = 8,
    BY_NAME = 16, /* runs only if it is named */
};

typedef struct part {
    const char *name;
    bool (*run)(const bench *bench);
    int numbers; /* in its --shape; 0: it takes none */
    unsigned traits;
    const char *help;
} part;

static const part parts[] = {
    { "matmul", bench_matmul, 3, PEAKS, "matrix products" },
    { "conv2d", bench_conv2d, 7, PEAKS | BATCH, "convolutions: forward, gradients of the input and of the weight" },
    { "attention", bench_attention, 4, PEAKS | BATCH, "scaled dot product attention: forward, and with its gradients" },
    { "pointwise", bench_pointwise, 0, PEAKS, "pointwise operators and chains of them" },
    { "reduce", bench_reduce, 0, PEAKS, "sums and maxima" },
    { "norm", bench_norm, 0, PEAKS, "layer_norm, batch_norm, softmax, and their gradients" },
    { "optimizer", bench_optimizer, 0, PEAKS, "updates of parameters" },
    { "train", bench_train, 0, PEAKS | BATCH | NETWORK | PROFILE, "training steps of whole networks" },
    { "start", bench_start, 0, BATCH | NETWORK,
      "from compiling to the end of the first step, empty caches and full ones" },
    { "first-step", bench_first_step, 0, BATCH | NETWORK | BY_NAME,
      "the same in this process, with the caches as they are" },
    { "plans", bench_plans, 0, BATCH | NETWORK | BY_NAME,
      "what training steps are compiled to, with and without each fusion" },
    { "overhead", bench_overhead, 0, 0, "what a step of 200 small operators costs the host" },
};
enum { PARTS = sizeof parts / sizeof *parts };

static void usage(FILE *file) {
    fprintf(file, "usage: tuff bench [NAME ...] [options]\n\n");
    for (int i = 0; i < PARTS; i++)
        fprintf(file, "  %-11s %s%s\n", parts[i].name, parts[i].help,
                parts[i].traits & BY_NAME ? " (only if named)" : "");
    fprintf(file,
            "\n"
            "  --device D     index, part of the name, or UUID (tuff info lists them)\n"
            "  --json         one object a line and comparison: bench, shape, device, time, clock, rate, unit, ratio,\n"
            "                 ratio_to\n"
            "  --runs N       measured runs, of which the median counts (default 9)\n"
            "  --shape S      in place of the standard list: MxNxK of matmul; BATCHxCHANNELSxHxWxOUTxKERNELxPADDING\n"
            "                 of conv2d; BATCHxHEADSxTOKENSxFEATURES of attention\n"
            "  --batch N      of conv2d, attention, train, start and plans\n"
            "  --mib N        of the tensors of memory-bound work, and of the copy beside it (default 64)\n"
            "  --network N    of train, start and plans, one of");
    for (int i = 0; i < NETWORKS; i++) fprintf(file, "%s %s", i ? "," : "", network_kinds[i].name);
    fprintf(file,
            "\n"
            "  --profile      train: where each network's time goes, by kernels and labels\n"
            "  --small        small sizes everywhere: whether it runs, not how fast\n"
            "\n"
            "Times are the device's own where it has a clock. Ratios are to what ran in the same process, in turn:\n"
            "OpenBLAS where it is installed and the device is the CPU, the device's copy of a large buffer for work\n"
            "that memory limits; and to the peaks of multiply-adds and of the copy, measured at the start.\n"
            "tools/peers compares with PyTorch.\n");
}

/* ---- options ------------------------------------------------------------------------------------- */

bool shape_parse(const char *text, int64_t *sizes, int count) {
    for (int i = 0; i < count; i++) {
        char *end;
        if (*text < '0' || *text > '9') return false;
        long long value = strtoll(text, &end, 10);
        bool may_be_zero = count == 7 && i == 6; /* a padding */
        if (value < !may_be_zero || value > 1 << 20 || *end != (i + 1 < count ? 'x' : 0)) return false;
        sizes[i] = value;
        text = end + 1;
    }
    return true;
}

/* 0 with a message. */
static int64_t parse_count(const char *option, const char *text, int64_t most) {
    char *end;
    long long number = strtoll(text, &end, 10);
    if (end != text && !*end && number >= 1 && number <= most) return number;
    fprintf(stderr, "tuff bench: %s %s: a number from 1 to %lld is wanted\n", option, text, (long long)most);
    return 0;
}

static bool parse_network(const char *text, const char **network) {
    *network = text;
    if (network_find(text)) return true;
    fprintf(stderr, "tuff bench: --network %s: there are", text);
    for (int i = 0; i < NETWORKS; i++) fprintf(stderr, "%s %s", i ? "," : "", network_kinds[i].name);
    fprintf(stderr, "\n");
    return false;
}

static bool parse_flag(const char *word, bench_options *options) {
    if (strcmp(word, "--json") == 0) return options->json = true;
    if (strcmp(word, "--small") == 0) return options->small = true;
    if (strcmp(word, "--profile") == 0) return options->profile = true;
    return false;
}

/* An option with its value (NULL: it is missing). False with a message. */
static bool parse_value(const char *word, const char *value, bench_options *options) {
    static const char *const all[] = { "--device", "--shape", "--network", "--batch", "--mib", "--runs" };
    size_t option = 0;
    while (option < sizeof all / sizeof *all && strcmp(word, all[option]) != 0) option++;
    if (option == sizeof all / sizeof *all || !value) {
        fprintf(stderr, "tuff bench: \"%s\" %s; `tuff bench --help` lists what there is\n", word,
                value || option == sizeof all / sizeof *all ? "is not understood" : "wants a value");
        return false;
    }
    switch (option) {
    case 0: options->device = value; return true;
    case 1: options->shape = value; return true;
    case 2: return parse_network(value, &options->network);
    case 3: return (options->batch = parse_count(word, value, 1 << 20)) > 0;
    case 4: return (options->mib = parse_count(word, value, 1 << 16)) > 0;
    default: return (options->runs = (int)parse_count(word, value, 10000)) > 0;
    }
}

/* An option that nothing wanted takes would be without effect. */
static bool options_fit(const bench_options *options, const bool wanted[PARTS]) {
    const struct {
        const char *name;
        bool given;
        unsigned trait;
    } given[] = { { "--batch", options->batch != 0, BATCH },
                  { "--mib", options->mib != 0, PEAKS },
                  { "--network", options->network != NULL, NETWORK },
                  { "--profile", options->profile, PROFILE } };
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        bool taken = !given[i].given;
        for (int p = 0; p < PARTS; p++) taken = taken || (wanted[p] && parts[p].traits & given[i].trait);
        if (taken) continue;
        fprintf(stderr, "tuff bench: %s is taken by", given[i].name);
        for (int p = 0; p < PARTS; p++)
            if (parts[p].traits & given[i].trait) fprintf(stderr, " %s", parts[p].name);
        fprintf(stderr, "; none of these is named\n");
        return false;
    }
    return true;
}

static bool parse_part(const char *word, bool wanted[PARTS]) {
    for (int p = 0; p < PARTS; p++)
        if (strcmp(word, parts[p].name) == 0) return wanted[p] = true;
    return false;
}

/* A shape belongs to the one bench that is named. */
static bool shape_fits(const bench_options *options, const bool wanted[PARTS]) {
    int64_t sizes[7] = { 0 };
    const part *named = NULL;
    if (!options->shape) return true;
    for (int p = 0; p < PARTS; p++) {
        if (!wanted[p]) continue;
        if (named || !parts[p].numbers) return false;
        named = &parts[p];
    }
    if (!named || !shape_parse(options->shape, sizes, named->numbers)) return false;
    int64_t around = 2 * sizes[6]; /* a kernel lies within its image */
    return named->numbers != 7 || (sizes[5] <= sizes[2] + around && sizes[5] <= sizes[3] + around);
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, bench_options *options, bool wanted[PARTS]) {
    bool any = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage(stdout);
            return 0;
        }
        if (parse_part(argv[i], wanted)) {
            any = true;
        } else if (!parse_flag(argv[i], options)) {
            if (!parse_value(argv[i], argv[i + 1], options)) return 2;
            i++;
        }
    }
    if (!shape_fits(options, wanted)) {
        fprintf(stderr,
                "tuff bench: --shape %s: name matmul, conv2d or attention, and as many numbers as `tuff bench "
                "--help` says\n",
                options->shape);
        return 2;
    }
    for (int p = 0; !any && p < PARTS; p++) wanted[p] = !(parts[p].traits & BY_NAME);
    if (!options_fit(options, wanted)) return 2;
    if (!options->mib) options->mib = options->small ? 1 : 64;
    return -1;
}

/* ---- the command --------------------------------------------------------------------------------- */

static void log_line(void *user, tuff_log_level level, const char *message) {
    bool *quiet = user;
    if (level == TUFF_LOG_INFO) return;
    fprintf(stderr, "tuff bench: %s\n", message);
    *quiet = false;
}

int command_bench(int argc, char **argv) {
    bool wanted[PARTS] = { false }, peaks = false, quiet = true;
    bench bench = { .options = { .runs = 9 } };
    int status = parse(argc, argv, &bench.options, wanted);
    if (status >= 0) return status;
    const tuff_device_desc desc = { .select = bench.options.device, .log = log_line, .log_user = &quiet };
    if (tuff_device_open(&desc, &bench.device) != TUFF_OK) {
        bench_failed("opening a device");
        return 1;
    }
    if (!bench.options.json) {
        const tuff_device_info *info = tuff_device_get_info(bench.device);
        printf("%s, %s\n", info->name, info->driver_info);
    }
    for (int p = 0; p < PARTS; p++) peaks |= wanted[p] && parts[p].traits & PEAKS;
    bool good = !peaks || peaks_measure(&bench);
    for (int p = 0; p < PARTS && good; p++)
        if (wanted[p]) good = parts[p].run(&bench);
    peaks_close(&bench);
    tuff_device_close(bench.device);
    return good && quiet ? 0 : 1;
}
