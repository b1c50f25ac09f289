#include "test_layers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void expect_shape(const tuff_tensor *x, tuff_shape shape) {
    assert_non_null(x);
    tuff_shape given = tuff_tensor_shape(x);
    assert_int_equal(given.rank, shape.rank);
    for (uint32_t i = 0; i < shape.rank; i++) assert_int_equal(given.sizes[i], shape.sizes[i]);
}

static void rnn(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(5, 3, 4)), *h_n;
    tuff_tensor *y =
        tuff_rnn(x, &(tuff_recurrent_desc){ .name = "rnn", .hidden_size = 6, .relu = true, .no_bias = true }, &h_n);
    layers_expect(y, "rnn", "nonlinearity=relu bias=false");
    expect_shape(y, TUFF_SHAPE(5, 3, 6));
    expect_shape(h_n, TUFF_SHAPE(1, 3, 6));
    layers_expect_state(c, "rnn.weight_ih_l0", TUFF_STATE_PARAMETER, TUFF_SHAPE(6, 4));
    layers_expect_state(c, "rnn.weight_hh_l0", TUFF_STATE_PARAMETER, TUFF_SHAPE(6, 6));
    layers_expect(tuff_rnn(x, &(tuff_recurrent_desc){ .name = "plain", .hidden_size = 2 }, NULL), "rnn", "");
    tuff_rnn(x, &(tuff_recurrent_desc){ .name = "rnn2" }, &h_n);
    assert_null(h_n);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "rnn2 hidden_size");
    assert_null(tuff_rnn(NULL, NULL, &h_n));
    tuff_rnn(layers_input(c, TUFF_SHAPE(5, 3, 4)), NULL, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_rnn name");
}

