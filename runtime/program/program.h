/* A program: a lowered graph with levels, places, barriers, memory, and recordings that share the arena. */
#ifndef TUFF_RUNTIME_PROGRAM_H
#define TUFF_RUNTIME_PROGRAM_H

#include "runtime/program/parts.h"
#include "runtime/program/synchronise.h"

#include <stdio.h>

/* Mistakes that a test plants, to see that adversarial replay and the validation layers find them. */
typedef enum program_fault_kind {
    PROGRAM_FAULT_NONE = 0,
    PROGRAM_FAULT_DEPENDENCY, /* call `index` ignores what it depends on */
    PROGRAM_FAULT_LIFE,       /* storage `index` is planned as if it died in the level that first touches it */
    PROGRAM_FAULT_BARRIER,    /* no barrier before level `index`; level 0: none against what was submitted before */
} program_fault_kind;

typedef struct program_fault {
    program_fault_kind kind;
    uint32_t index;
} program_fault;

typedef struct program_options {
    uint32_t recordings; /* 0: 2 */
    uint32_t replay_seed;
    tuff_profile profile;
    program_fault fault;
} program_options;

/* Where one INPUT, OUTPUT or STEP storage lies in one recording. Where kernels use mapped memory in place, `device` and
 * `host` are the same buffer. */
typedef struct slot {
    buffer *device;
    buffer *host;
    uint64_t version;  /* of an input: what the mapped bytes hold; 0: nothing yet */
    uint64_t uploaded; /* what the device's copy holds */
    bool unflushed;
    commands *upload; /* of a staged input: the copy to the device */
} slot;

/* An input, output or step record, in all recordings. */
typedef struct slot_kind {
    uint32_t storage;
    bool staged;
    uint64_t version; /* of an input: counts writes; 0: never written */
    uint32_t source;  /* the recording that was written last */
    void *shadow;     /* the last write's bytes where mapped memory is slow to read; NULL: read the slot */
    uint64_t shadow_version;
} slot_kind;

typedef struct recording {
    slot *slots; /* slot_count */
    dispatch_set *set;
    const uint32_t *order; /* of calls; the schedule's, or its own in a replay */
    uint32_t *own_order;
    commands *commands;
    timestamps *stamps; /* NULL unless the program has a profile */
    bool pending;       /* submitted, and not known to be done */
    queue_point point;
    bool foreign; /* the pending run was submitted by a host */
    uint64_t foreign_semaphore, foreign_value;
    bool open; /* between tuff_program_begin and tuff_program_end */
    uint32_t ticket;
    uint32_t recorded; /* bit i: segment i stands in some command buffer of the host's */
} recording;

enum { NO_RECORDING = UINT32_MAX, NO_SLOT = UINT32_MAX, MAX_RECORDINGS = 16 };

struct tuff_program {
    tuff_device *device;
    lowered *lowered;
    schedule schedule;
    parts *parts; /* of each call */
    life *lives;
    plan plan;
    synchronisation synchronisation;
    program_fault fault;
    uint32_t replay_seed;
    tuff_profile profile;

    buffer **arena; /* one for each block of the plan */
    plan constants; /* places of STORAGE_CONSTANT */
    buffer **constant_blocks;

    uint32_t slot_count;
    slot_kind *slots;
    uint32_t *slot_of; /* storage -> slot, NO_SLOT */
    uint64_t slot_bytes;
    recording *recordings;
    uint32_t recording_count;
    uint32_t next;         /* the recording that the next run takes */
    uint32_t last;         /* the one of the last submitted run, NO_RECORDING before any */
    uint64_t runs;         /* begun so far */
    commands *compiling;   /* of a program that was warmed */
    queue_point compiled;  /* where that ends; value 0: not submitted */
    uint32_t cache_length; /* of the next runs */
    commands **uploads;    /* room for a list of slot_count */
    char *text, *dot;      /* what tuff_program_dump writes; NULL unless captured */
};

/* Plans, allocates and records. Takes `lowered` over on success. Errors: MEMORY (names the bytes asked for, those
 * available, the largest tensors), DEVICE, DEVICE_LOST. */
tuff_result program_create(lowered *lowered, const program_options *options, tuff_program **out);

/* Levels, plan and barriers as text. */
tuff_result program_dump_text(const tuff_program *program, FILE *file);

/* Gives a program the captured dumps of its compilation, which it frees. */
void program_keep_dumps(tuff_program *program, char *text, char *dot);

/* "training step" or whatever the program is called; for messages. */
const char *program_name(const tuff_program *program);

#endif
