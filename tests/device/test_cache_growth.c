/* What the drivers at hand do not show, since their pipeline caches are headers and no more: caches that grow, are
 * merged, or are refused. A driver made up for it stands behind a device's table: its caches are a header and a set of
 * marks. */
#include "runtime/device/vulkan_internal.h"

#include "device_test.h"

#include <stdio.h>

enum { HEADER = sizeof(VkPipelineCacheHeaderVersionOne), MARKS = 8, CACHES = 4 };

typedef struct made_up {
    bool used;
    uint8_t marks[MARKS]; /* 0: none */
} made_up;

static made_up caches[CACHES];
static VkPipelineCacheHeaderVersionOne header;
static bool refuses; /* data, whatever they are */

static made_up *cache_of(VkPipelineCache handle) {
    return &caches[HANDLE(handle) - 1];
}

static void add_mark(made_up *cache, uint8_t mark) {
    uint32_t i = 0;
    while (cache->marks[i] && cache->marks[i] != mark) i++;
    cache->marks[i] = mark;
}

static VKAPI_ATTR VkResult VKAPI_CALL create(VkDevice device, const VkPipelineCacheCreateInfo *info,
                                             const VkAllocationCallbacks *allocator, VkPipelineCache *cache) {
    (void)device, (void)allocator;
    if (refuses && info->initialDataSize) return VK_ERROR_OUT_OF_HOST_MEMORY;
    uint32_t i = 0;
    while (caches[i].used) i++;
    assert_true(i < CACHES);
    caches[i] = (made_up){ .used = true };
    for (size_t k = HEADER; k < info->initialDataSize; k++)
        add_mark(&caches[i], ((const uint8_t *)info->pInitialData)[k]);
    *cache = (VkPipelineCache)(uintptr_t)(i + 1);
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL destroy(VkDevice device, VkPipelineCache cache,
                                          const VkAllocationCallbacks *allocator) {
    (void)device, (void)allocator;
    assert_true(cache_of(cache)->used);
    cache_of(cache)->used = false;
}

static VKAPI_ATTR VkResult VKAPI_CALL merge(VkDevice device, VkPipelineCache to, uint32_t count,
                                            const VkPipelineCache *from) {
    (void)device;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < MARKS && cache_of(from[i])->marks[k]; k++)
            add_mark(cache_of(to), cache_of(from[i])->marks[k]);
    return VK_SUCCESS;
}

static VKAPI_ATTR VkResult VKAPI_CALL get_data(VkDevice device, VkPipelineCache cache, size_t *size, void *data) {
    (void)device;
    const size_t marks = strlen((const char *)cache_of(cache)->marks);
    if (data) {
        assert_true(*size >= HEADER + marks);
        memcpy(data, &header, HEADER);
        memcpy((uint8_t *)data + HEADER, cache_of(cache)->marks, marks);
    }
    *size = HEADER + marks;
    return VK_SUCCESS;
}

static char folder[64];

/* A device of the driver's, whose caches are made up from here on until finish(). */
static tuff_device *start(VkPipelineCache *real) {
    tuff_device *device = test_device_open(&(tuff_device_desc){ .cache = folder, .validation = TUFF_VALIDATION_OFF });
    *real = device->pipeline_cache;
    device->vk.vkCreatePipelineCache = create;
    device->vk.vkDestroyPipelineCache = destroy;
    device->vk.vkMergePipelineCaches = merge;
    device->vk.vkGetPipelineCacheData = get_data;
    header = (VkPipelineCacheHeaderVersionOne){ .headerSize = HEADER,
                                                .headerVersion = VK_PIPELINE_CACHE_HEADER_VERSION_ONE,
                                                .vendorID = device->identity.vendor,
                                                .deviceID = device->identity.device };
    memcpy(header.pipelineCacheUUID, device->identity.cache_uuid, VK_UUID_SIZE);
    device->pipeline_cache_size = 0;
    ASSERT_OK(pipeline_cache_init(device));
    device->pipeline_count = 1; /* as if one had been made */
    return device;
}

static void finish(tuff_device *device, VkPipelineCache real) {
    pipeline_cache_finish(device);
    device_table_load(&device->vk, device->handle, device->instance.GetDeviceProcAddr);
    device->pipeline_cache = real;
    device->pipeline_count = 0; /* nothing is kept of the real one */
    tuff_device_close(device);
}

/* The marks in the file, in order; "" without a file. */
static const char *kept(tuff_device *device) {
    static char marks[MARKS + 1];
    char name[CACHE_FILE_NAME];
    cache_file file;
    void *data;
    size_t size;
    memset(marks, 0, sizeof marks);
    assert_true(device_cache_file(device, "pipelines", name, &file));
    if (!cache_file_read(&file, &data, &size)) return marks;
    assert_true(size >= HEADER && size <= HEADER + MARKS);
    memcpy(marks, (uint8_t *)data + HEADER, size - HEADER);
    free(data);
    return marks;
}

static void test_growth(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tuff-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    VkPipelineCache real, reals[2];
    tuff_device *device = start(&real), *looks;
    add_mark(cache_of(device->pipeline_cache), 'a');
    finish(device, real);
    looks = test_device_open(&(tuff_device_desc){ .cache = folder, .validation = TUFF_VALIDATION_OFF });
    looks->pipeline_count = 0;
    assert_string_equal(kept(looks), "a");

    /* it is read, and what is new is added to it */
    device = start(&real);
    assert_string_equal((char *)cache_of(device->pipeline_cache)->marks, "a");
    assert_int_equal(device->pipeline_cache_size, HEADER + 1);
    add_mark(cache_of(device->pipeline_cache), 'b');
    finish(device, real);
    assert_string_equal(kept(looks), "ab");

    /* two at once: the second to close has what the first one kept */
    tuff_device *both[2] = { start(&reals[0]), start(&reals[1]) };
    add_mark(cache_of(both[0]->pipeline_cache), 'c');
    add_mark(cache_of(both[1]->pipeline_cache), 'd');
    finish(both[0], reals[0]);
    assert_string_equal(kept(looks), "abc");
    finish(both[1], reals[1]);
    assert_string_equal(kept(looks), "abdc");

    /* a driver that refuses data starts with nothing and overwrites them */
    refuses = true;
    device = start(&real);
    assert_int_equal(device->pipeline_cache_size, 0);
    add_mark(cache_of(device->pipeline_cache), 'e');
    finish(device, real);
    refuses = false;
    assert_string_equal(kept(looks), "e");

    /* after the loss of the device nothing is kept */
    device = start(&real);
    add_mark(cache_of(device->pipeline_cache), 'f');
    device->lost = true;
    pipeline_cache_finish(device);
    assert_string_equal(kept(looks), "e");
    device->lost = false;
    device->pipeline_cache = VK_NULL_HANDLE;
    finish(device, real);
    tuff_device_close(looks);
    for (uint32_t i = 0; i < CACHES; i++) assert_false(caches[i].used);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_growth) };
    return cmocka_run_group_tests_name("cache_growth", tests, NULL, NULL);
}
