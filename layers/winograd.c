/* Winograd's convolution: tiles of the image and the kernel are transformed (shaders/product/winograd.glsl), so that a
 * tile of OUTPUTS x OUTPUTS results takes one multiplication for each of SIDE x SIDE places and channel, in place of
 * OUTPUTS x OUTPUTS x TAPS x TAPS. For each place that is a product of matrices:
 *
 *   forward, and the input's gradient   [tiles] x [C] times [C] x [N], whose results are transformed back
 *   the weights' gradient               [C] x [tiles] times [tiles] x [N], over tiles of the image and of the gradient
 *
 * The input's gradient is the forward pass with the kernel turned round. Images go in chunks that bound the scratch
 * memory. */
#include "layers/winograd.h"

#include "layers/flat.h"
#include "runtime/program/view.h"

/* As in shaders/product. */
enum { ROLE_IMAGE, ROLE_FILTER, ROLE_RESULT_GRADIENT, ROLE_FILTER_GRADIENT };
enum { CONSTANT_ROLE = 0, CONSTANT_TAPS = 12, WINOGRAD_CONSTANTS };
enum { SIDE = 6, PLACES = SIDE * SIDE, LANES = 64 };
enum { CHUNK = 1 << 23 }; /* numbers of the image's or the sums' tiles at once: with fewer the products get short */

/* Sizes of a convolution that goes this way. */
typedef struct plan {
    uint32_t outputs, taps; /* along one axis */
    int64_t tiles_h, tiles_w, channels;
    int64_t columns; /* at once */
    int64_t images;  /* of a chunk */
    bool turned;     /* the kernel: the image is walked against its taps */
    bool transposed; /* the kernel's matrices: their rows are columns of the result */
} plan;

/* What a transform reads: images with tiles all over; strides and sizes in elements and pixels. */
typedef struct source {
    view view;
    int64_t images;
    int64_t rows, channels, row; /* channels of a row, and from one row to the next */
    int64_t n, h, w;             /* strides */
    int64_t first;               /* from the view's own element */
    int64_t size[2], corner[2], step;
} source;

/* Where a transform writes: places, in each of them tiles with their channels. */
typedef struct target {
    const view *view;
    int64_t first, place, row;
} target;

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}

/* Numbers that one piece of scratch memory, and one binding, may have. */
static int64_t most_elements(const lowering *lowering) {
    uint64_t most = bindable_elements(lowering), scratch = lowering_scratch_limit(lowering);
    return (int64_t)(scratch < most ? scratch : most);
}

static uint32_t chunks_of(const product_lowering *s, const plan *plan) {
    return (uint32_t)divide_up((uint64_t)s->p.image.images, (uint64_t)plan->images);
}

/* Numbers of the kernel's places, or of all chunks' sums for its gradient. */
static int64_t sums_of(const product_lowering *s, const plan *plan) {
    return PLACES * plan->channels * plan->columns * (s->p.loader == LOADER_PATCH ? chunks_of(s, plan) : 1);
}

static plan plan_of(const product_lowering *s) {
    enum { PART = 64 }; /* columns */
    uint64_t forced;
    int64_t chunk = device_force_number(lowering_device(s->lowering), "winograd", &forced) ? (int64_t)forced : CHUNK;
    const product *p = &s->p;
    plan plan = { .taps = (uint32_t)p->image.kernel[1],
                  .columns = p->n,
                  .channels = p->image.channels,
                  .turned = p->image.advance[1] < 0,
                  .transposed = p->b.row == 1 };
    plan.outputs = SIDE + 1 - plan.taps;
    plan.tiles_h = (int64_t)divide_up((uint64_t)p->image.grid[1], plan.outputs);
    plan.tiles_w = (int64_t)divide_up((uint64_t)p->image.grid[2], plan.outputs);
    const int64_t room = smaller(most_elements(s->lowering), 4 * CHUNK);
    for (;; plan.columns = (int64_t)divide_up((uint64_t)plan.columns, 2 * PART) * PART) {
        int64_t each =
            PLACES * plan.tiles_h * plan.tiles_w * (plan.channels > plan.columns ? plan.channels : plan.columns);
        plan.images = smaller(chunk / each, p->image.images);
        if (plan.images < 1) plan.images = 1;
        /* rather more images at once than more sums that wait for one another */
        while (plan.images < p->image.images && sums_of(s, &plan) > 2 * CHUNK && 2 * plan.images * each <= room)
            plan.images = smaller(2 * plan.images, p->image.images);
        if (plan.columns <= PART || sums_of(s, &plan) <= room) break;
    }
    return plan;
}

