/* Folds specialization constants in a SPIR-V module. Three walks:
 *
 *   constants   OpSpecConstant... become OpConstant..., operations on them are evaluated (those on vectors stay
 *               OpSpecConstantOp, of operands that are constant now)
 *   reach       from the entry points through calls and branches, taking one way where the condition is known
 *   emit        what was reached
 *
 * A folded `if` loses its merge; a folded `switch` keeps it, with the one target as its default, since what is inside
 * may break out of it. Merge and continue blocks of what stays must stay, too; where they are not reached they are
 * emptied. */
#include "runtime/device/specialise.h"

#include <stdlib.h>
#include <string.h>

enum {
    OP_NAME = 5,
    OP_MEMBER_NAME = 6,
    OP_LINE = 8,
    OP_ENTRY_POINT = 15,
    OP_TYPE_BOOL = 20,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_CONSTANT_TRUE = 41,
    OP_CONSTANT_FALSE = 42,
    OP_CONSTANT = 43,
    OP_CONSTANT_COMPOSITE = 44,
    OP_CONSTANT_NULL = 46,
    OP_SPEC_TRUE = 48,
    OP_SPEC_FALSE = 49,
    OP_SPEC = 50,
    OP_SPEC_COMPOSITE = 51,
    OP_SPEC_OP = 52,
    OP_FUNCTION = 54,
    OP_FUNCTION_END = 56,
    OP_FUNCTION_CALL = 57,
    OP_STORE = 62,
    OP_COPY_MEMORY = 63,
    OP_COPY_MEMORY_SIZED = 64,
    OP_DECORATE = 71,
    OP_COMPOSITE_EXTRACT = 81,
    OP_IMAGE_WRITE = 99,
    OP_CONTROL_BARRIER = 224,
    OP_MEMORY_BARRIER = 225,
    OP_ATOMIC_STORE = 228,
    OP_PHI = 245,
    OP_LOOP_MERGE = 246,
    OP_SELECTION_MERGE = 247,
    OP_LABEL = 248,
    OP_BRANCH = 249,
    OP_BRANCH_CONDITIONAL = 250,
    OP_SWITCH = 251,
    OP_UNREACHABLE = 255,
    OP_NO_LINE = 317,
    DECORATION_SPEC_ID = 1,
    HEADER = 5, /* words before the first instruction */
};

typedef enum id_state {
    BLOCK_REACHED = 1, /* of labels */
    BLOCK_KEPT = 2,    /* a merge or continue block of something reached */
    FUNCTION_REACHED = 4,
    KNOWN = 8, /* its value is known */
    GONE = 16, /* its definition is left out */
    WORD_TYPE = 32,
    BOOL_TYPE = 64,
} id_state;

typedef struct module {
    const uint32_t *words;
    size_t count;
    uint32_t bound;
    uint8_t *state;   /* by id */
    uint32_t *value;  /* by id, where KNOWN */
    uint32_t *spec;   /* by id: its specialization constant, UINT32_MAX */
    uint32_t *place;  /* by id: word at which a label, a function or a composite constant is defined; 0 */
    uint32_t *loop;   /* by label of a continue block: its loop's header */
    size_t functions; /* word of the first function */
    uint32_t *out;
    size_t used;
} module;

static uint32_t opcode(uint32_t word) {
    return word & 0xffff;
}

static uint32_t length(uint32_t word) {
    return word >> 16;
}

static bool is_terminator(uint32_t op) {
    return op >= OP_BRANCH && op <= OP_UNREACHABLE;
}

/* Instructions of function bodies that define no id. */
static bool has_no_result(uint32_t op) {
    switch (op) {
    case 0:
    case OP_LINE:
    case OP_NO_LINE:
    case OP_FUNCTION_END:
    case OP_STORE:
    case OP_COPY_MEMORY:
    case OP_COPY_MEMORY_SIZED:
    case OP_IMAGE_WRITE:
    case OP_ATOMIC_STORE:
    case OP_CONTROL_BARRIER:
    case OP_MEMORY_BARRIER:
    case OP_LOOP_MERGE:
    case OP_SELECTION_MERGE: return true;
    default: return is_terminator(op);
    }
}

/* ---- evaluating ---------------------------------------------------------------------------------- */

/* The magnitudes are divided: INT32_MIN / -1 would overflow. */
static uint32_t magnitude(uint32_t word) {
    return word >> 31 ? 0 - word : word;
}

