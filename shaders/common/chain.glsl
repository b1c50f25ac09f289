// Chains of pointwise steps: the one place where their formulas stand. chain_ops.h says how a step is encoded.
//
// The step words are specialization constants, so the tests below fold until the formulas of the chain alone are left.
// `precise`: a chain's result does not depend on how operators were fused into it.
//
// The includer defines, before it includes this file,
//   CHAIN_FIRST_ID     its specialization constants from here on are the number of steps and the words
//   CHAIN_INPUTS       tensor inputs that there is room for. Default 6
//   uint chain_constant(uint i)  the bits of constant i
//   CHAIN_RANDOM       if it has the step record, for random steps
//   CHAIN_BEHIND       if there is a second chain, how many words behind the first one's are its steps
// and for each element sets chain_inputs and chain_index, calls chain_run, and takes results by CHAIN_VALUE.
#ifndef TUFF_CHAIN_GLSL
#define TUFF_CHAIN_GLSL

#include "common/chain_ops.h"
#include "common/math.glsl"
#ifdef CHAIN_RANDOM
#include "common/philox.glsl"
#endif

#ifndef CHAIN_INPUTS
#define CHAIN_INPUTS CHAIN_MAX_BUFFERS
#endif

layout(constant_id = CHAIN_FIRST_ID) const uint chain_steps = 0;
#define CHAIN_WORD(i) layout(constant_id = CHAIN_FIRST_ID + 1 + i) const uint chain_word_##i = 0;
CHAIN_WORD(0)
CHAIN_WORD(1)
CHAIN_WORD(2)
CHAIN_WORD(3)
CHAIN_WORD(4)
CHAIN_WORD(5)
CHAIN_WORD(6)
CHAIN_WORD(7)
CHAIN_WORD(8)
CHAIN_WORD(9)
CHAIN_WORD(10)
CHAIN_WORD(11)
CHAIN_WORD(12)
CHAIN_WORD(13)
CHAIN_WORD(14)
CHAIN_WORD(15)
CHAIN_WORD(16)
CHAIN_WORD(17)
CHAIN_WORD(18)
CHAIN_WORD(19)
CHAIN_WORD(20)
CHAIN_WORD(21)
CHAIN_WORD(22)
CHAIN_WORD(23)

// Of the element at hand. Globals, since drivers that fold badly would copy parameters at each call.
uint chain_inputs[CHAIN_INPUTS];
uint chain_index; // in the output's logical order
uint chain_results[CHAIN_MAX_STEPS];

// The bits of an operand. A macro, as all below in which an operator or an operand is chosen: only then are the choices
// specialization constants themselves, which fold (runtime/device/specialise.c) before a driver sees them.
#define CHAIN_VALUE(result, operand)                                                                                   \
    if ((operand) >= CHAIN_STEP)                                                                                       \
        result = chain_results[(operand) - CHAIN_STEP];                                                                \
    else if ((operand) == CHAIN_INDEX)                                                                                 \
        result = chain_index;                                                                                          \
    else if ((operand) >= CHAIN_CONSTANT)                                                                              \
        result = chain_constant((operand) - CHAIN_CONSTANT);                                                           \
    else                                                                                                               \
        result = chain_inputs[operand];

// d/dx of x Phi(x): Phi(x) + x phi(x)
float gelu_slope(float x) {
    precise float density = 0.398942292 * tuff_exp(-0.5 * x * x);
    precise float slope = 0.5 * tuff_erfc(x * -0.707106769) + x * density;
    return slope;
}

// tanh(sqrt(2 / pi) (x + 0.044715 x^3))
float gelu_curve(float x) {
    precise float u = 0.797884583 * (x + 0.044715 * x * x * x);
    return tuff_tanh(u);
}

float gelu_tanh_slope(float x) {
    precise float t = gelu_curve(x);
    precise float slope = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.797884583 * (1.0 + 0.134145 * x * x);
    return slope;
}

