/* Runs: the right values whatever is in flight, slots, what carries over, what is read, and what it costs. */
#include "small_step.h"
#include "support.h"

#include <math.h>

static tuff_device *device;

/* The library's own allocations of host memory while `watching` (the linker's --wrap leads them here, the driver's
 * not). */
static bool watching;
static uint64_t host_allocations;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size) {
    host_allocations += watching;
    return __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size) {
    host_allocations += watching;
    return __real_calloc(count, size);
}
void *__wrap_realloc(void *old, size_t size) {
    host_allocations += watching;
    return __real_realloc(old, size);
}

static const float half = 0.5f;

static void check_values(small_step *step, uint32_t runs) {
    small_step_values got, expected;
    small_step_read(step, &got);
    small_step_expect(runs, &expected);
    assert_memory_equal(&got, &expected, sizeof got);
}

static void run_batches(small_step *step, uint32_t from, uint32_t to) {
    float x[STEP_WIDTH];
    for (uint32_t i = from; i < to; i++) {
        small_step_batch(i, x);
        ASSERT_OK(tuff_write(step->program, &step->x, x, sizeof x));
        ASSERT_OK(tuff_run(step->program));
    }
}

static void test_values(void **state) {
    (void)state;
    for (uint32_t recordings = 1; recordings <= 4; recordings++) {
        small_step step;
        small_step_open(&step, device, &(program_options){ .recordings = recordings });
        ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
        run_batches(&step, 0, 1);
        check_values(&step, 1);
        run_batches(&step, 1, 12); /* nothing is waited for but recordings */
        check_values(&step, 12);
        assert_int_equal(step.optimizer.step_count, 12);
        small_step_close(&step);
    }
}

static void test_bytes_are_shared(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    tuff_program_info info;
    tuff_program_get_info(step.program, &info);
    assert_int_equal(info.segments, 3);
    assert_int_equal(info.dispatches, 1 + STEP_LAYERS + 2 + STEP_LAYERS + 2 * STEP_LAYERS);
    assert_int_equal(info.pipelines, 1);
    assert_true(info.barriers < info.levels);
    /* biased, six hidden ones, six changes and six moved: not 19 values */
    assert_true(info.arena_bytes <= 14 * 1280);
    assert_true(info.arena_bytes >= info.live_bytes);
    assert_true(info.slot_bytes >= 2 * 2 * STEP_WIDTH * sizeof(float));
    small_step_close(&step);
}

/* Inputs written once stay, in every recording, also when the slot was mapped. */
static void test_inputs_carry_over(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, &(program_options){ .recordings = 3 });
    float *x;
    size_t size;
    ASSERT_OK(tuff_map_input(step.program, &step.x, (void **)&x, &size));
    assert_int_equal(size, STEP_WIDTH * sizeof(float));
    small_step_batch(0, x);
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    float y[STEP_WIDTH], plain[STEP_WIDTH];
    for (uint32_t run = 0; run < 5; run++) {
        ASSERT_OK(tuff_run(step.program));
        for (uint32_t i = 0; i < STEP_LAYERS; i++) /* the same weights again */
            ASSERT_OK(device_fill(device, (buffer_range){ step.weights, i * 2048, STEP_WIDTH * sizeof(float) }, 0));
        ASSERT_OK(tuff_read(step.program, &step.y, y, sizeof y));
        if (run == 1) memcpy(plain, y, sizeof y);
        if (run >= 1) assert_memory_equal(y, plain, sizeof y);
    }
    /* and a change of one of them only */
    const float other = 64.5f;
    ASSERT_OK(tuff_write(step.program, &step.bias, &other, sizeof other));
    for (uint32_t run = 0; run < 4; run++) {
        ASSERT_OK(tuff_run(step.program));
        for (uint32_t i = 0; i < STEP_LAYERS; i++)
            ASSERT_OK(device_fill(device, (buffer_range){ step.weights, i * 2048, STEP_WIDTH * sizeof(float) }, 0));
        ASSERT_OK(tuff_read(step.program, &step.y, y, sizeof y));
        for (uint32_t k = 0; k < STEP_WIDTH; k++) assert_true(y[k] == plain[k] + 1); /* 64 / 2^6 */
    }
    small_step_close(&step);
}

