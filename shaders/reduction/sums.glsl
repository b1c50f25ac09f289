// Sums of a row's terms, of which LANES lanes of a workgroup have a share each. The includer defines VALUE, WIDTH and the
// specialization constant LANES.

// Sums in two numbers, the second what rounding took from the first (Knuth's two-sum, then Dekker's, which leaves less
// than half a unit of the first in it: else it would grow, and be rounded, with the number of terms).
struct Sums {
    VALUE sum, lost;
};

void add(inout Sums s, VALUE term) {
    precise VALUE sum = s.sum + term;
    precise VALUE part = sum - s.sum;
    precise VALUE lost = s.lost + ((s.sum - (sum - part)) + (term - part));
    precise VALUE both = sum + lost;
    precise VALUE rest = lost - (both - sum);
    s.lost = rest;
#if WIDTH == 4
    s.sum = mix(sum, both, lessThanEqual(abs(sum), VALUE(3.4028235e38))); // what an infinite sum lost is a NaN
#else
    s.sum = mix(sum, both, abs(sum) <= 3.4028235e38);
#endif
}

vec2 both(vec2 s, vec2 t) {
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
float whole(Sums s) {
#if WIDTH == 4
    vec2 mine = both(both(vec2(s.sum.x, s.lost.x), vec2(s.sum.y, s.lost.y)),
                     both(vec2(s.sum.z, s.lost.z), vec2(s.sum.w, s.lost.w)));
#else
    vec2 mine = vec2(s.sum, s.lost);
#endif
    for (uint distance = 1u; distance < LANES; distance *= 2u) {
        shares[gl_LocalInvocationID.x] = mine;
        barrier();
        mine = both(mine, shares[gl_LocalInvocationID.x ^ distance]);
        barrier();
    }
    return value_of(mine);
}
