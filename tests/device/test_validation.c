/* The validation layers see what they must: a missing barrier within a command buffer, one between two submissions,
 * and an access one float past a range. Without this, silence elsewhere would prove nothing. */
#include "device_test.h"

#include <stdio.h>

static tuff_device *open_with(tuff_validation validation) {
    return test_device_open(&(tuff_device_desc){ .validation = validation });
}

/* Everything between the two calls is a planted mistake. */
static void begin_mistake(void) {
    test_messages_seen(NULL);
    test_expect_messages(true);
}

static uint32_t end_mistake(const char **first) {
    test_expect_messages(false);
    return test_messages_seen(first);
}

/* Copies vec4s, read as texels. */
static dispatch texels_dispatch(buffer_range from, buffer_range to, uint32_t count, uint32_t first) {
    return (dispatch){ .kernel = KERNEL_TEST_TEXELS,
                       .bindings = { from, to },
                       .binding_count = 2,
                       .params = { count, first },
                       .param_count = 2,
                       .groups = { (count + 63) / 64, 1, 1 } };
}

typedef struct bench {
    tuff_device *device;
    buffer *b, *other;
    dispatch_set *set;
    commands *c[2];
} bench;

/* Two kernels of which the second reads what the first writes, as texels or not. */
static bench bench_open(tuff_validation validation, bool texels) {
    bench k = { .device = open_with(validation) };
    ASSERT_OK(buffer_create(k.device, BUFFER_DEVICE, 4096, "planted", &k.b));
    ASSERT_OK(buffer_create(k.device, BUFFER_DEVICE, 4096, "other", &k.other));
    dispatch d[] = { fill_dispatch((buffer_range){ k.b, 0, 1024 }, 1, 256),
                     { .kernel = KERNEL_NORM_PARTS, /* reads what the first writes */
                       .bindings = { { k.b, 0, 1024 }, { k.other, 0, 16 } },
                       .binding_count = 2,
                       .params = { 64, 0, 0 },
                       .param_count = 3,
                       .groups = { 1, 1, 1 } } };
    if (texels) d[1] = texels_dispatch((buffer_range){ k.b, 0, 1024 }, (buffer_range){ k.other, 0, 1024 }, 64, 0);
    ASSERT_OK(dispatch_set_create(k.device, d, 2, "planted", &k.set));
    for (uint32_t i = 0; i < 2; i++) ASSERT_OK(commands_create(k.device, i ? "second" : "first", &k.c[i]));
    return k;
}

static void bench_close(bench *k) {
    for (uint32_t i = 0; i < 2; i++) commands_destroy(k->c[i]);
    dispatch_set_destroy(k->set);
    buffer_destroy(k->b);
    buffer_destroy(k->other);
    tuff_device_close(k->device);
}

/* One kernel writes, another reads. (Two that write the same are no test: Debian 12's layer takes it that shaders may
 * well not write what they could.) */
static void between_kernels(bench *k, bool barrier) {
    queue_point done;
    ASSERT_OK(commands_begin(k->c[0]));
    commands_dispatch(k->c[0], k->set, 0);
    if (barrier) commands_barrier(k->c[0], USE_KERNEL_WRITE, USE_KERNEL_READ);
    commands_dispatch(k->c[0], k->set, 1);
    ASSERT_OK(commands_end(k->c[0]));
    ASSERT_OK(queue_submit(k->device, QUEUE_COMPUTE, k->c, 1, NULL, 0, &done));
    ASSERT_OK(queue_wait(k->device, done));
}

static void between_a_kernel_and_a_copy(bench *k, bool barrier) {
    queue_point done;
    ASSERT_OK(commands_begin(k->c[0]));
    commands_dispatch(k->c[0], k->set, 0);
    if (barrier) commands_barrier(k->c[0], USE_KERNEL_WRITE, USE_COPY_READ);
    commands_copy(k->c[0], (buffer_range){ k->b, 0, 512 }, (buffer_range){ k->other, 0, 512 });
    ASSERT_OK(commands_end(k->c[0]));
    ASSERT_OK(queue_submit(k->device, QUEUE_COMPUTE, k->c, 1, NULL, 0, &done));
    ASSERT_OK(queue_wait(k->device, done));
}