/* The last write before a run counts, and rewriting while earlier runs are in flight does not reach them. */
static void test_rewriting(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    float x[STEP_WIDTH];
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    for (uint32_t i = 0; i < 6; i++) {
        small_step_batch(i + 50, x);
        ASSERT_OK(tuff_write(step.program, &step.x, x, sizeof x));
        small_step_batch(i, x);
        ASSERT_OK(tuff_write(step.program, &step.x, x, sizeof x));
        ASSERT_OK(tuff_run(step.program));
        small_step_batch(i + 70, x);
        ASSERT_OK(tuff_write(step.program, &step.x, x, sizeof x));
    }
    check_values(&step, 6);
    small_step_close(&step);
}

static void test_step_record(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    step.optimizer.step_count = (uint64_t)1 << 32;
    for (uint32_t i = 0; i < 3; i++) {
        step.optimizer.lr = 0.5f + (float)i;
        run_batches(&step, i, i + 1);
        step_record record;
        ASSERT_OK(tuff_read(step.program, &step.record, &record, sizeof record));
        assert_int_equal(record.seed_lo, 0x89abcdef);
        assert_int_equal(record.seed_hi, 0x1234567);
        assert_int_equal(record.step_lo, i);
        assert_int_equal(record.step_hi, 1);
        assert_true(record.lr == 0.5f + (float)i);
        assert_true(record.bias_correction1 == 1);
        assert_true(record.loss_scale == 1);
        assert_int_equal(record.first_step, 0);
        assert_int_equal(record.accumulate, 0);
    }
    step.optimizer.step_count = 0;
    for (uint32_t i = 0; i < 3; i++) {
        run_batches(&step, i, i + 1);
        step_record record;
        ASSERT_OK(tuff_read(step.program, &step.record, &record, sizeof record));
        assert_int_equal(record.step_lo, i);
        assert_int_equal(record.first_step, i == 0);
        assert_true(record.bias_correction1 == (float)(1 - pow((double)0.9f, i + 1)));
        assert_true(record.bias_correction2 == (float)(1 - pow((double)0.999f, i + 1)));
    }
    assert_int_equal(step.optimizer.step_count, 3);
    small_step_close(&step);
}

/* A program that does not train counts its own runs. */
static void test_step_record_without_optimizer(void **state) {
    (void)state;
    lowered *l = lowered_new(device);
    uint32_t record = add_storage(l, STORAGE_STEP, sizeof(step_record), "step record");
    uint32_t out = add_storage(l, STORAGE_OUTPUT, sizeof(step_record), "record");
    add_copy(l, SEGMENT_FORWARD, out, record);
    tuff_program *program;
    tuff_tensor tensor = { .id = l->storages[out].tensor };
    ASSERT_OK(program_create(l, &(program_options){ 0 }, &program));
    for (uint32_t i = 0; i < 5; i++) {
        step_record got;
        ASSERT_OK(tuff_run(program));
        ASSERT_OK(tuff_read(program, &tensor, &got, sizeof got));
        assert_int_equal(got.step_lo, i);
        assert_true(got.lr == 0 && got.bias_correction1 == 1 && got.bias_correction2 == 1);
    }
    tuff_program_destroy(program);
}

static void test_running_allocates_nothing(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    run_batches(&step, 0, 4); /* the driver's own first times */
    float x[STEP_WIDTH], y[STEP_WIDTH];
    tuff_device_counters before, after;
    tuff_device_get_counters(device, &before);
    host_allocations = 0;
    watching = true;
    for (uint32_t i = 4; i < 40; i++) {
        small_step_batch(i, x);
        tuff_result result = tuff_write(step.program, &step.x, x, sizeof x);
        if (result == TUFF_OK) result = tuff_run(step.program);
        if (result == TUFF_OK && i % 5 == 0) result = tuff_read(step.program, &step.y, y, sizeof y);
        if (result != TUFF_OK) break;
    }
    watching = false;
    tuff_device_get_counters(device, &after);
    assert_int_equal(host_allocations, 0);
    assert_int_equal(after.objects, before.objects);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.allocated_bytes, before.allocated_bytes);
    assert_int_equal(after.recordings, before.recordings);
    assert_int_equal(after.pipelines, before.pipelines);
    assert_true(after.submissions >= before.submissions + 36);
    check_values(&step, 40);
    small_step_close(&step);
}

