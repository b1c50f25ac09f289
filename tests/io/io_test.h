/* What the tests of files share: a directory of their own, files made from bytes, failures looked at. */
#ifndef TUFF_TESTS_IO_TEST_H
#define TUFF_TESTS_IO_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <tuff/io.h>

/* DIRECTORY/name, in a ring of a few buffers. The directory is made on the first call and removed with all in it
 * when the tests end. */
const char *test_path(const char *name);
void test_remove_all(void);

/* Writes a file and returns its path. */
const char *test_file(const char *name, const void *data, size_t size);

/* The file's bytes, to be freed. */
unsigned char *test_read(const char *path, size_t *size);

/* A safetensors file from its header's text and the bytes after it. */
const char *test_safetensors(const char *name, const char *header, const void *data, size_t size);

/* The call failed with `code` and its message holds every one of the words (the list ends with NULL). */
void test_expect_failure(tuff_result result, tuff_result code, const char *const *words);
#define EXPECT_FAILURE(call, code, ...) test_expect_failure((call), (code), (const char *const[]){ __VA_ARGS__, NULL })

/* The number of files in the test's directory: nothing may be left beside. */
int test_file_count(void);

/* Random bits for the fuzzing tests, from TUFF_TEST_SEED (printed). */
uint64_t test_seed(void);
uint32_t test_random(uint64_t *state);

/* Runs `python3 TESTS/script arguments` and returns its exit status: 77 where it lacks a package, or where there is no
 * Python. */
int test_python(const char *script, const char *arguments);

int test_idx(void);
int test_safetensors_files(void);
int test_fuzz(void);
int test_model_files(void);
int test_python_files(void);

#endif