static void between_submissions(bench *k, bool barrier) {
    queue_point done;
    for (uint32_t i = 0; i < 2; i++) {
        ASSERT_OK(commands_begin(k->c[i]));
        if (i && barrier) commands_barrier(k->c[i], USE_KERNEL_WRITE, USE_KERNEL_READ);
        commands_dispatch(k->c[i], k->set, i);
        ASSERT_OK(commands_end(k->c[i]));
    }
    for (uint32_t i = 0; i < 2; i++) ASSERT_OK(queue_submit(k->device, QUEUE_COMPUTE, &k->c[i], 1, NULL, 0, &done));
    ASSERT_OK(queue_wait(k->device, done));
}

static bool reads_texels(void) {
    tuff_device *device = open_with(TUFF_VALIDATION_OFF);
    bool can = device_get_limits(device)->texels;
    tuff_device_close(device);
    return can;
}

static void check_hazard(void (*mistake)(bench *, bool), bool texels) {
    if (!test_layer_installed() || (texels && !reads_texels())) skip();
    bench k = bench_open(TUFF_VALIDATION_ON, texels);
    mistake(&k, true); /* with its barrier it is clean */
    bench_close(&k);

    k = bench_open(TUFF_VALIDATION_ON, texels);
    tuff_device_counters before, after;
    tuff_device_get_counters(k.device, &before);
    begin_mistake();
    mistake(&k, false);
    tuff_device_get_counters(k.device, &after);
    const char *first;
    uint32_t seen = end_mistake(&first);
    if (seen == 0) fail_msg("the layer did not report the missing barrier");
    assert_int_equal(after.validation_messages - before.validation_messages, seen);
    assert_non_null(strstr(first, "SYNC-HAZARD-READ-AFTER-WRITE"));
    bench_close(&k);
}

static void test_hazard_between_kernels(void **state) {
    (void)state;
    check_hazard(between_kernels, false);
}

static void test_hazard_between_kernels_with_texels(void **state) {
    (void)state;
    check_hazard(between_kernels, true);
}

static void test_hazard_between_a_kernel_and_a_copy(void **state) {
    (void)state;
    check_hazard(between_a_kernel_and_a_copy, false);
}

static void test_hazard_between_submissions(void **state) {
    (void)state;
    check_hazard(between_submissions, false);
}

static void check_access_past_a_range(bool texels) {
    if (!test_layer_installed() || (texels && !reads_texels())) skip();
    if (!test_bears_gpu_validation()) skip();
    for (uint32_t past = 0; past < 2; past++) {
        tuff_device *device = open_with(TUFF_VALIDATION_GPU);
        buffer *b, *to;
        dispatch_set *set;
        commands *c;
        queue_point done;
        const char *first = "";
        /* The buffer goes on behind the range: the driver alone would not notice. */
        ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 4096, "tensors", &b));
        ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 4096, "copy", &to));
        const dispatch d = texels
                               ? texels_dispatch((buffer_range){ b, 0, 1024 }, (buffer_range){ to, 0, 1024 }, 64, past)
                               : fill_dispatch((buffer_range){ b, 0, 1024 }, 1, 256 + past);
        if (past) begin_mistake();
        ASSERT_OK(dispatch_set_create(device, &d, 1, "past the end", &set));
        ASSERT_OK(commands_create(device, "c", &c));
        ASSERT_OK(commands_begin(c));
        commands_dispatch(c, set, 0);
        ASSERT_OK(commands_end(c));
        ASSERT_OK(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
        ASSERT_OK(tuff_device_wait(device));
        commands_destroy(c);
        dispatch_set_destroy(set);
        buffer_destroy(b);
        buffer_destroy(to);
        tuff_device_close(device);
        if (!past) continue;
        if (end_mistake(&first) == 0) fail_msg("the layer did not report the access past the range");
        if (!strstr(first, "out of bounds") && !strstr(first, "OOB") && !strstr(first, "storageBuffers"))
            fail_msg("another message came first: %s", first);
    }
}

static void test_access_past_a_range(void **state) {
    (void)state;
    check_access_past_a_range(false);
}

static void test_texel_past_a_range(void **state) {
    (void)state;
    check_access_past_a_range(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hazard_between_kernels),
        cmocka_unit_test(test_hazard_between_kernels_with_texels),
        cmocka_unit_test(test_hazard_between_a_kernel_and_a_copy),
        cmocka_unit_test(test_hazard_between_submissions),
        cmocka_unit_test(test_access_past_a_range),
        cmocka_unit_test(test_texel_past_a_range),
    };
    return cmocka_run_group_tests_name("device validation", tests, NULL, NULL);
}
