/* Devices: opening one of Tuff's own, adopting a host's, closing, and what is asked of them as a whole. */
#include "runtime/device/choices.h"
#include "runtime/device/vulkan_internal.h"

#include <tuff/vulkan.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures of Vulkan calls ------------------------------------------------------------------ */

const char *vulkan_result_name(VkResult result) {
    switch (result) {
    case VK_SUCCESS: return "VK_SUCCESS";
    case VK_NOT_READY: return "VK_NOT_READY";
    case VK_TIMEOUT: return "VK_TIMEOUT";
    case VK_INCOMPLETE: return "VK_INCOMPLETE";
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED: return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST: return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_MEMORY_MAP_FAILED: return "VK_ERROR_MEMORY_MAP_FAILED";
    case VK_ERROR_LAYER_NOT_PRESENT: return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT: return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT: return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER: return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_TOO_MANY_OBJECTS: return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_OUT_OF_POOL_MEMORY: return "VK_ERROR_OUT_OF_POOL_MEMORY";
    case VK_ERROR_FRAGMENTATION: return "VK_ERROR_FRAGMENTATION";
    default: return "an unknown VkResult";
    }
}

tuff_result vulkan_error(tuff_device *device, VkResult result, const char *what, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, what);
    vsnprintf(text, sizeof text, what, arguments);
    va_end(arguments);
    if (result == VK_ERROR_DEVICE_LOST) {
        device->lost = true;
        return error_set(TUFF_ERROR_DEVICE_LOST,
                         "%s: the device %s is lost; close it, open it again and load the model", text,
                         device->info.name);
    }
    bool memory = result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY
                  || result == VK_ERROR_OUT_OF_POOL_MEMORY;
    return error_set(memory ? TUFF_ERROR_MEMORY : TUFF_ERROR_DEVICE, "%s failed on %s: %s (%d)", text,
                     device->info.name, vulkan_result_name(result), (int)result);
}

void object_name(const tuff_device *device, VkObjectType type, uint64_t handle, const char *name) {
    if (!device->instance.SetDebugUtilsObjectNameEXT || !name) return;
    const VkDebugUtilsObjectNameInfoEXT info = { .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                                 .objectType = type,
                                                 .objectHandle = handle,
                                                 .pObjectName = name };
    device->instance.SetDebugUtilsObjectNameEXT(device->handle, &info);
}

bool device_is_validated(const tuff_device *device) {
    return device->instance.validation == TUFF_VALIDATION_ON || device->instance.validation == TUFF_VALIDATION_GPU;
}

/* ---- opening ----------------------------------------------------------------------------------- */

/* Mesa's LP_MAX_TGSI_LOOP_ITERATIONS: whatever loops there are left are left. */
enum { LLVMPIPE_LOOP_TURNS = 65535 };

/* What one dispatch may do, in multiply-adds, to end within 100 ms: SwiftShader makes 1.6e9 in a second on two idle
 * cores, lavapipe ten times as many, the slowest GPUs 5e10. Watchdogs end what takes seconds. */
static uint64_t dispatch_work(const tuff_device_info *info) {
    if (info->type != TUFF_DEVICE_CPU) return 4000000000;
    return strcmp(info->driver, "llvmpipe") == 0 ? 1000000000 : 60000000;
}

/* Newer versions of lavapipe map memory for each descriptor set, and crash where Linux allows no more maps. An eighth
 * is left for all else. */
static uint32_t most_dispatches(const candidate *c) {
    enum { USUAL_MAPS = 65530, FIRST_VERSION = 23 };
    if (strcmp(c->info.driver, "llvmpipe") != 0 || VK_API_VERSION_MAJOR(c->properties.driverVersion) < FIRST_VERSION)
        return UINT32_MAX;
    unsigned maps = USUAL_MAPS;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    if (file && fscanf(file, "%u", &maps) != 1) maps = USUAL_MAPS;
    if (file) fclose(file);
    return maps - maps / 8;
}

