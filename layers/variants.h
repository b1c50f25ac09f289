/* The variants of the product's kernels: which there are, what each needs, and which one a device gets. */
#ifndef TUFF_LAYERS_VARIANTS_H
#define TUFF_LAYERS_VARIANTS_H

#include "runtime/device/device.h"

/* Shared with shaders/product/product.glsl. */
typedef enum product_loader { LOADER_PLAIN = 0, LOADER_WINDOW, LOADER_PATCH, LOADER_COUNT } product_loader;

typedef struct product_variant {
    const char *name; /* "row16": what `force` takes; a family's name, "row", leaves the choice among its members */
    const char *about;
    enum kernel_id kernels[LOADER_COUNT];
    uint32_t tile_m;
    uint32_t tile_n; /* row: columns of each lane of a subgroup */
    uint32_t step_k;
    bool texels;     /* its loads are texel buffers': device_limits.texels */
    bool row;        /* a workgroup is one subgroup, which shuffles */
    bool flat;       /* the tile is an invocation's, not a workgroup's */
    bool direct;     /* layers/direct.c's */
    uint64_t most_m; /* not 0: for so few rows, and only for them unless it is forced */
    uint64_t least;  /* multiply-adds from which it pays, within its family */
    uint32_t lanes;  /* of the subgroup, at least: narrow registers cannot hold its sums */
} product_variant;

const product_variant *product_variants(uint32_t *count);

/* Whether a device can run it at all. */
bool product_variant_runs(const product_variant *variant, const device_limits *limits);

/* Whether a device gets the variants by rows, or those by tiles. */
bool product_variants_are_rows(const device_limits *limits);

/* The columns of a workgroup's tile. */
uint32_t product_variant_columns(const product_variant *variant, const device_limits *limits);

/* The workgroups for an m x n matrix. */
uint64_t product_variant_groups(const product_variant *variant, const device_limits *limits, uint64_t m, uint64_t n);

/* The one for depthwise convolutions; not among product_variants. */
const product_variant *product_variant_depthwise(void);

/* The variant for m x n x k multiply-adds, a batch of them: the forced one ("product" in the device's force list) or
 * the one that measured best on its kind of device; of tiles, which no GPU at hand measured, the largest that pays by
 * the number of workgroups. Error: UNSUPPORTED, if what is forced is unknown or cannot run. */
tuff_result product_variant_choose(const tuff_device *device, uint64_t m, uint64_t n, uint64_t k, uint64_t batch,
                                   const product_variant **out);

/* The longest sum over k that one invocation of a variant makes: lavapipe ends loops after 65,535 turns. */
uint64_t product_longest_sum(const tuff_device *device, const product_variant *variant);

/* In how many parts a sum over k is split, so that all of a device works: 1 for not at all. Parts have *k_part steps.
 */
uint32_t product_split(const tuff_device *device, const product_variant *variant, uint64_t m, uint64_t n, uint32_t k,
                       uint64_t batch, uint32_t *k_part);

#endif
