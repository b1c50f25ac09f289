#include "build.h"

#include "runtime/graph/attributes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is no attribute of the row: of how the case is run. */
static bool is_of_case(const char *word) {
    return !strncmp(word, "training=", 9) || !strncmp(word, "take=", 5);
}

static tuff_tensor *apply_row(tuff_graph *graph, const char *op, const char *text, tuff_tensor *const *in,
                              uint32_t count, const char *name) {
    const operator* row = operator_find(op);
    attributes attributes;
    char word[RECIPE_TEXT];
    if (!row) {
        graph_fail(graph, TUFF_ERROR_ARGUMENT, "there is no operator '%s'", op);
        return NULL;
    }
    attributes_begin(&attributes, row);
    tuff_result result = TUFF_OK;
    int length = 0;
    for (const char *at = text; result == TUFF_OK && sscanf(at, "%239s%n", word, &length) == 1; at += length)
        if (!is_of_case(word)) result = attributes_set(&attributes, word);
    if (result == TUFF_OK) result = attributes_end(&attributes);
    if (result != TUFF_OK) {
        graph_fail(graph, result, "%s", tuff_last_message());
        return NULL;
    }
    return graph_apply(graph, row, in, count, attributes.values, name);
}

static tuff_tensor *build_operator(const recipe_step *s, tuff_graph *graph, tuff_tensor **tensors) {
    tuff_tensor *in[RECIPE_INPUTS] = { NULL };
    for (int i = 0; i < s->input_count; i++) in[i] = s->inputs[i] < 0 ? NULL : tensors[s->inputs[i]];
    tuff_tensor *first = apply_row(graph, s->op->name, s->args.text, in, (uint32_t)s->input_count, s->name);
    int64_t take = arg_int(&s->args, "take", 0);
    return first && take < (int64_t)first->producer->output_count ? first->producer->outputs[take] : NULL;
}

bool build_accepts(tuff_graph *graph, const char *op, const char *operands, const char *attributes) {
    tuff_tensor *in[RECIPE_INPUTS] = { NULL };
    uint32_t count = 0;
    for (; *operands && count < RECIPE_INPUTS; operands += strcspn(operands, " "), operands += strspn(operands, " ")) {
        recipe_step leaf = { 0 };
        tuff_shape shape;
        bool constant;
        char name[16];
        snprintf(name, sizeof name, "x%u", count);
        if (*operands != '_') {
            if (!recipe_operand(operands, &shape, &leaf.fill, &leaf.below, &constant)) return false;
            in[count] = tuff_input(graph, name, build_type(&leaf), shape);
        }
        count++;
    }
    const tuff_tensor *first = apply_row(graph, op, attributes, in, count, op);
    recipe_args args = { 0 };
    snprintf(args.text, sizeof args.text, "%s", attributes);
    return first && arg_int(&args, "take", 0) < (int64_t)first->producer->output_count;
}

/* ---- inputs that are views ---- */

build_views build_views_asked(void) {
    static const char *const names[] = { "", "first", "last", "exchanged" };
    const char *text = getenv("TUFF_TEST_VIEWS");
    for (int i = VIEWS_FIRST; text && i <= VIEWS_EXCHANGED; i++)
        if (!strcmp(text, names[i])) return (build_views)i;
    if (!text || !*text) return VIEWS_NONE;
    fprintf(stderr, "TUFF_TEST_VIEWS=%s: it must be first, last or exchanged\n", text);
    exit(2);
}

enum { SKIPPED_BEFORE = 1, SKIPPED = 3 };

/* What is written so that a part of it is a tensor of this shape. */
static tuff_shape whole_of(tuff_shape shape, build_views views) {
    uint32_t last = shape.rank - 1;
    if (shape.rank && views == VIEWS_FIRST) shape.sizes[0] += SKIPPED;
    if (shape.rank && views == VIEWS_LAST) shape.sizes[last] += SKIPPED;
    if (shape.rank > 1 && views == VIEWS_EXCHANGED) {
        int64_t size = shape.sizes[last];
        shape.sizes[last] = shape.sizes[last - 1];
        shape.sizes[last - 1] = size;
    }
    return shape;
}

/* Where element i of the part lies in the whole. */
static size_t place_in_whole(const tuff_shape *shape, build_views views, int64_t i) {
    tuff_shape whole = whole_of(*shape, views);
    int64_t at[TUFF_MAX_RANK] = { 0 }, place = 0;
    uint32_t last = shape->rank - 1;
    for (uint32_t k = shape->rank; k-- > 0; i /= shape->sizes[k]) at[k] = i % shape->sizes[k];
    if (shape->rank && views == VIEWS_FIRST) at[0] += SKIPPED_BEFORE;
    if (shape->rank && views == VIEWS_LAST) at[last] += SKIPPED_BEFORE;
    if (shape->rank > 1 && views == VIEWS_EXCHANGED) {
        int64_t coordinate = at[last];
        at[last] = at[last - 1];
        at[last - 1] = coordinate;
    }
    for (uint32_t k = 0; k < shape->rank; k++) place = place * whole.sizes[k] + at[k];
    return (size_t)place;
}

