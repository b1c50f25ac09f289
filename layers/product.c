/* Products: batches, slices that fit into bindings, and sums in parts. */
#include "layers/product.h"

#include "layers/direct.h"
#include "layers/flat.h"
#include "layers/product_internal.h"
#include "layers/tuner.h"
#include "layers/winograd.h"
#include "runtime/program/view.h"

#include <stdlib.h>
#include <string.h>

/* Joins axes that lie one after the other in every operand, and drops those of size 1. */
static void collapse_batch(product_lowering *s) {
    product *p = &s->p;
    int64_t *strides[3 + PRODUCT_EXTRAS] = { p->a.batch, p->b.batch, p->d.batch };
    uint32_t rows = 3, kept = 0;
    for (uint32_t i = 0; i < s->extra_count; i++) strides[rows++] = s->extras[i].batch;
    for (uint32_t axis = 0; axis < p->batch_axes; axis++) {
        if (p->batch[axis] == 1) continue;
        bool join = kept > 0;
        for (uint32_t r = 0; r < rows && join; r++)
            join = strides[r][axis] == strides[r][kept - 1] * p->batch[kept - 1];
        if (join) {
            p->batch[kept - 1] *= p->batch[axis];
            continue;
        }
        for (uint32_t r = 0; r < rows; r++) strides[r][kept] = strides[r][axis];
        p->batch[kept++] = p->batch[axis];
    }
    for (uint32_t axis = kept; axis < PRODUCT_BATCH_AXES; axis++) {
        p->batch[axis] = 1;
        for (uint32_t r = 0; r < rows; r++) strides[r][axis] = 0;
    }
    p->batch_axes = kept;
}

static bool d_is_contiguous(const product *p) {
    int64_t expected = p->n * p->m;
    if (p->phased) return false;
    if ((p->n > 1 && p->d.column != 1) || (p->m > 1 && p->d.row != p->n)) return false;
    for (uint32_t i = 0; i < p->batch_axes; i++) {
        if (p->batch[i] > 1 && p->d.batch[i] != expected) return false;
        expected *= p->batch[i];
    }
    return true;
}

static tuff_result check_numbers(const product_lowering *s) {
    const product *p = &s->p;
    const int64_t most = INT32_MAX;
    if (p->m > most || p->n > most || p->k > most)
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: a product of %lld x %lld x %lld; each may be 2^31 - 1 at most",
                         s->node->label, (long long)p->m, (long long)p->n, (long long)p->k);
    if (p->loader == LOADER_PLAIN) return TUFF_OK;
    for (uint32_t i = 0; i < IMAGE_AXES; i++) {
        int64_t farthest = p->image.grid[i] * p->image.scale[i] + llabs(p->image.offset[i])
                           + p->image.kernel[i] * llabs(p->image.advance[i]);
        if (farthest <= most) continue;
        return error_set(TUFF_ERROR_UNSUPPORTED,
                         "%s: padding and dilation reach %lld pixels far; 2^31 - 1 are possible", s->node->label,
                         (long long)farthest);
    }
    return TUFF_OK;
}

