/* Comparisons, whose results are uint8 tensors of 0 and 1, choices by them, and conversions between types. */
#include "layers/families.h"
#include "layers/pointwise_rows.h"

#include <math.h>

/* ---- comparisons ---------------------------------------------------------------------------------- */

static tuff_result infer_mask(inference *inference) {
    TRY(infer_pointwise(inference));
    inference->types[0] = TUFF_U8;
    return TUFF_OK;
}

#define COMPARISON(row, op, int_op, text)                                                                              \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input", "other" },                                           \
                                             .types = { TYPE_ANY, TYPE_ANY },                                          \
                                             .pytorch = "torch." #row,                                                 \
                                             .limits = "both of one type; the result is uint8",                        \
                                             .flags = OPERATOR_DETACH,                                                 \
                                             .chain_op = op,                                                           \
                                             .chain_op_i32 = int_op,                                                   \
                                             .infer = infer_mask };
COMPARISON(eq, CHAIN_EQ, CHAIN_INT_EQ, "a == b ? 1 : 0")
COMPARISON(gt, CHAIN_GT, CHAIN_INT_GT, "a > b ? 1 : 0")
COMPARISON(ge, CHAIN_GE, CHAIN_INT_GE, "a >= b ? 1 : 0")

/* Those that are others turned round, or the contrary of one. */
#define COMPOSITE_COMPARISON(row, text, expression)                                                                    \
    static tuff_result expand_##row(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,    \
                                    tuff_tensor **outputs) {                                                           \
        tuff_tensor *a = inputs[0], *b = inputs[1];                                                                    \
        (void)training, (void)node;                                                                                    \
        outputs[0] = (expression);                                                                                     \
        return graph->result;                                                                                          \
    }                                                                                                                  \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input", "other" },                                           \
                                             .types = { TYPE_ANY, TYPE_ANY },                                          \
                                             .pytorch = "torch." #row,                                                 \
                                             .limits = "both of one type; the result is uint8",                        \
                                             .flags = OPERATOR_DETACH,                                                 \
                                             .infer = infer_same_types,                                                \
                                             .expand = expand_##row };
static tuff_result infer_same_types(inference *inference) {
    TRY(check_one_type(inference));
    return infer_mask(inference);
}
COMPOSITE_COMPARISON(ne, "a == b ? 0 : 1", tuff_logical_not(tuff_eq(a, b)))
COMPOSITE_COMPARISON(lt, "a < b ? 1 : 0", tuff_gt(b, a))
COMPOSITE_COMPARISON(le, "a <= b ? 1 : 0", tuff_ge(b, a))

static const attribute value_attribute[] = { { .name = "value", .type = ATTRIBUTE_FLOAT } };

static const operator operator_greater_than = { .name = "greater_than",
                                                .formula = "x > value ? 1 : 0",
                                                .inputs = { "input" },
                                                .attributes = value_attribute,
                                                .attribute_count = 1,
                                                .chain_op = CHAIN_GT,
                                                .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
                                                .infer = infer_mask };

static const attribute within_attributes[] = {
    { .name = "low", .type = ATTRIBUTE_FLOAT },
    { .name = "high", .type = ATTRIBUTE_FLOAT },
};

static const operator operator_within = { .name = "within",
                                          .formula = "low <= x and x <= high ? 1 : 0",
                                          .inputs = { "input" },
                                          .attributes = within_attributes,
                                          .attribute_count = 2,
                                          .chain_op = CHAIN_WITHIN,
                                          .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
                                          .infer = infer_mask };

static const operator operator_is_zero = { .name = "is_zero",
                                           .formula = "x == value ? 1 : 0",
                                           .inputs = { "input" },
                                           .types = { TYPE_F32 | TYPE_U8 },
                                           .attributes = value_attribute,
                                           .attribute_count = 1,
                                           .chain_op = CHAIN_EQ,
                                           .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,
                                           .infer = infer_mask };

