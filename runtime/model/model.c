/* Models: what is declared, under which name, and what is known of it. */
#include "runtime/model/model.h"

#include "runtime/program/view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tuff_model *tuff_model_create(tuff_device *device, const tuff_model_desc *desc) {
    if (!device) {
        error_set(TUFF_ERROR_ARGUMENT, "tuff_model_create: device is NULL");
        return NULL;
    }
    tuff_model *model = calloc(1, sizeof *model);
    if (!model) {
        error_out_of_host_memory(sizeof *model);
        return NULL;
    }
    model->device = device;
    model->seed = desc ? desc->seed : 0;
    return model;
}

void tuff_model_destroy(tuff_model *model) {
    if (!model) return;
    tuff_device_wait(model->device); /* on a lost device there is nothing to wait for */
    model_forget(model, 0);
    while (model->forgotten) {
        state_entry *entry = model->forgotten;
        model->forgotten = entry->next_forgotten;
        free(entry->name);
        free(entry);
    }
    for (uint32_t i = 0; i < model->block_count; i++) buffer_destroy(model->blocks[i].buffer);
    for (uint32_t i = 0; i < model->optimizer_count; i++) {
        free(model->optimizers[i]->name);
        free(model->optimizers[i]->blocks);
        free(model->optimizers[i]);
    }
    free(model->states);
    free(model->blocks);
    free(model->optimizers);
    free(model);
}

/* ---- declaring ---------------------------------------------------------------------------------- */

