#include "random_graph.h"

#include "tests/reference/philox.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct dice {
    uint32_t seed, drawn;
} dice;

static uint32_t draw(dice *d, uint32_t below) {
    return recipe_hash(d->seed, d->drawn++) % below;
}

static int64_t between(dice *d, int64_t least, int64_t most) {
    return least + (int64_t)draw(d, (uint32_t)(most - least + 1));
}

enum { MOST_ELEMENTS = 3000, OPERATORS = 9 };

static const ref *value_of(const recipe *r, int step) {
    return r->steps[step].value;
}

static tuff_shape random_shape(dice *d) {
    switch (draw(d, 3)) {
    case 0: return TUFF_SHAPE(between(d, 1, 3), between(d, 1, 6), between(d, 3, 9), between(d, 3, 9));
    case 1: return TUFF_SHAPE(between(d, 1, 17), between(d, 1, 33));
    default: return TUFF_SHAPE(between(d, 1, 4), between(d, 1, 9), between(d, 1, 13));
    }
}

static int random_leaf(recipe *r, dice *d, tuff_shape shape, recipe_fill fill, int64_t below) {
    char name[16];
    bool parameter = fill == FILL_ANY && draw(d, 2);
    snprintf(name, sizeof name, "%s%d", parameter ? "p" : "x", r->count);
    return recipe_add_leaf(r, parameter ? LEAF_PARAMETER : LEAF_INPUT, name, shape, fill, draw(d, UINT32_MAX), below);
}

/* Another operand that broadcasts with step: an earlier value where one fits, else a new leaf. */
static int random_partner(recipe *r, dice *d, int step, bool nonzero) {
    tuff_shape shape = value_of(r, step)->shape;
    for (int tries = 0; tries < 4 && !nonzero; tries++) {
        int other = (int)draw(d, (uint32_t)r->count);
        const tuff_shape *s = &value_of(r, other)->shape;
        bool fits = r->steps[other].fill != FILL_INDEX && s->rank <= shape.rank && r->steps[other].leaf != LEAF_BUFFER;
        for (uint32_t i = 1; fits && i <= s->rank; i++) {
            int64_t have = s->sizes[s->rank - i];
            fits = have == 1 || have == shape.sizes[shape.rank - i];
        }
        if (fits) return other;
    }
    for (uint32_t i = 0; i < shape.rank; i++)
        if (!draw(d, 3)) shape.sizes[i] = 1;
    return random_leaf(r, d, shape, nonzero ? FILL_NONZERO : FILL_ANY, 0);
}

/* Applies an operator to operands (-1: left out), with attributes as printf has them. */
#if defined(__GNUC__)
__attribute__((format(printf, 5, 6)))
#endif
static int
apply(recipe *r, const char *op, int count, const int *operands, const char *format, ...) {
    char name[24];
    recipe_args args = { 0 };
    va_list values;
    va_start(values, format);
    vsnprintf(args.text, sizeof args.text, format, values);
    va_end(values);
    snprintf(name, sizeof name, "%.12s%d", op, r->count);
    return recipe_apply(r, recipe_find(op), operands, count, &args, name);
}

static int unary(recipe *r, const char *op, int x) {
    return apply(r, op, 1, &x, "%s", "");
}

static int binary(recipe *r, const char *op, int a, int b) {
    return apply(r, op, 2, (int[]){ a, b }, "%s", "");
}

static int random_dropout(recipe *r, dice *d, int x) {
    char name[16];
    double p = 0.25 * (double)between(d, 1, 3);
    recipe_args args = { 0 };
    snprintf(args.text, sizeof args.text, "p=%g", p);
    snprintf(name, sizeof name, "dropout%d", r->count);
    int64_t count = value_of(r, x)->count;
    uint8_t *mask = malloc((size_t)count);
    for (int64_t i = 0; i < count; i++)
        mask[i] = ref_dropout_keeps(RANDOM_GRAPH_SEED, name, RANDOM_GRAPH_RUNS - 1, i, (float)p);
    args.keep = mask;
    int y = recipe_apply(r, recipe_find("dropout"), &x, 1, &args, name);
    r->steps[y].mask = mask;
    return y;
}

