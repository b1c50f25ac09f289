/* Recording: dispatches, copies, barriers, labels and timestamps, into command buffers of our own or a host's. */
#include "runtime/device/vulkan_internal.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct commands) <= sizeof(foreign_commands), "a wrapped command buffer fits its storage");

tuff_result commands_create_for(tuff_device *device, queue_kind queue, const char *name, commands **out) {
    *out = NULL;
    commands *c = calloc(1, sizeof *c);
    if (!c) return error_out_of_host_memory(sizeof *c);
    c->device = device;
    c->queue = device->has_transfer_queue ? queue : QUEUE_COMPUTE;
    const VkCommandBufferAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                               .commandPool = device->queues[c->queue].pool,
                                               .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                               .commandBufferCount = 1 };
    VkResult result = device->vk.vkAllocateCommandBuffers(device->handle, &info, &c->handle);
    if (result != VK_SUCCESS) {
        free(c);
        return vulkan_error(device, result, "allocating the command buffer \"%s\"", name ? name : "unnamed");
    }
    device->counters.objects++;
    object_name(device, VK_OBJECT_TYPE_COMMAND_BUFFER, HANDLE(c->handle), name);
    *out = c;
    return TUFF_OK;
}

tuff_result commands_create(tuff_device *device, const char *name, commands **out) {
    return commands_create_for(device, QUEUE_COMPUTE, name, out);
}

void commands_destroy(commands *c) {
    if (!c) return;
    c->device->vk.vkFreeCommandBuffers(c->device->handle, c->device->queues[c->queue].pool, 1, &c->handle);
    free(c);
}

tuff_result commands_begin(commands *c) {
    const VkCommandBufferBeginInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };
    VkResult result = c->device->vk.vkBeginCommandBuffer(c->handle, &info);
    c->bound = VK_NULL_HANDLE;
    c->result = TUFF_OK;
    c->device->counters.recordings++;
    if (result != VK_SUCCESS) return c->result = vulkan_error(c->device, result, "beginning a command buffer");
    return TUFF_OK;
}

tuff_result commands_end(commands *c) {
    VkResult result = c->device->vk.vkEndCommandBuffer(c->handle);
    if (c->result != TUFF_OK) return c->result; /* the message is the thread's latest still */
    if (result != VK_SUCCESS) c->result = vulkan_error(c->device, result, "recording a command buffer");
    return c->result;
}

commands *commands_wrap(tuff_device *device, void *vk_command_buffer, foreign_commands *storage) {
    commands *c = (commands *)storage->opaque;
    *c = (commands){ .device = device, .handle = vk_command_buffer, .queue = QUEUE_COMPUTE };
    return c;
}

static void fail(commands *c, tuff_result result) {
    if (c->result == TUFF_OK) c->result = result;
}

void commands_dispatch(commands *c, const dispatch_set *set, uint32_t index) {
    if (index >= set->count) {
        fail(c, error_set(TUFF_ERROR_ARGUMENT, "dispatch %u of \"%s\", which has %u", index, set->name, set->count));
        return;
    }
    commands_dispatch_part(c, set, index, (const uint32_t[]){ 0, 0, 0 }, set->items[index].groups);
}

void commands_dispatch_part(commands *c, const dispatch_set *set, uint32_t index, const uint32_t base[3],
                            const uint32_t groups[3]) {
    const struct VolkDeviceTable *vk = &c->device->vk;
    if (index >= set->count) {
        fail(c, error_set(TUFF_ERROR_ARGUMENT, "dispatch %u of \"%s\", which has %u", index, set->name, set->count));
        return;
    }
    const bound_dispatch *item = &set->items[index];
    VkPipelineLayout layout = c->device->pipeline_layout;
    commands_label_begin(c, item->label);
    if (c->bound != item->pipeline) {
        vk->vkCmdBindPipeline(c->handle, VK_PIPELINE_BIND_POINT_COMPUTE, item->pipeline);
        c->bound = item->pipeline;
    }
    vk->vkCmdBindDescriptorSets(c->handle, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &item->descriptors, 0, NULL);
    if (item->param_count)
        vk->vkCmdPushConstants(c->handle, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               item->param_count * (uint32_t)sizeof(uint32_t), item->params);
    if (base[0] || base[1] || base[2])
        vk->vkCmdDispatchBase(c->handle, base[0], base[1], base[2], groups[0], groups[1], groups[2]);
    else
        vk->vkCmdDispatch(c->handle, groups[0], groups[1], groups[2]);
    commands_label_end(c);
}

void commands_copy(commands *c, buffer_range from, buffer_range to) {
    tuff_result result = range_check(&from, "copying from");
    if (result == TUFF_OK) result = range_check(&to, "copying to");
    if (result == TUFF_OK && from.size != to.size)
        result = error_set(TUFF_ERROR_ARGUMENT, "copying %llu bytes to %llu", (unsigned long long)from.size,
                           (unsigned long long)to.size);
    if (result != TUFF_OK) {
        fail(c, result);
        return;
    }
    const VkBufferCopy region = { from.offset, to.offset, from.size };
    c->device->vk.vkCmdCopyBuffer(c->handle, from.buffer->handle, to.buffer->handle, 1, &region);
}

void commands_fill(commands *c, buffer_range range, uint32_t word) {
    tuff_result result = range_check(&range, "filling");
    if (result != TUFF_OK) {
        fail(c, result);
        return;
    }
    c->device->vk.vkCmdFillBuffer(c->handle, range.buffer->handle, range.offset, range.size, word);
}

