/* What a row says of its inputs, in words: for `tuff op` and `tuff operators`. */
#ifndef TUFF_TOOLS_ROW_TEXT_H
#define TUFF_TOOLS_ROW_TEXT_H

#include "runtime/graph/operator.h"

/* Which types input i may have, as bits, where the row leaves it open, too. */
uint32_t row_types(const operator* op, uint32_t i);

enum { TYPES_TEXT = 64 };
/* "float32 or int32", "any type" into text; returns text. */
char *types_text(uint32_t types, char text[TYPES_TEXT]);

#endif
