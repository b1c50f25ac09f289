/* Padding, flipping, rolling, repeating, triangles, one-hot vectors: all read each element of their result from another
 * place, and become one row, "rearrange", whose kernel does that. What is no more than a view becomes one. */
#include "layers/rearrange.h"

#include "layers/axes.h"
#include "layers/chain.h"
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/pointwise.h"
#include "runtime/program/view.h"

#include <math.h>
#include <string.h>

/* ---- the kernels' calls -------------------------------------------------------------------------- */

enum { LANES = 64, AXIS_WORDS = 8, PAD_AXIS_WORDS = 6, NOWHERE = UINT32_MAX };

/* One axis of a walk over y. */
typedef struct walk_axis {
    int64_t size, n; /* in y, in x */
    int64_t add, step;
    uint64_t stride, stride_y;
    bool flip;
} walk_axis;

typedef struct walk {
    lowering *lowering;
    view x, y;
    walk_axis axes[TUFF_MAX_RANK]; /* the fastest of y first */
    uint32_t rank;
    uint32_t row, column;
    uint32_t outside, kind, value;
    int32_t diagonal;
    bool backward; /* x is the padded one, y what was padded */
    const char *label;
} walk;

/* Each element of y is read from the same coordinate of x. */
static bool is_plain(const walk_axis *axis) {
    return axis->size == axis->n && axis->add == 0 && axis->step == 1 && !axis->flip;
}

/* Sorts the axes by where y's elements lie, drops those of size 1 and joins those that need not be told apart. */
static void prepare(walk *w) {
    walk_axis sorted[TUFF_MAX_RANK];
    uint32_t names[TUFF_MAX_RANK], count = 0, row = w->row, column = w->column;
    for (uint32_t i = w->rank; i-- > 0;) {
        if (w->axes[i].size == 1 && is_plain(&w->axes[i])) continue;
        uint32_t at = count++;
        for (; at > 0 && sorted[at - 1].stride_y > w->axes[i].stride_y; at--) {
            sorted[at] = sorted[at - 1];
            names[at] = names[at - 1];
        }
        sorted[at] = w->axes[i];
        names[at] = i;
    }
    w->rank = 0;
    w->row = w->column = NOWHERE;
    for (uint32_t i = 0; i < count; i++) {
        walk_axis *inner = w->rank ? &w->axes[w->rank - 1] : NULL, *outer = &sorted[i];
        bool named = w->kind != REARRANGE_MOVES && i > 0
                     && (names[i] == row || names[i] == column || names[i - 1] == row || names[i - 1] == column);
        bool shifts = w->outside == OUTSIDE_FILLS && !w->backward && outer->step == 1 && !outer->flip;
        if (inner && !named && is_plain(inner) && (is_plain(outer) || shifts)
            && outer->stride == inner->stride * (uint64_t)inner->size) {
            inner->n *= outer->n;
            inner->add = outer->add * inner->size;
            inner->size *= outer->size;
        } else {
            w->axes[w->rank++] = *outer;
        }
        if (names[i] == row) w->row = w->rank - 1;
        if (names[i] == column) w->column = w->rank - 1;
    }
    if (w->rank == 0) w->axes[w->rank++] = (walk_axis){ .size = 1, .n = 1, .step = 1 }; /* no record is empty */
}

static uint64_t walk_span(const walk *w) {
    uint64_t span = 1;
    for (uint32_t d = 0; d < w->rank; d++) span += (uint64_t)(w->axes[d].n - 1) * w->axes[d].stride;
    return span;
}