static uint32_t signed_quotient(uint32_t a, uint32_t b) {
    if (b == 0) return 0;
    uint32_t quotient = magnitude(a) / magnitude(b);
    return (a ^ b) >> 31 ? 0 - quotient : quotient;
}

static uint32_t signed_rest(uint32_t a, uint32_t b) {
    if (b == 0) return 0;
    uint32_t rest = magnitude(a) % magnitude(b);
    return a >> 31 ? 0 - rest : rest;
}

static uint32_t shifted_signed(uint32_t word, uint32_t by) {
    if (by >= 32) return 0;
    return word >> 31 ? ~(~word >> by) : word >> by;
}

/* False where the operation is not among these. What SPIR-V leaves undefined (division by 0, long shifts) is 0. */
static bool evaluate(uint32_t op, const uint32_t *v, uint32_t count, uint32_t *result) {
    int32_t a = (int32_t)v[0], b = count > 1 ? (int32_t)v[1] : 0;
    uint32_t ua = v[0], ub = count > 1 ? v[1] : 0;
    switch (op) {
    case 83: *result = ua; return true;                       /* OpCopyObject */
    case 124: *result = ua; return true;                      /* OpBitcast */
    case 126: *result = 0 - ua; return true;                  /* OpSNegate */
    case 128: *result = ua + ub; return true;                 /* OpIAdd */
    case 130: *result = ua - ub; return true;                 /* OpISub */
    case 132: *result = ua * ub; return true;                 /* OpIMul */
    case 134: *result = ub ? ua / ub : 0; return true;        /* OpUDiv */
    case 135: *result = signed_quotient(ua, ub); return true; /* OpSDiv */
    case 137: *result = ub ? ua % ub : 0; return true;        /* OpUMod */
    case 138: *result = signed_rest(ua, ub); return true;     /* OpSRem */
    case 139:
        *result = signed_rest(ua, ub); /* OpSMod: with the divisor's sign */
        if (*result && (*result ^ ub) >> 31) *result += ub;
        return true;
    case 164: *result = ua == ub; return true;               /* OpLogicalEqual */
    case 165: *result = ua != ub; return true;               /* OpLogicalNotEqual */
    case 166: *result = ua | ub; return true;                /* OpLogicalOr */
    case 167: *result = ua & ub; return true;                /* OpLogicalAnd */
    case 168: *result = !ua; return true;                    /* OpLogicalNot */
    case 169: *result = ua ? v[1] : v[2]; return true;       /* OpSelect */
    case 170: *result = ua == ub; return true;               /* OpIEqual */
    case 171: *result = ua != ub; return true;               /* OpINotEqual */
    case 172: *result = ua > ub; return true;                /* OpUGreaterThan */
    case 173: *result = a > b; return true;                  /* OpSGreaterThan */
    case 174: *result = ua >= ub; return true;               /* OpUGreaterThanEqual */
    case 175: *result = a >= b; return true;                 /* OpSGreaterThanEqual */
    case 176: *result = ua < ub; return true;                /* OpULessThan */
    case 177: *result = a < b; return true;                  /* OpSLessThan */
    case 178: *result = ua <= ub; return true;               /* OpULessThanEqual */
    case 179: *result = a <= b; return true;                 /* OpSLessThanEqual */
    case 194: *result = ub < 32 ? ua >> ub : 0; return true; /* OpShiftRightLogical */
    case 195: *result = shifted_signed(ua, ub); return true; /* OpShiftRightArithmetic */
    case 196: *result = ub < 32 ? ua << ub : 0; return true; /* OpShiftLeftLogical */
    case 197: *result = ua | ub; return true;                /* OpBitwiseOr */
    case 198: *result = ua ^ ub; return true;                /* OpBitwiseXor */
    case 199: *result = ua & ub; return true;                /* OpBitwiseAnd */
    case 200: *result = ~ua; return true;                    /* OpNot */
    default: return false;
    }
}

static uint32_t operands_of(uint32_t op) {
    return op == 83 || op == 124 || op == 126 || op == 168 || op == 200 ? 1 : op == 169 ? 3 : 2;
}

static void learn(module *m, uint32_t id, uint32_t value) {
    m->state[id] |= KNOWN;
    m->value[id] = value;
}

