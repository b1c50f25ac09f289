/* Chains: made from nodes, merged, pruned. */
#include "runtime/graph/chain.h"

#include "runtime/graph/fuse.h"

#include <string.h>

uint8_t chain_constant(chain *chain, uint32_t bits) {
    for (uint32_t i = 0; i < chain->constant_count; i++)
        if (chain->constants[i] == bits) return (uint8_t)(CHAIN_CONSTANT + i);
    if (chain->constant_count == CHAIN_MAX_CONSTANTS) return 0xff;
    chain->constants[chain->constant_count] = bits;
    return (uint8_t)(CHAIN_CONSTANT + chain->constant_count++);
}

bool chain_is_random(const chain *chain) {
    for (uint32_t i = 0; i < chain->step_count; i++)
        if (chain->steps[i].op == CHAIN_DROPOUT) return true;
    return false;
}

static bool is_zero(const chain *chain, uint8_t operand) {
    float value = 1;
    if (operand < CHAIN_CONSTANT || operand >= CHAIN_INDEX) return false;
    memcpy(&value, &chain->constants[operand - CHAIN_CONSTANT], sizeof value);
    return value == 0;
}

bool chain_gates(const chain *chain, uint32_t i, uint8_t x, uint8_t *gate) {
    if (i + 1 >= chain->step_count) return false;
    const chain_step *compare = &chain->steps[i], *use = &chain->steps[i + 1];
    uint8_t open = (uint8_t)(CHAIN_STEP + i);
    if (compare->op != CHAIN_GT || !is_zero(chain, compare->b)) return false;
    *gate = compare->a;
    bool selects = use->op == CHAIN_SELECT && use->a == open && use->b == x && is_zero(chain, use->c);
    bool multiplies = use->op == CHAIN_MUL && ((use->a == open && use->b == x) || (use->a == x && use->b == open));
    return selects || multiplies;
}

uint32_t chain_operand_count(uint32_t op) {
    switch (op) {
    case CHAIN_NONE: return 0;
    case CHAIN_ADD:
    case CHAIN_SUB:
    case CHAIN_MUL:
    case CHAIN_DIV:
    case CHAIN_MAX:
    case CHAIN_MIN:
    case CHAIN_LEAKY_RELU:
    case CHAIN_GT:
    case CHAIN_GE:
    case CHAIN_EQ:
    case CHAIN_INT_EQ:
    case CHAIN_POW:
    case CHAIN_INT_GT:
    case CHAIN_INT_GE:
    case CHAIN_INT_ADD:
    case CHAIN_INT_SUB:
    case CHAIN_INT_MUL:
    case CHAIN_INT_MAX:
    case CHAIN_INT_MIN: return 2;
    case CHAIN_FMA:
    case CHAIN_SELECT:
    case CHAIN_DROPOUT:
    case CHAIN_CLAMP:
    case CHAIN_WITHIN:
    case CHAIN_SHARE:
    case CHAIN_SOFTPLUS:
    case CHAIN_ELU:
    case CHAIN_ELU_GRAD:
    case CHAIN_FILL: return 3;
    default: return 1;
    }
}

bool chain_uses_index(const chain *chain) {
    for (uint32_t i = 0; i < chain->step_count; i++) {
        const chain_step *s = &chain->steps[i];
        const uint8_t operands[3] = { s->a, s->b, s->c };
        for (uint32_t k = 0; k < chain_operand_count(s->op); k++)
            if (operands[k] == CHAIN_INDEX) return true;
    }
    return false;
}

/* The operand of a step's result; the step is appended unless an equal one is there. 0xff if there is no room. */
static uint8_t add_step(chain *chain, chain_step step) {
    for (uint32_t i = 0; i < chain->step_count; i++)
        if (chain_word(chain->steps[i]) == chain_word(step)) return (uint8_t)(CHAIN_STEP + i);
    if (chain->step_count == CHAIN_MAX_STEPS) return 0xff;
    chain->steps[chain->step_count] = step;
    return (uint8_t)(CHAIN_STEP + chain->step_count++);
}

bool chain_of_node(const node *node, chain *chain) {
    const operator* op = node->op;
    memset(chain, 0, sizeof *chain);
    if (op->chain_op == CHAIN_NONE || node->output_count != 1) return false;
    bool of_ints = op->chain_op_i32 && node->input_count && node->inputs[0]->type == TUFF_I32;
    const uint32_t code = of_ints ? op->chain_op_i32 : op->chain_op;
    uint8_t operands[3] = { 0 };
    uint32_t count = 0, wanted = chain_operand_count(code);
    if (op->chain_op == CHAIN_DROPOUT) operands[count++] = CHAIN_INDEX;
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (op->shape_only >> i & 1) continue;
        if (count == wanted || i != chain->input_count) return false;
        operands[count++] = (uint8_t)chain->input_count++;
    }
    for (uint32_t i = 0; i < op->attribute_count; i++) {
        if (op->attributes[i].type != ATTRIBUTE_FLOAT) continue;
        if (count == wanted) return false;
        const float value = (float)node->attributes[i].f;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (node->outputs[0]->type == TUFF_I32) bits = (uint32_t)(int32_t)node->attributes[i].f;
        operands[count++] = chain_constant(chain, bits);
    }
    if (op->chain_op == CHAIN_DROPOUT) operands[count++] = chain_constant(chain, node->name_hash);
    if (count != wanted) return false;
    chain->steps[0] = (chain_step){ .op = (uint8_t)code, .a = operands[0], .b = operands[1], .c = operands[2] };
    chain->step_count = chain->output_count = 1;
    chain->outputs[0] = CHAIN_STEP;
    return true;
}

/* ---- merging ------------------------------------------------------------------------------------ */

