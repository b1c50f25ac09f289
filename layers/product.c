/* Products: modes of reading, batches, parts of the sum and the epilogue, as the kernels in shaders/product want them.
 */
#include "layers/product.h"

#include <string.h>

/* As in shaders/product/product.glsl and epilogue.glsl. */
enum { MODE_ONE = 0, MODE_ALONG_K = 1, MODE_ALONG_M = 2, MODE_ALONG_N = 2 };
enum { EXTRA_COLUMNS = 1, EXTRA_LIKE_D = 2, EXTRA_STRIDED = 3, EXTRA_WORDS = 12, BATCH_IN_KERNEL = 3 };
enum { EPILOGUE_SUB_FROM = 128, EPILOGUE_GATE = 129 };
enum { CONSTANT_EXTRA = 6, CONSTANT_STEPS = 7 };
enum { BINDING_A, BINDING_B, BINDING_D, BINDING_EXTRA, BINDING_RECORD = BINDING_EXTRA + PRODUCT_EXTRAS };

/* An extra input of the epilogue: where its element for (m, n) lies. m counts images of grid pixels. */
typedef struct extra {
    const view *view;
    int64_t n, image, y, x;
    int64_t batch[PRODUCT_BATCH_AXES];
    uint32_t kind, first;
} extra;

typedef struct lower_state {
    lowering *lowering;
    const node *node;
    product p; /* with a collapsed batch */
    const product_variant *variant;
    extra extras[PRODUCT_EXTRAS];
    uint32_t extra_count;
    uint32_t parts, k_part;
    view partial;
    uint32_t a_first, b_first, d_first;
    uint32_t a_mode, b_mode, d_mode;
} lower_state;

/* ---- the epilogue ------------------------------------------------------------------------------- */

/* A chain as the kernels run it: each step takes the value so far and at most one operand more. */
typedef struct epilogue {
    uint32_t steps[PRODUCT_STEPS]; /* operation | operand << 8 */
    uint32_t count;
} epilogue;

static bool is_input(uint8_t operand) {
    return operand >= 1 && operand < CHAIN_CONSTANT + CHAIN_MAX_CONSTANTS;
}

static bool is_zero(const chain *chain, uint8_t operand) {
    float value = 1;
    if (operand < CHAIN_CONSTANT || operand >= CHAIN_INDEX) return false;
    memcpy(&value, &chain->constants[operand - CHAIN_CONSTANT], sizeof value);
    return value == 0;
}

static bool add_step(epilogue *epilogue, uint32_t operation, uint8_t operand) {
    if (epilogue->count == PRODUCT_STEPS) return false;
    epilogue->steps[epilogue->count++] = operation | (uint32_t)operand << 8;
    return true;
}

/* One step of a chain whose value so far is operand x. */
static bool translate_step(epilogue *epilogue, const chain_step *step, uint8_t x) {
    bool first = step->a == x, second = step->b == x;
    switch (step->op) {
    case CHAIN_COPY: return first;
    case CHAIN_NEG:
    case CHAIN_ABS:
    case CHAIN_SQUARE:
    case CHAIN_RELU: return first && add_step(epilogue, step->op, 0);
    default: break;
    }
    if (first == second) return false;
    uint8_t other = first ? step->b : step->a;
    if (!is_input(other)) return false;
    switch (step->op) {
    case CHAIN_ADD:
    case CHAIN_MUL: return add_step(epilogue, step->op, other);
    case CHAIN_SUB: return add_step(epilogue, first ? CHAIN_SUB : EPILOGUE_SUB_FROM, other);
    case CHAIN_DIV:
    case CHAIN_LEAKY_RELU: return first && add_step(epilogue, step->op, other);
    case CHAIN_FMA:
        return is_input(step->c) && add_step(epilogue, CHAIN_MUL, other) && add_step(epilogue, CHAIN_ADD, step->c);
    default: return false;
    }
}

