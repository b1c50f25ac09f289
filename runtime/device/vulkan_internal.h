/* What the files of runtime/device share: the only place of the runtime that names Vulkan types. */
#ifndef TUFF_RUNTIME_DEVICE_VULKAN_INTERNAL_H
#define TUFF_RUNTIME_DEVICE_VULKAN_INTERNAL_H

#include "runtime/device/device.h"
#include "runtime/device/module.h"

#include <stdatomic.h>
#include <volk.h> /* types and struct VolkDeviceTable; none of its globals is used */

#define COUNT_OF(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

/* ---- loading (instance.c, volk_loader.c) ---------------------------------------------------- */

/* Functions that take no instance. */
#define VULKAN_GLOBAL_FUNCTIONS(X)                                                                                     \
    X(CreateInstance)                                                                                                  \
    X(EnumerateInstanceExtensionProperties)                                                                            \
    X(EnumerateInstanceLayerProperties)

/* Functions of an instance. */
#define VULKAN_INSTANCE_FUNCTIONS(X)                                                                                   \
    X(DestroyInstance)                                                                                                 \
    X(EnumeratePhysicalDevices)                                                                                        \
    X(EnumerateDeviceExtensionProperties)                                                                              \
    X(GetPhysicalDeviceProperties)                                                                                     \
    X(GetPhysicalDeviceProperties2)                                                                                    \
    X(GetPhysicalDeviceFeatures2)                                                                                      \
    X(GetPhysicalDeviceMemoryProperties2)                                                                              \
    X(GetPhysicalDeviceQueueFamilyProperties)                                                                          \
    X(CreateDevice)                                                                                                    \
    X(GetDeviceProcAddr)

/* Functions of VK_EXT_debug_utils: NULL without it. */
#define VULKAN_DEBUG_FUNCTIONS(X)                                                                                      \
    X(CreateDebugUtilsMessengerEXT)                                                                                    \
    X(DestroyDebugUtilsMessengerEXT)                                                                                   \
    X(SetDebugUtilsObjectNameEXT)                                                                                      \
    X(CmdBeginDebugUtilsLabelEXT)                                                                                      \
    X(CmdEndDebugUtilsLabelEXT)

#define DECLARE_FUNCTION(name) PFN_vk##name name;

typedef struct vulkan_globals {
    PFN_vkGetInstanceProcAddr get_instance_proc_addr;
    VULKAN_GLOBAL_FUNCTIONS(DECLARE_FUNCTION)
} vulkan_globals;

/* Where messages go. Its address is the debug messenger's user data, so it must not move. */
typedef struct message_sink {
    tuff_log_fn log;
    void *log_user;
    atomic_uint_fast64_t validation_messages;
} message_sink;

/* An instance, Tuff's own or the host's, with its functions. Must not move either. */
typedef struct vulkan_instance {
    VkInstance handle;
    bool owned;
    uint32_t api_version; /* structures of later versions must not be used: a host's instance may have 1.2 */
    bool debug_utils;
    tuff_validation validation; /* what is on: OFF, ON or GPU */
    message_sink sink;
    VkDebugUtilsMessengerEXT messenger;
    PFN_vkGetInstanceProcAddr get_instance_proc_addr;
    VULKAN_INSTANCE_FUNCTIONS(DECLARE_FUNCTION)
    VULKAN_DEBUG_FUNCTIONS(DECLARE_FUNCTION)
} vulkan_instance;

/* Opens the system's loader and makes an instance; validation is resolved (not DEFAULT). The sink must be
 * set. On failure nothing is left. */
tuff_result instance_create(vulkan_instance *instance, tuff_validation validation);
/* Uses the host's instance. */
tuff_result instance_adopt(vulkan_instance *instance, VkInstance handle, PFN_vkGetInstanceProcAddr load,
                           bool debug_utils);
void instance_destroy(vulkan_instance *instance);
/* The environment's TUFF_VALIDATION for DEFAULT. Error: ARGUMENT. */
tuff_result validation_resolve(tuff_validation asked, tuff_validation *resolved);
void message_log(const message_sink *sink, tuff_log_level level, const char *text);

/* Fills a device's own function table (volk's generator, through our loader). */
void device_table_load(struct VolkDeviceTable *table, VkDevice device, PFN_vkGetDeviceProcAddr load);

/* ---- choosing (select.c) -------------------------------------------------------------------- */

