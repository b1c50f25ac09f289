#include "cases.h"

#include <string.h>

#define CASE(op, operands, attributes) { FAMILY, #op, operands, attributes },
const operator_case OPERATOR_CASES[] = {
#define FAMILY "pointwise"
#include "tests/operators/cases/pointwise.def"
#undef FAMILY
#define FAMILY "comparison"
#include "tests/operators/cases/comparison.def"
#undef FAMILY
#define FAMILY "shape"
#include "tests/operators/cases/shape.def"
#undef FAMILY
#define FAMILY "reduction"
#include "tests/operators/cases/reduction.def"
#undef FAMILY
#define FAMILY "product"
#include "tests/operators/cases/product.def"
#undef FAMILY
#define FAMILY "convolution"
#include "tests/operators/cases/convolution.def"
#undef FAMILY
#define FAMILY "pooling"
#include "tests/operators/cases/pooling.def"
#undef FAMILY
#define FAMILY "normalisation"
#include "tests/operators/cases/normalisation.def"
#undef FAMILY
#define FAMILY "attention"
#include "tests/operators/cases/attention.def"
#undef FAMILY
#define FAMILY "recurrent"
#include "tests/operators/cases/recurrent.def"
#undef FAMILY
#define FAMILY "lookup"
#include "tests/operators/cases/lookup.def"
#undef FAMILY
#define FAMILY "loss"
#include "tests/operators/cases/loss.def"
#undef FAMILY
};
const int OPERATOR_CASE_COUNT = sizeof OPERATOR_CASES / sizeof *OPERATOR_CASES;

bool operator_has_cases(const char *op) {
    for (int i = 0; i < OPERATOR_CASE_COUNT; i++)
        if (strcmp(OPERATOR_CASES[i].op, op) == 0) return true;
    return false;
}