static uint32_t hash_text(const char *text) { /* FNV-1a */
    uint32_t hash = 2166136261u;
    for (; *text; text++) hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

state_entry *model_find(const tuff_model *model, const char *name) {
    uint32_t hash = hash_text(name);
    for (uint32_t i = 0; i < model->state_count; i++)
        if (model->states[i]->name_hash == hash && strcmp(model->states[i]->name, name) == 0) return model->states[i];
    return NULL;
}

tuff_result model_add_state(tuff_model *model, const state_entry *entry, const char *name, state_entry **out) {
    if (model->state_count == model->state_capacity) {
        uint32_t capacity = model->state_capacity ? model->state_capacity * 2 : 32;
        state_entry **moved = realloc(model->states, capacity * sizeof *moved);
        if (!moved) return error_out_of_host_memory(capacity * sizeof *moved);
        model->states = moved;
        model->state_capacity = capacity;
    }
    size_t length = strlen(name) + 1;
    state_entry *added = malloc(sizeof *added);
    char *copy = malloc(length);
    if (!added || !copy) {
        free(added);
        free(copy);
        return error_out_of_host_memory(sizeof *added + length);
    }
    *added = *entry;
    added->model = model;
    added->name = memcpy(copy, name, length);
    added->name_hash = hash_text(name);
    model->states[model->state_count++] = added;
    *out = added;
    return TUFF_OK;
}

static const char *kind_name(tuff_state_kind kind) {
    static const char *const names[] = { "parameter", "buffer", "optimizer's state", "cache" };
    return names[kind];
}

static const char *type_name(tuff_type type) {
    return type == TUFF_F32 ? "float32" : "int32";
}

static tuff_result check_desc(const state_desc *desc) {
    char text[SHAPE_TEXT];
    if (!desc->name || !*desc->name) return error_set(TUFF_ERROR_ARGUMENT, "a parameter or buffer needs a name");
    if (desc->shape.rank > TUFF_MAX_RANK)
        return error_set(TUFF_ERROR_SHAPE, "'%s': rank %u is more than %d", desc->name, desc->shape.rank,
                         TUFF_MAX_RANK);
    int64_t count = 1;
    for (uint32_t i = 0; i < desc->shape.rank; i++) {
        int64_t size = desc->shape.sizes[i];
        if (size < 1 || size > INT32_MAX || count > INT32_MAX / size)
            return error_set(TUFF_ERROR_SHAPE, "'%s': shape %s has a size below 1 or more than %d elements", desc->name,
                             shape_text(&desc->shape, text), INT32_MAX);
        count *= size;
    }
    if (desc->type != TUFF_F32 && desc->type != TUFF_I32)
        return error_set(TUFF_ERROR_ARGUMENT, "'%s': a state is float32 or int32", desc->name);
    if (desc->type != TUFF_F32 && desc->kind == TUFF_STATE_PARAMETER)
        return error_set(TUFF_ERROR_ARGUMENT, "'%s': a parameter is float32", desc->name);
    bool fans = desc->init.kind >= TUFF_INIT_KAIMING_UNIFORM && desc->init.kind <= TUFF_INIT_XAVIER_NORMAL;
    if (fans && (desc->fan_in < 1 || desc->fan_out < 1))
        return error_set(TUFF_ERROR_SHAPE,
                         "'%s': a Kaiming or Xavier initialiser needs a shape of rank 2 or more, not %s", desc->name,
                         shape_text(&desc->shape, text));
    if (desc->init.kind > TUFF_INIT_XAVIER_NORMAL)
        return error_set(TUFF_ERROR_ARGUMENT, "'%s': %d is not a tuff_init", desc->name, (int)desc->init.kind);
    /* a constant may be infinite: masks are */
    bool valued = desc->init.kind != TUFF_INIT_DEFAULT && desc->init.kind != TUFF_INIT_ZEROS;
    if (valued && (isnan(desc->init.value) || (isinf(desc->init.value) && desc->init.kind != TUFF_INIT_CONSTANT)))
        return error_set(TUFF_ERROR_ARGUMENT, "'%s': the initialiser's value is %g", desc->name,
                         (double)desc->init.value);
    return TUFF_OK;
}

tuff_result model_declare(tuff_model *model, const state_desc *desc, state_entry **out) {
    TRY(check_desc(desc));
    state_entry *known = model_find(model, desc->name);
    if (known) {
        char first[SHAPE_TEXT], second[SHAPE_TEXT];
        if (!shape_equal(&known->shape, &desc->shape) || known->type != desc->type)
            return error_set(TUFF_ERROR_SHAPE,
                             "'%s' is declared again as %s %s, but the model has it as %s %s; the same name means the "
                             "same state",
                             desc->name, type_name(desc->type), shape_text(&desc->shape, first), type_name(known->type),
                             shape_text(&known->shape, second));
        if (known->kind != desc->kind)
            return error_set(TUFF_ERROR_SHAPE, "'%s' is declared again as a %s, but the model has it as a %s",
                             desc->name, kind_name(desc->kind), kind_name(known->kind));
        *out = known;
        return TUFF_OK;
    }
    state_entry entry = { .type = desc->type,
                          .shape = desc->shape,
                          .kind = desc->kind,
                          .init = desc->init,
                          .fan_in = desc->fan_in,
                          .fan_out = desc->fan_out,
                          .count = (uint64_t)tuff_shape_count(&desc->shape) };
    strides_for(&entry.shape, desc->layout, entry.strides); /* elements, in the physical order */
    return model_add_state(model, &entry, desc->name, out);
}

void model_forget(tuff_model *model, uint32_t count) {
    while (model->state_count > count) {
        state_entry *entry = model->states[--model->state_count];
        entry->next_forgotten = model->forgotten;
        model->forgotten = entry;
    }
}

/* ---- the public part ---------------------------------------------------------------------------- */

uint32_t tuff_model_state_count(const tuff_model *model) {
    return model ? model->state_count : 0;
}

tuff_result tuff_model_state_info(const tuff_model *model, uint32_t index, tuff_state_info *info) {
    if (!model || !info)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_model_state_info: %s is NULL", model ? "info" : "model");
    if (index >= model->state_count)
        return error_set(TUFF_ERROR_ARGUMENT, "tuff_model_state_info: index %u; the model has %u states", index,
                         model->state_count);
    /* what graphs declared comes first, however late it was declared */
    const state_entry *entry = NULL;
    for (uint32_t pass = 0; pass < 2 && !entry; pass++)
        for (uint32_t i = 0; i < model->state_count && !entry; i++) {
            bool optimizers = model->states[i]->kind == TUFF_STATE_OPTIMIZER;
            if (optimizers == (pass == 1) && index-- == 0) entry = model->states[i];
        }
    *info = (tuff_state_info){ .name = entry->name, .type = entry->type, .shape = entry->shape, .kind = entry->kind };
    return TUFF_OK;
}

uint32_t tuff_model_optimizer_count(const tuff_model *model) {
    return model ? model->optimizer_count : 0;
}

tuff_optimizer *tuff_model_optimizer(const tuff_model *model, uint32_t index) {
    return model && index < model->optimizer_count ? model->optimizers[index] : NULL;
}
