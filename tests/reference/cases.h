/* The test table, tests/operators/cases: one line for each case, CASE(operator, operands, attributes), in a file for
 * each family.
 *
 * Each line is checked in five ways: the reference's gradient against central differences of its forward pass, the
 * reference against PyTorch (tests/pytorch/fixtures.py reads these files), Tuff against the reference
 * (test_operators.c), Tuff with every variant on the user's device (`tuff check`), and Tuff beside PyTorch through
 * `tuff op` (tests/pytorch/compare). After a change run tests/pytorch/fixtures.py.
 *
 * Operands are shapes in the order of the row's inputs, "-" a scalar, "_" one left out; behind a colon how they are
 * filled: p 0.25 to 2, n the same with either sign, i10 indices below 10, b 0 or 1, k the same as uint8, y 0 to 255 as
 * uint8, t ties, l large, w from 2^-26 to 2^6, s shifted, m 10000 and a little, u 0 to 1. "!" at the end: its gradient
 * is not asked for. Attributes have PyTorch's names; training=true and take=1 (which result) may stand beside them. */
#ifndef TUFF_TESTS_CASES_H
#define TUFF_TESTS_CASES_H

#include <stdbool.h>

typedef struct operator_case {
    const char *family; /* the file of cases */
    const char *op, *shapes, *attributes;
} operator_case;

extern const operator_case OPERATOR_CASES[];
extern const int OPERATOR_CASE_COUNT;

/* Whether any family has a case of this operator. */
bool operator_has_cases(const char *op);

#endif
