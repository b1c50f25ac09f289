/* Random graphs: each differentiated, planned, run, run again with adversarial replay (the bits must not change), and
 * compared with the reference. Then with most values computed a second time in the backward pass: that one is compared,
 * too, and without fusion, which finds other chains where fewer values are kept, the bits must not change.
 *
 * TUFF_TEST_SEED chooses the first graph, TUFF_TEST_GRAPHS how many follow one another. How far float32 may be off
 * depends on the graph: the reference is evaluated again with every operator's result disturbed by its rounding
 * error, and what that changes is the measure. */
#include "plan_ratio.h"
#include "random_graph.h"
#include "support.h"
#include "tests/operators/build.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DISTURBANCES = 4 };

static recipe the_recipe;

#define OK(call) check_ok(call, #call)
static void check_ok(tuff_result result, const char *call) {
    if (result != TUFF_OK) fail_msg("%s: %s: %s", call, tuff_result_name(result), tuff_last_message());
}

/* The tensors that are read back: the loss, then the gradients of leaves. */
typedef struct wanted {
    int steps[RECIPE_STEPS];
    int count;
} wanted;

static wanted wanted_of(const recipe *r) {
    wanted w = { .steps = { r->loss }, .count = 1 };
    for (int i = 0; i < r->count; i++)
        if (!r->steps[i].op && r->steps[i].grad) w.steps[w.count++] = i;
    return w;
}

static const ref *reference_of(const recipe *r, int which, const wanted *w) {
    return which ? r->steps[w->steps[which]].grad : r->steps[w->steps[0]].value;
}

/* The L2 distance of what is read back from what it should be. */
static double distance(const ref *x, const double *got) {
    double sum = 0;
    for (int64_t i = 0; i < x->count; i++) sum += (got[i] - x->v[i]) * (got[i] - x->v[i]);
    return sqrt(sum);
}

/* What a disturbance of a rounding error in every operator moves each wanted tensor by, and at least its last place. */
static void measure(recipe *r, const wanted *w, double *allowed) {
    ref *exact[RECIPE_STEPS];
    for (int i = 0; i < w->count; i++) {
        exact[i] = ref_copy(reference_of(r, i, w));
        double norm = 0;
        for (int64_t j = 0; j < exact[i]->count; j++) norm += exact[i]->abs[j] * exact[i]->abs[j];
        allowed[i] = FLT_EPSILON * sqrt(norm) + FLT_MIN;
    }
    for (uint32_t d = 1; d <= DISTURBANCES; d++) {
        recipe_forward(r, 1, d);
        recipe_backward(r, r->loss, 1, d);
        for (int i = 0; i < w->count; i++) allowed[i] = fmax(allowed[i], distance(exact[i], reference_of(r, i, w)->v));
    }
    recipe_forward(r, 0, 0);
    recipe_backward(r, r->loss, 0, 0);
    /* Tuff's operators round more than once, and four disturbances do not find the worst. */
    for (int i = 0; i < w->count; i++) {
        allowed[i] *= 2;
        ref_free(exact[i]);
    }
}

/* All from the leaves, and from every fourth tensor, to the loss is one segment. */
static tuff_tensor *as_segment(const recipe *r, tuff_tensor *const *tensors) {
    tuff_tensor *inputs[RECIPE_STEPS];
    uint32_t count = 0;
    for (int i = 0; i < r->count; i++)
        if (i != r->loss && tensors[i] && (!r->steps[i].op || i % 4 == 0)) inputs[count++] = tensors[i];
    tuff_tensor *loss = tuff_checkpoint(tensors[r->loss], inputs, count);
    if (!loss) fail_msg("tuff_checkpoint: %s", tuff_last_message());
    return loss;
}

typedef struct way {
    uint32_t replay_seed;
    bool checkpoint;
} way;

static double worst_ratio;

static void check_plan(const tuff_program *program) {
    double ratio = plan_ratio(program);
    worst_ratio = fmax(worst_ratio, ratio);
    if (ratio > 1.1) fail_msg("the arena is %.3f times what lives at a time", ratio);
}

/* Compiles and runs the graph; the results one after another. */
static float *run_graph(tuff_device *device, const recipe *r, const wanted *w, way way, size_t *bytes) {
    tuff_model *model = tuff_model_create(device, &(tuff_model_desc){ .seed = RANDOM_GRAPH_SEED });
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *tensors[RECIPE_STEPS], *leaves[RECIPE_STEPS], *outputs[RECIPE_STEPS];
    if (!build_graph(r, graph, tensors)) fail_msg("building: %s", tuff_last_message());
    if (way.checkpoint) tensors[r->loss] = as_segment(r, tensors);
    for (int i = 0; i < w->count; i++) leaves[i] = tensors[w->steps[i]];
    outputs[0] = leaves[0];
    if (w->count > 1) OK(tuff_gradients(tensors[r->loss], leaves + 1, (uint32_t)w->count - 1, outputs + 1));
    tuff_program *program = NULL;
    OK(tuff_compile(
        graph,
        &(tuff_program_desc){ .outputs = outputs, .output_count = (uint32_t)w->count, .replay_seed = way.replay_seed },
        &program));
    check_plan(program);
    OK(build_write(r, model, program, tensors, r->loss));
    for (int run = 0; run < RANDOM_GRAPH_RUNS; run++) OK(tuff_run(program)); /* every recording is in flight */
    *bytes = 0;
    for (int i = 0; i < w->count; i++) *bytes += (size_t)reference_of(r, i, w)->count * sizeof(float);
    float *all = malloc(*bytes), *at = all;
    for (int i = 0; i < w->count; i++) {
        size_t count = (size_t)reference_of(r, i, w)->count;
        OK(tuff_read(program, outputs[i], at, count * sizeof(float)));
        at += count;
    }
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
    return all;
}

