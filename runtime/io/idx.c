/* IDX, the form of MNIST's files: two zero bytes, a type, the rank, big-endian sizes, the elements.
 * http://yann.lecun.com/exdb/mnist/ describes it. zlib reads plain and gzip files through one interface. */
#include "io_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { IDX_UNSIGNED_BYTE = 0x08, IDX_MAX_RANK = 4 };

/* Reads until `size` bytes are there or the file ends; *got is what came. */
static tuff_result read_some(gzFile file, const char *path, uint64_t offset, void *data, uint64_t size, uint64_t *got) {
    *got = 0;
    while (*got < size) {
        uint64_t left = size - *got;
        unsigned part = left < (1u << 24) ? (unsigned)left : 1u << 24;
        int read = gzread(file, (char *)data + *got, part);
        int code = Z_OK;
        const char *message = gzerror(file, &code);
        if (read > 0) *got += (uint64_t)read;
        /* A gzip file cut short gives what it has; zlib 1.2 says so from then on, 1.3.2 only until the next read. */
        if (code == Z_BUF_ERROR) {
            return io_fail(TUFF_ERROR_FILE,
                           "%s: truncated: the compressed data end after byte %" PRIu64 " (uncompressed)", path,
                           offset + *got);
        }
        if (read < 0) {
            /* zlib names the file (or its descriptor) in front of the reason. */
            const char *reason = strrchr(message, ':');
            return io_fail(TUFF_ERROR_FILE, "%s: cannot be read after byte %" PRIu64 " (uncompressed): %s", path,
                           offset + *got, reason != NULL ? reason + 2 : message);
        }
        if (read == 0) break;
    }
    return TUFF_OK;
}

static tuff_result read_exactly(gzFile file, const char *path, uint64_t offset, void *data, uint64_t size,
                                const char *what) {
    uint64_t got = 0;
    IO_TRY(read_some(file, path, offset, data, size, &got));
    if (got == size) return TUFF_OK;
    return io_fail(TUFF_ERROR_FILE, "%s: truncated: ends at byte %" PRIu64 ", but its %s reach to byte %" PRIu64, path,
                   offset + got, what, offset + size);
}

static tuff_result read_open_file(gzFile file, const char *path, uint64_t file_size, tuff_idx *idx) {
    unsigned char magic[4];
    IO_TRY(read_exactly(file, path, 0, magic, sizeof magic, "first four bytes, the magic number,"));
    if (magic[0] != 0 || magic[1] != 0) {
        return io_fail(TUFF_ERROR_FILE,
                       "%s: not an IDX file: it starts with %02x %02x %02x %02x, where 00 00 08 and the number of axes "
                       "(1 to 4) are expected",
                       path, magic[0], magic[1], magic[2], magic[3]);
    }
    if (magic[2] != IDX_UNSIGNED_BYTE) {
        return io_fail(TUFF_ERROR_FILE, "%s: elements of type 0x%02x (byte 2); only unsigned bytes, 0x08, are read",
                       path, magic[2]);
    }
    uint32_t rank = magic[3];
    if (rank < 1 || rank > IDX_MAX_RANK) {
        return io_fail(TUFF_ERROR_FILE, "%s: %u axes (byte 3); 1 to %d are read", path, rank, IDX_MAX_RANK);
    }
    unsigned char sizes[4 * IDX_MAX_RANK];
    IO_TRY(read_exactly(file, path, sizeof magic, sizes, (uint64_t)4 * rank, "sizes"));
    uint64_t header = sizeof magic + (uint64_t)4 * rank;

    tuff_shape shape = { .rank = rank };
    uint64_t count = 1;
    for (uint32_t axis = 0; axis < rank; axis++) {
        const unsigned char *s = sizes + 4 * axis;
        uint64_t size = (uint64_t)s[0] << 24 | (uint64_t)s[1] << 16 | (uint64_t)s[2] << 8 | s[3];
        if (size == 0) {
            return io_fail(TUFF_ERROR_FILE, "%s: axis %u has size 0 (byte %u)", path, axis, 4 + 4 * axis);
        }
        shape.sizes[axis] = (int64_t)size;
        if (__builtin_mul_overflow(count, size, &count)) count = UINT64_MAX;
    }
    /* gzip shrinks to 1/1032 at most. So what the file cannot hold is known before any memory is asked for. */
    uint64_t most = gzdirect(file) ? file_size : file_size * 1032 + 1024;
    if (count > most || count > SIZE_MAX / 2) {
        char text[IO_SHAPE_TEXT];
        return io_fail(TUFF_ERROR_FILE,
                       "%s: truncated, or its sizes are wrong: a file of %" PRIu64 " bytes cannot hold an array of %s",
                       path, file_size, io_shape_text(&shape, text));
    }
    uint8_t *data = malloc((size_t)count);
    if (data == NULL) return io_fail_memory(path, count);
    tuff_result result = read_exactly(file, path, header, data, count, "elements");
    if (result == TUFF_OK) {
        /* Also makes zlib check the end of the compressed data: its length and checksum. */
        unsigned char more;
        uint64_t got = 0;
        result = read_some(file, path, header + count, &more, 1, &got);
        if (result == TUFF_OK && got != 0) {
            char text[IO_SHAPE_TEXT];
            result = io_fail(TUFF_ERROR_FILE, "%s: too long: its array %s ends at byte %" PRIu64 ", more bytes follow",
                             path, io_shape_text(&shape, text), header + count);
        }
    }
    if (result != TUFF_OK) {
        free(data);
        return result;
    }
    idx->shape = shape;
    idx->data = data;
    return TUFF_OK;
}

tuff_result tuff_idx_read(const char *path, tuff_idx *idx) {
    if (path == NULL || idx == NULL) return io_fail(TUFF_ERROR_ARGUMENT, "tuff_idx_read: path and idx are required");
    *idx = (tuff_idx){ .data = NULL };
    FILE *plain = NULL;
    uint64_t size = 0;
    IO_TRY(io_file_open(path, &plain, &size));
    int descriptor = dup(fileno(plain));
    fclose(plain);
    gzFile file = descriptor < 0 ? NULL : gzdopen(descriptor, "rb");
    if (file == NULL) {
        if (descriptor >= 0) close(descriptor);
        return io_fail_memory(path, 8192);
    }
    gzbuffer(file, 1u << 17);
    tuff_result result = read_open_file(file, path, size, idx);
    gzclose(file);
    return result;
}

void tuff_idx_free(tuff_idx *idx) {
    if (idx == NULL) return;
    free(idx->data);
    *idx = (tuff_idx){ .data = NULL };
}
