/* What known graphs are compiled to, by counts: independent branches share levels, fusion and results in place save
 * dispatches and bytes, and the arena is hardly larger than what must live at a time. Nothing is forced but what the
 * test itself asks for. */
#include "program_test.h"
#include "support.h"

#include "tools/bench/networks.h"

#include <stdio.h>

/* What tools/bench/networks.c calls. */
bool bench_failed(const char *what) {
    fail_msg("%s: %s", what, tuff_last_message());
    return false;
}

/* ---- branches ------------------------------------------------------------------------------------ */

typedef struct known {
    tuff_device *device;
    tuff_model *model;
    tuff_graph *graph;
    tuff_tensor *x;
    tuff_program *program;
} known;

static known begin(tuff_shape shape) {
    known k = { .device = test_device_open(&(tuff_device_desc){ .force = "" }) };
    k.model = tuff_model_create(k.device, NULL);
    k.graph = tuff_graph_create(k.model);
    k.x = tuff_input(k.graph, "x", TUFF_F32, shape);
    return k;
}

static void compile(known *k, tuff_tensor *y) {
    ASSERT_OK(tuff_compile(k->graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true },
                           &k->program));
}

static void end(known *k) {
    tuff_program_destroy(k->program);
    tuff_graph_destroy(k->graph);
    tuff_model_destroy(k->model);
    tuff_device_close(k->device);
}

/* The levels of the products whose labels begin so, in order; how many. */
static uint32_t levels_of(const tuff_program *program, const char *name, uint32_t *levels, uint32_t room) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < program->lowered->call_count; i++) {
        const kernel_call *call = &program->lowered->calls[i];
        const char *kernel = device_kernel(program->device, call->kernel)->name;
        if (strncmp(call->label, name, strlen(name)) != 0 || strncmp(kernel, "PRODUCT", 7) != 0) continue;
        assert_true(count < room);
        levels[count++] = program->schedule.levels[i];
    }
    return count;
}

static void check_together(const tuff_program *program, const char *const *names, uint32_t count, uint32_t products) {
    enum { ROOM = 16 };
    uint32_t first[ROOM], levels[ROOM];
    assert_int_equal(levels_of(program, names[0], first, ROOM), products);
    for (uint32_t i = 1; i < count; i++) {
        assert_int_equal(levels_of(program, names[i], levels, ROOM), products);
        assert_memory_equal(levels, first, products * sizeof *levels);
    }
}

static tuff_tensor *branch(tuff_tensor *x, const char *name) {
    char text[32];
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%s%d", name, i);
        x = tuff_relu(tuff_conv2d(
            x, &(tuff_conv2d_desc){ .name = text, .channels = 8, .kernel = { 3, 3 }, .padding = { 1, 1 } }));
    }
    return x;
}

/* The second branch costs dispatches, but no level and no barrier. */
static void test_branches_of_convolutions(void **state) {
    (void)state;
    tuff_program_info one, two;
    known k = begin(TUFF_SHAPE(2, 8, 12, 12));
    tuff_tensor *left = branch(k.x, "left");
    compile(&k, tuff_matmul(left, left, NULL));
    tuff_program_get_info(k.program, &one);
    end(&k);
    k = begin(TUFF_SHAPE(2, 8, 12, 12));
    left = branch(k.x, "left");
    compile(&k, tuff_matmul(left, branch(k.x, "right"), NULL));
    tuff_program_get_info(k.program, &two);
    check_together(k.program, (const char *const[]){ "left", "right" }, 2, 2);
    print_message("one branch: %u dispatches, %u levels, %u barriers; two: %u, %u, %u\n", one.dispatches, one.levels,
                  one.barriers, two.dispatches, two.levels, two.barriers);
    assert_true(two.dispatches >= one.dispatches + 2);
    assert_int_equal(two.levels, one.levels);
    assert_int_equal(two.barriers, one.barriers);
    end(&k);
}

static void test_query_key_value(void **state) {
    (void)state;
    static const char *const names[] = { "query", "key", "value" };
    known k = begin(TUFF_SHAPE(2, 16, 32));
    tuff_tensor *projected[3];
    for (uint32_t i = 0; i < 3; i++)
        projected[i] = tuff_linear(k.x, &(tuff_linear_desc){ .name = names[i], .features = 32 });
    compile(&k, tuff_scaled_dot_product_attention(projected[0], projected[1], projected[2], NULL));
    check_together(k.program, names, 3, 1);
    end(&k);
}

