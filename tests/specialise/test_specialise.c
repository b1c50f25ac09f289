/* Specialization on the host: every embedded kernel stays valid SPIR-V whatever its constants are, and a kernel of
 * what constants decide (fold.comp) gives the results that it gives when the driver specialises it. */
#include "../device/device_test.h"
#include "runtime/device/specialise.h"
#include "runtime/device/vulkan_internal.h"

#include <stdio.h>
#include <unistd.h>

enum {
    LISTS = 50,       /* of random constants, for each kernel */
    VALIDATED = 3,    /* of these are seen by spirv-val, a process each */
    WIDTH = 8,        /* invocations of fold.comp at most */
    CASES = 64,       /* results of an invocation */
    DEVICE_LISTS = 4, /* run on the device */
};

static uint64_t seed = 1;

static uint32_t next_random(void) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 32);
}

/* What kernels are given: flags, counts, sizes, packed words. */
static uint32_t random_constant(void) {
    uint32_t kind = next_random() % 8;
    if (kind < 5) return next_random() % 9;
    if (kind == 5) return 64;
    return kind == 6 ? next_random() : next_random() & 0x0f0f0f0f;
}

/* ---- every kernel -------------------------------------------------------------------------------- */

/* The number of constants that a module has. */
static uint32_t count_constants(const uint32_t *words, size_t count) {
    uint32_t constants = 0;
    for (size_t at = 5; at < count; at += words[at] >> 16)
        if ((words[at] & 0xffff) == 71 && words[at + 2] == 1 && words[at + 3] >= constants)
            constants = words[at + 3] + 1;
    return constants;
}

/* The constants that the size of a workgroup is made of, a bit each. */
static uint32_t workgroup_constants(const uint32_t *words, size_t count) {
    enum { DECORATE = 71, SPEC_ID = 1, BUILT_IN = 11, WORKGROUP_SIZE = 25, COMPOSITE = 51 };
    uint32_t parts[3] = { 0 }, size = 0, bits = 0;
    for (size_t at = 5; at < count; at += words[at] >> 16) {
        const uint32_t *w = words + at;
        if ((w[0] & 0xffff) == DECORATE && w[2] == BUILT_IN && w[3] == WORKGROUP_SIZE) size = w[1];
        if ((w[0] & 0xffff) == COMPOSITE && w[2] == size && w[0] >> 16 == 6) memcpy(parts, w + 3, sizeof parts);
    }
    for (size_t at = 5; at < count; at += words[at] >> 16) {
        const uint32_t *w = words + at;
        if ((w[0] & 0xffff) != DECORATE || w[2] != SPEC_ID || w[3] >= 32) continue;
        if (w[1] == parts[0] || w[1] == parts[1] || w[1] == parts[2]) bits |= 1u << w[3];
    }
    return bits;
}

/* Nothing is left to specialise, and instructions fill the module exactly. */
static void check_folded(const struct kernel_code *code, const uint32_t *words, size_t size) {
    bool *vectors = calloc(words[3], sizeof *vectors);
    assert_non_null(vectors);
    size_t count = size / 4, at = 5;
    assert_true(size % 4 == 0 && count > 5);
    for (; at < count; at += words[at] >> 16) {
        uint32_t op = words[at] & 0xffff;
        assert_true(words[at] >> 16);
        if (op == 23) vectors[words[at + 1]] = true;
        if (op == 71 && words[at + 2] == 1) fail_msg("%s: a SpecId is left", code->name);
        if (op >= 48 && op <= 51) fail_msg("%s: OpSpecConstant... %u is left", code->name, op);
        if (op == 52 && !vectors[words[at + 1]])
            fail_msg("%s: OpSpecConstantOp %u on scalars is left", code->name, words[at + 3]);
    }
    assert_int_equal(at, count);
    if (size > code->size + 64) fail_msg("%s: %zu bytes became %zu", code->name, code->size, size);
    free(vectors);
}

static char folder[] = "/tmp/test-specialise-XXXXXX";

/* No forced path changes a module: the runs without one, whatever their driver, validate for all others. */
static bool shall_validate(void) {
    return !getenv("TUFF_FORCE") && !getenv("TUFF_TEST_VIEWS") && access(SPIRV_VAL, X_OK) == 0;
}

static void write_module(const struct kernel_code *code, uint32_t list, const uint32_t *words, size_t size) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s.%u.spv", folder, code->name, list);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(words, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Specialises and checks; out and out_size are the caller's to free. The input and the constants lie at the end of
 * what is allocated for them, for AddressSanitizer. */
