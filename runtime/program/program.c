/* From a lowered graph to a program that can run: schedule, plan and synchronise, then memory, then recordings. */
#include "runtime/program/program.h"
#include "runtime/program/in_place.h"
#include "runtime/program/record.h"
#include "runtime/program/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes at which every value starts: descriptors want limits.range_alignment, and whole cache lines are good. */
enum { VALUE_ALIGNMENT = 256 };

static uint64_t value_alignment(const tuff_device *device) {
    uint64_t alignment = device_get_limits(device)->range_alignment;
    return alignment > VALUE_ALIGNMENT ? alignment : VALUE_ALIGNMENT;
}

const char *program_name(const tuff_program *program) {
    return program->lowered->name ? program->lowered->name : "program";
}

/* ---- checks ------------------------------------------------------------------------------------ */

/* What lowering promises and the steps below rely on: a mistake there is a message here, not a crash. */
static tuff_result check_calls(const lowered *lowered) {
    for (uint32_t i = 0; i < lowered->call_count; i++) {
        const kernel_call *call = &lowered->calls[i];
        const char *label = call->label ? call->label : "unnamed";
        if (call->operand_count == 0 || call->operand_count > MAX_BINDINGS)
            return error_set(TUFF_ERROR_ARGUMENT, "kernel call %u (%s) has %u operands, not 1 to %d", i, label,
                             call->operand_count, MAX_BINDINGS);
        if (i > 0 && call->segment < lowered->calls[i - 1].segment)
            return error_set(TUFF_ERROR_ARGUMENT,
                             "kernel call %u (%s) belongs to an earlier segment than the one before", i, label);
        for (uint32_t j = 0; j < call->operand_count; j++) {
            const operand *operand = &call->operands[j];
            if (operand->storage >= lowered->storage_count)
                return error_set(TUFF_ERROR_ARGUMENT, "kernel call %u (%s), operand %u: there is no storage %u", i,
                                 label, j, operand->storage);
            const storage *storage = &lowered->storages[operand->storage];
            uint64_t size = storage->kind == STORAGE_STATE ? storage->range.size : storage->size;
            if (storage->kind == STORAGE_STEP && size < sizeof(step_record)) size = sizeof(step_record);
            if (operand->size == 0 || operand->offset > size || operand->size > size - operand->offset)
                return error_set(
                    TUFF_ERROR_ARGUMENT, "kernel call %u (%s), operand %u: bytes %llu to %llu of %s, which has %llu", i,
                    label, j, (unsigned long long)operand->offset,
                    (unsigned long long)(operand->offset + operand->size), storage->name, (unsigned long long)size);
            /* a write would be lost when the next run takes the input over from elsewhere */
            bool written = operand->access & ACCESS_WRITE;
            if (written
                && (storage->kind == STORAGE_INPUT || storage->kind == STORAGE_CONSTANT
                    || storage->kind == STORAGE_STEP))
                return error_set(TUFF_ERROR_ARGUMENT, "kernel call %u (%s) writes %s, which is only read", i, label,
                                 storage->name);
        }
    }
    return TUFF_OK;
}

/* Adds " (the largest tensors: a 123 bytes, ...)" to the text. */
static void list_largest(const tuff_program *program, char *text, size_t size) {
    const lowered *lowered = program->lowered;
    uint64_t limit = UINT64_MAX;
    uint32_t shown = 0, previous = UINT32_MAX;
    size_t used = strlen(text);
    while (shown < 3) {
        uint32_t largest = UINT32_MAX;
        for (uint32_t i = 0; i < lowered->storage_count; i++) {
            const storage *s = &lowered->storages[i];
            if (s->kind == STORAGE_STATE || s->size > limit) continue;
            if (s->size == limit && (previous == UINT32_MAX || i <= previous)) continue;
            if (largest == UINT32_MAX || s->size > lowered->storages[largest].size) largest = i;
        }
        if (largest == UINT32_MAX) break;
        const storage *s = &lowered->storages[largest];
        int length = snprintf(text + used, size - used, "%s%s %llu", shown ? ", " : "; the largest tensors in bytes: ",
                              s->tensor_name ? s->tensor_name : s->name, (unsigned long long)s->size);
        if (length < 0 || used + (size_t)length >= size) break;
        used += (size_t)length;
        limit = s->size;
        previous = largest;
        shown++;
    }
}

