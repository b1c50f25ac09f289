/* Gathering along an axis, and its converse, sums by index, in two ways: each invocation scans all indices for those
 * that name rows of its own, or the indices are sorted first. */
#include "layers/scatter.h"

#include "layers/axes.h"
#include "layers/chain.h"
#include "layers/families.h"
#include "layers/flat.h"
#include "layers/pointwise.h"
#include "runtime/program/view.h"

#include <tuff/layers.h>

enum { LANES = 64 };

/* ---- gather -------------------------------------------------------------------------------------- */

enum { GATHER_DIM = 0, GATHER_SHARED, GATHER_ZERO };
static const attribute gather_attributes[] = {
    [GATHER_DIM] = { .name = "dim", .type = ATTRIBUTE_INT },
    [GATHER_SHARED] = { .name = "shared", .type = ATTRIBUTE_BOOL },
    [GATHER_ZERO] = { .name = "zero", .type = ATTRIBUTE_BOOL },
};

static tuff_result infer_gather(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *x = node->inputs[0], *index = node->inputs[1];
    inference->types[0] = x->type;
    inference->shapes[0] = node->attributes[GATHER_SHARED].i ? x->shape : index->shape;
    if (node->attributes[GATHER_SHARED].i)
        inference->shapes[0].sizes[node->attributes[GATHER_DIM].i] = index->shape.sizes[0];
    return TUFF_OK;
}

typedef struct gathering {
    lowering *lowering;
    view index, x, y; /* where they begin */
    loops loops;      /* y, index, x, whose stride is 0 along the axis */
    int64_t rows, row_stride;
    uint32_t outside;
} gathering;

/* A tensor as the loops walk over it. */
static view walked(const gathering *g, const view *view_of, uint32_t t) {
    view view = *view_of;
    view.shape.rank = g->loops.rank;
    for (uint32_t d = 0; d < g->loops.rank; d++) {
        view.shape.sizes[d] = (int64_t)g->loops.sizes[d];
        view.strides[d] = (int64_t)g->loops.strides[d][t];
    }
    return view;
}

static tuff_result emit_gather(const gathering *g) {
    uint64_t most = bindable_elements(g->lowering);
    view y = walked(g, &g->y, 0), index = walked(g, &g->index, 1), x = walked(g, &g->x, 2);
    uint32_t outer = g->loops.rank ? g->loops.rank - 1 : 0;
    while (outer > 0 && g->loops.sizes[outer] == 1) outer--;
    if (g->loops.rank && g->loops.sizes[outer] > 1
        && (view_span(&y) > most || view_span(&index) > most || view_span(&x) > most)) { /* in two halves */
        gathering half = *g;
        uint64_t lower = g->loops.sizes[outer] / 2;
        half.loops.sizes[outer] = lower;
        TRY(emit_gather(&half));
        half.y.offset += lower * g->loops.strides[outer][0];
        half.index.offset += lower * g->loops.strides[outer][1];
        half.x.offset += lower * g->loops.strides[outer][2];
        half.loops.sizes[outer] = g->loops.sizes[outer] - lower;
        return emit_gather(&half);
    }
    uint64_t left = most > view_span(&x) ? most - view_span(&x) : 0;
    int64_t step = g->row_stride ? smaller((int64_t)(left / (uint64_t)g->row_stride) + 1, g->rows) : g->rows;
    uint32_t words[TUFF_MAX_RANK * LOOP_WORDS], axis = x.shape.rank++;
    loops_words(&g->loops, words);
    for (int64_t row = 0; row < g->rows; row += step) {
        uint64_t count = loops_count(&g->loops);
        kernel_call call = { .kernel = KERNEL_GATHER, .operand_count = 4, .param_count = 11 };
        view part = x;
        part.offset += (uint64_t)(row * g->row_stride);
        part.shape.sizes[axis] = smaller(step, g->rows - row);
        part.strides[axis] = g->row_stride;
        const uint32_t params[] = { (uint32_t)count,
                                    g->loops.rank,
                                    0,
                                    0,
                                    0,
                                    0,
                                    (uint32_t)g->rows,
                                    (uint32_t)row,
                                    (uint32_t)part.shape.sizes[axis],
                                    (uint32_t)g->row_stride,
                                    g->outside };
        memcpy(call.params, params, sizeof params);
        TRY(lowering_record(g->lowering, words, g->loops.rank * LOOP_WORDS, &call.operands[3], &call.params[2]));
        call.operands[0] = lowering_operand(g->lowering, &index, ACCESS_READ, &call.params[3]);
        call.operands[1] = lowering_operand(g->lowering, &part, ACCESS_READ, &call.params[4]);
        call.operands[2] = lowering_operand(g->lowering, &y, ACCESS_WRITE, &call.params[5]);
        flat_groups(&call, count, LANES);
        TRY(lowering_call(g->lowering, &call));
    }
    return TUFF_OK;
}

