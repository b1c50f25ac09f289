/* tuff bench: matrix products and convolutions in GFLOP/s, beside OpenBLAS where it is installed, and training in
 * images/s. Speeds on a shared machine vary: what is compared runs in turn, and medians count. */
#include "bench.h"

#include "command.h"
#include "layers/convolution.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double bench_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

static void print_json_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putchar('\\');
        if ((unsigned char)*text >= 0x20) putchar(*text);
    }
    putchar('"');
}

void bench_report(const bench *bench, const char *name, const char *shape, double rate, const char *unit, double ratio,
                  const char *ratio_to) {
    const char *device = tuff_device_get_info(bench->device)->name;
    if (bench->options.json) {
        printf("{\"bench\":\"%s\",\"shape\":\"%s\",\"device\":", name, shape);
        print_json_text(device);
        printf(",\"rate\":%.6g,\"unit\":\"%s\",", rate, unit);
        if (ratio > 0)
            printf("\"ratio\":%.4g,\"ratio_to\":\"%s\"}\n", ratio, ratio_to);
        else
            printf("\"ratio\":null,\"ratio_to\":null}\n");
    } else {
        printf("%-20s %-34s %10.4g %-9s", name, shape, rate, unit);
        if (ratio > 0) printf(" %6.3f of %s", ratio, ratio_to);
        putchar('\n');
    }
    fflush(stdout);
}

/* ---- OpenBLAS, where it is ---------------------------------------------------------------------- */

typedef void (*sgemm_fn)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                         const float *b, int ldb, float beta, float *c, int ldc);

static sgemm_fn find_sgemm(void) {
    static const char *const names[] = { "libopenblas.so.0", "libopenblas.so" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        void *symbol = library ? dlsym(library, "cblas_sgemm") : NULL;
        sgemm_fn sgemm;
        memcpy(&sgemm, &symbol, sizeof sgemm); /* C has no cast from an object's pointer to a function's */
        if (sgemm) return sgemm;
    }
    return NULL;
}

typedef struct blas {
    sgemm_fn sgemm;
    int m, n, k;
    float *a, *b, *c;
} blas;

static bool blas_open(blas *blas, const int64_t mnk[3]) {
    *blas = (struct blas){ .sgemm = mnk ? find_sgemm() : NULL };
    if (!blas->sgemm) return false;
    blas->m = (int)mnk[0], blas->n = (int)mnk[1], blas->k = (int)mnk[2];
    size_t a = (size_t)(mnk[0] * mnk[2]), b = (size_t)(mnk[2] * mnk[1]), c = (size_t)(mnk[0] * mnk[1]);
    blas->a = malloc(a * sizeof(float));
    blas->b = malloc(b * sizeof(float));
    blas->c = calloc(c, sizeof(float));
    if (!blas->a || !blas->b || !blas->c) return false;
    for (size_t i = 0; i < a; i++) blas->a[i] = (float)(i % 13) * 0.1f - 0.6f;
    for (size_t i = 0; i < b; i++) blas->b[i] = (float)(i % 11) * 0.1f - 0.5f;
    return true;
}

static double blas_run(const blas *blas) {
    enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111 };
    double start = bench_seconds();
    blas->sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, blas->m, blas->n, blas->k, 1, blas->a, blas->k, blas->b, blas->n,
                0, blas->c, blas->n);
    return bench_seconds() - start;
}

static void blas_close(blas *blas) {
    free(blas->a);
    free(blas->b);
    free(blas->c);
}

/* ---- measuring ---------------------------------------------------------------------------------- */

static bool failed(const char *what) {
    fprintf(stderr, "tuff bench: %s: %s\n", what, tuff_last_message());
    return false;
}

bool bench_program(const bench *bench, tuff_program *program, const int64_t sgemm_mnk[3], double *seconds,
                   double *blas_seconds) {
    enum { WARM = 2 };
    int runs = bench->options.runs;
    double *times = calloc((size_t)runs * 2, sizeof *times), *blas_times = times ? times + runs : NULL;
    blas blas;
    bool beside = blas_open(&blas, sgemm_mnk), good = times != NULL;
    for (int i = -WARM; good && i < runs; i++) {
        double start = bench_seconds();
        good = tuff_run(program) == TUFF_OK && tuff_device_wait(bench->device) == TUFF_OK;
        if (i >= 0) times[i] = bench_seconds() - start;
        double other = beside ? blas_run(&blas) : 0;
        if (i >= 0) blas_times[i] = other;
    }
    if (good) {
        *seconds = bench_median(times, runs);
        *blas_seconds = beside ? bench_median(blas_times, runs) : 0;
    }
    blas_close(&blas);
    free(times);
    return good || failed("running");
}

