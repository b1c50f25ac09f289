/* tuff bench matmul and conv2d: products, and the three passes of a convolution, beside OpenBLAS's sgemm of the same
 * size on drivers for the CPU. A convolution is the product that it would be as a plain one, which runs beside it as
 * well. */
#include "bench.h"

#include "layers/convolution.h"
#include "runtime/device/device.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct product_size {
    int64_t m, n, k;
} product_size;

static double product_flops(const product_size *size) {
    return 2.0 * (double)size->m * (double)size->n * (double)size->k;
}

static double product_bytes(const product_size *size) {
    return 4.0
           * ((double)size->m * (double)size->k + (double)size->k * (double)size->n
              + (double)size->m * (double)size->n);
}

static bool product_open(const bench *bench, const product_size *size, subject *subject) {
    if (!subject_open(bench, subject)) return false;
    tuff_tensor *a = subject_values(subject, "a", TUFF_SHAPE(size->m, size->k));
    tuff_tensor *b = subject_values(subject, "b", TUFF_SHAPE(size->k, size->n));
    subject_result(subject, tuff_matmul(a, b, NULL));
    if (tuff_graph_result(subject->graph) == TUFF_OK) return true; /* sizes that somebody asked for may be too large */
    bench_failed("matmul");
    subject_close(subject);
    return false;
}

/* Whether each of its matrices can be one tensor of the device. */
static bool product_fits(const bench *bench, const product_size *size) {
    uint64_t most = device_get_limits(bench->device)->max_range / 4;
    return (uint64_t)(size->m * size->k) <= most && (uint64_t)(size->k * size->n) <= most
           && (uint64_t)(size->m * size->n) <= most;
}

/* OpenBLAS's product of this size as a rival, where the device is the CPU as well; 0 without. */
static int add_blas(const bench *bench, const product_size *size, blas **blas, rival *rival) {
    *blas = device_get_limits(bench->device)->cpu ? blas_open(size->m, size->n, size->k) : NULL;
    if (!*blas) return 0;
    /* its threads look out for more work, some 30 ms long, on cores that the device needs next */
    *rival = (struct rival){
        .name = "OpenBLAS sgemm", .amount = product_flops(size), .run = blas_run, .user = *blas, .rest = 0.05
    };
    return 1;
}

/* ---- matrix products ----------------------------------------------------------------------------- */

static bool matmul(const bench *bench, const product_size *size) {
    subject subject;
    blas *blas;
    rival rival;
    work work = { .bench = "matmul", .flops = product_flops(size), .bytes = product_bytes(size) };
    snprintf(work.shape, sizeof work.shape, "%lldx%lldx%lld", (long long)size->m, (long long)size->n,
             (long long)size->k);
    if (!product_open(bench, size, &subject)) return false;
    int rivals = add_blas(bench, size, &blas, &rival);
    bool good = subject_measure(&subject, &work, &rival, rivals);
    blas_close(blas);
    return good;
}

bool bench_matmul(const bench *bench) {
    static const product_size sizes[] = {
        { 1920, 1024, 1024 }, { 512, 512, 512 }, { 64, 128, 3136 }, { 4096, 64, 64 }, { 4096, 4096, 4096 }
    };
    static const product_size small = { 48, 32, 40 };
    int64_t given[3];
    if (bench->options.shape)
        return shape_parse(bench->options.shape, given, 3)
               && matmul(bench, &(product_size){ given[0], given[1], given[2] });
    if (bench->options.small) return matmul(bench, &small);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        bool huge = product_flops(&sizes[i]) > 1e10; /* for GPUs */
        if (huge && device_get_limits(bench->device)->cpu) continue;
        if (!matmul(bench, &sizes[i])) return false;
    }
    return true;
}

/* ---- convolution --------------------------------------------------------------------------------- */

/* (batch, in, height, width) to `out` channels, square kernels. */
typedef struct conv_size {
    int64_t batch, in, height, width, out, kernel, padding;
} conv_size;

typedef enum pass { FORWARD, GRAD_INPUT, GRAD_WEIGHT, PASSES } pass;
static const char *const pass_names[PASSES] = { "conv2d", "conv2d_grad_input", "conv2d_grad_weight" };
static const char *const pass_rows[PASSES] = { NULL, "convolution_grad_input", "convolution_grad_weight" };

static int64_t extent(const conv_size *size, int64_t pixels) {
    return pixels + 2 * size->padding - size->kernel + 1;
}

/* The product that a pass is. */
static product_size pass_product(const conv_size *size, pass pass) {
    int64_t window = size->kernel * size->kernel, images = size->batch;
    int64_t pixels = images * extent(size, size->height) * extent(size, size->width);
    if (pass == FORWARD) return (product_size){ pixels, size->out, size->in * window };
    if (pass == GRAD_WEIGHT) return (product_size){ size->in * window, size->out, pixels };
    return (product_size){ pixels, size->in, size->out * window };
}

