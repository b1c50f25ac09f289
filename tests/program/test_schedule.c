/* Levels keep the order of calls that depend on one another, and no more. */
#include "program_test.h"

/* Address of an operand's first byte in a space of its own. */
static bool overlap(const lowered *l, const operand *a, const operand *b) {
    const storage *s = &l->storages[a->storage], *t = &l->storages[b->storage];
    uint64_t from_a = a->offset, from_b = b->offset;
    bool same = a->storage == b->storage;
    if (!same && s->kind == STORAGE_STATE && t->kind == STORAGE_STATE && s->range.buffer
        && s->range.buffer == t->range.buffer)
        same = true;
    if (same && s->kind == STORAGE_STATE) from_a += s->range.offset, from_b += t->range.offset;
    return same && from_a < from_b + b->size && from_b < from_a + a->size;
}

static bool depends(const lowered *l, const kernel_call *a, const kernel_call *b) {
    for (uint32_t i = 0; i < a->operand_count; i++)
        for (uint32_t j = 0; j < b->operand_count; j++)
            if (((a->operands[i].access | b->operands[j].access) & ACCESS_WRITE)
                && overlap(l, &a->operands[i], &b->operands[j]))
                return true;
    return false;
}

static void check_form(const lowered *l, const schedule *s) {
    assert_int_equal(s->call_count, l->call_count);
    assert_int_equal(s->level_start[0], 0);
    assert_int_equal(s->level_start[s->level_count], l->call_count);
    assert_int_equal(s->segment_start[0], 0);
    assert_int_equal(s->segment_start[s->segment_count], s->level_count);
    bool *seen = calloc(l->call_count + 1, sizeof *seen);
    for (uint32_t level = 0; level < s->level_count; level++) {
        assert_true(s->level_start[level] < s->level_start[level + 1]); /* none is empty */
        for (uint32_t k = s->level_start[level]; k < s->level_start[level + 1]; k++) {
            assert_int_equal(s->levels[s->order[k]], level);
            assert_false(seen[s->order[k]]);
            seen[s->order[k]] = true;
        }
    }
    for (uint32_t i = 0; i < l->call_count; i++) {
        uint32_t segment = 0;
        while (s->segments[segment] != l->calls[i].segment) segment++;
        assert_true(s->levels[i] >= s->segment_start[segment] && s->levels[i] < s->segment_start[segment + 1]);
    }
    free(seen);
}

static void test_chain_and_diamond(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    uint32_t a = add_storage(l, STORAGE_TRANSIENT, 64, "a"), b = add_storage(l, STORAGE_TRANSIENT, 64, "b");
    uint32_t c = add_storage(l, STORAGE_TRANSIENT, 64, "c"), d = add_storage(l, STORAGE_TRANSIENT, 64, "d");
    add_call(l, 0, "make a"), add_operand(l, a, 0, 64, ACCESS_WRITE);
    add_call(l, 0, "b of a"), add_operand(l, b, 0, 64, ACCESS_WRITE), add_operand(l, a, 0, 64, ACCESS_READ);
    add_call(l, 0, "c of a"), add_operand(l, c, 0, 64, ACCESS_WRITE), add_operand(l, a, 0, 64, ACCESS_READ);
    add_call(l, 0, "d of b, c"), add_operand(l, d, 0, 64, ACCESS_WRITE), add_operand(l, b, 0, 64, ACCESS_READ);
    add_operand(l, c, 0, 64, ACCESS_READ);
    add_call(l, 0, "a again"), add_operand(l, a, 0, 64, ACCESS_WRITE); /* write after read */
    add_call(l, 0, "d again"), add_operand(l, d, 0, 64, ACCESS_WRITE); /* write after write */
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    check_form(l, &s);
    static const uint32_t expected[] = { 0, 1, 1, 2, 2, 3 };
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(s.levels[i], expected[i]);
    assert_true(s.levels[4] >= 2); /* may sink: nobody needs it */
    assert_int_equal(s.levels[5], 3);
    schedule_destroy(&s);
    lowered_free(l);
}

