/* Reductions of a million elements against double precision, and what the cases cannot hold: infinities and NaN,
 * running statistics of instances. */
#include "support.h"
#include "tests/reference/recipe.h"
#include <tuff/layers.h>

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

/* One graph with one input. */
typedef struct bench {
    tuff_model *model;
    tuff_graph *graph;
    tuff_tensor *x;
    tuff_program *program;
} bench;

static bench bench_open(tuff_shape shape) {
    bench b = { .model = tuff_model_create(device, NULL) };
    b.graph = tuff_graph_create(b.model);
    b.x = tuff_input(b.graph, "x", TUFF_F32, shape);
    assert_non_null(b.x);
    return b;
}

static void bench_run(bench *b, tuff_tensor *const *outputs, uint32_t count, bool evaluate, const float *x,
                      size_t size) {
    tuff_program_destroy(b->program);
    b->program = NULL;
    OK(tuff_compile(b->graph, &(tuff_program_desc){ .outputs = outputs, .output_count = count, .evaluate = evaluate },
                    &b->program));
    OK(tuff_write(b->program, b->x, x, size));
    OK(tuff_run(b->program));
}

static void bench_close(bench *b) {
    tuff_program_destroy(b->program);
    tuff_graph_destroy(b->graph);
    tuff_model_destroy(b->model);
}

static tuff_tensor *gradient_of(tuff_tensor *y, tuff_tensor *x) {
    tuff_tensor *gradient = NULL;
    OK(tuff_gradients(tuff_sum(y, NULL), &x, 1, &gradient));
    return gradient;
}

/* ---- a million elements -------------------------------------------------------------------------- */

enum { COUNT = (1 << 20) + 3 };
#define UNIT (1.0 / 16777216) /* half a unit in the last place of 1: what a float32 is rounded by */

static void within(const char *what, double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s is %.9g, should be %.9g: off by %.3g, %.3g is allowed", what, got, want, fabs(got - want),
                 tolerance);
}

/* How much each is off, in UNITs of the sum of the absolute terms (of the value, where terms do not cancel). The header
 * promises 64 for a sum. */
static void check_long(const float *x) {
    enum { SUM, MEAN, VAR, STD, NORM, LOGSUMEXP, SCALARS };
    static const char *const names[] = { "sum", "mean", "var", "std", "norm", "logsumexp" };
    bench b = bench_open(TUFF_SHAPE(COUNT));
    tuff_tensor *y[] = { tuff_sum(b.x, NULL),
                         tuff_mean(b.x, NULL),
                         tuff_var(b.x, 1, NULL),
                         tuff_std(b.x, 0, NULL),
                         tuff_norm(b.x, 2, NULL),
                         tuff_logsumexp(b.x, NULL),
                         tuff_cumsum(b.x, 0),
                         tuff_layer_norm(b.x, &(tuff_layer_norm_desc){ .no_affine = true }),
                         tuff_batch_norm(tuff_reshape(b.x, TUFF_SHAPE(COUNT, 1)),
                                         &(tuff_batch_norm_desc){ .no_affine = true, .no_running = true }) };
    bench_run(&b, y, sizeof y / sizeof *y, true, x, COUNT * sizeof *x);
    double sum = 0, sum_abs = 0, squares = 0, deviations = 0, most = -INFINITY, exps = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)x[i];
        sum_abs += fabs((double)x[i]);
        squares += (double)x[i] * (double)x[i];
        most = fmax(most, (double)x[i]);
    }
    double mean = sum / COUNT, mean_abs = sum_abs / COUNT;
    for (int i = 0; i < COUNT; i++) {
        deviations += ((double)x[i] - mean) * ((double)x[i] - mean);
        exps += exp((double)x[i] - most);
    }
    const double want[] = {
        sum, mean, deviations / (COUNT - 1), sqrt(deviations / COUNT), sqrt(squares), most + log(exps)
    };
    const double scale[] = { sum_abs, mean_abs, want[VAR], want[STD], want[NORM], fabs(most) + log(exps) + 1 };
    for (int i = 0; i < SCALARS; i++) {
        float got;
        OK(tuff_read(b.program, y[i], &got, sizeof got));
        within(names[i], (double)got, want[i], 8 * UNIT * scale[i]);
    }
    float *all = malloc(COUNT * sizeof *all);
    OK(tuff_read(b.program, y[SCALARS], all, COUNT * sizeof *all));
    double so_far = 0, so_far_abs = 0;
    for (int i = 0; i < COUNT; i++) {
        so_far += (double)x[i];
        so_far_abs += fabs((double)x[i]);
        within("cumsum", (double)all[i], so_far, 2 * UNIT * fabs(so_far) + 1e-9 * UNIT * so_far_abs + FLT_MIN);
    }
    /* deviations are differences from the first element, however large the mean */
    static const char *const norms[] = { "layer_norm", "batch_norm" };
    double r = 1 / sqrt(deviations / COUNT + (double)1e-5f), first = fabs(((double)x[0] - mean) * r);
    for (int n = 0; n < 2; n++) {
        OK(tuff_read(b.program, y[SCALARS + 1 + n], all, COUNT * sizeof *all));
        for (int i = 0; i < COUNT; i++) {
            double h = ((double)x[i] - mean) * r;
            within(norms[n], (double)all[i], h, 4 * UNIT * (fabs(h) + first + 1));
        }
    }
    free(all);
    bench_close(&b);
}

