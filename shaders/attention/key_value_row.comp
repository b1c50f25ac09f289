#version 450
#extension GL_GOOGLE_include_directive : require
// key_value_tile.comp's results for drivers on the CPU; row.glsl says how the work is shared.
#include "attention/backward.glsl"
#include "attention/row.glsl"

layout(set = 0, binding = 6) buffer KeyResult { HELD_TYPE key_result[]; };
layout(set = 0, binding = 7) buffer ValueResult { HELD_TYPE value_result[]; };

PRODUCT(scores, key, key_lies, query, query_lies)
PRODUCT(slopes, value, value_lies, gradient, GRADIENT_LIES)
GATHER(gather_query, key_result, query, query_lies)
GATHER(gather_gradient, value_result, gradient, GRADIENT_LIES)

void main() {
    uint key_head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z, key_heads = HEADS / GROUP;
    uvec4 rows = ROWS_BELOW(S);
    uint k = first_key + batch * key_lies.batch + key_head * key_lies.head;
    uint v = first_value + batch * value_lies.batch + key_head * value_lies.head;
    uint line = (batch * key_heads + key_head) * S, to_key = first_6 + line * E, to_value = first_7 + line * EV;

    uint part_begin = first_5, part_end = PART_END(part_begin, L);
    for (uint row = FIRST_ROW; part_begin == 0 && row < min(FIRST_ROW + 4, S); row++) {
        for (uint f = 0; f < E; f += FEATURES_AT_ONCE)
            key_result[(to_key + row * E + f) / FEATURES_AT_ONCE] = HELD_TYPE(0);
        for (uint f = 0; f < EV; f += FEATURES_AT_ONCE)
            value_result[(to_value + row * EV + f) / FEATURES_AT_ONCE] = HELD_TYPE(0);
    }

    // the first query that sees one of these keys, in blocks as all parts count them
    uint begin = max(part_begin, CAUSAL ? gl_WorkGroupID.x * LANES * 4 : 0);
    for (uint head = key_head * GROUP; head < key_head * GROUP + GROUP; head++) {
        uint q = first_query + batch * query_lies.batch + head * query_lies.head;
        uint from = first_4 + (batch * HEADS + head) * L * EV;
        for (uint i0 = begin; i0 < part_end; i0 += OTHER) {
            uint columns = min(OTHER, part_end - i0);
            vec4 s[OTHER], g[OTHER];
            scores(s, k, rows, q + i0 * query_lies.row, columns, E);
            slopes(g, v, rows, from + i0 * EV, columns, EV);
            [[unroll]] for (uint n = 0; n < OTHER; n++) {
                [[unroll]] for (uint r = 0; r < 4; r++) {
                    vec2 pair = pair_of(s[n][r], g[n][r], batch, head, i0 + n, rows[r]);
                    pair = mix(vec2(0), pair, bvec2(n < columns));
                    g[n][r] = pair.x;
                    s[n][r] = scale * pair.y;
                }
            }
            gather_query(to_key, S, vec4(1), false, s, q + i0 * query_lies.row, columns, E);
            gather_gradient(to_value, S, vec4(1), false, g, from + i0 * EV, columns, EV);
        }
    }
}
