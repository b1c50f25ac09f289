/* Reads what a SPIR-V module declares; its functions are skipped.
 *
 * The words may be anything. One walk checks that the instructions lie in the module and are as long as their fields
 * need, and notes where each id is defined. Afterwards a definition is only followed to ones that stand before it, as
 * SPIR-V wants it, so that nothing goes in circles, only so deep, and only so many steps are made. */
#include "runtime/device/module.h"

#include <stdlib.h>
#include <string.h>

enum {
    OP_ENTRY_POINT = 15,
    OP_EXECUTION_MODE = 16,
    OP_CAPABILITY = 17,
    OP_TYPE_BOOL = 20,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_MATRIX = 24,
    OP_TYPE_IMAGE = 25,
    OP_TYPE_SAMPLER = 26,
    OP_TYPE_SAMPLED_IMAGE = 27,
    OP_TYPE_ARRAY = 28,
    OP_TYPE_RUNTIME_ARRAY = 29,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_CONSTANT = 43,
    OP_CONSTANT_COMPOSITE = 44,
    OP_CONSTANT_NULL = 46,
    OP_SPEC = 50,
    OP_SPEC_COMPOSITE = 51,
    OP_SPEC_OP = 52,
    OP_FUNCTION = 54,
    OP_VARIABLE = 59,
    OP_DECORATE = 71,
    OP_MEMBER_DECORATE = 72,
    OP_COMPOSITE_EXTRACT = 81,
    OP_ADD = 128,
    OP_SUBTRACT = 130,
    OP_MULTIPLY = 132,
    OP_DIVIDE = 134,
    OP_EXECUTION_MODE_ID = 331,
};
enum {
    MODEL_COMPUTE = 5,
    MODE_LOCAL_SIZE = 17,
    MODE_LOCAL_SIZE_ID = 38,
    BUILT_IN_NUM_WORKGROUPS = 24,
    BUILT_IN_WORKGROUP_SIZE = 25,
};
enum {
    CLASS_UNIFORM_CONSTANT = 0,
    CLASS_UNIFORM = 2,
    CLASS_WORKGROUP = 4,
    CLASS_PUSH_CONSTANT = 9,
    CLASS_STORAGE_BUFFER = 12,
};
typedef enum decoration {
    SPEC_ID = 1,
    BUFFER_BLOCK = 3,
    ROW_MAJOR = 4,
    ARRAY_STRIDE = 6,
    MATRIX_STRIDE = 7,
    BUILT_IN = 11,
    NON_WRITABLE = 24,
    NON_READABLE = 25,
    BINDING = 33,
    DESCRIPTOR_SET = 34,
    OFFSET = 35,
} decoration;

static const uint32_t MAGIC = 0x07230203;
enum { HEADER = 5, MOST_IDS = 0x400000 /* SPIR-V's own limit */, MOST_STEPS = 50000000, MOST_DEEP = 300 };
static const uint64_t MOST_BYTES = UINT64_C(1) << 31; /* sizes end here, so that they can be multiplied */

typedef struct reading {
    const char *name;
    const uint32_t *words;
    size_t count, functions; /* words; where the first function begins: declarations stand before it */
    uint32_t *defined;       /* by id: the word at which a type, constant or variable is defined; 0: none is */
    uint32_t bound;
    const uint32_t *constants;
    uint32_t constant_count;
    bool specialised; /* what was evaluated depends on specialization constants */
    size_t wrong;     /* a word that makes no sense; 0: none */
    uint32_t steps, depth;
    uint32_t main; /* the entry point's id; 0: there is none */
} reading;

static uint32_t op_at(const reading *r, size_t at) {
    return r->words[at] & 0xffff;
}

static uint32_t length_at(const reading *r, size_t at) {
    return r->words[at] >> 16;
}

static bool step(reading *r) {
    if (r->steps == MOST_STEPS) r->wrong = r->functions;
    return r->steps < MOST_STEPS && ++r->steps;
}

