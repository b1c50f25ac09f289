/* Opening, choosing and listing devices, several at once, and a host's. */
#include "device_test.h"
#include "host.h"

#include <pthread.h>
#include <stdio.h>

static void test_list(void **state) {
    (void)state;
    uint32_t count = 0, chosen = 0;
    ASSERT_OK(tuff_device_list(NULL, NULL, &count));
    assert_true(count > 0);
    tuff_device_info *infos = calloc(count, sizeof *infos);
    ASSERT_OK(tuff_device_list(NULL, infos, &count));
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(infos[i].index, i);
        assert_true(infos[i].name[0] && infos[i].reason[0]);
        assert_true(infos[i].heap_count > 0 && infos[i].feature_count > 10);
        chosen += infos[i].chosen;
        for (uint32_t k = 0; k < infos[i].feature_count; k++)
            assert_true(infos[i].features[k].name[0] && infos[i].features[k].use[0]);
    }
    assert_int_equal(chosen, 1);
    /* room for none: the number is told all the same */
    uint32_t number = 0;
    tuff_device_info untouched = { .index = 99 };
    ASSERT_OK(tuff_device_list(NULL, &untouched, &number));
    assert_int_equal(number, count);
    assert_int_equal(untouched.index, 99);
    assert_int_equal(tuff_device_list(NULL, NULL, NULL), TUFF_ERROR_ARGUMENT);
    free(infos);
}

static void test_select(void **state) {
    (void)state;
    uint32_t count = 16;
    tuff_device_info infos[16];
    ASSERT_OK(tuff_device_list(NULL, infos, &count));
    for (uint32_t i = 0; i < count && i < 16; i++) {
        if (!infos[i].suitable) continue;
        char index[16], uuid[40] = "", upper[256];
        snprintf(index, sizeof index, "%u", i);
        tuff_device *device = test_device_open(&(tuff_device_desc){ .select = index });
        assert_int_equal(tuff_device_get_info(device)->index, i);
        tuff_device_close(device);

        for (uint32_t k = 0; k < 16; k++) snprintf(uuid + k * 2, 3, "%02X", infos[i].uuid[k]);
        device = test_device_open(&(tuff_device_desc){ .select = uuid });
        assert_memory_equal(tuff_device_get_info(device)->uuid, infos[i].uuid, 16);
        tuff_device_close(device);

        snprintf(upper, sizeof upper, "%.5s", infos[i].name); /* a part of the name, in capitals */
        for (char *c = upper; *c; c++) *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        device = test_device_open(&(tuff_device_desc){ .select = upper });
        assert_int_equal(strncmp(tuff_device_get_info(device)->name, infos[i].name, 5), 0);
        tuff_device_close(device);
    }
}

static void test_select_errors(void **state) {
    (void)state;
    tuff_device *device = NULL;
    tuff_device_info info;
    uint32_t count = 1;
    ASSERT_OK(tuff_device_list(NULL, &info, &count));
    ASSERT_FAILS(tuff_device_open(&(tuff_device_desc){ .select = "no such device" }, &device), TUFF_ERROR_NO_DEVICE,
                 "no such device");
    assert_null(device);
    assert_non_null(strstr(tuff_last_message(), info.name)); /* what there is */
    ASSERT_FAILS(tuff_device_open(&(tuff_device_desc){ .select = "4000000000" }, &device), TUFF_ERROR_NO_DEVICE,
                 "4000000000");
    ASSERT_FAILS(tuff_device_open(&(tuff_device_desc){ .select = "00000000-0000-0000-0000-0000000000ff" }, &device),
                 TUFF_ERROR_NO_DEVICE, "the devices are");
    ASSERT_FAILS(tuff_device_open(&(tuff_device_desc){ .validation = (tuff_validation)7 }, &device),
                 TUFF_ERROR_ARGUMENT, "validation is 7");
    ASSERT_FAILS(tuff_device_open(NULL, NULL), TUFF_ERROR_ARGUMENT, "NULL");
    tuff_device_close(NULL);
}

/* The environment, with what it was put back afterwards. */
static void set_environment(const char *name, const char *value, char **kept) {
    const char *old = getenv(name);
    *kept = old ? strdup(old) : NULL;
    setenv(name, value, 1);
}

static void restore_environment(const char *name, char *kept) {
    if (kept)
        setenv(name, kept, 1);
    else
        unsetenv(name);
    free(kept);
}

