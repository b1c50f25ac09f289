/* Products against the reference. */
#include "checks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

/* In [-1, 1), a multiple of 2^-11: exact in float32. */
static double number(int64_t i, uint32_t seed) {
    uint32_t h = ((uint32_t)i + seed * 7919u) * 2654435761u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    return (double)(h >> 20) / 2048 - 1;
}

ref *checks_filled(tuff_shape shape, uint32_t seed) {
    ref *x = ref_new(shape);
    for (int64_t i = 0; i < x->count; i++) x->v[i] = number(i, seed), x->abs[i] = fabs(x->v[i]);
    return x;
}

float *checks_floats(const ref *x) {
    float *floats = malloc((size_t)x->count * sizeof *floats);
    for (int64_t i = 0; i < x->count; i++) floats[i] = (float)x->v[i];
    return floats;
}

void checks_begin(checks *c, const char *force) {
    memset(c, 0, sizeof *c);
    bool tuned = strcmp(force, TUNED) == 0;
    c->device = test_device_open(
        &(tuff_device_desc){ .force = tuned ? "" : force, .tuning = tuned ? TUFF_TUNING_ON : TUFF_TUNING_OFF });
    c->model = tuff_model_create(c->device, NULL);
    c->graph = tuff_graph_create(c->model);
    assert_non_null(c->graph);
}

tuff_tensor *checks_leaf(checks *c, ref *value) {
    char name[32];
    snprintf(name, sizeof name, "leaf%u", c->leaf_count);
    assert_true(c->leaf_count < MAX_LEAVES);
    c->values[c->leaf_count] = value;
    return c->leaves[c->leaf_count++] = tuff_input(c->graph, name, TUFF_F32, value->shape);
}

void checks_expect(checks *c, tuff_tensor *output, ref *expected, const char *name) {
    if (!output) fail_msg("%s: %s", name, tuff_graph_message(c->graph));
    assert_true(c->count < MAX_CHECKS);
    snprintf(c->names[c->count], sizeof c->names[0], "%s", name);
    c->outputs[c->count] = output;
    c->expected[c->count++] = expected;
}

static void compare(const ref *expected, const float *floats, const char *name, const char *force) {
    for (int64_t i = 0; i < expected->count; i++) {
        double error = fabs(floats[i] - expected->v[i]), tolerance = ref_tolerance(expected, i);
        if (!(error <= tolerance))
            fail_msg("%s with %s: element %lld is %g, should be %g; off by %g of %g", name, force, (long long)i,
                     (double)floats[i], expected->v[i], error, tolerance);
    }
}

void checks_finish(checks *c, const char *force) {
    tuff_program *program = NULL;
    OK(tuff_compile(c->graph, &(tuff_program_desc){ .outputs = c->outputs, .output_count = c->count, .evaluate = true },
                    &program));
    for (uint32_t i = 0; i < c->leaf_count; i++) {
        float *floats = checks_floats(c->values[i]);
        OK(tuff_write(program, c->leaves[i], floats, (size_t)c->values[i]->count * sizeof *floats));
        free(floats);
    }
    OK(tuff_run(program));
    for (uint32_t i = 0; i < c->count; i++) {
        size_t bytes = (size_t)c->expected[i]->count * sizeof(float);
        float *floats = malloc(bytes);
        OK(tuff_read(program, c->outputs[i], floats, bytes));
        compare(c->expected[i], floats, c->names[i], force);
        free(floats);
        ref_free(c->expected[i]);
    }
    for (uint32_t i = 0; i < c->leaf_count; i++) ref_free(c->values[i]);
    tuff_program_destroy(program);
    tuff_graph_destroy(c->graph);
    tuff_model_destroy(c->model);
    tuff_device_close(c->device);
}

ref *checks_clipped(const ref *x, double slope) {
    ref *y = ref_copy(x);
    for (int64_t i = 0; i < y->count; i++)
        if (y->v[i] < 0) y->v[i] *= slope;
    return y;
}

/* x with its second axis moved behind all others. */
static ref *channels_last(const ref *x) {
    ref *y = ref_copy(x);
    for (int axis = 1; axis + 1 < (int)x->shape.rank; axis++) {
        ref *next = ref_transpose(y, axis, axis + 1);
        ref_free(y);
        y = next;
    }
    return y;
}

tuff_tensor *checks_image(checks *c, ref *x, bool last) {
    if (!last) return checks_leaf(c, x);
    tuff_tensor *y = checks_leaf(c, channels_last(x));
    for (int axis = (int)x->shape.rank - 1; axis > 1; axis--) y = tuff_transpose(y, axis, axis - 1);
    ref_free(x);
    return y;
}

