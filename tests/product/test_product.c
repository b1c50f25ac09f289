/* Products with each variant forced, split and in slices: sizes of no tile, every way of reading (vec4 along each axis
 * and one by one), batches that broadcast over more axes than a kernel knows, images in any order, and epilogues. */
#include "checks.h"
#include "layers/variants.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- matrix products ---- */

static void add_matmul(checks *c, tuff_shape a, tuff_shape b, bool ta, bool tb) {
    ref *x = checks_filled(a, 2 * c->count + 1), *y = checks_filled(b, 2 * c->count + 2);
    char name[160];
    snprintf(name, sizeof name, "matmul %lldx%lld%s by %lldx%lld%s", (long long)a.sizes[a.rank - 2],
             (long long)a.sizes[a.rank - 1], ta ? "^T" : "", (long long)b.sizes[b.rank - 2],
             (long long)b.sizes[b.rank - 1], tb ? "^T" : "");
    tuff_tensor *product = tuff_matmul(checks_leaf(c, x), checks_leaf(c, y), &(tuff_matmul_desc){ ta, tb });
    checks_expect(c, product, ref_matmul(x, y, ta, tb), name);
}

static void add_matmuls(checks *c) {
    static const int64_t sizes[][3] = { { 1, 1, 1 },     { 1, 40, 12 },   { 33, 1, 7 },    { 17, 68, 36 },
                                        { 67, 131, 29 }, { 12, 20, 100 }, { 132, 140, 20 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int t = 0; t < 4; t++) {
            int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
            add_matmul(c, t & 1 ? TUFF_SHAPE(k, m) : TUFF_SHAPE(m, k), t & 2 ? TUFF_SHAPE(n, k) : TUFF_SHAPE(k, n),
                       t & 1, t & 2);
        }
    add_matmul(c, TUFF_SHAPE(3, 5, 8), TUFF_SHAPE(8, 12), false, false);
    add_matmul(c, TUFF_SHAPE(3, 52, 8), TUFF_SHAPE(3, 8, 1), false, false);
    add_matmul(c, TUFF_SHAPE(3, 200), TUFF_SHAPE(200, 96), false, false);
    add_matmul(c, TUFF_SHAPE(5, 8), TUFF_SHAPE(2, 3, 8, 12), false, false);
    add_matmul(c, TUFF_SHAPE(2, 1, 5, 7), TUFF_SHAPE(1, 3, 7, 6), false, false);
    add_matmul(c, TUFF_SHAPE(2, 1, 2, 1, 2, 1, 5, 4), TUFF_SHAPE(1, 2, 1, 3, 1, 2, 4, 8), false, false);
    add_matmul(c, TUFF_SHAPE(2, 1, 2, 1, 3, 4, 5), TUFF_SHAPE(1, 2, 1, 2, 3, 4, 3), true, false);
}

/* Operands that are views: transposed, and rows of a larger matrix. */
static void add_views(checks *c) {
    ref *x = checks_filled(TUFF_SHAPE(12, 3, 8), 91), *y = checks_filled(TUFF_SHAPE(8, 3, 20), 92);
    ref *xt = ref_transpose(x, 0, 1), *yt = ref_transpose(y, 0, 1);
    tuff_tensor *product =
        tuff_matmul(tuff_transpose(checks_leaf(c, x), 0, 1), tuff_transpose(checks_leaf(c, y), 0, 1), NULL);
    checks_expect(c, product, ref_matmul(xt, yt, false, false), "matmul of heads");
    ref_free(xt);
    ref_free(yt);
}

/* ---- epilogues ---- */

static ref *pointwise(const ref *a, const ref *b, ref_arithmetic arithmetic) {
    return ref_binary(arithmetic, a, b);
}

static void add_epilogues(checks *c) {
    static const int64_t sizes[][3] = { { 17, 36, 20 }, { 5, 7, 9 }, { 12, 1, 8 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
        ref *x = checks_filled(TUFF_SHAPE(m, k), 51), *y = checks_filled(TUFF_SHAPE(k, n), 52),
            *bias = checks_filled(TUFF_SHAPE(n), 53);
        ref *other = checks_filled(TUFF_SHAPE(m, n), 54), *turned = ref_transpose(other, 0, 1);
        ref *product = ref_matmul(x, y, false, false), *biased = pointwise(product, bias, REF_ADD);
        ref *scaled = pointwise(biased, other, REF_MUL);
        tuff_tensor *tx = checks_leaf(c, x), *ty = checks_leaf(c, y), *tb = checks_leaf(c, bias),
                    *to = checks_leaf(c, other), *tt = checks_leaf(c, turned);
        checks_expect(c, tuff_relu(tuff_add(tuff_matmul(tx, ty, NULL), tb)), checks_clipped(biased, 0), "bias, relu");
        checks_expect(c, tuff_leaky_relu(tuff_add(tuff_matmul(tx, ty, NULL), tb), 0.1f), checks_clipped(biased, 0.1f),
                      "bias, leaky relu");
        checks_expect(c, tuff_scale(tuff_matmul(tx, ty, NULL), 0.5f, -0.25f), ref_unary(REF_SCALE, product, 0.5, -0.25),
                      "scale");
        checks_expect(c, tuff_mul(tuff_add(tuff_matmul(tx, ty, NULL), tb), to), ref_copy(scaled),
                      "bias, times a matrix");
        checks_expect(c, tuff_mul(tuff_add(tuff_matmul(tx, ty, NULL), tb), tuff_transpose(tt, 0, 1)), scaled,
                      "bias, times a transposed matrix");
        checks_expect(c, tuff_sub(to, tuff_matmul(tx, ty, NULL)), pointwise(other, product, REF_SUB),
                      "subtracted from a matrix");
        ref_free(product);
        ref_free(biased);
    }
}

/* ---- convolution: y, and the gradients of sum(y r) ---- */

static void add_convs(checks *c, const char *force) {
    const conv_case cases[] = {
        { TUFF_SHAPE(1, 1, 1, 1), TUFF_SHAPE(1, 1, 1, 1), { .groups = 1 }, false },
        { TUFF_SHAPE(2, 4, 7, 9), TUFF_SHAPE(8, 4, 3, 3), { .padding = { 1, 1 } }, true },
        { TUFF_SHAPE(2, 4, 7, 9), TUFF_SHAPE(8, 4, 3, 3), { .padding = { 1, 1 } }, false },
        { TUFF_SHAPE(3, 3, 8, 7),
          TUFF_SHAPE(5, 3, 3, 2),
          { .stride = { 2, 1 }, .padding = { 1, 0 }, .dilation = { 1, 2 } },
          false },
        { TUFF_SHAPE(2, 8, 11, 10),
          TUFF_SHAPE(12, 4, 3, 3),
          { .stride = { 2, 2 }, .padding = { 2, 2 }, .dilation = { 2, 2 }, .groups = 2 },
          true },
        { TUFF_SHAPE(1, 16, 6, 5), TUFF_SHAPE(36, 16, 5, 3), { .stride = { 3, 2 }, .padding = { 2, 1 } }, true },
        { TUFF_SHAPE(3, 8, 11, 13), TUFF_SHAPE(12, 8, 3, 3), { .padding = { 1, 1 } }, true },
        { TUFF_SHAPE(1, 4, 3, 6), TUFF_SHAPE(4, 4, 3, 3), { .padding = { 2, 0 } }, true },
        { TUFF_SHAPE(2, 4, 6, 7), TUFF_SHAPE(136, 4, 3, 3), { .padding = { 1, 1 } }, true },
        { TUFF_SHAPE(1, 4, 6, 7), TUFF_SHAPE(136, 4, 3, 3), { .padding = { 1, 1 } }, true },
        { TUFF_SHAPE(2, 136, 6, 7), TUFF_SHAPE(4, 136, 3, 3), { .padding = { 1, 1 } }, true },
        { TUFF_SHAPE(2, 12, 9, 7), TUFF_SHAPE(8, 12, 4, 4), { .padding = { 2, 1 } }, true },
        { TUFF_SHAPE(2, 8, 7, 5), TUFF_SHAPE(20, 8, 5, 5), { .padding = { 2, 2 } }, true },
        { TUFF_SHAPE(2, 8, 21), TUFF_SHAPE(12, 8, 5), { .stride = { 2 }, .padding = { 2 } }, true },
        { TUFF_SHAPE(2, 4, 5, 6, 7), TUFF_SHAPE(8, 4, 3, 3, 3), { .padding = { 1, 1, 1 } }, true },
        { TUFF_SHAPE(2, 3, 7, 5, 6),
          TUFF_SHAPE(5, 3, 3, 2, 3),
          { .stride = { 2, 1, 2 }, .padding = { 1, 0, 1 }, .dilation = { 1, 2, 1 } },
          false },
    };
    /* SwiftShader takes minutes and gigabytes to compile a kernel that walks over volumes with many rows in registers;
     * tests/operators runs volumes there with the variants that it chooses */
    bool many_rows = strcmp(force, TUNED) == 0 || (strstr(force, "product=row") && !strstr(force, "row8"));
    bool volumes = !many_rows || !strstr(tuff_device_get_info(c->device)->name, "SwiftShader");
    /* in slices of 1,024 numbers many channels are so many kernels that Mesa 26 maps memory 60,000 times, of 65,530 */
    bool wide = !strstr(force, "slice=4096");
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool many_channels = cases[i].x.sizes[1] > 100 || cases[i].weight.sizes[0] > 100;
        if ((volumes || cases[i].x.rank < 5) && (wide || !many_channels)) checks_conv(c, &cases[i], i);
    }
}

/* Few channels: lines of pixels that are no multiple of a tile, each stride, kernels wider than a run and of one tap,
 * more columns than a workgroup has, groups. */
static void add_few_channels(checks *c) {
    const conv_case cases[] = {
        { TUFF_SHAPE(7, 1, 6, 37), TUFF_SHAPE(8, 1, 3, 3), { .padding = { 1, 1 } }, false },
        { TUFF_SHAPE(1, 3, 11, 75), TUFF_SHAPE(5, 3, 7, 7), { .stride = { 2, 2 }, .padding = { 3, 3 } }, false },
        { TUFF_SHAPE(2, 2, 7, 35), TUFF_SHAPE(36, 2, 2, 5), { .padding = { 0, 2 } }, true },
        { TUFF_SHAPE(1, 5, 5, 40), TUFF_SHAPE(7, 5, 3, 11), { .stride = { 1, 2 }, .padding = { 1, 4 } }, true },
        { TUFF_SHAPE(2, 1, 9, 9), TUFF_SHAPE(132, 1, 3, 1), { .padding = { 1, 0 } }, false },
        { TUFF_SHAPE(3, 1, 90), TUFF_SHAPE(4, 1, 13), { .padding = { 6 } }, false },
        { TUFF_SHAPE(1, 3, 70), TUFF_SHAPE(8, 3, 4), { .stride = { 3 }, .padding = { 2 }, .dilation = { 2 } }, false },
        { TUFF_SHAPE(2, 6, 5, 33), TUFF_SHAPE(10, 3, 3, 3), { .padding = { 2, 1 }, .groups = 2 }, true },
        { TUFF_SHAPE(2, 3, 34, 6), TUFF_SHAPE(8, 3, 4, 6), { .stride = { 3, 2 }, .padding = { 1, 2 } }, true },
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) checks_conv(c, &cases[i], 200 + i);
}

/* A group for each channel: channels in fours and not, several outputs of each, one to three axes. */
static void add_depthwise(checks *c) {
    const conv_case cases[] = {
        { TUFF_SHAPE(2, 6, 9, 9), TUFF_SHAPE(6, 1, 3, 3), { .padding = { 1, 1 }, .groups = 6 }, true },
        { TUFF_SHAPE(2, 8, 9, 7), TUFF_SHAPE(8, 1, 3, 3), { .padding = { 1, 1 }, .groups = 8 }, true },
        { TUFF_SHAPE(2, 8, 9, 7), TUFF_SHAPE(8, 1, 3, 3), { .stride = { 2, 1 }, .groups = 8 }, false },
        { TUFF_SHAPE(1, 4, 9, 8),
          TUFF_SHAPE(12, 1, 3, 2),
          { .stride = { 1, 2 }, .padding = { 1, 0 }, .dilation = { 2, 1 }, .groups = 4 },
          true },
        { TUFF_SHAPE(1, 2, 5, 5), TUFF_SHAPE(8, 1, 2, 2), { .groups = 2 }, true },
        { TUFF_SHAPE(3, 5, 70), TUFF_SHAPE(5, 1, 9), { .padding = { 4 }, .groups = 5 }, true },
        { TUFF_SHAPE(2, 4, 4, 5, 6), TUFF_SHAPE(4, 1, 3, 3, 3), { .padding = { 1, 1, 1 }, .groups = 4 }, true },
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) checks_conv(c, &cases[i], 100 + i);
}

/* ---- the tests ---- */

static void test_forced(void **state) {
    const char *force = *state;
    const product_variant *variant;
    tuff_device *device = test_device_open(&(tuff_device_desc){ .force = strcmp(force, TUNED) ? force : "" });
    /* SwiftShader compiles slowly, each device's kernels anew: one of Winograd's ways there, that has chunks and parts
     */
    bool weak = strstr(tuff_device_get_info(device)->name, "SwiftShader") != NULL;
    tuff_result result = product_variant_choose(device, 16, 16, 16, 1, &variant);
    tuff_device_close(device);
    if (weak && strncmp(force, "winograd=1", 10) == 0 && !strstr(force, "slice=65536")) return;
    if (result == TUFF_ERROR_UNSUPPORTED) {
        print_message("%s\n", tuff_last_message());
        return;
    }
    checks c;
    checks_begin(&c, force);
    add_matmuls(&c);
    add_views(&c);
    add_epilogues(&c);
    checks_finish(&c, force);
    checks_begin(&c, force);
    add_convs(&c, force);
    checks_finish(&c, force);
    if (strncmp(force, "direct", 6) != 0) return;
    checks_begin(&c, force);
    add_few_channels(&c);
    checks_finish(&c, force);
}

/* The variant for a group per channel, which no force chooses. */
static void test_depthwise(void **state) {
    const char *force = *state;
    checks c;
    checks_begin(&c, force);
    add_depthwise(&c);
    checks_finish(&c, force);
}

/* A bias and an activation cost no kernel of their own, and between convolutions nothing is put into another order. */
static void test_epilogue_is_fused(void **state) {
    (void)state;
    const tuff_shape shapes[] = { TUFF_SHAPE(2, 4, 64), TUFF_SHAPE(2, 4, 8, 8), TUFF_SHAPE(2, 4, 6, 5, 6) };
    const ref_convolution spec = { .stride = { 1, 1, 1 }, .dilation = { 1, 1, 1 }, .groups = 4 };
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        checks c;
        checks_begin(&c, "product=row8");
        tuff_tensor *x = tuff_input(c.graph, "x", TUFF_F32, shapes[i]);
        tuff_shape weight = shapes[i];
        weight.sizes[0] = 8;
        for (uint32_t axis = 2; axis < weight.rank; axis++) weight.sizes[axis] = 3;
        weight.sizes[1] = 1;
        for (int layer = 0; layer < 2; layer++) { /* depthwise, then all channels */
            ref_convolution own = spec;
            char name[16];
            if (layer) weight.sizes[1] = 8, own.groups = 1;
            snprintf(name, sizeof name, "weight%d", layer);
            tuff_tensor *w = tuff_input(c.graph, name, TUFF_F32, weight);
            snprintf(name, sizeof name, "bias%d", layer);
            tuff_tensor *b = tuff_parameter(c.graph, name, TUFF_SHAPE(8), NULL);
            x = tuff_relu(checks_apply_conv(x, w, b, &own));
        }
        tuff_tensor *y = tuff_sum(x, NULL);
        tuff_program *program = NULL;
        OK(tuff_compile(c.graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program));
        tuff_program_info info;
        tuff_program_get_info(program, &info);
        assert_int_equal(info.dispatches, 5); /* weights' copies, convolutions with their epilogues, the sum */
        tuff_program_destroy(program);
        tuff_graph_destroy(c.graph);
        tuff_model_destroy(c.model);
        tuff_device_close(c.device);
    }
}