static tuff_result lower_gather(lowering *lowering, const node *node) {
    const attribute_value *a = node->attributes;
    gathering g = { .lowering = lowering,
                    .index = *lowering_view(lowering, node->inputs[1]),
                    .x = *lowering_view(lowering, node->inputs[0]),
                    .y = *lowering_view(lowering, node->outputs[0]) };
    uint32_t dim = (uint32_t)a[GATHER_DIM].i, rank = g.y.shape.rank;
    int64_t strides[3][TUFF_MAX_RANK] = { { 0 } };
    g.outside = a[GATHER_ZERO].i ? 0 : g.x.type == TUFF_I32 ? 0x80000000u : 0x7fc00000u;
    g.rows = rank ? g.x.shape.sizes[dim] : 1;
    g.row_stride = rank ? g.x.strides[dim] : 0;
    for (uint32_t i = 0; i < rank; i++) {
        strides[0][i] = g.y.strides[i];
        strides[1][i] = !a[GATHER_SHARED].i ? g.index.strides[i] : i == dim ? g.index.strides[0] : 0;
        strides[2][i] = i == dim ? 0 : g.x.strides[i];
    }
    loops_make(&g.loops, &g.y.shape, ~0u, strides, 3, 0);
    if (g.loops.rank == 0) g.loops.sizes[g.loops.rank++] = 1; /* no record is empty */
    return emit_gather(&g);
}

static const operator operator_gather_rows = { .name = "gather_rows",
                                               .flags = OPERATOR_INTERNAL,
                                               .formula = "x by index along dim",
                                               .inputs = { "input", "index" },
                                               .types = { TYPE_F32 | TYPE_I32, TYPE_I32 },
                                               .attributes = gather_attributes,
                                               .attribute_count = 3,
                                               .infer = infer_gather,
                                               .lower = lower_gather };

tuff_tensor *gather_rows(tuff_tensor *x, tuff_tensor *index, uint32_t dim, bool shared, bool zero) {
    const attribute_value attributes[] = {
        [GATHER_DIM] = { .i = dim }, [GATHER_SHARED] = { .i = shared }, [GATHER_ZERO] = { .i = zero }
    };
    /* the kernel moves words */
    if (x && x->type == TUFF_U8) return tuff_to(gather_rows(tuff_to(x, TUFF_I32), index, dim, shared, zero), TUFF_U8);
    return apply_binary(&operator_gather_rows, x, index, attributes);
}

/* ---- sums by index ------------------------------------------------------------------------------- */

enum { SCATTER_DIM = 0, SCATTER_SHARED, SCATTER_SKIP, SCATTER_ROWS };
static const attribute scatter_attributes[] = {
    [SCATTER_DIM] = { .name = "dim", .type = ATTRIBUTE_INT },
    [SCATTER_SHARED] = { .name = "shared", .type = ATTRIBUTE_BOOL },
    [SCATTER_SKIP] = { .name = "skip", .type = ATTRIBUTE_INT, .value.i = SCATTER_NOTHING },
    [SCATTER_ROWS] = { .name = "rows", .type = ATTRIBUTE_INT },
};

/* x as (outer, sources, inner), y as (outer, rows, inner), row-major; index as x, or a list of `sources`. */
typedef struct scattering {
    lowering *lowering;
    const view *index, *x, *y;
    int64_t outer, sources, rows, inner;
    bool shared;
    uint32_t skip;
    uint32_t width;
} scattering;

/* Lines' rows are dealt out to as many invocations as keep the device busy, if there are that many. */
static uint64_t wanted_invocations(const scattering *s) {
    return device_get_limits(lowering_device(s->lowering))->cpu ? 1024 : 32768;
}

/* The part of a tensor of (outer, axis, inner) from (o, a) on. */
static view part_of(const scattering *s, const view *whole, int64_t axis, int64_t o, int64_t a, int64_t outer,
                    int64_t count) {
    view part = *whole;
    part.offset += (uint64_t)((o * axis + a) * s->inner);
    part.shape = TUFF_SHAPE(((outer - 1) * axis + count) * s->inner);
    part.strides[0] = 1;
    return part;
}

/* lavapipe leaves an invocation's loops after 65535 turns, all of them together. */
enum { MOST_SCANNED = 32768, MOST_OWNED = 16384 };