static tuff_tensor *is_zero(tuff_tensor *x) {
    return apply_unary(&operator_is_zero, x, NULL);
}

/* ---- logic ----------------------------------------------------------------------------------------- */

/* Of a float32 or uint8 tensor, where all but 0 is true. */
#define LOGIC_TYPES (TYPE_F32 | TYPE_U8)

static tuff_result expand_logical_not(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    (void)training, (void)node;
    outputs[0] = is_zero(inputs[0]);
    return graph->result;
}
static const operator operator_logical_not = { .name = "logical_not",
                                               .formula = "x == 0 ? 1 : 0",
                                               .inputs = { "input" },
                                               .types = { LOGIC_TYPES },
                                               .pytorch = "torch.logical_not",
                                               .limits = "the result is uint8",
                                               .flags = OPERATOR_DETACH,
                                               .infer = infer_mask,
                                               .expand = expand_logical_not };

#define LOGIC(row, text, expression)                                                                                   \
    static tuff_result expand_##row(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,    \
                                    tuff_tensor **outputs) {                                                           \
        tuff_tensor *a = inputs[0], *b = inputs[1];                                                                    \
        (void)training, (void)node;                                                                                    \
        outputs[0] = (expression);                                                                                     \
        return graph->result;                                                                                          \
    }                                                                                                                  \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input", "other" },                                           \
                                             .types = { LOGIC_TYPES, LOGIC_TYPES },                                    \
                                             .pytorch = "torch." #row,                                                 \
                                             .limits = "the result is uint8",                                          \
                                             .flags = OPERATOR_DETACH,                                                 \
                                             .infer = infer_mask,                                                      \
                                             .expand = expand_##row };
LOGIC(logical_and, "a != 0 and b != 0 ? 1 : 0", keep_if(a, is_zero(is_zero(b))))
LOGIC(logical_or, "a != 0 or b != 0 ? 1 : 0", is_zero(keep_if(is_zero(a), is_zero(b))))

/* ---- choices --------------------------------------------------------------------------------------- */

static tuff_result gradient_keep_if(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                    tuff_tensor **grad_inputs) {
    if (needs & 2) grad_inputs[1] = sum_to(keep_if(node->inputs[0], grad_outputs[0]), node->inputs[1]);
    return TUFF_OK;
}

static tuff_result infer_keep_if(inference *inference) {
    TRY(infer_pointwise(inference));
    inference->types[0] = inference->node->inputs[1]->type;
    return TUFF_OK;
}

static const operator operator_keep_if = { .name = "keep_if",
                                           .flags = OPERATOR_INTERNAL,
                                           .formula = "condition != 0 ? x : value",
                                           .inputs = { "condition", "input" },
                                           .types = { LOGIC_TYPES, LOGIC_TYPES },
                                           .attributes = value_attribute,
                                           .attribute_count = 1,
                                           .chain_op = CHAIN_SELECT,
                                           .infer = infer_keep_if,
                                           .gradient = gradient_keep_if };

static tuff_result infer_where(inference *inference) {
    const tuff_tensor *a = inference->node->inputs[1], *b = inference->node->inputs[2];
    TRY(infer_pointwise(inference));
    char text[160];
    inference->types[0] = a->type;
    if (a->type != b->type)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' is %s and '%s' is %s; convert one by tuff_to",
                          node_text(inference->node, text), a->name, type_text(a->type), b->name, type_text(b->type));
    return TUFF_OK;
}

static tuff_result gradient_where(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                  tuff_tensor **grad_inputs) {
    tuff_tensor *g = grad_outputs[0], *condition = node->inputs[0];
    if (needs & 2) grad_inputs[1] = sum_to(keep_if(condition, g), node->inputs[1]);
    if (needs & 4) grad_inputs[2] = sum_to(keep_unless(condition, g), node->inputs[2]);
    return TUFF_OK;
}

