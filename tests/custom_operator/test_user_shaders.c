/* Shaders of users: what they may declare, what is refused before a driver sees it, and words that are no module. */
#include "runtime/device/device.h"
#include "runtime/device/module.h"
#include "support.h"
#include <tuff/operator.h>

#include "BACKWARDS.h"
#include "DESCRIPTORS.h"
#include "DOUBLES.h"
#include "IMAGE.h"
#include "LONGS.h"
#include "LONG_BLOCK.h"
#include "MATRIX.h"
#include "PLAIN.h"
#include "SAME.h"
#include "SAMPLER.h"
#include "SHARED.h"
#include "SIZED.h"
#include "UNIFORM.h"
#include "WIDE.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;

static void expect(tuff_result result, tuff_result expected, const char *words) {
    char word[64];
    int length = 0;
    if (result != expected)
        fail_msg("%s (%s), should be %s", tuff_result_name(result), tuff_last_message(), tuff_result_name(expected));
    for (const char *at = words; sscanf(at, "%63s%n", word, &length) == 1; at += length)
        if (!strstr(tuff_last_message(), word)) fail_msg("\"%s\" does not say \"%s\"", tuff_last_message(), word);
}

/* What the shader is dispatched with: count and the first elements stand at the end of its push constants. */
typedef struct given {
    uint32_t param_count, constants[2], constant_count;
} given;

static tuff_result dispatch_twice(const tuff_operator_call *call, tuff_dispatch *dispatch) {
    const given *g = call->user;
    uint32_t count = (uint32_t)tuff_shape_count(&call->inputs[0].shape);
    dispatch->groups[0] = (count + 63) / 64;
    dispatch->param_count = g->param_count;
    if (g->param_count >= 3) {
        uint32_t *last = &dispatch->params[g->param_count - 3];
        last[0] = count, last[1] = call->inputs[0].first, last[2] = call->outputs[0].first;
    }
    memcpy(dispatch->constants, g->constants, sizeof g->constants);
    dispatch->constant_count = g->constant_count;
    return TUFF_OK;
}

static tuff_result create(const uint32_t *words, size_t size, uint32_t outputs, given *g, tuff_operator **op) {
    return tuff_operator_create(device,
                                &(tuff_operator_desc){ .name = "twice",
                                                       .input_count = 1,
                                                       .output_count = outputs,
                                                       .spirv = words,
                                                       .spirv_size = size,
                                                       .user = g,
                                                       .dispatch = dispatch_twice },
                                op);
}

static void refuse(const uint32_t *words, size_t size, uint32_t outputs, tuff_result result, const char *message) {
    tuff_operator *op = (tuff_operator *)(void *)&op;
    expect(create(words, size, outputs, NULL, &op), result, message);
    assert_null(op);
}
#define REFUSE(words, result, message) refuse(words, sizeof(words), 1, result, message)

static void test_resources(void **state) {
    (void)state;
    REFUSE(words_SAMPLER, TUFF_ERROR_ARGUMENT, "twice binding 1 sampler storage buffer");
    REFUSE(words_IMAGE, TUFF_ERROR_ARGUMENT, "twice binding 1 image");
    REFUSE(words_UNIFORM, TUFF_ERROR_ARGUMENT, "twice binding 0 uniform block");
    REFUSE(words_DESCRIPTORS, TUFF_ERROR_ARGUMENT, "twice binding 0 array");
    REFUSE(words_SAME, TUFF_ERROR_ARGUMENT, "twice no binding 1 output 0");
    refuse(words_PLAIN, sizeof words_PLAIN, 2, TUFF_ERROR_ARGUMENT, "twice no binding 2 output 1");
    REFUSE(words_BACKWARDS, TUFF_ERROR_ARGUMENT, "twice binding 0 writeonly input 0");
    REFUSE(words_LONG_BLOCK, TUFF_ERROR_ARGUMENT, "twice push constants 252 32");
}

static void test_what_the_device_lacks(void **state) {
    (void)state;
    REFUSE(words_DOUBLES, TUFF_ERROR_UNSUPPORTED, "twice Float64 (10)");
    REFUSE(words_LONGS, TUFF_ERROR_UNSUPPORTED, "twice Int64 (11)");
    REFUSE(words_WIDE, TUFF_ERROR_UNSUPPORTED, "twice 1024 x 4 x 1");
    REFUSE(words_SHARED, TUFF_ERROR_UNSUPPORTED, "twice 262144 bytes");
    /* a capability that this version does not know: the first one's number changed */
    uint32_t words[sizeof words_PLAIN / sizeof *words_PLAIN];
    memcpy(words, words_PLAIN, sizeof words);
    assert_int_equal(words[5], 2 << 16 | 17);
    words[6] = 31415;
    REFUSE(words, TUFF_ERROR_UNSUPPORTED, "twice (31415)");
    words[6] = 1, words[1] = 0x10900;
    REFUSE(words, TUFF_ERROR_UNSUPPORTED, "twice SPIR-V 1.9");
}

