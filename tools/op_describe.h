/* What `tuff op` says of operators: all of them as JSON, one of them as text. */
#ifndef TUFF_TOOLS_OP_DESCRIBE_H
#define TUFF_TOOLS_OP_DESCRIBE_H

#include "runtime/graph/operator.h"

/* tuff op --list. Returns the exit status. */
int op_print_list(void);

/* tuff op NAME --help. */
void op_print_help(const operator* op);

#endif
