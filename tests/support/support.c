#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool expecting;
static uint32_t seen;
static char first_seen[4096];
static bool failed;

/* At the program's end: cmocka's own exit status knows nothing of messages that arrived outside an assertion. */
static void fail_at_exit(void) {
    if (!failed) return;
    fprintf(stderr, "[  FAILED  ] validation messages arrived, see above\n");
    fflush(NULL);
    _exit(1);
}

void test_log(void *user, tuff_log_level level, const char *message) {
    (void)user;
    if (level == TUFF_LOG_INFO) return;
    if (expecting) {
        if (seen++ == 0) snprintf(first_seen, sizeof first_seen, "%s", message);
        return;
    }
    if (!failed) atexit(fail_at_exit);
    failed = true;
    fprintf(stderr, "%s: %s\n", level == TUFF_LOG_ERROR ? "error" : "warning", message);
}

tuff_device *test_device_open(const tuff_device_desc *desc) {
    tuff_device_desc d = { 0 };
    if (desc) d = *desc;
    d.log = test_log;
    d.log_user = NULL;
    if (!d.cache) d.cache = "0";
    if (d.tuning == TUFF_TUNING_DEFAULT && !getenv("TUFF_TUNE")) d.tuning = TUFF_TUNING_OFF;
    tuff_device *device = NULL;
    if (tuff_device_open(&d, &device) != TUFF_OK) {
        fprintf(stderr, "no device for the tests: %s\n", tuff_last_message());
        exit(1);
    }
    return device;
}

void test_expect_messages(bool expected) {
    expecting = expected;
}

uint32_t test_messages_seen(const char **first) {
    uint32_t count = seen;
    if (first) *first = count ? first_seen : "";
    seen = 0;
    return count;
}

uint64_t test_number(const char *variable, uint64_t standard, uint64_t most) {
    const char *text = getenv(variable);
    if (!text || !*text) return standard;
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno && number <= most) return number;
    fprintf(stderr, "%s=%s: it must be a number from 0 to %llu\n", variable, text, (unsigned long long)most);
    exit(2);
}

const char *test_filter(bool (*is_known)(const char *op)) {
    const char *filter = getenv("TUFF_TEST_FILTER");
    if (!filter || !*filter) return NULL;
    if (is_known(filter)) return filter;
    fprintf(stderr, "TUFF_TEST_FILTER=%s: no case in tests/operators/cases is of an operator of that name\n", filter);
    exit(2);
}

bool test_validating(bool gpu) {
    const char *text = getenv("TUFF_VALIDATION");
    if (!text || strcmp(text, "gpu") != 0) return !gpu && text && strcmp(text, "1") == 0;
    return true;
}

bool test_layer_installed(void) {
    const tuff_device_desc desc = { .validation = TUFF_VALIDATION_ON };
    tuff_device *device;
    tuff_result result = tuff_device_open(&desc, &device);
    tuff_device_close(device);
    return result != TUFF_ERROR_UNSUPPORTED;
}

/* It crashes inside Mesa 26's lavapipe. */
bool test_bears_gpu_validation(void) {
    tuff_device *device = test_device_open(&(tuff_device_desc){ .validation = TUFF_VALIDATION_OFF });
    const tuff_device_info *info = tuff_device_get_info(device);
    int major = 0;
    bool bears =
        strcmp(info->driver, "llvmpipe") != 0 || sscanf(info->driver_info, "Mesa %d", &major) != 1 || major < 26;
    tuff_device_close(device);
    return bears;
}
