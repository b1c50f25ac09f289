/* Shapes: counting, comparing, broadcasting, and as text. */
#include "runtime/graph/graph.h"

#include <inttypes.h>
#include <stdio.h>

size_t tuff_type_size(tuff_type type) {
    return type == TUFF_U8 ? 1 : 4;
}

const char *type_text(tuff_type type) {
    static const char *const names[TUFF_TYPES] = { [TUFF_F32] = "float32", [TUFF_I32] = "int32", [TUFF_U8] = "uint8" };
    return names[type];
}

int64_t tuff_shape_count(const tuff_shape *shape) {
    int64_t count = shape ? 1 : 0;
    for (uint32_t i = 0; shape && i < shape->rank; i++) count *= shape->sizes[i];
    return count;
}

char *shape_text(const tuff_shape *shape, char text[SHAPE_TEXT]) {
    int used = snprintf(text, SHAPE_TEXT, "[");
    for (uint32_t i = 0; i < shape->rank && i < TUFF_MAX_RANK && used < SHAPE_TEXT - 2; i++)
        used += snprintf(text + used, (size_t)(SHAPE_TEXT - used), "%s%" PRId64, i ? ", " : "", shape->sizes[i]);
    if (used > SHAPE_TEXT - 2) used = SHAPE_TEXT - 2;
    snprintf(text + used, (size_t)(SHAPE_TEXT - used), "]");
    return text;
}

bool shape_equal(const tuff_shape *a, const tuff_shape *b) {
    if (a->rank != b->rank) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->sizes[i] != b->sizes[i]) return false;
    return true;
}

bool shape_broadcast(const tuff_shape *a, const tuff_shape *b, tuff_shape *out) {
    uint32_t rank = a->rank > b->rank ? a->rank : b->rank;
    tuff_shape shape = { .rank = rank };
    for (uint32_t i = 0; i < rank; i++) { /* i counts from the last axis */
        int64_t x = i < a->rank ? a->sizes[a->rank - 1 - i] : 1;
        int64_t y = i < b->rank ? b->sizes[b->rank - 1 - i] : 1;
        if (x != y && x != 1 && y != 1) return false;
        shape.sizes[rank - 1 - i] = x == 1 ? y : x;
    }
    *out = shape;
    return true;
}
