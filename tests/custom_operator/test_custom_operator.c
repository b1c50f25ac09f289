/* Operators of users: what they compute and how they take part, what is refused; and the gradient check. */
#include "runtime/device/device.h"
#include "support.h"
#include <tuff/layers.h>
#include <tuff/operator.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;

static void expect(tuff_result result, tuff_result expected, const char *words) {
    char word[64];
    int length = 0;
    if (result != expected)
        fail_msg("%s (%s), should be %s", tuff_result_name(result), tuff_last_message(), tuff_result_name(expected));
    for (const char *at = words; sscanf(at, "%63s%n", word, &length) == 1; at += length)
        if (!strstr(tuff_last_message(), word)) fail_msg("\"%s\" does not say \"%s\"", tuff_last_message(), word);
}
#define OK(call) expect(call, TUFF_OK, "")

/* ---- y = factor x, z = +-3 by an index ----------------------------------------------------------- */

/* What one test changes of the plain operator. */
typedef struct variation {
    uint32_t groups_x, param_count;
    uint32_t past; /* elements: y is written that far behind its beginning */
    tuff_result refuse;
    tuff_result silent[3]; /* what infer, dispatch and gradient return, without a word */
    bool wrong_gradient, wrong_shape, no_gradient, no_shapes;
    tuff_operator *op;
} variation;

static tuff_result infer_scale(const tuff_operator_call *call) {
    const variation *v = call->user;
    if (v->refuse != TUFF_OK) return tuff_fail(v->refuse, "scale refuses because it was told to");
    if (v->silent[0] != TUFF_OK) return v->silent[0];
    if (v->no_shapes) return TUFF_OK;
    call->outputs[0] = call->outputs[1] = call->inputs[0];
    call->outputs[1].type = TUFF_I32;
    return TUFF_OK;
}

static tuff_result dispatch_scale(const tuff_operator_call *call, tuff_dispatch *dispatch) {
    const variation *v = call->user;
    uint32_t count = (uint32_t)tuff_shape_count(&call->inputs[0].shape);
    dispatch->groups[0] = v->groups_x ? v->groups_x : (count + 63) / 64;
    dispatch->params[0] = count;
    memcpy(&dispatch->params[1], &call->attributes[0], sizeof(float));
    dispatch->params[2] = call->inputs[0].first;
    dispatch->params[3] = call->inputs[1].first;
    dispatch->params[4] = call->outputs[0].first + v->past;
    dispatch->params[5] = call->outputs[1].first;
    dispatch->param_count = v->param_count ? v->param_count : 6;
    dispatch->constants[0] = 3;
    dispatch->constant_count = 1;
    return v->silent[1];
}

static tuff_result gradient_scale(const tuff_gradient_call *call, tuff_tensor **grad_inputs) {
    const variation *v = call->user;
    assert_int_equal(call->input_count, 2);
    assert_int_equal(call->needs, 1);
    if (v->no_gradient) return TUFF_OK;
    grad_inputs[0] =
        tuff_scale(call->grad_outputs[0], v->wrong_gradient ? call->attributes[0] + 1 : call->attributes[0], 0);
    if (v->wrong_shape) grad_inputs[0] = tuff_sum(grad_inputs[0], NULL);
    return v->silent[2];
}

static const tuff_type TYPES[] = { TUFF_F32, TUFF_I32 };

static tuff_operator_desc scale_desc(variation *v) {
    const struct kernel_code *code = &kernel_codes[KERNEL_TEST_SCALE];
    return (tuff_operator_desc){ .name = "scale_and_mark",
                                 .input_count = 2,
                                 .output_count = 2,
                                 .attribute_count = 1,
                                 .input_types = TYPES,
                                 .spirv = code->words,
                                 .spirv_size = code->size,
                                 .user = v,
                                 .infer = infer_scale,
                                 .dispatch = dispatch_scale,
                                 .gradient = gradient_scale };
}

static tuff_operator *make(variation *v) {
    tuff_operator_desc desc = scale_desc(v);
    OK(tuff_operator_create(device, &desc, &v->op));
    return v->op;
}

