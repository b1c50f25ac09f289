/* The kernel of softmax, its logarithm and their gradients (shaders/reduction/softmax_rows.comp), which walks over
 * rows: a chain before it, a scale and a mask, is computed on the way. */
#include "layers/axes.h"
#include "layers/chain.h"
#include "layers/reduce.h"
#include "layers/rows.h"
#include "layers/softmax.h"
#include "runtime/model/model.h"
#include "runtime/program/view.h"

/* Shared with the shader. */
enum { TENSORS = REDUCE_TENSORS, INPUTS = REDUCE_INPUTS, RECORD_BINDING = TENSORS };
enum { MANY_ROWS = 4096 };
typedef enum softmax_kind { SOFTMAX = 0, LOG, SOFTMAX_BACKWARD, LOG_BACKWARD } softmax_kind;

enum { DIM = 0, LOGARITHM };
static const attribute rows_attributes[] = {
    [DIM] = { .name = "dim", .type = ATTRIBUTE_INT, .value.i = -1 },
    [LOGARITHM] = { .name = "log", .type = ATTRIBUTE_BOOL },
};

bool softmax_fits_rows(const tuff_graph *graph, const tuff_shape *shape, int64_t dim) {
    const tuff_device *device = graph->model->device;
    uint32_t axis = axis_of(dim, shape->rank);
    uint64_t n = (uint64_t)shape->sizes[axis], rows = (uint64_t)tuff_shape_count(shape) / n, inner = 1;
    for (uint32_t i = axis + 1; i < shape->rank; i++) inner *= (uint64_t)shape->sizes[i];
    /* few and long rows fill a device only if workgroups share them */
    bool few = rows < 16 && n >= 16384;
    return !few && n * inner <= bindable_on(device) && ROW_WALKS * n <= device_get_limits(device)->loop_turns;
}

/* ---- kernels ------------------------------------------------------------------------------------- */

typedef struct softmax {
    lowering *lowering;
    const node *node;
    softmax_kind kind;
    chain chain;
    view views[TENSORS]; /* the result, then inputs */
    uint64_t begin[TENSORS];
    loops rows, row; /* the row's is one loop, even of one turn */
} softmax;

/* reduce_fits_wide for the result, which is stored four at a time as well. */
static bool lies_together(const loops *along, const loops *other, const uint32_t *first) {
    if (along->strides[0][0] != 1 || first[0] % 4 != 0) return false;
    for (uint32_t d = 1; d < along->rank; d++)
        if (along->strides[d][0] % 4 != 0) return false;
    for (uint32_t d = 0; d < other->rank; d++)
        if (other->strides[d][0] % 4 != 0) return false;
    return true;
}

/* The loop along which a tensor spans most. */
static uint32_t widest_loop(const loops *loops, uint32_t t) {
    uint32_t widest = 0;
    for (uint32_t d = 1; d < loops->rank; d++)
        if (loops->strides[d][t] * (loops->sizes[d] - 1) > loops->strides[widest][t] * (loops->sizes[widest] - 1))
            widest = d;
    return widest;
}

/* Loops of one turn: the kernel divides by sizes, and cannot by 1. */
static void drop_ones(loops *loops) {
    uint32_t kept = 0;
    for (uint32_t d = 0; d < loops->rank; d++) {
        if (loops->sizes[d] == 1) continue;
        loops->sizes[kept] = loops->sizes[d];
        memmove(loops->strides[kept++], loops->strides[d], sizeof loops->strides[d]);
    }
    loops->rank = kept;
}

