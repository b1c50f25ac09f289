/* Tensors of bytes and of int32 numbers, through every path of the kernels that load and store them: four at once, one
 * by one, words shared with another tensor, broadcast and transposed operands, slices, reductions over masks, fusion
 * with float32 tensors. Results are exact. */
#include "runtime/graph/operator.h"
#include "support.h"
#include "tests/reference/cases.h"
#include "tests/reference/recipe.h"

#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;
static tuff_model *model;
static tuff_graph *graph;
static tuff_program *program;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != TUFF_OK) fail_msg("%s: %s", #call, tuff_last_message());                                         \
    } while (0)

static void begin(void) {
    model = tuff_model_create(device, NULL);
    graph = tuff_graph_create(model);
}

static void end(void) {
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    program = NULL;
}

static void compile(tuff_tensor **outputs, uint32_t count) {
    if (tuff_graph_result(graph) != TUFF_OK) fail_msg("%s", tuff_graph_message(graph));
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = count, .evaluate = true },
                    &program));
}

static uint32_t noise(uint32_t i) {
    i = (i ^ i >> 16) * 0x7feb352du;
    i = (i ^ i >> 15) * 0x846ca68bu;
    return i ^ i >> 16;
}

/* Sizes that fill words and fours of words, that do not, and more than a workgroup. */
static const int64_t SIZES[] = { 1, 3, 4, 5, 15, 16, 64, 1021, 4096, 70001 };
enum { SIZE_COUNT = sizeof SIZES / sizeof *SIZES };

/* m = x < y, beside it x * 2 (another output of the same chain), and back from bytes: where(m, b, c) of byte tensors.
 */
static void test_bytes(void **state) {
    (void)state;
    for (int s = 0; s < SIZE_COUNT; s++) {
        const int64_t n = SIZES[s];
        begin();
        tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(n)),
                    *y = tuff_input(graph, "y", TUFF_F32, TUFF_SCALAR);
        tuff_tensor *b = tuff_input(graph, "b", TUFF_U8, TUFF_SHAPE(n)),
                    *c = tuff_input(graph, "c", TUFF_U8, TUFF_SCALAR);
        tuff_tensor *mask = tuff_lt(x, y), *doubled = tuff_scale(x, 2, 0), *chosen = tuff_where(mask, b, c);
        tuff_tensor *number = tuff_to(b, TUFF_I32), *kept = tuff_masked_fill(x, b, -1);
        tuff_tensor *outputs[] = { mask, doubled, chosen, number, kept };
        compile(outputs, 5);
        float *xs = malloc((size_t)n * 4), *fs = malloc((size_t)n * 4), limit = 0.25f;
        unsigned char *bs = malloc((size_t)n), *got = malloc((size_t)n), other = 201;
        int32_t *is = malloc((size_t)n * 4);
        for (int64_t i = 0; i < n; i++) {
            xs[i] = (float)(noise((uint32_t)i) % 1000) / 1000;
            bs[i] = (unsigned char)(noise((uint32_t)i) >> 20 & (i % 3 ? 255 : 0));
        }
        OK(tuff_write(program, x, xs, (size_t)n * 4));
        OK(tuff_write(program, y, &limit, sizeof limit));
        OK(tuff_write(program, b, bs, (size_t)n));
        OK(tuff_write(program, c, &other, 1));
        OK(tuff_run(program));
        OK(tuff_read(program, mask, got, (size_t)n));
        for (int64_t i = 0; i < n; i++)
            if (got[i] != (xs[i] < limit)) fail_msg("%lld: x[%lld] < y is %d", (long long)n, (long long)i, got[i]);
        OK(tuff_read(program, chosen, got, (size_t)n));
        for (int64_t i = 0; i < n; i++) assert_int_equal(got[i], xs[i] < limit ? bs[i] : other);
        OK(tuff_read(program, doubled, fs, (size_t)n * 4));
        for (int64_t i = 0; i < n; i++) assert_true(fs[i] == 2 * xs[i]);
        OK(tuff_read(program, number, is, (size_t)n * 4));
        for (int64_t i = 0; i < n; i++) assert_int_equal(is[i], bs[i]);
        OK(tuff_read(program, kept, fs, (size_t)n * 4));
        for (int64_t i = 0; i < n; i++) assert_true(fs[i] == (bs[i] ? -1 : xs[i]));
        assert_int_equal(tuff_write(program, b, bs, (size_t)n * 4 + 4), TUFF_ERROR_SHAPE);
        end();
        free(xs), free(fs), free(bs), free(got), free(is);
    }
}