/* Sums whose loops would make more turns than lavapipe allows: of a convolution's weights over all pixels, and of a
 * product with an epilogue, which cannot be split with it. All is 1, so that sums are exact. */
static void test_long_sums(void **state) {
    (void)state;
    enum { SIDE = 520, CHANNELS = 32, TERMS = 270001 };
    checks c;
    checks_begin(&c, "");
    const ref_convolution spec = { .stride = { 1, 1 }, .padding = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };
    tuff_tensor *x = tuff_input(c.graph, "x", TUFF_F32, TUFF_SHAPE(1, CHANNELS, SIDE, SIDE));
    tuff_tensor *w = tuff_input(c.graph, "w", TUFF_F32, TUFF_SHAPE(4, CHANNELS, 3, 3)), *outputs[2];
    OK(tuff_gradients(tuff_sum(checks_apply_conv(x, w, NULL, &spec), NULL), &w, 1, &outputs[0]));
    tuff_tensor *a = tuff_input(c.graph, "a", TUFF_F32, TUFF_SHAPE(2, TERMS));
    tuff_tensor *b = tuff_input(c.graph, "b", TUFF_F32, TUFF_SHAPE(TERMS, 3));
    outputs[1] = tuff_relu(tuff_scale(tuff_matmul(a, b, NULL), 1, 1));
    tuff_program *program;
    OK(tuff_compile(c.graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 2, .evaluate = true },
                    &program));
    static float weights[4 * CHANNELS * 9];
    enum { ALL = CHANNELS * SIDE * SIDE };
    float *ones = malloc(ALL * sizeof *ones);
    for (uint32_t i = 0; i < ALL; i++) ones[i] = 1;
    OK(tuff_write(program, x, ones, ALL * sizeof *ones));
    OK(tuff_write(program, a, ones, 2 * TERMS * sizeof *ones));
    OK(tuff_write(program, b, ones, 3 * TERMS * sizeof *ones));
    free(ones);
    OK(tuff_run(program));
    OK(tuff_read(program, outputs[0], weights, sizeof weights));
    for (uint32_t i = 0; i < 4 * CHANNELS * 9; i++) {
        uint32_t met_y = SIDE - (i / 3 % 3 != 1), met_x = SIDE - (i % 3 != 1);
        assert_true(weights[i] == (float)(met_y * met_x));
    }
    float sums[6];
    OK(tuff_read(program, outputs[1], sums, sizeof sums));
    for (uint32_t i = 0; i < 6; i++) assert_true(sums[i] == TERMS + 1);
    tuff_program_destroy(program);
    tuff_graph_destroy(c.graph);
    tuff_model_destroy(c.model);
    tuff_device_close(c.device);
}

