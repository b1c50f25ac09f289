/* Dynamic storage allocation is hard to solve and easy to solve well: values are placed one by one, each in the gap
 * among those that live at the same time that it fills best (greedy by size, as in Pisarchyk and Lee, "Efficient
 * memory management for deep neural net inference", 2020). No single order wins on every network, so several are
 * tried, and then the best one is shuffled a little, with a fixed seed, while it is not near the largest sum of live
 * bytes, below which no plan can go. */
#include "runtime/program/plan.h"

#include <stdlib.h>
#include <string.h>

/* A value with what orders look at; sizes are rounded up to the alignment. */
typedef struct item {
    uint32_t index; /* in lives */
    uint64_t size;
    uint32_t first, last;
    bool at_peak; /* alive where most bytes are */
} item;

/* One way to place all items. `sorted` lists the placed ones by block and offset. */
typedef struct packing {
    plan_place *places; /* of lives */
    uint32_t *sorted;   /* indices of items, for each block a run of them by offset */
    uint32_t *run_start;
    uint64_t *blocks;
    uint32_t block_count, block_capacity;
    uint64_t total;
} packing;

static uint64_t align_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) & ~(alignment - 1);
}

static uint64_t maximum(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* ---- orders ------------------------------------------------------------------------------------ */

static int by_number(uint64_t a, uint64_t b) {
    return a < b ? -1 : a > b;
}
static int by_size(const item *a, const item *b) {
    int order = by_number(b->size, a->size);
    if (order == 0) order = by_number(a->first, b->first);
    return order ? order : by_number(a->index, b->index);
}
static uint64_t duration(const item *a) {
    return (uint64_t)(a->last - a->first) + 1;
}

static int order_size(const void *a, const void *b) {
    return by_size(a, b);
}
static int order_peak_size(const void *x, const void *y) {
    const item *a = x, *b = y;
    return a->at_peak != b->at_peak ? (int)b->at_peak - (int)a->at_peak : by_size(a, b);
}
static int order_area(const void *x, const void *y) {
    const item *a = x, *b = y;
    int order = by_number(b->size * duration(b), a->size * duration(a));
    return order ? order : by_size(a, b);
}
static int order_duration(const void *x, const void *y) {
    const item *a = x, *b = y;
    int order = by_number(duration(b), duration(a));
    return order ? order : by_size(a, b);
}
static int order_first(const void *x, const void *y) {
    const item *a = x, *b = y;
    int order = by_number(a->first, b->first);
    return order ? order : by_size(a, b);
}
static int order_last(const void *x, const void *y) {
    const item *a = x, *b = y;
    int order = by_number(b->last, a->last);
    return order ? order : by_size(a, b);
}

/* ---- placing ----------------------------------------------------------------------------------- */

static bool meet(const item *a, const item *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* Where an item goes in one block: the smallest gap that holds it, else behind all that it meets. lowest: the first
 * gap instead. *fit is the gap's size, UINT64_MAX behind all. */
static uint64_t offset_in(const packing *packing, const item *items, uint32_t block, const item *one, bool lowest,
                          uint64_t *fit) {
    uint64_t end = 0, best = 0;
    *fit = UINT64_MAX;
    for (uint32_t k = packing->run_start[block]; k < packing->run_start[block + 1]; k++) {
        const item *other = &items[packing->sorted[k]];
        if (!meet(one, other)) continue;
        uint64_t offset = packing->places[other->index].offset;
        if (offset >= end + one->size && offset - end < *fit) {
            *fit = offset - end;
            best = end;
            if (lowest) return best;
        }
        end = maximum(end, offset + other->size);
    }
    return *fit == UINT64_MAX ? end : best;
}

static tuff_result open_block(packing *packing) {
    if (packing->block_count == packing->block_capacity) {
        uint32_t capacity = packing->block_capacity ? packing->block_capacity * 2 : 4;
        uint64_t *blocks = realloc(packing->blocks, capacity * sizeof *blocks);
        if (blocks) packing->blocks = blocks;
        uint32_t *starts = realloc(packing->run_start, (capacity + 1) * sizeof *starts);
        if (starts) packing->run_start = starts;
        if (!blocks || !starts) return error_out_of_host_memory(capacity * sizeof *blocks);
        packing->block_capacity = capacity;
    }
    if (packing->block_count == 0) packing->run_start[0] = 0;
    packing->run_start[packing->block_count + 1] = packing->run_start[packing->block_count];
    packing->blocks[packing->block_count++] = 0;
    return TUFF_OK;
}

/* Best: a gap below a block's top. Next: the block that grows least, if it may. Else a new block. */
static tuff_result place_item(packing *packing, const item *items, uint32_t at, uint64_t max_block, bool lowest) {
    const item *one = &items[at];
    uint32_t chosen = PLAN_NOWHERE;
    uint64_t chosen_offset = 0, least_growth = UINT64_MAX, least_fit = UINT64_MAX;
    for (uint32_t b = 0; b < packing->block_count; b++) {
        uint64_t fit, offset = offset_in(packing, items, b, one, lowest, &fit);
        uint64_t top = offset + one->size;
        if (top > max_block) continue;
        uint64_t growth = top > packing->blocks[b] ? top - packing->blocks[b] : 0;
        if (growth < least_growth || (growth == least_growth && fit < least_fit)) {
            chosen = b, chosen_offset = offset, least_growth = growth, least_fit = fit;
        }
    }
    if (chosen == PLAN_NOWHERE) {
        TRY(open_block(packing));
        chosen = packing->block_count - 1;
        least_growth = one->size;
    }
    packing->places[one->index] = (plan_place){ chosen, chosen_offset };
    packing->blocks[chosen] += least_growth;
    packing->total += least_growth;
    uint32_t k = packing->run_start[chosen + 1];
    memmove(packing->sorted + k + 1, packing->sorted + k,
            (packing->run_start[packing->block_count] - k) * sizeof *packing->sorted);
    while (k > packing->run_start[chosen]
           && packing->places[items[packing->sorted[k - 1]].index].offset > chosen_offset) {
        packing->sorted[k] = packing->sorted[k - 1];
        k--;
    }
    packing->sorted[k] = at;
    for (uint32_t b = chosen + 1; b <= packing->block_count; b++) packing->run_start[b]++;
    return TUFF_OK;
}

/* Stops early, with a total that is at least `enough`, once it cannot win. */
static tuff_result pack(packing *packing, const item *items, uint32_t count, uint64_t max_block, bool lowest,
                        uint64_t enough) {
    packing->block_count = 0;
    packing->total = 0;
    for (uint32_t i = 0; i < count && packing->total < enough; i++)
        TRY(place_item(packing, items, i, max_block, lowest));
    return TUFF_OK;
}

/* ---- the plan ---------------------------------------------------------------------------------- */

/* The largest sum of live bytes; marks the items that are alive there. */
static tuff_result find_peak(item *items, uint32_t count, const life *lives, uint64_t *live, uint64_t *bound) {
    uint32_t levels = 0;
    for (uint32_t i = 0; i < count; i++)
        if (items[i].last >= levels) levels = items[i].last + 1;
    int64_t *change = calloc((size_t)levels + 1, 2 * sizeof *change);
    if (!change) return error_out_of_host_memory((levels + 1) * 2 * sizeof *change);
    for (uint32_t i = 0; i < count; i++) {
        int64_t raw = (int64_t)lives[items[i].index].size, size = (int64_t)items[i].size;
        change[2 * (size_t)items[i].first] += raw;
        change[2 * (size_t)items[i].first + 1] += size;
        change[2 * ((size_t)items[i].last + 1)] -= raw;
        change[2 * ((size_t)items[i].last + 1) + 1] -= size;
    }
    int64_t raw = 0, size = 0;
    uint32_t peak = 0;
    *live = *bound = 0;
    for (uint32_t l = 0; l < levels; l++) {
        raw += change[2 * (size_t)l];
        size += change[2 * (size_t)l + 1];
        if ((uint64_t)raw > *live) *live = (uint64_t)raw;
        if ((uint64_t)size > *bound) *bound = (uint64_t)size, peak = l;
    }
    for (uint32_t i = 0; i < count; i++) items[i].at_peak = items[i].first <= peak && peak <= items[i].last;
    free(change);
    return TUFF_OK;
}

static uint32_t random_below(uint64_t *state, uint32_t limit) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((*state >> 33) * limit) >> 31);
}

