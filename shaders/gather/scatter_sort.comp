#version 450
// Sorts pairs (key, position) of indices: equal keys stay in the order of their positions, so that sums over them have
// the same bits each time. The key of entry (o, k, i) is the number of its row among all lines' rows,
// (o * inner + i) * rows + index[o, k, i]; what is out of range, skipped or past the end gets the largest key.
//
// Batcher's bitonic sort (1968) over `padded` pairs, a power of two: n log^2 n comparisons. A workgroup holds BLOCK
// pairs in shared memory for all steps over less than BLOCK: SORT makes the pairs and sorts each block; then, for each
// width above a block, EXCHANGE compares pairs `distance` apart in memory and MERGE does the rest within blocks.
layout(local_size_x = 256) in;

#define BLOCK 512u
#define SORT     0u
#define MERGE    1u
#define EXCHANGE 2u
#define NOTHING 0xffffffffu

layout(constant_id = 0) const uint STAGE = 0;

layout(set = 0, binding = 0) readonly buffer Index { int index[]; };
layout(set = 0, binding = 1) buffer Pairs { uvec2 pairs[]; };

layout(push_constant) uniform Params {
    uint entries;
    uint sources, inner, rows;
    uint skip;
    uint first_index;
    uint width, distance;
};

shared uvec2 block[BLOCK];

uvec2 pair_of(uint e) {
    if (e >= entries) return uvec2(NOTHING, e);
    uint named = uint(index[first_index + e]), line = e / (sources * inner) * inner + e % inner;
    return uvec2(named < rows && named != skip ? line * rows + named : NOTHING, e);
}

bool is_behind(uvec2 a, uvec2 b) {
    return a.x > b.x || (a.x == b.x && a.y > b.y);
}

// The first of the t-th two that are `apart`.
uint first_of(uint t, uint apart) {
    return t / apart * 2u * apart + t % apart;
}

void steps_within(uint base, uint of_width) {
    uint t = gl_LocalInvocationID.x;
    for (uint apart = min(of_width, BLOCK) / 2u; apart > 0u; apart /= 2u) {
        barrier();
        uint a = first_of(t, apart), b = a + apart;
        bool ascends = ((base + a) & of_width) == 0u;
        uvec2 x = block[a], y = block[b];
        if (is_behind(x, y) == ascends) {
            block[a] = y;
            block[b] = x;
        }
    }
}

void main() {
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, t = gl_LocalInvocationID.x;
    if (STAGE == EXCHANGE) {
        uint a = first_of(group * 256u + t, distance), b = a + distance;
        bool ascends = (a & width) == 0u;
        uvec2 x = pairs[a], y = pairs[b];
        if (is_behind(x, y) == ascends) {
            pairs[a] = y;
            pairs[b] = x;
        }
        return;
    }
    uint base = group * BLOCK;
    for (uint h = 0u; h < 2u; h++) {
        uint e = base + t + h * 256u;
        if (STAGE == SORT)
            block[t + h * 256u] = pair_of(e);
        else
            block[t + h * 256u] = pairs[e];
    }
    if (STAGE == SORT)
        for (uint w = 2u; w <= BLOCK; w *= 2u) steps_within(base, w);
    else
        steps_within(base, width);
    barrier();
    for (uint h = 0u; h < 2u; h++) pairs[base + t + h * 256u] = block[t + h * 256u];
}
