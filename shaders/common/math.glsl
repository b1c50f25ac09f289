// Elementary functions of our own: drivers' are off by up to 10 units in the last place for exp, 1e5 for log near 1,
// and some return 0 for tanh(1e-5).
//
// Multiplies and adds are `precise`, so that no driver contracts or reorders them: what uses only those (exp, log,
// erf) has the same bits on every driver; what divides (tanh, sigmoid) has them wherever a division is correctly
// rounded, as on every driver for the CPU. Each is within 2 units in the last place, where its
// comment says no other. Results below 2^-126 are flushed to zero, since drivers differ in keeping them.
//
// Polynomials are minimax fits (Lawson's iteration at 600 Chebyshev nodes in double precision); coefficients are
// rounded to float one by one, lowest power first, and the rest fitted again.
#ifndef TUFF_MATH_GLSL
#define TUFF_MATH_GLSL

#define TUFF_INFINITY uintBitsToFloat(0x7f800000u)

// By bits: a driver may assume that no value is a NaN.
bool is_nan(float x) {
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u;
}

// 2^n for n in -126 .. 127.
float power_of_two(int n) {
    return uintBitsToFloat(uint(n + 127) << 23);
}

// e^x = 2^n (1 + r + r^2 P(r)), n = round(x / ln 2), r = x - n ln 2 in two parts (Cody and Waite). Fit: 2^-28.2.
float tuff_exp(float x) {
    float c = x > 89.0 ? 89.0 : x;
    c = c < -88.0 ? -88.0 : c;
    precise float n = floor(c * 1.44269502 + 0.5);
    precise float r = (c - n * 0.693359375) - n * -2.12194442e-4;
    precise float p = 0.00138204114;
    p = p * r + 0.00836867746;
    p = p * r + 0.0416682698;
    p = p * r + 0.166665211;
    p = p * r + 0.49999994;
    precise float y = 1.0 + (r + r * r * p);
    int k = int(n), half_k = k >> 1; // 2^n in two factors: n may be 128
    y = y * power_of_two(half_k) * power_of_two(k - half_k);
    y = x > 88.7228394 ? TUFF_INFINITY : y;
    y = x < -87.3365402 ? 0.0 : y;
    return is_nan(x) ? x : y;
}

// e^x - 1 = 2^n (r + r^2 P(r) + 1 - 2^-n), with tuff_exp's n, r and P: nothing cancels, for 1 - 2^-n is exact or as good.
float tuff_expm1(float x) {
    float c = x > 89.0 ? 89.0 : x;
    c = c < -18.0 ? -18.0 : c;
    precise float n = floor(c * 1.44269502 + 0.5);
    precise float r = (c - n * 0.693359375) - n * -2.12194442e-4;
    precise float p = 0.00138204114;
    p = p * r + 0.00836867746;
    p = p * r + 0.0416682698;
    p = p * r + 0.166665211;
    p = p * r + 0.49999994;
    int k = int(n), half_k = k >> 1; // 2^n in two factors: n may be 128
    precise float one = 1.0 - power_of_two(k > 100 ? -100 : -k);
    precise float y = (r + r * r * p) + one;
    y = y * power_of_two(half_k) * power_of_two(k - half_k);
    y = x > 88.7228394 ? TUFF_INFINITY : y;
    return abs(x) < 2.98023224e-8 || is_nan(x) ? x : y;
}

// f^3 P(f) - f^2 / 2 = ln(1 + f) - f for 1 + f in [sqrt 1/2, sqrt 2). Fit: 2^-30.3.
float log_bend(float f) {
    precise float p = 0.0675095618;
    p = p * f - 0.116714492;
    p = p * f + 0.11883568;
    p = p * f - 0.124060318;
    p = p * f + 0.142203271;
    p = p * f - 0.166679963;
    p = p * f + 0.20002073;
    p = p * f - 0.250000089;
    p = p * f + 0.333333135;
    precise float s = f * f;
    precise float y = f * s * p - 0.5 * s;
    return y;
}

