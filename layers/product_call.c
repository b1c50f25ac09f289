/* Products: modes of reading, parameters and workgroups, as the kernels in shaders/product want them. */
#include "layers/direct.h"
#include "layers/flat.h"
#include "layers/product_internal.h"

#include <string.h>

/* ---- ranges of memory --------------------------------------------------------------------------- */

static view matrix_view(const product *p, const product_matrix *matrix, int64_t rows, int64_t columns) {
    view v = { .storage = matrix->view->storage,
               .offset = matrix->view->offset + matrix->offset,
               .type = TUFF_F32,
               .shape = { .rank = p->batch_axes + 2 } };
    for (uint32_t i = 0; i < p->batch_axes; i++) {
        v.shape.sizes[i] = p->batch[i];
        v.strides[i] = matrix->batch[i];
    }
    v.shape.sizes[p->batch_axes] = rows;
    v.strides[p->batch_axes] = matrix->row;
    v.shape.sizes[p->batch_axes + 1] = columns;
    v.strides[p->batch_axes + 1] = matrix->column;
    return v;
}

view product_view_a(const product_lowering *s) {
    const product *p = &s->p;
    if (p->loader == LOADER_PLAIN) return matrix_view(p, &p->a, p->m, p->k);
    view image = *p->image.view; /* all groups' channels */
    image.offset += p->a.offset;
    image.shape.sizes[0] = p->image.images;
    return image;
}

view product_view_b(const product_lowering *s) {
    const product *p = &s->p;
    if (p->loader != LOADER_WINDOW) return matrix_view(p, &p->b, p->k, p->n);
    return *p->b.view; /* the weights, whose rows are not one after the other in the input's gradient */
}

view product_view_d(const product_lowering *s) {
    if (s->parts > 1) return *s->p.d.view; /* scratch memory for all parts */
    if (s->p.phased) return product_view_extra(s, &s->d_place);
    return matrix_view(&s->p, &s->p.d, s->p.m, s->p.n);
}

view product_view_extra(const product_lowering *s, const product_extra *e) {
    const product *p = &s->p;
    bool plain = p->loader == LOADER_PLAIN;
    view v = { .storage = e->view->storage, .offset = e->view->offset + e->offset, .type = TUFF_F32 };
    for (uint32_t axis = 0; axis < p->batch_axes; axis++) {
        v.strides[v.shape.rank] = e->batch[axis];
        v.shape.sizes[v.shape.rank++] = p->batch[axis];
    }
    const int64_t *grid = p->image.grid;
    const int64_t sizes[5] = { p->n, plain ? p->m : grid[2], grid[1], grid[0], p->image.images };
    const int64_t strides[5] = { e->n, e->x, e->y, e->z, e->image };
    for (uint32_t axis = 0; axis < (plain ? 2 : 5); axis++) {
        v.strides[v.shape.rank] = strides[axis];
        v.shape.sizes[v.shape.rank++] = sizes[axis];
    }
    return v;
}

/* ---- modes of reading --------------------------------------------------------------------------- */

static bool fours(int64_t value) {
    return value % 4 == 0;
}

static bool batch_is_fours(const product *p, const product_matrix *matrix) {
    for (uint32_t i = 0; i < p->batch_axes; i++)
        if (p->batch[i] > 1 && !fours(matrix->batch[i])) return false;
    return true;
}

static uint32_t mode_of_a(const product_lowering *s) {
    const product *p = &s->p;
    if (!wide_allowed(s->lowering)) return MODE_ONE;
    if (!fours(s->a_first) || !batch_is_fours(p, &p->a)) return MODE_ONE;
    if (p->loader != LOADER_PLAIN) {
        const view *image = p->image.view;
        bool usable = image->strides[1] == 1;
        usable =
            usable && (p->depthwise ? p->image.channels * p->depthwise == 1 && fours(p->n) : fours(p->image.channels));
        for (uint32_t i = 0; i < image->shape.rank; i++)
            if (i != 1 && image->shape.sizes[i] > 1 && !fours(image->strides[i])) usable = false;
        if (!usable) return MODE_ONE;
        return p->depthwise ? MODE_ALONG_N : p->loader == LOADER_WINDOW ? MODE_ALONG_K : MODE_ALONG_M;
    }
    if (p->a.column == 1 && fours(p->k) && (p->m == 1 || fours(p->a.row))) return MODE_ALONG_K;
    if (p->a.row == 1 && fours(p->m) && (p->k == 1 || fours(p->a.column))) return MODE_ALONG_M;
    return MODE_ONE;
}

