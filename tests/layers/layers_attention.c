#include "test_layers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void scaled_dot_product_attention(layers_case *c) {
    tuff_tensor *q = layers_input(c, TUFF_SHAPE(2, 4, 5, 6)), *k = layers_input(c, TUFF_SHAPE(2, 2, 7, 6));
    tuff_tensor *v = layers_input(c, TUFF_SHAPE(2, 2, 7, 3));
    tuff_attention_desc desc = { .name = "attention",
                                 .mask = layers_input(c, TUFF_SHAPE(5, 7)),
                                 .dropout = 0.25f,
                                 .causal = true,
                                 .scale = 0.5f,
                                 .grouped_heads = true };
    layers_expect(tuff_scaled_dot_product_attention(q, k, v, &desc), "scaled_dot_product_attention",
                  "dropout_p=0.25 is_causal=true scale=0.5 enable_gqa=true");
    layers_expect(tuff_scaled_dot_product_attention(q, q, q, NULL), "scaled_dot_product_attention", "");
    tuff_scaled_dot_product_attention(q, k, v, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "heads enable_gqa");
    q = layers_input(c, TUFF_SHAPE(5, 6));
    tuff_scaled_dot_product_attention(q, q, q, &(tuff_attention_desc){ .mask = layers_input(c, TUFF_SHAPE(2, 5, 5)) });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "mask broadcast");
    q = layers_input(c, TUFF_SHAPE(5, 257));
    tuff_scaled_dot_product_attention(q, q, q, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "257 256");
    tuff_scaled_dot_product_attention(layers_input(c, TUFF_SHAPE(5, 6)), NULL, NULL, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "attention key");
    tuff_scaled_dot_product_attention(NULL, NULL, layers_input(c, TUFF_SHAPE(5, 6)), NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "attention query");
}

static void rotary(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 5, 8)), *positions = layers_index(c, TUFF_SHAPE(2, 1, 5));
    tuff_rotary_desc desc = { .base = 500, .offset = -3, .interleaved = true, .features = 4, .reverse = true };
    layers_expect(tuff_rotary(x, positions, &desc), "rotary_embedding",
                  "base=500 offset=-3 interleaved=true rotary_dim=4 reverse=true");
    layers_expect(tuff_rotary(x, NULL, NULL), "rotary_embedding", "");
    tuff_rotary(x, NULL, &(tuff_rotary_desc){ .features = 3 });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "rotary_dim");
}

static void multihead_attention(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 5, 12));
    tuff_multihead_attention_desc desc = { .name = "mha", .heads = 4, .key_value_heads = 2, .dropout = 0.5f };
    layers_expect(tuff_multihead_attention(x, NULL, NULL, &desc), "linear", "");
    layers_expect_state(c, "mha.in_proj_weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(24, 12));
    layers_expect_state(c, "mha.in_proj_bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(24));
    layers_expect_state(c, "mha.out_proj.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(12, 12));
    layers_expect_state(c, "mha.out_proj.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(12));
    desc = (tuff_multihead_attention_desc){ .name = "cross", .heads = 3 };
    layers_expect(tuff_multihead_attention(x, layers_input(c, TUFF_SHAPE(2, 7, 6)), NULL, &desc), "linear", "");
    layers_expect_state(c, "cross.q_proj_weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(12, 12));
    layers_expect_state(c, "cross.v_proj_weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(12, 6));
    tuff_multihead_attention(x, NULL, NULL, &(tuff_multihead_attention_desc){ .name = "odd", .heads = 5 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "odd heads");
    x = layers_input(c, TUFF_SHAPE(2, 5, 12));
    desc = (tuff_multihead_attention_desc){ .name = "still", .heads = 3 };
    desc.positions = layers_index(c, TUFF_SHAPE(5));
    tuff_multihead_attention(x, NULL, NULL, &desc);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "still positions rotary");
    tuff_graph *other = tuff_graph_create(c->model);
    x = layers_input(c, TUFF_SHAPE(2, 5, 12));
    desc = (tuff_multihead_attention_desc){ .name = "foreign", .heads = 3 };
    tuff_multihead_attention(x, tuff_input(other, "there", TUFF_F32, TUFF_SHAPE(2, 5, 12)), NULL, &desc);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "foreign there another");
    assert_int_equal(tuff_graph_result(other), TUFF_OK);
    tuff_graph_destroy(other);
    x = layers_input(c, TUFF_SHAPE(2, 5, 12));
    tuff_scaled_dot_product_attention(x, x, x, &(tuff_attention_desc){ .scale = NAN });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "scale nan");
    x = layers_input(c, TUFF_SHAPE(2, 5, 12));
    desc = (tuff_multihead_attention_desc){ .name = "padded", .heads = 3 };
    desc.key_padding_mask = layers_input(c, TUFF_SHAPE(2, 6));
    tuff_multihead_attention(x, NULL, NULL, &desc);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "padded key_padding_mask");
}

static const layers_test tests[] = {
    { "scaled_dot_product_attention", scaled_dot_product_attention },
    { "rotary", rotary },
    { "multihead_attention", multihead_attention },
};
const layers_family LAYERS_ATTENTION = LAYERS_FAMILY(tests);
