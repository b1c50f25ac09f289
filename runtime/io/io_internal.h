/* What the parts of tuff_io share: its failures, and reading and writing whole files. */
#ifndef TUFF_RUNTIME_IO_INTERNAL_H
#define TUFF_RUNTIME_IO_INTERNAL_H

#include <tuff/io.h>

#include <stdio.h>

/* tuff_io is a library of its own and sees only Tuff's public symbols: this formats a message and gives it
 * to tuff_fail. Control characters in it (a file's names may hold any) become '?'. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
tuff_result
io_fail(tuff_result result, const char *format, ...);

/* Returns TUFF_ERROR_MEMORY with a message that names the file. */
tuff_result io_fail_memory(const char *path, uint64_t bytes);

#define IO_TRY(call)                                                                                                   \
    do {                                                                                                               \
        tuff_result io_try_result_ = (call);                                                                           \
        if (io_try_result_ != TUFF_OK) return io_try_result_;                                                          \
    } while (0)

/* Opens a regular file for reading and gives its size in bytes. */
tuff_result io_file_open(const char *path, FILE **file, uint64_t *size);

/* Reads exactly `size` bytes; `offset` is where they stand, for the message. */
tuff_result io_file_read(FILE *file, const char *path, uint64_t offset, void *data, uint64_t size);

typedef struct io_chunk {
    const void *data;
    size_t size;
} io_chunk;

/* Replaces (or makes) the file as a whole: whoever opens the path sees all of the old file or all of the new
 * one, also after a loss of power. */
tuff_result io_file_write(const char *path, const io_chunk *chunks, size_t count);

/* "[64, 1, 28, 28]" into text, returns text. */
#define IO_SHAPE_TEXT 192
const char *io_shape_text(const tuff_shape *shape, char text[IO_SHAPE_TEXT]);
const char *io_type_text(tuff_type type);

/* What a tensor of an open file is there, if it was converted on being read: "int64", "float64"; NULL: it was not. */
const char *io_file_type_text(const tuff_file_tensor *tensor);

#endif
