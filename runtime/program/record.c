/* A run's commands, segment by segment:
 *
 *   a barrier against everything submitted before; copies of the step record (and of inputs, for a host), if staged
 *   level by level: the barrier that synchronise found, if any, and the level's dispatches
 *   copies of outputs, if staged; a barrier to the host
 *
 * Adversarial replay changes what may change without a difference. The order of dispatches between two barriers, which
 * covers a missing barrier as well as a missing dependency on drivers that run everything in order. And all bytes that
 * are dead: the whole arena and the outputs are filled with NaN before the first level, the bytes of a value at the
 * first barrier after its last level. Parts of one long dispatch go from the last to the first. */
#include "runtime/program/record.h"
#include "runtime/program/profile.h"

#include <stdlib.h>
#include <string.h>

enum {
    KERNEL_USES = USE_KERNEL_READ | USE_KERNEL_WRITE,
    COPY_USES = USE_COPY_READ | USE_COPY_WRITE,
    NAN_WORD = 0x7fc00000
};

/* ---- what is dispatched ------------------------------------------------------------------------ */

static buffer_range range_of(const tuff_program *program, const recording *recording, const operand *operand) {
    uint32_t s = operand->storage;
    const storage *storage = &program->lowered->storages[s];
    buffer_range range = { NULL, operand->offset, operand->size };
    switch (storage->kind) {
    case STORAGE_TRANSIENT:
        range.buffer = program->arena[program->plan.places[s].block];
        range.offset += program->plan.places[s].offset;
        break;
    case STORAGE_STATE:
        range.buffer = storage->range.buffer;
        range.offset += storage->range.offset;
        break;
    case STORAGE_CONSTANT:
        range.buffer = program->constant_blocks[program->constants.places[s].block];
        range.offset += program->constants.places[s].offset;
        break;
    case STORAGE_INPUT:
    case STORAGE_OUTPUT:
    case STORAGE_STEP: range.buffer = recording->slots[program->slot_of[s]].device; break;
    }
    return range;
}

static tuff_result create_set(tuff_program *program, recording *recording) {
    const lowered *lowered = program->lowered;
    if (lowered->call_count == 0) return TUFF_OK;
    dispatch *dispatches = calloc(lowered->call_count, sizeof *dispatches);
    if (!dispatches) return error_out_of_host_memory(lowered->call_count * sizeof *dispatches);
    for (uint32_t i = 0; i < lowered->call_count; i++) {
        const kernel_call *call = &lowered->calls[i];
        dispatch *dispatch = &dispatches[i];
        dispatch->kernel = call->kernel;
        memcpy(dispatch->constants, call->constants, sizeof dispatch->constants);
        dispatch->constant_count = call->constant_count;
        memcpy(dispatch->params, call->params, sizeof dispatch->params);
        dispatch->param_count = call->param_count;
        memcpy(dispatch->groups, call->groups, sizeof dispatch->groups);
        dispatch->label = call->label;
        dispatch->binding_count = call->operand_count;
        for (uint32_t j = 0; j < call->operand_count; j++)
            dispatch->bindings[j] = range_of(program, recording, &call->operands[j]);
    }
    tuff_result result =
        dispatch_set_create(program->device, dispatches, lowered->call_count, program_name(program), &recording->set);
    free(dispatches);
    return result;
}

/* ---- replay ------------------------------------------------------------------------------------ */

static uint32_t random_below(uint64_t *state, uint32_t limit) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((*state >> 33) * limit) >> 31);
}

/* True where dispatches before and after may not change places. */
static bool is_border(const tuff_program *program, uint32_t level) {
    for (uint32_t s = 0; s < program->schedule.segment_count; s++)
        if (program->schedule.segment_start[s] == level) return true;
    return program->synchronisation.barriers[level].before != 0;
}

