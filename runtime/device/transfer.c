/* One-off transfers between the host and the device, which wait until they are done.
 *
 * Mapped memory is copied directly, after a submission that does nothing but make everything written before visible
 * to the host. Other memory goes through a staging buffer for each direction, kept by the device, in chunks. */
#include "runtime/device/vulkan_internal.h"

#include <string.h>

enum { STAGING_MIN = 64 << 10, STAGING_MAX = 16 << 20 };

enum { UP = 0, DOWN = 1 };

/* The barriers here are as wide as they can be: what comes after a one-off transfer then needs none against what came
 * before it, not even in memory that passed from a destroyed buffer to a new one. */
static const uint32_t all_uses = USE_KERNEL_READ | USE_KERNEL_WRITE | USE_COPY_READ | USE_COPY_WRITE;
static const uint32_t host_uses = USE_HOST_READ | USE_HOST_WRITE;

static tuff_result submit_and_wait(tuff_device *device, commands *c) {
    /* The transfer queue's work is "before" as well. */
    const queue_point after = { QUEUE_TRANSFER,
                                device->has_transfer_queue ? device->queues[QUEUE_TRANSFER].submitted : 0 };
    queue_point done;
    TRY(queue_submit(device, QUEUE_COMPUTE, &c, 1, &after, 1, &done));
    return queue_wait(device, done);
}

/* Afterwards all submitted work is done and its writes can be read, and overwritten, by the host. */
static tuff_result sync_with_host(tuff_device *device) {
    uint64_t submitted = device->queues[QUEUE_COMPUTE].submitted;
    if (device->has_transfer_queue) submitted += device->queues[QUEUE_TRANSFER].submitted;
    if (device->synced == submitted) return TUFF_OK;
    if (!device->host_barrier) {
        commands *c;
        TRY(commands_create(device, "host barrier", &c));
        tuff_result result = commands_begin(c);
        if (result == TUFF_OK) {
            commands_barrier(c, all_uses, all_uses | host_uses);
            result = commands_end(c);
        }
        if (result != TUFF_OK) {
            commands_destroy(c);
            return result;
        }
        device->host_barrier = c;
    }
    TRY(submit_and_wait(device, device->host_barrier));
    device->synced = submitted + 1;
    return TUFF_OK;
}

static tuff_result get_staging(tuff_device *device, int direction, uint64_t size, buffer **out) {
    buffer **staging = &device->staging[direction];
    uint64_t wanted = STAGING_MIN;
    while (wanted < size && wanted < STAGING_MAX) wanted *= 2;
    if (!*staging || (*staging)->size < wanted) {
        buffer *larger;
        buffer_kind kind = direction == UP ? BUFFER_UPLOAD : BUFFER_READBACK;
        tuff_result result =
            buffer_create(device, kind, wanted, direction == UP ? "staging up" : "staging down", &larger);
        if (result == TUFF_OK) {
            buffer_destroy(*staging); /* nothing uses it: every transfer waits */
            *staging = larger;
        } else if (!*staging) {
            return result;
        } /* else the smaller one does, in more chunks */
    }
    *out = *staging;
    return TUFF_OK;
}

static tuff_result begin(tuff_device *device) {
    if (!device->transfer_commands) TRY(commands_create(device, "transfer", &device->transfer_commands));
    TRY(commands_begin(device->transfer_commands));
    commands_barrier(device->transfer_commands, all_uses, all_uses);
    return TUFF_OK;
}

static tuff_result check(tuff_device *device, const buffer_range *range, const void *data, const char *what) {
    TRY(range_check(range, what));
    if (!data) return error_set(TUFF_ERROR_ARGUMENT, "%s: there is no data", what);
    if (device->lost) return vulkan_error(device, VK_ERROR_DEVICE_LOST, "%s", what);
    return TUFF_OK;
}

tuff_result device_upload(tuff_device *device, buffer_range to, const void *data) {
    TRY(check(device, &to, data, "uploading"));
    if (to.buffer->data) {
        TRY(sync_with_host(device));
        memcpy((uint8_t *)to.buffer->data + to.offset, data, to.size);
        buffer_flush(to.buffer, to.offset, to.size);
        return TUFF_OK;
    }
    buffer *staging;
    TRY(get_staging(device, UP, to.size, &staging));
    for (uint64_t done = 0; done < to.size;) {
        uint64_t size = to.size - done < staging->size ? to.size - done : staging->size;
        memcpy(staging->data, (const uint8_t *)data + done, size);
        buffer_flush(staging, 0, size);
        TRY(begin(device));
        commands *c = device->transfer_commands;
        commands_copy(c, (buffer_range){ staging, 0, size }, (buffer_range){ to.buffer, to.offset + done, size });
        commands_barrier(c, USE_COPY_READ | USE_COPY_WRITE, all_uses);
        TRY(commands_end(c));
        TRY(submit_and_wait(device, c));
        done += size;
    }
    return TUFF_OK;
}

tuff_result device_download(tuff_device *device, buffer_range from, void *data) {
    TRY(check(device, &from, data, "downloading"));
    if (from.buffer->data) {
        TRY(sync_with_host(device));
        buffer_invalidate(from.buffer, from.offset, from.size);
        memcpy(data, (const uint8_t *)from.buffer->data + from.offset, from.size);
        return TUFF_OK;
    }
    buffer *staging;
    TRY(get_staging(device, DOWN, from.size, &staging));
    for (uint64_t done = 0; done < from.size;) {
        uint64_t size = from.size - done < staging->size ? from.size - done : staging->size;
        TRY(begin(device));
        commands *c = device->transfer_commands;
        commands_copy(c, (buffer_range){ from.buffer, from.offset + done, size }, (buffer_range){ staging, 0, size });
        commands_barrier(c, USE_COPY_READ | USE_COPY_WRITE, all_uses | USE_HOST_READ);
        TRY(commands_end(c));
        TRY(submit_and_wait(device, c));
        buffer_invalidate(staging, 0, size);
        memcpy((uint8_t *)data + done, staging->data, size);
        done += size;
    }
    return TUFF_OK;
}

tuff_result device_fill(tuff_device *device, buffer_range range, uint32_t word) {
    TRY(check(device, &range, &word, "filling"));
    TRY(begin(device));
    commands *c = device->transfer_commands;
    commands_fill(c, range, word);
    commands_barrier(c, USE_COPY_WRITE, all_uses | host_uses);
    TRY(commands_end(c));
    return submit_and_wait(device, c);
}

void transfer_finish(tuff_device *device) {
    commands_destroy(device->host_barrier);
    commands_destroy(device->transfer_commands);
    buffer_destroy(device->staging[UP]);
    buffer_destroy(device->staging[DOWN]);
}
