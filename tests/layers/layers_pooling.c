#include "test_layers.h"

static void pool1d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 11));
    tuff_pool1d_desc desc = { .kernel = 3, .stride = 2, .padding = 1, .dilation = 2, .ceil_mode = true };
    layers_expect(tuff_max_pool1d(x, &desc), "max_pool1d", "kernel_size=3 stride=2 padding=1 dilation=2 ceil_mode");
    desc.dilation = 0;
    desc.exclude_padding = true;
    layers_expect(tuff_avg_pool1d(x, &desc), "avg_pool1d",
                  "kernel_size=3 stride=2 padding=1 ceil_mode count_include_pad=false");
    layers_expect(tuff_max_pool1d(x, &(tuff_pool1d_desc){ .kernel = 4 }), "max_pool1d", "kernel_size=4");
    tuff_max_pool1d(x, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "max_pool1d kernel");
    tuff_avg_pool1d(layers_input(c, TUFF_SHAPE(2, 3, 11)), &(tuff_pool1d_desc){ .kernel = 3, .dilation = 2 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "avg_pool1d dilation");
}

static void pool2d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 11, 13));
    tuff_pool2d_desc desc = { .kernel = { 3, 2 }, .stride = { 2, 1 }, .padding = { 1, 0 }, .ceil_mode = true };
    tuff_pool2d_desc average = desc;
    desc.dilation[1] = 4;
    layers_expect(tuff_max_pool2d(x, &desc), "max_pool2d",
                  "kernel_size=3,2 stride=2,1 padding=1,0 dilation=1,4 ceil_mode");
    average.exclude_padding = true;
    average.divisor_override = 7;
    layers_expect(tuff_avg_pool2d(x, &average), "avg_pool2d",
                  "kernel_size=3,2 stride=2,1 padding=1,0 ceil_mode count_include_pad=false divisor_override=7");
    tuff_max_pool2d(x, &average);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "max_pool2d exclude_padding");
    tuff_max_pool2d(layers_input(c, TUFF_SHAPE(3, 2)), &desc);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "max_pool2d [3, 2]");
    /* the only window steps over the image: its pixels would be -1 and 2 */
    tuff_max_pool2d(layers_input(c, TUFF_SHAPE(1, 1, 2, 2)),
                    &(tuff_pool2d_desc){ .kernel = { 2, 2 }, .padding = { 1, 1 }, .dilation = { 3, 3 } });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "max_pool2d dilated 3");
}

static void pool3d(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 6, 11, 13));
    tuff_pool3d_desc desc = { .kernel = { 2, 3, 2 }, .stride = { 0, 2, 1 }, .padding = { 1, 1, 0 }, .ceil_mode = true };
    tuff_pool3d_desc average = desc;
    desc.dilation[2] = 4;
    layers_expect(tuff_max_pool3d(x, &desc), "max_pool3d",
                  "kernel_size=2,3,2 stride=2,2,1 padding=1,1,0 dilation=1,1,4 ceil_mode");
    average.exclude_padding = true;
    average.divisor_override = 7;
    layers_expect(tuff_avg_pool3d(x, &average), "avg_pool3d",
                  "kernel_size=2,3,2 stride=2,2,1 padding=1,1,0 ceil_mode count_include_pad=false divisor_override=7");
    layers_expect(tuff_adaptive_max_pool3d(x, 2, 5, 3), "adaptive_max_pool3d", "output_size=2,5,3");
    layers_expect(tuff_adaptive_avg_pool3d(x, 2, 5, 3), "adaptive_avg_pool3d", "output_size=2,5,3");
    tuff_max_pool3d(x, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "max_pool3d kernel");
    tuff_avg_pool3d(layers_input(c, TUFF_SHAPE(2, 3, 4, 4, 4)), &(tuff_pool3d_desc){ .kernel = { 5, 2, 2 } });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "avg_pool3d depth [2, 3, 4, 4, 4]");
}

