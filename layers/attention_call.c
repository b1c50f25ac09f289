/* Lowering attention: where its operands lie, and the calls.
 *
 * Tensors are (batch axes, heads, rows, features). Batch axes that every operand steps through evenly are counted as
 * one, the kernels' z; over the others (a mask that is broadcast between two of them) and over slices of what one
 * binding cannot span, the host calls several times. */
#include "layers/attention.h"

#include "layers/flat.h"

#include <math.h>

enum { TILE = 64, ROWS_OF_LANE = 4, MOST_OPERANDS = 8, MOST_AXES = TUFF_MAX_RANK };

/* A tensor in kernels' terms. Strides are 0 along what is broadcast. */
typedef struct operand_view {
    view view;
    int64_t row, column, head, batch; /* batch: of the axes that are counted as one */
    int64_t axes[MOST_AXES];          /* the batch axes, the fastest first */
    bool whole;                       /* bound as it is: rows are found by their number */
} operand_view;

typedef struct attention {
    lowering *lowering;
    const node *node;
    int64_t queries, keys, features, value_features, heads, group;
    bool masked, causal, cached;
    float scale, dropout;
    operand_view operands[MOST_OPERANDS]; /* by binding */
    uint32_t operand_count;
    int64_t axes[MOST_AXES];     /* the sizes of the batch axes, the fastest first */
    uint32_t axis_count, joined; /* of which the kernels count these as one */
    int64_t batch;               /* their product */
} attention;

/* An operand of the rank of the query, or less (the mask). `heads` of it may be fewer than the query's. */
static void add_operand(attention *a, const view *view) {
    operand_view *operand = &a->operands[a->operand_count++];
    *operand = (operand_view){ .view = *view };
    int64_t strides[TUFF_MAX_RANK] = { 0 }; /* the fastest axis first */
    for (uint32_t i = 0; i < view->shape.rank; i++) {
        uint32_t axis = view->shape.rank - 1 - i;
        strides[i] = view->shape.sizes[axis] > 1 ? view->strides[axis] : 0;
    }
    operand->column = strides[0];
    operand->row = strides[1];
    operand->head = strides[2];
    for (uint32_t i = 0; i < a->axis_count; i++) operand->axes[i] = strides[3 + i];
}

static void add_whole(attention *a, const view *view) {
    a->operands[a->operand_count++] = (operand_view){ .view = *view, .whole = true };
}

static void begin(attention *a, lowering *lowering, const node *node) {
    const tuff_shape *q = &node->inputs[ATTENTION_QUERY]->shape, *k = &node->inputs[ATTENTION_KEY]->shape;
    const tuff_shape *v = &node->inputs[ATTENTION_VALUE]->shape;
    uint32_t rank = q->rank;
    *a = (attention){ .lowering = lowering,
                      .node = node,
                      .queries = q->sizes[rank - 2],
                      .features = q->sizes[rank - 1],
                      .keys = k->sizes[rank - 2],
                      .value_features = v->sizes[rank - 1],
                      .heads = rank > 2 ? q->sizes[rank - 3] : 1,
                      .masked = node->inputs[ATTENTION_MASK] != NULL,
                      .causal = node->attributes[ATTENTION_CAUSAL].i != 0,
                      .cached = node->attributes[ATTENTION_CACHED].i != 0,
                      .scale = (float)node->attributes[ATTENTION_SCALE].f,
                      .dropout = (float)node->attributes[ATTENTION_DROPOUT].f,
                      .axis_count = rank > 3 ? rank - 3 : 0 };
    a->group = rank > 2 ? a->heads / k->sizes[rank - 3] : 1;
    if (a->scale == 0) a->scale = (float)(1 / sqrt((double)a->features));
    for (uint32_t i = 0; i < a->axis_count; i++) a->axes[i] = q->sizes[rank - 4 - i];
    for (uint32_t i = ATTENTION_QUERY; i <= ATTENTION_MASK; i++) {
        /* without a mask the query stands in its binding, which nobody reads */
        const tuff_tensor *input = node->inputs[i] ? node->inputs[i] : node->inputs[ATTENTION_QUERY];
        add_operand(a, lowering_view(lowering, input));
    }
}

