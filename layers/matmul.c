/* matmul: (..., M, K) times (..., K, N), batch axes broadcast, each operand transposed or not; and with vectors, where
 * a product reads each number once, sums of chains.
 *
 * A product's gradient is two products of the same kind. Where one operand has no batch, as a layer's weight has, the
 * batch is counted to the rows, so that the sum over it happens inside of the product. */
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/product.h"

#include <tuff/layers.h>

enum { TRANSPOSE_A, TRANSPOSE_B };

static const operator operator_matrix_product;

static const attribute attributes[] = {
    [TRANSPOSE_A] = { .name = "transpose_a", .type = ATTRIBUTE_BOOL },
    [TRANSPOSE_B] = { .name = "transpose_b", .type = ATTRIBUTE_BOOL },
};

/* The axes but the last two. */
static tuff_shape batch_of(const tuff_shape *shape) {
    tuff_shape batch = *shape;
    batch.rank -= 2;
    return batch;
}

/* Of matrices, ranks 2 and more. */
static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *a = node->inputs[0], *b = node->inputs[1];
    bool ta = node->attributes[TRANSPOSE_A].i, tb = node->attributes[TRANSPOSE_B].i;
    char text[160], sa[SHAPE_TEXT], sb[SHAPE_TEXT];
    node_text(node, text);
    shape_text(&a->shape, sa);
    shape_text(&b->shape, sb);
    uint32_t ra = a->shape.rank, rb = b->shape.rank;
    int64_t m = a->shape.sizes[ta ? ra - 1 : ra - 2], ka = a->shape.sizes[ta ? ra - 2 : ra - 1];
    int64_t kb = b->shape.sizes[tb ? rb - 1 : rb - 2], n = b->shape.sizes[tb ? rb - 2 : rb - 1];
    if (ka != kb)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s%s and '%s' %s%s do not fit: %lld columns meet %lld rows", text, a->name, sa,
                          ta ? " transposed" : "", b->name, sb, tb ? " transposed" : "", (long long)ka, (long long)kb);
    tuff_shape batch_a = batch_of(&a->shape), batch_b = batch_of(&b->shape), *out = &inference->shapes[0];
    if (!shape_broadcast(&batch_a, &batch_b, out))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s and '%s' %s: the axes before the last two do not broadcast", text, a->name, sa,
                          b->name, sb);
    out->sizes[out->rank++] = m;
    out->sizes[out->rank++] = n;
    return TUFF_OK;
}

static tuff_tensor *product_of(tuff_tensor *a, tuff_tensor *b, bool ta, bool tb) {
    const attribute_value values[2] = { [TRANSPOSE_A] = { .i = ta }, [TRANSPOSE_B] = { .i = tb } };
    return apply_binary(&operator_matrix_product, a, b, values);
}

/* All axes but the last as one: (rows, columns). */
static tuff_tensor *as_matrix(tuff_tensor *x) {
    int64_t columns = x->shape.sizes[x->shape.rank - 1];
    return x->shape.rank == 2 ? x : tuff_reshape(x, TUFF_SHAPE(tuff_shape_count(&x->shape) / columns, columns));
}

static tuff_result gradient(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                            tuff_tensor **grad_inputs) {
    tuff_tensor *a = node->inputs[0], *b = node->inputs[1], *g = grad_outputs[0];
    bool ta = node->attributes[TRANSPOSE_A].i, tb = node->attributes[TRANSPOSE_B].i;
    bool as_rows = !ta && a->shape.rank > 2 && b->shape.rank == 2;
    if (needs & 1) {
        tuff_tensor *grad = ta ? product_of(b, g, tb, true) : product_of(g, b, false, !tb);
        grad_inputs[0] = grad && !shape_equal(&grad->shape, &a->shape) ? sum_to(grad, a) : grad;
    }
    if (needs & 2) {
        tuff_tensor *left = as_rows ? as_matrix(a) : a, *right = as_rows ? as_matrix(g) : g;
        tuff_tensor *grad = tb ? product_of(right, left, true, ta) : product_of(left, right, !ta, false);
        grad_inputs[1] = grad && !shape_equal(&grad->shape, &b->shape) ? sum_to(grad, b) : grad;
    }
    return node_graph(node)->result;
}

