/* A host that loads Vulkan through its own volk, with volk's globals in it, and has functions under names that Tuff
 * uses inside: it must link with the static library without a clash, and both must work side by side. */
#define VOLK_IMPLEMENTATION
#include <volk.h>

#include <stdio.h>

#include <tuff/tuff.h>

/* the names of internal functions: with a hidden symbol left global the linker would report them twice */
int error_set(void);
int buffer_create(void);
int graph_create(void);
int kernel_codes(void);
int error_set(void) {
    return 1;
}
int buffer_create(void) {
    return 2;
}
int graph_create(void) {
    return 3;
}
int kernel_codes(void) {
    return 4;
}

int main(void) {
    if (error_set() + buffer_create() + graph_create() + kernel_codes() != 10) return 1;
    if (volkInitialize() != VK_SUCCESS) {
        fprintf(stderr, "no Vulkan loader\n");
        return 1;
    }
    VkApplicationInfo app = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_2 };
    VkInstanceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &app };
    VkInstance instance;
    if (vkCreateInstance(&info, NULL, &instance) != VK_SUCCESS) {
        fprintf(stderr, "vkCreateInstance failed\n");
        return 1;
    }
    volkLoadInstance(instance);
    PFN_vkEnumeratePhysicalDevices before = vkEnumeratePhysicalDevices;

    tuff_device *device = NULL;
    if (tuff_device_open(NULL, &device) != TUFF_OK) {
        fprintf(stderr, "tuff_device_open: %s\n", tuff_last_message());
        return 1;
    }
    tuff_device_close(device);

    uint32_t count = 0;
    int same = before == vkEnumeratePhysicalDevices;
    int works = vkEnumeratePhysicalDevices(instance, &count, NULL) == VK_SUCCESS && count > 0;
    vkDestroyInstance(instance, NULL);
    if (!same || !works) fprintf(stderr, "the host's own function table was changed\n");
    return same && works ? 0 : 1;
}