/* The batch axes that are one, the fastest ones. */
static void join(attention *a) {
    a->batch = 1;
    for (a->joined = 0; a->joined < a->axis_count; a->joined++) {
        bool even = true;
        for (uint32_t i = 0; i < a->operand_count; i++) {
            operand_view *operand = &a->operands[i];
            int64_t stride = operand->axes[a->joined];
            if (a->axes[a->joined] == 1) continue;
            if (a->batch == 1)
                operand->batch = stride;
            else if (stride != operand->batch * a->batch)
                even = false;
        }
        if (!even) break;
        a->batch *= a->axes[a->joined];
    }
}

/* How many of the joined batch every operand's binding can span. */
static int64_t batch_that_fits(const attention *a) {
    int64_t fit = smaller(a->batch, MAX_GROUPS);
    for (uint32_t i = 0; i < a->operand_count; i++) {
        int64_t stride = a->operands[i].batch;
        if (stride > 0) fit = smaller(fit, (int64_t)(bindable_elements(a->lowering) / (uint64_t)stride));
    }
    return fit < 1 ? 1 : fit;
}

/* The elements from the first to the last that `batch` of an operand reach. */
static view part_of(const operand_view *operand, int64_t batch) {
    view part = operand->view;
    uint32_t rank = part.shape.rank;
    if (operand->whole) return part;
    for (uint32_t i = 0; i + 3 < rank; i++) part.shape.sizes[i] = 1;
    if (operand->batch > 0 && rank > 3) {
        part.shape.sizes[rank - 4] = batch;
        part.strides[rank - 4] = operand->batch;
    }
    return part;
}

/* One run of a kernel over `batch` of the batch from `batch_begin` on; `started`: an earlier one has been at the same
 * elements of the last operand. */
typedef struct pass {
    enum kernel_id kernel;
    uint32_t own; /* rows that a workgroup owns */
    uint32_t access[MOST_OPERANDS];
    bool step_record; /* bound at 6 */
    bool by_keys;     /* a workgroup owns keys, not queries */
    bool of_mask;     /* invocations own the mask's elements */
    /* By rows, the others come in parts where a driver ends long loops. */
    bool row;
    enum kernel_id texels; /* of a row kernel: the one for features in whole fours, where texels may be fetched */
    uint32_t begin_param;  /* of a part's first row */
    int64_t part;          /* rows; 0: all at once */
} pass;

enum { FIRSTS = 8, OTHER = 8 }; /* of the push constants; rows that a lane takes at a time */

/* Whether the features that a row kernel reads and writes lie in whole fours. */
static bool in_fours(const attention *a, const pass *pass, const uint32_t *firsts) {
    bool fours = pass->row && a->features % 4 == 0 && a->value_features % 4 == 0;
    for (uint32_t i = ATTENTION_QUERY; i <= ATTENTION_VALUE; i++) {
        const operand_view *operand = &a->operands[i];
        fours = fours && operand->column == 1 && operand->row % 4 == 0 && operand->head % 4 == 0
                && operand->batch % 4 == 0 && firsts[i] % 4 == 0;
    }
    /* the output, or its gradient and the results; 0 where a kernel has no such operand */
    return fours && firsts[4] % 4 == 0 && firsts[6] % 4 == 0 && firsts[7] % 4 == 0;
}

