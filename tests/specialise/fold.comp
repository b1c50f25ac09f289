// result[invocation * 64 + case] = what that case makes of the constants and of x[invocation].
//
// Only for tests of runtime/device/specialise.c: each case has constants decide something, in the shapes that GLSL has
// for it. One workgroup of WIDTH invocations; each writes its own results.
#version 450
layout(constant_id = 0) const uint A = 3;
layout(constant_id = 1) const int B = -5;
layout(constant_id = 2) const int C = 2; // never 0
layout(constant_id = 3) const bool FLAG = true;
layout(constant_id = 4) const float F = 0.5;
layout(constant_id = 5) const uint N = 4; // small: bounds of loops
layout(local_size_x_id = 6) in;
layout(constant_id = 7) const bool OTHER = false;
const uint WIDTH = gl_WorkGroupSize.x;
layout(set = 0, binding = 0, std430) writeonly buffer Result {
    uint data[];
} result;
layout(set = 0, binding = 1, std430) readonly buffer X {
    uint data[];
} xs;

shared uint parts[(WIDTH & 15u) + 1u];

uint place;
void put(uint value) {
    result.data[place++] = value;
}
void put(int value) {
    put(uint(value));
}
void put(bool value) {
    put(value ? 1u : 0u);
}

// ---- constant expressions
const bool BOTH = FLAG && OTHER;
const bool EITHER = FLAG || !OTHER;
const bool ONE = FLAG != OTHER;
const uvec2 PAIR = uvec2(A, N + 1u);
const uvec3 TABLE = uvec3(A, 7u, N);
struct Inner {
    uint a;
    bool flag;
};
struct Outer {
    Inner first, second;
    int b;
};

void arithmetic(uint x) {
    const uint sum = A * 3u + 1u, difference = A - 7u, quotient = A / 5u, rest = A % 5u;
    const int signed_quotient = B / C, shifted = B >> 1, up = B << 3, negated = -B, unsigned_shift = int(uint(B) >> 28);
    const bool less = B < C, below = uint(B) < uint(C), same = B == C;
    put(sum ^ x);
    put(difference);
    put(quotient + rest * 16u);
    put(signed_quotient);
    put(shifted);
    put(up);
    put(negated);
    put(unsigned_shift);
    put((A ^ 6u) | (N & 5u));
    put(~A);
    if (less) put(x); else put(1);
    if (below) put(x); else put(2);
    if (same) put(x); else put(3);
    if (B >= C) put(x); else put(4);
    if (B >> 1 == -3) put(x); else put(5);
    if (signed_quotient < 0) put(x); else put(6);
    put(FLAG ? A : N);
    put(BOTH ? x : EITHER ? 7u : 8u);
    put(ONE);
    put(uint(FLAG) + 2u * uint(bool(A)));
    put(FLAG ^^ (x > 100u));
}

void composites(uint x) {
    const Outer nested = Outer(Inner(A, FLAG), Inner(N, OTHER), B);
    put(PAIR.x * x + PAIR.y);
    uvec2 more = PAIR + uvec2(x, 2u); // of constants alone it would be folded wrongly by the validation layer
    put(more[x & 1u]);
    put(TABLE[x % 3u]);
    if (nested.first.flag) put(nested.second.a); else put(nested.b);
    if (PAIR.y > 2u) put(x); else put(9);
    put(gl_WorkGroupSize.x + gl_WorkGroupSize.y);
}

void floats(uint x) {
    put(floatBitsToUint(F * 2.0 + float(x)));
    if (F > 0.25) put(x); else put(10);
    put(floatBitsToUint(F) == 0x3f000000u);
}

// ---- branches
uint early(uint x) {
    if (FLAG) return x + 1u;
    if (x > 50u) return 3u;
    return OTHER ? 4u : x;
}

uint both_ways_return(uint x) {
    if (A > 2u) {
        return x * 2u;
    } else {
        if (x > 3u) return 5u; else return 6u;
    }
}

uint only_if_called(uint x) {
    uint sum = 0;
    for (uint i = 0; i < x % 7u; i++) sum += i * A;
    return sum;
}

void branches(uint x) {
    uint y = x;
    if (FLAG) {
        if (x > 10u) y += 3u;
        if (OTHER) y *= 2u; else if (A == 3u) y ^= 1u; else y = 77u;
    } else if (x < 30u) {
        y = only_if_called(x);
    }
    put(y);
    put(early(x));
    put(both_ways_return(x));
    put((FLAG && x > 20u) || (OTHER && x < 5u));
    put((x > 20u && FLAG) && (x < 60u || OTHER));
    put(FLAG ? x > 20u ? 1u : 2u : only_if_called(x));
}

