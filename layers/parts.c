/* Parts of tensors: slices, selections and splits look at where the part lies. */
#include "layers/axes.h"
#include "layers/chain.h"
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/rearrange.h"

#include <stdlib.h>
#include <string.h>

/* ---- slice --------------------------------------------------------------------------------------- */

static const attribute slice_attributes[] = {
    [SLICE_DIM] = { .name = "dim", .type = ATTRIBUTE_INT },
    [SLICE_START] = { .name = "start", .type = ATTRIBUTE_INT, .value.i = ATTRIBUTE_NONE },
    [SLICE_END] = { .name = "end", .type = ATTRIBUTE_INT, .value.i = ATTRIBUTE_NONE },
    [SLICE_STEP] = { .name = "step", .type = ATTRIBUTE_INT, .value.i = 1 },
};

/* Python's rule: from the end if negative, then into 0 .. size. */
static int64_t bound_of(const attribute_value *value, int64_t size, int64_t none) {
    if (value->i == ATTRIBUTE_NONE) return none;
    int64_t at = value->i < 0 ? value->i + size : value->i;
    return at < 0 ? 0 : at > size ? size : at;
}

void slice_bounds(const attribute_value *attributes, int64_t size, int64_t *start, int64_t *count) {
    int64_t end = bound_of(&attributes[SLICE_END], size, size), step = attributes[SLICE_STEP].i;
    *start = bound_of(&attributes[SLICE_START], size, 0);
    *count = *start < end && step > 0 ? (end - *start - 1) / step + 1 : 0;
}

static tuff_result sliced_shape(inference *inference, const tuff_tensor *x, tuff_shape *y) {
    const node *node = inference->node;
    uint32_t axis;
    int64_t start;
    char text[160], shape[SHAPE_TEXT];
    TRY(axis_check_of(inference, x, node->attributes[SLICE_DIM].i, x->shape.rank, &axis));
    if (node->attributes[SLICE_STEP].i < 1)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: step is %lld; it must be 1 or more (see flip)",
                          node_text(node, text), (long long)node->attributes[SLICE_STEP].i);
    *y = x->shape;
    slice_bounds(node->attributes, x->shape.sizes[axis], &start, &y->sizes[axis]);
    if (y->sizes[axis] < 1)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: nothing of axis %u of '%s' %s is between start and end; sizes must be 1 or more",
                          node_text(node, text), axis, x->name, shape_text(&x->shape, shape));
    return TUFF_OK;
}

static tuff_result infer_slice(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    inference->types[0] = x->type;
    return sliced_shape(inference, x, &inference->shapes[0]);
}

static bool look_slice(const node *node, const view *input, view *output) {
    uint32_t axis = axis_of(node->attributes[SLICE_DIM].i, input->shape.rank);
    int64_t start, count;
    slice_bounds(node->attributes, input->shape.sizes[axis], &start, &count);
    output->offset = input->offset + (uint64_t)(start * input->strides[axis]);
    memcpy(output->strides, input->strides, sizeof output->strides);
    if (count > 1) output->strides[axis] *= node->attributes[SLICE_STEP].i;
    return true;
}

static tuff_result gradient_slice(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                  tuff_tensor **grad_inputs);

static const operator operator_slice = { .name = "slice",
                                         .formula = "x[start:end:step] along dim",
                                         .inputs = { "input" },
                                         .types = { TYPE_ANY },
                                         .pytorch = "torch.ops.aten.slice",
                                         .limits = "no empty slices",
                                         .attributes = slice_attributes,
                                         .attribute_count = 4,
                                         .infer = infer_slice,
                                         .gradient = gradient_slice,
                                         .look = look_slice };

tuff_tensor *slice_of(tuff_tensor *x, int64_t dim, int64_t start, int64_t end, int64_t step) {
    const attribute_value attributes[] = { [SLICE_DIM] = { .i = dim },
                                           [SLICE_START] = { .i = start },
                                           [SLICE_END] = { .i = end },
                                           [SLICE_STEP] = { .i = step } };
    return apply_unary(&operator_slice, x, attributes);
}

tuff_tensor *tuff_slice(tuff_tensor *x, int32_t dim, int64_t start, int64_t end, int64_t step) {
    return slice_of(x, dim, start, end == TUFF_END ? ATTRIBUTE_NONE : end, step);
}

static tuff_result infer_slice_backward(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *g = node->inputs[0], *like = node->inputs[1];
    tuff_shape shape;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    TRY(sliced_shape(inference, like, &shape));
    if (!shape_equal(&shape, &g->shape))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s is no slice of '%s' %s",
                          node_text(node, text), g->name, shape_text(&g->shape, first), like->name,
                          shape_text(&like->shape, second));
    inference->shapes[0] = like->shape;
    inference->types[0] = g->type;
    return TUFF_OK;
}

