/* Kernels, dispatch sets, copies, timestamps, labels and queues. */
#include "device_test.h"

static tuff_device *device;

static int open_device(void **state) {
    (void)state;
    device = test_device_open(NULL);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    tuff_device_close(device);
    device = NULL;
    return 0;
}

static void test_fill_kernel(void **state) {
    (void)state;
    static const uint32_t counts[] = { 1, 3, 63, 64, 65, 1000, 4099 };
    for (uint32_t i = 0; i < COUNT(counts); i++) {
        uint64_t size = counts[i] * 4;
        buffer *b;
        ASSERT_OK(buffer_create(device, BUFFER_DEVICE, size + 64, "filled", &b));
        ASSERT_OK(device_fill(device, (buffer_range){ b, 0, size + 64 }, 7));
        run_fill(device, (buffer_range){ b, 0, size }, 0xabcd0000u + i);
        assert_filled(device, (buffer_range){ b, 0, size }, 0xabcd0000u + i);
        assert_filled(device, (buffer_range){ b, size, 64 }, 7);
        buffer_destroy(b);
    }
}

/* A set of many dispatches on ranges of one buffer, recorded once, run three times: only submissions count. */
static void test_dispatch_set(void **state) {
    (void)state;
    enum { COUNT_ = 100 };
    uint64_t step = device_get_limits(device)->range_alignment * 2;
    dispatch list[COUNT_];
    buffer *b;
    dispatch_set *set, *again;
    commands *c;
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, COUNT_ * step, "b", &b));
    for (uint32_t i = 0; i < COUNT_; i++) {
        list[i] = fill_dispatch((buffer_range){ b, i * step, step - 4 }, i, (uint32_t)(step / 4) - 1);
        list[i].label = i % 2 ? NULL : "named";
    }
    tuff_device_counters before, after;
    tuff_device_get_counters(device, &before);
    ASSERT_OK(dispatch_set_create(device, list, COUNT_, "set", &set));
    ASSERT_OK(dispatch_set_create(device, list, 1, NULL, &again));
    tuff_device_get_counters(device, &after);
    assert_int_equal(dispatch_set_pipelines(set), 1);
    assert_int_equal(after.pipelines - before.pipelines, 1);
    /* another value of a specialization constant is another pipeline, the same one is not */
    list[0].constant_count = list[1].constant_count = list[2].constant_count = 2;
    list[1].constants[1] = 5;
    list[2].constants[1] = 5;
    dispatch_set *special;
    ASSERT_OK(dispatch_set_create(device, list, 4, "special", &special));
    assert_int_equal(dispatch_set_pipelines(special), 3);
    tuff_device_get_counters(device, &after);
    assert_int_equal(after.pipelines - before.pipelines, 3);
    dispatch_set_destroy(special);
    dispatch_set_destroy(again);

    ASSERT_OK(device_fill(device, (buffer_range){ b, 0, COUNT_ * step }, 0xffffffffu));
    ASSERT_OK(commands_create(device, "c", &c));
    ASSERT_OK(commands_begin(c));
    commands_label_begin(c, "level 0");
    commands_barrier(c, USE_COPY_WRITE | USE_KERNEL_WRITE, USE_KERNEL_READ | USE_KERNEL_WRITE);
    for (uint32_t i = 0; i < COUNT_; i++) commands_dispatch(c, set, i);
    commands_label_end(c);
    ASSERT_OK(commands_end(c));
    tuff_device_get_counters(device, &before);
    queue_point done;
    for (uint32_t i = 0; i < 3; i++) {
        ASSERT_OK(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
        ASSERT_OK(queue_wait(device, done));
    }
    tuff_device_get_counters(device, &after);
    assert_int_equal(after.submissions - before.submissions, 3);
    before.submissions = after.submissions;
    assert_memory_equal(&before, &after, sizeof before);
    for (uint32_t i = 0; i < COUNT_; i++) {
        assert_filled(device, (buffer_range){ b, i * step, step - 4 }, i);
        assert_filled(device, (buffer_range){ b, i * step + step - 4, 4 }, 0xffffffffu);
    }
    commands_destroy(c);
    dispatch_set_destroy(set);
    dispatch_set_destroy(NULL);
    buffer_destroy(b);
}

