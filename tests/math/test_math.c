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

static double softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}
static double logsigmoid(double x) {
    return -softplus(-x);
}
static double mish(double x) {
    return x * tanh(softplus(x));
}
static double elu(double x) {
    return x > 0 ? x : expm1(x);
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
    { "expm1", expm1, -104, 89, 2, 0x5556f7d8 },
    { "expm1", expm1, -2, 2, 2, 0x54ad47b9 },
    { "expm1", expm1, 1e-30f, 1, 2, 0x9a877daf },
    { "log1p", log1p, -0.99999994f, 3.4e38f, 2, 0xa19a2593 },
    { "log1p", log1p, -0.5f, 2, 2, 0x4f622703 },
    { "log1p", log1p, 1e-30f, 1, 2, 0x0ad86d95 },
    { "sin", sin, -3.4e38f, 3.4e38f, 2, 0xfa2376f7 },
    { "sin", sin, 0.5f, 100, 2, 0x4375992b },
    { "cos", cos, -3.4e38f, 3.4e38f, 2, 0x88563096 },
    { "cos", cos, 0.5f, 100, 2, 0x9bff79b0 },
    { "softplus", softplus, -80, 100, 3, 0x2b2bf872 },
    { "logsigmoid", logsigmoid, -100, 80, 3, 0x51ece25a },
    { "mish", mish, -80, 80, 5, 0xe01cefbf },
    { "elu", elu, -20, 5, 2, 0x3731cf0c },
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

/* Angles so near to a multiple of pi / 2 that a float's reduction loses all digits, and other large ones. */
static void test_angles(void **state) {
    (void)state;
    static const float angles[] = {
        0x1.921fb6p+0f, 0x1.921fb6p+1f, 0x1.d1c5d6p+5f,        0x1.47d0fep+34f, 0x1.7f4134p+91f, 0x1.fffffep+127,
        0x1.6ac5b2p+2f, 0x1.2d97c8p+1f, 16367173.0f * 0x1p72f, 0x1.4626ep+60f,  0.785398185f,    0.785398245f,
        -2.3561945f,    1e22f
    };
    enum { ANGLES = sizeof angles / sizeof *angles };
    float y[ANGLES];
    run("sin", angles, NULL, y, ANGLES);
    for (int i = 0; i < ANGLES; i++)
        if (!(fabs(y[i] - sin(angles[i])) <= 2 * unit_of(sin(angles[i]))))
            fail_msg("sin(%.9g) is %.9g, should be %.9g", angles[i], y[i], sin(angles[i]));
    run("cos", angles, NULL, y, ANGLES);
    for (int i = 0; i < ANGLES; i++)
        if (!(fabs(y[i] - cos(angles[i])) <= 2 * unit_of(cos(angles[i]))))
            fail_msg("cos(%.9g) is %.9g, should be %.9g", angles[i], y[i], cos(angles[i]));
}

/* Powers, with exponents whose results spread over all of float's range, and C's rules at the ends. */
static void test_powers(void **state) {
    (void)state;
    float *a = malloc(COUNT * sizeof *a), *b = malloc(COUNT * sizeof *b), *y = malloc(COUNT * sizeof *y);
    uint32_t random = 1;
    for (int i = 0; i < COUNT; i++) {
        random = random * 1664525u + 1013904223u;
        uint32_t exponent = i % 3 == 0 ? 126u + (random & 1u) : 1u + (random >> 3 & 255u) % 254u; /* a third: near 1 */
        a[i] = from_bits((random >> 9) | exponent << 23);
        random = random * 1664525u + 1013904223u;
        double span = 126 * ((random >> 8) / 8388608.0 - 1); /* the result's exponent */
        double log = log2(a[i]);
        b[i] = (float)(fabs(log) < 1e-7 ? span : span / log);
        if (i % 7 == 0) a[i] = -a[i], b[i] = rintf(b[i]);
    }
    run("pow", a, b, y, COUNT);
    double worst = 0;
    uint32_t hash = 2166136261u;
    for (int i = 0; i < COUNT; i++) {
        double want = pow(a[i], b[i]), error = fabs(y[i] - want) / unit_of(want);
        if (fabs(want) < 1.1754944e-38) error = fabs(y[i]) <= 1.1754944e-38 ? 0 : INFINITY;
        if (isinf((float)want)) error = y[i] == (float)want ? 0 : INFINITY;
        if (!(error <= 1.5)) fail_msg("%.9g ^ %.9g is %.9g, should be %.9g: %.2f units", a[i], b[i], y[i], want, error);
        if (error > worst) worst = error;
        hash = (hash ^ to_bits(y[i] == 0 ? 0 : y[i])) * 16777619u;
    }
    print_message("pow: %.2f units; 0x%08x\n", worst, hash);
    if (tuff_device_get_info(device)->type == TUFF_DEVICE_CPU && hash != 0xcbcad538u)
        fail_msg("pow has other bits than elsewhere");

    static const float ends[] = { 0,     -0.0f,  1,      -1, 0.5f,     -0.5f,    2,    -2,       3,         -3,
                                  1e30f, -1e30f, 1e-30f, 7,  16777215, 16777216, 1.5f, INFINITY, -INFINITY, NAN };
    enum { ENDS = sizeof ends / sizeof *ends };
    for (int i = 0; i < ENDS * ENDS; i++) {
        a[i] = ends[i / ENDS];
        b[i] = ends[i % ENDS];
    }
    run("pow", a, b, y, ENDS * ENDS);
    for (int i = 0; i < ENDS * ENDS; i++) {
        double want = pow(a[i], b[i]);
        float nearest = (float)want;
        if (fabsf(nearest) < 1.1754944e-38f) nearest = 0;
        bool same = isnan(want)                      ? isnan(y[i])
                    : isinf(nearest) || nearest == 0 ? y[i] == nearest
                                                     : fabs(y[i] - want) <= 2 * unit_of(want);
        if (!same) fail_msg("%g ^ %g is %g, should be %g", a[i], b[i], y[i], want);
    }
    free(a);
    free(b);
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
        { "rsqrt", 0, INFINITY },
        { "rsqrt", -0.0f, -INFINITY }, /* and so pow_scalar with -0.5, as in PyTorch */
        { "sign", NAN, 0 },
        { "expm1", INFINITY, INFINITY },
        { "expm1", -INFINITY, -1 },
        { "expm1", NAN, NAN },
        { "expm1", 1e-20f, 1e-20f },
        { "log1p", INFINITY, INFINITY },
        { "log1p", -1, -INFINITY },
        { "log1p", -1.5f, NAN },
        { "log1p", -INFINITY, NAN },
        { "log1p", NAN, NAN },
        { "log1p", -1e-20f, -1e-20f },
        { "sin", INFINITY, NAN },
        { "sin", NAN, NAN },
        { "sin", -1e-20f, -1e-20f },
        { "cos", -INFINITY, NAN },
        { "cos", NAN, NAN },
        { "cos", 0, 1 },
        { "floor", -0.5f, -1 },
        { "floor", -INFINITY, -INFINITY },
        { "floor", NAN, NAN },
        { "reciprocal", 0, INFINITY },
        { "reciprocal", -INFINITY, 0 },
        { "clamp", NAN, NAN },
        { "relu6", NAN, NAN },
        { "relu6", INFINITY, 6 },
        { "hardswish", NAN, NAN },
        { "hardswish", INFINITY, INFINITY },
        { "hardswish", -3, 0 },
        { "hardsigmoid", NAN, NAN },
        { "hardsigmoid", -INFINITY, 0 },
        { "hardsigmoid", INFINITY, 1 },
        { "elu", NAN, NAN },
        { "elu", -INFINITY, -1 },
        { "elu", INFINITY, INFINITY },
        { "selu", NAN, NAN },
        { "softplus", NAN, NAN },
        { "softplus", INFINITY, INFINITY },
        { "softplus", -INFINITY, 0 },
        { "logsigmoid", NAN, NAN },
        { "logsigmoid", INFINITY, 0 },
        { "logsigmoid", -INFINITY, -INFINITY },
        { "mish", NAN, NAN },
        { "mish", INFINITY, INFINITY },
    };
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        float y;
        run(edges[i].row, &edges[i].x, NULL, &y, 1);
        bool same = isnan(edges[i].y) ? isnan(y) : y == edges[i].y;
        if (!same) fail_msg("%s(%g) is %g, should be %g", edges[i].row, edges[i].x, y, edges[i].y);
    }
}