static tuff_result memory_error(const tuff_program *program, uint64_t available) {
    char largest[512] = "";
    list_largest(program, largest, sizeof largest);
    uint64_t asked = program->plan.total + program->constants.total + program->slot_bytes;
    return error_set(TUFF_ERROR_MEMORY,
                     "program '%s' asks for %llu bytes (%llu for a step's values, %llu for inputs and outputs "
                     "of %u runs in flight), but %llu are available on %s%s; use a smaller batch",
                     program_name(program), (unsigned long long)asked, (unsigned long long)program->plan.total,
                     (unsigned long long)program->slot_bytes, program->recording_count, (unsigned long long)available,
                     tuff_device_get_info(program->device)->name, largest);
}

/* ---- planning ---------------------------------------------------------------------------------- */

static tuff_result plan_arena(tuff_program *program) {
    const lowered *lowered = program->lowered;
    program->lives = malloc(((size_t)lowered->storage_count + 1) * sizeof *program->lives);
    if (!program->lives) return error_out_of_host_memory(lowered->storage_count * sizeof *program->lives);
    plan_lives(lowered, &program->schedule, program->lives);
    if (program->fault.kind == PROGRAM_FAULT_LIFE && program->fault.index < lowered->storage_count)
        program->lives[program->fault.index].last = program->lives[program->fault.index].first;
    uint64_t limit = lowered_block_limit(program->device);
    for (uint32_t i = 0; i < lowered->storage_count; i++) {
        if (program->lives[i].last < program->lives[i].first || lowered->storages[i].size <= limit) continue;
        return error_set(TUFF_ERROR_MEMORY,
                         "program '%s': %s has %llu bytes, but one allocation on %s can have %llu; use a smaller "
                         "batch",
                         program_name(program), lowered->storages[i].name,
                         (unsigned long long)lowered->storages[i].size, tuff_device_get_info(program->device)->name,
                         (unsigned long long)limit);
    }
    return plan_create(program->lives, lowered->storage_count, value_alignment(program->device), limit, &program->plan);
}

/* Constants all live at once. */
static tuff_result plan_constants(tuff_program *program) {
    const lowered *lowered = program->lowered;
    life *lives = malloc(((size_t)lowered->storage_count + 1) * sizeof *lives);
    if (!lives) return error_out_of_host_memory(lowered->storage_count * sizeof *lives);
    for (uint32_t i = 0; i < lowered->storage_count; i++)
        lives[i] = lowered->storages[i].kind == STORAGE_CONSTANT ? (life){ lowered->storages[i].size, 0, 0 }
                                                                 : (life){ 0, 1, 0 };
    tuff_result result = plan_create(lives, lowered->storage_count, value_alignment(program->device),
                                     lowered_block_limit(program->device), &program->constants);
    free(lives);
    return result;
}

static tuff_result divide_calls(tuff_program *program) {
    const lowered *lowered = program->lowered;
    program->parts = malloc(((size_t)lowered->call_count + 1) * sizeof *program->parts);
    if (!program->parts) return error_out_of_host_memory(lowered->call_count * sizeof *program->parts);
    for (uint32_t i = 0; i < lowered->call_count; i++)
        program->parts[i] = parts_of(program->device, &lowered->calls[i]);
    return TUFF_OK;
}

