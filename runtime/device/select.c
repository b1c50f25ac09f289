/* Which devices there are, what each can do, and which one is meant. */
#include "runtime/device/vulkan_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- describing one device -------------------------------------------------------------------- */

static const char *const type_names[] = { "discrete", "integrated", "virtual", "CPU", "other" };

static tuff_device_type device_type(VkPhysicalDeviceType type) {
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return TUFF_DEVICE_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return TUFF_DEVICE_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return TUFF_DEVICE_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return TUFF_DEVICE_CPU;
    default: return TUFF_DEVICE_OTHER;
    }
}

typedef struct extension_list {
    uint32_t count;
    VkExtensionProperties *list;
} extension_list;

static bool has_extension(const extension_list *extensions, const char *name) {
    for (uint32_t i = 0; i < extensions->count; i++)
        if (strcmp(extensions->list[i].extensionName, name) == 0) return true;
    return false;
}

static void add_feature(tuff_device_info *info, bool required, bool present, const char *name, const char *use) {
    if (info->feature_count == TUFF_MAX_FEATURES) return;
    info->features[info->feature_count++] = (tuff_device_feature){ name, use, required, present };
}

uint32_t candidate_compute_family(const candidate *c) {
    /* Without graphics first: long dispatches then do not stand in the way of a desktop's own queue. */
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < c->family_count; i++) {
            VkQueueFlags flags = c->families[i].queueFlags;
            if (c->families[i].queueCount == 0 || !(flags & VK_QUEUE_COMPUTE_BIT)) continue;
            if (pass == 1 || !(flags & VK_QUEUE_GRAPHICS_BIT)) return i;
        }
    return UINT32_MAX;
}

uint32_t candidate_transfer_family(const candidate *c, uint32_t compute_family) {
    /* A copy engine's family first, then any other one that computes (which can always copy). */
    for (uint32_t i = 0; i < c->family_count; i++) {
        VkQueueFlags flags = c->families[i].queueFlags;
        if (i == compute_family || c->families[i].queueCount == 0) continue;
        if ((flags & VK_QUEUE_TRANSFER_BIT) && !(flags & (VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT))) {
            /* Video engines may offer transfer too; they are not what is meant. */
            if (flags & ~(VkQueueFlags)(VK_QUEUE_TRANSFER_BIT | VK_QUEUE_SPARSE_BINDING_BIT | VK_QUEUE_PROTECTED_BIT))
                continue;
            return i;
        }
    }
    for (uint32_t i = 0; i < c->family_count; i++)
        if (i != compute_family && c->families[i].queueCount > 0 && (c->families[i].queueFlags & VK_QUEUE_COMPUTE_BIT))
            return i;
    return UINT32_MAX;
}

static uint64_t largest_device_heap(const VkPhysicalDeviceMemoryProperties *memory) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < memory->memoryHeapCount; i++)
        if ((memory->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) && memory->memoryHeaps[i].size > size)
            size = memory->memoryHeaps[i].size;
    return size;
}

static bool has_direct_memory(const VkPhysicalDeviceMemoryProperties *memory) {
    const VkMemoryPropertyFlags wanted = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT
                                         | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint64_t size = largest_device_heap(memory);
    for (uint32_t i = 0; i < memory->memoryTypeCount; i++)
        if ((memory->memoryTypes[i].propertyFlags & wanted) == wanted
            && memory->memoryHeaps[memory->memoryTypes[i].heapIndex].size >= size)
            return true;
    return false;
}

