/* Choosing variants by measuring: a class is measured once, its choice is kept in a file and decides from then on. */
#include "layers/tuner.h"
#include "runtime/device/choices.h"
#include "support.h"
#include <tuff/layers.h>

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

static char folder[64];   /* each test's own */
static const char *force; /* the family; NULL: the device's own, or the environment's */
static uint32_t measured, not_measured;

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tuff-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int make_tiles_folder(void **state) {
    force = "product=tile"; /* what a GPU gets */
    return make_folder(state);
}

static int make_plain_folder(void **state) {
    force = "";
    return make_folder(state);
}

static int make_parts_folder(void **state) {
    force = "parts=3"; /* what is measured goes in parts, too */
    return make_folder(state);
}

static int remove_folder(void **state) {
    (void)state;
    force = NULL;
    char command[192];
    snprintf(command, sizeof command, "chmod -R u+w '%s'; rm -rf '%s'", folder, folder);
    return system(command);
}

static void note(void *user, tuff_log_level level, const char *message) {
    test_log(user, level, message);
    if (strncmp(message, "measured ", 9) == 0) measured++;
    if (strstr(message, "is not measured")) not_measured++;
}

static tuff_device *open_with(const tuff_device_desc *desc) {
    tuff_device_desc d = *desc;
    tuff_device *device;
    d.log = note;
    if (!d.cache) d.cache = folder;
    measured = not_measured = 0;
    OK(tuff_device_open(&d, &device));
    return device;
}

static tuff_device *open_tuning(tuff_tuning tuning) {
    return open_with(&(tuff_device_desc){ .tuning = tuning, .force = force });
}

/* One variant, which the environment may force, is nothing to measure. */
static bool can_measure(void) {
    tuff_device *device = open_with(&(tuff_device_desc){ .cache = "0" });
    const device_limits *limits = device_get_limits(device);
    const char *forced = device_force(device, "product");
    bool can = limits->timestamp_period > 0 && (!forced || strcmp(forced, "row") == 0 || strcmp(forced, "tile") == 0);
    tuff_device_close(device);
    return can;
}

/* ---- a program with one product ------------------------------------------------------------------ */

enum { M = 48, N = 64, K = 40 };

typedef struct product_run {
    float y[M * N];
    char kernel[64];
    tuff_program_info info;
} product_run;

static void run_product(tuff_device *device, product_run *run) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *a = tuff_input(graph, "a", TUFF_F32, TUFF_SHAPE(M, K));
    tuff_tensor *b = tuff_input(graph, "b", TUFF_F32, TUFF_SHAPE(K, N)), *y = tuff_matmul(a, b, NULL);
    tuff_program *program = NULL;
    const tuff_program_desc desc = {
        .outputs = &y, .output_count = 1, .evaluate = true, .profile = TUFF_PROFILE_DISPATCHES
    };
    OK(tuff_compile(graph, &desc, &program));
    static float values[2][N * K];
    for (int i = 0; i < N * K; i++) {
        values[0][i] = (float)((i * 37) % 101) / 64 - 0.7f;
        values[1][i] = (float)((i * 53) % 97) / 64 - 0.8f;
    }
    OK(tuff_write(program, a, values[0], M * K * sizeof(float)));
    OK(tuff_write(program, b, values[1], K * N * sizeof(float)));
    OK(tuff_run(program));
    OK(tuff_read(program, y, run->y, sizeof run->y));
    tuff_profile_entry entry;
    double seconds;
    uint32_t count;
    OK(tuff_program_profile(program, &seconds, &entry, 1, &count));
    assert_true(count >= 1);
    snprintf(run->kernel, sizeof run->kernel, "%s", entry.kernel);
    tuff_program_get_info(program, &run->info);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            double sum = 0;
            for (int k = 0; k < K; k++) sum += (double)values[0][m * K + k] * (double)values[1][k * N + n];
            assert_true(fabs(sum - (double)run->y[m * N + n]) < 1e-4);
        }
}

/* ---- the file ------------------------------------------------------------------------------------ */

static bool find_file(char path[512]) {
    bool found = false;
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));) {
        if (strncmp(entry->d_name, "choices-", 8) != 0) continue;
        assert_false(found);
        assert_null(strstr(entry->d_name, ".new")); /* nothing is left beside it */
        snprintf(path, 512, "%s/%s", folder, entry->d_name);
        found = true;
    }
    closedir(list);
    return found;
}

