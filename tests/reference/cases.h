/* The lines of tests/operators/cases.def as an array. */
#ifndef TUFF_TESTS_CASES_H
#define TUFF_TESTS_CASES_H

typedef struct operator_case {
    const char *op, *shapes, *attributes;
} operator_case;

extern const operator_case OPERATOR_CASES[];
extern const int OPERATOR_CASE_COUNT;

#endif