/* The strides of a batch's axes, fastest first; 0 where the operand is broadcast. */
static void batch_strides(const view *view, const tuff_shape *out, int64_t *strides) {
    for (uint32_t axis = 0; axis + 2 < out->rank; axis++) {
        bool there = axis + 2 < view->shape.rank;
        uint32_t at = there ? view->shape.rank - 3 - axis : 0;
        strides[axis] = there && view->shape.sizes[at] > 1 ? view->strides[at] : 0;
    }
}

static tuff_result lower(lowering *lowering, const node *node) {
    const view *a = lowering_view(lowering, node->inputs[0]), *b = lowering_view(lowering, node->inputs[1]);
    const view *d = lowering_view(lowering, node->outputs[0]);
    bool ta = node->attributes[TRANSPOSE_A].i, tb = node->attributes[TRANSPOSE_B].i;
    uint32_t ra = a->shape.rank, rb = b->shape.rank, rd = d->shape.rank;
    product product = {
        .loader = LOADER_PLAIN,
        .m = d->shape.sizes[rd - 2],
        .n = d->shape.sizes[rd - 1],
        .k = a->shape.sizes[ta ? ra - 2 : ra - 1],
        .batch_axes = rd - 2,
        .a = { .view = a, .row = a->strides[ta ? ra - 1 : ra - 2], .column = a->strides[ta ? ra - 2 : ra - 1] },
        .b = { .view = b, .row = b->strides[tb ? rb - 1 : rb - 2], .column = b->strides[tb ? rb - 2 : rb - 1] },
        .d = { .view = d, .row = d->strides[rd - 2], .column = d->strides[rd - 1] },
        .own_inputs = 2,
    };
    for (uint32_t axis = 0; axis < rd - 2; axis++) product.batch[axis] = d->shape.sizes[rd - 3 - axis];
    batch_strides(a, &d->shape, product.a.batch);
    batch_strides(b, &d->shape, product.b.batch);
    batch_strides(d, &d->shape, product.d.batch);
    return product_lower(lowering, node, &product);
}

static const operator operator_matrix_product = {
    .name = "matrix_product",
    .flags = OPERATOR_INTERNAL,
    .formula = "y[..., m, n] = sum over k of a[..., m, k] * b[..., k, n]",
    .inputs = { "input", "other" },
    .attributes = attributes,
    .attribute_count = sizeof attributes / sizeof *attributes,
    .infer = infer,
    .gradient = gradient,
    .input_layouts = { LAYOUT_MATRIX, LAYOUT_MATRIX },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower,
    .accepts_epilogue = product_accepts_epilogue,
};

/* ---- matmul: with vectors, too ------------------------------------------------------------------- */

/* A vector's one axis is summed over; the result does not have it. */
static tuff_result infer_matmul(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *a = node->inputs[0], *b = node->inputs[1];
    const tuff_shape *as = &a->shape, *bs = &b->shape;
    bool ta = node->attributes[TRANSPOSE_A].i, tb = node->attributes[TRANSPOSE_B].i;
    char text[160], sa[SHAPE_TEXT], sb[SHAPE_TEXT];
    if (as->rank >= 2 && bs->rank >= 2) return infer(inference);
    node_text(node, text);
    shape_text(as, sa);
    shape_text(bs, sb);
    if (!as->rank || !bs->rank || (as->rank == 1 && ta) || (bs->rank == 1 && tb))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s and '%s' %s: both must have rank 1 or more, and what is transposed 2", text,
                          a->name, sa, b->name, sb);
    uint32_t summed_a = ta && as->rank > 1 ? as->rank - 2 : as->rank - 1;
    uint32_t summed_b = bs->rank == 1 || tb ? bs->rank - 1 : bs->rank - 2;
    if (as->sizes[summed_a] != bs->sizes[summed_b])
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s%s and '%s' %s%s do not fit: %lld numbers meet %lld", text, a->name, sa,
                          ta ? " transposed" : "", b->name, sb, tb ? " transposed" : "", (long long)as->sizes[summed_a],
                          (long long)bs->sizes[summed_b]);
    const tuff_shape *matrix = as->rank > 1 ? as : bs;
    uint32_t summed = as->rank > 1 ? summed_a : summed_b;
    tuff_shape *out = &inference->shapes[0];
    *out = (tuff_shape){ 0 };
    for (uint32_t axis = 0; axis < matrix->rank; axis++)
        if (axis != summed) out->sizes[out->rank++] = matrix->sizes[axis];
    return TUFF_OK;
}

