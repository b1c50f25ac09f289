/* What the tests of the device share. */
#ifndef TUFF_TESTS_DEVICE_TEST_H
#define TUFF_TESTS_DEVICE_TEST_H

#include "runtime/device/device.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ASSERT_OK(call)                                                                                                \
    do {                                                                                                               \
        if ((call) != TUFF_OK) fail_msg("%s: %s", #call, tuff_last_message());                                         \
    } while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Fails with `result`, and the message contains `part`. */
#define ASSERT_FAILS(call, result, part)                                                                               \
    do {                                                                                                               \
        assert_int_equal(call, result);                                                                                \
        if (!strstr(tuff_last_message(), part)) fail_msg("\"%s\" is not in: %s", part, tuff_last_message());           \
    } while (0)

/* FILL of `count` words in a range, 64 for each workgroup. */
static inline dispatch fill_dispatch(buffer_range range, uint32_t word, uint32_t count) {
    return (dispatch){ .kernel = KERNEL_FILL,
                       .bindings = { range },
                       .binding_count = 1,
                       .params = { word, count },
                       .param_count = 2,
                       .groups = { (count + 63) / 64, 1, 1 },
                       .label = "fill" };
}

/* Fills with the kernel and waits. */
static inline void run_fill(tuff_device *device, buffer_range range, uint32_t word) {
    const dispatch d = fill_dispatch(range, word, (uint32_t)(range.size / 4));
    dispatch_set *set;
    commands *c;
    queue_point done;
    ASSERT_OK(dispatch_set_create(device, &d, 1, "test", &set));
    ASSERT_OK(commands_create(device, "test", &c));
    ASSERT_OK(commands_begin(c));
    commands_barrier(c, USE_COPY_WRITE | USE_KERNEL_WRITE, USE_KERNEL_READ | USE_KERNEL_WRITE);
    commands_dispatch(c, set, 0);
    commands_barrier(c, USE_KERNEL_WRITE,
                     USE_KERNEL_READ | USE_KERNEL_WRITE | USE_COPY_READ | USE_COPY_WRITE | USE_HOST_READ);
    ASSERT_OK(commands_end(c));
    ASSERT_OK(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
    ASSERT_OK(queue_wait(device, done));
    commands_destroy(c);
    dispatch_set_destroy(set);
}

/* All words of a range are `word`. */
static inline void assert_filled(tuff_device *device, buffer_range range, uint32_t word) {
    uint32_t *words = malloc(range.size);
    assert_non_null(words);
    ASSERT_OK(device_download(device, range, words));
    for (uint64_t i = 0; i < range.size / 4; i++)
        if (words[i] != word) fail_msg("word %llu is %x, not %x", (unsigned long long)i, words[i], word);
    free(words);
}

#endif
