#version 450
// x[e] = random number of element e, e counted in PyTorch's order, for e < count:
//   uniform: spread * (2 u - 1), u in [0, 1) with 24 bits
//   normal:  spread * sqrt(-2 log u1) * (cos, sin)(2 pi u2) (Box and Muller 1958)
// from Philox4x32-10 (Salmon et al. 2011) with the key `seed` and the counter (e / 4, hash, 0, 0).
//
// An invocation makes the four elements of one counter, from counter `first` on. All arithmetic is
// integer or `precise` addition and multiplication, which are rounded alike everywhere: no division, square root or
// function of the driver's. So the bits are the same on every driver.
#extension GL_GOOGLE_include_directive : require
#include "common/philox.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) writeonly buffer State { float x[]; };

layout(push_constant) uniform Params {
    uint count;
    uint seed_lo, seed_hi;
    uint hash;
    uint normal; // else uniform
    float spread;
    uint size1, size2; // the last axes of a shape of three
    uint stride0, stride1, stride2;
    uint first;
};

// log(v) for a normal v in (0, 1]: the exponent apart, Cephes' polynomial on [sqrt(1/2), sqrt(2))
float log_of(float v) {
    uint bits = floatBitsToUint(v);
    int exponent = int(bits >> 23) - 127;
    float mantissa = uintBitsToFloat((bits & 0x007fffffu) | 0x3f800000u);
    if (mantissa > 1.41421356) {
        mantissa *= 0.5;
        exponent++;
    }
    precise float f = mantissa - 1.0, z = f * f, e = float(exponent);
    precise float p = 7.0376836292e-2;
    p = p * f - 1.1514610310e-1;
    p = p * f + 1.1676998740e-1;
    p = p * f - 1.2420140846e-1;
    p = p * f + 1.4249322787e-1;
    p = p * f - 1.6668057665e-1;
    p = p * f + 2.0000714765e-1;
    p = p * f - 2.4999993993e-1;
    p = p * f + 3.3333331174e-1;
    p = p * f * z;
    p = p - 2.12194440e-4 * e; // log 2 in two parts
    p = p - 0.5 * z;
    precise float result = f + p;
    result = result + 0.693359375 * e;
    return result;
}

// sqrt(v) for v >= 0: Newton's iteration for 1 / sqrt(v)
float sqrt_of(float v) {
    if (v <= 0.0) return 0.0;
    precise float half_v = 0.5 * v;
    precise float y = uintBitsToFloat(0x5f3759dfu - (floatBitsToUint(v) >> 1));
    for (int i = 0; i < 4; i++) y = y * (1.5 - half_v * y * y);
    precise float root = v * y;
    return root;
}

// (cos, sin)(2 pi u): the nearest multiple of a quarter turn apart, Cephes' polynomials on [-pi/4, pi/4]
vec2 turn(float u) {
    precise float quarters = u * 4.0 + 0.5;
    int quarter = int(quarters);
    precise float a = (u * 4.0 - float(quarter)) * 1.57079632679;
    precise float z = a * a;
    precise float s = -1.9515295891e-4;
    s = s * z + 8.3321608736e-3;
    s = s * z - 1.6666654611e-1;
    s = s * z * a + a;
    precise float c = 2.443315711809948e-5;
    c = c * z - 1.388731625493765e-3;
    c = c * z + 4.166664568298827e-2;
    c = c * z * z;
    c = c - 0.5 * z + 1.0;
    switch (quarter & 3) {
    case 0: return vec2(c, s);
    case 1: return vec2(-s, c);
    case 2: return vec2(-c, -s);
    default: return vec2(s, -c);
    }
}

vec2 two_normals(uint a, uint b) {
    precise float u = philox_uniform(a) + 5.9604644775390625e-08; // in (0, 1]
    precise float radius2 = -2.0 * log_of(u);
    float radius = sqrt_of(radius2);
    vec2 direction = turn(philox_uniform(b));
    precise float first = radius * direction.x, second = radius * direction.y;
    return vec2(first, second);
}

uint place_of(uint element) {
    uint rest = element / size2, i2 = element - rest * size2;
    uint i0 = rest / size1, i1 = rest - i0 * size1;
    return i0 * stride0 + i1 * stride1 + i2 * stride2;
}

void main() {
    uint quad = first + gl_GlobalInvocationID.x, element = quad * 4u;
    if (quad >= (count + 3u) / 4u) return;
    uvec4 words = philox(uvec4(quad, hash, 0u, 0u), uvec2(seed_lo, seed_hi));
    precise vec4 value;
    if (normal != 0u) {
        value = vec4(two_normals(words.x, words.y), two_normals(words.z, words.w));
    } else {
        value = vec4(philox_uniform(words.x), philox_uniform(words.y), philox_uniform(words.z), philox_uniform(words.w));
        value = value * 2.0 - 1.0;
    }
    value = value * spread;
    for (uint i = 0u; i < 4u; i++)
        if (element + i < count) x[place_of(element + i)] = value[i];
}
