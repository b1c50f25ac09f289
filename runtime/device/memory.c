/* Device memory: few large blocks, given out in pieces.
 *
 * A block is one VkDeviceMemory of one memory type, persistently mapped where the host can see it. Its pieces form
 * a list in order of their offsets; a new buffer takes the smallest free piece that fits, a destroyed one merges with
 * its free neighbours. A buffer of half a block or more gets a block of its own. A block without buffers is freed. */
#include "runtime/device/vulkan_internal.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 64 << 20 };

typedef struct piece {
    uint64_t offset, size;
    bool used;
    struct piece *previous, *next;
} piece;

struct memory_block {
    struct memory_block *previous, *next;
    VkDeviceMemory handle;
    uint32_t type;
    uint64_t size;
    uint8_t *data; /* mapped, or NULL */
    uint64_t used;
    bool whole; /* made for one buffer */
    piece *pieces;
};

static uint64_t align_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

static const VkBufferUsageFlags buffer_usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
                                               | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT
                                               | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

static VkResult create_handle(tuff_device *device, uint64_t size, VkBuffer *handle) {
    const uint32_t families[] = { device->queues[0].family, device->queues[1].family };
    bool shared = device->has_transfer_queue && families[0] != families[1];
    /* Concurrent: Tuff's buffers are small in number and never images, so ownership transfers would buy nothing. */
    const VkBufferCreateInfo info = { .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                      .size = size,
                                      .usage = buffer_usage,
                                      .sharingMode = shared ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
                                      .queueFamilyIndexCount = shared ? 2 : 0,
                                      .pQueueFamilyIndices = shared ? families : NULL };
    VkResult result = device->vk.vkCreateBuffer(device->handle, &info, NULL, handle);
    if (result == VK_SUCCESS) device->counters.objects++;
    return result;
}

/* ---- memory types ------------------------------------------------------------------------------ */

/* How much a type is wanted for a kind of buffer; negative: not usable. */
static int type_score(const tuff_device *device, buffer_kind kind, VkMemoryPropertyFlags flags) {
    bool local = flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    bool visible = flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    bool coherent = flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    bool cached = flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    /* AMD's types for debugging and protected or lazily allocated ones are slow or unusable. */
    if (flags
        & ~(VkMemoryPropertyFlags)(VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT
                                   | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT))
        return -1;
    bool direct = device->limits.direct;
    switch (kind) {
    case BUFFER_DEVICE: return local * 8 + (direct ? (visible && coherent) * 4 : !visible * 4) + !cached;
    case BUFFER_UPLOAD: return visible ? coherent * 8 + (local == direct) * 4 + !cached : -1;
    case BUFFER_READBACK: return visible ? cached * 8 + coherent * 4 + !local : -1;
    }
    return -1;
}

static tuff_result choose_types(tuff_device *device) {
    /* Buffers of one usage all allow the same types, so one is asked for all. */
    VkBuffer probe;
    VkResult result = create_handle(device, 256, &probe);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "creating a buffer");
    VkMemoryRequirements requirements;
    device->vk.vkGetBufferMemoryRequirements(device->handle, probe, &requirements);
    device->vk.vkDestroyBuffer(device->handle, probe, NULL);
    /* Memory can then be bound at any such offset, as range_buffer_create does. */
    if (requirements.alignment > device->limits.range_alignment)
        device->limits.range_alignment = requirements.alignment;
    for (uint32_t kind = 0; kind < BUFFER_KINDS; kind++) {
        int best = -1;
        uint64_t best_heap = 0;
        for (uint32_t i = 0; i < device->memory.memoryTypeCount; i++) {
            if (!(requirements.memoryTypeBits & 1u << i)) continue;
            const VkMemoryType *type = &device->memory.memoryTypes[i];
            int score = type_score(device, (buffer_kind)kind, type->propertyFlags);
            uint64_t heap = device->memory.memoryHeaps[type->heapIndex].size;
            if (score > best || (score == best && score >= 0 && heap > best_heap)) {
                best = score;
                best_heap = heap;
                device->memory_types[kind] = i;
            }
        }
        if (best < 0)
            return error_set(TUFF_ERROR_DEVICE, "%s has no memory type for storage buffers that the %s",
                             device->info.name, kind == BUFFER_DEVICE ? "device can use" : "host can see");
    }
    return TUFF_OK;
}

tuff_result memory_init(tuff_device *device) {
    return choose_types(device);
}

