/* einsum: products of tensors whose axes have letters, summed over the letters that the result lacks.
 *
 * Operands are taken together two at a time, from left to right, so that nothing is longer kept than it is needed. A
 * letter of two operands is either kept (a batch axis) or summed over; a letter of one is free, or summed over at once.
 * With free letters on both sides and some to sum over, that is a matrix product with batch axes: axes are put in
 * order by views, and joined (which copies only where they do not lie so). Otherwise each number is read once: a
 * chain that multiplies, and the sum of it. */
#include "layers/families.h"
#include "layers/pointwise.h"

#include <string.h>

/* a-z, A-Z, and the axes that "..." stands for, counted from the last one. */
enum { LETTERS = 52, LABELS = LETTERS + TUFF_MAX_RANK };

typedef struct labelled {
    tuff_tensor *tensor;
    uint8_t labels[TUFF_MAX_RANK];
    uint32_t rank;
} labelled;

typedef struct equation {
    labelled operands[MAX_INPUTS];
    uint32_t count;
    uint8_t out[TUFF_MAX_RANK];
    uint32_t out_rank;
    int64_t sizes[LABELS]; /* of the whole; an operand may have 1 */
} equation;

static const attribute attributes[] = { { .name = "equation", .type = ATTRIBUTE_STRING, .required = true } };

/* ---- reading ------------------------------------------------------------------------------------- */

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static uint8_t label_of(char letter) {
    return (uint8_t)(letter >= 'a' ? letter - 'a' : letter - 'A' + 26);
}

static char letter_of(uint8_t label) {
    return (char)(label >= LETTERS ? '.' : label < 26 ? 'a' + label : 'A' + label - 26);
}

static bool has_label(const uint8_t *labels, uint32_t rank, uint8_t label) {
    for (uint32_t i = 0; i < rank; i++)
        if (labels[i] == label) return true;
    return false;
}

/* What stands between commas and arrows, without spaces. */
typedef struct term {
    char letters[TUFF_MAX_RANK];
    uint32_t count;
    int32_t dots; /* letters in front of "..."; -1: there is none */
} term;

/* Reads one up to ',', '-' or the end. NULL, or what is wrong with it. */
static const char *read_term(const char **at, term *t) {
    *t = (term){ .dots = -1 };
    for (; **at && **at != ',' && **at != '-'; ++*at) {
        if (**at == ' ') continue;
        if (strncmp(*at, "...", 3) == 0 && t->dots < 0) {
            t->dots = (int32_t)t->count;
            *at += 2;
        } else if (!is_letter(**at)) {
            return "it takes letters, '...' once in a term, ',' and '->'";
        } else if (t->count == TUFF_MAX_RANK) {
            return "a term has more letters than a tensor can have axes";
        } else if (memchr(t->letters, **at, t->count)) {
            return "a letter occurs twice in one term; diagonals are not supported";
        } else {
            t->letters[t->count++] = **at;
        }
    }
    return NULL;
}

/* Labels of a term, whose "..." stands for `more` axes. */
static uint32_t labels_of(const term *t, uint32_t more, uint8_t *labels) {
    uint32_t rank = 0;
    for (uint32_t i = 0; i <= t->count; i++) {
        for (uint32_t k = more; t->dots == (int32_t)i && k-- > 0;) labels[rank++] = (uint8_t)(LETTERS + k);
        if (i < t->count) labels[rank++] = label_of(t->letters[i]);
    }
    return rank;
}

static tuff_result fail(tuff_graph *graph, const node *node, const char *what) {
    char text[160];
    return graph_fail(graph, TUFF_ERROR_ARGUMENT, "%s: \"%s\": %s", node_text(node, text), node->attributes[0].text,
                      what);
}

/* One operand's labels and sizes. */
static tuff_result take_operand(tuff_graph *graph, const node *node, equation *e, const term *t, tuff_tensor *x) {
    char text[160], shape[SHAPE_TEXT];
    uint32_t rank = x->shape.rank;
    if (t->dots < 0 ? rank != t->count : rank < t->count)
        return graph_fail(graph, TUFF_ERROR_SHAPE, "%s: \"%s\": operand %u, '%s' %s, does not have %s%u axes",
                          node_text(node, text), node->attributes[0].text, e->count, x->name,
                          shape_text(&x->shape, shape), t->dots < 0 ? "" : "at least ", t->count);
    labelled *operand = &e->operands[e->count++];
    operand->tensor = x;
    operand->rank = labels_of(t, rank - t->count, operand->labels);
    for (uint32_t i = 0; i < rank; i++) {
        int64_t *size = &e->sizes[operand->labels[i]], given = x->shape.sizes[i];
        if (*size > 1 && given > 1 && *size != given)
            return graph_fail(graph, TUFF_ERROR_SHAPE,
                              "%s: \"%s\": '%c' is %lld in one operand and %lld in '%s' %s; sizes must be equal or 1",
                              node_text(node, text), node->attributes[0].text, letter_of(operand->labels[i]),
                              (long long)*size, (long long)given, x->name, shape_text(&x->shape, shape));
        if (*size <= 1) *size = given;
    }
    return TUFF_OK;
}

