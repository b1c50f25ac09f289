/* The variants of the product's kernels and the choice among them. docs/performance.md has the measurements. */
#include "layers/variants.h"

#include <string.h>

static const product_variant variants[] = {
    { .name = "row8",
      .about = "the same as row16 with 8 rows: the quickest to compile, for small products",
      .kernels = { KERNEL_PRODUCT_ROW8_PLAIN, KERNEL_PRODUCT_ROW8_WINDOW, KERNEL_PRODUCT_ROW8_PATCH },
      .tile_m = 8,
      .tile_n = 4,
      .step_k = 4,
      .row = true },
    { .name = "row8-texels",
      .about = "row8, reading four numbers at a time as texels",
      .kernels = { KERNEL_PRODUCT_ROW8_TEXELS_PLAIN, KERNEL_PRODUCT_ROW8_TEXELS_WINDOW,
                   KERNEL_PRODUCT_ROW8_TEXELS_PATCH },
      .tile_m = 8,
      .tile_n = 4,
      .step_k = 4,
      .row = true,
      .texels = true },
    { .name = "row16",
      .about = "for drivers on the CPU: 16 rows and 4 columns a lane in registers, loads shared by shuffles",
      .kernels = { KERNEL_PRODUCT_ROW16_PLAIN, KERNEL_PRODUCT_ROW16_WINDOW, KERNEL_PRODUCT_ROW16_PATCH },
      .tile_m = 16,
      .tile_n = 4,
      .step_k = 4,
      .row = true,
      .least = UINT64_C(1) << 25 },
    { .name = "row16-texels",
      .about = "row16, reading four numbers at a time as texels",
      .kernels = { KERNEL_PRODUCT_ROW16_TEXELS_PLAIN, KERNEL_PRODUCT_ROW16_TEXELS_WINDOW,
                   KERNEL_PRODUCT_ROW16_TEXELS_PATCH },
      .tile_m = 16,
      .tile_n = 4,
      .step_k = 4,
      .row = true,
      .texels = true,
      .least = UINT64_C(1) << 25 },
    { .name = "row32",
      .about = "the same with 32 rows and 8 columns a lane: half as fast again, slow to compile, for large products",
      .kernels = { KERNEL_PRODUCT_ROW32_PLAIN, KERNEL_PRODUCT_ROW32_WINDOW, KERNEL_PRODUCT_ROW32_PATCH },
      .tile_m = 32,
      .tile_n = 8,
      .step_k = 4,
      .row = true,
      .least = UINT64_C(1) << 30,
      .lanes = 8 },
    { .name = "row32-narrow-texels",
      .about = "row32-texels with 4 columns a lane, for results with few of them",
      .kernels = { KERNEL_PRODUCT_ROW32_NARROW_TEXELS_PLAIN, KERNEL_PRODUCT_ROW32_NARROW_TEXELS_WINDOW,
                   KERNEL_PRODUCT_ROW32_NARROW_TEXELS_PATCH },
      .tile_m = 32,
      .tile_n = 4,
      .step_k = 4,
      .row = true,
      .texels = true,
      .least = UINT64_C(1) << 27,
      .lanes = 8 },
    { .name = "row32-texels",
      .about = "row32, reading four numbers at a time as texels",
      .kernels = { KERNEL_PRODUCT_ROW32_TEXELS_PLAIN, KERNEL_PRODUCT_ROW32_TEXELS_WINDOW,
                   KERNEL_PRODUCT_ROW32_TEXELS_PATCH },
      .tile_m = 32,
      .tile_n = 8,
      .step_k = 4,
      .row = true,
      .texels = true,
      .least = UINT64_C(1) << 27,
      .lanes = 8 },
    { .name = "tile32",
      .about = "for GPUs: tiles of 32 x 32 through shared memory, 4 x 4 in registers, for small results",
      .kernels = { KERNEL_PRODUCT_TILE32_PLAIN, KERNEL_PRODUCT_TILE32_WINDOW, KERNEL_PRODUCT_TILE32_PATCH },
      .tile_m = 32,
      .tile_n = 32,
      .step_k = 16 },
    { .name = "tile64",
      .about = "the same with tiles of 64 x 64",
      .kernels = { KERNEL_PRODUCT_TILE64_PLAIN, KERNEL_PRODUCT_TILE64_WINDOW, KERNEL_PRODUCT_TILE64_PATCH },
      .tile_m = 64,
      .tile_n = 64,
      .step_k = 16 },
    { .name = "tile128",
      .about = "the same with tiles of 128 x 128, 8 x 8 in registers, for large results",
      .kernels = { KERNEL_PRODUCT_TILE128_PLAIN, KERNEL_PRODUCT_TILE128_WINDOW, KERNEL_PRODUCT_TILE128_PATCH },
      .tile_m = 128,
      .tile_n = 128,
      .step_k = 8 },
    { .name = "tile4",
      .about = "for GPUs: 4 rows and 64 columns, of which each sum is shared by 16 invocations, for vectors",
      .kernels = { KERNEL_PRODUCT_TILE4_PLAIN, KERNEL_PRODUCT_TILE4_WINDOW, KERNEL_PRODUCT_TILE4_PATCH },
      .tile_m = 4,
      .tile_n = 64,
      .step_k = 64,
      .most_m = 4 },
};
enum { VARIANT_COUNT = sizeof variants / sizeof *variants };

static const product_variant depthwise = {
    .name = "depthwise",
    .about = "for convolutions with a group for each channel",
    .kernels = { [LOADER_WINDOW] = KERNEL_DEPTHWISE_WINDOW, [LOADER_PATCH] = KERNEL_DEPTHWISE_PATCH },
    .tile_m = 4,
    .tile_n = 4,
    .step_k = 1,
    .flat = true,
};

