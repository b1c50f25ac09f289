/* matmul: (..., M, K) times (..., K, N), batch axes broadcast, each operand transposed or not.
 *
 * Its gradient is two products of the same kind. Where one operand has no batch, as a layer's weight has, the batch is
 * counted to the rows, so that the sum over it happens inside of the product. */
#include "layers/families.h"
#include "layers/product.h"

#include <tuff/layers.h>

enum { TRANSPOSE_A, TRANSPOSE_B };

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

static tuff_result infer(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *a = node->inputs[0], *b = node->inputs[1];
    bool ta = node->attributes[TRANSPOSE_A].i, tb = node->attributes[TRANSPOSE_B].i;
    char text[160], sa[SHAPE_TEXT], sb[SHAPE_TEXT];
    node_text(node, text);
    shape_text(&a->shape, sa);
    shape_text(&b->shape, sb);
    uint32_t ra = a->shape.rank, rb = b->shape.rank;
    if (ra < 2 || rb < 2)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: '%s' %s and '%s' %s: both must have rank 2 or more; reshape a vector to a matrix", text,
                          a->name, sa, b->name, sb);
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
    return tuff_matmul(a, b, &(tuff_matmul_desc){ .transpose_a = ta, .transpose_b = tb });
}

/* The sum over the axes that broadcasting has added to a tensor of shape `to`. */
static tuff_tensor *sum_to(tuff_tensor *x, const tuff_shape *to) {
    if (!x) return NULL;
    uint32_t missing = x->shape.rank - to->rank;
    tuff_reduce_desc sum = { .keepdim = true };
    for (uint32_t i = 0; i < x->shape.rank; i++)
        if (x->shape.sizes[i] > 1 && (i < missing || to->sizes[i - missing] == 1))
            sum.axes[sum.axis_count++] = (int32_t)i;
    if (sum.axis_count) x = tuff_sum(x, &sum);
    return x && !shape_equal(&x->shape, to) ? tuff_reshape(x, *to) : x;
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
        grad_inputs[0] = sum_to(grad, &a->shape);
    }
    if (needs & 2) {
        tuff_tensor *left = as_rows ? as_matrix(a) : a, *right = as_rows ? as_matrix(g) : g;
        tuff_tensor *grad = tb ? product_of(right, left, true, ta) : product_of(left, right, !ta, false);
        grad_inputs[1] = sum_to(grad, &b->shape);
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

static const operator operator_matmul = {
    .name = "matmul",
    .formula = "y[..., m, n] = sum over k of a[..., m, k] * b[..., k, n]",
    .inputs = { "input", "other" },
    .pytorch = "torch.matmul",
    .attributes = attributes,
    .attribute_count = sizeof attributes / sizeof *attributes,
    .infer = infer,
    .gradient = gradient,
    .input_layouts = { LAYOUT_MATRIX, LAYOUT_MATRIX },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower,
    .accepts_epilogue = product_accepts_epilogue,
};

static const operator* const rows[] = { &operator_matmul };
const operator_family family_matmul = { rows, sizeof rows / sizeof *rows };

tuff_tensor *tuff_matmul(tuff_tensor *a, tuff_tensor *b, const tuff_matmul_desc *desc) {
    if (!a || !b) return NULL;
    attribute_value values[2] = { { 0 } };
    if (desc) {
        values[TRANSPOSE_A].i = desc->transpose_a;
        values[TRANSPOSE_B].i = desc->transpose_b;
    }
    return graph_apply(a->graph, &operator_matmul, (tuff_tensor *[]){ a, b }, 2, values, NULL);
}
