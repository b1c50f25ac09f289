// What happens to four neighbouring sums before they are stored: up to EPILOGUE_STEPS steps x = step(x, operand), each a
// specialization constant: operation | operand << 8. layers/product_epilogue.c makes them of a chain, whose codes they use
// (common/chain_ops.h).
//
// An operand is nothing, one of two tensors (bindings 3 and 4), or a constant of the record (binding 5). EXTRA says
// where a tensor's element for (m, n) lies, four bits each:
//   EXTRA_COLUMNS  at n: one value for each column, a bias
//   EXTRA_LIKE_D   where D's own element lies
//   EXTRA_STRIDED  by words of the record: first, strides of n, of m (of convolutions: of x) and of the batch's first
//                  axis; then of a matrix the sizes of two axes of the batch and the strides of two more, of a
//                  convolution the strides of images, y and z. The constants lie behind the words of both tensors.

#define EXTRA_NONE    0
#define EXTRA_COLUMNS 1
#define EXTRA_LIKE_D  2
#define EXTRA_STRIDED 3

#define EPILOGUE_STEPS 4
#define EXTRA_WORDS    8

// beside the chain's own codes: operand - x, and x where the operand is above zero
#define EPILOGUE_SUB_FROM 128
#define EPILOGUE_GATE     129

layout(constant_id = 6) const uint EXTRA = 0;
layout(constant_id = 7) const uint STEP_0 = 0;
layout(constant_id = 8) const uint STEP_1 = 0;
layout(constant_id = 9) const uint STEP_2 = 0;
layout(constant_id = 10) const uint STEP_3 = 0;

layout(set = 0, binding = 3) readonly buffer E1 { float e1[]; };
layout(set = 0, binding = 3) readonly buffer E14 { vec4 e1_4[]; };
layout(set = 0, binding = 4) readonly buffer E2 { float e2[]; };
layout(set = 0, binding = 4) readonly buffer E24 { vec4 e2_4[]; };

#define KIND_OF(extra) (EXTRA >> extra * 4 & 15u)

uint column_stride() {
#if LOADER == LOADER_PLAIN
    return LAYERED && K_part < K ? 1 : d_n;
#else
    return 1;
#endif
}

// The first column, counted through convolution's groups.
uint first_column(Place p) {
#if LOADER == LOADER_PLAIN
    return 0;
#else
    return p.index * N;
#endif
}

// The element of a tensor for column n, and in `stride` how far the next column's is.
uint strided(uint w, Place p, uint m, uint n, out uint stride) {
    stride = words[w + 1];
    uint at = words[w] + n * stride;
#if LOADER == LOADER_PLAIN
    uint size_0 = words[w + 4], size_1 = words[w + 5];
    uint i0 = p.index % size_0, i1 = p.index / size_0 % size_1, i2 = p.index / size_0 / size_1;
    return at + m * words[w + 2] + i0 * words[w + 3] + i1 * words[w + 6] + i2 * words[w + 7];
#else
    uvec4 pixel = grid_place(m);
    at += pixel.x * words[w + 4] + pixel.z * words[w + 5] + pixel.w * words[w + 2] + p.index * words[w + 3];
    return VOLUME ? at + pixel.y * words[w + 6] : at;
#endif
}

// Where four neighbours of tensor `extra` lie; d is D's element, counted from D's first.
uint extra_at(uint extra, Place p, uint m, uint n, uint d, out uint stride) {
    uint kind = KIND_OF(extra), at = d;
    stride = column_stride();
    if (kind == EXTRA_STRIDED) {
        at = strided(record + extra * EXTRA_WORDS, p, m, n, stride);
    } else if (kind == EXTRA_COLUMNS) {
        at = first_column(p) + n;
        stride = 1;
    }
    return at;
}

#define READ_EXTRA(extra, e, value)                                                                                    \
    {                                                                                                                  \
        uint stride, at = extra_at(extra, p, m, n, d, stride);                                                         \
        if (KIND_OF(extra) != EXTRA_STRIDED && D_MODE == MODE_ALONG_N) {                                               \
            value = e##_4[at / 4];                                                                                     \
        } else {                                                                                                       \
            for (uint c = 0; c < min(4, N - n); c++) value[c] = e[at + c * stride];                                    \
        }                                                                                                              \
    }

// The operands that all rows share, of the columns n .. n + 3: read once, since a row's own work may be less. PHASED: how
// far apart D's images, planes, rows and pixels lie.
struct Columns {
    vec4 extra_1, extra_2;
    uvec4 apart;
};
Columns columns_of(Place p, uint n) {
    const uint m = 0, d = 0;
    Columns columns = Columns(vec4(0), vec4(0), uvec4(0));
    if (PHASED) columns.apart = uvec4(phased_word(0), phased_word(1), phased_word(2), phased_word(3));
    if (KIND_OF(0) == EXTRA_COLUMNS) READ_EXTRA(0, e1, columns.extra_1)
    if (KIND_OF(1) == EXTRA_COLUMNS) READ_EXTRA(1, e2, columns.extra_2)
    return columns;
}

vec4 epilogue_step(vec4 x, uint word, vec4 extra_1, vec4 extra_2) {
    uint which = word >> 8;
    vec4 o = which == 2 ? extra_2 : extra_1;
    if (which >= CHAIN_CONSTANT) o = vec4(uintBitsToFloat(words[record + 2 * EXTRA_WORDS + which - CHAIN_CONSTANT]));
    precise vec4 y = x;
    switch (word & 255u) {
    case CHAIN_ADD: y = x + o; break;
    case CHAIN_SUB: y = x - o; break;
    case EPILOGUE_SUB_FROM: y = o - x; break;
    case CHAIN_MUL: y = x * o; break;
    case CHAIN_DIV: y = x / o; break;
    case CHAIN_NEG: y = -x; break;
    case CHAIN_ABS: y = abs(x); break;
    case CHAIN_SQUARE: y = x * x; break;
    case CHAIN_RELU: y = mix(x, vec4(0), lessThan(x, vec4(0))); break;
    case CHAIN_LEAKY_RELU: y = mix(x * o, x, greaterThan(x, vec4(0))); break;
    case EPILOGUE_GATE: y = mix(vec4(0), x, greaterThan(o, vec4(0))); break;
    }
    return y;
}

// Stores the sums D(m, n .. n + 3), or what the epilogue makes of them.
void finish(Place p, uint m, uint n, vec4 x, Columns columns) {
    uint column = column_stride(), to = p.d + n * column;
#if LOADER != LOADER_PLAIN
    if (PHASED) {
        uvec4 pixel = grid_place(m) * columns.apart;
        to += pixel.x + pixel.y + pixel.z + pixel.w;
    } else
#endif
        to += m * row_stride();
    uint d = to - d_first;
    if (STEP_0 != 0) {
        vec4 extra_1 = columns.extra_1, extra_2 = columns.extra_2;
        if (KIND_OF(0) > EXTRA_COLUMNS) READ_EXTRA(0, e1, extra_1)
        if (KIND_OF(1) > EXTRA_COLUMNS) READ_EXTRA(1, e2, extra_2)
        [[unroll]] for (uint i = 0; i < EPILOGUE_STEPS; i++)
            x = epilogue_step(x, i == 0 ? STEP_0 : i == 1 ? STEP_1 : i == 2 ? STEP_2 : STEP_3, extra_1, extra_2);
    }
    if (D_MODE == MODE_ALONG_N) {
        d4[to / 4] = x;
    } else {
        for (uint c = 0; c < min(4, N - n); c++) d1[to + c * column] = x[c];
    }
}
