/* Chains before and behind kernels that reduce: a reduction with both, an activation behind a norm, a scale and a mask
 * before softmax, a residual behind a transposed convolution. Each makes what it makes when nothing is fused, and is
 * one dispatch where nothing is forced. */
#include "support.h"

#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != TUFF_OK) fail_msg("%s: %s", #call, tuff_last_message());                                         \
    } while (0)

enum { MOST = 4 };

typedef struct kind kind;
struct kind {
    const char *name;
    tuff_tensor *(*build)(const kind *kind, tuff_tensor *const *inputs);
    tuff_shape inputs[MOST]; /* rank 0: no more */
    tuff_reduce_desc axes;
    int32_t axis;        /* or a stride */
    uint32_t byte_input; /* this one holds 0 and 1; 0: none */
    uint32_t dispatches; /* of all; 0: sums may be in parts */
};

/* ---- what is built ------------------------------------------------------------------------------- */

static tuff_tensor *root_mean_square(const kind *kind, tuff_tensor *const *in) {
    return tuff_sqrt(tuff_scale(tuff_mean(tuff_square(in[0]), &kind->axes), 1, 1e-3f));
}

static tuff_tensor *weighed_mean(const kind *kind, tuff_tensor *const *in) {
    return tuff_tanh(tuff_add(tuff_mul(tuff_mean(in[0], &kind->axes), in[1]), in[2]));
}

/* The chain before has two inputs, that behind two, one of which is the same. */
static tuff_tensor *shared_input(const kind *kind, tuff_tensor *const *in) {
    tuff_tensor *sum = tuff_sum(tuff_mul(tuff_sub(in[0], in[1]), in[2]), &kind->axes);
    return tuff_div(tuff_sub(sum, in[1]), tuff_exp(in[3]));
}

static tuff_tensor *relative_largest(const kind *kind, tuff_tensor *const *in) {
    return tuff_sub(tuff_amax(tuff_abs(in[0]), &kind->axes), tuff_square(in[1]));
}

static tuff_tensor *layer_norm_gelu(const kind *kind, tuff_tensor *const *in) {
    (void)kind;
    return tuff_gelu(tuff_layer_norm(in[0], &(tuff_layer_norm_desc){ .name = "norm" }), NULL);
}

static tuff_tensor *rms_norm_clamp(const kind *kind, tuff_tensor *const *in) {
    (void)kind;
    return tuff_clamp(tuff_rms_norm(in[0], &(tuff_rms_norm_desc){ .no_affine = true }), -0.75f, 1.25f);
}

static tuff_tensor *group_norm_silu(const kind *kind, tuff_tensor *const *in) {
    (void)kind;
    return tuff_silu(tuff_group_norm(in[0], &(tuff_group_norm_desc){ .name = "norm", .groups = 2 }));
}

static tuff_tensor *masked_softmax(const kind *kind, tuff_tensor *const *in) {
    return tuff_softmax(tuff_add(tuff_scale(in[0], 0.125f, 0), in[1]), kind->axis);
}

static tuff_tensor *turned_softmax(const kind *kind, tuff_tensor *const *in) {
    return tuff_softmax(tuff_scale(tuff_transpose(in[0], 0, 1), 3, 0), kind->axis);
}

/* Rows that lie in another order than the result's. */
static tuff_tensor *exchanged_softmax(const kind *kind, tuff_tensor *const *in) {
    return tuff_softmax(tuff_square(tuff_transpose(in[0], 0, 1)), kind->axis);
}

/* The gradient that arrives is a transposed view. */
static tuff_tensor *gradient_of_softmax(const kind *kind, tuff_tensor *const *in) {
    tuff_tensor *y = tuff_transpose(tuff_softmax(tuff_scale(in[0], 2, 0), kind->axis), 0, 1), *gradient = NULL;
    OK(tuff_gradients(tuff_sum(tuff_mul(y, in[1]), NULL), &in[0], 1, &gradient));
    return gradient;
}

static tuff_tensor *filled_softmax(const kind *kind, tuff_tensor *const *in) {
    return tuff_softmax(tuff_masked_fill(in[0], in[1], -1e4f), kind->axis);
}