/* Bytes side by side in the words of a larger tensor, transposed and broadcast. */
static void test_parts(void **state) {
    (void)state;
    enum { ROWS = 7, A = 5, B = 3, C = 9, ALL = A + B + C };
    begin();
    tuff_tensor *a = tuff_input(graph, "a", TUFF_U8, TUFF_SHAPE(ROWS, A)),
                *b = tuff_input(graph, "b", TUFF_U8, TUFF_SHAPE(ROWS, B));
    tuff_tensor *c = tuff_input(graph, "c", TUFF_U8, TUFF_SHAPE(ROWS, C));
    tuff_tensor *parts[] = { a, b, c }, *row = tuff_input(graph, "row", TUFF_U8, TUFF_SHAPE(1, ALL));
    tuff_tensor *joined = tuff_concat(parts, 3, 1), *turned = tuff_transpose(joined, 0, 1);
    tuff_tensor *equal = tuff_eq(joined, row), *copy = tuff_reshape(turned, TUFF_SHAPE(ALL * ROWS));
    tuff_tensor *outputs[] = { joined, copy, equal };
    compile(outputs, 3);
    unsigned char in[3][ROWS * C], rows[ALL], got[ROWS * ALL], want[ROWS * ALL];
    const int widths[3] = { A, B, C };
    for (int i = 0; i < ALL; i++) rows[i] = (unsigned char)(noise((uint32_t)i) & 3);
    for (int k = 0, at = 0; k < 3; at += widths[k++])
        for (int i = 0; i < ROWS * widths[k]; i++) {
            in[k][i] = (unsigned char)(noise((uint32_t)(i + 1000 * k)) >> 8 & 3);
            want[i / widths[k] * ALL + at + i % widths[k]] = in[k][i];
        }
    for (int k = 0; k < 3; k++) OK(tuff_write(program, parts[k], in[k], (size_t)(ROWS * widths[k])));
    OK(tuff_write(program, row, rows, sizeof rows));
    OK(tuff_run(program));
    OK(tuff_read(program, joined, got, sizeof got));
    assert_memory_equal(got, want, sizeof want);
    OK(tuff_read(program, copy, got, sizeof got));
    for (int i = 0; i < ROWS * ALL; i++) assert_int_equal(got[i], want[i % ROWS * ALL + i / ROWS]);
    OK(tuff_read(program, equal, got, sizeof got));
    for (int i = 0; i < ROWS * ALL; i++) assert_int_equal(got[i], want[i] == rows[i % ALL]);
    end();
}

/* Sums over masks: bytes are read by the reducing kernel, too. */
static void test_sums(void **state) {
    (void)state;
    static const int64_t widths[] = { 5, 64, 3000 };
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (int axis = 0; axis < 2; axis++) {
            const int64_t rows = 12, columns = widths[w], count = axis ? rows : columns;
            begin();
            tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(rows, columns));
            tuff_tensor *m = tuff_input(graph, "m", TUFF_U8, TUFF_SHAPE(rows, columns));
            tuff_tensor *v = tuff_input(graph, "v", TUFF_U8, TUFF_SHAPE(columns));
            const tuff_reduce_desc desc = { .axes = { axis }, .axis_count = 1 };
            tuff_tensor *sum = tuff_sum(tuff_masked_fill(tuff_masked_fill(x, m, 0), v, 1), &desc);
            tuff_tensor *counted = tuff_sum(tuff_to(m, TUFF_F32), &desc);
            tuff_tensor *outputs[] = { sum, counted };
            compile(outputs, 2);
            float *xs = malloc((size_t)(rows * columns) * 4), *got = malloc((size_t)count * 4);
            unsigned char *ms = malloc((size_t)(rows * columns)), *vs = malloc((size_t)columns);
            for (int64_t i = 0; i < rows * columns; i++) {
                xs[i] = (float)(noise((uint32_t)i) & 255);
                ms[i] = noise((uint32_t)i) >> 9 & 1;
            }
            for (int64_t i = 0; i < columns; i++) vs[i] = noise((uint32_t)i) >> 17 & 1;
            OK(tuff_write(program, x, xs, (size_t)(rows * columns) * 4));
            OK(tuff_write(program, m, ms, (size_t)(rows * columns)));
            OK(tuff_write(program, v, vs, (size_t)columns));
            OK(tuff_run(program));
            for (int k = 0; k < 2; k++) {
                OK(tuff_read(program, outputs[k], got, (size_t)count * 4));
                for (int64_t i = 0; i < count; i++) {
                    float want = 0;
                    for (int64_t j = 0; j < (axis ? columns : rows); j++) {
                        int64_t at = axis ? i * columns + j : j * columns + i;
                        want += k ? ms[at] : vs[at % columns] ? 1 : ms[at] ? 0 : xs[at];
                    }
                    if (got[i] != want) fail_msg("sum %d over axis %d: %g, should be %g", k, axis, got[i], want);
                }
            }
            end();
            free(xs), free(got), free(ms), free(vs);
        }
}