typedef struct subject {
    const char *name, *shape;
    double flops;
    const int64_t *sgemm_mnk;
} subject;

/* Compiles for one output and measures. On a GPU the result stays there, and one sum is read: writing it to the host's
 * memory would be what is measured. */
static bool measure(const bench *bench, tuff_graph *graph, tuff_tensor *result, const subject *subject) {
    bool cpu = tuff_device_get_info(bench->device)->type == TUFF_DEVICE_CPU;
    tuff_tensor *outputs[] = { cpu ? result : tuff_sum(result, NULL) };
    tuff_program *program = NULL;
    tuff_program_desc desc = { .name = subject->name, .outputs = outputs, .output_count = 1, .evaluate = true };
    desc.recordings = 1;
    double seconds, blas;
    bool good = tuff_compile(graph, &desc, &program) == TUFF_OK || failed(subject->name);
    good = good && bench_program(bench, program, subject->sgemm_mnk, &seconds, &blas);
    if (good)
        bench_report(bench, subject->name, subject->shape, subject->flops / seconds * 1e-9, "GFLOP/s", blas / seconds,
                     "OpenBLAS sgemm");
    tuff_program_destroy(program);
    return good;
}

static const tuff_init_desc uniform = { TUFF_INIT_UNIFORM, 1 };

static bool bench_matmul_shape(const bench *bench, const int64_t mnk[3]) {
    char shape[64];
    snprintf(shape, sizeof shape, "%lldx%lldx%lld", (long long)mnk[0], (long long)mnk[1], (long long)mnk[2]);
    tuff_model *model = tuff_model_create(bench->device, NULL);
    tuff_graph *graph = model ? tuff_graph_create(model) : NULL;
    if (!graph) return failed("matmul");
    tuff_tensor *a = tuff_parameter(graph, "a", TUFF_SHAPE(mnk[0], mnk[2]), &uniform);
    tuff_tensor *b = tuff_parameter(graph, "b", TUFF_SHAPE(mnk[2], mnk[1]), &uniform);
    double flops = 2.0 * (double)mnk[0] * (double)mnk[1] * (double)mnk[2];
    bool good = measure(bench, graph, tuff_matmul(a, b, NULL), &(subject){ "matmul", shape, flops, mnk });
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return good;
}

static bool bench_matmul(const bench *bench) {
    static const int64_t shapes[][3] = { { 1920, 1024, 1024 }, { 512, 512, 512 }, { 64, 128, 3136 }, { 4096, 64, 64 } };
    if (bench->options.shape[0]) return bench_matmul_shape(bench, bench->options.shape);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (!bench_matmul_shape(bench, shapes[i])) return false;
    return true;
}

/* ---- convolution -------------------------------------------------------------------------------- */

/* Images (N, C, H, W) that lie channels-last, as they do within a network: a view of (N, H, W, C). */
static tuff_tensor *images(tuff_graph *graph, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    tuff_tensor *x = tuff_parameter(graph, name, TUFF_SHAPE(n, h, w, c), &uniform);
    return tuff_transpose(tuff_transpose(x, 2, 3), 1, 2);
}

static tuff_tensor *channels_last(tuff_tensor *x) {
    return tuff_transpose(tuff_transpose(x, 1, 2), 2, 3);
}

typedef struct conv_size {
    int64_t batch, in, size, out, kernel;
} conv_size;

static bool bench_conv2d_size(const bench *bench, const conv_size *size) {
    int64_t n = bench->options.batch ? bench->options.batch : size->batch, s = size->size, k = size->kernel;
    char shape[64];
    snprintf(shape, sizeof shape, "%lldx%lldx%lldx%lld to %lld, %lldx%lld", (long long)n, (long long)size->in,
             (long long)s, (long long)s, (long long)size->out, (long long)k, (long long)k);
    static const char *const passes[] = { "conv2d", "convolution_grad_input", "convolution_grad_weight" };
    bool good = true;
    for (int pass = 0; pass < 3 && good; pass++) {
        tuff_model *model = tuff_model_create(bench->device, NULL);
        tuff_graph *graph = model ? tuff_graph_create(model) : NULL;
        if (!graph) return failed("conv2d");
        tuff_tensor *x = images(graph, "x", n, size->in, s, s);
        tuff_tensor *y = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv",
                                                             .channels = size->out,
                                                             .kernel = { k, k },
                                                             .padding = { k / 2, k / 2 },
                                                             .no_bias = true });
        tuff_tensor *result = y ? channels_last(y) : NULL;
        if (pass && y) {
            tuff_tensor *gy = images(graph, "gy", n, size->out, s, s), *w = y->producer->inputs[1];
            tuff_tensor *inputs[3] = { gy, pass == 1 ? w : x, pass == 1 ? x : w };
            const attribute_value attributes[PASS_ATTRIBUTES] = {
                [PASS_STRIDE] = { .i = 2, .list = { 1, 1 } },
                [PASS_DILATION] = { .i = 2, .list = { 1, 1 } },
                [PASS_PADDING] = { .i = 4, .list = { k / 2, k / 2, k / 2, k / 2 } },
                [PASS_GROUPS] = { .i = 1 }
            };
            result = graph_apply(graph, operator_find(passes[pass]), inputs, 3, attributes, NULL);
            if (pass == 1) result = channels_last(result);
        }
        int64_t pixels = n * s * s, patch = size->in * k * k;
        const int64_t mnk[3][3] = { { pixels, size->out, patch },
                                    { pixels, size->in, size->out * k * k },
                                    { patch, size->out, pixels } };
        double flops = 2.0 * (double)pixels * (double)size->out * (double)patch;
        good = measure(bench, graph, result, &(subject){ passes[pass], shape, flops, mnk[pass] });
        tuff_graph_destroy(graph);
        tuff_model_destroy(model);
    }
    return good;
}

