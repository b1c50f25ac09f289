// What attention's kernels for drivers on the CPU share. A workgroup is one subgroup, each lane owns four rows
// (queries, or keys) and walks over the others (keys, or queries) eight at a time. No shared memory and no barriers:
// lanes cost loads one by one there, so each loads of one of the other rows and hands it round by a shuffle: a
// subgroup has eight lanes at least.
// Sums over the other rows grow in the results themselves, which nobody else touches.
#ifndef TUFF_ATTENTION_ROW_GLSL
#define TUFF_ATTENTION_ROW_GLSL

#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(local_size_x_id = 4) in;
layout(constant_id = 4) const uint LANES = 8; // the subgroup's size

#define OTHER 8

// The number of this lane's first row, and those of all four, kept below `count`.
#define FIRST_ROW     ((gl_WorkGroupID.x * LANES + gl_SubgroupInvocationID) * 4)
#define ROWS_BELOW(count) min(uvec4(FIRST_ROW) + uvec4(0, 1, 2, 3), uvec4((count) - 1))

// The other row that a lane loads.
uint other_row(uint other_count) {
    return min(gl_SubgroupInvocationID % OTHER, other_count - 1);
}

// result[n][r] = sum over e of a[row r][e] b[other row n][e].
#define PRODUCT(NAME, A, A_LIES, B, B_LIES)                                                                            \
    void NAME(out vec4 result[OTHER], uint a, uvec4 rows, uint b, uint other_count, uint size) {                       \
        uvec4 at = a + rows * A_LIES.row;                                                                              \
        [[unroll]] for (uint n = 0; n < OTHER; n++) result[n] = vec4(0);                                               \
        for (uint e0 = 0; e0 < size; e0 += 16) {                                                                       \
            vec4 sum[OTHER];                                                                                           \
            [[unroll]] for (uint n = 0; n < OTHER; n++) sum[n] = vec4(0);                                              \
            for (uint e = e0; e < min(e0 + 16, size); e++) {                                                           \
                uint step = e * A_LIES.column;                                                                         \
                vec4 own = vec4(A[at.x + step], A[at.y + step], A[at.z + step], A[at.w + step]);                       \
                float held = B[b + other_row(other_count) * B_LIES.row + e * B_LIES.column];                           \
                [[unroll]] for (uint n = 0; n < OTHER; n++) sum[n] += own * subgroupShuffle(held, n);                  \
            }                                                                                                          \
            [[unroll]] for (uint n = 0; n < OTHER; n++) result[n] += sum[n];                                           \
        }                                                                                                              \
    }

// RESULT[row r][f] = RESULT[row r][f] * factor[r] + sum over n of w[n][r] x[other row n][f], from 0 if `start`. Rows from
// `count` on are not there.
#define GATHER(NAME, RESULT, X, X_LIES)                                                                                \
    void NAME(uint to, uint count, vec4 factor, bool start, vec4 w[OTHER], uint x, uint other_count, uint size) {      \
        uvec4 at = to + (uvec4(FIRST_ROW) + uvec4(0, 1, 2, 3)) * size;                                                 \
        for (uint f = 0; f < size; f++) {                                                                              \
            float held = X[x + other_row(other_count) * X_LIES.row + f * X_LIES.column];                               \
            vec4 sum = vec4(0);                                                                                        \
            [[unroll]] for (uint n = 0; n < OTHER; n++) sum += w[n] * subgroupShuffle(held, n);                        \
            [[unroll]] for (uint r = 0; r < 4; r++)                                                                    \
                if (FIRST_ROW + r < count)                                                                             \
                    RESULT[at[r] + f] = start ? sum[r] : RESULT[at[r] + f] * factor[r] + sum[r];                       \
        }                                                                                                              \
    }

#endif
