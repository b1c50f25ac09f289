/* All operators' rows, for `tuff op`, the documentation and tests. */
#include "layers/families.h"

#include <string.h>

enum { MAX_ROWS = 400 };

const operator* const * operator_table(uint32_t *count) {
    static const operator_family *const families[] = {
#define FAMILY(name) &family_##name,
#include "layers/families.def"
#undef FAMILY
    };
    /* filled again with the same pointers by whoever asks: no lock is needed to read what never differs */
    static const operator* rows[MAX_ROWS];
    uint32_t total = 0;
    for (uint32_t f = 0; f < sizeof families / sizeof *families; f++)
        for (uint32_t i = 0; i < families[f]->count && total < MAX_ROWS; i++) rows[total++] = families[f]->rows[i];
    *count = total;
    return rows;
}

const operator* operator_find(const char *name) {
    uint32_t count;
    const operator* const * rows = operator_table(&count);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(rows[i]->name, name) == 0) return rows[i];
    return NULL;
}