/* relu's gradient: a comparison of another tensor with zero that gates the value so far. */
static bool translate_gate(epilogue *epilogue, const chain *chain, uint32_t i, uint8_t x) {
    if (i + 1 >= chain->step_count) return false;
    const chain_step *compare = &chain->steps[i], *use = &chain->steps[i + 1];
    uint8_t gate = (uint8_t)(CHAIN_STEP + i);
    if (compare->op != CHAIN_GT || !is_input(compare->a) || !is_zero(chain, compare->b)) return false;
    bool selects = use->op == CHAIN_SELECT && use->a == gate && use->b == x && is_zero(chain, use->c);
    bool multiplies = use->op == CHAIN_MUL && ((use->a == gate && use->b == x) || (use->a == x && use->b == gate));
    return (selects || multiplies) && add_step(epilogue, EPILOGUE_GATE, compare->a);
}

static bool translate(const chain *chain, epilogue *out) {
    uint8_t x = 0;
    *out = (epilogue){ 0 };
    for (uint32_t i = 0; i < chain->step_count; i++) {
        if (translate_step(out, &chain->steps[i], x)) {
            x = (uint8_t)(CHAIN_STEP + i);
        } else if (translate_gate(out, chain, i, x)) {
            i++;
            x = (uint8_t)(CHAIN_STEP + i);
        } else {
            return false;
        }
    }
    return chain->output_count == 1 && chain->outputs[0] == x;
}

bool product_accepts_epilogue(const node *node, const chain *chain, tuff_tensor *const *extra_inputs,
                              uint32_t extra_count) {
    epilogue epilogue;
    if (extra_count > PRODUCT_EXTRAS || !translate(chain, &epilogue)) return false;
    for (uint32_t i = 0; i < extra_count; i++) {
        tuff_shape shape;
        if (extra_inputs[i]->type != TUFF_F32) return false;
        if (!shape_broadcast(&extra_inputs[i]->shape, &node->outputs[0]->shape, &shape)) return false;
        if (!shape_equal(&shape, &node->outputs[0]->shape)) return false;
    }
    return true;
}

/* The stride of the output's axis `axis` in a view that broadcasts to it. */
static int64_t stride_along(const view *view, const tuff_shape *output, uint32_t axis) {
    uint32_t missing = output->rank - view->shape.rank;
    return axis < missing || view->shape.sizes[axis - missing] == 1 ? 0 : view->strides[axis - missing];
}

static void find_extras(lower_state *s) {
    const tuff_shape *output = &s->node->outputs[0]->shape;
    if (!s->node->chain) return;
    s->extra_count = s->node->chain->input_count ? s->node->chain->input_count - 1 : 0;
    for (uint32_t i = 0; i < s->extra_count; i++) {
        extra *e = &s->extras[i];
        e->view = lowering_view(s->lowering, s->node->inputs[s->p.own_inputs + i]);
        if (s->p.loader == LOADER_PLAIN) {
            uint32_t rank = output->rank;
            e->n = stride_along(e->view, output, rank - 1);
            e->x = stride_along(e->view, output, rank - 2);
            for (uint32_t axis = 0; axis < s->p.batch_axes; axis++)
                e->batch[axis] = stride_along(e->view, output, rank - 3 - axis);
        } else {
            e->image = stride_along(e->view, output, 0);
            e->n = stride_along(e->view, output, 1);
            e->y = stride_along(e->view, output, 2);
            e->x = stride_along(e->view, output, 3);
            e->batch[0] = e->n * s->p.n;
        }
    }
}

