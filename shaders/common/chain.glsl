// Chains of pointwise steps: the one place where their formulas stand. chain_ops.h says how a step is encoded.
//
// The step words are specialization constants, so a driver folds the tests below until the formulas of the chain alone
// are left. `precise`: a chain's result does not depend on how operators were fused into it.
//
// The includer defines, before it includes this file,
//   CHAIN_FIRST_ID     its specialization constants from here on are the number of steps and the words
//   CHAIN_WORDS        steps that there is room for; fewer are cheaper for drivers that fold badly. Default 24
//   CHAIN_INPUTS       tensor inputs that there is room for. Default 6
//   uint chain_constant(uint i)  the bits of constant i
//   CHAIN_RANDOM       if it has the step record, for random steps
// and for each element sets chain_inputs and chain_index, calls chain_run, then chain_value.
#ifndef TUFF_CHAIN_GLSL
#define TUFF_CHAIN_GLSL

#include "common/chain_ops.h"
#include "common/math.glsl"
#ifdef CHAIN_RANDOM
#include "common/philox.glsl"
#endif

#ifndef CHAIN_WORDS
#define CHAIN_WORDS CHAIN_MAX_STEPS
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
#if CHAIN_WORDS > 6
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
#endif

// Of the element at hand. Globals, since drivers that fold badly would copy parameters at each call.
uint chain_inputs[CHAIN_INPUTS];
uint chain_index; // in the output's logical order
uint chain_results[CHAIN_WORDS];

// The bits of an operand.
uint chain_value(uint operand) {
    if (operand >= CHAIN_STEP) return chain_results[operand - CHAIN_STEP];
    if (operand == CHAIN_INDEX) return chain_index;
    if (operand >= CHAIN_CONSTANT) return chain_constant(operand - CHAIN_CONSTANT);
    return chain_inputs[operand];
}

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

uint chain_step(uint word) {
    uint op = word & 255u;
    uint a_bits = chain_value(word >> 8 & 255u);
    if (op == CHAIN_COPY) return a_bits;
    float a = uintBitsToFloat(a_bits);
    precise float y = 0.0;
    switch (op) {
    case CHAIN_NEG: y = -a; break;
    case CHAIN_ABS: y = abs(a); break;
    case CHAIN_SIGN: y = a > 0.0 ? 1.0 : a < 0.0 ? -1.0 : a; break;
    case CHAIN_SQUARE: y = a * a; break;
    case CHAIN_SQRT: y = sqrt(a); break;
    case CHAIN_RSQRT: y = 1.0 / sqrt(a); break;
    case CHAIN_RECIPROCAL: y = 1.0 / a; break;
    case CHAIN_EXP: y = tuff_exp(a); break;
    case CHAIN_LOG: y = tuff_log(a); break;
    case CHAIN_TANH: y = tuff_tanh(a); break;
    case CHAIN_SIGMOID: y = tuff_sigmoid(a); break;
    case CHAIN_ERF: y = tuff_erf(a); break;
    case CHAIN_RELU: y = a < 0.0 ? 0.0 : a; break;
    case CHAIN_GELU: y = 0.5 * a * tuff_erfc(a * -0.707106769); break;
    case CHAIN_GELU_GRAD: y = gelu_slope(a); break;
    case CHAIN_GELU_TANH: y = 0.5 * a * (1.0 + gelu_curve(a)); break;
    case CHAIN_GELU_TANH_GRAD: y = gelu_tanh_slope(a); break;
    case CHAIN_SILU: y = a * tuff_sigmoid(a); break;
    case CHAIN_SILU_GRAD: {
        precise float s = tuff_sigmoid(a);
        y = s + a * s * (1.0 - s);
        break;
    }
    case CHAIN_INT_TO_FLOAT: y = float(int(a_bits)); break;
    case CHAIN_FLOAT_TO_INT: return uint(int(a));
    default: {
        uint b_bits = chain_value(word >> 16 & 255u);
        float b = uintBitsToFloat(b_bits);
        switch (op) {
        case CHAIN_ADD: y = a + b; break;
        case CHAIN_SUB: y = a - b; break;
        case CHAIN_MUL: y = a * b; break;
        case CHAIN_DIV: y = a / b; break;
        case CHAIN_MAX: y = a > b || is_nan(a) ? a : b; break;
        case CHAIN_MIN: y = a < b || is_nan(a) ? a : b; break;
        case CHAIN_LEAKY_RELU: y = a > 0.0 ? a : a * b; break;
        case CHAIN_GT: y = a > b ? 1.0 : 0.0; break;
        case CHAIN_GE: y = a >= b ? 1.0 : 0.0; break;
        case CHAIN_EQ: y = a == b ? 1.0 : 0.0; break;
        case CHAIN_INT_EQ: y = a_bits == b_bits ? 1.0 : 0.0; break;
        default: {
            uint c_bits = chain_value(word >> 24);
            switch (op) {
            case CHAIN_SELECT: return a != 0.0 ? b_bits : c_bits;
            case CHAIN_FMA: y = a * b + uintBitsToFloat(c_bits); break;
#ifdef CHAIN_RANDOM
            case CHAIN_DROPOUT: {
                float u = philox_uniform(philox_word(a_bits, c_bits, step_record.step, step_record.seed));
                y = u < b ? 0.0 : 1.0 / (1.0 - b);
                break;
            }
#endif
            }
        }
        }
    }
    }
    return floatBitsToUint(y);
}

// Fills in chain_results from chain_inputs and chain_index.
void chain_run() {
#define CHAIN_DO(i) if (i < chain_steps) chain_results[i] = chain_step(chain_word_##i);
    CHAIN_DO(0)
    CHAIN_DO(1)
    CHAIN_DO(2)
    CHAIN_DO(3)
    CHAIN_DO(4)
    CHAIN_DO(5)
#if CHAIN_WORDS > 6
    CHAIN_DO(6)
    CHAIN_DO(7)
    CHAIN_DO(8)
    CHAIN_DO(9)
    CHAIN_DO(10)
    CHAIN_DO(11)
    CHAIN_DO(12)
    CHAIN_DO(13)
    CHAIN_DO(14)
    CHAIN_DO(15)
    CHAIN_DO(16)
    CHAIN_DO(17)
    CHAIN_DO(18)
    CHAIN_DO(19)
    CHAIN_DO(20)
    CHAIN_DO(21)
    CHAIN_DO(22)
    CHAIN_DO(23)
#endif
}

#endif
