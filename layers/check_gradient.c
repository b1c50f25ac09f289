/* Are gradients right? Central differences of a program's result against the gradients that the compiler builds.
 *
 * In float32 a difference quotient carries the result's rounding, divided by the step. So the result is weighted and
 * summed on the host in double precision, steps are large, and what their size does is extrapolated away: with D(h) the
 * central difference, (4 D(h / 2) - D(h)) / 3 is off by h^4 alone (Richardson). */
#include <tuff/layers.h>
#include <tuff/operator.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_INPUTS = 8, DIRECTIONS = 2 };

typedef struct checking {
    const tuff_gradient_check *check;
    double step, tolerance;
    tuff_model *model;
    tuff_graph *graph;
    tuff_program *program;
    tuff_tensor *inputs[MOST_INPUTS], *output, *weights;
    tuff_tensor *read[1 + MOST_INPUTS]; /* the result, then gradients */
    float *values[MOST_INPUTS], *moved, *gradient, *result, *weight;
    int64_t counts[MOST_INPUTS], result_count;
    uint64_t drawn;
} checking;

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        tuff_result try_result_ = (call);                                                                              \
        if (try_result_ != TUFF_OK) return try_result_;                                                                \
    } while (0)

/* SplitMix64 (Steele, Lea and Flood 2014), as a number in (-1, 1). */
static double draw(checking *c) {
    uint64_t z = c->check->seed + ++c->drawn * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ z >> 31) >> 11) / 4503599627370496.0 - 1 + 1.0 / 9007199254740992.0;
}

static float *allocate(int64_t count) {
    float *floats = calloc((size_t)count + 1, sizeof *floats);
    if (!floats) tuff_fail(TUFF_ERROR_MEMORY, "tuff_check_gradient: out of host memory");
    return floats;
}

static tuff_result check_arguments(const tuff_device *device, tuff_build_fn build, const tuff_gradient_check *check) {
    if (!device || !build || !check || !check->shapes || check->input_count < 1 || check->input_count > MOST_INPUTS)
        return tuff_fail(TUFF_ERROR_ARGUMENT,
                         "tuff_check_gradient: device, build, shapes and 1 to 8 inputs are required");
    if (!(check->step >= 0) || !(check->tolerance >= 0) || isinf(check->step))
        return tuff_fail(TUFF_ERROR_ARGUMENT, "tuff_check_gradient: step and tolerance must be 0 or more");
    return TUFF_OK;
}

static tuff_result make_values(checking *c) {
    int64_t most = 0;
    for (uint32_t i = 0; i < c->check->input_count; i++) {
        c->counts[i] = tuff_shape_count(&c->check->shapes[i]);
        if (c->counts[i] > most) most = c->counts[i];
        if (!(c->values[i] = allocate(c->counts[i]))) return TUFF_ERROR_MEMORY;
        const float *given = c->check->values ? c->check->values[i] : NULL;
        for (int64_t k = 0; k < c->counts[i]; k++) c->values[i][k] = given ? given[k] : (float)draw(c);
    }
    c->moved = allocate(most);
    c->gradient = allocate(most);
    return c->moved && c->gradient ? TUFF_OK : TUFF_ERROR_MEMORY;
}

static tuff_result compile(checking *c, tuff_device *device, tuff_build_fn build, void *user) {
    uint32_t count = c->check->input_count;
    c->model = tuff_model_create(device, &(tuff_model_desc){ .seed = c->check->seed });
    c->graph = c->model ? tuff_graph_create(c->model) : NULL;
    if (!c->graph) return TUFF_ERROR_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "input %u", i);
        c->inputs[i] = tuff_input(c->graph, name, TUFF_F32, c->check->shapes[i]);
        TRY(tuff_graph_result(c->graph));
    }
    TRY(make_values(c));
    c->output = build(c->graph, c->inputs, user);
    TRY(tuff_graph_result(c->graph));
    if (!c->output || tuff_tensor_type(c->output) != TUFF_F32)
        return tuff_fail(TUFF_ERROR_ARGUMENT, "tuff_check_gradient: build gave no float32 tensor");
    tuff_shape shape = tuff_tensor_shape(c->output);
    c->weights = tuff_input(c->graph, "weights of the result", TUFF_F32, shape);
    tuff_tensor *loss = tuff_sum(tuff_mul(c->output, c->weights), NULL);
    TRY(tuff_graph_result(c->graph));
    TRY(tuff_gradients(loss, c->inputs, count, c->read + 1));
    c->read[0] = c->output;
    c->result_count = tuff_shape_count(&shape);
    c->result = allocate(c->result_count);
    c->weight = allocate(c->result_count);
    if (!c->result || !c->weight) return TUFF_ERROR_MEMORY;
    for (int64_t k = 0; k < c->result_count; k++) c->weight[k] = (float)draw(c);
    TRY(tuff_compile(c->graph,
                     &(tuff_program_desc){
                         .name = "gradient check", .outputs = c->read, .output_count = 1 + count, .evaluate = true },
                     &c->program));
    for (uint32_t i = 0; i < count; i++)
        TRY(tuff_write(c->program, c->inputs[i], c->values[i], (size_t)c->counts[i] * sizeof(float)));
    return tuff_write(c->program, c->weights, c->weight, (size_t)c->result_count * sizeof(float));
}

