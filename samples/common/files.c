/* Files named on the command line. */
#include "files.h"

#include <tuff/io.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool files_can_write(const char *path, char *message, size_t message_size) {
    if (path == NULL) return true;
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        snprintf(message, message_size, "%s: cannot be written: it is a directory", path);
        return false;
    }
    char directory[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= sizeof directory) length = sizeof directory - 1;
    memcpy(directory, path, length);
    directory[length] = '\0';
    if (access(length == 0 ? "." : directory, W_OK | X_OK) == 0) return true;
    snprintf(message, message_size, "%s: cannot be written: %s", path, strerror(errno));
    return false;
}

bool files_can_load(const char *path, char *message, size_t message_size) {
    if (path == NULL) return true;
    tuff_safetensors *file = NULL;
    if (tuff_safetensors_open(path, &file) != TUFF_OK) {
        snprintf(message, message_size, "%s", tuff_last_message());
        return false;
    }
    tuff_safetensors_close(file);
    return true;
}