static tuff_result emit(const walk *w) {
    uint64_t most = bindable_elements(w->lowering), count = 1;
    for (uint32_t d = 0; d < w->rank; d++) count *= (uint64_t)w->axes[d].size;
    const walk_axis *outer = w->rank ? &w->axes[w->rank - 1] : NULL;
    if (outer && is_plain(outer) && outer->size > 1 && w->kind == REARRANGE_MOVES
        && (walk_span(w) > most || count > most)) { /* in two halves */
        walk half = *w;
        walk_axis *axis = &half.axes[half.rank - 1];
        int64_t lower = axis->size / 2;
        axis->size = axis->n = lower;
        TRY(emit(&half));
        half.x.offset += (uint64_t)lower * axis->stride;
        half.y.offset += (uint64_t)lower * axis->stride_y;
        axis->size = axis->n = outer->size - lower;
        return emit(&half);
    }
    uint32_t words[TUFF_MAX_RANK * AXIS_WORDS], each = w->backward ? PAD_AXIS_WORDS : AXIS_WORDS;
    for (uint32_t d = 0; d < w->rank; d++) {
        const walk_axis *axis = &w->axes[d];
        uint32_t *of = words + d * each;
        of[0] = (uint32_t)axis->size;
        division(of[0] > 1 ? of[0] : 2, &of[1], &of[2]);
        if (w->backward) {
            of[3] = (uint32_t)axis->add;
            of[4] = (uint32_t)axis->n;
            of[5] = (uint32_t)axis->stride;
            continue;
        }
        of[3] = axis->flip ? ~0u : 1u;
        of[4] = (uint32_t)axis->add;
        of[5] = (uint32_t)axis->step;
        of[6] = (uint32_t)axis->n;
        of[7] = (uint32_t)axis->stride;
    }
    view x = w->x;
    x.shape.rank = w->rank;
    for (uint32_t d = 0; d < w->rank; d++) {
        x.shape.sizes[d] = w->axes[d].n;
        x.strides[d] = (int64_t)w->axes[d].stride;
    }
    for (uint64_t begin = 0; begin < count; begin += most) {
        uint64_t part = count - begin < most ? count - begin : most;
        kernel_call call = { .kernel = w->backward ? KERNEL_PAD_BACKWARD : KERNEL_REARRANGE,
                             .label = w->label,
                             .constants = { w->outside, w->kind },
                             .constant_count = w->backward ? 1 : 2,
                             .operand_count = 3,
                             .params = { (uint32_t)part, (uint32_t)begin, w->rank },
                             .param_count = w->backward ? 6 : 10 };
        view y = {
            .storage = w->y.storage, .offset = w->y.offset + begin, .shape = TUFF_SHAPE((int64_t)part), .strides = { 1 }
        };
        call.operands[0] = lowering_operand(w->lowering, &x, ACCESS_READ, &call.params[4]);
        call.operands[1] = lowering_operand(w->lowering, &y, ACCESS_WRITE, &call.params[5]);
        TRY(lowering_record(w->lowering, words, w->rank * each, &call.operands[2], &call.params[3]));
        if (!w->backward) {
            call.params[6] = w->value;
            call.params[7] = w->row;
            call.params[8] = w->column;
            call.params[9] = (uint32_t)w->diagonal;
        }
        flat_groups(&call, part, LANES);
        TRY(lowering_call(w->lowering, &call));
    }
    return TUFF_OK;
}

/* ---- rearrange ----------------------------------------------------------------------------------- */

enum { SIZE = 0, ADD, STEP, FLIP, OUTSIDE, KIND, DIAGONAL, VALUE, ATTRIBUTES };
static const attribute rearrange_attributes[] = {
    [SIZE] = { .name = "size", .type = ATTRIBUTE_INTS },        [ADD] = { .name = "add", .type = ATTRIBUTE_INTS },
    [STEP] = { .name = "step", .type = ATTRIBUTE_INTS },        [FLIP] = { .name = "flip", .type = ATTRIBUTE_INTS },
    [OUTSIDE] = { .name = "outside", .type = ATTRIBUTE_INT },   [KIND] = { .name = "kind", .type = ATTRIBUTE_INT },
    [DIAGONAL] = { .name = "diagonal", .type = ATTRIBUTE_INT }, [VALUE] = { .name = "value", .type = ATTRIBUTE_FLOAT },
};

static tuff_result infer_rearrange(inference *inference) {
    const node *node = inference->node;
    inference->shapes[0].rank = node->inputs[0]->shape.rank;
    memcpy(inference->shapes[0].sizes, node->attributes[SIZE].list, sizeof inference->shapes[0].sizes);
    inference->types[0] = node->attributes[KIND].i == REARRANGE_EQUALS ? TUFF_F32 : node->inputs[0]->type;
    return TUFF_OK;
}

