/* What the operators' cases do not show: assignments and running statistics, other batch sizes, indices and targets out
 * of range, NaN in windows and accuracy. */
#include "support.h"
#include "tests/reference/reference.h"
#include <tuff/layers.h>

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

static void near(const char *what, const float *got, const double *want, int64_t count, double tolerance) {
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance))
            fail_msg("%s[%d] is %.9g, should be %.9g", what, (int)i, (double)got[i], want[i]);
}

/* ---- assignments -------------------------------------------------------------------------------- */

static void test_assign(void **state) {
    (void)state;
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(3));
    tuff_tensor *total = tuff_buffer(graph, "total", TUFF_SHAPE(3), &(tuff_init_desc){ TUFF_INIT_CONSTANT, 1 });
    tuff_tensor *seen = tuff_scale(total, 1, 0); /* readers see what was there before */
    tuff_assign(total, tuff_add(total, x));
    tuff_program *train = NULL, *evaluate = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &seen, .output_count = 1 }, &train));
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &seen, .output_count = 1, .evaluate = true }, &evaluate));
    const float step[3] = { 1, 2, 3 };
    OK(tuff_write(train, x, step, sizeof step));
    float got[3];
    for (int run = 0; run < 4; run++) {
        OK(tuff_run(train));
        OK(tuff_read(train, seen, got, sizeof got));
        for (int i = 0; i < 3; i++) assert_true(got[i] == (float)(1 + run * (i + 1)));
        OK(tuff_run(evaluate)); /* writes no state */
        OK(tuff_read(evaluate, seen, got, sizeof got));
        for (int i = 0; i < 3; i++) assert_true(got[i] == (float)(1 + (run + 1) * (i + 1)));
    }
    OK(tuff_model_read(model, "total", got, sizeof got));
    for (int i = 0; i < 3; i++) assert_true(got[i] == (float)(1 + 4 * (i + 1)));
    tuff_program_destroy(train);
    tuff_program_destroy(evaluate);

    tuff_assign(total, x);
    assert_int_equal(tuff_graph_result(graph), TUFF_ERROR_ARGUMENT);
    assert_non_null(strstr(tuff_graph_message(graph), "'total' is assigned twice"));
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* ---- batch norm --------------------------------------------------------------------------------- */

enum { CHANNELS = 3, SIDE = 4 };

static ref *batch(int64_t n, uint32_t seed) {
    ref *x = ref_new(TUFF_SHAPE(n, CHANNELS, SIDE, SIDE));
    for (int64_t i = 0; i < x->count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x->v[i] = (float)((seed >> 8) * 0x1p-24 + 100.0 * (double)(i / (SIDE * SIDE) % CHANNELS)); /* large means */
    }
    return x;
}

static void write_ref(tuff_program *program, tuff_tensor *input, const ref *x) {
    float *floats = malloc((size_t)x->count * sizeof *floats);
    for (int64_t i = 0; i < x->count; i++) floats[i] = (float)x->v[i];
    OK(tuff_write(program, input, floats, (size_t)x->count * sizeof *floats));
    free(floats);
}

/* The running statistics follow the batches, of whichever size; a layer used twice follows both; evaluation uses them
 * and changes nothing. */