/* Operators that take any shape. */
static int random_pointwise(recipe *r, dice *d, int x) {
    static const char *const plain[] = { "neg", "abs", "square", "relu", "sigmoid", "tanh", "silu" };
    uint32_t which = draw(d, 19);
    if (which < 7) return unary(r, plain[which], x);
    switch (which) {
    case 7: return apply(r, "scale", 1, &x, "factor=0.5 offset=0.25");
    case 8: return apply(r, "leaky_relu", 1, &x, "negative_slope=0.125");
    case 9: return apply(r, "gelu", 1, &x, "approximate=%s", draw(d, 2) ? "tanh" : "none");
    case 10: return unary(r, "exp", unary(r, "tanh", x));
    case 11: { /* positive, then a function of positive numbers */
        static const char *const positive[] = { "log", "sqrt", "rsqrt" };
        int square = unary(r, "square", x);
        int y = apply(r, "scale", 1, &square, "factor=0.5 offset=0.25");
        return unary(r, positive[draw(d, 3)], y);
    }
    case 12: return binary(r, "div", x, random_partner(r, d, x, true));
    case 18: return random_dropout(r, d, x);
    case 13: return binary(r, "sub", x, random_partner(r, d, x, false));
    case 14:
    case 15: return binary(r, "mul", x, random_partner(r, d, x, false));
    default: return binary(r, "add", x, random_partner(r, d, x, false));
    }
}

/* Parts of a tensor, and tensors of parts: views that begin somewhere and skip elements. */
static int random_part(recipe *r, dice *d, int x) {
    tuff_shape s = value_of(r, x)->shape;
    uint32_t axis = draw(d, s.rank);
    long long start = draw(d, (uint32_t)s.sizes[axis]), size = s.sizes[axis];
    switch (draw(d, 5)) {
    case 0: return apply(r, "concat", 2, (int[]){ x, unary(r, "neg", x) }, "dim=%u", axis);
    case 1: return apply(r, "pad", 1, &x, "pad=1,2 mode=%s", draw(d, 2) ? "constant" : "replicate");
    case 2: return apply(r, "flip", 1, &x, "dims=%u", axis);
    case 3:
        if (s.sizes[axis] > 1)
            return apply(r, "split", 1, &x, "split_size_or_sections=1,%lld dim=%u take=1", size - 1, axis);
        return apply(r, "slice", 1, &x, "dim=%u", axis);
    default: return apply(r, "slice", 1, &x, "dim=%u start=%lld step=%u", axis, start, 1 + draw(d, 2));
    }
}

static int random_shape_change(recipe *r, dice *d, int x) {
    const tuff_shape *s = &value_of(r, x)->shape;
    if (s->rank && draw(d, 2)) return random_part(r, d, x);
    if (draw(d, 2) && s->rank >= 2)
        return apply(r, "transpose", 1, &x, "dim0=%u dim1=-%u", draw(d, s->rank), 1 + draw(d, s->rank));
    if (draw(d, 2) && s->rank >= 2) return apply(r, "flatten", 1, &x, "start_dim=1");
    return apply(r, "reshape", 1, &x, "shape=-1,%lld", (long long)(s->rank ? s->sizes[0] : 1));
}

static int random_reduction(recipe *r, dice *d, int x) {
    static const char *const reductions[] = { "sum", "mean", "amax" };
    uint32_t rank = value_of(r, x)->shape.rank, axis = draw(d, rank);
    if (draw(d, 3) == 0) return apply(r, draw(d, 2) ? "softmax" : "log_softmax", 1, &x, "dim=%u", axis);
    const char *op = reductions[draw(d, 3)];
    if (rank > 2 && draw(d, 2)) return apply(r, op, 1, &x, "dim=%u,%u keepdim=true", axis, (axis + 1) % rank);
    return apply(r, op, 1, &x, "dim=%u keepdim=true", axis);
}

