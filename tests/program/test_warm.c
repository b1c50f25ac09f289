/* Kernels compiled before the first run. */
#include "host.h"
#include "program_test.h"
#include "support.h"

#include <tuff/layers.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 12, FEATURES = 20, CLASSES = 10, STEPS = 3 };

/* A network with products (which read texels on lavapipe), reductions, chains and updates. */
typedef struct trainer {
    tuff_device *device;
    tuff_model *model;
    tuff_optimizer *adam;
    tuff_graph *graph;
    tuff_tensor *x, *label, *loss;
    tuff_program *program;
} trainer;

static char log_text[256]; /* of the threads' work */

static void note(void *user, tuff_log_level level, const char *message) {
    test_log(user, level, message);
    if (strstr(message, "compiled by other threads")) snprintf(log_text, sizeof log_text, "%s", message);
}

static trainer make_on(tuff_device *device) {
    trainer t = { .device = device };
    t.model = tuff_model_create(t.device, &(tuff_model_desc){ .seed = 3 });
    t.adam = tuff_adam_create(t.model, NULL);
    t.graph = tuff_graph_create(t.model);
    t.x = tuff_input(t.graph, "x", TUFF_F32, TUFF_SHAPE(BATCH, FEATURES));
    t.label = tuff_input(t.graph, "label", TUFF_I32, TUFF_SHAPE(BATCH));
    tuff_tensor *y = tuff_relu(tuff_linear(t.x, &(tuff_linear_desc){ .name = "fc1", .features = 40 }));
    y = tuff_linear(y, &(tuff_linear_desc){ .name = "fc2", .features = CLASSES });
    t.loss = tuff_cross_entropy(y, t.label, NULL);
    const tuff_program_desc desc = { .minimize = t.loss, .optimizer = t.adam, .outputs = &t.loss, .output_count = 1 };
    ASSERT_OK(tuff_compile(t.graph, &desc, &t.program));
    return t;
}

static trainer make(const char *force) {
    tuff_device *device;
    *log_text = 0;
    ASSERT_OK(tuff_device_open(&(tuff_device_desc){ .log = note, .cache = "0", .force = force }, &device));
    return make_on(device);
}

static void destroy(trainer *t) {
    tuff_program_destroy(t->program);
    tuff_graph_destroy(t->graph);
    tuff_model_destroy(t->model);
    tuff_device_close(t->device);
}

static void train(trainer *t, float losses[STEPS]) {
    float x[BATCH * FEATURES];
    int32_t label[BATCH];
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < BATCH * FEATURES; i++) x[i] = (float)((i * 37 + step * 11) % 41) / 20 - 1;
        for (int i = 0; i < BATCH; i++) label[i] = (i + step) % CLASSES;
        ASSERT_OK(tuff_write(t->program, t->x, x, sizeof x));
        ASSERT_OK(tuff_write(t->program, t->label, label, sizeof label));
        ASSERT_OK(tuff_run(t->program));
        ASSERT_OK(tuff_read(t->program, t->loss, &losses[step], sizeof losses[step]));
    }
}

static bool compiles_late(const trainer *t) {
    return device_get_limits(t->device)->compiles_late;
}

/* The same bits, whether or not, and however early, kernels are compiled ahead. */
static void test_same_bits(void **state) {
    (void)state;
    static const char *const forces[] = { "ahead=none", "ahead=always", "" };
    float first[STEPS], losses[STEPS];
    for (uint32_t f = 0; f < 3; f++)
        for (int early = 0; early < 2; early++) {
            trainer t = make(forces[f]);
            if (early) ASSERT_OK(tuff_program_warm(t.program));
            train(&t, losses);
            if (f == 0 && !early) memcpy(first, losses, sizeof first);
            assert_memory_equal(first, losses, sizeof first);
            destroy(&t);
        }
    assert_true(first[STEPS - 1] == first[STEPS - 1] && first[0] != first[1]);
}

/* It touches nothing and counts as no run; once is enough. */
static void test_no_run(void **state) {
    (void)state;
    trainer t = make(NULL);
    enum { COUNT = FEATURES * 40 };
    float before[COUNT], after[COUNT], loss;
    tuff_device_counters start, end;
    ASSERT_OK(tuff_model_read(t.model, "fc1.weight", before, sizeof before));
    tuff_device_get_counters(t.device, &start);
    ASSERT_OK(tuff_program_warm(t.program));
    ASSERT_OK(tuff_program_warm(t.program));
    ASSERT_OK(tuff_device_wait(t.device));
    tuff_device_get_counters(t.device, &end);
    assert_int_equal(end.submissions - start.submissions, compiles_late(&t) ? 1 : 0);
    assert_int_equal(end.recordings - start.recordings, compiles_late(&t) ? 1 : 0);
    assert_int_equal(end.pipelines, start.pipelines);
    ASSERT_OK(tuff_model_read(t.model, "fc1.weight", after, sizeof after));
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(tuff_read(t.program, t.loss, &loss, sizeof loss), TUFF_ERROR_STATE);
    assert_int_equal(tuff_program_warm(NULL), TUFF_ERROR_ARGUMENT);
    destroy(&t);

    float losses[STEPS]; /* after a run there is nothing to warm */
    t = make(NULL);
    train(&t, losses);
    tuff_device_get_counters(t.device, &start);
    ASSERT_OK(tuff_program_warm(t.program));
    tuff_device_get_counters(t.device, &end);
    assert_memory_equal(&start, &end, sizeof start);
    destroy(&t);
}

/* Everything may go while it is under way. */
static void test_left_early(void **state) {
    (void)state;
    trainer t = make("ahead=always");
    ASSERT_OK(tuff_program_warm(t.program));
    destroy(&t);
}

