#version 450
#extension GL_GOOGLE_include_directive : require
// query_tile.comp's results for drivers on the CPU; row.glsl says how the work is shared.
#include "attention/backward.glsl"
#include "attention/row.glsl"

layout(set = 0, binding = 6) buffer Result { HELD_TYPE result[]; };

PRODUCT(scores, query, query_lies, key, key_lies)
PRODUCT(slopes, gradient, GRADIENT_LIES, value, value_lies)
GATHER(gather, result, key, key_lies)

void main() {
    uint head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z, line = (batch * HEADS + head) * L;
    uvec4 rows = ROWS_BELOW(L);
    uint q = first_query + batch * query_lies.batch + head * query_lies.head;
    uint k = first_key + batch * key_lies.batch + head / GROUP * key_lies.head;
    uint v = first_value + batch * value_lies.batch + head / GROUP * value_lies.head;

    uint end = CAUSAL ? min(S, (gl_WorkGroupID.x + 1) * LANES * 4) : S;
    uint begin = first_7, part_end = PART_END(begin, end);
    for (uint j0 = begin; j0 < part_end; j0 += OTHER) {
        uint columns = min(OTHER, part_end - j0);
        vec4 s[OTHER], g[OTHER];
        scores(s, q, rows, k + j0 * key_lies.row, columns, E);
        slopes(g, first_4 + line * EV, rows, v + j0 * value_lies.row, columns, EV);
        [[unroll]] for (uint n = 0; n < OTHER; n++) {
            [[unroll]] for (uint r = 0; r < 4; r++)
                s[n][r] = mix(0.0, scale * pair_of(s[n][r], g[n][r], batch, head, rows[r], j0 + n).y, n < columns);
        }
        gather(first_6 + line * E, L, vec4(1), j0 == 0, s, k + j0 * key_lies.row, columns, E);
    }
}