/* A transposed convolution over so many channels that its sum goes in parts: what a phase's product cannot do. */
static void test_long_strided_sum(void **state) {
    (void)state;
    enum { CHANNELS = 3000, PIXELS = 9 };
    checks c;
    checks_begin(&c, "turns=1024");
    tuff_tensor *x = tuff_input(c.graph, "x", TUFF_F32, TUFF_SHAPE(1, CHANNELS, 2, 2));
    tuff_tensor *w = tuff_input(c.graph, "w", TUFF_F32, TUFF_SHAPE(CHANNELS, 2, 1, 1));
    tuff_tensor *y = tuff_conv_transpose2d(x, &(tuff_conv_transpose2d_desc){ .weight = w, .stride = { 2, 2 } });
    tuff_program *program;
    OK(tuff_compile(c.graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program));
    static float ones[4 * CHANNELS];
    for (uint32_t i = 0; i < 4 * CHANNELS; i++) ones[i] = 1;
    OK(tuff_write(program, x, ones, sizeof ones));
    OK(tuff_write(program, w, ones, 2 * CHANNELS * sizeof *ones));
    OK(tuff_run(program));
    float sums[2 * PIXELS];
    OK(tuff_read(program, y, sums, sizeof sums));
    for (uint32_t i = 0; i < 2 * PIXELS; i++) {
        uint32_t row = i % PIXELS / 3, column = i % 3;
        assert_true(sums[i] == (row % 2 || column % 2 ? 0 : CHANNELS));
    }
    tuff_program_destroy(program);
    tuff_graph_destroy(c.graph);
    tuff_model_destroy(c.model);
    tuff_device_close(c.device);
}

