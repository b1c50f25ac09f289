/* An operator's attributes out of their text. */
#include "recipe.h"

#include <stdlib.h>
#include <string.h>

/* What stands behind "name=", up to a space; NULL if the text has no such word. */
static const char *find(const recipe_args *args, const char *name) {
    size_t length = strlen(name);
    for (const char *at = args->text; *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (!strncmp(at, name, length) && at[length] == '=') return at + length + 1;
    return NULL;
}

bool arg_given(const recipe_args *args, const char *name) {
    return find(args, name) != NULL;
}

bool arg_is(const recipe_args *args, const char *name, const char *word) {
    const char *value = find(args, name);
    size_t length = strlen(word);
    return value && !strncmp(value, word, length) && (value[length] == ' ' || !value[length]);
}

double arg_number(const recipe_args *args, const char *name, double standard) {
    const char *value = find(args, name);
    return value ? (float)strtod(value, NULL) : standard;
}

int64_t arg_int(const recipe_args *args, const char *name, int64_t standard) {
    const char *value = find(args, name);
    return value && !arg_is(args, name, "none") ? strtoll(value, NULL, 10) : standard;
}

bool arg_flag(const recipe_args *args, const char *name, bool standard) {
    return find(args, name) ? arg_is(args, name, "true") : standard;
}

int64_t arg_list(const recipe_args *args, const char *name, int64_t *values, int64_t most) {
    const char *value = find(args, name);
    int64_t count = 0;
    if (!value || arg_is(args, name, "none")) return 0;
    while (count < most) {
        char *end;
        values[count++] = strtoll(value, &end, 10);
        if (*end != ',') break;
        value = end + 1;
    }
    return count;
}

void arg_sizes(const recipe_args *args, const char *name, int64_t *values, int64_t count, int64_t standard) {
    int64_t given = arg_list(args, name, values, count);
    for (int64_t i = given; i < count; i++) values[i] = given ? values[0] : standard;
}

void arg_numbers(const recipe_args *args, const char *name, double *values, int64_t count, double standard) {
    const char *value = arg_is(args, name, "none") ? NULL : find(args, name);
    for (int64_t i = 0; i < count; i++) {
        char *end = NULL;
        values[i] = value ? strtod(value, &end) : i && find(args, name) ? values[0] : standard;
        value = end && *end == ',' ? end + 1 : NULL;
    }
}

void arg_text(const recipe_args *args, const char *name, char *text, size_t size) {
    const char *value = find(args, name);
    size_t length = value ? strcspn(value, " ") : 0;
    if (length >= size) length = size - 1;
    if (value) memcpy(text, value, length);
    text[length] = 0;
}

int arg_axis(const recipe_args *args, const char *name, int64_t standard, const ref *x) {
    int64_t axis = arg_int(args, name, standard);
    return (int)(axis < 0 ? axis + (int64_t)x->shape.rank : axis);
}

uint32_t arg_axes(const recipe_args *args, const char *name, const ref *x) {
    int64_t axes[TUFF_MAX_RANK], count = arg_list(args, name, axes, TUFF_MAX_RANK);
    uint32_t mask = 0;
    for (int64_t i = 0; i < count; i++) mask |= 1u << (axes[i] < 0 ? axes[i] + (int64_t)x->shape.rank : axes[i]);
    return mask;
}
