#version 450
// y[i] = factor * x[i], z[i] = 3 where index[i] > 0, else -3: two outputs, an integer input, an attribute, a
// specialization constant.
layout(local_size_x = 64) in;
layout(constant_id = 0) const int mark = 0;

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Index { int index[]; };
layout(set = 0, binding = 2) writeonly buffer Y { float y[]; };
layout(set = 0, binding = 3) writeonly buffer Z { int z[]; };

layout(push_constant) uniform Params {
    uint count;
    float factor;
    uint first_x, first_index, first_y, first_z;
};

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    y[first_y + i] = factor * x[first_x + i];
    z[first_z + i] = index[first_index + i] > 0 ? mark : -mark;
}