static void test_parts_are_independent(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    uint32_t a = add_storage(l, STORAGE_OUTPUT, 256, "a"), b = add_storage(l, STORAGE_OUTPUT, 256, "b");
    for (uint32_t i = 0; i < 4; i++) add_call(l, 0, "part"), add_operand(l, a, 64 * i, 64, ACCESS_WRITE);
    add_call(l, 0, "middle"), add_operand(l, a, 32, 64, ACCESS_READ), add_operand(l, b, 0, 64, ACCESS_WRITE);
    add_call(l, 0, "last part again"), add_operand(l, a, 192, 64, ACCESS_WRITE | ACCESS_READ);
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    check_form(l, &s);
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(s.levels[i], 0);
    assert_int_equal(s.levels[4], 1);
    assert_int_equal(s.levels[5], 1);
    schedule_destroy(&s);
    lowered_free(l);
}

/* Two states that are ranges of one buffer are the same bytes: an optimizer binds the block of all parameters. */
static void test_states_of_one_buffer(void **state) {
    (void)state;
    static char buffer_stands_here;
    lowered *l = lowered_new(NULL);
    uint32_t block = add_storage(l, STORAGE_STATE, 256, "block"), weight = add_storage(l, STORAGE_STATE, 64, "weight");
    uint32_t y = add_storage(l, STORAGE_OUTPUT, 64, "y");
    l->storages[block].range = (buffer_range){ (buffer *)&buffer_stands_here, 0, 256 };
    l->storages[weight].range = (buffer_range){ (buffer *)&buffer_stands_here, 128, 64 };
    add_call(l, 0, "use"), add_operand(l, weight, 0, 64, ACCESS_READ), add_operand(l, y, 0, 64, ACCESS_WRITE);
    add_call(l, 0, "first half"), add_operand(l, block, 0, 128, ACCESS_WRITE);
    add_call(l, 0, "all"), add_operand(l, block, 0, 256, ACCESS_WRITE);
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    assert_int_equal(s.levels[0], 0);
    assert_int_equal(s.levels[1], 0);
    assert_int_equal(s.levels[2], 1);
    schedule_destroy(&s);
    lowered_free(l);
}

static void test_segments_do_not_mix(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    uint32_t a[3];
    for (uint32_t i = 0; i < 3; i++) {
        a[i] = add_storage(l, STORAGE_OUTPUT, 64, "a");
        add_call(l, i == 2 ? SEGMENT_UPDATE : SEGMENT_FORWARD, "independent");
        add_operand(l, a[i], 0, 64, ACCESS_WRITE);
    }
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    check_form(l, &s);
    assert_int_equal(s.segment_count, 2); /* nothing is backward */
    assert_int_equal(s.segments[1], SEGMENT_UPDATE);
    assert_int_equal(s.level_count, 2);
    schedule_destroy(&s);
    lowered_free(l);
}

/* A converted weight waits for its user instead of living from the start; what frees more than it makes does not. */
static void test_sinking(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    uint32_t x = add_storage(l, STORAGE_INPUT, 64, "x"), weight = add_storage(l, STORAGE_STATE, 64, "weight");
    uint32_t converted = add_storage(l, STORAGE_TRANSIENT, 64, "converted"),
             big = add_storage(l, STORAGE_TRANSIENT, 4096, "big");
    uint32_t small = add_storage(l, STORAGE_TRANSIENT, 64, "small"), step[4];
    for (uint32_t i = 0; i < 4; i++) step[i] = add_storage(l, STORAGE_TRANSIENT, 64, "step");
    uint32_t y = add_storage(l, STORAGE_OUTPUT, 64, "y");
    add_call(l, 0, "convert"), add_operand(l, weight, 0, 64, ACCESS_READ),
        add_operand(l, converted, 0, 64, ACCESS_WRITE);
    add_call(l, 0, "big"), add_operand(l, x, 0, 64, ACCESS_READ), add_operand(l, big, 0, 4096, ACCESS_WRITE);
    add_call(l, 0, "first"), add_operand(l, big, 0, 64, ACCESS_READ), add_operand(l, step[0], 0, 64, ACCESS_WRITE);
    add_call(l, 0, "sum of big"), add_operand(l, big, 0, 4096, ACCESS_READ), add_operand(l, small, 0, 64, ACCESS_WRITE);
    for (uint32_t i = 0; i < 3; i++) {
        add_call(l, 0, "chain"), add_operand(l, step[i], 0, 64, ACCESS_READ);
        add_operand(l, step[i + 1], 0, 64, ACCESS_WRITE);
    }
    add_call(l, 0, "end"), add_operand(l, step[3], 0, 64, ACCESS_READ), add_operand(l, converted, 0, 64, ACCESS_READ);
    add_operand(l, small, 0, 64, ACCESS_READ), add_operand(l, y, 0, 64, ACCESS_WRITE);
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    check_form(l, &s);
    assert_int_equal(s.level_count, 6);
    assert_int_equal(s.levels[0], 4);
    assert_int_equal(s.levels[3], 1);
    schedule_destroy(&s);
    lowered_free(l);
}

