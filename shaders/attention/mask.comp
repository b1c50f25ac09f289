#version 450
#extension GL_GOOGLE_include_directive : require
// dmask = dS, summed over what the mask was broadcast to. backward.glsl says what dS is.
//
// One invocation an element of the mask, which computes dS anew for all batches, heads, queries and keys that it
// stands for: nothing of the size (L, S) is stored but the mask itself. The batch's sums are continued by later calls
// where a call has a slice of it.
#include "attention/backward.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 6) buffer Result { float result[]; };

layout(constant_id = 3) const bool ADDS = false; // an earlier call's sum is there

void main() {
    // the mask's own sizes: 1 where it is broadcast
    uint columns = mask_lies.column == 0 ? 1 : S, lines = mask_lies.row == 0 ? 1 : L;
    uint mask_heads = mask_lies.head == 0 ? 1 : HEADS, batches = first_7, mask_batches = mask_lies.batch == 0 ? 1 : batches;
    uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * 64 + gl_LocalInvocationID.x;
    if (at >= columns * lines * mask_heads * mask_batches) return;
    uint j1 = at % columns, i1 = at / columns % lines, h1 = at / (columns * lines) % mask_heads;
    uint b1 = at / (columns * lines * mask_heads);

    uint b_end = mask_batches == 1 ? batches : b1 + 1, h_end = mask_heads == 1 ? HEADS : h1 + 1;
    uint i_end = lines == 1 ? L : i1 + 1, j_end = columns == 1 ? S : j1 + 1;
    float sum = 0;
    for (uint b = b1; b < b_end; b++) {
        for (uint h = h1; h < h_end; h++) {
            float of_head = 0;
            for (uint i = i1; i < i_end; i++) {
                uint q = first_query + b * query_lies.batch + h * query_lies.head + i * query_lies.row;
                uint g = first_4 + ((b * HEADS + h) * L + i) * EV;
                float of_row = 0;
                for (uint j = j1; j < j_end; j++) {
                    uint k = first_key + b * key_lies.batch + h / GROUP * key_lies.head + j * key_lies.row;
                    uint v = first_value + b * value_lies.batch + h / GROUP * value_lies.head + j * value_lies.row;
                    float qk = 0, gv = 0;
                    for (uint e0 = 0; e0 < E; e0 += 16) {
                        float some = 0;
                        for (uint e = e0; e < min(e0 + 16, E); e++)
                            some += query[q + e * query_lies.column] * key[k + e * key_lies.column];
                        qk += some;
                    }
                    for (uint f0 = 0; f0 < EV; f0 += 16) {
                        float some = 0;
                        for (uint f = f0; f < min(f0 + 16, EV); f++)
                            some += gradient[g + f] * value[v + f * value_lies.column];
                        gv += some;
                    }
                    of_row += pair_of(qk, gv, b, h, i, j).y;
                }
                of_head += of_row;
            }
            sum += of_head;
        }
    }
    uint to = first_6 + at;
    result[to] = ADDS ? result[to] + sum : sum;
}
