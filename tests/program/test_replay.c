/* Adversarial replay changes no bit of a right program, and does of a wrong one; the validation layer sees a missing
 * barrier, too. */
#include "small_step.h"
#include "support.h"

static tuff_device *device;

static const float half = 0.5f;

enum { RUNS = 8 };

static void run(tuff_device *on, const program_options *options, small_step_values *values) {
    small_step step;
    small_step_open(&step, on, options);
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    for (uint32_t i = 0; i < RUNS; i++) {
        float x[STEP_WIDTH];
        small_step_batch(i, x);
        ASSERT_OK(tuff_write(step.program, &step.x, x, sizeof x));
        ASSERT_OK(tuff_run(step.program));
    }
    small_step_read(&step, values);
    small_step_close(&step);
}

static void test_same_bits(void **state) {
    (void)state;
    small_step_values expected, got;
    small_step_expect(RUNS, &expected);
    for (uint32_t seed = 0; seed < 8; seed++) {
        run(device, &(program_options){ .replay_seed = seed, .recordings = 1 + seed % 4 }, &got);
        assert_memory_equal(&expected, &got, sizeof got);
    }
    static const char *const forces[] = { "staging", "block=2048" };
    for (uint32_t f = 0; f < 2; f++) {
        tuff_device *forced = test_device_open(&(tuff_device_desc){ .force = forces[f] });
        run(forced, &(program_options){ .replay_seed = 99 }, &got);
        assert_memory_equal(&expected, &got, sizeof got);
        tuff_device_close(forced);
    }
}

/* The share of plantings of a kind that replay finds, over what the fault can mean. */
static uint32_t found(program_fault fault, uint32_t seeds) {
    small_step_values expected, got;
    small_step_expect(RUNS, &expected);
    uint32_t count = 0;
    for (uint32_t seed = 1; seed <= seeds; seed++) {
        run(device, &(program_options){ .replay_seed = seed, .fault = fault }, &got);
        count += memcmp(&expected, &got, sizeof got) != 0;
    }
    return count;
}

/* Planted mistakes are hazards, which the layers report: here they are expected. */
static void begin_mistake(void) {
    test_messages_seen(NULL);
    test_expect_messages(true);
}
static void end_mistake(void) {
    test_expect_messages(false);
    test_messages_seen(NULL);
}

static void test_short_lives(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    uint32_t hidden[STEP_LAYERS];
    memcpy(hidden, step.hidden, sizeof hidden);
    small_step_close(&step);
    begin_mistake();
    for (uint32_t i = 0; i < STEP_LAYERS; i++)
        assert_int_equal(found((program_fault){ PROGRAM_FAULT_LIFE, hidden[i] }, 3), 3); /* every seed finds it */
    end_mistake();
}

static void test_dropped_dependencies(void **state) {
    (void)state;
    begin_mistake();
    /* the layers, which then stand in the first level with what they need */
    for (uint32_t call = 1; call <= STEP_LAYERS; call++)
        if (!found((program_fault){ PROGRAM_FAULT_DEPENDENCY, call }, 6)) fail_msg("call %u: not found", call);
    end_mistake();
}

static void test_dropped_barriers(void **state) {
    (void)state;
    begin_mistake();
    for (uint32_t level = 1; level <= STEP_LAYERS; level++)
        if (!found((program_fault){ PROGRAM_FAULT_BARRIER, level }, 8)) fail_msg("level %u: not found", level);
    end_mistake();
}

/* The layer reports a barrier that is missing inside a command buffer, and one between two submissions. (Nothing is
 * forced: the copies of staged slots bring barriers along that stand in for the one between submissions.) */
static void test_layer_reports(void **state) {
    (void)state;
    if (!test_layer_installed()) skip();
    for (uint32_t level = 0; level < 4; level++) {
        tuff_device *watched = test_device_open(&(tuff_device_desc){ .validation = TUFF_VALIDATION_ON, .force = "" });
        small_step_values values;
        run(watched, &(program_options){ 0 }, &values); /* clean without the mistake */
        begin_mistake();
        run(watched, &(program_options){ .fault = { PROGRAM_FAULT_BARRIER, level } }, &values);
        test_expect_messages(false);
        const char *first = "";
        uint32_t seen = test_messages_seen(&first);
        if (seen == 0) fail_msg("no message for the barrier before level %u", level);
        if (!strstr(first, "HAZARD")) fail_msg("%s", first);
        tuff_device_close(watched);
    }
}

/* The order between two barriers really changes. (That dead bytes are filled is what finds short lives.) */
static void test_is_adversarial(void **state) {
    (void)state;
    small_step plain, shuffled;
    small_step_open(&plain, device, NULL);
    small_step_open(&shuffled, device, &(program_options){ .replay_seed = 1 });
    const schedule *s = &shuffled.program->schedule;
    bool moved = false;
    for (uint32_t r = 0; r < 2; r++)
        for (uint32_t k = 0; k < s->call_count; k++)
            moved = moved || shuffled.program->recordings[r].order[k] != s->order[k];
    assert_true(moved);
    assert_ptr_equal(plain.program->recordings[0].order, plain.program->schedule.order);
    small_step_close(&plain);
    small_step_close(&shuffled);
}

int main(void) {
    device = test_device_open(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_short_lives),
        cmocka_unit_test(test_dropped_dependencies),
        cmocka_unit_test(test_dropped_barriers),
        cmocka_unit_test(test_layer_reports),
        cmocka_unit_test(test_is_adversarial),
    };
    int failed = cmocka_run_group_tests_name("replay", tests, NULL, NULL);
    tuff_device_close(device);
    return failed;
}