/* Says how each extra input is read: by column, like D, or through words of the record. */
static void classify_extras(lower_state *s) {
    const product *p = &s->p;
    bool plain = p->loader == LOADER_PLAIN;
    int64_t grid_w = plain ? p->m : p->image.grid[1], grid_size = plain ? p->m : p->image.grid[0] * p->image.grid[1];
    for (uint32_t i = 0; i < s->extra_count; i++) {
        extra *e = &s->extras[i];
        bool columns = (e->n == 1 || p->n == 1) && !e->x && !e->y && !e->image, like = true;
        for (uint32_t axis = 0; axis < p->batch_axes; axis++)
            if (p->batch[axis] > 1) {
                if (plain && e->batch[axis]) columns = false;
                if (!plain && e->batch[axis] != p->n) columns = false;
                if (e->batch[axis] != p->d.batch[axis]) like = false;
            }
        if (p->n > 1 && e->n != p->d.column) like = false;
        if (grid_w > 1 && e->x != p->d.row) like = false;
        if (grid_size > grid_w && e->y != p->d.row * grid_w) like = false;
        if (p->m > grid_size && e->image != p->d.row * grid_size) like = false;
        lowering_operand(s->lowering, e->view, ACCESS_READ, &e->first);
        /* with more axes than the kernel knows, D's own place is not the whole of the index */
        if (p->batch_axes > BATCH_IN_KERNEL || e->first) columns = like = false;
        e->kind = columns ? EXTRA_COLUMNS : like ? EXTRA_LIKE_D : EXTRA_STRIDED;
    }
}

/* Constants 5 and up, the extra inputs' bindings, and the record with their strides and the chain's constants. */
static tuff_result add_epilogue(const lower_state *s, kernel_call *call) {
    const chain *chain = s->node->chain;
    const product *p = &s->p;
    epilogue epilogue;
    if (!chain) return TUFF_OK;
    if (!translate(chain, &epilogue))
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: a chain that products cannot run: a bug in accepts_epilogue",
                         s->node->label);
    for (uint32_t i = 0; i < epilogue.count; i++) call->constants[CONSTANT_STEPS + i] = epilogue.steps[i];
    bool record = chain->constant_count > 0;
    uint32_t words[PRODUCT_EXTRAS * EXTRA_WORDS + CHAIN_MAX_CONSTANTS] = { 0 };
    for (uint32_t i = 0; i < PRODUCT_EXTRAS; i++) {
        if (i >= s->extra_count) { /* never read; as valid as any */
            call->operands[BINDING_EXTRA + i] = call->operands[BINDING_A];
            continue;
        }
        const extra *e = &s->extras[i];
        call->constants[CONSTANT_EXTRA] |= e->kind << 4 * i;
        record = record || e->kind == EXTRA_STRIDED;
        call->operands[BINDING_EXTRA + i] = lowering_operand(s->lowering, e->view, ACCESS_READ, NULL);
        uint32_t *w = words + i * EXTRA_WORDS;
        const int64_t strides[] = { e->n, e->image, e->y, e->x, e->batch[0], e->batch[1], e->batch[2] };
        w[0] = e->first;
        for (uint32_t j = 0; j < 7; j++) w[1 + j] = (uint32_t)strides[j];
        w[8] = (uint32_t)(p->loader == LOADER_PLAIN ? p->m : p->image.grid[1]);
        w[9] = (uint32_t)(p->loader == LOADER_PLAIN ? p->m : p->image.grid[0] * p->image.grid[1]);
        w[10] = (uint32_t)p->batch[0];
        w[11] = (uint32_t)p->batch[1];
    }
    call->operand_count = BINDING_EXTRA + PRODUCT_EXTRAS;
    if (!record) return TUFF_OK;
    memcpy(words + PRODUCT_EXTRAS * EXTRA_WORDS, chain->constants, chain->constant_count * sizeof *words);
    call->operand_count = BINDING_RECORD + 1;
    return lowering_record(s->lowering, words, PRODUCT_EXTRAS * EXTRA_WORDS + chain->constant_count,
                           &call->operands[BINDING_RECORD], &call->params[5]);
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