/* The words that an instruction must have for its fields to be read, and which of them is the id that it defines. */
static uint32_t shortest(uint32_t op, uint32_t *id) {
    *id = 0;
    switch (op) {
    case OP_CAPABILITY: return 2;
    case OP_EXECUTION_MODE:
    case OP_EXECUTION_MODE_ID:
    case OP_DECORATE: return 3;
    case OP_ENTRY_POINT:
    case OP_MEMBER_DECORATE: return 4;
    case OP_TYPE_BOOL:
    case OP_TYPE_IMAGE:
    case OP_TYPE_SAMPLER:
    case OP_TYPE_SAMPLED_IMAGE:
    case OP_TYPE_RUNTIME_ARRAY:
    case OP_TYPE_STRUCT: *id = 1; return 2;
    case OP_TYPE_INT:
    case OP_TYPE_FLOAT: *id = 1; return 3;
    case OP_TYPE_VECTOR:
    case OP_TYPE_MATRIX:
    case OP_TYPE_ARRAY:
    case OP_TYPE_POINTER: *id = 1; return 4;
    case OP_CONSTANT_NULL:
    case OP_CONSTANT_COMPOSITE:
    case OP_SPEC_COMPOSITE: *id = 2; return 3;
    case OP_CONSTANT:
    case OP_SPEC:
    case OP_SPEC_OP:
    case OP_VARIABLE: *id = 2; return 4;
    default: return 1;
    }
}

static tuff_result refuse_word(const reading *r, size_t at, const char *what) {
    return error_set(TUFF_ERROR_ARGUMENT, "operator '%s': its SPIR-V %s at word %zu of %zu (spirv-val says more)",
                     r->name, what, at, r->count);
}

/* The first walk. */
static tuff_result index_module(reading *r) {
    r->functions = r->count;
    for (size_t i = HEADER; i < r->count; i += length_at(r, i)) {
        uint32_t op = op_at(r, i), length = length_at(r, i), id;
        if (length == 0 || length > r->count - i) return refuse_word(r, i, "is cut short");
        if (op == OP_FUNCTION && r->functions == r->count) r->functions = i;
        if (r->functions < r->count) continue;
        if (length < shortest(op, &id)) return refuse_word(r, i, "has an instruction that is too short");
        if (id) {
            uint32_t defines = r->words[i + id];
            if (defines == 0 || defines >= r->bound || r->defined[defines])
                return refuse_word(r, i, "defines an id that is taken or out of range");
            r->defined[defines] = (uint32_t)i;
        }
        if (op == OP_ENTRY_POINT && length > 4 && r->words[i + 1] == MODEL_COMPUTE
            && memcmp(&r->words[i + 3], "main", 5) == 0)
            r->main = r->words[i + 2];
    }
    if (r->main) return TUFF_OK;
    return error_set(TUFF_ERROR_ARGUMENT, "operator '%s': its SPIR-V has no compute shader with the entry point 'main'",
                     r->name);
}

/* Where an id is defined, which must be before the word `before`; 0, and the module is wrong, if it is not. */
static size_t definition(reading *r, uint32_t id, size_t before) {
    size_t at = id < r->bound ? r->defined[id] : 0;
    if (at && at < before && step(r)) return at;
    if (!r->wrong) r->wrong = before;
    return 0;
}

/* The same for a definition that is evaluated recursively; r->depth-- ends it. */
static size_t enter(reading *r, uint32_t id, size_t before) {
    if (r->depth++ < MOST_DEEP) return definition(r, id, before);
    if (!r->wrong) r->wrong = before;
    return 0;
}

/* The word of a decoration's value, or of the decoration where it has none; 0: the id is not decorated so. */
static size_t find_decoration(reading *r, uint32_t id, decoration kind) {
    for (size_t i = HEADER; i < r->functions && step(r); i += length_at(r, i))
        if (op_at(r, i) == OP_DECORATE && r->words[i + 1] == id && r->words[i + 2] == (uint32_t)kind)
            return i + (length_at(r, i) > 3 ? 3 : 2);
    return 0;
}