static void test_million(void **state) {
    (void)state;
    float *x = malloc(COUNT * sizeof *x);
    for (int i = 0; i < COUNT; i++) x[i] = (float)(recipe_hash(1, (uint32_t)i) >> 8) / 8388608 - 1;
    check_long(x);
    /* 10000 and a deviation of about 1, exact */
    for (int i = 0; i < COUNT; i++) x[i] = 10000 + (float)(recipe_hash(2, (uint32_t)i) >> 20) / 1024 - 2;
    check_long(x);
    /* adding these up in turn drifts: each rounding is to the same side */
    for (int i = 0; i < COUNT; i++) x[i] = i % 3 ? 0.1f : 0.7f;
    check_long(x);
    free(x);
}

/* ---- infinities and NaN -------------------------------------------------------------------------- */

/* The first `count` elements. */
static void expect(const bench *b, const tuff_tensor *tensor, const char *what, const float *want, int count) {
    float got[64];
    tuff_shape shape = tuff_tensor_shape(tensor);
    OK(tuff_read(b->program, tensor, got, (size_t)tuff_shape_count(&shape) * sizeof *got));
    for (int i = 0; i < count; i++)
        if (!(got[i] == want[i] || (isnan(got[i]) && isnan(want[i]))))
            fail_msg("%s[%d] is %g, should be %g", what, i, (double)got[i], (double)want[i]);
}

static void expect_indices(const bench *b, const tuff_tensor *tensor, const char *what, const int32_t *want,
                           int count) {
    int32_t got[64];
    tuff_shape shape = tuff_tensor_shape(tensor);
    OK(tuff_read(b->program, tensor, got, (size_t)tuff_shape_count(&shape) * sizeof *got));
    for (int i = 0; i < count; i++)
        if (got[i] != want[i]) fail_msg("%s[%d] is %d, should be %d", what, i, got[i], want[i]);
}

