/* Command lines of the samples: a table of options, the same errors and the same --help everywhere. */
#ifndef SAMPLES_OPTIONS_H
#define SAMPLES_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum option_kind {
    OPTION_FLAG,   /* bool: no value */
    OPTION_TEXT,   /* const char * */
    OPTION_COUNT,  /* int64_t, from low to high */
    OPTION_NUMBER, /* double, above 0, up to high */
    OPTION_CHOICE, /* const char *, one of the words in choices, separated by '|' */
} option_kind;

typedef struct option {
    const char *name; /* "--epochs" */
    option_kind kind;
    void *value; /* holds the default before, the user's choice after */
    const char *value_name, *help;
    int64_t low, high; /* of a count; high of a number */
    const char *choices;
} option;

typedef struct option_table {
    const char *sample; /* "mnist" */
    const char *about;  /* one or two sentences */
    const option *options;
    unsigned count;
} option_table;

/* "--epochs 3" and "--epochs=3". Returns -1 to go on, else the process's exit status: 0 after --help, 2 after
 * something wrong, which it has said on stderr. */
int options_parse(const option_table *table, int argc, char **argv);

#endif
