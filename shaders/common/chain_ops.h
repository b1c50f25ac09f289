/* The steps of the pointwise chain, shared by C and GLSL: preprocessor only. A step is one word:
 * op | a << 8 | b << 16 | c << 24, whose operands a, b, c are
 *   0 .. 15   the chain's tensor inputs
 *   16 .. 47  its constants
 *   48        the element's index in the output's own (row-major, logical) order
 *   64 + i    the result of step i
 * Registers hold 32 bits: float unless the comment says otherwise. A uint8 tensor's elements are floats there. */
#ifndef TUFF_CHAIN_OPS_H
#define TUFF_CHAIN_OPS_H

#define CHAIN_MAX_STEPS     24
#define CHAIN_MAX_CONSTANTS 16
#define CHAIN_MAX_BUFFERS   6 /* inputs and outputs of a pointwise kernel together */
#define CHAIN_CONSTANT      16
#define CHAIN_INDEX         48
#define CHAIN_STEP          64

#define CHAIN_NONE           0
#define CHAIN_COPY           1 /* a, any type */
#define CHAIN_ADD            2
#define CHAIN_SUB            3
#define CHAIN_MUL            4
#define CHAIN_DIV            5
#define CHAIN_FMA            6 /* a * b + c */
#define CHAIN_MAX            7
#define CHAIN_MIN            8
#define CHAIN_NEG            9
#define CHAIN_ABS            10
#define CHAIN_SIGN           11 /* -1, 0, 1 */
#define CHAIN_SQUARE         12
#define CHAIN_SQRT           13
#define CHAIN_RSQRT          14
#define CHAIN_EXP            15
#define CHAIN_LOG            16
#define CHAIN_TANH           17
#define CHAIN_SIGMOID        18
#define CHAIN_ERF            19
#define CHAIN_RELU           20
#define CHAIN_LEAKY_RELU     21 /* a > 0 ? a : a * b */
#define CHAIN_GELU           22
#define CHAIN_GELU_GRAD      23 /* derivative at a */
#define CHAIN_GELU_TANH      24
#define CHAIN_GELU_TANH_GRAD 25
#define CHAIN_SILU           26
#define CHAIN_SILU_GRAD      27
#define CHAIN_GT             28 /* a > b ? 1 : 0 */
#define CHAIN_GE             29
#define CHAIN_EQ             30
#define CHAIN_SELECT         31 /* a != 0 ? b : c */
#define CHAIN_INT_EQ         32 /* int a == int b ? 1 : 0 (float result) */
#define CHAIN_INT_TO_FLOAT   33
#define CHAIN_FLOAT_TO_INT   34 /* truncates; -2^31 for what does not fit and what is no number; int result */
#define CHAIN_DROPOUT        35 /* a: element index (int), b: p, c: stream (int): 0 or 1 / (1 - p) */
#define CHAIN_RECIPROCAL     36
#define CHAIN_EXPM1          37
#define CHAIN_LOG1P          38
#define CHAIN_SIN            39
#define CHAIN_COS            40
#define CHAIN_FLOOR          41
#define CHAIN_POW            42 /* a^b */
#define CHAIN_CLAMP          43 /* a in [b, c] */
#define CHAIN_WITHIN         44 /* b <= a && a <= c ? 1 : 0 */
#define CHAIN_SHARE          45 /* of c, what a has in max(a, b): all, half in a tie, nothing */
#define CHAIN_SOFTPLUS       46 /* a b > c ? a : ln(1 + e^(a b)) / b */
#define CHAIN_ELU            47 /* a > 0 ? a c : b (e^a - 1) */
#define CHAIN_ELU_GRAD       48 /* a > 0 ? c : b e^a */
#define CHAIN_HARDSWISH      49 /* a clamp(a + 3, 0, 6) / 6 */
#define CHAIN_HARDSWISH_GRAD 50
#define CHAIN_FILL           51 /* b != 0 ? c : a */
#define CHAIN_FLOAT_TO_BYTE  52 /* the low 8 bits of FLOAT_TO_INT */
#define CHAIN_INT_TO_BYTE    53 /* the low 8 bits */
#define CHAIN_INT_GT         54 /* int a > int b ? 1 : 0 (float result) */
#define CHAIN_INT_ADD        55 /* int, as those that follow; modulo 2^32 */
#define CHAIN_INT_SUB        56
#define CHAIN_INT_MUL        57
#define CHAIN_INT_MAX        58
#define CHAIN_INT_MIN        59
#define CHAIN_INT_ABS        60
#define CHAIN_INT_NEG        61
#define CHAIN_INT_GE         62 /* float result */

#endif
