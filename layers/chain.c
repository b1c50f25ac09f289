/* The pointwise kernel's calls (shaders/pointwise/pointwise.comp): loops joined as far as the tensors' strides allow,
 * operands linear where they can be, four elements at once where every tensor lies so. */
#include "layers/chain.h"

#include "layers/flat.h"
#include "runtime/graph/fuse.h"
#include "runtime/program/view.h"

/* ---- loops -------------------------------------------------------------------------------------- */

void broadcast_strides(const view *view, const tuff_shape *shape, int64_t *strides) {
    uint32_t missing = shape->rank - view->shape.rank;
    for (uint32_t i = 0; i < shape->rank; i++)
        strides[i] = i < missing || view->shape.sizes[i - missing] == 1 ? 0 : view->strides[i - missing];
}

static bool joins(const loops *loops, uint32_t inner, uint32_t outer) {
    for (uint32_t t = 0; t < loops->tensors; t++)
        if (loops->strides[outer][t] != loops->sizes[inner] * loops->strides[inner][t]) return false;
    return true;
}

void loops_make(loops *loops, const tuff_shape *shape, uint32_t mask, int64_t (*strides)[TUFF_MAX_RANK],
                uint32_t tensors, uint32_t order) {
    memset(loops, 0, sizeof *loops);
    loops->tensors = tensors;
    uint32_t axes[TUFF_MAX_RANK], count = 0;
    for (uint32_t axis = shape->rank; axis-- > 0;) { /* sorted by stride; among equals the last axis is the fastest */
        if (!(mask >> axis & 1) || shape->sizes[axis] == 1) continue;
        uint32_t at = count++;
        while (at > 0 && strides[order][axes[at - 1]] > strides[order][axis]) {
            axes[at] = axes[at - 1];
            at--;
        }
        axes[at] = axis;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t next = loops->rank;
        loops->sizes[next] = (uint64_t)shape->sizes[axes[i]];
        for (uint32_t t = 0; t < tensors; t++) loops->strides[next][t] = (uint64_t)strides[t][axes[i]];
        if (next > 0 && joins(loops, next - 1, next))
            loops->sizes[next - 1] *= loops->sizes[next];
        else
            loops->rank++;
    }
}

uint64_t loops_count(const loops *loops) {
    uint64_t count = 1;
    for (uint32_t d = 0; d < loops->rank; d++) count *= loops->sizes[d];
    return count;
}

uint32_t loops_slowest(const loops *loops) {
    uint32_t d = loops->rank ? loops->rank - 1 : 0;
    while (d > 0 && loops->sizes[d] == 1) d--;
    return d;
}

uint64_t loops_slowest_stride(const loops *loops, uint32_t tensor) {
    uint32_t d = loops_slowest(loops);
    return loops->rank && loops->sizes[d] > 1 ? loops->strides[d][tensor] : 0;
}

view loops_view(const view *whole, uint64_t begin, const loops *outer, const loops *inner, uint32_t tensor) {
    view part = { .storage = whole->storage, .type = whole->type, .offset = whole->offset + begin };
    const loops *nests[2] = { outer, inner };
    for (uint32_t n = 0; n < 2; n++)
        for (uint32_t d = 0; d < nests[n]->rank; d++) {
            if (nests[n]->strides[d][tensor] == 0) continue;
            part.shape.sizes[part.shape.rank] = (int64_t)nests[n]->sizes[d];
            part.strides[part.shape.rank++] = (int64_t)nests[n]->strides[d][tensor];
        }
    return part;
}

uint32_t loops_mode(const loops *loops, uint32_t tensor) {
    bool linear = true, single = true;
    uint64_t expected = 1;
    for (uint32_t d = 0; d < loops->rank; d++) {
        linear &= loops->strides[d][tensor] == expected;
        single &= loops->strides[d][tensor] == 0;
        expected *= loops->sizes[d];
    }
    return linear ? MODE_LINEAR : single ? MODE_SINGLE : MODE_STRIDED;
}

/* Granlund and Montgomery 1994. */
void division(uint32_t d, uint32_t *multiplier, uint32_t *shift) {
    uint32_t log = 1;
    while ((UINT64_C(1) << log) < d) log++;
    *multiplier = (uint32_t)((UINT64_C(1) << (31 + log)) / d + 1);
    *shift = log - 1;
}