float silu_slope(float x) {
    precise float s = tuff_sigmoid(x);
    precise float slope = s + x * s * (1.0 - s);
    return slope;
}

// `precise`, so that no driver contracts one step with the next.
float chain_add(float a, float b) { precise float y = a + b; return y; }
float chain_sub(float a, float b) { precise float y = a - b; return y; }
float chain_mul(float a, float b) { precise float y = a * b; return y; }
float chain_div(float a, float b) { precise float y = a / b; return y; }
float chain_fma(float a, float b, float c) { precise float y = a * b + c; return y; }
float chain_rsqrt(float a) { precise float y = 1.0 / sqrt(a); return y; }
float chain_gelu(float a) { precise float y = 0.5 * a * tuff_erfc(a * -0.707106769); return y; }
float chain_gelu_tanh(float a) { precise float y = 0.5 * a * (1.0 + gelu_curve(a)); return y; }
float chain_silu(float a) { precise float y = a * tuff_sigmoid(a); return y; }

float chain_max(float a, float b) { return a > b || is_nan(a) ? a : b; }
float chain_min(float a, float b) { return a < b || is_nan(a) ? a : b; }
float chain_clamp(float a, float low, float high) { return chain_min(chain_max(a, low), high); }

// By bits what is no number passes all of c.
float chain_share(float a, float b, float c) {
    precise float half_c = 0.5 * c;
    return a < b ? 0.0 : a == b ? half_c : c;
}

// ln(1 + e^z) = max(z, 0) + ln(1 + e^-|z|): e^z may be too large.
float chain_softplus(float x, float beta, float threshold) {
    precise float z = x * beta;
    precise float y = (chain_max(z, 0.0) + tuff_log1p(tuff_exp(-abs(z)))) / beta;
    return z > threshold ? x : y;
}

float chain_elu(float a, float b, float c) {
    precise float below = b * tuff_expm1(a);
    precise float above = a * c;
    return a > 0.0 ? above : below;
}

float chain_elu_slope(float a, float b, float c) {
    precise float below = b * tuff_exp(a);
    return a <= 0.0 ? below : c;
}

float chain_hardswish(float a) {
    precise float y = a * chain_clamp(a + 3.0, 0.0, 6.0) / 6.0;
    return y;
}

// At 3, where the formula's two sides differ, PyTorch has 1 in its vectors (and 1.5 in what is left over of them).
float chain_hardswish_slope(float a) {
    precise float middle = a / 3.0 + 0.5;
    return a < -3.0 ? 0.0 : a < 3.0 ? middle : 1.0;
}

// What x86 makes of it, and PyTorch there.
uint chain_int(float a) {
    bool fits = a >= -2147483648.0 && a < 2147483648.0;
    return fits ? uint(int(a)) : 0x80000000u;
}

#ifdef CHAIN_RANDOM
float chain_dropout(uint element, float p, uint stream) {
    float u = philox_uniform(philox_word(element, stream, step_record.step, step_record.seed));
    precise float kept = 1.0 / (1.0 - p);
    return u < p ? 0.0 : kept;
}
#define CHAIN_RANDOM_CASES                                                                                             \
    case CHAIN_DROPOUT: CHAIN_GIVES(chain_dropout(a_bits, b, c_bits))
#else
#define CHAIN_RANDOM_CASES
#endif

