/* Where states lie, and what they start with.
 *
 * All states of one kind that are placed at once share a block, in the order of their declaration, or a few where
 * one allocation or one kernel argument may not be that large. Initialisers run on the device, all in one submission.
 */
#include "runtime/model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t padded(uint64_t count) {
    return (count + STATE_ALIGNMENT - 1) / STATE_ALIGNMENT * STATE_ALIGNMENT;
}

const char *state_block_name(tuff_state_kind kind) {
    static const char *const names[] = { [TUFF_STATE_PARAMETER] = "parameters",
                                         [TUFF_STATE_BUFFER] = "buffers",
                                         [TUFF_STATE_OPTIMIZER] = "moments",
                                         [TUFF_STATE_CACHE] = "caches" };
    return names[kind];
}

tuff_result model_add_block(tuff_model *model, tuff_state_kind kind, uint64_t count, uint32_t *index) {
    if (model->block_count == model->block_capacity) {
        uint32_t capacity = model->block_capacity ? model->block_capacity * 2 : 8;
        state_block *moved = realloc(model->blocks, capacity * sizeof *moved);
        if (!moved) return error_out_of_host_memory(capacity * sizeof *moved);
        model->blocks = moved;
        model->block_capacity = capacity;
    }
    state_block block = { .count = count, .kind = kind };
    TRY(buffer_create(model->device, BUFFER_DEVICE, count * 4, state_block_name(kind), &block.buffer));
    tuff_result result = device_fill(model->device, (buffer_range){ block.buffer, 0, count * 4 }, 0);
    if (result != TUFF_OK) {
        buffer_destroy(block.buffer);
        return result;
    }
    *index = model->block_count;
    model->blocks[model->block_count++] = block;
    return TUFF_OK;
}

/* ---- initialisers ------------------------------------------------------------------------------- */

enum { INIT_LANES = 64, INIT_GROUPS = 1024 };

static uint32_t bits_of(double value) {
    float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* What a state's elements are: a constant, or uniform in [-spread, spread), or normal with the deviation spread.
 * torch.nn.init's formulas. */
typedef struct distribution {
    enum { CONSTANT, UNIFORM, NORMAL } kind;
    double spread;
} distribution;

static distribution distribution_of(const state_entry *entry) {
    double value = entry->init.value, in = (double)entry->fan_in, out = (double)entry->fan_out;
    double kaiming = sqrt(2 / (1 + value * value)) / sqrt(in); /* gain of leaky_relu over sqrt(fan_in) */
    double xavier = (value == 0 ? 1 : value) * sqrt(2 / (in + out));
    switch (entry->init.kind) {
    case TUFF_INIT_CONSTANT: return (distribution){ CONSTANT, value };
    case TUFF_INIT_UNIFORM: return (distribution){ UNIFORM, value };
    case TUFF_INIT_NORMAL: return (distribution){ NORMAL, value };
    case TUFF_INIT_KAIMING_UNIFORM: return (distribution){ UNIFORM, sqrt(3) * kaiming };
    case TUFF_INIT_KAIMING_NORMAL: return (distribution){ NORMAL, kaiming };
    case TUFF_INIT_XAVIER_UNIFORM: return (distribution){ UNIFORM, sqrt(3) * xavier };
    case TUFF_INIT_XAVIER_NORMAL: return (distribution){ NORMAL, xavier };
    case TUFF_INIT_DEFAULT:
    case TUFF_INIT_ZEROS: break;
    }
    return (distribution){ CONSTANT, 0 };
}

static buffer_range range_of(const state_entry *entry) {
    return (buffer_range){ entry->model->blocks[entry->block].buffer, entry->offset * 4, entry->count * 4 };
}

/* In how many dispatches a state's numbers are made: none should hold the device for long. */
static uint32_t init_pieces(const state_entry *entry) {
    uint64_t quads = (entry->count + 3) / 4;
    return (uint32_t)((quads + INIT_GROUPS * INIT_LANES - 1) / (INIT_GROUPS * INIT_LANES));
}

static void init_dispatch(const state_entry *entry, distribution distribution, uint32_t piece, dispatch *out) {
    /* the shape as (rows, columns, rest), so that the kernel finds where an element lies: only weights of convolutions
     * are permuted, and the axes of a kernel stay together */
    uint32_t sizes[3] = { (uint32_t)entry->count, 1, 1 }, strides[3] = { 1, 1, 1 }, rank = entry->shape.rank;
    if (rank > 2) {
        sizes[0] = (uint32_t)entry->shape.sizes[0];
        sizes[1] = (uint32_t)entry->shape.sizes[1];
        sizes[2] = (uint32_t)(entry->count / sizes[0] / sizes[1]);
        strides[0] = (uint32_t)entry->strides[0];
        strides[1] = (uint32_t)entry->strides[1];
        strides[2] = (uint32_t)entry->strides[rank - 1];
    }
    uint32_t quads = (uint32_t)((entry->count + 3) / 4), first = piece * INIT_GROUPS * INIT_LANES;
    uint32_t groups = (quads - first + INIT_LANES - 1) / INIT_LANES;
    uint64_t seed = entry->model->seed;
    uint32_t params[] = { (uint32_t)entry->count,
                          (uint32_t)seed,
                          (uint32_t)(seed >> 32),
                          entry->name_hash,
                          distribution.kind == NORMAL,
                          bits_of(distribution.spread),
                          sizes[1],
                          sizes[2],
                          strides[0],
                          strides[1],
                          strides[2],
                          first };
    *out = (dispatch){ .kernel = KERNEL_INITIALISE,
                       .bindings = { range_of(entry) },
                       .binding_count = 1,
                       .param_count = sizeof params / sizeof *params,
                       .groups = { groups < INIT_GROUPS ? groups : INIT_GROUPS, 1, 1 },
                       .label = entry->name };
    memcpy(out->params, params, sizeof params);
}

static uint32_t int_bits(const state_entry *entry, double value) {
    return entry->type == TUFF_I32 ? (uint32_t)(int32_t)value : bits_of(value);
}

static tuff_result record_initialisers(commands *commands, state_entry *const *entries, uint32_t count,
                                       const dispatch_set *set) {
    TRY(commands_begin(commands));
    uint32_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        distribution d = distribution_of(entries[i]);
        for (uint32_t piece = 0; d.kind != CONSTANT && piece < init_pieces(entries[i]); piece++) {
            /* for the newer layers, which take each piece to write all of the state */
            if (piece) commands_barrier(commands, USE_KERNEL_WRITE, USE_KERNEL_WRITE);
            commands_dispatch(commands, set, next++);
        }
        if (d.kind == CONSTANT && d.spread != 0)
            commands_fill(commands, range_of(entries[i]), int_bits(entries[i], d.spread));
    }
    return commands_end(commands);
}

