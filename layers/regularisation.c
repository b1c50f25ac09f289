/* Regularisation: dropout of whole channels or examples, and weights in other parameters (weight_norm, spectral_norm).
 */
#include "layers/along.h"
#include "layers/axes.h"
#include "layers/families.h"
#include "layers/pointwise.h"
#include "layers/reduction.h"
#include "layers/state.h"

#include <math.h>

/* ---- dropout of parts ---------------------------------------------------------------------------- */

enum { P = 0, MODE };
enum { MODE_BATCH = 0, MODE_ROW };
static const attribute dropout2d_attributes[] = { { .name = "p", .type = ATTRIBUTE_FLOAT, .value.f = 0.5 } };
static const attribute depth_attributes[] = {
    [P] = { .name = "p", .type = ATTRIBUTE_FLOAT, .required = true },
    [MODE] = { .name = "mode", .type = ATTRIBUTE_CHOICE, .choices = "batch|row", .required = true },
};

static tuff_result infer_dropout2d(inference *inference) {
    const tuff_tensor *x = inference->node->inputs[0];
    char text[160], shape[SHAPE_TEXT];
    if (x->shape.rank < 2)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape (N, C, ...)",
                          node_text(inference->node, text), x->name, shape_text(&x->shape, shape));
    return infer_dropped(inference);
}

/* x times a mask for its first `axes` axes, which stands for all of the others. */
static tuff_result drop_parts(tuff_graph *graph, const node *node, tuff_tensor *x, bool training, uint32_t axes,
                              tuff_tensor **outputs) {
    tuff_reduce_desc rest = { .keepdim = true };
    for (uint32_t i = axes; i < x->shape.rank; i++) rest.axes[rest.axis_count++] = (int32_t)i;
    outputs[0] = x;
    if (training) outputs[0] = dropped(node, x, rest.axis_count ? first_along(x, &rest) : x);
    return graph->result;
}

static tuff_result expand_dropout2d(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                    tuff_tensor **outputs) {
    return drop_parts(graph, node, inputs[0], training, 2, outputs);
}

static tuff_result expand_depth(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                tuff_tensor **outputs) {
    return drop_parts(graph, node, inputs[0], training, node->attributes[MODE].i == MODE_ROW, outputs);
}

/* Linear in x: the gradient passes through the same mask. */
static tuff_result gradient_parts(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                  tuff_tensor **grad_inputs) {
    (void)needs;
    grad_inputs[0] = apply_unary(node->op, grad_outputs[0], node->attributes);
    if (grad_inputs[0]) grad_inputs[0]->producer->name_hash = node->name_hash;
    return TUFF_OK;
}

static const operator dropout2d = {
    .name = "dropout2d",
    .flags = OPERATOR_TRAINING,
    .formula =
        "each channel of x (N, C, ...) times 0 with probability p, else times 1 / (1 - p); x itself in evaluation",
    .inputs = { "input" },
    .pytorch = "torch.nn.functional.dropout2d",
    .attributes = dropout2d_attributes,
    .attribute_count = 1,
    .infer = infer_dropout2d,
    .gradient = gradient_parts,
    .expand = expand_dropout2d,
};

static const operator stochastic_depth = {
    .name = "stochastic_depth",
    .flags = OPERATOR_TRAINING,
    .formula = "x, or each example of it (row), times 0 with probability p, else times 1 / (1 - p); x in evaluation",
    .inputs = { "input" },
    .pytorch = "torchvision.ops.stochastic_depth",
    .attributes = depth_attributes,
    .attribute_count = 2,
    .infer = infer_dropped,
    .gradient = gradient_parts,
    .expand = expand_depth,
};

tuff_tensor *tuff_dropout2d(tuff_tensor *x, float p, const char *name) {
    if (!x) return NULL;
    return graph_apply(x->graph, &dropout2d, &x, 1, &(attribute_value){ .f = p }, name);
}

tuff_tensor *tuff_stochastic_depth(tuff_tensor *x, float p, tuff_depth_mode mode, const char *name) {
    if (!x) return NULL;
    if (mode != TUFF_DEPTH_BATCH && mode != TUFF_DEPTH_ROW) {
        graph_fail(x->graph, TUFF_ERROR_ARGUMENT, "stochastic_depth of '%s': %d is not a tuff_depth_mode", x->name,
                   (int)mode);
        return NULL;
    }
    const attribute_value attributes[] = { [P] = { .f = p }, [MODE] = { .i = mode } };
    return graph_apply(x->graph, &stochastic_depth, &x, 1, attributes, name);
}

/* ---- weight_norm --------------------------------------------------------------------------------- */

static const attribute weight_norm_attributes[] = { { .name = "dim", .type = ATTRIBUTE_INT } };

enum { WHOLE = -1 }; /* as dim, which PyTorch takes for None: one norm, of the whole weight */

