/* The folder of what is kept, and its files: a header with a checksum, the key, the data. */
#include "runtime/device/cache_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- paths ------------------------------------------------------------------------------------- */

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static char *
text_of(const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

/* The value of a variable that is set to something. */
static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

tuff_result cache_folder_find(const char *asked, char **folder) {
    *folder = NULL;
    if (!asked) asked = getenv("TUFF_CACHE");
    if (asked && (!*asked || strcmp(asked, "0") == 0)) return TUFF_OK;
#ifdef _WIN32
    const char *local = environment("LOCALAPPDATA");
    if (!asked && !local) return TUFF_OK;
    *folder = asked ? text_of("%s", asked) : text_of("%s\\tuff", local);
#else
    const char *base = environment("XDG_CACHE_HOME"), *home = environment("HOME");
    if (base && *base != '/') base = NULL; /* the specification's word: a relative path does not count */
    if (!asked && !base && !home) return TUFF_OK;
    *folder = asked ? text_of("%s", asked) : base ? text_of("%s/tuff", base) : text_of("%s/.cache/tuff", home);
#endif
    return *folder ? TUFF_OK : error_out_of_host_memory(0);
}

/* Makes a folder and those that it lies in, for this user alone. */
static bool make_folders(const char *path) {
    char *part = text_of("%s", path);
    if (!part) return false;
    for (char *c = part + 1; *c; c++) {
        if (*c != '/') continue;
        *c = 0;
        (void)!mkdir(part, 0700); /* the last one tells */
        *c = '/';
    }
    bool made = mkdir(part, 0700) == 0 || errno == EEXIST;
    int error = errno;
    free(part);
    errno = error;
    return made;
}

/* ---- files ------------------------------------------------------------------------------------- */

typedef struct file_header {
    char magic[8];
    uint64_t checksum; /* of all that follows */
    uint64_t key_size, data_size;
} file_header;

static const char magic[8] = "tuff 1\r\n"; /* the lines' ends tell what went through a conversion of text */

static uint64_t checksum_on(uint64_t hash, const void *data, size_t size) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(1099511628211); /* FNV-1a */
    return hash;
}

static file_header make_header(const cache_file *file, const void *data, size_t size) {
    file_header header = { .key_size = file->key_size, .data_size = size };
    memcpy(header.magic, magic, sizeof magic);
    uint64_t hash = UINT64_C(14695981039346656037);
    hash = checksum_on(hash, &header.key_size, sizeof header.key_size);
    hash = checksum_on(hash, &header.data_size, sizeof header.data_size);
    hash = checksum_on(hash, file->key, file->key_size);
    header.checksum = checksum_on(hash, data, size);
    return header;
}

static bool read_all(int descriptor, void *data, size_t size) {
    for (uint8_t *to = data; size > 0;) {
        ssize_t got = read(descriptor, to, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        to += got;
        size -= (size_t)got;
    }
    return true;
}

static bool write_all(int descriptor, const void *data, size_t size) {
    for (const uint8_t *from = data; size > 0;) {
        ssize_t written = write(descriptor, from, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        from += written;
        size -= (size_t)written;
    }
    return true;
}

/* The key and the data, one behind the other, of a file that is as long as its header says. */
static uint8_t *read_contents(int descriptor, const cache_file *file, file_header *header) {
    struct stat status;
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return NULL;
    uint64_t length = (uint64_t)status.st_size, front = sizeof *header + file->key_size;
    if (length < front || length > SIZE_MAX || !read_all(descriptor, header, sizeof *header)) return NULL;
    if (header->key_size != file->key_size || header->data_size != length - front) return NULL;
    uint8_t *contents = malloc((size_t)(length - sizeof *header) + 1);
    if (contents && !read_all(descriptor, contents, (size_t)(length - sizeof *header))) {
        free(contents);
        return NULL;
    }
    return contents;
}

bool cache_file_read(const cache_file *file, void **data, size_t *size) {
    *data = NULL;
    char *path = text_of("%s/%s", file->folder, file->name);
    /* O_NONBLOCK: a pipe of that name must not be waited for */
    int descriptor = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    free(path);
    if (descriptor < 0) return false;
    file_header header;
    uint8_t *contents = read_contents(descriptor, file, &header);
    close(descriptor);
    if (!contents) return false;
    *size = (size_t)header.data_size;
    const file_header wanted = make_header(file, contents + file->key_size, *size);
    if (memcmp(&header, &wanted, sizeof header) != 0 || memcmp(contents, file->key, file->key_size) != 0) {
        free(contents);
        return false;
    }
    memmove(contents, contents + file->key_size, *size);
    *data = contents;
    return true;
}

/* Writes the new file beside the old one and puts it in its place. NULL, or what failed, with errno. */
static const char *replace(const cache_file *file, const char *path, const void *data, size_t size) {
    /* A process that crashed may have left a file of that name, and other threads write as well: try a few. */
    char *beside = NULL;
    int descriptor = -1;
    for (unsigned attempt = 0; attempt < 16 && descriptor < 0; attempt++) {
        free(beside);
        beside = text_of("%s.new-%ld-%u", path, (long)getpid(), attempt);
        if (!beside) return "there is no memory for its name";
        descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (descriptor < 0 && errno != EEXIST) break;
    }
    const char *failed = descriptor < 0 ? "a file cannot be made there" : NULL;
    if (!failed) {
        const file_header header = make_header(file, data, size);
        bool good = write_all(descriptor, &header, sizeof header) && write_all(descriptor, file->key, file->key_size)
                    && write_all(descriptor, data, size) && fsync(descriptor) == 0;
        int error = errno;
        if (close(descriptor) != 0 && good) {
            good = false;
            error = errno;
        }
        if (!good) failed = "it cannot be written";
        if (good && rename(beside, path) != 0) {
            failed = "it cannot be put in its place";
            error = errno;
        }
        if (failed) unlink(beside);
        errno = error;
    }
    int error = errno;
    free(beside);
    errno = error;
    return failed;
}

bool cache_file_write(const cache_file *file, const void *data, size_t size, char *why) {
    char *path = text_of("%s/%s", file->folder, file->name);
    const char *failed = path ? NULL : "there is no memory for its name";
    if (path && !make_folders(file->folder)) failed = "its folder cannot be made";
    if (!failed) failed = replace(file, path, data, size);
    int error = errno;
    free(path);
    if (!failed) return true;
    snprintf(why, 256, "%s: %s", failed, strerror(error));
    return false;
}
