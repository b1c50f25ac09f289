/* What the rest of the runtime sees of Vulkan: buffers, kernels bound to ranges, command recording and
 * queues. No other folder calls Vulkan; this header names no Vulkan type. Handles are opaque; the files
 * of this folder share runtime/device/vulkan_internal.h. */
#ifndef TUFF_RUNTIME_DEVICE_H
#define TUFF_RUNTIME_DEVICE_H

#include "runtime/device/cache_folder.h"
#include "runtime/error.h"
#include <tuff/tuff.h>

#include "kernels.h" /* generated from shaders/CMakeLists.txt: enum kernel_id { KERNEL_COPY, ..., KERNEL_COUNT } */

/* ---- what kernels may rely on --------------------------------------------------------------
 * One pipeline layout for all: set 0 with MAX_BINDINGS storage buffers, MAX_PARAMS words of push
 * constants, specialization constants 0, 1, 2, ... of one word each. A binding that a dispatch leaves out is
 * bound to its first one, so every descriptor is valid. A kernel listed with TEXELS n may read its first n
 * bindings as texel buffers of vec4 as well: binding i is then bound once more at MAX_BINDINGS + i. */
enum {
    MAX_BINDINGS = 8,
    MAX_TEXELS = 6,
    MAX_PARAMS = 32,
    MAX_CONSTANTS = 64,
    WORKGROUP_SIZE = 256,
    MAX_GROUPS = 65535
};

typedef struct device_limits {
    tuff_device_type type;
    bool cpu; /* a driver that runs on the CPU: other variants win there */
    uint32_t subgroup_size;
    bool subgroup_shuffle;    /* subgroupShuffle in kernels */
    bool texels;              /* every range can be a texel buffer: kernels with TEXELS run */
    uint32_t loop_turns;      /* an invocation's loops together end after so many: lavapipe's limit, without a word */
    uint64_t dispatch_work;   /* what one dispatch may do, as kernel_call's work counts it */
    uint32_t parts;           /* in how many parts every dispatch goes; 0: in as many as its work asks for */
    uint32_t most_dispatches; /* that can be bound at a time, in all programs together */
    uint32_t shared_memory;   /* bytes */
    uint64_t max_range;       /* bytes of one binding */
    uint64_t max_allocation;  /* bytes of one buffer */
    uint64_t range_alignment; /* bytes; offsets of bindings are multiples of it (a power of two) */
    bool compiles_late;       /* kernels are compiled when they first run, by one thread: lavapipe */
    bool direct;              /* memory that is both the device's and mapped: no staging copy */
    double timestamp_period;  /* nanoseconds for each tick, 0 without timestamps */
} device_limits;

const device_limits *device_get_limits(const tuff_device *device);

/* Whether Tuff turned a validation layer on. */
bool device_is_validated(const tuff_device *device);

/* The value of "key" or "key=value" in the force list ("1" for a bare key), NULL if absent; of those that take a number
 * this, and whether there is one. What they take was checked when the device was opened. */
const char *device_force(const tuff_device *device, const char *key);
bool device_force_number(const tuff_device *device, const char *key, uint64_t *number);

/* Whom something that was compiled or measured is good for. There is no padding: its bytes are a key. */
typedef struct device_identity {
    uint32_t library; /* this library's version */
    uint32_t vendor, device, driver_version;
    uint8_t cache_uuid[16]; /* another one for whatever the driver's compiler depends on */
} device_identity;
_Static_assert(sizeof(device_identity) == 32, "no padding");

/* The file in which this device keeps `what` ("pipelines"), with its identity as the key; `name` is the caller's
 * storage. False: it keeps nothing. */
enum { CACHE_FILE_NAME = 64 };
bool device_cache_file(const tuff_device *device, const char *what, char name[CACHE_FILE_NAME], cache_file *file);

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void device_log(const tuff_device *device, tuff_log_level level, const char *format, ...);

/* ---- memory --------------------------------------------------------------------------------- */

typedef enum buffer_kind {
    BUFFER_DEVICE = 0, /* kernels' own */
    BUFFER_UPLOAD,     /* mapped, written by the host, read by kernels or copies */
    BUFFER_READBACK,   /* mapped and cached, written by kernels or copies, read by the host */
} buffer_kind;

