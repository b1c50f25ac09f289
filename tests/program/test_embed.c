/* A program in a host's own command buffers, on a device that the host lends: the same bits as tuff_run. */
#include "host.h"
#include "small_step.h"
#include "support.h"

static test_host host;
static tuff_device *device;
static VkCommandPool pool;
static VkSemaphore timeline;
static uint64_t timeline_value;

static const float half = 0.5f;

static VkCommandBuffer begin_commands(void) {
    const VkCommandBufferAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                               .commandPool = pool,
                                               .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                               .commandBufferCount = 1 };
    VkCommandBuffer commands;
    assert_int_equal(host.AllocateCommandBuffers(host.device, &info, &commands), VK_SUCCESS);
    const VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                             .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT };
    assert_int_equal(host.BeginCommandBuffer(commands, &begin), VK_SUCCESS);
    return commands;
}

/* Submits and signals the next value of the timeline. */
static uint64_t submit(VkCommandBuffer commands) {
    assert_int_equal(host.EndCommandBuffer(commands), VK_SUCCESS);
    uint64_t value = ++timeline_value;
    const VkTimelineSemaphoreSubmitInfo values = { .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                                   .signalSemaphoreValueCount = 1,
                                                   .pSignalSemaphoreValues = &value };
    const VkSubmitInfo info = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                .pNext = &values,
                                .commandBufferCount = 1,
                                .pCommandBuffers = &commands,
                                .signalSemaphoreCount = 1,
                                .pSignalSemaphores = &timeline };
    assert_int_equal(host.QueueSubmit(host.queue, 1, &info, VK_NULL_HANDLE), VK_SUCCESS);
    return value;
}

/* One run, all segments in one command buffer or each in one of its own. */
static void run_foreign(small_step *step, bool apart) {
    uint32_t ticket, segments = tuff_program_segment_count(step->program);
    ASSERT_OK(tuff_program_begin(step->program, &ticket));
    VkCommandBuffer commands = begin_commands();
    for (uint32_t s = 0; s < segments; s++) {
        ASSERT_OK(tuff_program_record(step->program, ticket, s, commands));
        if (!apart || s == segments - 1) continue;
        submit(commands);
        commands = begin_commands();
    }
    uint64_t value = submit(commands);
    ASSERT_OK(tuff_program_end(step->program, ticket, timeline, value));
}

static void write_batch(small_step *step, uint32_t i) {
    float x[STEP_WIDTH];
    small_step_batch(i, x);
    ASSERT_OK(tuff_write(step->program, &step->x, x, sizeof x));
}

static void check_foreign(tuff_device *on) {
    for (uint32_t way = 0; way < 3; way++) {
        small_step step;
        small_step_values got, expected;
        small_step_open(&step, on, &(program_options){ .replay_seed = way == 2 ? 7 : 0 });
        ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
        for (uint32_t i = 0; i < 10; i++) { /* now and then Tuff's own way, in between */
            write_batch(&step, i);
            if (i % 4 == 3)
                ASSERT_OK(tuff_run(step.program));
            else
                run_foreign(&step, way > 0);
            if (i != 4) continue;
            ASSERT_OK(tuff_read(step.program, &step.y, got.y, sizeof got.y));
            small_step_expect(i + 1, &expected);
            assert_memory_equal(got.y, expected.y, sizeof got.y);
        }
        small_step_read(&step, &got);
        small_step_expect(10, &expected);
        assert_memory_equal(&got, &expected, sizeof got);
        assert_int_equal(step.optimizer.step_count, 10);
        small_step_close(&step);
    }
}

static void test_same_bits(void **state) {
    (void)state;
    check_foreign(device);
}

static void test_same_bits_staged(void **state) {
    (void)state;
    tuff_device *staged;
    tuff_vulkan_device_desc desc = test_host_desc(&host);
    desc.force = "staging";
    ASSERT_OK(tuff_device_adopt(&desc, &staged));
    check_foreign(staged);
    tuff_device_close(staged);
}