/* One infinite pixel: which results of y and of the weights' gradient are finite. */
static void count_finite(const char *force, int64_t width, int64_t taps, uint32_t finite[2]) {
    checks c;
    checks_begin(&c, force);
    tuff_tensor *x = tuff_input(c.graph, "x", TUFF_F32, TUFF_SHAPE(1, 1, 2, width));
    tuff_tensor *w = tuff_input(c.graph, "w", TUFF_F32, TUFF_SHAPE(4, 1, 1, taps));
    tuff_tensor *y = tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = w }), *outputs[2] = { y };
    OK(tuff_gradients(tuff_sum(y, NULL), &w, 1, &outputs[1]));
    tuff_program *program;
    OK(tuff_compile(c.graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 2, .evaluate = true },
                    &program));
    float numbers[128];
    for (int i = 0; i < 128; i++) numbers[i] = 1;
    numbers[width - 1] = INFINITY; /* the end of the first row: the kernel's last tap alone meets it */
    OK(tuff_write(program, x, numbers, (size_t)(2 * width) * sizeof *numbers));
    numbers[width - 1] = 1;
    OK(tuff_write(program, w, numbers, (size_t)(4 * taps) * sizeof *numbers));
    OK(tuff_run(program));
    for (int i = 0; i < 2; i++) {
        tuff_shape shape = tuff_tensor_shape(outputs[i]);
        float *values = malloc((size_t)tuff_shape_count(&shape) * sizeof *values);
        OK(tuff_read(program, outputs[i], values, (size_t)tuff_shape_count(&shape) * sizeof *values));
        finite[i] = 0;
        for (int64_t k = 0; k < tuff_shape_count(&shape); k++) finite[i] += isfinite(values[k]) != 0;
        free(values);
    }
    tuff_program_destroy(program);
    tuff_graph_destroy(c.graph);
    tuff_model_destroy(c.model);
    tuff_device_close(c.device);
}

