/* volk's sources, compiled once, for their generated loader of a device's functions.
 *
 * volk's own interface fills global function pointers, which serve one instance and one device. Tuff may have
 * many, of several drivers, so only the generator is called, which is static: hence the include of a .c. */
#ifndef VK_NO_PROTOTYPES
#define VK_NO_PROTOTYPES
#endif
#include <volk.c>

#include "runtime/device/vulkan_internal.h"

typedef struct load_context {
    PFN_vkGetDeviceProcAddr load;
    VkDevice device;
} load_context;

static PFN_vkVoidFunction load_function(void *context, const char *name) {
    const load_context *c = context;
    return c->load(c->device, name);
}

void device_table_load(struct VolkDeviceTable *table, VkDevice device, PFN_vkGetDeviceProcAddr load) {
    load_context context = { load, device };
    volkGenLoadDeviceTable(table, &context, load_function);
}
