#version 450
#extension GL_GOOGLE_include_directive : require
// dk = scale dS^T q and dv = (keep P)^T dO, for GPUs: a workgroup owns 64 keys of a head and walks over the queries of
// all heads that share it. backward.glsl says what dS and P are.
#include "attention/backward.glsl"
#include "attention/tile.glsl"

layout(set = 0, binding = 6) writeonly buffer KeyResult { float key_result[]; };
layout(set = 0, binding = 7) writeonly buffer ValueResult { float value_result[]; };

PRODUCT(scores, key, key_lies, query, query_lies)
PRODUCT(slopes, value, value_lies, gradient, GRADIENT_LIES)
GATHER(gather_query, query, query_lies)
GATHER(gather_gradient, gradient, GRADIENT_LIES)

void main() {
    uint key_head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z, key_heads = HEADS / GROUP;
    uint row0 = gl_WorkGroupID.x * OWN, rows = min(OWN, S - row0);
    uint k = first_key + batch * key_lies.batch + key_head * key_lies.head + row0 * key_lies.row;
    uint v = first_value + batch * value_lies.batch + key_head * value_lies.head + row0 * value_lies.row;

    vec4 key_sums[CHUNKS * 4], value_sums[CHUNKS * 4];
    [[unroll]] for (uint n = 0; n < CHUNKS * 4; n++) key_sums[n] = value_sums[n] = vec4(0);

    uint begin = CAUSAL ? row0 / OTHER * OTHER : 0; // the first block with a query that sees one of these keys
    for (uint head = key_head * GROUP; head < key_head * GROUP + GROUP; head++) {
        uint q = first_query + batch * query_lies.batch + head * query_lies.head;
        uint g = first_4 + (batch * HEADS + head) * L * EV;
        for (uint i0 = begin; i0 < L; i0 += OTHER) {
            uint columns = min(OTHER, L - i0);
            vec4 s[2], slope[2], ds[2];
            scores(s, k, rows, q + i0 * query_lies.row, columns, E);
            slopes(slope, v, rows, g + i0 * EV, columns, EV);
            for (uint n = 0; n < 8; n++) {
                vec2 pair =
                    pair_of(NUMBER(s, n), NUMBER(slope, n), batch, head, i0 + COLUMN_OF(n), row0 + ROW_OF(n));
                weights[ROW_OF(n) * WEIGHTS_ROW + COLUMN_OF(n)] = pair.x;
                ds[0] = mix(ds[0], vec4(pair.y), equal(uvec4(0, 1, 2, 3), uvec4(n)));
                ds[1] = mix(ds[1], vec4(pair.y), equal(uvec4(4, 5, 6, 7), uvec4(n)));
            }
            gather_gradient(value_sums, g + i0 * EV, columns, EV);
            barrier(); // all have read the weights
            [[unroll]] for (uint c = 0; c < 2; c++) {
                [[unroll]] for (uint r = 0; r < 4; r++)
                    weights[(MY_ROW + r) * WEIGHTS_ROW + MY_COLUMN + c] = ds[c][r];
            }
            gather_query(key_sums, q + i0 * query_lies.row, columns, E);
        }
    }
    uint line = (batch * key_heads + key_head) * S + row0;
#define WRITE_KEY(row, feature, x) key_result[first_6 + (line + row) * E + feature] = (x) * scale
#define WRITE_VALUE(row, feature, x) value_result[first_7 + (line + row) * EV + feature] = (x)
    EACH_SUM(key_sums, rows, E, WRITE_KEY)
    EACH_SUM(value_sums, rows, EV, WRITE_VALUE)
}
