/* What a lowered program owns. */
#include "runtime/program/lowered.h"

#include <stdlib.h>

uint64_t lowered_block_limit(const tuff_device *device) {
    uint64_t limit = device_get_limits(device)->max_allocation, forced;
    return device_force_number(device, "block", &forced) && forced < limit ? forced : limit;
}

void lowered_free(lowered *lowered) {
    if (!lowered) return;
    for (uint32_t i = 0; i < lowered->storage_count; i++) {
        free(lowered->storages[i].name);
        free(lowered->storages[i].tensor_name);
        free(lowered->storages[i].data);
    }
    for (uint32_t i = 0; i < lowered->call_count; i++) free((char *)lowered->calls[i].label);
    free(lowered->storages);
    free(lowered->calls);
    free(lowered->name);
    free(lowered);
}
