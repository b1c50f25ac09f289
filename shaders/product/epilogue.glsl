// What happens to four neighbouring sums before they are stored: a chain of pointwise steps (chain_ops.h says how one is
// encoded). Input 0 is the sum itself, inputs 1 to 3 are the tensors at bindings 3 to 5.
//
// EXTRA says where an input's element (m, n) lies, three bits each:
//   EXTRA_COLUMNS  at n: one value for each column, a bias
//   EXTRA_LIKE_D   where D's own element lies
//   EXTRA_STRIDED  by words of the record at binding 6: first, strides of n, of m's three parts and of the batch's three
//                  axes; after all of these the record holds the constants

#define EXTRA_COLUMNS 0
#define EXTRA_LIKE_D  1
#define EXTRA_STRIDED 2

#define EPILOGUE_STEPS  6
#define EPILOGUE_EXTRAS 3

layout(constant_id = 5) const uint STEPS = 0;
layout(constant_id = 6) const uint RESULT = 0; // operand
layout(constant_id = 7) const uint EXTRA = 0;
layout(constant_id = 8) const uint EXTRA_COUNT = 0;
layout(constant_id = 9) const uint STEP_0 = 0;
layout(constant_id = 10) const uint STEP_1 = 0;
layout(constant_id = 11) const uint STEP_2 = 0;
layout(constant_id = 12) const uint STEP_3 = 0;
layout(constant_id = 13) const uint STEP_4 = 0;
layout(constant_id = 14) const uint STEP_5 = 0;

layout(set = 0, binding = 3) readonly buffer E1 { float e1[]; };
layout(set = 0, binding = 3) readonly buffer E14 { vec4 e1_4[]; };
layout(set = 0, binding = 4) readonly buffer E2 { float e2[]; };
layout(set = 0, binding = 4) readonly buffer E24 { vec4 e2_4[]; };
layout(set = 0, binding = 5) readonly buffer E3 { float e3[]; };
layout(set = 0, binding = 5) readonly buffer E34 { vec4 e3_4[]; };
layout(set = 0, binding = 6) readonly buffer Record { uint words[]; };

// Words of one strided input: first, n, m's parts (image, row, column), the batch's axes, sizes that split m and z
#define EXTRA_WORDS 12

uint strided(uint extra, Place p, uint m, uint n) {
    uint w = record + extra * EXTRA_WORDS;
    uint grid_w = words[w + 8], grid_size = words[w + 9];
    uint image = m / grid_size, in_image = m - image * grid_size, y = in_image / grid_w, x = in_image - y * grid_w;
    uint size_0 = words[w + 10], size_1 = words[w + 11];
    uint i0 = p.index % size_0, i1 = p.index / size_0 % size_1, i2 = p.index / size_0 / size_1;
    return words[w] + n * words[w + 1] + image * words[w + 2] + y * words[w + 3] + x * words[w + 4]
        + i0 * words[w + 5] + i1 * words[w + 6] + i2 * words[w + 7];
}

uint column_stride() {
#if LOADER == LOADER_PLAIN
    return K_part < K ? 1 : d_n;
#else
    return 1;
#endif
}

// Four neighbours of an input; d is D's element, counted from D's first.
#define READ_EXTRA(NAME, INDEX, ONE, FOUR)                                                                             \
    vec4 NAME(Place p, uint m, uint n, uint d) {                                                                       \
        uint kind = EXTRA >> INDEX * 3 & 7u;                                                                           \
        uint first = kind == EXTRA_COLUMNS ? columns_of(p) + n : d;                                                    \
        if (kind != EXTRA_STRIDED && D_MODE == MODE_ALONG_N) return FOUR[first / 4];                                   \
        vec4 value = vec4(0);                                                                                          \
        for (uint c = 0; c < min(4, N - n); c++)                                                                       \
            value[c] = ONE[kind == EXTRA_STRIDED ? strided(INDEX, p, m, n + c)                                         \
                                                 : first + c * (kind == EXTRA_COLUMNS ? 1 : column_stride())];         \
        return value;                                                                                                  \
    }

