/* Compiled kernels are kept from one opening of a device to the next. */
#include "device_test.h"
#include "host.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];            /* each test's own */
static char kept[512], read_[512]; /* what the log said of them since the device was opened */

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

static void note(void *user, tuff_log_level level, const char *message) {
    test_log(user, level, message);
    if (strstr(message, "compiled kernels"))
        snprintf(strncmp(message, "read", 4) == 0 ? read_ : kept, sizeof kept, "%s", message);
}

/* Fills by the kernel on a device with this folder, `kernels` of them. What the log said stands in kept and read_. */
static void use_device(const char *cache, uint32_t kernels) {
    *kept = *read_ = 0;
    tuff_device *device;
    ASSERT_OK(tuff_device_open(&(tuff_device_desc){ .log = note, .cache = cache }, &device));
    buffer *b;
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 1024, "b", &b));
    const buffer_range range = { b, 0, 1024 };
    if (kernels) {
        run_fill(device, range, 7);
        assert_filled(device, range, 7);
    }
    if (kernels > 1) { /* one more pipeline, never run */
        const dispatch copy = {
            .kernel = KERNEL_CLEAR_GAPS, .bindings = { range }, .binding_count = 1, .groups = { 1, 1, 1 }
        };
        dispatch_set *set;
        ASSERT_OK(dispatch_set_create(device, &copy, 1, "never run", &set));
        dispatch_set_destroy(set);
    }
    buffer_destroy(b);
    tuff_device_close(device);
}

/* The path of the only file; false: there is none. */
static bool only_file(char path[512]) {
    uint32_t count = 0;
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, 512, "%s/%s", folder, entry->d_name);
        count++;
    }
    closedir(list);
    assert_true(count <= 1);
    return count == 1;
}

static size_t read_file(const char *path, uint8_t **bytes) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    struct stat status;
    assert_int_equal(fstat(fileno(f), &status), 0);
    *bytes = malloc((size_t)status.st_size + 1);
    assert_non_null(*bytes);
    assert_int_equal(fread(*bytes, 1, (size_t)status.st_size, f), status.st_size);
    fclose(f);
    return (size_t)status.st_size;
}