void loops_words(const loops *loops, uint32_t *words) {
    for (uint32_t d = 0; d < loops->rank; d++, words += LOOP_WORDS) {
        words[0] = (uint32_t)loops->sizes[d];
        division(words[0], &words[1], &words[2]);
        for (uint32_t t = 0; t < LOOP_TENSORS; t++) words[3 + t] = (uint32_t)loops->strides[d][t];
    }
}

uint32_t groups_for(kernel_call *call, uint64_t count) {
    call->groups[0] = count > MAX_GROUPS ? MAX_GROUPS : (uint32_t)count;
    call->groups[1] = (uint32_t)((count + call->groups[0] - 1) / call->groups[0]);
    call->groups[2] = 1;
    return call->groups[0];
}

/* ---- the pointwise kernel ------------------------------------------------------------------------ */

/* Shared with the shader. A call has one or two outputs; a chain with more is run in several calls. */
enum { BUFFERS = CHAIN_MAX_BUFFERS, INDEX = BUFFERS, TENSORS = BUFFERS + 1, OUTPUTS_AT_ONCE = 2 };
enum { RECORD_BINDING = BUFFERS, STEP_BINDING = BUFFERS + 1, BYTES_BIT = 16, APART_BIT = 22 };

/* Outputs first, then inputs, as the kernel binds them. */
typedef struct pointwise_call {
    lowering *lowering;
    const chain *chain;
    const char *label;
    view views[BUFFERS];
    uint32_t buffers;
    bool indexed;
    bool alone; /* the first output is all that its storage holds */
    loops loops;
    uint64_t begin[TENSORS]; /* of this part, in elements */
} pointwise_call;

enum { GROUP = 128 };

/* Elements, or fours of them, for each invocation. On a CPU's driver what an invocation does once (reading the record)
 * is as dear as several elements; a GPU wants many invocations. */
static uint32_t items_for(const device_limits *limits, uint64_t elements) {
    uint64_t most = limits->cpu ? 16 : 4, groups = limits->cpu ? 8 : 2048;
    uint64_t items = elements / ((uint64_t)GROUP * groups);
    return items < 1 ? 1 : (uint32_t)(items > most ? most : items);
}

static bool fits_wide(const pointwise_call *p, const uint32_t *first, const uint32_t *modes) {
    const loops *loops = &p->loops;
    if (loops->rank == 0 || loops->sizes[0] % 4 != 0) return false;
    for (uint32_t t = 0; t < TENSORS; t++) {
        bool exists = t < p->buffers || (t == INDEX && p->indexed);
        if (!exists || modes[t] == MODE_SINGLE) continue;
        bool level = loops->strides[0][t] == 0;
        if (loops->strides[0][t] > 1 || (level && t == INDEX)) return false;
        if (level || t == INDEX) continue;
        if (first[t] % 4 != 0) return false;
        for (uint32_t d = 1; d < loops->rank; d++)
            if (loops->strides[d][t] % 4 != 0) return false;
    }
    return true;
}

/* Bytes are stored four to a word by whoever computes the four, unless others share the word. */
static bool packs(const pointwise_call *p) {
    return p->views[0].type == TUFF_U8;
}

static bool shares_words(const pointwise_call *p, const uint32_t *first, const uint32_t *modes) {
    uint64_t count = loops_count(&p->loops), end = p->begin[0] + count;
    bool last = p->alone && end == (uint64_t)view_count(&p->views[0]);
    return modes[0] != MODE_LINEAR || first[0] % 4 != 0 || (count % 4 != 0 && !last)
           || device_force(lowering_device(p->lowering), "bytes");
}

static enum kernel_id choose_kernel(const pointwise_call *p, bool wide) {
    bool two = p->chain->output_count > 1;
    if (packs(p) && !wide) return KERNEL_POINTWISE_PACKED;
    if (!wide) return two ? KERNEL_POINTWISE_TWO : KERNEL_POINTWISE;
    if (texels_allowed(p->lowering)) return two ? KERNEL_POINTWISE_TWO_TEXELS : KERNEL_POINTWISE_TEXELS;
    return two ? KERNEL_POINTWISE_TWO_WIDE : KERNEL_POINTWISE_WIDE;
}