typedef struct buffer buffer;

/* size is rounded up to a multiple of 16 bytes. Errors: MEMORY, with bytes asked for and available. */
tuff_result buffer_create(tuff_device *device, buffer_kind kind, uint64_t size, const char *name, buffer **out);
void buffer_destroy(buffer *buffer); /* NULL is allowed; the device must be done with it */
uint64_t buffer_size(const buffer *buffer);
/* The mapped bytes; NULL for BUFFER_DEVICE unless its memory happens to be mappable (limits.direct). */
void *buffer_data(buffer *buffer);
/* Make the host's writes visible to the device / the device's to the host. No-ops on coherent memory. */
void buffer_flush(buffer *buffer, uint64_t offset, uint64_t size);
void buffer_invalidate(buffer *buffer, uint64_t offset, uint64_t size);

/* Bytes that may still be allocated on the device's own heap: budget less what is in use. */
uint64_t device_memory_available(const tuff_device *device);

typedef struct buffer_range {
    buffer *buffer;
    uint64_t offset; /* bytes */
    uint64_t size;   /* bytes */
} buffer_range;

/* One-off transfers, in order with everything submitted before; they wait for the device. For state and
 * tests, never inside a run. Ranges may be of any size and alignment of 4. */
tuff_result device_upload(tuff_device *device, buffer_range to, const void *data);
tuff_result device_download(tuff_device *device, buffer_range from, void *data);
tuff_result device_fill(tuff_device *device, buffer_range range, uint32_t word);

/* ---- kernels -------------------------------------------------------------------------------- */

/* The code of a kernel; NULL: there is none of this number. */
const struct kernel_code *device_kernel(const tuff_device *device, uint32_t kernel);
/* Whether a kernel looks at gl_NumWorkGroups, which in a part of a dispatch is the part's. */
bool device_kernel_counts_groups(const tuff_device *device, uint32_t kernel);
/* Adds a user's kernel to a device, for as long as that lives; the same code again is the same kernel. The words are
 * copied. ARGUMENT: it is no SPIR-V, has no compute entry point "main", its resources are not `inputs` and then
 * `outputs` storage buffers, or it has too many push constants. UNSUPPORTED: it asks for more than the device was
 * opened with. */
tuff_result device_add_kernel(tuff_device *device, const char *name, const uint32_t *words, size_t size,
                              uint32_t inputs, uint32_t outputs, uint32_t *kernel);
/* Whether a dispatch gives a user's kernel its push constants, and specialization constants with which the device can
 * run it. ARGUMENT, UNSUPPORTED, MEMORY. */
tuff_result device_check_call(const tuff_device *device, const char *name, uint32_t kernel, const uint32_t *constants,
                              uint32_t constant_count, uint32_t param_count);

typedef struct dispatch {
    uint32_t kernel;                   /* enum kernel_id, or what device_add_kernel gave */
    uint32_t constants[MAX_CONSTANTS]; /* specialization constants 0 .. constant_count - 1 */
    uint32_t constant_count;
    buffer_range bindings[MAX_BINDINGS];
    uint32_t binding_count;
    uint32_t params[MAX_PARAMS]; /* push constants */
    uint32_t param_count;
    uint32_t groups[3]; /* each 1 .. MAX_GROUPS */
    const char *label;  /* copied */
} dispatch;

/* Pipelines and descriptor sets of a fixed list of dispatches, made once, recorded any number of times. */
typedef struct dispatch_set dispatch_set;

tuff_result dispatch_set_create(tuff_device *device, const dispatch *dispatches, uint32_t count, const char *name,
                                dispatch_set **out);
void dispatch_set_destroy(dispatch_set *set);
/* Distinct pipelines among its dispatches. */
uint32_t dispatch_set_pipelines(const dispatch_set *set);

/* ---- recording ------------------------------------------------------------------------------ */

typedef struct commands commands;

