/* A call may write its first operand over another one if that one's value ends there: no other call touches it in the
 * call's level or later, and none touches the result's storage earlier or in that level. In the order of the schedule a
 * value that has taken over another's bytes can be taken over in turn. */
#include "runtime/program/in_place.h"

#include <stdlib.h>
#include <string.h>

typedef struct touches {
    uint32_t first, last;       /* levels */
    uint32_t in_first, in_last; /* how many calls touch it there */
} touches;

static bool touches_before(const kernel_call *call, uint32_t operand) {
    for (uint32_t i = 0; i < operand; i++)
        if (call->operands[i].storage == call->operands[operand].storage) return true;
    return false;
}

static void count_touches(const lowered *lowered, const schedule *schedule, touches *all) {
    for (uint32_t s = 0; s < lowered->storage_count; s++) all[s] = (touches){ .first = UINT32_MAX };
    for (uint32_t k = 0; k < schedule->call_count; k++) { /* levels rise */
        const kernel_call *call = &lowered->calls[schedule->order[k]];
        uint32_t level = schedule->levels[schedule->order[k]];
        for (uint32_t i = 0; i < call->operand_count; i++) {
            touches *t = &all[call->operands[i].storage];
            if (touches_before(call, i)) continue;
            if (t->first == UINT32_MAX) t->first = level;
            if (t->first == level) t->in_first++;
            t->in_last = t->last == level ? t->in_last + 1 : 1;
            t->last = level;
        }
    }
}

/* Both of them whole, once in the call, and of one size. */
static bool alike(const lowered *lowered, const kernel_call *call, uint32_t index) {
    const operand *to = &call->operands[0], *from = &call->operands[index];
    const storage *result = &lowered->storages[to->storage], *dying = &lowered->storages[from->storage];
    if (result->kind != STORAGE_TRANSIENT || dying->kind != STORAGE_TRANSIENT || to->storage == from->storage
        || result->size != dying->size || to->offset != 0 || from->offset != 0)
        return false;
    for (uint32_t i = 1; i < call->operand_count; i++) {
        if (i != index && call->operands[i].storage == from->storage) return false;
        /* a binding that is not used repeats the first one */
        if (call->operands[i].storage == to->storage && call->operands[i].access != to->access) return false;
    }
    return true;
}

static void join(lowered *lowered, uint32_t *joined, touches *all, uint32_t result, uint32_t dying) {
    joined[result] = dying;
    lowered->storages[result].in_place_of = dying + 1;
    all[dying].last = all[result].last;
    all[dying].in_last = all[result].in_last;
}

static void follow(kernel_call *call, const uint32_t *joined) {
    for (uint32_t i = 0; i < call->operand_count; i++) call->operands[i].storage = joined[call->operands[i].storage];
}

/* The result of one call, if it can. Operands before it are known by their storages, the result's by its own. */
static void take_over(lowered *lowered, const schedule *schedule, uint32_t index, uint32_t *joined, touches *all) {
    const kernel_call *call = &lowered->calls[index];
    uint32_t level = schedule->levels[index], result = call->operands[0].storage;
    for (uint32_t i = 1; i < call->operand_count; i++) {
        uint32_t dying = call->operands[i].storage;
        if (!(call->in_place >> i & 1) || !alike(lowered, call, i)) continue;
        const touches *old = &all[dying], *new = &all[result];
        if (old->last != level || old->in_last != 1 || new->first != level || new->in_first != 1) continue;
        join(lowered, joined, all, result, dying);
        return;
    }
}

tuff_result in_place(lowered *lowered, const schedule *schedule) {
    size_t count = (size_t)lowered->storage_count + 1;
    touches *all = malloc(count * sizeof *all);
    uint32_t *joined = malloc(count * sizeof *joined);
    if (!all || !joined) {
        free(all);
        free(joined);
        return error_out_of_host_memory(count * (sizeof *all + sizeof *joined));
    }
    for (uint32_t s = 0; s < lowered->storage_count; s++) joined[s] = s;
    count_touches(lowered, schedule, all);
    for (uint32_t k = 0; k < schedule->call_count; k++) {
        uint32_t index = schedule->order[k];
        follow(&lowered->calls[index], joined);
        take_over(lowered, schedule, index, joined, all);
        follow(&lowered->calls[index], joined);
    }
    free(all);
    free(joined);
    return TUFF_OK;
}

void in_place_dump(const lowered *lowered, FILE *file) {
    uint32_t count = 0;
    for (uint32_t s = 0; s < lowered->storage_count; s++) count += lowered->storages[s].in_place_of != 0;
    fprintf(file, "in place: %u values\n", count);
    for (uint32_t s = 0; s < lowered->storage_count; s++)
        if (lowered->storages[s].in_place_of)
            fprintf(file, "  %s on the bytes of %s\n", lowered->storages[s].name,
                    lowered->storages[lowered->storages[s].in_place_of - 1].name);
}
