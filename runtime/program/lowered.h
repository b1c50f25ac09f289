/* What lowering makes and scheduling, planning, synchronising and recording take: storages, and a list of dispatches
 * in an order in which they could run one by one. Dependencies follow from what each dispatch reads and writes. */
#ifndef TUFF_RUNTIME_LOWERED_H
#define TUFF_RUNTIME_LOWERED_H

#include "runtime/device/device.h"
#include "runtime/program/step_record.h"

typedef enum storage_kind {
    STORAGE_TRANSIENT = 0, /* planned into the arena */
    STORAGE_STATE,         /* a model's: `range` */
    STORAGE_INPUT,         /* a slot of each recording, written by the host */
    STORAGE_OUTPUT,        /* a slot of each recording, read by the host */
    STORAGE_CONSTANT,      /* `data`, uploaded once when the program is made (records of kernels) */
    STORAGE_STEP,          /* the step record, a slot of each recording */
} storage_kind;

typedef struct storage {
    storage_kind kind;
    uint64_t size;             /* bytes */
    char *name;                /* of the largest tensor in it; never NULL */
    buffer_range range;        /* STATE */
    void *data;                /* CONSTANT; owned */
    uint32_t tensor;           /* INPUT, OUTPUT: the tensor's id in the user's graph */
    const tuff_tensor *handle; /* INPUT, OUTPUT: the tensor in the user's graph, only compared with what tuff_write and
                                  tuff_read get, since that graph may be gone by then; NULL: `tensor` is compared */
    uint32_t in_place_of;      /* TRANSIENT: 1 + the storage whose bytes it took over; 0: none */
    char *tensor_name;         /* INPUT, OUTPUT */
    uint64_t host_size;        /* INPUT, OUTPUT: bytes that tuff_write and tuff_read take */
} storage;

enum { ACCESS_READ = 1, ACCESS_WRITE = 2 };

typedef struct operand {
    uint32_t storage;
    uint64_t offset; /* bytes from the storage's start, aligned to limits.range_alignment */
    uint64_t size;   /* bytes, a multiple of 4 */
    uint32_t access;
    bool bytes; /* a tensor of TUFF_U8 */
} operand;

typedef enum segment_kind { SEGMENT_FORWARD = 0, SEGMENT_BACKWARD, SEGMENT_UPDATE } segment_kind;

typedef struct kernel_call {
    uint32_t kernel; /* enum kernel_id, or a user's */
    uint32_t constants[MAX_CONSTANTS];
    uint32_t constant_count;
    operand operands[MAX_BINDINGS]; /* binding i */
    uint32_t operand_count;
    uint32_t params[MAX_PARAMS];
    uint32_t param_count;
    uint32_t groups[3];
    uint64_t work;        /* multiply-adds of all workgroups, roughly, beside what moving its operands' bytes takes */
    uint32_t in_place;    /* bit i: operand 0, each element of which is written once, may lie on operand i's bytes:
                             who writes an element has read that one, and nobody else reads it */
    bool whole;           /* gl_NumWorkGroups does more in its kernel than to number workgroups: never in parts */
    bool takes_bytes;     /* the kernel was told which operands are bytes */
    uint32_t after;       /* it waits for the call before this number, though it reads nothing of it; 0: for none */
    const char *label;    /* owned by the lowered program */
    segment_kind segment; /* never smaller than that of the call before */
} kernel_call;

typedef struct lowered {
    tuff_device *device;
    tuff_model *model;
    tuff_optimizer *optimizer; /* NULL unless the program trains */
    char *name;
    storage *storages;
    uint32_t storage_count, storage_capacity;
    kernel_call *calls;
    uint32_t call_count, call_capacity;
    bool has_cache;          /* kernels take the step record's cache length, */
    uint64_t cache_room;     /* which may be this much */
    uint32_t operator_count; /* for tuff_program_info */
    uint32_t gradient_count; /* parameters that are trained */
} lowered;

/* Bytes of the largest storage: the device's limit, or what "block=BYTES" forces. */
uint64_t lowered_block_limit(const tuff_device *device);

/* Frees what it holds and itself (allocated by malloc); NULL is allowed. */
void lowered_free(lowered *lowered);

#endif