/* ---- the budget -------------------------------------------------------------------------------- */

static uint64_t heap_available(const tuff_device *device, uint32_t heap) {
    uint64_t available = device->memory.memoryHeaps[heap].size;
    uint64_t used = device->heap_bytes[heap];
    if (device->memory_budget) {
        VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT
        };
        VkPhysicalDeviceMemoryProperties2 memory = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                     .pNext = &budget };
        device->instance.GetPhysicalDeviceMemoryProperties2(device->physical, &memory);
        if (budget.heapBudget[heap]) {
            available = budget.heapBudget[heap];
            /* the whole process's, a host's own allocations and other devices among them */
            if (budget.heapUsage[heap] > used) used = budget.heapUsage[heap];
        }
    }
    available = available > used ? available - used : 0;
    if (device->memory_limit) {
        uint64_t all = device->counters.allocated_bytes;
        uint64_t left = device->memory_limit > all ? device->memory_limit - all : 0;
        if (left < available) available = left;
    }
    return available;
}

uint64_t device_memory_available(const tuff_device *device) {
    return heap_available(device, device->memory.memoryTypes[device->memory_types[BUFFER_DEVICE]].heapIndex);
}

/* ---- blocks ------------------------------------------------------------------------------------ */

static void block_free(tuff_device *device, struct memory_block *block) {
    if (block->previous)
        block->previous->next = block->next;
    else
        device->blocks = block->next;
    if (block->next) block->next->previous = block->previous;
    device->vk.vkFreeMemory(device->handle, block->handle, NULL); /* unmaps it, too */
    device->counters.allocated_bytes -= block->size;
    device->heap_bytes[device->memory.memoryTypes[block->type].heapIndex] -= block->size;
    for (piece *p = block->pieces, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(block);
}

static tuff_result block_allocate(tuff_device *device, uint32_t type, uint64_t size, bool whole,
                                  struct memory_block **out, VkResult *vulkan_result) {
    struct memory_block *block = calloc(1, sizeof *block);
    piece *all = calloc(1, sizeof *all);
    if (!block || !all) {
        free(block), free(all);
        return error_out_of_host_memory(sizeof *block);
    }
    const VkMemoryAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                        .allocationSize = size,
                                        .memoryTypeIndex = type };
    VkResult result = device->vk.vkAllocateMemory(device->handle, &info, NULL, &block->handle);
    if (result == VK_SUCCESS
        && (device->memory.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)) {
        void *data;
        result = device->vk.vkMapMemory(device->handle, block->handle, 0, VK_WHOLE_SIZE, 0, &data);
        if (result == VK_SUCCESS)
            block->data = data;
        else
            device->vk.vkFreeMemory(device->handle, block->handle, NULL);
    }
    *vulkan_result = result;
    if (result != VK_SUCCESS) {
        free(block), free(all);
        return TUFF_OK;
    }
    device->counters.objects++;
    device->counters.allocations++;
    device->counters.allocated_bytes += size;
    device->heap_bytes[device->memory.memoryTypes[type].heapIndex] += size;
    *all = (piece){ .size = size };
    block->pieces = all;
    block->type = type;
    block->size = size;
    block->whole = whole;
    block->next = device->blocks;
    if (block->next) block->next->previous = block;
    device->blocks = block;
    *out = block;
    return TUFF_OK;
}

/* The smallest free piece that holds `size` at `alignment`, in the blocks of a type. */
static piece *find_piece(tuff_device *device, uint32_t type, uint64_t size, uint64_t alignment,
                         struct memory_block **in) {
    piece *best = NULL;
    for (struct memory_block *block = device->blocks; block; block = block->next) {
        if (block->type != type || block->whole || block->size - block->used < size) continue;
        for (piece *p = block->pieces; p; p = p->next) {
            uint64_t lost = align_up(p->offset, alignment) - p->offset;
            if (p->used || p->size < lost + size || (best && best->size <= p->size)) continue;
            best = p;
            *in = block;
        }
    }
    return best;
}

/* Splits what is left behind `size` bytes off. Pieces always start aligned: all sizes are multiples of the
 * largest alignment asked for. */
static bool take_piece(struct memory_block *block, piece *p, uint64_t size) {
    if (p->size > size) {
        piece *rest = malloc(sizeof *rest);
        if (!rest) return false;
        *rest = (piece){ p->offset + size, p->size - size, false, p, p->next };
        if (rest->next) rest->next->previous = rest;
        p->next = rest;
        p->size = size;
    }
    p->used = true;
    block->used += size;
    return true;
}