static tuff_tensor *build_input(const recipe_step *s, tuff_graph *graph) {
    build_views views = build_views_asked();
    tuff_shape shape = s->value->shape;
    tuff_tensor *x = tuff_input(graph, s->name, build_type(s), whole_of(shape, views));
    if (views == VIEWS_NONE || shape.rank < (views == VIEWS_EXCHANGED ? 2 : 1)) return x;
    uint32_t axis = views == VIEWS_FIRST ? 0 : shape.rank - 1;
    return views == VIEWS_EXCHANGED ? tuff_transpose(x, -1, -2)
                                    : tuff_slice(x, (int32_t)axis, SKIPPED_BEFORE, SKIPPED_BEFORE - SKIPPED, 1);
}

static tuff_tensor *build_step(const recipe_step *s, tuff_graph *graph, tuff_tensor **tensors) {
    switch (s->leaf) {
    case LEAF_INPUT: return build_input(s, graph);
    case LEAF_PARAMETER: return tuff_parameter(graph, s->name, s->value->shape, NULL);
    case LEAF_BUFFER: return tuff_buffer(graph, s->name, s->value->shape, NULL);
    case LEAF_NONE: break;
    }
    return build_operator(s, graph, tensors);
}

tuff_type build_type(const recipe_step *leaf) {
    return leaf->fill == FILL_INDEX                             ? TUFF_I32
           : leaf->fill == FILL_MASK || leaf->fill == FILL_BYTE ? TUFF_U8
                                                                : TUFF_F32;
}

bool build_graph(const recipe *r, tuff_graph *graph, tuff_tensor **tensors) {
    for (int i = 0; i < r->count; i++) {
        tensors[i] = build_step(&r->steps[i], graph, tensors);
        if (!tensors[i]) return false;
        tuff_shape shape = tuff_tensor_shape(tensors[i]), wanted = r->steps[i].value->shape;
        if (shape.rank != wanted.rank || memcmp(shape.sizes, wanted.sizes, shape.rank * sizeof *shape.sizes))
            return false;
    }
    return true;
}

/* Whether a step up to `last` reads the leaf's values. */
static bool is_used(const recipe *r, int leaf, int last) {
    for (int i = 0; i <= last; i++) {
        const operator* row = r->steps[i].op ? operator_find(r->steps[i].op->name) : NULL;
        for (int j = 0; row && j < r->steps[i].input_count; j++)
            if (r->steps[i].inputs[j] == leaf && !(row->shape_only >> j & 1)) return true;
    }
    return false;
}

tuff_result build_write(const recipe *r, tuff_model *model, tuff_program *program, tuff_tensor *const *tensors,
                        int last) {
    for (int i = 0; i <= last; i++) {
        const recipe_step *s = &r->steps[i];
        if (s->op || !is_used(r, i, last)) continue;
        build_views views = s->leaf == LEAF_INPUT ? build_views_asked() : VIEWS_NONE;
        tuff_shape whole = whole_of(s->value->shape, views);
        size_t count = (size_t)tuff_shape_count(&whole);
        union {
            float f;
            int32_t i;
        } *words = malloc(count * sizeof *words);
        memset(words, 0xff, count * sizeof *words); /* what no kernel may take: NaN, an index out of range */
        unsigned char *bytes = (unsigned char *)words;
        for (int64_t j = 0; j < s->value->count; j++) {
            size_t at = place_in_whole(&s->value->shape, views, j);
            if (build_type(s) == TUFF_U8)
                bytes[at] = (unsigned char)s->value->v[j];
            else if (build_type(s) == TUFF_I32)
                words[at].i = (int32_t)s->value->v[j];
            else
                words[at].f = (float)s->value->v[j];
        }
        const node *view = tensors[i]->producer;
        size_t size = count * tuff_type_size(build_type(s));
        tuff_result result = s->leaf == LEAF_INPUT
                                 ? tuff_write(program, view ? view->inputs[0] : tensors[i], words, size)
                                 : tuff_model_write(model, s->name, words, size);
        free(words);
        /* an operand that this operator does not read in this mode (running statistics, in training) */
        if (result == TUFF_ERROR_ARGUMENT && s->leaf == LEAF_INPUT) result = TUFF_OK;
        if (result != TUFF_OK) return result;
    }
    return TUFF_OK;
}