static tuff_result call(const attention *a, const pass *pass, const uint64_t *offsets, int64_t batch_begin,
                        int64_t batch, bool started, int64_t part_begin) {
    kernel_call call = { .kernel = pass->kernel,
                         .constants = { a->masked, a->causal, a->dropout > 0, pass->of_mask ? started : a->cached,
                                        device_get_limits(lowering_device(a->lowering))->subgroup_size },
                         .constant_count = pass->of_mask ? 4
                                           : pass->row   ? 6
                                                         : 5,
                         .operand_count = a->operand_count,
                         .param_count = 32 };
    uint32_t firsts[MOST_OPERANDS] = { 0 };
    for (uint32_t i = 0; i < a->operand_count; i++) {
        view part = part_of(&a->operands[i], batch);
        part.offset += offsets[i];
        uint32_t access = started && pass->of_mask && i == 6 ? ACCESS_READ | ACCESS_WRITE : pass->access[i];
        call.operands[i] = lowering_operand(a->lowering, &part, access, &firsts[i]);
    }
    if (pass->step_record) call.operands[call.operand_count++] = lowering_step_record(a->lowering);
    const uint32_t params[] = {
        (uint32_t)a->queries,
        (uint32_t)a->keys,
        (uint32_t)a->features | (uint32_t)a->value_features << 16,
        (uint32_t)a->heads | (uint32_t)a->group << 16,
        0,
        0,
        a->node->name_hash,
        (uint32_t)batch_begin,
    };
    memcpy(call.params, params, sizeof params);
    memcpy(&call.params[4], &a->scale, 4);
    memcpy(&call.params[5], &a->dropout, 4);
    call.constants[5] = (uint32_t)pass->part;
    if (texels_allowed(a->lowering) && in_fours(a, pass, firsts)) call.kernel = pass->texels;
    memcpy(&call.params[FIRSTS], firsts, sizeof firsts);
    if (pass->row) call.params[pass->begin_param] = (uint32_t)part_begin;
    if (pass->of_mask) call.params[15] = (uint32_t)batch;
    for (uint32_t i = ATTENTION_QUERY; i <= ATTENTION_MASK; i++) {
        const operand_view *operand = &a->operands[i];
        const int64_t strides[] = { operand->row, operand->column, operand->head, operand->batch };
        for (uint32_t k = 0; k < 4; k++) call.params[16 + 4 * i + k] = (uint32_t)strides[k];
    }
    if (pass->of_mask) {
        const operand_view *mask = &a->operands[ATTENTION_MASK];
        flat_groups(&call,
                    (uint64_t)(mask->column ? a->keys : 1) * (uint64_t)(mask->row ? a->queries : 1)
                        * (uint64_t)(mask->head ? a->heads : 1) * (uint64_t)(mask->batch ? batch : 1),
                    64);
    } else {
        int64_t own = pass->by_keys ? a->keys : a->queries;
        call.groups[0] = (uint32_t)((own + pass->own - 1) / pass->own);
        call.groups[1] = (uint32_t)(pass->by_keys ? a->heads / a->group : a->heads);
        call.groups[2] = (uint32_t)batch;
    }
    /* a score or its gradient, and what it adds to a row */
    uint64_t pairs = (uint64_t)(a->queries * a->keys * a->heads * batch);
    call.work = 2 * pairs * (uint64_t)(a->features + a->value_features);
    return lowering_call(a->lowering, &call);
}

/* Every call of a pass: over the batch axes that are not joined, and over slices. */
static tuff_result call_all(attention *a, const pass *pass) {
    join(a);
    int64_t fit = batch_that_fits(a), at[MOST_AXES] = { 0 }, outer = 0;
    for (;; outer++) {
        bool broadcast_again = false; /* the last operand (the mask's gradient) was written at these elements */
        uint64_t offsets[MOST_OPERANDS] = { 0 };
        for (uint32_t x = a->joined; x < a->axis_count; x++) {
            for (uint32_t i = 0; i < a->operand_count; i++) offsets[i] += (uint64_t)(at[x] * a->operands[i].axes[x]);
            broadcast_again |= at[x] > 0 && a->operands[a->operand_count - 1].axes[x] == 0;
        }
        for (int64_t begin = 0; begin < a->batch; begin += fit) {
            uint64_t here[MOST_OPERANDS];
            for (uint32_t i = 0; i < a->operand_count; i++)
                here[i] = offsets[i] + (uint64_t)(begin * a->operands[i].batch);
            bool started = broadcast_again || (begin > 0 && a->operands[a->operand_count - 1].batch == 0);
            int64_t walked = pass->by_keys ? a->queries : a->keys, part = pass->part ? pass->part : walked;
            for (int64_t from = 0; from < walked; from += part)
                TRY(call(a, pass, here, outer * a->batch + begin, smaller(fit, a->batch - begin), started, from));
        }
        uint32_t x = a->joined;
        while (x < a->axis_count && ++at[x] == a->axes[x]) at[x++] = 0;
        if (x == a->axis_count) return TUFF_OK;
    }
}

/* ---- variants ------------------------------------------------------------------------------------ */

typedef struct variants {
    enum kernel_id row, texels, tiles[3]; /* tiles: for heads of up to 64, 128, 256 features */
} variants;

/* An invocation's loops: over blocks of rows, in each over features, counted generously. By tiles there are no parts.
 */