static tuff_result shuffle(const tuff_program *program, recording *recording, uint64_t seed) {
    const schedule *schedule = &program->schedule;
    size_t bytes = ((size_t)schedule->call_count + 1) * sizeof *recording->own_order;
    recording->own_order = malloc(bytes);
    if (!recording->own_order) return error_out_of_host_memory(bytes);
    memcpy(recording->own_order, schedule->order, schedule->call_count * sizeof *recording->own_order);
    recording->order = recording->own_order;
    uint64_t random = seed;
    for (int i = 0; i < 4; i++) random_below(&random, 1); /* near seeds part */
    for (uint32_t from = 0, to; from < schedule->level_count; from = to) {
        for (to = from + 1; to < schedule->level_count && !is_border(program, to);) to++;
        uint32_t *group = recording->own_order + schedule->level_start[from];
        for (uint32_t n = schedule->level_start[to] - schedule->level_start[from]; n > 1; n--) {
            uint32_t k = random_below(&random, n), swap = group[k];
            group[k] = group[n - 1];
            group[n - 1] = swap;
        }
    }
    return TUFF_OK;
}

static void fill_all(const tuff_program *program, const recording *recording, commands *commands) {
    for (uint32_t b = 0; b < program->plan.block_count; b++) {
        buffer_range range = { program->arena[b], 0, program->plan.blocks[b] };
        commands_fill(commands, range, NAN_WORD + program->replay_seed % 0xffff);
    }
    for (uint32_t s = 0; s < program->slot_count; s++) {
        if (program->lowered->storages[program->slots[s].storage].kind != STORAGE_OUTPUT) continue;
        buffer *buffer = recording->slots[s].device;
        commands_fill(commands, (buffer_range){ buffer, 0, buffer_size(buffer) }, NAN_WORD + 1);
    }
}

/* Whether a value that was born before a level, after another's death, lies on that one's bytes. Where kernels touch
 * parts of a value, as a sequence's steps do, nothing need stand between its last part's reader and the next owner of
 * the others. */
static bool is_taken_over(const tuff_program *program, uint32_t dead, uint32_t level) {
    const plan_place *place = &program->plan.places[dead];
    uint64_t end = place->offset + program->lives[dead].size;
    for (uint32_t i = 0; i < program->plan.count; i++) {
        const plan_place *other = &program->plan.places[i];
        if (other->block != place->block || program->lives[i].first <= program->lives[dead].last) continue;
        if (program->lives[i].first < level && other->offset < end
            && place->offset < other->offset + program->lives[i].size)
            return true;
    }
    return false;
}

/* Fills what has died since the barrier before this one. */
static bool fill_dead(const tuff_program *program, uint32_t level, bool measure, commands *commands) {
    uint32_t since = level - 1;
    while (since > 0 && !program->synchronisation.barriers[since].before) since--;
    bool any = false;
    for (uint32_t i = 0; i < program->plan.count; i++) {
        const plan_place *place = &program->plan.places[i];
        if (place->block == PLAN_NOWHERE || program->lives[i].last < since || program->lives[i].last >= level) continue;
        if (is_taken_over(program, i, level)) continue;
        any = true;
        if (measure) break;
        buffer_range range = { program->arena[place->block], place->offset,
                               (program->lives[i].size + 3) & ~(uint64_t)3 };
        commands_fill(commands, range, NAN_WORD + 2 + i % 0xffff);
    }
    return any;
}

/* ---- recording --------------------------------------------------------------------------------- */

static void copy_slot(const slot *slot, bool to_device, commands *commands) {
    buffer_range host = { slot->host, 0, buffer_size(slot->host) };
    buffer_range device = { slot->device, 0, buffer_size(slot->host) };
    if (to_device)
        commands_copy(commands, host, device);
    else
        commands_copy(commands, device, host);
}

static void begin_run(const tuff_program *program, const recording *recording, bool with_uploads, commands *commands) {
    if (program->fault.kind != PROGRAM_FAULT_BARRIER || program->fault.index != 0)
        commands_barrier(commands, KERNEL_USES | COPY_USES | USE_HOST_WRITE, KERNEL_USES | COPY_USES);
    bool copied = false;
    for (uint32_t s = 0; s < program->slot_count; s++) {
        storage_kind kind = program->lowered->storages[program->slots[s].storage].kind;
        if (!program->slots[s].staged || !(kind == STORAGE_STEP || (kind == STORAGE_INPUT && with_uploads))) continue;
        copy_slot(&recording->slots[s], true, commands);
        copied = true;
    }
    if (program->replay_seed) {
        fill_all(program, recording, commands);
        copied = true;
    }
    if (copied) commands_barrier(commands, USE_COPY_WRITE, KERNEL_USES);
}