static void adaptive(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 11)), *image = layers_input(c, TUFF_SHAPE(2, 3, 11, 7));
    layers_expect(tuff_adaptive_max_pool1d(x, 5), "adaptive_max_pool1d", "output_size=5");
    layers_expect(tuff_adaptive_avg_pool1d(x, 5), "adaptive_avg_pool1d", "output_size=5");
    layers_expect(tuff_adaptive_max_pool2d(image, 5, 3), "adaptive_max_pool2d", "output_size=5,3");
    layers_expect(tuff_adaptive_avg_pool2d(image, 5, 3), "adaptive_avg_pool2d", "output_size=5,3");
    layers_expect(tuff_global_max_pool1d(x), "adaptive_max_pool1d", "output_size=1");
    layers_expect(tuff_global_avg_pool1d(x), "adaptive_avg_pool1d", "output_size=1");
    layers_expect(tuff_global_max_pool2d(image), "adaptive_max_pool2d", "output_size=1");
    layers_expect(tuff_global_avg_pool2d(image), "adaptive_avg_pool2d", "output_size=1");
    tuff_adaptive_avg_pool2d(image, 0, 3);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "adaptive_avg_pool2d height 0");
}

static void interpolate(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 11)), *image = layers_input(c, TUFF_SHAPE(2, 3, 11, 7));
    layers_expect(tuff_interpolate(x, &(tuff_interpolate_desc){ .size = { 5 } }), "interpolate", "size=5");
    layers_expect(tuff_interpolate(image, &(tuff_interpolate_desc){ .scale_factor = { 2, 1.5 },
                                                                    .mode = TUFF_INTERPOLATE_BILINEAR,
                                                                    .recompute_scale_factor = true }),
                  "interpolate", "scale_factor=2,1.5 mode=bilinear recompute_scale_factor");
    layers_expect(tuff_interpolate(image, &(tuff_interpolate_desc){ .size = { 5, 6 },
                                                                    .mode = TUFF_INTERPOLATE_BICUBIC,
                                                                    .align_corners = true }),
                  "interpolate", "size=5,6 mode=bicubic align_corners");
    layers_expect(tuff_interpolate(layers_input(c, TUFF_SHAPE(2, 3, 4, 5, 6)),
                                   &(tuff_interpolate_desc){ .size = { 5, 6, 7 }, .mode = TUFF_INTERPOLATE_TRILINEAR }),
                  "interpolate", "size=5,6,7 mode=trilinear");
    tuff_interpolate(image, NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "interpolate size scale_factor");
    tuff_interpolate(layers_input(c, TUFF_SHAPE(2, 3, 11)),
                     &(tuff_interpolate_desc){ .size = { 5 }, .mode = TUFF_INTERPOLATE_BILINEAR });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "interpolate bilinear [2, 3, 11]");
    tuff_interpolate(layers_input(c, TUFF_SHAPE(2, 3, 11)), &(tuff_interpolate_desc){ .scale_factor = { 1e30 } });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "interpolate scale_factor");
}

static void unfold(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 3, 11, 13));
    tuff_unfold_desc desc = { .kernel = { 3, 2 }, .stride = { 2, 1 }, .padding = { 1, 0 }, .dilation = { 1, 4 } };
    tuff_tensor *columns = tuff_unfold(x, &desc);
    layers_expect(columns, "unfold", "kernel_size=3,2 stride=2,1 padding=1,0 dilation=1,4");
    layers_expect(tuff_fold(columns, 11, 13, &desc), "fold",
                  "output_size=11,13 kernel_size=3,2 stride=2,1 padding=1,0 dilation=1,4");
    tuff_fold(columns, 12, 14, &desc);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "fold [2, 18, 54] output_size");
    tuff_unfold(layers_input(c, TUFF_SHAPE(1, 3, 3)), NULL);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "unfold kernel");
    tuff_unfold(layers_input(c, TUFF_SHAPE(1, 3, 3)), &(tuff_unfold_desc){ .kernel = { INT64_MAX, INT64_MAX } });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "unfold kernel");
}

static void pixel_shuffle(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(2, 12, 4, 6));
    layers_expect(tuff_pixel_shuffle(x, 2), "pixel_shuffle", "upscale_factor=2");
    layers_expect(tuff_pixel_unshuffle(x, 2), "pixel_unshuffle", "downscale_factor=2");
    tuff_pixel_shuffle(x, 5);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "pixel_shuffle [2, 12, 4, 6] 25");
    tuff_pixel_unshuffle(layers_input(c, TUFF_SHAPE(2, 12, 4, 6)), 0);
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "pixel_unshuffle factor");
}

static const layers_test tests[] = {
    { "pool1d", pool1d },
    { "pool2d", pool2d },
    { "pool3d", pool3d },
    { "adaptive pools", adaptive },
    { "interpolate", interpolate },
    { "unfold", unfold },
    { "pixel_shuffle", pixel_shuffle },
};
const layers_family LAYERS_POOLING = LAYERS_FAMILY(tests);
