/* Writing inputs, running, reading outputs. Nothing here allocates, compiles or records, but tuff_program_warm.
 *
 * Recordings take turns. The next one is the oldest, so if it is still in flight, all are. */
#include "runtime/program/run.h"
#include "runtime/model/model.h"
#include "runtime/program/record.h"
#include "runtime/program/slots.h"

#include <math.h>
#include <string.h>

tuff_result recording_wait(tuff_program *program, uint32_t r) {
    recording *recording = &program->recordings[r];
    if (!recording->pending) return TUFF_OK;
    if (recording->foreign)
        TRY(queue_wait_foreign(program->device, recording->foreign_semaphore, recording->foreign_value));
    else
        TRY(queue_wait(program->device, recording->point));
    recording->pending = false;
    return TUFF_OK;
}

/* ---- inputs ------------------------------------------------------------------------------------ */

/* "'a', 'b'" into text. */
static const char *list_names(const tuff_program *program, storage_kind kind, char *text, size_t size) {
    size_t used = 0;
    snprintf(text, size, "none");
    for (uint32_t s = 0; s < program->slot_count; s++) {
        const storage *storage = &program->lowered->storages[program->slots[s].storage];
        if (storage->kind != kind) continue;
        int length = snprintf(text + used, size - used, "%s'%s'", used ? ", " : "", storage->tensor_name);
        if (length < 0 || used + (size_t)length >= size) break;
        used += (size_t)length;
    }
    return text;
}

/* The slot of the next run's input, ready to be filled. */
static tuff_result find_input(tuff_program *program, const tuff_tensor *input, const char *function, uint32_t *slot) {
    if (!program) return error_set(TUFF_ERROR_ARGUMENT, "%s: program is NULL", function);
    *slot = slots_find(program, STORAGE_INPUT, input);
    if (*slot == NO_SLOT) {
        char names[512];
        return error_set(TUFF_ERROR_ARGUMENT, "%s: %s of program '%s', whose inputs are %s", function,
                         input ? "this tensor is not an input" : "NULL is not an input", program_name(program),
                         list_names(program, STORAGE_INPUT, names, sizeof names));
    }
    if (program->recordings[program->next].open)
        return error_set(TUFF_ERROR_STATE,
                         "%s: all %u recordings of program '%s' were begun and not ended; call "
                         "tuff_program_end first",
                         function, program->recording_count, program_name(program));
    return recording_wait(program, program->next);
}

tuff_result tuff_write(tuff_program *program, const tuff_tensor *input, const void *data, size_t size) {
    uint32_t s = NO_SLOT;
    TRY(find_input(program, input, "tuff_write", &s));
    slot_kind *kind = &program->slots[s];
    const storage *storage = &program->lowered->storages[kind->storage];
    if (size != storage->host_size)
        return error_set(TUFF_ERROR_SHAPE, "tuff_write: %zu bytes for the input '%s' of program '%s', which takes %llu",
                         size, storage->tensor_name, program_name(program), (unsigned long long)storage->host_size);
    if (!data)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_write: data for the input '%s' is NULL", storage->tensor_name);
    memcpy(buffer_data(program->recordings[program->next].slots[s].host), data, size);
    slots_note_write(program, program->next, s);
    if (kind->shadow) {
        memcpy(kind->shadow, data, size);
        kind->shadow_version = kind->version;
    }
    return TUFF_OK;
}

tuff_result tuff_map_input(tuff_program *program, const tuff_tensor *input, void **data, size_t *size) {
    uint32_t s = NO_SLOT;
    if (!data) return error_set(TUFF_ERROR_ARGUMENT, "tuff_map_input: data is NULL");
    TRY(find_input(program, input, "tuff_map_input", &s));
    *data = buffer_data(program->recordings[program->next].slots[s].host);
    if (size) *size = (size_t)program->lowered->storages[program->slots[s].storage].host_size;
    slots_note_write(program, program->next, s);
    return TUFF_OK;
}

/* ---- runs -------------------------------------------------------------------------------------- */

/* 1 - beta^t, in double: near 1 for large t, and exact enough for small. */
static float bias_correction(float beta, uint64_t t) {
    return (float)(1.0 - pow((double)beta, (double)t));
}

static void fill_record(const tuff_program *program, step_record *record) {
    const tuff_model *model = program->lowered->model;
    const tuff_optimizer *optimizer = program->lowered->optimizer;
    uint64_t seed = model ? model->seed : 0;
    uint64_t step = optimizer ? optimizer->step_count : program->runs;
    *record = (step_record){ .seed_lo = (uint32_t)seed,
                             .seed_hi = (uint32_t)(seed >> 32),
                             .step_lo = (uint32_t)step,
                             .step_hi = (uint32_t)(step >> 32),
                             .bias_correction1 = 1,
                             .bias_correction2 = 1,
                             .loss_scale = 1,
                             .cache_length = program->cache_length,
                             .first_step = step == 0 };
    if (optimizer) {
        record->lr = optimizer->lr;
        record->bias_correction1 = bias_correction(optimizer->beta1, step + 1);
        record->bias_correction2 = bias_correction(optimizer->beta2, step + 1);
    }
}

