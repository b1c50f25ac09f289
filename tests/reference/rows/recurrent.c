/* Recurrent networks, step by step.
 *
 * Beside each number goes the sum of the absolute terms that it is made of, carried through the nonlinearities by their
 * slopes: what a rounding error upstream is multiplied with. And its derivative by one element of one operand, with
 * such a sum of its own: a gradient is a forward pass for each element, exact where differences would drown in
 * rounding. */
#include "tests/reference/rows.h"

#include <math.h>
#include <stdlib.h>

typedef struct number {
    double v, abs;
    double d, d_abs;
} number;

static number plus(number a, number b) {
    return (number){ a.v + b.v, a.abs + b.abs, a.d + b.d, a.d_abs + b.d_abs };
}
static number times(number a, number b) {
    return (number){ a.v * b.v, fabs(a.v) * b.abs + a.abs * fabs(b.v), a.v * b.d + a.d * b.v,
                     fabs(a.v) * b.d_abs + a.abs * fabs(b.d) + fabs(a.d) * b.abs + a.d_abs * fabs(b.v) };
}
/* y = f(a) with f' and f''. */
static number function_of(number a, double y, double slope, double curvature) {
    return (number){ y, fabs(y) + fabs(slope) * a.abs, slope * a.d,
                     fabs(slope) * a.d_abs + fabs(curvature) * a.abs * fabs(a.d) };
}
static number sigmoid(number a) {
    double y = 1 / (1 + exp(-a.v)), slope = y * (1 - y);
    return function_of(a, y, slope, slope * (1 - 2 * y));
}
static number hyperbolic(number a) {
    double y = tanh(a.v), slope = 1 - y * y;
    return function_of(a, y, slope, -2 * y * slope);
}
static number rectified(number a) {
    return a.v > 0 ? a : (number){ 0 };
}
static number complement(number a) {
    return (number){ 1 - a.v, 1 - a.v + a.abs, -a.d, a.d_abs };
}

/* Element `index` of operand `of` is what derivatives are taken by. */
typedef struct variable {
    const ref *of;
    int64_t index;
} variable;

static number element(const variable *by, const ref *x, int64_t i) {
    double d = x && by->of == x && by->index == i ? 1 : 0;
    return x ? (number){ x->v[i], x->abs[i], d, d } : (number){ 0 };
}

typedef enum cell { CELL_TANH, CELL_RELU, CELL_GRU, CELL_LSTM } cell;

typedef struct layer {
    cell cell;
    int64_t gates, steps, batch, features, hidden;
    const ref *w_ih, *w_hh, *b_ih, *b_hh; /* biases: NULL without */
    variable by;
} layer;

/* Row `gate * hidden + j` of a weight times a vector, plus its bias. */
static number product(const variable *by, const ref *weight, const ref *bias, int64_t row, const number *x,
                      int64_t size) {
    number sum = element(by, bias, row);
    for (int64_t k = 0; k < size; k++) sum = plus(sum, times(element(by, weight, row * size + k), x[k]));
    return sum;
}

/* Element j of the state after a step, from the input x and the states h and c before it; c is changed. */
static number step(const layer *l, int64_t j, const number *x, const number *h, number *c) {
    number from_x[4], from_h[4];
    for (int64_t g = 0; g < l->gates; g++) {
        from_x[g] = product(&l->by, l->w_ih, l->b_ih, g * l->hidden + j, x, l->features);
        from_h[g] = product(&l->by, l->w_hh, l->b_hh, g * l->hidden + j, h, l->hidden);
    }
    if (l->cell == CELL_TANH) return hyperbolic(plus(from_x[0], from_h[0]));
    if (l->cell == CELL_RELU) return rectified(plus(from_x[0], from_h[0]));
    if (l->cell == CELL_GRU) {
        number r = sigmoid(plus(from_x[0], from_h[0])), z = sigmoid(plus(from_x[1], from_h[1]));
        number n = hyperbolic(plus(from_x[2], times(r, from_h[2])));
        return plus(times(complement(z), n), times(z, h[j]));
    }
    number i = sigmoid(plus(from_x[0], from_h[0])), f = sigmoid(plus(from_x[1], from_h[1]));
    number g = hyperbolic(plus(from_x[2], from_h[2])), o = sigmoid(plus(from_x[3], from_h[3]));
    c[j] = plus(times(f, c[j]), times(i, g));
    return times(o, hyperbolic(c[j]));
}

/* One direction over one sequence of the batch. x: (steps, features); y: hidden numbers of each step, `stride` apart;
 * h and c: the states before, and then after. */
static void run(const layer *l, bool reverse, const number *x, number *y, int64_t stride, number *h, number *c) {
    number *next = calloc((size_t)l->hidden, sizeof *next);
    for (int64_t k = 0; k < l->steps; k++) {
        int64_t t = reverse ? l->steps - 1 - k : k;
        for (int64_t j = 0; j < l->hidden; j++) next[j] = step(l, j, x + t * l->features, h, c);
        for (int64_t j = 0; j < l->hidden; j++) h[j] = y[t * stride + j] = next[j];
    }
    free(next);
}

/* Values, or the derivatives. */
static void store(const variable *by, ref *to, int64_t at, const number *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        to->v[at + i] = by->of ? from[i].d : from[i].v;
        to->abs[at + i] = by->of ? from[i].d_abs : from[i].abs;
    }
}

