/* Attributes from and to text. */
#include "runtime/graph/attributes.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void attributes_begin(attributes *attributes, const operator* op) {
    memset(attributes, 0, sizeof *attributes);
    attributes->op = op;
    for (uint32_t i = 0; i < op->attribute_count; i++) attributes->values[i] = op->attributes[i].value;
}

static bool is_none(const char *text) {
    return strcmp(text, "none") == 0 || strcmp(text, "None") == 0;
}

/* An integer up to `end`, which the text must have behind it. */
static bool parse_int(const char *text, const char **end, int64_t *value) {
    char *stop;
    errno = 0;
    long long parsed = strtoll(text, &stop, 10);
    if (stop == text || errno || parsed == ATTRIBUTE_NONE) return false;
    *value = parsed;
    *end = stop;
    return true;
}

/* A finite number up to `end`. */
static bool parse_number(const char *text, const char **end, double *value) {
    char *stop;
    *value = strtod(text, &stop);
    *end = stop;
    return stop != text && isfinite(*value);
}

/* The index of a word in "mean|sum|none". */
static bool parse_choice(const char *choices, const char *text, int64_t *value) {
    size_t length = strlen(text);
    *value = 0;
    for (const char *at = choices; at; at = strchr(at, '|'), at += at != NULL, ++*value)
        if (length && strncmp(at, text, length) == 0 && (at[length] == '|' || at[length] == 0)) return true;
    return false;
}

/* How many numbers a list may have: one for each axis where it is a shape. */
static int most_numbers(const attribute *attribute) {
    bool shape = strstr(attribute->name, "shape") || strcmp(attribute->name, "size") == 0;
    return shape ? TUFF_MAX_RANK : MAX_LIST;
}

static bool parse_list(const attribute *attribute, const char *text, attribute_value *value) {
    bool none_allowed = attribute->length == 0 || attribute->like || (attribute->value.i == 0 && !attribute->required);
    if (attribute->choices && parse_choice(attribute->choices, text, &value->i)) {
        value->i = -1 - value->i;
        return true;
    }
    value->i = 0;
    if (is_none(text) || !*text) return none_allowed;
    for (;;) {
        if (value->i == most_numbers(attribute)) return false;
        if (attribute->type == ATTRIBUTE_INTS && !parse_int(text, &text, &value->list[value->i])) return false;
        if (attribute->type == ATTRIBUTE_FLOATS && !parse_number(text, &text, &value->numbers[value->i])) return false;
        value->i++;
        if (!*text) break;
        if (*text++ != ',') return false;
    }
    for (; value->i == 1 && attribute->length > 1; value->i = attribute->length)
        for (uint32_t k = 1; k < attribute->length; k++) value->list[k] = value->list[0]; /* a FLOATS' bits, too */
    return attribute->length == 0 || value->i == attribute->length;
}

static bool parse_value(const attribute *attribute, const char *text, attribute_value *value) {
    const char *end = text;
    *value = (attribute_value){ 0 };
    switch (attribute->type) {
    case ATTRIBUTE_INT:
        if (is_none(text) && attribute->value.i == ATTRIBUTE_NONE) return value->i = ATTRIBUTE_NONE, true;
        return parse_int(text, &end, &value->i) && !*end;
    case ATTRIBUTE_FLOAT: value->f = strtod(text, (char **)&end); return end != text && !*end;
    case ATTRIBUTE_BOOL:
        value->i = strcmp(text, "true") == 0 || strcmp(text, "True") == 0;
        return value->i || strcmp(text, "false") == 0 || strcmp(text, "False") == 0;
    case ATTRIBUTE_INTS:
    case ATTRIBUTE_FLOATS: return parse_list(attribute, text, value);
    case ATTRIBUTE_STRING: return (size_t)snprintf(value->text, sizeof value->text, "%s", text) < sizeof value->text;
    case ATTRIBUTE_CHOICE: return parse_choice(attribute->choices, text, &value->i);
    }
    return false;
}