static tuff_result make_plan(tuff_program *program) {
    const program_fault *fault = &program->fault;
    uint32_t fault_call = fault->kind == PROGRAM_FAULT_DEPENDENCY ? fault->index : SCHEDULE_NO_FAULT;
    TRY(check_calls(program->lowered));
    TRY(schedule_create(program->lowered, fault_call, &program->schedule));
    if (!device_force(program->device, "inplace")) TRY(in_place(program->lowered, &program->schedule));
    TRY(divide_calls(program));
    TRY(plan_arena(program));
    TRY(plan_constants(program));
    TRY(synchronise(program->lowered, &program->schedule, &program->plan, &program->synchronisation));
    if (fault->kind == PROGRAM_FAULT_BARRIER && fault->index < program->synchronisation.level_count)
        program->synchronisation.barriers[fault->index].before = 0;
    return slots_describe(program);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static tuff_result create_blocks(tuff_program *program, const plan *plan, const char *name, buffer ***out) {
    *out = calloc((size_t)plan->block_count + 1, sizeof **out);
    if (!*out) return error_out_of_host_memory((plan->block_count + 1) * sizeof **out);
    for (uint32_t b = 0; b < plan->block_count; b++) {
        char text[64];
        snprintf(text, sizeof text, "%s %u", name, b);
        TRY(buffer_create(program->device, BUFFER_DEVICE, plan->blocks[b], text, &(*out)[b]));
    }
    return TUFF_OK;
}

static tuff_result upload_constants(tuff_program *program) {
    const lowered *lowered = program->lowered;
    for (uint32_t b = 0; b < program->constants.block_count; b++) {
        uint8_t *bytes = calloc(program->constants.blocks[b], 1);
        if (!bytes) return error_out_of_host_memory(program->constants.blocks[b]);
        for (uint32_t i = 0; i < lowered->storage_count; i++) {
            if (lowered->storages[i].kind == STORAGE_CONSTANT && program->constants.places[i].block == b)
                memcpy(bytes + program->constants.places[i].offset, lowered->storages[i].data,
                       lowered->storages[i].size);
        }
        buffer_range range = { program->constant_blocks[b], 0, program->constants.blocks[b] };
        tuff_result result = device_upload(program->device, range, bytes);
        free(bytes);
        TRY(result);
    }
    return TUFF_OK;
}

static tuff_result create_memory(tuff_program *program) {
    uint64_t available = device_memory_available(program->device);
    tuff_device_counters counters;
    tuff_device_get_counters(program->device, &counters);
    /* What is allocated already may have room left: only what cannot fit at all is refused before it is tried. */
    if (program->plan.total + program->constants.total + program->slot_bytes > available + counters.allocated_bytes)
        return memory_error(program, available);
    tuff_result result = create_blocks(program, &program->plan, "arena", &program->arena);
    if (result == TUFF_OK) result = create_blocks(program, &program->constants, "constants", &program->constant_blocks);
    if (result == TUFF_OK) result = slots_create(program);
    if (result == TUFF_ERROR_MEMORY) return memory_error(program, available); /* fragmented, or used by others */
    TRY(result);
    return upload_constants(program);
}

static void destroy_blocks(buffer **blocks, const plan *plan) {
    for (uint32_t b = 0; blocks && b < plan->block_count; b++) buffer_destroy(blocks[b]);
    free(blocks);
}

/* All but `lowered`, which a failed creation leaves to the caller. */
static void destroy(tuff_program *program) {
    record_destroy(program);
    slots_destroy(program);
    free(program->recordings);
    destroy_blocks(program->arena, &program->plan);
    destroy_blocks(program->constant_blocks, &program->constants);
    synchronisation_destroy(&program->synchronisation);
    plan_destroy(&program->constants);
    plan_destroy(&program->plan);
    free(program->lives);
    free(program->parts);
    schedule_destroy(&program->schedule);
    free(program->text);
    free(program->dot);
    free(program);
}

tuff_result program_create(lowered *lowered, const program_options *options, tuff_program **out) {
    *out = NULL;
    tuff_program *program = calloc(1, sizeof *program);
    if (!program) return error_out_of_host_memory(sizeof *program);
    program->device = lowered->device;
    program->lowered = lowered;
    program->fault = options->fault;
    program->replay_seed = options->replay_seed;
    program->profile = options->profile;
    program->recording_count = options->recordings ? options->recordings : 2;
    program->last = NO_RECORDING;
    tuff_result result = TUFF_OK;
    if (program->recording_count > MAX_RECORDINGS)
        result = error_set(TUFF_ERROR_ARGUMENT, "program '%s': %u recordings; %d are possible", program_name(program),
                           program->recording_count, MAX_RECORDINGS);
    if (result == TUFF_OK) {
        program->recordings = calloc(program->recording_count, sizeof *program->recordings);
        if (!program->recordings)
            result = error_out_of_host_memory(program->recording_count * sizeof *program->recordings);
    }
    if (result == TUFF_OK) result = make_plan(program);
    if (result == TUFF_OK) result = create_memory(program);
    if (result == TUFF_OK) result = record_all(program);
    if (result != TUFF_OK) {
        destroy(program);
        return result;
    }
    *out = program;
    return TUFF_OK;
}

void tuff_program_destroy(tuff_program *program) {
    if (!program) return;
    for (uint32_t r = 0; r < program->recording_count; r++) {
        const recording *recording = &program->recordings[r];
        if (!recording->pending) continue;
        /* after a failure there is nothing left to wait for */
        if (recording->foreign)
            queue_wait_foreign(program->device, recording->foreign_semaphore, recording->foreign_value);
        else
            queue_wait(program->device, recording->point);
    }
    if (program->compiled.value) queue_wait(program->device, program->compiled);
    lowered *lowered = program->lowered;
    destroy(program);
    lowered_free(lowered);
}

/* ---- what is known of it ----------------------------------------------------------------------- */

void tuff_program_get_info(const tuff_program *program, tuff_program_info *info) {
    if (!program || !info) return;
    uint32_t parts = 0;
    for (uint32_t i = 0; i < program->lowered->call_count; i++) parts += parts_count(&program->parts[i]);
    *info = (tuff_program_info){
        .operators = program->lowered->operator_count,
        .dispatches = program->schedule.call_count,
        .parts = parts,
        .levels = program->schedule.level_count,
        .barriers = program->synchronisation.barrier_count,
        .pipelines = program->recordings[0].set ? dispatch_set_pipelines(program->recordings[0].set) : 0,
        .segments = program->schedule.segment_count,
        .arena_bytes = program->plan.total,
        .live_bytes = program->plan.live,
        .slot_bytes = program->slot_bytes,
    };
}

tuff_result program_dump_text(const tuff_program *program, FILE *file) {
    schedule_dump(&program->schedule, program->lowered, file);
    in_place_dump(program->lowered, file);
    plan_dump(&program->plan, program->lives, program->lowered, file);
    synchronise_dump(&program->synchronisation, file);
    if (ferror(file))
        return error_set(TUFF_ERROR_FILE, "program '%s': the dump could not be written", program_name(program));
    return TUFF_OK;
}

void program_keep_dumps(tuff_program *program, char *text, char *dot) {
    free(program->text);
    free(program->dot);
    program->text = text;
    program->dot = dot;
}

tuff_result tuff_program_dump(const tuff_program *program, tuff_dump format, const char *path) {
    if (!program || !path)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_dump: %s is NULL", program ? "path" : "program");
    const char *text = format == TUFF_DUMP_GRAPHVIZ ? program->dot : program->text;
    if (!text)
        return error_set(TUFF_ERROR_STATE, "tuff_program_dump: program '%s' was compiled without capture_steps",
                         program_name(program));
    FILE *file = fopen(path, "w");
    if (!file) return error_set(TUFF_ERROR_FILE, "tuff_program_dump: %s cannot be written: %s", path, strerror(errno));
    bool written = fputs(text, file) >= 0;
    if (fclose(file) != 0 || !written)
        return error_set(TUFF_ERROR_FILE, "tuff_program_dump: writing %s failed: %s", path, strerror(errno));
    return TUFF_OK;
}