/* The lines of the file; NULL if it is missing or not whole. The caller frees them. */
static char *read_lines(const tuff_device *device) {
    char name[CACHE_FILE_NAME], *text;
    cache_file file;
    void *data;
    size_t size;
    assert_true(device_cache_file(device, "choices", name, &file));
    if (!cache_file_read(&file, &data, &size)) return NULL;
    text = calloc(1, size + 1);
    assert_non_null(text);
    memcpy(text, data, size);
    free(data);
    return text;
}

static void write_lines(const tuff_device *device, const char *text) {
    char name[CACHE_FILE_NAME], why[256];
    cache_file file;
    assert_true(device_cache_file(device, "choices", name, &file));
    assert_true(cache_file_write(&file, text, strlen(text), why));
}

/* Measures the product, and gives its class and what was chosen. */
static void learn(char class[256], char choice[64], product_run *run) {
    tuff_device *device = open_tuning(TUFF_TUNING_ON);
    run_product(device, run);
    assert_int_equal(measured, 1);
    char *lines = read_lines(device);
    assert_non_null(lines);
    assert_int_equal(sscanf(lines, "%255s %63s", class, choice), 2);
    free(lines);
    tuff_device_close(device);
}

/* ---- the tests ----------------------------------------------------------------------------------- */

/* Processes that write at once leave a file that is whole. They open devices of their own, so this comes first: drivers
 * with threads do not live through a fork. */