/* Of the images, the weights and the result, each once. */
static double pass_bytes(const conv_size *size) {
    int64_t x = size->batch * size->in * size->height * size->width,
            w = size->out * size->in * size->kernel * size->kernel;
    int64_t y = size->batch * size->out * extent(size, size->height) * extent(size, size->width);
    return 4.0 * (double)(x + w + y);
}

/* Images (N, C, H, W) that lie channels-last, as they do within a network: a view of (N, H, W, C). */
static tuff_tensor *images(const subject *subject, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    tuff_tensor *x = subject_values(subject, name, TUFF_SHAPE(n, h, w, c));
    return tuff_transpose(tuff_transpose(x, 2, 3), 1, 2);
}

static tuff_tensor *conv_pass(const subject *subject, const conv_size *size, pass pass) {
    int64_t k = size->kernel, p = size->padding;
    tuff_tensor *x = images(subject, "x", size->batch, size->in, size->height, size->width);
    tuff_tensor *w = subject_values(subject, "w", TUFF_SHAPE(size->out, size->in, k, k));
    if (pass == FORWARD)
        return tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = w, .padding = { p, p }, .no_bias = true });
    tuff_tensor *gy =
        images(subject, "gy", size->batch, size->out, extent(size, size->height), extent(size, size->width));
    tuff_tensor *inputs[3] = { gy, pass == GRAD_INPUT ? w : x, pass == GRAD_INPUT ? x : w };
    const attribute_value attributes[PASS_ATTRIBUTES] = { [PASS_STRIDE] = { .i = 2, .list = { 1, 1 } },
                                                          [PASS_DILATION] = { .i = 2, .list = { 1, 1 } },
                                                          [PASS_PADDING] = { .i = 4, .list = { p, p, p, p } },
                                                          [PASS_GROUPS] = { .i = 1 } };
    return graph_apply(subject->graph, operator_find(pass_rows[pass]), inputs, 3, attributes, NULL);
}

static bool conv2d_pass(const bench *bench, const conv_size *size, pass pass) {
    const product_size product = pass_product(size, pass);
    subject conv, plain = { 0 };
    blas *blas = NULL;
    rival rivals[MAX_RIVALS] = {
        { .name = "matmul of this size", .amount = product_flops(&product), .run = subject_run, .user = &plain }
    };
    work work = { .bench = pass_names[pass], .flops = product_flops(&product), .bytes = pass_bytes(size) };
    int used = snprintf(work.shape, sizeof work.shape, "%lldx%lldx%lldx%lld to %lld, %lldx%lld", (long long)size->batch,
                        (long long)size->in, (long long)size->height, (long long)size->width, (long long)size->out,
                        (long long)size->kernel, (long long)size->kernel);
    if (size->padding != size->kernel / 2)
        snprintf(work.shape + used, sizeof work.shape - (size_t)used, ", padding %lld", (long long)size->padding);
    int count = 0;
    bool good = true;
    if (product_fits(bench, &product)) { /* an image's windows may not fit where the image does */
        if (!product_open(bench, &product, &plain)) return false;
        count = 1 + add_blas(bench, &product, &blas, &rivals[1]);
        good = subject_compile(&plain, "matmul");
    }
    good = good && subject_open(bench, &conv);
    if (good) {
        subject_result(&conv, conv_pass(&conv, size, pass));
        good = subject_measure(&conv, &work, rivals, count);
    }
    blas_close(blas);
    subject_close(&plain);
    return good;
}

static bool conv2d(const bench *bench, conv_size size) {
    if (bench->options.batch) size.batch = bench->options.batch;
    for (int pass = 0; pass < PASSES; pass++)
        if (!conv2d_pass(bench, &size, (enum pass)pass)) return false;
    return true;
}

bool bench_conv2d(const bench *bench) {
    static const conv_size sizes[] = { { 64, 1, 28, 28, 32, 3, 1 },
                                       { 64, 32, 14, 14, 64, 3, 1 },
                                       { 16, 64, 28, 28, 64, 3, 1 },
                                       { 16, 128, 14, 14, 256, 1, 0 } };
    static const conv_size small = { 2, 5, 8, 8, 6, 3, 1 };
    int64_t given[7];
    if (bench->options.shape)
        return shape_parse(bench->options.shape, given, 7)
               && conv2d(bench, (conv_size){ given[0], given[1], given[2], given[3], given[4], given[5], given[6] });
    if (bench->options.small) return conv2d(bench, small);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!conv2d(bench, sizes[i])) return false;
    return true;
}
