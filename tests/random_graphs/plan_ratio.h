/* How much larger a program's arena is than what must live at a time. */
#ifndef TUFF_TESTS_PLAN_RATIO_H
#define TUFF_TESTS_PLAN_RATIO_H

#include <tuff/tuff.h>

/* Times the largest sum of values alive in a level, each rounded up to where the next one may begin: random graphs have
 * small values. 1 for an empty arena. */
double plan_ratio(const tuff_program *program);

#endif
