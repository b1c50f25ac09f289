/* Recipes: made from a line of text, filled, evaluated, differentiated, disturbed. */
#include "recipe.h"

#include <float.h>
#include <math.h>
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

static double fill_value(recipe_fill fill, uint32_t i, uint32_t seed, int64_t below) {
    uint32_t k = permuted(i, seed);
    double v = (2.0 * k - 65535) / 65536;
    switch (fill) {
    case FILL_ANY: return v;
    case FILL_POSITIVE: return 0.25 + (v + 1) * 0.875;
    case FILL_NONZERO: return (0.25 + (v + 1) * 0.875) * (recipe_hash(seed, i) & 1 ? 1 : -1);
    case FILL_INDEX: return (double)(recipe_hash(seed, i) % (uint32_t)below);
    case FILL_TIES: return (double)(recipe_hash(seed, i) % 5) / 2 - 1;
    case FILL_LARGE: return v * 60;
    case FILL_WIDE: return ldexp(v, (int)(recipe_hash(seed, i) % 33) - 26);
    case FILL_SHIFTED: return 8 + v;
    case FILL_MEAN: return 10000 + floor(v * 2048) / 1024;
    case FILL_UNIT: return (v + 1) / 2;
    case FILL_BOOL:
    case FILL_MASK: return (double)(recipe_hash(seed, i) & 1);
    case FILL_BYTE: return (double)(recipe_hash(seed, i) & 255);
    }
    return NAN;
}

