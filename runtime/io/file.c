/* Files as wholes: read with their size known, replaced in one step. */
#include "io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

tuff_result io_fail(tuff_result result, const char *format, ...) {
    char message[1600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (char *c = message; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    }
    return tuff_fail(result, message);
}

tuff_result io_fail_memory(const char *path, uint64_t bytes) {
    return io_fail(TUFF_ERROR_MEMORY, "%s: no host memory for %" PRIu64 " bytes", path, bytes);
}

const char *io_shape_text(const tuff_shape *shape, char text[IO_SHAPE_TEXT]) {
    size_t used = 0;
    text[used++] = '[';
    for (uint32_t axis = 0; axis < shape->rank && axis < TUFF_MAX_RANK; axis++) {
        used += (size_t)snprintf(text + used, IO_SHAPE_TEXT - used, "%s%" PRId64, axis == 0 ? "" : ", ",
                                 shape->sizes[axis]);
    }
    snprintf(text + used, IO_SHAPE_TEXT - used, "]");
    return text;
}

const char *io_type_text(tuff_type type) {
    return type == TUFF_F32 ? "F32" : type == TUFF_I32 ? "I32" : type == TUFF_U8 ? "U8" : "unknown";
}

tuff_result io_file_open(const char *path, FILE **file, uint64_t *size) {
    *file = NULL;
    /* O_NONBLOCK: a path that names a pipe must be refused, not waited for. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return io_fail(TUFF_ERROR_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        int error = errno;
        close(descriptor);
        return io_fail(TUFF_ERROR_FILE, "%s: cannot be examined: %s", path, strerror(error));
    }
    if (!S_ISREG(status.st_mode)) {
        close(descriptor);
        return io_fail(TUFF_ERROR_FILE, "%s: is %s, not a file", path,
                       S_ISDIR(status.st_mode) ? "a directory" : "a device or a pipe");
    }
    *file = fdopen(descriptor, "rb");
    if (*file == NULL) {
        close(descriptor);
        return io_fail_memory(path, sizeof(FILE));
    }
    *size = (uint64_t)status.st_size;
    return TUFF_OK;
}

tuff_result io_file_read(FILE *file, const char *path, uint64_t offset, void *data, uint64_t size) {
    size_t got = size == 0 ? 0 : fread(data, 1, (size_t)size, file);
    if (got == size) return TUFF_OK;
    if (ferror(file)) {
        return io_fail(TUFF_ERROR_FILE, "%s: cannot be read at byte %" PRIu64 ": %s", path, offset + got,
                       strerror(errno));
    }
    return io_fail(TUFF_ERROR_FILE, "%s: ends at byte %" PRIu64 ", %" PRIu64 " more were expected", path, offset + got,
                   size - got);
}

static bool write_all(int descriptor, const void *data, size_t size) {
    const char *bytes = data;
    while (size > 0) {
        /* Linux takes at most 0x7ffff000 bytes at once, other systems less. */
        size_t part = size < ((size_t)1 << 30) ? size : (size_t)1 << 30;
        ssize_t written = write(descriptor, bytes, part);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

/* The directory's own entry for the new name reaches the disk only with this. Some file systems cannot do it
 * (EINVAL); the file itself is complete by now, so that is no failure. */
static void sync_directory(const char *target) {
    const char *slash = strrchr(target, '/');
    char *directory = slash == NULL     ? strdup(".")
                      : slash == target ? strdup("/")
                                        : strndup(target, (size_t)(slash - target));
    if (directory == NULL) return;
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (descriptor < 0) return;
    (void)!fsync(descriptor);
    close(descriptor);
}

static tuff_result write_beside(const char *path, const char *target, const char *beside, int descriptor, mode_t mode,
                                const io_chunk *chunks, size_t count) {
    const char *failed = NULL;
    if (mode != 0 && fchmod(descriptor, mode) != 0) failed = "cannot keep its permissions";
    for (size_t i = 0; i < count && failed == NULL; i++) {
        if (!write_all(descriptor, chunks[i].data, chunks[i].size)) failed = "cannot be written";
    }
    if (failed == NULL && fsync(descriptor) != 0) failed = "cannot be flushed to the disk";
    int error = errno;
    if (close(descriptor) != 0 && failed == NULL) {
        failed = "cannot be written";
        error = errno;
    }
    if (failed == NULL && rename(beside, target) != 0) {
        failed = "cannot be put in its place";
        error = errno;
    }
    if (failed != NULL) {
        unlink(beside);
        return io_fail(TUFF_ERROR_FILE, "%s: %s: %s", path, failed, strerror(error));
    }
    sync_directory(target);
    return TUFF_OK;
}

tuff_result io_file_write(const char *path, const io_chunk *chunks, size_t count) {
    /* A link keeps being a link: what it points to is replaced. */
    char *resolved = realpath(path, NULL);
    const char *target = resolved != NULL ? resolved : path;
    mode_t mode = 0;
    struct stat status;
    if (stat(target, &status) == 0) {
        if (!S_ISREG(status.st_mode)) {
            free(resolved);
            return io_fail(TUFF_ERROR_FILE, "%s: is %s, not a file", path,
                           S_ISDIR(status.st_mode) ? "a directory" : "a device or a pipe");
        }
        mode = status.st_mode & 0777;
    }
    size_t length = strlen(target) + 64;
    char *beside = malloc(length);
    if (beside == NULL) {
        free(resolved);
        return io_fail_memory(path, length);
    }
    /* A process that crashed may have left a file of that name: try a few. */
    int descriptor = -1;
    for (unsigned attempt = 0; attempt < 16 && descriptor < 0; attempt++) {
        snprintf(beside, length, "%s.tmp-%ld-%u", target, (long)getpid(), attempt);
        descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0 && errno != EEXIST) break;
    }
    tuff_result result = descriptor < 0 ? io_fail(TUFF_ERROR_FILE, "%s: a new file cannot be made in its directory: %s",
                                                  path, strerror(errno))
                                        : write_beside(path, target, beside, descriptor, mode, chunks, count);
    free(beside);
    free(resolved);
    return result;
}