/* Of outer indices o.., sources k.. and rows r... */
static tuff_result call_scan(const scattering *s, int64_t o, int64_t outer, int64_t k, int64_t sources, int64_t r,
                             int64_t rows) {
    uint32_t firsts[3], width = s->width, access = k ? ACCESS_READ | ACCESS_WRITE : ACCESS_WRITE;
    view x = part_of(s, s->x, s->sources, o, k, outer, sources), y = part_of(s, s->y, s->rows, o, r, outer, rows);
    view index = part_of(s, s->index, s->sources, o, k, outer, sources);
    if (s->shared) {
        index = *s->index;
        index.offset += (uint64_t)k;
        index.shape = TUFF_SHAPE(sources);
        index.strides[0] = 1;
    }
    uint64_t lines = (uint64_t)(outer * s->inner) / width, most = wanted_invocations(s) / lines;
    uint64_t fewest = ((uint64_t)rows - 1) / MOST_OWNED + 1, blocks = most < fewest ? fewest : most;
    if (blocks > (uint64_t)rows) blocks = (uint64_t)rows;
    uint64_t owned = ((uint64_t)rows + blocks - 1) / blocks, invocations = lines * (((uint64_t)rows - 1) / owned + 1);
    kernel_call call = { .kernel = width == 4 ? KERNEL_SCATTER_SCAN_4 : KERNEL_SCATTER_SCAN_1,
                         .constants = { !s->shared },
                         .constant_count = 1,
                         .operands = { lowering_operand(s->lowering, &index, ACCESS_READ, &firsts[0]),
                                       lowering_operand(s->lowering, &x, ACCESS_READ, &firsts[1]),
                                       lowering_operand(s->lowering, &y, access, &firsts[2]) },
                         .operand_count = 3,
                         .param_count = 14 };
    const uint32_t params[] = { (uint32_t)invocations,
                                (uint32_t)lines,
                                (uint32_t)s->inner / width,
                                (uint32_t)sources,
                                (uint32_t)(s->sources * s->inner) / width,
                                (uint32_t)r,
                                (uint32_t)rows,
                                (uint32_t)(s->rows * s->inner) / width,
                                (uint32_t)owned,
                                s->skip,
                                firsts[0],
                                firsts[1] / width,
                                firsts[2] / width,
                                k == 0 };
    memcpy(call.params, params, sizeof params);
    flat_groups(&call, invocations, LANES);
    call.work = invocations * (uint64_t)sources; /* each looks at all */
    return lowering_call(s->lowering, &call);
}

/* Whole outer indices if bindings span some, else one and parts of its sources and rows. */
static tuff_result lower_scan(const scattering *s) {
    int64_t most = (int64_t)bindable_elements(s->lowering);
    int64_t large = s->sources > s->rows ? s->sources : s->rows, fit = most / (large * s->inner);
    int64_t outer = fit < 1 ? 1 : smaller(fit, s->outer), part = most / s->inner > 1 ? most / s->inner : 1;
    int64_t sources = fit < 1 ? smaller(part, s->sources) : s->sources,
            rows = fit < 1 ? smaller(part, s->rows) : s->rows;
    sources = smaller(sources, MOST_SCANNED);
    for (int64_t o = 0; o < s->outer; o += outer)
        for (int64_t r = 0; r < s->rows; r += rows)
            for (int64_t k = 0; k < s->sources; k += sources)
                TRY(call_scan(s, o, smaller(outer, s->outer - o), k, smaller(sources, s->sources - k), r,
                              smaller(rows, s->rows - r)));
    return TUFF_OK;
}

enum { SORT_LANES = 256, SORT_BLOCK = 512, SORT = 0, MERGE, EXCHANGE, CHUNKS = 0, JOIN };

static uint64_t entries_of(const scattering *s) {
    return (uint64_t)(s->shared ? s->sources : s->outer * s->sources * s->inner);
}

static tuff_result sort_pairs(const scattering *s, const view *index, const view *pairs, uint64_t padded) {
    kernel_call call = { .kernel = KERNEL_SCATTER_SORT, .constant_count = 1, .operand_count = 2, .param_count = 8 };
    const uint32_t params[] = { (uint32_t)entries_of(s), (uint32_t)s->sources, s->shared ? 1 : (uint32_t)s->inner,
                                (uint32_t)s->rows, s->skip };
    memcpy(call.params, params, sizeof params);
    call.operands[0] = lowering_operand(s->lowering, index, ACCESS_READ, &call.params[5]);
    call.operands[1] = lowering_operand(s->lowering, pairs, ACCESS_WRITE, NULL);
    flat_groups(&call, padded / 2, SORT_LANES);
    TRY(lowering_call(s->lowering, &call));
    call.operands[1].access = ACCESS_READ | ACCESS_WRITE;
    for (uint64_t width = 2 * SORT_BLOCK; width <= padded; width *= 2) {
        call.params[6] = (uint32_t)width;
        call.constants[0] = EXCHANGE;
        for (uint64_t distance = width / 2; distance >= SORT_BLOCK; distance /= 2) {
            call.params[7] = (uint32_t)distance;
            TRY(lowering_call(s->lowering, &call));
        }
        call.constants[0] = MERGE;
        TRY(lowering_call(s->lowering, &call));
    }
    return TUFF_OK;
}

