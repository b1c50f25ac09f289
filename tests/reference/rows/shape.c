/* Operators that move or repeat elements. */
#include "tests/reference/rows.h"

#include <math.h>

FORWARD(reshape_forward) {
    tuff_shape shape = { 0 };
    shape.rank = (uint32_t)arg_list(a, "shape", shape.sizes, TUFF_MAX_RANK);
    return ref_reshape(in[0], shape);
}
FORWARD(flatten_forward) {
    int first = arg_axis(a, "start_dim", 0, in[0]), last = arg_axis(a, "end_dim", -1, in[0]);
    tuff_shape shape = { 0 };
    for (int i = 0; i < (int)in[0]->shape.rank; i++) {
        if (i > first && i <= last)
            shape.sizes[shape.rank - 1] *= in[0]->shape.sizes[i];
        else
            shape.sizes[shape.rank++] = in[0]->shape.sizes[i];
    }
    return ref_reshape(in[0], shape);
}
FORWARD(unflatten_forward) {
    int axis = arg_axis(a, "dim", 0, in[0]);
    int64_t sizes[TUFF_MAX_RANK], count = arg_list(a, "sizes", sizes, TUFF_MAX_RANK), known = 1;
    tuff_shape shape = { 0 };
    for (int64_t k = 0; k < count; k++) known *= sizes[k] == -1 ? 1 : sizes[k];
    for (int i = 0; i < (int)in[0]->shape.rank; i++) {
        if (i != axis) shape.sizes[shape.rank++] = in[0]->shape.sizes[i];
        for (int64_t k = 0; i == axis && k < count; k++)
            shape.sizes[shape.rank++] = sizes[k] == -1 ? in[0]->shape.sizes[i] / known : sizes[k];
    }
    return ref_reshape(in[0], shape);
}
FORWARD(squeeze_forward) {
    uint32_t axes = arg_axes(a, "dim", in[0]);
    tuff_shape shape = { 0 };
    for (uint32_t i = 0; i < in[0]->shape.rank; i++)
        if (in[0]->shape.sizes[i] != 1 || (axes && !(axes >> i & 1))) shape.sizes[shape.rank++] = in[0]->shape.sizes[i];
    return ref_reshape(in[0], shape);
}
FORWARD(unsqueeze_forward) {
    tuff_shape shape = in[0]->shape;
    int64_t axis = arg_int(a, "dim", 0);
    if (axis < 0) axis += shape.rank + 1;
    for (int64_t i = shape.rank++; i > axis; i--) shape.sizes[i] = shape.sizes[i - 1];
    shape.sizes[axis] = 1;
    return ref_reshape(in[0], shape);
}
GRADIENT(reshape_gradient) {
    UNUSED;
    if (g[0]) ref_reshape_grad(gy, g[0]);
}
FORWARD(transpose_forward) {
    return ref_transpose(in[0], arg_axis(a, "dim0", 0, in[0]), arg_axis(a, "dim1", 1, in[0]));
}
GRADIENT(transpose_gradient) {
    UNUSED;
    if (g[0]) ref_transpose_grad(arg_axis(a, "dim0", 0, in[0]), arg_axis(a, "dim1", 1, in[0]), gy, g[0]);
}

/* ---- elements at other places: a function from the result's coordinates to the operand's ---------- */

static void coordinates(const tuff_shape *shape, int64_t flat, int64_t *at) {
    for (uint32_t i = shape->rank; i-- > 0; flat /= shape->sizes[i]) at[i] = flat % shape->sizes[i];
}
static int64_t flat_index(const tuff_shape *shape, const int64_t *at) {
    int64_t flat = 0;
    for (uint32_t i = 0; i < shape->rank; i++) flat = flat * shape->sizes[i] + at[i];
    return flat;
}
static void take(ref *y, int64_t i, const ref *x, int64_t from) {
    y->v[i] = x->v[from];
    y->abs[i] = x->abs[from];
}

FORWARD(permute_forward) {
    int64_t dims[TUFF_MAX_RANK], to[TUFF_MAX_RANK], from[TUFF_MAX_RANK], rank = in[0]->shape.rank;
    arg_list(a, "dims", dims, TUFF_MAX_RANK);
    tuff_shape shape = { .rank = (uint32_t)rank };
    for (int64_t k = 0; k < rank; k++) shape.sizes[k] = in[0]->shape.sizes[dims[k] = (dims[k] + rank) % rank];
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) {
        coordinates(&shape, i, to);
        for (int64_t k = 0; k < rank; k++) from[dims[k]] = to[k];
        take(y, i, in[0], flat_index(&in[0]->shape, from));
    }
    return y;
}

