// Terms of a reduction: where loops of a nest lead to, and a chain that makes a term of up to five inputs.
//
// The includer defines WIDTH (4: four neighbours at once) and, with TEXELS, the inputs once more as texels; the
// specialization constants INPUTS, LEVELS (WIDTH 4: bit i, input i has one value for the four; bit 8 + i: bytes), RESULT
// (the operand that is the term), and those of common/chain.glsl from CHAIN_FIRST_ID on; push constants with a name for
// `first` (where each tensor begins) and chain_constant.
#include "common/chain.glsl"

// A loop of a nest, in registers: loading its words for each term would cost more than all the rest on drivers for the
// CPU.
struct Loop {
    uint size, multiplier, shift;
    uint strides[TENSORS];
};

Loop load_loop(uint w) {
    Loop loop;
    loop.size = words[w];
    loop.multiplier = words[w + 1u];
    loop.shift = words[w + 2u];
    for (uint t = 0; t <= INPUTS; t++) loop.strides[t] = words[w + 3u + t];
    return loop;
}

// What is left of e takes its coordinate in the loop; the last loop takes all.
uint coordinate_of(Loop loop, bool last, inout uint e) {
    if (last) return e;
    uint high, low;
    umulExtended(e, loop.multiplier, high, low);
    uint quotient = high >> loop.shift, coordinate = e - quotient * loop.size;
    e = quotient;
    return coordinate;
}

void locate(Loop loop, bool last, inout uint e, inout uint at[TENSORS]) {
    uint coordinate = coordinate_of(loop, last, e);
    for (uint t = 0; t <= INPUTS; t++) at[t] += coordinate * loop.strides[t];
}

uint byte_of(uint word, uint at) {
    return floatBitsToUint(float(word >> 8u * (at & 3u) & 255u));
}
#define IS_BYTE(i) ((LEVELS >> 8 + i & 1u) != 0u)

#if WIDTH == 4
BITS bytes_of(uint word) {
    return BITS(byte_of(word, 0u), byte_of(word, 1u), byte_of(word, 2u), byte_of(word, 3u));
}
#define FETCH(i, b)                                                                                                    \
    if (i < INPUTS) {                                                                                                  \
        uint place = at[i + 1];                                                                                        \
        bool level = (LEVELS >> i & 1u) != 0u;                                                                         \
        if (IS_BYTE(i)) {                                                                                              \
            uint word = FOUR(b, place >> 4)[place >> 2 & 3u];                                                          \
            value[i] = level ? BITS(byte_of(word, place)) : bytes_of(word);                                            \
        } else {                                                                                                       \
            value[i] = FOUR(b, place >> 2);                                                                            \
            if (level) value[i] = BITS(value[i][place & 3u]);                                                          \
        }                                                                                                              \
    }
#define TAKE(i, c) if (i < INPUTS) chain_inputs[i] = value[i][c];
#else
#define FETCH(i, b)                                                                                                    \
    if (i < INPUTS) {                                                                                                  \
        uint place = at[i + 1];                                                                                        \
        if (IS_BYTE(i))                                                                                                \
            value[i] = byte_of(b[place >> 2], place);                                                                  \
        else                                                                                                           \
            value[i] = b[place];                                                                                       \
    }
#define TAKE(i, c) if (i < INPUTS) chain_inputs[i] = value[i];
#endif

float run(BITS value[5], uint c) {
    TAKE(0, c)
    TAKE(1, c)
    TAKE(2, c)
    TAKE(3, c)
    TAKE(4, c)
    chain_run();
    uint result;
    CHAIN_VALUE(result, RESULT)
    return uintBitsToFloat(result);
}

void fetch(uint at[TENSORS], out BITS value[5]) {
    FETCH(0, b1)
    FETCH(1, b2)
    FETCH(2, b3)
    FETCH(3, b4)
    FETCH(4, b5)
}

// A term of the inputs' elements at `at`, four neighbours at once with WIDTH 4.
VALUE term(uint at[TENSORS]) {
    BITS value[5];
    fetch(at, value);
#if WIDTH == 4
    return VALUE(run(value, 0), run(value, 1), run(value, 2), run(value, 3));
#else
    return run(value, 0);
#endif
}
