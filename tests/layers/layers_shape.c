#include "test_layers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void expect_shape(const tuff_tensor *x, tuff_shape shape) {
    assert_non_null(x);
    tuff_shape given = tuff_tensor_shape(x);
    assert_int_equal(given.rank, shape.rank);
    for (uint32_t i = 0; i < shape.rank; i++) assert_int_equal(given.sizes[i], shape.sizes[i]);
}

static void views(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(4, 1, 6, 5)), *index = layers_index(c, TUFF_SHAPE(3, 4));
    layers_expect(tuff_reshape(x, TUFF_SHAPE(8, -1)), "reshape", "shape=8,-1");
    layers_expect(tuff_flatten(x), "flatten", "start_dim=1");
    layers_expect(tuff_flatten_axes(x, -2, 3), "flatten", "start_dim=-2 end_dim=3");
    layers_expect(tuff_unflatten(x, -2, (int64_t[]){ 2, -1 }, 2), "unflatten", "dim=-2 sizes=2,-1");
    layers_expect(tuff_transpose(x, 2, -1), "transpose", "dim0=2 dim1=-1");
    layers_expect(tuff_permute(x, (int32_t[]){ 0, 3, -2, 1 }, 4), "permute", "dims=0,3,-2,1");
    layers_expect(tuff_squeeze(x, (int32_t[]){ 1 }, 1), "squeeze", "dim=1");
    layers_expect(tuff_squeeze(x, NULL, 0), "squeeze", "");
    layers_expect(tuff_unsqueeze(index, -1), "unsqueeze", "dim=-1");
    layers_expect(tuff_expand(x, TUFF_SHAPE(-1, 7, -1, -1)), "expand", "size=-1,7,-1,-1");
    expect_shape(tuff_slice(x, 2, -5, 5, 2), TUFF_SHAPE(4, 1, 2, 5));
    layers_expect(tuff_slice(x, 2, -5, TUFF_END, 2), "slice", "dim=2 start=-5 step=2");
    layers_expect(tuff_select(index, 1, -1), "select", "dim=1 index=-1");

    tuff_reshape(x, TUFF_SHAPE(7, -1));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "reshape [4, [7,");
    tuff_reshape(layers_input(c, TUFF_SHAPE(4, 3)), TUFF_SHAPE(0, 6));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "reshape [4, 3] [0, 6]");
    tuff_reshape(layers_input(c, TUFF_SHAPE(4, 3)), TUFF_SHAPE(-2, 3));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "reshape [4, 3] [-2, 3]");
    tuff_reshape(layers_input(c, TUFF_SHAPE(4, 3)), TUFF_SHAPE(INT64_C(1) << 32, INT64_C(1) << 32));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "reshape [4, 3] [4294967296, 4294967296]");
    tuff_flip(layers_input(c, TUFF_SCALAR), (int32_t[]){ 0 }, 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "flip axis 0 [] no axes");
    x = layers_input(c, TUFF_SHAPE(4, 6));
    tuff_slice(x, 1, 3, 3, 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "slice axis [4, 6] between");
    x = layers_input(c, TUFF_SHAPE(4, 6));
    tuff_slice(x, 1, 0, TUFF_END, 0);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "step 0 flip");
    x = layers_input(c, TUFF_SHAPE(4, 6));
    tuff_select(x, 0, 4);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "select [4, 6] index 4");
    x = layers_input(c, TUFF_SHAPE(4, 6));
    tuff_permute(x, (int32_t[]){ 0, 0 }, 2);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "permute twice");
    x = layers_input(c, TUFF_SHAPE(4, 6));
    tuff_expand(x, TUFF_SHAPE(5, 6));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "expand [4, 6] [5, 6]");
    x = layers_input(c, TUFF_SHAPE(4, 6));
    tuff_expand(x, TUFF_SHAPE(0, 4, 6));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "expand [0, 4, 6]");
    tuff_unsqueeze(layers_input(c, TUFF_SHAPE(1, 1, 1, 1, 1, 1, 1, 1)), 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "unsqueeze rank 9");
    tuff_squeeze(layers_input(c, TUFF_SHAPE(4)), (int32_t[]){ 1 }, 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "squeeze axis 1");
    assert_null(tuff_permute(NULL, NULL, 0));
}

