/* What kernels over a flat list of elements share. */
#ifndef TUFF_LAYERS_FLAT_H
#define TUFF_LAYERS_FLAT_H

#include "runtime/program/lowering.h"

#include <string.h>

/* Workgroups, in two directions, for `invocations`; shaders/gather/flat.glsl counts them. */
static inline void flat_groups(kernel_call *call, uint64_t invocations, uint32_t lanes) {
    uint64_t groups = (invocations + lanes - 1) / lanes, rows = (groups + MAX_GROUPS - 1) / MAX_GROUPS;
    call->groups[0] = (uint32_t)((groups + rows - 1) / rows);
    call->groups[1] = (uint32_t)rows;
    call->groups[2] = 1;
}

/* The most elements that one binding can span, wherever they start; "slice=BYTES" forces fewer. */
static inline uint64_t bindable_on(const tuff_device *device) {
    const device_limits *limits = device_get_limits(device);
    uint64_t most = (limits->max_range - limits->range_alignment) / 4, forced;
    return device_force_number(device, "slice", &forced) && forced / 4 < most ? forced / 4 : most;
}

static inline uint64_t bindable_elements(const lowering *lowering) {
    return bindable_on(lowering_device(lowering));
}

/* Whether kernels may take four numbers at once; "wide=0" forces one. */
static inline bool wide_allowed(const lowering *lowering) {
    const char *force = device_force(lowering_device(lowering), "wide");
    return !force || strcmp(force, "0") != 0;
}

/* Whether kernels that take four numbers at once fetch them as texels: drivers on the CPU make one load of it, and a
 * loop over lanes and components of a buffer's. "texels=0" forces buffers. */
static inline bool texels_allowed(const lowering *lowering) {
    const device_limits *limits = device_get_limits(lowering_device(lowering));
    return limits->cpu && limits->texels && wide_allowed(lowering);
}

/* For a kernel that takes four numbers at once also where a range holds fewer: memory and states are padded to 16
 * bytes. */
static inline void bind_whole_fours(kernel_call *call, uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; i++) call->operands[i].size = (call->operands[i].size + 15) & ~UINT64_C(15);
}

/* How many turns the loops of one invocation may make together; "turns=COUNT" forces fewer. */
static inline uint64_t turns_allowed(const lowering *lowering) {
    return device_get_limits(lowering_device(lowering))->loop_turns;
}

/* UNSUPPORTED if an invocation of the node's kernel would make more. */
static inline tuff_result turns_check(const lowering *lowering, const node *node, uint64_t turns) {
    char text[160];
    if (turns <= turns_allowed(lowering)) return TUFF_OK;
    return error_set(
        TUFF_ERROR_UNSUPPORTED,
        "%s: at this size its loops make %llu turns, but this driver ends an invocation's loops after %llu; "
        "use a smaller size, or another device",
        node_text(node, text), (unsigned long long)turns, (unsigned long long)turns_allowed(lowering));
}

/* A part of a view along axis 0. */
static inline view view_part(const view *whole, int64_t begin, int64_t count) {
    view part = *whole;
    part.offset += (uint64_t)(begin * whole->strides[0]);
    part.shape.sizes[0] = count;
    return part;
}

static inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* How many steps along axis 0 fit a binding, at least one (lowering_call says so if even that is too much). */
static inline int64_t steps_that_fit(const lowering *lowering, const view *view) {
    int64_t step = view->shape.rank ? view->strides[0] : 1;
    uint64_t fit = bindable_elements(lowering) / (uint64_t)(step > 0 ? step : 1);
    return fit < 1 ? 1 : fit > INT32_MAX ? INT32_MAX : (int64_t)fit;
}

#endif