static tuff_tensor *scaled_log_softmax(const kind *kind, tuff_tensor *const *in) {
    return tuff_log_softmax(tuff_mul(in[0], in[1]), kind->axis);
}

/* A product for each phase of the stride, each with the epilogue. */
static tuff_tensor *transposed_with_residual(const kind *kind, tuff_tensor *const *in) {
    const int64_t stride = kind->axis;
    tuff_tensor *y;
    if (kind->inputs[0].rank == 4) {
        const tuff_conv_transpose2d_desc desc = { .weight = in[1], .stride = { stride, stride }, .padding = { 1, 0 } };
        y = tuff_conv_transpose2d(in[0], &desc);
    } else {
        const tuff_conv_transpose3d_desc desc = { .weight = in[1], .stride = { 1, stride, stride } };
        y = tuff_conv_transpose3d(in[0], &desc);
    }
    return tuff_relu(tuff_add(tuff_mul(y, in[2]), in[3]));
}

#define SHAPES(...)                                                                                                    \
    { __VA_ARGS__ }
#define OF(...)                                                                                                        \
    { .sizes = { __VA_ARGS__ }, .rank = sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t) }
#define ALONG(...)                                                                                                     \
    { .axes = { __VA_ARGS__ }, .axis_count = sizeof((int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t) }
#define KEEP(...)                                                                                                      \
    { .axes = { __VA_ARGS__ }, .axis_count = sizeof((int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t), .keepdim = true }

static const kind kinds[] = {
    { "rms of rows", root_mean_square, SHAPES(OF(5, 7, 16)), ALONG(-1), .dispatches = 1 },
    { "rms of columns", root_mean_square, SHAPES(OF(9, 12)), KEEP(0), .dispatches = 1 },
    { "rms of many columns", root_mean_square, SHAPES(OF(509, 4096)), ALONG(0), .dispatches = 0 },
    { "rms of all", root_mean_square, SHAPES(OF(64, 4099)), .dispatches = 0 },
    { "rms of one", root_mean_square, SHAPES(OF(1)), .dispatches = 1 },
    { "weighed, a number", weighed_mean, SHAPES(OF(3, 5), OF(1), OF(3)), ALONG(1), .dispatches = 1 },
    { "weighed, broadcast", weighed_mean, SHAPES(OF(6, 8, 20), OF(8, 1), OF(6, 1, 1)), KEEP(2), .dispatches = 1 },
    { "weighed, in parts", weighed_mean, SHAPES(OF(8, 70000), OF(8), OF(8)), ALONG(1), .dispatches = 0 },
    { "weighed, wide columns", weighed_mean, SHAPES(OF(40, 1024), OF(1024), OF(1024)), ALONG(0), .dispatches = 0 },
    { "both read one", shared_input, SHAPES(OF(31, 24), OF(1, 24), OF(31, 1), OF(1, 24)), KEEP(0), .dispatches = 1 },
    { "largest", relative_largest, SHAPES(OF(4, 6, 10), OF(4, 10)), ALONG(1), .dispatches = 1 },
    { "layer_norm, gelu", layer_norm_gelu, SHAPES(OF(7, 3, 20)), .dispatches = 1 },
    { "layer_norm, gelu, odd", layer_norm_gelu, SHAPES(OF(5, 13)), .dispatches = 1 },
    { "layer_norm, gelu, long", layer_norm_gelu, SHAPES(OF(2, 5000)), .dispatches = 1 },
    { "rms_norm, clamp", rms_norm_clamp, SHAPES(OF(6, 31)), .dispatches = 1 },
    { "group_norm, silu", group_norm_silu, SHAPES(OF(3, 6, 5, 4)), .dispatches = 1 },
    { "mask, softmax", masked_softmax, SHAPES(OF(2, 3, 8, 12), OF(8, 12)), .axis = -1, .dispatches = 1 },
    { "mask of rows, softmax", masked_softmax, SHAPES(OF(5, 37), OF(5, 1)), .axis = 1, .dispatches = 1 },
    { "mask, softmax along axis 1", masked_softmax, SHAPES(OF(3, 5, 4, 8), OF(5, 1, 8)), .axis = 1, .dispatches = 1 },
    { "mask, softmax along axis 0", masked_softmax, SHAPES(OF(11, 3), OF(3)), .axis = 0, .dispatches = 1 },
    { "mask, softmax of one", masked_softmax, SHAPES(OF(3, 1), OF(1)), .axis = 1, .dispatches = 1 },
    { "mask, few long rows", masked_softmax, SHAPES(OF(2, 20000), OF(20000)), .axis = 1, .dispatches = 0 },
    { "mask, softmax of many rows", masked_softmax, SHAPES(OF(3, 170, 12), OF(170, 1)), .axis = 2, .dispatches = 1 },
    { "mask, softmax of many columns", masked_softmax, SHAPES(OF(3, 11, 200), OF(3, 1, 200)), .axis = 1,
      .dispatches = 1 },
    { "turned, softmax", turned_softmax, SHAPES(OF(12, 400)), .axis = 1, .dispatches = 1 },
    { "turned, softmax along axis 0", turned_softmax, SHAPES(OF(13, 50)), .axis = 0, .dispatches = 1 },
    { "transposed convolution, factor of channels, residual", transposed_with_residual,
      SHAPES(OF(2, 8, 5, 6), OF(8, 12, 3, 3), OF(12, 1, 1), OF(2, 12, 9, 13)), .axis = 2, .dispatches = 0 },
    { "transposed convolution, factor of rows", transposed_with_residual,
      SHAPES(OF(3, 5, 4, 4), OF(5, 7, 4, 2), OF(3, 1, 11, 1), OF(7, 1, 1)), .axis = 3, .dispatches = 0 },
    { "transposed convolution, pixels without taps", transposed_with_residual,
      SHAPES(OF(1, 4, 6, 5), OF(4, 8, 1, 1), OF(8, 1, 1), OF(8, 14, 13)), .axis = 3, .dispatches = 0 },
    { "transposed convolution of a volume", transposed_with_residual,
      SHAPES(OF(2, 4, 3, 3, 4), OF(4, 4, 2, 3, 2), OF(4, 1, 1, 1), OF(2, 4, 4, 7, 8)), .axis = 2, .dispatches = 0 },
    { "exchanged, softmax", exchanged_softmax, SHAPES(OF(2, 30, 60)), .axis = 2, .dispatches = 1 },
    { "exchanged, softmax of threes", exchanged_softmax, SHAPES(OF(3, 21, 60)), .axis = 2, .dispatches = 1 },
    { "softmax's gradient", gradient_of_softmax, SHAPES(OF(90, 50), OF(50, 90)), .axis = 1, .dispatches = 0 },
    { "softmax's gradient along axis 0", gradient_of_softmax, SHAPES(OF(25, 70), OF(70, 25)), .axis = 0,
      .dispatches = 0 },
    { "filled, softmax", filled_softmax, SHAPES(OF(4, 6, 16), OF(6, 16)), .axis = -1, .byte_input = 1,
      .dispatches = 1 },
    { "filled by rows, softmax", filled_softmax, SHAPES(OF(4, 6, 7), OF(6, 1)), .axis = -1, .byte_input = 1,
      .dispatches = 1 },
    { "scaled, log_softmax", scaled_log_softmax, SHAPES(OF(9, 64), OF(64)), .axis = 1, .dispatches = 1 },
    { "scaled, log_softmax along axis 0", scaled_log_softmax, SHAPES(OF(10, 24), OF(24)), .axis = 0, .dispatches = 1 },
};

/* ---- running ------------------------------------------------------------------------------------- */

static void fill(const kind *kind, uint32_t input, tuff_program *program, tuff_tensor *tensor) {
    tuff_shape shape = tuff_tensor_shape(tensor);
    size_t count = (size_t)tuff_shape_count(&shape);
    bool bytes = kind->byte_input && kind->byte_input == input;
    float *numbers = malloc(count * sizeof *numbers);
    uint8_t *flags = malloc(count);
    uint32_t seed = input + 1;
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        numbers[i] = (float)(int32_t)seed / 1e9f;
        flags[i] = (uint8_t)(seed >> 30 == 0);
    }
    OK(tuff_write(program, tensor, bytes ? (void *)flags : (void *)numbers, bytes ? count : count * sizeof *numbers));
    free(numbers);
    free(flags);
}

/* The result, and how many dispatches made it. */
static float *run(const kind *kind, const char *force, size_t *count, uint32_t *dispatches) {
    tuff_device *device = test_device_open(force ? &(tuff_device_desc){ .force = force } : NULL);
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 5 });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *inputs[MOST] = { NULL };
    static const char *const names[MOST] = { "a", "b", "c", "d" };
    for (uint32_t i = 0; i < MOST && kind->inputs[i].rank; i++)
        inputs[i] = tuff_input(graph, names[i], kind->byte_input == i && i ? TUFF_U8 : TUFF_F32, kind->inputs[i]);
    tuff_tensor *y = kind->build(kind, inputs);
    tuff_program *program;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program));
    for (uint32_t i = 0; i < MOST && inputs[i]; i++) fill(kind, i, program, inputs[i]);
    OK(tuff_run(program));
    tuff_program_info info;
    tuff_program_get_info(program, &info);
    tuff_shape shape = tuff_tensor_shape(y);
    *count = (size_t)tuff_shape_count(&shape);
    *dispatches = info.dispatches;
    float *result = malloc(*count * sizeof *result);
    OK(tuff_read(program, y, result, *count * sizeof *result));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_device_close(device);
    return result;
}