static void take_candidate(tuff_device *device, const candidate *c) {
    const VkPhysicalDeviceLimits *limits = &c->properties.limits;
    device->physical = c->handle;
    device->info = c->info;
    device->memory = c->memory;
    device->identity = (device_identity){
        .library = VK_MAKE_API_VERSION(0, TUFF_VERSION_MAJOR, TUFF_VERSION_MINOR, TUFF_VERSION_PATCH),
        .vendor = c->properties.vendorID,
        .device = c->properties.deviceID,
        .driver_version = c->properties.driverVersion,
    };
    memcpy(device->identity.cache_uuid, c->properties.pipelineCacheUUID, sizeof device->identity.cache_uuid);
    device->atom = limits->nonCoherentAtomSize ? limits->nonCoherentAtomSize : 1;
    bool timed = false, direct = false, shuffle = false, texels = false;
    for (uint32_t i = 0; i < c->info.feature_count; i++) {
        if (strcmp(c->info.features[i].name, "timestamps") == 0) timed = c->info.features[i].present;
        if (strcmp(c->info.features[i].name, "direct memory") == 0) direct = c->info.features[i].present;
        if (strcmp(c->info.features[i].name, "subgroup shuffle") == 0) shuffle = c->info.features[i].present;
        if (strcmp(c->info.features[i].name, "texel buffers") == 0) texels = c->info.features[i].present;
    }
    device->limits = (device_limits){
        .loop_turns = strcmp(c->info.driver, "llvmpipe") == 0 ? LLVMPIPE_LOOP_TURNS : UINT32_MAX,
        .type = c->info.type,
        .cpu = c->info.type == TUFF_DEVICE_CPU,
        .dispatch_work = dispatch_work(&c->info),
        .most_dispatches = most_dispatches(c),
        .subgroup_size = c->info.subgroup_size,
        .subgroup_shuffle = shuffle,
        .texels = texels,
        .compiles_late = strcmp(c->info.driver, "llvmpipe") == 0,
        .shared_memory = c->info.shared_memory,
        .max_range = c->info.max_buffer_range,
        .max_allocation = c->info.max_allocation,
        /* Whole cache lines at least: two values of one block then never share one. */
        .range_alignment = limits->minStorageBufferOffsetAlignment > 64 ? limits->minStorageBufferOffsetAlignment : 64,
        .direct = direct,
        .timestamp_period = timed ? (double)limits->timestampPeriod : 0,
    };
}

static tuff_result create_vulkan_device(tuff_device *device, const candidate *c) {
    const float priorities[] = { 1.0f };
    VkDeviceQueueCreateInfo queues[QUEUE_KINDS];
    uint32_t queue_count = 0;
    for (uint32_t i = 0; i < (device->has_transfer_queue ? 2u : 1u); i++)
        queues[queue_count++] = (VkDeviceQueueCreateInfo){ .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                                           .queueFamilyIndex = device->queues[i].family,
                                                           .queueCount = 1,
                                                           .pQueuePriorities = priorities };
    const char *extensions[2];
    uint32_t extension_count = 0;
    if (c->memory_budget) extensions[extension_count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (c->portability_subset) extensions[extension_count++] = "VK_KHR_portability_subset";

    /* The layer instruments shaders with these. It turns them on itself where it must, with a warning. */
    bool gpu = device->instance.validation == TUFF_VALIDATION_GPU;
    VkPhysicalDeviceVulkan12Features features12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .timelineSemaphore = VK_TRUE,
        .bufferDeviceAddress = gpu && c->gpu_validation_features[3],
    };
    const VkPhysicalDeviceFeatures2 features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .pNext = &features12,
        .features = { .fragmentStoresAndAtomics = gpu && c->gpu_validation_features[0],
                      .vertexPipelineStoresAndAtomics = gpu && c->gpu_validation_features[1],
                      .shaderInt64 = gpu && c->gpu_validation_features[2] },
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features,
        .queueCreateInfoCount = queue_count,
        .pQueueCreateInfos = queues,
        .enabledExtensionCount = extension_count,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult result = device->instance.CreateDevice(device->physical, &info, NULL, &device->handle);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "vkCreateDevice");
    device->counters.objects++;
    device->memory_budget = c->memory_budget;
    return TUFF_OK;
}

/* What an own device and an adopted one have in common, once there is a VkDevice. */
static tuff_result finish_opening(tuff_device *device) {
    device_table_load(&device->vk, device->handle, device->instance.GetDeviceProcAddr);
    TRY(queues_init(device));
    TRY(memory_init(device));
    TRY(pipelines_init(device));
    return TUFF_OK;
}