static uint32_t bits_of(double value, tuff_type type) {
    uint32_t bits;
    if (type == TUFF_I32) {
        int32_t whole = !(value > INT32_MIN) ? INT32_MIN : value >= INT32_MAX ? INT32_MAX : (int32_t)value;
        memcpy(&bits, &whole, sizeof bits);
    } else {
        float number = (float)value;
        memcpy(&bits, &number, sizeof bits);
    }
    return bits;
}

static tuff_result lower_rearrange(lowering *lowering, const node *node) {
    const attribute_value *a = node->attributes;
    walk w = { .lowering = lowering,
               .x = *lowering_view(lowering, node->inputs[0]),
               .y = *lowering_view(lowering, node->outputs[0]),
               .outside = (uint32_t)a[OUTSIDE].i,
               .kind = (uint32_t)a[KIND].i,
               .value = bits_of(a[VALUE].f, node->inputs[0]->type),
               .label = node->label };
    w.rank = w.x.shape.rank;
    w.row = w.kind == REARRANGE_EQUALS ? NOWHERE : w.rank - 2;
    w.column = w.rank - 1;
    w.diagonal = (int32_t)(a[DIAGONAL].i < INT32_MIN ? INT32_MIN : smaller(a[DIAGONAL].i, INT32_MAX));
    for (uint32_t i = 0; i < w.rank; i++)
        w.axes[i] = (walk_axis){ .size = w.y.shape.sizes[i],
                                 .n = w.x.shape.sizes[i],
                                 .add = a[ADD].list[i],
                                 .step = a[STEP].list[i],
                                 .flip = a[FLIP].list[i],
                                 .stride = (uint64_t)w.x.strides[i],
                                 .stride_y = (uint64_t)w.y.strides[i] };
    prepare(&w);
    return emit(&w);
}

static const operator operator_rearrange = { .name = "rearrange",
                                             .flags = OPERATOR_INTERNAL | OPERATOR_FOLLOWS,
                                             .formula = "x with its elements at other places",
                                             .inputs = { "input" },
                                             .types = { TYPE_ANY },
                                             .attributes = rearrange_attributes,
                                             .attribute_count = ATTRIBUTES,
                                             .infer = infer_rearrange,
                                             .lower = lower_rearrange };

rearrangement rearrangement_of(const tuff_tensor *x) {
    rearrangement r = { .value = 0 };
    for (uint32_t i = 0; i < TUFF_MAX_RANK; i++) {
        r.size[i] = x && i < x->shape.rank ? x->shape.sizes[i] : 1;
        r.step[i] = 1;
    }
    return r;
}

tuff_tensor *rearrange(tuff_tensor *x, const rearrangement *r) {
    attribute_value a[ATTRIBUTES] = { [OUTSIDE] = { .i = r->outside },
                                      [KIND] = { .i = r->kind },
                                      [DIAGONAL] = { .i = r->diagonal },
                                      [VALUE] = { .f = r->value } };
    if (!x) return NULL;
    /* the kernel moves words */
    if (x->type == TUFF_U8) return tuff_to(rearrange(tuff_to(x, TUFF_I32), r), TUFF_U8);
    a[SIZE].i = a[ADD].i = a[STEP].i = a[FLIP].i = x->shape.rank;
    for (uint32_t i = 0; i < x->shape.rank; i++) {
        a[SIZE].list[i] = r->size[i];
        a[ADD].list[i] = r->add[i];
        a[STEP].list[i] = r->step[i];
        a[FLIP].list[i] = r->flip[i];
    }
    return apply_unary(&operator_rearrange, x, a);
}

/* ---- pad ----------------------------------------------------------------------------------------- */

enum { PAD = 0, PAD_MODE, PAD_VALUE };
static const attribute pad_attributes[] = {
    [PAD] = { .name = "pad", .type = ATTRIBUTE_INTS, .required = true },
    [PAD_MODE] = { .name = "mode", .type = ATTRIBUTE_CHOICE, .choices = "constant|reflect|replicate|circular" },
    [PAD_VALUE] = { .name = "value", .type = ATTRIBUTE_FLOAT },
};

