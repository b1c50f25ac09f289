/* A model's states to a safetensors file and back, through the public interface alone. Caches are no part of it: what a
 * model learned fits any length of a cache, and none.
 *
 * The step count of each optimizer is metadata, "tuff.step_count.NAME": that also says which tensors of the file,
 * NAME.*, are an optimizer's. */
#include "io_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char step_count_key[] = "tuff.step_count.";

/* "tuff.step_count.NAME", to be freed. */
static char *make_step_count_key(const char *optimizer) {
    size_t length = sizeof step_count_key + strlen(optimizer);
    char *key = malloc(length);
    if (key != NULL) snprintf(key, length, "%s%s", step_count_key, optimizer);
    return key;
}

static bool belongs_to(const char *state, const char *optimizer) {
    size_t length = strlen(optimizer);
    return strncmp(state, optimizer, length) == 0 && state[length] == '.';
}

/* ---- saving ------------------------------------------------------------------------------- */

static tuff_result read_state(tuff_model *model, const char *path, uint32_t index, bool no_optimizer,
                              tuff_file_tensor *tensors, uint32_t *count) {
    tuff_state_info info;
    IO_TRY(tuff_model_state_info(model, index, &info));
    if (info.kind == TUFF_STATE_CACHE || (info.kind == TUFF_STATE_OPTIMIZER && no_optimizer)) return TUFF_OK;
    size_t size = (size_t)tuff_shape_count(&info.shape) * tuff_type_size(info.type);
    void *data = malloc(size);
    if (data == NULL) return io_fail_memory(path, size);
    tensors[(*count)++] =
        (tuff_file_tensor){ .name = info.name, .type = info.type, .shape = info.shape, .data = data, .size = size };
    return tuff_model_read(model, info.name, data, size);
}

typedef struct metadata_list {
    char **strings; /* pairs */
    uint32_t pairs;
} metadata_list;

static bool metadata_add(metadata_list *metadata, char *key, char *value) {
    metadata->strings[2 * metadata->pairs] = key;
    metadata->strings[2 * metadata->pairs + 1] = value;
    metadata->pairs++;
    return key != NULL && value != NULL;
}

static tuff_result collect_metadata(tuff_model *model, const char *path, bool no_optimizer, metadata_list *metadata) {
    uint32_t optimizers = no_optimizer ? 0 : tuff_model_optimizer_count(model);
    metadata->strings = calloc(2 * ((size_t)optimizers + 1), sizeof *metadata->strings);
    if (metadata->strings == NULL) return io_fail_memory(path, 64);
    /* The layouts are PyTorch's; some readers ask for this key. */
    bool complete = metadata_add(metadata, strdup("format"), strdup("pt"));
    for (uint32_t i = 0; i < optimizers; i++) {
        const tuff_optimizer *optimizer = tuff_model_optimizer(model, i);
        char steps[32];
        snprintf(steps, sizeof steps, "%" PRIu64, tuff_optimizer_step_count(optimizer));
        complete &= metadata_add(metadata, make_step_count_key(tuff_optimizer_name(optimizer)), strdup(steps));
    }
    return complete ? TUFF_OK : io_fail_memory(path, 64);
}

tuff_result tuff_save(tuff_model *model, const char *path, const tuff_save_desc *desc) {
    if (model == NULL || path == NULL) return io_fail(TUFF_ERROR_ARGUMENT, "tuff_save: model and path are required");
    bool no_optimizer = desc != NULL && desc->no_optimizer;
    uint32_t states = tuff_model_state_count(model), count = 0;
    metadata_list metadata = { .pairs = 0 };
    tuff_file_tensor *tensors = calloc((size_t)states + 1, sizeof *tensors);
    tuff_result result = tensors == NULL ? io_fail_memory(path, states * sizeof *tensors) : TUFF_OK;
    for (uint32_t i = 0; i < states && result == TUFF_OK; i++) {
        result = read_state(model, path, i, no_optimizer, tensors, &count);
    }
    if (result == TUFF_OK) result = collect_metadata(model, path, no_optimizer, &metadata);
    if (result == TUFF_OK) {
        result = tuff_safetensors_write(path, tensors, count, (const char *const *)metadata.strings, metadata.pairs);
    }
    for (uint32_t i = 0; i < 2 * metadata.pairs; i++) free(metadata.strings[i]);
    free(metadata.strings);
    for (uint32_t i = 0; i < count; i++) free((void *)tensors[i].data);
    free(tensors);
    return result;
}