static void test_bad_dispatches(void **state) {
    (void)state;
    buffer *b;
    dispatch_set *set;
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 4096, "b", &b));
    const dispatch good = fill_dispatch((buffer_range){ b, 0, 1024 }, 0, 256);
    dispatch d = good;
    d.bindings[0].offset = 4;
    ASSERT_FAILS(dispatch_set_create(device, &d, 1, "s", &set), TUFF_ERROR_ARGUMENT, "no multiple of");
    d = good;
    d.bindings[0].size = 1022;
    ASSERT_FAILS(dispatch_set_create(device, &d, 1, "s", &set), TUFF_ERROR_ARGUMENT, "fill: the range");
    d = good;
    d.bindings[0].size = 4100;
    ASSERT_FAILS(dispatch_set_create(device, &d, 1, "s", &set), TUFF_ERROR_ARGUMENT, "4100");
    d = good;
    d.bindings[0].buffer = NULL;
    ASSERT_FAILS(dispatch_set_create(device, &d, 1, "s", &set), TUFF_ERROR_ARGUMENT, "no buffer");
    d = good;
    d.groups[1] = 0;
    ASSERT_FAILS(dispatch_set_create(device, &d, 1, "s", &set), TUFF_ERROR_ARGUMENT, "workgroups");
    d = good;
    d.groups[2] = MAX_GROUPS + 1;
    ASSERT_FAILS(dispatch_set_create(device, &d, 1, "s", &set), TUFF_ERROR_ARGUMENT, "65536");
    d = good;
    d.binding_count = 0;
    ASSERT_FAILS(dispatch_set_create(device, &d, 1, "s", &set), TUFF_ERROR_ARGUMENT, "bindings");
    d = good;
    d.kernel = KERNEL_COUNT;
    ASSERT_FAILS(dispatch_set_create(device, &d, 1, "s", &set), TUFF_ERROR_ARGUMENT, "no kernel");
    const dispatch second_bad[] = { good, d };
    ASSERT_FAILS(dispatch_set_create(device, second_bad, 2, "s", &set), TUFF_ERROR_ARGUMENT, "no kernel");
    assert_null(set);
    ASSERT_OK(dispatch_set_create(device, NULL, 0, "empty", &set));

    commands *c;
    ASSERT_OK(commands_create(device, "c", &c));
    ASSERT_OK(commands_begin(c));
    commands_dispatch(c, set, 0);
    ASSERT_FAILS(commands_end(c), TUFF_ERROR_ARGUMENT, "dispatch 0 of \"empty\"");
    queue_point done;
    assert_int_equal(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done), TUFF_ERROR_ARGUMENT);
    ASSERT_OK(commands_begin(c));
    commands_copy(c, (buffer_range){ b, 0, 16 }, (buffer_range){ b, 64, 32 });
    ASSERT_FAILS(commands_end(c), TUFF_ERROR_ARGUMENT, "16 bytes to 32");
    commands_destroy(c);
    dispatch_set_destroy(set);
    buffer_destroy(b);
}

static void test_dispatch_part(void **state) {
    (void)state;
    buffer *b;
    dispatch_set *set;
    commands *c;
    queue_point done;
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 256 * 4, "b", &b));
    ASSERT_OK(device_fill(device, (buffer_range){ b, 0, 256 * 4 }, 1));
    const dispatch d = fill_dispatch((buffer_range){ b, 0, 256 * 4 }, 2, 256);
    ASSERT_OK(dispatch_set_create(device, &d, 1, "s", &set));
    ASSERT_OK(commands_create(device, "c", &c));
    ASSERT_OK(commands_begin(c));
    commands_barrier(c, USE_COPY_WRITE, USE_KERNEL_WRITE);
    commands_dispatch_part(c, set, 0, (uint32_t[]){ 2, 0, 0 }, (uint32_t[]){ 2, 1, 1 });
    ASSERT_OK(commands_end(c));
    ASSERT_OK(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
    ASSERT_OK(queue_wait(device, done));
    assert_filled(device, (buffer_range){ b, 0, 128 * 4 }, 1);
    assert_filled(device, (buffer_range){ b, 128 * 4, 128 * 4 }, 2);
    commands_destroy(c);
    dispatch_set_destroy(set);
    buffer_destroy(b);
}

static void test_copies(void **state) {
    (void)state;
    buffer *a, *b;
    commands *c;
    queue_point done;
    uint32_t words[256], back[256];
    for (uint32_t i = 0; i < 256; i++) words[i] = i;
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 1024, "a", &a));
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 1024, "b", &b));
    ASSERT_OK(device_upload(device, (buffer_range){ a, 0, 1024 }, words));
    ASSERT_OK(commands_create(device, "c", &c));
    ASSERT_OK(commands_begin(c));
    commands_barrier(c, USE_COPY_WRITE, USE_COPY_READ | USE_COPY_WRITE);
    commands_fill(c, (buffer_range){ b, 0, 1024 }, 77);
    commands_barrier(c, USE_COPY_WRITE, USE_COPY_WRITE);
    commands_copy(c, (buffer_range){ a, 4, 500 }, (buffer_range){ b, 100, 500 });
    ASSERT_OK(commands_end(c));
    ASSERT_OK(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
    ASSERT_OK(device_download(device, (buffer_range){ b, 0, 1024 }, back)); /* waits by itself */
    for (uint32_t i = 0; i < 256; i++) assert_int_equal(back[i], i >= 25 && i < 150 ? i - 25 + 1 : 77);
    commands_destroy(c);
    buffer_destroy(a);
    buffer_destroy(b);
}

