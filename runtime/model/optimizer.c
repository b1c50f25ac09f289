/* Optimizers' bookkeeping: hyperparameters, step counts, and moments that mirror the parameters' blocks. The update
 * rules themselves stand in layers/optimizers.c. */
#include "runtime/model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- making them -------------------------------------------------------------------------------- */

/* A descriptor's number: zero is the default, a negative number a true zero. */
static float or_default(float value, float standard) {
    return value == 0 ? standard : value < 0 ? 0 : value;
}

static tuff_result check_range(const char *call, const char *what, float value, float below) {
    if (value >= 0 && value < below) return TUFF_OK; /* false for NaN, too */
    return error_set(TUFF_ERROR_ARGUMENT, "%s: %s is %g; it must be at least 0 and %s", call, what, (double)value,
                     isinf(below) ? "finite" : "below 1");
}

static tuff_result add_optimizer(tuff_model *model, const optimizer_rule *rule, const char *name,
                                 tuff_optimizer **out) {
    if (model->optimizer_count == model->optimizer_capacity) {
        uint32_t capacity = model->optimizer_capacity ? model->optimizer_capacity * 2 : 4;
        tuff_optimizer **moved = realloc(model->optimizers, capacity * sizeof(*moved));
        if (!moved) return error_out_of_host_memory(capacity * sizeof(*moved));
        model->optimizers = moved;
        model->optimizer_capacity = capacity;
    }
    size_t length = strlen(name) + 1;
    tuff_optimizer *added = calloc(1, sizeof *added);
    char *copy = malloc(length);
    if (!added || !copy) {
        free(added);
        free(copy);
        return error_out_of_host_memory(sizeof *added + length);
    }
    added->model = model;
    added->rule = rule;
    added->name = memcpy(copy, name, length);
    model->optimizers[model->optimizer_count++] = added;
    *out = added;
    return TUFF_OK;
}

static tuff_optimizer *create(tuff_model *model, const char *call, const optimizer_rule *rule, const char *name,
                              float lr) {
    if (!model) {
        error_set(TUFF_ERROR_ARGUMENT, "%s: model is NULL", call);
        return NULL;
    }
    if (!name || !*name) name = "optimizer";
    if (lr == 0) lr = 1e-3f;
    if (check_range(call, "lr", lr, INFINITY) != TUFF_OK) return NULL;
    for (uint32_t i = 0; i < model->optimizer_count; i++)
        if (strcmp(model->optimizers[i]->name, name) == 0) {
            error_set(TUFF_ERROR_ARGUMENT, "%s: the model already has an optimizer '%s'; give this one another name",
                      call, name);
            return NULL;
        }
    tuff_optimizer *optimizer = NULL;
    if (add_optimizer(model, rule, name, &optimizer) != TUFF_OK) return NULL;
    optimizer->lr = lr;
    return optimizer;
}

tuff_optimizer *tuff_sgd_create(tuff_model *model, const tuff_sgd_desc *desc) {
    static const char call[] = "tuff_sgd_create";
    static const tuff_sgd_desc defaults;
    if (!desc) desc = &defaults;
    if (check_range(call, "momentum", desc->momentum, INFINITY) != TUFF_OK
        || check_range(call, "weight_decay", desc->weight_decay, INFINITY) != TUFF_OK)
        return NULL;
    if (!isfinite(desc->dampening)) {
        error_set(TUFF_ERROR_ARGUMENT, "%s: dampening is not finite", call);
        return NULL;
    }
    if (desc->nesterov && (desc->momentum == 0 || desc->dampening != 0)) {
        error_set(TUFF_ERROR_ARGUMENT, "%s: nesterov needs a momentum and no dampening", call);
        return NULL;
    }
    const optimizer_rule *rule = desc->momentum != 0 ? &optimizer_sgd_momentum : &optimizer_sgd;
    tuff_optimizer *optimizer = create(model, call, rule, desc->name, desc->lr);
    if (!optimizer) return NULL;
    optimizer->hyper[HYPER_MOMENTUM] = desc->momentum;
    optimizer->hyper[HYPER_DAMPENING] = desc->dampening;
    optimizer->hyper[HYPER_NESTEROV] = desc->nesterov;
    optimizer->hyper[HYPER_SGD_DECAY] = desc->weight_decay;
    return optimizer;
}

static tuff_optimizer *create_adam(tuff_model *model, const char *call, const optimizer_rule *rule,
                                   const tuff_adam_desc *desc) {
    float beta1 = or_default(desc->beta1, 0.9f), beta2 = or_default(desc->beta2, 0.999f);
    float epsilon = or_default(desc->epsilon, 1e-8f);
    if (check_range(call, "beta1", beta1, 1) != TUFF_OK || check_range(call, "beta2", beta2, 1) != TUFF_OK
        || check_range(call, "epsilon", epsilon, INFINITY) != TUFF_OK
        || check_range(call, "weight_decay", desc->weight_decay, INFINITY) != TUFF_OK)
        return NULL;
    tuff_optimizer *optimizer = create(model, call, rule, desc->name, desc->lr);
    if (!optimizer) return NULL;
    optimizer->hyper[HYPER_BETA1] = optimizer->beta1 = beta1;
    optimizer->hyper[HYPER_BETA2] = optimizer->beta2 = beta2;
    optimizer->hyper[HYPER_EPSILON] = epsilon;
    optimizer->hyper[HYPER_ADAM_DECAY] = desc->weight_decay;
    return optimizer;
}

