/* safetensors files: written and read back, and every way of being wrong. */
#include "io_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const float six[6] = { 1, -2, 3.5f, 0, 1e-30f, 6 };
static const int32_t two[2] = { -7, 1 << 30 };

static tuff_result write_two(const char *path) {
    const tuff_file_tensor tensors[] = {
        { .name = "fc.weight", .type = TUFF_F32, .shape = TUFF_SHAPE(2, 3), .data = six, .size = sizeof six },
        { .name = "count \xc3\xa9 \"x\"", .type = TUFF_I32, .shape = TUFF_SHAPE(2), .data = two, .size = sizeof two },
        { .name = "scalar", .type = TUFF_F32, .shape = TUFF_SCALAR, .data = six, .size = 4 },
    };
    const char *const metadata[] = { "format", "pt", "epoch", "3" };
    return tuff_safetensors_write(path, tensors, 3, metadata, 2);
}

static tuff_safetensors *open_file(const char *path) {
    tuff_safetensors *file = NULL;
    if (tuff_safetensors_open(path, &file) != TUFF_OK) fail_msg("%s", tuff_last_message());
    assert_non_null(file);
    return file;
}

static void expect_two(const char *path) {
    tuff_safetensors *file = open_file(path);
    assert_int_equal(tuff_safetensors_count(file), 3);
    const tuff_file_tensor *weight = tuff_safetensors_find(file, "fc.weight");
    assert_non_null(weight);
    assert_int_equal(weight->type, TUFF_F32);
    assert_int_equal(weight->shape.rank, 2);
    assert_int_equal(weight->shape.sizes[0], 2);
    assert_int_equal(weight->shape.sizes[1], 3);
    assert_int_equal(weight->size, sizeof six);
    assert_memory_equal(weight->data, six, sizeof six);
    const tuff_file_tensor *count = tuff_safetensors_find(file, "count \xc3\xa9 \"x\"");
    assert_non_null(count);
    assert_int_equal(count->type, TUFF_I32);
    assert_memory_equal(count->data, two, sizeof two);
    assert_int_equal(tuff_safetensors_find(file, "scalar")->shape.rank, 0);
    assert_null(tuff_safetensors_find(file, "fc"));
    assert_null(tuff_safetensors_find(file, "__metadata__"));
    assert_null(tuff_safetensors_at(file, 3));
    assert_string_equal(tuff_safetensors_at(file, 0)->name, "fc.weight"); /* the order of the bytes */
    assert_string_equal(tuff_safetensors_metadata(file, "epoch"), "3");
    assert_null(tuff_safetensors_metadata(file, "nothing"));
    tuff_safetensors_close(file);
}

static void writes_and_reads(void **state) {
    (void)state;
    const char *path = test_path("two.safetensors");
    assert_int_equal(write_two(path), TUFF_OK);
    expect_two(path);
    size_t size;
    unsigned char *bytes = test_read(path, &size);
    assert_int_equal((8 + bytes[0] + 256u * bytes[1]) % 8, 0); /* the tensors lie aligned in the file */
    free(bytes);
}

/* Bytes of any number, and numbers that lie unaligned behind them. */
static void bytes_and_what_follows(void **state) {
    (void)state;
    static const unsigned char bytes[5] = { 0, 1, 255, 7, 128 };
    const char *path = test_path("bytes.safetensors");
    const tuff_file_tensor tensors[] = {
        { .name = "mask", .type = TUFF_U8, .shape = TUFF_SHAPE(5), .data = bytes, .size = sizeof bytes },
        { .name = "weight", .type = TUFF_F32, .shape = TUFF_SHAPE(6), .data = six, .size = sizeof six },
    };
    assert_int_equal(tuff_safetensors_write(path, tensors, 2, NULL, 0), TUFF_OK);
    tuff_safetensors *file = open_file(path);
    const tuff_file_tensor *mask = tuff_safetensors_find(file, "mask"), *weight = tuff_safetensors_find(file, "weight");
    assert_int_equal(mask->type, TUFF_U8);
    assert_int_equal(mask->size, sizeof bytes);
    assert_memory_equal(mask->data, bytes, sizeof bytes);
    assert_int_equal((uintptr_t)weight->data % 4, 0);
    assert_memory_equal(weight->data, six, sizeof six);
    tuff_safetensors_close(file);

    static const char header[] = "{\"m\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[0,3]}}";
    unsigned char text[8 + sizeof header - 1 + 3] = { sizeof header - 1 };
    memcpy(text + 8, header, sizeof header - 1);
    text[sizeof text - 2] = 1;
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(text, 1, sizeof text, stream), sizeof text);
    fclose(stream);
    file = open_file(path);
    mask = tuff_safetensors_find(file, "m");
    assert_int_equal(mask->type, TUFF_U8);
    assert_memory_equal(mask->data, "\0\1\0", 3);
    tuff_safetensors_close(file);
}