// Convolution's columns count through its groups.
uint columns_of(Place p) {
#if LOADER == LOADER_PLAIN
    return 0;
#else
    return p.index * N;
#endif
}

READ_EXTRA(read_1, 0, e1, e1_4)
READ_EXTRA(read_2, 1, e2, e2_4)
READ_EXTRA(read_3, 2, e3, e3_4)

struct Values {
    vec4 x, e1, e2, e3, s0, s1, s2, s3, s4, s5;
};

vec4 operand(Values v, uint o) {
    switch (o) {
    case 0: return v.x;
    case 1: return v.e1;
    case 2: return v.e2;
    case 3: return v.e3;
    case CHAIN_STEP: return v.s0;
    case CHAIN_STEP + 1: return v.s1;
    case CHAIN_STEP + 2: return v.s2;
    case CHAIN_STEP + 3: return v.s3;
    case CHAIN_STEP + 4: return v.s4;
    case CHAIN_STEP + 5: return v.s5;
    }
    return vec4(uintBitsToFloat(words[record + EXTRA_COUNT * EXTRA_WORDS + (o - CHAIN_CONSTANT)]));
}

// layers/product.c has the list of what is here.
vec4 step_of(Values v, uint word) {
    uint op = word & 255u;
    vec4 a = operand(v, word >> 8 & 255u);
    switch (op) {
    case CHAIN_COPY: return a;
    case CHAIN_NEG: return -a;
    case CHAIN_ABS: return abs(a);
    case CHAIN_SQUARE: return a * a;
    case CHAIN_RELU: return mix(a, vec4(0), lessThan(a, vec4(0)));
    }
    vec4 b = operand(v, word >> 16 & 255u);
    switch (op) {
    case CHAIN_ADD: return a + b;
    case CHAIN_SUB: return a - b;
    case CHAIN_MUL: return a * b;
    case CHAIN_DIV: return a / b;
    case CHAIN_MAX: return max(a, b);
    case CHAIN_MIN: return min(a, b);
    case CHAIN_LEAKY_RELU: return mix(a * b, a, greaterThan(a, vec4(0)));
    case CHAIN_GT: return vec4(greaterThan(a, b));
    case CHAIN_GE: return vec4(greaterThanEqual(a, b));
    }
    vec4 c = operand(v, word >> 24);
    if (op == CHAIN_FMA) return a * b + c;
    return mix(c, b, notEqual(a, vec4(0))); // CHAIN_SELECT
}

// Stores the sums D(m, n .. n + 3), or what the chain makes of them.
void finish(Place p, uint m, uint n, vec4 x) {
    if (n >= N) return;
    uint d = p.d + m * row_stride() + n * column_stride();
    if (STEPS > 0) {
        Values v;
        v.x = x;
        if (EXTRA_COUNT > 0) v.e1 = read_1(p, m, n, d - d_first);
        if (EXTRA_COUNT > 1) v.e2 = read_2(p, m, n, d - d_first);
        if (EXTRA_COUNT > 2) v.e3 = read_3(p, m, n, d - d_first);
        v.s0 = step_of(v, STEP_0);
        if (STEPS > 1) v.s1 = step_of(v, STEP_1);
        if (STEPS > 2) v.s2 = step_of(v, STEP_2);
        if (STEPS > 3) v.s3 = step_of(v, STEP_3);
        if (STEPS > 4) v.s4 = step_of(v, STEP_4);
        if (STEPS > 5) v.s5 = step_of(v, STEP_5);
        x = operand(v, RESULT);
    }
    if (D_MODE == MODE_ALONG_N) {
        d4[d / 4] = x;
        return;
    }
    uint count = min(4, N - n), stride = column_stride();
    d1[d] = x.x;
    if (count > 1) d1[d + stride] = x.y;
    if (count > 2) d1[d + 2 * stride] = x.z;
    if (count > 3) d1[d + 3 * stride] = x.w;
}