static size_t find_member_decoration(reading *r, uint32_t id, uint32_t member, decoration kind) {
    for (size_t i = HEADER; i < r->functions && step(r); i += length_at(r, i))
        if (op_at(r, i) == OP_MEMBER_DECORATE && r->words[i + 1] == id && r->words[i + 2] == member
            && r->words[i + 3] == (uint32_t)kind)
            return i + (length_at(r, i) > 4 ? 4 : 3);
    return 0;
}

/* ---- constants and sizes ------------------------------------------------------------------------ */

/* The value of a 32-bit integer constant; false: it is not known. */
static bool evaluate(reading *r, uint32_t id, size_t before, uint32_t *value);

static bool evaluate_operation(reading *r, size_t at, uint32_t *value) {
    const uint32_t *w = &r->words[at];
    uint32_t op = w[3], a, b;
    if (length_at(r, at) != 6) return false;
    if (op == OP_COMPOSITE_EXTRACT) {
        size_t from = definition(r, w[4], at);
        bool composite = from && (op_at(r, from) == OP_CONSTANT_COMPOSITE || op_at(r, from) == OP_SPEC_COMPOSITE);
        return composite && w[5] < length_at(r, from) - 3 && evaluate(r, r->words[from + 3 + w[5]], from, value);
    }
    if (op != OP_ADD && op != OP_SUBTRACT && op != OP_MULTIPLY && op != OP_DIVIDE) return false;
    if (!evaluate(r, w[4], at, &a) || !evaluate(r, w[5], at, &b) || (op == OP_DIVIDE && b == 0)) return false;
    *value = op == OP_ADD ? a + b : op == OP_SUBTRACT ? a - b : op == OP_MULTIPLY ? a * b : a / b;
    return true;
}

static bool evaluate_at(reading *r, uint32_t id, size_t at, uint32_t *value) {
    size_t spec;
    switch (op_at(r, at)) {
    case OP_CONSTANT: *value = r->words[at + 3]; return length_at(r, at) == 4;
    case OP_CONSTANT_NULL: *value = 0; return true;
    case OP_SPEC:
        *value = r->words[at + 3];
        spec = find_decoration(r, id, SPEC_ID);
        if (!spec) return length_at(r, at) == 4;
        r->specialised = true;
        if (r->words[spec] < r->constant_count) *value = r->constants[r->words[spec]];
        return length_at(r, at) == 4;
    case OP_SPEC_OP: return evaluate_operation(r, at, value);
    default: return false;
    }
}

static bool evaluate(reading *r, uint32_t id, size_t before, uint32_t *value) {
    size_t at = enter(r, id, before);
    bool known = at && evaluate_at(r, id, at, value);
    r->depth--;
    return known;
}

typedef struct extent {
    uint64_t size, alignment; /* bytes */
} extent;

static uint64_t round_up(uint64_t size, uint64_t alignment) {
    return (size + alignment - 1) / alignment * alignment;
}

static extent bounded(uint64_t size, uint64_t alignment) {
    return (extent){ size < MOST_BYTES ? size : MOST_BYTES, alignment };
}

/* Of a type: by what it is decorated with, else by GLSL's std430, which Vulkan counts shared memory by. */
static extent extent_of(reading *r, uint32_t type, size_t before);

static bool is_scalar(const reading *r, size_t at) {
    return op_at(r, at) == OP_TYPE_BOOL || op_at(r, at) == OP_TYPE_INT || op_at(r, at) == OP_TYPE_FLOAT;
}

/* A matrix in a struct that says how it lies. */
static bool matrix_extent(reading *r, uint32_t structure, uint32_t member, size_t matrix, extent *out) {
    size_t stride = find_member_decoration(r, structure, member, MATRIX_STRIDE);
    size_t column = definition(r, r->words[matrix + 2], matrix);
    if (!stride || !column || op_at(r, column) != OP_TYPE_VECTOR) return false;
    uint64_t vectors = r->words[matrix + 3], size = r->words[column + 3];
    uint64_t component = extent_of(r, r->words[column + 2], column).size;
    if (find_member_decoration(r, structure, member, ROW_MAJOR)) {
        uint64_t rows = size;
        size = vectors, vectors = rows;
    }
    if (vectors == 0 || vectors > 4 || size > 4) return false;
    *out = bounded((vectors - 1) * r->words[stride] + size * component, component ? component : 1);
    return true;
}