static uint32_t mode_of_b(const product_lowering *s) {
    const product *p = &s->p;
    if (!wide_allowed(s->lowering)) return MODE_ONE;
    if (!fours(s->b_first) || !batch_is_fours(p, &p->b)) return MODE_ONE;
    bool window = p->loader == LOADER_WINDOW;
    bool one_matrix = !window || p->image.b_tap == p->image.channels * p->b.row;
    if (p->phased) /* each tap's matrix by itself */
        one_matrix = fours(p->image.b_tap) && fours(p->image.b_axis[0]) && fours(p->image.b_axis[1]);
    if (p->b.column == 1 && fours(p->n) && (p->k == 1 || fours(p->b.row)) && one_matrix) return MODE_ALONG_N;
    if (p->b.row == 1 && !p->depthwise && (p->n == 1 || fours(p->b.column)) && fours(p->k)
        && (!window || (fours(p->image.channels) && fours(p->image.b_tap))) && (!p->phased || one_matrix))
        return MODE_ALONG_K;
    return MODE_ONE;
}

static uint32_t mode_of_d(const product_lowering *s) {
    const product *p = &s->p;
    if (!wide_allowed(s->lowering)) return MODE_ONE;
    if (!fours(p->n)) return MODE_ONE;
    if (!fours(s->d_first) || !batch_is_fours(p, &p->d) || p->d.column != 1) return MODE_ONE;
    return p->m == 1 || fours(p->d.row) ? MODE_ALONG_N : MODE_ONE;
}

/* ---- the call ----------------------------------------------------------------------------------- */

uint32_t product_magic(uint32_t d, uint32_t *shift) {
    *shift = 0;
    while ((UINT64_C(1) << *shift) < d) ++*shift;
    return (uint32_t)((((UINT64_C(1) << *shift) - d) << 32) / d + 1);
}

/* Height and width. */
static uint32_t pair(const int64_t values[IMAGE_AXES]) {
    return ((uint32_t)values[1] & 0xffff) | (uint32_t)values[2] << 16;
}

static uint32_t image_stride(const view *image, uint32_t axis) {
    uint32_t at = image_axis(image, axis);
    return at ? (uint32_t)image->strides[at] : 0;
}

static void image_params(const product *p, uint32_t *params) {
    const product_image *image = &p->image;
    const view *x = image->view;
    const int64_t size[IMAGE_AXES] = { image_size(x, 0), image_size(x, 1), image_size(x, 2) }, *grid = image->grid;
    uint32_t shifts[4], magics[4];
    const int64_t divisors[4] = { image->channels, image->kernel[2], grid[2], grid[0] * grid[1] * grid[2] };
    for (uint32_t i = 0; i < 4; i++) magics[i] = product_magic((uint32_t)divisors[i], &shifts[i]);
    const uint32_t words[20] = {
        (uint32_t)(p->depthwise ? p->depthwise : p->a.batch[0]),
        (uint32_t)p->b.batch[0],
        (uint32_t)image->channels,
        (uint32_t)image->kernel[2],
        (uint32_t)image->b_tap,
        (uint32_t)x->strides[0],
        image_stride(x, 1),
        image_stride(x, 2),
        (uint32_t)x->strides[1],
        pair(size),
        pair(image->grid),
        pair(image->scale),
        pair(image->offset),
        pair(image->advance),
        pair(image->divide),
        magics[0],
        magics[1],
        magics[2],
        magics[3],
        shifts[0] | shifts[1] << 8 | shifts[2] << 16 | shifts[3] << 24,
    };
    memcpy(params + 12, words, sizeof words);
}

static void plain_params(const product *p, uint32_t *params) {
    params[13] = (uint32_t)p->d.column;
    params[14] = (uint32_t)p->a.row;
    params[15] = (uint32_t)p->a.column;
    params[16] = (uint32_t)p->batch[0];
    params[17] = (uint32_t)p->batch[1];
    for (uint32_t i = 0; i < BATCH_IN_KERNEL; i++) {
        params[18 + 3 * i] = (uint32_t)p->a.batch[i];
        params[19 + 3 * i] = (uint32_t)p->b.batch[i];
        params[20 + 3 * i] = (uint32_t)p->d.batch[i];
    }
}

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}

uint64_t product_rows(const product_lowering *s) {
    return (uint64_t)(s->variant->direct ? direct_rows(s) : s->p.m);
}

tuff_result product_fill_call(const product_lowering *s, kernel_call *call) {
    const product *p = &s->p;
    uint32_t *params = call->params;
    call->constant_count = CONSTANTS;
    call->constants[1] = s->a_mode;
    call->constants[2] = s->b_mode;
    call->constants[3] = s->d_mode;
    if (p->loader != LOADER_PLAIN && p->image.volume) call->constants[CONSTANT_IMAGE] |= IMAGE_VOLUME;
    if (p->phased) call->constants[CONSTANT_IMAGE] |= IMAGE_PHASED;
    call->operand_count = 3;
    memcpy(call->operands, s->operands, 3 * sizeof *call->operands);
    params[0] = (uint32_t)p->m;
    params[1] = (uint32_t)p->n;
    params[2] = (uint32_t)p->k;
    params[3] = s->k_part;
    params[6] = s->a_first;
    params[7] = s->b_first;
    params[8] = s->d_first;
    params[9] = (uint32_t)p->d.row;
    params[10] = (uint32_t)p->b.row;
    params[11] = (uint32_t)p->b.column;
    if (p->loader == LOADER_PLAIN)
        plain_params(p, params);
    else
        image_params(p, params);
    call->param_count = p->loader == LOADER_PLAIN ? 27 : 32;
    return product_add_epilogue(s, call);
}