/* Whether two ways of running a graph give the same bits; the first one's results. */
static bool same_bits(tuff_device *device, const recipe *r, const wanted *w, way first, way second, float **results) {
    size_t bytes, other_bytes;
    float *other = run_graph(device, r, w, second, &other_bytes);
    *results = run_graph(device, r, w, first, &bytes);
    bool same = bytes == other_bytes && !memcmp(*results, other, bytes);
    free(other);
    return same;
}

static bool check_values(const recipe *r, const wanted *w, const float *got, const double *allowed, double *worst) {
    bool passed = true;
    for (int i = 0; i < w->count; i++) {
        const ref *want = reference_of(r, i, w);
        double *doubles = malloc((size_t)want->count * sizeof *doubles);
        for (int64_t j = 0; j < want->count; j++) doubles[j] = got[j];
        double error = distance(want, doubles) / allowed[i];
        if (!(error <= 1)) {
            passed = false;
            print_message("%s of step %d is off by %.3g times what rounding explains\n", i ? "gradient" : "value",
                          w->steps[i], error);
        }
        *worst = fmax(*worst, error);
        got += want->count;
        free(doubles);
    }
    return passed;
}

static bool check_graph(tuff_device *device, tuff_device *unfused, recipe *r, double *worst) {
    recipe_backward(r, r->loss, 0, 0);
    wanted w = wanted_of(r);
    double allowed[RECIPE_STEPS];
    measure(r, &w, allowed);
    float *plain, *marked, *apart;
    bool replay = same_bits(device, r, &w, (way){ 0 }, (way){ .replay_seed = 99 }, &plain);
    bool again = same_bits(device, r, &w, (way){ .checkpoint = true }, (way){ 7, .checkpoint = true }, &marked);
    bool checkpoint = same_bits(unfused, r, &w, (way){ 0 }, (way){ .checkpoint = true }, &apart);
    if (!replay || !again) print_message("adversarial replay changed the bits%s\n", again ? "" : ", with a checkpoint");
    if (!checkpoint) print_message("a checkpoint changed the bits\n");
    bool right = check_values(r, &w, plain, allowed, worst) && check_values(r, &w, marked, allowed, worst);
    free(plain);
    free(marked);
    free(apart);
    return replay && again && checkpoint && right;
}

static tuff_device *device, *unfused;
static double worst;

static void test_graph(void **state) {
    uint32_t seed = (uint32_t)(uintptr_t)*state;
    random_graph(&the_recipe, seed);
    if (check_graph(device, unfused, &the_recipe, &worst)) return;
    random_graph_print(&the_recipe);
    fail_msg("repeat with TUFF_TEST_SEED=%u TUFF_TEST_GRAPHS=1", seed);
}

static int open_device(void **state) {
    (void)state;
    device = test_device_open(NULL);
    unfused = test_device_open(&(tuff_device_desc){ .force = "fuse=none" });
    return 0;
}

static int close_device(void **state) {
    (void)state;
    print_message("worst error %.2g of what rounding explains, worst plan %.3f times what lives at a time\n", worst,
                  worst_ratio);
    recipe_clear(&the_recipe);
    tuff_device_close(device);
    tuff_device_close(unfused);
    return 0;
}

int main(void) {
    uint32_t first = (uint32_t)test_number("TUFF_TEST_SEED", 1, UINT32_MAX);
    uint32_t count = (uint32_t)test_number("TUFF_TEST_GRAPHS", 8, 1000000);
    if (!first) first = 1; /* a cmocka case cannot start from NULL */
    struct CMUnitTest *tests = calloc(count, sizeof *tests);
    char(*names)[32] = calloc(count, sizeof *names);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof *names, "graph of seed %u", first + i);
        tests[i] = (struct CMUnitTest){ .name = names[i],
                                        .test_func = test_graph,
                                        .initial_state = (void *)(uintptr_t)(first + i) };
    }
    printf("TUFF_TEST_SEED=%u TUFF_TEST_GRAPHS=%u\n", first, count);
    int failed = _cmocka_run_group_tests("random graphs", tests, count, open_device, close_device);
    free(tests);
    free(names);
    return failed;
}
