/* Helpers of the tests of files, and their main. */
#include "io_test.h"

#include "support.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

static const char *test_directory(void) {
    if (directory[0] == '\0') {
        strcpy(directory, "/tmp/tuff-test-io-XXXXXX");
        assert_non_null(mkdtemp(directory));
    }
    return directory;
}

const char *test_path(const char *name) {
    static char paths[8][400];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_directory(), name);
    return path;
}

static int each_file(bool remove_it) {
    DIR *stream = opendir(test_directory());
    assert_non_null(stream);
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        count++;
        if (remove_it && unlink(test_path(entry->d_name)) != 0) rmdir(test_path(entry->d_name));
    }
    closedir(stream);
    return count;
}

int test_file_count(void) {
    return each_file(false);
}

void test_remove_all(void) {
    each_file(true);
}

const char *test_file(const char *name, const void *data, size_t size) {
    const char *path = test_path(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (size > 0) assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

unsigned char *test_read(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(*size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

const char *test_safetensors(const char *name, const char *header, const void *data, size_t size) {
    size_t length = strlen(header);
    unsigned char *bytes = malloc(8 + length + size);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    if (size > 0) memcpy(bytes + 8 + length, data, size);
    const char *path = test_file(name, bytes, 8 + length + size);
    free(bytes);
    return path;
}

void test_expect_failure(tuff_result result, tuff_result code, const char *const *words) {
    if (result != code) {
        fail_msg("%s instead of %s: %s", tuff_result_name(result), tuff_result_name(code), tuff_last_message());
    }
    for (; *words != NULL; words++) {
        if (strstr(tuff_last_message(), *words) == NULL) {
            fail_msg("\"%s\" is not in the message \"%s\"", *words, tuff_last_message());
        }
    }
}

uint64_t test_seed(void) {
    uint64_t seed = test_number("TUFF_TEST_SEED", 1, UINT64_MAX);
    print_message("seed: TUFF_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint32_t test_random(uint64_t *state) {
    /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

int test_python(const char *script, const char *arguments) {
    char command[1024];
    /* Debian's own Python has Debian's packages; another one may come first in PATH. Leak checks of a sanitizer run
     * are not Python's business. */
    snprintf(command, sizeof command,
             "p=/usr/bin/python3; [ -x $p ] || p=python3; command -v $p >/dev/null || exit 77; "
             "LD_PRELOAD= OMP_NUM_THREADS=2 exec $p -B '%s/tests/io/%s' %s",
             TUFF_SOURCE_DIR, script, arguments);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void) {
    int failed = test_idx() + test_safetensors_files() + test_fuzz() + test_model_files() + test_python_files();
    test_remove_all();
    rmdir(directory);
    return failed;
}