static void test_errors(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    float x[STEP_WIDTH] = { 0 };
    tuff_tensor stranger = { .id = 9999 };
    ASSERT_FAILS(tuff_run(step.program), TUFF_ERROR_STATE, "'x' was never written");
    ASSERT_FAILS(tuff_read(step.program, &step.y, x, sizeof x), TUFF_ERROR_STATE, "never run");
    ASSERT_OK(tuff_write(step.program, &step.x, x, sizeof x));
    ASSERT_FAILS(tuff_run(step.program), TUFF_ERROR_STATE, "'bias' was never written");
    ASSERT_FAILS(tuff_write(step.program, &stranger, x, sizeof x), TUFF_ERROR_ARGUMENT, "'x', 'bias'");
    ASSERT_FAILS(tuff_write(step.program, &step.y, x, sizeof x), TUFF_ERROR_ARGUMENT, "not an input");
    ASSERT_FAILS(tuff_write(step.program, NULL, x, sizeof x), TUFF_ERROR_ARGUMENT, "NULL");
    ASSERT_FAILS(tuff_write(step.program, &step.x, x, 12), TUFF_ERROR_SHAPE, "12 bytes for the input 'x'");
    ASSERT_FAILS(tuff_write(step.program, &step.x, x, 12), TUFF_ERROR_SHAPE, "1200");
    ASSERT_FAILS(tuff_write(step.program, &step.x, NULL, sizeof x), TUFF_ERROR_ARGUMENT, "NULL");
    ASSERT_FAILS(tuff_write(NULL, &step.x, x, sizeof x), TUFF_ERROR_ARGUMENT, "NULL");
    ASSERT_FAILS(tuff_map_input(step.program, &step.y, (void **)&(void *){ NULL }, NULL), TUFF_ERROR_ARGUMENT,
                 "not an input");
    ASSERT_FAILS(tuff_read(step.program, &step.x, x, sizeof x), TUFF_ERROR_ARGUMENT, "'y', 'record'");
    ASSERT_FAILS(tuff_read(step.program, &step.y, x, 8), TUFF_ERROR_SHAPE, "1200");
    ASSERT_OK(tuff_write(step.program, &step.bias, x, 4));
    ASSERT_OK(tuff_run(step.program)); /* none of it did harm */
    ASSERT_FAILS(tuff_read(step.program, &step.x, x, sizeof x), TUFF_ERROR_ARGUMENT, "'y', 'record'");
    ASSERT_OK(tuff_read(step.program, &step.y, x, sizeof x));
    small_step_close(&step);
    tuff_program_destroy(NULL);
}

/* A tensor is known by its address where the compiler says so: its graph may be gone. */
static void test_handles(void **state) {
    (void)state;
    lowered *l = lowered_new(device);
    uint32_t in = add_storage(l, STORAGE_INPUT, 64, "in"), out = add_storage(l, STORAGE_OUTPUT, 64, "out");
    add_copy(l, SEGMENT_FORWARD, out, in);
    const tuff_tensor *in_handle = (tuff_tensor *)16, *out_handle = (tuff_tensor *)32; /* must not be looked into */
    l->storages[in].handle = in_handle;
    l->storages[out].handle = out_handle;
    tuff_program *program;
    ASSERT_OK(program_create(l, &(program_options){ 0 }, &program));
    uint32_t words[16], back[16];
    for (uint32_t i = 0; i < 16; i++) words[i] = 0x3f800000 + i;
    ASSERT_OK(tuff_write(program, in_handle, words, sizeof words));
    ASSERT_OK(tuff_run(program));
    ASSERT_OK(tuff_read(program, out_handle, back, sizeof back));
    assert_memory_equal(words, back, sizeof words);
    ASSERT_FAILS(tuff_write(program, out_handle, words, sizeof words), TUFF_ERROR_ARGUMENT, "not an input");
    tuff_program_destroy(program);
}