static void packing_free(packing *packing) {
    free(packing->places);
    free(packing->sorted);
    free(packing->run_start);
    free(packing->blocks);
}

typedef struct search {
    item *items, *best_items;
    uint32_t count;
    uint64_t max_block, bound;
    packing best, next;
} search;

/* Packs the items in their present order and keeps the result if it is the best so far. */
static tuff_result attempt(search *search, bool lowest) {
    TRY(pack(&search->next, search->items, search->count, search->max_block, lowest, search->best.total));
    if (search->next.total >= search->best.total) return TUFF_OK;
    packing swap = search->best;
    search->best = search->next;
    search->next = swap;
    memcpy(search->best_items, search->items, search->count * sizeof *search->items);
    return TUFF_OK;
}

static tuff_result improve(search *search) {
    static int (*const orders[])(const void *, const void *) = { order_peak_size, order_size,  order_area,
                                                                 order_duration,  order_first, order_last };
    for (uint32_t i = 0; i < sizeof orders / sizeof *orders && search->best.total > search->bound; i++) {
        qsort(search->items, search->count, sizeof *search->items, orders[i]);
        TRY(attempt(search, false));
        if (search->best.total > search->bound) TRY(attempt(search, true));
    }
    /* about 3 * 10^7 comparisons, a tenth of a second, and at most 500 tries */
    uint64_t cost = (uint64_t)search->count * search->count / 4 + 1;
    uint32_t tries = 30000000 / cost > 500 ? 500 : (uint32_t)(30000000 / cost);
    uint64_t random = 1;
    for (uint32_t i = 0; i < tries && search->best.total - search->bound > search->bound / 50; i++) {
        memcpy(search->items, search->best_items, search->count * sizeof *search->items);
        for (uint32_t k = 0; k <= i % 4; k++) { /* moves an item to an earlier place */
            uint32_t from = random_below(&random, search->count), to = random_below(&random, from + 1);
            item moved = search->items[from];
            memmove(search->items + to + 1, search->items + to, (from - to) * sizeof moved);
            search->items[to] = moved;
        }
        TRY(attempt(search, i & 4));
    }
    return TUFF_OK;
}