/* NaN wins, from either side. */
static void test_extremes(void **state) {
    (void)state;
    static const float a[] = { NAN, 1, NAN, INFINITY, -INFINITY, 2 }, b[] = { 1, NAN, NAN, 1, -1, 2 };
    float high[6], low[6];
    run("maximum", a, b, high, 6);
    run("minimum", a, b, low, 6);
    for (int i = 0; i < 6; i++) {
        bool none = isnan(a[i]) || isnan(b[i]);
        if (none ? !isnan(high[i]) : high[i] != fmaxf(a[i], b[i])) fail_msg("max(%g, %g) is %g", a[i], b[i], high[i]);
        if (none ? !isnan(low[i]) : low[i] != fminf(a[i], b[i])) fail_msg("min(%g, %g) is %g", a[i], b[i], low[i]);
    }
}

static bool alike(float got, float want) {
    if (isnan(want)) return isnan(got);
    float scale = fabsf(want) < 1e-20f ? fabsf(want) : fmaxf(1, fabsf(want));
    return isinf(want) ? got == want : fabsf(got - want) <= 1e-6f * scale;
}

/* Slopes where there are two, or none, as PyTorch has them; of powers, which other families are built on, for both
 * operands. */
static void test_slopes(void **state) {
    (void)state;
    static const struct {
        const char *row;
        float x, slope, other, other_slope; /* other: NAN if there is one operand; pow_scalar's exponent */
    } edges[] = {
        { "abs", 0, 0, NAN, 0 },
        { "relu", 0, 0, NAN, 0 },
        { "relu6", 0, 0, NAN, 0 },
        { "relu6", 6, 0, NAN, 0 },
        { "relu6", 5.9999995f, 1, NAN, 0 },
        { "leaky_relu", 0, 0.01f, NAN, 0 },
        { "elu", 0, 1, NAN, 0 },
        { "selu", 0, 1.7580993f, NAN, 0 },
        { "hardswish", -3, -0.5f, NAN, 0 },
        { "hardswish", 3, 1, NAN, 0 },
        { "hardswish", 2.9999998f, 1.4999999f, NAN, 0 },
        { "hardsigmoid", -3, 0, NAN, 0 },
        { "hardsigmoid", 3, 0, NAN, 0 },
        { "softplus", 100, 1, NAN, 0 },
        { "logsigmoid", -100, 1, NAN, 0 },
        { "sqrt", 0, INFINITY, NAN, 0 },
        { "maximum", 1, 0.5f, 1, 0.5f },
        { "maximum", 1, 0, 2, 1 },
        { "minimum", 1, 1, 2, 0 },
        { "pow", 0, 0, 0, 0 },
        { "pow", 0, 0, 2, 0 },
        { "pow", 0, INFINITY, 0.5f, 0 },
        { "pow", 0, -INFINITY, -1, -INFINITY },
        { "pow", 2, 0, 0, 0.69314718f },
        { "pow", -2, 12, 3, NAN },
        { "pow_scalar", 1e-10f, -2e30f, -2, 0 },
        { "pow_scalar", 1e12f, -2e-36f, -2, 0 },
        { "pow_scalar", 0, -INFINITY, -2, 0 },
        { "pow_scalar", 1e-10f, -INFINITY, -3, 0 },
        { "pow_scalar", 1e8f, -3e-32f, -3, 0 },
    };
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        bool number = strcmp(edges[i].row, "pow_scalar") == 0;
        uint32_t count = isnan(edges[i].other) || number ? 1 : 2;
        tuff_model *model = tuff_model_create(device, NULL);
        tuff_graph *graph = tuff_graph_create(model);
        tuff_tensor *inputs[2] = { tuff_input(graph, "a", TUFF_F32, TUFF_SCALAR), NULL }, *slopes[2] = { NULL };
        if (count > 1) inputs[1] = tuff_input(graph, "b", TUFF_F32, TUFF_SCALAR);
        const operator* row = row_named(edges[i].row);
        attribute_value defaults[MAX_ATTRIBUTES] = { { 0 } };
        for (uint32_t k = 0; k < row->attribute_count; k++) defaults[k] = row->attributes[k].value;
        if (number) defaults[0].f = (double)edges[i].other;
        OK(tuff_gradients(graph_apply(graph, row, inputs, count, defaults, NULL), inputs, count, slopes));
        tuff_program *program;
        OK(tuff_compile(graph, &(tuff_program_desc){ .outputs = slopes, .output_count = count, .evaluate = true },
                        &program));
        const float values[2] = { edges[i].x, edges[i].other }, want[2] = { edges[i].slope, edges[i].other_slope };
        /* an operand that no gradient needs is no input of the program */
        for (uint32_t k = 0; k < count; k++) (void)tuff_write(program, inputs[k], &values[k], sizeof values[k]);
        OK(tuff_run(program));
        for (uint32_t k = 0; k < count; k++) {
            float got;
            OK(tuff_read(program, slopes[k], &got, sizeof got));
            if (!alike(got, want[k]))
                fail_msg("slope %u of %s at %g, %g is %g, should be %g", k, edges[i].row, values[0], values[1], got,
                         want[k]);
        }
        tuff_program_destroy(program);
        tuff_graph_destroy(graph);
        tuff_model_destroy(model);
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
        cmocka_unit_test(test_accuracy), cmocka_unit_test(test_edges),  cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_slopes),   cmocka_unit_test(test_angles), cmocka_unit_test(test_powers),
        cmocka_unit_test(test_division),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