static void describe_features(const vulkan_instance *instance, candidate *c, const extension_list *extensions) {
    tuff_device_info *info = &c->info;
    const VkPhysicalDeviceLimits *limits = &c->properties.limits;
    bool version12 = c->properties.apiVersion >= VK_API_VERSION_1_2;
    bool version13 = c->properties.apiVersion >= VK_API_VERSION_1_3 && instance->api_version >= VK_API_VERSION_1_3;

    VkPhysicalDeviceVulkan12Properties properties12 = { .sType =
                                                            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES };
    VkPhysicalDeviceVulkan11Properties properties11 = { .sType =
                                                            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
                                                        .pNext = &properties12 };
    VkPhysicalDeviceVulkan13Properties properties13 = { .sType =
                                                            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES };
    VkPhysicalDeviceVulkan12Features features12 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES };
    VkPhysicalDeviceVulkan11Features features11 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                                    .pNext = &features12 };
    VkPhysicalDeviceVulkan13Features features13 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES };
    VkPhysicalDeviceFeatures2 features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2 };
    if (version13) properties12.pNext = &properties13, features12.pNext = &features13;
    if (version12) {
        VkPhysicalDeviceProperties2 properties = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                                   .pNext = &properties11 };
        instance->GetPhysicalDeviceProperties2(c->handle, &properties);
        features.pNext = &features11;
        instance->GetPhysicalDeviceFeatures2(c->handle, &features);
        snprintf(info->driver, sizeof info->driver, "%s", properties12.driverName);
        snprintf(info->driver_info, sizeof info->driver_info, "%s", properties12.driverInfo);
        memcpy(info->uuid, properties11.deviceUUID, sizeof info->uuid);
        info->subgroup_size = properties11.subgroupSize;
        info->max_allocation = properties11.maxMemoryAllocationSize;
        if (version13 && properties13.maxBufferSize && properties13.maxBufferSize < info->max_allocation)
            info->max_allocation = properties13.maxBufferSize;
    } else {
        snprintf(info->driver, sizeof info->driver, "version %u", c->properties.driverVersion);
    }
    c->gpu_validation_features[0] = features.features.fragmentStoresAndAtomics;
    c->gpu_validation_features[1] = features.features.vertexPipelineStoresAndAtomics;
    c->gpu_validation_features[2] = features.features.shaderInt64;
    c->gpu_validation_features[3] = features12.bufferDeviceAddress;

    uint32_t family = candidate_compute_family(c);
    uint32_t groups = limits->maxComputeWorkGroupCount[0];
    for (uint32_t i = 1; i < 3; i++)
        if (limits->maxComputeWorkGroupCount[i] < groups) groups = limits->maxComputeWorkGroupCount[i];

    add_feature(info, true, version12, "Vulkan 1.2", "the version that the kernels are compiled for");
    add_feature(info, true, features12.timelineSemaphore, "timelineSemaphore", "orders the queues and the host");
    add_feature(info, true, family != UINT32_MAX, "compute queue", "runs the kernels");
    add_feature(info, true,
                limits->maxPerStageDescriptorStorageBuffers >= MAX_BINDINGS
                    && limits->maxDescriptorSetStorageBuffers >= MAX_BINDINGS,
                "8 storage buffers", "a kernel's arguments");
    add_feature(info, true,
                limits->maxComputeWorkGroupInvocations >= WORKGROUP_SIZE
                    && limits->maxComputeWorkGroupSize[0] >= WORKGROUP_SIZE,
                "workgroups of 256", "the kernels' workgroups");
    add_feature(info, true, groups >= MAX_GROUPS, "65535 workgroups", "in each direction of a dispatch");
    add_feature(info, true, limits->maxComputeSharedMemorySize >= 16384, "16 KiB shared memory",
                "tiles and reductions within a workgroup");
    add_feature(info, true, limits->maxPushConstantsSize >= MAX_PARAMS * sizeof(uint32_t), "128 bytes push constants",
                "a kernel's parameters");
    add_feature(info, false, instance->debug_utils, VK_EXT_DEBUG_UTILS_EXTENSION_NAME,
                "names in captures and messages; without it they are anonymous");
    add_feature(info, false, c->memory_budget, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME,
                "respects what other programs use; without it the heap's whole size counts");
    add_feature(info, false, has_direct_memory(&c->memory), "direct memory",
                "the host writes into the device's memory; without it through staging copies");
    add_feature(info, false, candidate_transfer_family(c, family) != UINT32_MAX, "transfer queue",
                "uploads beside computing; without it on the same queue");
    add_feature(info, false, family != UINT32_MAX && c->families[family].timestampValidBits > 0, "timestamps",
                "timing of kernels; without it benchmarks use the host's clock");
    add_feature(info, false,
                (properties11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT)
                    && (properties11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT),
                "subgroup arithmetic", "not used yet: reductions go through shared memory");
    add_feature(info, false,
                (properties11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT)
                    && (properties11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT),
                "subgroup shuffle", "products on drivers for the CPU; without it they use shared memory, slowly there");
    add_feature(info, false,
                limits->maxTexelBufferElements >= limits->maxStorageBufferRange / 16
                    && limits->minTexelBufferOffsetAlignment <= 64,
                "texel buffers", "as large as any kernel's argument: faster products on drivers for the CPU");
    add_feature(info, false,
                features13.subgroupSizeControl
                    || has_extension(extensions, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME),
                "subgroup size control", "not used yet: kernels work with any subgroup size");
    add_feature(info, false, features11.storageBuffer16BitAccess, "16-bit storage",
                "not used yet: no tensor has elements of 16 bits");
    add_feature(info, false, features12.shaderFloat16, "float16 arithmetic", "not used yet: kernels count in float32");
    add_feature(info, false, features12.storageBuffer8BitAccess, "8-bit storage",
                "not used: uint8 is read out of words of 32 bits and written four to a word");
    add_feature(info, false, features12.shaderInt8, "int8 arithmetic",
                "not used yet: kernels count in float32 and int32");
    add_feature(info, false, has_extension(extensions, "VK_KHR_cooperative_matrix"), "VK_KHR_cooperative_matrix",
                "not used yet: matrix products run on the ordinary units");
}

