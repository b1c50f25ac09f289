// The tiles of attention's kernels: 256 invocations own OWN rows (queries, or keys) and walk over the others (keys, or
// queries) in blocks of OTHER. Two kinds of product:
//
//   PRODUCT   w[own][other] = sum over e of a[own][e] b[other][e]: 16 steps of e of both stand in shared memory, an
//             invocation makes 4 x 2 of the block in registers
//   GATHER    sums[own][f] += sum over other of weights[own][other] x[other][f]: the weights stand in shared memory
//             and 16 rows of 64 features of x with them, an invocation makes 4 x 4 in registers for each 64 features
//
// Sums are made block by block, 16 terms at a time, and the blocks' sums are added. FEATURES (64, 128, 256) is the most
// features that GATHER makes room for.
#ifndef TUFF_ATTENTION_TILE_GLSL
#define TUFF_ATTENTION_TILE_GLSL

#extension GL_EXT_control_flow_attributes : require

layout(local_size_x = 256) in;

#define OWN    64
#define OTHER  32
#define STEP   16
#define CHUNKS (FEATURES / 64)

// one more than a power of two, so that neighbours' rows start in other banks
#define WEIGHTS_ROW (OTHER + 1)
#define STAGE_ROW   (STEP + 1)
#define STAGE_OTHER (OWN * STAGE_ROW)

shared float weights[OWN * WEIGHTS_ROW];
shared float stage[(OWN + OTHER) * STAGE_ROW];

// The rows and columns of this invocation's part of a block.
#define MY_ROW    (gl_LocalInvocationIndex / 16 * 4)
#define MY_COLUMN (gl_LocalInvocationIndex % 16 * 2)
#define MY_LANE   (gl_LocalInvocationIndex % 16)

// result[c][r]: own row MY_ROW + r, other row MY_COLUMN + c. Rows from own_count on and other_count on are zeros.
#define PRODUCT(NAME, A, A_LIES, B, B_LIES)                                                                            \
    void NAME(out vec4 result[2], uint a, uint own_count, uint b, uint other_count, uint size) {                       \
        uint i = gl_LocalInvocationIndex;                                                                              \
        result[0] = result[1] = vec4(0);                                                                               \
        for (uint e0 = 0; e0 < size; e0 += STEP) {                                                                     \
            barrier();                                                                                                 \
            uint e = e0 + i % STEP;                                                                                    \
            for (uint row = i / STEP; row < OWN; row += 256 / STEP)                                                    \
                stage[row * STAGE_ROW + i % STEP] =                                                                    \
                    row < own_count && e < size ? A[a + row * A_LIES.row + e * A_LIES.column] : 0.0;                   \
            for (uint row = i / STEP; row < OTHER; row += 256 / STEP)                                                  \
                stage[STAGE_OTHER + row * STAGE_ROW + i % STEP] =                                                      \
                    row < other_count && e < size ? B[b + row * B_LIES.row + e * B_LIES.column] : 0.0;                 \
            barrier();                                                                                                 \
            vec4 sum[2] = { vec4(0), vec4(0) };                                                                        \
            for (uint k = 0; k < min(STEP, size - e0); k++) {                                                          \
                uint at = MY_ROW * STAGE_ROW + k, other = STAGE_OTHER + MY_COLUMN * STAGE_ROW + k;                     \
                vec4 own = vec4(stage[at], stage[at + STAGE_ROW], stage[at + 2 * STAGE_ROW],                           \
                                stage[at + 3 * STAGE_ROW]);                                                            \
                sum[0] += own * stage[other];                                                                          \
                sum[1] += own * stage[other + STAGE_ROW];                                                              \
            }                                                                                                          \
            result[0] += sum[0];                                                                                       \
            result[1] += sum[1];                                                                                       \
        }                                                                                                              \
    }

// sums[c * 4 + r][n]: own row MY_ROW + r, feature c * 64 + n * 16 + MY_LANE. Starts with a barrier, behind which the
// weights are there.
#define GATHER(NAME, X, X_LIES)                                                                                        \
    void NAME(inout vec4 sums[CHUNKS * 4], uint x, uint other_count, uint size) {                                      \
        uint i = gl_LocalInvocationIndex;                                                                              \
        [[unroll]] for (uint c = 0; c < CHUNKS; c++) {                                                                 \
            for (uint j0 = 0; j0 < other_count && c * 64 < size; j0 += STEP) {                                                                \
                barrier();                                                                                             \
                uint f = c * 64 + i % 64;                                                                              \
                for (uint row = i / 64; row < STEP; row += 4)                                                          \
                    stage[row * 64 + i % 64] =                                                                         \
                        j0 + row < other_count && f < size ? X[x + (j0 + row) * X_LIES.row + f * X_LIES.column] : 0.0; \
                barrier();                                                                                             \
                vec4 sum[4] = { vec4(0), vec4(0), vec4(0), vec4(0) };                                                  \
                for (uint k = 0; k < min(STEP, other_count - j0); k++) {                                               \
                    uint at = k * 64 + MY_LANE, w = MY_ROW * WEIGHTS_ROW + j0 + k;                                     \
                    vec4 four = vec4(stage[at], stage[at + 16], stage[at + 32], stage[at + 48]);                       \
                    sum[0] += weights[w] * four;                                                                       \
                    sum[1] += weights[w + WEIGHTS_ROW] * four;                                                         \
                    sum[2] += weights[w + 2 * WEIGHTS_ROW] * four;                                                     \
                    sum[3] += weights[w + 3 * WEIGHTS_ROW] * four;                                                     \
                }                                                                                                      \
                [[unroll]] for (uint r = 0; r < 4; r++) sums[c * 4 + r] += sum[r];                                     \
            }                                                                                                          \
        }                                                                                                              \
    }

// WRITE(row, feature, number) for all sums of rows below `count` and features below `size`: through shared memory, 32
// features at a time, so that neighbours write neighbours and the code of a store stands there but twice a chunk.
#define EACH_SUM(sums, count, size, WRITE)                                                                             \
    [[unroll]] for (uint part = 0; part < 2 * CHUNKS; part++) {                                                        \
        if (part * 32 >= (size)) break;                                                                                \
        barrier();                                                                                                     \
        [[unroll]] for (uint r = 0; r < 4; r++) {                                                                      \
            uint at = (MY_ROW + r) * WEIGHTS_ROW + MY_LANE;                                                            \
            weights[at] = sums[part / 2 * 4 + r][part % 2 * 2];                                                        \
            weights[at + 16] = sums[part / 2 * 4 + r][part % 2 * 2 + 1];                                               \
        }                                                                                                              \
        barrier();                                                                                                     \
        uint feature = part * 32 + gl_LocalInvocationIndex % 32;                                                       \
        for (uint row = gl_LocalInvocationIndex / 32; row < (count) && feature < (size); row += 8)                     \
            WRITE(row, feature, weights[row * WEIGHTS_ROW + gl_LocalInvocationIndex % 32]);                            \
    }

// The invocation's numbers of a product, one by one: n counts to 8. No loop is unrolled over long formulas.
#define ROW_OF(n)     (MY_ROW + n % 4)
#define COLUMN_OF(n)  (MY_COLUMN + n / 4)
#define NUMBER(x, n)  (n < 4 ? x[0][n % 4] : x[1][n % 4])

#endif
