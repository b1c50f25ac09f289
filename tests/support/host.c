#include "host.h"
#include "support.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what) {
    fprintf(stderr, "the test's host: %s failed\n", what);
    exit(1);
}

static VKAPI_ATTR VkBool32 VKAPI_CALL receive(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                              VkDebugUtilsMessageTypeFlagsEXT types,
                                              const VkDebugUtilsMessengerCallbackDataEXT *data, void *user) {
    (void)types;
    bool error = severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    test_log(user, error ? TUFF_LOG_ERROR : TUFF_LOG_WARNING, data->pMessage);
    return VK_FALSE;
}

#define INSTANCE_FUNCTION(host, name) ((PFN_##name)(host)->get_instance_proc_addr((host)->instance, #name))

static void create_instance(test_host *host) {
    bool validate = test_validating(false);
    host->debug_utils = true; /* Debian's loader and layer both have it */
    const char *layers[] = { "VK_LAYER_KHRONOS_validation" };
    const char *extensions[] = { VK_EXT_DEBUG_UTILS_EXTENSION_NAME };
    const VkApplicationInfo application = { .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                            .pApplicationName = "host",
                                            .apiVersion = VK_API_VERSION_1_2 };
    const VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = receive,
    };
    const VkValidationFeatureEnableEXT enables[] = { VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT };
    const VkValidationFeaturesEXT features = { .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                               .enabledValidationFeatureCount = 1,
                                               .pEnabledValidationFeatures = enables };
    const VkInstanceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                        .pNext = validate ? &features : NULL,
                                        .pApplicationInfo = &application,
                                        .enabledLayerCount = validate ? 1 : 0,
                                        .ppEnabledLayerNames = layers,
                                        .enabledExtensionCount = 1,
                                        .ppEnabledExtensionNames = extensions };
    if (INSTANCE_FUNCTION(host, vkCreateInstance)(&info, NULL, &host->instance) != VK_SUCCESS) die("vkCreateInstance");
    if (validate
        && INSTANCE_FUNCTION(host, vkCreateDebugUtilsMessengerEXT)(host->instance, &messenger, NULL, &host->messenger))
        die("vkCreateDebugUtilsMessengerEXT");
}

static uint32_t chosen_device(void) {
    tuff_device_info infos[16];
    uint32_t count = 16;
    if (tuff_device_list(NULL, infos, &count) != TUFF_OK) die(tuff_last_message());
    for (uint32_t i = 0; i < count && i < 16; i++)
        if (infos[i].chosen) return i;
    die("finding a device");
    return 0;
}

void test_host_open(test_host *host) {
    memset(host, 0, sizeof *host);
    void *module = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    void *symbol = module ? dlsym(module, "vkGetInstanceProcAddr") : NULL;
    if (!symbol) die("opening libvulkan.so.1");
    memcpy(&host->get_instance_proc_addr, &symbol, sizeof symbol);
    create_instance(host);

    VkPhysicalDevice devices[16];
    uint32_t count = 16, index = chosen_device();
    if (INSTANCE_FUNCTION(host, vkEnumeratePhysicalDevices)(host->instance, &count, devices) < 0 || index >= count)
        die("vkEnumeratePhysicalDevices");
    host->physical_device = devices[index];
    VkQueueFamilyProperties families[16];
    PFN_vkGetPhysicalDeviceQueueFamilyProperties get_families =
        INSTANCE_FUNCTION(host, vkGetPhysicalDeviceQueueFamilyProperties);
    get_families(host->physical_device, &count, NULL);
    if (count > 16) count = 16;
    get_families(host->physical_device, &count, families);
    while (host->queue_family < count && !(families[host->queue_family].queueFlags & VK_QUEUE_COMPUTE_BIT))
        host->queue_family++;
    if (host->queue_family == count) die("finding a queue family with compute");

    const float priority = 1;
    const VkDeviceQueueCreateInfo queue = { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                            .queueFamilyIndex = host->queue_family,
                                            .queueCount = 1,
                                            .pQueuePriorities = &priority };
    const VkPhysicalDeviceVulkan12Features features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                        .timelineSemaphore = VK_TRUE };
    const VkDeviceCreateInfo info = { .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                      .pNext = &features,
                                      .queueCreateInfoCount = 1,
                                      .pQueueCreateInfos = &queue };
    if (INSTANCE_FUNCTION(host, vkCreateDevice)(host->physical_device, &info, NULL, &host->device) != VK_SUCCESS)
        die("vkCreateDevice");
    PFN_vkGetDeviceProcAddr load = INSTANCE_FUNCTION(host, vkGetDeviceProcAddr);
#define LOAD_FUNCTION(name)                                                                                            \
    host->name = (PFN_vk##name)load(host->device, "vk" #name);                                                         \
    if (!host->name) die("loading vk" #name);
    TEST_HOST_FUNCTIONS(LOAD_FUNCTION)
#undef LOAD_FUNCTION
    host->GetDeviceQueue(host->device, host->queue_family, 0, &host->queue);
}

void test_host_close(test_host *host) {
    host->DeviceWaitIdle(host->device);
    host->DestroyDevice(host->device, NULL);
    if (host->messenger)
        INSTANCE_FUNCTION(host, vkDestroyDebugUtilsMessengerEXT)(host->instance, host->messenger, NULL);
    INSTANCE_FUNCTION(host, vkDestroyInstance)(host->instance, NULL);
}

tuff_vulkan_device_desc test_host_desc(const test_host *host) {
    return (tuff_vulkan_device_desc){ .get_instance_proc_addr = host->get_instance_proc_addr,
                                      .instance = host->instance,
                                      .physical_device = host->physical_device,
                                      .device = host->device,
                                      .queue = host->queue,
                                      .queue_family = host->queue_family,
                                      .debug_utils = host->debug_utils,
                                      .log = test_log };
}