static tuff_result run(const softmax *s) {
    uint32_t inputs = s->chain.input_count, first[TENSORS] = { 0 };
    kernel_call call = { .label = s->node->label, .operand_count = RECORD_BINDING + 1, .takes_bytes = true };
    for (uint32_t t = 0; t <= inputs; t++) {
        view part = loops_view(&s->views[t], s->begin[t], &s->rows, &s->row, t);
        call.operands[t] = lowering_operand(s->lowering, &part, t ? ACCESS_READ : ACCESS_WRITE, &first[t]);
        if (view_span(&part) <= bindable_elements(s->lowering)) continue;
        uint32_t d = widest_loop(&s->rows, t);
        uint64_t size = s->rows.rank ? s->rows.sizes[d] : 1,
                 lower = size >= 8 ? (size / 2 + 3) & ~UINT64_C(3) : size / 2;
        if (size < 2) continue; /* lowering_call says how much it is */
        softmax half = *s, rest = *s;
        half.rows.sizes[d] = lower;
        rest.rows.sizes[d] = size - lower;
        for (uint32_t i = 0; i < TENSORS; i++) rest.begin[i] += lower * s->rows.strides[d][i];
        drop_ones(&half.rows);
        drop_ones(&rest.rows);
        TRY(run(&half));
        return run(&rest);
    }
    for (uint32_t t = inputs + 1; t < TENSORS; t++) call.operands[t] = call.operands[0];

    uint64_t rows = loops_count(&s->rows), n = s->row.sizes[0];
    cover c = cover_rows(s->lowering, (int64_t)rows, (int64_t)n);
    bool by_row = s->rows.rank == 0 || s->row.strides[0][0] <= s->rows.strides[0][0];
    if (c.lanes > 1 && !by_row && rows >= MANY_ROWS && !device_force(lowering_device(s->lowering), "reduce"))
        c.lanes = 1; /* enough rows that lie side by side: their lanes read side by side, those of one row would not */
    by_row = by_row || c.lanes > 1;
    const loops *along = by_row ? &s->row : &s->rows, *other = by_row ? &s->rows : &s->row;
    uint32_t levels = 0;
    bool wide = wide_allowed(s->lowering) && reduce_fits_wide(along, other, inputs, first, &levels)
                && lies_together(along, other, first);
    if (!wide) levels = 0;
    if (wide) bind_whole_fours(&call, 0, inputs + 1);
    for (uint32_t i = 0; i < inputs; i++) levels |= (uint32_t)(s->views[i + 1].type == TUFF_U8) << (8 + i);
    call.kernel = !wide                         ? KERNEL_SOFTMAX_ROWS
                  : texels_allowed(s->lowering) ? KERNEL_SOFTMAX_ROWS_TEXELS
                                                : KERNEL_SOFTMAX_ROWS_WIDE;

    uint32_t words[(TUFF_MAX_RANK + 1) * LOOP_WORDS] = { 0 }, record;
    loops_words(&s->rows, words);
    loops_words(&s->row, words + s->rows.rank * LOOP_WORDS);
    TRY(lowering_record(s->lowering, words, (s->rows.rank + 1) * LOOP_WORDS, &call.operands[RECORD_BINDING], &record));

    const uint32_t constants[] = {
        c.local, c.lanes, inputs, s->kind, by_row, levels, s->chain.outputs[0], s->chain.step_count
    };
    memcpy(call.constants, constants, sizeof constants);
    call.constant_count = sizeof constants / sizeof *constants;
    for (uint32_t i = 0; i < s->chain.step_count; i++)
        call.constants[call.constant_count++] = chain_word(s->chain.steps[i]);
    uint64_t across = wide && !by_row ? 4 : 1, each = c.local / c.lanes * across;
    uint32_t groups_x = groups_for(&call, (rows + each - 1) / each);
    const uint32_t params[] = { (uint32_t)rows, (uint32_t)n, s->rows.rank, record, groups_x };
    memcpy(call.params, params, sizeof params);
    memcpy(&call.params[5], first, sizeof first);
    memcpy(&call.params[5 + TENSORS], s->chain.constants, s->chain.constant_count * sizeof *s->chain.constants);
    call.param_count = 5 + TENSORS + s->chain.constant_count;
    return lowering_call(s->lowering, &call);
}

static bool row_spans_too_much(const softmax *s, uint32_t t) {
    return s->row.strides[0][t] * (s->row.sizes[0] - 1) + 1 > bindable_elements(s->lowering);
}

/* Tensor t is another one, which lies as the result does. */
static void replace(softmax *s, uint32_t t, const view *by) {
    s->views[t] = *by;
    for (uint32_t d = 0; d < s->rows.rank; d++) s->rows.strides[d][t] = s->rows.strides[d][0];
    s->row.strides[0][t] = s->row.strides[0][0];
}

/* Where a row of an input spans too much for one binding: the chain's value first, where the result will be; of a
 * gradient's two inputs a copy. */