/* Learns the result of an operation whose operands are known; only scalar integers and booleans. */
static void try_evaluate(module *m, uint32_t op, uint32_t type, uint32_t id, const uint32_t *operands, uint32_t count) {
    uint32_t v[3], result;
    if (!(m->state[type] & (WORD_TYPE | BOOL_TYPE)) || m->state[id] & KNOWN) return;
    if (op == OP_COMPOSITE_EXTRACT && count == 2 && m->place[operands[0]]) {
        uint32_t part = m->words[m->place[operands[0]] + 3 + operands[1]];
        if (m->state[part] & KNOWN) learn(m, id, m->value[part]);
        return;
    }
    if (count != operands_of(op)) return;
    for (uint32_t i = 0; i < count; i++) {
        if (!(m->state[operands[i]] & KNOWN)) return;
        v[i] = m->value[operands[i]];
    }
    if (evaluate(op, v, count, &result)) learn(m, id, result);
}

/* The declarations: types, constants and where functions and labels are. */
static void read_constants(module *m, const uint32_t *constants, uint32_t constant_count) {
    uint32_t function = 0;
    for (size_t at = HEADER; at < m->count; at += length(m->words[at])) {
        const uint32_t *w = m->words + at;
        switch (opcode(w[0])) {
        case OP_DECORATE:
            if (w[2] == DECORATION_SPEC_ID) m->spec[w[1]] = w[3];
            break;
        case OP_TYPE_BOOL: m->state[w[1]] |= BOOL_TYPE; break;
        case OP_TYPE_INT:
        case OP_TYPE_FLOAT:
            if (w[2] == 32) m->state[w[1]] |= WORD_TYPE;
            break;
        case OP_CONSTANT_TRUE: learn(m, w[2], 1); break;
        case OP_CONSTANT_FALSE: learn(m, w[2], 0); break;
        case OP_CONSTANT_NULL:
            if (m->state[w[1]] & (WORD_TYPE | BOOL_TYPE)) learn(m, w[2], 0);
            break;
        case OP_CONSTANT:
            if (m->state[w[1]] & WORD_TYPE) learn(m, w[2], w[3]);
            break;
        case OP_SPEC_TRUE:
        case OP_SPEC_FALSE:
        case OP_SPEC: {
            if (opcode(w[0]) == OP_SPEC && length(w[0]) > 4) break; /* of 64 bits: keeps its default */
            bool given = m->spec[w[2]] < constant_count;
            uint32_t standard = opcode(w[0]) == OP_SPEC ? w[3] : opcode(w[0]) == OP_SPEC_TRUE;
            learn(m, w[2], given ? constants[m->spec[w[2]]] : standard);
            if (m->state[w[1]] & BOOL_TYPE) m->value[w[2]] = m->value[w[2]] != 0;
            break;
        }
        case OP_CONSTANT_COMPOSITE:
        case OP_SPEC_COMPOSITE: m->place[w[2]] = (uint32_t)at; break;
        case OP_SPEC_OP: try_evaluate(m, w[3], w[1], w[2], w + 4, length(w[0]) - 4); break;
        case OP_FUNCTION:
            if (!function) m->functions = at;
            function = w[2];
            m->place[function] = (uint32_t)at;
            break;
        case OP_LABEL: m->place[w[1]] = (uint32_t)at; break;
        default: break;
        }
    }
}

/* ---- reaching ------------------------------------------------------------------------------------ */

/* The one target of a terminator whose condition is known; 0 if it is not. A loop's way back is never folded, since
 * each loop must have one: `do ... while (false)` stays as it is. */
static uint32_t folded_target(const module *m, const uint32_t *w) {
    if (opcode(w[0]) == OP_BRANCH_CONDITIONAL && m->state[w[1]] & KNOWN) {
        size_t here = (size_t)(w - m->words);
        if (m->place[w[2]] < here || m->place[w[3]] < here) return 0;
        return m->value[w[1]] ? w[2] : w[3];
    }
    if (opcode(w[0]) != OP_SWITCH || !(m->state[w[1]] & KNOWN)) return 0;
    for (uint32_t i = 3; i + 1 < length(w[0]); i += 2)
        if (w[i] == m->value[w[1]]) return w[i + 1];
    return w[2];
}

static bool set(module *m, uint32_t id, uint8_t bit) {
    bool is_new = !(m->state[id] & bit);
    m->state[id] |= bit;
    return is_new;
}

