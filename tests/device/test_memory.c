/* Memory: sub-allocation, budgets, and transfers of all sizes. */
#include "device_test.h"

#include <stdio.h>

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

static uint32_t random_state = 12345;
static uint32_t next_random(void) {
    return random_state = random_state * 1664525u + 1013904223u;
}

/* Buffers come and go; each is filled whole with its own word, and none may overwrite another. */
static void test_buffers_do_not_overlap(void **state) {
    (void)state;
    enum { SLOTS = 60, ROUNDS = 240 };
    struct {
        buffer *b;
        uint32_t word;
    } slots[SLOTS] = { { 0 } };
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        uint32_t i = (next_random() >> 8) % SLOTS;
        if (slots[i].b) {
            assert_filled(device, (buffer_range){ slots[i].b, 0, buffer_size(slots[i].b) }, slots[i].word);
            buffer_destroy(slots[i].b);
            slots[i].b = NULL;
        } else {
            uint64_t size = 1 + (next_random() >> 8) % ((next_random() >> 8) % 8 ? 3000 : 700000);
            buffer_kind kind = (buffer_kind)((next_random() >> 8) % 3);
            ASSERT_OK(buffer_create(device, kind, size, "slot", &slots[i].b));
            assert_true(buffer_size(slots[i].b) >= size && buffer_size(slots[i].b) < size + 16);
            assert_int_equal(buffer_size(slots[i].b) % 16, 0);
            slots[i].word = round;
            ASSERT_OK(device_fill(device, (buffer_range){ slots[i].b, 0, buffer_size(slots[i].b) }, round));
        }
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        if (slots[i].b) {
            assert_filled(device, (buffer_range){ slots[i].b, 0, buffer_size(slots[i].b) }, slots[i].word);
            buffer_destroy(slots[i].b);
        }
}

static void test_few_allocations(void **state) {
    (void)state;
    tuff_device_counters before, during, after;
    buffer *list[200];
    tuff_device_get_counters(device, &before);
    for (uint32_t i = 0; i < COUNT(list); i++)
        ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 5000 + i, "small", &list[i]));
    tuff_device_get_counters(device, &during);
    assert_int_equal(during.allocations - before.allocations, 1);
    for (uint32_t i = 0; i < COUNT(list); i++) buffer_destroy(list[(i * 77) % COUNT(list)]);
    tuff_device_get_counters(device, &after);
    assert_int_equal(after.allocated_bytes, before.allocated_bytes); /* the empty block was given back */

    buffer *large;
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 50 << 20, "large", &large));
    tuff_device_get_counters(device, &during);
    assert_int_equal(during.allocated_bytes - before.allocated_bytes, 50 << 20); /* one of its own, of its size */
    buffer_destroy(large);
    tuff_device_get_counters(device, &after);
    assert_int_equal(after.allocated_bytes, before.allocated_bytes);
}

static void check_budget(tuff_device *limited) {
    buffer *small, *large = NULL;
    ASSERT_OK(buffer_create(limited, BUFFER_DEVICE, 1 << 20, "small", &small));
    uint64_t available = device_memory_available(limited);
    assert_true(available < 32 << 20);
    ASSERT_FAILS(buffer_create(limited, BUFFER_DEVICE, 48 << 20, "much", &large), TUFF_ERROR_MEMORY, "50331648");
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)available);
    assert_non_null(strstr(tuff_last_message(), text));
    assert_non_null(strstr(tuff_last_message(), "much"));
    assert_null(large);
    /* and it still works, up to the last bytes */
    ASSERT_OK(buffer_create(limited, BUFFER_DEVICE, 16 << 20, "fits", &large));
    run_fill(limited, (buffer_range){ large, 0, 1 << 20 }, 11);
    run_fill(limited, (buffer_range){ small, 0, 1 << 20 }, 12);
    assert_filled(limited, (buffer_range){ large, 0, 1 << 20 }, 11);
    assert_filled(limited, (buffer_range){ small, 0, 1 << 20 }, 12);
    buffer_destroy(large);
    buffer_destroy(small);
    tuff_device_close(limited);
}

static void test_budget(void **state) {
    (void)state;
    check_budget(test_device_open(&(tuff_device_desc){ .memory_budget = 40 << 20 }));
    check_budget(test_device_open(&(tuff_device_desc){ .force = "memory=41943040" }));
    check_budget(test_device_open(&(tuff_device_desc){ .force = " staging, memory=41943040" }));
}

static void test_too_large(void **state) {
    (void)state;
    buffer *b;
    ASSERT_FAILS(buffer_create(device, BUFFER_DEVICE, UINT64_C(1) << 60, "huge", &b), TUFF_ERROR_MEMORY,
                 "1152921504606846976");
    ASSERT_FAILS(buffer_create(device, BUFFER_DEVICE, UINT64_MAX, "huge", &b), TUFF_ERROR_MEMORY, "available");
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 0, "empty", &b));
    assert_int_equal(buffer_size(b), 16);
    buffer_destroy(b);
    buffer_destroy(NULL);
}

