/* Specialization of SPIR-V on the host: constants put in, what they decide folded away.
 *
 * Drivers do this, too, but some compile every branch first and take seconds over it, and some never fold. */
#ifndef TUFF_RUNTIME_SPECIALISE_H
#define TUFF_RUNTIME_SPECIALISE_H

#include "runtime/error.h"

/* The module with specialization constants 0 .. constant_count - 1 set and all branches on constants taken; blocks and
 * functions that cannot be reached are left out. *out is allocated by malloc. The input is a valid module made by
 * glslang. Errors: MEMORY. */
tuff_result spirv_specialise(const uint32_t *words, size_t size, const uint32_t *constants, uint32_t constant_count,
                             uint32_t **out, size_t *out_size);

#endif
