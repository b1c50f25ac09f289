/* Lowered programs made by hand. */
#include "program_test.h"

uint32_t random_number(uint64_t *state, uint32_t limit) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((*state >> 33) * limit) >> 31);
}

static void *grow(void *array, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity) return array;
    *capacity = *capacity ? *capacity * 2 : 8;
    array = realloc(array, *capacity * size);
    assert_non_null(array);
    return array;
}

lowered *lowered_new(tuff_device *device) {
    lowered *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->device = device;
    l->name = strdup("made by hand");
    return l;
}

uint32_t add_storage(lowered *l, storage_kind kind, uint64_t size, const char *name) {
    l->storages = grow(l->storages, l->storage_count, &l->storage_capacity, sizeof *l->storages);
    storage *s = &l->storages[l->storage_count];
    *s = (storage){ .kind = kind, .size = size, .name = strdup(name), .tensor = l->storage_count, .host_size = size };
    if (kind == STORAGE_INPUT || kind == STORAGE_OUTPUT) s->tensor_name = strdup(name);
    return l->storage_count++;
}

kernel_call *add_call(lowered *l, segment_kind segment, const char *label) {
    l->calls = grow(l->calls, l->call_count, &l->call_capacity, sizeof *l->calls);
    kernel_call *call = &l->calls[l->call_count++];
    *call = (kernel_call){ .kernel = KERNEL_FILL, .label = strdup(label), .segment = segment, .groups = { 1, 1, 1 } };
    return call;
}

void add_operand(lowered *l, uint32_t storage, uint64_t offset, uint64_t size, uint32_t access) {
    kernel_call *call = &l->calls[l->call_count - 1];
    call->operands[call->operand_count++] =
        (operand){ .storage = storage, .offset = offset, .size = size, .access = access };
}

lowered *lowered_random(uint64_t *random, uint32_t storages, uint32_t calls) {
    static const storage_kind kinds[] = { STORAGE_TRANSIENT, STORAGE_TRANSIENT, STORAGE_TRANSIENT, STORAGE_STATE,
                                          STORAGE_INPUT };
    /* no buffer is behind these: two stand for one model's, which several storages share */
    static char block[2];
    lowered *l = lowered_new(NULL);
    for (uint32_t i = 0; i < storages; i++) {
        storage_kind kind = kinds[random_number(random, 5)];
        uint32_t s = add_storage(l, kind, 4 * (1 + random_number(random, 64)), "random");
        if (kind != STORAGE_STATE) continue;
        l->storages[s].range.buffer = (buffer *)&block[random_number(random, 2)];
        l->storages[s].range.offset = 4 * random_number(random, 64);
        l->storages[s].range.size = l->storages[s].size;
    }
    segment_kind segment = SEGMENT_FORWARD;
    for (uint32_t i = 0; i < calls; i++) {
        if (segment < SEGMENT_UPDATE && random_number(random, calls) < 2) segment++;
        add_call(l, segment, "random");
        for (uint32_t j = 1 + random_number(random, 4); j > 0; j--) {
            uint32_t s = random_number(random, storages), words = (uint32_t)l->storages[s].size / 4;
            uint32_t from = random_number(random, words), count = 1 + random_number(random, words - from);
            uint32_t access = 1 + random_number(random, 3);
            if (l->storages[s].kind == STORAGE_INPUT) access = ACCESS_READ;
            add_operand(l, s, 4 * (uint64_t)from, 4 * (uint64_t)count, access);
        }
    }
    return l;
}

kernel_call *add_mix(lowered *l, segment_kind segment, uint32_t out, uint32_t a, uint32_t b, float factor,
                     const char *label) {
    kernel_call *call = add_call(l, segment, label);
    uint64_t sizes[3];
    const uint32_t storages[3] = { out, a, b };
    for (uint32_t i = 0; i < 3; i++) {
        sizes[i] = l->storages[storages[i]].size;
        add_operand(l, storages[i], 0, sizes[i], i == 0 ? ACCESS_WRITE : ACCESS_READ);
    }
    call->kernel = KERNEL_TEST_MIX;
    call->whole = true; /* its invocations stride over the range */
    call->params[0] = (uint32_t)(sizes[0] / 4);
    call->params[1] = (uint32_t)(sizes[1] / 4);
    call->params[2] = (uint32_t)(sizes[2] / 4);
    memcpy(&call->params[3], &factor, sizeof factor);
    call->params[4] = 0;
    call->param_count = 5;
    call->groups[0] = (call->params[0] + 63) / 64;
    if (call->groups[0] > 64) call->groups[0] = 64;
    return call;
}

void add_copy(lowered *l, segment_kind segment, uint32_t out, uint32_t a) {
    add_mix(l, segment, out, a, a, 0, "copy")->params[4] = 1;
}