/* Runs the initialisers of placed, zeroed states. */
static tuff_result initialise(tuff_model *model, state_entry *const *entries, uint32_t count) {
    uint32_t dispatch_count = 0, constants = 0, pieces = 0;
    for (uint32_t i = 0; i < count; i++) pieces += init_pieces(entries[i]);
    dispatch *dispatches = calloc((size_t)pieces + 1, sizeof *dispatches);
    if (!dispatches) return error_out_of_host_memory(pieces * sizeof *dispatches);
    for (uint32_t i = 0; i < count; i++) {
        distribution d = distribution_of(entries[i]);
        constants += d.kind == CONSTANT && d.spread != 0;
        for (uint32_t piece = 0; d.kind != CONSTANT && piece < init_pieces(entries[i]); piece++)
            init_dispatch(entries[i], d, piece, &dispatches[dispatch_count++]);
    }
    tuff_result result = TUFF_OK;
    dispatch_set *set = NULL;
    commands *commands = NULL;
    if (dispatch_count) result = dispatch_set_create(model->device, dispatches, dispatch_count, "initialisers", &set);
    if (result == TUFF_OK && dispatch_count + constants)
        result = commands_create(model->device, "initialisers", &commands);
    if (result == TUFF_OK && commands) result = record_initialisers(commands, entries, count, set);
    queue_point done;
    if (result == TUFF_OK && commands)
        result = queue_submit(model->device, QUEUE_COMPUTE, &commands, 1, NULL, 0, &done);
    if (result == TUFF_OK && commands) result = queue_wait(model->device, done);
    commands_destroy(commands);
    dispatch_set_destroy(set);
    free(dispatches);
    return result;
}

/* ---- placing ------------------------------------------------------------------------------------ */

/* Gives the entries offsets in blocks that are about to be made (block counts from `blocks`), and fills in the
 * blocks' sizes. */
static uint32_t lay_out(state_entry *const *entries, uint32_t count, uint64_t most, uint64_t *sizes) {
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t size = padded(entries[i]->count);
        if (blocks == 0 || sizes[blocks - 1] + size > most) sizes[blocks++] = 0; /* a giant has one of its own */
        entries[i]->block = blocks - 1;
        entries[i]->offset = sizes[blocks - 1];
        sizes[blocks - 1] += size;
    }
    return blocks;
}

static tuff_result place_kind(tuff_model *model, tuff_state_kind kind, state_entry **entries, uint64_t *sizes) {
    const device_limits *limits = device_get_limits(model->device);
    uint64_t most = limits->max_range < limits->max_allocation ? limits->max_range : limits->max_allocation;
    uint64_t forced; /* "slice=BYTES": more and smaller blocks */
    if (device_force_number(model->device, "slice", &forced) && forced < most) most = forced;
    uint32_t count = 0, first = model->block_count;
    for (uint32_t i = 0; i < model->state_count; i++)
        if (model->states[i]->kind == kind && !model->states[i]->placed) entries[count++] = model->states[i];
    uint32_t blocks = lay_out(entries, count, most / 4, sizes);
    tuff_result result = TUFF_OK;
    for (uint32_t i = 0; i < blocks && result == TUFF_OK; i++) {
        uint32_t index;
        result = model_add_block(model, kind, sizes[i], &index);
    }
    for (uint32_t i = 0; i < count && result == TUFF_OK; i++) entries[i]->block += first;
    if (result == TUFF_OK) result = initialise(model, entries, count);
    for (uint32_t i = 0; i < count && result == TUFF_OK; i++) entries[i]->placed = true;
    /* what failed changed nothing */
    while (result != TUFF_OK && model->block_count > first) buffer_destroy(model->blocks[--model->block_count].buffer);
    return result;
}

tuff_result model_place(tuff_model *model) {
    state_entry **entries = calloc(model->state_count + 1, sizeof *entries);
    uint64_t *sizes = calloc(model->state_count + 1, sizeof *sizes);
    tuff_result result = TUFF_OK;
    if (!entries || !sizes) result = error_out_of_host_memory(model->state_count * sizeof *entries);
    if (result == TUFF_OK) result = place_kind(model, TUFF_STATE_PARAMETER, entries, sizes);
    if (result == TUFF_OK) result = place_kind(model, TUFF_STATE_BUFFER, entries, sizes);
    if (result == TUFF_OK) result = place_kind(model, TUFF_STATE_CACHE, entries, sizes);
    free(entries);
    free(sizes);
    return result;
}