/* The kernels for up to BATCH_IN_KERNEL axes of the batch; starts are in a_first, b_first and d_first. */
static tuff_result call_kernels(const product_lowering *s) {
    const product *p = &s->p;
    const device_limits *limits = device_get_limits(lowering_device(s->lowering));
    const product_variant *variant = s->variant;
    uint64_t batch = 1, longest = product_longest_sum(lowering_device(s->lowering), variant);
    if (s->k_part > longest)
        return error_set(TUFF_ERROR_UNSUPPORTED,
                         "%s: a sum of %u terms, which this driver's loops can only make in parts of %llu, and this "
                         "product cannot be split; use a smaller size, or another device",
                         s->node->label, s->k_part, (unsigned long long)longest);
    for (uint32_t i = 0; i < BATCH_IN_KERNEL; i++) batch *= (uint64_t)p->batch[i];
    kernel_call call = { .kernel = variant->kernels[p->loader] };
    uint32_t *params = call.params;
    TRY(product_fill_call(s, &call));
    call.constants[0] = variant->row ? limits->subgroup_size : 0;
    /* reading one by one costs more than the test for the end: one pipeline for both */
    call.constants[4] = p->k % variant->step_k != 0 || s->k_part % variant->step_k != 0 || s->a_mode == MODE_ONE;
    call.constants[5] = batch * s->parts > 1;
    if (variant->direct) direct_fill_call(s, &call);
    params[4] = (uint32_t)batch;
    uint64_t tiles = product_variant_groups(variant, limits, product_rows(s), (uint64_t)p->n);
    call.groups[0] = (uint32_t)(tiles < MAX_GROUPS ? tiles : MAX_GROUPS);
    call.groups[1] = (uint32_t)divide_up(tiles, call.groups[0]);
    uint64_t layers = batch * s->parts;
    if (p->loader != LOADER_PLAIN && layers > MAX_GROUPS)
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: %lld groups; at most %d are possible", s->node->label,
                         (long long)batch, MAX_GROUPS);
    for (uint64_t z = 0; z < layers; z += MAX_GROUPS) {
        if (p->loader == LOADER_PLAIN) params[12] = (uint32_t)z;
        call.groups[2] = (uint32_t)(layers - z < MAX_GROUPS ? layers - z : MAX_GROUPS);
        call.work = (uint64_t)p->m * (uint64_t)p->n * (uint64_t)p->k * call.groups[2] / s->parts;
        TRY(lowering_call(s->lowering, &call));
    }
    return TUFF_OK;
}

/* Batches of more axes than the kernel knows: a call for each index of the outer ones. */
static tuff_result call_batches(product_lowering *s, uint32_t axes) {
    if (axes <= BATCH_IN_KERNEL) return call_kernels(s);
    const product *p = &s->p;
    for (int64_t i = 0; i < p->batch[axes - 1]; i++) {
        product_lowering inner = *s;
        inner.a_first += (uint32_t)(i * p->a.batch[axes - 1]);
        inner.b_first += (uint32_t)(i * p->b.batch[axes - 1]);
        inner.d_first += (uint32_t)(i * p->d.batch[axes - 1]);
        for (uint32_t e = 0; e < s->extra_count; e++)
            inner.extras[e].first += (uint32_t)(i * s->extras[e].batch[axes - 1]);
        TRY(call_batches(&inner, axes - 1));
    }
    return TUFF_OK;
}

void product_find_modes(product_lowering *s) {
    view a = product_view_a(s), b = product_view_b(s), d = product_view_d(s);
    s->operands[BINDING_A] = lowering_operand(s->lowering, &a, ACCESS_READ, &s->a_first);
    s->operands[BINDING_B] = lowering_operand(s->lowering, &b, ACCESS_READ, &s->b_first);
    s->operands[BINDING_D] = lowering_operand(s->lowering, &d, ACCESS_WRITE, &s->d_first);
    if (s->p.phased) s->b_first += (uint32_t)s->p.b.offset; /* of all weights */
    s->a_mode = mode_of_a(s);
    s->b_mode = mode_of_b(s);
    s->d_mode = mode_of_d(s);
    if (!s->variant->direct) return;
    s->a_mode = MODE_ONE;
    if (s->b_mode == MODE_ALONG_K) s->b_mode = MODE_ONE; /* k goes along the kernel's row, channels lie side by side */
}

tuff_result product_call(product_lowering *s) {
    product_find_modes(s);
    product_classify_extras(s);
    return call_batches(s, s->p.batch_axes);
}