static tuff_result fail_unknown(const operator* op, const char *name, size_t length) {
    char known[512] = "";
    for (uint32_t i = 0; i < op->attribute_count; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", op->attributes[i].name);
    return error_set(TUFF_ERROR_ARGUMENT, "%s has no attribute '%.*s'%s%s", op->name, (int)length, name,
                     *known ? "; it has " : " and no others", known);
}

tuff_result attributes_set(attributes *attributes, const char *text) {
    const operator* op = attributes->op;
    size_t length = strcspn(text, "=");
    uint32_t i = 0;
    while (i < op->attribute_count
           && (strlen(op->attributes[i].name) != length || strncmp(op->attributes[i].name, text, length) != 0))
        i++;
    if (i == op->attribute_count) return fail_unknown(op, text, length);
    const attribute *attribute = &op->attributes[i];
    if (attributes->given[i])
        return error_set(TUFF_ERROR_ARGUMENT, "%s: attribute '%s' is given twice", op->name, attribute->name);
    const char *value = text[length] ? text + length + 1 : attribute->type == ATTRIBUTE_BOOL ? "true" : "";
    if (!parse_value(attribute, value, &attributes->values[i])) {
        char possible[ATTRIBUTE_TEXT];
        return error_set(TUFF_ERROR_ARGUMENT, "%s: attribute '%s' is '%.100s'; it must be %s", op->name,
                         attribute->name, value, attribute_type_text(attribute, possible));
    }
    attributes->given[i] = !attribute->like || attributes->values[i].i > 0;
    return TUFF_OK;
}

tuff_result attributes_end(attributes *attributes) {
    const operator* op = attributes->op;
    for (uint32_t i = 0; i < op->attribute_count; i++) {
        const attribute *attribute = &op->attributes[i];
        char possible[ATTRIBUTE_TEXT];
        if (attributes->given[i]) continue;
        if (attribute->required)
            return error_set(TUFF_ERROR_ARGUMENT, "%s: attribute '%s' is required: %s", op->name, attribute->name,
                             attribute_type_text(attribute, possible));
        for (uint32_t k = 0; attribute->like && k < op->attribute_count; k++)
            if (strcmp(op->attributes[k].name, attribute->like) == 0) attributes->values[i] = attributes->values[k];
    }
    return TUFF_OK;
}

static void choice_text(const char *choices, int64_t value, char text[ATTRIBUTE_TEXT]) {
    for (int64_t i = 0; i < value && choices; i++)
        if ((choices = strchr(choices, '|'))) choices++;
    if (choices) snprintf(text, ATTRIBUTE_TEXT, "%.*s", (int)strcspn(choices, "|"), choices);
}

char *attribute_value_text(const attribute *attribute, const attribute_value *value, char text[ATTRIBUTE_TEXT]) {
    int used = 0;
    text[0] = 0;
    switch (attribute->type) {
    case ATTRIBUTE_INT:
        if (value->i == ATTRIBUTE_NONE)
            snprintf(text, ATTRIBUTE_TEXT, "none");
        else
            snprintf(text, ATTRIBUTE_TEXT, "%" PRId64, value->i);
        break;
    case ATTRIBUTE_FLOAT: snprintf(text, ATTRIBUTE_TEXT, "%.9g", value->f); break;
    case ATTRIBUTE_BOOL: snprintf(text, ATTRIBUTE_TEXT, "%s", value->i ? "true" : "false"); break;
    case ATTRIBUTE_INTS:
        if (value->i == 0) snprintf(text, ATTRIBUTE_TEXT, "none");
        if (value->i < 0) choice_text(attribute->choices, -1 - value->i, text);
        for (int64_t i = 0; i < value->i && used < ATTRIBUTE_TEXT - 24; i++)
            used += snprintf(text + used, (size_t)(ATTRIBUTE_TEXT - used), "%s%" PRId64, i ? "," : "", value->list[i]);
        break;
    case ATTRIBUTE_FLOATS:
        if (value->i == 0) snprintf(text, ATTRIBUTE_TEXT, "none");
        for (int64_t i = 0; i < value->i && used < ATTRIBUTE_TEXT - 24; i++)
            used += snprintf(text + used, (size_t)(ATTRIBUTE_TEXT - used), "%s%.9g", i ? "," : "", value->numbers[i]);
        break;
    case ATTRIBUTE_STRING: snprintf(text, ATTRIBUTE_TEXT, "%s", value->text); break;
    case ATTRIBUTE_CHOICE: choice_text(attribute->choices, value->i, text); break;
    }
    return text;
}

/* "one of mean, sum, none", behind what stands in the text. */
static void list_choices(const char *choices, const char *begin, char text[ATTRIBUTE_TEXT], int used) {
    used += snprintf(text + used, (size_t)(ATTRIBUTE_TEXT - used), "%s", begin);
    for (const char *at = choices; *at && used < ATTRIBUTE_TEXT - 3; at++)
        used += snprintf(text + used, (size_t)(ATTRIBUTE_TEXT - used), *at == '|' ? ", " : "%c", *at);
}

char *attribute_type_text(const attribute *attribute, char text[ATTRIBUTE_TEXT]) {
    int used;
    switch (attribute->type) {
    case ATTRIBUTE_INT:
        snprintf(text, ATTRIBUTE_TEXT, attribute->value.i == ATTRIBUTE_NONE ? "an integer or none" : "an integer");
        break;
    case ATTRIBUTE_FLOAT: snprintf(text, ATTRIBUTE_TEXT, "a number"); break;
    case ATTRIBUTE_BOOL: snprintf(text, ATTRIBUTE_TEXT, "true or false"); break;
    case ATTRIBUTE_INTS:
    case ATTRIBUTE_FLOATS: {
        const char *what = attribute->type == ATTRIBUTE_INTS ? "integers" : "numbers";
        if (attribute->length > 1)
            used = snprintf(text, ATTRIBUTE_TEXT, "%u %s with commas between them, or one for all", attribute->length,
                            what);
        else if (attribute->length)
            used = snprintf(text, ATTRIBUTE_TEXT, attribute->type == ATTRIBUTE_INTS ? "an integer" : "a number");
        else
            used = snprintf(text, ATTRIBUTE_TEXT, "%s with commas between them, at most %d", what,
                            most_numbers(attribute));
        if (attribute->choices) list_choices(attribute->choices, ", or one of ", text, used);
        break;
    }
    case ATTRIBUTE_STRING:
        snprintf(text, ATTRIBUTE_TEXT, "a text of at most %zu characters", sizeof attribute->value.text - 1);
        break;
    case ATTRIBUTE_CHOICE: list_choices(attribute->choices, "one of ", text, 0); break;
    }
    return text;
}