static void running(bool twice) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    const tuff_batch_norm_desc desc = { .name = "bn", .momentum = 0.25f };
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(5, CHANNELS, SIDE, SIDE));
    tuff_tensor *y = tuff_batch_norm(x, &desc), *z = twice ? tuff_batch_norm(tuff_scale(x, 0.5f, 0), &desc) : y;
    tuff_tensor *outputs[] = { y, z };
    const tuff_input_size other = { x, TUFF_SHAPE(2, CHANNELS, SIDE, SIDE) };
    tuff_program *train = NULL, *last = NULL, *evaluate = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 1 }, &train));
    OK(tuff_compile(
        graph,
        &(tuff_program_desc){ .outputs = outputs, .output_count = 1, .input_sizes = &other, .input_size_count = 1 },
        &last));
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 1, .evaluate = true }, &evaluate));
    ref *mean = ref_new(TUFF_SHAPE(CHANNELS)), *variance = ref_new(TUFF_SHAPE(CHANNELS));
    for (int c = 0; c < CHANNELS; c++) variance->v[c] = 1;
    for (uint32_t step = 0; step < 4; step++) {
        tuff_program *program = step == 3 ? last : train;
        ref *data = batch(step == 3 ? 2 : 5, step);
        write_ref(program, x, data);
        OK(tuff_run(program));
        ref_batch_norm_running(data, 0.25, mean, variance);
        for (int64_t i = 0; i < data->count; i++) data->v[i] *= 0.5;
        if (twice) ref_batch_norm_running(data, 0.25, mean, variance);
        ref_free(data);
    }
    float got[CHANNELS];
    for (int pass = 0; pass < 2; pass++) {
        OK(tuff_model_read(model, "bn.running_mean", got, sizeof got));
        near("running_mean", got, mean->v, CHANNELS, 1e-4);
        OK(tuff_model_read(model, "bn.running_var", got, sizeof got));
        near("running_var", got, variance->v, CHANNELS, 1e-6);
        ref *data = batch(5, 9);
        write_ref(evaluate, x, data);
        OK(tuff_run(evaluate)); /* the second pass reads the same statistics again */
        static float normed[5 * CHANNELS * SIDE * SIDE];
        OK(tuff_read(evaluate, y, normed, sizeof normed));
        ref *want = ref_batch_norm(data, NULL, NULL, mean, variance, 1e-5);
        near("evaluated", normed, want->v, want->count, 1e-3);
        ref_free(want);
        ref_free(data);
    }
    ref_free(mean);
    ref_free(variance);
    tuff_program_destroy(train);
    tuff_program_destroy(last);
    tuff_program_destroy(evaluate);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static void test_running_statistics(void **state) {
    (void)state;
    running(false);
    running(true);
}

static void test_one_value(void **state) {
    (void)state;
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "pixels", TUFF_F32, TUFF_SHAPE(1, 7));
    tuff_tensor *y = tuff_batch_norm(x, &(tuff_batch_norm_desc){ .name = "bn9" });
    tuff_program *program = NULL;
    assert_int_equal(tuff_compile(graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1 }, &program),
                     TUFF_ERROR_SHAPE);
    assert_non_null(strstr(tuff_last_message(), "bn9"));
    assert_non_null(strstr(tuff_last_message(), "[1, 7]"));
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* ---- other sizes -------------------------------------------------------------------------------- */

/* Gradients of parts and arrangements were built for the graph's sizes; a program may have others. */
static void test_parts_of_other_sizes(void **state) {
    (void)state;
    enum { ROWS = 9, COLUMNS = 4 };
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(6, COLUMNS)), *parts[2], *gradient, *loss = NULL;
    tuff_tensor *index = tuff_input(graph, "index", TUFF_I32, TUFF_SHAPE(3));
    assert_int_equal(tuff_split(x, 3, 1, parts, 2), 2);
    tuff_tensor *terms[] = {
        tuff_slice(x, 0, 2, TUFF_END, 1),
        tuff_select(x, 0, -1),
        tuff_pad(x, &(tuff_pad_desc){ .pad = { 1, 1 }, .mode = TUFF_PAD_REFLECT }),
        tuff_pad(x, &(tuff_pad_desc){ .pad = { 0, 0, -1, 5 } }),
        tuff_repeat(x, (int64_t[]){ 2, 1 }, 2),
        tuff_concat((tuff_tensor *[]){ tuff_flip(x, (int32_t[]){ 0 }, 1), parts[1] }, 2, 1),
        tuff_index_select(x, 0, index),
    };
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++)
        loss = i ? tuff_add(loss, tuff_sum(terms[i], NULL)) : tuff_sum(terms[i], NULL);
    OK(tuff_gradients(loss, &x, 1, &gradient));
    tuff_program *program = NULL;
    tuff_input_size size = { .input = x, .shape = TUFF_SHAPE(ROWS, COLUMNS) };
    OK(tuff_compile(
        graph,
        &(tuff_program_desc){ .outputs = &gradient, .output_count = 1, .input_sizes = &size, .input_size_count = 1 },
        &program));
    float got[ROWS * COLUMNS];
    OK(tuff_write(program, index, (int32_t[]){ 7, 0, 7 }, 12));
    OK(tuff_run(program));
    OK(tuff_read(program, gradient, got, sizeof got));
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < COLUMNS; k++) {
            int selected = (i == 7 ? 2 : i == 0), reflected = k == 1 || k == 2 ? 2 : 1;
            int wanted = (i >= 2) + (i == ROWS - 1) + reflected + (i >= 1) + 2 + 1 + (k == 3) + selected;
            assert_int_equal((int)got[i * COLUMNS + k], wanted);
        }
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* ---- out of range ------------------------------------------------------------------------------- */