FORWARD(expand_forward) {
    tuff_shape shape = { 0 };
    shape.rank = (uint32_t)arg_list(a, "size", shape.sizes, TUFF_MAX_RANK);
    uint32_t missing = shape.rank - in[0]->shape.rank;
    for (uint32_t i = missing; i < shape.rank; i++)
        if (shape.sizes[i] == -1) shape.sizes[i] = in[0]->shape.sizes[i - missing];
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) take(y, i, in[0], ref_offset(&in[0]->shape, &shape, i));
    return y;
}

/* count elements of an axis from start, `step` apart. */
static ref *slice_ref(const ref *x, int axis, int64_t start, int64_t count, int64_t step) {
    tuff_shape shape = x->shape;
    shape.sizes[axis] = count;
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at[TUFF_MAX_RANK];
        coordinates(&shape, i, at);
        at[axis] = start + at[axis] * step;
        take(y, i, x, flat_index(&x->shape, at));
    }
    return y;
}
FORWARD(slice_forward) {
    int axis = arg_axis(a, "dim", 0, in[0]);
    int64_t n = in[0]->shape.sizes[axis], step = arg_int(a, "step", 1);
    int64_t start = arg_int(a, "start", 0), end = arg_int(a, "end", n);
    if (start < 0) start += n;
    if (end < 0) end += n;
    if (start < 0) start = 0;
    if (end > n) end = n;
    return slice_ref(in[0], axis, start, (end - start + step - 1) / step, step);
}
FORWARD(select_forward) {
    int axis = arg_axis(a, "dim", 0, in[0]);
    int64_t index = arg_int(a, "index", 0);
    ref *part = slice_ref(in[0], axis, index < 0 ? index + in[0]->shape.sizes[axis] : index, 1, 1);
    tuff_shape shape = part->shape;
    shape.rank--;
    for (uint32_t i = (uint32_t)axis; i < shape.rank; i++) shape.sizes[i] = shape.sizes[i + 1];
    ref *y = ref_reshape(part, shape);
    ref_free(part);
    return y;
}
FORWARD(split_forward) {
    int axis = arg_axis(a, "dim", 0, in[0]);
    int64_t sizes[16], n = in[0]->shape.sizes[axis], take_part = arg_int(a, "take", 0), begin = 0;
    int64_t count = arg_list(a, "split_size_or_sections", sizes, 16);
    for (int64_t i = 0; i < take_part; i++) begin += sizes[count > 1 ? i : 0];
    int64_t size = sizes[count > 1 ? take_part : 0];
    return slice_ref(in[0], axis, begin, size < n - begin ? size : n - begin, 1);
}

FORWARD(concat_forward) {
    int axis = arg_axis(a, "dim", 0, in[0]);
    tuff_shape shape = in[0]->shape;
    for (int k = 1; k < RECIPE_INPUTS && in[k]; k++) shape.sizes[axis] += in[k]->shape.sizes[axis];
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at[TUFF_MAX_RANK];
        int k = 0;
        coordinates(&shape, i, at);
        for (; at[axis] >= in[k]->shape.sizes[axis]; k++) at[axis] -= in[k]->shape.sizes[axis];
        take(y, i, in[k], flat_index(&in[k]->shape, at));
    }
    return y;
}
FORWARD(stack_forward) {
    tuff_shape shape = in[0]->shape;
    int64_t axis = arg_int(a, "dim", 0), tensors = 0;
    if (axis < 0) axis += shape.rank + 1;
    while (tensors < RECIPE_INPUTS && in[tensors]) tensors++;
    for (int64_t i = shape.rank++; i > axis; i--) shape.sizes[i] = shape.sizes[i - 1];
    shape.sizes[axis] = tensors;
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at[TUFF_MAX_RANK], which;
        coordinates(&shape, i, at);
        which = at[axis];
        for (int64_t k = axis; k + 1 < shape.rank; k++) at[k] = at[k + 1];
        take(y, i, in[which], flat_index(&in[which]->shape, at));
    }
    return y;
}

FORWARD(pad_forward) {
    int64_t pad[2 * TUFF_MAX_RANK] = { 0 };
    const ref *x = in[0];
    tuff_shape shape = x->shape;
    double value = arg_number(a, "value", 0);
    if (x->whole) value = trunc(value); /* as PyTorch */
    arg_list(a, "pad", pad, 2 * TUFF_MAX_RANK);
    for (uint32_t k = 0; k < shape.rank; k++) shape.sizes[shape.rank - 1 - k] += pad[2 * k] + pad[2 * k + 1];
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at[TUFF_MAX_RANK];
        bool inside = true;
        coordinates(&shape, i, at);
        for (uint32_t k = 0; k < shape.rank; k++) {
            int64_t n = x->shape.sizes[k], t = at[k] - pad[2 * (shape.rank - 1 - k)];
            if (arg_is(a, "mode", "reflect"))
                t = t < 0 ? -t : t >= n ? 2 * (n - 1) - t : t;
            else if (arg_is(a, "mode", "replicate"))
                t = t < 0 ? 0 : t >= n ? n - 1 : t;
            else if (arg_is(a, "mode", "circular"))
                t = (t + n) % n;
            inside = inside && t >= 0 && t < n;
            at[k] = t;
        }
        y->v[i] = value;
        y->abs[i] = value < 0 ? -value : value;
        if (inside) take(y, i, x, flat_index(&x->shape, at));
    }
    return y;
}

