/* The k largest or smallest along an axis, in order, with their indices.
 *
 * Tiles of 1024 elements are sorted in shared memory and leave their best k; merges of eight sorted lists at a time
 * keep the best k until one list is left. So x is read once, and for n elements and k below a tile the rest handles
 * n k / 1024 of them, then an eighth each time; for k above a tile it is a merge sort. */
#include "layers/along.h"
#include "layers/search.h"

#include <tuff/layers.h>

enum { TILE = 1024, WAYS = 8, LANES = 64 }; /* shared with the shaders */

enum { K = 0, DIM, LARGEST, SORTED };
static const attribute topk_attributes[] = {
    [K] = { .name = "k", .type = ATTRIBUTE_INT, .required = true },
    [DIM] = { .name = "dim", .type = ATTRIBUTE_INT, .value.i = -1 },
    [LARGEST] = { .name = "largest", .type = ATTRIBUTE_BOOL, .value.i = true },
    [SORTED] = { .name = "sorted", .type = ATTRIBUTE_BOOL, .value.i = true }, /* they always are */
};

static tuff_result infer_topk(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0];
    int64_t k = node->attributes[K].i, axis = node->attributes[DIM].i;
    char text[160], shape[SHAPE_TEXT];
    TRY(along_check(inference, x, axis));
    if (axis < 0) axis += x->shape.rank;
    if (k < 1 || k > x->shape.sizes[axis])
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: k is %lld; axis %lld of '%s' %s has 1 to %lld",
                          node_text(node, text), (long long)k, (long long)axis, x->name, shape_text(&x->shape, shape),
                          (long long)x->shape.sizes[axis]);
    inference->output_count = 2;
    inference->shapes[0] = x->shape;
    inference->shapes[0].sizes[axis] = k;
    inference->shapes[1] = inference->shapes[0];
    inference->types[1] = TUFF_I32;
    return TUFF_OK;
}

/* Values and indices of some lists, sorted, of each row. */
typedef struct lists {
    view values, indices;
    int64_t count, length;
    int64_t inner; /* what a row's elements lie apart */
} lists;

static tuff_result make_lists(lowering *lowering, int64_t rows, const lists *last, lists *made) {
    made->inner = last->inner;
    made->values = last->values;
    made->indices = last->indices;
    if (made->count == 1) return TUFF_OK;
    made->inner = 1;
    uint64_t count = (uint64_t)(rows * made->count * made->length);
    TRY(lowering_scratch(lowering, count, "best values", &made->values));
    return lowering_scratch(lowering, count, "best indices", &made->indices);
}

static tuff_result merge(lowering *lowering, int64_t rows, bool largest, const lists *from, const lists *to) {
    kernel_call call = { .kernel = KERNEL_TOPK_MERGE,
                         .operand_count = 4,
                         .params = { (uint32_t)rows, (uint32_t)from->count, (uint32_t)from->length, (uint32_t)to->count,
                                     (uint32_t)to->length, largest, (uint32_t)to->inner },
                         .param_count = 11 };
    call.operands[0] = lowering_operand(lowering, &from->values, ACCESS_READ, &call.params[7]);
    call.operands[1] = lowering_operand(lowering, &from->indices, ACCESS_READ, &call.params[8]);
    call.operands[2] = lowering_operand(lowering, &to->values, ACCESS_WRITE, &call.params[9]);
    call.operands[3] = lowering_operand(lowering, &to->indices, ACCESS_WRITE, &call.params[10]);
    flat_groups(&call, (uint64_t)(rows * to->count * WAYS * from->length), LANES);
    return lowering_call(lowering, &call);
}

static tuff_result select_rows(lowering *lowering, const view *x, along a, bool largest, int64_t k, const lists *out) {
    int64_t rows = a.outer * a.inner, segment = 1;
    while (segment < a.n && segment < TILE) segment *= 2;
    lists current = { .count = (a.n + segment - 1) / segment, .length = smaller(k, segment) };
    TRY(make_lists(lowering, rows, out, &current));
    kernel_call call = { .kernel = KERNEL_TOPK_TILE,
                         .operand_count = 3,
                         .params = { (uint32_t)rows, (uint32_t)a.n, (uint32_t)a.inner, (uint32_t)current.count,
                                     (uint32_t)segment, (uint32_t)current.length, largest, (uint32_t)current.inner },
                         .param_count = 11 };
    call.operands[0] = lowering_operand(lowering, x, ACCESS_READ, &call.params[8]);
    call.operands[1] = lowering_operand(lowering, &current.values, ACCESS_WRITE, &call.params[9]);
    call.operands[2] = lowering_operand(lowering, &current.indices, ACCESS_WRITE, &call.params[10]);
    flat_groups(&call, (uint64_t)(rows * current.count * segment), TILE);
    TRY(lowering_call(lowering, &call));
    while (current.count > 1) {
        lists next = { .count = (current.count + WAYS - 1) / WAYS, .length = smaller(k, WAYS * current.length) };
        TRY(make_lists(lowering, rows, out, &next));
        TRY(merge(lowering, rows, largest, &current, &next));
        current = next;
    }
    return TUFF_OK;
}

static tuff_result lower_topk(lowering *lowering, const node *node) {
    const along a = along_axis(&node->inputs[0]->shape, node->attributes[DIM].i);
    int64_t k = node->attributes[K].i;
    view x = along_view(lowering_view(lowering, node->inputs[0]), a.outer, a.n * a.inner);
    view values = along_view(lowering_view(lowering, node->outputs[0]), a.outer, k * a.inner);
    view indices = along_view(lowering_view(lowering, node->outputs[1]), a.outer, k * a.inner);
    int64_t step = along_step(lowering, (const view *[]){ &x }, 1);
    for (int64_t o = 0; o < a.outer; o += step) {
        int64_t part = smaller(step, a.outer - o);
        view x_part = view_part(&x, o, part);
        const lists out = { .values = view_part(&values, o, part),
                            .indices = view_part(&indices, o, part),
                            .inner = a.inner };
        TRY(select_rows(lowering, &x_part, (along){ part, a.n, a.inner }, node->attributes[LARGEST].i, k, &out));
    }
    return TUFF_OK;
}

static tuff_result gradient_topk(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                 tuff_tensor **grad_inputs) {
    (void)needs;
    if (grad_outputs[0])
        grad_inputs[0] = place_along(grad_outputs[0], node->outputs[1], node->inputs[0], node->attributes[DIM].i);
    return TUFF_OK;
}

const operator operator_topk = {
    .name = "topk",
    .formula = "the k largest or smallest x along an axis, best first, of equal ones the first, and their indices",
    .inputs = { "input" },
    .outputs = { "values", "indices" },
    .pytorch = "torch.topk",
    .attributes = topk_attributes,
    .attribute_count = 4,
    .infer = infer_topk,
    .gradient = gradient_topk,
    .input_layouts = { LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_topk,
};

tuff_tensor *tuff_topk(tuff_tensor *x, int64_t k, int32_t axis, const tuff_topk_desc *desc, tuff_tensor **indices) {
    const attribute_value attributes[] = { [K] = { .i = k },
                                           [DIM] = { .i = axis },
                                           [LARGEST] = { .i = !(desc && desc->smallest) },
                                           [SORTED] = { .i = true } };
    tuff_tensor *values = x ? graph_apply(x->graph, &operator_topk, &x, 1, attributes, NULL) : NULL;
    if (indices) *indices = values ? values->producer->outputs[1] : NULL;
    return values;
}