/* A call that waits comes later than what it waits for, also when that one sinks, and with it what depends on it. */
static void test_waiting(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    uint32_t x = add_storage(l, STORAGE_INPUT, 64, "x"), made = add_storage(l, STORAGE_TRANSIENT, 64, "made");
    uint32_t late = add_storage(l, STORAGE_TRANSIENT, 64, "late"), y = add_storage(l, STORAGE_OUTPUT, 64, "y");
    uint32_t step[3], z = add_storage(l, STORAGE_OUTPUT, 64, "z");
    for (uint32_t i = 0; i < 3; i++) {
        step[i] = add_storage(l, STORAGE_TRANSIENT, 64, "step");
        add_call(l, 0, "chain"), add_operand(l, i ? step[i - 1] : x, 0, 64, ACCESS_READ);
        add_operand(l, step[i], 0, 64, ACCESS_WRITE);
    }
    add_call(l, 0, "made"), add_operand(l, x, 0, 64, ACCESS_READ), add_operand(l, made, 0, 64, ACCESS_WRITE);
    add_call(l, 0, "again")->after = 3; /* waits for the end of the chain */
    add_operand(l, x, 0, 64, ACCESS_READ), add_operand(l, late, 0, 64, ACCESS_WRITE);
    add_call(l, 0, "end"), add_operand(l, late, 0, 64, ACCESS_READ), add_operand(l, step[2], 0, 64, ACCESS_READ);
    add_operand(l, y, 0, 64, ACCESS_WRITE);
    add_call(l, 0, "waits for what sinks")->after = 4; /* "made": nothing else keeps it from the last level */
    add_operand(l, made, 0, 64, ACCESS_READ), add_operand(l, z, 0, 64, ACCESS_WRITE);
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    check_form(l, &s);
    assert_int_equal(s.levels[2], 2);
    assert_int_equal(s.levels[4], 3);
    assert_int_equal(s.levels[5], 4);
    assert_true(s.levels[3] < s.levels[6]);
    schedule_destroy(&s);
    lowered_free(l);
}

static void test_random(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t random = seed;
        lowered *l = lowered_random(&random, 2 + random_number(&random, 20), 1 + random_number(&random, 80));
        for (uint32_t i = 1; i < l->call_count; i++)
            if (random_number(&random, 4) == 0) l->calls[i].after = 1 + random_number(&random, i);
        schedule s;
        ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
        check_form(l, &s);
        for (uint32_t i = 0; i < l->call_count; i++)
            if (l->calls[i].after && s.levels[l->calls[i].after - 1] >= s.levels[i])
                fail_msg("seed %llu: call %u does not wait for %u", (unsigned long long)seed, i, l->calls[i].after - 1);
        for (uint32_t i = 0; i < l->call_count; i++)
            for (uint32_t j = i + 1; j < l->call_count; j++)
                if (depends(l, &l->calls[i], &l->calls[j]) && s.levels[i] >= s.levels[j])
                    fail_msg("seed %llu: call %u depends on %u, levels %u and %u", (unsigned long long)seed, j, i,
                             s.levels[j], s.levels[i]);
        schedule_destroy(&s);
        lowered_free(l);
    }
}

static void test_thousands(void **state) {
    (void)state;
    enum { CALLS = 20000 };
    lowered *l = lowered_new(NULL);
    uint32_t previous = add_storage(l, STORAGE_INPUT, 64, "x");
    for (uint32_t i = 0; i < CALLS; i++) {
        uint32_t next = add_storage(l, STORAGE_TRANSIENT, 64, "y");
        add_call(l, 0, "step"), add_operand(l, previous, 0, 64, ACCESS_READ), add_operand(l, next, 0, 64, ACCESS_WRITE);
        previous = next;
    }
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    assert_int_equal(s.level_count, CALLS);
    schedule_destroy(&s);
    lowered_free(l);
}

static void test_nothing(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    assert_int_equal(s.level_count, 0);
    assert_int_equal(s.segment_count, 1);
    schedule_destroy(&s);
    lowered_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_and_diamond),
        cmocka_unit_test(test_parts_are_independent),
        cmocka_unit_test(test_states_of_one_buffer),
        cmocka_unit_test(test_segments_do_not_mix),
        cmocka_unit_test(test_sinking),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_thousands),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