/* What pad adds before (end 0) or behind (end 1) an axis: the list starts at the last one. */
static int64_t pad_at(const node *node, uint32_t rank, uint32_t axis, uint32_t end) {
    uint32_t at = 2 * (rank - 1 - axis) + end;
    return at < node->attributes[PAD].i ? node->attributes[PAD].list[at] : 0;
}

static tuff_result padded_shape(inference *inference, const tuff_tensor *x, tuff_shape *y) {
    const node *node = inference->node;
    const attribute_value *pad = &node->attributes[PAD];
    uint32_t rank = x->shape.rank, mode = (uint32_t)node->attributes[PAD_MODE].i;
    char text[160], shape[SHAPE_TEXT];
    if (pad->i % 2 || pad->i > 2 * (int64_t)rank)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                          "%s: pad has %lld numbers; it takes two for each axis of '%s' %s, from the last one on",
                          node_text(node, text), (long long)pad->i, x->name, shape_text(&x->shape, shape));
    *y = x->shape;
    for (uint32_t axis = 0; axis < rank; axis++) {
        int64_t before = pad_at(node, rank, axis, 0), behind = pad_at(node, rank, axis, 1), n = x->shape.sizes[axis];
        int64_t most = mode == OUTSIDE_REFLECTS ? n - 1 : mode == OUTSIDE_WRAPS ? n : INT32_MAX;
        if (before > most || behind > most || before < -n || behind < -n || n + before + behind < 1)
            return graph_fail(
                inference->graph, TUFF_ERROR_SHAPE,
                "%s: %lld before and %lld behind axis %u of '%s' %s; %lld at most, and something must remain",
                node_text(node, text), (long long)before, (long long)behind, axis, x->name,
                shape_text(&x->shape, shape), (long long)most);
        y->sizes[axis] = n + before + behind;
    }
    return TUFF_OK;
}

static tuff_result infer_pad(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    inference->types[0] = x->type;
    return padded_shape(inference, x, &inference->shapes[0]);
}

/* Where it only crops, slices do. */
static tuff_result expand_pad(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                              tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *x = inputs[0];
    uint32_t rank = x->shape.rank;
    bool crops = true;
    rearrangement r = rearrangement_of(x);
    for (uint32_t i = 0; i < rank; i++) {
        crops = crops && pad_at(node, rank, i, 0) <= 0 && pad_at(node, rank, i, 1) <= 0;
        r.add[i] = -pad_at(node, rank, i, 0);
        r.size[i] = x->shape.sizes[i] + pad_at(node, rank, i, 0) + pad_at(node, rank, i, 1);
    }
    r.outside = (uint32_t)node->attributes[PAD_MODE].i;
    r.value = node->attributes[PAD_VALUE].f;
    outputs[0] = x;
    if (!crops)
        outputs[0] = rearrange(x, &r);
    else
        for (uint32_t i = 0; i < rank; i++) outputs[0] = slice_of(outputs[0], i, r.add[i], r.add[i] + r.size[i], 1);
    return graph->result;
}

static tuff_result gradient_pad(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs);

static const operator operator_pad = { .name = "pad",
                                       .formula = "x with more elements, or fewer, at the ends of its axes",
                                       .inputs = { "input" },
                                       .types = { TYPE_ANY },
                                       .pytorch = "torch.nn.functional.pad",
                                       .attributes = pad_attributes,
                                       .attribute_count = 3,
                                       .infer = infer_pad,
                                       .gradient = gradient_pad,
                                       .expand = expand_pad };

static tuff_result infer_pad_backward(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *g = node->inputs[0], *like = node->inputs[1];
    tuff_shape shape;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    TRY(padded_shape(inference, like, &shape));
    if (!shape_equal(&shape, &g->shape))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s is not what padding '%s' %s gives",
                          node_text(node, text), g->name, shape_text(&g->shape, first), like->name,
                          shape_text(&like->shape, second));
    inference->shapes[0] = like->shape;
    return TUFF_OK;
}

