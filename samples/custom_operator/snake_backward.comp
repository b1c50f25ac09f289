#version 450
// From g = dL/dy: gx = g (1 + sin(2 a x)), and ga[n, c] = g (x sin(2 a x) - sin(a x)^2 / a) / a, whose sum over n is
// a's gradient. One invocation an element.
layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer G { float g[]; };
layout(set = 0, binding = 1) readonly buffer X { float x[]; };
layout(set = 0, binding = 2) readonly buffer A { float a[]; };
layout(set = 0, binding = 3) writeonly buffer GX { float gx[]; };
layout(set = 0, binding = 4) writeonly buffer GA { float ga[]; };

layout(push_constant) uniform Params {
    uint count, channels;
    uint first_g, first_x, first_a, first_gx, first_ga;
};

void main() {
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64 + gl_LocalInvocationID.x;
    if (i >= count) return;
    float value = x[first_x + i], frequency = a[first_a + i % channels], arriving = g[first_g + i];
    float wave = sin(frequency * value), slope = sin(2.0 * frequency * value);
    gx[first_gx + i] = arriving * (1.0 + slope);
    ga[first_ga + i] = arriving * (value * slope - wave * wave / frequency) / frequency;
}
