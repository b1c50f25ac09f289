/* Long dispatches go in parts: every workgroup runs once, numbered as in the whole, and not a bit changes. */
#include "program_test.h"
#include "support.h"

#include "tools/bench/networks.h"

#include <math.h>
#include <stdio.h>

/* What tools/bench/networks.c calls. */
bool bench_failed(const char *what) {
    fail_msg("%s: %s", what, tuff_last_message());
    return false;
}

/* A device that divides all it can; the environment's other forced paths hold, too. Kernels are chosen by the rules:
 * two devices that measure may choose some whose bits differ. */
static tuff_device *open_forced(const char *parts) {
    char force[1024];
    const char *others = getenv("TUFF_FORCE");
    if (others && strncmp(others, "parts=", 6) == 0) others = strchr(others, ',');
    snprintf(force, sizeof force, "parts=%s,%s", parts, others ? others : "");
    return test_device_open(&(tuff_device_desc){ .force = force, .tuning = TUFF_TUNING_OFF });
}

/* One that divides what is long, whatever the environment forces. */
static tuff_device *open_plain(void) {
    return test_device_open(&(tuff_device_desc){ .force = "" });
}

static void count_workgroups(const tuff_device *device, const uint32_t groups[3], uint32_t *most) {
    const kernel_call call = { .kernel = KERNEL_PRODUCT_ROW8_PLAIN,
                               .groups = { groups[0], groups[1], groups[2] },
                               .operands = { { .size = 64 } },
                               .operand_count = 1 };
    const parts parts = parts_of(device, &call);
    uint8_t *runs = calloc((size_t)groups[0] * groups[1] * groups[2], 1);
    for (uint32_t i = 0; i < parts_count(&parts); i++) {
        uint32_t base[3], part[3], at[3];
        parts_at(&parts, &call, i, base, part);
        assert_true(part[0] && part[1] && part[2]);
        for (at[2] = base[2]; at[2] < base[2] + part[2]; at[2]++)
            for (at[1] = base[1]; at[1] < base[1] + part[1]; at[1]++)
                for (at[0] = base[0]; at[0] < base[0] + part[0]; at[0]++)
                    runs[(at[2] * groups[1] + at[1]) * groups[0] + at[0]]++;
    }
    for (uint32_t i = 0; i < groups[0] * groups[1] * groups[2]; i++) assert_int_equal(runs[i], 1);
    free(runs);
    *most = parts_count(&parts);
}

static void test_every_workgroup_once(void **state) {
    (void)state;
    static const uint32_t sizes[][3] = {
        { 1, 1, 1 }, { 7, 1, 1 }, { 1, 5, 1 }, { 1, 1, 9 }, { 6, 5, 4 }, { 50, 3, 2 }
    };
    static const char *const forced[] = { "1", "2", "3", "7", "40", "1000", "4000000000" };
    for (uint32_t f = 0; f < sizeof forced / sizeof *forced; f++) {
        tuff_device *device = open_forced(forced[f]);
        for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            uint32_t all = sizes[i][0] * sizes[i][1] * sizes[i][2], count;
            count_workgroups(device, sizes[i], &count);
            uint64_t wanted = strtoull(forced[f], NULL, 10);
            assert_true(count >= (wanted < all ? wanted : all));
        }
        tuff_device_close(device);
    }
}

/* The largest part stays within the bound, as long as it can be divided, and parts are not many more than it takes. */
static void check_bound(const tuff_device *device, kernel_call call, uint64_t most) {
    uint32_t seed = 1;
    for (uint32_t i = 0; i < 2000; i++) {
        uint64_t all = 1;
        for (uint32_t axis = 0; axis < 3; axis++) {
            seed = seed * 1664525u + 1013904223u;
            call.groups[axis] = 1 + (seed >> 8) % (axis == 0 ? 50u : 9u);
            all *= call.groups[axis];
        }
        seed = seed * 1664525u + 1013904223u;
        double times = 1 + (double)(seed >> 8) / 0x1p24 * 40;
        call.work = (uint64_t)(times * (double)most);
        const parts parts = parts_of(device, &call);
        uint64_t largest = 0, sum = 0;
        for (uint32_t part = 0; part < parts_count(&parts); part++) {
            uint32_t base[3], groups[3];
            parts_at(&parts, &call, part, base, groups);
            uint64_t count = (uint64_t)groups[0] * groups[1] * groups[2];
            sum += count;
            if (count > largest) largest = count;
        }
        assert_int_equal(sum, all);
        assert_int_equal(largest, parts_largest(&parts, &call));
        assert_true(largest == 1 || (double)largest * (double)call.work <= (double)most * (double)all);
        assert_true(parts_count(&parts) <= 4 * times + 1);
    }
}