void recipe_fill_leaf(recipe_step *leaf) {
    ref *x = leaf->value;
    x->whole = leaf->fill == FILL_INDEX || leaf->fill == FILL_MASK || leaf->fill == FILL_BYTE;
    for (int64_t i = 0; i < x->count; i++) {
        x->v[i] = fill_value(leaf->fill, (uint32_t)i, leaf->seed, leaf->below);
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
                    int64_t below) {
    recipe_step *s = add_step(r, name);
    s->leaf = leaf;
    s->fill = fill;
    s->seed = seed;
    s->below = below;
    s->value = ref_new(shape);
    recipe_fill_leaf(s);
    return r->count - 1;
}

static void operands(const recipe *r, const recipe_step *s, ref **in) {
    for (int i = 0; i < RECIPE_INPUTS; i++)
        in[i] = i < s->input_count && s->inputs[i] >= 0 ? r->steps[s->inputs[i]].value : NULL;
}

int recipe_apply(recipe *r, const recipe_operator *op, const int *inputs, int input_count, const recipe_args *args,
                 const char *name) {
    recipe_step *s = add_step(r, name);
    s->op = op;
    if (args) s->args = *args;
    s->input_count = input_count;
    memcpy(s->inputs, inputs, (size_t)input_count * sizeof *inputs);
    ref *in[RECIPE_INPUTS];
    operands(r, s, in);
    s->value = op->forward(in, &s->args);
    return r->count - 1;
}

int recipe_loss(recipe *r, int step, uint32_t seed) {
    char name[48];
    snprintf(name, sizeof name, "weights%d", r->count);
    int weights = recipe_add_leaf(r, LEAF_INPUT, name, r->steps[step].value->shape, FILL_ANY, seed, 0);
    int product = recipe_apply(r, recipe_find("mul"), (int[]){ step, weights }, 2, NULL, "weighted");
    return recipe_apply(r, recipe_find("sum"), &product, 1, NULL, "loss");
}

static bool differentiable(const recipe_step *s) {
    return s->op ? !s->op->detach
                 : s->leaf != LEAF_BUFFER && s->fill != FILL_INDEX && s->fill != FILL_BOOL && s->fill != FILL_MASK
                       && s->fill != FILL_BYTE;
}

/* ---- operands as text ---- */

/* One word: a shape, then ":" and a fill, of indices their bound behind it, then "!" if its gradient is not asked for.
 */
bool recipe_operand(const char *word, tuff_shape *shape, recipe_fill *fill, int64_t *below, bool *constant) {
    *shape = (tuff_shape){ 0 };
    *fill = FILL_ANY;
    *below = 0;
    if (*word == '-') {
        word++;
    } else {
        for (;;) {
            char *end;
            if (shape->rank == TUFF_MAX_RANK) return false;
            shape->sizes[shape->rank++] = strtoll(word, &end, 10);
            if (end == word) return false;
            word = end;
            if (*word != 'x') break;
            word++;
        }
    }
    if (*word == ':') {
        if (!strchr("apnitlwsmubyk", word[1])) return false;
        *fill = (recipe_fill)word[1];
        word += 2;
        if (*fill == FILL_INDEX) *below = strtoll(word, (char **)&word, 10);
        if (*fill == FILL_INDEX && *below < 1) return false;
    }
    *constant = *word == '!';
    word += *constant;
    return !*word || *word == ' ';
}

bool recipe_case(recipe *r, const char *op_name, const char *words, const char *attributes, const char **message) {
    recipe_args args = { 0 };
    const recipe_operator *op = recipe_find(op_name);
    *message = op_name;
    if (!op) return false;
    recipe_clear(r);
    uint32_t seed = recipe_seed(op_name, words, attributes);
    *message = attributes;
    if (strlen(attributes) >= sizeof args.text) return false;
    snprintf(args.text, sizeof args.text, "%s", attributes);
    int inputs[RECIPE_INPUTS], count = 0;
    for (; *words; words += strcspn(words, " "), words += strspn(words, " ")) {
        *message = words;
        if (count == RECIPE_INPUTS) return false;
        inputs[count] = -1;
        if (*words != '_') {
            char name[16];
            tuff_shape shape;
            recipe_fill fill;
            int64_t below;
            bool constant;
            if (!recipe_operand(words, &shape, &fill, &below, &constant)) return false;
            snprintf(name, sizeof name, "x%d", count);
            inputs[count] = recipe_add_leaf(r, constant ? LEAF_BUFFER : LEAF_INPUT, name, shape, fill,
                                            recipe_hash(seed, (uint32_t)count), below);
        }
        count++;
    }
    r->output = recipe_apply(r, op, inputs, count, &args, op_name);
    bool moves_integers = true; /* nothing to differentiate: the result may be integers, too */
    for (int i = 0; i < r->output; i++) moves_integers = moves_integers && !differentiable(&r->steps[i]);
    r->loss = op->detach || moves_integers ? r->output : recipe_loss(r, r->output, recipe_hash(seed, 200));
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

/* A gradient by central differences of the forward pass: for element i of an operand, the sum over the result's
 * elements j of gy[j] dy[j] / dx[i]. */
static void differences(const recipe_step *s, ref *const *in, ref *const *g) {
    for (int k = 0; k < s->input_count; k++) {
        double most = 1;
        for (int64_t i = 0; g[k] && i < in[k]->count; i++) {
            double x = in[k]->v[i], h = 1e-5 * fmax(0.1, fabs(x)), terms = 0;
            in[k]->v[i] = x + h;
            ref *above = s->op->forward(in, &s->args);
            in[k]->v[i] = x - h;
            ref *below = s->op->forward(in, &s->args);
            in[k]->v[i] = x;
            for (int64_t j = 0; j < above->count; j++) {
                double term = s->grad->v[j] * (above->v[j] - below->v[j]) / (2 * h);
                g[k]->v[i] += term;
                g[k]->abs[i] += fabs(term);
                /* the quotient's own rounding */
                g[k]->abs[i] += fabs(s->grad->v[j] * above->v[j]) / h * (DBL_EPSILON / FLT_EPSILON);
                terms += term != 0;
            }
            most = fmax(most, terms);
            ref_free(above);
            ref_free(below);
        }
        if (g[k]) g[k]->terms = fmax(g[k]->terms, most);
    }
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
        if (!s->grad || !s->op || s->op->detach) continue;
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
        if (s->op->gradient)
            s->op->gradient(in, &s->args, s->value, s->grad, g);
        else
            differences(s, in, g);
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
