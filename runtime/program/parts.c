/* How work is counted: multiply-adds that rows know of, since products are nearly all of what is long; a word that is
 * read or written counts as WORD_WORK of them. Both are rough, and the bound leaves room for it. */
#include "runtime/program/parts.h"

enum { WORD_WORK = 8, DIRECTIONS = 3, MOST_PARTS = 65536 };

static uint64_t work_of(const kernel_call *call) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < call->operand_count; i++) bytes += call->operands[i].size;
    return call->work + bytes / 4 * WORD_WORK;
}

/* Whether all directions may be divided. Kernels over flat lists number their workgroups row by row, which takes whole
 * rows: all else that looks at gl_NumWorkGroups says that it stays whole, or is a user's. */
static bool takes_whole_rows(const tuff_device *device, const kernel_call *call) {
    return call->groups[1] > 1 && device_kernel_counts_groups(device, call->kernel);
}

static bool stays_whole(const tuff_device *device, const kernel_call *call) {
    return call->whole || (call->kernel >= KERNEL_COUNT && device_kernel_counts_groups(device, call->kernel));
}

/* The largest part counts: it has no more workgroups than a share of 1 / wanted. Layers go first, then lines of them.
 */
parts parts_of(const tuff_device *device, const kernel_call *call) {
    const device_limits *limits = device_get_limits(device);
    parts parts = { { 1, 1, 1 } };
    uint64_t wanted = limits->parts ? limits->parts : (work_of(call) - 1) / limits->dispatch_work + 1;
    if (wanted <= 1 || stays_whole(device, call)) return parts;
    if (wanted > MOST_PARTS) wanted = MOST_PARTS;
    uint32_t last = takes_whole_rows(device, call) ? 1 : 0;
    uint64_t below = (uint64_t)call->groups[0] * call->groups[1] * call->groups[2], most = below / wanted;
    for (uint32_t axis = DIRECTIONS; axis-- > last;) {
        uint64_t groups = call->groups[axis];
        below /= groups; /* workgroups of one step along the axis */
        uint64_t together = most > below ? most / below : 1;
        parts.counts[axis] = (uint32_t)((groups + together - 1) / together);
        if (most >= below) break;
    }
    return parts;
}

uint32_t parts_count(const parts *parts) {
    return parts->counts[0] * parts->counts[1] * parts->counts[2];
}

void parts_at(const parts *parts, const kernel_call *call, uint32_t index, uint32_t base[3], uint32_t groups[3]) {
    for (uint32_t axis = 0; axis < DIRECTIONS; axis++) {
        uint64_t count = parts->counts[axis], at = index % count;
        index /= (uint32_t)count;
        base[axis] = (uint32_t)(call->groups[axis] * at / count);
        groups[axis] = (uint32_t)(call->groups[axis] * (at + 1) / count) - base[axis];
    }
}

uint64_t parts_largest(const parts *parts, const kernel_call *call) {
    uint64_t groups = 1;
    for (uint32_t axis = 0; axis < DIRECTIONS; axis++)
        groups *= (call->groups[axis] + parts->counts[axis] - 1) / parts->counts[axis];
    return groups;
}

/* The newer validation layers take each part to write all of the ranges that it is bound to and see hazards between
 * parts, so there a barrier stands between them. */
void parts_record(const parts *parts, const tuff_device *device, const kernel_call *call, const dispatch_set *set,
                  uint32_t index, bool backwards, commands *commands) {
    uint32_t count = parts_count(parts), base[3], groups[3];
    bool validated = device_is_validated(device);
    for (uint32_t part = 0; part < count; part++) {
        if (part > 0 && validated)
            commands_barrier(commands, USE_KERNEL_READ | USE_KERNEL_WRITE, USE_KERNEL_READ | USE_KERNEL_WRITE);
        parts_at(parts, call, backwards ? count - 1 - part : part, base, groups);
        commands_dispatch_part(commands, set, index, base, groups);
    }
}
