#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
// F[i][j][tile][c] = sum over y, x of T[i][y] * T[j][x] * X[image][corner of the tile + (y, x)][c], with zeros beyond the
// image's edges. ROLE says which matrix of winograd.glsl T is: the image's B^T, the filter's G, A for the gradient of a
// result, and G^T, by which the sums of the filter's gradient become taps.
//
// An invocation makes four neighbouring channels of one tile; its neighbours take the next channels. A filter is one
// tile, whose channels are a matrix: rows that lie apart where it is a part of a larger one.

layout(constant_id = 0) const uint ROLE = 0;
#include "product/winograd.glsl"
#include "gather/flat.glsl"

#define ROLE_IMAGE           0
#define ROLE_FILTER          1
#define ROLE_RESULT_GRADIENT 2
#define ROLE_FILTER_GRADIENT 3

layout(set = 0, binding = 0) readonly buffer X { vec4 x4[]; };
layout(set = 0, binding = 1) writeonly buffer F { vec4 f4[]; };
#ifdef TEXELS
#extension GL_EXT_samplerless_texture_functions : require
layout(set = 0, binding = 8) uniform textureBuffer x_texels;
#define READ(at) texelFetch(x_texels, int(at))
#else
#define READ(at) x4[at]
#endif

// layers/winograd.c fills these; what counts elements counts four at a time
layout(push_constant) uniform Params {
    uint tiles, fours;                  // of all images; of a tile's channels
    uint row_fours;                     // of a row of them
    uint tiles_h, tiles_w;              // of one image
    uint step;                          // from one tile's corner to the next one's
    int corner_h, corner_w;             // the first tile's
    int size_h, size_w;                 // of the image
    uint from, image_n, image_h, image_w, from_row;
    uint to, to_place, to_row;
};

// The sides of what is read and of what is made.
const uint READS = ROLE == ROLE_FILTER ? TAPS : ROLE == ROLE_RESULT_GRADIENT ? OUTPUTS : SIDE;
const uint MAKES = ROLE == ROLE_FILTER_GRADIENT ? TAPS : SIDE;

float matrix(uint i, uint l) {
    float value = 0;
    switch (ROLE) {
    case ROLE_IMAGE: value = input_matrix(i, l); break;
    case ROLE_FILTER: value = filter_matrix(i, l); break;
    case ROLE_RESULT_GRADIENT: value = output_matrix(l, i); break;
    case ROLE_FILTER_GRADIENT: value = filter_matrix(l, i); break;
    }
    return value;
}

void main() {
    uint i = flat_index();
    if (i >= tiles * fours) return;
    uint tile = i / fours, four = i - tile * fours, line = tile / tiles_w, image = line / tiles_h;
    ivec2 corner = ivec2(line - image * tiles_h, tile - line * tiles_w) * int(step) + ivec2(corner_h, corner_w);
    uint row_index = four / row_fours, column = four - row_index * row_fours;
    uint first = from + image * image_n + row_index * from_row + column;
    uint made = to + tile * fours + row_index * to_row + column;

    float t[SIDE * SIDE];
    vec4 x[SIDE * SIDE];
    [[unroll]] for (uint r = 0; r < MAKES; r++)
        [[unroll]] for (uint l = 0; l < READS; l++) t[r * SIDE + l] = matrix(r, l);
    [[unroll]] for (uint r = 0; r < READS; r++)
        [[unroll]] for (uint s = 0; s < READS; s++) {
            ivec2 at = corner + ivec2(r, s);
            bool inside = all(greaterThanEqual(at, ivec2(0))) && all(lessThan(at, ivec2(size_h, size_w)));
            vec4 value = READ(inside ? first + uint(at.x) * image_h + uint(at.y) * image_w : first);
            x[r * SIDE + s] = inside ? value : vec4(0);
        }
    [[unroll]] for (uint r = 0; r < MAKES; r++) {
        vec4 row[SIDE];
        [[unroll]] for (uint s = 0; s < READS; s++) {
            row[s] = vec4(0);
            [[unroll]] for (uint l = 0; l < READS; l++)
                if (t[r * SIDE + l] != 0) row[s] += t[r * SIDE + l] * x[l * SIDE + s];
        }
        [[unroll]] for (uint s = 0; s < MAKES; s++) {
            vec4 value = vec4(0);
            [[unroll]] for (uint l = 0; l < READS; l++)
                if (t[s * SIDE + l] != 0) value += t[s * SIDE + l] * row[l];
            f4[made + (r * MAKES + s) * to_place] = value;
        }
    }
}
