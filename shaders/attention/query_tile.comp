#version 450
#extension GL_GOOGLE_include_directive : require
// dq = scale dS k, for GPUs: a workgroup owns 64 queries and walks over the keys. backward.glsl says what dS is.
#include "attention/backward.glsl"
#include "attention/tile.glsl"

layout(set = 0, binding = 6) writeonly buffer Result { float result[]; };

PRODUCT(scores, query, query_lies, key, key_lies)
PRODUCT(slopes, gradient, GRADIENT_LIES, value, value_lies)
GATHER(gather, key, key_lies)

void main() {
    uint head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z;
    uint row0 = gl_WorkGroupID.x * OWN, rows = min(OWN, L - row0), line = (batch * HEADS + head) * L + row0;
    uint q = first_query + batch * query_lies.batch + head * query_lies.head + row0 * query_lies.row;
    uint k = first_key + batch * key_lies.batch + head / GROUP * key_lies.head;
    uint v = first_value + batch * value_lies.batch + head / GROUP * value_lies.head;

    vec4 sums[CHUNKS * 4];
    [[unroll]] for (uint n = 0; n < CHUNKS * 4; n++) sums[n] = vec4(0);

    uint end = CAUSAL ? min(S, row0 + OWN) : S;
    for (uint j0 = 0; j0 < end; j0 += OTHER) {
        uint columns = min(OTHER, end - j0);
        vec4 s[2], g[2];
        scores(s, q, rows, k + j0 * key_lies.row, columns, E);
        slopes(g, first_4 + line * EV, rows, v + j0 * value_lies.row, columns, EV);
        for (uint n = 0; n < 8; n++)
            weights[ROW_OF(n) * WEIGHTS_ROW + COLUMN_OF(n)] =
                pair_of(NUMBER(s, n), NUMBER(g, n), batch, head, row0 + ROW_OF(n), j0 + COLUMN_OF(n)).y;
        gather(sums, k + j0 * key_lies.row, columns, E);
    }
#define WRITE(row, feature, x) result[first_6 + (line + row) * E + feature] = (x) * scale
    EACH_SUM(sums, rows, E, WRITE)
}