static int32_t wrapped(int64_t value) {
    return (int32_t)(uint32_t)value;
}

static void test_integers(void **state) {
    (void)state;
    enum { N = 37 };
    static const int32_t ends[] = {
        0, 1, -1, 2, -2, 16777217, 16777216, -16777217, INT32_MAX, INT32_MIN, 123456789, 7
    };
    int32_t as[N], bs[N], got[N];
    for (int i = 0; i < N; i++) {
        as[i] = ends[noise((uint32_t)i) % 12];
        bs[i] = ends[noise((uint32_t)i + 99) % 12];
    }
    begin();
    tuff_tensor *a = tuff_input(graph, "a", TUFF_I32, TUFF_SHAPE(N)),
                *b = tuff_input(graph, "b", TUFF_I32, TUFF_SHAPE(N));
    tuff_tensor *outputs[] = { tuff_add(a, b),
                               tuff_sub(a, b),
                               tuff_mul(a, b),
                               tuff_maximum(a, b),
                               tuff_minimum(a, b),
                               tuff_neg(a),
                               tuff_abs(a),
                               tuff_masked_fill(a, tuff_gt(a, b), -5),
                               tuff_where(tuff_le(a, b), a, b) };
    tuff_tensor *masks[] = { tuff_eq(a, b), tuff_ne(a, b), tuff_lt(a, b), tuff_le(a, b), tuff_gt(a, b), tuff_ge(a, b) };
    tuff_tensor *all[15];
    memcpy(all, outputs, sizeof outputs);
    memcpy(all + 9, masks, sizeof masks);
    compile(all, 15);
    OK(tuff_write(program, a, as, sizeof as));
    OK(tuff_write(program, b, bs, sizeof bs));
    OK(tuff_run(program));
    for (int k = 0; k < 9; k++) {
        OK(tuff_read(program, outputs[k], got, sizeof got));
        for (int i = 0; i < N; i++) {
            int64_t x = as[i], y = bs[i];
            const int32_t want[] = { wrapped(x + y),          wrapped(x - y),          wrapped(x * y),
                                     wrapped(x > y ? x : y),  wrapped(x < y ? x : y),  wrapped(-x),
                                     wrapped(x < 0 ? -x : x), x > y ? -5 : wrapped(x), wrapped(x <= y ? x : y) };
            if (got[i] != want[k]) fail_msg("%d of %d and %d is %d, should be %d", k, as[i], bs[i], got[i], want[k]);
        }
    }
    unsigned char bytes[N];
    for (int k = 0; k < 6; k++) {
        OK(tuff_read(program, masks[k], bytes, sizeof bytes));
        for (int i = 0; i < N; i++) {
            const int want[] = { as[i] == bs[i], as[i] != bs[i], as[i]<bs[i], as[i] <= bs[i], as[i]> bs[i],
                                 as[i] >= bs[i] };
            if (bytes[i] != want[k]) fail_msg("comparison %d of %d and %d is %d", k, as[i], bs[i], bytes[i]);
        }
    }
    end();
}

