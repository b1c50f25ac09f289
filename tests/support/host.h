/* A host that has its own Vulkan instance and device, as a game engine has, and lends them to Tuff. */
#ifndef TUFF_TESTS_HOST_H
#define TUFF_TESTS_HOST_H

#include <tuff/vulkan.h>

/* The functions that hosts in tests call themselves. */
#define TEST_HOST_FUNCTIONS(X)                                                                                         \
    X(DestroyDevice)                                                                                                   \
    X(DeviceWaitIdle)                                                                                                  \
    X(GetDeviceQueue)                                                                                                  \
    X(QueueSubmit)                                                                                                     \
    X(CreateSemaphore)                                                                                                 \
    X(DestroySemaphore)                                                                                                \
    X(WaitSemaphores)                                                                                                  \
    X(SignalSemaphore)                                                                                                 \
    X(CreateCommandPool)                                                                                               \
    X(DestroyCommandPool)                                                                                              \
    X(ResetCommandPool)                                                                                                \
    X(AllocateCommandBuffers)                                                                                          \
    X(BeginCommandBuffer)                                                                                              \
    X(EndCommandBuffer)                                                                                                \
    X(CmdPipelineBarrier)

typedef struct test_host {
    PFN_vkGetInstanceProcAddr get_instance_proc_addr;
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    VkPhysicalDevice physical_device;
    VkDevice device;
    VkQueue queue;
    uint32_t queue_family;
    bool debug_utils;
#define DECLARE_FUNCTION(name) PFN_vk##name name;
    TEST_HOST_FUNCTIONS(DECLARE_FUNCTION)
#undef DECLARE_FUNCTION
} test_host;

/* Makes the host on the device that TUFF_DEVICE means, with the Khronos layer when TUFF_VALIDATION asks for it (its
 * messages go to test_log). Exits the program with a message if that fails. */
void test_host_open(test_host *host);
void test_host_close(test_host *host);
/* Fills in what tuff_device_adopt wants; log is test_log. */
tuff_vulkan_device_desc test_host_desc(const test_host *host);

#endif