enum { ROWS = 5, COLUMNS = 37, COUNT = ROWS * COLUMNS };

/* Among other operators, whose memory is shared and whose order is shuffled; its inputs are views. */
static void run_in_graph(uint32_t replay_seed, float *results) {
    variation v = { 0 };
    tuff_operator *op = make(&v);
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(COLUMNS, ROWS));
    tuff_tensor *index = tuff_input(graph, "index", TUFF_I32, TUFF_SHAPE(ROWS, COLUMNS));
    tuff_tensor *turned = tuff_square(tuff_transpose(x, 0, 1)), *outputs[4];
    tuff_tensor *y = tuff_operator_apply(op, (tuff_tensor *[]){ turned, index }, (const float[]){ 0.5f });
    tuff_tensor *again = tuff_operator_apply(op, (tuff_tensor *[]){ y, index }, (const float[]){ -2 });
    outputs[0] = tuff_add(y, again); /* x^2 / 2 - x^2 */
    outputs[1] = tuff_operator_output(again, 1);
    outputs[2] = tuff_sum(outputs[0], NULL);
    assert_null(tuff_operator_output(again, 2));
    OK(tuff_gradients(outputs[2], &x, 1, &outputs[3])); /* -x */
    tuff_program *program = NULL;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = outputs, .output_count = 4, .replay_seed = replay_seed },
                    &program));
    float values[COUNT];
    int32_t indices[COUNT], marks[COUNT];
    for (int i = 0; i < COUNT; i++) values[i] = (float)(i - 90) / 8, indices[i] = i % 3 - 1;
    OK(tuff_write(program, x, values, sizeof values));
    OK(tuff_write(program, index, indices, sizeof indices));
    OK(tuff_run(program));
    OK(tuff_read(program, outputs[0], results, COUNT * sizeof(float)));
    OK(tuff_read(program, outputs[3], results + COUNT, COUNT * sizeof(float)));
    OK(tuff_read(program, outputs[1], marks, sizeof marks));
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) {
            float want = values[c * ROWS + r];
            assert_true(results[r * COLUMNS + c] == want * want * -0.5f);
            assert_true(results[COUNT + c * ROWS + r] == -want);
            assert_int_equal(marks[r * COLUMNS + c], (r * COLUMNS + c) % 3 == 2 ? 3 : -3);
        }
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_operator_destroy(op);
}

static void test_in_a_graph(void **state) {
    (void)state;
    float plain[2 * COUNT], replayed[2 * COUNT];
    run_in_graph(0, plain);
    tuff_device_counters before, after;
    tuff_device_get_counters(device, &before);
    for (uint32_t seed = 1; seed <= 3; seed++) {
        run_in_graph(seed, replayed);
        assert_memory_equal(plain, replayed, sizeof plain);
    }
    tuff_device_get_counters(device, &after);
    assert_int_equal(before.pipelines, after.pipelines); /* the same code again is the same kernel */
}

/* ---- what is refused ----------------------------------------------------------------------------- */

static void refuse(const tuff_operator_desc *desc, const char *words) {
    tuff_operator *op = (tuff_operator *)(void *)&op;
    expect(tuff_operator_create(device, desc, &op), TUFF_ERROR_ARGUMENT, words);
    assert_null(op);
}

