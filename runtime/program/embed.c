/* Runs in a host's own command buffers. Nothing here allocates. */
#include "runtime/program/record.h"
#include "runtime/program/run.h"
#include "runtime/program/slots.h"

#include <tuff/vulkan.h>

#include <string.h>

uint32_t tuff_program_segment_count(const tuff_program *program) {
    return program ? program->schedule.segment_count : 0;
}

tuff_result tuff_program_begin(tuff_program *program, uint32_t *ticket) {
    if (!program || !ticket)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_begin: %s is NULL", program ? "ticket" : "program");
    TRY(run_prepare(program));
    recording *recording = &program->recordings[program->next];
    recording->open = true;
    *ticket = recording->ticket = (uint32_t)program->runs;
    run_count(program);
    return TUFF_OK;
}

/* The recording that a ticket names. */
static tuff_result find_open(tuff_program *program, uint32_t ticket, const char *function, uint32_t *r) {
    if (!program) return error_set(TUFF_ERROR_ARGUMENT, "%s: program is NULL", function);
    for (*r = 0; *r < program->recording_count; ++*r)
        if (program->recordings[*r].open && program->recordings[*r].ticket == ticket) return TUFF_OK;
    return error_set(TUFF_ERROR_STATE,
                     "%s: ticket %u of program '%s' names no run between tuff_program_begin and "
                     "tuff_program_end",
                     function, ticket, program_name(program));
}

tuff_result tuff_program_record(tuff_program *program, uint32_t ticket, uint32_t segment, VkCommandBuffer buffer) {
    uint32_t r = 0;
    TRY(find_open(program, ticket, "tuff_program_record", &r));
    if (segment >= program->schedule.segment_count)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_record: segment %u of program '%s', which has %u", segment,
                         program_name(program), program->schedule.segment_count);
    if (!buffer) return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_record: commands is VK_NULL_HANDLE");
    foreign_commands storage;
    record_segment(program, r, segment, true, commands_wrap(program->device, buffer, &storage));
    program->recordings[r].recorded |= 1u << segment;
    return TUFF_OK;
}

tuff_result tuff_program_end(tuff_program *program, uint32_t ticket, VkSemaphore done, uint64_t value) {
    uint32_t r = 0;
    TRY(find_open(program, ticket, "tuff_program_end", &r));
    if (done == VK_NULL_HANDLE) return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_end: done is VK_NULL_HANDLE");
    recording *recording = &program->recordings[r];
    for (uint32_t s = 0; s < program->schedule.segment_count; s++)
        if (!(recording->recorded & 1u << s))
            return error_set(TUFF_ERROR_STATE, "tuff_program_end: segment %u of program '%s' was not recorded", s,
                             program_name(program));
    recording->foreign_semaphore = 0;
    memcpy(&recording->foreign_semaphore, &done, sizeof done); /* a pointer or a number, whatever the platform says */
    recording->foreign_value = value;
    recording->foreign = true;
    recording->pending = true;
    recording->open = false;
    program->last = r;
    slots_note_uploads(program, r);
    return TUFF_OK;
}
