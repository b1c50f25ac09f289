/* Random numbers of the samples' hosts: shuffling and small shifts, the same on every machine for a seed. */
#ifndef SAMPLES_RANDOM_H
#define SAMPLES_RANDOM_H

#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static inline uint64_t random_bits(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 to limit - 1; limit is far below 2^32, so that the bias of the product is too small to matter. */
static inline uint32_t random_below(uint64_t *state, uint32_t limit) {
    return (uint32_t)((random_bits(state) >> 32) * limit >> 32);
}

/* Fisher and Yates. */
static inline void random_shuffle(uint64_t *state, uint32_t *items, uint32_t count) {
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = random_below(state, i), item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}

#endif
