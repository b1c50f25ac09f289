/* Dispatch sets: kernels bound to ranges of buffers, made once and recorded any number of times. */
#include "runtime/device/vulkan_internal.h"

#include <stdlib.h>
#include <string.h>

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

static const char *label_of(const tuff_device *device, const dispatch *d) {
    if (d->label) return d->label;
    const struct kernel_code *code = device_kernel(device, d->kernel);
    return code ? code->name : "dispatch";
}

static tuff_result check_dispatch(const tuff_device *device, const dispatch *d) {
    const char *label = label_of(device, d);
    const struct kernel_code *code = device_kernel(device, d->kernel);
    if (!code) return error_set(TUFF_ERROR_ARGUMENT, "%s: there is no kernel %u", label, d->kernel);
    const char *kernel = code->name;
    if (d->binding_count == 0 || d->binding_count > MAX_BINDINGS || d->constant_count > MAX_CONSTANTS
        || d->param_count > MAX_PARAMS)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "%s (%s): %u bindings, %u constants and %u parameters; 1 to %d, at most %d and at "
                         "most %d are possible",
                         label, kernel, d->binding_count, d->constant_count, d->param_count, MAX_BINDINGS,
                         MAX_CONSTANTS, MAX_PARAMS);
    if (code->texels && !device->limits.texels)
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s (%s): texel buffers on %s are too small for this kernel", label,
                         kernel, device->info.name);
    for (uint32_t i = 0; i < 3; i++)
        if (d->groups[i] == 0 || d->groups[i] > MAX_GROUPS)
            return error_set(TUFF_ERROR_ARGUMENT, "%s (%s): %u x %u x %u workgroups; each may be 1 to %d", label,
                             kernel, d->groups[0], d->groups[1], d->groups[2], MAX_GROUPS);
    for (uint32_t i = 0; i < d->binding_count; i++) {
        const buffer_range *range = &d->bindings[i];
        TRY(range_check(range, label));
        if (range->offset % device->limits.range_alignment)
            return error_set(TUFF_ERROR_ARGUMENT,
                             "%s (%s): binding %u begins at byte %llu, which is no multiple of %llu", label, kernel, i,
                             (unsigned long long)range->offset, (unsigned long long)device->limits.range_alignment);
        if (range->size > device->limits.max_range)
            return error_set(TUFF_ERROR_ARGUMENT, "%s (%s): binding %u spans %llu bytes; %s allows %llu", label, kernel,
                             i, (unsigned long long)range->size, device->info.name,
                             (unsigned long long)device->limits.max_range);
    }
    return TUFF_OK;
}

static tuff_result create_pool(dispatch_set *set) {
    tuff_device *device = set->device;
    if (set->count > device->limits.most_dispatches - device->bound_dispatches)
        return error_set(
            TUFF_ERROR_MEMORY,
            "\"%s\" has %u dispatches, beside %u of what is open already; %s can have %u at a time, since it "
            "maps memory for each (vm.max_map_count): use fewer recordings, a smaller batch or shorter "
            "sequences, or raise that number",
            set->name, set->count, device->bound_dispatches, device->info.name, device->limits.most_dispatches);
    const VkDescriptorPoolSize sizes[] = {
        { VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, set->count * MAX_BINDINGS },
        { VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, set->count * MAX_TEXELS },
    };
    const VkDescriptorPoolCreateInfo info = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                              .maxSets = set->count,
                                              .poolSizeCount = 2,
                                              .pPoolSizes = sizes };
    VkResult result = device->vk.vkCreateDescriptorPool(device->handle, &info, NULL, &set->pool);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "creating the descriptors of \"%s\"", set->name);
    device->counters.objects++;
    device->bound_dispatches += set->count;
    object_name(device, VK_OBJECT_TYPE_DESCRIPTOR_POOL, HANDLE(set->pool), set->name);
    return TUFF_OK;
}

/* The first bindings once more, as texel buffers: whole vec4s, up to the last one that begins in the range. Buffers
 * have whole ones. */
static tuff_result bind_texels(tuff_device *device, const dispatch *d, uint32_t count, bound_dispatch *item) {
    for (uint32_t i = 0; i < count; i++) {
        const buffer_range *range = &d->bindings[i < d->binding_count ? i : 0];
        const VkBufferViewCreateInfo info = { .sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                              .buffer = range->buffer->handle,
                                              .format = VK_FORMAT_R32G32B32A32_SFLOAT,
                                              .offset = range->offset,
                                              .range = (range->size + 15) / 16 * 16 };
        VkResult result = device->vk.vkCreateBufferView(device->handle, &info, NULL, &item->texels[i]);
        if (result != VK_SUCCESS) return vulkan_error(device, result, "creating a texel buffer of %s", item->label);
        item->texel_kinds |= ahead_texel_kind(range, i);
        device->counters.objects++;
        object_name(device, VK_OBJECT_TYPE_BUFFER_VIEW, HANDLE(item->texels[i]), item->label);
    }
    const VkWriteDescriptorSet write = { .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                         .dstSet = item->descriptors,
                                         .dstBinding = MAX_BINDINGS,
                                         .descriptorCount = count, /* runs on from binding to binding */
                                         .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
                                         .pTexelBufferView = item->texels };
    device->vk.vkUpdateDescriptorSets(device->handle, 1, &write, 0, NULL);
    return TUFF_OK;
}

