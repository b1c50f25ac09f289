/* Files: models as safetensors, data sets in IDX form. A library of its own (tuff_io): it needs Jansson
 * and zlib, the core needs nothing. A file is checked whole before anything is changed, and written
 * beside, flushed and renamed. */
#ifndef TUFF_IO_H
#define TUFF_IO_H

#include <tuff/tuff.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuff_save_desc {
    bool no_optimizer; /* leave out moments and step counts */
} tuff_save_desc;

/* Saves a model's states, but for caches, as safetensors under PyTorch's names; step counts of optimizers go into the
 * file's metadata. Errors: FILE. */
TUFF_API tuff_result tuff_save(tuff_model *model, const char *path, const tuff_save_desc *desc);

typedef struct tuff_load_desc {
    bool partial;      /* states missing in the file keep their values; else an error that lists them */
    bool ignore_extra; /* tensors of the file that the model lacks are no error */
} tuff_load_desc;

/* Loads states by name. Everything is checked before the first one changes: a model is never half
 * loaded. Optimizer states absent from the file keep their values; those that only the file has are
 * skipped, and so is PyTorch's num_batches_tracked. To go on with a training, compile the program that
 * trains first: its compilation makes the optimizer's states (without them the optimizer, step count
 * included, starts anew). Errors: FILE (names the file, the tensor, the byte, what was expected). */
TUFF_API tuff_result tuff_load(tuff_model *model, const char *path, const tuff_load_desc *desc);

/* One tensor of a safetensors file, or to be written to one. */
typedef struct tuff_file_tensor {
    const char *name;
    tuff_type type;
    tuff_shape shape;
    const void *data;
    size_t size; /* bytes */
} tuff_file_tensor;

typedef struct tuff_safetensors tuff_safetensors;

/* Reads and checks a whole file; what the calls below return belongs to it and is valid until it is closed. F32, F64,
 * I32, I64, U8 and BOOL are understood (64-bit ones are converted; an I64 beyond 32 bits is an error; BOOL is TUFF_U8).
 * Errors: FILE (the byte and what was expected), MEMORY. Any thread. */
TUFF_API tuff_result tuff_safetensors_open(const char *path, tuff_safetensors **file);
/* NULL is allowed. */
TUFF_API void tuff_safetensors_close(tuff_safetensors *file);
/* The tensors in the file's order; NULL for an index or a name that is not there. */
TUFF_API uint32_t tuff_safetensors_count(const tuff_safetensors *file);
TUFF_API const tuff_file_tensor *tuff_safetensors_at(const tuff_safetensors *file, uint32_t index);
TUFF_API const tuff_file_tensor *tuff_safetensors_find(const tuff_safetensors *file, const char *name);
/* The value of a metadata key, NULL if absent. */
TUFF_API const char *tuff_safetensors_metadata(const tuff_safetensors *file, const char *key);
/* Writes tensors and metadata (pairs key, value; may be NULL). Errors: FILE, ARGUMENT. Any thread. */
TUFF_API tuff_result tuff_safetensors_write(const char *path, const tuff_file_tensor *tensors, uint32_t count,
                                            const char *const *metadata, uint32_t metadata_pairs);

/* An array in IDX form, as MNIST's (unsigned bytes, rank 1 to 4), plain or compressed with gzip. */
typedef struct tuff_idx {
    tuff_shape shape;
    uint8_t *data;
} tuff_idx;

/* Errors: FILE (wrong magic, truncated, too long, too large: says which byte), MEMORY. Free what it gave with
 * tuff_idx_free, which allows NULL and what was freed before. Any thread. */
TUFF_API tuff_result tuff_idx_read(const char *path, tuff_idx *idx);
TUFF_API void tuff_idx_free(tuff_idx *idx);

#ifdef __cplusplus
}
#endif
#endif