static void test_timestamps(void **state) {
    (void)state;
    timestamps *t;
    double times[2];
    if (device_get_limits(device)->timestamp_period == 0) {
        ASSERT_FAILS(timestamps_create(device, 2, &t), TUFF_ERROR_UNSUPPORTED, "no timestamps");
        return;
    }
    buffer *b;
    commands *c;
    queue_point done;
    ASSERT_OK(timestamps_create(device, 2, &t));
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 8 << 20, "b", &b));
    ASSERT_OK(commands_create(device, "c", &c));
    ASSERT_OK(commands_begin(c));
    commands_timestamp(c, t, 0);
    commands_fill(c, (buffer_range){ b, 0, 8 << 20 }, 1);
    commands_timestamp(c, t, 1);
    ASSERT_OK(commands_end(c));
    for (uint32_t i = 0; i < 2; i++) {
        ASSERT_OK(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
        ASSERT_OK(queue_wait(device, done));
        ASSERT_OK(timestamps_read(t, times));
        assert_true(times[1] > times[0] && times[1] - times[0] < 10e9);
        if (i) break;
        ASSERT_OK(
            device_fill(device, (buffer_range){ b, 0, 4 }, 0)); /* orders the second run's fill behind the first's */
    }
    commands_destroy(c);
    buffer_destroy(b);
    timestamps_destroy(t);
    timestamps_destroy(NULL);
}

/* Uploads on the transfer queue (where there is one), kernels on the compute queue, ordered by points. */
static void check_two_queues(tuff_device *d) {
    buffer *up, *own;
    commands *copy, *kernel;
    dispatch_set *set;
    queue_point copied, done;
    ASSERT_OK(buffer_create(d, BUFFER_UPLOAD, 4096, "up", &up));
    ASSERT_OK(buffer_create(d, BUFFER_DEVICE, 4096, "own", &own));
    for (uint32_t i = 0; i < 1024; i++) ((uint32_t *)buffer_data(up))[i] = 3;
    buffer_flush(up, 0, 4096);
    const dispatch fill = fill_dispatch((buffer_range){ own, 2048, 2048 }, 4, 512);
    ASSERT_OK(dispatch_set_create(d, &fill, 1, "s", &set));
    ASSERT_OK(commands_create_for(d, QUEUE_TRANSFER, "copy", &copy));
    ASSERT_OK(commands_create(d, "kernel", &kernel));
    ASSERT_OK(commands_begin(copy));
    commands_copy(copy, (buffer_range){ up, 0, 4096 }, (buffer_range){ own, 0, 4096 });
    ASSERT_OK(commands_end(copy));
    ASSERT_OK(commands_begin(kernel));
    commands_dispatch(kernel, set, 0);
    ASSERT_OK(commands_end(kernel));
    ASSERT_OK(queue_submit(d, QUEUE_TRANSFER, &copy, 1, NULL, 0, &copied));
    ASSERT_OK(queue_submit(d, QUEUE_COMPUTE, &kernel, 1, &copied, 1, &done));
    ASSERT_OK(queue_wait(d, done));
    assert_true(queue_reached(d, copied));
    assert_filled(d, (buffer_range){ own, 0, 2048 }, 3);
    assert_filled(d, (buffer_range){ own, 2048, 2048 }, 4);
    if (device_has_transfer_queue(d))
        ASSERT_FAILS(queue_submit(d, QUEUE_TRANSFER, &kernel, 1, NULL, 0, &done), TUFF_ERROR_STATE, "another queue");
    ASSERT_FAILS(queue_wait(d, (queue_point){ QUEUE_COMPUTE, 1000 }), TUFF_ERROR_STATE, "1000");
    assert_true(queue_reached(d, (queue_point){ QUEUE_COMPUTE, 0 }));
    assert_false(queue_reached(d, (queue_point){ QUEUE_COMPUTE, 1000 }));
    ASSERT_OK(tuff_device_wait(d));
    commands_destroy(copy), commands_destroy(kernel);
    dispatch_set_destroy(set);
    buffer_destroy(up), buffer_destroy(own);
}

static void test_two_queues(void **state) {
    (void)state;
    check_two_queues(device);
    tuff_device *one = test_device_open(&(tuff_device_desc){ .force = "transfer=none" });
    assert_false(device_has_transfer_queue(one));
    check_two_queues(one);
    tuff_device_close(one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fill_kernel, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_dispatch_set, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_bad_dispatches, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_dispatch_part, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_copies, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_timestamps, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_two_queues, open_device, close_device),
    };
    return cmocka_run_group_tests_name("device commands", tests, NULL, NULL);
}
