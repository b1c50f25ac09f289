/* What a row says of its inputs. */
#include "runtime/graph/operator.h"

#include <stdio.h>
#include <string.h>

static char last_character(const char *text) {
    size_t length = strlen(text);
    return length ? text[length - 1] : 0;
}

uint32_t operator_input_count(const operator* op) {
    uint32_t count = 0;
    while (count < MAX_INPUTS && op->inputs[count]) count++;
    return count;
}

bool operator_takes_many(const operator* op) {
    uint32_t count = operator_input_count(op);
    return count && last_character(op->inputs[count - 1]) == '*';
}

bool operator_input_optional(const operator* op, uint32_t i) {
    uint32_t count = operator_input_count(op);
    return i >= count || last_character(op->inputs[i]) == '?';
}

void operator_input_name(const operator* op, uint32_t i, const attribute_value *attributes, char text[64]) {
    uint32_t count = operator_input_count(op), named = i < count ? i : count - 1;
    const char *name = count ? op->inputs[named] : "";
    size_t length = strlen(name);
    bool many = named + 1 == count && last_character(name) == '*';
    if (many && attributes && op->input_name) {
        op->input_name(i, attributes, text);
        return;
    }
    if (length && (last_character(name) == '?' || last_character(name) == '*')) length--;
    if (many)
        snprintf(text, 64, "%.*s.%u", (int)length, name, i - named);
    else
        snprintf(text, 64, "%.*s", (int)length, name);
}