/* The sum over one of the last two axes of matrix * vector; axis: -1 or -2. */
static tuff_tensor *times_vector(tuff_tensor *matrix, tuff_tensor *vector, int32_t axis) {
    if (axis == -2) vector = tuff_reshape(vector, TUFF_SHAPE(vector->shape.sizes[0], 1));
    return tuff_sum(tuff_mul(matrix, vector), &(tuff_reduce_desc){ .axes = { axis }, .axis_count = 1 });
}

static tuff_result expand_matmul(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                 tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *a = inputs[0], *b = inputs[1];
    bool ta = node->attributes[TRANSPOSE_A].i, tb = node->attributes[TRANSPOSE_B].i;
    if (a->shape.rank > 1 && b->shape.rank > 1)
        outputs[0] = product_of(a, b, ta, tb);
    else if (a->shape.rank > 1)
        outputs[0] = times_vector(a, b, ta ? -2 : -1);
    else
        outputs[0] = times_vector(b, a, tb || b->shape.rank == 1 ? -1 : -2);
    return graph->result;
}

static const operator operator_matmul = {
    .name = "matmul",
    .formula = "y[..., m, n] = sum over k of a[..., m, k] * b[..., k, n]; a vector has k alone",
    .inputs = { "input", "other" },
    .pytorch = "torch.matmul",
    .attributes = attributes,
    .attribute_count = sizeof attributes / sizeof *attributes,
    .infer = infer_matmul,
    .expand = expand_matmul,
};

tuff_tensor *tuff_matmul(tuff_tensor *a, tuff_tensor *b, const tuff_matmul_desc *desc) {
    if (!a || !b) return NULL;
    attribute_value values[2] = { { 0 } };
    if (desc) {
        values[TRANSPOSE_A].i = desc->transpose_a;
        values[TRANSPOSE_B].i = desc->transpose_b;
    }
    return apply_binary(&operator_matmul, a, b, values);
}

/* ---- outer --------------------------------------------------------------------------------------- */

static tuff_result infer_outer(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *a = node->inputs[0], *b = node->inputs[1];
    char text[160], sa[SHAPE_TEXT], sb[SHAPE_TEXT];
    if (a->shape.rank != 1 || b->shape.rank != 1)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s and '%s' %s must be vectors",
                          node_text(node, text), a->name, shape_text(&a->shape, sa), b->name,
                          shape_text(&b->shape, sb));
    inference->shapes[0] = TUFF_SHAPE(a->shape.sizes[0], b->shape.sizes[0]);
    return TUFF_OK;
}

static tuff_result expand_outer(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                tuff_tensor **outputs) {
    (void)node, (void)training;
    outputs[0] = tuff_mul(tuff_reshape(inputs[0], TUFF_SHAPE(-1, 1)), inputs[1]);
    return graph->result;
}

static const operator operator_outer = {
    .name = "outer",
    .formula = "y[i, j] = a[i] * b[j]",
    .inputs = { "input", "vec2" },
    .pytorch = "torch.outer",
    .infer = infer_outer,
    .expand = expand_outer,
};

tuff_tensor *tuff_outer(tuff_tensor *a, tuff_tensor *b) {
    return a && b ? apply_binary(&operator_outer, a, b, NULL) : NULL;
}

static const operator* const rows[] = { &operator_matmul, &operator_outer, &operator_matrix_product };
const operator_family family_matmul = { rows, sizeof rows / sizeof *rows };