static void test_refused_descriptors(void **state) {
    (void)state;
    variation v = { 0 };
    tuff_operator_desc desc = scale_desc(&v);
    expect(tuff_operator_create(NULL, &desc, &v.op), TUFF_ERROR_ARGUMENT, "required");
    expect(tuff_operator_create(device, &desc, NULL), TUFF_ERROR_ARGUMENT, "op");
    desc.name = NULL;
    refuse(&desc, "name");
    desc = scale_desc(&v), desc.dispatch = NULL;
    refuse(&desc, "dispatch");
    desc = scale_desc(&v), desc.spirv = NULL;
    refuse(&desc, "spirv");
    desc = scale_desc(&v), desc.input_count = 0;
    refuse(&desc, "scale_and_mark 0 inputs");
    desc = scale_desc(&v), desc.input_count = 7;
    refuse(&desc, "7 inputs 2 outputs 8");
    desc = scale_desc(&v), desc.attribute_count = 13;
    refuse(&desc, "13 attributes 12");
    desc = scale_desc(&v), desc.output_count = 1; /* the shader has one more binding */
    refuse(&desc, "binding 3 0 2");
    desc = scale_desc(&v), desc.spirv_size = 40;
    refuse(&desc, "SPIR-V cut");
    desc = scale_desc(&v), desc.spirv_size = 41;
    refuse(&desc, "41 SPIR-V");
    uint32_t words[] = { 0x07230203, 0x10500, 0, 1, 0, 0 };
    desc = scale_desc(&v), desc.spirv = words, desc.spirv_size = 20;
    refuse(&desc, "entry point main");
    desc.spirv_size = 24; /* an instruction of no words */
    refuse(&desc, "cut word 5");
    words[0] = 0x03022307;
    refuse(&desc, "byte order");
    const tuff_type wrong[] = { TUFF_F32, (tuff_type)77 };
    desc = scale_desc(&v), desc.input_types = wrong;
    refuse(&desc, "input 1");
}

typedef struct refused_graph {
    tuff_model *model;
    tuff_graph *graph;
    tuff_tensor *inputs[2];
} refused_graph;

static refused_graph begin(void) {
    refused_graph g = { .model = tuff_model_create(device, NULL) };
    g.graph = tuff_graph_create(g.model);
    g.inputs[0] = tuff_input(g.graph, "x", TUFF_F32, TUFF_SHAPE(8));
    g.inputs[1] = tuff_input(g.graph, "index", TUFF_I32, TUFF_SHAPE(8));
    return g;
}

static void end(refused_graph *g) {
    tuff_graph_destroy(g->graph);
    tuff_model_destroy(g->model);
}

static void test_refused_applications(void **state) {
    (void)state;
    variation v = { .refuse = TUFF_ERROR_SHAPE };
    tuff_operator *op = make(&v);
    assert_null(tuff_operator_apply(NULL, NULL, NULL));
    assert_null(tuff_operator_apply(op, (tuff_tensor *[2]){ NULL, NULL }, NULL));
    refused_graph g = begin();
    assert_null(tuff_operator_apply(op, g.inputs, NULL));
    expect(tuff_graph_result(g.graph), TUFF_ERROR_SHAPE, "told to");
    end(&g);
    v.refuse = TUFF_OK;
    g = begin();
    assert_null(tuff_operator_apply(op, (tuff_tensor *[]){ g.inputs[0], g.inputs[0] }, NULL));
    expect(tuff_graph_result(g.graph), TUFF_ERROR_SHAPE, "scale_and_mark input float32 int32");
    end(&g);
    for (int i = 0; i < 2; i++) { /* of the dispatch: when it is compiled */
        v.groups_x = i ? 0 : 70000;
        v.param_count = i ? 33 : 0;
        g = begin();
        tuff_tensor *y = tuff_operator_apply(op, g.inputs, NULL);
        assert_non_null(y);
        tuff_program *program = NULL;
        tuff_result result =
            tuff_compile(g.graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program);
        expect(result, i ? TUFF_ERROR_ARGUMENT : TUFF_ERROR_UNSUPPORTED, i ? "33 32" : "70000 workgroups");
        assert_null(program);
        end(&g);
    }
    tuff_operator_destroy(op);
    tuff_operator_destroy(NULL);
}

/* Of a function that returns an error and says nothing, and of gradients that do not arrive. The message before it is
 * another one's. */