static void test_infinite_pixel(void **state) {
    (void)state;
    static const char *const forces[] = { "direct=0", "direct=4" };
    for (int64_t taps = 1; taps <= 11; taps += taps == 1 ? 2 : taps == 3 ? 8 : 1)
        for (int64_t width = 40; width <= 47; width += 7)
            for (int i = 0; i < 2; i++) {
                uint32_t finite[2];
                count_finite(forces[i], width, taps, finite);
                assert_int_equal(finite[0], 4 * (2 * (width - taps + 1) - 1));
                assert_int_equal(finite[1], 4 * (taps - 1));
            }
}

/* A kernel of one pixel that meets each pixel in its place gathers nothing, forward and for both gradients. */
static void test_one_pixel_is_plain(void **state) {
    (void)state;
    for (int64_t stride = 1; stride <= 2; stride++) {
        checks c;
        checks_begin(&c, "product=row8");
        const ref_convolution spec = { .stride = { stride, stride }, .dilation = { 1, 1 }, .groups = 1 };
        tuff_tensor *inputs[2] = { tuff_input(c.graph, "x", TUFF_F32, TUFF_SHAPE(1, 8, 6, 6)),
                                   tuff_input(c.graph, "w", TUFF_F32, TUFF_SHAPE(12, 8, 1, 1)) };
        tuff_tensor *y = checks_apply_conv(inputs[0], inputs[1], NULL, &spec), *gradients[2];
        OK(tuff_gradients(tuff_sum(tuff_square(y), NULL), inputs, 2, gradients));
        tuff_program *program;
        OK(tuff_compile(
            c.graph,
            &(tuff_program_desc){
                .outputs = gradients, .output_count = 2, .evaluate = true, .profile = TUFF_PROFILE_DISPATCHES },
            &program));
        const float zeros[8 * 36] = { 0 };
        OK(tuff_write(program, inputs[0], zeros, sizeof zeros));
        OK(tuff_write(program, inputs[1], zeros, 12 * 8 * sizeof *zeros));
        OK(tuff_run(program));
        tuff_profile_entry entries[32];
        double seconds;
        uint32_t count, gathers = 0;
        OK(tuff_program_profile(program, &seconds, entries, 32, &count));
        assert_true(count >= 3 && count <= 32);
        for (uint32_t i = 0; i < count; i++)
            gathers += strstr(entries[i].kernel, "_WINDOW") || strstr(entries[i].kernel, "_PATCH");
        assert_int_equal(gathers,
                         stride == 1 ? 0 : 6); /* forward, weights, and a phase of the input for each of four */
        tuff_program_destroy(program);
        tuff_graph_destroy(c.graph);
        tuff_model_destroy(c.model);
        tuff_device_close(c.device);
    }
}

