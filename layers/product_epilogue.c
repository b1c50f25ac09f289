/* The epilogue of products: which chains their kernels can run, and where its further inputs lie. */
#include "layers/product_internal.h"
#include "runtime/model/model.h"

#include <math.h>
#include <string.h>

/* As in shaders/product/epilogue.glsl. */
enum { EXTRA_COLUMNS = 1, EXTRA_LIKE_D = 2, EXTRA_STRIDED = 3, EXTRA_WORDS = 8 };
enum { EPILOGUE_SUB_FROM = 128, EPILOGUE_GATE = 129 };

/* A chain as the kernels run it: each step takes the value so far and at most one operand more. */
typedef struct epilogue {
    uint32_t steps[PRODUCT_STEPS]; /* operation | operand << 8 */
    uint32_t count;
} epilogue;

static bool is_input(uint8_t operand) {
    return operand >= 1 && operand < CHAIN_CONSTANT + CHAIN_MAX_CONSTANTS;
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

static bool translate(const chain *chain, epilogue *out) {
    uint8_t x = 0, gate;
    *out = (epilogue){ 0 };
    for (uint32_t i = 0; i < chain->step_count; i++) {
        if (translate_step(out, &chain->steps[i], x)) {
            x = (uint8_t)(CHAIN_STEP + i);
        } else if (chain_gates(chain, i, x, &gate) && is_input(gate) && add_step(out, EPILOGUE_GATE, gate)) {
            i++;
            x = (uint8_t)(CHAIN_STEP + i);
        } else {
            return false;
        }
    }
    return chain->output_count == 1 && chain->outputs[0] == x;
}

/* Sums in parts have no epilogue: it would see the parts. The terms are counted from the sizes, as if there were one
 * product: K^2 = (M K) (K N) / (M N). */
static bool may_need_parts(const node *node) {
    double terms =
        sqrt((double)tuff_shape_count(&node->inputs[0]->shape) * (double)tuff_shape_count(&node->inputs[1]->shape)
             / (double)tuff_shape_count(&node->outputs[0]->shape));
    return terms > device_get_limits(node_graph(node)->model->device)->loop_turns / 2;
}

bool product_accepts_epilogue(const node *node, const chain *chain, tuff_tensor *const *extra_inputs,
                              uint32_t extra_count) {
    epilogue epilogue;
    if (may_need_parts(node)) return false;
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

/* The strides of a tensor that lies over the whole result, for the pixels of a phase, and where they begin. */
static void take_phase(const product *p, product_extra *e) {
    int64_t *const strides[IMAGE_AXES] = { &e->z, &e->y, &e->x };
    for (uint32_t axis = 0; axis < IMAGE_AXES; axis++) {
        e->offset += (uint64_t)(p->phase.first[axis] * *strides[axis]);
        *strides[axis] *= p->phase.step[axis];
    }
}

void product_place_phase(product_lowering *s) {
    const product *p = &s->p;
    product_extra *d = &s->d_place;
    *d = (product_extra){ .view = p->d.view, .offset = (uint64_t)p->d.offset, .n = 1, .x = p->d.row };
    d->y = d->x * image_size(p->d.view, 2);
    d->z = d->y * image_size(p->d.view, 1);
    d->image = d->z * image_size(p->d.view, 0);
    memcpy(d->batch, p->d.batch, sizeof d->batch);
    take_phase(p, d);
}

void product_find_extras(product_lowering *s) {
    const tuff_shape *output = &s->node->outputs[0]->shape;
    if (!s->chain) return;
    s->extra_count = s->chain->input_count ? s->chain->input_count - 1 : 0;
    for (uint32_t i = 0; i < s->extra_count; i++) {
        product_extra *e = &s->extras[i];
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
            int64_t *const strides[IMAGE_AXES] = { &e->z, &e->y, &e->x };
            for (uint32_t axis = 0; axis < IMAGE_AXES; axis++)
                if (output->rank + axis >= 2 + IMAGE_AXES)
                    *strides[axis] = stride_along(e->view, output, output->rank + axis - IMAGE_AXES);
            e->batch[0] = e->n * s->p.n;
            if (s->p.phased) take_phase(&s->p, e);
        }
    }
}

/* Says how each extra input is read: by column, like D, or through words of the record. */
void product_classify_extras(product_lowering *s) {
    const product *p = &s->p;
    bool plain = p->loader == LOADER_PLAIN;
    const int64_t *grid = p->image.grid;
    int64_t grid_w = plain ? p->m : grid[2], plane = plain ? p->m : grid[1] * grid_w,
            grid_size = plain ? p->m : grid[0] * plane;
    for (uint32_t i = 0; i < s->extra_count; i++) {
        product_extra *e = &s->extras[i];
        bool columns = (e->n == 1 || p->n == 1) && !e->x && !e->y && !e->z && !e->image, like = true;
        for (uint32_t axis = 0; axis < p->batch_axes; axis++)
            if (p->batch[axis] > 1) {
                if (plain && e->batch[axis]) columns = false;
                if (!plain && e->batch[axis] != p->n) columns = false;
                if (e->batch[axis] != p->d.batch[axis]) like = false;
            }
        product_extra d = {
            .x = p->d.row, .y = p->d.row * grid_w, .z = p->d.row * plane, .image = p->d.row * grid_size
        };
        if (p->phased) d = s->d_place;
        if (p->n > 1 && e->n != p->d.column) like = false;
        if (grid_w > 1 && e->x != d.x) like = false;
        if (plane > grid_w && e->y != d.y) like = false;
        if (grid_size > plane && e->z != d.z) like = false;
        if (p->m > grid_size && e->image != d.image) like = false;
        view range = product_view_extra(s, e);
        s->operands[BINDING_EXTRA + i] = lowering_operand(s->lowering, &range, ACCESS_READ, &e->first);
        /* with more axes than the kernel knows, D's own place is not the whole of the index */
        if (p->batch_axes > BATCH_IN_KERNEL || e->first) columns = like = false;
        e->kind = columns ? EXTRA_COLUMNS : like ? EXTRA_LIKE_D : EXTRA_STRIDED;
    }
}

/* What shaders/product/product.glsl reads of an image with a depth or long axes. */
static void volume_words(const product_image *image, uint32_t *words) {
    uint32_t shifts[2], strides = image_axis(image->view, 0), used = 0;
    const int64_t sizes[IMAGE_AXES] = { image_size(image->view, 0), image_size(image->view, 1),
                                        image_size(image->view, 2) };
    const int64_t *const axes[] = { sizes, image->grid, image->scale, image->offset, image->advance, image->divide };
    for (uint32_t i = 0; i < sizeof axes / sizeof *axes; i++)
        for (uint32_t axis = 0; axis < IMAGE_AXES; axis++) words[used++] = (uint32_t)axes[i][axis];
    words[used++] = strides ? (uint32_t)image->view->strides[strides] : 0;
    words[used++] = (uint32_t)image->kernel[1];
    words[used++] = product_magic((uint32_t)image->kernel[1], &shifts[0]);
    words[used++] = product_magic((uint32_t)image->grid[1], &shifts[1]);
    words[used] = shifts[0] | shifts[1] << 8;
}

static void extra_words(const product *p, const product_extra *e, uint32_t *words) {
    bool plain = p->loader == LOADER_PLAIN;
    const int64_t values[EXTRA_WORDS] = { e->first,
                                          e->n,
                                          e->x,
                                          e->batch[0],
                                          plain ? p->batch[0] : e->image,
                                          plain ? p->batch[1] : e->y,
                                          plain ? e->batch[1] : e->z,
                                          plain ? e->batch[2] : 0 };
    for (uint32_t i = 0; i < EXTRA_WORDS; i++) words[i] = (uint32_t)values[i];
}

/* What PHASED reads in shaders/product/product.glsl. */
static void phased_words(const product_lowering *s, uint32_t *words) {
    const product_extra *d = &s->d_place;
    const int64_t values[PHASED_WORDS] = { d->image, d->z, d->y, d->x, s->p.image.b_axis[0], s->p.image.b_axis[1] };
    for (uint32_t i = 0; i < PHASED_WORDS; i++) words[i] = (uint32_t)values[i];
}

/* The steps' constants, the extra inputs' bindings, and the record: an image's words, a phase's, the extra inputs', the
 * chain's constants. */
tuff_result product_add_epilogue(const product_lowering *s, kernel_call *call) {
    const chain *chain = s->chain;
    const product *p = &s->p;
    epilogue epilogue = { 0 };
    bool volume = p->loader != LOADER_PLAIN && p->image.volume, record = volume || p->phased;
    if (!chain && !record) return TUFF_OK;
    if (chain && !translate(chain, &epilogue))
        return error_set(TUFF_ERROR_UNSUPPORTED, "%s: a chain that products cannot run: a bug in accepts_epilogue",
                         s->node->label);
    for (uint32_t i = 0; i < epilogue.count; i++) call->constants[CONSTANT_STEPS + i] = epilogue.steps[i];
    uint32_t words[VOLUME_WORDS + PHASED_WORDS + PRODUCT_EXTRAS * EXTRA_WORDS + CHAIN_MAX_CONSTANTS] = { 0 }, used = 0;
    if (volume) volume_words(&p->image, words), used = VOLUME_WORDS;
    if (p->phased) phased_words(s, words + used), used += PHASED_WORDS;
    for (uint32_t i = 0; i < PRODUCT_EXTRAS; i++) {
        if (i >= s->extra_count) { /* never read; as valid as any */
            call->operands[BINDING_EXTRA + i] = call->operands[BINDING_A];
            continue;
        }
        const product_extra *e = &s->extras[i];
        call->constants[CONSTANT_EXTRA] |= e->kind << 4 * i;
        record = record || e->kind == EXTRA_STRIDED;
        call->operands[BINDING_EXTRA + i] = s->operands[BINDING_EXTRA + i];
        extra_words(p, e, words + used + i * EXTRA_WORDS);
    }
    call->operand_count = BINDING_EXTRA + PRODUCT_EXTRAS;
    uint32_t constants = chain ? chain->constant_count : 0, first;
    if (!record && !constants) return TUFF_OK;
    uint32_t count = used + PRODUCT_EXTRAS * EXTRA_WORDS;
    if (constants) memcpy(words + count, chain->constants, constants * sizeof *words);
    call->operand_count = BINDING_RECORD + 1;
    TRY(lowering_record(s->lowering, words, count + constants, &call->operands[BINDING_RECORD], &first));
    call->params[5] = first + used;
    return TUFF_OK;
}