static tuff_result open_own(tuff_device *device, const tuff_device_desc *desc) {
    tuff_validation validation;
    TRY(validation_resolve(desc->validation, &validation));
    TRY(forces_parse(device, desc->force));
    /* GPU-assisted validation compiles kernels of its own making, numbered as they come: nobody finds them again. */
    if (validation != TUFF_VALIDATION_GPU) TRY(cache_folder_find(desc->cache, &device->cache_folder));
    TRY(instance_create(&device->instance, validation));
    device->counters.objects += device->instance.messenger ? 2 : 1;
    candidate *list;
    uint32_t count, chosen;
    char why[2048];
    TRY(candidates_list(&device->instance, desc->select, &list, &count, &chosen, why, sizeof why));
    if (chosen == count) {
        free(list);
        return error_set(TUFF_ERROR_NO_DEVICE, "%s", why);
    }
    const candidate *c = &list[chosen];
    take_candidate(device, c);
    device->memory_limit = desc->memory_budget;
    tuff_result result =
        tuning_resolve(desc->tuning, !device->limits.cpu && validation != TUFF_VALIDATION_GPU, &device->tunes);
    device->queues[QUEUE_COMPUTE].family = candidate_compute_family(c);
    uint32_t transfer = candidate_transfer_family(c, device->queues[QUEUE_COMPUTE].family);
    device->has_transfer_queue = transfer != UINT32_MAX && !device_force(device, "transfer");
    device->queues[QUEUE_TRANSFER].family = transfer;
    for (uint32_t i = 0; i < (device->has_transfer_queue ? 2u : 1u); i++)
        device->timestamp_bits[i] = c->families[device->queues[i].family].timestampValidBits;
    forces_apply(device);
    if (result == TUFF_OK) result = create_vulkan_device(device, c);
    free(list);
    TRY(result);
    device->owned = true;
    TRY(finish_opening(device));
    device_log(device, TUFF_LOG_INFO, "opened %s (%s %s), Vulkan %u.%u.%u, %s", device->info.name, device->info.driver,
               device->info.driver_info, device->info.api_major, device->info.api_minor, device->info.api_patch,
               device->info.reason);
    return TUFF_OK;
}

tuff_result tuff_device_open(const tuff_device_desc *desc, tuff_device **out) {
    const tuff_device_desc defaults = { 0 };
    if (!out) return error_set(TUFF_ERROR_ARGUMENT, "tuff_device_open: device is NULL");
    *out = NULL;
    if (!desc) desc = &defaults;
    tuff_device *device = calloc(1, sizeof *device);
    if (!device) return error_out_of_host_memory(sizeof *device);
    device->instance.sink.log = desc->log;
    device->instance.sink.log_user = desc->log_user;
    tuff_result result = open_own(device, desc);
    if (result != TUFF_OK) {
        tuff_device_close(device);
        return result;
    }
    *out = device;
    return TUFF_OK;
}

/* The instance stays the other's; so do the messages of its layers. */
static tuff_result open_beside(tuff_device *device, const tuff_device *other) {
    TRY(instance_adopt(&device->instance, other->instance.handle, other->instance.get_instance_proc_addr,
                       other->instance.debug_utils));
    candidate c;
    candidate_describe(&device->instance, other->physical, other->info.index, &c);
    take_candidate(device, &c);
    device->memory_limit = other->memory_limit;
    device->queues[QUEUE_COMPUTE].family = other->queues[QUEUE_COMPUTE].family;
    device->timestamp_bits[QUEUE_COMPUTE] = other->timestamp_bits[QUEUE_COMPUTE];
    TRY(create_vulkan_device(device, &c));
    device->owned = true;
    return finish_opening(device);
}

tuff_result device_open_beside(const tuff_device *other, tuff_device **out) {
    *out = NULL;
    tuff_device *device = calloc(1, sizeof *device);
    if (!device) return error_out_of_host_memory(sizeof *device);
    tuff_result result = open_beside(device, other);
    if (result != TUFF_OK) {
        tuff_device_close(device);
        return result;
    }
    *out = device;
    return TUFF_OK;
}