static VkPipelineStageFlags stages_of(uint32_t uses) {
    VkPipelineStageFlags stages = 0;
    if (uses & (USE_KERNEL_READ | USE_KERNEL_WRITE)) stages |= VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
    if (uses & (USE_COPY_READ | USE_COPY_WRITE)) stages |= VK_PIPELINE_STAGE_TRANSFER_BIT;
    if (uses & (USE_HOST_READ | USE_HOST_WRITE)) stages |= VK_PIPELINE_STAGE_HOST_BIT;
    return stages;
}

static VkAccessFlags access_of(uint32_t uses) {
    VkAccessFlags access = 0;
    if (uses & USE_KERNEL_READ) access |= VK_ACCESS_SHADER_READ_BIT;
    if (uses & USE_KERNEL_WRITE) access |= VK_ACCESS_SHADER_WRITE_BIT;
    if (uses & USE_COPY_READ) access |= VK_ACCESS_TRANSFER_READ_BIT;
    if (uses & USE_COPY_WRITE) access |= VK_ACCESS_TRANSFER_WRITE_BIT;
    if (uses & USE_HOST_READ) access |= VK_ACCESS_HOST_READ_BIT;
    if (uses & USE_HOST_WRITE) access |= VK_ACCESS_HOST_WRITE_BIT;
    return access;
}

void commands_barrier(commands *c, uint32_t before, uint32_t after) {
    const uint32_t writes = USE_KERNEL_WRITE | USE_COPY_WRITE | USE_HOST_WRITE;
    /* A copy engine's queue has no compute stage. */
    uint32_t kernel_uses = USE_KERNEL_READ | USE_KERNEL_WRITE;
    bool computes = c->queue == QUEUE_COMPUTE;
    VkPipelineStageFlags source = stages_of(computes ? before : before & ~kernel_uses);
    VkPipelineStageFlags target = stages_of(computes ? after : after & ~kernel_uses);
    /* Reads need no flush: only an execution dependency keeps a later write behind them. */
    const VkMemoryBarrier barrier = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                      .srcAccessMask = access_of(before & writes & (computes ? ~0u : ~kernel_uses)),
                                      .dstAccessMask = access_of(computes ? after : after & ~kernel_uses) };
    c->device->vk.vkCmdPipelineBarrier(c->handle, source ? source : VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT,
                                       target ? target : VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, 0, 1, &barrier, 0, NULL,
                                       0, NULL);
}

void commands_label_begin(commands *c, const char *label) {
    if (!c->device->instance.CmdBeginDebugUtilsLabelEXT || !label) return;
    const VkDebugUtilsLabelEXT info = { .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT, .pLabelName = label };
    c->device->instance.CmdBeginDebugUtilsLabelEXT(c->handle, &info);
}

void commands_label_end(commands *c) {
    if (c->device->instance.CmdEndDebugUtilsLabelEXT) c->device->instance.CmdEndDebugUtilsLabelEXT(c->handle);
}

/* ---- timestamps -------------------------------------------------------------------------------- */

struct timestamps {
    tuff_device *device;
    VkQueryPool pool;
    uint32_t count;
    uint64_t *ticks;
};

tuff_result timestamps_create(tuff_device *device, uint32_t count, timestamps **out) {
    *out = NULL;
    if (device->limits.timestamp_period == 0 || device->timestamp_bits[QUEUE_COMPUTE] == 0)
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s has no timestamps on its compute queue", device->info.name);
    if (count == 0) return error_set(TUFF_ERROR_ARGUMENT, "timestamps_create: count is 0");
    timestamps *t = calloc(1, sizeof *t);
    uint64_t *ticks = calloc(count, sizeof *ticks);
    if (!t || !ticks) {
        free(t), free(ticks);
        return error_out_of_host_memory(count * sizeof *ticks);
    }
    *t = (timestamps){ .device = device, .count = count, .ticks = ticks };
    const VkQueryPoolCreateInfo info = { .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                         .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                         .queryCount = count };
    VkResult result = device->vk.vkCreateQueryPool(device->handle, &info, NULL, &t->pool);
    if (result != VK_SUCCESS) {
        free(t), free(ticks);
        return vulkan_error(device, result, "creating %u timestamps", count);
    }
    device->counters.objects++;
    *out = t;
    return TUFF_OK;
}

void timestamps_destroy(timestamps *t) {
    if (!t) return;
    t->device->vk.vkDestroyQueryPool(t->device->handle, t->pool, NULL);
    free(t->ticks);
    free(t);
}

void commands_timestamp(commands *c, timestamps *t, uint32_t index) {
    if (index >= t->count) {
        fail(c, error_set(TUFF_ERROR_ARGUMENT, "timestamp %u of %u", index, t->count));
        return;
    }
    c->device->vk.vkCmdResetQueryPool(c->handle, t->pool, index, 1);
    c->device->vk.vkCmdWriteTimestamp(c->handle, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, t->pool, index);
}

tuff_result timestamps_read(timestamps *t, double *nanoseconds) {
    tuff_device *device = t->device;
    VkResult result =
        device->vk.vkGetQueryPoolResults(device->handle, t->pool, 0, t->count, t->count * sizeof *t->ticks, t->ticks,
                                         sizeof *t->ticks, VK_QUERY_RESULT_64_BIT);
    if (result == VK_NOT_READY)
        return error_set(TUFF_ERROR_STATE, "timestamps are read before the work that writes them is done");
    if (result != VK_SUCCESS) return vulkan_error(device, result, "reading timestamps");
    uint32_t bits = device->timestamp_bits[QUEUE_COMPUTE];
    uint64_t mask = bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    for (uint32_t i = 0; i < t->count; i++)
        nanoseconds[i] = (double)(t->ticks[i] & mask) * device->limits.timestamp_period;
    return TUFF_OK;
}