static uint32_t mode_of_a(const lower_state *s) {
    const product *p = &s->p;
    if (!fours(s->a_first) || !batch_is_fours(p, &p->a)) return MODE_ONE;
    if (p->loader != LOADER_PLAIN) {
        const view *image = p->image.view;
        bool usable = fours(p->image.channels) && image->strides[1] == 1;
        for (uint32_t i = 0; i < 4; i++)
            if (i != 1 && image->shape.sizes[i] > 1 && !fours(image->strides[i])) usable = false;
        return !usable ? MODE_ONE : p->loader == LOADER_WINDOW ? MODE_ALONG_K : MODE_ALONG_M;
    }
    if (p->a.column == 1 && fours(p->k) && (p->m == 1 || fours(p->a.row))) return MODE_ALONG_K;
    if (p->a.row == 1 && fours(p->m) && (p->k == 1 || fours(p->a.column))) return MODE_ALONG_M;
    return MODE_ONE;
}

static uint32_t mode_of_b(const lower_state *s) {
    const product *p = &s->p;
    if (!fours(s->b_first) || !batch_is_fours(p, &p->b)) return MODE_ONE;
    bool window = p->loader == LOADER_WINDOW;
    bool one_matrix = !window || p->image.b_tap == p->image.channels * p->b.row;
    if (p->b.column == 1 && fours(p->n) && (p->k == 1 || fours(p->b.row)) && one_matrix) return MODE_ALONG_N;
    if (p->b.row == 1 && (p->n == 1 || fours(p->b.column)) && fours(p->k)
        && (!window || (fours(p->image.channels) && fours(p->image.b_tap))))
        return MODE_ALONG_K;
    return MODE_ONE;
}

static uint32_t mode_of_d(const lower_state *s) {
    const product *p = &s->p;
    if (!fours(p->n)) return MODE_ONE;
    if (s->parts > 1) return MODE_ALONG_N;
    if (!fours(s->d_first) || !batch_is_fours(p, &p->d) || p->d.column != 1) return MODE_ONE;
    return p->m == 1 || fours(p->d.row) ? MODE_ALONG_N : MODE_ONE;
}

/* ---- the batch ---------------------------------------------------------------------------------- */

/* Joins axes that lie one after the other in every operand, and drops those of size 1. */
static void collapse_batch(lower_state *s) {
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
    if ((p->n > 1 && p->d.column != 1) || (p->m > 1 && p->d.row != p->n)) return false;
    for (uint32_t i = 0; i < p->batch_axes; i++) {
        if (p->batch[i] > 1 && p->d.batch[i] != expected) return false;
        expected *= p->batch[i];
    }
    return true;
}

/* ---- the call ----------------------------------------------------------------------------------- */

/* n / d = (high word of n * magic + n) >> shift for n below 2^31 (Granlund and Montgomery). */
static uint32_t magic_of(uint32_t d, uint32_t *shift) {
    *shift = 0;
    while ((UINT64_C(1) << *shift) < d) ++*shift;
    return (uint32_t)((((UINT64_C(1) << *shift) - d) << 32) / d + 1);
}

static uint32_t pair(const int64_t values[2]) {
    return ((uint32_t)values[0] & 0xffff) | (uint32_t)values[1] << 16;
}