/* The result's labels if no arrow names them: "...", then the letters that occur once, upper case first. */
static const char *imply_output(equation *e, uint32_t more) {
    uint32_t times[LETTERS] = { 0 };
    for (uint32_t i = 0; i < e->count; i++)
        for (uint32_t k = 0; k < e->operands[i].rank; k++)
            if (e->operands[i].labels[k] < LETTERS) times[e->operands[i].labels[k]]++;
    for (uint32_t k = more; k-- > 0;) e->out[e->out_rank++] = (uint8_t)(LETTERS + k);
    for (uint32_t i = 0; i < LETTERS; i++) {
        uint32_t label = (i + 26) % LETTERS;
        if (times[label] != 1) continue;
        if (e->out_rank == TUFF_MAX_RANK) return "the result has too many axes";
        e->out[e->out_rank++] = (uint8_t)label;
    }
    return NULL;
}

static tuff_result read_equation(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, equation *e) {
    const char *at = node->attributes[0].text, *wrong;
    uint32_t more = 0; /* axes that "..." stands for, of the operand that has most */
    term t;
    *e = (equation){ 0 };
    for (bool again = true; again;) {
        if ((wrong = read_term(&at, &t))) return fail(graph, node, wrong);
        if (e->count == node->input_count) return fail(graph, node, "it has more terms than there are operands");
        TRY(take_operand(graph, node, e, &t, inputs[e->count]));
        uint32_t dots = e->operands[e->count - 1].rank - t.count;
        if (dots > more) more = dots;
        again = *at == ',';
        at += again;
    }
    if (e->count != node->input_count) return fail(graph, node, "it has fewer terms than there are operands");
    if (!*at) {
        wrong = imply_output(e, more);
        return wrong ? fail(graph, node, wrong) : TUFF_OK;
    }
    if (at[1] != '>') return fail(graph, node, "'-' is not followed by '>'");
    at += 2;
    if ((wrong = read_term(&at, &t))) return fail(graph, node, wrong);
    if (*at) return fail(graph, node, "something stands behind the result");
    if (t.count + (t.dots < 0 ? 0 : more) > TUFF_MAX_RANK) return fail(graph, node, "the result has too many axes");
    for (uint32_t i = 0; i < t.count; i++)
        if (!e->sizes[label_of(t.letters[i])]) return fail(graph, node, "the result has a letter that no operand has");
    e->out_rank = labels_of(&t, more, e->out);
    return TUFF_OK;
}

/* ---- building ------------------------------------------------------------------------------------ */

/* Whether the result or an operand from `from` on has the label. */
static bool needed(const equation *e, uint32_t from, uint8_t label) {
    bool is = has_label(e->out, e->out_rank, label);
    for (uint32_t i = from; i < e->count; i++) is |= has_label(e->operands[i].labels, e->operands[i].rank, label);
    return is;
}

static void drop_axis(labelled *x, uint32_t axis) {
    x->rank--;
    memmove(x->labels + axis, x->labels + axis + 1, x->rank - axis);
}

/* Sums over the axes whose labels `other` lacks and nobody needs from operand `from` on. */
static void sum_unneeded(const equation *e, labelled *x, const labelled *other, uint32_t from) {
    tuff_reduce_desc sum = { .axis_count = 0 };
    labelled kept = *x;
    for (uint32_t i = x->rank; i-- > 0;) {
        if (needed(e, from, x->labels[i]) || (other && has_label(other->labels, other->rank, x->labels[i]))) continue;
        sum.axes[sum.axis_count++] = (int32_t)i;
        drop_axis(&kept, i);
    }
    if (!sum.axis_count) return;
    kept.tensor = tuff_sum(x->tensor, &sum);
    *x = kept;
}