/* How many kernels the threads of a warm-up get, where a program with one of them was warmed before, or not. */
static unsigned given_kernels(bool one_before) {
    tuff_device *device;
    *log_text = 0;
    ASSERT_OK(tuff_device_open(&(tuff_device_desc){ .log = note, .cache = "0", .force = "" }, &device));
    for (uint32_t round = one_before ? 0 : 1; round < 2; round++) {
        tuff_model *model = tuff_model_create(device, NULL);
        tuff_graph *graph = tuff_graph_create(model);
        tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(8, 8));
        tuff_tensor *y[] = { tuff_softmax(x, 1), tuff_sum(x, NULL), tuff_cumsum(x, 1), tuff_matmul(x, x, NULL) };
        tuff_program *program = NULL;
        const tuff_program_desc desc = { .outputs = y, .output_count = round ? 4 : 1, .evaluate = true };
        ASSERT_OK(tuff_compile(graph, &desc, &program));
        ASSERT_OK(tuff_program_warm(program));
        ASSERT_OK(tuff_device_wait(device));
        tuff_program_destroy(program);
        tuff_graph_destroy(graph);
        tuff_model_destroy(model);
    }
    tuff_device_close(device);
    unsigned done, count = 0;
    if (*log_text) assert_int_equal(sscanf(log_text, "%u of %u", &done, &count), 2);
    return count;
}

/* A warm-up with too few kernels for threads leaves them to the next one. */
static void test_few_kernels(void **state) {
    (void)state;
    assert_int_equal(given_kernels(true), given_kernels(false));
}

/* On a host's queue, but without threads: they would need a device that its host knows nothing of. */
static void test_lent(void **state) {
    (void)state;
    float own[STEPS], losses[STEPS];
    trainer t = make("ahead=none");
    train(&t, own);
    destroy(&t);
    test_host host;
    test_host_open(&host);
    tuff_vulkan_device_desc desc = test_host_desc(&host);
    desc.force = "ahead=always";
    desc.log = note;
    tuff_device *device;
    ASSERT_OK(tuff_device_adopt(&desc, &device));
    t = make_on(device);
    *log_text = 0;
    ASSERT_OK(tuff_program_warm(t.program));
    train(&t, losses);
    assert_memory_equal(own, losses, sizeof own);
    destroy(&t);
    assert_int_equal(*log_text, 0);
    test_host_close(&host);
}

/* ---- what Mesa keeps ---------------------------------------------------------------------------- */

static char folder[64];
static uint64_t found; /* names of files, each by its hash, added up */
static uint64_t file_bytes;

static int note_file(const char *path, const struct stat *status, int kind, struct FTW *place) {
    if (kind != FTW_F || !strstr(path, "mesa_shader_cache/") || place->level < 3) return 0;
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *c = path + strlen(folder); *c; c++) hash = (hash ^ (uint8_t)*c) * UINT64_C(1099511628211);
    found += hash;
    file_bytes += (uint64_t)status->st_size;
    return 0;
}

static uint64_t kept_kernels(uint64_t *bytes) {
    found = file_bytes = 0;
    nftw(folder, note_file, 16, FTW_PHYS);
    *bytes = file_bytes;
    return found;
}

static void empty_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'/*", folder);
    assert_int_equal(system(command), 0);
}

/* A process of its own with its caches in the folder; whether other threads compiled something. */
static bool run_child(const char *force, bool early, bool run) {
    pid_t child = fork();
    if (child == 0) {
        setenv("XDG_CACHE_HOME", folder, 1);
        setenv("MESA_SHADER_CACHE_DISABLE", "false", 1);
        unsetenv("MESA_SHADER_CACHE_DIR");
        float losses[STEPS];
        trainer t = make(force);
        if (early) ASSERT_OK(tuff_program_warm(t.program));
        if (run) train(&t, losses);
        ASSERT_OK(tuff_device_wait(t.device));
        destroy(&t);
        _exit(*log_text && strncmp(log_text, "0 of", 4) != 0 ? 2 : 0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2));
    return WEXITSTATUS(status) == 2;
}

/* Lavapipe compiles for a dispatch of nothing just what it would for the real one, and so do the other threads: a first
 * run, a warm-up before it, and one with threads leave the same kernels in Mesa's cache. Otherwise all of it would be
 * in vain, and only a clock could tell. */
static void test_same_kernels(void **state) {
    (void)state;
    uint64_t plain, bytes;
    snprintf(folder, sizeof folder, "/tmp/tuff-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    run_child("ahead=none", false, true);
    uint64_t kernels = kept_kernels(&plain);
    if (plain == 0) print_message("this driver keeps no kernels on disk\n");
    empty_folder();
    run_child("ahead=none", true, false);
    kept_kernels(&bytes);
    assert_true(bytes >= plain * 9 / 10); /* Mesa 26 compiles some fetches of texels, of no size, when they run */
    run_child("ahead=none", false, true);
    assert_true(kept_kernels(&bytes) == kernels);
    empty_folder();
    bool helped = run_child("ahead=always", true, true);
    assert_true(kept_kernels(&bytes) == kernels);
    if (plain && sysconf(_SC_NPROCESSORS_ONLN) > 1) assert_true(helped);
    empty_folder();
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest kernels[] = { cmocka_unit_test(test_same_kernels) };
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_bits), cmocka_unit_test(test_no_run),
                                        cmocka_unit_test(test_left_early), cmocka_unit_test(test_few_kernels),
                                        cmocka_unit_test(test_lent) };
    /* First, since it forks. GPU-assisted validation puts a number of its own into each kernel. */
    int failed = test_validating(true) ? 0 : cmocka_run_group_tests_name("warm, kernels", kernels, NULL, NULL);
    return failed + cmocka_run_group_tests_name("warm", tests, NULL, NULL);
}