tuff_result tuff_program_set_cache_length(tuff_program *program, uint64_t length) {
    if (!program) return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_set_cache_length: program is NULL");
    const lowered *lowered = program->lowered;
    if (!lowered->has_cache)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_set_cache_length: program '%s' has no cache",
                         program_name(program));
    if (length > lowered->cache_room)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "tuff_program_set_cache_length: %llu rows in the cache leave no room for those of a run of "
                         "program '%s', before which there may be %llu",
                         (unsigned long long)length, program_name(program), (unsigned long long)lowered->cache_room);
    program->cache_length = (uint32_t)length;
    return TUFF_OK;
}

tuff_result run_prepare(tuff_program *program) {
    TRY(slots_check_written(program));
    if (program->recordings[program->next].open)
        return error_set(TUFF_ERROR_STATE,
                         "all %u recordings of program '%s' were begun and not ended; call tuff_program_end "
                         "first",
                         program->recording_count, program_name(program));
    TRY(recording_wait(program, program->next));
    step_record record;
    fill_record(program, &record);
    slots_prepare(program, program->next, &record);
    return TUFF_OK;
}

void run_count(tuff_program *program) {
    program->runs++;
    if (program->lowered->optimizer) program->lowered->optimizer->step_count++;
    program->next = (program->next + 1) % program->recording_count;
}

/* Copies what was rewritten to the device, where that needs copies. *done.value is 0 if not. */
static tuff_result submit_uploads(tuff_program *program, uint32_t r, queue_point *done) {
    enum { AT_ONCE = 32 };
    *done = (queue_point){ QUEUE_TRANSFER, 0 };
    uint32_t count = slots_pending_uploads(program, r, program->uploads);
    for (uint32_t i = 0; i < count; i += AT_ONCE)
        TRY(queue_submit(program->device, QUEUE_TRANSFER, program->uploads + i,
                         count - i < AT_ONCE ? count - i : AT_ONCE, NULL, 0, done));
    slots_note_uploads(program, r);
    return TUFF_OK;
}

tuff_result tuff_program_warm(tuff_program *program) {
    if (!program) return error_set(TUFF_ERROR_ARGUMENT, "tuff_program_warm: program is NULL");
    dispatch_set *set = program->recordings[0].set;
    if (!device_get_limits(program->device)->compiles_late || !set || program->compiled.value || program->runs)
        return TUFF_OK;
    if (!program->compiling) TRY(record_compiling(program));
    TRY(queue_submit(program->device, QUEUE_COMPUTE, &program->compiling, 1, NULL, 0, &program->compiled));
    device_compile_ahead(program->device, set, program->compiled);
    return TUFF_OK;
}

tuff_result tuff_run(tuff_program *program) {
    if (!program) return error_set(TUFF_ERROR_ARGUMENT, "tuff_run: program is NULL");
    TRY(run_prepare(program));
    uint32_t r = program->next;
    recording *recording = &program->recordings[r];
    queue_point uploaded;
    TRY(submit_uploads(program, r, &uploaded));
    TRY(queue_submit(program->device, QUEUE_COMPUTE, &recording->commands, 1, &uploaded, 1, &recording->point));
    recording->pending = true;
    recording->foreign = false;
    program->last = r;
    if (program->lowered->model) program->lowered->model->last = recording->point;
    run_count(program);
    return TUFF_OK;
}

tuff_result tuff_read(tuff_program *program, const tuff_tensor *output, void *data, size_t size) {
    if (!program) return error_set(TUFF_ERROR_ARGUMENT, "tuff_read: program is NULL");
    uint32_t s = slots_find(program, STORAGE_OUTPUT, output);
    if (s == NO_SLOT) {
        char names[512];
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_read: %s of program '%s', whose outputs are %s",
                         output ? "this tensor is not an output" : "NULL is not an output", program_name(program),
                         list_names(program, STORAGE_OUTPUT, names, sizeof names));
    }
    const storage *storage = &program->lowered->storages[program->slots[s].storage];
    if (size != storage->host_size)
        return error_set(TUFF_ERROR_SHAPE, "tuff_read: %zu bytes for the output '%s' of program '%s', which has %llu",
                         size, storage->tensor_name, program_name(program), (unsigned long long)storage->host_size);
    if (!data)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_read: data for the output '%s' is NULL", storage->tensor_name);
    if (program->last == NO_RECORDING)
        return error_set(TUFF_ERROR_STATE, "tuff_read: program '%s' was never run, so its output '%s' has no value",
                         program_name(program), storage->tensor_name);
    TRY(recording_wait(program, program->last));
    buffer *host = program->recordings[program->last].slots[s].host;
    buffer_invalidate(host, 0, buffer_size(host));
    memcpy(data, buffer_data(host), size);
    return TUFF_OK;
}
