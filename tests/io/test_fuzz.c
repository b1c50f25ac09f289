/* Valid files with random damage: each is read or refused with a message, never a crash (under AddressSanitizer
 * in the sanitizer runs). What is accepted must be whole. */
#include "io_test.h"

#include <stdlib.h>
#include <string.h>

/* A few bytes changed, cut out, doubled, or replaced by something that matters in the format. */
static size_t damage(unsigned char *bytes, size_t size, size_t capacity, uint64_t *random) {
    static const char *const words[] = { "-",    "9",       "0",   "[",   "]",
                                         "{",    "}",       ",",   "\"",  "18446744073709551615",
                                         "null", "\\u0000", "1e9", "F64", "I64",
                                         "\xff" };
    for (uint32_t edits = 1 + test_random(random) % 3; edits > 0 && size > 0; edits--) {
        size_t at = test_random(random) % size;
        /* mostly in the header, where the decisions are */
        if (test_random(random) % 4 != 0) at %= size < 160 ? size : 160;
        switch (test_random(random) % 5) {
        case 0: bytes[at] ^= (unsigned char)(1u << test_random(random) % 8); break;
        case 1: bytes[at] = (unsigned char)test_random(random); break;
        case 2: size = at; break;
        case 3: {
            const char *word = words[test_random(random) % (sizeof words / sizeof words[0])];
            size_t length = strlen(word);
            if (at + length <= size) memcpy(bytes + at, word, length);
            break;
        }
        default: {
            size_t length = 1 + test_random(random) % 16;
            if (at + length > size || size + length > capacity) break;
            memmove(bytes + at + length, bytes + at, size - at);
            size += length;
        }
        }
    }
    return size;
}

static uint32_t sum_all(const void *data, size_t size) {
    uint32_t sum = 0;
    for (size_t i = 0; i < size; i++) sum += ((const unsigned char *)data)[i];
    return sum;
}

static void damaged_safetensors(void **state) {
    (void)state;
    static const float values[40];
    static const tuff_file_tensor tensors[] = {
        { .name = "conv1.weight", .type = TUFF_F32, .shape = { 4, { 2, 1, 3, 3 } }, .data = values, .size = 72 },
        { .name = "conv1.bias", .type = TUFF_F32, .shape = { 1, { 2 } }, .data = values, .size = 8 },
        { .name = "steps", .type = TUFF_I32, .shape = { 0, { 0 } }, .data = values, .size = 4 },
    };
    const char *const metadata[] = { "format", "pt" };
    const char *whole = test_path("whole.safetensors");
    assert_int_equal(tuff_safetensors_write(whole, tensors, 3, metadata, 1), TUFF_OK);
    size_t size;
    unsigned char *bytes = test_read(whole, &size), *copy = malloc(size + 64);
    uint64_t random = test_seed();
    int accepted = 0;
    uint32_t sum = 0;
    for (int i = 0; i < 4000; i++) {
        memcpy(copy, bytes, size);
        size_t damaged = damage(copy, size, size + 64, &random);
        tuff_safetensors *file = NULL;
        tuff_result result = tuff_safetensors_open(test_file("damaged.safetensors", copy, damaged), &file);
        if (result == TUFF_OK) {
            accepted++;
            for (uint32_t t = 0; t < tuff_safetensors_count(file); t++) {
                const tuff_file_tensor *tensor = tuff_safetensors_at(file, t);
                assert_int_equal(tensor->size, (size_t)tuff_shape_count(&tensor->shape) * 4);
                sum += sum_all(tensor->data, tensor->size);
                assert_ptr_equal(tuff_safetensors_find(file, tensor->name), tensor);
            }
        } else {
            assert_int_equal(result, TUFF_ERROR_FILE);
            assert_null(file);
            assert_true(strlen(tuff_last_message()) > 20);
        }
        tuff_safetensors_close(file);
    }
    print_message("4000 damaged safetensors files, %d still valid (%u)\n", accepted, sum);
    assert_true(accepted > 0 && accepted < 4000);
    free(bytes);
    free(copy);
}

static void damaged_idx(void **state) {
    (void)state;
    unsigned char bytes[16 + 4 * 5 * 5] = { 0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 5 };
    unsigned char copy[sizeof bytes + 64];
    uint64_t random = test_seed();
    int accepted = 0;
    uint32_t sum = 0;
    for (int i = 0; i < 2000; i++) {
        memcpy(copy, bytes, sizeof bytes);
        size_t damaged = damage(copy, sizeof bytes, sizeof copy, &random);
        tuff_idx idx;
        tuff_result result = tuff_idx_read(test_file("damaged.idx", copy, damaged), &idx);
        if (result == TUFF_OK) {
            accepted++;
            sum += sum_all(idx.data, (size_t)tuff_shape_count(&idx.shape));
        } else {
            assert_int_equal(result, TUFF_ERROR_FILE);
            assert_null(idx.data);
        }
        tuff_idx_free(&idx);
    }
    print_message("2000 damaged IDX files, %d still valid (%u)\n", accepted, sum);
}

int test_fuzz(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(damaged_safetensors), cmocka_unit_test(damaged_idx) };
    return cmocka_run_group_tests_name("fuzz", tests, NULL, NULL);
}