static tuff_result take_apart(softmax *s) {
    const node *node = s->node;
    bool apart = false, backward = s->kind == SOFTMAX_BACKWARD || s->kind == LOG_BACKWARD;
    for (uint32_t t = 1; t <= s->chain.input_count; t++) {
        if (!row_spans_too_much(s, t)) continue;
        apart = true;
        if (!backward) break;
        view copy = s->views[0], scratch;
        TRY(lowering_scratch(s->lowering, (uint64_t)view_count(&copy), "input", &scratch));
        copy.storage = scratch.storage;
        copy.offset = scratch.offset;
        TRY(lower_copy(s->lowering, lowering_view(s->lowering, node->inputs[t - 1]), &copy, node->label));
        replace(s, t, &copy);
    }
    if (!apart || backward) return TUFF_OK;
    static const chain same = { .steps = { { .op = CHAIN_COPY } },
                                .step_count = 1,
                                .input_count = 1,
                                .outputs = { CHAIN_STEP },
                                .output_count = 1 };
    const view *inputs[MAX_INPUTS] = { NULL }, *out = lowering_view(s->lowering, node->outputs[0]);
    for (uint32_t i = 0; i < node->input_count; i++) inputs[i] = lowering_view(s->lowering, node->inputs[i]);
    const chain *first = node->prologue ? node->prologue : &same;
    TRY(lower_chain_over(s->lowering, first, &out->shape, inputs, &out, node->label));
    s->chain = (chain){ .input_count = 1, .output_count = 1 };
    replace(s, 1, out);
    return TUFF_OK;
}

static tuff_result lower_kind(lowering *lowering, const node *node, softmax_kind kind) {
    const view *out = lowering_view(lowering, node->outputs[0]);
    const tuff_shape *shape = &out->shape;
    uint32_t axis = axis_of(node->attributes[DIM].i, shape->rank);
    softmax s = { .lowering = lowering, .node = node, .kind = kind, .views = { *out } };
    uint8_t input_map[MAX_INPUTS] = { 0 };
    s.chain = (chain){ .input_count = node->input_count, .output_count = 1 };
    for (uint32_t i = 0; i < node->input_count; i++) input_map[i] = (uint8_t)i;
    if (node->prologue) {
        s.chain = *node->prologue;
        chain_prune(&s.chain, input_map);
    }
    if (s.chain.input_count > INPUTS || chain_uses_index(&s.chain) || chain_is_random(&s.chain))
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: this chain cannot run before softmax: a bug in fusion",
                         node->label);
    int64_t strides[TENSORS][TUFF_MAX_RANK] = { { 0 } };
    broadcast_strides(out, shape, strides[0]);
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (input_map[i] == 0xff) continue;
        const view *input = lowering_view(lowering, node->inputs[i]);
        s.views[1 + input_map[i]] = *input;
        broadcast_strides(input, shape, strides[1 + input_map[i]]);
    }
    loops_make(&s.rows, shape, ~(1u << axis), strides, TENSORS, 0);
    loops_make(&s.row, shape, 1u << axis, strides, TENSORS, 0);
    if (s.row.rank == 0) s.row = (loops){ .rank = 1, .tensors = TENSORS, .sizes = { 1 } };
    TRY(turns_check(lowering, node, ROW_WALKS * s.row.sizes[0]));
    TRY(take_apart(&s));
    return run(&s);
}

static tuff_result lower_rows(lowering *lowering, const node *node) {
    return lower_kind(lowering, node, node->attributes[LOGARITHM].i ? LOG : SOFTMAX);
}

static tuff_result lower_rows_backward(lowering *lowering, const node *node) {
    return lower_kind(lowering, node, node->attributes[LOGARITHM].i ? LOG_BACKWARD : SOFTMAX_BACKWARD);
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static tuff_result infer_rows(inference *inference) {
    inference->shapes[0] = inference->node->inputs[0]->shape;
    return TUFF_OK;
}

const operator operator_softmax_rows = {
    .name = "softmax_rows",
    .flags = OPERATOR_INTERNAL | OPERATOR_PROLOGUE | OPERATOR_REPEATS
             | OPERATOR_FOLLOWS, /* what is made of it has gradients */
    .formula = "softmax along an axis, or its logarithm, by a kernel that walks over rows",
    .inputs = { "input" },
    .attributes = rows_attributes,
    .attribute_count = 2,
    .infer = infer_rows,
    .lower = lower_rows,
};

const operator operator_softmax_rows_backward = {
    .name = "softmax_rows_backward",
    .flags = OPERATOR_INTERNAL | OPERATOR_FOLLOWS,
    .formula = "y (g - sum g y) along an axis, or g - exp(y) sum g of the logarithm",
    .inputs = { "output", "grad_output" },
    .attributes = rows_attributes,
    .attribute_count = 2,
    .infer = infer_rows,
    .lower = lower_rows_backward,
};