static tuff_result expand_slice_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                         tuff_tensor **outputs) {
    (void)training;
    const tuff_shape *like = &inputs[1]->shape;
    uint32_t axis = axis_of(node->attributes[SLICE_DIM].i, like->rank);
    int64_t start, count;
    slice_bounds(node->attributes, like->sizes[axis], &start, &count);
    rearrangement r = rearrangement_of(inputs[0]);
    r.size[axis] = like->sizes[axis];
    r.add[axis] = -start;
    r.step[axis] = count > 1 ? node->attributes[SLICE_STEP].i : 1;
    outputs[0] = rearrange(inputs[0], &r);
    return graph->result;
}

static tuff_result gradient_slice_backward(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                           tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(&operator_slice, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

static const operator operator_slice_backward = { .name = "slice_backward",
                                                  .flags = OPERATOR_INTERNAL,
                                                  .formula = "zeros of like's shape with x as the slice",
                                                  .inputs = { "input", "like" },
                                                  .types = { TYPE_ANY, TYPE_ANY },
                                                  .shape_only = 1 << 1,
                                                  .attributes = slice_attributes,
                                                  .attribute_count = 4,
                                                  .infer = infer_slice_backward,
                                                  .gradient = gradient_slice_backward,
                                                  .expand = expand_slice_backward };

static tuff_result gradient_slice(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                  tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_binary(&operator_slice_backward, grad_outputs[0], node->inputs[0], node->attributes);
    return TUFF_OK;
}

/* ---- select -------------------------------------------------------------------------------------- */

enum { SELECT_DIM = 0, SELECT_INDEX };
static const attribute select_attributes[] = {
    [SELECT_DIM] = { .name = "dim", .type = ATTRIBUTE_INT, .required = true },
    [SELECT_INDEX] = { .name = "index", .type = ATTRIBUTE_INT, .required = true },
};

static tuff_result infer_select(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    uint32_t axis, at;
    char text[160], shape[SHAPE_TEXT];
    TRY(axis_check(inference, node->attributes[SELECT_DIM].i, x->shape.rank, &axis));
    if (!axis_find(node->attributes[SELECT_INDEX].i, (uint32_t)x->shape.sizes[axis], &at))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: axis %u of '%s' %s has no index %lld",
                          node_text(node, text), axis, x->name, shape_text(&x->shape, shape),
                          (long long)node->attributes[SELECT_INDEX].i);
    for (uint32_t i = 0; i < x->shape.rank; i++)
        if (i != axis) inference->shapes[0].sizes[inference->shapes[0].rank++] = x->shape.sizes[i];
    inference->types[0] = x->type;
    return TUFF_OK;
}

static bool look_select(const node *node, const view *input, view *output) {
    uint32_t axis = axis_of(node->attributes[SELECT_DIM].i, input->shape.rank), rank = 0;
    uint32_t at = axis_of(node->attributes[SELECT_INDEX].i, (uint32_t)input->shape.sizes[axis]);
    output->offset = input->offset + at * (uint64_t)input->strides[axis];
    for (uint32_t i = 0; i < input->shape.rank; i++)
        if (i != axis) output->strides[rank++] = input->strides[i];
    return true;
}

/* As a slice of one step. */
static tuff_result gradient_select(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                   tuff_tensor **grad_inputs) {
    (void)needs;
    int64_t index = node->attributes[SELECT_INDEX].i;
    const attribute_value slice[] = { [SLICE_DIM] = node->attributes[SELECT_DIM],
                                      [SLICE_START] = { .i = index },
                                      [SLICE_END] = { .i = index == -1 ? ATTRIBUTE_NONE : index + 1 },
                                      [SLICE_STEP] = { .i = 1 } };
    tuff_tensor *g = tuff_unsqueeze(grad_outputs[0], (int32_t)node->attributes[SELECT_DIM].i);
    grad_inputs[0] = apply_binary(&operator_slice_backward, g, node->inputs[0], slice);
    return TUFF_OK;
}

static const operator operator_select = { .name = "select",
                                          .formula = "x at one index of dim, without this axis",
                                          .inputs = { "input" },
                                          .types = { TYPE_ANY },
                                          .pytorch = "torch.select",
                                          .attributes = select_attributes,
                                          .attribute_count = 2,
                                          .infer = infer_select,
                                          .gradient = gradient_select,
                                          .look = look_select };

tuff_tensor *tuff_select(tuff_tensor *x, int32_t dim, int64_t index) {
    const attribute_value attributes[] = { [SELECT_DIM] = { .i = dim }, [SELECT_INDEX] = { .i = index } };
    return apply_unary(&operator_select, x, attributes);
}

/* ---- split --------------------------------------------------------------------------------------- */

enum { SPLIT_SIZES = 0, SPLIT_DIM, MAX_SPLIT = MAX_OUTPUTS < MAX_LIST ? MAX_OUTPUTS : MAX_LIST };
static const attribute split_attributes[] = {
    [SPLIT_SIZES] = { .name = "split_size_or_sections", .type = ATTRIBUTE_INTS, .required = true },
    [SPLIT_DIM] = { .name = "dim", .type = ATTRIBUTE_INT },
};

/* Part i's size: of sections the i-th, else one size for all but the last. */
static int64_t part_size(const attribute_value *sizes, int64_t i, int64_t begin, int64_t whole) {
    if (sizes->i > 1) return sizes->list[i];
    return whole - begin < sizes->list[0] ? whole - begin : sizes->list[0];
}

static tuff_result infer_split(inference *inference) {
    const node *node = inference->node;
    const attribute_value *sizes = &node->attributes[SPLIT_SIZES];
    const tuff_tensor *x = node->inputs[0];
    uint32_t axis;
    char text[160], shape[SHAPE_TEXT];
    TRY(axis_check(inference, node->attributes[SPLIT_DIM].i, x->shape.rank, &axis));
    int64_t whole = x->shape.sizes[axis], sum = 0;
    bool fits = sizes->i >= 1;
    for (int64_t i = 0; i < sizes->i && fits; i++) {
        fits = sizes->list[i] >= 1 && (sizes->i == 1 || sizes->list[i] <= whole - sum);
        sum += sizes->list[i];
    }
    if (!fits || (sizes->i > 1 && sum != whole))
        return graph_fail(
            inference->graph, TUFF_ERROR_SHAPE,
            "%s: axis %u of '%s' %s does not split so; sizes must be 1 or more, and sections add up to %lld",
            node_text(node, text), axis, x->name, shape_text(&x->shape, shape), (long long)whole);
    int64_t parts = sizes->i > 1 ? sizes->i : (whole - 1) / sizes->list[0] + 1, begin = 0;
    if (parts > MAX_SPLIT)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                          "%s: %lld parts of '%s' are more than %d; tuff_split makes any number", node_text(node, text),
                          (long long)parts, x->name, MAX_SPLIT);
    inference->output_count = (uint32_t)parts;
    for (int64_t i = 0; i < parts; i++) {
        inference->shapes[i] = x->shape;
        inference->shapes[i].sizes[axis] = part_size(sizes, i, begin, whole);
        inference->types[i] = x->type;
        begin += inference->shapes[i].sizes[axis];
    }
    return TUFF_OK;
}