static tuff_result emit_part(const pointwise_call *p) {
    const chain *chain = p->chain;
    const device_limits *limits = device_get_limits(lowering_device(p->lowering));
    uint64_t count = loops_count(&p->loops);
    kernel_call call = { .label = p->label, .operand_count = p->buffers };
    uint32_t first[TENSORS] = { 0 }, modes[TENSORS] = { 0 };
    for (uint32_t i = 0; i < p->buffers; i++) {
        view part = { .storage = p->views[i].storage, .type = p->views[i].type, .shape.rank = p->loops.rank };
        part.offset = p->views[i].offset + p->begin[i];
        for (uint32_t d = 0; d < p->loops.rank; d++) {
            part.shape.sizes[d] = (int64_t)p->loops.sizes[d];
            part.strides[d] = (int64_t)p->loops.strides[d][i];
        }
        bool output = i < chain->output_count;
        call.operands[i] = lowering_operand(p->lowering, &part, output ? ACCESS_WRITE : ACCESS_READ, &first[i]);
        if (view_span(&part) > bindable_elements(p->lowering) && p->loops.rank > 0) { /* in two halves */
            pointwise_call half = *p;
            uint32_t d = p->loops.rank - 1;
            while (d > 0 && p->loops.sizes[d] == 1) d--; /* halved down to 1 already */
            uint64_t size = p->loops.sizes[d], lower = (size / 2 + 3) & ~UINT64_C(3);
            if (lower == 0 || lower >= size) lower = size / 2;
            half.loops.sizes[d] = lower;
            TRY(emit_part(&half));
            for (uint32_t t = 0; t < TENSORS; t++) half.begin[t] += lower * p->loops.strides[d][t];
            half.loops.sizes[d] = size - lower;
            return emit_part(&half);
        }
    }
    first[INDEX] = (uint32_t)p->begin[INDEX];
    bool strided = false;
    for (uint32_t t = 0; t < TENSORS; t++) {
        if (t >= p->buffers && !(t == INDEX && p->indexed)) continue;
        modes[t] = loops_mode(&p->loops, t);
        strided |= modes[t] == MODE_STRIDED;
    }
    bool wide = wide_allowed(p->lowering) && fits_wide(p, first, modes);
    for (uint32_t t = 0; wide && t < p->buffers; t++)
        if (modes[t] == MODE_STRIDED && p->loops.strides[0][t] == 0) modes[t] = MODE_LEVEL;
    if (wide) bind_whole_fours(&call, 0, p->buffers);
    bool packed = packs(p) && !wide, apart = packed && shares_words(p, first, modes);
    if (apart) call.operands[0].access = ACCESS_READ | ACCESS_WRITE;
    uint32_t mode_word = (uint32_t)apart << APART_BIT, result_word = 0;
    for (uint32_t t = 0; t < TENSORS; t++) mode_word |= modes[t] << 2 * t;
    for (uint32_t t = 0; t < p->buffers && t < BUFFERS; t++)
        mode_word |= (uint32_t)(p->views[t].type == TUFF_U8) << (BYTES_BIT + t);
    for (uint32_t i = 0; i < chain->output_count; i++) result_word |= (uint32_t)chain->outputs[i] << 8 * i;

    for (uint32_t t = 1; t < p->buffers && chain->output_count == 1 && modes[0] == MODE_LINEAR && !packs(p); t++)
        if (modes[t] == MODE_LINEAR && first[t] == first[0] && p->views[t].type != TUFF_U8) call.in_place |= 1u << t;
    call.kernel = choose_kernel(p, wide);
    call.takes_bytes = true;
    const uint32_t width = wide || packed ? 4 : 1;
    uint32_t *c = call.constants, items = items_for(limits, count / width);
    c[0] = GROUP;
    c[1] = chain->input_count;
    c[2] = mode_word;
    c[3] = result_word;
    c[4] = chain->step_count;
    for (uint32_t i = 0; i < chain->step_count; i++) c[5 + i] = chain_word(chain->steps[i]);
    call.constant_count = 5 + chain->step_count;

    uint64_t each = (uint64_t)GROUP * items * width;
    call.params[0] = (uint32_t)count;
    call.params[1] = groups_for(&call, (count + each - 1) / each);
    call.params[4] = items;
    memcpy(&call.params[5], first, sizeof first);
    memcpy(&call.params[5 + TENSORS], chain->constants, chain->constant_count * sizeof *chain->constants);
    call.param_count = 5 + TENSORS + chain->constant_count;
    bool random = chain_is_random(chain);
    for (uint32_t i = p->buffers; i <= STEP_BINDING && (strided || random); i++) call.operands[i] = call.operands[0];
    if (strided) {
        uint32_t words[TUFF_MAX_RANK * LOOP_WORDS];
        loops_words(&p->loops, words);
        TRY(lowering_record(p->lowering, words, p->loops.rank * LOOP_WORDS, &call.operands[RECORD_BINDING],
                            &call.params[2]));
        call.params[3] = p->loops.rank;
        call.operand_count = RECORD_BINDING + 1;
    }
    if (random) {
        call.operands[STEP_BINDING] = lowering_step_record(p->lowering);
        call.operand_count = STEP_BINDING + 1;
    }
    return lowering_call(p->lowering, &call);
}

