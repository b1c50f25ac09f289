/* Images as columns of patches and back (unfold, fold), each the other's gradient; and pixels moved between channels
 * and places (pixel_shuffle, pixel_unshuffle), which are views and one copy. */
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/pointwise.h"
#include "layers/resample.h"

#include <string.h>

enum { LANES = 64 };

/* fold's output_size stands before unfold's attributes. */
enum { KERNEL = 0, DILATION, PADDING, STRIDE, PATCH_ATTRIBUTES };

#define PATCHES                                                                                                        \
    { .name = "kernel_size", .type = ATTRIBUTE_INTS, .length = 2, .required = true },                                  \
        { .name = "dilation", .type = ATTRIBUTE_INTS, .length = 2, .value = { .i = 2, .list = { 1, 1 } } },            \
        { .name = "padding", .type = ATTRIBUTE_INTS, .length = 2, .value = { .i = 2 } }, {                             \
        .name = "stride", .type = ATTRIBUTE_INTS, .length = 2, .value = {.i = 2, .list = { 1, 1 } }                    \
    }
static const attribute unfold_attributes[] = { PATCHES };
static const attribute fold_attributes[] = {
    { .name = "output_size", .type = ATTRIBUTE_INTS, .length = 2, .required = true },
    PATCHES,
};

static const operator operator_fold;

/* The four numbers for each axis; those of fold start at its attribute 1. */
static const attribute_value *patches_of(const node *node) {
    return node->attributes + (node->op == &operator_fold);
}

/* ---- shapes -------------------------------------------------------------------------------------- */

/* Windows along each axis of an image of this size; fails if the numbers are impossible. */
static tuff_result count_windows(inference *inference, const int64_t *size, int64_t *count) {
    const node *node = inference->node;
    const attribute_value *a = patches_of(node);
    char text[160], shape[SHAPE_TEXT];
    node_text(node, text);
    for (uint32_t axis = 0; axis < 2; axis++) {
        long long kernel = a[KERNEL].list[axis], dilation = a[DILATION].list[axis], padding = a[PADDING].list[axis];
        long long stride = a[STRIDE].list[axis], most = INT16_MAX;
        if (kernel < 1 || dilation < 1 || padding < 0 || stride < 1 || kernel > most || dilation > most
            || padding > most || stride > most)
            return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                              "%s: along the %s kernel %lld, dilation %lld, padding %lld, stride %lld: padding is 0 to "
                              "%lld, the others are 1 to %lld",
                              text, axis ? "width" : "height", kernel, dilation, padding, stride, most, most);
        int64_t room = size[axis] + 2 * padding - dilation * (kernel - 1) - 1;
        if (room < 0)
            return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                              "%s of '%s' %s: the kernel's %s %lld, dilated by %lld, is larger than %lld pixels with "
                              "padding %lld",
                              text, node->inputs[0]->name, shape_text(&node->inputs[0]->shape, shape),
                              axis ? "width" : "height", kernel, dilation, (long long)size[axis], padding);
        count[axis] = room / stride + 1;
    }
    return TUFF_OK;
}

static tuff_result infer_unfold(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    const attribute_value *a = patches_of(node);
    uint32_t rank = x->shape.rank;
    char text[160], shape[SHAPE_TEXT];
    int64_t count[2];
    if (rank != 3 && rank != 4)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have the shape (N, C, H, W) or "
                          "(C, H, W)",
                          node_text(node, text), x->name, shape_text(&x->shape, shape));
    TRY(count_windows(inference, x->shape.sizes + rank - 2, count));
    tuff_shape *out = &inference->shapes[0];
    *out = x->shape;
    out->rank = rank - 1;
    out->sizes[rank - 3] *= a[KERNEL].list[0] * a[KERNEL].list[1];
    out->sizes[rank - 2] = count[0] * count[1];
    return TUFF_OK;
}

static tuff_result infer_fold(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    const attribute_value *a = patches_of(node), *size = &node->attributes[0];
    uint32_t rank = x->shape.rank;
    char text[160], shape[SHAPE_TEXT];
    int64_t count[2];
    node_text(node, text);
    shape_text(&x->shape, shape);
    if (size->list[0] < 1 || size->list[1] < 1 || size->list[0] > INT32_MAX || size->list[1] > INT32_MAX)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: output_size is %lld, %lld; 1 to %d are possible",
                          text, (long long)size->list[0], (long long)size->list[1], INT32_MAX);
    TRY(count_windows(inference, size->list, count));
    int64_t taps = a[KERNEL].list[0] * a[KERNEL].list[1];
    if ((rank != 2 && rank != 3) || x->shape.sizes[rank - 2] % taps || x->shape.sizes[rank - 1] != count[0] * count[1])
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have the shape (N, C * %lld, %lld) or (C * %lld, %lld) for this kernel and "
                          "output_size",
                          text, x->name, shape, (long long)taps, (long long)(count[0] * count[1]), (long long)taps,
                          (long long)(count[0] * count[1]));
    tuff_shape *out = &inference->shapes[0];
    *out = x->shape;
    out->rank = rank + 1;
    out->sizes[rank - 2] /= taps;
    out->sizes[rank - 1] = size->list[0];
    out->sizes[rank] = size->list[1];
    return TUFF_OK;
}

