// Philox4x32-10 (Salmon et al. 2011), a random function of a counter: the same numbers whatever computes them when.
// Tuff's counter is (element / 4, stream, step), its key the model's seed; an element takes word element % 4.
#ifndef TUFF_PHILOX_GLSL
#define TUFF_PHILOX_GLSL

uvec4 philox(uvec4 counter, uvec2 key) {
    for (uint round = 0u; round < 10u; round++) {
        uint high0, low0, high1, low1;
        umulExtended(0xD2511F53u, counter.x, high0, low0);
        umulExtended(0xCD9E8D57u, counter.z, high1, low1);
        counter = uvec4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

uint philox_word(uint element, uint stream, uvec2 step, uvec2 seed) {
    uvec4 words = philox(uvec4(element >> 2, stream, step), seed);
    uvec2 two = (element & 2u) == 0u ? words.xy : words.zw;
    return (element & 1u) == 0u ? two.x : two.y;
}

// In [0, 1), with 24 bits.
float philox_uniform(uint word) {
    return float(word >> 8) * 5.9604644775390625e-08;
}

#endif