/* Whether a folded switch keeps its default beside its one target: the cases fall through to a default that stands
 * before them, as glslang has it, and blocks must not stand before those that dominate them. */
static bool keeps_default(const module *m, const uint32_t *w, uint32_t one) {
    return opcode(w[0]) == OP_SWITCH && m->state[w[2]] & BLOCK_REACHED && m->place[w[2]] < m->place[one];
}

/* Whether the terminator w goes to a label. */
static bool goes_to(const module *m, const uint32_t *w, uint32_t label) {
    uint32_t one = folded_target(m, w);
    if (one) return one == label || (w[2] == label && keeps_default(m, w, one));
    switch (opcode(w[0])) {
    case OP_BRANCH: return w[1] == label;
    case OP_BRANCH_CONDITIONAL: return w[2] == label || w[3] == label;
    case OP_SWITCH:
        for (uint32_t i = 2; i < length(w[0]); i += i == 2 ? 1 : 2)
            if (w[i == 2 ? 2 : i + 1] == label) return true;
        return false;
    default: return false;
    }
}

static const uint32_t *terminator_of(const module *m, uint32_t label) {
    size_t at = m->place[label];
    while (!is_terminator(opcode(m->words[at]))) at += length(m->words[at]);
    return m->words + at;
}

/* An edge that is taken from block `from` to block `to`. */
static bool is_edge(const module *m, uint32_t from, uint32_t to) {
    return m->state[from] & BLOCK_REACHED && goes_to(m, terminator_of(m, from), to);
}

/* A phi with one way in is that value. True if that is news. */
static bool learn_phi(module *m, const uint32_t *w, uint32_t block) {
    uint32_t only = 0, ways = 0;
    for (uint32_t i = 3; i + 1 < length(w[0]); i += 2)
        if (is_edge(m, w[i + 1], block)) {
            only = w[i];
            ways++;
        }
    if (ways != 1 || !(m->state[only] & KNOWN) || !(m->state[w[1]] & (WORD_TYPE | BOOL_TYPE)) || m->state[w[2]] & KNOWN)
        return false;
    learn(m, w[2], m->value[only]);
    return true;
}

/* Walks over the body of a reached function; true if anything new was reached. Most blocks stand behind those that lead
 * to them; the caller repeats for the others. */
static bool walk(module *m, size_t at) {
    bool news = false, reached = false, first = true;
    uint32_t block = 0, merge = 0;
    for (;; at += length(m->words[at])) {
        const uint32_t *w = m->words + at;
        uint32_t op = opcode(w[0]);
        if (op == OP_FUNCTION_END) return news;
        if (op == OP_LABEL) {
            block = w[1];
            merge = 0;
            if (first) news |= set(m, block, BLOCK_REACHED);
            first = false;
            reached = m->state[block] & BLOCK_REACHED;
            continue;
        }
        if (!reached) continue;
        if (op == OP_FUNCTION_CALL) news |= set(m, w[3], FUNCTION_REACHED);
        if (op == OP_LOOP_MERGE) {
            m->loop[w[2]] = block;
            news |= set(m, w[1], BLOCK_KEPT) | set(m, w[2], BLOCK_KEPT);
        }
        if (op == OP_SELECTION_MERGE) merge = w[1];
        if (!is_terminator(op)) {
            if (!has_no_result(op) && op != OP_PHI && op != OP_FUNCTION && length(w[0]) > 3)
                try_evaluate(m, op, w[1], w[2], w + 3, length(w[0]) - 3);
            continue;
        }
        uint32_t one = folded_target(m, w);
        if (merge && !(one && op == OP_BRANCH_CONDITIONAL)) news |= set(m, merge, BLOCK_KEPT);
        if (one)
            news |= set(m, one, BLOCK_REACHED);
        else if (op == OP_BRANCH)
            news |= set(m, w[1], BLOCK_REACHED);
        else if (op == OP_BRANCH_CONDITIONAL)
            news |= set(m, w[2], BLOCK_REACHED) | set(m, w[3], BLOCK_REACHED);
        else if (op == OP_SWITCH)
            for (uint32_t i = 2; i < length(w[0]); i += i == 2 ? 1 : 2)
                news |= set(m, w[i == 2 ? 2 : i + 1], BLOCK_REACHED);
    }
}

