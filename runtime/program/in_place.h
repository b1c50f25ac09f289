/* Results that take over the bytes of a value that dies: where a kernel may write a result over what it reads, and
 * nobody else reads that any more. */
#ifndef TUFF_RUNTIME_IN_PLACE_H
#define TUFF_RUNTIME_IN_PLACE_H

#include "runtime/program/schedule.h"

/* Joins such pairs of transient storages: calls then touch the dying value's storage only, and nothing touches the
 * result's, which notes in `in_place_of` where its bytes are. Levels stay as they are. Errors: MEMORY. */
tuff_result in_place(lowered *lowered, const schedule *schedule);

void in_place_dump(const lowered *lowered, FILE *file);

#endif
