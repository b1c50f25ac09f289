#version 450
// Merges up to WAYS sorted lists of `length` elements at a time into one, of which the best `keep` stay.
//
// A row has `lists` of them, behind one another. One invocation an element: its place in the merged list is its place in
// its own plus, from a binary search in each other list, how many there come before it. What is missing at the end of the
// row's last group counts as lists of nothing, so that every place is written.
#extension GL_GOOGLE_include_directive : require
#include "gather/flat.glsl"
#include "reduction/order.glsl"

#define WAYS 8u

layout(set = 0, binding = 0) readonly buffer Values { uint values[]; };
layout(set = 0, binding = 1) readonly buffer Indices { uint indices[]; };
layout(set = 0, binding = 2) writeonly buffer MergedValues { uint merged_values[]; };
layout(set = 0, binding = 3) writeonly buffer MergedIndices { uint merged_indices[]; };

layout(push_constant) uniform Params {
    uint rows, lists, length;
    uint groups; // lists of the result
    uint keep;
    uint largest;
    uint inner_out; // the lists of a row, groups * keep elements, lie inner_out apart
    uint first_values, first_indices, first_merged_values, first_merged_indices;
};

uint key_at(uint at) {
    uint order = order_of(values[first_values + at]);
    return indices[first_indices + at] == NOTHING ? NOTHING : largest != 0u ? ~order : order;
}

void main() {
    uint id = flat_index(), padded = groups * WAYS;
    if (id >= rows * padded * length) return;
    uint t = id % length, list = id / length % padded, row = id / length / padded;
    uint begin = row * lists * length, key = NOTHING, place = NOTHING, bits = 0u;
    if (list < lists) {
        uint at = begin + list * length + t;
        key = key_at(at);
        bits = values[first_values + at];
        place = indices[first_indices + at];
    }
    uint rank = t, group = list / WAYS;
    for (uint other = group * WAYS; other < (group + 1u) * WAYS; other++) {
        if (other == list) continue;
        if (other >= lists) { // nothing, which comes before nothing of a later list
            if (place == NOTHING && other < list) rank += length;
            continue;
        }
        uint low = 0u, high = length; // of `other`, how many come before
        while (low < high) {
            uint middle = (low + high) / 2u, at = begin + other * length + middle;
            uint their = key_at(at), there = indices[first_indices + at];
            bool before = their < key || (their == key && (there < place || (there == place && other < list)));
            if (before)
                low = middle + 1u;
            else
                high = middle;
        }
        rank += low;
    }
    if (rank >= keep) return;
    uint at = (row / inner_out * (groups * keep) + group * keep + rank) * inner_out + row % inner_out;
    merged_values[first_merged_values + at] = bits;
    merged_indices[first_merged_indices + at] = place;
}