static tuff_result expand_split(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                tuff_tensor **outputs) {
    (void)training;
    uint32_t axis = axis_of(node->attributes[SPLIT_DIM].i, inputs[0]->shape.rank);
    int64_t whole = inputs[0]->shape.sizes[axis], begin = 0;
    for (uint32_t i = 0; i < node->output_count; i++) {
        int64_t size = part_size(&node->attributes[SPLIT_SIZES], i, begin, whole);
        outputs[i] = slice_of(inputs[0], axis, begin, begin + size, 1);
        begin += size;
    }
    return graph->result;
}

/* What arrives at the parts, put together: one tensor, where gradients of slices would each be a whole one. */
static tuff_result gradient_split(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                  tuff_tensor **grad_inputs) {
    (void)needs;
    tuff_graph *graph = node_graph(node);
    tuff_tensor *parts[MAX_OUTPUTS];
    for (uint32_t i = 0; i < node->output_count; i++)
        parts[i] =
            grad_outputs[i] ? grad_outputs[i] : expand_as(tuff_constant(graph, 0, (tuff_shape){ 0 }), node->outputs[i]);
    grad_inputs[0] = tuff_concat(parts, node->output_count, (int32_t)node->attributes[SPLIT_DIM].i);
    return TUFF_OK;
}

static const operator operator_split = { .name = "split",
                                         .formula = "x in parts along dim: slices",
                                         .inputs = { "input" },
                                         .types = { TYPE_ANY },
                                         .pytorch = "torch.split",
                                         .limits = "no empty parts",
                                         .attributes = split_attributes,
                                         .attribute_count = 2,
                                         .infer = infer_split,
                                         .gradient = gradient_split,
                                         .expand = expand_split };