/* ---- loading ------------------------------------------------------------------------------ */

/* Names for a message: the first few, and how many there are. */
typedef struct name_list {
    char text[600];
    size_t used;
    uint32_t count, left_out;
} name_list;

static void list_add(name_list *list, const char *name) {
    list->count++;
    size_t left = sizeof list->text - list->used;
    if (list->left_out > 0 || strlen(name) + 3 > left) {
        list->left_out++;
        return;
    }
    list->used += (size_t)snprintf(list->text + list->used, left, "%s%s", list->used > 0 ? ", " : "", name);
}

static tuff_result list_fail(const name_list *list, const char *path, const char *what, const char *todo) {
    char more[32] = "";
    if (list->left_out > 0) snprintf(more, sizeof more, " and %u more", list->left_out);
    return io_fail(TUFF_ERROR_FILE, "%s: %u %s: %s%s; nothing was loaded. %s", path, list->count, what, list->text,
                   more, todo);
}

/* What of the file goes where, decided before anything changes. */
typedef struct load_plan {
    const tuff_file_tensor **tensors; /* [state], NULL: keeps its value */
    uint64_t *steps;                  /* [optimizer] */
    bool *has_steps;                  /* [optimizer] */
} load_plan;

static tuff_result plan_state(const char *path, const tuff_safetensors *file, const tuff_state_info *info,
                              name_list *missing, const tuff_file_tensor **tensor) {
    *tensor = info->kind == TUFF_STATE_CACHE ? NULL : tuff_safetensors_find(file, info->name);
    if (info->kind == TUFF_STATE_CACHE) return TUFF_OK;
    if (*tensor == NULL) {
        if (info->kind != TUFF_STATE_OPTIMIZER) list_add(missing, info->name);
        return TUFF_OK;
    }
    bool same =
        (*tensor)->type == info->type && (*tensor)->shape.rank == info->shape.rank
        && memcmp((*tensor)->shape.sizes, info->shape.sizes, info->shape.rank * sizeof info->shape.sizes[0]) == 0;
    if (same) return TUFF_OK;
    char in_file[IO_SHAPE_TEXT], in_model[IO_SHAPE_TEXT];
    return io_fail(TUFF_ERROR_FILE,
                   "%s: tensor \"%.200s\" is %s %s in the file, the model's is %s %s; nothing was loaded", path,
                   info->name, io_type_text((*tensor)->type), io_shape_text(&(*tensor)->shape, in_file),
                   io_type_text(info->type), io_shape_text(&info->shape, in_model));
}

static tuff_result plan_steps(const char *path, const tuff_safetensors *file, const char *optimizer, uint64_t *steps,
                              bool *has_steps) {
    char *key = make_step_count_key(optimizer);
    if (key == NULL) return io_fail_memory(path, 64);
    const char *text = tuff_safetensors_metadata(file, key);
    free(key);
    *has_steps = text != NULL;
    if (text == NULL) return TUFF_OK;
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
        return io_fail(TUFF_ERROR_FILE,
                       "%s: metadata: the step count of optimizer \"%.100s\" is \"%.40s\"; nothing was "
                       "loaded",
                       path, optimizer, text);
    }
    *steps = value;
    return TUFF_OK;
}

/* Tensors that a model may lack without harm: moments of an optimizer that the file names, and PyTorch's count of
 * a batch norm's batches, which only a cumulative average would need. */
