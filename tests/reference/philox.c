#include "philox.h"

#include <string.h>

void ref_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]) {
    uint32_t c[4] = { counter[0], counter[1], counter[2], counter[3] }, k[2] = { key[0], key[1] };
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = { (uint32_t)(p1 >> 32) ^ c[1] ^ k[0], (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k[1],
                             (uint32_t)p0 };
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    memcpy(words, c, sizeof c);
}

uint32_t ref_name_hash(const char *name) {
    uint32_t hash = 2166136261u;
    for (; *name; name++) hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash;
}

static float unit(uint32_t word) {
    return (float)(word >> 8) * 5.9604644775390625e-08f; /* 2^-24 */
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* log on (0, 1]: the exponent apart, Cephes' polynomial on [sqrt(1/2), sqrt(2)) */
static float log_of(float v) {
    static const float p[] = { 7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                               -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                               2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f };
    uint32_t bits = bits_of(v);
    int exponent = (int)(bits >> 23) - 127;
    float mantissa = float_of((bits & 0x007fffffu) | 0x3f800000u);
    if (mantissa > 1.41421356f) mantissa *= 0.5f, exponent++;
    float f = mantissa - 1, z = f * f, e = (float)exponent, sum = p[0];
    for (int i = 1; i < 9; i++) sum = sum * f + p[i];
    sum = sum * f * z;
    sum = sum - 2.12194440e-4f * e;
    sum = sum - 0.5f * z;
    float result = f + sum;
    return result + 0.693359375f * e;
}

static float sqrt_of(float v) {
    if (v <= 0) return 0;
    float half = 0.5f * v, y = float_of(0x5f3759dfu - (bits_of(v) >> 1));
    for (int i = 0; i < 4; i++) y = y * (1.5f - half * y * y);
    return v * y;
}

/* (cos, sin)(2 pi u) */
static void turn(float u, float out[2]) {
    int quarter = (int)(u * 4 + 0.5f);
    float a = (u * 4 - (float)quarter) * 1.57079632679f, z = a * a;
    float s = -1.9515295891e-4f;
    s = s * z + 8.3321608736e-3f;
    s = s * z - 1.6666654611e-1f;
    s = s * z * a + a;
    float c = 2.443315711809948e-5f;
    c = c * z - 1.388731625493765e-3f;
    c = c * z + 4.166664568298827e-2f;
    c = c * z * z;
    c = c - 0.5f * z + 1;
    const float turned[4][2] = { { c, s }, { -s, c }, { -c, -s }, { s, -c } };
    memcpy(out, turned[quarter & 3], 2 * sizeof *out);
}

static float normal_of(const uint32_t words[4], int which) {
    float radius = sqrt_of(-2 * log_of(unit(words[which & 2]) + 5.9604644775390625e-08f)), direction[2];
    turn(unit(words[(which & 2) + 1]), direction);
    return radius * direction[which & 1];
}

float ref_initial(uint64_t seed, const char *name, int64_t element, bool normal, float spread) {
    uint32_t words[4], key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    ref_philox((uint32_t[]){ (uint32_t)(element / 4), ref_name_hash(name), 0, 0 }, key, words);
    int which = (int)(element % 4);
    return (normal ? normal_of(words, which) : unit(words[which]) * 2 - 1) * spread;
}

bool ref_dropout_keeps(uint64_t seed, const char *name, uint64_t step, int64_t element, float p) {
    uint32_t words[4], key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    const uint32_t counter[4] = { (uint32_t)(element / 4), ref_name_hash(name), (uint32_t)step,
                                  (uint32_t)(step >> 32) };
    ref_philox(counter, key, words);
    return unit(words[element % 4]) >= p;
}