static void gru(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(3, 5, 4)), *hx = layers_input(c, TUFF_SHAPE(4, 3, 6)), *h_n;
    const tuff_recurrent_desc desc = { .name = "gru",
                                       .hidden_size = 6,
                                       .num_layers = 2,
                                       .bidirectional = true,
                                       .batch_first = true,
                                       .dropout = 0.5f,
                                       .hx = hx };
    tuff_tensor *y = tuff_gru(x, &desc, &h_n);
    layers_expect(y, "gru", "bidirectional=true batch_first=true");
    expect_shape(y, TUFF_SHAPE(3, 5, 12));
    expect_shape(h_n, TUFF_SHAPE(4, 3, 6));
    layers_expect_state(c, "gru.weight_ih_l0", TUFF_STATE_PARAMETER, TUFF_SHAPE(18, 4));
    layers_expect_state(c, "gru.bias_hh_l0_reverse", TUFF_STATE_PARAMETER, TUFF_SHAPE(18));
    layers_expect_state(c, "gru.weight_ih_l1_reverse", TUFF_STATE_PARAMETER, TUFF_SHAPE(18, 12));
    layers_expect_state(c, "gru.weight_hh_l1", TUFF_STATE_PARAMETER, TUFF_SHAPE(18, 6));
    tuff_gru(x, &(tuff_recurrent_desc){ .name = "gru3", .hidden_size = 6, .hx = hx }, &h_n);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "gru3 hx num_layers");
    x = layers_input(c, TUFF_SHAPE(3, 5, 4));
    tuff_gru(x, &(tuff_recurrent_desc){ .name = "gru", .hidden_size = 6, .relu = true }, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_gru relu tuff_rnn");
    tuff_lstm(layers_input(c, TUFF_SHAPE(3, 5, 4)),
              &(tuff_recurrent_desc){ .name = "lstm", .hidden_size = 6, .relu = true }, NULL, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_lstm relu tuff_rnn");
    x = layers_input(c, TUFF_SHAPE(3, 5, 4));
    tuff_gru(x, &(tuff_recurrent_desc){ .name = "gru", .hidden_size = 6, .cx = layers_input(c, TUFF_SHAPE(1, 3, 6)) },
             NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_gru cx tuff_lstm");
    x = layers_input(c, TUFF_SHAPE(3, 5, 4));
    tuff_rnn(x, &(tuff_recurrent_desc){ .name = "rnn", .hidden_size = 6, .cx = layers_input(c, TUFF_SHAPE(1, 3, 6)) },
             NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_rnn cx tuff_lstm");
    x = layers_input(c, TUFF_SHAPE(3, 5, 4));
    tuff_gru(x, &(tuff_recurrent_desc){ .name = "gru", .hidden_size = INT64_C(1) << 40 }, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "hidden_size 1099511627776 2147483647");
    x = layers_input(c, TUFF_SHAPE(3, 5, 4));
    tuff_gru(x, &(tuff_recurrent_desc){ .name = "gru", .hidden_size = 6, .num_layers = 100000000 }, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "num_layers 100000000 65535");
}

/* More weights than a row takes. */
static void lstm(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(5, 4)), *state = layers_input(c, TUFF_SHAPE(10, 3)), *h_n, *c_n;
    const tuff_recurrent_desc desc = {
        .name = "lstm", .hidden_size = 3, .num_layers = 5, .bidirectional = true, .hx = state, .cx = state
    };
    tuff_tensor *y = tuff_lstm(x, &desc, &h_n, &c_n);
    layers_expect(y, "lstm", "bidirectional=true");
    expect_shape(y, TUFF_SHAPE(5, 6));
    expect_shape(h_n, TUFF_SHAPE(10, 3));
    expect_shape(c_n, TUFF_SHAPE(10, 3));
    layers_expect_state(c, "lstm.weight_hh_l4_reverse", TUFF_STATE_PARAMETER, TUFF_SHAPE(12, 3));
    tuff_lstm(x, &(tuff_recurrent_desc){ .name = "lstm", .hidden_size = 7 }, NULL, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "lstm.weight_ih_l0");
}

/* Steps are dispatches, not pipelines; and a long sequence compiles. */
static tuff_program_info compiled(layers_case *c, tuff_optimizer *sgd, const char *name, int64_t steps) {
    const tuff_recurrent_desc desc = { .name = name, .hidden_size = 5, .num_layers = 2, .bidirectional = true };
    tuff_tensor *y = tuff_lstm(layers_input(c, TUFF_SHAPE(steps, 2, 3)), &desc, NULL, NULL);
    tuff_program_info info;
    tuff_program *program;
    const tuff_program_desc training = { .minimize = tuff_sum(y, NULL), .optimizer = sgd };
    assert_int_equal(tuff_compile(c->graph, &training, &program), TUFF_OK);
    tuff_program_get_info(program, &info);
    tuff_program_destroy(program);
    return info;
}

static void long_sequence(layers_case *c) {
    tuff_optimizer *sgd = tuff_sgd_create(c->model, &(tuff_sgd_desc){ .lr = 0.1f });
    tuff_program_info few = compiled(c, sgd, "few", 64), many = compiled(c, sgd, "many", 512);
    assert_true(many.dispatches >= 2 * 2 * 2 * 512);
    assert_true(many.pipelines >= 1 && many.pipelines <= few.pipelines + 2); /* of larger products, perhaps */
    assert_true(many.levels < few.levels * 9);
}

/* Two layers that hand on what they get: the output is the input, doubled or dropped (of p = 1 all). Backward the same
 * are dropped. */
static void check_dropout(layers_case *c, float p) {
    enum { COUNT = 64 };
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(COUNT, 1)), *gradient;
    const tuff_recurrent_desc desc = {
        .name = "rnn", .hidden_size = 1, .num_layers = 2, .relu = true, .no_bias = true, .dropout = p
    };
    tuff_tensor *y = tuff_rnn(x, &desc, NULL);
    assert_int_equal(tuff_gradients(tuff_sum(y, NULL), &x, 1, &gradient), TUFF_OK);
    tuff_tensor *outputs[] = { y, gradient };
    for (int training = 0; training < 2; training++) {
        static const char *const names[] = { "rnn.weight_ih_l0", "rnn.weight_ih_l1", "rnn.weight_hh_l0",
                                             "rnn.weight_hh_l1" };
        float given[COUNT], got[COUNT], slope[COUNT];
        tuff_program *program;
        int dropped = 0;
        const tuff_program_desc wanted = { .outputs = outputs, .output_count = 2, .evaluate = !training };
        assert_int_equal(tuff_compile(c->graph, &wanted, &program), TUFF_OK);
        for (int i = 0; i < 4; i++)
            assert_int_equal(tuff_model_write(c->model, names[i], &(float){ i < 2 ? 1 : 0 }, sizeof(float)), TUFF_OK);
        for (int i = 0; i < COUNT; i++) given[i] = (float)(1 + i);
        assert_int_equal(tuff_write(program, x, given, sizeof given), TUFF_OK);
        assert_int_equal(tuff_run(program), TUFF_OK);
        assert_int_equal(tuff_read(program, y, got, sizeof got), TUFF_OK);
        assert_int_equal(tuff_read(program, gradient, slope, sizeof slope), TUFF_OK);
        for (int i = 0; i < COUNT; i++) {
            dropped += got[i] == 0;
            if (got[i] != 0) assert_true(got[i] == given[i] * (training ? 2 : 1));
            assert_true(slope[i] == got[i] / given[i]);
        }
        if (training)
            assert_true(p == 1 ? dropped == COUNT : dropped >= 10 && dropped <= 54);
        else
            assert_int_equal(dropped, 0);
        tuff_program_destroy(program);
    }
}

static void dropout(layers_case *c) {
    check_dropout(c, 0.5f);
}
static void dropout_of_all(layers_case *c) {
    check_dropout(c, 1);
}

/* Gradients of a graph that is compiled for one step alone: W_hh has met zeros. */
static void other_length(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(4, 2, 3)), *gradient;
    tuff_tensor *y = tuff_rnn(x, &(tuff_recurrent_desc){ .name = "rnn", .hidden_size = 5 }, NULL);
    tuff_tensor *weight = tuff_parameter(c->graph, "rnn.weight_hh_l0", TUFF_SHAPE(5, 5), NULL);
    assert_int_equal(tuff_gradients(tuff_sum(y, NULL), &weight, 1, &gradient), TUFF_OK);
    for (int64_t steps = 1; steps <= 6; steps += 5) {
        float values[6 * 2 * 3], got[25], largest = 0;
        const tuff_input_size size = { .input = x, .shape = TUFF_SHAPE(steps, 2, 3) };
        const tuff_program_desc desc = {
            .outputs = &gradient, .output_count = 1, .input_sizes = &size, .input_size_count = 1, .replay_seed = 1
        };
        tuff_program *program;
        assert_int_equal(tuff_compile(c->graph, &desc, &program), TUFF_OK);
        for (int i = 0; i < 6 * 2 * 3; i++) values[i] = (float)(i % 7) / 8;
        assert_int_equal(tuff_write(program, x, values, (size_t)steps * 2 * 3 * sizeof *values), TUFF_OK);
        assert_int_equal(tuff_run(program), TUFF_OK);
        assert_int_equal(tuff_read(program, gradient, got, sizeof got), TUFF_OK);
        for (int i = 0; i < 25; i++) {
            assert_true(got[i] == got[i]);
            largest = got[i] * got[i] > largest ? got[i] * got[i] : largest;
        }
        assert_true(steps == 1 ? largest == 0 : largest > 0);
        tuff_program_destroy(program);
    }
}

static const layers_test tests[] = {
    { "rnn", rnn },
    { "gru", gru },
    { "lstm", lstm },
    { "long sequence", long_sequence },
    { "dropout", dropout },
    { "dropout of all", dropout_of_all },
    { "other length", other_length },
};
const layers_family LAYERS_RECURRENT = LAYERS_FAMILY(tests);