static bool bench_conv2d(const bench *bench) {
    static const conv_size sizes[] = {
        { 64, 1, 28, 32, 3 }, { 64, 32, 14, 64, 3 }, { 16, 64, 28, 64, 3 }, { 16, 128, 14, 256, 1 }
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!bench_conv2d_size(bench, &sizes[i])) return false;
    return true;
}

/* ---- the command -------------------------------------------------------------------------------- */

static const char help[] =
    "usage: tuff bench [matmul] [conv2d] [train] [options]\n"
    "\n"
    "  --json         one object a line: bench, shape, device, rate, unit, ratio, ratio_to\n"
    "  --runs N       measured runs, of which the median counts (default 9)\n"
    "  --shape MxNxK  of matmul, in place of the standard list\n"
    "  --batch N      of conv2d and train\n"
    "\n"
    "Products and convolutions are compared with OpenBLAS's sgemm of the same size where libopenblas is installed;\n"
    "tools/peers/train.py compares training with PyTorch.\n";

static bool parse_shape(const char *text, int64_t shape[3]) {
    long long m, n, k;
    char rest;
    if (sscanf(text, "%lldx%lldx%lld%c", &m, &n, &k, &rest) != 3 || m < 1 || n < 1 || k < 1) return false;
    if (m > 1 << 20 || n > 1 << 20 || k > 1 << 20) return false;
    shape[0] = m, shape[1] = n, shape[2] = k;
    return true;
}

static void log_line(void *user, tuff_log_level level, const char *message) {
    (void)user;
    if (level != TUFF_LOG_INFO) fprintf(stderr, "%s\n", message);
}

int command_bench(int argc, char **argv) {
    static const struct {
        const char *name;
        bool (*run)(const bench *bench);
    } parts[] = { { "matmul", bench_matmul }, { "conv2d", bench_conv2d }, { "train", bench_train } };
    enum { PARTS = sizeof parts / sizeof *parts };
    bool wanted[PARTS] = { false }, any = false;
    bench bench = { .options = { .runs = 9 } };
    for (int i = 1; i < argc; i++) {
        bool known = false, value = i + 1 < argc;
        for (int p = 0; p < PARTS; p++)
            if (strcmp(argv[i], parts[p].name) == 0) known = any = wanted[p] = true;
        if (known) continue;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--json") == 0)
            known = bench.options.json = true;
        else if (strcmp(argv[i], "--runs") == 0 && value)
            known = (bench.options.runs = atoi(argv[++i])) > 0 && bench.options.runs <= 10000;
        else if (strcmp(argv[i], "--batch") == 0 && value)
            known = (bench.options.batch = atoi(argv[++i])) > 0;
        else if (strcmp(argv[i], "--shape") == 0 && value)
            known = parse_shape(argv[++i], bench.options.shape);
        if (!known) {
            fprintf(stderr, "tuff bench: \"%s\" is not understood\n\n%s", argv[i], help);
            return 2;
        }
    }
    if (tuff_device_open(&(tuff_device_desc){ .log = log_line }, &bench.device) != TUFF_OK) {
        failed("opening a device");
        return 1;
    }
    if (!bench.options.json) {
        const tuff_device_info *info = tuff_device_get_info(bench.device);
        printf("%s, %s\n", info->name, info->driver_info);
    }
    bool good = true;
    for (int p = 0; p < PARTS && good; p++)
        if (!any || wanted[p]) good = parts[p].run(&bench);
    tuff_device_close(bench.device);
    return good ? 0 : 1;
}