/* More than the device has: an error that says how much, and a device that still works. */
static void test_out_of_memory(void **state) {
    (void)state;
    tuff_device *small = test_device_open(&(tuff_device_desc){ .memory_budget = 64 << 20, .force = "" });
    lowered *l = lowered_new(small);
    uint32_t in = add_storage(l, STORAGE_INPUT, 64, "in"),
             big = add_storage(l, STORAGE_TRANSIENT, 100 << 20, "activations");
    uint32_t out = add_storage(l, STORAGE_OUTPUT, 64, "out");
    add_mix(l, SEGMENT_FORWARD, big, in, in, 1, "widen");
    add_mix(l, SEGMENT_FORWARD, out, big, in, 1, "narrow");
    tuff_program *program = NULL;
    tuff_device_counters before, after;
    tuff_device_get_counters(small, &before);
    ASSERT_FAILS(program_create(l, &(program_options){ 0 }, &program), TUFF_ERROR_MEMORY, "activations 104857600");
    if (!strstr(tuff_last_message(), "available")) fail_msg("%s", tuff_last_message());
    tuff_device_get_counters(small, &after);
    assert_int_equal(after.allocated_bytes, before.allocated_bytes);
    assert_null(program);
    lowered_free(l);
    small_step step;
    small_step_open(&step, small, NULL);
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    run_batches(&step, 0, 3);
    check_values(&step, 3);
    small_step_close(&step);
    tuff_device_close(small);
}

/* What lowering must not do is an error, not a crash. */
static void test_wrong_calls(void **state) {
    (void)state;
    tuff_program *program;
    for (uint32_t mistake = 0; mistake < 4; mistake++) {
        static const char *const messages[] = { "bytes 0 to 128 of out", "writes in", "no storage 7",
                                                "earlier segment" };
        lowered *l = lowered_new(device);
        uint32_t in = add_storage(l, STORAGE_INPUT, 64, "in"), out = add_storage(l, STORAGE_OUTPUT, 64, "out");
        add_copy(l, SEGMENT_UPDATE, out, in);
        if (mistake == 0) l->calls[0].operands[0].size = 128;
        if (mistake == 1) l->calls[0].operands[1].access = ACCESS_WRITE;
        if (mistake == 2) l->calls[0].operands[1].storage = 7;
        if (mistake == 3) add_copy(l, SEGMENT_FORWARD, out, in);
        ASSERT_FAILS(program_create(l, &(program_options){ 0 }, &program), TUFF_ERROR_ARGUMENT, messages[mistake]);
        lowered_free(l);
    }
}

/* A driver that can bind only so many dispatches: a program that needs more is refused, and the others go on. */
static void test_too_many_dispatches(void **state) {
    (void)state;
    tuff_device *few = test_device_open(&(tuff_device_desc){ .force = "fuse=none,dispatches=12" });
    tuff_model *model = tuff_model_create(few, NULL);
    tuff_graph *graphs[2] = { tuff_graph_create(model), tuff_graph_create(model) };
    tuff_program *programs[3] = { NULL };
    tuff_tensor *y[2], *x[2];
    for (int i = 0; i < 2; i++) {
        y[i] = x[i] = tuff_input(graphs[i], "x", TUFF_F32, TUFF_SHAPE(5));
        for (int step = 0; step < (i ? 5 : 4); step++) y[i] = tuff_exp(y[i]);
    }
    tuff_program_desc desc = { .outputs = &y[0], .output_count = 1, .evaluate = true, .recordings = 2 };
    ASSERT_OK(tuff_compile(graphs[0], &desc, &programs[0])); /* 8 */
    ASSERT_FAILS(tuff_compile(graphs[0], &desc, &programs[1]), TUFF_ERROR_MEMORY, "12 at a time");
    assert_null(programs[1]);
    desc.recordings = 1;
    ASSERT_OK(tuff_compile(graphs[0], &desc, &programs[1])); /* the last 4 */
    desc.outputs = &y[1];
    ASSERT_FAILS(tuff_compile(graphs[1], &desc, &programs[2]), TUFF_ERROR_MEMORY, "12 of what is open");
    tuff_program_destroy(programs[0]);
    ASSERT_OK(tuff_compile(graphs[1], &desc, &programs[2]));
    const float ones[5] = { 0 };
    float out[5];
    ASSERT_OK(tuff_write(programs[1], x[0], ones, sizeof ones));
    ASSERT_OK(tuff_run(programs[1]));
    ASSERT_OK(tuff_read(programs[1], y[0], out, sizeof out));
    assert_true(out[0] > 3.8e6f && out[0] < 3.82e6f); /* e^(e^e) */
    tuff_program_destroy(programs[1]);
    tuff_program_destroy(programs[2]);
    for (int i = 0; i < 2; i++) tuff_graph_destroy(graphs[i]);
    tuff_model_destroy(model);
    tuff_device_close(few);
}