/* The axis that keeps its size in g, or v's rank for none. */
static uint32_t kept_axis(const node *node) {
    uint32_t rank = node->inputs[0]->shape.rank;
    int64_t dim = node->attributes[0].i;
    return dim == WHOLE ? rank : axis_of(dim, rank);
}

static tuff_result infer_weight_norm(inference *inference) {
    const node *node = inference->node;
    const tuff_tensor *v = node->inputs[0], *g = node->inputs[1];
    char text[160], first[SHAPE_TEXT], second[SHAPE_TEXT];
    bool whole = node->attributes[0].i == WHOLE;
    if (!whole) TRY(along_check(inference, v, node->attributes[0].i));
    tuff_shape wanted = { .rank = whole ? 0 : v->shape.rank };
    for (uint32_t i = 0; i < wanted.rank; i++) wanted.sizes[i] = i == kept_axis(node) ? v->shape.sizes[i] : 1;
    if (!shape_equal(&g->shape, &wanted))
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE, "%s: '%s' %s must have the shape %s%s",
                          node_text(node, text), g->name, shape_text(&g->shape, first), shape_text(&wanted, second),
                          whole ? ": dim -1 means the norm of all of v" : "");
    inference->shapes[0] = v->shape;
    return TUFF_OK;
}

static tuff_result expand_weight_norm(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                      tuff_tensor **outputs) {
    (void)training;
    tuff_tensor *v = inputs[0], *g = inputs[1];
    tuff_reduce_desc rest = { .keepdim = node->attributes[0].i != WHOLE };
    for (uint32_t i = 0; i < v->shape.rank; i++)
        if (i != kept_axis(node)) rest.axes[rest.axis_count++] = (int32_t)i;
    tuff_tensor *length = rest.axis_count ? tuff_norm(v, 2, &rest) : tuff_abs(v);
    outputs[0] = tuff_mul(v, tuff_div(g, length));
    return graph->result;
}

static const operator weight_norm = {
    .name = "weight_norm",
    .formula = "v g / |v|, the norm over every axis but dim; -1: over all",
    .inputs = { "v", "g" },
    .pytorch = "torch._weight_norm",
    .attributes = weight_norm_attributes,
    .attribute_count = 1,
    .infer = infer_weight_norm,
    .expand = expand_weight_norm,
};

tuff_tensor *tuff_weight_norm(tuff_tensor *v, tuff_tensor *g, int32_t axis) {
    return apply_binary(&weight_norm, v, g, &(attribute_value){ .i = axis });
}

/* ---- spectral_norm ------------------------------------------------------------------------------- */

/* W / sigma for W the weight as a matrix (its axis dim, all others), sigma = u^T W v. Training first improves u and v
 * by power iterations, v = W^T u / |W^T u|, u = W v / |W v|, through which no gradient passes. */
enum { ITERATIONS = 0, SPECTRAL_DIM, SPECTRAL_EPSILON };
static const attribute spectral_attributes[] = {
    [ITERATIONS] = { .name = "n_power_iterations", .type = ATTRIBUTE_INT, .value.i = 1 },
    [SPECTRAL_DIM] = { .name = "dim", .type = ATTRIBUTE_INT },
    [SPECTRAL_EPSILON] = { .name = "eps", .type = ATTRIBUTE_FLOAT, .value.f = 1e-12 },
};

/* weight, u (h), v (w) from input `first` on */
static tuff_result check_spectral(inference *inference, uint32_t first) {
    const node *node = inference->node;
    const tuff_tensor *weight = node->inputs[first], *u = node->inputs[first + 1], *v = node->inputs[first + 2];
    char text[160], one[SHAPE_TEXT], two[SHAPE_TEXT], three[SHAPE_TEXT];
    TRY(along_check(inference, weight, node->attributes[SPECTRAL_DIM].i));
    int64_t h = along_axis(&weight->shape, node->attributes[SPECTRAL_DIM].i).n;
    int64_t w = tuff_shape_count(&weight->shape) / h;
    if (u->shape.rank != 1 || u->shape.sizes[0] != h || v->shape.rank != 1 || v->shape.sizes[0] != w)
        return graph_fail(inference->graph, TUFF_ERROR_SHAPE,
                          "%s: for '%s' %s as a matrix u '%s' %s must have %lld elements and v '%s' %s %lld",
                          node_text(node, text), weight->name, shape_text(&weight->shape, one), u->name,
                          shape_text(&u->shape, two), (long long)h, v->name, shape_text(&v->shape, three),
                          (long long)w);
    if (node->attributes[ITERATIONS].i < 1 || node->attributes[ITERATIONS].i > 100)
        return graph_fail(inference->graph, TUFF_ERROR_ARGUMENT,
                          "%s: n_power_iterations is %lld; 1 to 100 are possible", node_text(node, text),
                          (long long)node->attributes[ITERATIONS].i);
    return TUFF_OK;
}

