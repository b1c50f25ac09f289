// The largest pixel of a window, found in x: its value, and its row-major number in the image.
INDEX largest_of(place p, int o_row, int o_column, out VALUE largest) {
    span rows = rows_of(o_row), columns = columns_of(o_column);
    largest = READ(x, first_x + offset_of(p, rows.begin, columns.begin, in_height, in_width));
    INDEX best = INDEX(rows.begin * in_width + columns.begin);
    for (int row = rows.begin; row < rows.end; row += rows.step)
        for (int column = columns.begin; column < columns.end; column += columns.step) {
            VALUE value = READ(x, first_x + offset_of(p, row, column, in_height, in_width));
            CHOICE take = takes_over(value, largest);
            largest = mix(largest, value, take);
            best = mix(best, INDEX(row * in_width + column), take);
        }
    return best;
}