static tuff_result search_places(search *search, const life *lives, uint32_t count, plan *out) {
    TRY(find_peak(search->items, search->count, lives, &out->live, &search->bound));
    search->best.total = UINT64_MAX;
    if (search->count) TRY(improve(search));
    for (uint32_t i = 0; i < count; i++) {
        if (lives[i].last >= lives[i].first)
            out->places[i] = search->best.places[i];
        else
            out->places[i] = (plan_place){ PLAN_NOWHERE, 0 };
    }
    out->block_count = search->best.block_count;
    out->blocks = calloc((size_t)out->block_count + 1, sizeof *out->blocks);
    if (!out->blocks) return error_out_of_host_memory((out->block_count + 1) * sizeof *out->blocks);
    for (uint32_t b = 0; b < out->block_count; b++) out->total += out->blocks[b] = search->best.blocks[b];
    return TUFF_OK;
}

tuff_result plan_create(const life *lives, uint32_t count, uint64_t alignment, uint64_t max_block, plan *out) {
    *out = (plan){ .count = count };
    size_t n = (size_t)count + 1;
    search search = { .max_block = max_block };
    search.items = malloc(n * sizeof *search.items);
    search.best_items = malloc(n * sizeof *search.best_items);
    search.best.places = calloc(n, sizeof *search.best.places);
    search.next.places = calloc(n, sizeof *search.next.places);
    search.best.sorted = malloc(n * sizeof *search.best.sorted);
    search.next.sorted = malloc(n * sizeof *search.next.sorted);
    out->places = calloc(n, sizeof *out->places);
    tuff_result result = TUFF_OK;
    if (!search.items || !search.best_items || !search.best.places || !search.next.places || !search.best.sorted
        || !search.next.sorted || !out->places)
        result = error_out_of_host_memory(n * (2 * sizeof(item) + 3 * sizeof(plan_place)));
    for (uint32_t i = 0; i < count && result == TUFF_OK; i++) {
        if (lives[i].last < lives[i].first) continue;
        uint64_t size = align_up(lives[i].size ? lives[i].size : 1, alignment);
        if (size > max_block)
            result = error_set(TUFF_ERROR_MEMORY, "a value of %llu bytes does not fit a block of memory of %llu bytes",
                               (unsigned long long)lives[i].size, (unsigned long long)max_block);
        search.items[search.count++] = (item){ i, size, lives[i].first, lives[i].last, false };
    }
    if (result == TUFF_OK) result = search_places(&search, lives, count, out);
    packing_free(&search.best);
    packing_free(&search.next);
    free(search.items);
    free(search.best_items);
    if (result != TUFF_OK) plan_destroy(out);
    return result;
}

void plan_destroy(plan *plan) {
    free(plan->places);
    free(plan->blocks);
    memset(plan, 0, sizeof *plan);
}

void plan_lives(const lowered *lowered, const schedule *schedule, life *lives) {
    for (uint32_t i = 0; i < lowered->storage_count; i++) lives[i] = (life){ lowered->storages[i].size, UINT32_MAX, 0 };
    for (uint32_t i = 0; i < lowered->call_count; i++) {
        const kernel_call *call = &lowered->calls[i];
        uint32_t level = schedule->levels[i];
        for (uint32_t j = 0; j < call->operand_count; j++) {
            uint32_t s = call->operands[j].storage;
            if (lowered->storages[s].kind != STORAGE_TRANSIENT) continue;
            if (level < lives[s].first) lives[s].first = level;
            if (level > lives[s].last) lives[s].last = level;
        }
    }
}

void plan_dump(const plan *plan, const life *lives, const lowered *lowered, FILE *file) {
    fprintf(file, "plan: %llu bytes in %u blocks; %llu bytes live at most\n", (unsigned long long)plan->total,
            plan->block_count, (unsigned long long)plan->live);
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->places[i].block == PLAN_NOWHERE) continue;
        fprintf(file, "  block %u %12llu +%llu levels %u to %u: %s\n", plan->places[i].block,
                (unsigned long long)plan->places[i].offset, (unsigned long long)lives[i].size, lives[i].first,
                lives[i].last, lowered->storages[i].name);
    }
}
