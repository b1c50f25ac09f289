/* Attributes as text, "stride=2,1": for `tuff op`, the documentation and tests. */
#ifndef TUFF_RUNTIME_ATTRIBUTES_H
#define TUFF_RUNTIME_ATTRIBUTES_H

#include "runtime/graph/operator.h"

/* The values of one operator's attributes while they are being read. */
typedef struct attributes {
    const operator* op;
    attribute_value values[MAX_ATTRIBUTES];
    bool given[MAX_ATTRIBUTES];
} attributes;

/* Every attribute at its default. */
void attributes_begin(attributes *attributes, const operator* op);

/* Sets one from "NAME=VALUE" (for a boolean "NAME" alone is true). ARGUMENT, with a message that lists what is
 * possible.
 */
tuff_result attributes_set(attributes *attributes, const char *text);

/* After the last one: ARGUMENT if one without a default is missing. */
tuff_result attributes_end(attributes *attributes);

enum { ATTRIBUTE_TEXT = 256 };
/* "2,1", "0.5", "true", "mean", "none": as attributes_set reads it. Returns text. */
char *attribute_value_text(const attribute *attribute, const attribute_value *value, char text[ATTRIBUTE_TEXT]);
/* "integer", "float", "true or false", "integers", "2 integers", "one of mean, sum, none". Returns text. */
char *attribute_type_text(const attribute *attribute, char text[ATTRIBUTE_TEXT]);

#endif
