/* Where something stands along an axis: max and min with their indices, argmax, argmin; and the gradient of what was
 * picked, which goes back to its place. */
#include "layers/search.h"

#include "layers/along.h"
#include "layers/axes.h"
#include "layers/pointwise.h"
#include "layers/reduction.h"

enum { LANES = 64, DIM = 0 };

/* ---- values to places ---------------------------------------------------------------------------- */

static const attribute place_attributes[] = { [DIM] = { .name = "dim", .type = ATTRIBUTE_INT } };

static tuff_result infer_place(inference *inference) {
    inference->shapes[0] = inference->node->inputs[2]->shape;
    return TUFF_OK;
}

static tuff_result lower_place(lowering *lowering, const node *node) {
    const along a = along_axis(&node->outputs[0]->shape, node->attributes[DIM].i);
    const view *values = lowering_view(lowering, node->inputs[0]);
    int64_t k = view_count(values) / a.outer / a.inner;
    view g = along_view(values, a.outer, k * a.inner);
    view index = along_view(lowering_view(lowering, node->inputs[1]), a.outer, k * a.inner);
    view y = along_view(lowering_view(lowering, node->outputs[0]), a.outer, a.n * a.inner);
    int64_t step = along_step(lowering, (const view *[]){ &y }, 1); /* y has the most elements */
    for (int64_t o = 0; o < a.outer; o += step) {
        int64_t part = smaller(step, a.outer - o);
        view g_part = view_part(&g, o, part), index_part = view_part(&index, o, part), y_part = view_part(&y, o, part);
        for (uint32_t clear = 2; clear-- > 0;) {
            int64_t count = part * a.inner * (clear ? a.n : k);
            kernel_call call = { .kernel = KERNEL_PLACE,
                                 .operand_count = 3,
                                 .params = { (uint32_t)count, clear, (uint32_t)a.n, (uint32_t)k, (uint32_t)a.inner },
                                 .param_count = 8 };
            call.operands[0] = lowering_operand(lowering, &g_part, ACCESS_READ, &call.params[5]);
            call.operands[1] = lowering_operand(lowering, &index_part, ACCESS_READ, &call.params[6]);
            call.operands[2] =
                lowering_operand(lowering, &y_part, clear ? ACCESS_WRITE : ACCESS_READ | ACCESS_WRITE, &call.params[7]);
            flat_groups(&call, (uint64_t)count, LANES);
            TRY(lowering_call(lowering, &call));
        }
    }
    return TUFF_OK;
}

static tuff_result gradient_place(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                  tuff_tensor **grad_inputs) {
    tuff_tensor *g = grad_outputs[0], *indices = node->inputs[1];
    int32_t axis = (int32_t)axis_of(node->attributes[0].i, g->shape.rank);
    if (indices->shape.rank < g->shape.rank) indices = tuff_unsqueeze(indices, axis);
    if (needs & 1) grad_inputs[0] = reshape_like(tuff_gather(g, axis, indices), node->inputs[0]);
    return TUFF_OK;
}

const operator operator_place = {
    .name = "place",
    .flags = OPERATOR_INTERNAL,
    .formula = "y[.., indices[.., j, ..], ..] = grad_output[.., j, ..] along dim, 0 elsewhere",
    .inputs = { "grad_output", "indices", "input" },
    .types = { TYPE_F32, TYPE_I32, TYPE_F32 },
    .attributes = place_attributes,
    .attribute_count = 1,
    .shape_only = 1u << 2,
    .infer = infer_place,
    .gradient = gradient_place,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_place,
};

tuff_tensor *place_along(tuff_tensor *values, tuff_tensor *indices, tuff_tensor *like, int64_t axis) {
    if (!values || !indices || !like) return NULL;
    tuff_tensor *inputs[] = { values, indices, like };
    return graph_apply(like->graph, &operator_place, inputs, 3, &(attribute_value){ .i = axis }, NULL);
}

