/* The calls of the reducing kernel (shaders/reduction/reduce.comp): how many parts each output is divided into, which
 * axis neighbouring invocations share, and further passes over partial results. */
#include "layers/reduce.h"

#include "layers/flat.h"
#include "runtime/program/view.h"

#include <string.h>

enum { TENSORS = REDUCE_TENSORS, INPUTS = REDUCE_INPUTS, RECORD_BINDING = TENSORS, GROUP_SIZE = 256 };

typedef struct reduction {
    lowering *lowering;
    const char *label;
    reduce_kind kind;
    float scale;
    chain chain, epilogue; /* without outputs: none */
    uint32_t extras;       /* the epilogue's inputs beside the result: tensors behind the chain's */
    view views[TENSORS];
    uint64_t begin[TENSORS]; /* of this part, in elements */
    loops kept, reduced;
} reduction;

/* How one pass runs. */
typedef struct pass {
    bool by_part; /* neighbours lie along the reduced axes */
    bool wide, group;
    uint32_t levels;
    uint32_t parts;
    uint32_t local;
} pass;

static const chain nothing = { .input_count = 1, .outputs = { 0 }, .output_count = 1 };

/* The input that decides the order: the one with the most elements. */
static uint32_t largest_input(const view *const *inputs, uint32_t count) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (view_count(inputs[i]) > view_count(inputs[best])) best = i;
    return best;
}

bool reduce_fits_wide(const loops *along, const loops *other, uint32_t inputs, const uint32_t *first,
                      uint32_t *levels) {
    if (along->rank == 0 || along->sizes[0] % 4 != 0) return false;
    *levels = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        uint32_t t = i + 1;
        if (along->strides[0][t] == 0) {
            *levels |= 1u << i;
            continue;
        }
        if (along->strides[0][t] != 1 || first[t] % 4 != 0) return false;
        for (uint32_t d = 1; d < along->rank; d++)
            if (along->strides[d][t] % 4 != 0) return false;
        for (uint32_t d = 0; d < other->rank; d++)
            if (other->strides[d][t] % 4 != 0) return false;
    }
    return true;
}

static pass choose_pass(const reduction *r, uint32_t order, const uint32_t *first) {
    tuff_device *device = lowering_device(r->lowering);
    const device_limits *limits = device_get_limits(device);
    uint64_t outputs = loops_count(&r->kept), terms = loops_count(&r->reduced);
    uint64_t kept_stride = r->kept.rank ? r->kept.strides[0][order] : UINT64_MAX;
    uint64_t reduced_stride = r->reduced.rank ? r->reduced.strides[0][order] : UINT64_MAX;
    pass p = { .by_part = reduced_stride < kept_stride && reduced_stride > 0, .parts = 1 };
    const char *group = device_force(device, "reduce");
    /* few terms: sharing a pipeline saves more than the wide one would */
    const char *force_wide = device_force(device, "wide");
    bool few = limits->cpu && outputs * terms < 16384 && !(force_wide && strcmp(force_wide, "1") == 0);
    const loops *along = p.by_part ? &r->reduced : &r->kept, *other = p.by_part ? &r->kept : &r->reduced;
    p.wide =
        !few && wide_allowed(r->lowering) && reduce_fits_wide(along, other, r->chain.input_count, first, &p.levels);
    if (!p.wide) p.levels = 0;
    uint32_t width = p.wide ? 4 : 1;
    uint64_t invocations = p.by_part ? outputs : outputs / width, steps = p.by_part ? terms / width : terms;
    /* a workgroup that shares an output needs shared memory and barriers, which are dear where the CPU runs them */
    p.group = p.by_part && !limits->cpu && steps >= 2 * GROUP_SIZE;
    if (group && p.by_part) p.group = strcmp(group, "group") == 0;
    p.local = p.group ? GROUP_SIZE : 64;
    uint64_t wanted = limits->cpu ? 512 : 65536; /* invocations that fill the device */
    if (p.group) {
        invocations *= GROUP_SIZE;
        steps = (steps + GROUP_SIZE - 1) / GROUP_SIZE;
    }
    const uint64_t least = 16;                           /* terms that make an invocation worth while */
    bool small = limits->cpu && outputs * terms < 32768; /* another pass would cost more than it saves */
    if (invocations < wanted && steps >= 2 * least && !small) {
        uint64_t parts = (wanted + invocations - 1) / invocations;
        if (parts > steps / least) parts = steps / least;
        if (parts > 4096) parts = 4096;
        p.parts = (uint32_t)parts;
        if (p.parts > 4) p.parts &= ~3u; /* the next pass can be wide */
    }
    /* blocks of 8 terms: nine turns of loops. What rounding took from so many blocks is rounded itself as it grows, by
     * 2^-22 of the sum of absolute terms at the most if there are no more */
    const uint64_t exact = 65536;
    uint64_t most = turns_allowed(r->lowering) / 10 * 8, needed;
    if (most > exact) most = exact;
    needed = steps / (most ? most : 1) + 1;
    if (needed > p.parts) p.parts = (uint32_t)needed;
    if (p.parts == 1 && !p.wide && !p.group) p.by_part = false; /* alike, and one pipeline */
    return p;
}

