#include "test_layers.h"

static void batch(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 5));
    layers_expect(tuff_batch_norm(x, &(tuff_batch_norm_desc){ .name = "bn1", .epsilon = 0x1p-10f }), "batch_norm",
                  "eps=0.0009765625");
    layers_expect_state(c, "bn1.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(3));
    layers_expect_state(c, "bn1.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(3));
    layers_expect_state(c, "bn1.running_mean", TUFF_STATE_BUFFER, TUFF_SHAPE(3));
    layers_expect_state(c, "bn1.running_var", TUFF_STATE_BUFFER, TUFF_SHAPE(3));
    layers_expect(tuff_batch_norm(x, &(tuff_batch_norm_desc){ .name = "bn2", .no_affine = true, .no_running = true }),
                  "batch_norm", "");
    layers_expect(tuff_batch_norm(x, &(tuff_batch_norm_desc){ .no_affine = true, .no_running = true }), "batch_norm",
                  "");
    layers_expect_states(c, 4);
    tuff_tensor *weight = layers_input(c, TUFF_SHAPE(3)), *bias = layers_input(c, TUFF_SHAPE(3));
    layers_expect(tuff_batch_norm(x, &(tuff_batch_norm_desc){ .weight = weight, .no_running = true }), "batch_norm",
                  "");
    layers_expect_states(c, 4);
    layers_expect(tuff_batch_norm(x, &(tuff_batch_norm_desc){ .name = "bn4", .weight = weight, .bias = bias }),
                  "batch_norm", "");
    layers_expect_states(c, 6); /* the running statistics alone */
    tuff_batch_norm(x, &(tuff_batch_norm_desc){ .weight = weight });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_batch_norm name");
    x = layers_input(c, TUFF_SHAPE(2, 3, 5));
    tuff_batch_norm(x, &(tuff_batch_norm_desc){ .bias = layers_input(c, TUFF_SHAPE(4)), .no_running = true });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "batch_norm [4]");
    tuff_batch_norm(layers_input(c, TUFF_SHAPE(3)), &(tuff_batch_norm_desc){ .no_affine = true, .no_running = true });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "tuff_batch_norm [3] axis 1");
    tuff_batch_norm(layers_input(c, TUFF_SHAPE(3)), &(tuff_batch_norm_desc){ .name = "bn3" });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "bn3 axis 1");
}

