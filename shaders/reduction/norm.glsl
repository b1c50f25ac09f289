// What the kernels that normalise rows share: x as rows of n elements, one of `across` rows to each LANES lanes of a
// workgroup. LANES is the workgroup's size, and lanes add up through shared memory; or 1, a row to each invocation, which
// is what drivers for the CPU are fast with.
//
// Deviations are taken as (x - x0) - c, x0 the row's first element and c the mean of x - x0: these differences are exact
// or nearly so where the mean is large against the deviation. CENTRED false: from 0.
//
// WIDTH 4: a lane takes four neighbours at a time, with four sums; as TEXELS, which drivers for the CPU load as one.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 1;
layout(constant_id = 2) const bool CENTRED = true;
layout(constant_id = 3) const bool WEIGHT = true;

#if WIDTH == 4
#define VALUE vec4
#else
#define VALUE float
#endif
#ifdef TEXELS
#extension GL_EXT_samplerless_texture_functions : require
#define READ(name, at) texelFetch(name##_texels, int((at) / WIDTH))
#else
#define READ(name, at) name[(at) / WIDTH]
#endif
// Of a buffer read so, the one number at `at`.
#if WIDTH == 4
#define READ_ONE(name, at) READ(name, at)[(at) & 3u]
#else
#define READ_ONE(name, at) READ(name, at)
#endif

#include "reduction/sums.glsl"

// Element j of a row has the weight number (first + j / spread), counted round; with PLAIN that is j. With WIDTH 4 the
// four have one weight or are PLAIN.
#define EACH_WEIGHT(name, first_of, j)                                                                                 \
    (PLAIN ? READ(name, first_of + (j)) : VALUE(READ_ONE(name, first_of + (first + (j) / spread) % weights)))
