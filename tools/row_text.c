#include "row_text.h"

#include <stdio.h>
#include <string.h>

uint32_t row_types(const operator* op, uint32_t i) {
    uint32_t last = operator_input_count(op) - 1, types = op->types[i < last ? i : last];
    return types ? types : TYPE_F32;
}

char *types_text(uint32_t types, char text[TYPES_TEXT]) {
    if ((types & TYPE_ANY) == TYPE_ANY) {
        snprintf(text, TYPES_TEXT, "any type");
        return text;
    }
    text[0] = 0;
    for (uint32_t type = 0; type < TUFF_TYPES; type++)
        if (types >> type & 1)
            snprintf(text + strlen(text), TYPES_TEXT - strlen(text), "%s%s", *text ? " or " : "",
                     type_text((tuff_type)type));
    return text;
}