static bool harmless_extra(const tuff_safetensors *file, const char *name) {
    static const char batches[] = "num_batches_tracked";
    size_t length = strlen(name);
    if (length >= sizeof batches - 1 && strcmp(name + length - (sizeof batches - 1), batches) == 0) return true;
    for (const char *dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        char *optimizer = strndup(name, (size_t)(dot - name));
        char *key = optimizer != NULL ? make_step_count_key(optimizer) : NULL;
        bool found = key != NULL && tuff_safetensors_metadata(file, key) != NULL;
        free(optimizer);
        free(key);
        if (found) return true;
    }
    return false;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static tuff_result check_extra(tuff_model *model, const char *path, const tuff_safetensors *file) {
    uint32_t states = tuff_model_state_count(model);
    const char **names = calloc((size_t)states + 1, sizeof *names);
    if (names == NULL) return io_fail_memory(path, (states + 1) * sizeof *names);
    name_list extra = { .used = 0 };
    tuff_result result = TUFF_OK;
    for (uint32_t i = 0; i < states && result == TUFF_OK; i++) {
        tuff_state_info info;
        result = tuff_model_state_info(model, i, &info);
        names[i] = info.name;
    }
    if (result == TUFF_OK) {
        qsort(names, states, sizeof *names, compare_names);
        for (uint32_t i = 0; i < tuff_safetensors_count(file); i++) {
            const char *name = tuff_safetensors_at(file, i)->name;
            bool known = bsearch(&name, names, states, sizeof *names, compare_names) != NULL;
            if (!known && !harmless_extra(file, name)) list_add(&extra, name);
        }
    }
    free(names);
    if (result == TUFF_OK && extra.count > 0) {
        return list_fail(&extra, path, "tensors that the model does not have", "Set ignore_extra to skip them.");
    }
    return result;
}

static tuff_result plan_load(tuff_model *model, const char *path, const tuff_safetensors *file,
                             const tuff_load_desc *desc, load_plan *plan) {
    uint32_t states = tuff_model_state_count(model), optimizers = tuff_model_optimizer_count(model);
    plan->tensors = calloc((size_t)states + 1, sizeof *plan->tensors);
    plan->steps = calloc((size_t)optimizers + 1, sizeof *plan->steps);
    plan->has_steps = calloc((size_t)optimizers + 1, sizeof *plan->has_steps);
    if (plan->tensors == NULL || plan->steps == NULL || plan->has_steps == NULL)
        return io_fail_memory(path, states * 8ull);

    name_list missing = { .used = 0 };
    for (uint32_t i = 0; i < states; i++) {
        tuff_state_info info;
        IO_TRY(tuff_model_state_info(model, i, &info));
        IO_TRY(plan_state(path, file, &info, &missing, &plan->tensors[i]));
    }
    if (missing.count > 0 && (desc == NULL || !desc->partial)) {
        return list_fail(&missing, path, "states of the model are missing", "Set partial to keep their values.");
    }
    if (desc == NULL || !desc->ignore_extra) IO_TRY(check_extra(model, path, file));

    for (uint32_t o = 0; o < optimizers; o++) {
        const char *name = tuff_optimizer_name(tuff_model_optimizer(model, o));
        IO_TRY(plan_steps(path, file, name, &plan->steps[o], &plan->has_steps[o]));
        /* A step count without its moments would spoil the bias correction: an optimizer whose moments do not exist
         * yet (no program that trains was compiled), while the file has some, starts anew. */
        bool in_model = false, in_file = false;
        for (uint32_t i = 0; i < states; i++) {
            tuff_state_info info;
            IO_TRY(tuff_model_state_info(model, i, &info));
            in_model |= info.kind == TUFF_STATE_OPTIMIZER && belongs_to(info.name, name);
        }
        for (uint32_t i = 0; i < tuff_safetensors_count(file); i++) {
            in_file |= belongs_to(tuff_safetensors_at(file, i)->name, name);
        }
        if (in_file && !in_model) plan->has_steps[o] = false;
    }
    return TUFF_OK;
}

static tuff_result carry_out(tuff_model *model, const load_plan *plan) {
    uint32_t states = tuff_model_state_count(model), optimizers = tuff_model_optimizer_count(model);
    for (uint32_t i = 0; i < states; i++) {
        const tuff_file_tensor *tensor = plan->tensors[i];
        if (tensor != NULL) IO_TRY(tuff_model_write(model, tensor->name, tensor->data, tensor->size));
    }
    for (uint32_t o = 0; o < optimizers; o++) {
        if (plan->has_steps[o]) IO_TRY(tuff_optimizer_set_step_count(tuff_model_optimizer(model, o), plan->steps[o]));
    }
    return TUFF_OK;
}

tuff_result tuff_load(tuff_model *model, const char *path, const tuff_load_desc *desc) {
    if (model == NULL || path == NULL) return io_fail(TUFF_ERROR_ARGUMENT, "tuff_load: model and path are required");
    tuff_safetensors *file = NULL;
    IO_TRY(tuff_safetensors_open(path, &file));
    load_plan plan = { .tensors = NULL };
    tuff_result result = plan_load(model, path, file, desc, &plan);
    if (result == TUFF_OK) result = carry_out(model, &plan);
    free(plan.tensors);
    free(plan.steps);
    free(plan.has_steps);
    tuff_safetensors_close(file);
    return result;
}
