// What the kernels that normalise rows share: x as rows of n elements, one of `across` rows to each LANES lanes of a
// workgroup. LANES is the workgroup's size, and lanes add up through shared memory; or 1, a row to each invocation, which
// is what drivers for the CPU are fast with.
//
// Deviations are taken as (x - x0) - c, x0 the row's first element and c the mean of x - x0: these differences are exact
// or nearly so where the mean is large against the deviation. CENTRED false: from 0.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 1;
layout(constant_id = 2) const bool CENTRED = true;
layout(constant_id = 3) const bool WEIGHT = true;

// A sum in two numbers, the second what rounding took from the first (Knuth's two-sum).
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

shared vec2 shares[256];

// The sum over a row's lanes, for all of them.
float whole(vec2 mine) {
    for (uint distance = 1u; distance < LANES; distance *= 2u) {
        shares[gl_LocalInvocationID.x] = mine;
        barrier();
        mine = add(mine, shares[gl_LocalInvocationID.x ^ distance]);
        barrier();
    }
    return value_of(mine);
}
