/* What Tuff keeps from one process to the next: files in one folder, whole or not there.
 *
 * Each file is good for one key, e.g. a device, its driver and this version: with another key, damaged or cut off it is
 * as if it were not there. All may be deleted at any time. Nothing here is a failure of the call that wanted it. */
#ifndef TUFF_RUNTIME_CACHE_FOLDER_H
#define TUFF_RUNTIME_CACHE_FOLDER_H

#include "runtime/error.h"

/* The folder that tuff_device_desc.cache asks for: a path, "0" or "" for none, NULL for what the environment's
 * TUFF_CACHE says in the same way, and without it the user's own place. *folder is allocated by malloc; NULL: there is
 * none, by wish or because the user has no such place. Nothing is made yet. Errors: MEMORY. */
tuff_result cache_folder_find(const char *asked, char **folder);

typedef struct cache_file {
    const char *folder, *name;
    const void *key; /* bytes that the file was written with */
    size_t key_size;
} cache_file;

/* *data is allocated by malloc. */
bool cache_file_read(const cache_file *file, void **data, size_t *size);
/* Replaces the file in one step, and makes the folder where it is missing. Otherwise *why, 256 bytes, says what failed.
 */
bool cache_file_write(const cache_file *file, const void *data, size_t size, char *why);

#endif