/* A command buffer of our own, recorded once and submitted many times (one submission in flight at a time). */
tuff_result commands_create(tuff_device *device, const char *name, commands **out); /* for QUEUE_COMPUTE */
void commands_destroy(commands *commands);
tuff_result commands_begin(commands *commands);
tuff_result commands_end(commands *commands);

/* Wraps a host's VkCommandBuffer in caller's storage; no begin, end or destroy. Allocates nothing. */
typedef struct foreign_commands {
    void *opaque[8];
} foreign_commands;
commands *commands_wrap(tuff_device *device, void *vk_command_buffer, foreign_commands *storage);

void commands_dispatch(commands *commands, const dispatch_set *set, uint32_t index);
/* A part of a dispatch: the workgroups base .. base + groups - 1 of each direction. The parts of a long dispatch do the
 * same as the whole; gl_NumWorkGroups alone shows the part's. */
void commands_dispatch_part(commands *commands, const dispatch_set *set, uint32_t index, const uint32_t base[3],
                            const uint32_t groups[3]);
/* Makes the driver compile the set's kernels, if it is one that compiles a kernel when it first runs: each is
 * dispatched with no workgroups. Touches nothing. */
void commands_compile(commands *commands, dispatch_set *set);
void commands_copy(commands *commands, buffer_range from, buffer_range to); /* sizes equal, multiples of 4 */
void commands_fill(commands *commands, buffer_range range, uint32_t word);

/* What a barrier orders: bits of what was done before it and of what comes after. */
enum {
    USE_KERNEL_READ = 1,
    USE_KERNEL_WRITE = 2,
    USE_COPY_READ = 4,
    USE_COPY_WRITE = 8,
    USE_HOST_READ = 16,
    USE_HOST_WRITE = 32,
};
/* One global memory barrier (vkCmdPipelineBarrier with one VkMemoryBarrier). */
void commands_barrier(commands *commands, uint32_t before, uint32_t after);

void commands_label_begin(commands *commands, const char *label); /* VK_EXT_debug_utils, else nothing */
void commands_label_end(commands *commands);

/* Timestamps: index 0 .. count - 1; device_timestamps reads them in nanoseconds once the work is done. */
typedef struct timestamps timestamps;
tuff_result timestamps_create(tuff_device *device, uint32_t count, timestamps **out);
void timestamps_destroy(timestamps *timestamps);
void commands_timestamp(commands *commands, timestamps *timestamps, uint32_t index);
tuff_result timestamps_read(timestamps *timestamps, double *nanoseconds);

/* ---- queues --------------------------------------------------------------------------------- */

typedef enum queue_kind {
    QUEUE_COMPUTE = 0,
    QUEUE_TRANSFER, /* a queue of its own where the device has one, else QUEUE_COMPUTE itself */
} queue_kind;

/* True if QUEUE_TRANSFER is another queue than QUEUE_COMPUTE. */
bool device_has_transfer_queue(const tuff_device *device);

/* Commands for a queue; on QUEUE_TRANSFER only copies, fills, and barriers between them. */
tuff_result commands_create_for(tuff_device *device, queue_kind queue, const char *name, commands **out);

/* A point in a queue's timeline. value 0 is always past. */
typedef struct queue_point {
    queue_kind queue;
    uint64_t value;
} queue_point;

/* Submits command buffers in one batch, after the points in `after`, and says when it is done in *done. */
tuff_result queue_submit(tuff_device *device, queue_kind queue, commands *const *list, uint32_t count,
                         const queue_point *after, uint32_t after_count, queue_point *done);
/* Waits for a point. Error: DEVICE_LOST, DEVICE. */
tuff_result queue_wait(tuff_device *device, queue_point point);
bool queue_reached(tuff_device *device, queue_point point);
/* Has other threads compile a set's kernels as well, while the submission that ends at `until` makes the queue compile
 * them (commands_compile). Nothing depends on it. */
void device_compile_ahead(tuff_device *device, dispatch_set *set, queue_point until);
/* Waits for a host's timeline semaphore (a VkSemaphore in vk_semaphore). */
tuff_result queue_wait_foreign(tuff_device *device, uint64_t vk_semaphore, uint64_t value);

#endif