static int random_product(recipe *r, dice *d, int x) {
    tuff_shape s = value_of(r, x)->shape;
    int64_t features = between(d, 1, 20);
    bool bias = draw(d, 4) != 0;
    if (draw(d, 2)) {
        int weight = random_leaf(r, d, TUFF_SHAPE(features, s.sizes[s.rank - 1]), FILL_ANY, 0);
        int b = bias ? random_leaf(r, d, TUFF_SHAPE(features), FILL_ANY, 0) : -1;
        return apply(r, "linear", 3, (int[]){ x, weight, b }, "%s", "");
    }
    bool ta = draw(d, 2), tb = draw(d, 2);
    int64_t k = s.sizes[s.rank - (ta ? 2 : 1)];
    int b = random_leaf(r, d, tb ? TUFF_SHAPE(features, k) : TUFF_SHAPE(k, features), FILL_ANY, 0);
    return apply(r, "matmul", 2, (int[]){ x, b }, "transpose_a=%s transpose_b=%s", ta ? "true" : "false",
                 tb ? "true" : "false");
}

static int random_image_operator(recipe *r, dice *d, int x) {
    const int64_t *s = value_of(r, x)->shape.sizes;
    int64_t channels = between(d, 1, 8), in = s[1], kernel[2], padding[2], stride[2], groups = 1;
    bool bias = draw(d, 4) != 0, count_padding = draw(d, 2);
    for (int i = 0; i < 2; i++) {
        kernel[i] = between(d, 1, s[2 + i] < 3 ? s[2 + i] : 3);
        padding[i] = between(d, 0, kernel[i] / 2);
        stride[i] = between(d, 1, 2);
    }
    char window[64];
    snprintf(window, sizeof window, "stride=%lld,%lld padding=%lld,%lld", (long long)stride[0], (long long)stride[1],
             (long long)padding[0], (long long)padding[1]);
    switch (draw(d, 6)) {
    case 0:
        return apply(r, "max_pool2d", 1, &x, "kernel_size=%lld,%lld %s", (long long)kernel[0], (long long)kernel[1],
                     window);
    case 1:
        return apply(r, "avg_pool2d", 1, &x, "kernel_size=%lld,%lld %s count_include_pad=%s", (long long)kernel[0],
                     (long long)kernel[1], window, count_padding ? "true" : "false");
    case 2: return apply(r, "adaptive_avg_pool2d", 1, &x, "%s", "output_size=1");
    default: break;
    }
    if (in > 1 && !draw(d, 3)) {
        groups = in;
        channels = in * between(d, 1, 2);
    }
    int weight = random_leaf(r, d, TUFF_SHAPE(channels, in / groups, kernel[0], kernel[1]), FILL_ANY, 0);
    int b = bias ? random_leaf(r, d, TUFF_SHAPE(channels), FILL_ANY, 0) : -1;
    return apply(r, "conv2d", 3, (int[]){ x, weight, b }, "%s groups=%lld", window, (long long)groups);
}

static int random_batch_norm(recipe *r, dice *d, int x) {
    tuff_shape channels = TUFF_SHAPE(value_of(r, x)->shape.sizes[1]);
    int operands[5] = { x };
    for (int i = 1; i < 5; i++) { /* the running statistics, then weight and bias */
        char name[16];
        snprintf(name, sizeof name, "b%d", r->count);
        operands[i] = i > 2 ? random_leaf(r, d, channels, FILL_ANY, 0)
                            : recipe_add_leaf(r, LEAF_BUFFER, name, channels, i == 2 ? FILL_POSITIVE : FILL_ANY,
                                              draw(d, UINT32_MAX), 0);
    }
    return apply(r, "batch_norm", 5, operands, "training=true");
}

static int random_operator(recipe *r, dice *d, int x) {
    const ref *v = value_of(r, x);
    uint32_t rank = v->shape.rank;
    switch (draw(d, 12)) {
    case 10:
    case 11:
    case 0: return random_shape_change(r, d, x);
    case 1: return rank ? random_reduction(r, d, x) : random_pointwise(r, d, x);
    case 2:
    case 3: return rank >= 2 ? random_product(r, d, x) : random_pointwise(r, d, x);
    case 4:
    case 5: return rank == 4 ? random_image_operator(r, d, x) : random_pointwise(r, d, x);
    case 6: /* a batch of few is nearly constant and its gradient nothing but rounding */
        if (rank < 2 || v->count < 8 * v->shape.sizes[1]) return random_pointwise(r, d, x);
        return random_batch_norm(r, d, x);
    default: return random_pointwise(r, d, x);
    }
}

