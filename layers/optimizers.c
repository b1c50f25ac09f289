/* The optimizers' update rules, over flat blocks of parameters, gradients and moments, and the clipping of gradients
 * by their global norm. What changes from step to step is read from the step record by the kernels. */
#include "layers/flat.h"
#include "runtime/model/model.h"

#include <string.h>

enum { LANES = 64 }; /* of shaders/optimizer */

static uint32_t float_bits(double value) {
    float number = (float)value;
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* The most elements that one call may take, a multiple of `multiple`: bounded by what a binding spans and by the
 * number of workgroups. */
static uint64_t slice_limit(const lowering *lowering, uint64_t lanes_per_group, uint64_t multiple) {
    uint64_t bindable = bindable_elements(lowering), reachable = lanes_per_group * 4 * MAX_GROUPS;
    uint64_t limit = bindable < reachable ? bindable : reachable;
    return limit < multiple ? multiple : limit / multiple * multiple;
}

static view slice(const view *whole, uint64_t begin, uint64_t count) {
    view part = *whole;
    part.offset += begin;
    part.shape = (tuff_shape){ .rank = 1, .sizes = { (int64_t)count } };
    part.strides[0] = 1;
    return part;
}

static uint64_t at_most(uint64_t value, uint64_t limit) {
    return value < limit ? value : limit;
}

/* Binds a flat view; *first is counted in vec4. */
static operand bind(const lowering *lowering, const view *whole, uint64_t begin, uint64_t count, uint32_t access,
                    uint32_t *first) {
    view part = slice(whole, begin, count);
    operand bound = lowering_operand(lowering, &part, access, first);
    *first /= 4;
    return bound;
}

/* Calls an update kernel over slices. call has the kernel and its constants from 1 on; hyper follows the blocks'
 * offsets in the push constants. */
static tuff_result lower_update(lowering *lowering, kernel_call *call, const view *parameter, const view *gradient,
                                const view *moments, uint32_t moment_count, const view *scale, uint64_t count,
                                const uint32_t *hyper, uint32_t hyper_count) {
    uint64_t limit = slice_limit(lowering, LANES, STATE_ALIGNMENT);
    for (uint64_t begin = 0; begin < count; begin += limit) {
        uint64_t part = at_most(count - begin, limit), quads = (part + 3) / 4;
        uint32_t *p = call->params;
        p[0] = (uint32_t)quads;
        call->operands[0] = lowering_step_record(lowering);
        call->operands[1] = bind(lowering, parameter, begin, part, ACCESS_READ | ACCESS_WRITE, &p[1]);
        call->operands[2] = bind(lowering, gradient, begin, part, ACCESS_READ, &p[2]);
        p[3] = 0;
        if (scale)
            call->operands[3] = lowering_operand(lowering, scale, ACCESS_READ, &p[3]);
        else /* unread; every binding needs a buffer */
            call->operands[3] = call->operands[0];
        for (uint32_t m = 0; m < moment_count; m++)
            call->operands[4 + m] = bind(lowering, &moments[m], begin, part, ACCESS_READ | ACCESS_WRITE, &p[4 + m]);
        /* without moments the rule's offset is there all the same */
        uint32_t offsets = moment_count ? moment_count : 1;
        if (!moment_count) p[4] = 0;
        memcpy(p + 4 + offsets, hyper, hyper_count * sizeof *hyper);
        call->param_count = 4 + offsets + hyper_count;
        call->operand_count = 4 + moment_count;
        call->constants[0] = scale != NULL;
        call->groups[0] = (uint32_t)((quads + LANES - 1) / LANES);
        call->groups[1] = call->groups[2] = 1;
        TRY(lowering_call(lowering, call));
    }
    return TUFF_OK;
}

/* ---- SGD ---------------------------------------------------------------------------------------- */

static tuff_result lower_sgd(lowering *lowering, const tuff_optimizer *optimizer, const view *parameter,
                             const view *gradient, const view *moments, const view *scale, uint64_t count) {
    const float *h = optimizer->hyper;
    const uint32_t hyper[] = { float_bits(h[HYPER_MOMENTUM]), float_bits(h[HYPER_DAMPENING]),
                               float_bits(h[HYPER_SGD_DECAY]) };
    uint32_t moment_count = optimizer->rule->moment_count;
    kernel_call call = { .kernel = KERNEL_SGD,
                         .constants = { 0, moment_count != 0, h[HYPER_NESTEROV] != 0 },
                         .constant_count = 3 };
    return lower_update(lowering, &call, parameter, gradient, moments, moment_count, scale, count, hyper, 3);
}

const optimizer_rule optimizer_sgd = { .name = "sgd",
                                       .formula = "p = p - lr (g + weight_decay p)",
                                       .lower = lower_sgd };

const optimizer_rule optimizer_sgd_momentum = {
    .name = "sgd_momentum",
    .formula = "b = momentum b + (1 - dampening) (g + weight_decay p), p = p - lr b",
    .moment_count = 1,
    .moments = { "momentum_buffer" },
    .lower = lower_sgd,
};

/* ---- Adam --------------------------------------------------------------------------------------- */

static tuff_result lower_adam(lowering *lowering, const tuff_optimizer *optimizer, const view *parameter,
                              const view *gradient, const view *moments, const view *scale, uint64_t count) {
    const float *h = optimizer->hyper;
    const uint32_t hyper[] = { float_bits(h[HYPER_BETA1]),
                               float_bits(h[HYPER_BETA2]),
                               float_bits(1.0 - (double)h[HYPER_BETA1]),
                               float_bits(1.0 - (double)h[HYPER_BETA2]),
                               float_bits(h[HYPER_EPSILON]),
                               float_bits(h[HYPER_ADAM_DECAY]) };
    kernel_call call = { .kernel = KERNEL_ADAM,
                         .constants = { 0, optimizer->rule == &optimizer_adamw },
                         .constant_count = 2 };
    return lower_update(lowering, &call, parameter, gradient, moments, 2, scale, count, hyper, 6);
}

const optimizer_rule optimizer_adam = {
    .name = "adam",
    .formula = "g += weight_decay p, m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, "
               "p = p - lr m' / (sqrt(v') + epsilon), m' and v' corrected for their bias",
    .moment_count = 2,
    .moments = { "exp_avg", "exp_avg_sq" },
    .lower = lower_adam,
};

const optimizer_rule optimizer_adamw = {
    .name = "adamw",
    .formula = "p = p - lr weight_decay p, then as adam without weight_decay",
    .moment_count = 2,
    .moments = { "exp_avg", "exp_avg_sq" },
    .lower = lower_adam,
};

/* ---- clipping ----------------------------------------------------------------------------------- */

enum { NORM_CHUNK = 4096 * 4 }; /* elements of one workgroup of norm_parts.comp */

tuff_result lower_clip_scale(lowering *lowering, const view *gradients, uint32_t count, float clip_norm,
                             view *scale_out) {
    uint64_t limit = slice_limit(lowering, NORM_CHUNK / 4, NORM_CHUNK), parts = 0, done = 0;
    for (uint32_t i = 0; i < count; i++) parts += ((uint64_t)view_count(&gradients[i]) + NORM_CHUNK - 1) / NORM_CHUNK;
    view part;
    TRY(lowering_scratch(lowering, parts, "partial norms", &part));
    TRY(lowering_scratch(lowering, 1, "clip scale", scale_out));
    for (uint32_t i = 0; i < count; i++) {
        uint64_t elements = (uint64_t)view_count(&gradients[i]);
        for (uint64_t begin = 0; begin < elements; begin += limit) {
            uint64_t size = at_most(elements - begin, limit), groups = (size + NORM_CHUNK - 1) / NORM_CHUNK;
            kernel_call call = { .kernel = KERNEL_NORM_PARTS,
                                 .operand_count = 2,
                                 .param_count = 3,
                                 .groups = { (uint32_t)groups, 1, 1 },
                                 .label = "gradient norm" };
            view slot = slice(&part, done, groups);
            call.params[0] = (uint32_t)((size + 3) / 4);
            call.operands[0] = bind(lowering, &gradients[i], begin, size, ACCESS_READ, &call.params[1]);
            call.operands[1] = lowering_operand(lowering, &slot, ACCESS_WRITE, &call.params[2]);
            TRY(lowering_call(lowering, &call));
            done += groups;
        }
    }
    kernel_call call = { .kernel = KERNEL_CLIP_SCALE,
                         .operand_count = 2,
                         .params = { (uint32_t)parts, 0, 0, float_bits(clip_norm) },
                         .param_count = 4,
                         .groups = { 1, 1, 1 },
                         .label = "clip scale" };
    call.operands[0] = lowering_operand(lowering, &part, ACCESS_READ, &call.params[1]);
    call.operands[1] = lowering_operand(lowering, scale_out, ACCESS_WRITE, &call.params[2]);
    return lowering_call(lowering, &call);
}
