/* Elementary functions of the kernels against the C library's double precision, over sweeps of float's whole range, and
 * to the bit: the same results on every driver. */
#include "runtime/graph/operator.h"
#include "support.h"

#include <tuff/layers.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tuff_device *device;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != TUFF_OK) fail_msg("%s: %s", #call, tuff_last_message());                                         \
    } while (0)

enum { COUNT = 1 << 16 };

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static const operator* row_named(const char *name) {
    uint32_t count;
    const operator* const * rows = operator_table(&count);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(rows[i]->name, name)) return rows[i];
    fail_msg("there is no row '%s'", name);
    return NULL;
}

/* y[i] = op(a[i]) or op(a[i], b[i]). */
static void run(const char *name, const float *a, const float *b, float *y, int count) {
    tuff_model *model = tuff_model_create(device, NULL);
    tuff_graph *graph = tuff_graph_create(model);
    tuff_tensor *inputs[2] = { tuff_input(graph, "a", TUFF_F32, TUFF_SHAPE(count)),
                               b ? tuff_input(graph, "b", TUFF_F32, TUFF_SHAPE(count)) : NULL };
    tuff_tensor *output = graph_apply(graph, row_named(name), inputs, b ? 2 : 1, NULL, NULL);
    tuff_program *program;
    OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = &output, .output_count = 1, .evaluate = true }, &program));
    OK(tuff_write(program, inputs[0], a, (size_t)count * sizeof *a));
    if (b) OK(tuff_write(program, inputs[1], b, (size_t)count * sizeof *b));
    OK(tuff_run(program));
    OK(tuff_read(program, output, y, (size_t)count * sizeof *y));
    tuff_program_destroy(program);
    tuff_graph_destroy(graph);
    tuff_model_destroy(model);
}

/* Floats from low to high, evenly among all that there are. */
static void sweep(float *x, int count, float low, float high) {
    int64_t first = (int32_t)to_bits(low), last = (int32_t)to_bits(high);
    if (first < 0) first = INT32_MIN - first; /* in the order of their values */
    if (last < 0) last = INT32_MIN - last;
    for (int i = 0; i < count; i++) {
        int64_t place = first + (last - first) * i / (count - 1);
        x[i] = from_bits((uint32_t)(place < 0 ? INT32_MIN - place : place));
        if (fabsf(x[i]) < 1e-30f) x[i] = 0; /* drivers differ in what they flush down there */
    }
}