enum { MAX_QUEUE_FAMILIES = 16 };

/* A physical device with all that Tuff wants to know of it. */
typedef struct candidate {
    VkPhysicalDevice handle;
    tuff_device_info info;
    VkPhysicalDeviceProperties properties;
    VkPhysicalDeviceMemoryProperties memory;
    uint32_t family_count;
    VkQueueFamilyProperties families[MAX_QUEUE_FAMILIES];
    bool memory_budget;              /* VK_EXT_memory_budget */
    bool portability_subset;         /* must be enabled where it exists */
    bool gpu_validation_features[4]; /* what GPU-assisted validation instruments with: see device.c */
} candidate;

void candidate_describe(const vulkan_instance *instance, VkPhysicalDevice handle, uint32_t index, candidate *out);
/* The names of what is required and missing, "" if nothing is. */
void candidate_missing(const candidate *candidate, char *text, size_t size);
/* All devices of an instance, malloc'ed, with the one that `select` (NULL: the best) means marked as chosen.
 * *chosen is its index; without a suitable one *chosen = *count and *why says why. */
tuff_result candidates_list(const vulkan_instance *instance, const char *select, candidate **list, uint32_t *count,
                            uint32_t *chosen, char *why, size_t why_size);
/* The family for QUEUE_COMPUTE, and one of its own for QUEUE_TRANSFER or UINT32_MAX. */
uint32_t candidate_compute_family(const candidate *candidate);
uint32_t candidate_transfer_family(const candidate *candidate, uint32_t compute_family);

/* ---- the device ----------------------------------------------------------------------------- */

enum { MAX_FORCES = 32, QUEUE_KINDS = 2, BUFFER_KINDS = 3 };

typedef struct device_queue {
    VkQueue handle;
    uint32_t family;
    VkSemaphore timeline;
    uint64_t submitted; /* the latest submission's value */
    uint64_t reached;   /* known to be past */
    VkCommandPool pool;
} device_queue;

struct memory_block;
struct pipeline;

struct user_kernel {
    struct kernel_code code;
    module_facts facts;
    uint32_t bindings;
};

struct tuff_device {
    vulkan_instance instance;
    VkPhysicalDevice physical;
    VkDevice handle;
    bool owned; /* not a host's */
    bool lost;
    struct VolkDeviceTable vk;

    tuff_device_info info;
    device_limits limits;
    VkPhysicalDeviceMemoryProperties memory;
    uint64_t atom; /* nonCoherentAtomSize */
    uint32_t timestamp_bits[QUEUE_KINDS];
    bool memory_budget;
    uint64_t memory_limit;     /* 0: none */
    uint32_t bound_dispatches; /* of all sets */
    char *force_text;
    uint32_t force_count;
    struct {
        const char *key, *value;
        uint64_t number; /* of those that take one */
    } forces[MAX_FORCES];

    device_identity identity;
    char *cache_folder; /* NULL: nothing is kept */

    bool tunes;              /* choices are measured */
    struct choices *choices; /* NULL until they are asked for */

    device_queue queues[QUEUE_KINDS]; /* the second one only if has_transfer_queue */
    bool has_transfer_queue;

    uint32_t memory_types[BUFFER_KINDS]; /* by buffer_kind */
    struct memory_block *blocks;
    uint64_t heap_bytes[VK_MAX_MEMORY_HEAPS]; /* allocated by Tuff */

    VkDescriptorSetLayout set_layout;
    VkPipelineLayout pipeline_layout;
    VkPipelineCache pipeline_cache;
    size_t pipeline_cache_size;  /* bytes that were read from its file */
    struct pipeline **pipelines; /* hash map, open addressing */
    uint32_t pipeline_count, pipeline_capacity;

    struct ahead *ahead; /* the kernels that are compiled ahead; NULL: none */

    struct user_kernel *kernels;
    uint32_t kernel_count;

    commands *host_barrier; /* transfer.c: makes the device's writes visible to the host */
    commands *transfer_commands;
    buffer *staging[2]; /* up, down */
    uint64_t synced;    /* the compute queue's value when the host barrier last ran */

    tuff_device_counters counters; /* validation_messages stands in the instance's sink */
};

/* Sets the message for a failed Vulkan call and notes a lost device. `what` is "creating the buffer x". */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
tuff_result
vulkan_error(tuff_device *device, VkResult result, const char *what, ...);
const char *vulkan_result_name(VkResult result);

