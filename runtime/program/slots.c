/* Where memory is both the device's and mapped, kernels use the slot in place. Elsewhere a slot is two buffers, the
 * device's and a mapped one, and copies between them: an input's to the device is a command buffer of its own, so that
 * only what was rewritten is copied, on the transfer queue while the step before still computes.
 *
 * An input that is not rewritten for a run is brought over once from the recording that has it: a version counts the
 * writes, and each slot knows which one it holds. */
#include "runtime/program/slots.h"
#include "runtime/graph/graph.h"

#include <stdlib.h>
#include <string.h>

static bool is_slot(storage_kind kind) {
    return kind == STORAGE_INPUT || kind == STORAGE_OUTPUT || kind == STORAGE_STEP;
}

static uint64_t slot_size(const storage *storage) {
    uint64_t size = storage->kind == STORAGE_STEP ? sizeof(step_record) : storage->host_size;
    if (storage->size > size) size = storage->size;
    return (size + 15) & ~(uint64_t)15;
}

/* A discrete device writes outputs to its own memory and copies them: mapped memory that the host reads fast lies on
 * the other side of the bus. */
static bool is_staged(const tuff_device *device, storage_kind kind) {
    const device_limits *limits = device_get_limits(device);
    if (!limits->direct || device_force(device, "staging")) return true;
    return kind == STORAGE_OUTPUT && limits->type != TUFF_DEVICE_CPU && limits->type != TUFF_DEVICE_INTEGRATED;
}

tuff_result slots_describe(tuff_program *program) {
    const lowered *lowered = program->lowered;
    program->slot_of = malloc(((size_t)lowered->storage_count + 1) * sizeof *program->slot_of);
    program->slots = calloc((size_t)lowered->storage_count + 1, sizeof *program->slots);
    program->uploads = calloc((size_t)lowered->storage_count + 1, sizeof *program->uploads);
    if (!program->slot_of || !program->slots || !program->uploads)
        return error_out_of_host_memory(lowered->storage_count * sizeof *program->slots);
    for (uint32_t i = 0; i < lowered->storage_count; i++) {
        const storage *storage = &lowered->storages[i];
        program->slot_of[i] = NO_SLOT;
        if (!is_slot(storage->kind)) continue;
        bool staged = is_staged(program->device, storage->kind);
        program->slot_of[i] = program->slot_count;
        program->slots[program->slot_count++] = (slot_kind){ .storage = i, .staged = staged };
        program->slot_bytes += slot_size(storage) * (staged ? 2 : 1) * program->recording_count;
    }
    return TUFF_OK;
}

static tuff_result record_upload(const tuff_program *program, const storage *storage, slot *slot) {
    TRY(commands_create_for(program->device, QUEUE_TRANSFER, storage->name, &slot->upload));
    TRY(commands_begin(slot->upload));
    /* The run that read this slot before is over, as the host has seen; the layers, which may not know, and a queue
     * that computes as well are told all the same. */
    commands_barrier(slot->upload, USE_KERNEL_READ | USE_COPY_READ | USE_COPY_WRITE, USE_COPY_READ | USE_COPY_WRITE);
    uint64_t size = slot_size(storage);
    commands_copy(slot->upload, (buffer_range){ slot->host, 0, size }, (buffer_range){ slot->device, 0, size });
    return commands_end(slot->upload);
}

static tuff_result create_slot(tuff_program *program, uint32_t index, slot *slot) {
    const storage *storage = &program->lowered->storages[program->slots[index].storage];
    uint64_t size = slot_size(storage);
    buffer_kind kind = storage->kind == STORAGE_OUTPUT ? BUFFER_READBACK : BUFFER_UPLOAD;
    TRY(buffer_create(program->device, kind, size, storage->name, &slot->host));
    memset(buffer_data(slot->host), 0, size);
    buffer_flush(slot->host, 0, size);
    if (!program->slots[index].staged) {
        slot->device = slot->host;
        return TUFF_OK;
    }
    TRY(buffer_create(program->device, BUFFER_DEVICE, size, storage->name, &slot->device));
    /* the step record changes in every run, so its copy stands in the run's own command buffer */
    return storage->kind == STORAGE_INPUT ? record_upload(program, storage, slot) : TUFF_OK;
}

