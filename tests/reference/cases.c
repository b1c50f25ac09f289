#include "cases.h"

#define CASE(op, shapes, attributes) { #op, shapes, attributes },
const operator_case OPERATOR_CASES[] = {
#include "../operators/cases.def"
};
const int OPERATOR_CASE_COUNT = sizeof OPERATOR_CASES / sizeof *OPERATOR_CASES;