/* A mean whose chain behind it also takes a later one must not wait for that: what it reduces would stay until then. */
static void test_means_do_not_wait(void **state) {
    (void)state;
    enum { LAYERS = 8, ROWS = 512, FEATURES = 64 };
    static const char *const forces[] = { "", "fuse=epilogue+chain+prologue" };
    uint64_t arenas[2];
    for (int i = 0; i < 2; i++) {
        known k = { .device = test_device_open(&(tuff_device_desc){ .force = forces[i] }) };
        k.model = tuff_model_create(k.device, NULL);
        k.graph = tuff_graph_create(k.model);
        k.x = tuff_input(k.graph, "x", TUFF_F32, TUFF_SHAPE(ROWS, FEATURES));
        const tuff_reduce_desc rows = { .axes = { -1 }, .axis_count = 1 };
        tuff_tensor *h = k.x, *means[LAYERS], *outputs[LAYERS - 1];
        for (int layer = 0; layer < LAYERS; layer++) {
            char name[16];
            snprintf(name, sizeof name, "layer%d", layer);
            h = tuff_tanh(tuff_linear(h, &(tuff_linear_desc){ .name = name, .features = FEATURES }));
            means[layer] = tuff_mean(tuff_square(h), &rows);
        }
        for (int layer = 0; layer < LAYERS - 1; layer++) outputs[layer] = tuff_sub(means[layer], means[LAYERS - 1]);
        const tuff_program_desc desc = { .outputs = outputs, .output_count = LAYERS - 1, .evaluate = true };
        ASSERT_OK(tuff_compile(k.graph, &desc, &k.program));
        tuff_program_info info;
        tuff_program_get_info(k.program, &info);
        arenas[i] = info.arena_bytes;
        end(&k);
    }
    print_message("%.2f MiB, without chains behind reductions %.2f\n", (double)arenas[0] / (1 << 20),
                  (double)arenas[1] / (1 << 20));
    assert_true((double)arenas[0] <= 1.02 * (double)arenas[1]);
}

/* ---- whole networks ------------------------------------------------------------------------------ */

static void count(const network_kind *kind, const char *force, tuff_program_info *info) {
    /* measuring could choose otherwise each time */
    const tuff_device_desc desc = { .force = force, .tuning = TUFF_TUNING_OFF };
    const bench bench = { .device = test_device_open(&desc) };
    network net;
    network_open(&bench, kind, &net);
    network_compile(&net, TUFF_PROFILE_NONE);
    tuff_program_get_info(net.program, info);
    print_message("%s, %s: %u operators, %u dispatches, %u levels, %u barriers, %.2f MiB, %.3f of live\n", kind->name,
                  *force ? force : "all", info->operators, info->dispatches, info->levels, info->barriers,
                  (double)info->arena_bytes / (1 << 20), (double)info->arena_bytes / (double)info->live_bytes);
    network_close(&net);
    tuff_device_close(bench.device);
}

static void check_network(const char *name) {
    const network_kind *kind = network_kinds;
    while (strcmp(kind->name, name) != 0) kind++;
    tuff_program_info bare, apart, all;
    count(kind, "fuse=none,inplace=none", &bare);
    count(kind, "inplace=none", &apart);
    count(kind, "", &all);
    /* fusion */
    assert_true(apart.dispatches < bare.dispatches && apart.arena_bytes <= bare.arena_bytes);
    /* results in place change no schedule */
    assert_int_equal(all.dispatches, apart.dispatches);
    assert_int_equal(all.levels, apart.levels);
    const double packing = 1.02; /* other lives may lie one beside the other a little worse */
    assert_true(all.live_bytes <= apart.live_bytes && (double)all.arena_bytes <= packing * (double)apart.arena_bytes);
    /* what does not depend on one another overlaps: one by one there would be a barrier between any two dispatches */
    assert_true(all.levels < all.dispatches && all.barriers < all.levels);
    if ((double)all.arena_bytes > 1.1 * (double)all.live_bytes)
        fail_msg("%s: %.3f times the live bytes", name, (double)all.arena_bytes / (double)all.live_bytes);
}

static void test_mnist(void **state) {
    (void)state;
    check_network("mnist-cnn");
}
static void test_resnet(void **state) {
    (void)state;
    check_network("resnet18");
}
static void test_gpt(void **state) {
    (void)state;
    check_network("gpt");
}
static void test_lstm(void **state) {
    (void)state;
    check_network("lstm");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_branches_of_convolutions),
        cmocka_unit_test(test_query_key_value),
        cmocka_unit_test(test_means_do_not_wait),
        cmocka_unit_test(test_mnist),
        cmocka_unit_test(test_resnet),
        cmocka_unit_test(test_gpt),
        cmocka_unit_test(test_lstm),
    };
    return cmocka_run_group_tests_name("known graphs", tests, NULL, NULL);
}