static void test_infinities(void **state) {
    (void)state;
    const float inf = INFINITY;
    const float x[] = { -inf, -inf, -inf, -inf, inf, 0, 1, -inf, 0, 0, 0, 0 };
    const tuff_reduce_desc rows = { .axes = { 1 }, .axis_count = 1 };
    bench b = bench_open(TUFF_SHAPE(3, 4));
    tuff_tensor *y[] = {
        tuff_logsumexp(b.x, &rows), NULL, tuff_sum(b.x, &rows), tuff_cumsum(b.x, 1), tuff_norm(b.x, INFINITY, &rows),
        tuff_amin(b.x, &rows)
    };
    y[1] = gradient_of(y[0], b.x);
    bench_run(&b, y, 6, true, x, sizeof x);
    expect(&b, y[0], "logsumexp", (float[]){ -inf, inf, logf(4) }, 3);
    expect(&b, y[1], "its gradient", (float[]){ 0, 0, 0, 0, NAN, 0, 0, 0, 0.25f, 0.25f, 0.25f, 0.25f }, 12);
    expect(&b, y[2], "sum", (float[]){ -inf, NAN, 0 }, 3);
    expect(&b, y[3], "cumsum", (float[]){ -inf, -inf, -inf, -inf, inf, inf, inf, NAN, 0, 0, 0, 0 }, 12);
    expect(&b, y[4], "norm", (float[]){ inf, inf, 0 }, 3);
    expect(&b, y[5], "amin", (float[]){ -inf, -inf, 0 }, 3);
    bench_close(&b);
}

/* A sum of squares that is too large for a float stays infinite, whatever comes behind it: what it lost is a NaN. */
static void test_overflow(void **state) {
    (void)state;
    enum { ROWS = 2, N = 44 };
    float x[ROWS * N], zeros[N] = { 0 };
    const tuff_reduce_desc rows = { .axes = { 1 }, .axis_count = 1 };
    for (int i = 0; i < ROWS * N; i++) x[i] = 1;
    x[0] = 1e20f;
    bench b = bench_open(TUFF_SHAPE(ROWS, N));
    tuff_tensor *y[] = { tuff_sum(tuff_square(b.x), &rows),
                         tuff_rms_norm(b.x, &(tuff_rms_norm_desc){ .no_affine = true }) };
    bench_run(&b, y, 2, true, x, sizeof x);
    expect(&b, y[0], "sum of squares", (float[]){ INFINITY, N }, ROWS);
    float got[ROWS * N];
    OK(tuff_read(b.program, y[1], got, sizeof got));
    assert_memory_equal(got, zeros, sizeof zeros); /* 1 / sqrt(inf), as in PyTorch */
    for (int i = N; i < ROWS * N; i++) within("rms_norm", (double)got[i], 1, 1e-6);
    bench_close(&b);
}

static void test_nan(void **state) {
    (void)state;
    const float n = NAN;
    const float x[] = { 3, n, 5, n, -1, 2, 2, -1, -0.0f, 0, 0, -0.0f };
    bench b = bench_open(TUFF_SHAPE(3, 4));
    tuff_tensor *y[7], *places[4];
    const tuff_reduce_desc rows = { .axes = { 1 }, .axis_count = 1 };
    y[0] = tuff_max(b.x, 1, false, &places[0]);
    y[1] = tuff_min(b.x, 1, false, &places[1]);
    y[2] = tuff_topk(b.x, 3, 1, NULL, &places[2]);
    y[3] = tuff_topk(b.x, 4, 1, &(tuff_topk_desc){ .smallest = true }, &places[3]);
    y[4] = tuff_argmax(b.x, NULL);
    y[5] = tuff_amax(b.x, &rows);
    y[6] = tuff_prod(b.x, &rows);
    tuff_tensor *all[11];
    memcpy(all, y, sizeof y);
    memcpy(all + 7, places, sizeof places);
    bench_run(&b, all, 11, true, x, sizeof x);
    expect(&b, y[0], "max", (float[]){ n, 2, 0 }, 3);
    expect(&b, y[1], "min", (float[]){ n, -1, 0 }, 3);
    expect(&b, y[2], "topk", (float[]){ n, n, 5, 2, 2, -1, 0, 0, 0 }, 9);
    expect(&b, y[3], "the smallest", (float[]){ 3, 5, n, n, -1, -1, 2, 2, 0, 0, 0, 0 }, 12);
    expect(&b, y[5], "amax", (float[]){ n, 2, 0 }, 3);
    expect(&b, y[6], "prod", (float[]){ n, 4, 0 }, 3);
    expect_indices(&b, places[0], "max's indices", (int32_t[]){ 1, 1, 0 }, 3);
    expect_indices(&b, places[1], "min's indices", (int32_t[]){ 1, 0, 0 }, 3);
    expect_indices(&b, places[2], "topk's indices", (int32_t[]){ 1, 3, 2, 1, 2, 0 }, 6);
    expect_indices(&b, places[3], "the smallest's indices", (int32_t[]){ 0, 2, 1, 3, 0, 3, 1, 2 }, 8);
    expect_indices(&b, y[4], "argmax", (int32_t[]){ 1 }, 1);
    bench_close(&b);
}