static enum kernel_id choose_kernel(const pass *p, bool texels) {
    if (p->group) return p->wide ? KERNEL_REDUCE_GROUP_WIDE : KERNEL_REDUCE_GROUP;
    return !p->wide ? KERNEL_REDUCE : texels ? KERNEL_REDUCE_TEXELS : KERNEL_REDUCE_WIDE;
}

static view view_of(const reduction *r, uint32_t t) {
    return loops_view(&r->views[t], r->begin[t], &r->kept, &r->reduced, t);
}

static tuff_result run_pass(const reduction *r);

/* The last pass: `parts` partial results for each output, the outputs kept_stride apart. */
static tuff_result run_partial(const reduction *r, const view *partial, uint32_t parts, uint64_t kept_stride,
                               uint64_t part_stride) {
    reduction last = { .lowering = r->lowering,
                       .label = r->label,
                       .kind = r->kind,
                       .scale = r->scale,
                       .chain = nothing,
                       .epilogue = r->epilogue,
                       .extras = r->extras,
                       .views = { r->views[0], *partial },
                       .begin = { r->begin[0] },
                       .kept = r->kept };
    uint32_t extras = 1 + r->chain.input_count;
    for (uint32_t i = 0; i < r->extras; i++) {
        last.views[2 + i] = r->views[extras + i];
        last.begin[2 + i] = r->begin[extras + i];
    }
    uint64_t stride = kept_stride;
    for (uint32_t d = 0; d < last.kept.rank; d++) {
        memset(last.kept.strides[d] + 1, 0, sizeof last.kept.strides[d] - sizeof last.kept.strides[d][0]);
        last.kept.strides[d][1] = stride;
        for (uint32_t i = 0; i < r->extras; i++) last.kept.strides[d][2 + i] = r->kept.strides[d][extras + i];
        stride *= last.kept.sizes[d];
    }
    last.reduced = (loops){ .rank = 1, .tensors = TENSORS, .sizes = { parts }, .strides = { { 0, part_stride } } };
    return run_pass(&last);
}

/* A tensor too large for one binding: the half of its slowest axis, twice. */
static tuff_result run_halves(const reduction *r, uint32_t t) {
    uint64_t outputs = loops_count(&r->kept);
    /* two halves of the terms leave two partial results for each output: those must be bindable, too */
    bool along_kept = loops_slowest_stride(&r->kept, t) >= loops_slowest_stride(&r->reduced, t)
                      || (outputs > 1 && 2 * outputs > bindable_elements(r->lowering));
    reduction half = *r;
    loops *loops = along_kept ? &half.kept : &half.reduced;
    uint32_t d = loops_slowest(loops);
    uint64_t size = loops->sizes[d], lower = (size / 2 + 3) & ~UINT64_C(3);
    if (lower >= size) lower = size / 2;
    view partial = { 0 };
    if (!along_kept) {
        TRY(lowering_scratch(r->lowering, 2 * outputs, "partial", &partial));
        half.scale = 1;
        half.epilogue = (chain){ 0 };
        half.extras = 0;
        half.views[0] = partial;
        half.begin[0] = 0;
        uint64_t stride = 1;
        for (uint32_t k = 0; k < half.kept.rank; k++) {
            half.kept.strides[k][0] = stride;
            stride *= half.kept.sizes[k];
        }
    }
    loops->sizes[d] = lower;
    TRY(run_pass(&half));
    for (uint32_t i = 0; i < TENSORS; i++) half.begin[i] += lower * loops->strides[d][i];
    if (!along_kept) half.begin[0] = outputs;
    loops->sizes[d] = size - lower;
    TRY(run_pass(&half));
    return along_kept ? TUFF_OK : run_partial(r, &partial, 2, 1, outputs);
}

