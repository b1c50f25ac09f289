#version 450
#extension GL_GOOGLE_include_directive : require
// O and the logarithm of each row's sum of exponentials, with an online softmax (Dao 2023, FlashAttention-2), for GPUs.
//
// A workgroup owns 64 queries of one head and walks over the keys in blocks of 32. Of each row it keeps the largest
// score so far, the sum of the exponentials below it and the weighted sum of the values; a larger score rescales both.
// While weights are made, four invocations share a row, eight keys each.
#define STEP_RECORD_BINDING 6
#include "attention/attention.glsl"
#include "attention/tile.glsl"
#include "common/step_record.glsl"

layout(set = 0, binding = 4) writeonly buffer Output { float result[]; };
layout(set = 0, binding = 5) writeonly buffer LogSum { float log_sum[]; };

layout(constant_id = 3) const bool CACHED = false; // keys and values are a cache's, of which past + L are there

shared float part[256];
shared float factor[OWN];

PRODUCT(scores, query, query_lies, key, key_lies)
GATHER(gather, value, value_lies)

void main() {
    uint i = gl_LocalInvocationIndex, head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z;
    uint row0 = gl_WorkGroupID.x * OWN, rows = min(OWN, L - row0);
    uint q = first_query + batch * query_lies.batch + head * query_lies.head + row0 * query_lies.row;
    uint k = first_key + batch * key_lies.batch + head / GROUP * key_lies.head;
    uint v = first_value + batch * value_lies.batch + head / GROUP * value_lies.head;

    uint soft_row = i / 4, soft_column = i % 4 * 8; // what this invocation does of the softmax
    float largest = UNSEEN, sum = 0;                // sum: of its columns alone
    vec4 sums[CHUNKS * 4];
    [[unroll]] for (uint n = 0; n < CHUNKS * 4; n++) sums[n] = vec4(0);

    if (CACHED) past = min(step_record.cache_length, S);
    uint end = CAUSAL ? min(S, past + min(row0 + OWN, L)) : S;
    for (uint j0 = 0; j0 < end; j0 += OTHER) {
        uint columns = min(OTHER, end - j0);
        vec4 s[2];
        scores(s, q, rows, k + j0 * key_lies.row, columns, E);
        for (uint n = 0; n < 8; n++)
            weights[ROW_OF(n) * WEIGHTS_ROW + COLUMN_OF(n)] =
                score_of(NUMBER(s, n), batch, head, row0 + ROW_OF(n), j0 + COLUMN_OF(n));
        barrier();

        uint at = soft_row * WEIGHTS_ROW + soft_column;
        float most = UNSEEN;
        for (uint t = 0; t < 8; t++) most = weights[at + t] > most ? weights[at + t] : most;
        part[i] = most;
        barrier();
        float larger = largest;
        for (uint t = 0; t < 4; t++) {
            float other = part[soft_row * 4 + t];
            larger = other > larger ? other : larger;
        }
        precise float shrink = tuff_exp(largest - larger);
        float some = 0;
        for (uint t = 0; t < 8; t++) {
            float w = weights[at + t];
            w = is_seen(w) ? tuff_exp(w - larger) : 0.0;
            some += w;
            if (DROPOUT)
                w *= keep_of(batch, head, row0 + soft_row, j0 + soft_column + t, step_record.step, step_record.seed);
            weights[at + t] = w;
        }
        sum = sum * shrink + some;
        largest = larger;
        if (i % 4 == 0) factor[soft_row] = shrink;
        barrier();

        [[unroll]] for (uint r = 0; r < 4; r++) {
            float by = factor[MY_ROW + r];
            [[unroll]] for (uint c = 0; c < CHUNKS; c++) sums[c * 4 + r] *= by;
        }
        gather(sums, v + j0 * value_lies.row, columns, EV);
    }

    part[i] = sum; // the last to read it came past a barrier since
    barrier();
    uint line = (batch * HEADS + head) * L + row0;
    if (i % 4 == 0) {
        precise float whole = (part[i] + part[i + 1]) + (part[i + 2] + part[i + 3]);
        bool none = whole == 0.0; // of the keys: this row is 0
        factor[soft_row] = none ? 0.0 : 1.0 / whole;
        if (soft_row < rows) log_sum[first_5 + line + soft_row] = none ? 0.0 : largest + tuff_log(whole);
    }
    barrier();
#define WRITE(row, feature, x) result[first_4 + (line + row) * EV + feature] = (x) * factor[row]
    EACH_SUM(sums, rows, EV, WRITE)
}
