/* Resampling: y = R x C, where R and C are banded matrices, a row for each pixel of the result along one axis, which
 * holds the weights of a run of neighbouring pixels of x. The bands are computed here, in double precision, and given
 * to the kernel as a record; the gradient is the same kernel with both matrices transposed, so it gathers, too.
 *
 * The coordinates are PyTorch's: with align_corners, pixel o of `out` lies at o (in - 1) / (out - 1) of the pixels
 * 0 .. in - 1; otherwise at (o + 1/2) / scale - 1/2, where scale is the given factor or out / in. nearest takes pixel
 * floor(o / scale), in float32 as PyTorch does, since there a rounding error moves whole pixels. Where a factor leaves
 * the size as it is (1.04 of 20 pixels), linear copies, as in PyTorch; its gradients of nearest and bicubic do, too,
 * which are not those of its forward passes: here they are. */
#include "layers/resample.h"

#include "layers/flat.h"
#include "layers/pointwise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 64, MOST_WORDS = 1 << 23 };
enum { SIZE = 0, SCALE, MODE, ALIGN_CORNERS, RECOMPUTE, ATTRIBUTES };

#define MODES "nearest|linear|bilinear|trilinear|bicubic|area|nearest-exact"
static const attribute attributes[ATTRIBUTES] = {
    [SIZE] = { .name = "size", .type = ATTRIBUTE_INTS },
    [SCALE] = { .name = "scale_factor", .type = ATTRIBUTE_FLOATS },
    [MODE] = { .name = "mode", .type = ATTRIBUTE_CHOICE, .choices = MODES },
    [ALIGN_CORNERS] = { .name = "align_corners", .type = ATTRIBUTE_BOOL },
    [RECOMPUTE] = { .name = "recompute_scale_factor", .type = ATTRIBUTE_BOOL },
};

/* ---- bands --------------------------------------------------------------------------------------- */

/* Entry i of a matrix has `count` weights from weights[offset] on, for the columns from `first` on. */
typedef struct band {
    uint32_t first, count, offset;
} band;

typedef struct bands {
    int64_t rows, columns, weight_count, capacity;
    band *entries;
    float *weights;
} bands;

static void bands_free(bands *b) {
    free(b->entries);
    free(b->weights);
    *b = (bands){ 0 };
}

static tuff_result bands_begin(bands *b, int64_t rows, int64_t columns, int64_t capacity) {
    *b = (bands){ .rows = rows, .columns = columns, .capacity = capacity };
    b->entries = calloc((size_t)rows, sizeof *b->entries);
    b->weights = calloc((size_t)capacity, sizeof *b->weights);
    if (b->entries && b->weights) return TUFF_OK;
    bands_free(b);
    return error_out_of_host_memory((uint64_t)(rows + capacity) * sizeof(band));
}

static int64_t clamp(int64_t x, int64_t most) {
    return x < 0 ? 0 : x > most ? most : x;
}

/* Row o: the weights of the pixels from `begin` on; those beyond the image count for the pixel at its border. */
static void add_row(bands *b, int64_t o, int64_t begin, const double *weights, int64_t count) {
    int64_t last = b->columns - 1, first = clamp(begin, last), end = clamp(begin + count - 1, last) + 1;
    double sums[4] = { 0 };
    for (int64_t i = 0; i < count; i++) sums[clamp(begin + i, last) - first] += weights[i];
    b->entries[o] = (band){ (uint32_t)first, (uint32_t)(end - first), (uint32_t)b->weight_count };
    for (int64_t i = 0; i < end - first; i++) b->weights[b->weight_count++] = (float)sums[i];
}

/* Pixels from floor(o in / out) to ceil((o + 1) in / out), all alike. */
static void add_area(bands *b, int64_t o) {
    int64_t begin = o * b->columns / b->rows, end = ((o + 1) * b->columns + b->rows - 1) / b->rows;
    b->entries[o] = (band){ (uint32_t)begin, (uint32_t)(end - begin), (uint32_t)b->weight_count };
    for (int64_t i = begin; i < end; i++) b->weights[b->weight_count++] = (float)(1.0 / (double)(end - begin));
}