uint pick(uint x) { // falls through, default in the middle
    uint y = 0;
    switch (A) {
    case 0: y += 1u;
    case 1: y += 10u; break;
    case 2:
        if (x > 9u) break;
        y += 5u;
    default: y += 100u;
    case 3:
        if (OTHER) return y + 9u;
        y += 1000u;
        break;
    case 4: return x;
    case 0xffffffffu: y = 12u;
    }
    return y + x;
}

uint pick_signed(uint x) {
    switch (B) {
    case -5: return x;
    case -1: x += 2u;
    case 0: x += 3u; break;
    }
    switch (C) { // no default, and nothing but breaks
    case 2: break;
    case 3: x *= 3u; break;
    }
    return x + 1u;
}

uint pick_both(uint x) { // what the data decides, inside and outside of what the constant decides
    uint y = x;
    switch (x & 3u) {
    case 0:
        switch (N) {
        case 0: y += 1u; break;
        case 4: y += 2u;
        default: y += 3u;
        }
        break;
    case 1:
        if (FLAG) break;
        y = 8u;
    case 2: y ^= 5u; break;
    default: if (!FLAG) y = 6u;
    }
    return y;
}

// ---- loops
void loops(uint x) {
    uint y = 0;
    for (uint i = 0; i < N; i++) y += i * x;
    put(y);
    for (uint i = 0; i < N; i++) { // the constant ends it in the first round
        y += x + i;
        if (FLAG) break;
    }
    put(y);
    for (uint i = 0; i < 5u; i++) {
        if (OTHER) continue;
        y ^= i + x;
    }
    put(y);
    for (uint i = 0; FLAG && i < N; i++) y += 3u;
    put(y);
    for (uint i = 0; i < 9u; i++) { // a loop in which each path breaks
        if (x > i + 10u) {
            y += i;
            break;
        } else {
            y += 2u;
            break;
        }
    }
    while (OTHER) { // not entered or left by the data
        y += x;
        if (y > 1000u) break;
        y += 100u;
    }
    put(y);
    do y++; while (OTHER && y < 2000u);
    put(y);
    do { // goes round never, or until the data ends it
        y += 7u;
        if (y > 3000u) break;
    } while (FLAG);
    put(y);
    do { // the constant ends it before its condition
        y += 2u;
        if (!OTHER) break;
    } while (y < 4000u);
    put(y);
    do {
        if (x > 40u && FLAG) continue;
        y++;
    } while (A > 100u && y++ < 3100u);
    put(y);
    for (uint i = 0; i < N; FLAG ? i++ : i += 2u) { // a switch breaks, continues and falls through in a loop
        switch (A) {
        case 3: continue;
        case 4:
            if (i == 1u) break;
            y += 5u;
        case 5: y += x; break;
        default: for (uint j = 0; j < uint(C & 7); j++) if (j == i) break; else y += j;
        }
        y += 1u;
    }
    put(y);
    for (uint i = 0; i < 3u; i++) {
        for (uint j = 0; j < N; j++) {
            if (OTHER && j == i) continue;
            if (B < 0) break;
            y += j;
        }
        if (A == 4u) break;
    }
    put(y);
    for (;;) {
        if (FLAG || y > 100000u) break;
        y = y * 2u + 1u;
    }
    put(y);
}

uint return_from_loop(uint x) {
    for (uint i = 0; i < 8u; i++) {
        if (FLAG) return x + i;
        if (x == i) return 7u;
    }
    return 9u;
}

// ---- together
void shared_memory(uint x) {
    uint own = gl_LocalInvocationID.x;
    parts[own] = x;
    barrier();
    uint sum = 0;
    if (FLAG) {
        for (uint i = 0; i < WIDTH; i++) sum += parts[i] * (i + 1u);
    } else {
        sum = parts[(own + 1u) % WIDTH];
    }
    put(sum);
    if (OTHER) {
        barrier();
        parts[WIDTH - 1u - own] = x + A;
        barrier();
    }
    put(parts[own]);
}

void main() {
    uint invocation = gl_LocalInvocationID.x, x = xs.data[invocation];
    place = invocation * 64u;
    arithmetic(x);
    composites(x);
    floats(x);
    branches(x);
    put(pick(x));
    put(pick_signed(x));
    put(pick_both(x));
    loops(x);
    put(return_from_loop(x));
    shared_memory(x);
    if (N == 8u) return;
    put(place); // the number of cases
}