static void last_axes(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 5)), *given = layers_input(c, TUFF_SHAPE(5));
    layers_expect(tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = "ln1", .axes = 2, .epsilon = 0x1p-10f }),
                  "layer_norm", "normalized_shape=3,5 eps=0.0009765625");
    layers_expect_state(c, "ln1.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(3, 5));
    layers_expect_state(c, "ln1.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(3, 5));
    layers_expect(tuff_layer_norm(x, &(tuff_layer_norm_desc){ .name = "ln2", .no_bias = true }), "layer_norm",
                  "normalized_shape=5");
    layers_expect_state(c, "ln2.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(5));
    layers_expect(tuff_layer_norm(x, &(tuff_layer_norm_desc){ .weight = given }), "layer_norm", "normalized_shape=5");
    layers_expect(tuff_layer_norm(x, &(tuff_layer_norm_desc){ .no_affine = true }), "layer_norm", "normalized_shape=5");
    layers_expect(tuff_rms_norm(x, &(tuff_rms_norm_desc){ .name = "rms", .epsilon = 0x1p-20f }), "rms_norm",
                  "normalized_shape=5 eps=9.5367431640625e-7");
    layers_expect_state(c, "rms.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(5));
    layers_expect_states(c, 4);
    tuff_layer_norm(x, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_layer_norm name");
    tuff_rms_norm(layers_input(c, TUFF_SHAPE(3)), &(tuff_rms_norm_desc){ .name = "rms", .axes = 2 });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "rms [3] 2 axes");
    x = layers_input(c, TUFF_SHAPE(2, 3));
    tuff_layer_norm(x, &(tuff_layer_norm_desc){ .bias = layers_input(c, TUFF_SHAPE(4)) });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "layer_norm [4] [3]");
}

static void channels(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 6, 5, 3)), *given = layers_input(c, TUFF_SHAPE(6));
    layers_expect(tuff_group_norm(x, &(tuff_group_norm_desc){ .name = "gn", .groups = 3, .epsilon = 0x1p-10f }),
                  "group_norm", "num_groups=3 eps=0.0009765625");
    layers_expect_state(c, "gn.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(6));
    layers_expect_state(c, "gn.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(6));
    layers_expect(tuff_group_norm(x, &(tuff_group_norm_desc){ .groups = 2, .bias = given }), "group_norm",
                  "num_groups=2");
    layers_expect(tuff_instance_norm(x, NULL), "instance_norm", "");
    layers_expect_states(c, 2);
    layers_expect(tuff_instance_norm(x, &(tuff_instance_norm_desc){ .name = "in",
                                                                    .affine = true,
                                                                    .track_running_stats = true,
                                                                    .epsilon = 0x1p-10f }),
                  "instance_norm", "use_input_stats=training eps=0.0009765625");
    layers_expect_state(c, "in.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(6));
    layers_expect_state(c, "in.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(6));
    layers_expect_state(c, "in.running_mean", TUFF_STATE_BUFFER, TUFF_SHAPE(6));
    layers_expect_state(c, "in.running_var", TUFF_STATE_BUFFER, TUFF_SHAPE(6));
    tuff_group_norm(x, &(tuff_group_norm_desc){ .name = "bad", .groups = 4 });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "bad 6 channels 4 groups");
    layers_expect_states(c, 0);
    tuff_instance_norm(layers_input(c, TUFF_SHAPE(2, 3, 1)), NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "instance_norm [2, 3, 1] one value");
}

static void by_norm(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 6));
    layers_expect(tuff_normalize(x, 1, NULL), "normalize", "");
    layers_expect(tuff_normalize(x, -1, &(tuff_normalize_desc){ .p = 1, .epsilon = 0.5f }), "normalize",
                  "p=1 dim=-1 eps=0.5");
    tuff_normalize(x, 2, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "normalize axis 2");
}

static void regularisation(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(4, 6, 3)), *g = layers_input(c, TUFF_SHAPE(1, 6, 1));
    layers_expect(tuff_dropout2d(x, 0.25f, NULL), "dropout2d", "p=0.25");
    layers_expect(tuff_stochastic_depth(x, 0.5f, TUFF_DEPTH_ROW, "drop"), "stochastic_depth", "p=0.5 mode=row");
    layers_expect(tuff_weight_norm(x, g, 1), "weight_norm", "dim=1");
    layers_expect(tuff_weight_norm(x, g, -2), "weight_norm", "dim=-2");
    layers_expect(tuff_weight_norm(x, layers_input(c, TUFF_SCALAR), -1), "weight_norm", "dim=-1");
    layers_expect(tuff_spectral_norm(x, -2, &(tuff_spectral_norm_desc){ .name = "conv", .iterations = 2 }),
                  "spectral_norm", "dim=-2 n_power_iterations=2");
    layers_expect_state(c, "conv.weight_u", TUFF_STATE_BUFFER, TUFF_SHAPE(6));
    layers_expect_state(c, "conv.weight_v", TUFF_STATE_BUFFER, TUFF_SHAPE(12));
    tuff_weight_norm(x, layers_input(c, TUFF_SHAPE(1, 1, 3)), -1); /* PyTorch's None, not the last axis */
    layers_expect_error(c, TUFF_ERROR_SHAPE, "weight_norm [1, 1, 3] [] all of v");
    x = layers_input(c, TUFF_SHAPE(4, 6, 3)), g = layers_input(c, TUFF_SHAPE(1, 6, 1));
    tuff_weight_norm(x, g, 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "weight_norm [1, 6, 1] [4, 1, 1]");
    tuff_dropout2d(layers_input(c, TUFF_SHAPE(4, 6)), 1.5f, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "dropout2d p 1.5");
    tuff_stochastic_depth(layers_input(c, TUFF_SHAPE(4, 6)), -0.5f, TUFF_DEPTH_BATCH, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "stochastic_depth p -0.5");
}

static const layers_test tests[] = {
    { "batch_norm", batch },
    { "layer_norm, rms_norm", last_axes },
    { "group_norm, instance_norm", channels },
    { "normalize", by_norm },
    { "dropout of parts, weight_norm, spectral_norm", regularisation },
};
const layers_family LAYERS_NORMALISATION = LAYERS_FAMILY(tests);