static extent struct_extent(reading *r, size_t at) {
    uint32_t id = r->words[at + 1], members = length_at(r, at) - 2;
    uint64_t end = 0, alignment = 1;
    for (uint32_t i = 0; i < members && !r->wrong; i++) {
        size_t member = definition(r, r->words[at + 2 + i], at), offset = find_member_decoration(r, id, i, OFFSET);
        extent own;
        if (!member) break;
        if (op_at(r, member) != OP_TYPE_MATRIX || !matrix_extent(r, id, i, member, &own))
            own = extent_of(r, r->words[at + 2 + i], at);
        uint64_t begin = offset ? r->words[offset] : round_up(end, own.alignment);
        if (begin + own.size > end) end = begin + own.size;
        if (own.alignment > alignment) alignment = own.alignment;
    }
    return bounded(end, alignment);
}

static extent array_extent(reading *r, uint32_t type, size_t at) {
    extent element = extent_of(r, r->words[at + 2], at);
    size_t decorated = find_decoration(r, type, ARRAY_STRIDE);
    uint64_t stride = decorated ? r->words[decorated] : round_up(element.size, element.alignment);
    uint32_t count = 0;
    if (!evaluate(r, r->words[at + 3], at, &count) || count == 0) return (extent){ 0, element.alignment };
    return bounded((count - 1) * stride + element.size, element.alignment);
}

static extent vector_extent(reading *r, size_t at) {
    uint32_t count = r->words[at + 3];
    bool matrix = op_at(r, at) == OP_TYPE_MATRIX;
    size_t component = definition(r, r->words[at + 2], at);
    if (!component || count < 2 || count > 4
        || (matrix ? op_at(r, component) != OP_TYPE_VECTOR : !is_scalar(r, component))) {
        if (!r->wrong) r->wrong = at;
        return (extent){ 0, 1 };
    }
    extent part = extent_of(r, r->words[at + 2], at);
    if (!matrix) return (extent){ part.size * count, part.alignment * (count == 2 ? 2 : 4) };
    return (extent){ round_up(part.size, part.alignment) * (count - 1) + part.size, part.alignment };
}

static extent extent_at(reading *r, uint32_t type, size_t at) {
    uint32_t bytes;
    switch (op_at(r, at)) {
    case OP_TYPE_BOOL: return (extent){ 4, 4 };
    case OP_TYPE_INT:
    case OP_TYPE_FLOAT:
        bytes = r->words[at + 2] / 8;
        if (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) return (extent){ bytes, bytes };
        break;
    case OP_TYPE_POINTER: return (extent){ 8, 8 };
    case OP_TYPE_VECTOR:
    case OP_TYPE_MATRIX: return vector_extent(r, at);
    case OP_TYPE_ARRAY: return array_extent(r, type, at);
    case OP_TYPE_RUNTIME_ARRAY: return (extent){ 0, extent_of(r, r->words[at + 2], at).alignment };
    case OP_TYPE_STRUCT: return struct_extent(r, at);
    default: break;
    }
    if (!r->wrong) r->wrong = at;
    return (extent){ 0, 1 };
}

static extent extent_of(reading *r, uint32_t type, size_t before) {
    size_t at = enter(r, type, before);
    extent found = { 0, 1 };
    if (at) found = extent_at(r, type, at);
    r->depth--;
    return found;
}

/* ---- variables ---------------------------------------------------------------------------------- */

/* What stands at a binding instead of a storage buffer; NULL: it is one. */
static const char *no_buffer(reading *r, uint32_t class, size_t type) {
    switch (op_at(r, type)) {
    case OP_TYPE_SAMPLER: return "a sampler";
    case OP_TYPE_SAMPLED_IMAGE: return "an image with a sampler";
    case OP_TYPE_IMAGE: return "an image or a texel buffer";
    case OP_TYPE_ARRAY:
    case OP_TYPE_RUNTIME_ARRAY: return "an array of descriptors";
    case OP_TYPE_STRUCT:
        if (class == CLASS_STORAGE_BUFFER || find_decoration(r, r->words[type + 1], BUFFER_BLOCK)) return NULL;
        return "a uniform block";
    default: return "something";
    }
}