static void specialise(const struct kernel_code *code, const uint32_t *constants, uint32_t count, uint32_t **out,
                       size_t *size) {
    uint32_t *input = malloc(code->size), *list = malloc(count ? count * sizeof *list : 1);
    assert_true(input && list);
    memcpy(input, code->words, code->size);
    if (count) memcpy(list, constants, count * sizeof *list);
    ASSERT_OK(spirv_specialise(input, code->size, list, count, out, size));
    assert_memory_equal(input, code->words, code->size);
    free(input);
    free(list);
    check_folded(code, *out, *size);
}

static void test_every_kernel_stays_valid(void **state) {
    (void)state;
    bool validate = shall_validate();
    if (validate) assert_non_null(mkdtemp(folder));
    for (uint32_t k = 0; k < KERNEL_COUNT; k++) {
        const struct kernel_code *code = &kernel_codes[k];
        uint32_t constants[MAX_CONSTANTS], all = count_constants(code->words, code->size / 4);
        assert_true(all <= MAX_CONSTANTS);
        uint32_t sizes = workgroup_constants(code->words, code->size / 4);
        uint32_t *former = NULL, *words;
        size_t former_size = 0, size;
        for (uint32_t list = 0; list <= (all ? LISTS : 0); list++) {
            uint32_t count = list == 0 ? 0 : list % 5 == 0 ? next_random() % (all + 1) : all; /* 0: the defaults */
            for (uint32_t i = 0; i < count; i++) {
                constants[i] = random_constant();
                if (i < 32 && sizes >> i & 1 && !constants[i]) constants[i] = 1; /* no workgroup is empty */
            }
            specialise(code, constants, count, &words, &size);
            bool same = former && size == former_size && memcmp(words, former, size) == 0;
            if (validate && !same && list <= VALIDATED) write_module(code, list, words, size);
            free(former);
            former = words;
            former_size = size;
        }
        free(former);
    }
    if (!validate) {
        print_message("without " SPIRV_VAL ", or with a forced path: the modules were not validated\n");
        return;
    }
    char command[1024];
    snprintf(command, sizeof command,
             "cd %s && for f in *.spv; do said=$('%s' --target-env vulkan1.2 $f 2>&1) || echo \"$f: $said\"; done",
             folder, SPIRV_VAL);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    char line[1024];
    uint32_t lines = 0;
    while (fgets(line, sizeof line, pipe))
        if (lines++ < 20) print_message("%s", line);
    assert_int_equal(pclose(pipe), 0);
    if (lines) fail_msg("spirv-val refuses what lies in %s", folder);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* ---- on the device ------------------------------------------------------------------------------- */

static tuff_device *device;

/* fold.comp as it is, with the driver to specialise it. */
static VkPipeline driver_pipeline(const uint32_t *constants, uint32_t count) {
    const struct kernel_code *code = &kernel_codes[KERNEL_TEST_FOLD];
    const VkShaderModuleCreateInfo module_info = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                                   .codeSize = code->size,
                                                   .pCode = code->words };
    VkSpecializationMapEntry entries[MAX_CONSTANTS];
    for (uint32_t i = 0; i < count; i++) entries[i] = (VkSpecializationMapEntry){ i, i * 4, 4 };
    const VkSpecializationInfo specialization = { count, entries, count * 4, constants };
    VkShaderModule module;
    assert_int_equal(device->vk.vkCreateShaderModule(device->handle, &module_info, NULL, &module), VK_SUCCESS);
    const VkComputePipelineCreateInfo info = { .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                               .stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                          .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                          .module = module,
                                                          .pName = "main",
                                                          .pSpecializationInfo = &specialization },
                                               .layout = device->pipeline_layout };
    VkPipeline pipeline;
    assert_int_equal(device->vk.vkCreateComputePipelines(device->handle, VK_NULL_HANDLE, 1, &info, NULL, &pipeline),
                     VK_SUCCESS);
    device->vk.vkDestroyShaderModule(device->handle, module, NULL);
    return pipeline;
}

static void run_set(const dispatch_set *set, buffer_range results, uint32_t *words) {
    commands *c;
    queue_point done;
    ASSERT_OK(device_fill(device, results, 0xdeadbeef)); /* where nothing is written */
    ASSERT_OK(commands_create(device, "fold", &c));
    ASSERT_OK(commands_begin(c));
    commands_barrier(c, USE_COPY_WRITE, USE_KERNEL_READ | USE_KERNEL_WRITE);
    commands_dispatch(c, set, 0);
    commands_barrier(c, USE_KERNEL_WRITE, USE_COPY_READ | USE_COPY_WRITE | USE_HOST_READ);
    ASSERT_OK(commands_end(c));
    ASSERT_OK(queue_submit(device, QUEUE_COMPUTE, &c, 1, NULL, 0, &done));
    ASSERT_OK(queue_wait(device, done));
    commands_destroy(c);
    ASSERT_OK(device_download(device, results, words));
}