static void test_by_work(void **state) {
    (void)state;
    tuff_device *device = open_plain();
    const uint64_t word = 8; /* what moving one is worth */
    uint64_t most = device_get_limits(device)->dispatch_work;
    kernel_call call = {
        .kernel = KERNEL_PRODUCT_ROW8_PLAIN, .groups = { 100, 1, 3 }, .operands = { { .size = 4 } }, .operand_count = 1
    };
    const struct {
        uint64_t work;
        uint32_t parts;
    } cases[] = { { 0, 1 },          { most - word, 1 },  { most, 3 }, { 3 * most - word, 3 },
                  { 11 * most, 12 }, { 1000 * most, 300 } };
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        call.work = cases[i].work;
        const parts parts = parts_of(device, &call);
        assert_int_equal(parts_count(&parts), cases[i].parts);
    }
    check_bound(device, call, most);
    call.whole = true;
    parts one = parts_of(device, &call);
    assert_int_equal(parts_count(&one), 1);
    /* bytes alone */
    call = (kernel_call){ .kernel = KERNEL_PRODUCT_ROW8_PLAIN, .groups = { 100, 1, 1 }, .operand_count = 2 };
    call.operands[0].size = call.operands[1].size = most;
    one = parts_of(device, &call);
    assert_true(parts_count(&one) > 1);
    tuff_device_close(device);
}

/* Flat lists number their workgroups row by row with gl_NumWorkGroups.x: a row stays whole unless it is the only one.
 */
static void test_rows_stay_whole(void **state) {
    (void)state;
    tuff_device *device = open_forced("1000");
    kernel_call call = {
        .kernel = KERNEL_GATHER, .groups = { 50, 4, 1 }, .operands = { { .size = 64 } }, .operand_count = 1
    };
    assert_true(device_kernel_counts_groups(device, call.kernel));
    assert_false(device_kernel_counts_groups(device, KERNEL_PRODUCT_ROW8_PLAIN));
    parts parts = parts_of(device, &call);
    assert_int_equal(parts.counts[0], 1);
    assert_int_equal(parts.counts[1], 4);
    call.groups[1] = 1;
    parts = parts_of(device, &call);
    assert_int_equal(parts.counts[0], 50);
    tuff_device_close(device);
}

/* A user's kernel may do anything with gl_NumWorkGroups. */
static void test_users_kernels(void **state) {
    (void)state;
    tuff_device *device = open_forced("1000");
    const struct kernel_code *fill = &kernel_codes[KERNEL_FILL], *scale = &kernel_codes[KERNEL_TEST_SCALE];
    kernel_call call = { .groups = { 50, 1, 1 }, .operands = { { .size = 64 } }, .operand_count = 1 };
    ASSERT_OK(device_add_kernel(device, "fill", fill->words, fill->size, 0, 1, &call.kernel));
    parts parts = parts_of(device, &call);
    assert_int_equal(parts_count(&parts), 1);
    ASSERT_OK(device_add_kernel(device, "scale", scale->words, scale->size, 2, 2, &call.kernel));
    parts = parts_of(device, &call);
    assert_int_equal(parts_count(&parts), 50);
    tuff_device_close(device);
}

/* ---- bits ---------------------------------------------------------------------------------------- */

typedef struct trained {
    float loss;
    float *states;
    size_t size;
    tuff_program_info info;
} trained;

/* Two steps of a network, and all that they left in the model. */
static trained train(const char *parts, const network_kind *kind) {
    const bench bench = { .options = { .small = true }, .device = open_forced(parts) };
    network net;
    trained result = { 0 };
    network_open(&bench, kind, &net);
    network_compile(&net, TUFF_PROFILE_NONE);
    tuff_program_get_info(net.program, &result.info);
    for (int step = 0; step < 2; step++) network_step(&net);
    ASSERT_OK(tuff_read(net.program, net.loss, &result.loss, sizeof result.loss));
    for (uint32_t i = 0; i < tuff_model_state_count(net.model); i++) {
        tuff_state_info state;
        ASSERT_OK(tuff_model_state_info(net.model, i, &state));
        size_t bytes = (size_t)tuff_shape_count(&state.shape) * 4;
        result.states = realloc(result.states, result.size + bytes);
        assert_non_null(result.states);
        ASSERT_OK(tuff_model_read(net.model, state.name, (char *)result.states + result.size, bytes));
        result.size += bytes;
    }
    network_close(&net);
    tuff_device_close(bench.device);
    return result;
}

