#version 450
// y[i] = 2 x[i] + 1, in variants: what a shader of a user's may declare wrongly, one at a time.
#ifdef DOUBLES
#define NUMBER double
#elif defined(LONGS)
#extension GL_ARB_gpu_shader_int64 : require
#define NUMBER int64_t
#else
#define NUMBER float
#endif
#ifdef WIDE
layout(local_size_x = 1024, local_size_y = 4) in;
#elif defined(SIZED)
layout(local_size_x_id = 0) in;
#else
layout(local_size_x = 64) in;
#endif

#ifdef UNIFORM
layout(set = 0, binding = 0) uniform X { vec4 rows[4]; };
#define READ(i) rows[(i) / 4][(i) % 4]
#elif defined(BACKWARDS)
layout(set = 0, binding = 1) readonly buffer X { float x[]; };
#define READ(i) x[i]
#elif defined(DESCRIPTORS)
layout(set = 0, binding = 0) readonly buffer X { float x[]; } inputs[2];
#define READ(i) inputs[1].x[i]
#else
layout(set = 0, binding = 0) readonly buffer X { float x[]; };
#define READ(i) x[i]
#endif

#ifdef SAMPLER
layout(set = 0, binding = 1) uniform sampler2D y;
#define WRITE(i, value) if (texelFetch(y, ivec2(i), 0).x == float(value)) return
#elif defined(IMAGE)
layout(set = 0, binding = 1, r32f) writeonly uniform image2D y;
#define WRITE(i, value) imageStore(y, ivec2(i), vec4(value))
#else
#if defined(SAME) || defined(BACKWARDS)
layout(set = 0, binding = 0) writeonly buffer Y { float y[]; };
#else
layout(set = 0, binding = 1) writeonly buffer Y { float y[]; };
#endif
#define WRITE(i, value) y[i] = float(value)
#endif

layout(push_constant) uniform Params {
#ifdef LONG_BLOCK
    uint more[60];
#elif defined(MATRIX)
    mat3 matrix; // 3 columns of 16 bytes
    vec3 vector;
#endif
    uint count, first_x, first_y;
};

#ifdef SHARED
shared float part[65536];
#elif defined(SIZED)
layout(constant_id = 1) const uint length = 4;
shared vec4 part[length * 2 + 1];
#endif

void main() {
    uint i = gl_GlobalInvocationID.x;
#if defined(SHARED) || defined(SIZED)
    part[gl_LocalInvocationID.x % 3] = part[0];
#endif
#ifdef LONG_BLOCK
    if (more[3] == 1) return;
#elif defined(MATRIX)
    if (matrix[2].z + vector.z == 1) return;
#endif
    if (i < count) WRITE(first_y + i, NUMBER(2) * NUMBER(READ(first_x + i)) + NUMBER(1));
}
