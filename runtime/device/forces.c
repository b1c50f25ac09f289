/* Forced paths: "staging,product=tile,slice=65536". What each takes is checked when the device is opened: a word that
 * nobody asks for would force nothing, and the tests would pass. docs/testing.md explains them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/device/vulkan_internal.h"

typedef enum takes { FLAG, WORDS, NUMBER, LATER } takes;

static const struct {
    const char *key;
    takes takes;
    const char *words;    /* of WORDS, with | between them */
    uint64_t least, most; /* of NUMBER */
} kinds[] = {
    { "staging", FLAG, NULL, 0, 0 },
    { "uncached", FLAG, NULL, 0, 0 },
    { "transfer", WORDS, "none", 0, 0 },
    { "memory", NUMBER, NULL, 1, INT64_MAX },
    { "block", NUMBER, NULL, 1, INT64_MAX },
    { "slice", NUMBER, NULL, 4, INT64_MAX },
    { "fuse", LATER, NULL, 0, 0 }, /* runtime/program/compile.c */
    { "inplace", WORDS, "none", 0, 0 },
    { "wide", WORDS, "0|1", 0, 0 },
    { "product", LATER, NULL, 0, 0 }, /* layers/variants.c */
    { "split", FLAG, NULL, 0, 0 },
    { "winograd", NUMBER, NULL, 0, INT64_MAX },
    { "direct", NUMBER, NULL, 0, INT64_MAX },
    { "reduce", WORDS, "group|lane", 0, 0 },
    { "scatter", WORDS, "scan|sort", 0, 0 },
    { "bytes", WORDS, "apart", 0, 0 },
    { "pool", WORDS, "overlap", 0, 0 },
    { "logits", NUMBER, NULL, 1, INT64_MAX },
    { "recurrent", WORDS, "tiled|product", 0, 0 },
    { "turns", NUMBER, NULL, 1024, UINT32_MAX },
    { "parts", NUMBER, NULL, 1, UINT32_MAX },
    { "dispatches", NUMBER, NULL, 1, UINT32_MAX },
    { "ahead", WORDS, "none|always", 0, 0 },
    { "texels", WORDS, "0", 0, 0 },
    { "attention", WORDS, "row|tile", 0, 0 },
};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

static char *trim(char *text) {
    while (*text == ' ') text++;
    for (char *end = text + strlen(text); end > text && end[-1] == ' ';) *--end = 0;
    return text;
}

static tuff_result find_kind(const char *key, uint32_t *kind) {
    char all[256] = "";
    for (*kind = 0; *kind < KIND_COUNT; ++*kind) {
        if (strcmp(kinds[*kind].key, key) == 0) return TUFF_OK;
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", *kind ? ", " : "", kinds[*kind].key);
    }
    return error_set(TUFF_ERROR_ARGUMENT, "there is no forced path \"%s\"; there are %s", key, all);
}

static bool is_among(const char *words, const char *value) {
    size_t length = strlen(value);
    for (const char *at = words; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (length == strcspn(at, "|") && memcmp(at, value, length) == 0) return true;
    return false;
}

/* What the words are, for people: "scan or sort". */
static void say_words(const char *words, char *text, size_t size) {
    *text = 0;
    for (const char *at = words; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        snprintf(text + strlen(text), size - strlen(text), "%s%.*s", at == words ? "" : " or ", (int)strcspn(at, "|"),
                 at);
}

static tuff_result check_number(const char *key, const char *value, uint64_t least, uint64_t most, uint64_t *number) {
    char *end = NULL;
    errno = 0;
    *number = isdigit((unsigned char)*value) ? strtoull(value, &end, 10) : 0;
    if (!end || *end || errno || *number < least || *number > most)
        return error_set(TUFF_ERROR_ARGUMENT, "the forced path %s=%s wants a number from %llu on", key, value,
                         (unsigned long long)least);
    return TUFF_OK;
}

static tuff_result add(tuff_device *device, const char *key, const char *value) {
    uint32_t kind;
    TRY(find_kind(key, &kind));
    for (uint32_t i = 0; i < device->force_count; i++)
        if (strcmp(device->forces[i].key, key) == 0)
            return error_set(TUFF_ERROR_ARGUMENT, "the forced path %s stands twice in the list", key);
    if (device->force_count == MAX_FORCES)
        return error_set(TUFF_ERROR_ARGUMENT, "the list of forced paths has more than %d items", MAX_FORCES);
    uint64_t number = 0;
    char words[64];
    if (kinds[kind].takes == FLAG && value)
        return error_set(TUFF_ERROR_ARGUMENT, "the forced path %s takes no value: %s=%s", key, key, value);
    if (kinds[kind].takes == WORDS && !(value && is_among(kinds[kind].words, value))) {
        say_words(kinds[kind].words, words, sizeof words);
        return error_set(TUFF_ERROR_ARGUMENT, "the forced path %s%s%s wants %s", key, value ? "=" : "",
                         value ? value : "", words);
    }
    if (kinds[kind].takes == NUMBER)
        TRY(check_number(key, value ? value : "", kinds[kind].least, kinds[kind].most, &number));
    if (kinds[kind].takes == LATER && !(value && *value))
        return error_set(TUFF_ERROR_ARGUMENT, "the forced path %s wants a value: %s=NAME", key, key);
    device->forces[device->force_count].key = kinds[kind].key;
    device->forces[device->force_count].value = value ? value : "1";
    device->forces[device->force_count++].number = number;
    return TUFF_OK;
}

tuff_result forces_parse(tuff_device *device, const char *text) {
    if (!text) text = getenv("TUFF_FORCE");
    if (!text || !*text) return TUFF_OK;
    size_t size = strlen(text) + 1;
    device->force_text = malloc(size);
    if (!device->force_text) return error_out_of_host_memory(size);
    memcpy(device->force_text, text, size);
    for (char *item = device->force_text; item;) {
        char *next = strchr(item, ',');
        if (next) *next++ = 0;
        char *value = strchr(item, '=');
        if (value) *value++ = 0;
        item = trim(item);
        if (*item) TRY(add(device, item, value ? trim(value) : NULL));
        item = next;
    }
    return TUFF_OK;
}

const char *device_force(const tuff_device *device, const char *key) {
    for (uint32_t i = 0; i < device->force_count; i++)
        if (strcmp(device->forces[i].key, key) == 0) return device->forces[i].value;
    return NULL;
}

bool device_force_number(const tuff_device *device, const char *key, uint64_t *number) {
    for (uint32_t i = 0; i < device->force_count; i++)
        if (strcmp(device->forces[i].key, key) == 0) {
            *number = device->forces[i].number;
            return true;
        }
    return false;
}

void forces_apply(tuff_device *device) {
    uint64_t number;
    if (device_force_number(device, "memory", &number) && (device->memory_limit == 0 || number < device->memory_limit))
        device->memory_limit = number;
    if (device_force(device, "staging")) device->limits.direct = false;
    if (device_force(device, "texels")) device->limits.texels = false;
    if (device_force_number(device, "turns", &number)) device->limits.loop_turns = (uint32_t)number;
    if (device_force_number(device, "parts", &number)) device->limits.parts = (uint32_t)number;
    if (device_force_number(device, "dispatches", &number)) device->limits.most_dispatches = (uint32_t)number;
}