/* count parts of these sizes; the gradient of many is put together in groups as well. */
static bool split_sections(tuff_tensor *x, const int64_t *sizes, uint32_t count, int32_t dim, tuff_tensor **parts) {
    attribute_value attributes[2] = { [SPLIT_DIM] = { .i = dim } }, *sections = &attributes[SPLIT_SIZES];
    tuff_tensor *groups[MAX_SPLIT];
    uint32_t each = 1;
    while ((uint64_t)each * MAX_SPLIT < count) each *= MAX_SPLIT;
    for (uint32_t i = 0; i < count; i += each) {
        int64_t sum = 0;
        for (uint32_t k = i; k < i + each && k < count; k++) {
            if (sizes[k] < 1 || sum > INT64_MAX - sizes[k]) {
                graph_fail(x->graph, TUFF_ERROR_SHAPE, "split of '%s': part %u has the size %lld", x->name, k,
                           (long long)sizes[k]);
                return false;
            }
            sum += sizes[k];
        }
        sections->list[sections->i++] = sum;
    }
    tuff_tensor *first = apply_unary(&operator_split, x, attributes);
    if (!first) return false;
    if (first->producer->output_count != sections->i) { /* one section, which is not all */
        graph_fail(x->graph, TUFF_ERROR_SHAPE, "split of '%s': the sizes do not add up to the axis", x->name);
        return false;
    }
    memcpy(groups, first->producer->outputs, (size_t)sections->i * sizeof *groups);
    if (each == 1) memcpy(parts, groups, count * sizeof(tuff_tensor *));
    for (uint32_t i = 0; i < count && each > 1; i += each)
        if (!split_sections(groups[i / each], sizes + i, i + each < count ? each : count - i, dim, parts + i))
            return false;
    return true;
}

uint32_t tuff_split_sections(tuff_tensor *x, const int64_t *sizes, uint32_t count, int32_t dim, tuff_tensor **parts) {
    if (parts) memset(parts, 0, count * sizeof(tuff_tensor *));
    if (!x || x->graph->result != TUFF_OK) return 0;
    if (!sizes || !parts || !count) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "split of '%s': no sizes or no room for parts", x->name);
        return 0;
    }
    if (split_sections(x, sizes, count, dim, parts)) return count;
    memset(parts, 0, count * sizeof(tuff_tensor *));
    return 0;
}

uint32_t tuff_split(tuff_tensor *x, int64_t size, int32_t dim, tuff_tensor **parts, uint32_t capacity) {
    if (parts) memset(parts, 0, capacity * sizeof(tuff_tensor *));
    if (!x || x->graph->result != TUFF_OK) return 0;
    char shape[SHAPE_TEXT];
    uint32_t axis;
    if (size < 1 || !parts || !axis_find(dim, x->shape.rank, &axis)) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "split of '%s' %s: size %lld of axis %d; %s", x->name,
                   shape_text(&x->shape, shape), (long long)size, dim,
                   size < 1 ? "it must be 1 or more"
                   : parts  ? "there is no such axis"
                            : "there is no room for parts");
        return 0;
    }
    int64_t whole = x->shape.sizes[axis], count = (whole - 1) / size + 1;
    if (count > capacity) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "split of '%s' %s: axis %u has %lld parts of %lld, room is for %u",
                   x->name, shape_text(&x->shape, shape), axis, (long long)count, (long long)size, capacity);
        return 0;
    }
    int64_t *sizes = malloc((size_t)count * sizeof *sizes);
    if (!sizes) {
        graph_fail(x->graph, TUFF_ERROR_MEMORY, "out of host memory for a split of '%s'", x->name);
        return 0;
    }
    for (int64_t i = 0; i < count; i++) sizes[i] = i + 1 < count ? size : whole - i * size;
    uint32_t made = tuff_split_sections(x, sizes, (uint32_t)count, dim, parts);
    free(sizes);
    return made;
}

uint32_t tuff_chunk(tuff_tensor *x, uint32_t chunks, int32_t dim, tuff_tensor **parts) {
    uint32_t axis;
    if (!x || chunks < 1 || !axis_find(dim, x->shape.rank, &axis)) return tuff_split(x, chunks, dim, parts, 0);
    return tuff_split(x, (x->shape.sizes[axis] - 1) / chunks + 1, dim, parts, chunks);
}

uint32_t tuff_unbind(tuff_tensor *x, int32_t dim, tuff_tensor **parts, uint32_t capacity) {
    uint32_t count = tuff_split(x, 1, dim, parts, capacity);
    for (uint32_t i = 0; i < count; i++) parts[i] = tuff_squeeze(parts[i], &dim, 1);
    return count;
}

static const operator* const rows[] = { &operator_slice, &operator_slice_backward, &operator_select, &operator_split };
const operator_family family_parts = { rows, sizeof rows / sizeof *rows };
