#include "plan_ratio.h"

#include "runtime/program/program.h"

double plan_ratio(const tuff_program *program) {
    enum { ALIGNMENT = 256 };
    uint64_t largest = 0, alignment = device_get_limits(program->device)->range_alignment;
    if (alignment < ALIGNMENT) alignment = ALIGNMENT;
    for (uint32_t level = 0; level < program->schedule.level_count; level++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < program->lowered->storage_count; i++)
            if (program->lives[i].first <= level && level <= program->lives[i].last)
                sum += (program->lives[i].size + alignment - 1) / alignment * alignment;
        if (sum > largest) largest = sum;
    }
    return largest ? (double)program->plan.total / (double)largest : 1;
}
