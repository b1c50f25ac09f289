/* The driver's cache of compiled pipelines, kept in a file from one process to the next: read when the device is
 * opened, written when it is closed and there is more in it than was read. */
#include "runtime/device/vulkan_internal.h"

#include <stdlib.h>
#include <string.h>

/* The file's checksum says that these bytes are a driver's, the file's key which one's. Some drivers trust what they
 * get, so the header that Vulkan prescribes is looked at as well. */
static bool is_cache_data(const tuff_device *device, const uint8_t *data, size_t size) {
    VkPipelineCacheHeaderVersionOne header;
    if (size < sizeof header) return false;
    memcpy(&header, data, sizeof header);
    return header.headerSize >= sizeof header && header.headerSize <= size
           && header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE && header.vendorID == device->identity.vendor
           && header.deviceID == device->identity.device
           && memcmp(header.pipelineCacheUUID, device->identity.cache_uuid, VK_UUID_SIZE) == 0;
}

/* A cache with what is in the file; its size is 0 where that is nothing. */
static VkResult create_cache(tuff_device *device, const cache_file *file, VkPipelineCache *cache, size_t *size) {
    void *data = NULL;
    *size = 0;
    if (!file || !cache_file_read(file, &data, size) || !is_cache_data(device, data, *size)) *size = 0;
    VkPipelineCacheCreateInfo info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                       .initialDataSize = *size,
                                       .pInitialData = *size ? data : NULL };
    VkResult result = device->vk.vkCreatePipelineCache(device->handle, &info, NULL, cache);
    if (result != VK_SUCCESS && *size) { /* the driver does not like it after all */
        *size = info.initialDataSize = 0;
        info.pInitialData = NULL;
        result = device->vk.vkCreatePipelineCache(device->handle, &info, NULL, cache);
    }
    free(data);
    return result;
}

static VkResult cache_data(tuff_device *device, size_t *size, void *data) {
    return device->vk.vkGetPipelineCacheData(device->handle, device->pipeline_cache, size, data);
}

tuff_result pipeline_cache_init(tuff_device *device) {
    char name[CACHE_FILE_NAME];
    cache_file file;
    size_t size;
    bool kept = device_cache_file(device, "pipelines", name, &file);
    VkResult result = create_cache(device, kept ? &file : NULL, &device->pipeline_cache, &size);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "creating the pipeline cache");
    device->counters.objects++;
    if (!size) return TUFF_OK;
    device_log(device, TUFF_LOG_INFO, "read %zu bytes of compiled kernels from %s/%s", size, file.folder, file.name);
    /* Not what was read: SwiftShader puts its header in front of what it gets, header and all. */
    if (cache_data(device, &device->pipeline_cache_size, NULL) != VK_SUCCESS) device->pipeline_cache_size = size;
    return TUFF_OK;
}

/* Another process may have written since: what it has is kept, too. */
static void merge_file(tuff_device *device, const cache_file *file) {
    VkPipelineCache other;
    size_t size;
    if (create_cache(device, file, &other, &size) != VK_SUCCESS) return;
    if (size) (void)device->vk.vkMergePipelineCaches(device->handle, device->pipeline_cache, 1, &other);
    device->vk.vkDestroyPipelineCache(device->handle, other, NULL);
}

/* No failure of closing: the next process compiles again. */
static void save(tuff_device *device, const cache_file *file) {
    size_t size = 0;
    if (cache_data(device, &size, NULL) != VK_SUCCESS || size <= device->pipeline_cache_size) return;
    merge_file(device, file);
    if (cache_data(device, &size, NULL) != VK_SUCCESS) return;
    void *data = malloc(size);
    char why[256];
    /* Mesa 26's lavapipe gives a part of a header: nothing that it would know again */
    if (data && cache_data(device, &size, data) == VK_SUCCESS && is_cache_data(device, data, size)) {
        if (cache_file_write(file, data, size, why))
            device_log(device, TUFF_LOG_INFO, "kept %zu bytes of compiled kernels in %s/%s", size, file->folder,
                       file->name);
        else
            device_log(device, TUFF_LOG_INFO, "compiled kernels are not kept in %s/%s: %s", file->folder, file->name,
                       why);
    }
    free(data);
}

void pipeline_cache_finish(tuff_device *device) {
    if (!device->pipeline_cache) return;
    char name[CACHE_FILE_NAME];
    cache_file file;
    if (!device->lost && device->pipeline_count && device_cache_file(device, "pipelines", name, &file))
        save(device, &file);
    device->vk.vkDestroyPipelineCache(device->handle, device->pipeline_cache, NULL);
}