static void test_environment(void **state) {
    (void)state;
    tuff_device *device;
    char *kept;
    set_environment("TUFF_VALIDATION", "loud", &kept);
    ASSERT_FAILS(tuff_device_open(NULL, &device), TUFF_ERROR_ARGUMENT, "TUFF_VALIDATION is \"loud\"");
    restore_environment("TUFF_VALIDATION", kept);
    set_environment("TUFF_DEVICE", "nothing like it", &kept);
    ASSERT_FAILS(tuff_device_open(NULL, &device), TUFF_ERROR_NO_DEVICE, "nothing like it");
    device = test_device_open(&(tuff_device_desc){ .select = "0" }); /* the descriptor goes before it */
    tuff_device_close(device);
    restore_environment("TUFF_DEVICE", kept);
    set_environment("TUFF_FORCE", "staging, product = tile,uncached", &kept);
    device = test_device_open(NULL);
    assert_string_equal(device_force(device, "staging"), "1");
    assert_string_equal(device_force(device, "product"), "tile");
    assert_false(device_get_limits(device)->direct);
    tuff_device_close(device);
    restore_environment("TUFF_FORCE", kept);

    /* no driver: the package's name, and all works again afterwards */
    char *kept_other;
    set_environment("VK_ICD_FILENAMES", "/nonexistent.json", &kept);
    set_environment("VK_DRIVER_FILES", "/nonexistent.json", &kept_other);
    uint32_t count = 0;
    ASSERT_FAILS(tuff_device_open(NULL, &device), TUFF_ERROR_NO_DRIVER, "mesa-vulkan-drivers");
    ASSERT_FAILS(tuff_device_list(NULL, NULL, &count), TUFF_ERROR_NO_DRIVER, "mesa-vulkan-drivers");
    restore_environment("VK_ICD_FILENAMES", kept);
    restore_environment("VK_DRIVER_FILES", kept_other);
    tuff_device_close(test_device_open(NULL));
}

static void test_limits(void **state) {
    (void)state;
    tuff_device *device = test_device_open(NULL);
    const device_limits *limits = device_get_limits(device);
    const tuff_device_info *info = tuff_device_get_info(device);
    assert_true(info->suitable && info->chosen && info->reason[0]);
    assert_true(limits->max_range >= 1 << 27 && limits->shared_memory >= 16384);
    assert_true(limits->range_alignment >= 16 && (limits->range_alignment & (limits->range_alignment - 1)) == 0);
    assert_true(limits->max_allocation >= 1 << 28);
    assert_int_equal(limits->cpu, info->type == TUFF_DEVICE_CPU);
    assert_true(limits->subgroup_size >= 1);
    assert_true(device_memory_available(device) > 0);
    tuff_device_close(device);
}

/* ---- several at once --------------------------------------------------------------------------- */

typedef struct worker {
    tuff_device *device;
    uint32_t word;
    bool done;
} worker;

static void *work(void *argument) {
    worker *w = argument;
    for (uint32_t round = 0; round < 10; round++) {
        buffer *b;
        uint32_t words[300];
        if (buffer_create(w->device, BUFFER_DEVICE, sizeof words, "b", &b) != TUFF_OK) return NULL;
        const dispatch d = fill_dispatch((buffer_range){ b, 0, sizeof words }, w->word + round, 300);
        dispatch_set *set = NULL;
        commands *c = NULL;
        queue_point done;
        bool good = dispatch_set_create(w->device, &d, 1, "s", &set) == TUFF_OK
                    && commands_create(w->device, "c", &c) == TUFF_OK && commands_begin(c) == TUFF_OK;
        if (good) commands_dispatch(c, set, 0);
        good = good && commands_end(c) == TUFF_OK
               && queue_submit(w->device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done) == TUFF_OK
               && device_download(w->device, (buffer_range){ b, 0, sizeof words }, words) == TUFF_OK;
        for (uint32_t i = 0; i < 300 && good; i++) good = words[i] == w->word + round;
        commands_destroy(c);
        dispatch_set_destroy(set);
        buffer_destroy(b);
        if (!good) return NULL;
    }
    w->done = true;
    return NULL;
}

/* Two devices for each physical one there is (of several drivers with several ICDs), each used from its own thread. */
static void test_many_devices(void **state) {
    (void)state;
    uint32_t count = 4;
    tuff_device_info infos[4];
    worker workers[8];
    pthread_t threads[8];
    uint32_t used = 0;
    ASSERT_OK(tuff_device_list(NULL, infos, &count));
    for (uint32_t i = 0; i < count && i < 4; i++)
        for (uint32_t k = 0; k < 2 && infos[i].suitable; k++) {
            char index[16];
            snprintf(index, sizeof index, "%u", i);
            workers[used] =
                (worker){ .device = test_device_open(&(tuff_device_desc){ .select = index }), .word = used * 100 };
            used++;
        }
    for (uint32_t i = 0; i < used; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (uint32_t i = 0; i < used; i++) pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < used; i++) {
        assert_true(workers[i].done);
        tuff_device_close(workers[i].device);
    }
}

/* ---- a host's device --------------------------------------------------------------------------- */