/* An operand of the chain behind, whose steps and constants stand behind those of the first chain. */
static uint8_t moved(const chain *first, uint8_t operand) {
    if (operand >= CHAIN_STEP) return (uint8_t)(operand + first->step_count);
    return operand >= CHAIN_CONSTANT ? (uint8_t)(operand + first->constant_count) : operand;
}

/* Constants and parameters of the chains; without the one behind where results are partial. */
static void add_chains(const reduction *r, bool whole, kernel_call *call) {
    static const chain none;
    const chain *first = &r->chain, *behind = whole ? &r->epilogue : &none;
    uint32_t *next = call->constants + call->constant_count, *params = call->params + call->param_count;
    *next++ = first->outputs[0];
    *next++ = behind->step_count;
    *next++ = whole ? r->extras : 0;
    *next++ = moved(first, behind->outputs[0]);
    *next++ = first->step_count;
    for (uint32_t i = 0; i < first->step_count; i++) *next++ = chain_word(first->steps[i]);
    for (uint32_t i = 0; i < behind->step_count; i++) {
        const chain_step *s = &behind->steps[i];
        *next++ = chain_word((chain_step){ s->op, moved(first, s->a), moved(first, s->b), moved(first, s->c) });
    }
    call->constant_count = (uint32_t)(next - call->constants);
    memcpy(params, first->constants, first->constant_count * sizeof *params);
    memcpy(params + first->constant_count, behind->constants, behind->constant_count * sizeof *params);
    call->param_count += first->constant_count + behind->constant_count;
}

static tuff_result run_pass(const reduction *r) {
    uint32_t inputs = r->chain.input_count, order = 1;
    kernel_call call = { .label = r->label, .operand_count = RECORD_BINDING + 1 };
    uint32_t first[TENSORS] = { 0 };
    uint64_t largest = 0;
    for (uint32_t t = 1; t <= inputs; t++) {
        view part = view_of(r, t);
        call.operands[t] = lowering_operand(r->lowering, &part, ACCESS_READ, &first[t]);
        if (view_span(&part) > bindable_elements(r->lowering)) return run_halves(r, t);
        if (view_span(&part) > largest) {
            largest = view_span(&part);
            order = t;
        }
    }
    pass p = choose_pass(r, order, first);
    bool whole = p.parts == 1;
    uint32_t bound = inputs + 1 + (whole ? r->extras : 0);
    for (uint32_t t = inputs + 1; t < bound; t++) {
        view part = view_of(r, t);
        call.operands[t] = lowering_operand(r->lowering, &part, ACCESS_READ, &first[t]);
        if (view_span(&part) > bindable_elements(r->lowering)) return run_halves(r, t);
    }
    if (p.wide) bind_whole_fours(&call, 1, bound);
    uint64_t outputs = loops_count(&r->kept), terms = loops_count(&r->reduced);
    view partial = { 0 }, out = view_of(r, 0);
    if (!whole) {
        TRY(lowering_scratch(r->lowering, outputs * p.parts, "partial", &partial));
        out = partial;
    }
    call.operands[0] = lowering_operand(r->lowering, &out, ACCESS_WRITE, &first[0]);
    if (view_span(&out) > bindable_elements(r->lowering)) return run_halves(r, 0);
    for (uint32_t t = bound; t < TENSORS; t++) call.operands[t] = call.operands[0];

    uint32_t words[2 * TUFF_MAX_RANK * LOOP_WORDS] = { 0 }, kept_words = r->kept.rank * LOOP_WORDS;
    uint32_t word_count = kept_words + r->reduced.rank * LOOP_WORDS;
    if (word_count == 0) word_count = LOOP_WORDS; /* a single number: a record all the same */
    loops_words(&r->kept, words);
    loops_words(&r->reduced, words + kept_words);
    uint32_t record;
    TRY(lowering_record(r->lowering, words, word_count, &call.operands[RECORD_BINDING], &record));

    call.kernel = choose_kernel(&p, texels_allowed(r->lowering));
    call.takes_bytes = true;
    for (uint32_t i = 0; i < inputs; i++) p.levels |= (uint32_t)(r->views[i + 1].type == TUFF_U8) << (8 + i);
    const uint32_t constants[] = { p.local, inputs, (uint32_t)r->kind, p.by_part, r->reduced.rank <= 1, p.levels };
    call.constant_count = sizeof constants / sizeof *constants;
    memcpy(call.constants, constants, sizeof constants);

    /* whole fours; the last parts may have no terms */
    uint64_t chunk = ((terms + p.parts - 1) / p.parts + 3) & ~UINT64_C(3);
    bool chunked = device_get_limits(lowering_device(r->lowering))->cpu && !p.group && !whole;
    const float scale = whole ? r->scale : 1.0f;
    uint32_t width = p.wide ? 4 : 1;
    uint64_t invocations = outputs * p.parts;
    if (p.group)
        invocations *= GROUP_SIZE;
    else if (!p.by_part)
        invocations /= width;
    uint32_t groups_x = groups_for(&call, (invocations + p.local - 1) / p.local);
    const uint32_t params[] = { (uint32_t)outputs, (uint32_t)terms, p.parts, r->kept.rank,
                                r->reduced.rank,   record,          groups_x };
    memcpy(call.params, params, sizeof params);
    memcpy(&call.params[7], &scale, sizeof scale);
    call.params[8] = chunked ? (uint32_t)chunk : 0;
    memcpy(&call.params[9], first, sizeof first);
    call.param_count = 9 + TENSORS;
    add_chains(r, whole, &call);
    TRY(lowering_call(r->lowering, &call));
    if (whole) return TUFF_OK;
    return p.by_part ? run_partial(r, &partial, p.parts, p.parts, 1) : run_partial(r, &partial, p.parts, 1, outputs);
}