static void compare(const kind *kind, const char *force, const char *without) {
    size_t count, alike;
    uint32_t dispatches;
    float *fused = run(kind, force, &count, &dispatches), *apart = run(kind, without, &alike, &dispatches);
    assert_int_equal(count, alike);
    for (size_t i = 0; i < count; i++) {
        double off = fabs((double)fused[i] - (double)apart[i]);
        if (!(off <= 1e-6 * (0.1 + fabs((double)apart[i]))))
            fail_msg("%s: element %zu is %.9g, apart %.9g", kind->name, i, (double)fused[i], (double)apart[i]);
    }
    free(fused);
    free(apart);
}

/* With what the environment forces besides, so that sums go in the same parts; but softmax has another way where its
 * rows do not fit, which moves the last bit or two. */
static void test_same(void **state) {
    const char *forced = getenv("TUFF_FORCE");
    char force[512];
    snprintf(force, sizeof force, "%s%sfuse=none", forced ? forced : "", forced && *forced ? "," : "");
    compare(*state, NULL, forced && strstr(forced, "fuse=") ? forced : force);
}

/* In pieces of 2,000 numbers, so that rows are divided as well as what they lie in. */
static void test_pieces(void **state) {
    compare(*state, "slice=8000", "fuse=none");
}

static void test_dispatches(void **state) {
    const kind *kind = *state;
    size_t count;
    uint32_t dispatches, apart;
    free(run(kind, "", &count, &dispatches));
    free(run(kind, "fuse=none", &count, &apart));
    print_message("%s: %u dispatches, %u apart\n", kind->name, dispatches, apart);
    assert_true(dispatches < apart);
    if (kind->dispatches) assert_int_equal(dispatches, kind->dispatches);
}

int main(void) {
    enum { KINDS = sizeof kinds / sizeof *kinds };
    struct CMUnitTest tests[3 * KINDS];
    char names[KINDS][3][96];
    for (size_t i = 0; i < KINDS; i++) {
        static const struct {
            const char *what;
            void (*test)(void **state);
        } all[] = { { "as apart", test_same }, { "dispatches", test_dispatches }, { "in pieces", test_pieces } };
        for (size_t k = 0; k < 3; k++) {
            snprintf(names[i][k], sizeof names[i][k], "%s: %s", kinds[i].name, all[k].what);
            tests[3 * i + k] = (struct CMUnitTest){ names[i][k], all[k].test, NULL, NULL, (void *)&kinds[i] };
        }
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