static void an_empty_file_of_tensors(void **state) {
    (void)state;
    const char *path = test_path("none.safetensors");
    assert_int_equal(tuff_safetensors_write(path, NULL, 0, NULL, 0), TUFF_OK);
    tuff_safetensors *file = open_file(path);
    assert_int_equal(tuff_safetensors_count(file), 0);
    assert_null(tuff_safetensors_find(file, "x"));
    assert_null(tuff_safetensors_metadata(file, "x"));
    tuff_safetensors_close(file);
}

static void replaces_as_a_whole(void **state) {
    (void)state;
    test_remove_all();
    const char *path = test_file("old.safetensors", "something else", 14);
    assert_int_equal(chmod(path, 0640), 0);
    const char *link = test_path("link.safetensors");
    assert_int_equal(symlink("old.safetensors", link), 0);
    assert_int_equal(write_two(link), TUFF_OK);
    expect_two(path);
    struct stat status;
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISLNK(status.st_mode)); /* still a link */
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640); /* its permissions stay */
    assert_int_equal(test_file_count(), 2);        /* nothing is left beside */
}

static void writing_fails_cleanly(void **state) {
    (void)state;
    test_remove_all();
    EXPECT_FAILURE(write_two(test_path("no/such/folder.safetensors")), TUFF_ERROR_FILE, "folder.safetensors",
                   "No such file");
    EXPECT_FAILURE(write_two("/tmp"), TUFF_ERROR_FILE, "is a directory");
    EXPECT_FAILURE(write_two("/dev/full"), TUFF_ERROR_FILE, "a device");
    const char *path = test_path("bad.safetensors");
    tuff_file_tensor tensors[2] = {
        { .name = "a", .type = TUFF_F32, .shape = TUFF_SHAPE(2, 3), .data = six, .size = sizeof six },
        { .name = "a", .type = TUFF_F32, .shape = TUFF_SHAPE(2, 3), .data = six, .size = sizeof six },
    };
    EXPECT_FAILURE(tuff_safetensors_write(path, tensors, 2, NULL, 0), TUFF_ERROR_ARGUMENT, "two tensors", "\"a\"");
    tensors[1].name = "\xff";
    EXPECT_FAILURE(tuff_safetensors_write(path, tensors, 2, NULL, 0), TUFF_ERROR_ARGUMENT, "not UTF-8");
    tensors[1].name = "__metadata__";
    EXPECT_FAILURE(tuff_safetensors_write(path, tensors, 2, NULL, 0), TUFF_ERROR_ARGUMENT, "__metadata__");
    tensors[1].name = "b";
    tensors[1].size = 20;
    EXPECT_FAILURE(tuff_safetensors_write(path, tensors, 2, NULL, 0), TUFF_ERROR_SHAPE, "[2, 3]", "20 bytes");
    tensors[1].size = sizeof six;
    tensors[1].shape = TUFF_SHAPE(INT64_MAX, INT64_MAX);
    EXPECT_FAILURE(tuff_safetensors_write(path, tensors, 2, NULL, 0), TUFF_ERROR_SHAPE, "\"b\"");
    tensors[1].shape = TUFF_SHAPE(6);
    tensors[1].data = NULL;
    EXPECT_FAILURE(tuff_safetensors_write(path, tensors, 2, NULL, 0), TUFF_ERROR_SHAPE, "NULL");
    const char *const metadata[] = { "key", NULL };
    EXPECT_FAILURE(tuff_safetensors_write(path, tensors, 1, metadata, 1), TUFF_ERROR_ARGUMENT, "metadata");
    assert_int_equal(test_file_count(), 0);
}