static const operator operator_where = { .name = "where",
                                         .formula = "condition != 0 ? a : b",
                                         .inputs = { "condition", "input", "other" },
                                         .types = { LOGIC_TYPES, TYPE_ANY, TYPE_ANY },
                                         .pytorch = "torch.where",
                                         .limits = "input and other of one type",
                                         .chain_op = CHAIN_SELECT,
                                         .infer = infer_where,
                                         .gradient = gradient_where };

static tuff_result infer_masked_fill(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    const double value = inference->node->attributes[0].f;
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    TRY(infer_pointwise(inference));
    inference->types[0] = x->type;
    if (!shape_equal(&x->shape, &inference->shapes[0]))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: the mask %s does not broadcast to '%s' %s",
                          node_text(inference->node, text), shape_text(&inference->node->inputs[1]->shape, first),
                          x->name, shape_text(&x->shape, second));
    const double low = x->type == TUFF_U8 ? 0 : INT32_MIN, high = x->type == TUFF_U8 ? 255 : INT32_MAX;
    if (x->type != TUFF_F32 && !(value >= low && value <= high && value == floor(value)))
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT, "%s: the value is %g; '%s' is %s, which has no such",
                          node_text(inference->node, text), value, x->name, type_text(x->type));
    return TUFF_OK;
}

static tuff_result gradient_masked_fill(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                        tuff_tensor **grad_inputs) {
    if (needs & 1) grad_inputs[0] = keep_unless(node->inputs[1], grad_outputs[0]);
    return TUFF_OK;
}

static const attribute fill_attribute[] = { { .name = "value", .type = ATTRIBUTE_FLOAT, .required = true } };

static const operator operator_masked_fill = { .name = "masked_fill",
                                               .formula = "mask != 0 ? value : x",
                                               .inputs = { "input", "mask" },
                                               .types = { TYPE_ANY, LOGIC_TYPES },
                                               .pytorch = "torch.Tensor.masked_fill",
                                               .limits = "the mask broadcasts to the input",
                                               .attributes = fill_attribute,
                                               .attribute_count = 1,
                                               .chain_op = CHAIN_FILL,
                                               .infer = infer_masked_fill,
                                               .gradient = gradient_masked_fill };

/* ---- conversions ----------------------------------------------------------------------------------- */

#define CONVERSION(row, possible, type, op, int_op, text)                                                              \
    static tuff_result infer_##row(inference *inference) {                                                             \
        inference->types[0] = type;                                                                                    \
        return infer_like_first(inference);                                                                            \
    }                                                                                                                  \
    static const operator operator_##row = { .name = #row,                                                             \
                                             .formula = text,                                                          \
                                             .inputs = { "input" },                                                    \
                                             .types = { possible },                                                    \
                                             .flags = OPERATOR_DETACH | OPERATOR_INTERNAL,                             \
                                             .chain_op = op,                                                           \
                                             .chain_op_i32 = int_op,                                                   \
                                             .infer = infer_##row };
CONVERSION(to_float32, TYPE_I32 | TYPE_U8, TUFF_F32, CHAIN_COPY, CHAIN_INT_TO_FLOAT, "the nearest float32")
CONVERSION(to_int32, TYPE_F32 | TYPE_U8, TUFF_I32, CHAIN_FLOAT_TO_INT, 0, "x towards zero")
CONVERSION(to_uint8, TYPE_F32 | TYPE_I32, TUFF_U8, CHAIN_FLOAT_TO_BYTE, CHAIN_INT_TO_BYTE, "the low 8 bits of int32")

/* The words are tuff_type's, in its order. */
static const attribute to_attributes[] = {
    { .name = "dtype", .type = ATTRIBUTE_CHOICE, .choices = "float32|int32|uint8", .required = true },
};

static tuff_result infer_to(inference *inference) {
    inference->types[0] = (tuff_type)inference->node->attributes[0].i;
    return infer_like_first(inference);
}

