#version 450
#extension GL_GOOGLE_include_directive : require
// forward_tile.comp's results for drivers on the CPU; row.glsl says how the work is shared.
#define STEP_RECORD_BINDING 6
#include "attention/attention.glsl"
#include "attention/row.glsl"
#include "common/step_record.glsl"

layout(set = 0, binding = 4) buffer Output { HELD_TYPE result[]; };
layout(set = 0, binding = 5) buffer LogSum { float log_sum[]; };

layout(constant_id = 3) const bool CACHED = false; // keys and values are a cache's, of which past + L are there

PRODUCT(scores, query, query_lies, key, key_lies)
GATHER(gather, result, value, value_lies)

void main() {
    uint head = gl_WorkGroupID.y, batch = gl_WorkGroupID.z, line = (batch * HEADS + head) * L;
    uvec4 rows = ROWS_BELOW(L);
    uint q = first_query + batch * query_lies.batch + head * query_lies.head;
    uint k = first_key + batch * key_lies.batch + head / GROUP * key_lies.head;
    uint v = first_value + batch * value_lies.batch + head / GROUP * value_lies.head;
    uint to = first_4 + line * EV;

    if (CACHED) past = min(step_record.cache_length, S);
    uint end = CAUSAL ? min(S, past + min((gl_WorkGroupID.x + 1) * LANES * 4, L)) : S;
    vec4 largest = vec4(UNSEEN), sum = vec4(0);
    // an earlier part left what its keys alone would give: as if they were one key of that weight
    uint begin = first_6, part_end = PART_END(begin, end);
    if (begin > 0) {
        [[unroll]] for (uint r = 0; r < 4; r++) {
            largest[r] = log_sum[first_5 + line + rows[r]];
            sum[r] = is_seen(largest[r]) ? 1.0 : 0.0;
        }
    }
    for (uint j0 = begin; j0 < part_end; j0 += OTHER) {
        uint columns = min(OTHER, part_end - j0);
        vec4 w[OTHER], larger = largest, some = vec4(0), shrink;
        scores(w, q, rows, k + j0 * key_lies.row, columns, E);
        [[unroll]] for (uint n = 0; n < OTHER; n++) {
            [[unroll]] for (uint r = 0; r < 4; r++) {
                w[n][r] = mix(UNSEEN, score_of(w[n][r], batch, head, rows[r], j0 + n), n < columns);
                larger[r] = w[n][r] > larger[r] ? w[n][r] : larger[r];
            }
        }
        [[unroll]] for (uint n = 0; n < OTHER; n++) {
            [[unroll]] for (uint r = 0; r < 4; r++) {
                float p = weight_of(w[n][r], larger[r]);
                some[r] += p;
                if (DROPOUT)
                    p *= keep_of(batch, head, rows[r], j0 + n, step_record.step, step_record.seed);
                w[n][r] = p;
            }
        }
        [[unroll]] for (uint r = 0; r < 4; r++) shrink[r] = tuff_exp(largest[r] - larger[r]);
        sum = sum * shrink + some;
        largest = larger;
        gather(to, L, shrink, j0 == 0, w, v + j0 * value_lies.row, columns, EV);
    }

    [[unroll]] for (uint r = 0; r < 4; r++) {
        if (FIRST_ROW + r < L) {
            bool none = sum[r] == 0.0; // no key: this row is 0
            float factor = none ? 0.0 : 1.0 / sum[r];
            bool last = PART == 0 || begin + PART >= S;
            log_sum[first_5 + line + rows[r]] = none ? (last ? 0.0 : UNSEEN) : largest[r] + tuff_log(sum[r]);
            for (uint f = 0; f < EV; f += FEATURES_AT_ONCE) result[(to + rows[r] * EV + f) / FEATURES_AT_ONCE] *= factor;
        }
    }
}