static void test_same_bits(void **state) {
    (void)state;
    static const char *const forced[] = { "2", "1000" };
    for (int n = 0; n < NETWORKS; n++) {
        trained whole = train("1", &network_kinds[n]);
        assert_int_equal(whole.info.parts, whole.info.dispatches);
        for (uint32_t f = 0; f < sizeof forced / sizeof *forced; f++) {
            trained divided = train(forced[f], &network_kinds[n]);
            assert_int_equal(divided.info.dispatches, whole.info.dispatches);
            assert_int_equal(divided.info.barriers, whole.info.barriers);
            assert_true(divided.info.parts > whole.info.parts);
            assert_int_equal(divided.size, whole.size);
            if (memcmp(&divided.loss, &whole.loss, sizeof whole.loss) != 0
                || memcmp(divided.states, whole.states, whole.size) != 0)
                fail_msg("%s: parts=%s gives other bits", network_kinds[n].name, forced[f]);
            free(divided.states);
        }
        free(whole.states);
    }
}

/* ---- a long product ------------------------------------------------------------------------------ */

/* Of a product whose multiply-adds are more than a driver for the CPU gets at once. */
static int64_t side_of(const tuff_device *device) {
    const device_limits *limits = device_get_limits(device);
    return limits->cpu ? (int64_t)cbrt(1.2 * (double)limits->dispatch_work) : 256;
}

static void fill(float *values, uint32_t count, uint64_t seed) {
    for (uint32_t i = 0; i < count; i++) values[i] = (float)random_number(&seed, 2001) / 1000 - 1;
}

/* The product's parts, or 0 if it is not profiled. */
static uint32_t multiply(tuff_device *device, float *result) {
    const int64_t side = side_of(device);
    const size_t count = (size_t)(side * side), size = count * sizeof(float);
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *a = tuff_input(graph, "a", TUFF_F32, TUFF_SHAPE(side, side));
    tuff_tensor *b = tuff_input(graph, "b", TUFF_F32, TUFF_SHAPE(side, side)), *y = tuff_matmul(a, b, NULL);
    bool timed = device_get_limits(device)->timestamp_period > 0;
    tuff_program *program = NULL;
    ASSERT_OK(tuff_compile(graph,
                           &(tuff_program_desc){ .outputs = &y,
                                                 .output_count = 1,
                                                 .evaluate = true,
                                                 .profile = timed ? TUFF_PROFILE_DISPATCHES : TUFF_PROFILE_NONE },
                           &program));
    float *values = malloc(size);
    assert_non_null(values);
    fill(values, (uint32_t)count, 1);
    ASSERT_OK(tuff_write(program, a, values, size));
    fill(values, (uint32_t)count, 2);
    ASSERT_OK(tuff_write(program, b, values, size));
    ASSERT_OK(tuff_run(program));
    ASSERT_OK(tuff_read(program, y, result, size));
    tuff_profile_entry entry = { .parts = 0 };
    uint32_t entries = 0;
    if (timed) ASSERT_OK(tuff_program_profile(program, NULL, &entry, 1, &entries));
    free(values);
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return entry.parts;
}

static void test_long_product(void **state) {
    (void)state;
    tuff_device *plain = open_plain(), *whole = test_device_open(&(tuff_device_desc){ .force = "parts=1" });
    size_t size = (size_t)(side_of(plain) * side_of(plain)) * sizeof(float);
    float *results[2] = { malloc(size), malloc(size) };
    assert_non_null(results[0]);
    assert_non_null(results[1]);
    bool cpu = device_get_limits(plain)->cpu, timed = device_get_limits(plain)->timestamp_period > 0;
    uint32_t parts = multiply(plain, results[0]), one = multiply(whole, results[1]);
    if (timed) assert_int_equal(one, 1);
    if (timed && cpu) assert_true(parts > 1);
    assert_memory_equal(results[0], results[1], size);
    tuff_device_close(plain);
    tuff_device_close(whole);
    free(results[0]);
    free(results[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_workgroup_once),
        cmocka_unit_test(test_by_work),
        cmocka_unit_test(test_rows_stay_whole),
        cmocka_unit_test(test_users_kernels),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_long_product),
    };
    return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