static tuff_result infer_unfold_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

/* ---- kernels ------------------------------------------------------------------------------------- */

/* The push constants of shaders/pooling/columns.glsl. */
enum { FIRST_IMAGE = 12, FIRST_COLUMNS, BEGIN_LINE, BEGIN_TAP, PARAMS };

/* A row-major view as (planes, elements of each). */
static view as_planes(const view *whole, int64_t planes) {
    view flat = *whole;
    flat.shape = TUFF_SHAPE(planes, view_count(whole) / planes);
    flat.strides[0] = flat.shape.sizes[1];
    flat.strides[1] = 1;
    return flat;
}

/* image to columns, or columns to image. */
static tuff_result lower_patches(lowering *lowering, const node *node, const view *image, const view *columns,
                                 bool fold) {
    const attribute_value *a = patches_of(node);
    const int64_t *size = image->shape.sizes + image->shape.rank - 2;
    int64_t planes = view_count(image) / (size[0] * size[1]), count[2];
    for (uint32_t axis = 0; axis < 2; axis++)
        count[axis] = (size[axis] + 2 * a[PADDING].list[axis] - a[DILATION].list[axis] * (a[KERNEL].list[axis] - 1) - 1)
                          / a[STRIDE].list[axis]
                      + 1;
    view images = as_planes(image, planes), all_columns = as_planes(columns, planes);
    int64_t taps = fold ? 1 : a[KERNEL].list[0] * a[KERNEL].list[1];
    int64_t lines = fold ? size[0] * size[1] : count[0] * count[1], groups = (lines + LANES - 1) / LANES;
    int64_t step = smaller(steps_that_fit(lowering, &images), steps_that_fit(lowering, &all_columns));
    step = smaller(step, MAX_GROUPS);
    const int64_t values[] = { size[0],
                               size[1],
                               count[0],
                               count[1],
                               a[KERNEL].list[0],
                               a[KERNEL].list[1],
                               a[STRIDE].list[0],
                               a[STRIDE].list[1],
                               a[PADDING].list[0],
                               a[PADDING].list[1],
                               a[DILATION].list[0],
                               a[DILATION].list[1] };
    for (int64_t plane = 0; plane < planes; plane += step) {
        int64_t part = smaller(step, planes - plane);
        view image_part = view_part(&images, plane, part), columns_part = view_part(&all_columns, plane, part);
        kernel_call call = { .kernel = fold ? KERNEL_FOLD : KERNEL_UNFOLD, .operand_count = 2, .param_count = PARAMS };
        for (uint32_t i = 0; i < sizeof values / sizeof *values; i++) call.params[i] = (uint32_t)values[i];
        call.operands[0] =
            lowering_operand(lowering, &image_part, fold ? ACCESS_WRITE : ACCESS_READ, &call.params[FIRST_IMAGE]);
        call.operands[1] =
            lowering_operand(lowering, &columns_part, fold ? ACCESS_READ : ACCESS_WRITE, &call.params[FIRST_COLUMNS]);
        call.groups[2] = (uint32_t)part;
        for (int64_t tap = 0; tap < taps; tap += MAX_GROUPS)
            for (int64_t group = 0; group < groups; group += MAX_GROUPS) {
                call.params[BEGIN_TAP] = (uint32_t)tap;
                call.params[BEGIN_LINE] = (uint32_t)(group * LANES);
                call.groups[0] = (uint32_t)smaller(groups - group, MAX_GROUPS);
                call.groups[1] = (uint32_t)smaller(taps - tap, MAX_GROUPS);
                TRY(lowering_call(lowering, &call));
            }
    }
    return TUFF_OK;
}

static tuff_result lower_unfold(lowering *lowering, const node *node) {
    return lower_patches(lowering, node, lowering_view(lowering, node->inputs[0]),
                         lowering_view(lowering, node->outputs[0]), false);
}