static void merge_with_next(piece *p) {
    piece *next = p->next;
    if (!next || next->used || p->used) return;
    p->size += next->size;
    p->next = next->next;
    if (p->next) p->next->previous = p;
    free(next);
}

static void give_back(tuff_device *device, struct memory_block *block, uint64_t offset) {
    piece *p = block->pieces;
    while (p->offset != offset) p = p->next;
    p->used = false;
    block->used -= p->size;
    merge_with_next(p);
    if (p->previous) merge_with_next(p->previous);
    if (block->used == 0) block_free(device, block);
}

static tuff_result out_of_memory(tuff_device *device, uint32_t heap, uint64_t size, const char *name) {
    return error_set(TUFF_ERROR_MEMORY,
                     "the buffer \"%s\" asks for %llu bytes, but %llu are available on %s%s; use smaller "
                     "batches or close what else uses the device",
                     name, (unsigned long long)size, (unsigned long long)heap_available(device, heap),
                     device->info.name, device->memory_limit ? " within the memory budget that was set" : "");
}

/* A block with room for `size` bytes: a new one, as large as the heap and the budget suggest. */
static tuff_result new_block(tuff_device *device, uint32_t type, uint64_t size, const char *name,
                             struct memory_block **block) {
    uint32_t heap = device->memory.memoryTypes[type].heapIndex;
    uint64_t available = heap_available(device, heap);
    if (size > available) return out_of_memory(device, heap, size, name);
    uint64_t block_size = BLOCK_SIZE;
    while (block_size > device->memory.memoryHeaps[heap].size / 8 || block_size > available) block_size /= 2;
    bool whole = size > block_size / 2;
    VkResult result;
    TRY(block_allocate(device, type, whole ? size : block_size, whole, block, &result));
    /* A full or fragmented heap may still have room for the buffer alone. */
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY && !whole)
        TRY(block_allocate(device, type, size, true, block, &result));
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
        return out_of_memory(device, heap, size, name);
    if (result != VK_SUCCESS)
        return vulkan_error(device, result, "allocating %llu bytes for %s", (unsigned long long)size, name);
    object_name(device, VK_OBJECT_TYPE_DEVICE_MEMORY, HANDLE((*block)->handle), whole ? name : "block");
    return TUFF_OK;
}

/* ---- buffers ----------------------------------------------------------------------------------- */

static tuff_result bind_memory(tuff_device *device, buffer *b, const char *name) {
    VkMemoryRequirements requirements;
    device->vk.vkGetBufferMemoryRequirements(device->handle, b->handle, &requirements);
    /* Whole atoms, so that flushing one buffer never touches another. */
    uint64_t alignment = requirements.alignment;
    if (alignment < device->limits.range_alignment) alignment = device->limits.range_alignment;
    if (alignment < device->atom) alignment = device->atom;
    uint64_t size = align_up(requirements.size, alignment);
    uint32_t type = device->memory_types[b->kind];
    struct memory_block *block = NULL;
    piece *p = NULL;
    if (size < BLOCK_SIZE / 2) p = find_piece(device, type, size, alignment, &block);
    if (!p) {
        TRY(new_block(device, type, size, name, &block));
        p = block->pieces;
    }
    if (!take_piece(block, p, size)) {
        if (block->used == 0) block_free(device, block);
        return error_out_of_host_memory(sizeof *p);
    }
    b->block = block;
    b->offset = p->offset;
    b->reserved = size;
    if (block->data && (b->kind != BUFFER_DEVICE || device->limits.direct)) b->data = block->data + p->offset;
    VkResult result = device->vk.vkBindBufferMemory(device->handle, b->handle, block->handle, b->offset);
    if (result != VK_SUCCESS) return vulkan_error(device, result, "binding memory to the buffer \"%s\"", name);
    return TUFF_OK;
}