static void test_indices_out_of_range(void **state) {
    (void)state;
    enum { COUNT = 5, ROWS = 3, FEATURES = 4 };
    static const int32_t indices[COUNT] = { 2, -1, 0, 3, 2 };
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *index = tuff_input(graph, "index", TUFF_I32, TUFF_SHAPE(COUNT));
    tuff_tensor *table = tuff_parameter(graph, "table", TUFF_SHAPE(ROWS, FEATURES), NULL);
    tuff_tensor *weight = tuff_input(graph, "weight", TUFF_F32, TUFF_SHAPE(COUNT, FEATURES));
    tuff_tensor *y = tuff_embedding(index, &(tuff_embedding_desc){ .weight = table }), *gradient;
    OK(tuff_gradients(tuff_sum(tuff_mul(y, weight), NULL), &table, 1, &gradient));
    tuff_tensor *outputs[] = { y, gradient };
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 2 }, &program));
    float rows[ROWS * FEATURES], weights[COUNT * FEATURES], got[COUNT * FEATURES];
    for (int i = 0; i < ROWS * FEATURES; i++) rows[i] = (float)i;
    for (int i = 0; i < COUNT * FEATURES; i++) weights[i] = (float)(i + 1);
    OK(tuff_model_write(model, "table", rows, sizeof rows));
    OK(tuff_write(program, index, indices, sizeof indices));
    OK(tuff_write(program, weight, weights, sizeof weights));
    OK(tuff_run(program));
    OK(tuff_read(program, y, got, sizeof got));
    for (int i = 0; i < COUNT * FEATURES; i++) {
        int32_t row = indices[i / FEATURES];
        if (row < 0 || row >= ROWS)
            assert_true(isnan(got[i]));
        else
            assert_true(got[i] == rows[row * FEATURES + i % FEATURES]);
    }
    OK(tuff_read(program, gradient, got, sizeof rows));
    for (int f = 0; f < FEATURES; f++) {
        assert_true(got[f] == weights[2 * FEATURES + f]);
        assert_true(got[FEATURES + f] == 0);
        assert_true(got[2 * FEATURES + f] == weights[f] + weights[4 * FEATURES + f]);
    }
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* A target that is no class gives NaN; NaN logits count as largest for accuracy. */
static void test_targets(void **state) {
    (void)state;
    enum { COUNT = 4, CLASSES = 3 };
    static const float logits[COUNT * CLASSES] = { 0, 0, 0, 0, 1, 2, 1, NAN, 3, 2, 2, 1 };
    static const int32_t targets[COUNT] = { 3, -7, 1, 0 };
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(COUNT, CLASSES));
    tuff_tensor *target = tuff_input(graph, "target", TUFF_I32, TUFF_SHAPE(COUNT));
    tuff_tensor *loss = tuff_cross_entropy(x, target, &(tuff_cross_entropy_desc){ .reduction = TUFF_REDUCE_NONE });
    tuff_tensor *accuracy = tuff_accuracy(x, target), *outputs[] = { loss, accuracy };
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 2 }, &program));
    OK(tuff_write(program, x, logits, sizeof logits));
    OK(tuff_write(program, target, targets, sizeof targets));
    OK(tuff_run(program));
    float got[COUNT], share;
    OK(tuff_read(program, loss, got, sizeof got));
    OK(tuff_read(program, accuracy, &share, sizeof share));
    assert_true(isnan(got[0]) && isnan(got[1]) && isnan(got[2]));
    assert_true(fabs(got[3] - log(2 + exp(-1))) < 1e-6);
    assert_true(share == 0.5f); /* the NaN's row and the last one, whose first largest is class 0 */
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* PyTorch's mean over no targets at all is not a number; nothing is learned from it. */
static void test_all_ignored(void **state) {
    (void)state;
    enum { COUNT = 3, CLASSES = 5 };
    static const int32_t targets[COUNT] = { -100, -100, -100 };
    for (int weighted = 0; weighted < 2; weighted++) {
        float logits[COUNT * CLASSES], got[COUNT * CLASSES], value;
        tuff_model *model = tuff_model_create(device, NULL);
        tuff_graph *graph = tuff_graph_create(model);
        tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(COUNT, CLASSES));
        tuff_tensor *target = tuff_input(graph, "target", TUFF_I32, TUFF_SHAPE(COUNT)), *gradient;
        tuff_tensor *weight = weighted ? tuff_constant(graph, 2, TUFF_SHAPE(CLASSES)) : NULL;
        tuff_tensor *loss = tuff_cross_entropy(x, target, &(tuff_cross_entropy_desc){ .weight = weight });
        OK(tuff_gradients(loss, &x, 1, &gradient));
        tuff_tensor *outputs[] = { loss, gradient };
        tuff_program *program = NULL;
        OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 2 }, &program));
        for (int i = 0; i < COUNT * CLASSES; i++) logits[i] = (float)i;
        OK(tuff_write(program, x, logits, sizeof logits));
        OK(tuff_write(program, target, targets, sizeof targets));
        OK(tuff_run(program));
        OK(tuff_read(program, loss, &value, sizeof value));
        OK(tuff_read(program, gradient, got, sizeof got));
        assert_true(isnan(value));
        for (int i = 0; i < COUNT * CLASSES; i++) assert_true(got[i] == 0);
        tuff_program_destroy(program);
        tuff_graph_destroy(graph);
        tuff_model_destroy(model);
    }
}

