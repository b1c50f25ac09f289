/* Queues: each has a timeline semaphore that counts its submissions. */
#include "runtime/device/vulkan_internal.h"

enum { MAX_SUBMITTED = 64, MAX_WAITS = 8 };

/* The queue that a kind means on this device. */
static device_queue *queue_of(tuff_device *device, queue_kind kind) {
    return &device->queues[device->has_transfer_queue ? kind : QUEUE_COMPUTE];
}

tuff_result queues_init(tuff_device *device) {
    for (uint32_t i = 0; i < (device->has_transfer_queue ? 2u : 1u); i++) {
        device_queue *queue = &device->queues[i];
        if (device->owned) device->vk.vkGetDeviceQueue(device->handle, queue->family, 0, &queue->handle);
        const VkSemaphoreTypeCreateInfo type = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                                 .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE };
        const VkSemaphoreCreateInfo info = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type };
        VkResult result = device->vk.vkCreateSemaphore(device->handle, &info, NULL, &queue->timeline);
        if (result != VK_SUCCESS) return vulkan_error(device, result, "creating a timeline semaphore");
        const VkCommandPoolCreateInfo pool = { .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                               .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                               .queueFamilyIndex = queue->family };
        result = device->vk.vkCreateCommandPool(device->handle, &pool, NULL, &queue->pool);
        if (result != VK_SUCCESS) return vulkan_error(device, result, "creating a command pool");
        device->counters.objects += 2;
        const char *name = i == QUEUE_COMPUTE ? "compute" : "transfer";
        object_name(device, VK_OBJECT_TYPE_SEMAPHORE, HANDLE(queue->timeline), name);
        object_name(device, VK_OBJECT_TYPE_COMMAND_POOL, HANDLE(queue->pool), name);
        if (device->owned) object_name(device, VK_OBJECT_TYPE_QUEUE, HANDLE(queue->handle), name);
    }
    return TUFF_OK;
}

void queues_finish(tuff_device *device) {
    for (uint32_t i = 0; i < (device->has_transfer_queue ? 2u : 1u); i++) {
        device_queue *queue = &device->queues[i];
        if (queue->pool) device->vk.vkDestroyCommandPool(device->handle, queue->pool, NULL);
        if (queue->timeline) device->vk.vkDestroySemaphore(device->handle, queue->timeline, NULL);
    }
}

bool device_has_transfer_queue(const tuff_device *device) {
    return device->has_transfer_queue;
}

tuff_result queue_submit(tuff_device *device, queue_kind kind, commands *const *list, uint32_t count,
                         const queue_point *after, uint32_t after_count, queue_point *done) {
    device_queue *queue = queue_of(device, kind);
    if (device->lost) return vulkan_error(device, VK_ERROR_DEVICE_LOST, "submitting work");
    if (count > MAX_SUBMITTED || after_count > MAX_WAITS)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "a submission has %u command buffers and %u waits; %d and %d are possible", count, after_count,
                         MAX_SUBMITTED, MAX_WAITS);
    VkCommandBuffer handles[MAX_SUBMITTED];
    for (uint32_t i = 0; i < count; i++) {
        TRY(list[i]->result);
        if (queue_of(device, list[i]->queue) != queue)
            return error_set(TUFF_ERROR_STATE, "commands made for another queue are submitted to the %s queue",
                             kind == QUEUE_COMPUTE ? "compute" : "transfer");
        handles[i] = list[i]->handle;
    }
    VkSemaphore waits[MAX_WAITS];
    uint64_t values[MAX_WAITS];
    VkPipelineStageFlags stages[MAX_WAITS];
    uint32_t wait_count = 0;
    for (uint32_t i = 0; i < after_count; i++) {
        if (after[i].value == 0) continue;
        /* Waited for even when it is past: the wait also makes that work's writes visible here. */
        waits[wait_count] = queue_of(device, after[i].queue)->timeline;
        values[wait_count] = after[i].value;
        stages[wait_count++] = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    }
    uint64_t value = queue->submitted + 1;
    const VkTimelineSemaphoreSubmitInfo timeline = { .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                                     .waitSemaphoreValueCount = wait_count,
                                                     .pWaitSemaphoreValues = values,
                                                     .signalSemaphoreValueCount = 1,
                                                     .pSignalSemaphoreValues = &value };
    const VkSubmitInfo info = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                .pNext = &timeline,
                                .waitSemaphoreCount = wait_count,
                                .pWaitSemaphores = waits,
                                .pWaitDstStageMask = stages,
                                .commandBufferCount = count,
                                .pCommandBuffers = handles,
                                .signalSemaphoreCount = 1,
                                .pSignalSemaphores = &queue->timeline };
    VkResult result = device->vk.vkQueueSubmit(queue->handle, 1, &info, VK_NULL_HANDLE);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "submitting work");
    queue->submitted = value;
    device->counters.submissions++;
    if (done) *done = (queue_point){ kind, value };
    return TUFF_OK;
}

static tuff_result wait_semaphore(tuff_device *device, VkSemaphore semaphore, uint64_t value) {
    const VkSemaphoreWaitInfo info = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                       .semaphoreCount = 1,
                                       .pSemaphores = &semaphore,
                                       .pValues = &value };
    VkResult result = device->vk.vkWaitSemaphores(device->handle, &info, UINT64_MAX);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "waiting for submitted work");
    return TUFF_OK;
}

tuff_result queue_wait(tuff_device *device, queue_point point) {
    device_queue *queue = queue_of(device, point.queue);
    if (point.value <= queue->reached) return TUFF_OK;
    if (device->lost) return vulkan_error(device, VK_ERROR_DEVICE_LOST, "waiting for submitted work");
    if (point.value > queue->submitted)
        return error_set(TUFF_ERROR_STATE, "waiting for submission %llu of a queue that has %llu",
                         (unsigned long long)point.value, (unsigned long long)queue->submitted);
    TRY(wait_semaphore(device, queue->timeline, point.value));
    queue->reached = point.value;
    return TUFF_OK;
}

bool queue_reached(tuff_device *device, queue_point point) {
    device_queue *queue = queue_of(device, point.queue);
    if (point.value <= queue->reached) return true;
    uint64_t value = 0;
    VkResult result = device->vk.vkGetSemaphoreCounterValue(device->handle, queue->timeline, &value);
    if (result == VK_ERROR_DEVICE_LOST) device->lost = true;
    /* a lost device's counter may show anything */
    if (result != VK_SUCCESS || value > queue->submitted) return false;
    queue->reached = value;
    return point.value <= value;
}

tuff_result queue_wait_foreign(tuff_device *device, uint64_t vk_semaphore, uint64_t value) {
    VkSemaphore semaphore;
    /* a pointer on 64-bit systems, a number on 32-bit ones */
#if defined(VK_USE_64_BIT_PTR_DEFINES) && VK_USE_64_BIT_PTR_DEFINES
    semaphore = (VkSemaphore)(uintptr_t)vk_semaphore;
#else
    semaphore = (VkSemaphore)vk_semaphore;
#endif
    if (device->lost) return vulkan_error(device, VK_ERROR_DEVICE_LOST, "waiting for the host's work");
    return wait_semaphore(device, semaphore, value);
}

tuff_result queues_wait_all(tuff_device *device) {
    for (uint32_t i = 0; i < (device->has_transfer_queue ? 2u : 1u); i++) {
        if (!device->queues[i].timeline) continue;
        TRY(queue_wait(device, (queue_point){ (queue_kind)i, device->queues[i].submitted }));
    }
    return TUFF_OK;
}