/* How many of the kernels of a convolution of an image of 48 columns and its weights' gradient are direct. */
static uint32_t direct_kernels(const char *force, int64_t channels, int64_t stride) {
    checks c;
    checks_begin(&c, force);
    const ref_convolution spec = { .stride = { 1, stride }, .padding = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };
    tuff_tensor *x = checks_image(&c, checks_filled(TUFF_SHAPE(1, channels, 6, 48), 1), true);
    tuff_tensor *w = checks_leaf(&c, checks_filled(TUFF_SHAPE(8, channels, 3, 3), 2)), *gradient;
    OK(tuff_gradients(tuff_sum(tuff_square(checks_apply_conv(x, w, NULL, &spec)), NULL), &w, 1, &gradient));
    tuff_program *program;
    OK(tuff_compile(c.graph,
                    &(tuff_program_desc){
                        .outputs = &gradient, .output_count = 1, .evaluate = true, .profile = TUFF_PROFILE_DISPATCHES },
                    &program));
    for (uint32_t i = 0; i < c.leaf_count; i++) {
        float *floats = checks_floats(c.values[i]);
        OK(tuff_write(program, c.leaves[i], floats, (size_t)c.values[i]->count * sizeof *floats));
        free(floats);
        ref_free(c.values[i]);
    }
    OK(tuff_run(program));
    tuff_profile_entry entries[32];
    double seconds;
    uint32_t count, found = 0;
    OK(tuff_program_profile(program, &seconds, entries, 32, &count));
    for (uint32_t i = 0; i < count && i < 32; i++) found += strstr(entries[i].kernel, "DIRECT") != NULL;
    tuff_program_destroy(program);
    tuff_graph_destroy(c.graph);
    tuff_model_destroy(c.model);
    tuff_device_close(c.device);
    return found;
}