/* True if phis of reached blocks gave new values. */
static bool learn_phis(module *m) {
    bool news = false;
    uint32_t block = 0;
    for (size_t at = m->functions; at < m->count; at += length(m->words[at])) {
        const uint32_t *w = m->words + at;
        if (opcode(w[0]) == OP_LABEL) block = w[1];
        if (opcode(w[0]) == OP_PHI && m->state[block] & BLOCK_REACHED) news |= learn_phi(m, w, block);
    }
    return news;
}

/* Phis are looked at only when all that may be reached is known, since a way that looks closed may open late; what they
 * tell may close more ways, so that all begins again. */
static void reach(module *m) {
    do {
        for (uint32_t id = 0; id < m->bound; id++)
            m->state[id] &= (uint8_t) ~(BLOCK_REACHED | BLOCK_KEPT | FUNCTION_REACHED);
        for (size_t at = HEADER; at < m->functions; at += length(m->words[at]))
            if (opcode(m->words[at]) == OP_ENTRY_POINT) m->state[m->words[at + 2]] |= FUNCTION_REACHED;
        for (bool news = true; news;) {
            news = false;
            for (size_t at = m->functions; at < m->count; at += length(m->words[at]))
                if (opcode(m->words[at]) == OP_FUNCTION && m->state[m->words[at + 2]] & FUNCTION_REACHED)
                    news |= walk(m, at);
        }
    } while (learn_phis(m));
}

/* Marks what is defined only where nothing goes. */
static void mark_gone(module *m) {
    bool function = true, block = true;
    for (size_t at = m->functions; at < m->count; at += length(m->words[at])) {
        const uint32_t *w = m->words + at;
        uint32_t op = opcode(w[0]);
        if (op == OP_FUNCTION) function = block = m->state[w[2]] & FUNCTION_REACHED;
        if (op == OP_LABEL) {
            block = function && m->state[w[1]] & BLOCK_REACHED;
            if (!function || !(m->state[w[1]] & (BLOCK_REACHED | BLOCK_KEPT))) m->state[w[1]] |= GONE;
        } else if (!block && !has_no_result(op) && length(w[0]) > 2) {
            m->state[w[2]] |= GONE;
        }
    }
}

/* ---- emitting ------------------------------------------------------------------------------------ */

static void emit(module *m, const uint32_t *words, uint32_t count) {
    memcpy(m->out + m->used, words, count * sizeof *words);
    m->used += count;
}

static void emit_branch(module *m, uint32_t label) {
    const uint32_t words[] = { 2u << 16 | OP_BRANCH, label };
    emit(m, words, 2);
}

static void emit_constant(module *m, const uint32_t *w) {
    uint32_t type = w[1], id = w[2], value = m->value[id];
    if (!(m->state[id] & KNOWN)) {
        size_t begin = m->used;
        emit(m, w, length(w[0]));
        m->out[begin] = length(w[0]) << 16 | OP_CONSTANT;
        return;
    }
    if (m->state[type] & BOOL_TYPE) {
        const uint32_t words[] = { 3u << 16 | (value ? OP_CONSTANT_TRUE : OP_CONSTANT_FALSE), type, id };
        emit(m, words, 3);
    } else {
        const uint32_t words[] = { 4u << 16 | OP_CONSTANT, type, id, value };
        emit(m, words, 4);
    }
}

static void emit_declarations(module *m) {
    emit(m, m->words, HEADER);
    for (size_t at = HEADER; at < m->functions; at += length(m->words[at])) {
        const uint32_t *w = m->words + at;
        switch (opcode(w[0])) {
        case OP_NAME:
            if (!(m->state[w[1]] & GONE)) emit(m, w, length(w[0]));
            break;
        case OP_DECORATE:
            if (w[2] != DECORATION_SPEC_ID && !(m->state[w[1]] & GONE)) emit(m, w, length(w[0]));
            break;
        case OP_SPEC:
        case OP_SPEC_TRUE:
        case OP_SPEC_FALSE: emit_constant(m, w); break;
        case OP_SPEC_COMPOSITE: {
            size_t begin = m->used;
            emit(m, w, length(w[0]));
            m->out[begin] = length(w[0]) << 16 | OP_CONSTANT_COMPOSITE;
            break;
        }
        case OP_SPEC_OP:
            if (m->state[w[2]] & KNOWN)
                emit_constant(m, w);
            else
                emit(m, w, length(w[0]));
            break;
        default: emit(m, w, length(w[0])); break;
        }
    }
}