tuff_result slots_create(tuff_program *program) {
    for (uint32_t r = 0; r < program->recording_count; r++) {
        recording *recording = &program->recordings[r];
        recording->slots = calloc((size_t)program->slot_count + 1, sizeof *recording->slots);
        if (!recording->slots) return error_out_of_host_memory(program->slot_count * sizeof *recording->slots);
        for (uint32_t s = 0; s < program->slot_count; s++) TRY(create_slot(program, s, &recording->slots[s]));
    }
    /* What a driver on the CPU maps is ordinary memory; elsewhere it may be uncached, and reading it slow. */
    bool cached = device_get_limits(program->device)->cpu && !device_force(program->device, "uncached");
    if (cached || program->recording_count == 1) return TUFF_OK;
    for (uint32_t s = 0; s < program->slot_count; s++) {
        const storage *storage = &program->lowered->storages[program->slots[s].storage];
        if (storage->kind != STORAGE_INPUT) continue;
        program->slots[s].shadow = malloc(storage->host_size ? storage->host_size : 1);
        if (!program->slots[s].shadow) return error_out_of_host_memory(storage->host_size);
    }
    return TUFF_OK;
}

void slots_destroy(tuff_program *program) {
    for (uint32_t r = 0; program->recordings && r < program->recording_count; r++) {
        recording *recording = &program->recordings[r];
        for (uint32_t s = 0; recording->slots && s < program->slot_count; s++) {
            slot *slot = &recording->slots[s];
            commands_destroy(slot->upload);
            if (slot->device != slot->host) buffer_destroy(slot->device);
            buffer_destroy(slot->host);
        }
        free(recording->slots);
    }
    for (uint32_t s = 0; program->slots && s < program->slot_count; s++) free(program->slots[s].shadow);
    free(program->slots);
    free(program->slot_of);
    free(program->uploads);
}

uint32_t slots_find(const tuff_program *program, storage_kind kind, const tuff_tensor *tensor) {
    for (uint32_t s = 0; tensor && s < program->slot_count; s++) {
        const storage *storage = &program->lowered->storages[program->slots[s].storage];
        if (storage->kind == kind && (storage->handle ? storage->handle == tensor : storage->tensor == tensor->id))
            return s;
    }
    return NO_SLOT;
}

tuff_result slots_check_written(const tuff_program *program) {
    for (uint32_t s = 0; s < program->slot_count; s++) {
        const storage *storage = &program->lowered->storages[program->slots[s].storage];
        if (storage->kind == STORAGE_INPUT && program->slots[s].version == 0)
            return error_set(TUFF_ERROR_STATE,
                             "program '%s': the input '%s' was never written; call tuff_write or "
                             "tuff_map_input before the first run",
                             program_name(program), storage->tensor_name);
    }
    return TUFF_OK;
}

void slots_note_write(tuff_program *program, uint32_t recording, uint32_t s) {
    slot *slot = &program->recordings[recording].slots[s];
    slot->version = ++program->slots[s].version;
    slot->unflushed = true;
    program->slots[s].source = recording;
}

void slots_prepare(tuff_program *program, uint32_t r, const step_record *record) {
    recording *recording = &program->recordings[r];
    for (uint32_t s = 0; s < program->slot_count; s++) {
        slot_kind *kind = &program->slots[s];
        const storage *storage = &program->lowered->storages[kind->storage];
        slot *slot = &recording->slots[s];
        if (storage->kind == STORAGE_STEP) {
            memcpy(buffer_data(slot->host), record, sizeof *record);
            slot->unflushed = true;
        } else if (storage->kind == STORAGE_INPUT && slot->version != kind->version) {
            bool shadowed = kind->shadow && kind->shadow_version == kind->version;
            const void *from = shadowed ? kind->shadow : buffer_data(program->recordings[kind->source].slots[s].host);
            memcpy(buffer_data(slot->host), from, storage->host_size);
            slot->version = kind->version;
            slot->unflushed = true;
        }
        if (slot->unflushed) {
            buffer_flush(slot->host, 0, buffer_size(slot->host));
            slot->unflushed = false;
        }
    }
}

uint32_t slots_pending_uploads(tuff_program *program, uint32_t r, commands **list) {
    uint32_t count = 0;
    for (uint32_t s = 0; s < program->slot_count; s++) {
        const slot *slot = &program->recordings[r].slots[s];
        if (slot->upload && slot->uploaded != slot->version) list[count++] = slot->upload;
    }
    return count;
}

void slots_note_uploads(tuff_program *program, uint32_t r) {
    for (uint32_t s = 0; s < program->slot_count; s++) {
        slot *slot = &program->recordings[r].slots[s];
        slot->uploaded = slot->version;
    }
}
