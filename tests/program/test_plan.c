/* Values that live at the same time never share bytes, and few bytes are wasted. */
#include "program_test.h"

enum { ALIGNMENT = 256 };

static void check_plan(const life *lives, uint32_t count, uint64_t max_block, const plan *p) {
    uint64_t total = 0;
    for (uint32_t b = 0; b < p->block_count; b++) {
        assert_true(p->blocks[b] <= max_block);
        total += p->blocks[b];
    }
    assert_int_equal(total, p->total);
    uint32_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        const plan_place *a = &p->places[i];
        if (lives[i].last < lives[i].first) {
            assert_int_equal(a->block, PLAN_NOWHERE);
            continue;
        }
        if (lives[i].last > last) last = lives[i].last;
        assert_true(a->block < p->block_count);
        assert_int_equal(a->offset % ALIGNMENT, 0);
        assert_true(a->offset + lives[i].size <= p->blocks[a->block]);
        for (uint32_t j = 0; j < i; j++) {
            const plan_place *b = &p->places[j];
            if (lives[j].last < lives[j].first || a->block != b->block) continue;
            if (lives[i].last < lives[j].first || lives[j].last < lives[i].first) continue;
            if (a->offset < b->offset + lives[j].size && b->offset < a->offset + lives[i].size)
                fail_msg("%u and %u live together and share bytes", i, j);
        }
    }
    uint64_t live = 0;
    for (uint32_t level = 0; level <= last; level++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < count; i++)
            if (lives[i].first <= level && level <= lives[i].last) sum += lives[i].size;
        if (sum > live) live = sum;
    }
    assert_int_equal(p->live, live);
    assert_true(p->total >= live);
}

static double ratio(const life *lives, uint32_t count) {
    plan p;
    ASSERT_OK(plan_create(lives, count, ALIGNMENT, UINT64_MAX >> 1, &p));
    check_plan(lives, count, UINT64_MAX >> 1, &p);
    assert_int_equal(p.block_count, 1);
    double r = (double)p.total / (double)p.live;
    plan_destroy(&p);
    return r;
}

static void test_random(void **state) {
    (void)state;
    double worst = 0, sum = 0;
    enum { TRIALS = 200 };
    for (uint64_t seed = 1; seed <= TRIALS; seed++) {
        uint64_t random = seed;
        uint32_t count = 1 + random_number(&random, 120), levels = 1 + random_number(&random, 60);
        life *lives = calloc(count, sizeof *lives);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t first = random_number(&random, levels), length = random_number(&random, levels - first);
            if (random_number(&random, 2)) length = length > 3 ? 3 : length;
            lives[i] =
                (life){ 1 + random_number(&random, 1u << (8 + random_number(&random, 12))), first, first + length };
            if (random_number(&random, 20) == 0) lives[i] = (life){ lives[i].size, 1, 0 };
        }
        plan p;
        ASSERT_OK(plan_create(lives, count, ALIGNMENT, UINT64_MAX >> 1, &p));
        check_plan(lives, count, UINT64_MAX >> 1, &p);
        /* small values lose to alignment; what is left is the packing's own */
        if (p.live > 65536) {
            double r = (double)p.total / (double)p.live;
            sum += r;
            if (r > worst) worst = r;
        } else
            sum += 1;
        plan_destroy(&p);
        /* the same with small blocks */
        uint64_t block = (1u << 20) + 256 * random_number(&random, 2000);
        ASSERT_OK(plan_create(lives, count, ALIGNMENT, block, &p));
        check_plan(lives, count, block, &p);
        plan_destroy(&p);
        free(lives);
    }
    if (worst > 1.25 || sum / TRIALS > 1.04) fail_msg("worst %.3f, mean %.3f of the live bytes", worst, sum / TRIALS);
}

/* A training step's shape: activations live from the forward pass to the backward one, gradients briefly, weight
 * gradients to the end. */
static uint32_t training_lives(const uint64_t *activations, uint32_t layers, life *lives) {
    uint32_t n = 0, last = 2 * layers + 1;
    for (uint32_t i = 0; i < layers; i++) {
        lives[n++] = (life){ activations[i], i, last - 1 - i };                           /* output */
        lives[n++] = (life){ activations[i], last - 1 - i - (i + 1 < layers), last - i }; /* its gradient */
        lives[n++] = (life){ 1000 + activations[i] / 7, last - 1 - i, last };             /* weight gradient */
        lives[n++] = (life){ activations[i] / 3, last - 1 - i, last - 1 - i };            /* scratch */
    }
    return n;
}

static void test_networks(void **state) {
    (void)state;
    static const uint64_t cnn[] = { 64 * 32 * 28 * 28 * 4, 64 * 32 * 14 * 14 * 4, 64 * 64 * 14 * 14 * 4,
                                    64 * 64 * 7 * 7 * 4,   64 * 128 * 4,          64 * 10 * 4 };
    static const uint64_t mlp[] = { 64 * 256 * 4, 64 * 256 * 4, 64 * 128 * 4, 64 * 10 * 4 };
    uint64_t deep[60];
    for (uint32_t i = 0; i < 60; i++) deep[i] = (uint64_t)(60 - i) * 50000 + 77 * (i % 5);
    life lives[240];
    double r = ratio(lives, training_lives(cnn, 6, lives));
    if (r > 1.1) fail_msg("cnn: %.3f", r);
    r = ratio(lives, training_lives(mlp, 4, lives));
    if (r > 1.1) fail_msg("mlp: %.3f", r);
    r = ratio(lives, training_lives(deep, 60, lives));
    if (r > 1.1) fail_msg("deep: %.3f", r);
}

static void test_chain_takes_two(void **state) {
    (void)state;
    life lives[50];
    for (uint32_t i = 0; i < 50; i++) lives[i] = (life){ 4096, i, i + 1 };
    plan p;
    ASSERT_OK(plan_create(lives, 50, ALIGNMENT, 1 << 20, &p));
    check_plan(lives, 50, 1 << 20, &p);
    assert_int_equal(p.total, 8192);
    plan_destroy(&p);
}

static void test_same_every_time(void **state) {
    (void)state;
    uint64_t random = 5;
    life lives[100];
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t first = random_number(&random, 40);
        lives[i] = (life){ 1 + random_number(&random, 100000), first, first + random_number(&random, 10) };
    }
    plan a, b;
    ASSERT_OK(plan_create(lives, 100, ALIGNMENT, 1 << 20, &a));
    ASSERT_OK(plan_create(lives, 100, ALIGNMENT, 1 << 20, &b));
    assert_int_equal(a.total, b.total);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(a.places[i].block, b.places[i].block);
        assert_int_equal(a.places[i].offset, b.places[i].offset);
    }
    plan_destroy(&a);
    plan_destroy(&b);
}

static void test_too_large(void **state) {
    (void)state;
    const life lives[] = { { 1000, 0, 1 }, { 5000, 0, 1 } };
    plan p;
    ASSERT_FAILS(plan_create(lives, 2, ALIGNMENT, 4096, &p), TUFF_ERROR_MEMORY, "5000");
    ASSERT_OK(plan_create(lives, 0, ALIGNMENT, 4096, &p));
    assert_int_equal(p.total, 0);
    plan_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),          cmocka_unit_test(test_networks),
        cmocka_unit_test(test_chain_takes_two), cmocka_unit_test(test_same_every_time),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
