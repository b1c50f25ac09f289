#include "test_layers.h"

static void conv1d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 6, 19));
    tuff_tensor *y = tuff_conv1d(
        x, &(tuff_conv1d_desc){
               .name = "conv1", .channels = 4, .kernel = 3, .stride = 2, .padding = 1, .dilation = 3, .groups = 2 });
    layers_expect(y, "conv1d", "stride=2 padding=1 dilation=3 groups=2");
    layers_expect_state(c, "conv1.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(4, 3, 3));
    layers_expect_state(c, "conv1.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(4));
    y = tuff_conv1d(x, &(tuff_conv1d_desc){ .name = "conv2", .channels = 4, .kernel = 4, .padding_same = true });
    layers_expect(y, "conv1d", "padding=same");
    layers_expect(tuff_conv1d(x, &(tuff_conv1d_desc){ .weight = layers_input(c, TUFF_SHAPE(5, 6, 2)) }), "conv1d", "");
    tuff_conv1d(x,
                &(tuff_conv1d_desc){ .name = "conv3", .channels = 4, .kernel = 3, .stride = 2, .padding_same = true });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "conv1d same stride");
    x = layers_input(c, TUFF_SHAPE(2, 6, 19));
    tuff_conv1d(x,
                &(tuff_conv1d_desc){ .name = "conv4", .channels = 4, .kernel = 3, .padding = 1, .padding_same = true });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_conv1d padding_same");
}

static void conv2d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 6, 9, 7));
    tuff_tensor *y = tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv1",
                                                         .channels = 4,
                                                         .kernel = { 3, 2 },
                                                         .stride = { 2, 1 },
                                                         .padding = { 1, 0 },
                                                         .dilation = { 1, 2 },
                                                         .groups = 2 });
    layers_expect(y, "conv2d", "stride=2,1 padding=1,0 dilation=1,2 groups=2");
    layers_expect_state(c, "conv1.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(4, 3, 3, 2));
    layers_expect_state(c, "conv1.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(4));
    layers_expect(tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv2", .channels = 4, .kernel = { 1, 1 } }), "conv2d",
                  "");
    y = tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = layers_input(c, TUFF_SHAPE(6, 1, 2, 3)),
                                            .bias = layers_input(c, TUFF_SHAPE(6)),
                                            .groups = 6,
                                            .padding_same = true });
    layers_expect(y, "conv2d", "groups=6 padding=same");
    layers_expect(tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = layers_input(c, TUFF_SHAPE(4, 6, 2, 3)),
                                                      .channels = 4,
                                                      .kernel = { 2, 3 } }),
                  "conv2d", "");
    tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = layers_input(c, TUFF_SHAPE(4, 6, 2, 3)), .kernel = { 2, 2 } });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_conv2d [4, 6, 2, 3] kernel");
    x = layers_input(c, TUFF_SHAPE(2, 6, 9, 7));
    tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = layers_input(c, TUFF_SHAPE(4, 6, 2, 3)), .channels = 6 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_conv2d [4, 6, 2, 3] channels");
    x = layers_input(c, TUFF_SHAPE(2, 6, 9, 7));
    tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = layers_input(c, TUFF_SHAPE(4, 6, 2, 3)),
                                        .bias = layers_input(c, TUFF_SHAPE(4)),
                                        .no_bias = true });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_conv2d bias no_bias");
    x = layers_input(c, TUFF_SHAPE(2, 6, 9, 7));
    layers_expect(
        tuff_conv_transpose2d(x, &(tuff_conv_transpose2d_desc){ .weight = layers_input(c, TUFF_SHAPE(6, 2, 2, 3)),
                                                                .channels = 4,
                                                                .groups = 2 }),
        "conv_transpose2d", "groups=2");
    tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = layers_input(c, TUFF_SHAPE(4, 6, 2, 3)), .stride = { 1, -2 } });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "conv2d stride -2 32767");
    x = layers_input(c, TUFF_SHAPE(2, 6, 9, 7));
    tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = layers_input(c, TUFF_SHAPE(4, 6, 2, 3)), .padding = { -1, 0 } });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "conv2d padding -1 32767");
    x = layers_input(c, TUFF_SHAPE(2, 6, 9, 7));
    tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv3", .channels = 4 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "conv3 kernel");
    tuff_conv2d(layers_input(c, TUFF_SHAPE(2, 6, 9, 7)),
                &(tuff_conv2d_desc){ .name = "conv4", .bias = layers_input(c, TUFF_SHAPE(6)) });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_conv2d bias weight");
    tuff_conv2d(layers_input(c, TUFF_SHAPE(2, 6, 9, 7)), NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "tuff_conv2d name");
}

