#version 450
// The best `keep` of each tile of a row x[outer, 0 .. n, inner], best first: the largest or the smallest, of equal ones
// the first; a NaN counts as largest. Elements are kept as their bits and their index in the row; where a tile has less
// than `keep`, the index is NOTHING.
//
// A workgroup sorts 1024 elements in shared memory by a bitonic network: a tile of a long row, or several short rows
// side by side, each a segment of a power of two.
#extension GL_GOOGLE_include_directive : require
#include "reduction/order.glsl"

#define TILE 1024u
layout(local_size_x = 256) in;

layout(set = 0, binding = 0) readonly buffer X { uint x[]; };
layout(set = 0, binding = 1) writeonly buffer Values { uint values[]; };
layout(set = 0, binding = 2) writeonly buffer Indices { uint indices[]; };

layout(push_constant) uniform Params {
    uint rows, n, inner;
    uint tiles;   // of a row
    uint segment; // elements of a tile, a power of two
    uint keep;
    uint largest;
    uint inner_out; // the lists of a row, tiles * keep elements, lie inner_out apart
    uint first_x, first_values, first_indices;
};

shared uint keys[TILE]; // ascending: the best first
shared uint places[TILE];

bool comes_before(uint a, uint b) {
    return keys[a] < keys[b] || (keys[a] == keys[b] && places[a] < places[b]);
}

void main() {
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint first_segment = group * (TILE / segment);
    for (uint e = gl_LocalInvocationID.x; e < TILE; e += 256u) {
        uint s = first_segment + e / segment, row = s / tiles, j = (s - row * tiles) * segment + e % segment;
        keys[e] = places[e] = NOTHING;
        if (row < rows && j < n) {
            uint order = order_of(x[first_x + (row / inner * n + j) * inner + row % inner]);
            keys[e] = largest != 0u ? ~order : order;
            places[e] = j;
        }
    }
    barrier();
    for (uint size = 2u; size <= segment; size *= 2u)
        for (uint stride = size / 2u; stride > 0u; stride /= 2u) {
            for (uint p = gl_LocalInvocationID.x; p < TILE / 2u; p += 256u) {
                uint a = p / stride * 2u * stride + p % stride, b = a + stride;
                bool ascending = (a & (segment - 1u) & size) == 0u;
                if (comes_before(b, a) == ascending) {
                    uint key = keys[a], place = places[a];
                    keys[a] = keys[b];
                    places[a] = places[b];
                    keys[b] = key;
                    places[b] = place;
                }
            }
            barrier();
        }
    for (uint e = gl_LocalInvocationID.x; e < TILE; e += 256u) {
        uint s = first_segment + e / segment, row = s / tiles, rank = e % segment;
        if (row >= rows || rank >= keep) continue;
        uint at = (row / inner_out * (tiles * keep) + (s - row * tiles) * keep + rank) * inner_out + row % inner_out;
        values[first_values + at] = bits_of(largest != 0u ? ~keys[e] : keys[e]);
        indices[first_indices + at] = places[e];
    }
}
