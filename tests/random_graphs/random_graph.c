#include "random_graph.h"

#include "tests/reference/philox.h"

#include <math.h>
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

static int random_leaf(recipe *r, dice *d, tuff_shape shape, recipe_fill fill, int64_t index_count) {
    char name[16];
    bool parameter = fill == FILL_ANY && draw(d, 2);
    snprintf(name, sizeof name, "%s%d", parameter ? "p" : "x", r->count);
    return recipe_add_leaf(r, parameter ? LEAF_PARAMETER : LEAF_INPUT, name, shape, fill, draw(d, UINT32_MAX),
                           index_count);
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

static int apply(recipe *r, dice *d, const char *op, int a, int b, const recipe_args *args) {
    char name[16];
    snprintf(name, sizeof name, "%.8s%d", op, r->count);
    return recipe_apply(r, recipe_find(op), (int[]){ a, b }, args, name, draw(d, UINT32_MAX));
}

static int random_dropout(recipe *r, dice *d, int x) {
    char name[16];
    recipe_args args = { .p = 0.25 * between(d, 1, 3) };
    snprintf(name, sizeof name, "dropout%d", r->count);
    int64_t count = value_of(r, x)->count;
    uint8_t *mask = malloc((size_t)count);
    for (int64_t i = 0; i < count; i++)
        mask[i] = ref_dropout_keeps(RANDOM_GRAPH_SEED, name, RANDOM_GRAPH_RUNS - 1, i, (float)args.p);
    args.keep = mask;
    int y = recipe_apply(r, recipe_find("dropout"), &x, &args, name, 0);
    r->steps[y].mask = mask;
    return y;
}

/* Operators that take any shape. */
static int random_pointwise(recipe *r, dice *d, int x) {
    static const char *const unary[] = { "scale",   "neg",  "abs",  "square", "relu", "leaky_relu",
                                         "sigmoid", "tanh", "gelu", "silu",   "exp" };
    recipe_args args = { .factor = 0.5, .offset = 0.25, .slope = 0.125, .approximate_tanh = draw(d, 2) };
    uint32_t which = draw(d, 19);
    if (which < 10) return apply(r, d, unary[which], x, 0, &args);
    switch (which) {
    case 10: return apply(r, d, "exp", apply(r, d, "tanh", x, 0, &args), 0, &args);
    case 11: { /* positive, then a function of positive numbers */
        static const char *const positive[] = { "log", "sqrt", "rsqrt" };
        int y = apply(r, d, "scale", apply(r, d, "square", x, 0, &args), 0, &args);
        return apply(r, d, positive[draw(d, 3)], y, 0, &args);
    }
    case 12: return apply(r, d, "div", x, random_partner(r, d, x, true), &args);
    case 18: return random_dropout(r, d, x);
    case 13: return apply(r, d, "sub", x, random_partner(r, d, x, false), &args);
    case 14:
    case 15: return apply(r, d, "mul", x, random_partner(r, d, x, false), &args);
    default: return apply(r, d, "add", x, random_partner(r, d, x, false), &args);
    }
}

static int random_shape_change(recipe *r, dice *d, int x) {
    const tuff_shape *s = &value_of(r, x)->shape;
    recipe_args args = { 0 };
    if (draw(d, 2) && s->rank >= 2) {
        args.axis0 = draw(d, s->rank);
        args.axis1 = -1 - (int64_t)draw(d, s->rank);
        return apply(r, d, "transpose", x, 0, &args);
    }
    if (draw(d, 2) && s->rank >= 2) return apply(r, d, "flatten", x, 0, &args);
    args.shape = TUFF_SHAPE(-1, s->rank ? s->sizes[0] : 1);
    return apply(r, d, "reshape", x, 0, &args);
}

static int random_reduction(recipe *r, dice *d, int x) {
    static const char *const reductions[] = { "sum", "mean", "max" };
    uint32_t rank = value_of(r, x)->shape.rank;
    recipe_args args = { .keepdim = true, .axis = draw(d, rank) };
    if (draw(d, 3) == 0) return apply(r, d, draw(d, 2) ? "softmax" : "log_softmax", x, 0, &args);
    args.axes[args.axis_count++] = draw(d, rank);
    if (rank > 2 && draw(d, 2)) args.axes[args.axis_count++] = (args.axes[0] + 1) % rank;
    return apply(r, d, reductions[draw(d, 3)], x, 0, &args);
}

static int random_product(recipe *r, dice *d, int x) {
    tuff_shape s = value_of(r, x)->shape;
    recipe_args args = { .features = between(d, 1, 20), .no_bias = !draw(d, 4) };
    if (draw(d, 2)) return apply(r, d, "linear", x, 0, &args);
    args.transpose_a = draw(d, 2);
    args.transpose_b = draw(d, 2);
    int64_t k = s.sizes[s.rank - (args.transpose_a ? 2 : 1)], n = between(d, 1, 20);
    tuff_shape b = args.transpose_b ? TUFF_SHAPE(n, k) : TUFF_SHAPE(k, n);
    return apply(r, d, "matmul", x, random_leaf(r, d, b, FILL_ANY, 0), &args);
}

static int random_image_operator(recipe *r, dice *d, int x) {
    const int64_t *s = value_of(r, x)->shape.sizes;
    recipe_args args = { .channels = between(d, 1, 8), .no_bias = !draw(d, 4), .exclude_padding = draw(d, 2) };
    ref_window *w = &args.window;
    for (int i = 0; i < 2; i++) {
        w->kernel[i] = between(d, 1, s[2 + i] < 3 ? s[2 + i] : 3);
        w->padding[i] = between(d, 0, w->kernel[i] / 2);
        w->stride[i] = between(d, 1, 2);
    }
    switch (draw(d, 6)) {
    case 0: return apply(r, d, "max_pool2d", x, 0, &args);
    case 1: return apply(r, d, "avg_pool2d", x, 0, &args);
    case 2: return apply(r, d, "global_avg_pool2d", x, 0, &args);
    default: break;
    }
    if (s[1] > 1 && !draw(d, 3)) {
        args.groups = s[1];
        args.channels = s[1] * between(d, 1, 2);
    }
    return apply(r, d, "conv2d", x, 0, &args);
}

static int random_operator(recipe *r, dice *d, int x) {
    const ref *v = value_of(r, x);
    uint32_t rank = v->shape.rank;
    recipe_args args = { 0 };
    switch (draw(d, 10)) {
    case 0: return random_shape_change(r, d, x);
    case 1: return rank ? random_reduction(r, d, x) : random_pointwise(r, d, x);
    case 2:
    case 3: return rank >= 2 ? random_product(r, d, x) : random_pointwise(r, d, x);
    case 4:
    case 5: return rank == 4 ? random_image_operator(r, d, x) : random_pointwise(r, d, x);
    case 6: /* a batch of few is nearly constant and its gradient nothing but rounding */
        if (rank < 2 || v->count < 8 * v->shape.sizes[1]) return random_pointwise(r, d, x);
        return apply(r, d, "batch_norm", x, 0, &args);
    default: return random_pointwise(r, d, x);
    }
}

/* An embedding of random indices, to start from. */
static int random_embedding(recipe *r, dice *d) {
    recipe_args args = { .count = between(d, 1, 9), .features = between(d, 1, 9) };
    int index = random_leaf(r, d, TUFF_SHAPE(between(d, 1, 5), between(d, 1, 5)), FILL_INDEX, args.count);
    return apply(r, d, "embedding", index, 0, &args);
}

/* A scalar of a result: a loss against targets, or a weighted sum. */
static int random_loss(recipe *r, dice *d, int x) {
    tuff_shape s = value_of(r, x)->shape;
    recipe_args args = { .reduction = draw(d, 2) };
    if (s.rank == 2 && draw(d, 2)) {
        args.count = s.sizes[1];
        return apply(r, d, "cross_entropy", x, random_leaf(r, d, TUFF_SHAPE(s.sizes[0]), FILL_INDEX, args.count),
                     &args);
    }
    if (draw(d, 4) == 0)
        return apply(r, d, draw(d, 2) ? "mse_loss" : "l1_loss", x, random_leaf(r, d, s, FILL_ANY, 0), &args);
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
        r->loss = r->loss < 0 ? term : apply(r, &d, "add", r->loss, term, &(recipe_args){ 0 });
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