static tuff_result choose_part(const attention *a, pass *pass) {
    uint64_t features = (uint64_t)(a->features + a->value_features), allowed = turns_allowed(a->lowering);
    uint64_t walked = (uint64_t)(pass->by_keys ? a->queries : a->keys), heads = pass->by_keys ? (uint64_t)a->group : 1;
    uint64_t block = features * (pass->by_keys || pass->begin_param != FIRSTS + 6 ? 3 : 2) + 8,
             once = 4 * features + 16;
    uint64_t blocks = allowed > once ? (allowed - once) / (block * heads) : 0, needed = (walked + OTHER - 1) / OTHER;
    if (!pass->row) return turns_check(a->lowering, a->node, once + block * heads * needed);
    if (blocks == 0) return turns_check(a->lowering, a->node, once + block * heads);
    pass->part = blocks < needed ? (int64_t)(blocks * OTHER) : 0;
    return TUFF_OK;
}

/* Drivers for the CPU get rows, where they can shuffle, all others tiles; "attention=row" or "attention=tile" forces
 * one. */
static tuff_result choose(const attention *a, const variants *variants, int64_t features, pass *pass) {
    const tuff_device *device = lowering_device(a->lowering);
    const device_limits *limits = device_get_limits(device);
    const char *force = device_force(device, "attention");
    uint32_t lanes = limits->subgroup_size;
    bool can = limits->subgroup_shuffle && lanes >= 8 && lanes <= 128 && (lanes & (lanes - 1)) == 0;
    bool row = force ? strcmp(force, "row") == 0 : limits->cpu && can;
    if (row && !can)
        return error_set(TUFF_ERROR_UNSUPPORTED, "the forced variant 'attention=row' cannot run on this device: it "
                                                 "needs shuffles in subgroups of 8 to 128");
    pass->kernel = row ? variants->row : variants->tiles[features <= 64 ? 0 : features <= 128 ? 1 : 2];
    pass->own = row ? lanes * ROWS_OF_LANE : TILE;
    pass->row = row;
    pass->texels = variants->texels;
    TRY(choose_part(a, pass));
    /* rows' sums grow in the results */
    for (uint32_t i = 0; row && i < MOST_OPERANDS; i++)
        if (pass->access[i] == ACCESS_WRITE) pass->access[i] |= ACCESS_READ;
    return TUFF_OK;
}

tuff_result attention_lower(lowering *lowering, const node *node) {
    attention a;
    begin(&a, lowering, node);
    add_operand(&a, lowering_view(lowering, node->outputs[0]));
    /* (..., L) as (..., L, 1), so that its axes stand as the others' do */
    view log_sum = *lowering_view(lowering, node->outputs[1]);
    log_sum.strides[log_sum.shape.rank] = 1;
    log_sum.shape.sizes[log_sum.shape.rank++] = 1;
    add_operand(&a, &log_sum);
    static const variants variants = {
        KERNEL_ATTENTION_ROW,
        KERNEL_ATTENTION_ROW_TEXELS,
        { KERNEL_ATTENTION_TILE_64, KERNEL_ATTENTION_TILE_128, KERNEL_ATTENTION_TILE_256 },
    };
    pass pass = { .access = { ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_WRITE, ACCESS_WRITE },
                  .step_record = true,
                  .begin_param = FIRSTS + 6 };
    TRY(choose(&a, &variants, a.value_features, &pass));
    return call_all(&a, &pass);
}

static void add_backward(attention *a) {
    add_operand(a, lowering_view(a->lowering, a->node->inputs[ATTENTION_GRADIENT]));
    add_whole(a, lowering_view(a->lowering, a->node->inputs[ATTENTION_STATISTICS]));
}

tuff_result attention_lower_query(lowering *lowering, const node *node) {
    attention a;
    begin(&a, lowering, node);
    add_backward(&a);
    add_operand(&a, lowering_view(lowering, node->outputs[0]));
    static const variants variants = { KERNEL_ATTENTION_QUERY_ROW,
                                       KERNEL_ATTENTION_QUERY_ROW_TEXELS,
                                       { KERNEL_ATTENTION_QUERY_TILE_64, KERNEL_ATTENTION_QUERY_TILE_128,
                                         KERNEL_ATTENTION_QUERY_TILE_256 } };
    pass pass = { .access = { ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ,
                              ACCESS_WRITE },
                  .begin_param = FIRSTS + 7 };
    TRY(choose(&a, &variants, a.features, &pass));
    return call_all(&a, &pass);
}

