// What kernels bind that reduce: the output at 0, which is theirs to declare, up to five inputs and the record of loops.
#define TENSORS 6 // the output, then inputs
#define LOOP_WORDS 11
#define CHAIN_INPUTS 5

#if WIDTH == 4
#define VALUE vec4
#define BITS uvec4
#else
#define VALUE float
#define BITS uint
#endif
layout(set = 0, binding = 1) readonly buffer B1 { BITS b1[]; };
layout(set = 0, binding = 2) readonly buffer B2 { BITS b2[]; };
layout(set = 0, binding = 3) readonly buffer B3 { BITS b3[]; };
layout(set = 0, binding = 4) readonly buffer B4 { BITS b4[]; };
layout(set = 0, binding = 5) readonly buffer B5 { BITS b5[]; };
layout(set = 0, binding = 6) readonly buffer Record { uint words[]; };
#ifdef TEXELS
#extension GL_EXT_samplerless_texture_functions : require
// The inputs once more: drivers for the CPU load a texel as one.
layout(set = 0, binding = 9) uniform textureBuffer b1_texels;
layout(set = 0, binding = 10) uniform textureBuffer b2_texels;
layout(set = 0, binding = 11) uniform textureBuffer b3_texels;
layout(set = 0, binding = 12) uniform textureBuffer b4_texels;
layout(set = 0, binding = 13) uniform textureBuffer b5_texels;
#define FOUR(b, i) floatBitsToUint(texelFetch(b##_texels, int(i)))
#else
#define FOUR(b, i) b[i]
#endif