tuff_result buffer_create(tuff_device *device, buffer_kind kind, uint64_t size, const char *name, buffer **out) {
    *out = NULL;
    if (!name) name = "unnamed";
    if (device->lost) return vulkan_error(device, VK_ERROR_DEVICE_LOST, "creating the buffer \"%s\"", name);
    uint32_t heap = device->memory.memoryTypes[device->memory_types[kind]].heapIndex;
    if (size > device->limits.max_allocation) {
        if (size > heap_available(device, heap)) return out_of_memory(device, heap, size, name);
        return error_set(TUFF_ERROR_MEMORY,
                         "the buffer \"%s\" asks for %llu bytes, but one allocation on %s may have %llu "
                         "bytes at most (%llu are available in all)",
                         name, (unsigned long long)size, device->info.name,
                         (unsigned long long)device->limits.max_allocation,
                         (unsigned long long)heap_available(device, heap));
    }
    size = size ? align_up(size, 16) : 16;
    buffer *b = calloc(1, sizeof *b);
    if (!b) return error_out_of_host_memory(sizeof *b);
    b->device = device;
    b->kind = kind;
    b->size = size;
    VkResult created = create_handle(device, size, &b->handle);
    tuff_result result = TUFF_OK;
    if (created == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        result = out_of_memory(device, heap, size, name);
    else if (created != VK_SUCCESS)
        result = vulkan_error(device, created, "creating the buffer \"%s\"", name);
    if (result == TUFF_OK) {
        object_name(device, VK_OBJECT_TYPE_BUFFER, HANDLE(b->handle), name);
        result = bind_memory(device, b, name);
    }
    if (result != TUFF_OK) {
        buffer_destroy(b);
        return result;
    }
    *out = b;
    return TUFF_OK;
}

tuff_result range_buffer_create(const buffer_range *range, VkBuffer *handle) {
    buffer *b = range->buffer;
    VkResult result = create_handle(b->device, range->size, handle);
    if (result == VK_SUCCESS) {
        /* Asked for because the specification wants it before binding; the size fits, since pieces of a block end
         * aligned. */
        VkMemoryRequirements requirements;
        b->device->vk.vkGetBufferMemoryRequirements(b->device->handle, *handle, &requirements);
        result =
            b->device->vk.vkBindBufferMemory(b->device->handle, *handle, b->block->handle, b->offset + range->offset);
    }
    if (result != VK_SUCCESS) return vulkan_error(b->device, result, "creating a buffer of one range");
    return TUFF_OK;
}

void buffer_destroy(buffer *b) {
    if (!b) return;
    b->device->vk.vkDestroyBuffer(b->device->handle, b->handle, NULL);
    if (b->block) give_back(b->device, b->block, b->offset);
    free(b);
}

uint64_t buffer_size(const buffer *b) {
    return b->size;
}

void *buffer_data(buffer *b) {
    return b->data;
}

/* The mapped range in whole atoms, within the buffer's piece of its block. */
static bool atom_range(const buffer *b, uint64_t offset, uint64_t size, VkMappedMemoryRange *range) {
    const tuff_device *device = b->device;
    VkMemoryPropertyFlags flags = device->memory.memoryTypes[b->block->type].propertyFlags;
    if (!(flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) || (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) || size == 0)
        return false;
    uint64_t begin = (b->offset + offset) / device->atom * device->atom;
    uint64_t end = align_up(b->offset + offset + size, device->atom);
    if (end > b->offset + b->reserved) end = b->offset + b->reserved;
    *range = (VkMappedMemoryRange){
        .sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, .memory = b->block->handle, .offset = begin, .size = end - begin
    };
    return true;
}

void buffer_flush(buffer *b, uint64_t offset, uint64_t size) {
    VkMappedMemoryRange range;
    if (atom_range(b, offset, size, &range)) b->device->vk.vkFlushMappedMemoryRanges(b->device->handle, 1, &range);
}

void buffer_invalidate(buffer *b, uint64_t offset, uint64_t size) {
    VkMappedMemoryRange range;
    if (atom_range(b, offset, size, &range)) b->device->vk.vkInvalidateMappedMemoryRanges(b->device->handle, 1, &range);
}

tuff_result range_check(const buffer_range *range, const char *what) {
    if (!range->buffer) return error_set(TUFF_ERROR_ARGUMENT, "%s: the range has no buffer", what);
    if (range->size == 0 || range->size % 4 || range->offset % 4 || range->offset > range->buffer->size
        || range->size > range->buffer->size - range->offset)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "%s: the range of %llu bytes at %llu does not lie in its buffer of %llu bytes, or "
                         "is empty or no multiple of 4",
                         what, (unsigned long long)range->size, (unsigned long long)range->offset,
                         (unsigned long long)range->buffer->size);
    return TUFF_OK;
}

void memory_finish(tuff_device *device) {
    /* Buffers are destroyed by their owners; what is left would be a leak of theirs, its memory goes with the device.
     */
    while (device->blocks) block_free(device, device->blocks);
}