static tuff_result lower_fold(lowering *lowering, const node *node) {
    return lower_patches(lowering, node, lowering_view(lowering, node->outputs[0]),
                         lowering_view(lowering, node->inputs[0]), true);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static tuff_result gradient_unfold(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs);

static const operator operator_unfold = {
    .name = "unfold",
    .formula = "y[n, (c, ky, kx), (i, j)] = x[n, c, i stride - padding + ky dilation, ...], 0 beyond the image",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.unfold",
    .attributes = unfold_attributes,
    .attribute_count = PATCH_ATTRIBUTES,
    .infer = infer_unfold,
    .gradient = gradient_unfold,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_unfold,
};

/* Of fold, and of unfold_backward: both are linear in input 0, with unfold as the adjoint. */
static tuff_result gradient_fold(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(&operator_unfold, grad_outputs[0], patches_of(node));
    return TUFF_OK;
}

static const operator operator_unfold_backward = {
    .name = "unfold_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "fold to the size of input",
    .inputs = { "grad_output", "input" },
    .attributes = unfold_attributes,
    .attribute_count = PATCH_ATTRIBUTES,
    .shape_only = 1u << 1,
    .infer = infer_unfold_backward,
    .gradient = gradient_fold,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_fold,
};

static tuff_result gradient_unfold(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_binary(&operator_unfold_backward, grad_outputs[0], node->inputs[0], node->attributes);
    return TUFF_OK;
}

static const operator operator_fold = {
    .name = "fold",
    .formula = "y[n, c, h, w] = sum of x[n, (c, ky, kx), (i, j)] over the places that unfold fills from there",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.fold",
    .attributes = fold_attributes,
    .attribute_count = 1 + PATCH_ATTRIBUTES,
    .infer = infer_fold,
    .gradient = gradient_fold,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_fold,
};

/* PATCHES' values from a desc, in which 0 is PyTorch's default. */
static void set_patches(attribute_value *a, const tuff_unfold_desc *desc) {
    static const tuff_unfold_desc none;
    if (!desc) desc = &none;
    for (uint32_t axis = 0; axis < 2; axis++) {
        a[KERNEL].list[axis] = desc->kernel[axis];
        a[DILATION].list[axis] = desc->dilation[axis] ? desc->dilation[axis] : 1;
        a[PADDING].list[axis] = desc->padding[axis];
        a[STRIDE].list[axis] = desc->stride[axis] ? desc->stride[axis] : 1;
    }
    a[KERNEL].i = a[DILATION].i = a[PADDING].i = a[STRIDE].i = 2;
}

tuff_tensor *tuff_unfold(tuff_tensor *x, const tuff_unfold_desc *desc) {
    attribute_value a[PATCH_ATTRIBUTES] = { 0 };
    set_patches(a, desc);
    return apply_unary(&operator_unfold, x, a);
}

tuff_tensor *tuff_fold(tuff_tensor *x, int64_t height, int64_t width, const tuff_unfold_desc *desc) {
    attribute_value a[1 + PATCH_ATTRIBUTES] = { { .i = 2, .list = { height, width } } };
    set_patches(a + 1, desc);
    return apply_unary(&operator_fold, x, a);
}

/* ---- pixel_shuffle ------------------------------------------------------------------------------- */

static const attribute upscale_attributes[] = {
    { .name = "upscale_factor", .type = ATTRIBUTE_INT, .required = true },
};
static const attribute downscale_attributes[] = {
    { .name = "downscale_factor", .type = ATTRIBUTE_INT, .required = true },
};

/* (..., C, H, W): the factor must be 1 to INT16_MAX, and divide what it shrinks. */
static tuff_result check_factor(inference *inference, bool up) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    const int64_t *sizes = x->shape.sizes + x->shape.rank - 3;
    int64_t factor = node->attributes[0].i;
    char text[160], shape[SHAPE_TEXT];
    node_text(node, text);
    if (x->shape.rank < 3)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape (..., C, H, W)", text,
                          x->name, shape_text(&x->shape, shape));
    if (factor < 1 || factor > INT16_MAX)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: the factor is %lld; 1 to %d are possible", text,
                          (long long)factor, INT16_MAX);
    if (up ? sizes[0] % (factor * factor) != 0 : sizes[1] % factor || sizes[2] % factor)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s: the %s must be multiples of %lld", text,
                          x->name, shape_text(&x->shape, shape), up ? "channels" : "height and the width",
                          (long long)(up ? factor * factor : factor));
    return TUFF_OK;
}

static tuff_shape shuffled_shape(const tuff_shape *shape, int64_t factor, bool up) {
    tuff_shape out = *shape;
    int64_t *sizes = out.sizes + out.rank - 3;
    sizes[0] = up ? sizes[0] / (factor * factor) : sizes[0] * (factor * factor);
    for (uint32_t axis = 1; axis < 3; axis++) sizes[axis] = up ? sizes[axis] * factor : sizes[axis] / factor;
    return out;
}