/* Targets that no path fits, no labels at all, no times, labels and lengths out of range: PyTorch's infinity, and NaN.
 */
static void test_ctc_edges(void **state) {
    (void)state;
    enum { TIMES = 2, SAMPLES = 7, CLASSES = 3, LABELS = 2 };
    static const int32_t targets[SAMPLES * LABELS] = { 1, 1, 1, 2, 0, 0, 1, 0, 0, 0, 3, 1, 1, 2 };
    static const int32_t times[SAMPLES] = { 2, 2, 2, 0, 0, 2, 3 }, labels[SAMPLES] = { 2, 2, 0, 1, 0, 1, 1 };
    float values[TIMES * SAMPLES * CLASSES], got[TIMES * SAMPLES * CLASSES], losses[SAMPLES];
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(TIMES, SAMPLES, CLASSES)), *gradient;
    tuff_tensor *target = tuff_input(graph, "target", TUFF_I32, TUFF_SHAPE(SAMPLES, LABELS));
    tuff_tensor *input_lengths = tuff_input(graph, "times", TUFF_I32, TUFF_SHAPE(SAMPLES));
    tuff_tensor *target_lengths = tuff_input(graph, "labels", TUFF_I32, TUFF_SHAPE(SAMPLES));
    tuff_tensor *loss =
        tuff_ctc_loss(x, target, input_lengths, target_lengths, &(tuff_ctc_loss_desc){ .reduction = TUFF_REDUCE_NONE });
    OK(tuff_gradients(tuff_sum(loss, NULL), &x, 1, &gradient));
    tuff_tensor *outputs[] = { loss, gradient };
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 2 }, &program));
    for (int i = 0; i < TIMES * SAMPLES * CLASSES; i++) values[i] = -1.0986123f; /* log(1 / 3) */
    OK(tuff_write(program, x, values, sizeof values));
    OK(tuff_write(program, target, targets, sizeof targets));
    OK(tuff_write(program, input_lengths, times, sizeof times));
    OK(tuff_write(program, target_lengths, labels, sizeof labels));
    OK(tuff_run(program));
    OK(tuff_read(program, loss, losses, sizeof losses));
    OK(tuff_read(program, gradient, got, sizeof got));
    assert_true(isinf(losses[0]) && losses[0] > 0);                      /* 1, 1 needs a blank between */
    assert_true(fabs((double)losses[1] - 2 * log(3)) < 1e-6);            /* 1, 2 */
    assert_true(fabs((double)losses[2] - 2 * log(3)) < 1e-6);            /* two blanks */
    assert_true(isinf(losses[3]) && losses[3] > 0);                      /* a label and no time */
    assert_true(losses[4] == 0 && isnan(losses[5]) && isnan(losses[6])); /* nothing; class 3 of 3; 3 times of 2 */
    for (int t = 0; t < TIMES; t++)
        for (int c = 0; c < CLASSES; c++) {
            const float *at = got + t * SAMPLES * CLASSES + c;
            float hit = c == t + 1 ? 1 : 0, blank = c == 0 ? 1 : 0;
            assert_true(isnan(at[0]) && isnan(at[5 * CLASSES]) && isnan(at[6 * CLASSES]));
            assert_true(fabsf(at[CLASSES] - (1.0f / 3 - hit)) < 1e-6f);
            assert_true(fabsf(at[2 * CLASSES] - (1.0f / 3 - blank)) < 1e-6f);
            assert_true(at[3 * CLASSES] == 0 && at[4 * CLASSES] == 0);
        }
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* linear_cross_entropy holds no (rows, classes): with a bias's, a weight's and an input's gradient it takes a fraction
 * of the logits' bytes. */