static void cut_at_every_byte(void **state) {
    (void)state;
    const char *whole = test_path("whole.safetensors");
    assert_int_equal(write_two(whole), TUFF_OK);
    size_t size;
    unsigned char *bytes = test_read(whole, &size);
    for (size_t cut = 0; cut < size; cut++) {
        tuff_safetensors *file = NULL;
        EXPECT_FAILURE(tuff_safetensors_open(test_file("cut.safetensors", bytes, cut), &file), TUFF_ERROR_FILE,
                       "cut.safetensors", "truncated");
        assert_null(file);
    }
    unsigned char *longer = malloc(size + 1);
    memcpy(longer, bytes, size);
    longer[size] = 0;
    tuff_safetensors *file = NULL;
    EXPECT_FAILURE(tuff_safetensors_open(test_file("long.safetensors", longer, size + 1), &file), TUFF_ERROR_FILE,
                   "the tensors end at byte");
    free(longer);
    free(bytes);
}

/* A header (with %s for one tensor's description) and a part of the message it must bring. */
static void refuse(const char *header, size_t data_size, const char *word) {
    static const unsigned char zeros[64];
    tuff_safetensors *file = NULL;
    tuff_result result = tuff_safetensors_open(test_safetensors("bad.safetensors", header, zeros, data_size), &file);
    if (result == TUFF_OK) fail_msg("accepted: %s", header);
    EXPECT_FAILURE(result, TUFF_ERROR_FILE, "bad.safetensors", word);
    assert_null(file);
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void wrong_offsets(void **state) {
    (void)state;
    refuse("{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[2]", "[4,12]") "}", 12, "overlap");
    refuse("{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[2]", "[0,8]") "}", 8, "overlap");
    refuse("{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]", "[4,8]") "}", 8, "overlap");
    refuse("{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[2]", "[12,20]") "}", 20, "gap");
    refuse("{\"a\":" T("F32", "[2]", "[4,12]") "}", 12, "gap");
    refuse("{\"a\":" T("F32", "[2]", "[0,8]") "}", 12, "the tensors end at byte");
    refuse("{\"a\":" T("F32", "[2]", "[0,8]") "}", 4, "truncated");
    refuse("{\"a\":" T("F32", "[2]", "[8,16]") "}", 8, "do not lie in");
    refuse("{\"a\":" T("F32", "[2]", "[8,0]") "}", 8, "do not lie in");
    refuse("{\"a\":" T("F32", "[2]", "[-8,0]") "}", 8, "do not lie in");
    refuse("{\"a\":" T("F32", "[2]", "[0,9223372036854775807]") "}", 8, "do not lie in");
    refuse("{\"a\":" T("F32", "[2]", "[0,18446744073709551616]") "}", 8, "too big");
    refuse("{\"a\":" T("F32", "[2]", "[0,8.0]") "}", 8, "data_offsets");
    refuse("{\"a\":" T("F32", "[2]", "[0]") "}", 8, "data_offsets");
    refuse("{\"a\":" T("F32", "[2]", "[0,8,8]") "}", 8, "data_offsets");
    refuse("{\"a\":" T("F32", "[2]", "{}") "}", 8, "data_offsets");
    refuse("{\"a\":" T("F32", "[2]", "[\"0\",\"8\"]") "}", 8, "data_offsets");
}

static void wrong_types_and_shapes(void **state) {
    (void)state;
    refuse("{\"a\":" T("F32", "[3]", "[0,8]") "}", 8, "need 12 bytes");
    refuse("{\"a\":" T("F64", "[2]", "[0,8]") "}", 8, "need 16 bytes");
    refuse("{\"a\":" T("F16", "[4]", "[0,8]") "}", 8, "F16");
    refuse("{\"a\":" T("BF16", "[4]", "[0,8]") "}", 8, "save it as F32");
    refuse("{\"a\":" T("f32", "[2]", "[0,8]") "}", 8, "f32");
    refuse("{\"a\":" T("F32", "[0]", "[0,0]") "}", 0, "size 0");
    refuse("{\"a\":" T("F32", "[-2]", "[0,8]") "}", 8, "size -2");
    refuse("{\"a\":" T("F32", "[2.0]", "[0,8]") "}", 8, "whole number");
    refuse("{\"a\":" T("F32", "[\"2\"]", "[0,8]") "}", 8, "whole number");
    refuse("{\"a\":" T("F32", "2", "[0,8]") "}", 8, "shape");
    refuse("{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", 8, "9 axes");
    /* 2^62 * 4 bytes = 2^64: wraps to 0 */
    refuse("{\"a\":" T("F32", "[4611686018427387904]", "[0,0]") "}", 0, "data_offsets");
    refuse("{\"a\":" T("F32", "[4294967296,4294967296]", "[0,8]") "}", 8, "data_offsets");
    refuse("{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype");
    refuse("{\"a\":{\"dtype\":3,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype");
    refuse("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "shape");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets");
    refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", 8, "unknown key");
    refuse("{\"a\":[1,2]}", 8, "not described");
}