tuff_result attention_lower_key_value(lowering *lowering, const node *node) {
    attention a;
    begin(&a, lowering, node);
    add_backward(&a);
    add_operand(&a, lowering_view(lowering, node->outputs[0]));
    add_operand(&a, lowering_view(lowering, node->outputs[1]));
    static const variants variants = { KERNEL_ATTENTION_KEY_VALUE_ROW,
                                       KERNEL_ATTENTION_KEY_VALUE_ROW_TEXELS,
                                       { KERNEL_ATTENTION_KEY_VALUE_TILE_64, KERNEL_ATTENTION_KEY_VALUE_TILE_128,
                                         KERNEL_ATTENTION_KEY_VALUE_TILE_256 } };
    int64_t most = a.features > a.value_features ? a.features : a.value_features;
    pass pass = { .by_keys = true,
                  .begin_param = FIRSTS + 5,
                  .access = { ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ,
                              ACCESS_WRITE, ACCESS_WRITE } };
    TRY(choose(&a, &variants, most, &pass));
    return call_all(&a, &pass);
}

tuff_result attention_lower_mask(lowering *lowering, const node *node) {
    attention a;
    begin(&a, lowering, node);
    add_backward(&a);
    add_operand(&a, lowering_view(lowering, node->outputs[0]));
    const operand_view *mask = &a.operands[ATTENTION_MASK];
    uint64_t pairs = (mask->row ? 1 : (uint64_t)a.queries) * (mask->column ? 1 : (uint64_t)a.keys);
    for (uint32_t i = 0; i < a.axis_count; i++) pairs *= mask->axes[i] ? 1 : (uint64_t)a.axes[i];
    pairs *= mask->head ? 1 : (uint64_t)a.heads;
    TRY(turns_check(lowering, node, pairs * (2 + (uint64_t)(a.features + a.value_features) * 17 / 16)));
    return call_all(&a, &(pass){ .kernel = KERNEL_ATTENTION_MASK,
                                 .of_mask = true,
                                 .access = { ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ, ACCESS_READ,
                                             ACCESS_READ, ACCESS_WRITE } });
}

/* The rows of (..., L, features) as a matrix; of (..., L) as a list. */
static view as_rows(const view *from, int64_t features) {
    view rows = *from;
    int64_t count = view_count(from) / features;
    rows.shape = features > 1 ? TUFF_SHAPE(count, features) : TUFF_SHAPE(count);
    rows.strides[0] = features;
    rows.strides[1] = 1;
    return rows;
}

tuff_result attention_lower_statistics(lowering *lowering, const node *node) {
    const view *gradient = lowering_view(lowering, node->inputs[0]);
    int64_t features = gradient->shape.sizes[gradient->shape.rank - 1], count = view_count(gradient) / features;
    const tuff_tensor *log_sum_gradient = node->inputs[3] ? node->inputs[3] : node->inputs[2];
    view rows[] = { as_rows(gradient, features), as_rows(lowering_view(lowering, node->inputs[1]), features),
                    as_rows(lowering_view(lowering, node->inputs[2]), 1),
                    as_rows(lowering_view(lowering, log_sum_gradient), 1) };
    int64_t step = steps_that_fit(lowering, &rows[0]);
    for (int64_t begin = 0; begin < count; begin += step) {
        int64_t part = smaller(step, count - begin);
        view parts[4];
        for (uint32_t i = 0; i < 4; i++) parts[i] = view_part(&rows[i], begin, part);
        uint32_t firsts[5];
        kernel_call call = {
            .kernel = KERNEL_ATTENTION_STATISTICS,
            .constants = { node->inputs[3] != NULL },
            .constant_count = 1,
            .operands = { lowering_operand(lowering, &parts[0], ACCESS_READ, &firsts[0]),
                          lowering_operand(lowering, &parts[1], ACCESS_READ, &firsts[1]),
                          lowering_operand(lowering, &parts[2], ACCESS_READ, &firsts[2]),
                          lowering_step_record(lowering),
                          lowering_operand(lowering, lowering_view(lowering, node->outputs[0]), ACCESS_WRITE,
                                           &firsts[3]),
                          lowering_operand(lowering, &parts[3], ACCESS_READ, &firsts[4]) },
            .operand_count = 6,
            .params = { (uint32_t)part, (uint32_t)features, (uint32_t)begin, firsts[0], firsts[1], firsts[2], firsts[3],
                        firsts[4] },
            .param_count = 8,
        };
        flat_groups(&call, (uint64_t)part, 64);
        TRY(lowering_call(lowering, &call));
    }
    return TUFF_OK;
}
