/* Results take over the bytes of values that die, where the kernel may and nobody else reads them. */
#include "program_test.h"
#include "support.h"

#include "runtime/program/in_place.h"

#include <tuff/layers.h>

#include <stdio.h>

enum { BYTES = 64 };

/* A call that reads a and writes b, and may do so in place. */
static kernel_call *add_step(lowered *l, uint32_t b, uint32_t a) {
    kernel_call *call = add_call(l, SEGMENT_FORWARD, "step");
    add_operand(l, b, 0, BYTES, ACCESS_WRITE);
    add_operand(l, a, 0, BYTES, ACCESS_READ);
    call->in_place = 1u << 1;
    return call;
}

static uint32_t add_value(lowered *l, const char *name) {
    return add_storage(l, STORAGE_TRANSIENT, BYTES, name);
}

static void join(lowered *l) {
    schedule s;
    ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
    ASSERT_OK(in_place(l, &s));
    schedule_destroy(&s);
}

static void test_chain(void **state) {
    (void)state;
    lowered *l = lowered_new(NULL);
    uint32_t x = add_storage(l, STORAGE_INPUT, BYTES, "x"), y = add_storage(l, STORAGE_OUTPUT, BYTES, "y"), v[4];
    for (uint32_t i = 0; i < 4; i++) v[i] = add_value(l, "value");
    add_step(l, v[0], x);
    for (uint32_t i = 1; i < 4; i++) add_step(l, v[i], v[i - 1]);
    add_step(l, y, v[3]);
    join(l);
    for (uint32_t i = 1; i < 4; i++) {
        assert_int_equal(l->storages[v[i]].in_place_of, v[0] + 1);
        assert_int_equal(l->calls[i].operands[0].storage, v[0]);
        assert_int_equal(l->calls[i].operands[1].storage, v[0]);
    }
    /* what the host writes and reads has memory of its own */
    assert_int_equal(l->calls[0].operands[1].storage, x);
    assert_int_equal(l->calls[4].operands[0].storage, y);
    assert_int_equal(l->calls[4].operands[1].storage, v[0]);
    lowered_free(l);
}

/* One thing is different in each; b may then not lie on a. */
static void test_refused(void **state) {
    (void)state;
    enum { NOT_MARKED, READ_LATER, READ_BESIDE, WRITTEN_BEFORE, LARGER, PART, TWICE, CASES };
    for (uint32_t different = 0; different <= CASES; different++) {
        lowered *l = lowered_new(NULL);
        uint32_t x = add_storage(l, STORAGE_INPUT, BYTES, "x"), y = add_storage(l, STORAGE_OUTPUT, BYTES, "y");
        uint32_t a = add_value(l, "a"), other = add_value(l, "other");
        uint32_t b = add_storage(l, STORAGE_TRANSIENT, different == LARGER ? 2 * BYTES : BYTES, "b");
        add_step(l, a, x);
        if (different == WRITTEN_BEFORE) {
            add_step(l, b, x);
            add_step(l, other, b);
        }
        kernel_call *call = add_step(l, b, a);
        if (different == NOT_MARKED) call->in_place = 0;
        if (different == PART) call->operands[0].offset = call->operands[0].size = BYTES / 2;
        if (different == TWICE) add_operand(l, a, 0, BYTES, ACCESS_READ);
        if (different == READ_BESIDE) add_step(l, other, a);
        add_step(l, y, b);
        if (different == READ_LATER) add_step(l, y, a);
        join(l);
        assert_int_equal(l->storages[b].in_place_of, different == CASES ? a + 1 : 0);
        lowered_free(l);
    }
}

typedef struct level_range {
    uint32_t first, last;
} level_range;

static bool writes_over(const kernel_call *call, uint32_t result, uint32_t dying) {
    bool marked = false;
    for (uint32_t j = 1; j < call->operand_count; j++)
        marked |= call->operands[j].storage == dying && (call->in_place >> j & 1);
    return marked && call->operands[0].storage == result;
}

/* Values that share bytes live one after the other; where two meet in a level, one call alone has both and may. */
static void check_pair(const lowered *l, const schedule *s, const level_range *ranges, uint32_t a, uint32_t b) {
    if (ranges[a].last < ranges[b].first || ranges[b].last < ranges[a].first) return;
    uint32_t level = ranges[a].last < ranges[b].last ? ranges[a].last : ranges[b].last, touching = 0;
    assert_int_equal(level, ranges[a].first > ranges[b].first ? ranges[a].first : ranges[b].first);
    for (uint32_t i = 0; i < l->call_count; i++) {
        const kernel_call *call = &l->calls[i];
        bool touches = false;
        for (uint32_t j = 0; j < call->operand_count; j++)
            touches |= call->operands[j].storage == a || call->operands[j].storage == b;
        if (!touches || s->levels[i] != level) continue;
        touching++;
        assert_true(writes_over(call, a, b) || writes_over(call, b, a));
    }
    assert_int_equal(touching, 1);
}