FORWARD(flip_forward) {
    uint32_t axes = arg_axes(a, "dims", in[0]);
    const tuff_shape *shape = &in[0]->shape;
    ref *y = ref_new(*shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at[TUFF_MAX_RANK];
        coordinates(shape, i, at);
        for (uint32_t k = 0; k < shape->rank; k++)
            if (axes >> k & 1) at[k] = shape->sizes[k] - 1 - at[k];
        take(y, i, in[0], flat_index(shape, at));
    }
    return y;
}

/* (i - shift) modulo n */
static int64_t before(int64_t i, int64_t shift, int64_t n) {
    int64_t from = (i - shift) % n;
    return from < 0 ? from + n : from;
}
FORWARD(roll_forward) {
    int64_t shifts[TUFF_MAX_RANK], dims[TUFF_MAX_RANK], named = arg_list(a, "dims", dims, TUFF_MAX_RANK);
    const tuff_shape *shape = &in[0]->shape;
    ref *y = ref_new(*shape);
    arg_list(a, "shifts", shifts, TUFF_MAX_RANK);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at[TUFF_MAX_RANK];
        coordinates(shape, i, at);
        for (int64_t k = 0; k < named; k++) {
            int64_t axis = dims[k] < 0 ? dims[k] + shape->rank : dims[k];
            at[axis] = before(at[axis], shifts[k], shape->sizes[axis]);
        }
        take(y, i, in[0], named ? flat_index(shape, at) : before(i, shifts[0], y->count));
    }
    return y;
}

static ref *repeat_ref(const ref *x, const int64_t *counts, int64_t given) {
    uint32_t rank = given > x->shape.rank ? (uint32_t)given : x->shape.rank, missing = rank - x->shape.rank;
    tuff_shape shape = { .rank = rank };
    for (uint32_t k = 0; k < rank; k++)
        shape.sizes[k] =
            (k < missing ? 1 : x->shape.sizes[k - missing]) * (k < rank - given ? 1 : counts[k - (rank - given)]);
    ref *y = ref_new(shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at[TUFF_MAX_RANK];
        coordinates(&shape, i, at);
        for (uint32_t k = missing; k < rank; k++) at[k - missing] = at[k] % x->shape.sizes[k - missing];
        take(y, i, x, flat_index(&x->shape, at));
    }
    return y;
}
FORWARD(repeat_forward) {
    int64_t counts[TUFF_MAX_RANK], given = arg_list(a, "repeats", counts, TUFF_MAX_RANK);
    return repeat_ref(in[0], counts, given);
}
FORWARD(tile_forward) {
    int64_t counts[TUFF_MAX_RANK], given = arg_list(a, "dims", counts, TUFF_MAX_RANK);
    return repeat_ref(in[0], counts, given);
}

static ref *triangle(const ref *x, int64_t diagonal, int64_t sign) {
    ref *y = ref_new(x->shape);
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at[TUFF_MAX_RANK];
        coordinates(&x->shape, i, at);
        if (sign * (at[x->shape.rank - 1] - at[x->shape.rank - 2] - diagonal) <= 0) take(y, i, x, i);
    }
    return y;
}
FORWARD(tril_forward) {
    return triangle(in[0], arg_int(a, "diagonal", 0), 1);
}
FORWARD(triu_forward) {
    return triangle(in[0], arg_int(a, "diagonal", 0), -1);
}

static const recipe_operator rows[] = {
    ROW(reshape, "shape"),
    { "flatten", "shape", flatten_forward, reshape_gradient, NULL, false },
    { "unflatten", "shape", unflatten_forward, reshape_gradient, NULL, false },
    { "squeeze", "shape", squeeze_forward, reshape_gradient, NULL, false },
    { "unsqueeze", "shape", unsqueeze_forward, reshape_gradient, NULL, false },
    ROW(transpose, "shape"),
    NUMERIC(permute, "shape"),
    NUMERIC(expand, "shape"),
    NUMERIC(slice, "shape"),
    NUMERIC(select, "shape"),
    NUMERIC(split, "shape"),
    NUMERIC(concat, "shape"),
    NUMERIC(stack, "shape"),
    NUMERIC(pad, "shape"),
    NUMERIC(flip, "shape"),
    NUMERIC(roll, "shape"),
    NUMERIC(repeat, "shape"),
    NUMERIC(tile, "shape"),
    NUMERIC(tril, "shape"),
    NUMERIC(triu, "shape"),
};
const recipe_family ROWS_SHAPE = { rows, sizeof rows / sizeof *rows };
