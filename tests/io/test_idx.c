/* IDX files: right ones, plain and compressed, and every way of being wrong. */
#include "io_test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static const unsigned char small[] = { 0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6 };

static void expect_small(const char *path) {
    tuff_idx idx;
    if (tuff_idx_read(path, &idx) != TUFF_OK) fail_msg("%s", tuff_last_message());
    assert_int_equal(idx.shape.rank, 2);
    assert_int_equal(idx.shape.sizes[0], 2);
    assert_int_equal(idx.shape.sizes[1], 3);
    assert_memory_equal(idx.data, small + 12, 6);
    tuff_idx_free(&idx);
    assert_null(idx.data);
    tuff_idx_free(&idx); /* twice does no harm */
}

static const char *gzip_file(const char *name, const void *data, size_t size) {
    const char *path = test_path(name);
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, data, (unsigned)size), (int)size);
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

static void reads_plain_and_compressed(void **state) {
    (void)state;
    expect_small(test_file("plain", small, sizeof small));
    expect_small(gzip_file("small.gz", small, sizeof small));
}

static void reads_every_rank(void **state) {
    (void)state;
    for (unsigned char rank = 1; rank <= 4; rank++) {
        unsigned char bytes[64] = { 0, 0, 8, rank };
        size_t count = 1, size = 4;
        for (unsigned char axis = 0; axis < rank; axis++, size += 4) {
            bytes[size + 3] = axis % 2 ? 1 : 3;
            count *= bytes[size + 3];
        }
        tuff_idx idx;
        assert_int_equal(tuff_idx_read(test_file("rank", bytes, size + count), &idx), TUFF_OK);
        assert_int_equal(idx.shape.rank, rank);
        assert_int_equal(tuff_shape_count(&idx.shape), count);
        tuff_idx_free(&idx);
    }
}

static void reads_the_sample_digits(void **state) {
    (void)state;
    tuff_idx images, labels;
    assert_int_equal(tuff_idx_read(TUFF_SOURCE_DIR "/samples/mnist/data/t10k-images-idx3-ubyte.gz", &images), TUFF_OK);
    assert_int_equal(tuff_idx_read(TUFF_SOURCE_DIR "/samples/mnist/data/t10k-labels-idx1-ubyte.gz", &labels), TUFF_OK);
    assert_int_equal(images.shape.rank, 3);
    assert_int_equal(images.shape.sizes[0], 2000);
    assert_int_equal(images.shape.sizes[1], 28);
    assert_int_equal(labels.shape.sizes[0], 2000);
    for (int i = 0; i < 2000; i++) assert_true(labels.data[i] <= 9);
    tuff_idx_free(&images);
    tuff_idx_free(&labels);
}

static void cut_at_every_byte(void **state) {
    (void)state;
    for (size_t size = 0; size < sizeof small; size++) {
        tuff_idx idx;
        EXPECT_FAILURE(tuff_idx_read(test_file("cut", small, size), &idx), TUFF_ERROR_FILE, "/cut", "truncated");
        assert_null(idx.data);
    }
}

static void cut_compressed_at_every_byte(void **state) {
    (void)state;
    unsigned char pixels[16 + 28 * 28] = { 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28 };
    uint64_t random = 7;
    for (size_t i = 16; i < sizeof pixels; i++) pixels[i] = (unsigned char)(test_random(&random) % 5);
    size_t size;
    unsigned char *bytes = test_read(gzip_file("whole.gz", pixels, sizeof pixels), &size);
    for (size_t cut = 0; cut < size; cut++) {
        tuff_idx idx;
        assert_int_equal(tuff_idx_read(test_file("cut.gz", bytes, cut), &idx), TUFF_ERROR_FILE);
    }
    /* the middle of the data, where "truncated" is what a user must read */
    tuff_idx idx;
    EXPECT_FAILURE(tuff_idx_read(test_file("cut.gz", bytes, size / 2), &idx), TUFF_ERROR_FILE, "cut.gz", "truncated");
    free(bytes);
}

static void damaged_compression(void **state) {
    (void)state;
    size_t size;
    unsigned char *bytes = test_read(gzip_file("whole.gz", small, sizeof small), &size);
    bytes[size - 6] ^= 1; /* its checksum */
    tuff_idx idx;
    EXPECT_FAILURE(tuff_idx_read(test_file("bad.gz", bytes, size), &idx), TUFF_ERROR_FILE, "bad.gz", "cannot be read");
    free(bytes);
}

