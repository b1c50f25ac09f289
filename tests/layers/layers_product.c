#include "test_layers.h"

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

static const layers_test tests[] = { { "matmul", matmul }, { "einsum", einsum } };
const layers_family LAYERS_PRODUCT = LAYERS_FAMILY(tests);
