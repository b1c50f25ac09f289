/* Rows of softmax.c, for the table. */
#ifndef TUFF_LAYERS_SOFTMAX_H
#define TUFF_LAYERS_SOFTMAX_H

#include "runtime/graph/operator.h"

extern const operator operator_softmax;
extern const operator operator_log_softmax;

#endif