static void wrong_headers(void **state) {
    (void)state;
    refuse("{\"a\":" T("F32", "[2]", "[0,8]") ",\"a\":" T("F32", "[2]", "[8,16]") "}", 16, "duplicate");
    refuse("{\"a\":" T("F32", "[2]", "[0,8]") "} x", 8, "JSON");
    refuse("{\"a\":" T("F32", "[2]", "[0,8]"), 8, "JSON");
    refuse("{\"\xff\xfe\":" T("F32", "[2]", "[0,8]") "}", 8, "UTF-8");
    refuse("{\"\xc0\xaf\":" T("F32", "[2]", "[0,8]") "}", 8, "UTF-8"); /* overlong */
    refuse("{\"\\ud800\":" T("F32", "[2]", "[0,8]") "}", 8, "JSON");   /* half a surrogate pair */
    refuse("{\"a\\u0000b\":" T("F32", "[2]", "[0,8]") "}", 8, "JSON");
    refuse("[1]", 0, "does not start with '{'");
    refuse(" {}", 0, "does not start with '{'");
    refuse("", 0, "does not start with '{'");
    refuse("{\"__metadata__\":3}", 0, "__metadata__");
    refuse("{\"__metadata__\":{\"key\":3}}", 0, "\"key\" is not a string");
    refuse("{\"a\nb\":[]}", 0, "JSON");
    /* a control character in a name is allowed in JSON as an escape, and does not reach the terminal */
    refuse("{\"a\\u001b[31mb\":[]}", 0, "a?[31mb");
}

static void spaces_after_the_header(void **state) {
    (void)state;
    tuff_safetensors *file =
        open_file(test_safetensors("s.safetensors", "{\"a\":" T("F32", "[6]", "[0,24]") "}  \n ", six, sizeof six));
    assert_memory_equal(tuff_safetensors_find(file, "a")->data, six, sizeof six);
    tuff_safetensors_close(file);
}

static void a_header_of_a_gigabyte(void **state) {
    (void)state;
    const unsigned char length[16] = { 0, 0, 0, 0x40, 0, 0, 0, 0, '{', '}' };
    tuff_safetensors *file = NULL;
    const char *path = test_file("giga.safetensors", length, sizeof length);
    EXPECT_FAILURE(tuff_safetensors_open(path, &file), TUFF_ERROR_FILE, "1073741824", "100000000");
    /* the same with a file that really has the bytes (a sparse one) */
    assert_int_equal(truncate(path, (off_t)(1ll << 30) + 4096), 0);
    EXPECT_FAILURE(tuff_safetensors_open(path, &file), TUFF_ERROR_FILE, "1073741824", "100000000");
    unsigned char most[16];
    memset(most, 0xff, sizeof most);
    EXPECT_FAILURE(tuff_safetensors_open(test_file("giga.safetensors", most, sizeof most), &file), TUFF_ERROR_FILE,
                   "18446744073709551615");
}

static void json_nested_deep(void **state) {
    (void)state;
    enum { DEPTH = 100000 };
    char *header = malloc(2 * DEPTH + 16);
    strcpy(header, "{\"a\":");
    memset(header + 5, '[', DEPTH);
    memset(header + 5 + DEPTH, ']', DEPTH);
    strcpy(header + 5 + 2 * DEPTH, "}");
    refuse(header, 0, "depth");
    char *at = header;
    for (int i = 0; i < DEPTH / 4; i++) at += sprintf(at, "{\"a\":");
    refuse(header, 0, "depth");
    free(header);
}