/* in: input, hx, for LSTM cx, then w_ih, w_hh, b_ih, b_hh of each layer and direction. Result 0, 1 or 2: output, h_n,
 * c_n; or its derivative. */
static ref *network(ref *const *in, const recipe_args *a, cell cell, int64_t gates, variable by) {
    const ref *input = in[0], *hx = in[1], *cx = cell == CELL_LSTM ? in[2] : NULL;
    ref *const *weights = in + (cell == CELL_LSTM ? 3 : 2);
    bool batched = input->shape.rank == 3, batch_first = batched && arg_flag(a, "batch_first", false);
    bool bias = arg_flag(a, "bias", true);
    int64_t layers = arg_int(a, "num_layers", 1), take = arg_int(a, "take", 0);
    int64_t directions = arg_flag(a, "bidirectional", false) ? 2 : 1, kinds = bias ? 4 : 2;
    const int64_t *sizes = input->shape.sizes;
    layer l = { .cell = cell,
                .by = by,
                .gates = gates,
                .steps = sizes[batch_first ? 1 : 0],
                .batch = batched ? sizes[batch_first ? 0 : 1] : 1,
                .hidden = weights[0]->shape.sizes[0] / gates };
    int64_t features = sizes[input->shape.rank - 1], width = directions * l.hidden;
    int64_t widest = features > width ? features : width, states = layers * directions;
    tuff_shape shape = input->shape;
    shape.sizes[shape.rank - 1] = width;
    if (take) shape = batched ? TUFF_SHAPE(states, l.batch, l.hidden) : TUFF_SHAPE(states, l.hidden);
    ref *result = ref_new(shape);
    result->terms = (double)(widest + l.hidden + 2);
    number *x = calloc((size_t)(l.steps * widest), sizeof *x), *y = calloc((size_t)(l.steps * width), sizeof *y);
    number *h = calloc((size_t)l.hidden, sizeof *h), *c = calloc((size_t)l.hidden, sizeof *c);
    for (int64_t n = 0; n < l.batch; n++) {
        l.features = features;
        for (int64_t t = 0; t < l.steps; t++)
            for (int64_t i = 0; i < features; i++)
                x[t * features + i] =
                    element(&by, input, (batch_first ? n * l.steps + t : t * l.batch + n) * features + i);
        for (int64_t s = 0; s < states; s++) {
            ref *const *w = weights + s * kinds;
            l.w_ih = w[0];
            l.w_hh = w[1];
            l.b_ih = bias ? w[2] : NULL;
            l.b_hh = bias ? w[3] : NULL;
            int64_t at = (s * l.batch + n) * l.hidden;
            for (int64_t j = 0; j < l.hidden; j++) {
                h[j] = element(&by, hx, at + j);
                c[j] = element(&by, cx, at + j);
            }
            bool reverse = s % directions == 1, ends = s % directions == directions - 1;
            run(&l, reverse, x, y + (reverse ? l.hidden : 0), width, h, c);
            if (take) store(&by, result, at, take == 1 ? h : c, l.hidden);
            if (!ends) continue;
            for (int64_t i = 0; i < l.steps * width; i++) x[i] = y[i];
            l.features = width;
        }
        for (int64_t t = 0; t < l.steps && !take; t++)
            store(&by, result, (batch_first ? n * l.steps + t : t * l.batch + n) * width, y + t * width, width);
    }
    free(x);
    free(y);
    free(h);
    free(c);
    return result;
}

static void gradients(ref *const *in, const recipe_args *a, cell cell, int64_t gates, const ref *gy, ref *const *g) {
    for (int k = 0; k < RECIPE_INPUTS; k++) {
        for (int64_t i = 0; g[k] && i < in[k]->count; i++) {
            ref *slopes = network(in, a, cell, gates, (variable){ in[k], i });
            for (int64_t j = 0; j < slopes->count; j++) {
                g[k]->v[i] += gy->v[j] * slopes->v[j];
                g[k]->abs[i] += fabs(gy->v[j]) * slopes->abs[j] + gy->abs[j] * fabs(slopes->v[j]);
            }
            g[k]->terms = fmax(g[k]->terms, (double)slopes->count + slopes->terms);
            ref_free(slopes);
        }
    }
}

static cell rnn_cell(const recipe_args *a) {
    return arg_is(a, "nonlinearity", "relu") ? CELL_RELU : CELL_TANH;
}
FORWARD(rnn_forward) {
    return network(in, a, rnn_cell(a), 1, (variable){ 0 });
}
GRADIENT(rnn_gradient) {
    (void)y;
    gradients(in, a, rnn_cell(a), 1, gy, g);
}
FORWARD(gru_forward) {
    return network(in, a, CELL_GRU, 3, (variable){ 0 });
}
GRADIENT(gru_gradient) {
    (void)y;
    gradients(in, a, CELL_GRU, 3, gy, g);
}
FORWARD(lstm_forward) {
    return network(in, a, CELL_LSTM, 4, (variable){ 0 });
}
GRADIENT(lstm_gradient) {
    (void)y;
    gradients(in, a, CELL_LSTM, 4, gy, g);
}

static const recipe_operator rows[] = {
    ROW(rnn, "recurrent"),
    ROW(gru, "recurrent"),
    ROW(lstm, "recurrent"),
};
const recipe_family ROWS_RECURRENT = { rows, sizeof rows / sizeof *rows };
