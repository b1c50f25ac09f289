#version 450
// y[n, c] = x[n, c] + sin(a[c] x[n, c])^2 / a[c], the snake activation (Ziyin, Hartwig and Ueda 2020).
// One invocation an element.
layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer A { float a[]; };
layout(set = 0, binding = 2) writeonly buffer Y { float y[]; };

layout(push_constant) uniform Params {
    uint count, channels;
    uint first_x, first_a, first_y;
};

void main() {
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64 + gl_LocalInvocationID.x;
    if (i >= count) return;
    float value = x[first_x + i], frequency = a[first_a + i % channels];
    float wave = sin(frequency * value);
    y[first_y + i] = value + wave * wave / frequency;
}
