#include "test_layers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void matmul(layers_case *c) {
    tuff_tensor *a = layers_input(c, TUFF_SHAPE(2, 3, 5)), *b = layers_input(c, TUFF_SHAPE(7, 3));
    tuff_tensor *v = layers_input(c, TUFF_SHAPE(5)), *scalar = tuff_matmul(v, v, NULL);
    layers_expect(tuff_matmul(a, b, &(tuff_matmul_desc){ .transpose_a = true, .transpose_b = true }), "matmul",
                  "transpose_a transpose_b");
    layers_expect(tuff_matmul(a, v, NULL), "matmul", "");
    layers_expect(tuff_outer(v, v), "outer", "");
    tuff_matmul(v, b, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "matmul [5] [7, 3]");
    v = layers_input(c, TUFF_SHAPE(5));
    tuff_matmul(v, v, &(tuff_matmul_desc){ .transpose_a = true });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "matmul [5] transposed");
    v = layers_input(c, TUFF_SHAPE(5));
    scalar = tuff_matmul(v, v, NULL);
    tuff_matmul(v, scalar, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "matmul [5] []");
    tuff_outer(layers_input(c, TUFF_SHAPE(5)), layers_input(c, TUFF_SHAPE(5, 1)));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "outer [5, 1] vectors");
}

/* Refuses an equation of two operands (2, 3) and (3, 4). */
static void refused(layers_case *c, const char *equation, tuff_result result, const char *words) {
    tuff_tensor *operands[] = { layers_input(c, TUFF_SHAPE(2, 3)), layers_input(c, TUFF_SHAPE(3, 4)) };
    tuff_einsum(equation, operands, 2);
    layers_expect_error(c, result, words);
}

static void einsum(layers_case *c) {
    tuff_tensor *operands[] = { layers_input(c, TUFF_SHAPE(2, 3)), layers_input(c, TUFF_SHAPE(3, 4)) };
    layers_expect(tuff_einsum("ij,jk->ik", operands, 2), "einsum", "equation=ij,jk->ik");
    tuff_einsum(" i j, jk -> i k ", operands, 2);
    refused(c, NULL, TUFF_ERROR_ARGUMENT, "einsum NULL");
    operands[0] = NULL, operands[1] = layers_input(c, TUFF_SHAPE(3, 4));
    assert_null(tuff_einsum("ij,jk", operands, 2));
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "einsum 0 of 2 NULL");
    tuff_layer_norm(layers_input(c, TUFF_SHAPE(3)), NULL); /* some other message */
    assert_null(tuff_einsum("ij,ij", NULL, 2));
    assert_non_null(strstr(tuff_last_message(), "tuff_einsum"));
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "layer_norm");
    refused(c, "ij,jk,kl", TUFF_ERROR_ARGUMENT, "more terms");
    refused(c, "ij", TUFF_ERROR_ARGUMENT, "fewer terms");
    refused(c, "", TUFF_ERROR_SHAPE, "operand 0 [2, 3]");
    refused(c, "ij,jkl", TUFF_ERROR_SHAPE, "operand 1 [3, 4] 3 axes");
    refused(c, "ij,...jkl", TUFF_ERROR_SHAPE, "operand 1 [3, 4] at least 3 axes");
    refused(c, "ij,ki", TUFF_ERROR_SHAPE, "'i' 2 4");
    refused(c, "ii,jk", TUFF_ERROR_ARGUMENT, "twice");
    refused(c, "ij,jk->iki", TUFF_ERROR_ARGUMENT, "twice");
    refused(c, "ij,jk->im", TUFF_ERROR_ARGUMENT, "no operand");
    refused(c, "ij,jk-ik", TUFF_ERROR_ARGUMENT, "'>'");
    refused(c, "ij,jk->i->k", TUFF_ERROR_ARGUMENT, "behind");
    refused(c, "i..j,jk", TUFF_ERROR_ARGUMENT, "letters");
    refused(c, "i1,jk", TUFF_ERROR_ARGUMENT, "letters");
    refused(c, "ij,abcdefghi", TUFF_ERROR_ARGUMENT, "more letters");
    refused(c, "\xe4j,jk", TUFF_ERROR_ARGUMENT, "letters");
    tuff_tensor *large[] = { layers_input(c, TUFF_SHAPE(1, 1, 1, 1, 1)), layers_input(c, TUFF_SHAPE(1, 1, 1, 1, 1)) };
    tuff_einsum("abcde,fghij", large, 2);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "too many axes");
}

static void linear(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 5)), *one = layers_input(c, TUFF_SHAPE(5));
    layers_expect(tuff_linear(x, &(tuff_linear_desc){ .name = "fc", .features = 7 }), "linear", "");
    layers_expect_state(c, "fc.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(7, 5));
    layers_expect_state(c, "fc.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(7));
    tuff_tensor *y = tuff_linear(one, &(tuff_linear_desc){ .name = "fc", .features = 7 });
    layers_expect(y, "linear", "");
    assert_int_equal(tuff_tensor_shape(y).rank, 1);
    assert_int_equal(tuff_tensor_shape(y).sizes[0], 7);
    layers_expect_states(c, 2);

    /* given: the layer makes nothing, and the gradient finds them */
    tuff_tensor *given[] = { layers_input(c, TUFF_SHAPE(4, 5)), layers_input(c, TUFF_SHAPE(4)) }, *slopes[2];
    y = tuff_linear(x, &(tuff_linear_desc){ .features = 4, .weight = given[0], .bias = given[1] });
    layers_expect(y, "linear", "");
    assert_int_equal(tuff_gradients(tuff_sum(y, NULL), given, 2, slopes), TUFF_OK);
    layers_expect(tuff_linear(x, &(tuff_linear_desc){ .name = "tied", .weight = given[0] }), "linear", "");
    layers_expect_states(c, 2);

    tuff_linear(x, &(tuff_linear_desc){ .features = 5, .weight = given[0] });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_linear features 5 [4, 5]");
    tuff_tensor *weight = layers_input(c, TUFF_SHAPE(4, 5));
    tuff_linear(layers_input(c, TUFF_SHAPE(2, 6)), &(tuff_linear_desc){ .weight = weight });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "linear [2, 6] [4, 5]");
    tuff_linear(layers_input(c, TUFF_SHAPE(2, 5)), &(tuff_linear_desc){ .bias = layers_input(c, TUFF_SHAPE(4)) });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_linear bias no weight");
    x = layers_input(c, TUFF_SHAPE(2, 5)), weight = layers_input(c, TUFF_SHAPE(4, 5));
    tuff_linear(x, &(tuff_linear_desc){ .weight = weight, .bias = layers_input(c, TUFF_SHAPE(4)), .no_bias = true });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_linear no_bias");
    tuff_linear(layers_input(c, TUFF_SCALAR), &(tuff_linear_desc){ .name = "fc", .features = 7 });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "fc [] rank 1");
    tuff_linear(layers_input(c, TUFF_SHAPE(5)), NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_linear name");
}

static const layers_test tests[] = { { "matmul", matmul }, { "einsum", einsum }, { "linear", linear } };
const layers_family LAYERS_PRODUCT = LAYERS_FAMILY(tests);
