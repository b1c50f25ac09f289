/* What the tests of programs share: lowered programs made by hand. */
#ifndef TUFF_TESTS_PROGRAM_TEST_H
#define TUFF_TESTS_PROGRAM_TEST_H

#include "runtime/program/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ASSERT_OK(call)                                                                                                \
    do {                                                                                                               \
        if ((call) != TUFF_OK) fail_msg("%s: %s", #call, tuff_last_message());                                         \
    } while (0)

/* Fails with `result`, and the message contains `part`. */
#define ASSERT_FAILS(call, result, part)                                                                               \
    do {                                                                                                               \
        assert_int_equal(call, result);                                                                                \
        if (!strstr(tuff_last_message(), part)) fail_msg("\"%s\" is not in: %s", part, tuff_last_message());           \
    } while (0)

/* A number below limit from a seed that moves on. */
uint32_t random_number(uint64_t *state, uint32_t limit);

/* An empty one; device may be NULL for tests without a GPU. */
lowered *lowered_new(tuff_device *device);
/* A storage of `size` bytes. INPUT and OUTPUT take their tensor's id from the number of storages. */
uint32_t add_storage(lowered *lowered, storage_kind kind, uint64_t size, const char *name);
/* A call without operands, and operands for the last call. */
kernel_call *add_call(lowered *lowered, segment_kind segment, const char *label);
void add_operand(lowered *lowered, uint32_t storage, uint64_t offset, uint64_t size, uint32_t access);

/* Calls that touch random ranges of random storages, for properties that must always hold. */
lowered *lowered_random(uint64_t *random, uint32_t storages, uint32_t calls);

/* KERNEL_TEST_MIX: out = a * factor + b, whole storages of floats, smaller ones repeated. b may be a. */
kernel_call *add_mix(lowered *lowered, segment_kind segment, uint32_t out, uint32_t a, uint32_t b, float factor,
                     const char *label);
/* The same, copying the words of a. */
void add_copy(lowered *lowered, segment_kind segment, uint32_t out, uint32_t a);

#endif