/* GLSL's readonly and writeonly decorate the variable or each member of its block. */
static bool decorated_throughout(reading *r, uint32_t variable, size_t block, decoration kind) {
    if (find_decoration(r, variable, kind)) return true;
    uint32_t members = length_at(r, block) - 2;
    for (uint32_t i = 0; i < members && !r->wrong; i++)
        if (!find_member_decoration(r, r->words[block + 1], i, kind)) return false;
    return members > 0;
}

static tuff_result read_descriptor(reading *r, uint32_t id, uint32_t class, size_t type, uint32_t bindings,
                                   module_facts *facts) {
    size_t set = find_decoration(r, id, DESCRIPTOR_SET), binding = find_decoration(r, id, BINDING);
    if (!binding)
        return error_set(TUFF_ERROR_ARGUMENT, "operator '%s': its shader has a resource without a binding", r->name);
    uint32_t number = r->words[binding];
    if (set && r->words[set] != 0)
        return error_set(TUFF_ERROR_ARGUMENT, "operator '%s': its shader uses descriptor set %u; only set 0 is bound",
                         r->name, r->words[set]);
    if (number >= bindings)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "operator '%s': its shader has a binding %u; inputs and outputs are bindings 0 to %u", r->name,
                         number, bindings - 1);
    const char *what = no_buffer(r, class, type);
    if (what)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "operator '%s': binding %u of its shader is %s; each tensor is a storage buffer (in GLSL: "
                         "layout(set = 0, binding = %u) buffer X { float x[]; };)",
                         r->name, number, what, number);
    if (!decorated_throughout(r, id, type, NON_READABLE)) facts->readable |= 1u << number;
    if (!decorated_throughout(r, id, type, NON_WRITABLE)) facts->writable |= 1u << number;
    return TUFF_OK;
}

static tuff_result read_variable(reading *r, size_t at, uint32_t bindings, module_facts *facts) {
    uint32_t class = r->words[at + 3];
    if (class != CLASS_UNIFORM_CONSTANT && class != CLASS_UNIFORM && class != CLASS_STORAGE_BUFFER
        && class != CLASS_PUSH_CONSTANT && class != CLASS_WORKGROUP)
        return TUFF_OK;
    size_t pointer = definition(r, r->words[at + 1], at);
    size_t type = pointer && op_at(r, pointer) == OP_TYPE_POINTER ? definition(r, r->words[pointer + 3], at) : 0;
    if (!type || r->words[pointer + 2] != class) return refuse_word(r, at, "has a variable without a type");
    if (class != CLASS_PUSH_CONSTANT && class != CLASS_WORKGROUP)
        return read_descriptor(r, r->words[at + 2], class, type, bindings, facts);
    extent space = extent_of(r, r->words[pointer + 3], at);
    if (class == CLASS_WORKGROUP)
        facts->shared_bytes = round_up(facts->shared_bytes, space.alignment) + space.size;
    else if (space.size > facts->param_bytes)
        facts->param_bytes = (uint32_t)space.size;
    return TUFF_OK;
}

/* ---- the workgroup ------------------------------------------------------------------------------ */

static tuff_result read_capability(const reading *r, size_t at, module_facts *facts) {
    if (facts->capability_count == MODULE_CAPABILITIES)
        return error_set(TUFF_ERROR_ARGUMENT, "operator '%s': its SPIR-V declares more than %d capabilities", r->name,
                         MODULE_CAPABILITIES);
    facts->capabilities[facts->capability_count++] = r->words[at + 1];
    return TUFF_OK;
}

/* The constant that is decorated as the built-in WorkgroupSize; 0: none is. */
static uint32_t workgroup_size_constant(const reading *r) {
    for (size_t i = HEADER; i < r->functions; i += length_at(r, i))
        if (op_at(r, i) == OP_DECORATE && length_at(r, i) > 3 && r->words[i + 2] == BUILT_IN
            && r->words[i + 3] == BUILT_IN_WORKGROUP_SIZE)
            return r->words[i + 1];
    return 0;
}