static void write_file(const char *path, const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* Lavapipe's caches are empty. Up to Mesa 22 they are a header, which is kept like any other content; those of Mesa 26
 * end inside their header, so there is nothing to keep. */
static bool driver_keeps(void) {
    tuff_device *device = test_device_open(&(tuff_device_desc){ .cache = "0" });
    const tuff_device_info *info = tuff_device_get_info(device);
    int major = 0;
    bool broken =
        strcmp(info->driver, "llvmpipe") == 0 && sscanf(info->driver_info, "Mesa %d", &major) == 1 && major > 22;
    tuff_device_close(device);
    return !broken;
}

static void test_kept(void **state) {
    (void)state;
    char path[512];
    use_device(folder, 0); /* nothing was compiled */
    assert_false(only_file(path));
    use_device(folder, 1);
    assert_true(*kept && !*read_);
    assert_true(only_file(path));
    assert_non_null(strstr(path, "/pipelines-"));
    use_device(folder, 1); /* it is all there */
    assert_true(*read_ && !*kept);

    uint8_t *before, *after;
    size_t size = read_file(path, &before);
    use_device(folder, 2);
    size_t more = read_file(path, &after);
    assert_true(*read_ && more >= size);
    assert_true((*kept != 0) == (more > size)); /* some drivers keep nothing but a header */
    free(before);
    free(after);
}

/* Whatever the file's bytes are, the device works and the next one finds a good file. */
static void test_bad_files(void **state) {
    (void)state;
    char path[512];
    uint8_t *good, *now;
    use_device(folder, 1);
    assert_true(only_file(path));
    size_t size = read_file(path, &good);
    /* in the header, the key, the driver's header, the driver's data */
    const size_t places[] = { 0, 8, 16, 24, 32, 36, 40, 44, 48, 63, 64, 68, 72, 80, 95, size - 1 };
    for (size_t i = 0; i < COUNT(places); i++) {
        assert_true(places[i] < size);
        good[places[i]] ^= 0x10;
        write_file(path, good, size);
        good[places[i]] ^= 0x10;
        use_device(folder, 1);
        if (*read_ || !*kept) fail_msg("byte %zu is wrong: %s; %s", places[i], read_, kept);
        assert_int_equal(read_file(path, &now), size);
        free(now);
    }
    const size_t lengths[] = { 0, 1, 31, 32, 63, 64, 95, size - 1 };
    for (size_t i = 0; i < COUNT(lengths); i++) {
        write_file(path, good, lengths[i]);
        use_device(folder, 1);
        if (*read_ || !*kept) fail_msg("%zu bytes: %s; %s", lengths[i], read_, kept);
    }
    use_device(folder, 1);
    assert_true(*read_ && !*kept);
    free(good);
}

/* A file of ours in which the driver's data are another driver's, or none. */
static void test_foreign_data(void **state) {
    (void)state;
    char path[512], name[CACHE_FILE_NAME], why[256];
    use_device(folder, 1);
    assert_true(only_file(path));
    tuff_device *device = test_device_open(&(tuff_device_desc){ .cache = folder });
    cache_file file;
    assert_true(device_cache_file(device, "pipelines", name, &file));
    assert_non_null(strstr(path, name));
    void *data;
    size_t size;
    assert_true(cache_file_read(&file, &data, &size));
    const size_t places[] = { 0, 4, 8, 12, 16, 31 }; /* header size, version, vendor, device, UUID */
    for (size_t i = 0; i < COUNT(places); i++) {
        ((uint8_t *)data)[places[i]] ^= 0x40;
        assert_true(cache_file_write(&file, data, size, why));
        ((uint8_t *)data)[places[i]] ^= 0x40;
        use_device(folder, 1);
        if (*read_ || !*kept) fail_msg("byte %zu of the driver's is wrong: %s; %s", places[i], read_, kept);
    }
    assert_true(cache_file_write(&file, data, 0, why));
    use_device(folder, 1);
    assert_true(*kept && !*read_);
    assert_true(cache_file_write(&file, data, 20, why));
    use_device(folder, 1);
    assert_true(*kept && !*read_);
    free(data);
    tuff_device_close(device);
}

static void test_unwritable(void **state) {
    (void)state;
    use_device("/proc/no such folder", 1); /* root may write anywhere else */
    assert_non_null(strstr(kept, "are not kept"));
    assert_false(*read_);
    char path[128];
    snprintf(path, sizeof path, "%s/a file", folder);
    write_file(path, (const uint8_t *)"x", 1);
    use_device(path, 1);
    assert_non_null(strstr(kept, "are not kept"));
}

static void test_forbidden(void **state) {
    (void)state;
    char path[512];
    pid_t child = fork(); /* the environment is everybody's */
    if (child == 0) {
        setenv("XDG_CACHE_HOME", folder, 1);
        setenv("TUFF_CACHE", "0", 1);
        use_device(NULL, 1);
        assert_true(!*kept && !*read_);
        unsetenv("TUFF_CACHE");
        use_device("0", 1);
        assert_true(!*kept && !*read_);
        use_device("", 1);
        assert_true(!*kept && !*read_);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    snprintf(path, sizeof path, "%s/tuff", folder); /* a driver may have kept something beside it */
    assert_int_not_equal(access(path, F_OK), 0);
}

/* Where nothing is said, it lies in the user's cache directory. */
static void test_standard(void **state) {
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        setenv("XDG_CACHE_HOME", folder, 1);
        unsetenv("TUFF_CACHE");
        use_device(NULL, 1);
        _exit(strstr(kept, "/tuff/pipelines-") && strstr(kept, folder) ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* GPU-assisted validation compiles what nobody finds again. */
static void test_gpu_assisted(void **state) {
    (void)state;
    char path[512];
    if (!test_layer_installed() || !test_bears_gpu_validation()) skip();
    tuff_device *device = test_device_open(&(tuff_device_desc){ .cache = folder, .validation = TUFF_VALIDATION_GPU });
    char name[CACHE_FILE_NAME];
    cache_file file;
    assert_false(device_cache_file(device, "pipelines", name, &file));
    tuff_device_close(device);
    assert_false(only_file(path));
}

enum { PROCESSES = 4 };

/* Processes that open, compile and close at once; what the one kept, the others add to. */
static void test_processes(void **state) {
    (void)state;
    char path[512];
    pid_t children[PROCESSES];
    for (uint32_t p = 0; p < PROCESSES; p++) {
        children[p] = fork();
        if (children[p] != 0) continue;
        for (uint32_t round = 0; round < 3; round++) use_device(folder, 1 + (p + round) % 2);
        _exit(0);
    }
    for (uint32_t p = 0; p < PROCESSES; p++) {
        int status = -1;
        assert_int_equal(waitpid(children[p], &status, 0), children[p]);
        assert_int_equal(status, 0);
    }
    assert_true(only_file(path));
    use_device(folder, 2);
    assert_true(*read_ != 0);
}

/* Two devices of one process, each with a kernel of its own: the file has both. */
static void test_merged(void **state) {
    (void)state;
    char name[CACHE_FILE_NAME];
    tuff_device *a = test_device_open(&(tuff_device_desc){ .cache = folder });
    use_device(folder, 2); /* opens and closes while the other is open */
    cache_file file;
    assert_true(device_cache_file(a, "pipelines", name, &file));
    void *data;
    size_t first, second;
    assert_true(cache_file_read(&file, &data, &first));
    free(data);
    buffer *b;
    ASSERT_OK(buffer_create(a, BUFFER_DEVICE, 1024, "b", &b));
    run_fill(a, (buffer_range){ b, 0, 1024 }, 3);
    buffer_destroy(b);
    file.folder = folder;
    const device_identity identity = *(const device_identity *)file.key;
    file.key = &identity;
    tuff_device_close(a);
    assert_true(cache_file_read(&file, &data, &second));
    free(data);
    assert_true(second >= first); /* and not the one kernel alone */
}

/* A host's device keeps something only if the host says where. */
static void test_lent(void **state) {
    (void)state;
    char path[512], name[CACHE_FILE_NAME];
    cache_file file;
    test_host host;
    test_host_open(&host);
    tuff_vulkan_device_desc desc = test_host_desc(&host);
    tuff_device *device;
    for (int asked = 0; asked < 2; asked++) {
        if (asked) desc.cache = folder;
        ASSERT_OK(tuff_device_adopt(&desc, &device));
        assert_true(device_cache_file(device, "pipelines", name, &file) == (asked == 1));
        buffer *b;
        ASSERT_OK(buffer_create(device, BUFFER_DEVICE, 1024, "b", &b));
        run_fill(device, (buffer_range){ b, 0, 1024 }, 3);
        buffer_destroy(b);
        tuff_device_close(device);
        assert_true(only_file(path) == (asked == 1));
    }
    test_host_close(&host);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest always[] = { WITH_FOLDER(test_forbidden), WITH_FOLDER(test_gpu_assisted) };
    const struct CMUnitTest keeping[] = {
        WITH_FOLDER(test_standard),  WITH_FOLDER(test_processes),    WITH_FOLDER(test_kept),
        WITH_FOLDER(test_bad_files), WITH_FOLDER(test_foreign_data), WITH_FOLDER(test_unwritable),
        WITH_FOLDER(test_merged),    WITH_FOLDER(test_lent),
    };
    int failed = cmocka_run_group_tests_name("pipeline_cache", always, NULL, NULL);
    if (!test_validating(true) && driver_keeps())
        failed += cmocka_run_group_tests_name("pipeline_cache, keeping", keeping, NULL, NULL);
    return failed;
}