static void test_processes(void **state) {
    (void)state;
    enum { PROCESSES = 4, CHOICES = 25 };
    pid_t children[PROCESSES];
    for (int p = 0; p < PROCESSES; p++) {
        children[p] = fork();
        assert_true(children[p] >= 0);
        if (children[p]) continue;
        tuff_device *device;
        const tuff_device_desc desc = { .cache = folder, .tuning = TUFF_TUNING_ON };
        bool good = tuff_device_open(&desc, &device) == TUFF_OK;
        for (int i = 0; i < CHOICES && good; i++) {
            char class[64];
            snprintf(class, sizeof class, "process%d,class%d", p, i);
            good = choice_make(device, class, "some-variant") == TUFF_OK;
        }
        _exit(good ? 0 : 1);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_int_equal(waitpid(children[p], &status, 0), children[p]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    char path[512];
    assert_true(find_file(path));
    tuff_device *device = open_tuning(TUFF_TUNING_ON);
    char *lines = read_lines(device);
    assert_non_null(lines);
    uint32_t count = 0;
    for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n")) {
        int p, i;
        char choice[32];
        assert_int_equal(sscanf(line, "process%d,class%d %31s", &p, &i, choice), 3);
        assert_string_equal(choice, "some-variant");
        count++;
    }
    assert_true(count >= CHOICES); /* the last one to write had all of its own */
    free(lines);
    tuff_device_close(device);
}

/* Measured once; then the file decides, and results have the same bits. */
static void test_kept(void **state) {
    (void)state;
    if (!can_measure()) return;
    static product_run first, second, off;
    char class[256], choice[64];
    learn(class, choice, &first);
    tuff_device *device = open_tuning(TUFF_TUNING_ON);
    for (int i = 0; i < 2; i++) {
        run_product(device, &second);
        assert_int_equal(measured, 0);
        assert_string_equal(first.kernel, second.kernel);
        assert_memory_equal(first.y, second.y, sizeof first.y);
    }
    tuff_device_close(device);
    /* measuring leaves nothing in the program */
    assert_int_equal(first.info.dispatches, second.info.dispatches);
    assert_int_equal(first.info.arena_bytes, second.info.arena_bytes);
    device = open_tuning(TUFF_TUNING_OFF);
    run_product(device, &off);
    if (strcmp(off.kernel, first.kernel) == 0) assert_int_equal(first.info.arena_bytes, off.info.arena_bytes);
    tuff_device_close(device);
}

/* A full file takes new choices, and lets the oldest go. */
static void test_full(void **state) {
    (void)state;
    enum { MOST = 4096 };
    static char text[MOST * 16];
    int used = 0;
    for (int i = 0; i < MOST; i++) used += snprintf(text + used, sizeof text - (size_t)used, "class%d way\n", i);
    tuff_device *device = open_tuning(TUFF_TUNING_ON);
    write_lines(device, text);
    OK(choice_make(device, "new", "way"));
    tuff_device_close(device);
    device = open_tuning(TUFF_TUNING_ON);
    assert_non_null(choice_find(device, "new"));
    assert_non_null(choice_find(device, "class4095"));
    assert_null(choice_find(device, "class0"));
    tuff_device_close(device);
}

/* A choice for a class is what its next program gets, whatever the rules say. */
static void test_decides(void **state) {
    (void)state;
    if (!can_measure()) return;
    static product_run run;
    char class[256], choice[64], line[384];
    learn(class, choice, &run);
    uint32_t count, tried = 0;
    const product_variant *variants = product_variants(&count);
    for (uint32_t i = 0; i < count; i++) {
        tuff_device *device = open_tuning(TUFF_TUNING_ON);
        const product_variant *v = &variants[i];
        const device_limits *limits = device_get_limits(device);
        const char *forced = device_force(device, "product");
        bool rows = forced ? strcmp(forced, "row") == 0 : product_variants_are_rows(limits);
        if (product_variant_runs(v, limits) && v->row == rows && (!v->row || v->texels == limits->texels)
            && !v->most_m) {
            snprintf(line, sizeof line, "%s %s\n", class, v->name);
            write_lines(device, line);
            run_product(device, &run);
            assert_int_equal(measured, 0);
            assert_string_equal(run.kernel, kernel_codes[v->kernels[LOADER_PLAIN]].name);
            tried++;
        }
        tuff_device_close(device);
    }
    assert_true(tried >= 2);
    /* a variant that there is not is measured again, and its line replaced */
    tuff_device *device = open_tuning(TUFF_TUNING_ON);
    snprintf(line, sizeof line, "another,class tile64\n%s diagonal\nno_space\n", class);
    write_lines(device, line);
    run_product(device, &run);
    assert_int_equal(measured, 1);
    char *lines = read_lines(device);
    assert_non_null(lines);
    assert_null(strstr(lines, "diagonal"));
    assert_non_null(strstr(lines, class));
    assert_non_null(strstr(lines, "another,class tile64\n"));
    free(lines);
    tuff_device_close(device);
}

/* ---- a program with one convolution --------------------------------------------------------------- */

typedef struct conv_run {
    int64_t channels;
    const char *kernel; /* the one that makes the way's name true */
    bool found;         /* it ran */
    float y[16 * 144];
} conv_run;

/* To 16 channels of 12 x 12 pixels, 3 x 3, from tensors whose channels lie together, as within a network. */
static void run_convolution(tuff_device *device, conv_run *run) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(1, 12, 12, run->channels));
    tuff_tensor *w = tuff_input(graph, "w", TUFF_F32, TUFF_SHAPE(3, 3, run->channels, 16));
    tuff_tensor *image = tuff_permute(x, (const int32_t[]){ 0, 3, 1, 2 }, 4);
    tuff_tensor *kernel = tuff_permute(w, (const int32_t[]){ 3, 2, 0, 1 }, 4);
    tuff_tensor *y = tuff_conv2d(image, &(tuff_conv2d_desc){ .weight = kernel, .padding = { 1, 1 } });
    tuff_program *program = NULL;
    OK(tuff_compile(
        graph,
        &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true, .profile = TUFF_PROFILE_DISPATCHES },
        &program));
    static float values[2][16 * 144];
    for (int i = 0; i < 16 * 144; i++) {
        values[0][i] = (float)((i * 37) % 101) / 64 - 0.7f;
        values[1][i] = (float)((i * 53) % 97) / 64 - 0.8f;
    }
    OK(tuff_write(program, x, values[0], (size_t)(run->channels * 144) * sizeof(float)));
    OK(tuff_write(program, w, values[1], (size_t)(run->channels * 144) * sizeof(float)));
    OK(tuff_run(program));
    OK(tuff_read(program, y, run->y, sizeof run->y));
    tuff_profile_entry entries[64];
    uint32_t count;
    OK(tuff_program_profile(program, NULL, entries, 64, &count));
    assert_true(count <= 64);
    run->found = false;
    for (uint32_t i = 0; i < count; i++) run->found = run->found || strstr(entries[i].kernel, run->kernel);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* A convolution has more ways: those, too, are kept, and what is kept decides. */
