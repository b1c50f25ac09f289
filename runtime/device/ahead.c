/* Kernels compiled ahead of their first run, on more threads than the driver would use.
 *
 * Mesa's lavapipe compiles a kernel when it first runs, on its queue's one thread: 50 to 300 ms each while the other
 * cores have nothing to do. It does so for a dispatch of no workgroups at all, too, which runs nothing and touches
 * nothing: to warm a program is to submit one for each of its kernels.
 *
 * What Mesa compiled lies in its cache on disk, where every device of the driver finds it. So while the queue is at
 * work on that submission, threads with devices of their own do the same from the other end, and the queue finds what
 * they compiled when it comes to it. Results never pass this way, so nothing depends on it: where Mesa keeps no cache,
 * the queue compiles everything itself, as it would have without.
 *
 * A thread in lavapipe's compiler does not survive exit(), which destroys that compiler's data, so there are none
 * unless the host asks for them and knows that it must close the device. */
#include "runtime/device/vulkan_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_HELPERS = 7,
    FEWEST_JOBS = 4,             /* a helper's device costs about as much as a kernel */
    PATIENCE = 50 * 1000 * 1000, /* nanoseconds: kernels in Mesa's cache take the queue a millisecond each */
};

typedef struct ahead_job {
    struct pipeline *pipeline;
    uint32_t texel_kinds;
} ahead_job;

struct ahead {
    tuff_device *device;
    uint64_t until;    /* the compute queue's value when nothing is left to do */
    uint64_t patience; /* nanoseconds */
    atomic_bool stop;
    atomic_uint left; /* jobs that no one has taken */
    atomic_uint done;
    uint32_t helper_count;
    pthread_t helpers[MAX_HELPERS];
    uint32_t job_count;
    ahead_job jobs[];
};

/* ---- texels ------------------------------------------------------------------------------------ */

/* Lavapipe takes a buffer of texels for an image of one row: whether the buffer's size is a power of two is compiled
 * into the kernel, and whether bits 8 to 15 of the range's size are 0, which stand where an image's last level does. */
enum { TEXEL_ODD = 1, TEXEL_LONG = 2, TEXEL_BITS = 2 };

_Static_assert(TEXEL_BITS *MAX_TEXELS <= 32, "the bits of all bindings make one kind");

uint32_t ahead_texel_kind(const buffer_range *range, uint32_t i) {
    uint32_t kind = range->buffer->size & (range->buffer->size - 1) ? TEXEL_ODD : 0;
    if ((range->size + 15) / 16 * 16 >> 8 & 0xff) kind |= TEXEL_LONG;
    return kind << (TEXEL_BITS * i);
}

/* Whether this kind is met for the first time, and there is room for it. */
static bool meet(texel_kinds *met, uint32_t kind) {
    for (uint32_t i = 0; i < met->count; i++)
        if (met->kinds[i] == kind) return false;
    if (met->count == sizeof met->kinds / sizeof *met->kinds) return false;
    met->kinds[met->count++] = kind;
    return true;
}

/* ---- on the queue itself ----------------------------------------------------------------------- */

void commands_compile(commands *c, dispatch_set *set) {
    if (!c->device->limits.compiles_late) return;
    for (uint32_t i = 0; i < set->count; i++) set->items[i].made->listed.count = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        struct pipeline *p = set->items[i].made;
        if (!meet(&p->listed, set->items[i].texel_kinds)) continue;
        /* for the layers, which take every dispatch for one that reads and writes */
        commands_barrier(c, USE_KERNEL_READ | USE_KERNEL_WRITE, USE_KERNEL_READ | USE_KERNEL_WRITE);
        commands_dispatch_part(c, set, i, (const uint32_t[]){ 0, 0, 0 }, (const uint32_t[]){ 0, 0, 0 });
    }
}

/* ---- one helper -------------------------------------------------------------------------------- */

typedef struct helper_buffers {
    buffer *even, *odd; /* a power of two, and not */
} helper_buffers;

static tuff_result record(tuff_device *device, const ahead_job *job, const helper_buffers *buffers, dispatch_set **set,
                          commands **c) {
    dispatch d = { .kernel = job->pipeline->kernel,
                   .constant_count = job->pipeline->constant_count,
                   .binding_count = MAX_BINDINGS,
                   .param_count = MAX_PARAMS,
                   .groups = { 1, 1, 1 } };
    memcpy(d.constants, job->pipeline->constants, d.constant_count * sizeof *d.constants);
    for (uint32_t i = 0; i < MAX_BINDINGS; i++) {
        uint32_t kind = i < MAX_TEXELS ? job->texel_kinds >> (TEXEL_BITS * i) : 0;
        d.bindings[i] =
            (buffer_range){ kind & TEXEL_ODD ? buffers->odd : buffers->even, 0, kind & TEXEL_LONG ? 4096 : 128 };
    }
    TRY(dispatch_set_create(device, &d, 1, "ahead", set));
    TRY(commands_create(device, "ahead", c));
    TRY(commands_begin(*c));
    commands_compile(*c, *set);
    return commands_end(*c);
}