/* What the other type cannot hold; NaN compares as in C. */
static void test_conversions(void **state) {
    (void)state;
    static const float x[] = { NAN,  INFINITY, -INFINITY, 3e9f, -3e9f,  2147483520.0f, -2147483648.0f,
                               1.9f, -1.9f,    300,       -1,   255.5f, -0.5f };
    static const int32_t ints[] = { INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, 2147483520, INT32_MIN,
                                    1,         -1,        300,       -1,        255,       0 };
    enum { N = sizeof x / sizeof *x };
    int32_t got[N];
    unsigned char bytes[N];
    float floats[N];
    begin();
    tuff_tensor *input = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(N));
    tuff_tensor *integer = tuff_to(input, TUFF_I32);
    tuff_tensor *outputs[] = { integer,
                               tuff_to(input, TUFF_U8),
                               tuff_to(integer, TUFF_U8),
                               tuff_to(integer, TUFF_F32),
                               tuff_ne(input, input),
                               tuff_ge(input, input) };
    compile(outputs, 6);
    OK(tuff_write(program, input, x, sizeof x));
    OK(tuff_run(program));
    OK(tuff_read(program, outputs[0], got, sizeof got));
    for (int i = 0; i < N; i++) assert_int_equal(got[i], ints[i]);
    for (int k = 1; k < 3; k++) {
        OK(tuff_read(program, outputs[k], bytes, sizeof bytes));
        for (int i = 0; i < N; i++) assert_int_equal(bytes[i], ints[i] & 255);
    }
    OK(tuff_read(program, outputs[3], floats, sizeof floats));
    for (int i = 0; i < N; i++) assert_true(floats[i] == (float)ints[i]);
    OK(tuff_read(program, outputs[4], bytes, sizeof bytes));
    for (int i = 0; i < N; i++) assert_int_equal(bytes[i], i == 0);
    OK(tuff_read(program, outputs[5], bytes, sizeof bytes));
    for (int i = 0; i < N; i++) assert_int_equal(bytes[i], i != 0);
    end();
}

/* What has no bytes says so. */
static void test_refusals(void **state) {
    (void)state;
    begin();
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(4)),
                *b = tuff_input(graph, "b", TUFF_U8, TUFF_SHAPE(4));
    assert_null(tuff_eq(x, b));
    assert_non_null(strstr(tuff_graph_message(graph), "tuff_to"));
    end();
    begin();
    b = tuff_input(graph, "b", TUFF_U8, TUFF_SHAPE(4));
    assert_null(tuff_add(b, b));
    assert_non_null(strstr(tuff_graph_message(graph), "uint8"));
    end();
    begin();
    b = tuff_input(graph, "b", TUFF_U8, TUFF_SHAPE(4));
    assert_null(tuff_masked_fill(b, b, 256));
    assert_non_null(strstr(tuff_graph_message(graph), "256"));
    end();
}

/* ---- the table of cases: each type that an operator's input may have is in one ------------------------ */

static uint32_t type_of(recipe_fill fill) {
    if (fill == FILL_INDEX) return TYPE_I32;
    return fill == FILL_MASK || fill == FILL_BYTE ? TYPE_U8 : TYPE_F32;
}

/* The types of one input, or of all from it on, in the cases of an operator. */
static uint32_t types_in_cases(const char *name, uint32_t input, bool and_later) {
    uint32_t types = 0;
    for (int i = 0; i < OPERATOR_CASE_COUNT; i++) {
        if (strcmp(OPERATOR_CASES[i].op, name) != 0) continue;
        char word[RECIPE_TEXT];
        int length;
        uint32_t at = 0;
        for (const char *text = OPERATOR_CASES[i].shapes; sscanf(text, "%239s%n", word, &length) == 1; text += length) {
            tuff_shape shape;
            recipe_fill fill;
            int64_t below;
            bool constant, this = at == input || (and_later && at > input);
            if (this && strcmp(word, "_") != 0 && recipe_operand(word, &shape, &fill, &below, &constant))
                types |= type_of(fill);
            at++;
        }
    }
    return types;
}

static void test_cases(void **state) {
    (void)state;
    uint32_t rows, missing = 0;
    const operator* const * table = operator_table(&rows);
    for (uint32_t r = 0; r < rows; r++) {
        const operator* row = table[r];
        uint32_t inputs = operator_input_count(row);
        for (uint32_t i = 0; i < inputs && !(row->flags & OPERATOR_INTERNAL); i++) {
            uint32_t possible = row->types[i] ? row->types[i] : (uint32_t)TYPE_F32;
            possible &= TYPE_F32 | TYPE_I32 | TYPE_U8;
            possible &= ~types_in_cases(row->name, i, operator_takes_many(row) && i + 1 == inputs);
            if (!possible) continue;
            print_error("%s: no case has a%s%s%s as input %u\n", row->name, possible & TYPE_F32 ? " float32" : "",
                        possible & TYPE_I32 ? " int32" : "", possible & TYPE_U8 ? " uint8" : "", i);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
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
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_parts),       cmocka_unit_test(test_sums),
        cmocka_unit_test(test_integers), cmocka_unit_test(test_conversions), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cases),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
