#version 450
// y[outer, j, inner] = sum of x[outer, i, inner] over i <= j (REVERSED: i >= j), in blocks of each row.
//
// A workgroup has a block of `across` neighbouring rows: lane (c, a) of 64 / across times `across` takes `chunk`
// elements of row a. With more than one block to a row a first call (SUMS) leaves each block's sum, and the second adds
// up those before its own. Lanes add their chunk, scan these sums through shared memory, and walk over the chunk again.
//
// Every sum is kept as two numbers, the second what rounding took from the first (Knuth's two-sum), so that each result
// is off by little more than half a unit in the last place of itself and 2^-45 of the sum of the absolute terms.
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 64) in;

layout(constant_id = 0) const bool SUMS = false;
layout(constant_id = 1) const bool REVERSED = false;

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) buffer Sums { vec2 sums[]; }; // [row][block]
layout(set = 0, binding = 2) writeonly buffer Y { float y[]; };

layout(push_constant) uniform Params {
    uint outers, n, inner;
    uint across, tiles; // tiles of `across` rows cover inner
    uint blocks, chunk;
    uint first_x, first_sums, first_y; // the second in vec2s
};

shared vec2 shares[64];

vec2 add(vec2 s, vec2 t) {
    precise float sum = s.x + t.x;
    precise float part = sum - s.x;
    precise float lost = (s.x - (sum - part)) + (t.x - part);
    precise float all = s.y + t.y + lost;
    return vec2(sum, all);
}

// An infinite sum leaves a NaN in what was lost.
float value_of(vec2 s) {
    precise float sum = s.x + s.y;
    bool finite = (floatBitsToUint(s.x) & 0x7f800000u) != 0x7f800000u;
    bool lost = (floatBitsToUint(s.y) & 0x7f800000u) != 0x7f800000u;
    return finite && lost ? sum : s.x;
}

void main() {
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint block = group % blocks, tile = group / blocks % tiles, outer = group / blocks / tiles;
    if (outer >= outers) return; // the whole workgroup
    uint lane = gl_LocalInvocationID.x, a = lane % across, c = lane / across, lanes = 64u / across;
    uint column = tile * across + a, row = outer * inner + column;
    bool real = column < inner;
    uint begin = min(n, (block * lanes + c) * chunk), end = real ? min(n, begin + chunk) : begin;
    uint base = first_x + outer * n * inner + column;

    vec2 mine = vec2(0.0);
    if (SUMS || lanes > 1u)
        for (uint i = begin; i < end; i++) mine = add(mine, vec2(x[base + (REVERSED ? n - 1u - i : i) * inner], 0.0));
    vec2 before = vec2(0.0); // the blocks before this one
    if (!SUMS)
        for (uint b = c; real && b < block; b += lanes) before = add(before, sums[first_sums + row * blocks + b]);

    // inclusive scan over c of the chunks' sums, and the whole of `before`
    for (uint distance = 1u; distance < lanes; distance *= 2u) {
        shares[lane] = mine;
        barrier();
        if (c >= distance) mine = add(shares[lane - distance * across], mine);
        barrier();
    }
    if (SUMS) {
        if (real && c + 1u == lanes) sums[first_sums + row * blocks + block] = mine;
        return;
    }
    if (blocks > 1u)
        for (uint distance = 1u; distance < lanes; distance *= 2u) {
            shares[lane] = before;
            barrier();
            before = add(before, shares[(c ^ distance) * across + a]);
            barrier();
        }
    shares[lane] = mine;
    barrier();
    vec2 total = c > 0u ? add(before, shares[lane - across]) : before;
    base = outer * n * inner + column;
    for (uint i = begin; i < end; i++) {
        uint at = base + (REVERSED ? n - 1u - i : i) * inner;
        total = add(total, vec2(x[first_x + at], 0.0));
        y[first_y + at] = value_of(total);
    }
}