/* What becomes of one chain's operands in another. */
typedef struct mapping {
    const chain *from;
    uint8_t inputs[MAX_INPUTS];
    uint8_t steps[CHAIN_MAX_STEPS];
} mapping;

static uint8_t map_operand(const mapping *map, chain *into, uint8_t operand) {
    if (operand >= CHAIN_STEP) return map->steps[operand - CHAIN_STEP];
    if (operand == CHAIN_INDEX) return operand;
    if (operand >= CHAIN_CONSTANT) return chain_constant(into, map->from->constants[operand - CHAIN_CONSTANT]);
    return map->inputs[operand];
}

static bool append_steps(mapping *map, chain *into) {
    for (uint32_t i = 0; i < map->from->step_count; i++) {
        chain_step step = map->from->steps[i];
        uint8_t *operands[3] = { &step.a, &step.b, &step.c };
        for (uint32_t k = 0; k < 3; k++) {
            *operands[k] = k < chain_operand_count(step.op) ? map_operand(map, into, *operands[k]) : 0;
            if (*operands[k] == 0xff) return false;
        }
        map->steps[i] = add_step(into, step);
        if (map->steps[i] == 0xff) return false;
    }
    return true;
}

static bool append_outputs(const mapping *map, chain *into) {
    for (uint32_t i = 0; i < map->from->output_count; i++) {
        if (into->output_count == CHAIN_MAX_OUTPUTS) return false;
        uint8_t operand = map_operand(map, into, map->from->outputs[i]);
        if (operand == 0xff) return false;
        into->outputs[into->output_count++] = operand;
    }
    return true;
}

/* The merged chain's input for a tensor; 0xff if there is no room. */
static uint8_t add_input(tuff_tensor *tensor, tuff_tensor **inputs, uint32_t *count) {
    for (uint32_t i = 0; i < *count; i++)
        if (inputs[i] == tensor) return (uint8_t)i;
    if (*count == CHAIN_CONSTANT || *count == MAX_INPUTS) return 0xff;
    inputs[*count] = tensor;
    return (uint8_t)(*count)++;
}

bool chain_merge(const chain *producer, tuff_tensor *const *producer_inputs, tuff_tensor *const *producer_outputs,
                 const chain *consumer, tuff_tensor *const *consumer_inputs, chain *merged, tuff_tensor **merged_inputs,
                 uint32_t *merged_input_count) {
    /* built aside: merged may be the consumer itself, merged_inputs its inputs */
    chain result = { 0 };
    tuff_tensor *inputs[MAX_INPUTS] = { NULL };
    uint32_t count = 0;
    mapping of_producer = { .from = producer }, of_consumer = { .from = consumer };
    for (uint32_t i = 0; i < producer->input_count; i++) {
        of_producer.inputs[i] = add_input(producer_inputs[i], inputs, &count);
        if (of_producer.inputs[i] == 0xff) return false;
    }
    if (!append_steps(&of_producer, &result)) return false;
    for (uint32_t i = 0; i < consumer->input_count; i++) {
        uint32_t made = producer->output_count;
        for (uint32_t k = 0; k < producer->output_count; k++)
            if (consumer_inputs[i] == producer_outputs[k]) made = k;
        of_consumer.inputs[i] = made < producer->output_count
                                    ? map_operand(&of_producer, &result, producer->outputs[made])
                                    : add_input(consumer_inputs[i], inputs, &count);
        if (of_consumer.inputs[i] == 0xff) return false;
    }
    if (!append_steps(&of_consumer, &result)) return false;
    if (!append_outputs(&of_consumer, &result) || !append_outputs(&of_producer, &result)) return false;
    result.input_count = count;
    *merged = result;
    memcpy(merged_inputs, inputs, sizeof inputs);
    *merged_input_count = count;
    return true;
}

/* ---- pruning ------------------------------------------------------------------------------------ */

void chain_prune(chain *chain, uint8_t input_map[MAX_INPUTS]) {
    bool live[CHAIN_MAX_STEPS] = { false }, used[MAX_INPUTS] = { false };
    for (uint32_t i = 0; i < chain->output_count; i++) {
        uint8_t operand = chain->outputs[i];
        if (operand >= CHAIN_STEP)
            live[operand - CHAIN_STEP] = true;
        else if (operand < CHAIN_CONSTANT)
            used[operand] = true;
    }
    for (uint32_t i = chain->step_count; i-- > 0;) {
        const chain_step *s = &chain->steps[i];
        const uint8_t operands[3] = { s->a, s->b, s->c };
        for (uint32_t k = 0; live[i] && k < chain_operand_count(s->op); k++) {
            if (operands[k] >= CHAIN_STEP)
                live[operands[k] - CHAIN_STEP] = true;
            else if (operands[k] < CHAIN_CONSTANT)
                used[operands[k]] = true;
        }
    }
    const struct chain before = *chain;
    mapping map = { .from = &before };
    uint32_t inputs = 0;
    for (uint32_t i = 0; i < MAX_INPUTS; i++) {
        input_map[i] = 0xff;
        if (i < chain->input_count && used[i]) input_map[i] = map.inputs[i] = (uint8_t)inputs++;
    }
    *chain = (struct chain){ .input_count = inputs, .output_count = before.output_count };
    for (uint32_t i = 0; i < before.step_count; i++) {
        if (!live[i]) continue;
        chain_step step = before.steps[i];
        uint8_t *operands[3] = { &step.a, &step.b, &step.c };
        for (uint32_t k = 0; k < 3; k++)
            *operands[k] = k < chain_operand_count(step.op) ? map_operand(&map, chain, *operands[k]) : 0;
        map.steps[i] = add_step(chain, step);
    }
    for (uint32_t i = 0; i < before.output_count; i++) chain->outputs[i] = map_operand(&map, chain, before.outputs[i]);
}
