/* Files named on the command line, looked at before a training that would otherwise be for nothing. */
#ifndef SAMPLES_FILES_H
#define SAMPLES_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a file can be made at `path` (NULL: nothing is asked for); else message says why not. */
bool files_can_write(const char *path, char *message, size_t message_size);

/* Whether `path` is a whole safetensors file (NULL: nothing is asked for); else message says why not. */
bool files_can_load(const char *path, char *message, size_t message_size);

#endif