/* Names an object for captures and validation messages. The name may be NULL. */
void object_name(const tuff_device *device, VkObjectType type, uint64_t handle, const char *name);
/* A dispatchable or non-dispatchable handle as the number that object_name wants. */
#define HANDLE(handle) ((uint64_t)(uintptr_t)(handle))

/* Another device on an open one's physical device and instance, which must outlive it. It keeps nothing, forces nothing
 * and logs nothing. */
tuff_result device_open_beside(const tuff_device *other, tuff_device **out);

tuff_result memory_init(tuff_device *device);
void memory_finish(tuff_device *device);
tuff_result pipelines_init(tuff_device *device);
void pipelines_finish(tuff_device *device);
tuff_result pipeline_cache_init(tuff_device *device);
void pipeline_cache_finish(tuff_device *device);
void choices_finish(tuff_device *device);
void kernels_finish(tuff_device *device);
tuff_result queues_init(tuff_device *device);
void queues_finish(tuff_device *device);
tuff_result queues_wait_all(tuff_device *device);
void transfer_finish(tuff_device *device);
void ahead_finish(tuff_device *device);
/* What this range, the i-th one that is seen as texels, gives to bound_dispatch.texel_kinds. */
uint32_t ahead_texel_kind(const buffer_range *range, uint32_t i);

/* ---- forced paths (forces.c) ------------------------------------------------------------------ */

/* Reads and checks the list (NULL: the environment's), before there is a device; applies what the device's own limits
 * follow, once they are known. */
tuff_result forces_parse(tuff_device *device, const char *text);
void forces_apply(tuff_device *device);

/* ---- objects that more than one file looks into --------------------------------------------- */

struct buffer {
    tuff_device *device;
    VkBuffer handle;
    buffer_kind kind;
    uint64_t size;
    struct memory_block *block;
    uint64_t offset;   /* in the block */
    uint64_t reserved; /* bytes of the block */
    void *data;        /* mapped, or NULL */
};

/* Fits into foreign_commands, so that recording into a host's command buffer allocates nothing. */
struct commands {
    tuff_device *device;
    VkCommandBuffer handle;
    VkPipeline bound; /* the pipeline bound last */
    queue_kind queue;
    tuff_result result; /* the first failure while recording */
};

/* The kinds of texels (ahead.c) that a pipeline was met with. What does not fit is compiled late. */
typedef struct texel_kinds {
    uint32_t count;
    uint32_t kinds[7];
} texel_kinds;

/* A pipeline of one kernel with one list of specialization constants, shared by all that ask for it. */
struct pipeline {
    texel_kinds listed, ahead; /* ahead.c: found in a list; given to the helpers */
    uint32_t kernel;
    uint32_t constant_count;
    uint64_t hash;
    VkPipeline handle;
    uint32_t constants[]; /* constant_count */
};
tuff_result pipeline_get(tuff_device *device, uint32_t kernel, const uint32_t *constants, uint32_t count,
                         struct pipeline **out);

/* One dispatch of a set, ready to be recorded. */
typedef struct bound_dispatch {
    VkPipeline pipeline;
    struct pipeline *made; /* whose that is */
    uint32_t texel_kinds;  /* what lavapipe compiles into a kernel that reads texels: see ahead.c */
    VkDescriptorSet descriptors;
    VkBufferView texels[MAX_TEXELS]; /* of a kernel that reads texels */
    uint32_t param_count;
    uint32_t params[MAX_PARAMS];
    uint32_t groups[3];
    char *label;
} bound_dispatch;

struct dispatch_set {
    tuff_device *device;
    char *name;
    VkDescriptorPool pool;
    uint32_t count;
    uint32_t pipeline_count; /* distinct ones */
    bound_dispatch *items;
    /* With GPU-assisted validation a VkBuffer for each binding of each dispatch, of exactly the range's size: the older
     * layers compare an access with the whole buffer that is bound, not with the bound range. Else NULL. */
    VkBuffer *range_buffers;
};

/* A VkBuffer of just this range, on the same memory. The caller destroys it. */
tuff_result range_buffer_create(const buffer_range *range, VkBuffer *handle);
/* Checks that a range lies in its buffer. */
tuff_result range_check(const buffer_range *range, const char *what);

#endif