/* Where a norm or a deviation is 0 its gradient is, too; a product's is what the other factors make. */
static void test_gradients_at_zero(void **state) {
    (void)state;
    const float x[] = { 0, 0, 0, 0, 3, 4, 2, 0, 5, 0, 0, 7 };
    const tuff_reduce_desc rows = { .axes = { 1 }, .axis_count = 1 };
    bench b = bench_open(TUFF_SHAPE(4, 3));
    tuff_tensor *y[] = { gradient_of(tuff_norm(b.x, 2, &rows), b.x), gradient_of(tuff_norm(b.x, 3, &rows), b.x),
                         gradient_of(tuff_std(b.x, 1, &rows), b.x), gradient_of(tuff_prod(b.x, &rows), b.x) };
    bench_run(&b, y, 4, true, x, sizeof x);
    float got[12];
    expect(&b, y[0], "norm's gradient", (float[]){ 0, 0, 0, 0, 0.6f, 0.8f }, 6);
    expect(&b, y[1], "the third norm's gradient", (float[]){ 0, 0, 0, 0 }, 4);
    expect(&b, y[2], "std's gradient", (float[]){ 0, 0, 0 }, 3);
    expect(&b, y[3], "prod's gradient", (float[]){ 0, 0, 0, 12, 0, 0, 0, 10, 0, 0, 0, 0 }, 12);
    OK(tuff_read(b.program, y[2], got, sizeof got));
    for (int i = 3; i < 12; i++) assert_true(isfinite(got[i]));
    bench_close(&b);
}

/* ---- the best of many -------------------------------------------------------------------------- */

static const float *sorted_by;
static int best_first(const void *a, const void *b) {
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (sorted_by[i] != sorted_by[j]) return sorted_by[i] > sorted_by[j] ? -1 : 1;
    return (i > j) - (i < j);
}

/* Many equal ones, in many tiles: of those the first come first. */
static void check_topk(int n, int k, uint32_t different) {
    float *x = malloc((size_t)n * sizeof *x), *values = malloc((size_t)k * sizeof *values);
    int32_t *want = malloc((size_t)n * sizeof *want), *got = malloc((size_t)k * sizeof *got);
    for (int i = 0; i < n; i++) {
        x[i] = (float)(recipe_hash(7, (uint32_t)i) % different) - 100;
        want[i] = i;
    }
    sorted_by = x;
    qsort(want, (size_t)n, sizeof *want, best_first);
    bench b = bench_open(TUFF_SHAPE(n));
    tuff_tensor *y[2];
    y[0] = tuff_topk(b.x, k, 0, NULL, &y[1]);
    bench_run(&b, y, 2, true, x, (size_t)n * sizeof *x);
    OK(tuff_read(b.program, y[0], values, (size_t)k * sizeof *values));
    OK(tuff_read(b.program, y[1], got, (size_t)k * sizeof *got));
    for (int i = 0; i < k; i++)
        if (got[i] != want[i] || values[i] != x[want[i]])
            fail_msg("topk(%d of %d): %d is %g of %d, should be %g of %d", k, n, i, (double)values[i], got[i],
                     (double)x[want[i]], want[i]);
    bench_close(&b);
    free(x), free(values), free(want), free(got);
}

