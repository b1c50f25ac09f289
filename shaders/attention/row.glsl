// What attention's kernels for drivers on the CPU share. A workgroup is one subgroup, each lane owns four rows
// (queries, or keys) and walks over the others (keys, or queries) in blocks. No shared memory and no barriers: lanes
// cost loads one by one there, so each loads four features of one of eight other rows and hands them round by shuffles:
// a subgroup has eight lanes at least. Sums over the other rows grow in the results themselves, which nobody else
// touches: once a block, since stores cost the most.
#ifndef TUFF_ATTENTION_ROW_GLSL
#define TUFF_ATTENTION_ROW_GLSL

#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(local_size_x_id = 4) in;
layout(constant_id = 4) const uint LANES = 8; // the subgroup's size

#ifdef TEXELS
#extension GL_EXT_samplerless_texture_functions : require
// Rows of features lie in whole fours, the results' as well; features are fetched as texels.
layout(set = 0, binding = 8) uniform textureBuffer query_texels;
layout(set = 0, binding = 9) uniform textureBuffer key_texels;
layout(set = 0, binding = 10) uniform textureBuffer value_texels;
layout(set = 0, binding = 12) uniform textureBuffer gradient_texels; // of the backward pass
#endif
#define OTHER 8 // rows of a block: the lanes hold their values. With 16 Mesa 22.3 compiles for half a minute

// The number of this lane's first row, and those of all four, kept below `count`.
#define FIRST_ROW     ((gl_WorkGroupID.x * LANES + gl_SubgroupInvocationID) * 4)
#define ROWS_BELOW(count) min(uvec4(FIRST_ROW) + uvec4(0, 1, 2, 3), uvec4((count) - 1))

// The other row that a lane loads.
uint other_row(uint other_count) {
    return min(gl_SubgroupInvocationID % OTHER, other_count - 1);
}

// PRODUCT(NAME, A, A_LIES, B, B_LIES) makes
//   NAME(w, a, rows, b, other_count, size): w[n][r] = sum over e of a[row r][e] b[other row n][e]
// and GATHER(NAME, RESULT, X, X_LIES) makes
//   NAME(to, count, factor, start, w, x, other_count, size):
//     RESULT[row r][f] = RESULT[row r][f] * factor[r] + sum over n of w[n][r] x[other row n][f], from 0 if `start`.
// Rows from `count` on are not there. RESULT holds HELD_TYPE.
#ifdef TEXELS
#define FOUR(X, at) texelFetch(X##_texels, int((at) >> 2))
#define FEATURES_AT_ONCE 4
#define OF_FEATURES(own, held, sum)                                                                                    \
    [[unroll]] for (uint n = 0; n < OTHER; n++) {                                                                      \
        vec4 x = subgroupShuffle(held, n);                                                                             \
        sum[n] += own[0] * x.x + own[1] * x.y + own[2] * x.z + own[3] * x.w;                                           \
    }
#define OWN(A, at, e, lies)  transpose(mat4(FOUR(A, at.x + e), FOUR(A, at.y + e), FOUR(A, at.z + e), FOUR(A, at.w + e)))
#define HELD(X, at, e, lies) FOUR(X, (at) + e)
#define OWN_TYPE  mat4
#define HELD_TYPE vec4
#define OF_ROWS(w, held, sum)                                                                                          \
    [[unroll]] for (uint n = 0; n < OTHER; n++) {                                                                      \
        vec4 y = subgroupShuffle(held, n);                                                                             \
        [[unroll]] for (uint c = 0; c < 4; c++) sum[c] += w[n] * y[c];                                                 \
    }
#define ROW_SUM(sum, r) vec4(sum[0][r], sum[1][r], sum[2][r], sum[3][r])
#else
#define FEATURES_AT_ONCE 1
#define OF_FEATURES(own, held, sum)                                                                                    \
    [[unroll]] for (uint n = 0; n < OTHER; n++) sum[n] += own * subgroupShuffle(held, n);
#define OWN(A, at, e, lies)                                                                                            \
    vec4(A[at.x + e * lies.column], A[at.y + e * lies.column], A[at.z + e * lies.column], A[at.w + e * lies.column])
#define HELD(X, at, e, lies) X[(at) + e * lies.column]
#define OWN_TYPE  vec4
#define HELD_TYPE float
#define OF_ROWS(w, held, sum)                                                                                          \
    [[unroll]] for (uint n = 0; n < OTHER; n++) sum += w[n] * subgroupShuffle(held, n);
#define ROW_SUM(sum, r) sum[r]
#endif

#define PRODUCT(NAME, A, A_LIES, B, B_LIES)                                                                            \
    void NAME(out vec4 w[OTHER], uint a, uvec4 rows, uint b, uint other_count, uint size) {                            \
        uvec4 at = a + rows * A_LIES.row;                                                                              \
        uint other = b + other_row(other_count) * B_LIES.row;                                                          \
        [[unroll]] for (uint n = 0; n < OTHER; n++) w[n] = vec4(0);                                                    \
        for (uint e0 = 0; e0 < size; e0 += 16) {                                                                       \
            vec4 sum[OTHER];                                                                                           \
            [[unroll]] for (uint n = 0; n < OTHER; n++) sum[n] = vec4(0);                                              \
            for (uint e = e0; e < min(e0 + 16, size); e += FEATURES_AT_ONCE) {                                         \
                OWN_TYPE own = OWN(A, at, e, A_LIES);                                                                  \
                HELD_TYPE held = HELD(B, other, e, B_LIES);                                                            \
                OF_FEATURES(own, held, sum)                                                                            \
            }                                                                                                          \
            [[unroll]] for (uint n = 0; n < OTHER; n++) w[n] += sum[n];                                                \
        }                                                                                                              \
    }

#define GATHER(NAME, RESULT, X, X_LIES)                                                                                \
    void NAME(uint to, uint count, vec4 factor, bool start, vec4 w[OTHER], uint x, uint other_count, uint size) {      \
        uvec4 at = to + (uvec4(FIRST_ROW) + uvec4(0, 1, 2, 3)) * size;                                                 \
        for (uint f = 0; f < size; f += FEATURES_AT_ONCE) {                                                            \
            OWN_TYPE sum = OWN_TYPE(0); /* of each feature the four rows */                                            \
            HELD_TYPE held = HELD(X, x + other_row(other_count) * X_LIES.row, f, X_LIES);                              \
            OF_ROWS(w, held, sum)                                                                                      \
            [[unroll]] for (uint r = 0; r < 4; r++) {                                                                  \
                HELD_TYPE row_sum = ROW_SUM(sum, r);                                                                   \
                uint place = (at[r] + f) / FEATURES_AT_ONCE;                                                           \
                if (FIRST_ROW + r < count) RESULT[place] = start ? row_sum : RESULT[place] * factor[r] + row_sum;      \
            }                                                                                                          \
        }                                                                                                              \
    }

#endif