/* Runs it; the weighted sum of the result, and what rounding can do to it. */
static tuff_result run(checking *c, double *sum, double *rounding) {
    TRY(tuff_run(c->program));
    TRY(tuff_read(c->program, c->output, c->result, (size_t)c->result_count * sizeof(float)));
    *sum = *rounding = 0;
    for (int64_t k = 0; k < c->result_count; k++) {
        double term = (double)c->weight[k] * (double)c->result[k];
        *sum += term;
        *rounding += term * term;
    }
    *rounding = FLT_EPSILON * sqrt(*rounding); /* independent ones */
    return TUFF_OK;
}

/* The slope along a direction of one input: entries in (-1, 1), or element `one` alone. */
static tuff_result difference(checking *c, uint32_t input, const double *direction, int64_t one, double h,
                              double *slope, double *rounding) {
    double sums[2], noise[2];
    for (int side = 0; side < 2; side++) {
        memcpy(c->moved, c->values[input], (size_t)c->counts[input] * sizeof(float));
        for (int64_t k = one < 0 ? 0 : one; k < (one < 0 ? c->counts[input] : one + 1); k++)
            c->moved[k] += (float)((side ? -h : h) * (direction ? direction[k] : 1));
        TRY(tuff_write(c->program, c->inputs[input], c->moved, (size_t)c->counts[input] * sizeof(float)));
        TRY(run(c, &sums[side], &noise[side]));
    }
    *slope = (sums[0] - sums[1]) / (2 * h);
    *rounding = (noise[0] + noise[1]) / (2 * h);
    return TUFF_OK;
}

static tuff_result compare(checking *c, uint32_t input, const double *direction, int64_t one, double expected,
                           double scale) {
    double coarse, fine, noise_coarse, noise_fine;
    TRY(difference(c, input, direction, one, c->step, &coarse, &noise_coarse));
    TRY(difference(c, input, direction, one, c->step / 2, &fine, &noise_fine));
    double slope = (4 * fine - coarse) / 3, noise = 8 * (4 * noise_fine + noise_coarse) / 3;
    if (fabs(slope - expected) <= c->tolerance * (fabs(expected) + scale) + noise) return TUFF_OK;
    char text[256], where[64];
    if (one >= 0)
        snprintf(where, sizeof where, "element %lld of input %u", (long long)one, input);
    else
        snprintf(where, sizeof where, "input %u along a direction", input);
    snprintf(
        text, sizeof text,
        "tuff_check_gradient: the gradient of %s is %.6g, differences of the result say %.6g (rounding up to %.2g)",
        where, expected, slope, noise);
    return tuff_fail(TUFF_ERROR_STATE, text);
}

static tuff_result check_input(checking *c, uint32_t input) {
    int64_t count = c->counts[input], most = c->check->elements ? c->check->elements : 32;
    double scale = 0;
    for (uint32_t i = 0; i < c->check->input_count; i++)
        TRY(tuff_write(c->program, c->inputs[i], c->values[i], (size_t)c->counts[i] * sizeof(float)));
    TRY(tuff_run(c->program));
    TRY(tuff_read(c->program, c->read[1 + input], c->gradient, (size_t)count * sizeof(float)));
    for (int64_t k = 0; k < count; k++) scale += (double)c->gradient[k] * (double)c->gradient[k] / (double)count;
    scale = 0.1 * sqrt(scale); /* an element far below the others is compared with those */
    for (int64_t i = 0; i < count && i < most; i++) {
        int64_t k = count <= most ? i : (int64_t)((draw(c) + 1) / 2 * (double)count);
        if (k >= count) k = count - 1;
        TRY(compare(c, input, NULL, k, (double)c->gradient[k], scale));
    }
    double *direction = calloc((size_t)count, sizeof *direction);
    if (!direction) return tuff_fail(TUFF_ERROR_MEMORY, "tuff_check_gradient: out of host memory");
    tuff_result result = TUFF_OK;
    for (int i = 0; i < DIRECTIONS && result == TUFF_OK; i++) {
        double expected = 0, length = 0;
        for (int64_t k = 0; k < count; k++) {
            direction[k] = draw(c) / sqrt((double)count); /* a step of about the same length as along one element */
            expected += direction[k] * (double)c->gradient[k];
            length += direction[k] * direction[k];
        }
        result = compare(c, input, direction, -1, expected, scale * sqrt(length));
    }
    free(direction);
    return result;
}

tuff_result tuff_check_gradient(tuff_device *device, tuff_build_fn build, void *user,
                                const tuff_gradient_check *check) {
    TRY(check_arguments(device, build, check));
    checking c = { .check = check };
    c.step = check->step > 0 ? (double)check->step : 1.0 / 64;
    c.tolerance = check->tolerance > 0 ? (double)check->tolerance : 0.01;
    tuff_device_counters before, after;
    tuff_device_get_counters(device, &before);
    tuff_result result = compile(&c, device, build, user);
    for (uint32_t i = 0; i < check->input_count && result == TUFF_OK; i++) result = check_input(&c, i);
    tuff_device_get_counters(device, &after);
    /* a shader that writes outside of its tensor can have a right gradient, and messages are dropped without a log */
    if (result == TUFF_OK && after.validation_messages != before.validation_messages)
        result = tuff_fail(TUFF_ERROR_STATE,
                           "tuff_check_gradient: the gradients agree, but the validation layer complained meanwhile; "
                           "open the device with .log in tuff_device_desc to read what it says");
    tuff_program_destroy(c.program);
    tuff_graph_destroy(c.graph);
    tuff_model_destroy(c.model);
    for (uint32_t i = 0; i < MOST_INPUTS; i++) free(c.values[i]);
    free(c.moved);
    free(c.gradient);
    free(c.result);
    free(c.weight);
    return result;
}
