/* Choosing among the product's variants by measuring. */
#include "layers/tuner.h"

#include "layers/direct.h"
#include "layers/winograd.h"
#include "runtime/device/choices.h"
#include "runtime/program/trial.h"

#include <stdio.h>
#include <string.h>

/* How much quicker than the rules' variant one must be: less is noise, and noise must not choose. */
static const double ADVANTAGE = 1.03;

enum { CLASS_TEXT = 128 };

static uint64_t next_power(int64_t value) {
    uint64_t power = 1;
    while (power < (uint64_t)value) power *= 2;
    return power;
}

static void write_class(product_lowering *s, char text[CLASS_TEXT]) {
    static const char *const loaders[LOADER_COUNT] = { "plain", "window", "patch" };
    const product *p = &s->p;
    product_find_modes(s);
    /* how the grid falls into tiles decides about Winograd's way; who forces it, or none, has a class of his own */
    char kernel[48] = "";
    int64_t tiles = device_force(lowering_device(s->lowering), "winograd") ? 0 : winograd_tiles(s);
    if (tiles)
        snprintf(kernel, sizeof kernel, "%lldx%lld,tiles%llu", (long long)p->image.kernel[1],
                 (long long)p->image.kernel[2], (unsigned long long)next_power(tiles));
    snprintf(text, CLASS_TEXT, "product:%s,%s%s%s%s,m%llu,n%llu,k%llu,batch%llu,modes%u%u%u%s",
             s->variant->row ? "row" : "tile", loaders[p->loader], kernel,
             p->loader != LOADER_PLAIN && p->image.volume ? "3d" : "", direct_may_pay(s) ? ",direct" : "",
             (unsigned long long)next_power(p->m), (unsigned long long)next_power(p->n),
             (unsigned long long)next_power(p->k), (unsigned long long)next_power((int64_t)product_batch(p)), s->a_mode,
             s->b_mode, s->d_mode, product_can_split(s) ? ",splits" : "");
}

/* ---- measuring ----------------------------------------------------------------------------------- */

typedef struct race {
    const product_lowering *s;
    const product_variant *variants[MOST_WAYS]; /* NULL: Winograd's way, with the rules' variant */
    uint32_t count, standard;                   /* standard: the rules' way among them */
} race;

static void take_way(product_lowering *s, const product_variant *variant) {
    s->winograd = !variant;
    s->direct = variant && variant->direct; /* a lowering keeps the rules' variant beside it */
    if (variant && !variant->direct) s->variant = variant;
}

static const char *way_name(const product_variant *variant) {
    return variant ? variant->name : "winograd";
}

static tuff_result lower_way(const void *context, uint32_t way) {
    const race *race = context;
    product_lowering s = *race->s;
    take_way(&s, race->variants[way]);
    return product_lower_way(&s);
}

/* Of the kind that the device gets, and of the family that is forced; where texels can be fetched those without lose
 * always. */
static void find_candidates(const product_lowering *s, race *race) {
    const tuff_device *device = lowering_device(s->lowering);
    const device_limits *limits = device_get_limits(device);
    const char *forced = device_force(device, "product");
    uint32_t count;
    const product_variant *all = product_variants(&count);
    for (uint32_t i = 0; i < count && race->count < MOST_WAYS; i++) {
        const product_variant *variant = &all[i];
        if (variant->row != s->variant->row || variant->texels != s->variant->texels) continue;
        if (forced && strncmp(variant->name, forced, strlen(forced)) != 0) continue;
        if (!product_variant_runs(variant, limits)) continue;
        if (variant->most_m && (uint64_t)s->p.m > 4 * variant->most_m) continue; /* hopeless, and slow to find out */
        if (variant == s->variant) race->standard = race->count;
        race->variants[race->count++] = variant;
    }
    if (forced) return; /* nobody measures what is forced */
    if (!device_force(device, "winograd") && race->count < MOST_WAYS && winograd_fits(s)) {
        if (s->winograd) race->standard = race->count;
        race->variants[race->count++] = NULL;
    }
    if (race->count < MOST_WAYS && direct_may_pay(s)) {
        if (s->direct) race->standard = race->count;
        race->variants[race->count++] = direct_variant(s);
    }
}

uint32_t tuner_winner(const double *seconds, uint32_t count, uint32_t standard) {
    uint32_t best = standard;
    for (uint32_t i = 0; i < count; i++)
        if (seconds[i] < seconds[best]) best = i;
    return seconds[standard] <= seconds[best] * ADVANTAGE ? standard : best;
}

static void log_race(const tuff_device *device, const char *class, const race *race, const double *seconds,
                     const char *best) {
    char text[512] = "";
    for (uint32_t i = 0; i < race->count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s %.4g ms", i ? ", " : "", way_name(race->variants[i]),
                 seconds[i] * 1e3);
    }
    device_log(device, TUFF_LOG_INFO, "measured %s: %s; it gets %s", class, text, best);
}

/* ---- choosing ------------------------------------------------------------------------------------ */

/* `count`: a way that this library does not have, or that cannot run. */
static uint32_t find_way(const race *race, const char *name) {
    uint32_t way = 0;
    while (way < race->count && !(name && strcmp(way_name(race->variants[way]), name) == 0)) way++;
    return way;
}

tuff_result product_tune(product_lowering *s) {
    tuff_device *device = lowering_device(s->lowering);
    bool forced = (s->winograd && device_force(device, "winograd")) || (s->direct && device_force(device, "direct"));
    if (!device_tunes(device) || forced) return TUFF_OK;
    race race = { .s = s };
    find_candidates(s, &race);
    if (race.count < 2) return TUFF_OK;
    char class[CLASS_TEXT];
    write_class(s, class);
    uint32_t chosen = find_way(&race, choice_find(device, class));
    if (chosen == race.count) {
        double seconds[MOST_WAYS];
        tuff_result result = lowering_time(s->lowering, lower_way, &race, race.count, seconds);
        if (result != TUFF_OK) {
            device_log(device, TUFF_LOG_INFO, "%s is not measured: %s", class, tuff_last_message());
            return result == TUFF_ERROR_DEVICE_LOST ? result : TUFF_OK;
        }
        chosen = tuner_winner(seconds, race.count, race.standard);
        const char *name = way_name(race.variants[chosen]);
        log_race(device, class, &race, seconds, name);
        TRY(choice_make(device, class, name));
    }
    take_way(s, race.variants[chosen]);
    return TUFF_OK;
}