static void test_messages(void **state) {
    (void)state;
    static const char *const functions[] = { "infer", "dispatch", "gradient" };
    for (int i = 0; i < 5; i++) {
        variation v = { .wrong_shape = i == 3, .no_gradient = i == 4 };
        char words[128];
        tuff_operator *op = make(&v);
        refused_graph g = begin();
        tuff_fail(TUFF_ERROR_FILE, i % 2 ? "what was wrong before" : "");
        if (i < 3) {
            v.silent[i] = i == 0 ? TUFF_ERROR_SHAPE : i == 1 ? TUFF_ERROR_UNSUPPORTED : TUFF_ERROR_STATE;
            snprintf(words, sizeof words, "scale_and_mark %s %s tuff_fail", functions[i],
                     tuff_result_name(v.silent[i]));
        }
        tuff_tensor *y = tuff_operator_apply(op, g.inputs, NULL), *gradient = NULL;
        tuff_result result = tuff_graph_result(g.graph);
        if (i == 1) {
            tuff_program *program = NULL;
            result = tuff_compile(g.graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true },
                                  &program);
            assert_null(program);
        } else if (i > 1) {
            result = tuff_gradients(tuff_sum(y, NULL), g.inputs, 1, &gradient);
            assert_null(gradient);
            assert_int_equal(tuff_graph_result(g.graph), result);
        }
        if (i < 3)
            expect(result, v.silent[i], words);
        else
            expect(result, i == 3 ? TUFF_ERROR_SHAPE : TUFF_ERROR_ARGUMENT,
                   i == 3 ? "scale_and_mark shape [] [8] 'x'" : "'x' paths end at scale_and_mark");
        if (strstr(tuff_last_message(), "before") || strstr(tuff_last_message(), "row"))
            fail_msg("\"%s\"", tuff_last_message());
        end(&g);
        tuff_operator_destroy(op);
    }
}

/* Only what lies between the two tensors is named. */
static void test_ends_of_paths(void **state) {
    (void)state;
    variation v = { .no_gradient = true };
    tuff_operator *op = make(&v);
    refused_graph g = begin();
    tuff_tensor *z = tuff_input(g.graph, "z", TUFF_F32, TUFF_SHAPE(8)), *gradients[2] = { NULL };
    tuff_tensor *y = tuff_operator_apply(op, g.inputs, NULL);
    tuff_tensor *loss = tuff_sum(tuff_mul(tuff_mul(y, z), tuff_sign(z)), NULL);
    expect(tuff_gradients(loss, (tuff_tensor *[]){ z, g.inputs[0] }, 2, gradients), TUFF_ERROR_ARGUMENT,
           "'x' paths end at scale_and_mark");
    assert_null(strstr(tuff_last_message(), "sign"));
    end(&g);
    tuff_operator_destroy(op);
}

/* ---- the gradient check -------------------------------------------------------------------------- */

static tuff_tensor *build_scale(tuff_graph *graph, tuff_tensor *const *inputs, void *user) {
    const variation *v = user;
    (void)graph;
    tuff_tensor *y = tuff_mul(inputs[0], inputs[0]);
    return v->wrong_gradient ? tuff_mul(tuff_sub(y, inputs[0]), tuff_exp(inputs[0])) : tuff_sigmoid(y);
}

/* With an input of its own, which the check cannot write. */
static tuff_tensor *build_wrong(tuff_graph *graph, tuff_tensor *const *inputs, void *user) {
    (void)graph, (void)user;
    return tuff_mul(inputs[0],
                    tuff_scale(tuff_accuracy(inputs[0], tuff_input(graph, "t", TUFF_I32, TUFF_SHAPE(6))), 1, 1));
}

static tuff_tensor *build_nothing(tuff_graph *graph, tuff_tensor *const *inputs, void *user) {
    (void)graph, (void)inputs, (void)user;
    return NULL;
}

static tuff_tensor *build_custom(tuff_graph *graph, tuff_tensor *const *inputs, void *user) {
    const variation *v = user;
    (void)graph;
    return tuff_operator_apply(v->op, (tuff_tensor *[]){ inputs[0], inputs[0] }, (const float[]){ 0.75f });
}

/* Whatever the operator computes counts for nothing. */
static tuff_tensor *build_beside(tuff_graph *graph, tuff_tensor *const *inputs, void *user) {
    tuff_tensor *y = tuff_scale(tuff_sign(tuff_square(build_custom(graph, inputs, user))), 0, 0);
    return tuff_add(tuff_square(inputs[0]), y);
}