/* ---- the extreme along an axis, and its index ---------------------------------------------------- */

enum { KEEP = DIM + 1, SMALLEST };
static const attribute extreme_attributes[] = {
    [DIM] = { .name = "dim", .type = ATTRIBUTE_INT },
    [KEEP] = KEEPDIM_ATTRIBUTE,
    [SMALLEST] = { .name = "smallest", .type = ATTRIBUTE_BOOL },
};

static tuff_shape without_axis(const tuff_shape *shape, int64_t axis, bool keepdim) {
    tuff_shape out = { 0 };
    if (axis < 0) axis += shape->rank;
    for (uint32_t i = 0; i < shape->rank; i++)
        if (i != axis || keepdim) out.sizes[out.rank++] = i == axis ? 1 : shape->sizes[i];
    return out;
}

static tuff_result infer_extreme(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    TRY(along_check(inference, x, node->attributes[DIM].i));
    inference->output_count = 2;
    inference->shapes[0] = inference->shapes[1] =
        without_axis(&x->shape, node->attributes[DIM].i, node->attributes[KEEP].i);
    inference->types[1] = TUFF_I32;
    return TUFF_OK;
}

/* One pass, `rows` of n elements; with more than one part another over the partial results. given: the elements'
 * indices, NULL where they are counted. */
static tuff_result run_extreme(lowering *lowering, const view *x, const view *given, along a, bool smallest,
                               const view *values, const view *indices) {
    int64_t rows = a.outer * a.inner, wanted = device_get_limits(lowering_device(lowering))->cpu ? 512 : 65536;
    const int64_t least = 32; /* elements that make an invocation worth while */
    int64_t parts = (wanted + rows - 1) / rows;
    parts = smaller(parts < 1 ? 1 : parts, a.n / least < 1 ? 1 : a.n / least);
    view partial[2] = { *values, *indices };
    for (uint32_t i = 0; parts > 1 && i < 2; i++)
        TRY(lowering_scratch(lowering, (uint64_t)(rows * parts), "partial", &partial[i]));
    kernel_call call = { .kernel = KERNEL_EXTREME,
                         .constants = { given != NULL },
                         .constant_count = 1,
                         .operand_count = 4,
                         .params = { (uint32_t)rows, (uint32_t)a.n, (uint32_t)a.inner, (uint32_t)parts, smallest },
                         .param_count = 9 };
    call.operands[0] = lowering_operand(lowering, x, ACCESS_READ, &call.params[5]);
    call.operands[1] = lowering_operand(lowering, given ? given : x, ACCESS_READ, &call.params[6]);
    call.operands[2] = lowering_operand(lowering, &partial[0], ACCESS_WRITE, &call.params[7]);
    call.operands[3] = lowering_operand(lowering, &partial[1], ACCESS_WRITE, &call.params[8]);
    flat_groups(&call, (uint64_t)(rows * parts), LANES);
    TRY(lowering_call(lowering, &call));
    if (parts == 1) return TUFF_OK;
    return run_extreme(lowering, &partial[0], &partial[1], (along){ 1, parts, rows }, smallest, values, indices);
}

static tuff_result lower_extreme(lowering *lowering, const node *node) {
    const along a = along_axis(&node->inputs[0]->shape, node->attributes[DIM].i);
    view x = along_view(lowering_view(lowering, node->inputs[0]), a.outer, a.n * a.inner);
    view values = along_view(lowering_view(lowering, node->outputs[0]), a.outer, a.inner);
    view indices = along_view(lowering_view(lowering, node->outputs[1]), a.outer, a.inner);
    int64_t step = along_step(lowering, (const view *[]){ &x }, 1);
    for (int64_t o = 0; o < a.outer; o += step) {
        int64_t part = smaller(step, a.outer - o);
        view x_part = view_part(&x, o, part), values_part = view_part(&values, o, part);
        view indices_part = view_part(&indices, o, part);
        TRY(run_extreme(lowering, &x_part, NULL, (along){ part, a.n, a.inner }, node->attributes[SMALLEST].i,
                        &values_part, &indices_part));
    }
    return TUFF_OK;
}

