#version 450
// y[c] = c: the index along the class axis, which a chain compares with the target. One invocation an element.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"

layout(set = 0, binding = 0) writeonly buffer Y { int y[]; };

layout(push_constant) uniform Params {
    uint count;
    uint first_y;
};

void main() {
    uint c = flat_index();
    if (c < count) y[first_y + c] = int(c);
}