tuff_tensor *checks_apply_conv(tuff_tensor *x, tuff_tensor *w, tuff_tensor *b, const ref_convolution *c) {
    const int64_t *s = c->stride, *p = c->padding, *d = c->dilation;
    if (tuff_tensor_shape(x).rank == 3)
        return tuff_conv1d(
            x, &(tuff_conv1d_desc){
                   .weight = w, .bias = b, .stride = s[0], .padding = p[0], .dilation = d[0], .groups = c->groups });
    if (tuff_tensor_shape(x).rank == 4)
        return tuff_conv2d(x, &(tuff_conv2d_desc){ .weight = w,
                                                   .bias = b,
                                                   .stride = { s[0], s[1] },
                                                   .padding = { p[0], p[1] },
                                                   .dilation = { d[0], d[1] },
                                                   .groups = c->groups });
    return tuff_conv3d(x, &(tuff_conv3d_desc){ .weight = w,
                                               .bias = b,
                                               .stride = { s[0], s[1], s[2] },
                                               .padding = { p[0], p[1], p[2] },
                                               .dilation = { d[0], d[1], d[2] },
                                               .groups = c->groups });
}

void checks_conv(checks *c, const conv_case *s, uint32_t index) {
    ref_convolution spec = s->c;
    for (int i = 0; i < 3; i++) {
        spec.behind[i] = spec.padding[i];
        if (!spec.stride[i]) spec.stride[i] = 1;
        if (!spec.dilation[i]) spec.dilation[i] = 1;
    }
    if (!spec.groups) spec.groups = 1;
    ref *x = checks_filled(s->x, 10 + index), *w = checks_filled(s->weight, 30 + index);
    ref *b = checks_filled(TUFF_SHAPE(s->weight.sizes[0]), 31 + index);
    tuff_tensor *tw = checks_leaf(c, w), *tb = checks_leaf(c, b), *tx = checks_image(c, ref_copy(x), s->last),
                *gradients[2];
    tuff_tensor *ty = checks_apply_conv(tx, tw, tb, &spec);
    if (!ty) fail_msg("conv %u: %s", index, tuff_graph_message(c->graph));
    ref *r = checks_filled(tuff_tensor_shape(ty), 32 + index);
    tuff_tensor *loss = tuff_sum(tuff_mul(ty, checks_leaf(c, r)), NULL);
    OK(tuff_gradients(loss, (tuff_tensor *[]){ tx, tw }, 2, gradients));
    ref *gx = ref_new(x->shape), *gw = ref_new(w->shape), *y = ref_conv(x, w, b, &spec);
    ref_conv_grad(x, w, &spec, r, gx, gw, NULL);
    char text[160];
    snprintf(text, sizeof text, "conv %u, output", index);
    checks_expect(c, tuff_relu(checks_apply_conv(tx, tw, tb, &spec)), checks_clipped(y, 0), text);
    const uint32_t rank = x->shape.rank;
    if (rank == 5 || s->weight.sizes[0] > 100) { /* a tensor in another order, and one that differs along the height */
        ref *sum = ref_conv(x, w, NULL, &spec), *added = checks_filled(y->shape, 33 + index);
        int64_t height = y->shape.sizes[rank - 2], width = y->shape.sizes[rank - 1];
        ref *factor =
            checks_filled(rank == 5 ? TUFF_SHAPE(1, 1, 1, height, 1) : TUFF_SHAPE(1, 1, height, 1), 34 + index);
        for (int64_t i = 0; i < sum->count; i++) { /* with the error of the whole sum */
            double f = factor->v[i / width % height];
            sum->v[i] = (sum->v[i] + added->v[i]) * f;
            sum->abs[i] = (sum->abs[i] + fabs(added->v[i])) * fabs(f);
        }
        snprintf(text, sizeof text, "conv %u, plus a tensor, times rows", index);
        tuff_tensor *tsum = tuff_add(checks_apply_conv(tx, tw, NULL, &spec), checks_leaf(c, added));
        checks_expect(c, tuff_mul(tsum, checks_leaf(c, factor)), sum, text);
    }
    snprintf(text, sizeof text, "conv %u, gradient of x", index);
    checks_expect(c, gradients[0], gx, text);
    snprintf(text, sizeof text, "conv %u, gradient of the weights", index);
    checks_expect(c, gradients[1], gw, text);
    ref_free(x);
    ref_free(y);
}