static void test_linear_cross_entropy_memory(void **state) {
    (void)state;
    enum { ROWS = 2048, CLASSES = 32768, FEATURES = 64 };
    const char *force = getenv("TUFF_FORCE");
    if (force && (strstr(force, "slice=") || strstr(force, "logits="))) return; /* thousands of blocks */
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(ROWS, FEATURES));
    tuff_tensor *weight = tuff_input(graph, "weight", TUFF_F32, TUFF_SHAPE(CLASSES, FEATURES));
    tuff_tensor *bias = tuff_input(graph, "bias", TUFF_F32, TUFF_SHAPE(CLASSES));
    tuff_tensor *target = tuff_input(graph, "target", TUFF_I32, TUFF_SHAPE(ROWS));
    tuff_tensor *wanted[] = { x, weight, bias }, *outputs[4];
    outputs[3] = tuff_linear_cross_entropy(x, weight, target, &(tuff_linear_cross_entropy_desc){ .bias = bias });
    OK(tuff_gradients(outputs[3], wanted, 3, outputs));
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 4 }, &program));
    tuff_program_info info;
    tuff_program_get_info(program, &info);
    uint64_t logits = (uint64_t)ROWS * CLASSES * sizeof(float);
    print_message("%.1f MiB of scratch memory for %.1f MiB of logits\n", (double)info.arena_bytes / 1048576,
                  (double)logits / 1048576);
    /* a forced split has three partial sums of each block of logits beside it */
    assert_true(info.arena_bytes < logits / (force && strstr(force, "split") ? 2 : 8));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* As in PyTorch, a NaN is its window's maximum, and the last one of a window gets the gradient. */
