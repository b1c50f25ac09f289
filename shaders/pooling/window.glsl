// What the pooling kernels share. Images lie channels-last, (N, H, W, C) in memory; C is counted in VALUEs of WIDTH
// numbers. One invocation a VALUE of the output. A row of workgroups takes a row of an image, neighbours along the
// channels, then along the row; so that only one division finds the place (CPUs have none for vectors).
layout(local_size_x = 64) in;

#if WIDTH == 4
#define VALUE vec4
#define INDEX uvec4
#define CHOICE bvec4
#else
#define VALUE float
#define INDEX uint
#define CHOICE bool
#endif

layout(push_constant) uniform Params {
    int in_height, in_width;   // of the image that is pooled
    int out_height, out_width; // of what pooling makes of it
    uint channels;
    int kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x;
    uint first_x, first_y, first_g; // of x, of the output, of the arriving gradient
    uint begin_row, begin_line;     // large images take several calls
};

// The place of an invocation in its image.
struct place {
    uint channel, image;
    int row, column;
};

uint offset_of(place p, int row, int column, int height, int width) {
    return ((p.image * uint(height) + uint(row)) * uint(width) + uint(column)) * channels + p.channel;
}

// True where `value` takes the place of `largest`: it is larger, or the first NaN or a later one, as in PyTorch.
#if WIDTH == 4
bvec4 is_nan(vec4 x) {
    return greaterThan(floatBitsToUint(x) & 0x7fffffffu, uvec4(0x7f800000u));
}
bvec4 takes_over(vec4 value, vec4 largest) {
    // mix of booleans: an "or" and an "and" for each component
    bvec4 larger = mix(greaterThan(value, largest), bvec4(false), is_nan(largest));
    return mix(larger, bvec4(true), is_nan(value));
}
#else
bool is_nan(float x) {
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u;
}
bool takes_over(float value, float largest) {
    return is_nan(value) || (!is_nan(largest) && value > largest);
}
#endif

void work_at(place p);

// Calls work_at for this invocation's place in images of the given size.
void work(int height, int width) {
    uint i = begin_line + gl_GlobalInvocationID.x, column = i / channels;
    place p;
    p.image = gl_WorkGroupID.z;
    p.row = int(begin_row + gl_WorkGroupID.y);
    p.column = int(column);
    p.channel = i - column * channels;
    if (p.column < width) work_at(p);
}
