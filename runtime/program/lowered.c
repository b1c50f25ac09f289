/* What a lowered program owns. */
#include "runtime/program/lowered.h"

#include <stdlib.h>

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
