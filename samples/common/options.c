/* Command lines of the samples. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const option_table *table) {
    printf("usage: samples/run %s [options]\n\n%s\n\n", table->sample, table->about);
    for (unsigned i = 0; i < table->count; i++) {
        const option *o = &table->options[i];
        char left[64];
        snprintf(left, sizeof left, "%s %s", o->name,
                 o->choices != NULL      ? o->choices
                 : o->value_name != NULL ? o->value_name
                                         : "");
        printf("  %-20s %s\n", left, o->help);
    }
    printf("  %-20s %s\n", "--help", "this text");
}

static int wrong(const option_table *table, const char *name, const char *text, const char *expected) {
    fprintf(stderr, "%s: %s: \"%s\" is not %s\n", table->sample, name, text, expected);
    return 2;
}

static bool is_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (const char *at = choices; at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (length > 0 && strncmp(at, text, length) == 0 && (at[length] == '|' || at[length] == '\0')) return true;
    }
    return false;
}

static int take_value(const option_table *table, const option *o, const char *text) {
    char expected[128], *end = NULL;
    errno = 0;
    switch (o->kind) {
    case OPTION_FLAG: break;
    case OPTION_TEXT:
        if (*text == '\0') return wrong(table, o->name, text, "a value");
        *(const char **)o->value = text;
        break;
    case OPTION_COUNT: {
        long long value = strtoll(text, &end, 10);
        if (end == text || *end != '\0' || errno != 0 || value < o->low || value > o->high) {
            snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)o->low,
                     (long long)o->high);
            return wrong(table, o->name, text, expected);
        }
        *(int64_t *)o->value = value;
        break;
    }
    case OPTION_NUMBER: {
        double value = strtod(text, &end);
        if (end == text || *end != '\0' || !isfinite(value) || value <= 0 || value > (double)o->high) {
            snprintf(expected, sizeof expected, "a number above 0, up to %lld", (long long)o->high);
            return wrong(table, o->name, text, expected);
        }
        *(double *)o->value = value;
        break;
    }
    case OPTION_CHOICE:
        if (!is_choice(o->choices, text)) {
            snprintf(expected, sizeof expected, "one of %s", o->choices);
            return wrong(table, o->name, text, expected);
        }
        *(const char **)o->value = text;
        break;
    }
    return -1;
}

static const option *find(const option_table *table, const char *name, size_t length) {
    for (unsigned i = 0; i < table->count; i++) {
        const char *candidate = table->options[i].name;
        if (strlen(candidate) == length && strncmp(candidate, name, length) == 0) return &table->options[i];
    }
    return NULL;
}

int options_parse(const option_table *table, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i], *equals = strchr(argument, '=');
        if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
            print_help(table);
            return 0;
        }
        size_t length = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
        const option *o = find(table, argument, length);
        if (o == NULL) {
            fprintf(stderr, "%s: there is no option %.*s; --help lists them\n", table->sample, (int)length, argument);
            return 2;
        }
        if (o->kind == OPTION_FLAG) {
            if (equals != NULL) return wrong(table, o->name, equals + 1, "expected: the option takes no value");
            *(bool *)o->value = true;
            continue;
        }
        const char *text = equals != NULL ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (text == NULL) {
            fprintf(stderr, "%s: %s needs a value: %s\n", table->sample, o->name,
                    o->choices != NULL ? o->choices : o->value_name);
            return 2;
        }
        int status = take_value(table, o, text);
        if (status >= 0) return status;
    }
    return -1;
}