static void conv3d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(1, 6, 5, 9, 7));
    tuff_tensor *y = tuff_conv3d(x, &(tuff_conv3d_desc){ .name = "conv1",
                                                         .channels = 8,
                                                         .kernel = { 2, 3, 1 },
                                                         .stride = { 1, 2, 3 },
                                                         .padding = { 2, 1, 0 },
                                                         .dilation = { 3, 2, 1 },
                                                         .groups = 2,
                                                         .no_bias = true });
    layers_expect(y, "conv3d", "stride=1,2,3 padding=2,1,0 dilation=3,2,1 groups=2");
    layers_expect_state(c, "conv1.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(8, 3, 2, 3, 1));
    y = tuff_conv3d(x,
                    &(tuff_conv3d_desc){ .name = "conv2", .channels = 2, .kernel = { 2, 2, 2 }, .padding_same = true });
    layers_expect(y, "conv3d", "padding=same");
    layers_expect(tuff_conv3d(layers_input(c, TUFF_SHAPE(6, 5, 9, 7)),
                              &(tuff_conv3d_desc){ .name = "conv5", .channels = 8, .kernel = { 1, 2, 1 } }),
                  "conv3d", "");
    layers_expect_state(c, "conv5.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(8, 6, 1, 2, 1));
    tuff_conv3d(layers_input(c, TUFF_SHAPE(5, 9, 7)),
                &(tuff_conv3d_desc){ .name = "conv3", .channels = 8, .kernel = { 1, 1, 1 } });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "tuff_conv3d conv3 (N, C, D, H, W)");
    tuff_conv3d(layers_input(c, TUFF_SHAPE(1, 6, 5, 9, 7)),
                &(tuff_conv3d_desc){ .name = "conv4", .channels = 8, .kernel = { 32767, 32767, 32767 } });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "conv4 kernel");
}

static void conv_transpose1d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 6, 9));
    tuff_tensor *y = tuff_conv_transpose1d(x, &(tuff_conv_transpose1d_desc){ .name = "up1",
                                                                             .channels = 4,
                                                                             .kernel = 3,
                                                                             .stride = 3,
                                                                             .padding = 1,
                                                                             .output_padding = 2,
                                                                             .dilation = 2,
                                                                             .groups = 2 });
    layers_expect(y, "conv_transpose1d", "stride=3 padding=1 output_padding=2 dilation=2 groups=2");
    layers_expect_state(c, "up1.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(6, 2, 3));
    layers_expect_state(c, "up1.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(4));
    layers_expect(
        tuff_conv_transpose1d(x, &(tuff_conv_transpose1d_desc){ .weight = layers_input(c, TUFF_SHAPE(6, 5, 2)) }),
        "conv_transpose1d", "");
    tuff_conv_transpose1d(x, &(tuff_conv_transpose1d_desc){
                                 .name = "up2", .channels = 4, .kernel = 3, .stride = 2, .output_padding = 2 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "up2 output_padding");
}

static void conv_transpose2d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 6, 9, 7));
    tuff_tensor *y = tuff_conv_transpose2d(x, &(tuff_conv_transpose2d_desc){ .name = "up1",
                                                                             .channels = 4,
                                                                             .kernel = { 4, 3 },
                                                                             .stride = { 2, 3 },
                                                                             .padding = { 1, 0 },
                                                                             .output_padding = { 0, 2 },
                                                                             .dilation = { 1, 2 },
                                                                             .groups = 2 });
    layers_expect(y, "conv_transpose2d", "stride=2,3 padding=1,0 output_padding=0,2 dilation=1,2 groups=2");
    layers_expect_state(c, "up1.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(6, 2, 4, 3));
    layers_expect_state(c, "up1.bias", TUFF_STATE_PARAMETER, TUFF_SHAPE(4));
    tuff_conv_transpose2d(x, &(tuff_conv_transpose2d_desc){ .weight = layers_input(c, TUFF_SHAPE(5, 2, 2, 2)) });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "conv_transpose2d [5, 2, 2, 2] groups");
}

static void conv_transpose3d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(1, 6, 2, 3, 4));
    tuff_tensor *y = tuff_conv_transpose3d(x, &(tuff_conv_transpose3d_desc){ .name = "up1",
                                                                             .channels = 4,
                                                                             .kernel = { 2, 4, 3 },
                                                                             .stride = { 1, 2, 3 },
                                                                             .padding = { 0, 1, 0 },
                                                                             .output_padding = { 0, 0, 2 },
                                                                             .dilation = { 3, 1, 2 },
                                                                             .groups = 2,
                                                                             .no_bias = true });
    layers_expect(y, "conv_transpose3d", "stride=1,2,3 padding=0,1,0 output_padding=0,0,2 dilation=3,1,2 groups=2");
    layers_expect_state(c, "up1.weight", TUFF_STATE_PARAMETER, TUFF_SHAPE(6, 2, 2, 4, 3));
    tuff_conv_transpose3d(x, &(tuff_conv_transpose3d_desc){
                                 .name = "up2", .channels = 4, .kernel = { 1, 1, 1 }, .padding = { 1, 2, 0 } });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "up2 inside the padding");
}

static const layers_test tests[] = {
    { "conv1d", conv1d },
    { "conv2d", conv2d },
    { "conv3d", conv3d },
    { "conv_transpose1d", conv_transpose1d },
    { "conv_transpose2d", conv_transpose2d },
    { "conv_transpose3d", conv_transpose3d },
};
const layers_family LAYERS_CONVOLUTION = LAYERS_FAMILY(tests);
