#include "test_layers.h"

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
    tuff_conv2d(x, &(tuff_conv2d_desc){ .name = "conv3", .channels = 4 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "conv3 kernel");
}

static const layers_test tests[] = { { "conv2d", conv2d } };
const layers_family LAYERS_CONVOLUTION = LAYERS_FAMILY(tests);