static void check_way(int64_t channels, const char *way, const char *kernel) {
    static conv_run first, run;
    char class[256], choice[64], line[384];
    first = run = (conv_run){ .channels = channels, .kernel = kernel };
    tuff_device *device = open_tuning(TUFF_TUNING_ON);
    run_convolution(device, &first);
    assert_int_equal(measured, 1);
    char *lines = read_lines(device);
    assert_non_null(lines);
    assert_int_equal(sscanf(lines, "%255s %63s", class, choice), 2);
    assert_int_equal(first.found, strncmp(choice, way, strlen(way)) == 0);
    free(lines);
    tuff_device_close(device);
    const char *const kept[] = { "row8", way, choice };
    for (int i = 0; i < 3; i++) {
        device = open_tuning(TUFF_TUNING_ON);
        bool texels = i < 2 && device_get_limits(device)->texels && strcmp(kept[i], "winograd") != 0;
        snprintf(line, sizeof line, "%s %s%s\n", class, kept[i], texels ? "-texels" : "");
        write_lines(device, line);
        run_convolution(device, &run);
        assert_int_equal(measured, 0);
        assert_int_equal(run.found, i == 2 ? first.found : i == 1);
        for (int e = 0; e < 16 * 144; e++) assert_true(fabsf(run.y[e] - first.y[e]) < 1e-3f);
        if (i == 2) assert_memory_equal(run.y, first.y, sizeof run.y);
        tuff_device_close(device);
    }
    remove_folder(NULL);
    make_plain_folder(NULL);
}

static void test_convolutions(void **state) {
    (void)state;
    if (!can_measure()) return;
    tuff_device *device = open_tuning(TUFF_TUNING_OFF);
    bool rows = product_variants_are_rows(device_get_limits(device));
    tuff_device_close(device);
    if (!rows) return; /* tiles have no direct way */
    check_way(3, "direct", "PRODUCT_DIRECT");
    check_way(16, "winograd", "WINOGRAD");
}

/* A file that is damaged, cut off, or of another device is ignored and written anew. */
static void test_damaged(void **state) {
    (void)state;
    if (!can_measure()) return;
    static product_run run;
    char class[256], choice[64], path[512];
    learn(class, choice, &run);
    assert_true(find_file(path));
    static uint8_t whole[4096], bytes[4096];
    FILE *f = fopen(path, "rb");
    size_t size = fread(whole, 1, sizeof whole, f);
    fclose(f);
    assert_true(size > 64 && size < sizeof whole);
    for (int damage = 0; damage < 5; damage++) {
        memcpy(bytes, whole, sizeof bytes);
        size_t left = size;
        if (damage == 0) bytes[size - 4] ^= 1; /* in the choice */
        if (damage == 1) left = size - 1;
        if (damage == 2) left = 0;
        if (damage == 3) bytes[40] ^= 1; /* in the key: another device's */
        if (damage == 4) bytes[0] ^= 1;
        f = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, left, f), left);
        fclose(f);
        tuff_device *device = open_tuning(TUFF_TUNING_ON);
        run_product(device, &run);
        assert_int_equal(measured, 1);
        char *lines = read_lines(device);
        assert_non_null(lines);
        assert_memory_equal(lines, class, strlen(class));
        free(lines);
        tuff_device_close(device);
    }
}

static void set_tune(const char *value) {
    if (value)
        setenv("TUFF_TUNE", value, 1);
    else
        unsetenv("TUFF_TUNE");
}

/* Without tuning the file is neither read nor written; the environment says so, the descriptor goes first. */
static void test_off(void **state) {
    (void)state;
    static product_run rules, run;
    const char *kept = getenv("TUFF_TUNE");
    char path[512], old[8], class[256], choice[64], line[384];
    snprintf(old, sizeof old, "%s", kept ? kept : "");
    tuff_device *device = open_tuning(TUFF_TUNING_OFF);
    run_product(device, &rules);
    tuff_device_close(device);
    assert_false(find_file(path));
    set_tune("0");
    device = open_tuning(TUFF_TUNING_DEFAULT);
    assert_false(device_tunes(device));
    run_product(device, &run);
    assert_string_equal(run.kernel, rules.kernel);
    assert_int_equal(measured + not_measured, 0);
    tuff_device_close(device);
    assert_false(find_file(path));
    device = open_tuning(TUFF_TUNING_ON);
    assert_true(device_tunes(device));
    tuff_device_close(device);
    set_tune("1");
    device = open_tuning(TUFF_TUNING_DEFAULT);
    assert_true(device_tunes(device));
    tuff_device_close(device);
    device = open_tuning(TUFF_TUNING_OFF);
    assert_false(device_tunes(device));
    tuff_device_close(device);
    set_tune("2");
    assert_int_equal(tuff_device_open(&(tuff_device_desc){ .cache = "0" }, &device), TUFF_ERROR_ARGUMENT);
    assert_non_null(strstr(tuff_last_message(), "TUFF_TUNE"));
    set_tune(NULL);
    assert_int_equal(tuff_device_open(&(tuff_device_desc){ .tuning = (tuff_tuning)7 }, &device), TUFF_ERROR_ARGUMENT);
    device = open_tuning(TUFF_TUNING_DEFAULT);
    assert_int_equal(device_tunes(device), !device_get_limits(device)->cpu);
    tuff_device_close(device);
    if (can_measure()) { /* a choice that stands in the file does not count */
        learn(class, choice, &run);
        assert_true(find_file(path));
        uint32_t count;
        const product_variant *variants = product_variants(&count);
        for (uint32_t i = 0; i < count; i++) {
            device = open_tuning(TUFF_TUNING_OFF);
            snprintf(line, sizeof line, "%s %s\n", class, variants[i].name);
            write_lines(device, line);
            run_product(device, &run);
            assert_string_equal(run.kernel, rules.kernel);
            char *lines = read_lines(device);
            assert_string_equal(lines, line);
            free(lines);
            tuff_device_close(device);
        }
    }
    set_tune(kept ? old : NULL);
}