/* Whether 16 bits for height and width cannot say all. */
static bool is_volume(const product_image *image) {
    const int64_t *const numbers[] = { image->grid,   image->scale,   image->kernel,
                                       image->offset, image->advance, image->divide };
    for (uint32_t i = 0; i < IMAGE_AXES; i++) {
        if (image_size(image->view, i) > INT16_MAX) return true;
        for (uint32_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
            if (numbers[k][i] > INT16_MAX || numbers[k][i] < INT16_MIN) return true;
    }
    return image_size(image->view, 0) > 1 || image->grid[0] > 1 || image->kernel[0] > 1 || image->offset[0];
}

/* ---- slices ------------------------------------------------------------------------------------- */

/* A tensor can be larger than what one binding may span. Then the axis along which the tensor is longest is halved, for
 * all operands; halves of k are partial sums. */
typedef enum slice_axis { SLICE_M, SLICE_N, SLICE_K, SLICE_BATCH } slice_axis;

/* The axis of a tensor with the largest stride, among those that can be halved. Convolutions are halved between images.
 */
static slice_axis longest(const product *p, const product_matrix *matrix, slice_axis rows, slice_axis columns) {
    const int64_t sizes[] = { p->m, p->n, p->k };
    int64_t most = -1;
    slice_axis axis = rows;
    if (sizes[rows] > 1) most = matrix->row;
    if (sizes[columns] > 1 && matrix->column > most) axis = columns, most = matrix->column;
    for (uint32_t i = 0; i < p->batch_axes; i++)
        if (p->batch[i] > 1 && matrix->batch[i] > most) axis = SLICE_BATCH + i, most = matrix->batch[i];
    return axis;
}

static bool too_large(const product_lowering *s, view v) {
    return view_span(&v) > bindable_elements(s->lowering);
}

/* The axis to halve; false if all fits. */
static bool find_axis(const product_lowering *s, slice_axis *axis) {
    const product *p = &s->p;
    bool image = p->loader != LOADER_PLAIN;
    slice_axis images = p->loader == LOADER_PATCH ? SLICE_K : SLICE_M;
    if (too_large(s, product_view_a(s)))
        *axis = image ? images : longest(p, &p->a, SLICE_M, SLICE_K);
    else if (too_large(s, product_view_b(s)))
        *axis = image ? images : longest(p, &p->b, SLICE_K, SLICE_N);
    else if (too_large(s, product_view_d(s)))
        *axis = image ? images : longest(p, &p->d, SLICE_M, SLICE_N);
    else
        return false;
    return true;
}

/* The part [begin, begin + count) of an axis; between images for convolutions. */
static void take_slice(product_lowering *s, slice_axis axis, int64_t begin, int64_t count) {
    product *p = &s->p;
    bool image = p->loader != LOADER_PLAIN;
    int64_t grid = image ? p->image.grid[0] * p->image.grid[1] * p->image.grid[2] : 1;
    if (image) {
        p->a.offset += begin * p->image.view->strides[0];
        p->image.images = count;
    }
    if (axis == SLICE_M) {
        if (!image) p->a.offset += begin * p->a.row;
        p->d.offset += begin * grid * p->d.row;
        s->d_place.offset += (uint64_t)(begin * s->d_place.image);
        for (uint32_t i = 0; i < s->extra_count; i++)
            s->extras[i].offset += begin * (image ? s->extras[i].image : s->extras[i].x);
        p->m = count * grid;
    } else if (axis == SLICE_N) {
        p->b.offset += begin * p->b.column;
        p->d.offset += begin * p->d.column;
        for (uint32_t i = 0; i < s->extra_count; i++) s->extras[i].offset += begin * s->extras[i].n;
        p->n = count;
    } else if (axis == SLICE_K) {
        if (!image) p->a.offset += begin * p->a.column;
        p->b.offset += begin * grid * p->b.row;
        p->k = count * grid;
    } else {
        uint32_t i = axis - SLICE_BATCH;
        p->a.offset += begin * p->a.batch[i];
        p->b.offset += begin * p->b.batch[i];
        p->d.offset += begin * p->d.batch[i];
        for (uint32_t e = 0; e < s->extra_count; e++) s->extras[e].offset += begin * s->extras[e].batch[i];
        p->batch[i] = count;
    }
}

void product_take_images(product_lowering *s, int64_t begin, int64_t count) {
    take_slice(s, s->p.loader == LOADER_PATCH ? SLICE_K : SLICE_M, begin, count);
}

static int64_t axis_size(const product *p, slice_axis axis) {
    if (p->loader != LOADER_PLAIN) return p->image.images;
    return axis == SLICE_M ? p->m : axis == SLICE_N ? p->n : axis == SLICE_K ? p->k : p->batch[axis - SLICE_BATCH];
}

/* Half of an axis, of whole tiles where it is long. */
static int64_t half_of(int64_t size) {
    enum { TILE = 64 };
    return size >= 2 * TILE ? (size / 2 + TILE - 1) / TILE * TILE : (size + 1) / 2;
}

static void write_to(product_lowering *s, const view *view, uint64_t offset) {
    product *p = &s->p;
    int64_t stride = p->m * p->n;
    p->d = (product_matrix){ .view = view, .offset = (int64_t)offset, .row = p->n, .column = 1 };
    for (uint32_t i = 0; i < p->batch_axes; i++) {
        p->d.batch[i] = stride;
        stride *= p->batch[i];
    }
}

static tuff_result call_sliced(const product_lowering *s) {
    slice_axis axis;
    int64_t size = 1;
    product_lowering slice = *s;
    if (find_axis(s, &axis)) size = axis_size(&s->p, axis);
    /* what cannot be halved is refused by lowering_call, with a message; partial sums are halved along k alone */
    if (size < 2 || axis == SLICE_K) return product_call(&slice);
    int64_t half = half_of(size);
    take_slice(&slice, axis, 0, half);
    TRY(call_sliced(&slice));
    slice = *s;
    take_slice(&slice, axis, half, size - half);
    return call_sliced(&slice);
}

/* In how many parts k must be halved before A and B fit; 1 if it needs not be. */
static uint32_t slices_of_k(const product_lowering *s) {
    product_lowering slice = *s;
    slice_axis axis;
    uint32_t count = 1;
    while (find_axis(&slice, &axis) && axis_size(&slice.p, axis) > 1) {
        int64_t half = half_of(axis_size(&slice.p, axis));
        if (axis == SLICE_K) count *= 2;
        take_slice(&slice, axis, 0, half);
    }
    return count;
}

static tuff_result call_partial(const product_lowering *s, const view *partial, uint64_t count, uint32_t parts) {
    int64_t size = axis_size(&s->p, SLICE_K), part = (size + parts - 1) / parts;
    for (uint32_t i = 0; i < parts; i++) {
        product_lowering slice = *s;
        int64_t begin = i * part, end = begin + part < size ? begin + part : size;
        take_slice(&slice, SLICE_K, begin, end - begin);
        write_to(&slice, partial, i * count);
        slice.k_part = (uint32_t)slice.p.k;
        TRY(call_sliced(&slice));
    }
    return TUFF_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------- */

uint64_t product_batch(const product *p) {
    uint64_t batch = 1;
    for (uint32_t i = 0; i < PRODUCT_BATCH_AXES; i++) batch *= (uint64_t)p->batch[i];
    return batch;
}

bool product_can_split(const product_lowering *s) {
    if (s->variant->direct && s->p.loader == LOADER_WINDOW) return false; /* few channels: k is short */
    return !s->chain && s->p.batch_axes <= BATCH_IN_KERNEL && d_is_contiguous(&s->p);
}

static tuff_result lower_variant(const product_lowering *whole) {
    product_lowering s = *whole;
    lowering *lowering = s.lowering;
    const product_variant *variant = s.variant;
    uint64_t m = (uint64_t)s.p.m, n = (uint64_t)s.p.n, batch = product_batch(&s.p), count = m * n * batch;
    s.k_part = (uint32_t)s.p.k;
    bool splits = product_can_split(&s);
    uint32_t slices = splits ? slices_of_k(&s) : 1;
    if (!splits) return call_sliced(&s);
    view partial, out = *s.p.d.view;
    out.offset += (uint64_t)s.p.d.offset;
    if (slices > 1) {
        uint64_t needed = (uint64_t)s.p.k / product_longest_sum(lowering_device(lowering), variant) + 1;
        while (slices < needed) slices *= 2;
        int64_t size = axis_size(&s.p, SLICE_K), part = (size + slices - 1) / slices;
        slices = (uint32_t)((size + part - 1) / part);
        TRY(lowering_scratch(lowering, count * slices, "partial sums", &partial));
        TRY(call_partial(&s, &partial, count, slices));
        return lower_sum_parts(lowering, &partial, slices, count, count, &out);
    }
    slice_axis axis;
    if (!find_axis(&s, &axis))
        s.parts =
            product_split(lowering_device(lowering), variant, product_rows(&s), n, (uint32_t)s.p.k, batch, &s.k_part);
    bool has_room =
        count * s.parts <= bindable_elements(lowering) && count * s.parts <= lowering_scratch_limit(lowering);
    if (s.parts == 1 || !has_room) {
        s.parts = 1;
        s.k_part = (uint32_t)s.p.k;
        return call_sliced(&s);
    }
    TRY(lowering_scratch(lowering, count * s.parts, "partial sums", &partial));
    write_to(&s, &partial, 0);
    TRY(product_call(&s));
    return lower_sum_parts(lowering, &partial, s.parts, count, count, &out);
}

tuff_result product_lower_way(const product_lowering *whole) {
    if (!whole->direct) return whole->winograd ? winograd_lower(whole) : lower_variant(whole);
    product_lowering s = *whole;
    s.variant = direct_variant(whole);
    return lower_variant(&s);
}

static void exchange(int64_t *a, int64_t *b) {
    int64_t kept = *a;
    *a = *b;
    *b = kept;
}

/* A matrix times a vector becomes the vector times the transposed matrix: kernels lay their lanes along columns. */
static void turn(product_lowering *s) {
    product *p = &s->p;
    product_matrix a = p->a, *const matrices[] = { &p->a, &p->b, &p->d };
    p->a = p->b;
    p->b = a;
    for (uint32_t i = 0; i < 3; i++) exchange(&matrices[i]->row, &matrices[i]->column);
    for (uint32_t i = 0; i < s->extra_count; i++) exchange(&s->extras[i].n, &s->extras[i].x);
    exchange(&p->m, &p->n);
}

/* The stride of axes, fastest first, that one index can count through; false if they do not lie evenly. */
static bool even_stride(const int64_t *sizes, const int64_t *strides, uint32_t axes, int64_t *stride) {
    int64_t count = 1;
    *stride = 0;
    for (uint32_t i = 0; i < axes; i++) {
        if (sizes[i] == 1) continue;
        if (count == 1) *stride = strides[i];
        if (strides[i] != *stride * count) return false;
        count *= sizes[i];
    }
    return true;
}

/* A convolution whose kernel is one pixel, met by each pixel of the grid in its place, is a plain product: the image is
 * a matrix of pixels and channels. */
static void image_to_matrix(product_lowering *s) {
    enum { PIXEL_AXES = IMAGE_AXES + 1 };
    product *p = &s->p;
    const product_image *image = &p->image;
    const view *v = image->view;
    int64_t sizes[PIXEL_AXES], strides[PIXEL_AXES], extra_strides[PRODUCT_EXTRAS], pixel;
    if (p->depthwise || p->phased) return;
    for (uint32_t i = 0; i < IMAGE_AXES; i++) {
        uint32_t at = image_axis(v, i), fastest_first = IMAGE_AXES - 1 - i;
        bool in_place = image->scale[i] == 1 && image->divide[i] == 1 && !image->offset[i];
        if (image->kernel[i] != 1 || image->grid[i] != image_size(v, i) || !in_place) return;
        sizes[fastest_first] = image->grid[i];
        strides[fastest_first] = at ? v->strides[at] : 0;
    }
    sizes[IMAGE_AXES] = v->shape.sizes[0];
    strides[IMAGE_AXES] = v->strides[0];
    if (!even_stride(sizes, strides, PIXEL_AXES, &pixel)) return;
    for (uint32_t i = 0; i < s->extra_count; i++) {
        const product_extra *e = &s->extras[i];
        const int64_t of_extra[PIXEL_AXES] = { e->x, e->y, e->z, e->image };
        if (!even_stride(sizes, of_extra, PIXEL_AXES, &extra_strides[i])) return;
    }
    bool pixels_are_rows = p->loader == LOADER_WINDOW;
    p->loader = LOADER_PLAIN;
    p->a.view = v;
    p->a.row = pixels_are_rows ? pixel : v->strides[1];
    p->a.column = pixels_are_rows ? v->strides[1] : pixel;
    for (uint32_t i = 0; i < s->extra_count; i++) s->extras[i].x = extra_strides[i];
}

/* Brings what is asked for into the shape in which variants are chosen and kernels called. */
static void prepare(product_lowering *s) {
    product *p = &s->p;
    product_matrix *const matrices[] = { &p->a, &p->b, &p->d };
    if (p->loader != LOADER_PLAIN) image_to_matrix(s);
    collapse_batch(s);
    /* a stride along an axis of size 1 says nothing */
    for (uint32_t i = 0; i < 3; i++) {
        int64_t rows = i == 1 ? p->k : p->m, columns = i == 0 ? p->k : p->n;
        if (rows == 1) matrices[i]->row = 0;
        if (columns == 1) matrices[i]->column = 0;
    }
    if (p->loader != LOADER_PLAIN) {
        p->image.images = p->image.view->shape.sizes[0];
        p->image.volume = is_volume(&p->image);
    }
    if (p->loader == LOADER_PLAIN && p->n == 1 && p->m > 1) turn(s);
}

static tuff_result choose(product_lowering *s) {
    const product *p = &s->p;
    return product_variant_choose(lowering_device(s->lowering), (uint64_t)p->m, (uint64_t)p->n, (uint64_t)p->k,
                                  product_batch(p), &s->variant);
}

tuff_result product_lower_matrices(lowering *lowering, const node *node, const product *product) {
    product_lowering s = { .lowering = lowering, .node = node, .p = *product, .parts = 1 };
    TRY(check_numbers(&s));
    prepare(&s);
    TRY(choose(&s));
    return lower_variant(&s);
}

tuff_result product_lower(lowering *lowering, const node *node, const product *product) {
    product_lowering s = { .lowering = lowering, .node = node, .chain = node->chain, .p = *product, .parts = 1 };
    TRY(check_numbers(&s));
    product_find_extras(&s);
    if (s.p.phased) product_place_phase(&s);
    prepare(&s);
    if (s.p.depthwise) {
        s.variant = product_variant_depthwise();
        return lower_variant(&s);
    }
    TRY(choose(&s));
    s.winograd = winograd_pays(&s);
    s.direct = direct_pays(&s);
    TRY(product_tune(&s));
    return product_lower_way(&s);
}
