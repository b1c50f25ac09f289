/* The kernels that normalise rows, as operators of their own: layer, root mean square, group and instance normalisation
 * are views around them. Forward reads x from memory once if a row fits the caches, backward x and the gradient. */
#include "layers/normalisation.h"
#include "layers/pointwise.h"
#include "layers/reduction.h"
#include "layers/rows.h"

enum { AXIS = 0, SPREAD, EPSILON, CENTRED, GROUPS, ATTRIBUTES };
static const attribute norm_rows_attributes[] = {
    [AXIS] = { .name = "axis", .type = ATTRIBUTE_INT },                   /* rows are the axes from here on */
    [SPREAD] = { .name = "spread", .type = ATTRIBUTE_INT, .value.i = 1 }, /* elements that share a weight */
    [EPSILON] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1e-5 },
    [CENTRED] = { .name = "centred", .type = ATTRIBUTE_BOOL, .value.i = true },
    [GROUPS] = { .name = "groups", .type = ATTRIBUTE_INT }, /* 0: none; else axis `axis` is divided, and rows with it */
};

/* One value for each row, in a shape that broadcasts to x; in groups, to x with an axis of them. */
static tuff_shape of_rows(const node *node, const tuff_shape *x) {
    tuff_shape shape = *x;
    uint32_t axis = (uint32_t)node->attributes[AXIS].i;
    int64_t groups = node->attributes[GROUPS].i;
    if (groups) shape.rank++;
    for (uint32_t i = axis; i < shape.rank; i++) shape.sizes[i] = 1;
    if (groups) shape.sizes[axis] = groups;
    return shape;
}

/* ---- kernels ------------------------------------------------------------------------------------- */

static cover choose_cover(const lowering *lowering, const node *node, const tuff_shape *x) {
    const tuff_shape each = of_rows(node, x);
    int64_t rows = tuff_shape_count(&each);
    return cover_rows(lowering, rows, tuff_shape_count(x) / rows);
}

static view rows_view(const view *whole, int64_t rows, int64_t n) {
    view flat = *whole;
    flat.shape = TUFF_SHAPE(rows, n);
    flat.strides[0] = n;
    flat.strides[1] = 1;
    return flat;
}

/* Rows from `begin` on that a call takes. */
static int64_t part_of(const lowering *lowering, const cover *c, const view *x, int64_t begin) {
    int64_t step = smaller(steps_that_fit(lowering, x), INT32_MAX / c->n < 1 ? 1 : INT32_MAX / c->n);
    return smaller(step, c->rows - begin);
}

/* Rows until the weights start again. */
static int64_t period_of(const node *node, const cover *c, const tuff_tensor *weight) {
    int64_t weights = weight ? tuff_shape_count(&weight->shape) : 1;
    int64_t each = c->n / node->attributes[SPREAD].i;
    return weights > each ? weights / each : 1;
}

/* The three forms of a kernel. */
typedef struct forms {
    enum kernel_id one, wide, texels;
} forms;

/* Four neighbours at a time, where the first four operands lie in whole fours and what takes one has one weight, or
 * four in a row; `firsts` are the parameters that say where operands begin. The constant `plain`: every row has the
 * weights 0 to n - 1. */
static void choose_form(const lowering *lowering, const node *node, const cover *c, const tuff_tensor *weight,
                        const forms *forms, uint32_t plain, uint32_t firsts, kernel_call *call) {
    int64_t spread = node->attributes[SPREAD].i;
    bool is_plain = spread == 1 && (!weight || tuff_shape_count(&weight->shape) == c->n);
    bool wide = wide_allowed(lowering) && c->n % 4 == 0 && (is_plain || spread % 4 == 0);
    for (uint32_t i = 0; i < 4; i++) wide = wide && call->params[firsts + i] % 4 == 0;
    call->kernel = !wide ? forms->one : texels_allowed(lowering) ? forms->texels : forms->wide;
    call->constants[plain] = is_plain;
    call->constant_count = plain + 1;
    if (wide) bind_whole_fours(call, 0, 4);
}

static void set_groups(kernel_call *call, const cover *c, int64_t rows) {
    flat_groups(call, (uint64_t)rows, c->local / c->lanes);
}

/* The activation behind it. */
static void add_chain(const chain *chain, kernel_call *call) {
    call->constants[call->constant_count++] = chain->outputs[0];
    call->constants[call->constant_count++] = chain->step_count;
    for (uint32_t i = 0; i < chain->step_count; i++)
        call->constants[call->constant_count++] = chain_word(chain->steps[i]);
    memcpy(call->params + call->param_count, chain->constants, chain->constant_count * sizeof *chain->constants);
    call->param_count += chain->constant_count;
}

