#include "test_layers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void embedding(layers_case *c) {
    tuff_tensor *index = layers_index(c, TUFF_SHAPE(3, 5)), *table = layers_input(c, TUFF_SHAPE(7, 4));
    layers_expect(tuff_embedding(index, &(tuff_embedding_desc){ .name = "words", .count = 9, .features = 6 }),
                  "embedding", "");
    layers_expect_state(c, "words.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(9, 6));
    uint32_t states = tuff_model_state_count(c->model);
    layers_expect(tuff_embedding(index, &(tuff_embedding_desc){ .weight = table }), "embedding", "");
    layers_expect(
        tuff_embedding(index, &(tuff_embedding_desc){ .weight = table, .has_padding_idx = true, .padding_idx = -2 }),
        "embedding", "padding_idx=-2");
    assert_int_equal(tuff_model_state_count(c->model), states);
    tuff_embedding(index, &(tuff_embedding_desc){
                              .name = "none", .count = 9, .features = 6, .has_padding_idx = true, .padding_idx = 9 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "none padding_idx 9");
    tuff_embedding(layers_index(c, TUFF_SHAPE(3)), NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_embedding name");
    tuff_embedding(layers_index(c, TUFF_SHAPE(3)), &(tuff_embedding_desc){ .name = "small" });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "small count features");
    assert_null(tuff_embedding(NULL, NULL));
}

static void by_index(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(5, 7)), *index = layers_index(c, TUFF_SHAPE(4, 7));
    tuff_tensor *list = layers_index(c, TUFF_SHAPE(3)), *source = layers_input(c, TUFF_SHAPE(5, 3));
    layers_expect(tuff_gather(x, -2, index), "gather", "dim=-2");
    layers_expect(tuff_gather(index, 1, index), "gather", "dim=1");
    layers_expect(tuff_index_select(x, 1, list), "index_select", "dim=1");
    layers_expect(tuff_scatter_add(x, 0, index, layers_input(c, TUFF_SHAPE(4, 7))), "scatter_add", "dim=0");
    layers_expect(tuff_index_add(x, 1, list, source, 0.5f), "index_add", "dim=1 alpha=0.5");
    layers_expect(tuff_one_hot(index, 11), "one_hot", "num_classes=11");

    tuff_gather(x, 2, index);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "gather axis 2");
    tuff_gather(layers_input(c, TUFF_SHAPE(5, 7)), 1, layers_index(c, TUFF_SHAPE(6, 7)));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "gather [6, 7] [5, 7]");
    tuff_gather(layers_input(c, TUFF_SHAPE(5, 7)), 1, layers_input(c, TUFF_SHAPE(5, 7)));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "index int32");
    tuff_index_select(layers_input(c, TUFF_SHAPE(5, 7)), 1, layers_index(c, TUFF_SHAPE(6, 7)));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "index_select rank 1");
    tuff_scatter_add(layers_input(c, TUFF_SHAPE(5, 7)), 1, layers_index(c, TUFF_SHAPE(5, 2)),
                     layers_input(c, TUFF_SHAPE(5, 3)));
    layers_expect_error(c, TUFF_ERROR_SHAPE, "scatter_add [5, 2] [5, 3]");
    tuff_index_add(layers_input(c, TUFF_SHAPE(5, 7)), 1, layers_index(c, TUFF_SHAPE(2)),
                   layers_input(c, TUFF_SHAPE(5, 3)), 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "index_add source [5, 3]");
    tuff_one_hot(layers_index(c, TUFF_SHAPE(2)), 0);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "num_classes 0");
    assert_null(tuff_gather(NULL, 0, NULL));
}

static const layers_test tests[] = { { "embedding", embedding }, { "by index", by_index } };
const layers_family LAYERS_LOOKUP = LAYERS_FAMILY(tests);