static tuff_result infer_shuffle(inference *inference) {
    TRY(check_factor(inference, true));
    inference->shapes[0] = shuffled_shape(&inference->node->inputs[0]->shape, inference->node->attributes[0].i, true);
    return TUFF_OK;
}

static tuff_result infer_unshuffle(inference *inference) {
    TRY(check_factor(inference, false));
    inference->shapes[0] = shuffled_shape(&inference->node->inputs[0]->shape, inference->node->attributes[0].i, false);
    return TUFF_OK;
}

/* The last `count` axes in another order, `order` counting from the first of them. */
static tuff_tensor *permute_last(tuff_tensor *x, const int32_t *order, uint32_t count) {
    if (!x) return NULL;
    int32_t axes[TUFF_MAX_RANK];
    uint32_t before = x->shape.rank - count;
    for (uint32_t i = 0; i < before; i++) axes[i] = (int32_t)i;
    for (uint32_t i = 0; i < count; i++) axes[before + i] = (int32_t)before + order[i];
    return tuff_permute(x, axes, x->shape.rank);
}

/* Two more axes are needed on the way: of a tensor with many the first ones are one in the meantime. */
enum { SHUFFLE_MOST_AXES = TUFF_MAX_RANK - 2 };

static tuff_tensor *join_first(tuff_tensor *x) {
    return x->shape.rank > SHUFFLE_MOST_AXES ? tuff_flatten_axes(x, 0, -4) : x;
}

static tuff_tensor *part_first(tuff_tensor *y, const tuff_shape *x) {
    return x->rank > SHUFFLE_MOST_AXES ? tuff_unflatten(y, 0, x->sizes, x->rank - 3) : y;
}

/* (..., C r r, H, W) to (..., C, r, r, H, W), (..., C, H, r, W, r), (..., C, H r, W r). No size is named but r. */
static tuff_result expand_shuffle(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                  tuff_tensor **outputs) {
    (void)training;
    int64_t r = node->attributes[0].i;
    tuff_tensor *x = tuff_unflatten(join_first(inputs[0]), -3, (int64_t[]){ -1, r, r }, 3);
    x = permute_last(x, (int32_t[]){ 0, 3, 1, 4, 2 }, 5);
    x = tuff_flatten_axes(tuff_flatten_axes(x, -2, -1), -3, -2);
    outputs[0] = part_first(x, &inputs[0]->shape);
    return graph->result;
}

/* (..., C, H, W) to (..., C, H / r, r, W / r, r), (..., C, r, r, H / r, W / r), (..., C r r, H / r, W / r). */
static tuff_result expand_unshuffle(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                    tuff_tensor **outputs) {
    (void)training;
    const int64_t parts[] = { -1, node->attributes[0].i };
    tuff_tensor *x = tuff_unflatten(tuff_unflatten(join_first(inputs[0]), -1, parts, 2), -3, parts, 2);
    x = tuff_flatten_axes(permute_last(x, (int32_t[]){ 0, 2, 4, 1, 3 }, 5), -5, -3);
    outputs[0] = part_first(x, &inputs[0]->shape);
    return graph->result;
}

static const operator operator_pixel_shuffle = {
    .name = "pixel_shuffle",
    .formula = "y[n, c, h r + i, w r + j] = x[n, (c, i, j), h, w], r = upscale_factor",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.pixel_shuffle",
    .attributes = upscale_attributes,
    .attribute_count = 1,
    .infer = infer_shuffle,
    .expand = expand_shuffle,
};

static const operator operator_pixel_unshuffle = {
    .name = "pixel_unshuffle",
    .formula = "y[n, (c, i, j), h, w] = x[n, c, h r + i, w r + j], r = downscale_factor",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.pixel_unshuffle",
    .attributes = downscale_attributes,
    .attribute_count = 1,
    .infer = infer_unshuffle,
    .expand = expand_unshuffle,
};

tuff_tensor *tuff_pixel_shuffle(tuff_tensor *x, int64_t upscale_factor) {
    return apply_unary(&operator_pixel_shuffle, x, &(attribute_value){ .i = upscale_factor });
}

tuff_tensor *tuff_pixel_unshuffle(tuff_tensor *x, int64_t downscale_factor) {
    return apply_unary(&operator_pixel_unshuffle, x, &(attribute_value){ .i = downscale_factor });
}

static const operator* const rows[] = { &operator_interpolate,   &operator_resample,        &operator_resample_backward,
                                        &operator_unfold,        &operator_unfold_backward, &operator_fold,
                                        &operator_pixel_shuffle, &operator_pixel_unshuffle };
const operator_family family_resampling = { rows, sizeof rows / sizeof *rows };