static tuff_result adopt(tuff_device *device, const tuff_vulkan_device_desc *desc) {
    TRY(forces_parse(device, desc->force));
    if (desc->cache) TRY(cache_folder_find(desc->cache, &device->cache_folder));
    TRY(instance_adopt(&device->instance, desc->instance, desc->get_instance_proc_addr, desc->debug_utils));
    candidate c;
    candidate_describe(&device->instance, desc->physical_device, 0, &c);
    if (!c.info.suitable) {
        char missing[256];
        candidate_missing(&c, missing, sizeof missing);
        return error_set(TUFF_ERROR_NO_DEVICE, "%s lacks what Tuff requires: %s", c.info.name, missing);
    }
    if (desc->queue_family >= c.family_count)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_device_adopt: queue_family is %u, %s has %u families",
                         desc->queue_family, c.info.name, c.family_count);
    if (!(c.families[desc->queue_family].queueFlags & VK_QUEUE_COMPUTE_BIT))
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_device_adopt: queue family %u of %s has no compute",
                         desc->queue_family, c.info.name);
    take_candidate(device, &c);
    device->info.chosen = true;
    snprintf(device->info.reason, sizeof device->info.reason, "lent by the host");
    device->handle = desc->device;
    device->memory_limit = desc->memory_limit;
    device->memory_budget = desc->memory_budget;
    device->queues[QUEUE_COMPUTE].family = desc->queue_family;
    device->queues[QUEUE_COMPUTE].handle = desc->queue;
    device->timestamp_bits[QUEUE_COMPUTE] = c.families[desc->queue_family].timestampValidBits;
    if (device->timestamp_bits[QUEUE_COMPUTE] == 0) device->limits.timestamp_period = 0;
    TRY(tuning_resolve(desc->tuning, false, &device->tunes));
    forces_apply(device);
    return finish_opening(device);
}

tuff_result tuff_device_adopt(const tuff_vulkan_device_desc *desc, tuff_device **out) {
    if (!desc || !out) return error_set(TUFF_ERROR_ARGUMENT, "tuff_device_adopt: desc or device is NULL");
    *out = NULL;
    if (!desc->get_instance_proc_addr || !desc->instance || !desc->physical_device || !desc->device || !desc->queue)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "tuff_device_adopt: get_instance_proc_addr, instance, physical_device, device "
                         "and queue are required");
    tuff_device *device = calloc(1, sizeof *device);
    if (!device) return error_out_of_host_memory(sizeof *device);
    device->instance.sink.log = desc->log;
    device->instance.sink.log_user = desc->log_user;
    tuff_result result = adopt(device, desc);
    if (result != TUFF_OK) {
        tuff_device_close(device);
        return result;
    }
    *out = device;
    return TUFF_OK;
}

void tuff_device_close(tuff_device *device) {
    if (!device) return;
    if (device->handle && device->vk.vkDestroyDevice) {
        /* Only what Tuff submitted is waited for: a host's queue may be in use elsewhere. */
        ahead_finish(device);
        if (!device->lost) queues_wait_all(device);
        if (device->owned) device->vk.vkDeviceWaitIdle(device->handle);
        transfer_finish(device);
        pipelines_finish(device);
        memory_finish(device);
        queues_finish(device);
        if (device->owned) device->vk.vkDestroyDevice(device->handle, NULL);
    }
    instance_destroy(&device->instance);
    kernels_finish(device);
    choices_finish(device);
    free(device->force_text);
    free(device->cache_folder);
    free(device);
}

/* ---- what is asked of a device ------------------------------------------------------------------ */

const tuff_device_info *tuff_device_get_info(const tuff_device *device) {
    return device ? &device->info : NULL;
}

const device_limits *device_get_limits(const tuff_device *device) {
    return &device->limits;
}

bool device_cache_file(const tuff_device *device, const char *what, char name[CACHE_FILE_NAME], cache_file *file) {
    const device_identity *identity = &device->identity;
    if (!device->cache_folder) return false;
    /* the name parts most devices and drivers, the key all of them */
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < sizeof *identity; i++)
        hash = (hash ^ ((const uint8_t *)identity)[i]) * UINT64_C(1099511628211);
    snprintf(name, CACHE_FILE_NAME, "%s-%x-%x-%016llx", what, identity->vendor, identity->device,
             (unsigned long long)hash);
    *file = (cache_file){ device->cache_folder, name, identity, sizeof *identity };
    return true;
}

tuff_result tuff_device_wait(tuff_device *device) {
    if (!device) return error_set(TUFF_ERROR_ARGUMENT, "tuff_device_wait: device is NULL");
    return queues_wait_all(device);
}

void tuff_device_get_counters(const tuff_device *device, tuff_device_counters *counters) {
    if (!device || !counters) return;
    *counters = device->counters;
    counters->validation_messages = atomic_load(&((tuff_device *)device)->instance.sink.validation_messages);
}

void device_log(const tuff_device *device, tuff_log_level level, const char *format, ...) {
    if (!device->instance.sink.log) return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    message_log(&device->instance.sink, level, text);
}
