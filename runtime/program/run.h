/* Running: what the library's own way and a host's command buffers share. */
#ifndef TUFF_RUNTIME_RUN_H
#define TUFF_RUNTIME_RUN_H

#include "runtime/program/program.h"

/* Waits until a recording's run is over. */
tuff_result recording_wait(tuff_program *program, uint32_t recording);

/* Makes the next recording ready: waits for it, checks that every input was written, brings inputs over and fills the
 * step record. */
tuff_result run_prepare(tuff_program *program);

/* Counts the step that run_prepare filled in, and takes the next recording. */
void run_count(tuff_program *program);

#endif