void candidate_describe(const vulkan_instance *instance, VkPhysicalDevice handle, uint32_t index, candidate *c) {
    memset(c, 0, sizeof *c);
    c->handle = handle;
    tuff_device_info *info = &c->info;
    instance->GetPhysicalDeviceProperties(handle, &c->properties);
    info->index = index;
    snprintf(info->name, sizeof info->name, "%s", c->properties.deviceName);
    info->api_major = VK_API_VERSION_MAJOR(c->properties.apiVersion);
    info->api_minor = VK_API_VERSION_MINOR(c->properties.apiVersion);
    info->api_patch = VK_API_VERSION_PATCH(c->properties.apiVersion);
    info->type = device_type(c->properties.deviceType);
    info->shared_memory = c->properties.limits.maxComputeSharedMemorySize;
    info->max_buffer_range = c->properties.limits.maxStorageBufferRange;
    info->max_allocation = UINT64_MAX;
    info->subgroup_size = 1;

    /* Asked for first: SwiftShader does not lower a count that is too high. */
    instance->GetPhysicalDeviceQueueFamilyProperties(handle, &c->family_count, NULL);
    if (c->family_count > MAX_QUEUE_FAMILIES) c->family_count = MAX_QUEUE_FAMILIES;
    instance->GetPhysicalDeviceQueueFamilyProperties(handle, &c->family_count, c->families);

    extension_list extensions = { 0 };
    if (instance->EnumerateDeviceExtensionProperties(handle, NULL, &extensions.count, NULL) == VK_SUCCESS)
        extensions.list = calloc(extensions.count + 1, sizeof *extensions.list);
    if (!extensions.list
        || instance->EnumerateDeviceExtensionProperties(handle, NULL, &extensions.count, extensions.list) != VK_SUCCESS)
        extensions.count = 0;
    c->memory_budget = has_extension(&extensions, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    c->portability_subset = has_extension(&extensions, "VK_KHR_portability_subset");

    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT
    };
    VkPhysicalDeviceMemoryProperties2 memory = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                 .pNext = c->memory_budget ? &budget : NULL };
    instance->GetPhysicalDeviceMemoryProperties2(handle, &memory);
    c->memory = memory.memoryProperties;
    info->heap_count = c->memory.memoryHeapCount < TUFF_MAX_HEAPS ? c->memory.memoryHeapCount : TUFF_MAX_HEAPS;
    for (uint32_t i = 0; i < info->heap_count; i++) {
        tuff_memory_heap *heap = &info->heaps[i];
        heap->size = heap->budget = c->memory.memoryHeaps[i].size;
        heap->device_local = c->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT;
        /* "this process may use": a driver that says 0 does not know */
        if (c->memory_budget && budget.heapBudget[i]) heap->budget = budget.heapBudget[i];
    }
    describe_features(instance, c, &extensions);
    free(extensions.list);

    uint64_t heap = largest_device_heap(&c->memory);
    if (heap && info->max_allocation > heap) info->max_allocation = heap;
    info->suitable = true;
    for (uint32_t i = 0; i < info->feature_count; i++)
        if (info->features[i].required && !info->features[i].present) info->suitable = false;
}

void candidate_missing(const candidate *c, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < c->info.feature_count && used < size; i++) {
        const tuff_device_feature *feature = &c->info.features[i];
        if (!feature->required || feature->present) continue;
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", feature->name);
    }
}

/* ---- choosing --------------------------------------------------------------------------------- */

static bool contains_without_case(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
        if (i == length) return true;
    }
    return false;
}

/* 32 hexadecimal digits, dashes between them or not. */
static bool parse_uuid(const char *text, uint8_t uuid[16]) {
    uint32_t digits = 0;
    for (; *text; text++) {
        if (*text == '-') continue;
        if (!isxdigit((unsigned char)*text) || digits == 32) return false;
        int digit = isdigit((unsigned char)*text) ? *text - '0' : tolower((unsigned char)*text) - 'a' + 10;
        uuid[digits / 2] = (uint8_t)(digits % 2 ? uuid[digits / 2] | digit : digit << 4);
        digits++;
    }
    return digits == 32;
}

static bool parse_index(const char *text, uint32_t count, uint32_t *index) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *index = (uint32_t)value;
    return isdigit((unsigned char)*text) && *end == 0 && value < count;
}

static bool is_meant(const candidate *c, const char *select, uint32_t count) {
    uint32_t index;
    uint8_t uuid[16];
    if (!select) return true;
    if (parse_index(select, count, &index)) return c->info.index == index;
    if (parse_uuid(select, uuid)) return memcmp(uuid, c->info.uuid, 16) == 0;
    return contains_without_case(c->info.name, select);
}