static void test_max_pool_nan(void **state) {
    (void)state;
    for (int64_t channels = 1; channels <= 4; channels += 3) {
        tuff_model *model = tuff_model_create(device, NULL);
        tuff_graph *graph = tuff_graph_create(model);
        tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(1, channels, 2, 4));
        tuff_tensor *y = tuff_max_pool2d(x, &(tuff_pool2d_desc){ .kernel = { 2, 2 } }), *gradient;
        OK(tuff_gradients(tuff_sum(y, NULL), &x, 1, &gradient));
        tuff_tensor *outputs[] = { y, gradient };
        tuff_program *program = NULL;
        OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 2 }, &program));
        static const float image[8] = { 1, NAN, 5, 5, NAN, 9, 2, 3 }, want[8] = { 0, 0, 1, 0, 1, 0, 0, 0 };
        float values[32], got[32];
        for (int64_t i = 0; i < channels * 8; i++) values[i] = image[i % 8];
        OK(tuff_write(program, x, values, (size_t)channels * sizeof image));
        OK(tuff_run(program));
        OK(tuff_read(program, y, got, (size_t)channels * 2 * sizeof *got));
        for (int64_t c = 0; c < channels; c++) assert_true(isnan(got[2 * c]) && got[2 * c + 1] == 5);
        OK(tuff_read(program, gradient, got, (size_t)channels * sizeof image));
        for (int64_t i = 0; i < channels * 8; i++) assert_true(got[i] == want[i % 8]);
        tuff_program_destroy(program);
        tuff_graph_destroy(graph);
        tuff_model_destroy(model);
    }
}

/* A loss's mean is over the batch that runs, not over the one that the graph was built with. */
static void test_other_batch(void **state) {
    (void)state;
    enum { CLASSES = 3, MOST = 7 };
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(MOST, CLASSES));
    tuff_tensor *target = tuff_input(graph, "target", TUFF_I32, TUFF_SHAPE(MOST)), *gradient;
    tuff_tensor *loss = tuff_add(tuff_cross_entropy(x, target, NULL), tuff_mse_loss(x, tuff_scale(x, 0, 0), NULL));
    OK(tuff_gradients(loss, &x, 1, &gradient));
    float values[MOST * CLASSES], got[MOST * CLASSES], *again = values;
    int32_t targets[MOST];
    for (int i = 0; i < MOST * CLASSES; i++) values[i] = (float)(i * 5 % 11) / 8;
    for (int i = 0; i < MOST; i++) targets[i] = i % CLASSES;
    for (int64_t n = 1; n <= MOST; n += 3) {
        const tuff_input_size sizes[] = { { x, TUFF_SHAPE(n, CLASSES) }, { target, TUFF_SHAPE(n) } };
        tuff_program *program = NULL;
        OK(tuff_compile(graph,
                        &(tuff_program_desc){
                            .outputs = &gradient, .output_count = 1, .input_sizes = sizes, .input_size_count = 2 },
                        &program));
        OK(tuff_write(program, x, again, (size_t)(n * CLASSES) * sizeof *values));
        OK(tuff_write(program, target, targets, (size_t)n * sizeof *targets));
        OK(tuff_run(program));
        OK(tuff_read(program, gradient, got, (size_t)(n * CLASSES) * sizeof *got));
        double want[MOST * CLASSES];
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int c = 0; c < CLASSES; c++) sum += exp(values[i * CLASSES + c]);
            for (int c = 0; c < CLASSES; c++) {
                double v = values[i * CLASSES + c];
                want[i * CLASSES + c] = (exp(v) / sum - (c == targets[i])) / (double)n + 2 * v / (double)(n * CLASSES);
            }
        }
        near("gradient", got, want, n * CLASSES, 1e-6);
        tuff_program_destroy(program);
    }
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
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
        cmocka_unit_test(test_assign),
        cmocka_unit_test(test_running_statistics),
        cmocka_unit_test(test_one_value),
        cmocka_unit_test(test_indices_out_of_range),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_all_ignored),
        cmocka_unit_test(test_ctc_edges),
        cmocka_unit_test(test_linear_cross_entropy_memory),
        cmocka_unit_test(test_max_pool_nan),
        cmocka_unit_test(test_other_batch),
        cmocka_unit_test(test_parts_of_other_sizes),
    };
    return cmocka_run_group_tests_name("edges", tests, open_device, close_device);
}