/* Where no file can be written, choices last as long as the device. */
static void test_no_folder(void **state) {
    (void)state;
    if (!can_measure()) return;
    static product_run run;
    char blocked[128];
    snprintf(blocked, sizeof blocked, "%s/file", folder); /* a file where the folder should be */
    FILE *f = fopen(blocked, "wb");
    assert_non_null(f);
    fclose(f);
    const char *const folders[] = { "0", blocked };
    for (size_t i = 0; i < 2; i++) {
        tuff_device *device = open_with(&(tuff_device_desc){ .cache = folders[i], .tuning = TUFF_TUNING_ON });
        run_product(device, &run);
        run_product(device, &run);
        assert_int_equal(measured, 1);
        tuff_device_close(device);
    }
}

/* Measuring takes no memory that the program may need: then the rules choose, and nothing is kept. */
static void test_memory(void **state) {
    (void)state;
    if (!can_measure()) return;
    char path[512];
    tuff_device *device = open_with(&(tuff_device_desc){ .tuning = TUFF_TUNING_ON, .memory_budget = 14 << 20 });
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *a = tuff_input(graph, "a", TUFF_F32, TUFF_SHAPE(1024, 1024)), *y = tuff_matmul(a, a, NULL);
    y = tuff_sum(tuff_matmul(y, a, NULL), NULL);
    tuff_program *program = NULL;
    tuff_result result =
        tuff_compile(graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program);
    assert_int_equal(measured, 0);
    assert_true(not_measured >= 1);
    assert_false(find_file(path));
    if (result != TUFF_OK) print_message("%s\n", tuff_last_message()); /* the program itself may lack room, too */
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_device_close(device);
}

static void test_winner(void **state) {
    (void)state;
    const double seconds[] = { 1.00, 0.98, 1.5, INFINITY };
    assert_int_equal(tuner_winner(seconds, 4, 0), 0); /* 2 % are noise */
    assert_int_equal(tuner_winner(seconds, 4, 1), 1);
    assert_int_equal(tuner_winner(seconds, 4, 2), 1);
    assert_int_equal(tuner_winner(seconds, 4, 3), 1);
    const double clear[] = { 1.00, 0.96, 0.95 };
    assert_int_equal(tuner_winner(clear, 3, 0), 2);
    assert_int_equal(tuner_winner(clear, 3, 1), 1);
    const double none[] = { INFINITY, INFINITY };
    assert_int_equal(tuner_winner(none, 2, 1), 1);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
#define TILES(test)                                                                                                    \
    { #test "(tiles)", test, make_tiles_folder, remove_folder, NULL }

/* With GPU-assisted validation a device keeps no files. */
int main(void) {
    const struct CMUnitTest keeping[] = {
        WITH_FOLDER(test_processes),
        WITH_FOLDER(test_kept),
        WITH_FOLDER(test_decides),
        TILES(test_decides),
        WITH_FOLDER(test_damaged),
        WITH_FOLDER(test_off),
        WITH_FOLDER(test_full),
        { "test_convolutions", test_convolutions, make_plain_folder, remove_folder, NULL },
        { "test_kept(parts)", test_kept, make_parts_folder, remove_folder, NULL },
    };
    const struct CMUnitTest always[] = {
        WITH_FOLDER(test_no_folder),
        WITH_FOLDER(test_memory),
        cmocka_unit_test(test_winner),
    };
    int failed = cmocka_run_group_tests_name("tuner", always, NULL, NULL);
    if (!test_validating(true)) failed += cmocka_run_group_tests_name("tuner, keeping", keeping, NULL, NULL);
    return failed;
}
