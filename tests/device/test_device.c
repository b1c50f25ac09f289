/* Buffers, kernels, copies, queues and counters of one device. */
#include "runtime/device/device.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;

#define ASSERT_OK(call)                                                                                                \
    do {                                                                                                               \
        if ((call) != TUFF_OK) fail_msg("%s: %s", #call, tuff_last_message());                                         \
    } while (0)

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

static dispatch fill_dispatch(buffer_range range, uint32_t word, uint32_t count) {
    return (dispatch){ .kernel = KERNEL_FILL,
                       .bindings = { range },
                       .binding_count = 1,
                       .params = { word, count },
                       .param_count = 2,
                       .groups = { (count + 63) / 64, 1, 1 },
                       .label = "fill" };
}

/* Runs a list of dispatches one after another, with a barrier between them, and waits. */
static void run(const dispatch *list, uint32_t count) {
    dispatch_set *set;
    commands *c;
    queue_point done;
    ASSERT_OK(dispatch_set_create(device, list, count, "test", &set));
    ASSERT_OK(commands_create(device, "test", &c));
    ASSERT_OK(commands_begin(c));
    commands_barrier(c, USE_COPY_WRITE | USE_KERNEL_WRITE, USE_KERNEL_READ | USE_KERNEL_WRITE);
    for (uint32_t i = 0; i < count; i++) {
        commands_dispatch(c, set, i);
        commands_barrier(c, USE_KERNEL_WRITE, USE_KERNEL_READ | USE_KERNEL_WRITE | USE_COPY_READ | USE_HOST_READ);
    }
    ASSERT_OK(commands_end(c));
    ASSERT_OK(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
    ASSERT_OK(queue_wait(device, done));
    assert_true(queue_reached(device, done));
    commands_destroy(c);
    dispatch_set_destroy(set);
}

static void test_fill_kernel(void **state) {
    (void)state;
    static const uint32_t counts[] = { 1, 3, 63, 64, 65, 1000, 4099 };
    for (uint32_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint32_t count = counts[i];
        uint32_t *words = calloc(count + 16, 4);
        buffer *b;
        ASSERT_OK(buffer_create(device, BUFFER_DEVICE, (count + 16) * 4, "filled", &b));
        ASSERT_OK(device_fill(device, (buffer_range){ b, 0, (count + 16) * 4 }, 7));
        dispatch d = fill_dispatch((buffer_range){ b, 0, count * 4 }, 0xabcd0000u + i, count);
        run(&d, 1);
        ASSERT_OK(device_download(device, (buffer_range){ b, 0, (count + 16) * 4 }, words));
        for (uint32_t k = 0; k < count; k++) assert_int_equal(words[k], 0xabcd0000u + i);
        for (uint32_t k = count; k < count + 16; k++) assert_int_equal(words[k], 7);
        buffer_destroy(b);
        free(words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fill_kernel, open_device, close_device),
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
