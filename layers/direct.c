/* Convolutions of few channels: when their own kernels (shaders/product/direct.glsl) run, and what these need beside
 * what all products do. */
#include "layers/direct.h"

#include "layers/flat.h"

/* As in shaders/product. */
enum { CONSTANT_RUN = CONSTANTS, CONSTANT_STRIDE, CONSTANT_RUNS, DIRECT_CONSTANTS };
enum { FEW_CHANNELS = 32, LEAST_USED = 4 };
enum { MOST_RUN = 8, MOST_APART = 4, FEW_RUNS = 3 };

static const product_variant direct = {
    .name = "direct",
    .about = "for convolutions of few channels: what pixels side by side meet is loaded once",
    .kernels = { [LOADER_WINDOW] = KERNEL_PRODUCT_DIRECT_WINDOW, [LOADER_PATCH] = KERNEL_PRODUCT_DIRECT_PATCH },
    .tile_m = 16, /* with more a driver with narrow registers takes seconds to compile them */
    .tile_n = 4,
    .step_k = 1,
    .row = true,
    .direct = true,
};

static const product_variant direct_texels = {
    .name = "direct-texels",
    .about = "direct with 32 rows, reading as texels",
    .kernels = { [LOADER_WINDOW] = KERNEL_PRODUCT_DIRECT_TEXELS_WINDOW,
                 [LOADER_PATCH] = KERNEL_PRODUCT_DIRECT_TEXELS_PATCH },
    .tile_m = 32,
    .tile_n = 4,
    .step_k = 1,
    .row = true,
    .texels = true,
    .direct = true,
};

const product_variant *direct_variant(const product_lowering *s) {
    return texels_allowed(s->lowering) ? &direct_texels : &direct;
}

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Whether pixels side by side meet the same numbers of the image under taps side by side. */
static bool neighbours_share(const product *p) {
    enum { MOST_STRIDE = 2 };
    return p->image.advance[2] == 1 && p->image.scale[2] <= MOST_STRIDE;
}

/* The longest run of which a kernel's row is whole ones: past its end a run would multiply numbers, which may be
 * infinite, by zero. Without anything in common a run's loads are many, and compiled one by one. */
static int64_t run_of(const product *p) {
    int64_t width = p->image.kernel[2], run = neighbours_share(p) ? MOST_RUN : MOST_APART;
    while (width % run != 0) run--;
    return run;
}

/* What the kernels call STRIDE: 0 where neighbours have nothing in common. */
static int64_t stride_of(const product *p) {
    return neighbours_share(p) && p->image.scale[2] < run_of(p) ? p->image.scale[2] : 0;
}

static int64_t runs_of(const product *p) {
    return p->image.channels * p->image.kernel[1] * p->image.kernel[2] / run_of(p);
}

/* Runs of a tile of the weights' gradient: one of two, so that pipelines are shared. */
static int64_t runs_of_tile(const product *p, int64_t rows) {
    int64_t most = rows / run_of(p);
    return runs_of(p) <= FEW_RUNS && most > FEW_RUNS ? FEW_RUNS : most;
}

/* m as the tiles count it: pixels side by side, or whole runs. */
static int64_t rows_of(const product *p, const product_variant *variant) {
    int64_t rows = variant->tile_m, width = p->image.grid[2];
    if (p->loader == LOADER_WINDOW) return p->m / width * divide_up(width, rows) * rows;
    return divide_up(runs_of(p), runs_of_tile(p, rows)) * rows;
}

bool direct_fits(const product_lowering *s) {
    const product *p = &s->p;
    const tuff_device *device = lowering_device(s->lowering);
    const product_variant *variant = direct_variant(s);
    if (p->loader == LOADER_PLAIN || p->depthwise || p->phased || p->image.volume) return false;
    if (!product_variant_runs(variant, device_get_limits(device))) return false;
    for (uint32_t i = 0; i < IMAGE_AXES; i++)
        if (p->image.divide[i] != 1) return false;
    bool splits = p->loader == LOADER_PATCH && product_can_split(s);
    return splits || (uint64_t)p->k <= product_longest_sum(device, variant);
}

bool direct_may_pay(const product_lowering *s) {
    const tuff_device *device = lowering_device(s->lowering);
    /* by rows, which GPUs do not get: their subgroups need not be whole, nor as large as they say */
    if (device_force(device, "direct") || !product_variants_are_rows(device_get_limits(device))) return false;
    return s->p.image.channels <= FEW_CHANNELS && direct_fits(s);
}

bool direct_pays(const product_lowering *s) {
    const tuff_device *device = lowering_device(s->lowering);
    uint64_t forced;
    if (device_force_number(device, "direct", &forced))
        return (uint64_t)s->p.image.channels <= forced && direct_fits(s);
    const product *p = &s->p;
    /* who forces another way wants that one */
    if (!direct_may_pay(s) || device_force(device, "product") || s->winograd || !stride_of(p)) return false;
    /* pixels that are not there would be computed all the same */
    if (p->loader == LOADER_WINDOW && rows_of(p, direct_variant(s)) >= LEAST_USED * p->m) return false;
    product_lowering modes = *s; /* channels that the loaders read four at a time are as fast there */
    product_find_modes(&modes);
    return modes.a_mode == MODE_ONE;
}

void direct_fill_call(const product_lowering *s, kernel_call *call) {
    call->constants[CONSTANT_RUN] = (uint32_t)run_of(&s->p);
    call->constants[CONSTANT_STRIDE] = (uint32_t)stride_of(&s->p);
    call->constants[CONSTANT_RUNS] = (uint32_t)runs_of_tile(&s->p, s->variant->tile_m);
    call->constant_count = DIRECT_CONSTANTS;
}

int64_t direct_rows(const product_lowering *s) {
    return rows_of(&s->p, s->variant);
}