/* Whether each piece of memory that kernels are bound to is small enough. */
static bool has_room(const product_lowering *s) {
    const product *p = &s->p;
    const plan plan = plan_of(s);
    const int64_t most = most_elements(s->lowering);
    int64_t tiles = plan.tiles_h * plan.tiles_w * PLACES * plan.images;
    int64_t pixels = p->image.grid[1] * p->image.grid[2] * plan.images;
    if (tiles * plan.channels > most || tiles * plan.columns > most || pixels * p->n > most) return false;
    return sums_of(s, &plan) <= most && plan.channels * p->n * plan.taps * plan.taps <= most
           && p->image.view->strides[0] * plan.images <= most;
}

bool winograd_fits(const product_lowering *s) {
    const product *p = &s->p;
    const product_image *image = &p->image;
    if (p->loader == LOADER_PLAIN || p->depthwise || p->phased || image->volume || product_batch(p) != 1) return false;
    if (image->kernel[1] != image->kernel[2] || image->kernel[1] < 3 || image->kernel[1] > 5) return false;
    for (uint32_t i = 1; i < IMAGE_AXES; i++)
        if (image->scale[i] != 1 || image->divide[i] != 1 || image->advance[i] != image->advance[1]) return false;
    if (image->advance[1] != 1 && image->advance[1] != -1) return false;
    if (!wide_allowed(s->lowering) || image->channels % 4 || p->n % 4) return false;
    product_lowering modes = *s;
    product_find_modes(&modes);
    if (modes.a_mode == MODE_ONE || modes.b_first % 4) return false;
    if (p->loader == LOADER_PATCH && (modes.b_mode == MODE_ONE || modes.d_mode == MODE_ONE)) return false;
    return has_room(s);
}

int64_t winograd_tiles(const product_lowering *s) {
    if (!winograd_fits(s)) return 0;
    const plan plan = plan_of(s);
    return plan.tiles_h * plan.tiles_w * s->p.image.images;
}

/* What a place of a tile takes, in multiply-adds of the plain convolution: so many for each number that is transformed
 * and stored, and for each sum that is stored and transformed back, beside the product. Measured with Mesa's drivers
 * 22.3 and 26.2 on two CPUs. */
enum { TILE_COST = 40, SUM_COST = 45 };

bool winograd_pays(const product_lowering *s) {
    const double advantage = 1.1; /* less does not make up for more kernels to compile, and scratch memory */
    const tuff_device *device = lowering_device(s->lowering);
    const device_limits *limits = device_get_limits(device);
    uint64_t forced;
    if (device_force_number(device, "winograd", &forced)) return forced > 0 && winograd_fits(s);
    /* on GPUs by measuring alone; who forces a variant wants its own kernels */
    if (!product_variants_are_rows(limits) || device_force(device, "product") || !winograd_fits(s)) return false;
    const plan plan = plan_of(s);
    uint64_t lanes = 4 * limits->subgroup_size; /* columns that a product makes, even if there are fewer */
    double c = (double)plan.channels, n = (double)s->p.n, images = (double)s->p.image.images;
    double product = c * (double)(divide_up((uint64_t)s->p.n, lanes) * lanes);
    double tiles = images * (double)(plan.tiles_h * plan.tiles_w);
    double pixels = images * (double)(s->p.image.grid[1] * s->p.image.grid[2]);
    double sum = s->p.loader == LOADER_PATCH ? TILE_COST : SUM_COST; /* the gradient's numbers are tiles, too */
    double cost = tiles * PLACES * (product + TILE_COST * c + sum * n) + PLACES * TILE_COST * c * n;
    return cost * advantage < pixels * plan.taps * plan.taps * product;
}