static void check_both_ways(buffer_range results, buffer_range inputs, const uint32_t *constants, uint32_t count) {
    uint32_t folded[WIDTH * CASES], driven[WIDTH * CASES];
    dispatch d = { .kernel = KERNEL_TEST_FOLD,
                   .constant_count = count,
                   .bindings = { results, inputs },
                   .binding_count = 2,
                   .groups = { 1, 1, 1 } };
    memcpy(d.constants, constants, count * sizeof *constants);
    dispatch_set *set;
    ASSERT_OK(dispatch_set_create(device, &d, 1, "fold", &set));
    run_set(set, results, folded);
    VkPipeline own = set->items[0].pipeline;
    set->items[0].pipeline = driver_pipeline(constants, count);
    run_set(set, results, driven);
    device->vk.vkDestroyPipeline(device->handle, set->items[0].pipeline, NULL);
    set->items[0].pipeline = own;
    dispatch_set_destroy(set);
    for (uint32_t i = 0; i < WIDTH * CASES; i++) {
        if (folded[i] == driven[i]) continue;
        for (uint32_t c = 0; c < count; c++) print_message("constant %u: 0x%x\n", c, constants[c]);
        fail_msg("invocation %u, case %u: %u (0x%x) folded, %u (0x%x) from the driver", i / CASES, i % CASES, folded[i],
                 folded[i], driven[i], driven[i]);
    }
    if (folded[0] == 0xdeadbeef) fail_msg("the kernel wrote nothing");
}

static uint32_t one_of(const uint32_t *list, uint32_t count) {
    return list[next_random() % count];
}

static void test_same_results_as_the_driver(void **state) {
    (void)state;
    static const uint32_t inputs[WIDTH] = { 0, 3, 9, 17, 22, 45, 63, 1001 };
    static const uint32_t selectors[] = { 0, 1, 2, 3, 4, 5, 6, 0xffffffff, 0x80000000, 1000 };
    static const uint32_t signs[] = { -5u, -1u, 0, 1, 2, 7, 0x80000001, 0x7fffffff };
    static const uint32_t divisors[] = { 1, 2, 3, 5, -2u, -5u, 0x7fffffff };
    static const uint32_t floats[] = { 0x3f000000, 0x3e000000, 0xc0200000, 0 }; /* 0.5, 0.125, -2.5, 0 */
    static const uint32_t flags[] = { 0, 1, 1, 0 };
    static const uint32_t bounds[] = { 0, 1, 2, 4, 8 };
    static const uint32_t widths[] = { 1, 4, 8 };
    buffer *result, *input;
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, WIDTH * CASES * 4, "results", &result));
    ASSERT_OK(buffer_create(device, BUFFER_DEVICE, sizeof inputs, "inputs", &input));
    buffer_range results = { result, 0, WIDTH * CASES * 4 }, xs = { input, 0, sizeof inputs };
    ASSERT_OK(device_upload(device, xs, inputs));
    uint32_t constants[8] = { 0 };
    for (uint32_t list = 0; list < DEVICE_LISTS; list++) {
        constants[0] = one_of(selectors, COUNT(selectors));
        constants[1] = one_of(signs, COUNT(signs));
        constants[2] = one_of(divisors, COUNT(divisors));
        constants[3] = flags[list % 4];
        constants[4] = one_of(floats, COUNT(floats));
        constants[5] = one_of(bounds, COUNT(bounds));
        constants[6] = one_of(widths, COUNT(widths));
        constants[7] = flags[(list + list / 4) % 4];
        uint32_t count = list == 0 ? 0 : list % 4 == 3 ? next_random() % 8 : 8; /* the others keep their defaults */
        check_both_ways(results, xs, constants, count);
    }
    buffer_destroy(result);
    buffer_destroy(input);
}

int main(void) {
    device = test_device_open(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kernel_stays_valid),
        cmocka_unit_test(test_same_results_as_the_driver),
    };
    int failed = cmocka_run_group_tests_name("specialise", tests, NULL, NULL);
    tuff_device_close(device);
    return failed;
}
