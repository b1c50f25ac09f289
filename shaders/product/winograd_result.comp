#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// D[tile's pixels][n] = epilogue(sum over i, j of A^T[y][i] * A^T[x][j] * F[i][j][tile][n]): the last step of Winograd's
// convolution (winograd.glsl). A is F; the pixels are the rows of a product by LOADER_WINDOW.
//
// An invocation makes four neighbouring columns of one tile of OUTPUTS x OUTPUTS pixels.

layout(constant_id = 0) const uint UNUSED = 0;

#include "product/product.glsl"
#include "product/epilogue.glsl"
#include "product/winograd.glsl"
#include "gather/flat.glsl"

void main() {
    uvec2 plane = uvec2(both(grid, volume_grid)), tile_plane = (plane + OUTPUTS - 1) / OUTPUTS;
    uint pixels = plane.x * plane.y, fours = N / 4, tiles = M / pixels * tile_plane.x * tile_plane.y;
    uint i = flat_index();
    if (i >= tiles * fours) return;
    uint tile = i / fours, n = (i - tile * fours) * 4, line = tile / tile_plane.y, image = line / tile_plane.x;
    uvec2 corner = uvec2(line - image * tile_plane.x, tile - line * tile_plane.y) * OUTPUTS;
    Place p = place(0);
    uint from = a_first + tile * N + n;

    vec4 f[SIDE * SIDE];
    [[unroll]] for (uint r = 0; r < SIDE; r++)
        [[unroll]] for (uint s = 0; s < SIDE; s++)
            f[r * SIDE + s] = A_FOUR((from + (r * SIDE + s) * tiles * N) / 4);
    Columns columns = columns_of(p, n);
    // Loops, with A^T's rows as powers of the points: stores are long, and would be compiled for each pixel.
    float down[SIDE], across[SIDE];
    [[unroll]] for (uint l = 0; l < SIDE - 1; l++) down[l] = 1;
    for (uint r = 0; r < OUTPUTS; r++) {
        vec4 row[SIDE];
        down[SIDE - 1] = r == OUTPUTS - 1 ? 1.0 : 0.0;
        [[unroll]] for (uint s = 0; s < SIDE; s++) {
            row[s] = vec4(0);
            [[unroll]] for (uint l = 0; l < SIDE; l++) row[s] += down[l] * f[l * SIDE + s];
        }
        [[unroll]] for (uint l = 0; l < SIDE - 1; l++) {
            across[l] = 1;
            down[l] *= point(l);
        }
        for (uint s = 0; s < OUTPUTS; s++) {
            vec4 value = vec4(0);
            across[SIDE - 1] = s == OUTPUTS - 1 ? 1.0 : 0.0;
            [[unroll]] for (uint l = 0; l < SIDE; l++) value += across[l] * row[l];
            [[unroll]] for (uint l = 0; l < SIDE - 1; l++) across[l] *= point(l);
            uvec2 at = corner + uvec2(r, s);
            if (all(lessThan(at, plane))) finish(p, (image * plane.x + at.x) * plane.y + at.y, n, value, columns);
        }
    }
}
