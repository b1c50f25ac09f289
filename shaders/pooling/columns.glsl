// What unfold and fold share: planes (one channel of one image) of height x width pixels, and their columns, in memory
// (planes, kernel_y, kernel_x, out_height, out_width): under tap (ky, kx), window (oy, ox) meets the pixel
// (oy stride - padding + ky dilation, ox stride - padding + kx dilation).
layout(local_size_x = 64) in;

layout(push_constant) uniform Params {
    int height, width, out_height, out_width;
    int kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
    uint first_image, first_columns;
    uint begin_line, begin_tap; // large ones take several calls
};