// ln x = e ln 2 + f + (ln(1 + f) - f), x = 2^e (1 + f), 1 + f in [sqrt 1/2, sqrt 2).
float tuff_log(float x) {
    uint bits = floatBitsToUint(x);
    bool tiny = bits < 0x00800000u; // below the normal range: the bits are the multiple of 2^-149
    uint m = tiny ? floatBitsToUint(float(bits)) : bits;
    int e = tiny ? -149 : 0;
    uint above = m - 0x3f3504f3u; // sqrt 1/2
    e += int(above) >> 23;
    precise float f = uintBitsToFloat((above & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    precise float n = float(e);
    precise float y = n * -2.12194442e-4 + log_bend(f);
    y = n * 0.693359375 + (f + y);
    y = bits == 0x7f800000u ? x : y;
    y = bits > 0x7f800000u ? uintBitsToFloat(0x7fc00000u) : y; // a NaN or below zero
    return (bits & 0x7fffffffu) == 0u ? -TUFF_INFINITY : y;
}

// ln(1 + x): where 1 + x is rounded, as ln u + (1 + x - u) / u with u = 1 + x.
float tuff_log1p(float x) {
    precise float near = x + log_bend(x);
    precise float u = 1.0 + x;
    precise float lost = x > 1.0 ? 1.0 - (u - x) : x - (u - 1.0);
    precise float far = tuff_log(u) + lost / u;
    float y = x > -0.292893231 && x < 0.41421354 ? near : far;
    y = x == -1.0 ? -TUFF_INFINITY : y;
    return x == TUFF_INFINITY || is_nan(x) ? x : y;
}

// 1 / (1 + e^-x), as z / (1 + z) with z = e^x below zero, where 1 would drown z.
float tuff_sigmoid(float x) {
    precise float z = tuff_exp(-abs(x));
    precise float y = (x < 0.0 ? z : 1.0) / (1.0 + z);
    return y;
}

// x + x^3 P(x^2) up to 0.625 (fit: 2^-27.7), then 1 - 2 / (e^2x + 1).
float tuff_tanh(float x) {
    float a = abs(x);
    precise float s = x * x;
    precise float p = -0.00569581287;
    p = p * s + 0.0206308253;
    p = p * s - 0.0537371412;
    p = p * s + 0.133314103;
    p = p * s - 0.333332807;
    precise float small = x + x * (s * p);
    precise float large = 1.0 - 2.0 / (tuff_exp(a + a) + 1.0);
    float y = a > 0.625 ? (x < 0.0 ? -large : large) : small;
    return is_nan(x) ? x : y;
}

// ln(1 - erf t) for t > 0.92 as a polynomial. Fit: 2^-26.4 of erf, 1.1e-5 of 1 - erf up to 6.5.
float log_erfc(float t) {
    precise float p = 8.37726304e-07;
    p = p * t - 2.89245618e-05;
    p = p * t + 0.000442737772;
    p = p * t - 0.00400540372;
    p = p * t + 0.0242355093;
    p = p * t - 0.106253855;
    p = p * t - 0.635777056;
    p = p * t - 1.1280278;
    p = p * t - 0.000191491665;
    return p;
}

// x + x P(x^2) up to 0.93. Fit: 2^-30.
float erf_near_zero(float x) {
    precise float s = x * x;
    precise float p = 7.99664922e-05;
    p = p * s - 0.000804976968;
    p = p * s + 0.00519240508;
    p = p * s - 0.0268557314;
    p = p * s + 0.112836257;
    p = p * s - 0.376126289;
    p = p * s + 0.128379166;
    p = x + x * p;
    return p;
}

float tuff_erf(float x) {
    float t = abs(x);
    precise float far = 1.0 - tuff_exp(log_erfc(t > 6.5 ? 6.5 : t));
    float y = t > 0.93 ? (x < 0.0 ? -far : far) : erf_near_zero(x);
    return is_nan(x) ? x : y;
}

// 1 - erf x without cancellation: its relative error stays below 2e-5; 0 from 6.5 on, where it is below 4e-20.
float tuff_erfc(float x) {
    float t = abs(x);
    precise float tail = t > 6.5 ? 0.0 : tuff_exp(log_erfc(t));
    precise float y = t > 0.93 ? (x < 0.0 ? 2.0 - tail : tail) : 1.0 - erf_near_zero(x);
    return is_nan(x) ? x : y;
}

// ---- sine and cosine ----

// 32 bits of 2 / pi from the bit `at` on, counted from one word before its first.
void two_over_pi(uint at, out uint w0, out uint w1, out uint w2) {
    bool two = (at & 64u) != 0u, one = (at & 32u) != 0u, four = (at & 128u) != 0u;
    uint a0 = two ? 0x4e441529u : 0u, a1 = two ? 0xfc2757d1u : 0xa2f9836eu, a2 = two ? 0xf534ddc0u : 0x4e441529u;
    uint a3 = two ? 0xdb629599u : 0xfc2757d1u, a4 = two ? 0x3c439041u : 0xf534ddc0u;
    uint b0 = four ? 0xf534ddc0u : one ? a1 : a0, b1 = four ? 0xdb629599u : one ? a2 : a1;
    uint b2 = four ? 0x3c439041u : one ? a3 : a2, b3 = four ? 0xfe5163abu : one ? a4 : a3;
    uint shift = at & 31u, back = 31u - shift;
    w0 = b0 << shift | b1 >> 1 >> back;
    w1 = b1 << shift | b2 >> 1 >> back;
    w2 = b2 << shift | b3 >> 1 >> back;
}

// |x| = quadrant pi / 2 + r, r in [-pi/4, pi/4], for all x (Payne and Hanek 1983): x is m 2^(e - 23), whose product with
// 96 bits of 2 / pi, from the one on that matters modulo 4, has two bits for the quadrant and 94 of fraction: no float
// is nearer to a multiple of pi / 2 than 33 of them.
float reduce_angle(float x, out uint quadrant) {
    uint bits = floatBitsToUint(x) & 0x7fffffffu;
    quadrant = 0u;
    if (bits <= 0x3f490fdau) return abs(x); // pi / 4
    uint m = bits & 0x007fffffu | 0x00800000u, w0, w1, w2;
    two_over_pi((bits >> 23) - 120u, w0, w1, w2);
    uint high1, high2, p1, p2;
    umulExtended(m, w2, high2, p2);
    umulExtended(m, w1, high1, p1);
    uint sum = p1 + high2, p0 = m * w0 + high1 + (sum < p1 ? 1u : 0u);
    uint high = p0 << 2 | sum >> 30, low = sum << 2 | p2 >> 30;
    quadrant = p0 >> 30;
    bool negative = high >= 0x80000000u; // nearer to the next one
    if (negative) {
        quadrant++;
        low = ~low + 1u;
        high = ~high + (low == 0u ? 1u : 0u);
    }
    bool small = high == 0u;
    int exponent = small ? -64 : -32;
    high = small ? low : high;
    low = small ? 0u : low;
    int shift = 31 - findMSB(high);
    high = high << shift | low >> 1 >> (31 - shift);
    // times pi / 2: 12 bits times 12 are exact
    float t0 = float(high >> 20) * 4096.0, t1 = float(high >> 8 & 0xfffu), rest = float(high & 0xffu);
    precise float t2 = t0 + t1;
    precise float r = t0 * 1.5703125 + (t1 * 1.5703125 + (t2 * 0.000483826792 + rest * 0.00613592332));
    r = r * power_of_two(exponent - shift + 8);
    return negative ? -r : r;
}

// Of an angle in quadrant 0 .. 3: r + r^3 P(r^2), fit 2^-32.5, or 1 - r^2 / 2 + r^4 Q(r^2), fit 2^-33.
float circle(float r, uint quadrant) {
    precise float s = r * r;
    precise float p = 2.83259601e-06;
    p = p * s - 0.000198530674;
    p = p * s + 0.0083333794;
    p = p * s - 0.166666672;
    precise float q = 2.44323273e-05;
    q = q * s - 0.00138873095;
    q = q * s + 0.0416666456;
    precise float sine = r + r * (s * p);
    precise float cosine = 1.0 - (0.5 * s - s * s * q);
    float y = (quadrant & 1u) != 0u ? cosine : sine;
    return (quadrant & 2u) != 0u ? -y : y;
}

float tuff_sin(float x) {
    uint quadrant;
    float r = reduce_angle(x, quadrant);
    float y = circle(r, quadrant);
    y = (floatBitsToUint(x) & 0x80000000u) != 0u ? -y : y;
    return (floatBitsToUint(x) & 0x7fffffffu) >= 0x7f800000u ? uintBitsToFloat(0x7fc00000u) : y;
}

float tuff_cos(float x) {
    uint quadrant;
    float r = reduce_angle(x, quadrant);
    float y = circle(r, quadrant + 1u);
    return (floatBitsToUint(x) & 0x7fffffffu) >= 0x7f800000u ? uintBitsToFloat(0x7fc00000u) : y;
}

// ---- powers ----

// a b = the result + rest, without a fused multiply-add: in halves of 12 bits (Dekker 1971).
float times(float a, float b, out float rest) {
    float a1 = uintBitsToFloat(floatBitsToUint(a) & 0xfffff000u), b1 = uintBitsToFloat(floatBitsToUint(b) & 0xfffff000u);
    precise float a0 = a - a1, b0 = b - b1;
    precise float y = a * b;
    precise float left = ((a1 * b1 - y) + a1 * b0 + a0 * b1) + a0 * b0;
    rest = left;
    return y;
}

// a + b = the result + rest for |a| >= |b| or a = 0.
float plus(float a, float b, out float rest) {
    precise float y = a + b;
    precise float left = b - (y - a);
    rest = left;
    return y;
}

// log2 of x > 0 to about 40 bits: e + 2 / ln 2 (s + s^3 / 3 + s^5 R(s^2)), s = f / (2 + f), x = 2^e (1 + f) as in
// tuff_log. Fit: 2^-36.8.
float log2_extended(float x, out float rest) {
    uint bits = floatBitsToUint(x);
    bool tiny = bits < 0x00800000u;
    uint m = tiny ? floatBitsToUint(float(bits)) : bits;
    int e = tiny ? -149 : 0;
    uint above = m - 0x3f3504f3u;
    e += int(above) >> 23;
    precise float f = uintBitsToFloat((above & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    float d0, p0, q0, c0, t0, u0, y0;
    float d = plus(2.0, f, d0);
    precise float s = f / d;
    float p = times(s, d, p0);
    precise float s0 = (((f - p) - p0) - s * d0) / d;
    float q = times(s, s, q0);
    precise float tail = 0.117099486;
    tail = tail * q + 0.142735422;
    tail = tail * q + 0.200000763;
    precise float bend = q * tail - 9.93410776e-9; // 1/3 is no float
    float c = plus(0.333333343, bend, c0);
    float t = times(q, c, t0);
    precise float t_rest = t0 + q * c0 + (q0 + 2.0 * s * s0) * c;
    float u = times(s, t, u0);
    precise float small = u0 + s * t_rest + s0 * t + s0;
    float v0, v = plus(s, u, v0);
    precise float v_rest = v0 + small;
    float y = times(v, 2.88539004, y0);
    precise float y_rest = y0 + v_rest * 2.88539004 + v * 3.85192607e-8;
    float z0, z = plus(float(e), y, z0);
    precise float left = z0 + y_rest;
    rest = left;
    return z;
}

// x^y = 2^(y log2 x), with the logarithm and the product in two floats each; C's pow for what is no number, infinite
// or negative. (plus: where e != 0, |e| >= 1 > |log2(1 + f)|.)
float tuff_pow(float x, float y) {
    uint x_bits = floatBitsToUint(x), y_bits = floatBitsToUint(y);
    uint x_size = x_bits & 0x7fffffffu, y_size = y_bits & 0x7fffffffu;
    bool large = y_size >= 0x4b800000u; // 2^24: even
    precise float whole = floor(y);
    bool integer = large || whole == y;
    bool odd = !large && integer && (int(whole) & 1) != 0;
    float rest, z_rest;
    float log2_x = log2_extended(uintBitsToFloat(x_size), rest);
    float bounded = y_size > 0x58000000u ? uintBitsToFloat(y_bits & 0x80000000u | 0x58000000u) : y; // 2^49
    float z = times(bounded, log2_x, z_rest);
    precise float remainder = z_rest + bounded * rest;
    precise float n = floor(clamp(z, -151.0, 130.0) + 0.5);
    precise float r = (z - n) + remainder;
    precise float p = 0.000153274785;
    p = p * r + 0.00133911194;
    p = p * r + 0.00961850677;
    p = p * r + 0.0555036068;
    p = p * r + 0.240226477;
    precise float power = 1.0 + (r * 0.693147182 + (r * -1.90465421e-9 + r * r * p));
    int k = int(n), half_k = k >> 1;
    power = power * power_of_two(half_k) * power_of_two(k - half_k);
    power = z >= 128.0 ? TUFF_INFINITY : power;
    power = z < -126.0 ? 0.0 : power;
    bool grows = (x_size > 0x3f800000u) == ((y_bits & 0x80000000u) == 0u);
    bool ends = x_size == 0u || x_size == 0x7f800000u || y_size == 0x7f800000u;
    power = ends ? (grows ? TUFF_INFINITY : 0.0) : power;
    power = x_size == 0x3f800000u ? 1.0 : power;
    bool below = (x_bits & 0x80000000u) != 0u;
    power = below && odd ? -power : power;
    power = below && !integer && x_size != 0u && x_size != 0x7f800000u ? uintBitsToFloat(0x7fc00000u) : power;
    power = x_size > 0x7f800000u || y_size > 0x7f800000u ? uintBitsToFloat(0x7fc00000u) : power;
    return y_size == 0u || x_bits == 0x3f800000u ? 1.0 : power;
}

#endif