static void wrong_magic(void **state) {
    (void)state;
    tuff_idx idx;
    static const unsigned char png[] = "\x89PNG\r\n\x1a\n and so on";
    EXPECT_FAILURE(tuff_idx_read(test_file("png", png, sizeof png), &idx), TUFF_ERROR_FILE, "not an IDX file",
                   "89 50 4e 47");
    static const unsigned char floats[] = { 0, 0, 0x0d, 1, 0, 0, 0, 1, 0, 0, 0, 0 };
    EXPECT_FAILURE(tuff_idx_read(test_file("f", floats, sizeof floats), &idx), TUFF_ERROR_FILE, "0x0d", "byte 2");
    static const unsigned char scalar[] = { 0, 0, 8, 0, 1 };
    EXPECT_FAILURE(tuff_idx_read(test_file("s", scalar, sizeof scalar), &idx), TUFF_ERROR_FILE, "0 axes", "byte 3");
    static const unsigned char deep[] = { 0, 0, 8, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1 };
    EXPECT_FAILURE(tuff_idx_read(test_file("d", deep, sizeof deep), &idx), TUFF_ERROR_FILE, "5 axes");
}

static void absurd_sizes(void **state) {
    (void)state;
    tuff_idx idx;
    /* the product overflows 64 bits to exactly 0 (2^32 four times would; 2^31 twice and 2^2: 2^64) */
    static const unsigned char wraps[] = { 0, 0, 8, 3, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 4, 1 };
    EXPECT_FAILURE(tuff_idx_read(test_file("w", wraps, sizeof wraps), &idx), TUFF_ERROR_FILE, "cannot hold",
                   "2147483648");
    unsigned char huge[21] = { 0, 0, 8, 4 };
    memset(huge + 4, 0xff, 16);
    EXPECT_FAILURE(tuff_idx_read(test_file("h", huge, sizeof huge), &idx), TUFF_ERROR_FILE, "cannot hold");
    EXPECT_FAILURE(tuff_idx_read(gzip_file("h.gz", huge, sizeof huge), &idx), TUFF_ERROR_FILE, "cannot hold");
    static const unsigned char none[] = { 0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 0 };
    EXPECT_FAILURE(tuff_idx_read(test_file("n", none, sizeof none), &idx), TUFF_ERROR_FILE, "axis 1 has size 0",
                   "byte 8");
}

static void too_long(void **state) {
    (void)state;
    unsigned char longer[sizeof small + 1];
    memcpy(longer, small, sizeof small);
    longer[sizeof small] = 9;
    tuff_idx idx;
    EXPECT_FAILURE(tuff_idx_read(test_file("long", longer, sizeof longer), &idx), TUFF_ERROR_FILE, "too long",
                   "byte 18");
    EXPECT_FAILURE(tuff_idx_read(gzip_file("long.gz", longer, sizeof longer), &idx), TUFF_ERROR_FILE, "too long");
}

static void not_a_file(void **state) {
    (void)state;
    tuff_idx idx;
    EXPECT_FAILURE(tuff_idx_read(test_path("nowhere"), &idx), TUFF_ERROR_FILE, "nowhere", "No such file");
    EXPECT_FAILURE(tuff_idx_read("/tmp", &idx), TUFF_ERROR_FILE, "is a directory");
    assert_int_equal(mkfifo(test_path("pipe"), 0600), 0);
    EXPECT_FAILURE(tuff_idx_read(test_path("pipe"), &idx), TUFF_ERROR_FILE, "a pipe"); /* does not wait for a writer */
    EXPECT_FAILURE(tuff_idx_read(NULL, &idx), TUFF_ERROR_ARGUMENT, "path");
    EXPECT_FAILURE(tuff_idx_read("x", NULL), TUFF_ERROR_ARGUMENT, "idx");
}

int test_idx(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_plain_and_compressed),
        cmocka_unit_test(reads_every_rank),
        cmocka_unit_test(reads_the_sample_digits),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(cut_compressed_at_every_byte),
        cmocka_unit_test(damaged_compression),
        cmocka_unit_test(wrong_magic),
        cmocka_unit_test(absurd_sizes),
        cmocka_unit_test(too_long),
        cmocka_unit_test(not_a_file),
    };
    return cmocka_run_group_tests_name("idx", tests, NULL, NULL);
}