static tuff_result bind(dispatch_set *set, const dispatch *d, uint32_t index) {
    tuff_device *device = set->device;
    bound_dispatch *item = &set->items[index];
    TRY(check_dispatch(device, d));
    struct pipeline *pipeline;
    TRY(pipeline_get(device, d->kernel, d->constants, d->constant_count, &pipeline));
    item->label = copy_text(label_of(device, d));
    if (!item->label) return error_out_of_host_memory(strlen(label_of(device, d)) + 1);
    item->pipeline = pipeline->handle;
    item->made = pipeline;
    item->param_count = d->param_count;
    memcpy(item->params, d->params, sizeof item->params);
    memcpy(item->groups, d->groups, sizeof item->groups);

    const VkDescriptorSetAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                               .descriptorPool = set->pool,
                                               .descriptorSetCount = 1,
                                               .pSetLayouts = &device->set_layout };
    VkResult result = device->vk.vkAllocateDescriptorSets(device->handle, &info, &item->descriptors);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "allocating the descriptors of %s", item->label);
    device->counters.objects++;
    object_name(device, VK_OBJECT_TYPE_DESCRIPTOR_SET, HANDLE(item->descriptors), item->label);

    VkDescriptorBufferInfo ranges[MAX_BINDINGS];
    for (uint32_t i = 0; i < MAX_BINDINGS; i++) {
        if (i >= d->binding_count) {
            ranges[i] = ranges[0];
            continue;
        }
        const buffer_range *range = &d->bindings[i];
        ranges[i] = (VkDescriptorBufferInfo){ range->buffer->handle, range->offset, range->size };
        if (!set->range_buffers) continue;
        VkBuffer *own = &set->range_buffers[(size_t)index * MAX_BINDINGS + i];
        TRY(range_buffer_create(range, own));
        object_name(device, VK_OBJECT_TYPE_BUFFER, HANDLE(*own), item->label);
        ranges[i] = (VkDescriptorBufferInfo){ *own, 0, range->size };
    }
    const VkWriteDescriptorSet write = { .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                         .dstSet = item->descriptors,
                                         .descriptorCount = MAX_BINDINGS, /* runs on from binding to binding */
                                         .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                         .pBufferInfo = ranges };
    device->vk.vkUpdateDescriptorSets(device->handle, 1, &write, 0, NULL);
    uint32_t texels = device_kernel(device, d->kernel)->texels;
    return texels ? bind_texels(device, d, texels, item) : TUFF_OK;
}

static int compare_pipelines(const void *a, const void *b) {
    uint64_t x = HANDLE(*(const VkPipeline *)a), y = HANDLE(*(const VkPipeline *)b);
    return x < y ? -1 : x > y;
}

static tuff_result count_pipelines(dispatch_set *set) {
    VkPipeline *list = calloc(set->count + 1, sizeof *list);
    if (!list) return error_out_of_host_memory(set->count * sizeof *list);
    for (uint32_t i = 0; i < set->count; i++) list[i] = set->items[i].pipeline;
    qsort(list, set->count, sizeof *list, compare_pipelines);
    for (uint32_t i = 0; i < set->count; i++) set->pipeline_count += i == 0 || list[i] != list[i - 1];
    free(list);
    return TUFF_OK;
}

tuff_result dispatch_set_create(tuff_device *device, const dispatch *dispatches, uint32_t count, const char *name,
                                dispatch_set **out) {
    *out = NULL;
    dispatch_set *set = calloc(1, sizeof *set);
    if (!set) return error_out_of_host_memory(sizeof *set);
    set->device = device;
    set->count = count;
    set->name = copy_text(name ? name : "dispatches");
    set->items = calloc(count + 1, sizeof *set->items);
    bool ranges = device->instance.validation == TUFF_VALIDATION_GPU;
    if (ranges) set->range_buffers = calloc((size_t)count * MAX_BINDINGS + 1, sizeof *set->range_buffers);
    tuff_result result = TUFF_OK;
    if (!set->name || !set->items || (ranges && !set->range_buffers))
        result = error_out_of_host_memory(count * sizeof *set->items);
    if (result == TUFF_OK && count) result = create_pool(set);
    for (uint32_t i = 0; i < count && result == TUFF_OK; i++) result = bind(set, &dispatches[i], i);
    if (result == TUFF_OK) result = count_pipelines(set);
    if (result != TUFF_OK) {
        dispatch_set_destroy(set);
        return result;
    }
    *out = set;
    return TUFF_OK;
}

void dispatch_set_destroy(dispatch_set *set) {
    if (!set) return;
    if (set->pool) {
        set->device->vk.vkDestroyDescriptorPool(set->device->handle, set->pool, NULL);
        set->device->bound_dispatches -= set->count;
    }
    for (uint32_t i = 0; set->items && i < set->count; i++) {
        for (uint32_t j = 0; j < MAX_TEXELS; j++)
            if (set->items[i].texels[j])
                set->device->vk.vkDestroyBufferView(set->device->handle, set->items[i].texels[j], NULL);
        free(set->items[i].label);
    }
    for (uint32_t i = 0; set->range_buffers && i < set->count * MAX_BINDINGS; i++)
        if (set->range_buffers[i]) set->device->vk.vkDestroyBuffer(set->device->handle, set->range_buffers[i], NULL);
    free(set->range_buffers);
    free(set->items);
    free(set->name);
    free(set);
}

uint32_t dispatch_set_pipelines(const dispatch_set *set) {
    return set->pipeline_count;
}