/* An embedding of random indices, to start from. */
static int random_embedding(recipe *r, dice *d) {
    int64_t rows = between(d, 1, 9), features = between(d, 1, 9);
    int index = random_leaf(r, d, TUFF_SHAPE(between(d, 1, 5), between(d, 1, 5)), FILL_INDEX, rows);
    return binary(r, "embedding", index, random_leaf(r, d, TUFF_SHAPE(rows, features), FILL_ANY, 0));
}

/* A scalar of a result: a loss against targets, or a weighted sum. */
static int random_loss(recipe *r, dice *d, int x) {
    tuff_shape s = value_of(r, x)->shape;
    const char *reduction = draw(d, 2) ? "reduction=sum" : "reduction=mean";
    if (s.rank == 2 && draw(d, 2)) {
        int target = random_leaf(r, d, TUFF_SHAPE(s.sizes[0]), FILL_INDEX, s.sizes[1]);
        return apply(r, "cross_entropy", 2, (int[]){ x, target }, "%s", reduction);
    }
    if (draw(d, 4) == 0) {
        const char *op = draw(d, 2) ? "mse_loss" : "l1_loss";
        return apply(r, op, 2, (int[]){ x, random_leaf(r, d, s, FILL_ANY, 0) }, "%s", reduction);
    }
    return recipe_loss(r, x, draw(d, UINT32_MAX));
}

static void one_graph(recipe *r, uint32_t seed) {
    dice d = { .seed = seed };
    recipe_clear(r);
    int results[OPERATORS + 3], count = 0;
    results[count++] = random_leaf(r, &d, random_shape(&d), FILL_ANY, 0);
    results[count++] = draw(&d, 3) ? random_leaf(r, &d, random_shape(&d), FILL_ANY, 0) : random_embedding(r, &d);
    int wanted = (int)between(&d, 4, OPERATORS);
    for (int i = 0; i < wanted; i++) {
        /* mostly go on from the last result; a value used twice sums its gradients */
        int x = draw(&d, 3) ? results[count - 1] : results[draw(&d, (uint32_t)count)];
        int y = random_operator(r, &d, x);
        if (value_of(r, y)->count > MOST_ELEMENTS) continue;
        results[count++] = y;
    }
    bool used[RECIPE_STEPS] = { false };
    for (int i = 0; i < r->count; i++)
        for (int j = 0; j < r->steps[i].input_count; j++)
            if (r->steps[i].inputs[j] >= 0) used[r->steps[i].inputs[j]] = true;
    r->loss = -1;
    for (int i = r->count - 1; i >= 0; i--) {
        if (used[i] || !r->steps[i].op) continue;
        int term = random_loss(r, &d, i);
        r->loss = r->loss < 0 ? term : binary(r, "add", r->loss, term);
    }
    r->output = r->loss;
}

/* Whether rounding could change a decision, or numbers have grown out of what float32 resolves. */
static bool delicate(const recipe *r) {
    double largest = 0;
    for (int i = 0; i < r->count; i++)
        for (int64_t j = 0; j < r->steps[i].value->count; j++) largest = fmax(largest, fabs(r->steps[i].value->v[j]));
    return !(largest < 1e4) || recipe_kink(r) < 1e-5 * fmax(1, largest);
}

void random_graph(recipe *r, uint32_t seed) {
    for (uint32_t attempt = 0;; attempt++) {
        one_graph(r, recipe_hash(seed, attempt));
        if (!delicate(r)) return;
    }
}

static void print_shape(const tuff_shape *shape) {
    printf("[");
    for (uint32_t i = 0; i < shape->rank; i++) printf("%s%lld", i ? ", " : "", (long long)shape->sizes[i]);
    printf("]");
}

void random_graph_print(const recipe *r) {
    for (int i = 0; i < r->count; i++) {
        const recipe_step *s = &r->steps[i];
        printf("  %d = %s", i, s->op ? s->op->name : s->leaf == LEAF_INPUT ? "input" : "state");
        for (int j = 0; j < s->input_count; j++) printf(" %d", s->inputs[j]);
        printf(" '%s' ", s->name);
        print_shape(&s->value->shape);
        printf("\n");
    }
}