tuff_optimizer *tuff_adam_create(tuff_model *model, const tuff_adam_desc *desc) {
    static const tuff_adam_desc defaults;
    return create_adam(model, "tuff_adam_create", &optimizer_adam, desc ? desc : &defaults);
}

tuff_optimizer *tuff_adamw_create(tuff_model *model, const tuff_adamw_desc *desc) {
    static const tuff_adamw_desc defaults;
    if (!desc) desc = &defaults;
    tuff_adam_desc adam = { .name = desc->name,
                            .lr = desc->lr,
                            .beta1 = desc->beta1,
                            .beta2 = desc->beta2,
                            .epsilon = desc->epsilon,
                            .weight_decay = or_default(desc->weight_decay, 1e-2f) };
    return create_adam(model, "tuff_adamw_create", &optimizer_adamw, &adam);
}

/* ---- what changes ------------------------------------------------------------------------------- */

tuff_result tuff_optimizer_set_lr(tuff_optimizer *optimizer, float lr) {
    if (!optimizer) return error_set(TUFF_ERROR_ARGUMENT, "tuff_optimizer_set_lr: optimizer is NULL");
    TRY(check_range("tuff_optimizer_set_lr", "lr", lr, INFINITY));
    optimizer->lr = lr;
    return TUFF_OK;
}

float tuff_optimizer_lr(const tuff_optimizer *optimizer) {
    return optimizer ? optimizer->lr : 0;
}

uint64_t tuff_optimizer_step_count(const tuff_optimizer *optimizer) {
    return optimizer ? optimizer->step_count : 0;
}

tuff_result tuff_optimizer_set_step_count(tuff_optimizer *optimizer, uint64_t count) {
    if (!optimizer) return error_set(TUFF_ERROR_ARGUMENT, "tuff_optimizer_set_step_count: optimizer is NULL");
    optimizer->step_count = count;
    return TUFF_OK;
}

const char *tuff_optimizer_name(const tuff_optimizer *optimizer) {
    return optimizer ? optimizer->name : NULL;
}

/* ---- moments ------------------------------------------------------------------------------------ */

/* "optimizer.exp_avg.conv1.weight" for each parameter of a block, at the same place in the moments' block. */
static tuff_result declare_moments(tuff_optimizer *optimizer, const char *moment, uint32_t parameters, uint32_t block) {
    tuff_model *model = optimizer->model;
    uint32_t count = model->state_count; /* what is appended here is not visited */
    for (uint32_t i = 0; i < count; i++) {
        state_entry entry = *model->states[i];
        if (entry.kind != TUFF_STATE_PARAMETER || !entry.placed || entry.block != parameters) continue;
        size_t size = strlen(optimizer->name) + strlen(moment) + strlen(entry.name) + 3;
        char *name = malloc(size);
        if (!name) return error_out_of_host_memory(size);
        snprintf(name, size, "%s.%s.%s", optimizer->name, moment, entry.name);
        entry.kind = TUFF_STATE_OPTIMIZER;
        entry.init = (tuff_init_desc){ .kind = TUFF_INIT_ZEROS };
        entry.block = block;
        tuff_result result = TUFF_OK;
        if (model_find(model, name))
            result = error_set(TUFF_ERROR_ARGUMENT, "optimizer '%s': the model already has a state '%s'",
                               optimizer->name, name);
        if (result == TUFF_OK) result = model_add_state(model, &entry, name, &(state_entry *){ NULL });
        free(name);
        TRY(result);
    }
    return TUFF_OK;
}

tuff_result optimizer_place(tuff_optimizer *optimizer, uint32_t parameter_block, optimizer_block *out) {
    tuff_model *model = optimizer->model;
    for (uint32_t i = 0; i < optimizer->block_count; i++)
        if (optimizer->blocks[i].parameters == parameter_block) {
            *out = optimizer->blocks[i];
            return TUFF_OK;
        }
    if (optimizer->block_count == optimizer->block_capacity) {
        uint32_t capacity = optimizer->block_capacity ? optimizer->block_capacity * 2 : 4;
        optimizer_block *moved = realloc(optimizer->blocks, capacity * sizeof *moved);
        if (!moved) return error_out_of_host_memory(capacity * sizeof *moved);
        optimizer->blocks = moved;
        optimizer->block_capacity = capacity;
    }
    optimizer_block made = { .parameters = parameter_block };
    uint32_t first_block = model->block_count, first_state = model->state_count;
    tuff_result result = TUFF_OK;
    for (uint32_t m = 0; m < optimizer->rule->moment_count && result == TUFF_OK; m++) {
        result = model_add_block(model, TUFF_STATE_OPTIMIZER, model->blocks[parameter_block].count, &made.moments[m]);
        if (result == TUFF_OK)
            result = declare_moments(optimizer, optimizer->rule->moments[m], parameter_block, made.moments[m]);
    }
    if (result != TUFF_OK) { /* what failed changed nothing */
        while (model->state_count > first_state) {
            state_entry *last = model->states[--model->state_count];
            free(last->name);
            free(last);
        }
        while (model->block_count > first_block) buffer_destroy(model->blocks[--model->block_count].buffer);
        return result;
    }
    optimizer->blocks[optimizer->block_count++] = made;
    *out = made;
    return TUFF_OK;
}