/* Few channels go the direct way on drivers for the CPU, unless they come in fours, and elsewhere where it is forced.
 */
static void test_few_channels(void **state) {
    (void)state;
    tuff_device *device = test_device_open(&(tuff_device_desc){ .force = "staging" });
    const device_limits *limits = device_get_limits(device);
    bool rows = product_variants_are_rows(limits);
    tuff_device_close(device);
    assert_int_equal(direct_kernels("staging", 3, 1), rows ? 2 : 0);
    assert_int_equal(direct_kernels("staging", 1, 2), rows ? 2 : 0);
    assert_int_equal(direct_kernels("staging", 3, 3), 0); /* neighbours have nothing in common */
    assert_int_equal(direct_kernels("staging", 4, 1), 0);
    assert_int_equal(direct_kernels("direct=0", 3, 1), 0);
    assert_int_equal(direct_kernels("product=tile", 3, 1), 0);
    assert_int_equal(direct_kernels("direct=4", 4, 1), rows ? 2 : 0);
    assert_int_equal(direct_kernels("direct=4", 5, 1), 0);
}

static void test_choice(void **state) {
    (void)state;
    const product_variant *variant;
    static const struct {
        uint64_t m, n, batch;
        const char *name;
    } tiles[] = { { 1920, 1024, 1, "tile128" }, { 512, 512, 1, "tile64" },     { 512, 512, 4, "tile128" },
                  { 96, 96, 1, "tile32" },      { 4096, 64, 1, "tile64" },     { 16384, 64, 1, "tile64" },
                  { 65536, 32, 1, "tile32" },   { 1 << 20, 10, 64, "tile32" }, { 64, 64, 4096, "tile64" },
                  { 4, 4096, 1, "tile4" },      { 1, 1, 1, "tile4" } };
    tuff_device *device = test_device_open(&(tuff_device_desc){ .force = "product=tile" });
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        OK(product_variant_choose(device, tiles[i].m, tiles[i].n, 1024, tiles[i].batch, &variant));
        assert_string_equal(variant->name, tiles[i].name);
    }
    tuff_device_close(device);
    device = test_device_open(&(tuff_device_desc){ .force = "product=row" });
    if (product_variant_choose(device, 16, 16, 16, 1, &variant) == TUFF_OK) {
        const device_limits *limits = device_get_limits(device);
        assert_string_equal(variant->name, limits->texels ? "row8-texels" : "row8");
        OK(product_variant_choose(device, 1920, 1024, 1024, 1, &variant));
        const char *large = limits->texels ? "row32-texels" : "row32",
                   *narrow = limits->texels ? "row32-narrow-texels" : "row16",
                   *middle = limits->texels ? "row16-texels" : "row16";
        assert_string_equal(variant->name, limits->subgroup_size < 8 ? middle : large);
        OK(product_variant_choose(device, 1 << 20, 32, 1024, 1, &variant)); /* its columns would be half empty */
        assert_string_equal(variant->name, limits->subgroup_size < 8 ? middle : narrow);
        OK(product_variant_choose(device, 1 << 10, 32, 1024, 1, &variant)); /* would compile for longer than it saves */
        assert_string_equal(variant->name, middle);
    }
    tuff_device_close(device);
    device = test_device_open(&(tuff_device_desc){ .force = "product=row16" }); /* a name that begins another's */
    if (product_variant_choose(device, 1920, 1024, 1024, 1, &variant) == TUFF_OK)
        assert_string_equal(variant->name, "row16");
    tuff_device_close(device);
    device = test_device_open(&(tuff_device_desc){ .force = "product=diagonal" });
    assert_int_equal(product_variant_choose(device, 16, 16, 16, 1, &variant), TUFF_ERROR_ARGUMENT);
    assert_non_null(strstr(tuff_last_message(), "diagonal"));
    tuff_device_close(device);
}

