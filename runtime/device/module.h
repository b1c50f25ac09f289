/* What a SPIR-V module of a user's says about itself: bindings, push constants, workgroup, shared memory, capabilities.
 *
 * Drivers take a module on trust: one that does not fit the pipeline layout reads what is not there, or ends the
 * process. */
#ifndef TUFF_RUNTIME_MODULE_H
#define TUFF_RUNTIME_MODULE_H

#include "runtime/error.h"

enum { MODULE_CAPABILITIES = 64 };

typedef struct module_facts {
    uint32_t version;            /* 0x10500: 1.5 */
    uint32_t readable, writable; /* storage buffers of set 0, a bit for each binding */
    uint32_t param_bytes;        /* of push constants: where the last member ends */
    uint32_t local_size[3];      /* invocations of a workgroup */
    uint64_t shared_bytes;       /* of a workgroup; arrays whose size is not known are left out */
    bool sized_by_constants;     /* specialization constants decide about local_size or shared_bytes */
    bool local_size_by_id;       /* the execution mode LocalSizeId */
    uint32_t capability_count;
    uint32_t capabilities[MODULE_CAPABILITIES];
} module_facts;

/* Reads a module of any words; specialization constants 0 .. constant_count - 1 are given, the others have their own
 * values. `name` is the operator's, for messages. ARGUMENT: it is no SPIR-V, makes no sense, has no compute entry point
 * "main" or something at a binding below `bindings` of set 0 that is no storage buffer, or anything at another. MEMORY.
 */
tuff_result module_read(const char *name, const uint32_t *words, size_t size, uint32_t bindings,
                        const uint32_t *constants, uint32_t constant_count, module_facts *facts);

/* Whether a valid module reads the built-in variable gl_NumWorkGroups. */
bool module_counts_groups(const uint32_t *words, size_t size);

#endif
