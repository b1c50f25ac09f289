/* Recording: a program's segments into command buffers of its own, or a host's. */
#ifndef TUFF_RUNTIME_RECORD_H
#define TUFF_RUNTIME_RECORD_H

#include "runtime/program/program.h"

/* Makes the dispatch sets and command buffers of all recordings, and records them. Slots and arena exist. */
tuff_result record_all(tuff_program *program);
/* Records program->compiling. */
tuff_result record_compiling(tuff_program *program);
void record_destroy(tuff_program *program);

/* Records one segment of a recording. with_uploads: segment 0 copies the staged inputs as well, for command buffers
 * whose submission is not ours. Allocates nothing. */
void record_segment(const tuff_program *program, uint32_t recording, uint32_t segment, bool with_uploads,
                    commands *commands);

#endif
