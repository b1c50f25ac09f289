#include "random_case.h"

#include "runtime/graph/attributes.h"
#include "tests/reference/cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_OPERAND = 400, MOST_TOGETHER = 1200, TRIES = 400 };

typedef struct dice {
    uint32_t seed, drawn;
} dice;

static uint32_t draw(dice *d, uint32_t below) {
    return recipe_hash(d->seed, d->drawn++) % below;
}

static int64_t random_size(dice *d) {
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 23, 32, 33, 67 };
    return sizes[draw(d, sizeof sizes / sizeof *sizes)];
}

/* Which size stands for which: the same for all operands. */
typedef struct substitution {
    int64_t from[32], to[32];
    int count;
} substitution;

static int64_t substitute(substitution *s, dice *d, int64_t size) {
    for (int i = 0; i < s->count; i++)
        if (s->from[i] == size) return s->to[i];
    /* a size of 1 often broadcasts: it mostly stays */
    int64_t to = (size == 1 && draw(d, 4)) || !draw(d, 4) ? size : random_size(d);
    if (s->count < 32) s->from[s->count] = size, s->to[s->count++] = to;
    return to;
}

/* The operands with other sizes; numbers behind ":i" are sizes, too. */
static void draw_operands(dice *d, substitution *s, const char *from, char to[RECIPE_TEXT]) {
    size_t used = 0;
    while (*from && used < RECIPE_TEXT - 24) {
        if (*from >= '0' && *from <= '9')
            used += (size_t)snprintf(to + used, RECIPE_TEXT - used, "%lld",
                                     (long long)substitute(s, d, strtoll(from, (char **)&from, 10)));
        else
            to[used++] = *from++;
    }
    to[used] = 0;
}

static bool is_small(const char *operands) {
    int64_t all = 0;
    for (; *operands; operands += strcspn(operands, " "), operands += strspn(operands, " ")) {
        tuff_shape shape;
        recipe_fill fill;
        int64_t below;
        bool constant;
        if (*operands == '_') continue;
        if (!recipe_operand(operands, &shape, &fill, &below, &constant)) return false;
        int64_t count = tuff_shape_count(&shape);
        if (count > MOST_OPERAND) return false;
        all += count;
    }
    return all <= MOST_TOGETHER;
}

static uint32_t choice_count(const char *choices) {
    uint32_t count = 1;
    for (; *choices; choices++) count += *choices == '|';
    return count;
}

/* Another value for an attribute that a line gives or leaves at its default. */
static void draw_value(dice *d, const attribute *attribute, attribute_value *value) {
    switch (attribute->type) {
    case ATTRIBUTE_BOOL: value->i = draw(d, 2); break;
    case ATTRIBUTE_CHOICE: value->i = draw(d, choice_count(attribute->choices)); break;
    case ATTRIBUTE_FLOAT: value->f *= 0.5 + (double)draw(d, 7) / 4; break;
    case ATTRIBUTE_INT:
        if (value->i == ATTRIBUTE_NONE) break;
        value->i += (int64_t)draw(d, 5) - 2;
        break;
    case ATTRIBUTE_INTS:
        for (int64_t i = 0; i < value->i; i++)
            if (draw(d, 2)) value->list[i] += (int64_t)draw(d, 3) - 1;
        break;
    case ATTRIBUTE_FLOATS:
        for (int64_t i = 0; i < value->i; i++) value->numbers[i] *= 0.5 + (double)draw(d, 7) / 4;
        break;
    case ATTRIBUTE_STRING: break; /* of letters that belong to the operands */
    }
}

static bool draw_attributes(dice *d, const operator* row, const char *from, char to[RECIPE_TEXT]) {
    attributes values;
    char word[RECIPE_TEXT], text[ATTRIBUTE_TEXT];
    int length = 0;
    size_t used = 0;
    attributes_begin(&values, row);
    to[0] = 0;
    for (const char *at = from; sscanf(at, "%239s%n", word, &length) == 1; at += length) {
        if (strncmp(word, "training=", 9) && strncmp(word, "take=", 5)) {
            if (attributes_set(&values, word) != TUFF_OK) return false;
        } else {
            used += (size_t)snprintf(to + used, RECIPE_TEXT - used, "%s%s", used ? " " : "", word);
        }
    }
    for (uint32_t i = 0; i < row->attribute_count; i++) {
        const attribute *attribute = &row->attributes[i];
        if (!values.given[i] && (attribute->required || attribute->like || draw(d, 2))) continue;
        attribute_value before = values.values[i];
        if (draw(d, 2)) draw_value(d, attribute, &values.values[i]);
        if (!values.given[i] && memcmp(&before, &values.values[i], sizeof before) == 0) continue;
        if (used + ATTRIBUTE_TEXT > RECIPE_TEXT - 40 && used > 100) return false;
        used += (size_t)snprintf(to + used, RECIPE_TEXT - used, "%s%s=%s", used ? " " : "", attribute->name,
                                 attribute_value_text(attribute, &values.values[i], text));
        if (used >= RECIPE_TEXT) return false;
    }
    return true;
}

bool random_case_draw(random_case *c, tuff_model *model, const char *op, uint32_t seed) {
    dice d = { .seed = seed };
    const operator* row = operator_find(op);
    c->op = op;
    for (int tries = 0; row && tries < TRIES; tries++) {
        int lines = 0, wanted;
        const operator_case *line = NULL;
        for (int i = 0; i < OPERATOR_CASE_COUNT; i++) lines += !strcmp(OPERATOR_CASES[i].op, op);
        if (!lines) return false;
        wanted = (int)draw(&d, (uint32_t)lines);
        for (int i = 0; i < OPERATOR_CASE_COUNT && !line; i++)
            if (!strcmp(OPERATOR_CASES[i].op, op) && wanted-- == 0) line = &OPERATOR_CASES[i];
        substitution sizes = { .count = 0 };
        draw_operands(&d, &sizes, line->shapes, c->operands);
        if (!is_small(c->operands) || !draw_attributes(&d, row, line->attributes, c->attributes)) continue;
        tuff_graph *graph = tuff_graph_create(model);
        bool accepted = build_accepts(graph, op, c->operands, c->attributes);
        tuff_graph_destroy(graph);
        if (accepted) return true;
    }
    return false;
}
