/* Slots: what each recording has of its own. Inputs and outputs that the host reaches, and the step record. */
#ifndef TUFF_RUNTIME_SLOTS_H
#define TUFF_RUNTIME_SLOTS_H

#include "runtime/program/program.h"

/* Fills slots, slot_of and slot_bytes: what there will be, before anything is allocated. */
tuff_result slots_describe(tuff_program *program);
tuff_result slots_create(tuff_program *program);
void slots_destroy(tuff_program *program);

/* Finds the slot of an input or output by the user's tensor; NO_SLOT. */
uint32_t slots_find(const tuff_program *program, storage_kind kind, const tuff_tensor *tensor);

/* An error that names an input that was never written; OK if there is none. */
tuff_result slots_check_written(const tuff_program *program);

/* The host has put, or will put until the run, new bytes into an input of a recording. */
void slots_note_write(tuff_program *program, uint32_t recording, uint32_t slot);

/* Makes a recording's inputs and step record what the next run needs: brings unchanged inputs over from the recording
 * that has them, and makes the host's writes visible. */
void slots_prepare(tuff_program *program, uint32_t recording, const struct step_record *record);

/* Lists the copies to the device that the recording still needs. */
uint32_t slots_pending_uploads(tuff_program *program, uint32_t recording, commands **list);
/* ... and notes that they were submitted. */
void slots_note_uploads(tuff_program *program, uint32_t recording);

#endif