static void many_tensors(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    tuff_file_tensor *tensors = calloc(COUNT, sizeof *tensors);
    char(*names)[16] = malloc(COUNT * sizeof *names);
    int32_t *values = malloc(COUNT * sizeof *values);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i * 7919 % COUNT);
        values[i] = i;
        tensors[i] = (tuff_file_tensor){
            .name = names[i], .type = TUFF_I32, .shape = TUFF_SHAPE(1), .data = &values[i], .size = 4
        };
    }
    const char *path = test_path("many.safetensors");
    assert_int_equal(tuff_safetensors_write(path, tensors, COUNT, NULL, 0), TUFF_OK);
    tuff_safetensors *file = open_file(path);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(*(const int32_t *)tuff_safetensors_find(file, names[i])->data, i);
    }
    tuff_safetensors_close(file);
    free(tensors);
    free(names);
    free(values);
}

static void converts_64_bits(void **state) {
    (void)state;
    /* the I64 first at an odd multiple of 4, as a file may have it */
    struct {
        float f;
        unsigned char rest[32];
    } data = { .f = 2.5f, .rest = { 0 } };
    int64_t integers[2] = { INT32_MIN, INT32_MAX };
    double doubles[2] = { -0.1, INFINITY };
    memcpy(data.rest, integers, 16);
    memcpy(data.rest + 16, doubles, 16);
    const char *header =
        "{\"f\":" T("F32", "[]", "[0,4]") ",\"i\":" T("I64", "[2]", "[4,20]") ",\"d\":" T("F64", "[2]", "[20,36]") "}";
    tuff_safetensors *file = open_file(test_safetensors("64.safetensors", header, &data, sizeof data));
    const tuff_file_tensor *i = tuff_safetensors_find(file, "i"), *d = tuff_safetensors_find(file, "d");
    assert_int_equal(i->type, TUFF_I32);
    assert_int_equal(i->size, 8);
    assert_int_equal(((const int32_t *)i->data)[0], INT32_MIN);
    assert_int_equal(((const int32_t *)i->data)[1], INT32_MAX);
    assert_int_equal(d->type, TUFF_F32);
    assert_true(((const float *)d->data)[0] == -0.1f);
    assert_true(isinf(((const float *)d->data)[1]));
    tuff_safetensors_close(file);

    integers[1] = (int64_t)INT32_MAX + 1;
    memcpy(data.rest, integers, 16);
    file = NULL;
    EXPECT_FAILURE(tuff_safetensors_open(test_safetensors("64.safetensors", header, &data, sizeof data), &file),
                   TUFF_ERROR_FILE, "\"i\"", "element 1", "2147483648", "32 bits");
    integers[1] = 0;
    memcpy(data.rest, integers, 16);
    doubles[1] = 1e300;
    memcpy(data.rest + 16, doubles, 16);
    EXPECT_FAILURE(tuff_safetensors_open(test_safetensors("64.safetensors", header, &data, sizeof data), &file),
                   TUFF_ERROR_FILE, "\"d\"", "1e+300");
    assert_null(file);
}

static void not_a_file(void **state) {
    (void)state;
    tuff_safetensors *file = NULL;
    EXPECT_FAILURE(tuff_safetensors_open(test_path("nowhere"), &file), TUFF_ERROR_FILE, "nowhere", "No such file");
    EXPECT_FAILURE(tuff_safetensors_open("/tmp", &file), TUFF_ERROR_FILE, "is a directory");
    EXPECT_FAILURE(tuff_safetensors_open(NULL, &file), TUFF_ERROR_ARGUMENT, "path");
    tuff_safetensors_close(NULL);
    assert_int_equal(tuff_safetensors_count(NULL), 0);
}

int test_safetensors_files(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_and_reads),
        cmocka_unit_test(bytes_and_what_follows),
        cmocka_unit_test(an_empty_file_of_tensors),
        cmocka_unit_test(replaces_as_a_whole),
        cmocka_unit_test(writing_fails_cleanly),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(wrong_offsets),
        cmocka_unit_test(wrong_types_and_shapes),
        cmocka_unit_test(wrong_headers),
        cmocka_unit_test(spaces_after_the_header),
        cmocka_unit_test(a_header_of_a_gigabyte),
        cmocka_unit_test(json_nested_deep),
        cmocka_unit_test(many_tensors),
        cmocka_unit_test(converts_64_bits),
        cmocka_unit_test(not_a_file),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