/* Keys' cubic convolution with a = -3/4. */
static double cubic(double distance) {
    const double a = -0.75, x = fabs(distance);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

/* scale: 0 if it follows from the sizes. */
static void add_interpolated(bands *b, int64_t o, const resampling *r, double scale) {
    int64_t in = b->columns, out = b->rows, last = in - 1;
    if (r->mode == RESAMPLE_NEAREST || r->mode == RESAMPLE_NEAREST_EXACT) {
        float step = scale > 0 ? (float)(1.0 / scale) : (float)in / (float)out;
        float at = r->mode == RESAMPLE_NEAREST ? (float)o * step : ((float)o + 0.5f) * step;
        add_row(b, o, at < (float)in ? clamp((int64_t)floorf(at), last) : last, &(double){ 1 }, 1);
        return;
    }
    double step = scale > 0 ? 1.0 / scale : (double)in / (double)out;
    if (r->align_corners) step = out > 1 ? (double)(in - 1) / (double)(out - 1) : 0;
    double at = r->align_corners ? (double)o * step : ((double)o + 0.5) * step - 0.5;
    if (r->mode == RESAMPLE_BICUBIC) {
        int64_t below = at < (double)last ? (int64_t)floor(at) : last;
        double t = fmin(at - (double)below, 1);
        add_row(b, o, below - 1, (double[]){ cubic(1 + t), cubic(t), cubic(1 - t), cubic(2 - t) }, 4);
        return;
    }
    if (in == out) at = (double)o;
    at = fmin(fmax(at, 0), (double)last);
    int64_t below = (int64_t)at;
    double t = at - (double)below;
    add_row(b, o, below, (double[]){ 1 - t, t }, t > 0 ? 2 : 1);
}

static tuff_result bands_of(bands *b, const resampling *r, double scale, int64_t in, int64_t out) {
    int64_t taps = r->mode == RESAMPLE_BICUBIC ? 4 : 2;
    TRY(bands_begin(b, out, in, r->mode == RESAMPLE_AREA ? in + 2 * out : taps * out));
    for (int64_t o = 0; o < out; o++) {
        if (r->mode == RESAMPLE_AREA)
            add_area(b, o);
        else
            add_interpolated(b, o, r, scale);
    }
    return TUFF_OK;
}

/* Runs begin and end in order, so those that meet a column are neighbours, too. */
static tuff_result bands_transpose(const bands *b, bands *t) {
    TRY(bands_begin(t, b->columns, b->rows, b->weight_count + 1));
    int64_t begin = 0;
    for (int64_t i = 0; i < t->rows; i++) {
        while (begin < b->rows && b->entries[begin].first + b->entries[begin].count <= i) begin++;
        band *entry = &t->entries[i];
        *entry = (band){ (uint32_t)(begin < b->rows ? begin : 0), 0, (uint32_t)t->weight_count };
        for (int64_t o = begin; o < b->rows && b->entries[o].first <= i; o++, entry->count++)
            t->weights[t->weight_count++] = b->weights[b->entries[o].offset + (uint32_t)(i - b->entries[o].first)];
    }
    return TUFF_OK;
}

/* ---- the kernel ---------------------------------------------------------------------------------- */

static resampling resampling_of(const node *node) {
    const attribute_value *a = node->attributes;
    resampling r = { .mode = (resample_mode)a[MODE].i,
                     .align_corners = a[ALIGN_CORNERS].i,
                     .recompute_scale_factor = a[RECOMPUTE].i };
    for (uint32_t axis = 0; axis < 2; axis++) {
        if (a[SIZE].i) r.size[axis] = a[SIZE].list[axis];
        if (a[SCALE].i) r.scale[axis] = a[SCALE].numbers[axis];
    }
    return r;
}

int64_t resampled_size(const resampling *r, uint32_t axis, int64_t size) {
    if (r->size[axis]) return r->size[axis];
    double scaled = (double)size * r->scale[axis]; /* NaN is none, either */
    return scaled >= 1 && scaled <= INT32_MAX ? (int64_t)scaled : 0;
}

/* Appends entries and weights to words; the kernel finds the weights behind the entries. */
static uint32_t *put_bands(uint32_t *words, const bands *b) {
    memcpy(words, b->entries, (size_t)b->rows * sizeof *b->entries);
    words += b->rows * 3;
    memcpy(words, b->weights, (size_t)b->weight_count * sizeof *b->weights);
    return words + b->weight_count;
}

typedef struct matrices {
    operand record;
    uint32_t first[2]; /* words at which the bands of each axis start */
} matrices;

static tuff_result record_bands(lowering *lowering, const bands *b, matrices *m) {
    int64_t sizes[2];
    for (uint32_t axis = 0; axis < 2; axis++) sizes[axis] = 3 * b[axis].rows + b[axis].weight_count;
    int64_t total = sizes[0] + sizes[1];
    if (total > MOST_WORDS)
        return error_set(TUFF_ERROR_UNSUPPORTED,
                         "resampling to %lld x %lld takes a table of %lld words; %d are possible", (long long)b[0].rows,
                         (long long)b[1].rows, (long long)total, MOST_WORDS);
    uint32_t *words = malloc((size_t)total * sizeof *words), first = 0;
    if (!words) return error_out_of_host_memory((uint64_t)total * sizeof *words);
    put_bands(put_bands(words, &b[0]), &b[1]);
    tuff_result result = lowering_record(lowering, words, (uint32_t)total, &m->record, &first);
    m->first[0] = first;
    m->first[1] = first + (uint32_t)sizes[0];
    free(words);
    return result;
}

/* The matrices that make y (rows: y's pixels) of x, or backward its gradient of y's. */
static tuff_result matrices_of(lowering *lowering, const node *node, const view *x, const view *y, bool backward,
                               matrices *m) {
    resampling r = resampling_of(node);
    bands found[2] = { { 0 } };
    tuff_result result = TUFF_OK;
    for (uint32_t axis = 0; axis < 2 && result == TUFF_OK; axis++) {
        double scale = r.size[axis] || r.recompute_scale_factor ? 0 : r.scale[axis];
        result = bands_of(&found[axis], &r, scale, x->shape.sizes[2 + axis], y->shape.sizes[2 + axis]);
        if (result == TUFF_OK && backward) {
            bands forward = found[axis];
            result = bands_transpose(&forward, &found[axis]);
            bands_free(&forward);
        }
    }
    if (result == TUFF_OK) result = record_bands(lowering, found, m);
    for (uint32_t axis = 0; axis < 2; axis++) bands_free(&found[axis]);
    return result;
}

/* The push constants of shaders/pooling/resample.comp. */
enum { FIRST_X = 5, FIRST_Y, ROWS, COLUMNS, BEGIN_ROW, BEGIN_LINE, PARAMS };

/* `from` to `to` by the matrices. */
static tuff_result call_resample(lowering *lowering, const matrices *m, const view *from, const view *to) {
    const int64_t *in = from->shape.sizes, *out = to->shape.sizes;
    bool wide = wide_allowed(lowering) && in[1] % 4 == 0 && from->offset % 4 == 0 && to->offset % 4 == 0;
    int64_t width = wide ? 4 : 1, step = smaller(steps_that_fit(lowering, from), steps_that_fit(lowering, to));
    step = smaller(step, MAX_GROUPS);
    for (int64_t n = 0; n < in[0]; n += step) {
        int64_t images = smaller(step, in[0] - n), groups = (out[3] * (in[1] / width) + LANES - 1) / LANES;
        view from_part = view_part(from, n, images), to_part = view_part(to, n, images);
        kernel_call call = { .kernel = wide ? KERNEL_RESAMPLE_4 : KERNEL_RESAMPLE_1,
                             .params = { (uint32_t)in[2], (uint32_t)in[3], (uint32_t)out[2], (uint32_t)out[3],
                                         (uint32_t)(in[1] / width) },
                             .param_count = PARAMS,
                             .operand_count = 3 };
        call.operands[0] = lowering_operand(lowering, &from_part, ACCESS_READ, &call.params[FIRST_X]);
        call.operands[1] = lowering_operand(lowering, &to_part, ACCESS_WRITE, &call.params[FIRST_Y]);
        call.operands[2] = m->record;
        call.params[FIRST_X] /= (uint32_t)width;
        call.params[FIRST_Y] /= (uint32_t)width;
        call.params[ROWS] = m->first[0];
        call.params[COLUMNS] = m->first[1];
        for (int64_t row = 0; row < out[2]; row += MAX_GROUPS)
            for (int64_t group = 0; group < groups; group += MAX_GROUPS) {
                call.params[BEGIN_ROW] = (uint32_t)row;
                call.params[BEGIN_LINE] = (uint32_t)(group * LANES);
                call.groups[0] = (uint32_t)smaller(groups - group, MAX_GROUPS);
                call.groups[1] = (uint32_t)smaller(out[2] - row, MAX_GROUPS);
                call.groups[2] = (uint32_t)images;
                TRY(lowering_call(lowering, &call));
            }
    }
    return TUFF_OK;
}

static tuff_result lower(lowering *lowering, const node *node) {
    const view *x = lowering_view(lowering, node->inputs[0]), *y = lowering_view(lowering, node->outputs[0]);
    matrices m;
    TRY(matrices_of(lowering, node, x, y, false, &m));
    return call_resample(lowering, &m, x, y);
}

static tuff_result lower_backward(lowering *lowering, const node *node) {
    const view *g = lowering_view(lowering, node->inputs[0]), *gx = lowering_view(lowering, node->outputs[0]);
    matrices m;
    TRY(matrices_of(lowering, node, gx, g, true, &m));
    return call_resample(lowering, &m, g, gx);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static tuff_result infer_resample(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    resampling r = resampling_of(inference->node);
    char text[160], shape[SHAPE_TEXT];
    if (x->shape.rank != 4)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape (N, C, H, W)",
                          node_text(inference->node, text), x->name, shape_text(&x->shape, shape));
    inference->shapes[0] = x->shape;
    for (uint32_t axis = 0; axis < 2; axis++)
        inference->shapes[0].sizes[2 + axis] = resampled_size(&r, axis, x->shape.sizes[2 + axis]);
    return TUFF_OK;
}

static tuff_result infer_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

static tuff_result gradient_backward(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                     tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(&operator_resample, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

const operator operator_resample_backward = {
    .name = "resample_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "gx[h, w] = sum over i, j of R[i, h] gradient[i, j] C[j, w]",
    .inputs = { "grad_output", "input" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .shape_only = 1u << 1,
    .infer = infer_backward,
    .gradient = gradient_backward,
    .input_layouts = { LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower_backward,
};

static tuff_result gradient(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                            tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_binary(&operator_resample_backward, grad_outputs[0], node->inputs[0], node->attributes);
    return TUFF_OK;
}

const operator operator_resample = {
    .name = "resample",
    .flags = OPERATOR_INTERNAL,
    .formula = "y[i, j] = sum over h, w of R[i, h] x[h, w] C[j, w], of images",
    .inputs = { "input" },
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .infer = infer_resample,
    .gradient = gradient,
    .input_layouts = { LAYOUT_CHANNELS_LAST },
    .output_layout = LAYOUT_CHANNELS_LAST,
    .lower = lower,
};

tuff_tensor *resample(tuff_tensor *x, const resampling *r) {
    attribute_value a[ATTRIBUTES] = { [MODE] = { .i = r->mode },
                                      [ALIGN_CORNERS] = { .i = r->align_corners },
                                      [RECOMPUTE] = { .i = r->recompute_scale_factor } };
    bool sized = r->size[0] || r->size[1];
    a[SIZE].i = sized ? 2 : 0;
    a[SCALE].i = sized ? 0 : 2;
    for (uint32_t axis = 0; axis < 2; axis++) {
        if (sized)
            a[SIZE].list[axis] = r->size[axis];
        else
            a[SCALE].numbers[axis] = r->scale[axis];
    }
    return apply_unary(&operator_resample, x, a);
}

/* ---- interpolate --------------------------------------------------------------------------------- */

/* Of slices, and along the depth. */
typedef struct interpolation {
    resampling plane, depth;
} interpolation;

/* How many axes a mode is for; 0: any number. */
static uint32_t axes_of(resample_mode mode) {
    return mode == RESAMPLE_LINEAR                                 ? 1
           : mode == RESAMPLE_TRILINEAR                            ? 3
           : mode == RESAMPLE_BILINEAR || mode == RESAMPLE_BICUBIC ? 2
                                                                   : 0;
}

/* The last axis is the plane's axis 1, the depth is its own axis 0; what is not there stays as it is. sizes: the
 * result's axes behind N and C. */
static tuff_result interpolation_of(tuff_graph *graph, const node *node, const tuff_tensor *x, interpolation *i,
                                    int64_t sizes[3]) {
    const attribute_value *a = node->attributes;
    char text[160], shape[SHAPE_TEXT];
    node_text(node, text);
    shape_text(&x->shape, shape);
    if (x->shape.rank < 3 || x->shape.rank > 5)
        return graph_fail(graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s must have the shape (N, C, L), (N, C, H, W) or (N, C, D, H, W)", text, x->name,
                          shape);
    uint32_t axes = x->shape.rank - 2;
    resampling r = { .mode = (resample_mode)a[MODE].i,
                     .align_corners = a[ALIGN_CORNERS].i,
                     .recompute_scale_factor = a[RECOMPUTE].i,
                     .size = { a[SIZE].i ? 1 : 0, a[SIZE].i ? 1 : 0 },
                     .scale = { 1, 1 } };
    if (axes_of(r.mode) && axes_of(r.mode) != axes)
        return graph_fail(graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s: linear is for (N, C, L), bilinear and bicubic for (N, C, H, W), trilinear for "
                          "(N, C, D, H, W)",
                          text, x->name, shape);
    if (r.align_corners && !axes_of(r.mode))
        return graph_fail(graph, TUFF_ERROR_ARGUMENT,
                          "%s: align_corners is for linear, bilinear, trilinear and bicubic alone", text);
    const int64_t given = a[SIZE].i ? a[SIZE].i : a[SCALE].i;
    if (!a[SIZE].i == !a[SCALE].i || (given != 1 && given != axes) || (a[SIZE].i && r.recompute_scale_factor))
        return graph_fail(graph, TUFF_ERROR_ARGUMENT,
                          "%s: either size or scale_factor must be given, 1 or %u of it; recompute_scale_factor goes "
                          "with scale_factor",
                          text, axes);
    *i = (interpolation){ r, r };
    for (uint32_t at = 0; at < axes; at++) {
        bool depth = axes == 3 && at == 0;
        resampling *part = depth ? &i->depth : &i->plane;
        uint32_t axis = depth ? 0 : at + 2 - axes;
        if (a[SIZE].i) part->size[axis] = a[SIZE].list[given == 1 ? 0 : at];
        if (a[SCALE].i) part->scale[axis] = a[SCALE].numbers[given == 1 ? 0 : at];
        sizes[at] = resampled_size(part, axis, x->shape.sizes[2 + at]);
        if ((a[SIZE].i && part->size[axis] < 1) || sizes[at] < 1 || sizes[at] > INT32_MAX)
            return graph_fail(graph, TUFF_ERROR_ARGUMENT,
                              "%s: '%s' %s cannot get this size along axis %u: size, or size times scale_factor, is 1 "
                              "to %d",
                              text, x->name, shape, 2 + at, INT32_MAX);
    }
    return TUFF_OK;
}

static tuff_result infer_interpolate(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    interpolation i;
    int64_t sizes[3];
    TRY(interpolation_of(inference->graph, inference->node, x, &i, sizes));
    inference->shapes[0] = x->shape;
    memcpy(inference->shapes[0].sizes + 2, sizes, (x->shape.rank - 2) * sizeof *sizes);
    return TUFF_OK;
}

/* Whatever the scale, means over parts of equal sizes. */
static tuff_tensor *interpolate_area(tuff_tensor *x, const int64_t sizes[3]) {
    switch (x->shape.rank) {
    case 3: return tuff_adaptive_avg_pool1d(x, sizes[0]);
    case 4: return tuff_adaptive_avg_pool2d(x, sizes[0], sizes[1]);
    default: return tuff_adaptive_avg_pool3d(x, sizes[0], sizes[1], sizes[2]);
    }
}

/* (N, C, D, H, W): each slice, and then along the depth, where a slice's pixels are one row. */
static tuff_tensor *interpolate_volumes(tuff_tensor *x, interpolation *i, const int64_t sizes[3]) {
    const int32_t exchange[] = { 0, 2, 1, 3, 4 }; /* of channels and depth */
    const int64_t *s = x->shape.sizes, channels = s[1], depth = s[2];
    x = resample(tuff_reshape(tuff_permute(x, exchange, 5), TUFF_SHAPE(-1, channels, s[3], s[4])), &i->plane);
    x = tuff_permute(tuff_reshape(x, TUFF_SHAPE(-1, depth, channels, sizes[1], sizes[2])), exchange, 5);
    if (i->depth.size[0]) i->depth.size[1] = sizes[1] * sizes[2];
    x = resample(tuff_reshape(x, TUFF_SHAPE(-1, channels, depth, sizes[1] * sizes[2])), &i->depth);
    return tuff_reshape(x, TUFF_SHAPE(-1, channels, sizes[0], sizes[1], sizes[2]));
}

static tuff_result expand_interpolate(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *x = inputs[0];
    const int64_t *s = x->shape.sizes;
    interpolation i;
    int64_t sizes[3];
    TRY(interpolation_of(graph, node, x, &i, sizes));
    if (i.plane.mode == RESAMPLE_AREA)
        outputs[0] = interpolate_area(x, sizes);
    else if (x->shape.rank == 5)
        outputs[0] = interpolate_volumes(x, &i, sizes);
    else if (x->shape.rank == 4)
        outputs[0] = resample(x, &i.plane);
    else
        outputs[0] = tuff_reshape(resample(tuff_reshape(x, TUFF_SHAPE(-1, s[1], 1, s[2])), &i.plane),
                                  TUFF_SHAPE(-1, s[1], sizes[0]));
    return graph->result;
}

const operator operator_interpolate = {
    .name = "interpolate",
    .formula = "x in another size, each pixel a weighted sum of its nearest 1, 2 or 4 along each axis, or a mean",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.interpolate",
    .limits = "antialias; more than about 1.6 million pixels along an axis",
    .attributes = attributes,
    .attribute_count = ATTRIBUTES,
    .infer = infer_interpolate,
    .expand = expand_interpolate,
};

tuff_tensor *tuff_interpolate(tuff_tensor *x, const tuff_interpolate_desc *desc) {
    if (!x) return NULL;
    static const tuff_interpolate_desc none;
    if (!desc) desc = &none;
    if ((uint32_t)desc->mode > TUFF_INTERPOLATE_NEAREST_EXACT) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "tuff_interpolate of '%s': %d is not a tuff_interpolate_mode",
                   x->name, (int)desc->mode);
        return NULL;
    }
    attribute_value a[ATTRIBUTES] = { [MODE] = { .i = desc->mode },
                                      [ALIGN_CORNERS] = { .i = desc->align_corners },
                                      [RECOMPUTE] = { .i = desc->recompute_scale_factor } };
    uint32_t axes = x->shape.rank == 3 ? 1 : x->shape.rank == 5 ? 3 : 2;
    for (uint32_t axis = 0; axis < axes; axis++) {
        if (desc->size[axis]) a[SIZE].i = axes;
        if (desc->scale_factor[axis] != 0) a[SCALE].i = axes;
        a[SIZE].list[axis] = desc->size[axis];
        a[SCALE].numbers[axis] = desc->scale_factor[axis];
    }
    return apply_unary(&operator_interpolate, x, a);
}