static double unit_of(double value) {
    int exponent;
    frexp(value, &exponent);
    return ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double gelu(double x) {
    return 0.5 * x * erfc(-x * sqrt(0.5));
}
static double silu(double x) {
    return x / (1 + exp(-x));
}
static double reciprocal_sqrt(double x) {
    return 1 / sqrt(x);
}

typedef struct trial {
    const char *row;
    double (*want)(double);
    float low, high;
    double units;  /* in the last place */
    uint32_t bits; /* a hash of all results */
} trial;

static const trial trials[] = {
    { "exp", exp, -104, 89, 1.2, 0xc4f14eb5 },
    { "exp", exp, -1, 1, 1.2, 0xeb449e1a },
    { "exp", exp, 80, 88.7228317f, 1.2, 0xa4a9ab8c },
    { "log", log, 1e-30f, 3.4e38f, 1.2, 0xf42e2c8b },
    { "log", log, 0.5f, 2, 1.2, 0xeef13177 },
    { "log", log, 0.999f, 1.001f, 1.2, 0xf970efc8 },
    { "tanh", tanh, -12, 12, 2, 0x0a33a869 },
    { "tanh", tanh, 1e-30f, 1, 2, 0xd012aa9a },
    { "sigmoid", sigmoid, -87, 20, 2.5, 0xcb5f402e },
    { "sigmoid", sigmoid, -1, 1, 2, 0x4525b0a2 },
    { "erf", erf, -5, 5, 1.5, 0x77b1db35 },
    { "erf", erf, 1e-30f, 1, 1.5, 0xe85e0abb },
    { "gelu", gelu, -1, 10, 4, 0x752b9f48 },
    { "gelu", gelu, -9, -1, 400, 0xcc6c7381 },
    { "silu", silu, -80, 80, 4, 0x4934c875 },
    { "sqrt", sqrt, 1e-30f, 3.4e38f, 0.5, 0xbd8b1f82 },
    { "rsqrt", reciprocal_sqrt, 1e-30f, 3.4e38f, 1.5, 0x3a4b5624 },
};

static void test_accuracy(void **state) {
    (void)state;
    /* where divisions and roots are correctly rounded, all drivers agree to the bit */
    bool rounds = tuff_device_get_info(device)->type == TUFF_DEVICE_CPU;
    float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    for (size_t t = 0; t < sizeof trials / sizeof *trials; t++) {
        const trial *trial = &trials[t];
        sweep(x, COUNT, trial->low, trial->high);
        run(trial->row, x, NULL, y, COUNT);
        double worst = 0;
        int at = 0;
        uint32_t hash = 2166136261u;
        for (int i = 0; i < COUNT; i++) {
            double want = trial->want(x[i]), error = fabs(y[i] - want) / unit_of(want);
            if (fabs(want) < 1.1754944e-38) error = fabs(y[i]) <= 1.1754944e-38 ? 0 : INFINITY; /* flushed */
            if ((float)want == INFINITY) error = y[i] == INFINITY ? 0 : INFINITY;
            if (!(error <= worst)) {
                worst = error;
                at = i;
            }
            hash = (hash ^ to_bits(y[i] == 0 ? 0 : y[i])) * 16777619u;
        }
        print_message("%-8s %12g .. %-12g %.2f units, at %.9g; 0x%08x\n", trial->row, trial->low, trial->high, worst,
                      x[at], hash);
        if (!(worst <= trial->units))
            fail_msg("%s(%.9g) is %.9g, should be %.9g: %.2f units in the last place", trial->row, x[at], y[at],
                     trial->want(x[at]), worst);
        if (rounds && hash != trial->bits) fail_msg("%s has other bits than elsewhere", trial->row);
    }
    free(x);
    free(y);
}

/* Ends of ranges and what is no number. */
static void test_edges(void **state) {
    (void)state;
    static const struct {
        const char *row;
        float x, y;
    } edges[] = {
        { "exp", INFINITY, INFINITY },
        { "exp", -INFINITY, 0 },
        { "exp", NAN, NAN },
        { "exp", 0, 1 },
        { "exp", 1000, INFINITY },
        { "exp", -1000, 0 },
        { "log", 0, -INFINITY },
        { "log", -1, NAN },
        { "log", INFINITY, INFINITY },
        { "log", NAN, NAN },
        { "log", 1, 0 },
        { "tanh", INFINITY, 1 },
        { "tanh", -INFINITY, -1 },
        { "tanh", NAN, NAN },
        { "tanh", 1e-5f, 1e-5f },
        { "sigmoid", INFINITY, 1 },
        { "sigmoid", -INFINITY, 0 },
        { "sigmoid", NAN, NAN },
        { "sigmoid", 0, 0.5f },
        { "erf", INFINITY, 1 },
        { "erf", -INFINITY, -1 },
        { "erf", NAN, NAN },
        { "relu", NAN, NAN },
        { "relu", -1, 0 },
        { "relu", INFINITY, INFINITY },
        { "sign", -3, -1 },
        { "sign", 0, 0 },
        { "abs", -INFINITY, INFINITY },
        { "sqrt", 0, 0 },
        { "sqrt", 4, 2 },
    };
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        float y;
        run(edges[i].row, &edges[i].x, NULL, &y, 1);
        bool same = isnan(edges[i].y) ? isnan(y) : y == edges[i].y;
        if (!same) fail_msg("%s(%g) is %g, should be %g", edges[i].row, edges[i].x, y, edges[i].y);
    }
}

/* Division and the square root are correctly rounded on drivers for the CPU: what divides has the same bits there. */
static void test_division(void **state) {
    (void)state;
    if (tuff_device_get_info(device)->type != TUFF_DEVICE_CPU) skip();
    float *a = malloc(COUNT * sizeof *a), *b = malloc(COUNT * sizeof *b), *y = malloc(COUNT * sizeof *y);
    uint32_t random = 1;
    for (int i = 0; i < COUNT; i++) { /* exponents near 0: the results are normal */
        random = random * 1664525u + 1013904223u;
        a[i] = from_bits((random >> 8 & 0x007fffffu) | (100u + (random >> 3 & 31u)) << 23);
        random = random * 1664525u + 1013904223u;
        b[i] = from_bits((random >> 8 & 0x007fffffu) | (100u + (random >> 3 & 31u)) << 23);
    }
    run("div", a, b, y, COUNT);
    for (int i = 0; i < COUNT; i++)
        if (y[i] != a[i] / b[i]) fail_msg("%.9g / %.9g is %.9g, should be %.9g", a[i], b[i], y[i], a[i] / b[i]);
    run("sqrt", a, NULL, y, COUNT);
    for (int i = 0; i < COUNT; i++)
        if (y[i] != sqrtf(a[i])) fail_msg("sqrt(%.9g) is %.9g, should be %.9g", a[i], y[i], sqrtf(a[i]));
    free(a);
    free(b);
    free(y);
}

static int open_device(void **state) {
    (void)state;
    device = test_device_open(NULL);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    tuff_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_division),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
