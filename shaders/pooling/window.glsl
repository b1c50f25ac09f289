// What the pooling kernels share. Images lie channels-last, (N, H, W, C) in memory; C is counted in VALUEs of WIDTH
// numbers. One invocation a VALUE of the output. A row of workgroups takes a row of an image, neighbours along the
// channels, then along the row; so that only one division finds the place (CPUs have none for vectors).
layout(local_size_x = 64) in;

#ifdef TEXELS // of four numbers, which drivers for the CPU load as one
#extension GL_EXT_samplerless_texture_functions : require
#define READ(name, at) texelFetch(name##_texels, int(at))
#else
#define READ(name, at) name[at]
#endif

#if WIDTH == 4
#define VALUE vec4
#define INDEX uvec4
#define CHOICE bvec4
#else
#define VALUE float
#define INDEX uint
#define CHOICE bool
#endif

// Window o of `count` along an axis of `size` pixels covers the pixels from floor(o size / count) to
// ceil((o + 1) size / count).
layout(constant_id = 0) const bool ADAPTIVE = false;

layout(push_constant) uniform Params {
    int in_height, in_width;   // of the image that is pooled
    int out_height, out_width; // of what pooling makes of it
    uint channels;
    int kernel_y, kernel_x, stride_y, stride_x; // ADAPTIVE: size / count and size % count, in kernel and stride
    int padding_y, padding_x, dilation_y, dilation_x;
    float divisor;                  // of an average; 0: the number of pixels
    uint first_x, first_y, first_g; // of x, of the output, of the arriving gradient
    uint first_index;
    uint begin_row, begin_line; // large images take several calls
};

// The place of an invocation in its image.
struct place {
    uint channel, image;
    int row, column;
};

uint offset_of(place p, int row, int column, int height, int width) {
    return ((p.image * uint(height) + uint(row)) * uint(width) + uint(column)) * channels + p.channel;
}

// The pixels of the image that a window covers: every step-th one from begin on.
struct span {
    int begin, end, step;
};

span span_of(int o, int size, int count, int kernel, int stride, int padding, int dilation) {
    if (ADAPTIVE) { // count is at most 65535
        uint at = uint(o), ratio = uint(kernel), rest = uint(stride), all = uint(count);
        return span(int(at * ratio + at * rest / all),
                    int((at + 1u) * ratio + ((at + 1u) * rest + all - 1u) / all), 1);
    }
    int begin = o * stride - padding, end = min(begin + (kernel - 1) * dilation + 1, size);
    if (begin < 0) begin += (dilation - 1 - begin) / dilation * dilation;
    return span(begin, end, dilation);
}

span rows_of(int o) {
    return span_of(o, in_height, out_height, kernel_y, stride_y, padding_y, dilation_y);
}
span columns_of(int o) {
    return span_of(o, in_width, out_width, kernel_x, stride_x, padding_x, dilation_x);
}

// The windows, begin to end, among which are all that cover a pixel.
span covering(int pixel, int size, int count, int kernel, int stride, int padding, int dilation) {
    if (ADAPTIVE) {
        int o = clamp(int(float(pixel) * float(count) / float(size)), 0, count - 1); // near the first one
        while (o > 0 && span_of(o - 1, size, count, kernel, stride, padding, dilation).end > pixel) o--;
        while (span_of(o, size, count, kernel, stride, padding, dilation).end <= pixel) o++;
        int end = o + 1;
        while (end < count && span_of(end, size, count, kernel, stride, padding, dilation).begin <= pixel) end++;
        return span(o, end, 1);
    }
    int at = pixel + padding, reach = (kernel - 1) * dilation + 1;
    return span(at < reach ? 0 : (at - reach) / stride + 1, min(at / stride, count - 1) + 1, 1);
}

span window_rows(int row) {
    return covering(row, in_height, out_height, kernel_y, stride_y, padding_y, dilation_y);
}
span window_columns(int column) {
    return covering(column, in_width, out_width, kernel_x, stride_x, padding_x, dilation_x);
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
