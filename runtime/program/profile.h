/* Device time of runs, by timestamps that their commands write. */
#ifndef TUFF_RUNTIME_PROFILE_H
#define TUFF_RUNTIME_PROFILE_H

#include "runtime/program/program.h"

/* What a recording needs for the program's kind of profile. */
tuff_result profile_create(const tuff_program *program, recording *recording);
void profile_destroy(recording *recording);

/* While recording: before the first dispatch, behind the k-th in the recording's order, behind the last. */
void profile_begin(const tuff_program *program, const recording *recording, commands *commands);
void profile_dispatch(const tuff_program *program, const recording *recording, uint32_t k, commands *commands);
void profile_end(const tuff_program *program, const recording *recording, commands *commands);

#endif