static void end_run(const tuff_program *program, const recording *recording, commands *commands) {
    bool outputs = false, staged = false;
    for (uint32_t s = 0; s < program->slot_count; s++) {
        if (program->lowered->storages[program->slots[s].storage].kind != STORAGE_OUTPUT) continue;
        outputs = true;
        staged = staged || program->slots[s].staged;
    }
    if (!outputs) return;
    uint32_t before = USE_KERNEL_WRITE | (program->replay_seed ? USE_COPY_WRITE : 0);
    if (!staged) {
        commands_barrier(commands, before, USE_HOST_READ);
        return;
    }
    commands_barrier(commands, before, USE_COPY_READ);
    for (uint32_t s = 0; s < program->slot_count; s++) {
        if (program->lowered->storages[program->slots[s].storage].kind == STORAGE_OUTPUT && program->slots[s].staged)
            copy_slot(&recording->slots[s], false, commands);
    }
    commands_barrier(commands, USE_COPY_WRITE, USE_HOST_READ);
}

static void record_barrier(const tuff_program *program, uint32_t level, commands *commands) {
    const level_barrier *barrier = &program->synchronisation.barriers[level];
    if (!barrier->before) return;
    if (program->replay_seed && fill_dead(program, level, true, commands)) {
        commands_barrier(commands, KERNEL_USES | USE_COPY_WRITE, USE_COPY_WRITE);
        fill_dead(program, level, false, commands);
        commands_barrier(commands, USE_COPY_WRITE, KERNEL_USES);
        return;
    }
    commands_barrier(commands, barrier->before, barrier->after);
}

/* A replay records the parts of a long dispatch from the last to the first. */
static void record_dispatch(const tuff_program *program, const recording *recording, uint32_t i, commands *commands) {
    parts_record(&program->parts[i], program->device, &program->lowered->calls[i], recording->set, i,
                 program->replay_seed != 0, commands);
}

void record_segment(const tuff_program *program, uint32_t r, uint32_t segment, bool with_uploads, commands *commands) {
    const schedule *schedule = &program->schedule;
    const recording *recording = &program->recordings[r];
    commands_label_begin(commands, schedule_segment_name(schedule->segments[segment]));
    if (segment == 0) {
        begin_run(program, recording, with_uploads, commands);
        profile_begin(program, recording, commands);
    }
    for (uint32_t l = schedule->segment_start[segment]; l < schedule->segment_start[segment + 1]; l++) {
        record_barrier(program, l, commands);
        for (uint32_t k = schedule->level_start[l]; k < schedule->level_start[l + 1]; k++) {
            record_dispatch(program, recording, recording->order[k], commands);
            profile_dispatch(program, recording, k, commands);
        }
    }
    if (segment == schedule->segment_count - 1) {
        profile_end(program, recording, commands);
        end_run(program, recording, commands);
    }
    commands_label_end(commands);
}

tuff_result record_all(tuff_program *program) {
    for (uint32_t r = 0; r < program->recording_count; r++) {
        recording *recording = &program->recordings[r];
        recording->order = program->schedule.order;
        if (program->replay_seed) TRY(shuffle(program, recording, ((uint64_t)program->replay_seed << 8) + r));
        TRY(create_set(program, recording));
        TRY(profile_create(program, recording));
        TRY(commands_create(program->device, program_name(program), &recording->commands));
        TRY(commands_begin(recording->commands));
        commands_label_begin(recording->commands, program_name(program));
        for (uint32_t s = 0; s < program->schedule.segment_count; s++)
            record_segment(program, r, s, false, recording->commands);
        commands_label_end(recording->commands);
        TRY(commands_end(recording->commands));
    }
    return TUFF_OK;
}

tuff_result record_compiling(tuff_program *program) {
    commands *c;
    TRY(commands_create(program->device, "compiling", &c));
    program->compiling = c;
    TRY(commands_begin(c));
    commands_label_begin(c, "compiling");
    commands_compile(c, program->recordings[0].set);
    commands_label_end(c);
    return commands_end(c);
}

void record_destroy(tuff_program *program) {
    commands_destroy(program->compiling);
    for (uint32_t r = 0; program->recordings && r < program->recording_count; r++) {
        commands_destroy(program->recordings[r].commands);
        dispatch_set_destroy(program->recordings[r].set);
        profile_destroy(&program->recordings[r]);
        free(program->recordings[r].own_order);
    }
}
