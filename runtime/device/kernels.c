/* Kernels: the library's own, which are generated, and a user's, which belong to the device they were given to. */
#include "runtime/device/vulkan_internal.h"

#include <stdlib.h>
#include <string.h>

enum { OP_ENTRY_POINT = 15, OP_DECORATE = 71, HEADER = 5 };
enum { MODEL_COMPUTE = 5, DECORATION_BINDING = 33, DECORATION_SET = 34 };
static const uint32_t MAGIC = 0x07230203;

const struct kernel_code *device_kernel(const tuff_device *device, uint32_t kernel) {
    if (kernel < KERNEL_COUNT) return &kernel_codes[kernel];
    return kernel - KERNEL_COUNT < device->kernel_count ? &device->kernels[kernel - KERNEL_COUNT] : NULL;
}

/* What the runtime must be able to rely on; the rest is the validation layer's. */
static tuff_result check_module(const char *name, const uint32_t *words, size_t size, uint32_t bindings) {
    size_t count = size / sizeof *words;
    bool has_main = false;
    if (size % sizeof *words || count < HEADER || words[0] != MAGIC)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "operator '%s': its %zu bytes are no SPIR-V of this machine's byte order (compile GLSL with "
                         "glslang -V --target-env vulkan1.2)",
                         name, size);
    for (size_t i = HEADER; i < count;) {
        uint32_t op = words[i] & 0xffff, length = words[i] >> 16;
        if (length == 0 || length > count - i)
            return error_set(TUFF_ERROR_ARGUMENT, "operator '%s': its SPIR-V is cut short at word %zu of %zu", name, i,
                             count);
        if (op == OP_ENTRY_POINT && length > 3 && words[i + 1] == MODEL_COMPUTE
            && strncmp((const char *)&words[i + 3], "main", 5) == 0)
            has_main = true;
        if (op == OP_DECORATE && length > 3 && words[i + 2] == DECORATION_BINDING && words[i + 3] >= bindings)
            return error_set(TUFF_ERROR_ARGUMENT,
                             "operator '%s': its shader has a binding %u; inputs and outputs are bindings 0 to %u",
                             name, words[i + 3], bindings - 1);
        if (op == OP_DECORATE && length > 3 && words[i + 2] == DECORATION_SET && words[i + 3] != 0)
            return error_set(TUFF_ERROR_ARGUMENT,
                             "operator '%s': its shader uses descriptor set %u; only set 0 is bound", name,
                             words[i + 3]);
        i += length;
    }
    if (has_main) return TUFF_OK;
    return error_set(TUFF_ERROR_ARGUMENT, "operator '%s': its SPIR-V has no compute shader with the entry point 'main'",
                     name);
}

tuff_result device_add_kernel(tuff_device *device, const char *name, const uint32_t *words, size_t size,
                              uint32_t bindings, uint32_t *kernel) {
    TRY(check_module(name, words, size, bindings));
    for (uint32_t i = 0; i < device->kernel_count; i++)
        if (device->kernels[i].size == size && memcmp(device->kernels[i].words, words, size) == 0) {
            *kernel = KERNEL_COUNT + i;
            return TUFF_OK;
        }
    struct kernel_code *moved = realloc(device->kernels, (device->kernel_count + 1) * sizeof *moved);
    if (!moved) return error_out_of_host_memory((device->kernel_count + 1) * sizeof *moved);
    device->kernels = moved;
    size_t name_size = strlen(name) + 1;
    uint32_t *copy = malloc(size);
    char *name_copy = malloc(name_size);
    if (!copy || !name_copy) {
        free(copy);
        free(name_copy);
        return error_out_of_host_memory(size);
    }
    memcpy(copy, words, size);
    memcpy(name_copy, name, name_size);
    device->kernels[device->kernel_count] = (struct kernel_code){ name_copy, copy, size, false };
    *kernel = KERNEL_COUNT + device->kernel_count++;
    return TUFF_OK;
}

void kernels_finish(tuff_device *device) {
    for (uint32_t i = 0; i < device->kernel_count; i++) {
        free((void *)(uintptr_t)device->kernels[i].name);
        free((void *)(uintptr_t)device->kernels[i].words);
    }
    free(device->kernels);
}