static void emit_phi(module *m, const uint32_t *w, uint32_t block) {
    size_t begin = m->used;
    emit(m, w, 3);
    for (uint32_t i = 3; i + 1 < length(w[0]); i += 2)
        if (is_edge(m, w[i + 1], block)) emit(m, w + i, 2);
    const uint32_t *end = w;
    while (opcode(end[0]) != OP_LOOP_MERGE && !is_terminator(opcode(end[0]))) end += length(end[0]);
    if (opcode(end[0]) == OP_LOOP_MERGE && !(m->state[end[2]] & BLOCK_REACHED)) {
        const uint32_t words[] = { w[2], end[2] }; /* from the emptied continue block; what came from there is gone */
        emit(m, words, 2);
    }
    m->out[begin] = (uint32_t)(m->used - begin) << 16 | OP_PHI;
}

static void emit_function(module *m, size_t at) {
    uint32_t block = 0;
    bool reached = true; /* OpFunction and its parameters come before the first label */
    const uint32_t *merge = NULL;
    for (;; at += length(m->words[at])) {
        const uint32_t *w = m->words + at;
        uint32_t op = opcode(w[0]);
        if (op == OP_LABEL) {
            block = w[1];
            merge = NULL;
            reached = m->state[block] & BLOCK_REACHED;
            if (!reached && m->state[block] & BLOCK_KEPT) {
                emit(m, w, 2);
                const uint32_t nowhere = 1u << 16 | OP_UNREACHABLE;
                if (m->loop[block])
                    emit_branch(m, m->loop[block]);
                else
                    emit(m, &nowhere, 1);
            }
        }
        if (op == OP_FUNCTION_END) {
            emit(m, w, 1);
            return;
        }
        if (!reached) continue;
        uint32_t one = is_terminator(op) ? folded_target(m, w) : 0;
        if (op == OP_PHI) {
            emit_phi(m, w, block);
        } else if (op == OP_SELECTION_MERGE) {
            merge = w; /* with what follows */
        } else if (one && op == OP_BRANCH_CONDITIONAL) {
            emit_branch(m, one);
        } else {
            if (merge && is_terminator(op)) emit(m, merge, 3);
            if (one && keeps_default(m, w, one)) {
                const uint32_t words[] = { 5u << 16 | OP_SWITCH, w[1], w[2], m->value[w[1]], one };
                emit(m, words, 5);
            } else if (one) {
                const uint32_t words[] = { 3u << 16 | OP_SWITCH, w[1], one };
                emit(m, words, 3);
            } else {
                emit(m, w, length(w[0]));
            }
        }
    }
}

tuff_result spirv_specialise(const uint32_t *words, size_t size, const uint32_t *constants, uint32_t constant_count,
                             uint32_t **out, size_t *out_size) {
    module m = { .words = words, .count = size / sizeof *words, .bound = words[3] };
    m.functions = m.count;
    size_t room =
        size + (size_t)m.bound * 4 * sizeof *words; /* emptied blocks and constants may be longer than before */
    m.state = calloc(m.bound, sizeof *m.state);
    m.value = calloc(m.bound, sizeof *m.value);
    m.spec = malloc(m.bound * sizeof *m.spec);
    m.place = calloc(m.bound, sizeof *m.place);
    m.loop = calloc(m.bound, sizeof *m.loop);
    m.out = malloc(room);
    bool ready = m.state && m.value && m.spec && m.place && m.loop && m.out;
    if (ready) {
        memset(m.spec, 0xff, m.bound * sizeof *m.spec);
        read_constants(&m, constants, constant_count);
        reach(&m);
        mark_gone(&m);
        emit_declarations(&m);
        for (size_t at = m.functions; at < m.count; at += length(words[at]))
            if (opcode(words[at]) == OP_FUNCTION && m.state[words[at + 2]] & FUNCTION_REACHED) emit_function(&m, at);
        *out = m.out;
        *out_size = m.used * sizeof *m.out;
    } else {
        free(m.out);
    }
    free(m.state);
    free(m.value);
    free(m.spec);
    free(m.place);
    free(m.loop);
    return ready ? TUFF_OK : error_out_of_host_memory(room);
}
