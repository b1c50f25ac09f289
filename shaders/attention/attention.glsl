// What the kernels of attention share: where query, key, value and mask lie, and which keys a query sees.
//
//   score(i, j) = scale * sum over e of q[i, e] k[j, e] + mask[i, j]
//   P(i, j) = exp(score(i, j) - max) / sum, over the keys j that query i sees
//   O[i] = sum over j of keep(i, j) P(i, j) v[j],  keep is dropout's: 0 or 1 / (1 - p)
//
// A score at or below UNSEEN counts as minus infinity: that key has no weight, and a row without keys gives 0.
// z of the workgroup is the batch, y the head (of the queries, or of the keys where a kernel owns keys).
#ifndef TUFF_ATTENTION_GLSL
#define TUFF_ATTENTION_GLSL

#include "common/math.glsl"
#include "common/philox.glsl"

layout(constant_id = 0) const bool MASKED = false;  // there is a mask, added to the scores
layout(constant_id = 1) const bool CAUSAL = false;  // query i sees keys j <= past + i
layout(constant_id = 2) const bool DROPOUT = false;
// By rows, keys (or queries) come in parts of so many, a call each, where a driver ends long loops; 0: all at once.
layout(constant_id = 5) const uint PART = 0;

layout(set = 0, binding = 0) readonly buffer Query { float query[]; };
layout(set = 0, binding = 1) readonly buffer Key { float key[]; };
layout(set = 0, binding = 2) readonly buffer Value { float value[]; };
layout(set = 0, binding = 3) readonly buffer Mask { float mask[]; };

struct Lies { uint row, column, head, batch; }; // strides in elements

// layers/attention_call.c fills these
layout(push_constant) uniform Params {
    uint L, S;     // queries, keys
    uint sizes;    // of a query and a key | of a value << 16
    uint heads;    // of the queries | of them for each head of the keys << 16
    float scale;
    float p;       // dropout's
    uint stream;
    uint batch_begin; // of the bound slice
    uint first_query, first_key, first_value, first_mask;
    uint first_4, first_5, first_6, first_7; // of the bindings that each kernel has beside
    Lies query_lies, key_lies, value_lies, mask_lies;
};

#define E     (sizes & 0xffffu)
#define EV    (sizes >> 16)
#define HEADS (heads & 0xffffu)
#define GROUP (heads >> 16)

#define UNSEEN -3.0e38

#define PART_END(begin, end) (PART == 0 ? (end) : min(end, (begin) + PART))

uint past = 0; // keys that a cache has before the first query's own

// Without branches, as row kernels repeat it: a driver may take minutes over the blocks that it would fall into.
float score_of(float dot_product, uint batch, uint head, uint i, uint j) {
    precise float s = dot_product * scale;
    if (MASKED)
        s += mask[first_mask + batch * mask_lies.batch + head * mask_lies.head + min(i, L - 1) * mask_lies.row
                  + min(j, S - 1) * mask_lies.column];
    bool far = any(bvec2(i >= L, j >= S)), later = j > past + i, little = s <= UNSEEN;
    s = mix(s, UNSEEN, any(bvec2(far, little))); // a NaN stays one
    if (CAUSAL) s = mix(s, UNSEEN, later);
    return s;
}

// Written so that a NaN counts as seen: it comes out at the other end.
bool is_seen(float score) {
    return !(score <= UNSEEN);
}

// exp(score - shift), 0 of what is not seen.
float weight_of(float score, float shift) {
    return mix(0.0, tuff_exp(score - shift), is_seen(score));
}

// Elements are counted as in (..., L, S), modulo 2^32.
float keep_of(uint batch, uint head, uint i, uint j, uvec2 step, uvec2 seed) {
    uint element = (((batch_begin + batch) * HEADS + head) * L + i) * S + j;
    float u = philox_uniform(philox_word(element, stream, step, seed));
    precise float kept = 1.0 / (1.0 - p);
    return mix(kept, 0.0, u < p);
}

#endif