// One step: from a, b and c to bits.
#define CHAIN_GIVES(value) bits = floatBitsToUint(value); break;
#define CHAIN_CASES                                                                                                    \
    case CHAIN_COPY: bits = a_bits; break;                                                                             \
    case CHAIN_ADD: CHAIN_GIVES(chain_add(a, b))                                                                       \
    case CHAIN_SUB: CHAIN_GIVES(chain_sub(a, b))                                                                       \
    case CHAIN_MUL: CHAIN_GIVES(chain_mul(a, b))                                                                       \
    case CHAIN_DIV: CHAIN_GIVES(chain_div(a, b))                                                                       \
    case CHAIN_FMA: CHAIN_GIVES(chain_fma(a, b, c))                                                                    \
    case CHAIN_MAX: CHAIN_GIVES(chain_max(a, b))                                                                       \
    case CHAIN_MIN: CHAIN_GIVES(chain_min(a, b))                                                                       \
    case CHAIN_NEG: CHAIN_GIVES(-a)                                                                                    \
    case CHAIN_ABS: CHAIN_GIVES(abs(a))                                                                                \
    case CHAIN_SIGN: CHAIN_GIVES(a > 0.0 ? 1.0 : a < 0.0 ? -1.0 : 0.0)                                                 \
    case CHAIN_SQUARE: CHAIN_GIVES(chain_mul(a, a))                                                                    \
    case CHAIN_SQRT: CHAIN_GIVES(sqrt(a))                                                                              \
    case CHAIN_RSQRT: CHAIN_GIVES(chain_rsqrt(a))                                                                      \
    case CHAIN_RECIPROCAL: CHAIN_GIVES(chain_div(1.0, a))                                                              \
    case CHAIN_EXP: CHAIN_GIVES(tuff_exp(a))                                                                           \
    case CHAIN_LOG: CHAIN_GIVES(tuff_log(a))                                                                           \
    case CHAIN_TANH: CHAIN_GIVES(tuff_tanh(a))                                                                         \
    case CHAIN_SIGMOID: CHAIN_GIVES(tuff_sigmoid(a))                                                                   \
    case CHAIN_ERF: CHAIN_GIVES(tuff_erf(a))                                                                           \
    case CHAIN_RELU: CHAIN_GIVES(a < 0.0 ? 0.0 : a)                                                                    \
    case CHAIN_LEAKY_RELU: CHAIN_GIVES(a > 0.0 ? a : chain_mul(a, b))                                                  \
    case CHAIN_GELU: CHAIN_GIVES(chain_gelu(a))                                                                        \
    case CHAIN_GELU_GRAD: CHAIN_GIVES(gelu_slope(a))                                                                   \
    case CHAIN_GELU_TANH: CHAIN_GIVES(chain_gelu_tanh(a))                                                              \
    case CHAIN_GELU_TANH_GRAD: CHAIN_GIVES(gelu_tanh_slope(a))                                                         \
    case CHAIN_SILU: CHAIN_GIVES(chain_silu(a))                                                                        \
    case CHAIN_SILU_GRAD: CHAIN_GIVES(silu_slope(a))                                                                   \
    case CHAIN_GT: CHAIN_GIVES(a > b ? 1.0 : 0.0)                                                                      \
    case CHAIN_GE: CHAIN_GIVES(a >= b ? 1.0 : 0.0)                                                                     \
    case CHAIN_EQ: CHAIN_GIVES(a == b ? 1.0 : 0.0)                                                                     \
    case CHAIN_SELECT: bits = a != 0.0 ? b_bits : c_bits; break;                                                       \
    case CHAIN_INT_EQ: CHAIN_GIVES(a_bits == b_bits ? 1.0 : 0.0)                                                       \
    case CHAIN_INT_TO_FLOAT: CHAIN_GIVES(float(int(a_bits)))                                                           \
    case CHAIN_FLOAT_TO_INT: bits = chain_int(a); break;                                                               \
    case CHAIN_EXPM1: CHAIN_GIVES(tuff_expm1(a))                                                                       \
    case CHAIN_LOG1P: CHAIN_GIVES(tuff_log1p(a))                                                                       \
    case CHAIN_SIN: CHAIN_GIVES(tuff_sin(a))                                                                           \
    case CHAIN_COS: CHAIN_GIVES(tuff_cos(a))                                                                           \
    case CHAIN_FLOOR: CHAIN_GIVES(floor(a))                                                                            \
    case CHAIN_POW: CHAIN_GIVES(tuff_pow(a, b))                                                                        \
    case CHAIN_CLAMP: CHAIN_GIVES(chain_clamp(a, b, c))                                                                \
    case CHAIN_WITHIN: CHAIN_GIVES(b <= a && a <= c ? 1.0 : 0.0)                                                       \
    case CHAIN_SHARE: CHAIN_GIVES(chain_share(a, b, c))                                                                \
    case CHAIN_SOFTPLUS: CHAIN_GIVES(chain_softplus(a, b, c))                                                          \
    case CHAIN_ELU: CHAIN_GIVES(chain_elu(a, b, c))                                                                    \
    case CHAIN_ELU_GRAD: CHAIN_GIVES(chain_elu_slope(a, b, c))                                                         \
    case CHAIN_HARDSWISH: CHAIN_GIVES(chain_hardswish(a))                                                              \
    case CHAIN_HARDSWISH_GRAD: CHAIN_GIVES(chain_hardswish_slope(a))                                                   \
    case CHAIN_FILL: bits = b != 0.0 ? c_bits : a_bits; break;                                                         \
    case CHAIN_FLOAT_TO_BYTE: CHAIN_GIVES(float(chain_int(a) & 255u))                                                  \
    case CHAIN_INT_TO_BYTE: CHAIN_GIVES(float(a_bits & 255u))                                                          \
    case CHAIN_INT_GT: CHAIN_GIVES(int(a_bits) > int(b_bits) ? 1.0 : 0.0)                                              \
    case CHAIN_INT_ADD: bits = a_bits + b_bits; break;                                                                 \
    case CHAIN_INT_SUB: bits = a_bits - b_bits; break;                                                                 \
    case CHAIN_INT_MUL: bits = a_bits * b_bits; break;                                                                 \
    case CHAIN_INT_MAX: bits = uint(max(int(a_bits), int(b_bits))); break;                                             \
    case CHAIN_INT_MIN: bits = uint(min(int(a_bits), int(b_bits))); break;                                             \
    case CHAIN_INT_ABS: bits = uint(abs(int(a_bits))); break;                                                          \
    case CHAIN_INT_NEG: bits = 0u - a_bits; break;                                                                     \
    case CHAIN_INT_GE: CHAIN_GIVES(int(a_bits) >= int(b_bits) ? 1.0 : 0.0)                                             \
    CHAIN_RANDOM_CASES