static void test_topk(void **state) {
    (void)state;
    check_topk(COUNT, 300, 1 << 20);
    check_topk(50000, 3000, 11);
    check_topk(20000, 20000, 7);
}

/* ---- dropout of parts ---------------------------------------------------------------------------- */

/* Whole channels, all of it or whole examples, in both passes alike. */
static void test_dropped_parts(void **state) {
    (void)state;
    enum { N = 16, C = 5, L = 7, ALL = N * C * L };
    float x[ALL], got[ALL], gradient[ALL];
    for (int i = 0; i < ALL; i++) x[i] = (float)(i + 1);
    bench b = bench_open(TUFF_SHAPE(N, C, L));
    tuff_tensor *y[6] = { tuff_dropout2d(b.x, 0.5f, "channels"),
                          tuff_stochastic_depth(b.x, 0.5f, TUFF_DEPTH_ROW, "rows"),
                          tuff_stochastic_depth(b.x, 0.5f, TUFF_DEPTH_BATCH, "batch") };
    for (int i = 0; i < 3; i++) y[3 + i] = gradient_of(y[i], b.x);
    bench_run(&b, y, 6, false, x, sizeof x);
    static const int sizes[] = { L, C * L, ALL };
    for (int k = 0; k < 3; k++) {
        OK(tuff_read(b.program, y[k], got, sizeof got));
        OK(tuff_read(b.program, y[3 + k], gradient, sizeof gradient));
        int parts = ALL / sizes[k], kept = 0;
        for (int i = 0; i < ALL; i++) {
            bool keep = got[i / sizes[k] * sizes[k]] != 0;
            kept += i % sizes[k] == 0 && keep;
            if (got[i] != (keep ? 2 * x[i] : 0) || gradient[i] != (keep ? 2.0f : 0))
                fail_msg("%d: element %d, %s, is %g, its gradient %g", k, i, keep ? "kept" : "dropped", (double)got[i],
                         (double)gradient[i]);
        }
        if (parts > 1 && (kept == 0 || kept == parts)) fail_msg("%d of %d parts are kept", kept, parts);
    }
    bench_run(&b, y, 3, true, x, sizeof x);
    for (int k = 0; k < 3; k++) {
        OK(tuff_read(b.program, y[k], got, sizeof got));
        assert_memory_equal(got, x, sizeof x);
    }
    bench_close(&b);
}

/* Training goes on with the iterations: the weight's largest singular value comes to be 1. */
static void test_spectral_iterations(void **state) {
    (void)state;
    const float x[] = { 3, 0, 0, 0, 2, 0 }; /* 3 and 2 */
    bench b = bench_open(TUFF_SHAPE(2, 3));
    tuff_tensor *y = tuff_spectral_norm(b.x, 0, &(tuff_spectral_norm_desc){ .name = "spectral" });
    assert_non_null(y);
    bench_run(&b, &y, 1, false, x, sizeof x);
    for (int i = 0; i < 60; i++) {
        OK(tuff_write(b.program, b.x, x, sizeof x));
        OK(tuff_run(b.program));
    }
    float got[6], u[2];
    bench_run(&b, &y, 1, true, x, sizeof x);
    OK(tuff_read(b.program, y, got, sizeof got));
    OK(tuff_model_read(b.model, "spectral.weight_u", u, sizeof u));
    within("the first singular value", (double)got[0], 1, 1e-6);
    within("the second", (double)got[4], 2.0 / 3, 1e-6);
    within("u", fabs((double)u[0]), 1, 1e-6);
    bench_close(&b);
}