/* Of the value alone: no further inputs. */
static bool accepts_epilogue(const node *node, const chain *chain, tuff_tensor *const *extra_inputs,
                             uint32_t extra_count) {
    (void)node;
    (void)extra_inputs;
    return extra_count == 0 && chain->output_count == 1 && !chain_uses_index(chain) && !chain_is_random(chain);
}

static tuff_result lower_forward(lowering *lowering, const node *node) {
    const tuff_tensor *weight = node->inputs[1], *bias = node->inputs[2], *given = weight ? weight : bias;
    const cover c = choose_cover(lowering, node, &node->inputs[0]->shape);
    TRY(turns_check(lowering, node, ROW_WALKS * (uint64_t)c.n / c.lanes));
    view x = rows_view(lowering_view(lowering, node->inputs[0]), c.rows, c.n);
    view y = rows_view(lowering_view(lowering, node->outputs[0]), c.rows, c.n);
    view shift = rows_view(lowering_view(lowering, node->outputs[1]), c.rows, 1);
    view inverse = rows_view(lowering_view(lowering, node->outputs[2]), c.rows, 1);
    float epsilon = (float)node->attributes[EPSILON].f;
    int64_t period = period_of(node, &c, given);
    for (int64_t row = 0, part; row < c.rows; row += part) {
        part = part_of(lowering, &c, &x, row);
        view parts[] = { view_part(&x, row, part), view_part(&y, row, part), view_part(&shift, row, part),
                         view_part(&inverse, row, part) };
        kernel_call call = {
            .constants = { c.local, c.lanes, node->attributes[CENTRED].i != 0, weight != NULL, bias != NULL },
            .operand_count = 6,
            .params = { (uint32_t)part, (uint32_t)c.n, (uint32_t)(row % period), (uint32_t)node->attributes[SPREAD].i,
                        given ? (uint32_t)tuff_shape_count(&given->shape) : 1 },
            .param_count = 12
        };
        memcpy(&call.params[5], &epsilon, sizeof epsilon);
        call.operands[0] = lowering_operand(lowering, &parts[0], ACCESS_READ, &call.params[6]);
        call.operands[1] =
            weight ? lowering_operand(lowering, lowering_view(lowering, weight), ACCESS_READ, &call.params[7])
                   : call.operands[0];
        call.operands[2] = bias
                               ? lowering_operand(lowering, lowering_view(lowering, bias), ACCESS_READ, &call.params[8])
                               : call.operands[0];
        for (uint32_t i = 1; i < 4; i++)
            call.operands[2 + i] = lowering_operand(lowering, &parts[i], ACCESS_WRITE, &call.params[8 + i]);
        static const forms forms = { KERNEL_NORM_ROWS, KERNEL_NORM_ROWS_WIDE, KERNEL_NORM_ROWS_TEXELS };
        choose_form(lowering, node, &c, given, &forms, 5, 6, &call);
        if (node->chain) add_chain(node->chain, &call);
        set_groups(&call, &c, part);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

/* grad_output, input, shift, inverse, weight? */
static tuff_result lower_backward(lowering *lowering, const node *node) {
    const tuff_tensor *weight = node->inputs[4];
    const cover c = choose_cover(lowering, node, &node->inputs[1]->shape);
    TRY(turns_check(lowering, node, ROW_WALKS * (uint64_t)c.n / c.lanes));
    view wholes[5]; /* what is read, then what is written */
    for (uint32_t i = 0; i < 5; i++)
        wholes[i] = rows_view(lowering_view(lowering, i < 4 ? node->inputs[i] : node->outputs[0]), c.rows,
                              i == 2 || i == 3 ? 1 : c.n);
    int64_t period = period_of(node, &c, weight);
    for (int64_t row = 0, part; row < c.rows; row += part) {
        part = part_of(lowering, &c, &wholes[1], row);
        kernel_call call = { .constants = { c.local, c.lanes, node->attributes[CENTRED].i != 0, weight != NULL },
                             .operand_count = 6,
                             .params = { (uint32_t)part, (uint32_t)c.n, (uint32_t)(row % period),
                                         (uint32_t)node->attributes[SPREAD].i,
                                         weight ? (uint32_t)tuff_shape_count(&weight->shape) : 1 },
                             .param_count = 11 };
        static const uint32_t bindings[] = { 0, 1, 4, 5, 3 };
        for (uint32_t i = 0; i < 5; i++) {
            view of = view_part(&wholes[i], row, part);
            call.operands[bindings[i]] =
                lowering_operand(lowering, &of, i < 4 ? ACCESS_READ : ACCESS_WRITE, &call.params[5 + bindings[i]]);
        }
        call.operands[2] =
            weight ? lowering_operand(lowering, lowering_view(lowering, weight), ACCESS_READ, &call.params[7])
                   : call.operands[0];
        static const forms forms = { KERNEL_NORM_ROWS_BACKWARD, KERNEL_NORM_ROWS_BACKWARD_WIDE,
                                     KERNEL_NORM_ROWS_BACKWARD_TEXELS };
        choose_form(lowering, node, &c, weight, &forms, 4, 5, &call);
        set_groups(&call, &c, part);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static tuff_result infer_forward(inference *inference) {
    const node *node = inference->node;
    inference->output_count = 3;
    inference->shapes[0] = node->inputs[0]->shape;
    inference->shapes[1] = inference->shapes[2] = of_rows(node, &node->inputs[0]->shape);
    return TUFF_OK;
}

static tuff_result infer_backward(inference *inference) {
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

const operator operator_norm_rows = {
    .name = "norm_rows",
    .flags = OPERATOR_INTERNAL | OPERATOR_WHOLE_EPILOGUE, /* those that are made of it have gradients of their own */
    .formula = "y = (x - mean) r weight + bias over the axes from `axis` on; mean - first x; r = 1 / sqrt(var + eps)",
    .inputs = { "input", "weight?", "bias?" },
    .outputs = { "output", "shift", "inverse" },
    .attributes = norm_rows_attributes,
    .attribute_count = ATTRIBUTES,
    .infer = infer_forward,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_forward,
    .accepts_epilogue = accepts_epilogue,
};

const operator operator_norm_rows_backward = {
    .name = "norm_rows_backward",
    .flags = OPERATOR_INTERNAL,
    .formula = "the gradient of norm_rows with respect to input",
    .inputs = { "grad_output", "input", "shift", "inverse", "weight?" },
    .attributes = norm_rows_attributes,
    .attribute_count = ATTRIBUTES,
    .infer = infer_backward,
    .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
    .output_layout = LAYOUT_ROW_MAJOR,
    .lower = lower_backward,
};

/* ---- what they are used by ----------------------------------------------------------------------- */

static void attributes_of(const norm *n, attribute_value attributes[ATTRIBUTES]) {
    attributes[GROUPS] = (attribute_value){ 0 };
    attributes[AXIS] = (attribute_value){ .i = n->axis };
    attributes[SPREAD] = (attribute_value){ .i = n->spread };
    attributes[EPSILON] = (attribute_value){ .f = n->epsilon };
    attributes[CENTRED] = (attribute_value){ .i = n->centred };
}

tuff_tensor *norm_forward(const norm *n) {
    attribute_value attributes[ATTRIBUTES];
    attributes_of(n, attributes);
    tuff_tensor *inputs[] = { n->whole ? n->whole : n->x, n->weight, n->bias };
    if (n->whole) { /* the result in its shape, so that what follows finds it */
        attributes[AXIS].i = n->axis - 1;
        attributes[GROUPS].i = n->x ? n->x->shape.sizes[n->axis - 1] : 0;
    }
    return n->x ? graph_apply(n->x->graph, &operator_norm_rows, inputs, 3, attributes, NULL) : NULL;
}

void norm_backward(const norm *n, tuff_tensor *g, tuff_tensor **gx, tuff_tensor **gweight, tuff_tensor **gbias) {
    tuff_tensor *y = norm_forward(n); /* the forward pass's own node */
    if (!y || !g) return;
    tuff_tensor *x = n->x, *shift = y->producer->outputs[1], *inverse = y->producer->outputs[2];
    attribute_value attributes[ATTRIBUTES];
    attributes_of(n, attributes);
    tuff_tensor *inputs[] = { g, x, shift, inverse, n->weight };
    *gx = graph_apply(x->graph, &operator_norm_rows_backward, inputs, 5, attributes, NULL);
    if (n->bias) *gbias = sum_to(g, n->bias);
    if (!n->weight) return;
    tuff_reduce_desc axes = { .keepdim = true };
    for (uint32_t i = n->axis; i < x->shape.rank; i++) axes.axes[axes.axis_count++] = (int32_t)i;
    tuff_tensor *d = n->centred ? tuff_sub(tuff_sub(x, first_along(x, &axes)), shift) : x;
    *gweight = sum_to(tuff_mul(g, tuff_mul(d, inverse)), n->weight);
}