const product_variant *product_variant_depthwise(void) {
    return &depthwise;
}

const product_variant *product_variants(uint32_t *count) {
    *count = VARIANT_COUNT;
    return variants;
}

bool product_variant_runs(const product_variant *variant, const device_limits *limits) {
    if (!variant->row) return true;
    if (variant->texels && !limits->texels) return false;
    uint32_t lanes = limits->subgroup_size;
    return limits->subgroup_shuffle && lanes >= 4 && lanes >= variant->lanes && lanes <= 128
           && (lanes & (lanes - 1)) == 0;
}

bool product_variants_are_rows(const device_limits *limits) {
    return limits->cpu && product_variant_runs(&variants[0], limits); /* a driver on the CPU may lack shuffles */
}

uint32_t product_variant_columns(const product_variant *variant, const device_limits *limits) {
    return variant->row ? variant->tile_n * limits->subgroup_size : variant->tile_n;
}

static uint64_t divide_up(uint64_t a, uint64_t b) {
    return (a + b - 1) / b;
}

uint64_t product_variant_groups(const product_variant *variant, const device_limits *limits, uint64_t m, uint64_t n) {
    enum { FLAT_LANES = 64 };
    uint64_t tiles = divide_up(m, variant->tile_m) * divide_up(n, product_variant_columns(variant, limits));
    return variant->flat ? divide_up(tiles, FLAT_LANES) : tiles;
}

/* What is asked of a variant: so many products of m x n x k. */
typedef struct work {
    uint64_t m, n, multiply_adds, batch;
} work;

/* Columns that are not there would be computed all the same. */
static bool row_pays(const product_variant *variant, const product_variant *best, const device_limits *limits,
                     const work *work) {
    uint64_t columns = product_variant_columns(variant, limits), enough = product_variant_columns(best, limits);
    return work->multiply_adds >= variant->least && !(enough >= work->n && columns > enough);
}

/* A larger tile reads less, if its workgroups still fill a GPU and hang over the edges not much farther. */
static bool tile_pays(const product_variant *variant, const product_variant *best, const device_limits *limits,
                      const work *work) {
    enum { FILL = 64 };
    uint64_t groups = product_variant_groups(variant, limits, work->m, work->n);
    uint64_t area = groups * variant->tile_m * variant->tile_n;
    uint64_t best_area = product_variant_groups(best, limits, work->m, work->n) * best->tile_m * best->tile_n;
    return groups * work->batch >= FILL && area <= best_area + best_area / 4;
}

tuff_result product_variant_choose(const tuff_device *device, uint64_t m, uint64_t n, uint64_t k, uint64_t batch,
                                   const product_variant **out) {
    const device_limits *limits = device_get_limits(device);
    const char *forced = device_force(device, "product");
    const work work = { m, n, m * n * k * batch, batch };
    bool rows = product_variants_are_rows(limits), known = false;
    *out = NULL;
    for (uint32_t i = 0; i < VARIANT_COUNT; i++) {
        const product_variant *variant = &variants[i], *best = *out;
        bool exact = forced && strcmp(variant->name, forced) == 0;
        if (forced && strncmp(variant->name, forced, strlen(forced)) != 0) continue;
        known = true;
        if (!product_variant_runs(variant, limits) || (!forced && variant->row != rows)) continue;
        if (!exact && variant->most_m && m > variant->most_m) continue;
        bool pays = !best || exact || (variant->row ? row_pays : tile_pays)(variant, best, limits, &work);
        if (pays || variant->most_m) *out = variant;
        if (exact) break;
    }
    if (*out) return TUFF_OK;
    if (known)
        return error_set(TUFF_ERROR_UNSUPPORTED,
                         "the forced variant 'product=%s' cannot run on this device: it needs "
                         "shuffles in subgroups of 4 to 128, row32 of 8 and more, and \"texels\" large texel buffers",
                         forced);
    return error_set(TUFF_ERROR_ARGUMENT,
                     "there is no variant 'product=%s': the forced one is row, tile, or the name of one of them (row8, "
                     "row16, row32, each also with -texels behind it, tile4, tile32, tile64, tile128)",
                     forced);
}

uint64_t product_longest_sum(const tuff_device *device, const product_variant *variant) {
    /* half of the turns, since taps and stores are loops as well */
    uint64_t turns = device_get_limits(device)->loop_turns / 2;
    return turns * (variant->row ? variant->step_k : 1);
}

uint32_t product_split(const tuff_device *device, const product_variant *variant, uint64_t m, uint64_t n, uint32_t k,
                       uint64_t batch, uint32_t *k_part) {
    const device_limits *limits = device_get_limits(device);
    uint64_t tiles = product_variant_groups(variant, limits, m, n) * batch;
    /* a part must be worth the sum over the parts that follows */
    uint64_t wanted = limits->cpu ? 16 : 256, least = limits->cpu ? 512 : 128, grain = 16;
    if (variant->flat && !limits->cpu) wanted = 2048, least = 64; /* most of a workgroup's lanes may be idle */
    uint64_t parts = tiles < wanted ? wanted / tiles : 1, needed = divide_up(k, product_longest_sum(device, variant));
    if (parts > k / least) parts = k / least;
    if (device_force(device, "split")) parts = 3, grain = 4;
    if (parts < needed) parts = needed;
    *k_part = k;
    if (parts < 2) return 1;
    uint64_t part = divide_up(divide_up(k, parts), grain) * grain;
    if (part >= k) return 1;
    *k_part = (uint32_t)part;
    return (uint32_t)divide_up(k, part);
}