static void test_random(void **state) {
    (void)state;
    uint32_t found = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t random = seed;
        lowered *l = lowered_new(NULL), *kept = lowered_new(NULL);
        uint32_t values = 3 + random_number(&random, 30), calls = 1 + random_number(&random, 60);
        for (uint32_t i = 0; i < values; i++) add_value(l, "value"), add_value(kept, "value");
        for (uint32_t i = 0; i < calls; i++) {
            uint32_t from[3] = { random_number(&random, values), random_number(&random, values),
                                 random_number(&random, values) };
            uint32_t marks = random_number(&random, 4) << 1;
            for (uint32_t side = 0; side < 2; side++) {
                lowered *to = side ? kept : l;
                kernel_call *call = add_call(to, SEGMENT_FORWARD, "call");
                for (uint32_t j = 0; j < 3; j++) add_operand(to, from[j], 0, BYTES, j ? ACCESS_READ : ACCESS_WRITE);
                call->in_place = marks;
            }
        }
        schedule s;
        ASSERT_OK(schedule_create(l, SCHEDULE_NO_FAULT, &s));
        ASSERT_OK(in_place(l, &s));
        level_range *ranges = calloc(values, sizeof *ranges);
        for (uint32_t v = 0; v < values; v++) ranges[v] = (level_range){ UINT32_MAX, 0 };
        for (uint32_t i = 0; i < calls; i++)
            for (uint32_t j = 0; j < 3; j++) {
                level_range *range = &ranges[kept->calls[i].operands[j].storage];
                if (s.levels[i] < range->first) range->first = s.levels[i];
                if (s.levels[i] > range->last) range->last = s.levels[i];
                uint32_t original = kept->calls[i].operands[j].storage, heir = l->storages[original].in_place_of;
                assert_int_equal(l->calls[i].operands[j].storage, heir ? heir - 1 : original);
            }
        for (uint32_t a = 0; a < values; a++)
            for (uint32_t b = 0; b < a; b++) {
                uint32_t root_a = l->storages[a].in_place_of, root_b = l->storages[b].in_place_of;
                if ((root_a ? root_a - 1 : a) != (root_b ? root_b - 1 : b)) continue;
                check_pair(kept, &s, ranges, a, b);
                found++;
            }
        free(ranges);
        schedule_destroy(&s);
        lowered_free(l);
        lowered_free(kept);
    }
    assert_true(found > 100);
}

/* ---- whole programs ------------------------------------------------------------------------------ */

typedef struct outcome {
    float y[12];
    uint64_t arena, live;
    uint32_t taken_over;
} outcome;

/* Products with chains behind them that cannot all be epilogues: a residual stream. */
static outcome run(bool inplace, uint32_t replay_seed) {
    const char *force = inplace ? "fuse=none" : "fuse=none,inplace=none";
    tuff_device *device = test_device_open(&(tuff_device_desc){ .force = force });
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = 3 });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *input = tuff_input(graph, "x", TUFF_F32, TUFF_SHAPE(3, 64)), *x = input;
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "fc%d", i);
        tuff_tensor *y = tuff_linear(x, &(tuff_linear_desc){ .name = name, .features = 64 });
        x = tuff_add(x, tuff_tanh(tuff_scale(tuff_relu(y), 0.5f, 0.1f)));
    }
    x = tuff_linear(x, &(tuff_linear_desc){ .name = "last", .features = 4 });
    tuff_program *program = NULL;
    ASSERT_OK(tuff_compile(
        graph, &(tuff_program_desc){ .outputs = &x, .output_count = 1, .evaluate = true, .replay_seed = replay_seed },
        &program));
    outcome result = { .arena = program->plan.total, .live = program->plan.live };
    for (uint32_t s = 0; s < program->lowered->storage_count; s++) {
        uint32_t heir = program->lowered->storages[s].in_place_of;
        if (!heir) continue;
        result.taken_over++;
        assert_int_equal(program->plan.places[s].block, PLAN_NOWHERE); /* it has no bytes but */
        assert_true(program->plan.places[heir - 1].block != PLAN_NOWHERE);
    }
    float values[3 * 64];
    for (uint32_t i = 0; i < 3 * 64; i++) values[i] = (float)i / 97 - 1;
    ASSERT_OK(tuff_write(program, input, values, sizeof values));
    ASSERT_OK(tuff_run(program));
    ASSERT_OK(tuff_read(program, x, result.y, sizeof result.y));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    tuff_device_close(device);
    return result;
}

static void test_program(void **state) {
    (void)state;
    outcome apart = run(false, 0), together = run(true, 0);
    assert_int_equal(apart.taken_over, 0);
    assert_true(together.taken_over >= 3 * 4); /* relu, scale, tanh of each layer, at least */
    assert_true(together.arena < apart.arena && together.live < apart.live);
    assert_memory_equal(together.y, apart.y, sizeof apart.y);
    for (uint32_t seed = 1; seed < 4; seed++) {
        outcome replayed = run(true, seed);
        assert_memory_equal(replayed.y, apart.y, sizeof apart.y);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_chain), cmocka_unit_test(test_refused),
                                        cmocka_unit_test(test_random), cmocka_unit_test(test_program) };
    return cmocka_run_group_tests_name("in place", tests, NULL, NULL);
}