static tuff_result infer_spectral(inference *inference) {
    TRY(check_spectral(inference, 0));
    inference->shapes[0] = inference->node->inputs[0]->shape;
    return TUFF_OK;
}

static tuff_result infer_spectral_backward(inference *inference) {
    TRY(check_spectral(inference, 1));
    inference->shapes[0] = inference->node->inputs[1]->shape;
    return TUFF_OK;
}

static tuff_result infer_spectral_vectors(inference *inference) {
    TRY(check_spectral(inference, 0));
    inference->output_count = 2;
    inference->shapes[0] = inference->node->inputs[1]->shape;
    inference->shapes[1] = inference->node->inputs[2]->shape;
    return TUFF_OK;
}

/* The weight's axes with dim in front, or back again. */
static tuff_tensor *move_axis(tuff_tensor *x, const node *node, bool back) {
    int32_t dims[TUFF_MAX_RANK], rank = (int32_t)(x ? x->shape.rank : 0);
    int32_t axis = (int32_t)node->attributes[SPECTRAL_DIM].i;
    if (axis < 0) axis += rank;
    for (int32_t i = 0; i < rank; i++) {
        int32_t from = i == 0 ? axis : i <= axis ? i - 1 : i;
        if (back)
            dims[from] = i;
        else
            dims[i] = from;
    }
    return axis == 0 ? x : tuff_permute(x, dims, (uint32_t)rank);
}

typedef struct spectral {
    tuff_tensor *front;  /* the weight with dim in front */
    tuff_tensor *matrix; /* (h, w) */
    tuff_tensor *u, *v;  /* (h, 1), (1, w) */
    tuff_tensor *sigma;  /* (1, 1) */
} spectral;

static spectral spectral_of(const node *node, tuff_tensor *const *inputs, bool training) {
    spectral s = { .front = move_axis(inputs[0], node, false) };
    int64_t h = inputs[1]->shape.sizes[0], w = inputs[2]->shape.sizes[0];
    const tuff_reduce_desc columns = { .axes = { 0 }, .axis_count = 1, .keepdim = true };
    const tuff_reduce_desc rows = { .axes = { 1 }, .axis_count = 1, .keepdim = true };
    const tuff_normalize_desc length = { .epsilon = (float)node->attributes[SPECTRAL_EPSILON].f };
    s.matrix = tuff_reshape(s.front, TUFF_SHAPE(h, w));
    s.u = tuff_reshape(inputs[1], TUFF_SHAPE(h, 1));
    s.v = tuff_reshape(inputs[2], TUFF_SHAPE(1, w));
    for (int64_t i = 0; training && i < node->attributes[ITERATIONS].i; i++) {
        s.v = tuff_normalize(tuff_sum(tuff_mul(s.matrix, s.u), &columns), 1, &length);
        s.u = tuff_normalize(tuff_sum(tuff_mul(s.matrix, s.v), &rows), 0, &length);
    }
    s.sigma = tuff_sum(tuff_mul(s.u, tuff_sum(tuff_mul(s.matrix, s.v), &rows)), &columns);
    return s;
}

static tuff_result expand_spectral(tuff_graph *graph, const node *node, tuff_tensor *const *inputs, bool training,
                                   tuff_tensor **outputs) {
    const spectral s = spectral_of(node, inputs, training);
    outputs[0] = move_axis(reshape_like(tuff_div(s.matrix, s.sigma), s.front), node, true);
    return graph->result;
}

/* (g - u v^T sum(g W) / sigma) / sigma */
static tuff_result expand_spectral_backward(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                            bool training, tuff_tensor **outputs) {
    const spectral s = spectral_of(node, inputs + 1, training);
    const tuff_reduce_desc all = { .axes = { 0, 1 }, .axis_count = 2, .keepdim = true };
    tuff_tensor *g = reshape_like(move_axis(inputs[0], node, false), s.matrix);
    tuff_tensor *along = tuff_div(tuff_sum(tuff_mul(g, s.matrix), &all), s.sigma);
    tuff_tensor *slope = tuff_div(tuff_sub(g, tuff_mul(tuff_mul(s.u, along), s.v)), s.sigma);
    outputs[0] = move_axis(reshape_like(slope, s.front), node, true);
    return graph->result;
}

static tuff_result expand_spectral_vectors(tuff_graph *graph, const node *node, tuff_tensor *const *inputs,
                                           bool training, tuff_tensor **outputs) {
    const spectral s = spectral_of(node, inputs, training);
    outputs[0] = reshape_like(s.u, inputs[1]);
    outputs[1] = reshape_like(s.v, inputs[2]);
    return graph->result;
}