/* Inputs and outputs staged, and the arena in small blocks: the same bits. */
static void test_forced_paths(void **state) {
    (void)state;
    static const char *const forces[] = { "staging", "block=4096", "staging,block=2048", "uncached" };
    for (uint32_t f = 0; f < 4; f++) {
        tuff_device *forced = test_device_open(&(tuff_device_desc){ .force = forces[f] });
        for (uint32_t recordings = 1; recordings <= 3; recordings++) {
            small_step step;
            small_step_open(&step, forced, &(program_options){ .recordings = recordings });
            if (strstr(forces[f], "block")) assert_true(step.program->plan.block_count > 1);
            if (strstr(forces[f], "staging")) assert_true(step.program->slots[0].staged);
            if (strstr(forces[f], "uncached")) assert_true(recordings == 1 || step.program->slots[0].shadow != NULL);
            ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
            run_batches(&step, 0, 9);
            check_values(&step, 9);
            step_record record;
            ASSERT_OK(tuff_read(step.program, &step.record, &record, sizeof record));
            assert_int_equal(record.step_lo, 8);
            small_step_close(&step);
        }
        tuff_device_close(forced);
    }
    tuff_device *forced = test_device_open(&(tuff_device_desc){ .force = "block=1024" });
    lowered *l = lowered_new(forced);
    uint32_t in = add_storage(l, STORAGE_INPUT, 64, "in"), big = add_storage(l, STORAGE_TRANSIENT, 2048, "big");
    add_copy(l, SEGMENT_FORWARD, big, in);
    tuff_program *program;
    ASSERT_FAILS(program_create(l, &(program_options){ 0 }, &program), TUFF_ERROR_MEMORY, "big has 2048 bytes");
    lowered_free(l);
    tuff_device_close(forced);
}

/* Two programs that take turns on the same state, each run right behind the other's. */
static void test_two_programs(void **state) {
    (void)state;
    small_step one, two;
    small_step_open(&one, device, NULL);
    small_step_open_beside(&two, &one, &(program_options){ .recordings = 3 });
    ASSERT_OK(tuff_write(one.program, &one.bias, &half, sizeof half));
    ASSERT_OK(tuff_write(two.program, &two.bias, &half, sizeof half));
    for (uint32_t i = 0; i < 12; i++) run_batches(i % 3 ? &two : &one, i, i + 1);
    check_values(&two, 12);
    small_step_close(&two);
    small_step_close(&one);
}

static void test_dump(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    char *text;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    ASSERT_OK(program_dump_text(step.program, file));
    fclose(file);
    static const char *const parts[] = { "schedule: ",
                                         "segment 2: update",
                                         "level 0\n",
                                         "plan: ",
                                         "hidden",
                                         "synchronise: ",
                                         "before level 1: kernel_read|kernel_write -> kernel_read|kernel_write" };
    for (uint32_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("\"%s\" is not in\n%s", parts[i], text);
    ASSERT_FAILS(tuff_program_dump(step.program, TUFF_DUMP_TEXT, "/dev/null"), TUFF_ERROR_STATE, "capture_steps");
    program_keep_dumps(step.program, text, NULL);
    ASSERT_OK(tuff_program_dump(step.program, TUFF_DUMP_TEXT, "/dev/null"));
    ASSERT_FAILS(tuff_program_dump(step.program, TUFF_DUMP_TEXT, "/nonexistent/dump"), TUFF_ERROR_FILE,
                 "/nonexistent/dump");
    small_step_close(&step);
}

int main(void) {
    device = test_device_open(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_bytes_are_shared),
        cmocka_unit_test(test_inputs_carry_over),
        cmocka_unit_test(test_rewriting),
        cmocka_unit_test(test_step_record),
        cmocka_unit_test(test_step_record_without_optimizer),
        cmocka_unit_test(test_running_allocates_nothing),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_wrong_calls),
        cmocka_unit_test(test_forced_paths),
        cmocka_unit_test(test_too_many_dispatches),
        cmocka_unit_test(test_two_programs),
        cmocka_unit_test(test_dump),
    };
    int failed = cmocka_run_group_tests_name("run", tests, NULL, NULL);
    tuff_device_close(device);
    return failed;
}