/* A list that is NULL, with a count. */
static void no_lists(layers_case *c) {
    assert_int_equal(tuff_shape_count(NULL), 0);
    tuff_permute(layers_input(c, TUFF_SHAPE(4, 6)), NULL, 2);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "permute dims NULL 2");
    tuff_squeeze(layers_input(c, TUFF_SHAPE(4, 1)), NULL, 2);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "squeeze dims NULL 2");
    tuff_flip(layers_input(c, TUFF_SHAPE(4, 6)), NULL, 1);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "flip dims NULL 1");
    tuff_repeat(layers_input(c, TUFF_SHAPE(4, 6)), NULL, 2);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "repeat repeats NULL 2");
    tuff_tile(layers_input(c, TUFF_SHAPE(4, 6)), NULL, 2);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tile dims NULL 2");
    tuff_flip(layers_input(c, TUFF_SHAPE(4)), NULL, TUFF_MAX_RANK + 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "flip 9 axes");
}

static void parts(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(10, 3)), *many[700], *parts[700];
    assert_int_equal(tuff_split(x, 4, 0, parts, 700), 3);
    expect_shape(parts[2], TUFF_SHAPE(2, 3));
    layers_expect(parts[0], "split", "split_size_or_sections=4,4,2");
    assert_null(parts[3]);
    assert_int_equal(tuff_split_sections(x, (int64_t[]){ 1, 7, 2 }, 3, -2, parts), 3);
    layers_expect(parts[0], "split", "split_size_or_sections=1,7,2 dim=-2");
    assert_int_equal(tuff_chunk(x, 4, 0, parts), 4);
    expect_shape(parts[3], TUFF_SHAPE(1, 3));
    assert_int_equal(tuff_unbind(x, 1, parts, 3), 3);
    expect_shape(parts[1], TUFF_SHAPE(10));

    /* more than one node takes: in groups */
    tuff_tensor *wide = layers_input(c, TUFF_SHAPE(2, 700));
    assert_int_equal(tuff_split(wide, 1, 1, many, 700), 700);
    for (int i = 0; i < 700; i++) expect_shape(many[i], TUFF_SHAPE(2, 1));
    expect_shape(tuff_concat(many, 700, 1), TUFF_SHAPE(2, 700));
    expect_shape(tuff_stack(many, 700, 0), TUFF_SHAPE(700, 2, 1));

    layers_expect(tuff_concat((tuff_tensor *[]){ x, x }, 2, -1), "concat", "dim=-1");
    layers_expect(tuff_stack((tuff_tensor *[]){ x, x, x }, 3, 2), "stack", "dim=2");
    assert_null(tuff_concat((tuff_tensor *[]){ NULL }, 1, 0));
    assert_null(tuff_concat(NULL, 0, 0));
    tuff_concat((tuff_tensor *[]){ x, wide }, 2, 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "concat [10, 3] [2, 700]");
    x = layers_input(c, TUFF_SHAPE(2, 3));
    tuff_concat((tuff_tensor *[]){ x, layers_index(c, TUFF_SHAPE(2, 3)) }, 2, 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "float32 int32");
    x = layers_input(c, TUFF_SHAPE(2, 3));
    tuff_concat((tuff_tensor *[]){ x, NULL }, 2, 0);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "concat NULL");
    tuff_stack((tuff_tensor *[]){ layers_input(c, TUFF_SHAPE(2, 3)), layers_input(c, TUFF_SHAPE(2, 1)) }, 2, 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "stack [2, 1]");
    assert_int_equal(tuff_split(layers_input(c, TUFF_SHAPE(5)), 2, 0, parts, 2), 0);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "3 parts room");
    assert_int_equal(tuff_split(layers_input(c, TUFF_SHAPE(5)), 0, 0, parts, 2), 0);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "size 0");
    assert_int_equal(tuff_split_sections(layers_input(c, TUFF_SHAPE(5)), (int64_t[]){ 2, 2 }, 2, 0, parts), 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "split add up");
    assert_int_equal(tuff_split_sections(layers_input(c, TUFF_SHAPE(5)), (int64_t[]){ 3 }, 1, 0, parts), 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "add up");
}

