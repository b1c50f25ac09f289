#version 450
// y[n, i, j, c] = sum over h, w of R[i, h] C[j, w] x[n, h, w, c]: images channels-last, R and C banded.
//
// One invocation a VALUE of y; a row of workgroups takes a row of an image, neighbours along the channels, then along
// the row. A matrix is an entry of 3 words for each of its rows, (first column, number of columns, offset of the first
// weight), and behind all entries the weights.
layout(local_size_x = 64) in;

#if WIDTH == 4
#define VALUE vec4
#else
#define VALUE float
#endif

layout(push_constant) uniform Params {
    uint in_height, in_width, out_height, out_width;
    uint channels; // in VALUEs
    uint first_x, first_y;
    uint rows, columns;         // where R and C start, in words
    uint begin_row, begin_line; // large images take several calls
};

layout(set = 0, binding = 0) readonly buffer X { VALUE x[]; };
layout(set = 0, binding = 1) writeonly buffer Y { VALUE y[]; };
layout(set = 0, binding = 2) readonly buffer Record { uint words[]; };

void main() {
    uint i = begin_line + gl_GlobalInvocationID.x, column = i / channels, channel = i - column * channels;
    uint row = begin_row + gl_WorkGroupID.y, image = gl_WorkGroupID.z;
    if (column >= out_width) return;
    uint entry = rows + 3u * row, top = words[entry], height = words[entry + 1u];
    uint row_weight = rows + 3u * out_height + words[entry + 2u];
    entry = columns + 3u * column;
    uint left = words[entry], width = words[entry + 1u];
    uint column_weight = columns + 3u * out_width + words[entry + 2u];
    VALUE sum = VALUE(0.0);
    for (uint h = 0u; h < height; h++) {
        uint from = first_x + ((image * in_height + top + h) * in_width + left) * channels + channel;
        VALUE line = VALUE(0.0);
        for (uint w = 0u; w < width; w++)
            line += uintBitsToFloat(words[column_weight + w]) * x[from + w * channels];
        sum += uintBitsToFloat(words[row_weight + h]) * line;
    }
    y[first_y + ((image * out_height + row) * out_width + column) * channels + channel] = sum;
}