static tuff_result fill_zero(lowering *lowering, const view *y, const char *label) {
    static const chain zero = { .steps = { { .op = CHAIN_COPY, .a = CHAIN_CONSTANT } },
                                .step_count = 1,
                                .constant_count = 1,
                                .outputs = { CHAIN_STEP },
                                .output_count = 1 };
    return lower_chain_over(lowering, &zero, &y->shape, NULL, &y, label);
}

static tuff_result lower_sorted(const scattering *s, const char *label) {
    uint64_t entries = entries_of(s), padded = SORT_BLOCK, chunk = 32;
    while (padded < entries) padded *= 2;
    while (chunk * chunk < entries) chunk *= 2;
    uint64_t chunks = (entries + chunk - 1) / chunk, features = s->shared ? (uint64_t)(s->outer * s->inner) : 1;
    view index = *s->index, pairs, parts;
    index.shape = TUFF_SHAPE((int64_t)entries);
    index.strides[0] = 1;
    TRY(lowering_scratch(s->lowering, padded * 2, "pairs", &pairs));
    TRY(lowering_scratch(s->lowering, 2 * chunks * features, "parts", &parts));
    TRY(sort_pairs(s, &index, &pairs, padded));
    TRY(fill_zero(s->lowering, s->y, label));
    view x = part_of(s, s->x, s->sources, 0, 0, s->outer, s->sources);
    view y = part_of(s, s->y, s->rows, 0, 0, s->outer, s->rows);
    for (uint32_t stage = CHUNKS; stage <= JOIN; stage++) {
        uint32_t firsts[2];
        kernel_call call = { .kernel = s->width == 4 ? KERNEL_SCATTER_SUM_4 : KERNEL_SCATTER_SUM_1,
                             .constants = { stage, !s->shared },
                             .constant_count = 2,
                             .operands = { lowering_operand(s->lowering, &pairs, ACCESS_READ, NULL),
                                           lowering_operand(s->lowering, &x, ACCESS_READ, &firsts[0]),
                                           lowering_operand(s->lowering, &y, ACCESS_WRITE, &firsts[1]),
                                           lowering_operand(s->lowering, &parts,
                                                            stage == CHUNKS ? ACCESS_WRITE : ACCESS_READ, NULL) },
                             .operand_count = 4,
                             .param_count = 9 };
        uint64_t invocations = chunks * features / s->width;
        const uint32_t params[] = {
            (uint32_t)invocations,         (uint32_t)entries,    (uint32_t)chunk,   (uint32_t)features / s->width,
            (uint32_t)s->inner / s->width, (uint32_t)s->sources, (uint32_t)s->rows, firsts[0] / s->width,
            firsts[1] / s->width
        };
        memcpy(call.params, params, sizeof params);
        flat_groups(&call, invocations, LANES);
        TRY(lowering_call(s->lowering, &call));
    }
    return TUFF_OK;
}

/* Long lists of indices are sorted on GPUs, where scanning one after the other is what takes time; a driver for the
 * CPU has no more invocations at work than a scan keeps busy. "scatter=scan" and "scatter=sort" force either. */
static bool is_sorted(const scattering *s) {
    const char *force = device_force(lowering_device(s->lowering), "scatter");
    uint64_t most = bindable_elements(s->lowering), entries = entries_of(s);
    uint64_t features = s->shared ? (uint64_t)(s->outer * s->inner) : 1;
    if (entries > UINT64_C(1) << 28 || entries * 4 > most) return false; /* pairs of a power of two must fit */
    if ((uint64_t)(s->outer * s->inner) * (uint64_t)(s->sources > s->rows ? s->sources : s->rows) > most) return false;
    if (entries / 32 * 2 * features + 2 * features > most) return false;
    if (force) return strcmp(force, "sort") == 0;
    return !device_get_limits(lowering_device(s->lowering))->cpu && s->sources > 8192;
}

