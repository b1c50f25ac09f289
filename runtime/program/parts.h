/* Long dispatches in parts: several with a dispatch base and nothing between them, so that none holds the device for
 * long. A part's workgroups know their numbers in the whole, so not a bit changes. */
#ifndef TUFF_RUNTIME_PARTS_H
#define TUFF_RUNTIME_PARTS_H

#include "runtime/program/lowered.h"

/* In how many parts a call's workgroups go, by direction; their product is the number of dispatches. */
typedef struct parts {
    uint32_t counts[3];
} parts;

/* As many as the device's limits ask for: by the call's work, or forced (so many or a few more, as the workgroups fall
 * into equal parts). A single workgroup is never divided. */
parts parts_of(const tuff_device *device, const kernel_call *call);
uint32_t parts_count(const parts *parts);
/* The workgroups base .. base + groups - 1 of part `index`. */
void parts_at(const parts *parts, const kernel_call *call, uint32_t index, uint32_t base[3], uint32_t groups[3]);
/* The workgroups of the largest part. */
uint64_t parts_largest(const parts *parts, const kernel_call *call);
/* Records dispatch `index` of a set, which is the call, part by part, or from the last part to the first. */
void parts_record(const parts *parts, const tuff_device *device, const kernel_call *call, const dispatch_set *set,
                  uint32_t index, bool backwards, commands *commands);

#endif