static tuff_result gradient_extreme(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    (void)needs;
    if (grad_outputs[0])
        grad_inputs[0] = place_along(grad_outputs[0], node->outputs[1], node->inputs[0], node->attributes[DIM].i);
    return TUFF_OK;
}

const operator operator_extreme = {
    .name = "extreme",
    .flags = OPERATOR_INTERNAL,
    .formula = "the largest or smallest x along an axis and the index of the first of them",
    .inputs = { "input" },
    .outputs = { "values", "indices" },
    .attributes = extreme_attributes,
    .attribute_count = 3,
    .infer = infer_extreme,
    .gradient = gradient_extreme,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_extreme,
};

static tuff_tensor *extreme_of(tuff_tensor *x, int64_t axis, bool keepdim, bool smallest, tuff_tensor **indices) {
    const attribute_value attributes[] = {
        [DIM] = { .i = axis }, [KEEP] = { .i = keepdim }, [SMALLEST] = { .i = smallest }
    };
    tuff_tensor *values = apply_unary(&operator_extreme, x, attributes);
    *indices = values ? values->producer->outputs[1] : NULL;
    return values;
}

/* ---- max, min: along an axis with indices, or over all ------------------------------------------- */

static const attribute max_attributes[] = {
    [DIM] = { .name = "dim", .type = ATTRIBUTE_INT, .value.i = ATTRIBUTE_NONE },
    [KEEP] = KEEPDIM_ATTRIBUTE,
};

static tuff_result infer_max(inference *inference) {
    const node *node = inference->node;
    if (node->attributes[DIM].i == ATTRIBUTE_NONE) return TUFF_OK; /* a scalar, as preset */
    return infer_extreme(inference);
}

static tuff_result expand_max_or_min(tuff_graph *graph, const node *node, tuff_tensor *x, bool smallest,
                                     tuff_tensor **outputs) {
    int64_t axis = node->attributes[DIM].i;
    if (axis == ATTRIBUTE_NONE)
        outputs[0] = smallest ? tuff_amin(x, NULL) : tuff_amax(x, NULL);
    else
        outputs[0] = extreme_of(x, axis, node->attributes[KEEP].i, smallest, &outputs[1]);
    return graph->result;
}

static tuff_result expand_max(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                              tuff_tensor **outputs) {
    (void)training;
    return expand_max_or_min(graph, node, inputs[0], false, outputs);
}

static tuff_result expand_min(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                              tuff_tensor **outputs) {
    (void)training;
    return expand_max_or_min(graph, node, inputs[0], true, outputs);
}

const operator operator_max = {
    .name = "max",
    .formula = "the largest x along an axis and the index of the first of them; without dim over all, as amax",
    .inputs = { "input" },
    .outputs = { "values", "indices" },
    .pytorch = "torch.max",
    .limits = "of two tensors: maximum",
    .attributes = max_attributes,
    .attribute_count = 2,
    .infer = infer_max,
    .expand = expand_max,
};

const operator operator_min = {
    .name = "min",
    .formula = "the smallest x along an axis and the index of the first of them; without dim over all, as amin",
    .inputs = { "input" },
    .outputs = { "values", "indices" },
    .pytorch = "torch.min",
    .limits = "of two tensors: minimum",
    .attributes = max_attributes,
    .attribute_count = 2,
    .infer = infer_max,
    .expand = expand_min,
};

/* ---- argmax, argmin ------------------------------------------------------------------------------ */