static tuff_result lower_scatter(lowering *lowering, const node *node) {
    const attribute_value *a = node->attributes;
    scattering s = { .lowering = lowering,
                     .index = lowering_view(lowering, node->inputs[1]),
                     .x = lowering_view(lowering, node->inputs[0]),
                     .y = lowering_view(lowering, node->outputs[0]),
                     .outer = 1,
                     .sources = 1,
                     .rows = a[SCATTER_ROWS].i,
                     .inner = 1,
                     .shared = a[SCATTER_SHARED].i,
                     .skip = (uint32_t)a[SCATTER_SKIP].i,
                     .width = 1 };
    for (uint32_t i = 0; i < s.x->shape.rank; i++) {
        int64_t dim = a[SCATTER_DIM].i, *size = i < dim ? &s.outer : i == dim ? &s.sources : &s.inner;
        *size *= s.x->shape.sizes[i];
    }
    if (s.shared && wide_allowed(lowering) && s.inner % 4 == 0 && s.x->offset % 4 == 0 && s.y->offset % 4 == 0)
        s.width = 4;
    return is_sorted(&s) ? lower_sorted(&s, node->label) : lower_scan(&s);
}

static tuff_result infer_scatter(inference *inference) {
    const node *node = inference->node;
    inference->shapes[0] = node->inputs[0]->shape;
    if (node->inputs[0]->shape.rank)
        inference->shapes[0].sizes[node->attributes[SCATTER_DIM].i] = node->attributes[SCATTER_ROWS].i;
    return TUFF_OK;
}

static const operator operator_scatter_rows = { .name = "scatter_rows",
                                                .flags = OPERATOR_INTERNAL,
                                                .formula = "y[r] = sum of x[k] over index[k] = r, along dim",
                                                .inputs = { "input", "index" },
                                                .types = { TYPE_F32, TYPE_I32 },
                                                .attributes = scatter_attributes,
                                                .attribute_count = 4,
                                                .infer = infer_scatter,
                                                .input_layouts = { LAYOUT_ROW_MAJOR, LAYOUT_ROW_MAJOR },
                                                .output_layout = LAYOUT_ROW_MAJOR,
                                                .lower = lower_scatter };

static tuff_result infer_scatter_like(inference *inference) {
    inference->shapes[0] = inference->node->inputs[2]->shape;
    return TUFF_OK;
}

/* What x does not reach of the other axes is zero. */
static tuff_result expand_scatter_like(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                       tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *x = inputs[0];
    const tuff_shape *like = &inputs[2]->shape;
    attribute_value a[4] = { node->attributes[0], node->attributes[1], node->attributes[2] };
    tuff_pad_desc pad = { .mode = TUFF_PAD_CONSTANT };
    bool pads = false;
    a[SCATTER_DIM].i = axis_of(a[SCATTER_DIM].i, like->rank);
    a[SCATTER_ROWS].i = like->rank ? like->sizes[a[SCATTER_DIM].i] : 1;
    for (uint32_t i = 0; i < like->rank; i++) {
        if (i == a[SCATTER_DIM].i) continue;
        pad.pad[2 * (like->rank - 1 - i) + 1] = like->sizes[i] - x->shape.sizes[i];
        pads = pads || like->sizes[i] != x->shape.sizes[i];
    }
    outputs[0] = apply_binary(&operator_scatter_rows, x, inputs[1], a);
    if (pads) outputs[0] = tuff_pad(outputs[0], &pad);
    return graph->result;
}

static const operator operator_scatter_like = { .name = "scatter_like",
                                                .flags = OPERATOR_INTERNAL,
                                                .formula = "zeros of like's shape, and sums of x by index along dim",
                                                .inputs = { "input", "index", "like" },
                                                .types = { TYPE_F32, TYPE_I32, TYPE_ANY },
                                                .shape_only = 1 << 2,
                                                .attributes = scatter_attributes,
                                                .attribute_count = 3,
                                                .infer = infer_scatter_like,
                                                .expand = expand_scatter_like };

tuff_tensor *scatter_like(tuff_tensor *x, tuff_tensor *index, tuff_tensor *like, int64_t dim, bool shared,
                          int64_t skip) {
    tuff_tensor *inputs[] = { x, index, like };
    const attribute_value attributes[] = {
        [SCATTER_DIM] = { .i = dim }, [SCATTER_SHARED] = { .i = shared }, [SCATTER_SKIP] = { .i = skip }
    };
    return x && index && like ? graph_apply(x->graph, &operator_scatter_like, inputs, 3, attributes, NULL) : NULL;
}

static const operator* const rows[] = { &operator_gather_rows, &operator_scatter_rows, &operator_scatter_like };
const operator_family family_scatter = { rows, sizeof rows / sizeof *rows };
