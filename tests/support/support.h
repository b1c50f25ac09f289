/* What the tests share: a device that fails the test program on any validation message. */
#ifndef TUFF_TESTS_SUPPORT_H
#define TUFF_TESTS_SUPPORT_H

#include <tuff/tuff.h>

/* Opens a device as the environment says (TUFF_DEVICE, TUFF_VALIDATION, TUFF_FORCE), or exits the program with a
 * message. Every warning and error that arrives is printed and makes the test program fail at its end, unless it is
 * inside test_expect_messages. desc may be NULL; its log is replaced, and without a folder of its own it keeps nothing:
 * what one test leaves must not change another. Nor must time: kernels are chosen by measuring only where the test or
 * TUFF_TUNE says so. */
tuff_device *test_device_open(const tuff_device_desc *desc);

/* A log callback that does the same for devices that a test opens by itself. */
void test_log(void *user, tuff_log_level level, const char *message);

/* From here on messages are counted instead (true), or fail the program again (false). */
void test_expect_messages(bool expected);
/* Messages counted while expected, since the last call; the first one's text. */
uint32_t test_messages_seen(const char **first);

/* The number that a variable of the environment holds, `standard` where it is not set. Exits the program with a message
 * if it holds something else or more than `most`: a seed taken for another would repeat nothing. */
uint64_t test_number(const char *variable, uint64_t standard, uint64_t most);
/* The operator that TUFF_TEST_FILTER names, NULL where it is not set. Exits the program with a message if it is none
 * that the cases know; one of another family is right, since the variable goes to the programs of all families. */
const char *test_filter(bool (*is_known)(const char *op));

/* True if TUFF_VALIDATION turns validation on; if gpu is true, GPU-assisted validation. */
bool test_validating(bool gpu);
/* True if the Khronos layer is installed. */
bool test_layer_installed(void);
/* True if GPU-assisted validation runs on the driver at hand. */
bool test_bears_gpu_validation(void);

#endif
