/* The distance of names, and what is printed for one that is not there. */
#include "op_find.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { NAME_LIMIT = 64, NEAREST = 5, UNLIKE = 1000 };

/* How many letters are to be changed, added or left out (Levenshtein 1966), whatever their case. */
static uint32_t distance(const char *a, const char *b) {
    uint32_t row[NAME_LIMIT + 1];
    size_t length = strlen(b);
    if (length > NAME_LIMIT || strlen(a) > NAME_LIMIT) return UNLIKE;
    for (uint32_t k = 0; k <= length; k++) row[k] = k;
    for (uint32_t i = 1; *a; a++, i++) {
        uint32_t corner = row[0];
        row[0] = i;
        for (size_t k = 1; k <= length; k++) {
            uint32_t least = corner + (tolower((unsigned char)*a) != tolower((unsigned char)b[k - 1]));
            if (row[k] + 1 < least) least = row[k] + 1;
            if (row[k - 1] + 1 < least) least = row[k - 1] + 1;
            corner = row[k];
            row[k] = least;
        }
    }
    return row[length];
}

/* Of a likely misspelling, or of a name that is part of the other (cat, concat): the distance; else UNLIKE. A name of
 * one or two letters is part of too many. */
static uint32_t unlikeness(const char *given, const char *name) {
    size_t length = strlen(given), shorter = strlen(name) < length ? strlen(name) : length;
    uint32_t changes = distance(given, name);
    bool part = shorter >= 3 && (strstr(name, given) || strstr(given, name));
    return part || changes <= 1 + length / 5 ? changes : UNLIKE;
}

static void print_nearest(const operator* const * rows, uint32_t count, const char *given) {
    uint32_t nearest[NEAREST], found = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t of_this = unlikeness(given, rows[i]->name), k;
        if (rows[i]->flags & OPERATOR_INTERNAL || of_this == UNLIKE) continue;
        /* those behind go one place back; the last one, of too many, goes away */
        for (k = found < NEAREST ? found++ : NEAREST; k > 0; k--) {
            if (unlikeness(given, rows[nearest[k - 1]]->name) <= of_this) break;
            if (k < NEAREST) nearest[k] = nearest[k - 1];
        }
        if (k < NEAREST) nearest[k] = i;
    }
    for (uint32_t k = 0; k < found; k++) fprintf(stderr, "%s%s", k ? ", " : "; did you mean ", rows[nearest[k]]->name);
    if (found) fprintf(stderr, "?");
}

const operator* op_find(const char *name) {
    const operator* found = operator_find(name);
    if (found && !(found->flags & OPERATOR_INTERNAL)) return found;
    uint32_t count;
    const operator* const * rows = operator_table(&count);
    fprintf(stderr, "tuff op: there is no operator \"%s\"", name);
    print_nearest(rows, count, name);
    fprintf(stderr, "\nThere are");
    for (uint32_t i = 0, column = 0; i < count; i++) {
        if (rows[i]->flags & OPERATOR_INTERNAL) continue;
        fprintf(stderr, "%s%s", column++ % 10 ? " " : "\n  ", rows[i]->name);
    }
    fprintf(stderr, "\n");
    return NULL;
}