/* From ids of constants; a size that is not known counts as 1. */
static void evaluate_local_size(reading *r, const uint32_t *ids, module_facts *facts) {
    for (uint32_t i = 0; i < 3; i++)
        if (!evaluate(r, ids[i], r->functions, &facts->local_size[i])) facts->local_size[i] = 1;
}

static tuff_result read_workgroup(reading *r, module_facts *facts) {
    uint32_t constant = workgroup_size_constant(r);
    size_t at = constant ? definition(r, constant, r->functions) : 0;
    bool found = at && (op_at(r, at) == OP_CONSTANT_COMPOSITE || op_at(r, at) == OP_SPEC_COMPOSITE);
    if (found && length_at(r, at) == 6) evaluate_local_size(r, &r->words[at + 3], facts);
    for (size_t i = HEADER; i < r->functions && !found; i += length_at(r, i)) {
        uint32_t op = op_at(r, i);
        bool literal = op == OP_EXECUTION_MODE && r->words[i + 2] == MODE_LOCAL_SIZE;
        bool by_id = op == OP_EXECUTION_MODE_ID && r->words[i + 2] == MODE_LOCAL_SIZE_ID;
        if ((!literal && !by_id) || r->words[i + 1] != r->main || length_at(r, i) != 6) continue;
        if (literal) memcpy(facts->local_size, &r->words[i + 3], sizeof facts->local_size);
        if (by_id) evaluate_local_size(r, &r->words[i + 3], facts);
        facts->local_size_by_id = by_id;
        found = true;
    }
    if (found) return TUFF_OK;
    return error_set(TUFF_ERROR_ARGUMENT,
                     "operator '%s': its shader says no workgroup size (layout(local_size_x = 64) in;)", r->name);
}

static tuff_result read_declarations(reading *r, uint32_t bindings, module_facts *facts) {
    TRY(index_module(r));
    for (size_t i = HEADER; i < r->functions; i += length_at(r, i)) {
        if (op_at(r, i) == OP_CAPABILITY) TRY(read_capability(r, i, facts));
        if (op_at(r, i) == OP_VARIABLE) TRY(read_variable(r, i, bindings, facts));
        if (r->wrong) return refuse_word(r, r->wrong, "makes no sense");
    }
    TRY(read_workgroup(r, facts));
    facts->sized_by_constants = r->specialised;
    return r->wrong ? refuse_word(r, r->wrong, "makes no sense") : TUFF_OK;
}

tuff_result module_read(const char *name, const uint32_t *words, size_t size, uint32_t bindings,
                        const uint32_t *constants, uint32_t constant_count, module_facts *facts) {
    reading r = { .name = name,
                  .words = words,
                  .count = size / sizeof *words,
                  .constants = constants,
                  .constant_count = constant_count };
    *facts = (module_facts){ 0 };
    if (size % sizeof *words || r.count < HEADER || words[0] != MAGIC)
        return error_set(TUFF_ERROR_ARGUMENT,
                         "operator '%s': its %zu bytes are no SPIR-V of this machine's byte order (compile GLSL with "
                         "glslang -V --target-env vulkan1.2)",
                         name, size);
    facts->version = words[1];
    r.bound = words[3];
    if (r.bound > MOST_IDS || r.count > UINT32_MAX) return refuse_word(&r, 3, "has more ids than SPIR-V allows");
    r.defined = calloc((size_t)r.bound + 1, sizeof *r.defined);
    if (!r.defined) return error_out_of_host_memory(((size_t)r.bound + 1) * sizeof *r.defined);
    tuff_result result = read_declarations(&r, bindings, facts);
    free(r.defined);
    return result;
}

bool module_counts_groups(const uint32_t *words, size_t size) {
    size_t count = size / sizeof *words;
    for (size_t i = HEADER; i < count && (words[i] & 0xffff) != OP_FUNCTION; i += words[i] >> 16)
        if ((words[i] & 0xffff) == OP_DECORATE && words[i + 2] == BUILT_IN && words[i + 3] == BUILT_IN_NUM_WORKGROUPS)
            return true;
    return false;
}