/* Parts cover k, and none is empty. */
static void test_split(void **state) {
    (void)state;
    for (int forced = 0; forced < 2; forced++) {
        tuff_device *device = test_device_open(&(tuff_device_desc){ .force = forced ? "split" : "staging" });
        uint32_t count;
        const product_variant *variants = product_variants(&count);
        for (uint32_t v = 0; v < count; v++)
            for (uint32_t k = 1; k < 70000; k = k * 3 / 2 + 1) {
                uint32_t part, parts = product_split(device, &variants[v], 9, 32, k, 1, &part);
                assert_true(parts >= 1 && part >= 1);
                assert_true((uint64_t)parts * part >= k);
                assert_true((uint64_t)(parts - 1) * part < k);
                if (parts > 1) assert_int_equal(part % 4, 0);
                if (forced && k > 12) assert_true(parts > 1);
            }
        tuff_device_close(device);
    }
}

/* One name for each, since with GPU-assisted validation each takes many minutes: the variants by rows and all that is
 * forced by nothing, the other ways a convolution may go, the variants by tiles. row8-texels is what small products get
 * anyway, row32-texels is slow to compile and has a cell of the matrix. */
static const char *const rows[] = { "product=row8", "product=row16,wide=0", "product=row16-texels",
                                    "product=row32,split", TUNED };
static const char *const ways[] = {
    "winograd=1",  "winograd=1,split",  "winograd=10000,slice=65536", "winograd=1,slice=131072",
    "direct=4096", "direct=4096,split", "direct=4096,slice=4096",     "direct=4096,texels=0,wide=0"
};
static const char *const tiles[] = { "product=tile32,wide=0", "product=tile64,split,slice=4096", "product=tile128",
                                     "product=tile4", "product=tile,winograd=100000" };
static const char *const depthwise[] = { "staging", "wide=0", "split", "split,slice=4096" };

#define COUNT(array)  (sizeof(array) / sizeof *(array))
#define FORCED(array) run_forced(#array, array, COUNT(array))

static int run_forced(const char *what, const char *const *forces, size_t count) {
    struct CMUnitTest tests[COUNT(ways)];
    static char names[COUNT(ways)][64];
    assert_true(count <= COUNT(ways));
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "products(%s)", forces[i]);
        tests[i] = (struct CMUnitTest){ names[i], test_forced, NULL, NULL, (void *)(uintptr_t)forces[i] };
    }
    return _cmocka_run_group_tests(what, tests, count, NULL, NULL);
}

static int run_rest(void) {
    struct CMUnitTest tests[COUNT(depthwise) + 8] = {
        cmocka_unit_test(test_epilogue_is_fused),
        cmocka_unit_test(test_long_sums),
        cmocka_unit_test(test_long_strided_sum),
        cmocka_unit_test(test_infinite_pixel),
        cmocka_unit_test(test_one_pixel_is_plain),
        cmocka_unit_test(test_few_channels),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_split),
    };
    for (size_t i = 0; i < COUNT(depthwise); i++)
        tests[8 + i] = (struct CMUnitTest){ "depthwise", test_depthwise, NULL, NULL, (void *)(uintptr_t)depthwise[i] };
    return _cmocka_run_group_tests("product", tests, COUNT(tests), NULL, NULL);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "tiles") == 0) return FORCED(tiles);
    if (strcmp(what, "ways") == 0) return FORCED(ways);
    int failed = FORCED(rows);
    return failed + run_rest();
}