/* The vectors start about as long as PyTorch's, 1, in another direction for another seed. */
static void test_spectral_start(void **state) {
    (void)state;
    enum { H = 24, W = 90 };
    float vectors[2][H + W];
    for (int seed = 0; seed < 2; seed++) {
        tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = (uint64_t)seed });
        tuff_graph *graph = tuff_graph_create(model);
        tuff_tensor *weight = tuff_parameter(graph, "w", TUFF_SHAPE(H, W / 9, 3, 3), NULL);
        tuff_tensor *y = tuff_spectral_norm(weight, 0, &(tuff_spectral_norm_desc){ .name = "many" });
        tuff_tensor *one = tuff_parameter(graph, "one", TUFF_SHAPE(1, 1), NULL);
        tuff_tensor *outputs[] = { y, tuff_spectral_norm(one, 0, &(tuff_spectral_norm_desc){ .name = "one" }) };
        tuff_program *program = NULL;
        const tuff_program_desc desc = { .outputs = outputs, .output_count = 2, .evaluate = true };
        OK(tuff_compile(graph, &desc, &program));
        float single, *u = vectors[seed], *v = u + H;
        double lengths[2] = { 0 };
        OK(tuff_model_read(model, "many.weight_u", u, H * sizeof *u));
        OK(tuff_model_read(model, "many.weight_v", v, W * sizeof *v));
        OK(tuff_model_read(model, "one.weight_u", &single, sizeof single));
        for (int i = 0; i < H + W; i++) lengths[i >= H] += (double)u[i] * (double)u[i];
        for (int i = 0; i < 2; i++) within("a vector's length", sqrt(lengths[i]), 1, 0.4);
        within("the only element", (double)single, 1, 0);
        tuff_program_destroy(program);
        tuff_graph_destroy(graph);
        tuff_model_destroy(model);
    }
    assert_memory_not_equal(vectors[0], vectors[1], sizeof vectors[0]);
}

/* ---- running statistics -------------------------------------------------------------------------- */

static void test_instance_statistics(void **state) {
    (void)state;
    enum { N = 2, C = 3, L = 4 };
    float x[N * C * L], mean[C], var[C];
    for (int i = 0; i < N * C * L; i++) x[i] = (float)(recipe_hash(5, (uint32_t)i) >> 20) / 1024;
    bench b = bench_open(TUFF_SHAPE(N, C, L));
    tuff_tensor *y = tuff_instance_norm(
        b.x, &(tuff_instance_norm_desc){ .name = "norm", .track_running_stats = true, .momentum = 0.25f });
    assert_non_null(y);
    for (int run = 0; run < 2; run++) { /* training follows, evaluation uses */
        bench_run(&b, &y, 1, run == 1, x, sizeof x);
        OK(tuff_model_read(b.model, "norm.running_mean", mean, sizeof mean));
        OK(tuff_model_read(b.model, "norm.running_var", var, sizeof var));
        for (int c = 0; c < C; c++) {
            double sum = 0, unbiased = 0;
            for (int n = 0; n < N; n++) {
                const float *row = x + (n * C + c) * L;
                double own = 0, squares = 0;
                for (int i = 0; i < L; i++) own += (double)row[i] / L;
                for (int i = 0; i < L; i++) squares += ((double)row[i] - own) * ((double)row[i] - own);
                sum += own / N;
                unbiased += squares / (L - 1) / N;
            }
            within("running_mean", (double)mean[c], 0.25 * sum, 1e-6);
            within("running_var", (double)var[c], 0.75 + 0.25 * unbiased, 1e-6);
        }
    }
    float got[N * C * L];
    OK(tuff_read(b.program, y, got, sizeof got));
    for (int i = 0; i < N * C * L; i++) {
        int c = i / L % C;
        within("evaluated", (double)got[i], (double)(x[i] - mean[c]) / sqrt((double)var[c] + 1e-5), 1e-5);
    }
    bench_close(&b);
}

static int open_device(void **state) {
    (void)state;
    device = test_device_open(NULL);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    tuff_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_million),
        cmocka_unit_test(test_infinities),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_gradients_at_zero),
        cmocka_unit_test(test_instance_statistics),
        cmocka_unit_test(test_topk),
        cmocka_unit_test(test_dropped_parts),
        cmocka_unit_test(test_spectral_iterations),
        cmocka_unit_test(test_spectral_start),
    };
    return cmocka_run_group_tests_name("long", tests, open_device, close_device);
}