/* ---- transforms ---------------------------------------------------------------------------------- */

static tuff_result transform(const product_lowering *s, const plan *plan, uint32_t role, const source *x,
                             const target *to) {
    uint32_t first, to_first;
    bool filter = role == ROLE_FILTER || role == ROLE_FILTER_GRADIENT;
    int64_t tiles = filter ? 1 : x->images * plan->tiles_h * plan->tiles_w, channels = x->rows * x->channels;
    kernel_call call = { .kernel =
                             texels_allowed(s->lowering) ? KERNEL_WINOGRAD_TRANSFORM_TEXELS : KERNEL_WINOGRAD_TRANSFORM,
                         .constant_count = WINOGRAD_CONSTANTS,
                         .operand_count = 2 };
    call.constants[CONSTANT_ROLE] = role;
    call.constants[CONSTANT_TAPS] = plan->taps;
    call.operands[0] = lowering_operand(s->lowering, &x->view, ACCESS_READ, &first);
    call.operands[1] = lowering_operand(s->lowering, to->view, ACCESS_WRITE, &to_first);
    const int64_t words[] = {
        tiles,
        channels / 4,
        x->channels / 4,
        filter ? 1 : plan->tiles_h,
        filter ? 1 : plan->tiles_w,
        x->step,
        x->corner[0],
        x->corner[1],
        x->size[0],
        x->size[1],
        (first + x->first) / 4,
        x->n / 4,
        x->h / 4,
        x->w / 4,
        x->row / 4,
        (to_first + to->first) / 4,
        to->place / 4,
        to->row / 4,
    };
    call.param_count = sizeof words / sizeof *words;
    for (uint32_t i = 0; i < call.param_count; i++) call.params[i] = (uint32_t)words[i];
    bind_whole_fours(&call, 0, 2);
    flat_groups(&call, (uint64_t)(tiles * channels / 4), LANES);
    call.work = (uint64_t)(tiles * channels * PLACES * SIDE);
    return lowering_call(s->lowering, &call);
}

/* To scratch memory, where tiles and their channels lie side by side. */
static tuff_result transform_to(const product_lowering *s, const plan *plan, uint32_t role, const source *x,
                                const view *to) {
    bool filter = role == ROLE_FILTER;
    int64_t tiles = filter ? 1 : x->images * plan->tiles_h * plan->tiles_w;
    const target target = { .view = to, .place = tiles * x->rows * x->channels, .row = x->channels };
    return transform(s, plan, role, x, &target);
}

/* Tiles of the image that slice s convolves. */
static tuff_result transform_image(const product_lowering *s, const plan *plan, const view *to) {
    const product_image *image = &s->p.image;
    int64_t back = plan->turned ? plan->taps - 1 : 0;
    source x = { .view = product_view_a(s),
                 .images = image->images,
                 .rows = 1,
                 .channels = image->channels,
                 .size = { image_size(image->view, 1), image_size(image->view, 2) },
                 .corner = { image->offset[1] - back, image->offset[2] - back },
                 .step = plan->outputs };
    x.n = x.view.strides[0];
    x.h = x.view.strides[2];
    x.w = x.view.strides[3];
    return transform_to(s, plan, ROLE_IMAGE, &x, to);
}

/* A filter, or its sums: `side` lines of as many places, in each a matrix, of which these rows and columns are taken.
 */
static source square(const view *view, int64_t side, int64_t matrix) {
    return (source){ .view = *view, .images = 1, .h = side * matrix, .w = matrix, .size = { side, side } };
}

/* The part of the filter for the columns that slice s makes of `all`. */
static tuff_result transform_filter(const product_lowering *s, const plan *plan, int64_t all, const view *to) {
    source x = square(s->p.b.view, plan->taps, plan->channels * all);
    x.rows = plan->transposed ? s->p.n : plan->channels;
    x.channels = plan->transposed ? plan->channels : s->p.n;
    x.row = plan->transposed ? plan->channels : all;
    x.first = s->p.b.offset;
    if (plan->turned) {
        x.first += (plan->taps - 1) * (x.h + x.w);
        x.h = -x.h;
        x.w = -x.w;
    }
    return transform_to(s, plan, ROLE_FILTER, &x, to);
}

