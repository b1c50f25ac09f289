/* Reading and replacing states: between PyTorch's order and where their elements lie. */
#include "runtime/model/model.h"

#include <stdlib.h>
#include <string.h>

/* ---- names that are near ------------------------------------------------------------------------ */

enum { NAME_LENGTH = 128, SUGGESTIONS = 3 };

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* Insertions, deletions and replacements that turn a into b (Levenshtein); long names by their beginnings. */
static uint32_t distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > NAME_LENGTH) n = NAME_LENGTH;
    if (m > NAME_LENGTH) m = NAME_LENGTH;
    uint32_t row[NAME_LENGTH + 1];
    for (uint32_t j = 0; j <= m; j++) row[j] = j;
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= m; j++) {
            uint32_t above = row[j];
            row[j] = smaller(smaller(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[m];
}

static tuff_result unknown_name(const tuff_model *model, const char *call, const char *name) {
    const state_entry *near[SUGGESTIONS] = { NULL };
    uint32_t distances[SUGGESTIONS];
    for (uint32_t i = 0; i < model->state_count; i++) {
        const state_entry *entry = model->states[i];
        uint32_t d = distance(name, entry->name);
        for (uint32_t k = 0; k < SUGGESTIONS; k++) {
            if (near[k] && distances[k] <= d) continue;
            const state_entry *pushed = near[k];
            uint32_t pushed_distance = pushed ? distances[k] : 0;
            near[k] = entry;
            distances[k] = d;
            if (!(entry = pushed)) break;
            d = pushed_distance;
        }
    }
    if (!near[0])
        return error_set(TUFF_ERROR_ARGUMENT, "%s: no state '%s': the model has none yet; build its graph first", call,
                         name);
    const char *names[SUGGESTIONS], *quote[SUGGESTIONS];
    for (uint32_t k = 0; k < SUGGESTIONS; k++) {
        names[k] = near[k] ? near[k]->name : "";
        quote[k] = near[k] ? "'" : "";
    }
    return error_set(TUFF_ERROR_ARGUMENT, "%s: no state '%s'; near it are '%s'%s%s%s%s%s%s%s%s (of %u)", call, name,
                     names[0], near[1] ? ", " : "", quote[1], names[1], quote[1], near[2] ? ", " : "", quote[2],
                     names[2], quote[2], model->state_count);
}

/* ---- transfers ---------------------------------------------------------------------------------- */

static bool in_order(const state_entry *entry) {
    int64_t stride = 1;
    for (uint32_t i = entry->shape.rank; i-- > 0; stride *= entry->shape.sizes[i])
        if (entry->strides[i] != stride && entry->shape.sizes[i] > 1) return false;
    return true;
}

/* Walks over the elements in PyTorch's order; element i lies at physical[]. */
static void permute(const state_entry *entry, uint32_t *ordered, uint32_t *physical, bool to_physical) {
    int64_t position[TUFF_MAX_RANK] = { 0 }, at = 0;
    for (uint64_t i = 0; i < entry->count; i++) {
        if (to_physical)
            physical[at] = ordered[i];
        else
            ordered[i] = physical[at];
        for (uint32_t axis = entry->shape.rank; axis-- > 0;) {
            at += entry->strides[axis];
            if (++position[axis] < entry->shape.sizes[axis]) break;
            at -= position[axis] * entry->strides[axis];
            position[axis] = 0;
        }
    }
}

static tuff_result find(tuff_model *model, const char *call, const char *name, const void *data, size_t size,
                        state_entry **out) {
    if (!model || !name || !data)
        return error_set(TUFF_ERROR_ARGUMENT, "%s: %s is NULL", call, !model ? "model" : !name ? "name" : "data");
    state_entry *entry = model_find(model, name);
    if (!entry) return unknown_name(model, call, name);
    char text[SHAPE_TEXT];
    if (size != entry->count * 4)
        return error_set(TUFF_ERROR_SHAPE, "%s: '%s' %s has %llu bytes, %llu were given", call, name,
                         shape_text(&entry->shape, text), (unsigned long long)entry->count * 4,
                         (unsigned long long)size);
    if (!entry->placed) TRY(model_place(model));
    *out = entry;
    return TUFF_OK;
}

static buffer_range range_of(const state_entry *entry) {
    return (buffer_range){ entry->model->blocks[entry->block].buffer, entry->offset * 4, entry->count * 4 };
}

tuff_result tuff_model_read(tuff_model *model, const char *name, void *data, size_t size) {
    state_entry *entry;
    TRY(find(model, "tuff_model_read", name, data, size, &entry));
    if (in_order(entry)) return device_download(model->device, range_of(entry), data);
    uint32_t *physical = malloc(size);
    if (!physical) return error_out_of_host_memory(size);
    tuff_result result = device_download(model->device, range_of(entry), physical);
    if (result == TUFF_OK) permute(entry, data, physical, false);
    free(physical);
    return result;
}

tuff_result tuff_model_write(tuff_model *model, const char *name, const void *data, size_t size) {
    state_entry *entry;
    TRY(find(model, "tuff_model_write", name, data, size, &entry));
    if (in_order(entry)) return device_upload(model->device, range_of(entry), data);
    uint32_t *physical = malloc(size);
    if (!physical) return error_out_of_host_memory(size);
    permute(entry, (uint32_t *)(uintptr_t)data, physical, true); /* only read */
    tuff_result result = device_upload(model->device, range_of(entry), physical);
    free(physical);
    return result;
}
