/* What is kept between processes: where it lies, and that a file is whole or not there. */
#include "device_test.h"
#include "runtime/device/cache_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64]; /* each test's own */

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tuff-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static uint32_t count_files(void) {
    uint32_t count = 0;
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));) count += entry->d_name[0] != '.';
    closedir(list);
    return count;
}

static cache_file test_file(void) {
    return (cache_file){ .folder = folder, .name = "kept.bin", .key = "the key", .key_size = 7 };
}

static void file_path(char path[128]) {
    snprintf(path, 128, "%s/kept.bin", folder);
}

static size_t read_raw(uint8_t *bytes, size_t room) {
    char path[128];
    file_path(path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t size = fread(bytes, 1, room, f);
    fclose(f);
    return size;
}

static void write_raw(const uint8_t *bytes, size_t size) {
    char path[128];
    file_path(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static bool is_there(const cache_file *file) {
    void *data;
    size_t size;
    bool there = cache_file_read(file, &data, &size);
    assert_true(there == (data != NULL));
    free(data);
    return there;
}

static void assert_folder(const char *asked, const char *wanted) {
    char *found;
    ASSERT_OK(cache_folder_find(asked, &found));
    if (wanted)
        assert_string_equal(found, wanted);
    else
        assert_null(found);
    free(found);
}

/* In a process of its own: the environment is everybody's. */
static void test_find(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        unsetenv("TUFF_CACHE");
        setenv("HOME", "/home/user", 1);
        unsetenv("XDG_CACHE_HOME");
        assert_folder(NULL, "/home/user/.cache/tuff");
        setenv("XDG_CACHE_HOME", "", 1);
        assert_folder(NULL, "/home/user/.cache/tuff");
        setenv("XDG_CACHE_HOME", "relative/path", 1);
        assert_folder(NULL, "/home/user/.cache/tuff");
        setenv("XDG_CACHE_HOME", "/caches", 1);
        assert_folder(NULL, "/caches/tuff");
        assert_folder("elsewhere", "elsewhere");
        assert_folder("0", NULL);
        assert_folder("", NULL);
        setenv("TUFF_CACHE", "0", 1);
        assert_folder(NULL, NULL);
        assert_folder("/asked", "/asked"); /* the descriptor goes first */
        setenv("TUFF_CACHE", "/said", 1);
        assert_folder(NULL, "/said");
        assert_folder("0", NULL);
        unsetenv("TUFF_CACHE");
        unsetenv("XDG_CACHE_HOME");
        unsetenv("HOME");
        assert_folder(NULL, NULL);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_keep(void **state) {
    (void)state;
    cache_file file = test_file();
    char why[256], deep[128];
    assert_false(is_there(&file));
    assert_true(cache_file_write(&file, "one", 3, why));
    assert_true(cache_file_write(&file, "another", 7, why)); /* instead of it */
    void *data;
    size_t size;
    assert_true(cache_file_read(&file, &data, &size));
    assert_int_equal(size, 7);
    assert_memory_equal(data, "another", 7);
    free(data);
    assert_true(cache_file_write(&file, NULL, 0, why)); /* nothing can be kept, too */
    assert_true(cache_file_read(&file, &data, &size));
    assert_int_equal(size, 0);
    free(data);
    assert_int_equal(count_files(), 1);

    /* folders are made, for this user alone */
    snprintf(deep, sizeof deep, "%s/a/b/", folder);
    file.folder = deep;
    assert_true(cache_file_write(&file, "deep", 4, why));
    assert_true(is_there(&file));
    struct stat status;
    assert_int_equal(stat(deep, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
}

static void test_foreign(void **state) {
    (void)state;
    cache_file file = test_file();
    char why[256];
    assert_true(cache_file_write(&file, "data", 4, why));
    file.key = "the kez";
    assert_false(is_there(&file));
    file.key_size = 6;
    assert_false(is_there(&file));
    file.key = "the key and more";
    file.key_size = 11; /* as long as key and data */
    assert_false(is_there(&file));
    assert_true(cache_file_write(&file, "mine", 4, why));
    assert_true(is_there(&file));
    file = test_file();
    assert_false(is_there(&file));

    uint8_t other[4096] = "something else altogether";
    write_raw(other, sizeof other);
    assert_false(is_there(&file));
    write_raw(other, 0);
    assert_false(is_there(&file));
}

/* Every bit of every byte, every length. */
static void test_damaged(void **state) {
    (void)state;
    const cache_file file = test_file();
    char why[256];
    uint8_t bytes[256];
    assert_true(cache_file_write(&file, "some data", 9, why));
    size_t size = read_raw(bytes, sizeof bytes);
    assert_int_equal(size, 32 + 7 + 9);
    for (size_t i = 0; i < size; i++)
        for (uint32_t bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1u << bit);
            write_raw(bytes, size);
            if (is_there(&file)) fail_msg("bit %u of byte %zu is wrong, and nobody saw it", bit, i);
            bytes[i] ^= (uint8_t)(1u << bit);
        }
    for (size_t length = 0; length < sizeof bytes; length++) {
        write_raw(bytes, length);
        if (is_there(&file) != (length == size)) fail_msg("%zu bytes in place of %zu", length, size);
    }
}

/* Tests may run as root, who may write anywhere: what is in the way is no folder, or cannot have one. */
static void test_unwritable(void **state) {
    (void)state;
    cache_file file = test_file();
    char why[256] = "", path[128];
    file.folder = "/proc/no such folder";
    assert_false(is_there(&file));
    assert_false(cache_file_write(&file, "data", 4, why));
    assert_non_null(strstr(why, "folder cannot be made"));
    file_path(path);
    write_raw((const uint8_t *)"x", 1);
    file.folder = path; /* a file */
    assert_false(is_there(&file));
    assert_false(cache_file_write(&file, "data", 4, why));
    assert_non_null(strstr(why, "cannot be made"));

    file = test_file(); /* a folder, then a pipe, in the file's place */
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(is_there(&file));
    assert_false(cache_file_write(&file, "data", 4, why));
    assert_non_null(strstr(why, "put in its place"));
    assert_int_equal(count_files(), 1); /* nothing is left beside it */
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(is_there(&file));
    assert_true(cache_file_write(&file, "data", 4, why));
    assert_true(is_there(&file));
}

enum { PROCESSES = 4, ROUNDS = 50, LARGE = 100000 };

/* Several processes write; whoever reads sees the whole of one of them. */
static void test_at_once(void **state) {
    (void)state;
    const cache_file file = test_file();
    static uint8_t data[LARGE];
    pid_t children[PROCESSES];
    char why[256];
    assert_true(cache_file_write(&file, data, LARGE, why));
    for (int p = 0; p < PROCESSES; p++) {
        children[p] = fork();
        if (children[p] != 0) continue;
        bool good = true;
        for (int round = 0; round < ROUNDS && good; round++) {
            memset(data, p * ROUNDS + round, sizeof data);
            good = cache_file_write(&file, data, LARGE - (size_t)p, why);
        }
        _exit(good ? 0 : 1);
    }
    for (int p = 0; p < PROCESSES;) {
        void *read;
        size_t size;
        assert_true(cache_file_read(&file, &read, &size));
        assert_true(size > LARGE - PROCESSES);
        for (size_t i = 1; i < size; i++)
            if (((uint8_t *)read)[i] != ((uint8_t *)read)[0]) fail_msg("two files in one, at byte %zu", i);
        free(read);
        int status;
        if (waitpid(children[p], &status, WNOHANG) != children[p]) continue;
        assert_int_equal(status, 0);
        p++;
    }
    assert_int_equal(count_files(), 1);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find), WITH_FOLDER(test_keep),       WITH_FOLDER(test_foreign),
        WITH_FOLDER(test_damaged),   WITH_FOLDER(test_unwritable), WITH_FOLDER(test_at_once),
    };
    return cmocka_run_group_tests_name("cache_folder", tests, NULL, NULL);
}