/* Compiles a graph of one application, and runs it. */
static tuff_result apply(const uint32_t *spirv, size_t size, given *g, bool run) {
    tuff_operator *op = NULL;
    expect(create(spirv, size, 1, g, &op), TUFF_OK, "");
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *x = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(100)), *y = tuff_operator_apply(op, &x, NULL);
    tuff_program *program = NULL;
    tuff_result result =
        tuff_compile(graph, &(tuff_program_desc){ .outputs = &y, .output_count = 1, .evaluate = true }, &program);
    if (result == TUFF_OK && run) {
        float values[100], results[100];
        for (int i = 0; i < 100; i++) values[i] = (float)i;
        expect(tuff_write(program, x, values, sizeof values), TUFF_OK, "");
        expect(tuff_run(program), TUFF_OK, "");
        expect(tuff_read(program, y, results, sizeof results), TUFF_OK, "");
        for (int i = 0; i < 100; i++) assert_true(results[i] == 2 * values[i] + 1);
    }
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_operator_destroy(op);
    return result;
}
#define APPLY(words, run, ...) apply(words, sizeof(words), &(given){ __VA_ARGS__ }, run)

static void test_dispatches(void **state) {
    (void)state;
    expect(APPLY(words_PLAIN, true, .param_count = 3), TUFF_OK, "");
    expect(APPLY(words_PLAIN, false, .param_count = 2), TUFF_ERROR_ARGUMENT, "twice 2 words 3");
    expect(APPLY(words_PLAIN, false, .param_count = 0), TUFF_ERROR_ARGUMENT, "twice 0 words 3");
    expect(APPLY(words_MATRIX, true, .param_count = 18), TUFF_OK, "");
    expect(APPLY(words_MATRIX, false, .param_count = 17), TUFF_ERROR_ARGUMENT, "twice 17 words 18");
    /* sizes by specialization constants: 16 (2 n + 1) bytes are shared */
    expect(APPLY(words_SIZED, false, .param_count = 3, { 64, 8 }, 2), TUFF_OK, "");
    expect(APPLY(words_SIZED, false, .param_count = 3, { 64 }, 1), TUFF_OK, "");
    expect(APPLY(words_SIZED, false, .param_count = 3, { 64 }, 0), TUFF_OK, "");
    expect(APPLY(words_SIZED, false, .param_count = 3, { 100000, 8 }, 2), TUFF_ERROR_UNSUPPORTED,
           "twice constants 100000 x 1 x 1");
    expect(APPLY(words_SIZED, false, .param_count = 3, { 0, 8 }, 2), TUFF_ERROR_UNSUPPORTED, "twice 0 x 1 x 1");
    expect(APPLY(words_SIZED, false, .param_count = 3, { 64, 100000 }, 2), TUFF_ERROR_UNSUPPORTED,
           "twice shares 3200016");
}

/* ---- any words --------------------------------------------------------------------------------- */

static uint32_t draw(void) { /* xorshift32 */
    static uint32_t drawn = 2463534242;
    drawn ^= drawn << 13;
    drawn ^= drawn >> 17;
    return drawn ^= drawn << 5;
}

/* In memory of exactly their size, so that a sanitizer sees a read past it. */
static void offer(const uint32_t *words, size_t size, uint32_t flips, bool sense) {
    uint32_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, words, size);
    for (uint32_t i = 0; i < flips; i++) copy[draw() % (size / sizeof *copy)] ^= 1u << draw() % 32;
    if (!sense)
        for (size_t i = 5; i < size / sizeof *copy; i++) copy[i] = draw() % 4 << 16 | draw() % 80;
    tuff_operator *op = NULL;
    tuff_result result = create(copy, size, 1, NULL, &op);
    if (result != TUFF_OK && result != TUFF_ERROR_ARGUMENT && result != TUFF_ERROR_UNSUPPORTED)
        fail_msg("%s: %s", tuff_result_name(result), tuff_last_message());
    tuff_operator_destroy(op);
    free(copy);
}

/* 40 bits at once leave hardly a module that is read to its end; one bit often does. Those that pass stay with the
 * device, which never runs them. */