/* The outputs begin .. begin + count - 1 of a chain, and the inputs that those need. */
static tuff_result emit_outputs(lowering *l, const chain *whole, uint32_t begin, uint32_t count,
                                const tuff_shape *shape, const view *const *inputs, const view *const *outputs,
                                bool alone, const char *label) {
    chain chain = *whole;
    uint8_t input_map[MAX_INPUTS];
    chain.output_count = count;
    memmove(chain.outputs, whole->outputs + begin, count);
    chain_prune(&chain, input_map);
    pointwise_call p = { .lowering = l,
                         .chain = &chain,
                         .label = label,
                         .alone = alone,
                         .indexed = chain_uses_index(&chain),
                         .buffers = count };
    if (count + chain.input_count > BUFFERS)
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: a chain with %u inputs: a bug in fusion", label,
                         chain.input_count);
    int64_t strides[TENSORS][TUFF_MAX_RANK] = { { 0 } };
    for (uint32_t i = 0; i < count; i++) p.views[i] = *outputs[begin + i];
    for (uint32_t i = 0; i < whole->input_count; i++) {
        if (input_map[i] == 0xff) continue;
        p.views[count + input_map[i]] = *inputs[i];
        p.buffers++;
    }
    for (uint32_t i = 0; i < p.buffers; i++) broadcast_strides(&p.views[i], shape, strides[i]);
    int64_t stride = 1;
    for (uint32_t axis = shape->rank; axis-- > 0 && p.indexed;) {
        strides[INDEX][axis] = stride;
        stride *= shape->sizes[axis];
    }
    loops_make(&p.loops, shape, ~0u, strides, TENSORS, 0);
    return emit_part(&p);
}

static tuff_result emit_chain(lowering *l, const chain *chain, const tuff_shape *shape, const view *const *inputs,
                              const view *const *outputs, bool alone, const char *label) {
    for (uint32_t i = 0, count; i < chain->output_count; i += count) {
        count = 1;
        while (count < OUTPUTS_AT_ONCE && i + count < chain->output_count && outputs[i]->type != TUFF_U8
               && outputs[i + count]->type != TUFF_U8)
            count++;
        TRY(emit_outputs(l, chain, i, count, shape, inputs, outputs, alone, label));
    }
    return TUFF_OK;
}

tuff_result lower_chain_over(lowering *l, const chain *chain, const tuff_shape *shape, const view *const *inputs,
                             const view *const *outputs, const char *label) {
    return emit_chain(l, chain, shape, inputs, outputs, false, label);
}

tuff_result lower_chain(lowering *l, const node *node) {
    const view *inputs[MAX_INPUTS] = { NULL }, *outputs[MAX_OUTPUTS] = { NULL };
    for (uint32_t i = 0; i < node->chain->input_count; i++) inputs[i] = lowering_view(l, node->inputs[i]);
    for (uint32_t i = 0; i < node->output_count; i++) outputs[i] = lowering_view(l, node->outputs[i]);
    return emit_chain(l, node->chain, &node->outputs[0]->shape, inputs, outputs, true, node->label);
}

tuff_result lower_copy(lowering *l, const view *from, const view *to, const char *label) {
    static const chain copy = { .steps = { { .op = CHAIN_COPY } },
                                .step_count = 1,
                                .input_count = 1,
                                .outputs = { CHAIN_STEP },
                                .output_count = 1 };
    return lower_chain_over(l, &copy, &to->shape, &from, &to, label);
}

const operator operator_chain = {
    .name = "chain",
    .formula = "a chain of pointwise operators, made by the compiler",
    .lower = lower_chain,
};