static void list_devices(const candidate *list, uint32_t count, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < count && used < size; i++) {
        char missing[256];
        candidate_missing(&list[i], missing, sizeof missing);
        used += (size_t)snprintf(text + used, size - used, "%s%u: %s (%s%s%s)", i ? "; " : "", i, list[i].info.name,
                                 type_names[list[i].info.type], *missing ? ", lacks " : "", missing);
    }
}

tuff_result candidates_list(const vulkan_instance *instance, const char *select, candidate **out, uint32_t *count,
                            uint32_t *chosen, char *why, size_t why_size) {
    *out = NULL;
    *count = 0;
    VkResult result = instance->EnumeratePhysicalDevices(instance->handle, count, NULL);
    if (result != VK_SUCCESS || *count == 0)
        return error_set(TUFF_ERROR_NO_DRIVER,
                         "Vulkan drivers are installed, but they offer no device (%s): install the "
                         "package mesa-vulkan-drivers, which brings a driver that runs on the CPU",
                         vulkan_result_name(result));
    VkPhysicalDevice *handles = calloc(*count, sizeof *handles);
    candidate *list = calloc(*count, sizeof *list);
    if (!handles || !list) {
        free(handles), free(list);
        return error_out_of_host_memory(*count * sizeof *list);
    }
    result = instance->EnumeratePhysicalDevices(instance->handle, count, handles);
    if (result < 0) {
        free(handles), free(list);
        return error_set(TUFF_ERROR_DEVICE, "vkEnumeratePhysicalDevices failed: %s", vulkan_result_name(result));
    }
    for (uint32_t i = 0; i < *count; i++) candidate_describe(instance, handles[i], i, &list[i]);
    free(handles);

    if (!select) {
        select = getenv("TUFF_DEVICE");
        if (select && !*select) select = NULL;
    }
    *chosen = *count;
    uint32_t meant = 0, lacking = 0;
    for (uint32_t i = 0; i < *count; i++) {
        if (!is_meant(&list[i], select, *count)) continue;
        meant++;
        lacking = i;
        if (list[i].info.suitable && (*chosen == *count || list[i].info.type < list[*chosen].info.type)) *chosen = i;
    }
    char all[1024], missing[256];
    list_devices(list, *count, all, sizeof all);
    if (meant == 0)
        snprintf(why, why_size, "no device is meant by \"%s\"; the devices are %s", select, all);
    else if (*chosen == *count) {
        candidate_missing(&list[lacking], missing, sizeof missing);
        if (meant == 1)
            snprintf(why, why_size, "%s lacks what Tuff requires: %s", list[lacking].info.name, missing);
        else
            snprintf(why, why_size, "no device has what Tuff requires; the devices are %s", all);
    } else
        why[0] = 0;

    for (uint32_t i = 0; i < *count; i++) {
        tuff_device_info *info = &list[i].info;
        info->chosen = i == *chosen;
        candidate_missing(&list[i], missing, sizeof missing);
        if (!info->suitable)
            snprintf(info->reason, sizeof info->reason, "lacks %.240s", missing);
        else if (info->chosen && select)
            snprintf(info->reason, sizeof info->reason, "selected by \"%.200s\"", select);
        else if (info->chosen)
            snprintf(info->reason, sizeof info->reason, *count == 1 ? "the only device (%s)" : "of the best type (%s)",
                     type_names[info->type]);
        else if (!is_meant(&list[i], select, *count))
            snprintf(info->reason, sizeof info->reason, "not selected by \"%.200s\"", select);
        else if (info->type == list[*chosen].info.type)
            snprintf(info->reason, sizeof info->reason, "device %u is of the same type (%s) and comes first", *chosen,
                     type_names[info->type]);
        else
            snprintf(info->reason, sizeof info->reason, "device %u is of a better type (%s before %s)", *chosen,
                     type_names[list[*chosen].info.type], type_names[info->type]);
    }
    *out = list;
    return TUFF_OK;
}

tuff_result tuff_device_list(const tuff_device_desc *desc, tuff_device_info *infos, uint32_t *count) {
    if (!count) return error_set(TUFF_ERROR_ARGUMENT, "tuff_device_list: count is NULL");
    const tuff_device_desc defaults = { 0 };
    if (!desc) desc = &defaults;
    vulkan_instance instance = { .sink = { .log = desc->log, .log_user = desc->log_user } };
    /* The devices do not depend on validation, which costs time. */
    TRY(instance_create(&instance, TUFF_VALIDATION_OFF));
    candidate *list;
    uint32_t found, chosen;
    char why[2048];
    tuff_result result = candidates_list(&instance, desc->select, &list, &found, &chosen, why, sizeof why);
    if (result == TUFF_OK) {
        for (uint32_t i = 0; infos && i < found && i < *count; i++) infos[i] = list[i].info;
        *count = found;
        free(list);
    }
    instance_destroy(&instance);
    return result;
}