static void offer_all(const uint32_t *words, size_t size) {
    for (size_t cut = 4; cut < size; cut += 4) offer(words, cut, 0, true);
    for (uint32_t round = 0; round < 400; round++) {
        offer(words, size, 1, true);
        offer(words, size, 1 + draw() % 8, true);
        offer(words, size, 40, true);
        offer(words, size, 0, false);
    }
    for (size_t i = 0; i < size / sizeof *words; i++) { /* each word once something else */
        uint32_t *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, words, size);
        copy[i] = draw() % 2 ? draw() % 100 : words[draw() % (size / sizeof *words)];
        offer(copy, size, 0, true);
        free(copy);
    }
}

static void test_any_words(void **state) {
    (void)state;
    tuff_device *other = device;
    device = test_device_open(NULL); /* what passes is dropped with it */
    offer_all(words_PLAIN, sizeof words_PLAIN);
    offer_all(words_MATRIX, sizeof words_MATRIX);
    offer_all(words_SIZED, sizeof words_SIZED);
    offer_all(words_SAMPLER, sizeof words_SAMPLER);
    tuff_device_close(device);
    device = other;
}

/* Types that contain each other without end, and ones that double at each level. */
static void test_deep_types(void **state) {
    (void)state;
    enum { PLAIN = sizeof words_PLAIN / sizeof *words_PLAIN, LEVELS = 2000 };
    size_t functions = 5;
    while ((words_PLAIN[functions] & 0xffff) != 54) functions += words_PLAIN[functions] >> 16;
    uint32_t *words = malloc((PLAIN + LEVELS * 4 + 16) * sizeof *words);
    assert_non_null(words);
    for (int kind = 0; kind < 2; kind++) {
        uint32_t bound = words_PLAIN[3];
        size_t count = functions, rest = PLAIN - functions;
        memcpy(words, words_PLAIN, functions * sizeof *words);
#define PUT(...)                                                                                                       \
    do {                                                                                                               \
        const uint32_t put[] = { __VA_ARGS__ };                                                                        \
        memcpy(&words[count], put, sizeof put);                                                                        \
        count += sizeof put / sizeof *put;                                                                             \
    } while (0)
        PUT(3 << 16 | 22, bound++, 32);                              /* float */
        for (uint32_t i = 0; i < (kind ? 60 : LEVELS); i++, bound++) /* a struct of the last one, once or twice */
            if (kind)
                PUT(4 << 16 | 30, bound, bound - 1, bound - 1);
            else
                PUT(3 << 16 | 30, bound, bound - 1);
        PUT(4 << 16 | 32, bound, 4, bound - 1); /* a pointer to it, and a shared variable */
        PUT(4 << 16 | 59, bound, bound + 1, 4);
#undef PUT
        memcpy(&words[count], &words_PLAIN[functions], rest * sizeof *words);
        words[3] = bound + 2;
        refuse(words, (count + rest) * sizeof *words, 1, TUFF_ERROR_ARGUMENT, "twice makes no sense");
    }
    free(words);
}

/* Tuff's own kernels are shaders like others: what is read of them is what they may rely on everywhere. */
static void test_own_kernels(void **state) {
    (void)state;
    uint32_t largest_block = 0, sized = 0;
    uint64_t largest_share = 0;
    for (uint32_t k = 0; k < KERNEL_COUNT; k++) {
        const struct kernel_code *code = &kernel_codes[k];
        module_facts facts;
        tuff_result result = module_read(code->name, code->words, code->size, MAX_BINDINGS, NULL, 0, &facts);
        if (code->texels) { /* no user's kernel reads them */
            expect(result, TUFF_ERROR_ARGUMENT, "binding");
            continue;
        }
        expect(result, TUFF_OK, "");
        uint32_t size = facts.local_size[0] * facts.local_size[1] * facts.local_size[2];
        if (size < 1 || size > WORKGROUP_SIZE || facts.param_bytes > 4 * MAX_PARAMS || facts.shared_bytes > 16384
            || !facts.writable)
            fail_msg("%s: a workgroup of %u, %u bytes of push constants, %llu shared, outputs %x", code->name, size,
                     facts.param_bytes, (unsigned long long)facts.shared_bytes, facts.writable);
        if (facts.param_bytes > largest_block) largest_block = facts.param_bytes;
        if (facts.shared_bytes > largest_share) largest_share = facts.shared_bytes;
        sized += facts.sized_by_constants;
    }
    assert_true(largest_block > 64 && largest_share > 4096 && sized > 0); /* it did read them */
}

static int open_device(void **state) {
    (void)state;
    device = test_device_open(NULL);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    tuff_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resources),  cmocka_unit_test(test_what_the_device_lacks),
        cmocka_unit_test(test_dispatches), cmocka_unit_test(test_any_words),
        cmocka_unit_test(test_deep_types), cmocka_unit_test(test_own_kernels),
    };
    return cmocka_run_group_tests_name("user shaders", tests, open_device, close_device);
}