/* Axes of size 1 that have another size in the other operand are as good as missing. */
static void drop_broadcast(labelled *x, const labelled *other) {
    labelled kept = *x;
    tuff_shape shape = x->tensor->shape;
    for (uint32_t i = x->rank; i-- > 0;) {
        for (uint32_t k = 0; k < other->rank; k++) {
            if (other->labels[k] != x->labels[i] || other->tensor->shape.sizes[k] == 1 || shape.sizes[i] != 1) continue;
            drop_axis(&kept, i);
            shape.rank--;
            memmove(shape.sizes + i, shape.sizes + i + 1, (shape.rank - i) * sizeof *shape.sizes);
            break;
        }
    }
    if (kept.rank == x->rank) return;
    kept.tensor = tuff_reshape(x->tensor, shape);
    *x = kept;
}

/* The first size is left open: it often is the batch's, which may change when the graph is compiled. */
static tuff_tensor *in_shape(tuff_tensor *x, tuff_shape shape) {
    if (!x || shape_equal(&x->shape, &shape)) return x;
    if (shape.rank) shape.sizes[0] = -1;
    return tuff_reshape(x, shape);
}

/* x with its axes in the order of `labels`, all of which it has. */
static tuff_tensor *in_order(const labelled *x, const uint8_t *labels, uint32_t rank) {
    int32_t dims[TUFF_MAX_RANK];
    bool same = true;
    for (uint32_t i = 0; i < rank; i++) {
        for (uint32_t k = 0; k < x->rank; k++)
            if (x->labels[k] == labels[i]) dims[i] = (int32_t)k;
        same &= dims[i] == (int32_t)i;
    }
    return same ? x->tensor : tuff_permute(x->tensor, dims, rank);
}

/* Labels by what becomes of them. */
typedef struct groups {
    uint8_t batch[TUFF_MAX_RANK], summed[TUFF_MAX_RANK], left[TUFF_MAX_RANK], right[TUFF_MAX_RANK];
    uint32_t batch_count, summed_count, left_count, right_count;
} groups;

static groups groups_of(const equation *e, const labelled *a, const labelled *b, uint32_t from) {
    groups g = { .batch_count = 0 };
    for (uint32_t i = 0; i < a->rank; i++) {
        uint8_t label = a->labels[i];
        if (!has_label(b->labels, b->rank, label))
            g.left[g.left_count++] = label;
        else if (needed(e, from, label))
            g.batch[g.batch_count++] = label;
        else
            g.summed[g.summed_count++] = label;
    }
    for (uint32_t i = 0; i < b->rank; i++)
        if (!has_label(a->labels, a->rank, b->labels[i])) g.right[g.right_count++] = b->labels[i];
    return g;
}

static int64_t size_of(const labelled *x, uint8_t label) {
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->labels[i] == label) return x->tensor->shape.sizes[i];
    return 1;
}

static void append(labelled *x, const uint8_t *labels, uint32_t count) {
    memcpy(x->labels + x->rank, labels, count);
    x->rank += count;
}

/* x as batch axes and two more, into which `rows` and `columns` are joined. */
static tuff_tensor *as_matrices(const labelled *x, const groups *g, const uint8_t *rows, uint32_t row_count,
                                const uint8_t *columns, uint32_t column_count) {
    labelled order = { .rank = 0 };
    tuff_shape shape = { .rank = g->batch_count + 2 };
    append(&order, g->batch, g->batch_count);
    append(&order, rows, row_count);
    append(&order, columns, column_count);
    for (uint32_t i = 0; i < g->batch_count; i++) shape.sizes[i] = size_of(x, g->batch[i]);
    int64_t *matrix = shape.sizes + g->batch_count;
    matrix[0] = matrix[1] = 1;
    for (uint32_t i = 0; i < row_count; i++) matrix[0] *= size_of(x, rows[i]);
    for (uint32_t i = 0; i < column_count; i++) matrix[1] *= size_of(x, columns[i]);
    return in_shape(in_order(x, order.labels, order.rank), shape);
}

/* (batch, left, summed) times (batch, summed, right). */
static tuff_tensor *matrix_product(const labelled *a, const labelled *b, const groups *g, const labelled *result) {
    tuff_tensor *left = as_matrices(a, g, g->left, g->left_count, g->summed, g->summed_count);
    tuff_tensor *right = as_matrices(b, g, g->summed, g->summed_count, g->right, g->right_count);
    tuff_tensor *y = tuff_matmul(left, right, NULL);
    tuff_shape shape = { .rank = result->rank };
    for (uint32_t i = 0; i < result->rank; i++)
        shape.sizes[i] = has_label(a->labels, a->rank, result->labels[i]) ? size_of(a, result->labels[i])
                                                                          : size_of(b, result->labels[i]);
    return in_shape(y, shape);
}