static void test_adopt(void **state) {
    (void)state;
    test_host host;
    test_host_open(&host);
    tuff_vulkan_device_desc desc = test_host_desc(&host);
    tuff_device *device;
    ASSERT_OK(tuff_device_adopt(&desc, &device));
    assert_true(tuff_device_get_info(device)->suitable);
    assert_false(device_has_transfer_queue(device));
    worker w = { .device = device, .word = 5 };
    work(&w);
    assert_true(w.done);

    /* kernels in the host's command buffer, submitted by the host, waited for by its semaphore */
    buffer *b;
    dispatch_set *set;
    ASSERT_OK(buffer_create(device, BUFFER_READBACK, 1024, "b", &b));
    const dispatch d = fill_dispatch((buffer_range){ b, 0, 1024 }, 42, 256);
    ASSERT_OK(dispatch_set_create(device, &d, 1, "s", &set));
    VkCommandPool pool;
    VkCommandBuffer buffer_;
    VkSemaphore semaphore;
    const VkCommandPoolCreateInfo pool_info = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                                .queueFamilyIndex = host.queue_family };
    assert_int_equal(host.CreateCommandPool(host.device, &pool_info, NULL, &pool), VK_SUCCESS);
    const VkCommandBufferAllocateInfo buffer_info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                                      .commandPool = pool,
                                                      .commandBufferCount = 1 };
    assert_int_equal(host.AllocateCommandBuffers(host.device, &buffer_info, &buffer_), VK_SUCCESS);
    const VkSemaphoreTypeCreateInfo type = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                             .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE };
    const VkSemaphoreCreateInfo semaphore_info = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type };
    assert_int_equal(host.CreateSemaphore(host.device, &semaphore_info, NULL, &semaphore), VK_SUCCESS);
    const VkCommandBufferBeginInfo begin = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };
    host.BeginCommandBuffer(buffer_, &begin);
    tuff_device_counters before, after;
    tuff_device_get_counters(device, &before);
    foreign_commands storage;
    commands *c = commands_wrap(device, buffer_, &storage);
    commands_dispatch(c, set, 0);
    commands_barrier(c, USE_KERNEL_WRITE, USE_HOST_READ);
    tuff_device_get_counters(device, &after);
    assert_memory_equal(&before, &after, sizeof before);
    host.EndCommandBuffer(buffer_);
    const uint64_t value = 7;
    const VkTimelineSemaphoreSubmitInfo timeline = { .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                                     .signalSemaphoreValueCount = 1,
                                                     .pSignalSemaphoreValues = &value };
    const VkSubmitInfo submit = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                  .pNext = &timeline,
                                  .commandBufferCount = 1,
                                  .pCommandBuffers = &buffer_,
                                  .signalSemaphoreCount = 1,
                                  .pSignalSemaphores = &semaphore };
    assert_int_equal(host.QueueSubmit(host.queue, 1, &submit, VK_NULL_HANDLE), VK_SUCCESS);
    ASSERT_OK(queue_wait_foreign(device, (uint64_t)(uintptr_t)semaphore, value));
    buffer_invalidate(b, 0, 1024);
    for (uint32_t i = 0; i < 256; i++) assert_int_equal(((uint32_t *)buffer_data(b))[i], 42);
    dispatch_set_destroy(set);
    buffer_destroy(b);
    tuff_device_close(device);
    /* the host goes on with what is its own */
    host.DestroySemaphore(host.device, semaphore, NULL);
    host.DestroyCommandPool(host.device, pool, NULL);
    test_host_close(&host);
}

static void test_adopt_errors(void **state) {
    (void)state;
    test_host host;
    test_host_open(&host);
    const tuff_vulkan_device_desc good = test_host_desc(&host);
    tuff_vulkan_device_desc desc = good;
    tuff_device *device;
    assert_int_equal(tuff_device_adopt(NULL, &device), TUFF_ERROR_ARGUMENT);
    assert_int_equal(tuff_device_adopt(&good, NULL), TUFF_ERROR_ARGUMENT);
    desc.queue = NULL;
    ASSERT_FAILS(tuff_device_adopt(&desc, &device), TUFF_ERROR_ARGUMENT, "required");
    desc = good;
    desc.queue_family = 77;
    ASSERT_FAILS(tuff_device_adopt(&desc, &device), TUFF_ERROR_ARGUMENT, "77");
    desc = good;
    desc.force = "memory=none";
    ASSERT_FAILS(tuff_device_adopt(&desc, &device), TUFF_ERROR_ARGUMENT, "memory=none");
    assert_null(device);
    test_host_close(&host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),        cmocka_unit_test(test_select),       cmocka_unit_test(test_select_errors),
        cmocka_unit_test(test_environment), cmocka_unit_test(test_limits),       cmocka_unit_test(test_many_devices),
        cmocka_unit_test(test_adopt),       cmocka_unit_test(test_adopt_errors),
    };
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
