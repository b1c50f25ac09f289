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

// ln x = e ln 2 + f - f^2 / 2 + f^3 P(f), x = 2^e (1 + f), 1 + f in [sqrt 1/2, sqrt 2). Fit: 2^-30.3.
float tuff_log(float x) {
    uint bits = floatBitsToUint(x);
    bool tiny = bits < 0x00800000u; // below the normal range: the bits are the multiple of 2^-149
    uint m = tiny ? floatBitsToUint(float(bits)) : bits;
    int e = tiny ? -149 : 0;
    uint above = m - 0x3f3504f3u; // sqrt 1/2
    e += int(above) >> 23;
    precise float f = uintBitsToFloat((above & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    precise float p = 0.0675095618;
    p = p * f - 0.116714492;
    p = p * f + 0.11883568;
    p = p * f - 0.124060318;
    p = p * f + 0.142203271;
    p = p * f - 0.166679963;
    p = p * f + 0.20002073;
    p = p * f - 0.250000089;
    p = p * f + 0.333333135;
    precise float n = float(e);
    precise float s = f * f;
    precise float y = n * -2.12194442e-4 + (f * s * p - 0.5 * s);
    y = n * 0.693359375 + (f + y);
    y = bits == 0x7f800000u ? x : y;
    y = bits > 0x7f800000u ? uintBitsToFloat(0x7fc00000u) : y; // a NaN or below zero
    return (bits & 0x7fffffffu) == 0u ? -TUFF_INFINITY : y;
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

#endif