/* x with the axes of `order`, those it lacks with size 1. */
static tuff_tensor *spread(const labelled *x, const labelled *order) {
    uint8_t own[TUFF_MAX_RANK];
    tuff_shape shape = { .rank = order->rank };
    uint32_t count = 0;
    for (uint32_t i = 0; i < order->rank; i++) {
        shape.sizes[i] = size_of(x, order->labels[i]);
        if (has_label(x->labels, x->rank, order->labels[i])) own[count++] = order->labels[i];
    }
    return in_shape(in_order(x, own, count), shape);
}

/* Both over all axes, multiplied, and summed. */
static tuff_tensor *summed_product(const labelled *a, const labelled *b, const groups *g, const labelled *result) {
    labelled order = *result;
    append(&order, g->summed, g->summed_count);
    tuff_tensor *y = tuff_mul(spread(a, &order), spread(b, &order));
    tuff_reduce_desc sum = { .axis_count = g->summed_count };
    for (uint32_t i = 0; i < sum.axis_count; i++) sum.axes[i] = (int32_t)(result->rank + i);
    return sum.axis_count ? tuff_sum(y, &sum) : y;
}

/* a and b together; operands from `from` on are still to come. */
static tuff_result contract(tuff_graph *graph, const node *node, const equation *e, labelled a, labelled b,
                            uint32_t from, labelled *result) {
    drop_broadcast(&a, &b);
    TRY(graph->result);
    drop_broadcast(&b, &a);
    TRY(graph->result);
    sum_unneeded(e, &a, &b, from);
    sum_unneeded(e, &b, &a, from);
    TRY(graph->result);
    groups g = groups_of(e, &a, &b, from);
    if (g.batch_count + g.left_count + g.right_count > TUFF_MAX_RANK)
        return fail(graph, node, "a product on the way has too many axes");
    *result = (labelled){ .rank = 0 };
    append(result, g.batch, g.batch_count);
    append(result, g.left, g.left_count);
    append(result, g.right, g.right_count);
    bool matrices = g.left_count && g.right_count && g.summed_count;
    result->tensor = matrices ? matrix_product(&a, &b, &g, result) : summed_product(&a, &b, &g, result);
    return graph->result;
}

static tuff_result expand(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                          tuff_tensor **outputs) {
    (void)training;
    equation e;
    TRY(read_equation(graph, node, inputs, &e));
    labelled x = e.operands[0];
    for (uint32_t i = 1; i < e.count; i++) TRY(contract(graph, node, &e, x, e.operands[i], i + 1, &x));
    sum_unneeded(&e, &x, NULL, e.count);
    TRY(graph->result);
    outputs[0] = in_order(&x, e.out, e.out_rank);
    return graph->result;
}

/* ---- the row ------------------------------------------------------------------------------------- */

static tuff_result infer(inference *inference) {
    equation e;
    TRY(read_equation(inference->graph, inference->node, inference->node->inputs, &e));
    inference->shapes[0].rank = e.out_rank;
    for (uint32_t i = 0; i < e.out_rank; i++) inference->shapes[0].sizes[i] = e.sizes[e.out[i]];
    return TUFF_OK;
}

static const operator operator_einsum = {
    .name = "einsum",
    .formula = "product of the operands, summed over the letters that the result does not have",
    .inputs = { "operands*" },
    .pytorch = "torch.einsum",
    .limits = "a letter twice in one operand (diagonals); equations of more than 127 characters, with spaces in files",
    .attributes = attributes,
    .attribute_count = 1,
    .infer = infer,
    .expand = expand,
};

tuff_tensor *tuff_einsum(const char *equation, tuff_tensor *const *tensors, uint32_t count) {
    attribute_value value = { 0 };
    if (!tensors || !count) {
        error_set(TUFF_ERROR_ARGUMENT, "tuff_einsum: there are no tensors");
        return NULL;
    }
    tuff_graph *graph = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (tensors[i]) graph = tensors[i]->graph;
    if (!graph) return NULL;
    for (uint32_t i = 0; i < count; i++)
        if (!tensors[i]) graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_einsum: tensor %u of %u is NULL", i, count);
    if (graph->result != TUFF_OK) return NULL;
    if (!equation || strlen(equation) >= sizeof value.text) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "tuff_einsum: the equation %s",
                   equation ? "has more than 127 characters" : "is NULL");
        return NULL;
    }
    memcpy(value.text, equation, strlen(equation));
    return graph_apply(graph, &operator_einsum, tensors, count, &value, NULL);
}

static const operator* const rows[] = { &operator_einsum };
const operator_family family_einsum = { rows, sizeof rows / sizeof *rows };
