/* Gradients of gradients: right where every part has one, refused by name where one has not. */
#include "support.h"
#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

/* ---- what is refused ---------------------------------------------------------------------------- */

enum { N = 4, C = 6 };

static tuff_tensor *layer_norm(tuff_tensor *x) {
    return tuff_layer_norm(x, &(tuff_layer_norm_desc){ .no_affine = true });
}
static tuff_tensor *rms_norm(tuff_tensor *x) {
    return tuff_rms_norm(x, &(tuff_rms_norm_desc){ .no_affine = true });
}
static tuff_tensor *group_norm(tuff_tensor *x) {
    return tuff_group_norm(x, &(tuff_group_norm_desc){ .groups = 2, .no_affine = true });
}
static tuff_tensor *attention(tuff_tensor *x) {
    return tuff_scaled_dot_product_attention(x, x, x, NULL);
}
static tuff_tensor *lstm(tuff_tensor *x) {
    return tuff_lstm(x, &(tuff_recurrent_desc){ .name = "lstm", .hidden_size = 3 }, NULL, NULL);
}
static tuff_tensor *max_pool(tuff_tensor *x) {
    return tuff_max_pool2d(tuff_reshape(x, TUFF_SHAPE(1, 1, N, C)), &(tuff_pool2d_desc){ .kernel = { 2, 2 } });
}
static tuff_tensor *target_of(tuff_tensor *x) {
    return tuff_input(tuff_tensor_graph(x), "target", TUFF_I32, TUFF_SHAPE(N));
}
static tuff_tensor *cross_entropy(tuff_tensor *x) {
    return tuff_cross_entropy(x, target_of(x), NULL);
}
static tuff_tensor *linear_cross_entropy(tuff_tensor *x) {
    tuff_tensor *weight = tuff_parameter(tuff_tensor_graph(x), "weight", TUFF_SHAPE(5, C), NULL);
    return tuff_linear_cross_entropy(x, weight, target_of(x), NULL);
}
static tuff_tensor *ctc_loss(tuff_tensor *x) {
    tuff_graph *graph = tuff_tensor_graph(x);
    tuff_tensor *lengths = tuff_input(graph, "lengths", TUFF_I32, TUFF_SHAPE(1));
    return tuff_ctc_loss(tuff_log_softmax(tuff_reshape(x, TUFF_SHAPE(N, 1, C)), -1),
                         tuff_input(graph, "labels", TUFF_I32, TUFF_SHAPE(1, 2)), lengths, lengths, NULL);
}

/* The user reaches x by another path as well: what is missing must not be silent. */
static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *name;
        tuff_tensor *(*build)(tuff_tensor *x);
    } cases[] = {
        { "layer_norm", layer_norm },
        { "rms_norm", rms_norm },
        { "group_norm", group_norm },
        { "attention", attention },
        { "lstm", lstm },
        { "max_pool", max_pool },
        { "cross_entropy", cross_entropy },
        { "linear_cross_entropy", linear_cross_entropy },
        { "ctc_loss", ctc_loss },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tuff_model *model = tuff_model_create(device, NULL);
        tuff_graph *graph = tuff_graph_create(model);
        tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(N, C)), *gradient = NULL, *second = x;
        tuff_tensor *y = tuff_sum(tuff_square(cases[i].build(x)), NULL);
        OK(tuff_gradients(y, &x, 1, &gradient));
        tuff_tensor *penalty = tuff_add(y, tuff_sum(tuff_square(gradient), NULL));
        tuff_result result = tuff_gradients(penalty, &x, 1, &second);
        if (result != TUFF_ERROR_UNSUPPORTED || !strstr(tuff_last_message(), cases[i].name)
            || !strstr(tuff_last_message(), "gradient"))
            fail_msg("%s: %s: %s", cases[i].name, tuff_result_name(result), tuff_last_message());
        assert_null(second);
        tuff_graph_destroy(graph);
        tuff_model_destroy(model);
    }
}

/* ---- what is right ------------------------------------------------------------------------------ */

/* y = sum v^3 over the chosen v of x, so its gradient is 3 v^2 there, and that of the sum of its square 36 v^3. */
static void check_chosen(tuff_tensor *(*choose)(tuff_tensor *x), int chosen) {
    const float values[N] = { 0.5f, -2, 1.5f, 1 }; /* largest first: 2, 3, 0, 1 */
    static const int order[N] = { 2, 3, 0, 1 };
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(N)), *v = choose(x), *gradient, *second;
    OK(tuff_gradients(tuff_sum(tuff_mul(v, tuff_square(v)), NULL), &x, 1, &gradient));
    OK(tuff_gradients(tuff_sum(tuff_square(gradient), NULL), &x, 1, &second));
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &second, .output_count = 1 }, &program));
    float got[N], want[N] = { 0 };
    OK(tuff_write(program, x, values, sizeof values));
    OK(tuff_run(program));
    OK(tuff_read(program, second, got, sizeof got));
    for (int i = 0; i < chosen; i++) want[order[i]] = 36 * values[order[i]] * values[order[i]] * values[order[i]];
    for (int i = 0; i < N; i++)
        if (!(fabsf(got[i] - want[i]) < 1e-4f))
            fail_msg("[%d] is %g, should be %g", i, (double)got[i], (double)want[i]);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

static tuff_tensor *two_largest(tuff_tensor *x) {
    return tuff_topk(x, 2, 0, NULL, NULL);
}
static tuff_tensor *largest(tuff_tensor *x) {
    return tuff_max(x, 0, false, NULL);
}
static tuff_tensor *largest_kept(tuff_tensor *x) {
    return tuff_max(x, -1, true, NULL);
}
static tuff_tensor *all_of_them(tuff_tensor *x) {
    return tuff_flip(x, (int32_t[]){ 0 }, 1);
}

static void test_chosen(void **state) {
    (void)state;
    check_chosen(two_largest, 2);
    check_chosen(largest, 1);
    check_chosen(largest_kept, 1);
    check_chosen(all_of_them, 4);
}

int main(void) {
    device = test_device_open(NULL);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_refused), cmocka_unit_test(test_chosen) };
    int failed = cmocka_run_group_tests_name("second_order", tests, NULL, NULL);
    tuff_device_close(device);
    return failed;
}