static void check_transfers(tuff_device *d) {
    static const struct {
        uint64_t offset, size;
    } ranges[] = { { 0, 4 }, { 4, 4 }, { 12, 1000 }, { 65532, 65540 }, { 20, 17 << 20 }, { 0, 40 << 20 } };
    buffer *b;
    ASSERT_OK(buffer_create(d, BUFFER_DEVICE, 40 << 20, "b", &b));
    uint32_t *up = malloc(40 << 20), *down = malloc(40 << 20);
    assert_true(up && down);
    for (uint32_t i = 0; i < COUNT(ranges); i++) {
        buffer_range range = { b, ranges[i].offset, ranges[i].size };
        for (uint64_t k = 0; k < range.size / 4; k++) up[k] = next_random();
        ASSERT_OK(device_fill(d, (buffer_range){ b, 0, 40 << 20 }, 9));
        ASSERT_OK(device_upload(d, range, up));
        ASSERT_OK(device_download(d, range, down));
        assert_memory_equal(up, down, range.size);
        if (range.offset) assert_filled(d, (buffer_range){ b, 0, range.offset }, 9);
        uint64_t end = range.offset + range.size;
        if (end < 40 << 20) assert_filled(d, (buffer_range){ b, end, (40 << 20) - end }, 9);
    }
    ASSERT_FAILS(device_upload(d, (buffer_range){ b, 0, 41 << 20 }, up), TUFF_ERROR_ARGUMENT,
                 "does not lie in its buffer");
    ASSERT_FAILS(device_upload(d, (buffer_range){ b, 2, 4 }, up), TUFF_ERROR_ARGUMENT, "multiple of 4");
    ASSERT_FAILS(device_download(d, (buffer_range){ b, UINT64_MAX - 3, 8 }, up), TUFF_ERROR_ARGUMENT, "does not lie");
    free(up), free(down);
    buffer_destroy(b);
}

static void test_transfers(void **state) {
    (void)state;
    check_transfers(device);
    tuff_device *staged = test_device_open(&(tuff_device_desc){ .force = "staging" });
    assert_false(device_get_limits(staged)->direct);
    check_transfers(staged);
    tuff_device_close(staged);
}

/* The host writes and reads mapped buffers itself, kernels run in between. */
static void check_mapped(tuff_device *d) {
    buffer *up, *down, *own;
    commands *c;
    queue_point done;
    ASSERT_OK(buffer_create(d, BUFFER_UPLOAD, 4096, "up", &up));
    ASSERT_OK(buffer_create(d, BUFFER_READBACK, 4096, "down", &down));
    ASSERT_OK(buffer_create(d, BUFFER_DEVICE, 4096, "own", &own));
    assert_non_null(buffer_data(up));
    assert_non_null(buffer_data(down));
    if (device_get_limits(d)->direct)
        assert_non_null(buffer_data(own));
    else
        assert_null(buffer_data(own));
    for (uint32_t i = 0; i < 1024; i++) ((uint32_t *)buffer_data(up))[i] = i * 3;
    buffer_flush(up, 0, 4096);
    ASSERT_OK(commands_create(d, "mapped", &c));
    ASSERT_OK(commands_begin(c));
    commands_copy(c, (buffer_range){ up, 0, 4096 }, (buffer_range){ own, 0, 4096 });
    commands_barrier(c, USE_COPY_WRITE, USE_COPY_READ);
    commands_copy(c, (buffer_range){ own, 0, 4096 }, (buffer_range){ down, 0, 4096 });
    commands_barrier(c, USE_COPY_WRITE, USE_HOST_READ);
    ASSERT_OK(commands_end(c));
    ASSERT_OK(queue_submit(d, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
    ASSERT_OK(queue_wait(d, done));
    buffer_invalidate(down, 0, 4096);
    for (uint32_t i = 0; i < 1024; i++) assert_int_equal(((uint32_t *)buffer_data(down))[i], i * 3);
    commands_destroy(c);
    buffer_destroy(up), buffer_destroy(down), buffer_destroy(own);
}

static void test_mapped(void **state) {
    (void)state;
    check_mapped(device);
    tuff_device *staged = test_device_open(&(tuff_device_desc){ .force = "staging" });
    check_mapped(staged);
    tuff_device_close(staged);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_buffers_do_not_overlap, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_few_allocations, open_device, close_device),
        cmocka_unit_test(test_budget),
        cmocka_unit_test_setup_teardown(test_too_large, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_transfers, open_device, close_device),
        cmocka_unit_test_setup_teardown(test_mapped, open_device, close_device),
    };
    return cmocka_run_group_tests_name("device memory", tests, NULL, NULL);
}