static tuff_result infer_argmax(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    inference->types[0] = TUFF_I32;
    if (node->attributes[DIM].i != ATTRIBUTE_NONE) {
        TRY(along_check(inference, x, node->attributes[DIM].i));
        inference->shapes[0] = without_axis(&x->shape, node->attributes[DIM].i, node->attributes[KEEP].i);
    } else if (node->attributes[KEEP].i) {
        inference->shapes[0] = x->shape;
        for (uint32_t i = 0; i < x->shape.rank; i++) inference->shapes[0].sizes[i] = 1;
    }
    return TUFF_OK;
}

static tuff_result expand_arg(tuff_graph *graph, const node *node, tuff_tensor *x, bool smallest,
                              tuff_tensor **outputs) {
    int64_t axis = node->attributes[DIM].i;
    bool keepdim = node->attributes[KEEP].i;
    if (axis != ATTRIBUTE_NONE) {
        extreme_of(x, axis, keepdim, smallest, &outputs[0]);
        return graph->result;
    }
    tuff_shape shape = { 0 };
    for (; keepdim && shape.rank < x->shape.rank; shape.rank++) shape.sizes[shape.rank] = 1;
    extreme_of(tuff_reshape(x, TUFF_SHAPE(-1)), 0, false, smallest, &outputs[0]);
    outputs[0] = tuff_reshape(outputs[0], shape);
    return graph->result;
}

static tuff_result expand_argmax(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)training;
    return expand_arg(graph, node, inputs[0], false, outputs);
}

static tuff_result expand_argmin(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)training;
    return expand_arg(graph, node, inputs[0], true, outputs);
}

const operator operator_argmax = {
    .name = "argmax",
    .flags = OPERATOR_DETACH,
    .formula = "index of the first largest x along an axis, or of all; int32",
    .inputs = { "input" },
    .pytorch = "torch.argmax",
    .attributes = max_attributes,
    .attribute_count = 2,
    .infer = infer_argmax,
    .expand = expand_argmax,
};

const operator operator_argmin = {
    .name = "argmin",
    .flags = OPERATOR_DETACH,
    .formula = "index of the first smallest x along an axis, or of all; int32",
    .inputs = { "input" },
    .pytorch = "torch.argmin",
    .attributes = max_attributes,
    .attribute_count = 2,
    .infer = infer_argmax,
    .expand = expand_argmin,
};

/* ---- the public functions ------------------------------------------------------------------------ */

static tuff_tensor *apply_max(const operator* op, tuff_tensor *x, int32_t axis, bool keepdim, tuff_tensor **indices) {
    const attribute_value attributes[] = { [DIM] = { .i = axis }, [KEEP] = { .i = keepdim } };
    tuff_tensor *values = apply_unary(op, x, attributes);
    if (indices) *indices = values ? values->producer->outputs[1] : NULL;
    return values;
}

tuff_tensor *tuff_max(tuff_tensor *x, int32_t axis, bool keepdim, tuff_tensor **indices) {
    return apply_max(&operator_max, x, axis, keepdim, indices);
}

tuff_tensor *tuff_min(tuff_tensor *x, int32_t axis, bool keepdim, tuff_tensor **indices) {
    return apply_max(&operator_min, x, axis, keepdim, indices);
}

static tuff_tensor *apply_arg(const operator* op, tuff_tensor *x, const tuff_reduce_desc *desc) {
    if (!x) return NULL;
    if (desc && desc->axis_count > 1) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "%s of '%s': %u axes; one is possible, or none: all of them",
                   op->name, x->name, desc->axis_count);
        return NULL;
    }
    const attribute_value attributes[] = { [DIM] = { .i = desc && desc->axis_count ? desc->axes[0] : ATTRIBUTE_NONE },
                                           [KEEP] = { .i = desc && desc->keepdim } };
    return apply_unary(op, x, attributes);
}

tuff_tensor *tuff_argmax(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_arg(&operator_argmax, x, desc);
}

tuff_tensor *tuff_argmin(tuff_tensor *x, const tuff_reduce_desc *desc) {
    return apply_arg(&operator_argmin, x, desc);
}