static tuff_result infer_floats(const tuff_operator_call *call) {
    call->outputs[0] = call->outputs[1] = call->inputs[0];
    call->outputs[1].type = TUFF_I32;
    return TUFF_OK;
}

static tuff_result gradient_floats(const tuff_gradient_call *call, tuff_tensor **grad_inputs) {
    const variation *v = call->user;
    grad_inputs[0] =
        tuff_scale(call->grad_outputs[0], v->wrong_gradient ? call->attributes[0] + 0.5f : call->attributes[0], 0);
    return TUFF_OK;
}

static void test_check_gradient(void **state) {
    (void)state;
    variation v = { 0 };
    const tuff_shape shapes[] = { TUFF_SHAPE(6, 7) };
    tuff_gradient_check check = { .shapes = shapes, .input_count = 1 };
    OK(tuff_check_gradient(device, build_scale, &v, &check));
    v.wrong_gradient = true; /* another function, whose gradient is right, too */
    OK(tuff_check_gradient(device, build_scale, &v, &check));

    tuff_operator_desc desc = scale_desc(&v); /* all inputs float: an integer one has no difference */
    desc.input_types = NULL;
    desc.infer = infer_floats;
    desc.gradient = gradient_floats;
    OK(tuff_operator_create(device, &desc, &v.op));
    v.wrong_gradient = false;
    OK(tuff_check_gradient(device, build_custom, &v, &check));
    v.wrong_gradient = true;
    expect(tuff_check_gradient(device, build_custom, &v, &check), TUFF_ERROR_STATE, "input 0 element differences");
    tuff_operator_destroy(v.op);

    expect(tuff_check_gradient(device, build_nothing, NULL, &check), TUFF_ERROR_ARGUMENT, "no float32 tensor");
    expect(tuff_check_gradient(device, build_wrong, NULL, &check), TUFF_ERROR_STATE, "t");
    expect(tuff_check_gradient(NULL, build_scale, &v, &check), TUFF_ERROR_ARGUMENT, "device");
    expect(tuff_check_gradient(device, build_scale, &v, NULL), TUFF_ERROR_ARGUMENT, "required");
    check.input_count = 9;
    expect(tuff_check_gradient(device, build_scale, &v, &check), TUFF_ERROR_ARGUMENT, "8");
    check.input_count = 1, check.step = NAN;
    expect(tuff_check_gradient(device, build_scale, &v, &check), TUFF_ERROR_ARGUMENT, "step");
}

/* A shader that writes past its tensor, where the values that are checked do not see it. */
static void test_check_under_validation(void **state) {
    (void)state;
    if (!test_layer_installed() || !test_bears_gpu_validation()) skip();
    const tuff_shape shape = TUFF_SHAPE(6, 7);
    tuff_device *plain = device;
    device = test_device_open(&(tuff_device_desc){ .validation = TUFF_VALIDATION_GPU });
    for (uint32_t past = 0; past < 2; past++) {
        variation v = { .past = past * 64 };
        tuff_operator_desc desc = scale_desc(&v);
        desc.input_types = NULL, desc.infer = infer_floats, desc.gradient = gradient_floats;
        OK(tuff_operator_create(device, &desc, &v.op));
        test_expect_messages(past);
        tuff_result result =
            tuff_check_gradient(device, build_beside, &v, &(tuff_gradient_check){ .shapes = &shape, .input_count = 1 });
        test_expect_messages(false);
        expect(result, past ? TUFF_ERROR_STATE : TUFF_OK, past ? "agree validation .log" : "");
        assert_int_equal(test_messages_seen(NULL) > 0, past);
        tuff_operator_destroy(v.op);
    }
    tuff_device_close(device);
    device = plain;
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
        cmocka_unit_test(test_in_a_graph),
        cmocka_unit_test(test_refused_descriptors),
        cmocka_unit_test(test_refused_applications),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_ends_of_paths),
        cmocka_unit_test(test_check_gradient),
        cmocka_unit_test(test_check_under_validation),
    };
    return cmocka_run_group_tests_name("custom operator", tests, open_device, close_device);
}