static void image_params(const product *p, uint32_t *params) {
    const product_image *image = &p->image;
    const view *x = image->view;
    int64_t size[2] = { x->shape.sizes[2], x->shape.sizes[3] };
    uint32_t shifts[4], magics[4];
    const int64_t divisors[4] = { image->channels, image->kernel_w, image->grid[1], image->grid[0] * image->grid[1] };
    for (uint32_t i = 0; i < 4; i++) magics[i] = magic_of((uint32_t)divisors[i], &shifts[i]);
    const uint32_t words[20] = {
        (uint32_t)p->a.batch[0],
        (uint32_t)p->b.batch[0],
        (uint32_t)image->channels,
        (uint32_t)image->kernel_w,
        (uint32_t)image->b_tap,
        (uint32_t)x->strides[0],
        (uint32_t)x->strides[2],
        (uint32_t)x->strides[3],
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

/* The kernels for up to BATCH_IN_KERNEL axes of the batch; starts are in a_first, b_first and d_first. */
static tuff_result call_kernels(const lower_state *s) {
    const product *p = &s->p;
    const device_limits *limits = device_get_limits(lowering_device(s->lowering));
    const product_variant *variant = s->variant;
    uint64_t batch = 1;
    for (uint32_t i = 0; i < BATCH_IN_KERNEL; i++) batch *= (uint64_t)p->batch[i];
    kernel_call call = { .kernel = variant->kernels[p->loader],
                         .constant_count = CONSTANT_STEPS + PRODUCT_STEPS,
                         .operand_count = 3 };
    call.constants[0] = variant->row ? limits->subgroup_size : 0;
    call.constants[1] = s->a_mode;
    call.constants[2] = s->b_mode;
    call.constants[3] = s->d_mode;
    /* reading one by one costs more than the test for the end: one pipeline for both */
    call.constants[4] = p->k % variant->step_k != 0 || s->k_part % variant->step_k != 0 || s->a_mode == MODE_ONE;
    call.constants[5] = batch * s->parts > 1;
    const view *d = s->parts > 1 ? &s->partial : p->d.view;
    const view *a = p->loader == LOADER_PLAIN ? p->a.view : p->image.view;
    call.operands[BINDING_A] = lowering_operand(s->lowering, a, ACCESS_READ, NULL);
    call.operands[BINDING_B] = lowering_operand(s->lowering, p->b.view, ACCESS_READ, NULL);
    call.operands[BINDING_D] = lowering_operand(s->lowering, d, ACCESS_WRITE, NULL);
    uint32_t *params = call.params;
    params[0] = (uint32_t)p->m;
    params[1] = (uint32_t)p->n;
    params[2] = (uint32_t)p->k;
    params[3] = s->k_part;
    params[4] = (uint32_t)batch;
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
    call.param_count = p->loader == LOADER_PLAIN ? 27 : 32;
    TRY(add_epilogue(s, &call));
    uint64_t tiles = divide_up((uint64_t)p->m, variant->tile_m)
                     * divide_up((uint64_t)p->n, product_variant_columns(variant, limits));
    call.groups[0] = (uint32_t)(tiles < MAX_GROUPS ? tiles : MAX_GROUPS);
    call.groups[1] = (uint32_t)divide_up(tiles, call.groups[0]);
    uint64_t layers = batch * s->parts;
    if (p->loader != LOADER_PLAIN && layers > MAX_GROUPS)
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: %lld groups; at most %d are possible", s->node->label,
                         (long long)batch, MAX_GROUPS);
    for (uint64_t z = 0; z < layers; z += MAX_GROUPS) {
        if (p->loader == LOADER_PLAIN) params[12] = (uint32_t)z;
        call.groups[2] = (uint32_t)(layers - z < MAX_GROUPS ? layers - z : MAX_GROUPS);
        TRY(lowering_call(s->lowering, &call));
    }
    return TUFF_OK;
}

/* Batches of more axes than the kernel knows: a call for each index of the outer ones. */
static tuff_result call_batches(lower_state *s, uint32_t axes) {
    if (axes <= BATCH_IN_KERNEL) return call_kernels(s);
    const product *p = &s->p;
    for (int64_t i = 0; i < p->batch[axes - 1]; i++) {
        lower_state inner = *s;
        inner.a_first += (uint32_t)(i * p->a.batch[axes - 1]);
        inner.b_first += (uint32_t)(i * p->b.batch[axes - 1]);
        inner.d_first += (uint32_t)(i * p->d.batch[axes - 1]);
        for (uint32_t e = 0; e < s->extra_count; e++)
            inner.extras[e].first += (uint32_t)(i * s->extras[e].batch[axes - 1]);
        TRY(call_batches(&inner, axes - 1));
    }
    return TUFF_OK;
}

static tuff_result check_numbers(const lower_state *s) {
    const product *p = &s->p;
    const int64_t most = INT32_MAX;
    if (p->m > most || p->n > most || p->k > most)
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: a product of %lld x %lld x %lld; each may be 2^31 - 1 at most",
                         s->node->label, (long long)p->m, (long long)p->n, (long long)p->k);
    if (p->loader == LOADER_PLAIN) return TUFF_OK;
    const int64_t *sizes = p->image.view->shape.sizes;
    bool fits = true;
    for (uint32_t i = 0; i < 2; i++) {
        fits = fits && sizes[2 + i] <= INT16_MAX && p->image.grid[i] <= INT16_MAX;
        fits = fits && p->image.scale[i] <= INT16_MAX && p->image.divide[i] <= INT16_MAX;
        fits = fits && p->image.offset[i] <= INT16_MAX && p->image.offset[i] >= INT16_MIN;
        fits = fits && p->image.advance[i] <= INT16_MAX && p->image.advance[i] >= INT16_MIN;
    }
    if (fits) return TUFF_OK;
    return error_set(TUFF_ERROR_UNSUPPORTED,
                     "%s: the image's height and width, stride, padding and dilation may be %d at most", s->node->label,
                     INT16_MAX);
}

