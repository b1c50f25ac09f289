/* Tuff inside a host's own Vulkan device: lend a device, record programs into the host's command buffers.
 * Include after, or with, the Vulkan headers: this header includes <vulkan/vulkan_core.h>. */
#ifndef TUFF_VULKAN_H
#define TUFF_VULKAN_H

#include <tuff/tuff.h>
#include <vulkan/vulkan_core.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_vulkan_device_desc {
    PFN_vkGetInstanceProcAddr get_instance_proc_addr; /* required */
    VkInstance instance;                              /* required */
    VkPhysicalDevice physical_device;                 /* required */
    VkDevice device;       /* required: created with Vulkan 1.2 and the timelineSemaphore feature */
    VkQueue queue;         /* required: with compute; used from the calling thread only inside tuff_run and
                              the calls that wait */
    uint32_t queue_family; /* of queue */
    bool debug_utils;      /* the instance has VK_EXT_debug_utils enabled */
    bool memory_budget;    /* the device has VK_EXT_memory_budget enabled */
    tuff_log_fn log;
    void *log_user;
    uint64_t memory_limit; /* bytes; 0: the driver's budget */
    const char *force;     /* as in tuff_device_desc */
    const char *cache;     /* as in tuff_device_desc, but NULL keeps nothing */
    tuff_tuning tuning;    /* tuff_compile submits measurements to the queue where it is on */
} tuff_vulkan_device_desc;

/* A Tuff device on a host's VkDevice, which must outlive it. Errors: ARGUMENT, NO_DEVICE (a required limit
 * is missing: names it), DEVICE. */
TUFF_API tuff_result tuff_device_adopt(const tuff_vulkan_device_desc *desc, tuff_device **device);

/* The number of segments of a program. Recording them in order, each in any command buffer, is a run. */
TUFF_API uint32_t tuff_program_segment_count(const tuff_program *program);

/* Prepares the next run for recording by the host: chooses a recording, writes its step record. Errors as
 * tuff_run. *ticket names this run in the calls below. */
TUFF_API tuff_result tuff_program_begin(tuff_program *program, uint32_t *ticket);

/* Records one segment into a command buffer in the recording state, outside a render pass, of a queue
 * family with compute. Records its own barriers against the program's other segments; what the host
 * wrote before, on the host or the queue, must be made visible by the host. Allocates nothing. Errors: STATE (the
 * ticket names no run that was begun), ARGUMENT (segment, NULL). */
TUFF_API tuff_result tuff_program_record(tuff_program *program, uint32_t ticket, uint32_t segment,
                                         VkCommandBuffer commands);

/* Says that the host submitted all segments of the run; done is signalled by the host with value once
 * they have finished (a timeline semaphore). tuff_read and a reuse of the recording wait for it. Errors: STATE (the
 * ticket, or a segment that was not recorded), ARGUMENT (NULL). */
TUFF_API tuff_result tuff_program_end(tuff_program *program, uint32_t ticket, VkSemaphore done, uint64_t value);

#ifdef __cplusplus
}
#endif
#endif
