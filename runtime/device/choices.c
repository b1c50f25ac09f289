/* Choices: a list in memory, read from the device's file when it is first asked, and written with each new choice. The
 * file has a line for each: class, space, choice. */
#include "runtime/device/choices.h"

#include "runtime/device/vulkan_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHOICES = 4096 }; /* more shapes than a user has; a file that grows without end would be read by each */

struct choice {
    char *class, *choice; /* one allocation: class, NUL, choice, NUL */
};

struct choices {
    struct choice *list;
    uint32_t count, capacity;
};

tuff_result tuning_resolve(tuff_tuning asked, bool standard, bool *tunes) {
    *tunes = asked == TUFF_TUNING_ON;
    if ((unsigned)asked > TUFF_TUNING_ON)
        return error_set(TUFF_ERROR_ARGUMENT, "desc.tuning is %d, which is no tuff_tuning", (int)asked);
    if (asked != TUFF_TUNING_DEFAULT) return TUFF_OK;
    const char *text = getenv("TUFF_TUNE");
    bool set = text && *text;
    if (set && strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "TUFF_TUNE is \"%s\"; it may be 0 (kernels are chosen by rules) or 1 (by measuring)", text);
    *tunes = set ? *text == '1' : standard;
    return TUFF_OK;
}

bool device_tunes(const tuff_device *device) {
    return device->tunes;
}

/* ---- lists ------------------------------------------------------------------------------------- */

static const char *find(const struct choices *choices, const char *class) {
    for (uint32_t i = 0; i < choices->count; i++)
        if (strcmp(choices->list[i].class, class) == 0) return choices->list[i].choice;
    return NULL;
}

static tuff_result add(struct choices *choices, const char *class, size_t class_size, const char *choice,
                       size_t choice_size) {
    if (choices->count == choices->capacity) {
        uint32_t capacity = choices->capacity ? choices->capacity * 2 : 32;
        struct choice *moved = realloc(choices->list, capacity * sizeof *moved);
        if (!moved) return error_out_of_host_memory(capacity * sizeof *moved);
        choices->list = moved;
        choices->capacity = capacity;
    }
    char *text = calloc(1, class_size + choice_size + 2);
    if (!text) return error_out_of_host_memory(class_size + choice_size);
    memcpy(text, class, class_size);
    memcpy(text + class_size + 1, choice, choice_size);
    choices->list[choices->count++] = (struct choice){ text, text + class_size + 1 };
    return TUFF_OK;
}

/* Adds what is not there yet, the newest where there is not room for all. */
static tuff_result join(struct choices *to, const struct choices *from) {
    uint32_t room = MOST_CHOICES - to->count;
    for (uint32_t i = from->count > room ? from->count - room : 0; i < from->count && to->count < MOST_CHOICES; i++) {
        const struct choice *c = &from->list[i];
        if (!find(to, c->class)) TRY(add(to, c->class, strlen(c->class), c->choice, strlen(c->choice)));
    }
    return TUFF_OK;
}

/* Takes the choice of a class out, if there is one. */
static void drop(struct choices *choices, const char *class) {
    for (uint32_t i = 0; i < choices->count; i++) {
        if (strcmp(choices->list[i].class, class) != 0) continue;
        free(choices->list[i].class);
        choices->list[i] = choices->list[--choices->count];
        return;
    }
}

static void clear(struct choices *choices) {
    for (uint32_t i = 0; i < choices->count; i++) free(choices->list[i].class);
    free(choices->list);
    *choices = (struct choices){ 0 };
}

/* ---- the file ---------------------------------------------------------------------------------- */

/* The checksum says that the lines are ours: what does not look like one is a later version's. */
static tuff_result parse(const char *text, size_t size, struct choices *choices) {
    for (const char *line = text, *end = text + size; line < end && choices->count < MOST_CHOICES;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) return TUFF_OK;
        const char *space = memchr(line, ' ', (size_t)(stop - line));
        if (space && space > line && space + 1 < stop)
            TRY(add(choices, line, (size_t)(space - line), space + 1, (size_t)(stop - space - 1)));
        line = stop + 1;
    }
    return TUFF_OK;
}

static tuff_result read_file(const tuff_device *device, struct choices *choices) {
    char name[CACHE_FILE_NAME];
    cache_file file;
    void *data;
    size_t size;
    if (!device_cache_file(device, "choices", name, &file) || !cache_file_read(&file, &data, &size)) return TUFF_OK;
    tuff_result result = parse(data, size, choices);
    free(data);
    return result;
}

static char *print(const struct choices *choices, size_t *size) {
    *size = 0;
    for (uint32_t i = 0; i < choices->count; i++)
        *size += strlen(choices->list[i].class) + strlen(choices->list[i].choice) + 2;
    char *text = malloc(*size + 1), *at = text;
    for (uint32_t i = 0; text && i < choices->count; i++)
        at += sprintf(at, "%s %s\n", choices->list[i].class, choices->list[i].choice);
    return text;
}

/* Writes what this process has, and what another one has put into the file meanwhile. */
static tuff_result write_file(const tuff_device *device) {
    char name[CACHE_FILE_NAME], why[256];
    cache_file file;
    if (!device_cache_file(device, "choices", name, &file)) return TUFF_OK;
    struct choices all = { 0 }, theirs = { 0 };
    tuff_result result = join(&all, device->choices);
    if (result == TUFF_OK) result = read_file(device, &theirs);
    if (result == TUFF_OK) result = join(&all, &theirs);
    clear(&theirs);
    size_t size;
    char *text = result == TUFF_OK ? print(&all, &size) : NULL;
    if (result == TUFF_OK && !text) result = error_out_of_host_memory(size);
    if (result == TUFF_OK && !cache_file_write(&file, text, size, why))
        device_log(device, TUFF_LOG_INFO, "choices are not kept in %s/%s: %s", file.folder, file.name, why);
    free(text);
    clear(&all);
    return result;
}

/* ---- what is asked ------------------------------------------------------------------------------ */

static tuff_result read_once(tuff_device *device) {
    if (device->choices) return TUFF_OK;
    device->choices = calloc(1, sizeof *device->choices);
    return device->choices ? read_file(device, device->choices) : error_out_of_host_memory(sizeof *device->choices);
}

const char *choice_find(tuff_device *device, const char *class) {
    if (!device->tunes || read_once(device) != TUFF_OK) return NULL;
    return find(device->choices, class);
}

tuff_result choice_make(tuff_device *device, const char *class, const char *choice) {
    if (!device->tunes) return TUFF_OK;
    TRY(read_once(device));
    drop(device->choices, class);
    TRY(add(device->choices, class, strlen(class), choice, strlen(choice)));
    return write_file(device);
}

void choices_finish(tuff_device *device) {
    if (device->choices) clear(device->choices);
    free(device->choices);
}