static void moves(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(4, 5, 6));
    layers_expect(tuff_pad(x, &(tuff_pad_desc){ .pad = { 1, 2, -1, 0 }, .mode = TUFF_PAD_REPLICATE }), "pad",
                  "pad=1,2,-1,0 mode=replicate");
    layers_expect(tuff_pad(x, &(tuff_pad_desc){ .pad = { 0, 3 }, .value = 2.5f }), "pad", "pad=0,3 value=2.5");
    layers_expect(tuff_pad(x, NULL), "pad", "pad=none");
    layers_expect(tuff_flip(x, (int32_t[]){ 0, -1 }, 2), "flip", "dims=0,-1");
    layers_expect(tuff_roll(x, (int64_t[]){ 1, -2 }, (int32_t[]){ 0, 2 }, 2), "roll", "shifts=1,-2 dims=0,2");
    layers_expect(tuff_roll(x, (int64_t[]){ 7 }, NULL, 1), "roll", "shifts=7");
    layers_expect(tuff_repeat(x, (int64_t[]){ 2, 1, 3 }, 3), "repeat", "repeats=2,1,3");
    layers_expect(tuff_tile(x, (int64_t[]){ 2 }, 1), "tile", "dims=2");
    layers_expect(tuff_tril(x, -1), "tril", "diagonal=-1");
    layers_expect(tuff_triu(x, INT64_MAX), "triu", "diagonal=9223372036854775807");

    tuff_pad(x, &(tuff_pad_desc){ .pad = { 6, 0 }, .mode = TUFF_PAD_REFLECT });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "pad 6 before [4, 5, 6] 5");
    tuff_pad(layers_input(c, TUFF_SHAPE(4)), &(tuff_pad_desc){ .pad = { -2, -2 } });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "pad remain");
    tuff_pad(layers_input(c, TUFF_SHAPE(4)), &(tuff_pad_desc){ .pad = { 0, 0, 1, 1 } });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "pad 4 numbers");
    tuff_pad(layers_input(c, TUFF_SHAPE(4)), &(tuff_pad_desc){ .pad = { INT64_MAX, INT64_MAX } });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "pad before");
    tuff_roll(layers_input(c, TUFF_SHAPE(4)), (int64_t[]){ INT64_MIN }, NULL, 1);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "roll shift");
    tuff_repeat(layers_input(c, TUFF_SHAPE(4, 5)), (int64_t[]){ 3 }, 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "repeat [4, 5]");
    tuff_repeat(layers_input(c, TUFF_SHAPE(4)), (int64_t[]){ 0 }, 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "repeat 1 or more");
    tuff_repeat(layers_input(c, TUFF_SHAPE(4)), (int64_t[]){ INT32_MAX }, 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "repeat 2147483647");
    tuff_tril(layers_input(c, TUFF_SHAPE(4)), 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "tril rank 2");
    tuff_flip(layers_input(c, TUFF_SHAPE(4)), (int32_t[]){ 1 }, 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "flip axis 1");
    assert_null(tuff_pad(NULL, NULL));
}

static const layers_test tests[] = {
    { "views", views }, { "no lists", no_lists }, { "parts", parts }, { "moves", moves }
};
const layers_family LAYERS_SHAPE = LAYERS_FAMILY(tests);
