// What a window's sum is divided by.
int pixels_of(int o, int stride, int padding, int kernel, int size) {
    int begin = o * stride - padding, end = min(begin + kernel, size + padding);
    return EXCLUDE_PADDING ? min(end, size) - max(begin, 0) : end - begin;
}

float divisor_of(int row, int column) {
    if (divisor != 0.0) return divisor;
    return float(pixels_of(row, stride_y, padding_y, kernel_y, in_height)
                 * pixels_of(column, stride_x, padding_x, kernel_x, in_width));
}