static const operator spectral_norm_backward = {
    .name = "spectral_norm_backward",
    .flags = OPERATOR_INTERNAL | OPERATOR_TRAINING,
    .formula = "the gradient of spectral_norm with respect to weight",
    .inputs = { "grad_output", "weight", "u", "v" },
    .attributes = spectral_attributes,
    .attribute_count = 3,
    .infer = infer_spectral_backward,
    .expand = expand_spectral_backward,
};

static const operator spectral_norm_vectors = {
    .name = "spectral_norm_vectors",
    .flags = OPERATOR_INTERNAL | OPERATOR_TRAINING | OPERATOR_DETACH,
    .formula = "u and v after training's power iterations",
    .inputs = { "weight", "u", "v" },
    .attributes = spectral_attributes,
    .attribute_count = 3,
    .infer = infer_spectral_vectors,
    .expand = expand_spectral_vectors,
};

static tuff_result gradient_spectral(const node *node, tuff_tensor *const *grad_outputs, uint32_t needs,
                                     tuff_tensor **grad_inputs) {
    tuff_tensor *inputs[] = { grad_outputs[0], node->inputs[0], node->inputs[1], node->inputs[2] };
    if (needs & 1)
        grad_inputs[0] = graph_apply(node_graph(node), &spectral_norm_backward, inputs, 4, node->attributes, NULL);
    return TUFF_OK;
}

static const operator spectral_norm = {
    .name = "spectral_norm",
    .flags = OPERATOR_TRAINING,
    .formula = "weight / (u^T W v), W its matrix; training first improves u and v by power iterations, which have no "
               "gradient",
    .inputs = { "weight", "u", "v" },
    .pytorch = "torch.nn.utils.spectral_norm",
    .attributes = spectral_attributes,
    .attribute_count = 3,
    .infer = infer_spectral,
    .gradient = gradient_spectral,
    .expand = expand_spectral,
};

/* In a random direction and about as long as PyTorch's, which are normalised: evaluation before any training divides by
 * u^T W v as it is. */
static tuff_init_desc unit_vector(int64_t n) {
    if (n == 1) return (tuff_init_desc){ TUFF_INIT_CONSTANT, 1 };
    return (tuff_init_desc){ TUFF_INIT_NORMAL, (float)(1 / sqrt((double)n)) };
}

tuff_tensor *tuff_spectral_norm(tuff_tensor *weight, int32_t axis, const tuff_spectral_norm_desc *desc) {
    static const tuff_spectral_norm_desc none;
    if (!weight || weight->graph->result != TUFF_OK) return NULL;
    tuff_graph *graph = weight->graph;
    if (!desc) desc = &none;
    if (!layer_is_named(graph, "tuff_spectral_norm", desc->name)) return NULL;
    char text[SHAPE_TEXT];
    if (axis < -(int32_t)weight->shape.rank || axis >= (int32_t)weight->shape.rank) {
        graph_fail(graph, TUFF_ERROR_SHAPE, "tuff_spectral_norm '%s': '%s' %s has no axis %d", desc->name, weight->name,
                   shape_text(&weight->shape, text), axis);
        return NULL;
    }
    int64_t h = along_axis(&weight->shape, axis).n, w = tuff_shape_count(&weight->shape) / h;
    uint32_t before = tuff_model_state_count(graph->model);
    tuff_tensor *inputs[3] = { weight };
    const int64_t lengths[] = { h, w };
    for (uint32_t i = 0; i < 2; i++) {
        const state_desc state = { .name = i ? "weight_v" : "weight_u",
                                   .shape = TUFF_SHAPE(lengths[i]),
                                   .kind = TUFF_STATE_BUFFER,
                                   .init = unit_vector(lengths[i]) };
        if (!(inputs[1 + i] = layer_state(graph, desc->name, &state))) return layer_end(graph, before, NULL);
    }
    const attribute_value attributes[] = { [ITERATIONS] = { .i = desc->iterations ? desc->iterations : 1 },
                                           [SPECTRAL_DIM] = { .i = axis },
                                           [SPECTRAL_EPSILON] = { .f = desc->epsilon == 0 ? 1e-12
                                                                                          : (double)desc->epsilon } };
    tuff_tensor *y = graph_apply(graph, &spectral_norm, inputs, 3, attributes, desc->name);
    tuff_tensor *u = y ? graph_apply(graph, &spectral_norm_vectors, inputs, 3, attributes, NULL) : NULL;
    if (u) {
        tuff_assign(inputs[1], u);
        tuff_assign(inputs[2], u->producer->outputs[1]);
    }
    return layer_end(graph, before, y);
}

static const operator* const rows[] = { &dropout2d,     &stochastic_depth,       &weight_norm,
                                        &spectral_norm, &spectral_norm_backward, &spectral_norm_vectors };
const operator_family family_regularisation = { rows, sizeof rows / sizeof *rows };