static tuff_result expand_to(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                             tuff_tensor **outputs) {
    static const operator* const conversions[TUFF_TYPES] = {
        [TUFF_F32] = &operator_to_float32, [TUFF_I32] = &operator_to_int32, [TUFF_U8] = &operator_to_uint8
    };
    tuff_type type = (tuff_type)node->attributes[0].i;
    (void)training;
    outputs[0] = inputs[0]->type == type ? inputs[0] : apply_unary(conversions[type], inputs[0], NULL);
    return graph->result;
}

static const operator operator_to = {
    .name = "to",
    .formula = "x as dtype: to int32 towards zero, -2^31 for NaN and for what does not fit; to uint8 its low 8 bits",
    .inputs = { "input" },
    .types = { TYPE_ANY },
    .pytorch = "torch.Tensor.to",
    .limits = "what does not fit an integer becomes what it does in PyTorch on x86",
    .attributes = to_attributes,
    .attribute_count = 1,
    .infer = infer_to,
    .expand = expand_to,
};

/* ---- functions ------------------------------------------------------------------------------------- */

tuff_tensor *greater_than(tuff_tensor *x, float value) {
    return apply_unary(&operator_greater_than, x, &(attribute_value){ .f = value });
}

tuff_tensor *within(tuff_tensor *x, float low, float high) {
    return apply_unary(&operator_within, x, (attribute_value[]){ { .f = low }, { .f = high } });
}

tuff_tensor *keep_if(tuff_tensor *condition, tuff_tensor *x) {
    return apply_binary(&operator_keep_if, condition, x, NULL);
}

tuff_tensor *keep_unless(tuff_tensor *condition, tuff_tensor *x) {
    return tuff_masked_fill(x, condition, 0);
}

tuff_tensor *tuff_eq(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_eq, a, b, NULL);
}
tuff_tensor *tuff_ne(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_ne, a, b, NULL);
}
tuff_tensor *tuff_lt(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_lt, a, b, NULL);
}
tuff_tensor *tuff_le(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_le, a, b, NULL);
}
tuff_tensor *tuff_gt(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_gt, a, b, NULL);
}
tuff_tensor *tuff_ge(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_ge, a, b, NULL);
}
tuff_tensor *tuff_logical_and(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_logical_and, a, b, NULL);
}
tuff_tensor *tuff_logical_or(tuff_tensor *a, tuff_tensor *b) {
    return apply_binary(&operator_logical_or, a, b, NULL);
}
tuff_tensor *tuff_logical_not(tuff_tensor *x) {
    return apply_unary(&operator_logical_not, x, NULL);
}

tuff_tensor *tuff_where(tuff_tensor *condition, tuff_tensor *a, tuff_tensor *b) {
    return apply_ternary(&operator_where, condition, a, b);
}

tuff_tensor *tuff_masked_fill(tuff_tensor *x, tuff_tensor *mask, float value) {
    return apply_binary(&operator_masked_fill, x, mask, &(attribute_value){ .f = value });
}

tuff_tensor *tuff_to(tuff_tensor *x, tuff_type type) {
    if (!x) return NULL;
    if ((unsigned)type >= TUFF_TYPES) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "tuff_to of '%s': %d is not a tuff_type", x->name, (int)type);
        return NULL;
    }
    return apply_unary(&operator_to, x, &(attribute_value){ .i = type });
}

static const operator* const rows[] = {
    &operator_eq,          &operator_ne,          &operator_lt,           &operator_le,         &operator_gt,
    &operator_ge,          &operator_logical_not, &operator_logical_and,  &operator_logical_or, &operator_where,
    &operator_masked_fill, &operator_to,          &operator_greater_than, &operator_within,     &operator_is_zero,
    &operator_keep_if,     &operator_to_float32,  &operator_to_int32,     &operator_to_uint8,
};
const operator_family family_comparison = { rows, sizeof rows / sizeof *rows };