/* ---- forward ------------------------------------------------------------------------------------- */

static int64_t chunk_tiles(const plan *plan, const product_lowering *slice) {
    return plan->tiles_h * plan->tiles_w * slice->p.image.images;
}

static tuff_result multiply(const product_lowering *s, const plan *plan, const view *image, const view *filter,
                            const view *result) {
    int64_t tiles = chunk_tiles(plan, s), columns = s->p.n;
    product product = {
        .loader = LOADER_PLAIN,
        .m = tiles,
        .n = columns,
        .k = plan->channels,
        .batch = { PLACES },
        .batch_axes = 1,
        .a = { .view = image, .row = plan->channels, .column = 1, .batch = { tiles * plan->channels } },
        .b = { .view = filter, .row = columns, .column = 1, .batch = { plan->channels * columns } },
        .d = { .view = result, .row = columns, .column = 1, .batch = { tiles * columns } },
    };
    if (plan->transposed) product.b.row = 1, product.b.column = plan->channels;
    return product_lower_matrices(s->lowering, s->node, &product);
}

/* The pixels of slice s, of the sums of its tiles. */
static tuff_result finish(product_lowering *s, const plan *plan, const view *sums) {
    kernel_call call = { .kernel =
                             texels_allowed(s->lowering) ? KERNEL_WINOGRAD_RESULT_TEXELS : KERNEL_WINOGRAD_RESULT };
    product_find_modes(s);
    product_classify_extras(s);
    s->operands[BINDING_A] = s->operands[BINDING_B] = lowering_operand(s->lowering, sums, ACCESS_READ, &s->a_first);
    s->a_mode = s->b_mode = MODE_ONE;
    TRY(product_fill_call(s, &call));
    call.constants[CONSTANT_TAPS] = plan->taps;
    call.constant_count = WINOGRAD_CONSTANTS;
    int64_t elements = chunk_tiles(plan, s) * s->p.n;
    flat_groups(&call, (uint64_t)elements / 4, LANES);
    call.work = (uint64_t)(elements * PLACES * plan->outputs);
    return lowering_call(s->lowering, &call);
}

/* Leaves the columns [begin, begin + count). */
static void take_columns(product_lowering *s, int64_t begin, int64_t count) {
    product *p = &s->p;
    p->b.offset += begin * p->b.column;
    p->d.offset += begin * p->d.column;
    for (uint32_t i = 0; i < s->extra_count; i++) s->extras[i].offset += (uint64_t)(begin * s->extras[i].n);
    p->n = count;
}

static tuff_result lower_forward(const product_lowering *s, const plan *plan) {
    lowering *lowering = s->lowering;
    uint64_t tiles = (uint64_t)(plan->tiles_h * plan->tiles_w * plan->images * PLACES);
    view image, filter, sums;
    TRY(lowering_scratch(lowering, (uint64_t)(PLACES * plan->channels * plan->columns), "filter", &filter));
    TRY(lowering_scratch(lowering, tiles * (uint64_t)plan->channels, "tiles", &image));
    TRY(lowering_scratch(lowering, tiles * (uint64_t)plan->columns, "sums", &sums));
    for (int64_t column = 0; column < s->p.n; column += plan->columns) {
        product_lowering part = *s;
        take_columns(&part, column, smaller(plan->columns, s->p.n - column));
        TRY(transform_filter(&part, plan, s->p.n, &filter));
        for (int64_t begin = 0; begin < s->p.image.images; begin += plan->images) {
            product_lowering slice = part;
            product_take_images(&slice, begin, smaller(plan->images, s->p.image.images - begin));
            TRY(transform_image(&slice, plan, &image));
            TRY(multiply(&slice, plan, &image, &filter, &sums));
            TRY(finish(&slice, plan, &sums));
        }
    }
    return TUFF_OK;
}

