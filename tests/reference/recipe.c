/* Recipes: made from a line of text, filled, evaluated, differentiated, disturbed. */
#include "recipe.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t recipe_hash(uint32_t a, uint32_t b) {
    uint32_t x = a * 0x9E3779B1u ^ b;
    x = (x ^ x >> 16) * 0x7FEB352Du;
    x = (x ^ x >> 15) * 0x846CA68Bu;
    return x ^ x >> 16;
}

uint32_t recipe_seed(const char *op, const char *shapes, const char *attributes) {
    const char *parts[] = { op, "|", shapes, "|", attributes };
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (int i = 0; i < 5; i++)
        for (const char *c = parts[i]; *c; c++) hash = (hash ^ (uint8_t)*c) * 16777619u;
    return hash;
}

/* A permutation of 0 .. 65535, another for each seed: values of a tensor differ from one another. */
static uint32_t permuted(uint32_t i, uint32_t seed) {
    uint32_t k = (i + (seed & 0xFFFF)) & 0xFFFF;
    k = k * 0x9E3Bu & 0xFFFF;
    k ^= k >> 7;
    k = k * 0x2C1Bu & 0xFFFF;
    k ^= k >> 9;
    k = k * (seed >> 16 | 1) & 0xFFFF;
    return k ^ k >> 8;
}

static double fill_value(recipe_fill fill, uint32_t i, uint32_t seed, int64_t index_count) {
    uint32_t k = permuted(i, seed);
    double v = (2.0 * k - 65535) / 65536;
    switch (fill) {
    case FILL_ANY: return v;
    case FILL_POSITIVE: return 0.25 + (v + 1) * 0.875;
    case FILL_NONZERO: return (0.25 + (v + 1) * 0.875) * (recipe_hash(seed, i) & 1 ? 1 : -1);
    case FILL_INDEX: return (double)(recipe_hash(seed, i) % (uint32_t)index_count);
    case FILL_TIES: return (double)(recipe_hash(seed, i) % 5) / 2 - 1;
    case FILL_LARGE: return v * 60;
    case FILL_WIDE: return ldexp(v, (int)(recipe_hash(seed, i) % 33) - 26);
    case FILL_SHIFTED: return 8 + v;
    }
    return NAN;
}

void recipe_fill_leaf(recipe_step *leaf, int64_t index_count) {
    ref *x = leaf->value;
    for (int64_t i = 0; i < x->count; i++) {
        x->v[i] = fill_value(leaf->fill, (uint32_t)i, leaf->seed, index_count);
        x->abs[i] = fabs(x->v[i]);
    }
}

void recipe_clear(recipe *r) {
    for (int i = 0; i < r->count; i++) {
        ref_free(r->steps[i].value);
        ref_free(r->steps[i].grad);
        free(r->steps[i].mask);
    }
    memset(r, 0, sizeof *r);
}