static tuff_result gradient_pad_backward(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                         tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(&operator_pad, grad_outputs[0], node->attributes);
    return TUFF_OK;
}

static tuff_result lower_pad_backward(lowering *lowering, const node *node) {
    walk w = { .lowering = lowering,
               .x = *lowering_view(lowering, node->inputs[0]),
               .y = *lowering_view(lowering, node->outputs[0]),
               .outside = (uint32_t)node->attributes[PAD_MODE].i,
               .row = NOWHERE,
               .column = NOWHERE,
               .backward = true,
               .label = node->label };
    double turns = 1; /* lavapipe leaves an invocation's loops after 65535, all of them together */
    w.rank = w.x.shape.rank;
    for (uint32_t i = 0; i < w.rank; i++) turns *= 1 + fmax(0, (double)(w.x.shape.sizes[i] - w.y.shape.sizes[i]));
    if (w.outside == OUTSIDE_REPLICATES && turns * (w.rank + 1) > 65000)
        return error_set(
            TUFF_ERROR_UNSUPPORTED,
            "%s: a corner is repeated %.0f times, too often for its gradient; pad one axis after the other",
            node->label, turns);
    for (uint32_t i = 0; i < w.rank; i++)
        w.axes[i] = (walk_axis){ .size = w.y.shape.sizes[i],
                                 .n = w.x.shape.sizes[i],
                                 .add = pad_at(node, w.rank, i, 0),
                                 .step = 1,
                                 .stride = (uint64_t)w.x.strides[i],
                                 .stride_y = (uint64_t)w.y.strides[i] };
    prepare(&w);
    return emit(&w);
}

static const operator operator_pad_backward = { .name = "pad_backward",
                                                .flags = OPERATOR_INTERNAL | OPERATOR_FOLLOWS,
                                                .formula = "gx[t] = sum of g over what padding read at t",
                                                .inputs = { "grad_output", "input" },
                                                .shape_only = 1 << 1,
                                                .attributes = pad_attributes,
                                                .attribute_count = 3,
                                                .infer = infer_pad_backward,
                                                .gradient = gradient_pad_backward,
                                                .lower = lower_pad_backward };

static tuff_result gradient_pad(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                tuff_tensor **grad_inputs) {
    (void)needs;
    attribute_value crop[] = { node->attributes[PAD], { 0 }, { 0 } };
    for (int64_t i = 0; i < crop[PAD].i; i++) crop[PAD].list[i] *= -1;
    grad_inputs[0] = node->attributes[PAD_MODE].i == OUTSIDE_FILLS
                         ? apply_unary(&operator_pad, grad_outputs[0], crop)
                         : apply_binary(&operator_pad_backward, grad_outputs[0], node->inputs[0], node->attributes);
    return TUFF_OK;
}

tuff_tensor *tuff_pad(tuff_tensor *x, const tuff_pad_desc *desc) {
    if (!x) return NULL;
    static const tuff_pad_desc none;
    if (!desc) desc = &none;
    attribute_value attributes[] = {
        [PAD] = { .i = 2 * TUFF_MAX_RANK }, [PAD_MODE] = { .i = desc->mode }, [PAD_VALUE] = { .f = desc->value }
    };
    if (desc->mode < TUFF_PAD_CONSTANT || desc->mode > TUFF_PAD_CIRCULAR) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "pad of '%s': %d is not a tuff_pad_mode", x->name, (int)desc->mode);
        return NULL;
    }
    for (int64_t i = 0; i < attributes[PAD].i; i++) attributes[PAD].list[i] = desc->pad[i];
    while (attributes[PAD].i && !attributes[PAD].list[attributes[PAD].i - 1]
           && !attributes[PAD].list[attributes[PAD].i - 2])
        attributes[PAD].i -= 2;
    return apply_unary(&operator_pad, x, attributes);
}

static const operator* const rows[] = { &operator_rearrange, &operator_pad, &operator_pad_backward };
const operator_family family_rearrange = { rows, sizeof rows / sizeof *rows };