static void test_recording_allocates_nothing(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    write_batch(&step, 0);
    tuff_device_counters before, after;
    tuff_device_get_counters(device, &before);
    for (uint32_t i = 0; i < 5; i++) run_foreign(&step, true);
    tuff_device_get_counters(device, &after);
    assert_int_equal(after.objects, before.objects);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.pipelines, before.pipelines);
    small_step_close(&step);
}

static void test_errors(void **state) {
    (void)state;
    small_step step;
    small_step_open(&step, device, NULL);
    uint32_t ticket, second, third;
    ASSERT_FAILS(tuff_program_begin(step.program, &ticket), TUFF_ERROR_STATE, "'x' was never written");
    ASSERT_OK(tuff_write(step.program, &step.bias, &half, sizeof half));
    write_batch(&step, 0);
    ASSERT_OK(tuff_program_begin(step.program, &ticket));
    VkCommandBuffer commands = begin_commands();
    ASSERT_FAILS(tuff_program_record(step.program, ticket, 3, commands), TUFF_ERROR_ARGUMENT, "segment 3");
    ASSERT_FAILS(tuff_program_record(step.program, ticket + 1, 0, commands), TUFF_ERROR_STATE, "ticket");
    ASSERT_FAILS(tuff_program_record(step.program, ticket, 0, NULL), TUFF_ERROR_ARGUMENT, "VK_NULL_HANDLE");
    ASSERT_OK(tuff_program_record(step.program, ticket, 0, commands));
    ASSERT_FAILS(tuff_program_end(step.program, ticket, timeline, 1), TUFF_ERROR_STATE, "segment 1");
    ASSERT_OK(tuff_program_begin(step.program, &second));
    ASSERT_FAILS(tuff_program_begin(step.program, &third), TUFF_ERROR_STATE, "all 2 recordings");
    ASSERT_FAILS(tuff_run(step.program), TUFF_ERROR_STATE, "all 2 recordings");
    float x[STEP_WIDTH] = { 0 };
    ASSERT_FAILS(tuff_write(step.program, &step.x, x, sizeof x), TUFF_ERROR_STATE, "all 2 recordings");
    ASSERT_OK(tuff_program_record(step.program, ticket, 1, commands));
    ASSERT_OK(tuff_program_record(step.program, ticket, 2, commands));
    for (uint32_t s = 0; s < 3; s++) ASSERT_OK(tuff_program_record(step.program, second, s, commands));
    uint64_t value = submit(commands);
    ASSERT_FAILS(tuff_program_end(step.program, ticket, VK_NULL_HANDLE, value), TUFF_ERROR_ARGUMENT, "done");
    ASSERT_OK(tuff_program_end(step.program, ticket, timeline, value));
    ASSERT_OK(tuff_program_end(step.program, second, timeline, value));
    ASSERT_FAILS(tuff_program_end(step.program, ticket, timeline, value), TUFF_ERROR_STATE, "ticket");
    ASSERT_OK(tuff_read(step.program, &step.y, x, sizeof x));
    small_step_close(&step);
}

int main(void) {
    test_host_open(&host);
    tuff_vulkan_device_desc desc = test_host_desc(&host);
    if (tuff_device_adopt(&desc, &device) != TUFF_OK) {
        fprintf(stderr, "%s\n", tuff_last_message());
        return 1;
    }
    const VkCommandPoolCreateInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                           .queueFamilyIndex = host.queue_family };
    const VkSemaphoreTypeCreateInfo type = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                             .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE };
    const VkSemaphoreCreateInfo semaphore = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type };
    if (host.CreateCommandPool(host.device, &info, NULL, &pool) != VK_SUCCESS
        || host.CreateSemaphore(host.device, &semaphore, NULL, &timeline) != VK_SUCCESS)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_same_bits_staged),
        cmocka_unit_test(test_recording_allocates_nothing),
        cmocka_unit_test(test_errors),
    };
    int failed = cmocka_run_group_tests_name("embed", tests, NULL, NULL);
    tuff_device_close(device);
    host.DestroySemaphore(host.device, timeline, NULL);
    host.DestroyCommandPool(host.device, pool, NULL);
    test_host_close(&host);
    return failed;
}