tuff_result product_lower(lowering *lowering, const node *node, const product *product) {
    lower_state s = { .lowering = lowering, .node = node, .p = *product, .parts = 1 };
    product_matrix *const matrices[] = { &s.p.a, &s.p.b, &s.p.d };
    TRY(check_numbers(&s));
    find_extras(&s);
    collapse_batch(&s);
    /* a stride along an axis of size 1 says nothing */
    for (uint32_t i = 0; i < 3; i++) {
        int64_t rows = i == 1 ? s.p.k : s.p.m, columns = i == 0 ? s.p.k : s.p.n;
        if (rows == 1) matrices[i]->row = 0;
        if (columns == 1) matrices[i]->column = 0;
    }
    classify_extras(&s);
    uint64_t batch = 1;
    for (uint32_t i = 0; i < PRODUCT_BATCH_AXES; i++) batch *= (uint64_t)s.p.batch[i];

    tuff_device *device = lowering_device(lowering);
    TRY(product_variant_choose(device, (uint64_t)s.p.m, (uint64_t)s.p.n, (uint64_t)s.p.k, batch, &s.variant));
    s.k_part = (uint32_t)s.p.k;
    if (!node->chain && s.p.batch_axes <= BATCH_IN_KERNEL && d_is_contiguous(&s.p))
        s.parts = product_split(device, s.variant, (uint64_t)s.p.m, (uint64_t)s.p.n, (uint32_t)s.p.k, batch, &s.k_part);
    uint64_t count = (uint64_t)s.p.m * (uint64_t)s.p.n * batch;
    if (s.parts > 1) TRY(lowering_scratch(lowering, count * s.parts, "partial sums", &s.partial));

    const view *a = s.p.loader == LOADER_PLAIN ? s.p.a.view : s.p.image.view;
    lowering_operand(lowering, a, ACCESS_READ, &s.a_first);
    lowering_operand(lowering, s.p.b.view, ACCESS_READ, &s.b_first);
    lowering_operand(lowering, s.parts > 1 ? &s.partial : s.p.d.view, ACCESS_WRITE, &s.d_first);
    s.a_mode = mode_of_a(&s);
    s.b_mode = mode_of_b(&s);
    s.d_mode = mode_of_d(&s);
    TRY(call_batches(&s, s.p.batch_axes));
    return s.parts > 1 ? lower_sum_parts(lowering, &s.partial, s.parts, count, count, s.p.d.view) : TUFF_OK;
}