static tuff_result compile_one(tuff_device *device, const ahead_job *job, const helper_buffers *buffers) {
    dispatch_set *set = NULL;
    commands *c = NULL;
    queue_point done;
    tuff_result result = record(device, job, buffers, &set, &c);
    if (result == TUFF_OK) result = queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done);
    if (result == TUFF_OK) result = queue_wait(device, done);
    commands_destroy(c);
    dispatch_set_destroy(set);
    return result;
}

/* Whether the queue has come to the end by itself, within so many nanoseconds. */
static bool is_through(const struct ahead *ahead, uint64_t nanoseconds) {
    tuff_device *device = ahead->device;
    const VkSemaphoreWaitInfo info = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                       .semaphoreCount = 1,
                                       .pSemaphores = &device->queues[QUEUE_COMPUTE].timeline,
                                       .pValues = &ahead->until };
    return device->vk.vkWaitSemaphores(device->handle, &info, nanoseconds) != VK_TIMEOUT;
}

static tuff_result help(struct ahead *ahead, tuff_device *device, helper_buffers *buffers) {
    TRY(buffer_create(device, BUFFER_DEVICE, 4096, "ahead", &buffers->even));
    TRY(buffer_create(device, BUFFER_DEVICE, 4096 + 64, "ahead", &buffers->odd));
    while (!atomic_load(&ahead->stop) && !is_through(ahead, 0)) {
        uint32_t left = atomic_load(&ahead->left);
        if (left == 0) break;
        if (!atomic_compare_exchange_strong(&ahead->left, &left, left - 1)) continue;
        TRY(compile_one(device, &ahead->jobs[left - 1], buffers));
        atomic_fetch_add(&ahead->done, 1);
    }
    return TUFF_OK;
}

static void *run_helper(void *argument) {
    struct ahead *ahead = argument;
    if (is_through(ahead, ahead->patience) || atomic_load(&ahead->stop)) return NULL;
    tuff_device *device;
    if (device_open_beside(ahead->device, &device) != TUFF_OK) return NULL; /* then the queue does it alone */
    helper_buffers buffers = { NULL, NULL };
    (void)help(ahead, device, &buffers);
    buffer_destroy(buffers.even);
    buffer_destroy(buffers.odd);
    tuff_device_close(device);
    return NULL;
}

/* ---- all of them ------------------------------------------------------------------------------- */

static void list_jobs(struct ahead *ahead, dispatch_set *set) {
    for (uint32_t i = 0; i < set->count; i++) {
        struct pipeline *p = set->items[i].made;
        if (p->kernel >= KERNEL_COUNT) continue; /* a user's: only this device knows it */
        if (!meet(&p->ahead, set->items[i].texel_kinds)) continue;
        ahead->jobs[ahead->job_count++] = (ahead_job){ p, set->items[i].texel_kinds };
    }
}

/* Nobody does them: a later set that needs them, with others, lists them again. */
static void forget_jobs(const struct ahead *ahead) {
    for (uint32_t i = ahead->job_count; i-- > 0;) ahead->jobs[i].pipeline->ahead.count--; /* the last met of each */
}

static uint32_t spare_cores(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 0 : cores - 1 > MAX_HELPERS ? MAX_HELPERS : (uint32_t)(cores - 1);
}

void ahead_finish(tuff_device *device) {
    struct ahead *ahead = device->ahead;
    if (!ahead) return;
    atomic_store(&ahead->stop, true);
    for (uint32_t i = 0; i < ahead->helper_count; i++) pthread_join(ahead->helpers[i], NULL);
    device_log(device, TUFF_LOG_INFO, "%u of %u kernels were compiled by other threads than the queue's",
               atomic_load(&ahead->done), ahead->job_count);
    free(ahead);
    device->ahead = NULL;
}

void device_compile_ahead(tuff_device *device, dispatch_set *set, queue_point until) {
    const char *force = device_force(device, "ahead");
    bool always = force && strcmp(force, "always") == 0, never = force && strcmp(force, "none") == 0;
    /* A host's device may have been made in ways that its host alone knows. GPU-assisted validation compiles each
     * kernel with a number in it, so that nobody finds another's. */
    if (!device->limits.compiles_late || !device->owned || device->instance.validation == TUFF_VALIDATION_GPU || never)
        return;
    struct ahead *ahead = calloc(1, sizeof *ahead + set->count * sizeof *ahead->jobs);
    if (!ahead) return;
    ahead->device = device;
    ahead->until = until.value;
    list_jobs(ahead, set);
    if (ahead->job_count < (always ? 1 : FEWEST_JOBS)) {
        forget_jobs(ahead);
        free(ahead);
        return;
    }
    ahead_finish(device); /* at most one kernel's time: what was to be done is done, or goes on without */
    ahead->patience = always ? 0 : PATIENCE;
    atomic_store(&ahead->left, ahead->job_count);
    uint32_t wanted = spare_cores();
    while (ahead->helper_count < wanted
           && pthread_create(&ahead->helpers[ahead->helper_count], NULL, run_helper, ahead) == 0)
        ahead->helper_count++;
    device->ahead = ahead;
}