/* ---- the weights' gradient ----------------------------------------------------------------------- */

static tuff_result transform_gradient(const product_lowering *s, const plan *plan, const view *to) {
    const product *p = &s->p;
    const int64_t *grid = p->image.grid;
    source x = { .view = product_view_b(s),
                 .images = p->image.images,
                 .rows = 1,
                 .channels = p->n,
                 .n = grid[1] * grid[2] * p->b.row,
                 .h = grid[2] * p->b.row,
                 .w = p->b.row,
                 .size = { grid[1], grid[2] },
                 .step = plan->outputs };
    return transform_to(s, plan, ROLE_RESULT_GRADIENT, &x, to);
}

/* Chunk `index`'s sums over its tiles. */
static tuff_result multiply_tiles(const product_lowering *s, const plan *plan, uint32_t index, const view *image,
                                  const view *gradient, const view *partial) {
    int64_t tiles = chunk_tiles(plan, s), columns = s->p.n, matrix = plan->channels * columns;
    const product product = {
        .loader = LOADER_PLAIN,
        .m = plan->channels,
        .n = columns,
        .k = tiles,
        .batch = { PLACES },
        .batch_axes = 1,
        .a = { .view = image, .row = 1, .column = plan->channels, .batch = { tiles * plan->channels } },
        .b = { .view = gradient, .row = columns, .column = 1, .batch = { tiles * columns } },
        .d = { .view = partial, .offset = PLACES * matrix * index, .row = columns, .column = 1, .batch = { matrix } },
    };
    return product_lower_matrices(s->lowering, s->node, &product);
}

static tuff_result lower_weights(const product_lowering *s, const plan *plan) {
    lowering *lowering = s->lowering;
    uint64_t tiles = (uint64_t)(plan->tiles_h * plan->tiles_w * plan->images * PLACES);
    uint64_t most = (uint64_t)(PLACES * plan->channels * plan->columns);
    uint32_t chunks = chunks_of(s, plan);
    view image, gradient, partial, sum;
    TRY(lowering_scratch(lowering, tiles * (uint64_t)plan->channels, "tiles", &image));
    TRY(lowering_scratch(lowering, tiles * (uint64_t)plan->columns, "tiles of the gradient", &gradient));
    TRY(lowering_scratch(lowering, (uint64_t)sums_of(s, plan), "sums", &partial));
    if (chunks > 1) TRY(lowering_scratch(lowering, most, "sum", &sum));
    for (int64_t column = 0; column < s->p.n; column += plan->columns) {
        product_lowering part = *s;
        take_columns(&part, column, smaller(plan->columns, s->p.n - column));
        for (uint32_t i = 0; i < chunks; i++) {
            product_lowering slice = part;
            int64_t begin = i * plan->images;
            product_take_images(&slice, begin, smaller(plan->images, s->p.image.images - begin));
            TRY(transform_image(&slice, plan, &image));
            TRY(transform_gradient(&slice, plan, &gradient));
            TRY(multiply_tiles(&slice, plan, i, &image, &gradient, &partial));
        }
        int64_t matrix = plan->channels * part.p.n;
        uint64_t count = (uint64_t)(PLACES * matrix);
        if (chunks > 1) TRY(lower_sum_parts(lowering, &partial, chunks, count, count, &sum));
        source x = square(chunks > 1 ? &sum : &partial, SIDE, matrix);
        x.rows = plan->channels;
        x.channels = x.row = part.p.n;
        const target to = {
            .view = s->p.d.view, .first = part.p.d.offset, .place = plan->channels * s->p.d.row, .row = s->p.d.row
        };
        TRY(transform(s, plan, ROLE_FILTER_GRADIENT, &x, &to));
    }
    return TUFF_OK;
}

tuff_result winograd_lower(const product_lowering *s) {
    const plan plan = plan_of(s);
    return s->p.loader == LOADER_WINDOW ? lower_forward(s, &plan) : lower_weights(s, &plan);
}
