/* An operator by the name that a user typed. */
#ifndef TUFF_TOOLS_OP_FIND_H
#define TUFF_TOOLS_OP_FIND_H

#include "runtime/graph/operator.h"

/* NULL: there is none, which was said on stderr, with the names that come nearest first, then all. */
const operator* op_find(const char *name);

#endif
