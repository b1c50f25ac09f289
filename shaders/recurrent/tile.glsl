// A step's product with W_hh in the kernel that uses it, for GPUs: a step has little work, and what counts is that it is
// one dispatch with many workgroups and few rounds.
//
// A workgroup of 256 makes a tile of 8 x 8 sums (of each gate, in the forward pass): an invocation a quarter of the
// terms of one place of the tile. Both matrices come through shared memory, as many terms at a time as fill it; the
// quarters are added in a tree. The tile's place is the workgroup's: x along the columns, y along the rows.

layout(local_size_x = 256) in;

#define TILE  8
#define PARTS 4

// This invocation's quarter, row and column of the tile.
uint my_part() {
    return gl_LocalInvocationIndex / 64u;
}
uint my_row() {
    return gl_LocalInvocationIndex / 8u % 8u;
}
uint my_column() {
    return gl_LocalInvocationIndex % 8u;
}
