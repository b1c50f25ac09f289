/* Barriers stand where bytes are touched again, and only there. */
#include "program_test.h"

typedef struct made {
    lowered *l;
    schedule s;
    life *lives;
    plan p;
    synchronisation sync;
} made;

static made make(lowered *l) {
    made m = { .l = l };
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &m.s));
    m.lives = calloc(l->storage_count + 1, sizeof *m.lives);
    plan_lives(l, &m.s, m.lives);
    ASSERT_OK(plan_create(m.lives, l->storage_count, 4, 2048, &m.p));
    ASSERT_OK(synchronise(l, &m.s, &m.p, &m.sync));
    return m;
}

static void unmake(made *m) {
    synchronisation_destroy(&m->sync);
    plan_destroy(&m->p);
    free(m->lives);
    schedule_destroy(&m->s);
    lowered_free(m->l);
}

/* The first byte in memory, and which memory it is. */
static void locate(const made *m, const operand *o, uint64_t *memory, uint64_t *start) {
    const storage *s = &m->l->storages[o->storage];
    *start = o->offset;
    *memory = UINT64_MAX - o->storage;
    if (s->kind == STORAGE_TRANSIENT) *memory = m->p.places[o->storage].block, *start += m->p.places[o->storage].offset;
    if (s->kind == STORAGE_STATE) *memory = (uint64_t)(uintptr_t)s->range.buffer, *start += s->range.offset;
}

static bool conflict(const made *m, const kernel_call *a, const kernel_call *b) {
    for (uint32_t i = 0; i < a->operand_count; i++) {
        for (uint32_t j = 0; j < b->operand_count; j++) {
            if (!((a->operands[i].access | b->operands[j].access) & ACCESS_WRITE)) continue;
            uint64_t memory_a, memory_b, start_a, start_b;
            locate(m, &a->operands[i], &memory_a, &start_a);
            locate(m, &b->operands[j], &memory_b, &start_b);
            if (memory_a == memory_b && start_a < start_b + b->operands[j].size
                && start_b < start_a + a->operands[i].size)
                return true;
        }
    }
    return false;
}

static bool levels_conflict(const made *m, uint32_t a, uint32_t b) {
    for (uint32_t i = m->s.level_start[a]; i < m->s.level_start[a + 1]; i++)
        for (uint32_t j = m->s.level_start[b]; j < m->s.level_start[b + 1]; j++)
            if (conflict(m, &m->l->calls[m->s.order[i]], &m->l->calls[m->s.order[j]])) return true;
    return false;
}

static uint32_t uses(const made *m, uint32_t from, uint32_t to) {
    uint32_t all = 0;
    for (uint32_t i = m->s.level_start[from]; i < m->s.level_start[to]; i++) {
        const kernel_call *call = &m->l->calls[m->s.order[i]];
        for (uint32_t j = 0; j < call->operand_count; j++) {
            if (call->operands[j].access & ACCESS_READ) all |= USE_KERNEL_READ;
            if (call->operands[j].access & ACCESS_WRITE) all |= USE_KERNEL_WRITE;
        }
    }
    return all;
}

/* Every conflict has a barrier between, and every barrier a conflict that no other one settles. */
static void check(const made *m) {
    uint32_t previous = 0, count = 0;
    for (uint32_t level = 1; level < m->s.level_count; level++) {
        bool needed = false;
        for (uint32_t earlier = previous; earlier < level; earlier++)
            needed = needed || levels_conflict(m, earlier, level);
        assert_int_equal(needed, m->sync.barriers[level].before != 0);
        if (!needed) continue;
        uint32_t next = level + 1;
        while (next < m->s.level_count && !m->sync.barriers[next].before) next++;
        assert_int_equal(m->sync.barriers[level].before, uses(m, previous, level));
        assert_int_equal(m->sync.barriers[level].after, uses(m, level, next));
        previous = level;
        count++;
    }
    assert_int_equal(count, m->sync.barrier_count);
}

static void test_random(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t random = seed;
        made m = make(lowered_random(&random, 2 + random_number(&random, 30), 1 + random_number(&random, 60)));
        check(&m);
        unmake(&m);
    }
}

/* Values that share bytes need a barrier though no storage is touched twice. */
static void test_shared_bytes(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    uint32_t x = add_storage(l, STORAGE_INPUT, 1024, "x"), last = x;
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t y = add_storage(l, STORAGE_TRANSIENT, 1024, "y");
        add_call(l, 0, "step"), add_operand(l, last, 0, 1024, ACCESS_READ), add_operand(l, y, 0, 1024, ACCESS_WRITE);
        last = y;
    }
    made m = make(l);
    assert_int_equal(m.p.total, 2048);
    assert_int_equal(m.sync.barrier_count, 5);
    check(&m);
    unmake(&m);
}

/* Segments have levels of their own, but no barrier of their own. */
static void test_none_without_need(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t y = add_storage(l, STORAGE_OUTPUT, 64, "y");
        add_call(l, (segment_kind)i, "independent"), add_operand(l, y, 0, 64, ACCESS_WRITE);
    }
    made m = make(l);
    assert_int_equal(m.s.level_count, 3);
    assert_int_equal(m.sync.barrier_count, 0);
    unmake(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_shared_bytes),
        cmocka_unit_test(test_none_without_need),
    };
    return cmocka_run_group_tests_name("synchronise", tests, NULL, NULL);
}