#define CHAIN_OP(i) (chain_word_##i & 255u)
#define CHAIN_A(i)  (chain_word_##i >> 8 & 255u)
#define CHAIN_B(i)  (chain_word_##i >> 16 & 255u)
#define CHAIN_C(i)  (chain_word_##i >> 24)

#define CHAIN_STEP_AT(i)                                                                                               \
    {                                                                                                                  \
        uint a_bits, b_bits, c_bits, bits = 0u;                                                                        \
        CHAIN_VALUE(a_bits, CHAIN_A(i))                                                                                \
        CHAIN_VALUE(b_bits, CHAIN_B(i))                                                                                \
        CHAIN_VALUE(c_bits, CHAIN_C(i))                                                                                \
        float a = uintBitsToFloat(a_bits), b = uintBitsToFloat(b_bits), c = uintBitsToFloat(c_bits);                   \
        switch (CHAIN_OP(i)) { CHAIN_CASES }                                                                           \
        chain_results[i] = bits;                                                                                       \
    }

#define CHAIN_EACH(DO)                                                                                                 \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13) DO(14) DO(15) DO(16)       \
    DO(17) DO(18) DO(19) DO(20) DO(21) DO(22) DO(23)

#define CHAIN_DO(i) if (i < chain_steps) CHAIN_STEP_AT(i)
#define CHAIN_DO_BEHIND(i) if (i >= chain_steps && i < chain_steps + CHAIN_BEHIND) CHAIN_STEP_AT(i)

// Fills in chain_results from chain_inputs and chain_index.
void chain_run() {
    CHAIN_EACH(CHAIN_DO)
}

#ifdef CHAIN_BEHIND
// The same for the steps of a second chain.
void chain_run_behind() {
    CHAIN_EACH(CHAIN_DO_BEHIND)
}
#endif

#endif