bool reduce_accepts_epilogue(const chain *epilogue, uint32_t extras) {
    return extras < INPUTS && !chain_uses_index(epilogue) && !chain_is_random(epilogue) && epilogue->output_count == 1;
}

tuff_result lower_reduce(lowering *l, const reduce_call *call) {
    reduction r = { .lowering = l,
                    .label = call->label,
                    .kind = call->kind,
                    .scale = call->scale != 0 ? call->scale : 1,
                    .chain = nothing,
                    .views = { *call->out.view } };
    uint8_t input_map[MAX_INPUTS] = { 0 };
    uint32_t given = 1;
    if (call->prologue) {
        r.chain = *call->prologue;
        r.chain.output_count = 1;
        given = call->prologue->input_count;
        chain_prune(&r.chain, input_map);
    }
    if (call->epilogue) {
        r.epilogue = *call->epilogue;
        r.extras = call->epilogue->input_count - 1;
    }
    uint32_t inputs = r.chain.input_count;
    if (inputs + r.extras > INPUTS || chain_uses_index(&r.chain) || chain_is_random(&r.chain))
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: this chain cannot run before a reduction: a bug in fusion",
                         call->label);
    int64_t strides[TENSORS][TUFF_MAX_RANK] = { { 0 } };
    memcpy(strides[0], call->out.strides, sizeof strides[0]);
    const view *used[INPUTS] = { NULL };
    for (uint32_t i = 0; i < given; i++) {
        if (input_map[i] == 0xff) continue;
        used[input_map[i]] = call->inputs[i];
        r.views[1 + input_map[i]] = *call->inputs[i];
        broadcast_strides(call->inputs[i], &call->shape, strides[1 + input_map[i]]);
    }
    for (uint32_t i = 0; i < r.extras; i++) {
        r.views[1 + inputs + i] = *call->extras[i].view;
        memcpy(strides[1 + inputs + i], call->extras[i].strides, sizeof strides[0]);
    }
    uint32_t order = inputs ? 1 + largest_input(used, inputs) : 0;
    loops_make(&r.kept, &call->shape, ~call->reduced, strides, TENSORS, order);
    loops_make(&r.reduced, &call->shape, call->reduced, strides, TENSORS, order);
    return run_pass(&r);
}

tuff_result lower_sum_parts(lowering *l, const view *partial, uint32_t parts, uint64_t stride, uint64_t count,
                            const view *out) {
    reduction r = { .lowering = l, .kind = REDUCE_SUM, .scale = 1, .chain = nothing, .views = { *out, *partial } };
    r.kept = (loops){ .rank = count > 1, .tensors = TENSORS, .sizes = { count }, .strides = { { 1, 1 } } };
    r.reduced = (loops){ .rank = parts > 1, .tensors = TENSORS, .sizes = { parts }, .strides = { { 0, stride } } };
    return run_pass(&r);
}