static recipe_step *add_step(recipe *r, const char *name) {
    if (r->count == RECIPE_STEPS) {
        fprintf(stderr, "recipe: more than %d steps\n", RECIPE_STEPS);
        exit(3);
    }
    recipe_step *s = &r->steps[r->count++];
    memset(s, 0, sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

int recipe_add_leaf(recipe *r, recipe_leaf leaf, const char *name, tuff_shape shape, recipe_fill fill, uint32_t seed,
                    int64_t index_count) {
    recipe_step *s = add_step(r, name);
    s->leaf = leaf;
    s->fill = fill;
    s->seed = seed;
    s->value = ref_new(shape);
    s->args.count = index_count;
    recipe_fill_leaf(s, index_count);
    return r->count - 1;
}

/* Leaves for what a layer makes; the word after the last operand's input slot. */
static void add_parameters(recipe *r, const recipe_operator *op, const recipe_args *args, const char *name,
                           uint32_t seed, int *inputs, int *input_count) {
    const ref *x = r->steps[inputs[0]].value;
    char word[32], full[sizeof r->steps->name];
    int which = 0, length = 0;
    for (const char *at = op->parameters; at && sscanf(at, "%31s%n", word, &length) == 1; at += length, which++) {
        tuff_shape shape = op->parameter(args, x, which);
        bool buffer = !strncmp(word, "running", 7);
        snprintf(full, sizeof full, "%.15s.%s", name, word);
        inputs[*input_count] = -1;
        if (shape.rank != UINT32_MAX)
            inputs[*input_count] = recipe_add_leaf(r, buffer ? LEAF_BUFFER : LEAF_PARAMETER, full, shape,
                                                   strcmp(word, "running_var") ? FILL_ANY : FILL_POSITIVE,
                                                   recipe_hash(seed, 100 + (uint32_t)which), 0);
        ++*input_count;
    }
}

static void operands(const recipe *r, const recipe_step *s, ref **in) {
    for (int i = 0; i < RECIPE_INPUTS; i++)
        in[i] = i < s->input_count && s->inputs[i] >= 0 ? r->steps[s->inputs[i]].value : NULL;
}

int recipe_apply(recipe *r, const recipe_operator *op, const int *inputs, const recipe_args *args, const char *name,
                 uint32_t seed) {
    int all[RECIPE_INPUTS] = { 0 }, count = (int)strlen(op->fills);
    memcpy(all, inputs, (size_t)count * sizeof *all);
    add_parameters(r, op, args, name, seed, all, &count);
    recipe_step *s = add_step(r, name);
    s->op = op;
    s->args = *args;
    s->input_count = count;
    memcpy(s->inputs, all, sizeof all);
    ref *in[RECIPE_INPUTS];
    operands(r, s, in);
    s->value = op->forward(in, &s->args);
    return r->count - 1;
}

int recipe_loss(recipe *r, int step, uint32_t seed) {
    recipe_args args = { 0 };
    char name[48];
    snprintf(name, sizeof name, "weights%d", r->count);
    int weights = recipe_add_leaf(r, LEAF_INPUT, name, r->steps[step].value->shape, FILL_ANY, seed, 0);
    int product = recipe_apply(r, recipe_find("mul"), (int[]){ step, weights }, &args, "", 0);
    return recipe_apply(r, recipe_find("sum"), &product, &args, "", 0);
}

/* ---- text ---- */

static bool parse_sizes(const char *text, int64_t *sizes, int64_t most, int64_t *count) {
    *count = 0;
    while (*text && *text != ' ') {
        char *end;
        if (*count == most) return false;
        sizes[(*count)++] = strtoll(text, &end, 10);
        if (end == text) return false;
        text = *end == 'x' || *end == ',' ? end + 1 : end;
    }
    return *count > 0;
}

typedef struct key {
    const char *name;
    char kind; /* i: integer, f: float, b: flag, 2: pair, a: axes, s: shape, r: reduction, v: fill */
    size_t offset;
} key;
#define KEY(name, kind, field)                                                                                         \
    { name, kind, offsetof(recipe_args, field) }
static const key KEYS[] = {
    KEY("kernel", '2', window.kernel),
    KEY("stride", '2', window.stride),
    KEY("padding", '2', window.padding),
    KEY("dilation", '2', window.dilation),
    KEY("channels", 'i', channels),
    KEY("groups", 'i', groups),
    KEY("features", 'i', features),
    KEY("count", 'i', count),
    KEY("axes", 'a', axes),
    KEY("axis", 'i', axis),
    KEY("axis0", 'i', axis0),
    KEY("axis1", 'i', axis1),
    KEY("shape", 's', shape),
    KEY("factor", 'f', factor),
    KEY("offset", 'f', offset),
    KEY("slope", 'f', slope),
    KEY("p", 'f', p),
    KEY("epsilon", 'f', epsilon),
    KEY("momentum", 'f', momentum),
    KEY("keepdim", 'b', keepdim),
    KEY("transpose_a", 'b', transpose_a),
    KEY("transpose_b", 'b', transpose_b),
    KEY("no_bias", 'b', no_bias),
    KEY("no_affine", 'b', no_affine),
    KEY("exclude_padding", 'b', exclude_padding),
    KEY("approximate_tanh", 'b', approximate_tanh),
    KEY("evaluate", 'b', evaluate),
    KEY("reduction", 'r', reduction),
    KEY("values", 'v', values),
};

static bool parse_value(recipe_args *args, const key *k, const char *text) {
    void *field = (char *)args + k->offset;
    int64_t count;
    switch (k->kind) {
    case 'i': *(int64_t *)field = strtoll(text, NULL, 10); return *text != 0;
    case 'f': *(double *)field = (float)strtod(text, NULL); return *text != 0; /* as Tuff's float arguments */
    case 'b': *(bool *)field = true; return true;
    case '2': return parse_sizes(text, field, 2, &count) && count == 2;
    case 'a': return parse_sizes(text, field, TUFF_MAX_RANK, &args->axis_count);
    case 's':
        if (!parse_sizes(text, ((tuff_shape *)field)->sizes, TUFF_MAX_RANK, &count)) return false;
        ((tuff_shape *)field)->rank = (uint32_t)count;
        return true;
    case 'r': {
        const char *names[] = { "mean", "sum", "none" };
        for (int i = 0; i < 3; i++)
            if (!strncmp(text, names[i], strlen(names[i]))) return *(int64_t *)field = i, true;
        return false;
    }
    default: {
        const char *names[] = { "ties", "large", "wide", "shifted", "positive" };
        for (int i = 0; i < 5; i++)
            if (!strncmp(text, names[i], strlen(names[i]))) return *(char *)field = names[i][0], true;
        return false;
    }
    }
}

static bool parse_args(const char *text, recipe_args *args, const char **message) {
    while (*text) {
        size_t length = strcspn(text, "= "), i = 0, known = sizeof KEYS / sizeof *KEYS;
        while (i < known && (strlen(KEYS[i].name) != length || strncmp(KEYS[i].name, text, length))) i++;
        *message = text;
        if (i == known || !parse_value(args, &KEYS[i], text + length + (text[length] == '='))) return false;
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    return true;
}

bool recipe_case(recipe *r, const char *op_name, const char *shapes, const char *attributes, const char **message) {
    recipe_args args = { 0 };
    const recipe_operator *op = recipe_find(op_name);
    *message = op_name;
    if (!op || !parse_args(attributes, &args, message)) return false;
    recipe_clear(r);
    uint32_t seed = recipe_seed(op_name, shapes, attributes);
    int inputs[RECIPE_INPUTS] = { 0 };
    for (int i = 0; op->fills[i]; i++) {
        tuff_shape shape = { 0 };
        int64_t rank = 0;
        *message = shapes;
        if (!*shapes || (*shapes != '-' && !parse_sizes(shapes, shape.sizes, TUFF_MAX_RANK, &rank))) return false;
        shape.rank = (uint32_t)rank;
        shapes += strcspn(shapes, " ");
        shapes += strspn(shapes, " ");
        char name[16];
        snprintf(name, sizeof name, "x%d", i);
        recipe_fill fill = (recipe_fill)(op->fills[i] != FILL_INDEX && args.values ? args.values : op->fills[i]);
        inputs[i] = recipe_add_leaf(r, LEAF_INPUT, name, shape, fill, recipe_hash(seed, (uint32_t)i), args.count);
    }
    r->output = recipe_apply(r, op, inputs, &args, "layer", seed);
    r->loss = recipe_loss(r, r->output, recipe_hash(seed, 200));
    return true;
}

/* ---- evaluation ---- */

static void disturb(ref *x, double noise, uint32_t seed) {
    if (noise == 0) return;
    for (int64_t i = 0; i < x->count; i++) {
        double u = recipe_hash(seed, (uint32_t)i) / 2147483648.0 - 1;
        x->v[i] += u * noise * (1 + sqrt(x->terms)) * FLT_EPSILON * x->abs[i];
    }
}

void recipe_forward(recipe *r, double noise, uint32_t noise_seed) {
    for (int i = 0; i < r->count; i++) {
        recipe_step *s = &r->steps[i];
        if (!s->op) continue;
        ref *in[RECIPE_INPUTS];
        operands(r, s, in);
        ref_free(s->value);
        s->value = s->op->forward(in, &s->args);
        disturb(s->value, noise, recipe_hash(noise_seed, (uint32_t)i));
    }
}

static bool differentiable(const recipe_step *s) {
    return s->op ? s->op->gradient != NULL : s->leaf != LEAF_BUFFER && s->fill != FILL_INDEX;
}

void recipe_backward(recipe *r, int of, double noise, uint32_t noise_seed) {
    for (int i = 0; i < r->count; i++) {
        ref_free(r->steps[i].grad);
        r->steps[i].grad = NULL;
    }
    r->steps[of].grad = ref_new(r->steps[of].value->shape);
    for (int64_t i = 0; i < r->steps[of].grad->count; i++) r->steps[of].grad->v[i] = 1;
    for (int i = of; i >= 0; i--) {
        recipe_step *s = &r->steps[i];
        if (!s->grad || !s->op || !s->op->gradient) continue;
        disturb(s->grad, noise, recipe_hash(noise_seed, (uint32_t)(1000 + i)));
        ref *in[RECIPE_INPUTS], *g[RECIPE_INPUTS] = { NULL };
        operands(r, s, in);
        for (int j = 0; j < s->input_count; j++) {
            if (!in[j]) continue;
            recipe_step *from = &r->steps[s->inputs[j]];
            if (!differentiable(from)) continue;
            if (!from->grad) from->grad = ref_new(from->value->shape);
            g[j] = from->grad;
        }
        s->op->gradient(in, &s->args, s->value, s->grad, g);
    }
}

double recipe_kink(const recipe *r) {
    double nearest = INFINITY;
    for (int i = 0; i < r->count; i++) {
        const recipe_step *s = &r->steps[i];
        ref *in[RECIPE_INPUTS];
        if (!s->op || !s->op->kink) continue;
        operands(r, s, in);
        nearest = fmin(nearest, s->op->kink(in, &s->args, s->value));
    }
    return nearest;
}
