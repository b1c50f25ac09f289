#include "test_layers.h"

#include <math.h>

static void over_axes(layers_case *c) {
    const tuff_reduce_desc desc = { .axes = { 0, -1 }, .axis_count = 2, .keepdim = true };
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(3, 5, 2));
    layers_expect(tuff_sum(x, &desc), "sum", "dim=0,-1 keepdim=true");
    layers_expect(tuff_mean(x, NULL), "mean", "");
    layers_expect(tuff_amax(x, &desc), "amax", "dim=0,-1 keepdim=true");
    layers_expect(tuff_amin(x, &desc), "amin", "dim=0,-1 keepdim=true");
    layers_expect(tuff_prod(x, &desc), "prod", "dim=0,-1 keepdim=true");
    layers_expect(tuff_var(x, 1, NULL), "var", "");
    layers_expect(tuff_var(x, 0, &desc), "var", "dim=0,-1 keepdim=true correction=0");
    layers_expect(tuff_std(x, 0.5f, &desc), "std", "dim=0,-1 keepdim=true correction=0.5");
    layers_expect(tuff_norm(x, 2, NULL), "norm", "");
    layers_expect(tuff_norm(x, -INFINITY, &desc), "norm", "dim=0,-1 keepdim=true p=-inf");
    layers_expect(tuff_logsumexp(x, &desc), "logsumexp", "dim=0,-1 keepdim=true");
    tuff_amin(x, &(tuff_reduce_desc){ .axes = { 3 }, .axis_count = 1 });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "amin axis 3 [3, 5, 2] -3 to 2");
    tuff_sum(layers_input(c, TUFF_SCALAR), &(tuff_reduce_desc){ .axes = { 0 }, .axis_count = 1 });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "sum axis 0 [] no axes");
    tuff_sum(layers_index(c, TUFF_SHAPE(4)), NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "sum int32 float32 tuff_to");
    tuff_sum(layers_input(c, TUFF_SHAPE(3, 5)), &(tuff_reduce_desc){ .axes = { 0, -2 }, .axis_count = 2 });
    layers_expect_error(c, TUFF_ERROR_SHAPE, "sum twice");
}

static void along_an_axis(layers_case *c) {
    tuff_tensor *x = layers_input(c, TUFF_SHAPE(3, 5)), *indices = NULL;
    layers_expect(tuff_max(x, 1, true, &indices), "max", "dim=1 keepdim=true");
    layers_expect(indices, "max", "dim=1 keepdim=true");
    layers_expect(tuff_min(x, 0, false, NULL), "min", "dim=0");
    layers_expect(tuff_argmax(x, NULL), "argmax", "");
    layers_expect(tuff_argmin(x, &(tuff_reduce_desc){ .axes = { -1 }, .axis_count = 1, .keepdim = true }), "argmin",
                  "dim=-1 keepdim=true");
    layers_expect(tuff_topk(x, 2, 0, NULL, &indices), "topk", "k=2 dim=0");
    layers_expect(indices, "topk", "k=2 dim=0");
    layers_expect(tuff_topk(x, 5, -1, &(tuff_topk_desc){ .smallest = true }, NULL), "topk", "k=5 largest=false");
    layers_expect(tuff_cumsum(x, 1), "cumsum", "dim=1");
    layers_expect(tuff_softmax(x, 0), "softmax", "dim=0");
    layers_expect(tuff_log_softmax(x, -1), "log_softmax", "dim=-1");
    tuff_topk(x, 6, 1, NULL, NULL);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "topk k 6 [3, 5]");
    tuff_cumsum(layers_input(c, TUFF_SHAPE(4)), 1);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "cumsum axis 1 [4] -1 to 0");
    tuff_softmax(layers_input(c, TUFF_SCALAR), 0);
    layers_expect_error(c, TUFF_ERROR_SHAPE, "softmax axis 0 [] no axes");
    tuff_argmax(layers_input(c, TUFF_SHAPE(3, 4)), &(tuff_reduce_desc){ .axes = { 0, 1 }, .axis_count = 2 });
    layers_expect_error(c, TUFF_ERROR_ARGUMENT, "argmax 2 axes");
}

static const layers_test tests[] = { { "reductions over axes", over_axes }, { "along an axis", along_an_axis } };
const layers_family LAYERS_REDUCTION = LAYERS_FAMILY(tests);
