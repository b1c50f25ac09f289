/* Random numbers as Tuff makes them: Philox4x32-10 (Salmon et al. 2011), and the initialisers' floats, to the bit. */
#ifndef TUFF_TESTS_PHILOX_H
#define TUFF_TESTS_PHILOX_H

#include <stdbool.h>
#include <stdint.h>

void ref_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/* FNV-1a, the stream of a name. */
uint32_t ref_name_hash(const char *name);

/* Element `element` of an initialiser: spread times a number uniform in [-1, 1), or normal. Float arithmetic in the
 * kernel's order: compile without contraction into fused multiply-adds. */
float ref_initial(uint64_t seed, const char *name, int64_t element, bool normal, float spread);

/* Whether dropout keeps an element (in PyTorch's order) in the run that `step` runs went before. */
bool ref_dropout_keeps(uint64_t seed, const char *name, uint64_t step, int64_t element, float p);

#endif
