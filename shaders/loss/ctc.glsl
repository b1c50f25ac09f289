// Connectionist temporal classification (Graves and others, 2006), in logarithms. A target of U labels becomes 2 U + 1
// states: a blank before, between and behind its labels. What has no path has the logarithm IMPOSSIBLE, finite, so that
// differences of two stay numbers.
#include "common/math.glsl"

#define LANES        64u
#define IMPOSSIBLE   -1e30
#define NOT_A_NUMBER uintBitsToFloat(0x7fc00000u)

layout(local_size_x = 64) in;

float possible(float x) {
    return x < -1e29 ? IMPOSSIBLE : x;
}

// log(e^a + e^b + e^c); NaN if one is.
float log_add(float a, float b, float c) {
    float m = a > b ? a : b;
    m = c > m ? c : m;
    precise float sum = tuff_exp(a - m) + tuff_exp(b - m) + tuff_exp(c - m);
    precise float y = m + tuff_log(sum);
    return possible(y);
}

uint group_index() {
    return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
}
