/* Device times of runs and of dispatches: what they say, and that the results are the same with them. */
#include "small_step.h"
#include "support.h"

#include <tuff/layers.h>

static tuff_device *device;
static const float half = 0.5f;
enum { DISPATCHES = 1 + STEP_LAYERS + 2 + STEP_LAYERS + 2 * STEP_LAYERS };

static void run_batches(small_step *step, uint32_t from, uint32_t to) {
    float x[STEP_WIDTH];
    for (uint32_t i = from; i < to; i++) {
        small_step_batch(i, x);
        ASSERT_OK(tuff_write(step->program, &step->x, x, sizeof x));
        ASSERT_OK(tuff_run(step->program));
    }
}

static void check_values(small_step *step, uint32_t runs) {
    small_step_values got, expected;
    small_step_read(step, &got);
    small_step_expect(runs, &expected);
    assert_memory_equal(&got, &expected, sizeof got);
}

static void test_run(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, &(program_options){ .profile = TUFF_PROFILE_RUN, .recordings = 3 });
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    double seconds = -1;
    uint32_t count = 7;
    ASSERT_FAILS(tuff_program_profile(step.program, &seconds, NULL, 0, &count), TUFF_ERROR_STATE, "never run");
    assert_true(seconds == -1 && count == 7);
    for (uint32_t i = 0; i < 5; i++) {
        run_batches(&step, i, i + 1);
        ASSERT_OK(tuff_program_profile(step.program, &seconds, NULL, 0, &count));
        assert_true(seconds > 0 && seconds < 60);
        assert_int_equal(count, 0);
    }
    check_values(&step, 5);
    small_step_close(&step);
}

static void check_entries(small_step *step, uint32_t replay_seed) {
    tuff_profile_entry entries[DISPATCHES + 1];
    double seconds, sum = 0;
    uint32_t count, backward = 0;
    ASSERT_OK(tuff_program_profile(step->program, &seconds, entries, DISPATCHES + 1, &count));
    assert_int_equal(count, DISPATCHES);
    for (uint32_t i = 0; i < count; i++) {
        const tuff_profile_entry *entry = &entries[i];
        assert_string_equal(entry->kernel, "TEST_MIX");
        assert_true(strlen(entry->label) > 0);
        assert_true(entry->seconds >= 0);
        assert_true(entry->groups[0] >= 1);
        assert_true(entry->bytes_read >= 4 && entry->bytes_written >= 4);
        sum += entry->seconds;
        backward += strcmp(entry->segment, "backward") == 0;
    }
    assert_true(seconds > 0 && sum > 0.999 * seconds && sum < 1.001 * seconds);
    assert_true(backward > 0 && backward < count);
    if (!replay_seed) assert_string_equal(entries[0].segment, "forward");
    tuff_profile_entry some[2];
    ASSERT_OK(tuff_program_profile(step->program, NULL, some, 2, &count));
    assert_int_equal(count, DISPATCHES);
    assert_string_equal(some[1].label, entries[1].label);
    ASSERT_OK(tuff_program_profile(step->program, NULL, NULL, 0, NULL));
}

static void test_dispatches(void **state) {
    (void)state;
    for (uint32_t replay_seed = 0; replay_seed < 3; replay_seed++) {
        small_step step;
        const program_options options = { .profile = TUFF_PROFILE_DISPATCHES, .replay_seed = replay_seed };
        small_step_open(&step, device, &options);
        ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
        run_batches(&step, 0, 4);
        check_entries(&step, replay_seed);
        check_values(&step, 4);
        small_step_close(&step);
    }
}

static void test_errors(void **state) {
    (void)state;
    double seconds;
    small_step step;
    small_step_open(&step, device, NULL);
    ASSERT_FAILS(tuff_program_profile(step.program, &seconds, NULL, 0, NULL), TUFF_ERROR_STATE, "set profile");
    ASSERT_FAILS(tuff_program_profile(step.program, &seconds, NULL, 3, NULL), TUFF_ERROR_ARGUMENT, "entries");
    ASSERT_FAILS(tuff_program_profile(NULL, &seconds, NULL, 0, NULL), TUFF_ERROR_ARGUMENT, "program");
    small_step_close(&step);
}

/* Through the public functions, the user's own program. */
static void test_compiled(void **state) {
    (void)state;
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(3, 5));
    tuff_tensor *y = tuff_sum(tuff_relu(tuff_linear(x, &(tuff_linear_desc){ .name = "fc", .features = 7 })), NULL);
    tuff_program_desc desc = { .outputs = &y, .output_count = 1, .evaluate = true, .profile = (tuff_profile)3 };
    tuff_program *program = NULL;
    ASSERT_FAILS(tuff_compile(graph, &desc, &program), TUFF_ERROR_ARGUMENT, "profile 3");
    desc.profile = TUFF_PROFILE_DISPATCHES;
    ASSERT_OK(tuff_compile(graph, &desc, &program));
    float values[15] = { 0 };
    tuff_profile_entry entries[8];
    uint32_t count = 0;
    ASSERT_OK(tuff_write(program, x, values, sizeof values));
    ASSERT_OK(tuff_run(program));
    ASSERT_OK(tuff_program_profile(program, NULL, entries, 8, &count));
    assert_true(count >= 2 && count <= 8);
    assert_non_null(strstr(entries[0].label, "fc"));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

int main(void) {
    device = test_device_open(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_dispatches),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_compiled),
    };
    int failed = cmocka_run_group_tests_name("profile", tests, NULL, NULL);
    tuff_device_close(device);
    return failed;
}
