/* Device time of runs, by timestamps that their commands write.
 *
 * Of a whole run there are two timestamps and nothing else changes. Of dispatches there is one behind each, and a
 * barrier that keeps the next from starting before: a dispatch's time is that from the end of the one before to its
 * own end. */
#include "runtime/program/profile.h"
#include "runtime/program/run.h"

#include <stdlib.h>

static uint32_t stamp_count(const tuff_program *program) {
    return program->profile == TUFF_PROFILE_DISPATCHES ? program->schedule.call_count + 1 : 2;
}

tuff_result profile_create(const tuff_program *program, recording *recording) {
    if (program->profile == TUFF_PROFILE_NONE) return TUFF_OK;
    return timestamps_create(program->device, stamp_count(program), &recording->stamps);
}

void profile_destroy(recording *recording) {
    timestamps_destroy(recording->stamps);
    recording->stamps = NULL;
}

void profile_begin(const tuff_program *program, const recording *recording, commands *commands) {
    if (program->profile != TUFF_PROFILE_NONE) commands_timestamp(commands, recording->stamps, 0);
}

void profile_dispatch(const tuff_program *program, const recording *recording, uint32_t k, commands *commands) {
    enum { KERNEL_USES = USE_KERNEL_READ | USE_KERNEL_WRITE };
    if (program->profile != TUFF_PROFILE_DISPATCHES) return;
    commands_barrier(commands, KERNEL_USES, KERNEL_USES);
    commands_timestamp(commands, recording->stamps, k + 1);
}

void profile_end(const tuff_program *program, const recording *recording, commands *commands) {
    if (program->profile == TUFF_PROFILE_RUN) commands_timestamp(commands, recording->stamps, 1);
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void add_bytes(const operand *operand, tuff_profile_entry *entry) {
    if (operand->access & ACCESS_READ) entry->bytes_read += operand->size;
    if (operand->access & ACCESS_WRITE) entry->bytes_written += operand->size;
}

static tuff_profile_entry entry_of(const tuff_program *program, uint32_t index, double seconds) {
    const kernel_call *call = &program->lowered->calls[index];
    tuff_profile_entry entry = { .label = call->label ? call->label : "",
                                 .kernel = device_kernel(program->device, call->kernel)->name,
                                 .segment = schedule_segment_name(call->segment),
                                 .groups = { call->groups[0], call->groups[1], call->groups[2] },
                                 .seconds = seconds,
                                 .parts = parts_count(&program->parts[index]),
                                 .part_groups = parts_largest(&program->parts[index], call) };
    for (uint32_t i = 0; i < call->operand_count; i++) add_bytes(&call->operands[i], &entry);
    return entry;
}

tuff_result tuff_program_profile(tuff_program *program, double *seconds, tuff_profile_entry *entries, uint32_t capacity,
                                 uint32_t *count) {
    if (!program) return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_profile: program is NULL");
    if (capacity && !entries) return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_profile: entries is NULL");
    if (program->profile == TUFF_PROFILE_NONE)
        return error_set(TUFF_ERROR_STATE,
                         "tuff_program_profile: program '%s' was compiled without timestamps; set profile in "
                         "tuff_program_desc",
                         program_name(program));
    if (program->last == NO_RECORDING)
        return error_set(TUFF_ERROR_STATE, "tuff_program_profile: program '%s' was never run", program_name(program));
    TRY(recording_wait(program, program->last));
    const recording *recording = &program->recordings[program->last];
    uint32_t stamps = stamp_count(program), dispatches = stamps - 1;
    double *times = malloc(stamps * sizeof *times);
    if (!times) return error_out_of_host_memory(stamps * sizeof *times);
    tuff_result result = timestamps_read(recording->stamps, times);
    if (program->profile == TUFF_PROFILE_RUN) dispatches = 0;
    if (result == TUFF_OK) {
        if (seconds) *seconds = (times[stamps - 1] - times[0]) * 1e-9;
        if (count) *count = dispatches;
        for (uint32_t k = 0; k < dispatches && k < capacity; k++)
            entries[k] = entry_of(program, recording->order[k], (times[k + 1] - times[k]) * 1e-9);
    }
    free(times);
    return result;
}
