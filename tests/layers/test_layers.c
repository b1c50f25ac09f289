#include "test_layers.h"

#include "runtime/graph/attributes.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const layers_family *const FAMILIES[] = {
    &LAYERS_ATTENTION,     &LAYERS_CONVOLUTION, &LAYERS_LOOKUP,  &LAYERS_LOSS,
    &LAYERS_NORMALISATION, &LAYERS_POINTWISE,   &LAYERS_POOLING, &LAYERS_PRODUCT,
    &LAYERS_RECURRENT,     &LAYERS_REDUCTION,   &LAYERS_SHAPE,
};

static tuff_device *device;

static void begin(layers_case *c) {
    *c = (layers_case){ .model = tuff_model_create(device, NULL) };
    c->graph = tuff_graph_create(c->model);
    assert_non_null(c->graph);
}

static void end(layers_case *c) {
    tuff_graph_destroy(c->graph);
    tuff_model_destroy(c->model);
}

static tuff_tensor *input(layers_case *c, tuff_type type, tuff_shape shape) {
    char name[16];
    snprintf(name, sizeof name, "x%u", c->inputs++);
    tuff_tensor *x = tuff_input(c->graph, name, type, shape);
    assert_non_null(x);
    return x;
}

tuff_tensor *layers_input(layers_case *c, tuff_shape shape) {
    return input(c, TUFF_F32, shape);
}

tuff_tensor *layers_index(layers_case *c, tuff_shape shape) {
    return input(c, TUFF_I32, shape);
}

void layers_expect(const tuff_tensor *y, const char *op, const char *text) {
    if (!y) fail_msg("%s(%s) was refused: %s", op, text, tuff_last_message());
    const node *node = y->producer;
    attributes wanted;
    char word[256];
    int length = 0;
    assert_non_null(node);
    assert_string_equal(node->op->name, op);
    attributes_begin(&wanted, node->op);
    for (const char *at = text; sscanf(at, "%255s%n", word, &length) == 1; at += length)
        if (attributes_set(&wanted, word) != TUFF_OK) fail_msg("%s", tuff_last_message());
    if (attributes_end(&wanted) != TUFF_OK) fail_msg("%s", tuff_last_message());
    for (uint32_t i = 0; i < node->op->attribute_count; i++) {
        char given[ATTRIBUTE_TEXT], expected[ATTRIBUTE_TEXT];
        const attribute *attribute = &node->op->attributes[i];
        attribute_value_text(attribute, &node->attributes[i], given);
        attribute_value_text(attribute, &wanted.values[i], expected);
        if (strcmp(given, expected) != 0) fail_msg("%s: %s is %s, should be %s", op, attribute->name, given, expected);
    }
}

void layers_expect_state(const layers_case *c, const char *name, tuff_state_kind kind, tuff_shape shape) {
    for (uint32_t i = 0; i < tuff_model_state_count(c->model); i++) {
        tuff_state_info info;
        assert_int_equal(tuff_model_state_info(c->model, i, &info), TUFF_OK);
        if (strcmp(info.name, name) != 0) continue;
        assert_int_equal(info.kind, kind);
        char given[SHAPE_TEXT], expected[SHAPE_TEXT];
        if (!shape_equal(&info.shape, &shape))
            fail_msg("%s has the shape %s, should have %s", name, shape_text(&info.shape, given),
                     shape_text(&shape, expected));
        return;
    }
    fail_msg("the model has no state '%s'", name);
}

void layers_expect_states(const layers_case *c, unsigned count) {
    assert_int_equal(tuff_model_state_count(c->model), count);
}

void layers_expect_error(layers_case *c, tuff_result result, const char *words) {
    char word[64];
    int length = 0;
    const char *message = tuff_graph_message(c->graph);
    if (tuff_graph_result(c->graph) != result)
        fail_msg("%s (\"%s\") where %s was expected", tuff_result_name(tuff_graph_result(c->graph)), message,
                 tuff_result_name(result));
    for (const char *at = words; sscanf(at, "%63s%n", word, &length) == 1; at += length)
        if (!strstr(message, word)) fail_msg("the message \"%s\" does not say \"%s\"", message, word);
    end(c);
    begin(c);
}

static void run_layers_test(void **state) {
    const layers_test *test = *state;
    layers_case c;
    begin(&c);
    test->run(&c);
    end(&c);
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
    struct CMUnitTest tests[512];
    size_t count = 0;
    for (size_t f = 0; f < sizeof FAMILIES / sizeof *FAMILIES; f++)
        for (size_t i = 0; i < FAMILIES[f]->count && count < sizeof tests / sizeof *tests; i++)
            tests[count++] = (struct CMUnitTest){ .name = FAMILIES[f]->tests[i].name,
                                                  .test_func = run_layers_test,
                                                  .initial_state = (void *)(uintptr_t)&FAMILIES[f]->tests[i] };
    return _cmocka_run_group_tests("layers", tests, count, open_device, close_device);
}
