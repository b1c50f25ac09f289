/* safetensors: eight bytes with the header's length, the header in JSON, the tensors' bytes without gaps.
 * https://huggingface.co/docs/safetensors describes it; what its own reader refuses is refused here, too. */
#include "io_internal.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors are little-endian: this file needs byte swaps here"
#endif

/* The format's own limit. */
static const uint64_t header_limit = 100000000;
static const char *const metadata_key = "__metadata__";

typedef enum dtype { DTYPE_F32, DTYPE_I32, DTYPE_F64, DTYPE_I64, DTYPE_U8 } dtype;

typedef struct entry {
    tuff_file_tensor tensor;
    dtype dtype;
    uint64_t begin, end; /* bytes, counted from the end of the header */
    void *converted;     /* of a 64-bit type */
} entry;

struct tuff_safetensors {
    json_t *header; /* owns the names */
    uint64_t header_end;
    unsigned char *data;
    entry *entries; /* in the order of their bytes */
    uint32_t count;
    entry **by_name;
};

/* ---- the header --------------------------------------------------------------------------- */

static tuff_result fail_tensor(const char *path, const char *name, const char *what) {
    return io_fail(TUFF_ERROR_FILE, "%s: tensor \"%.200s\": %s", path, name, what);
}

static tuff_result parse_dtype(const char *path, const char *name, const json_t *value, entry *e) {
    static const struct {
        const char *name;
        dtype dtype;
        tuff_type type;
    } types[] = {
        { "F32", DTYPE_F32, TUFF_F32 }, { "I32", DTYPE_I32, TUFF_I32 }, { "F64", DTYPE_F64, TUFF_F32 },
        { "I64", DTYPE_I64, TUFF_I32 }, { "U8", DTYPE_U8, TUFF_U8 },    { "BOOL", DTYPE_U8, TUFF_U8 },
    };
    if (!json_is_string(value)) return fail_tensor(path, name, "has no dtype (a string)");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(json_string_value(value), types[i].name) == 0) {
            e->dtype = types[i].dtype;
            e->tensor.type = types[i].type;
            return TUFF_OK;
        }
    }
    return io_fail(
        TUFF_ERROR_FILE,
        "%s: tensor \"%.200s\" has type %.20s; F32, F64, I32, I64, U8 and BOOL are understood: save it as F32", path,
        name, json_string_value(value));
}

static tuff_result parse_shape(const char *path, const char *name, const json_t *value, entry *e) {
    if (!json_is_array(value)) return fail_tensor(path, name, "has no shape (a list of sizes)");
    size_t rank = json_array_size(value);
    if (rank > TUFF_MAX_RANK) {
        return io_fail(TUFF_ERROR_FILE, "%s: tensor \"%.200s\" has %zu axes; at most %d are understood", path, name,
                       rank, TUFF_MAX_RANK);
    }
    e->tensor.shape = (tuff_shape){ .rank = (uint32_t)rank };
    for (size_t axis = 0; axis < rank; axis++) {
        const json_t *size = json_array_get(value, axis);
        if (!json_is_integer(size)) return fail_tensor(path, name, "a size in its shape is not a whole number");
        if (json_integer_value(size) < 1) {
            return io_fail(TUFF_ERROR_FILE, "%s: tensor \"%.200s\": axis %zu has size %lld; 1 or more is expected",
                           path, name, axis, (long long)json_integer_value(size));
        }
        e->tensor.shape.sizes[axis] = json_integer_value(size);
    }
    return TUFF_OK;
}

/* Against data_size, the bytes after the header, so that nothing later can lie outside the file. */
static tuff_result parse_offsets(const char *path, const char *name, const json_t *value, uint64_t data_size,
                                 entry *e) {
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);
    if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end)) {
        return fail_tensor(path, name, "has no data_offsets (a list of two whole numbers)");
    }
    long long b = json_integer_value(begin), n = json_integer_value(end);
    if (b < 0 || n < b || (uint64_t)n > data_size) {
        return io_fail(TUFF_ERROR_FILE,
                       "%s: tensor \"%.200s\": data_offsets [%lld, %lld] do not lie in the %" PRIu64
                       " bytes that follow the header (is the file truncated?)",
                       path, name, b, n, data_size);
    }
    e->begin = (uint64_t)b;
    e->end = (uint64_t)n;
    uint64_t bytes = e->dtype == DTYPE_F64 || e->dtype == DTYPE_I64 ? 8 : tuff_type_size(e->tensor.type);
    for (uint32_t axis = 0; axis < e->tensor.shape.rank; axis++) {
        if (__builtin_mul_overflow(bytes, (uint64_t)e->tensor.shape.sizes[axis], &bytes)) bytes = UINT64_MAX;
    }
    if (bytes != e->end - e->begin) {
        char text[IO_SHAPE_TEXT];
        return io_fail(TUFF_ERROR_FILE,
                       "%s: tensor \"%.200s\": its shape %s and type need %" PRIu64
                       " bytes, its data_offsets [%lld, %lld] give %" PRIu64,
                       path, name, io_shape_text(&e->tensor.shape, text), bytes, b, n, e->end - e->begin);
    }
    return TUFF_OK;
}

static tuff_result check_metadata(const char *path, json_t *metadata) {
    if (!json_is_object(metadata)) {
        return io_fail(TUFF_ERROR_FILE, "%s: __metadata__ is not an object of strings", path);
    }
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value)) {
            return io_fail(TUFF_ERROR_FILE, "%s: __metadata__: the value of \"%.200s\" is not a string", path, key);
        }
    }
    return TUFF_OK;
}

static int compare_begin(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int compare_name(const void *a, const void *b) {
    return strcmp((*(entry *const *)a)->tensor.name, (*(entry *const *)b)->tensor.name);
}

static int compare_key(const void *key, const void *element) {
    return strcmp(key, (*(entry *const *)element)->tensor.name);
}

/* The bytes of the tensors must cover what follows the header exactly: no overlap, no gap, no rest. */
static tuff_result check_cover(const char *path, const tuff_safetensors *file, uint64_t data_size) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < file->count; i++) {
        const entry *e = &file->entries[i];
        if (e->begin != at) {
            const char *before = i > 0 ? file->entries[i - 1].tensor.name : "(the header)";
            return io_fail(
                TUFF_ERROR_FILE,
                "%s: tensor \"%.200s\" begins at byte %" PRIu64 " of the data, but \"%.200s\" before it ends "
                "at byte %" PRIu64 ": %s",
                path, e->tensor.name, e->begin, before, at, e->begin < at ? "they overlap" : "there is a gap");
        }
        at = e->end;
    }
    if (at != data_size) {
        return io_fail(TUFF_ERROR_FILE, "%s: the tensors end at byte %" PRIu64 ", the file only at byte %" PRIu64, path,
                       file->header_end + at, file->header_end + data_size);
    }
    return TUFF_OK;
}

static tuff_result parse_header(const char *path, tuff_safetensors *file, uint64_t data_size) {
    size_t keys = json_object_size(file->header);
    json_t *metadata = json_object_get(file->header, metadata_key);
    if (metadata != NULL) IO_TRY(check_metadata(path, metadata));
    size_t count = keys - (metadata != NULL);
    if (count > UINT32_MAX) return io_fail(TUFF_ERROR_FILE, "%s: %zu tensors are too many", path, count);
    file->entries = calloc(count + 1, sizeof *file->entries);
    file->by_name = calloc(count + 1, sizeof *file->by_name);
    if (file->entries == NULL || file->by_name == NULL) return io_fail_memory(path, count * sizeof *file->entries);

    const char *name;
    json_t *value;
    json_object_foreach(file->header, name, value) {
        if (value == metadata) continue;
        entry *e = &file->entries[file->count];
        if (!json_is_object(value)) return fail_tensor(path, name, "is not described by an object");
        const char *key;
        json_t *field;
        json_object_foreach(value, key, field) {
            (void)field;
            if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 && strcmp(key, "data_offsets") != 0) {
                return io_fail(TUFF_ERROR_FILE, "%s: tensor \"%.200s\" has an unknown key \"%.100s\"", path, name, key);
            }
        }
        e->tensor.name = name;
        IO_TRY(parse_dtype(path, name, json_object_get(value, "dtype"), e));
        IO_TRY(parse_shape(path, name, json_object_get(value, "shape"), e));
        IO_TRY(parse_offsets(path, name, json_object_get(value, "data_offsets"), data_size, e));
        file->count++;
    }
    qsort(file->entries, file->count, sizeof *file->entries, compare_begin);
    IO_TRY(check_cover(path, file, data_size));
    for (uint32_t i = 0; i < file->count; i++) file->by_name[i] = &file->entries[i];
    qsort(file->by_name, file->count, sizeof *file->by_name, compare_name);
    return TUFF_OK;
}

static tuff_result read_header(FILE *stream, const char *path, uint64_t size, tuff_safetensors *file) {
    unsigned char bytes[8];
    if (size < sizeof bytes) {
        return io_fail(TUFF_ERROR_FILE,
                       "%s: truncated: %" PRIu64 " bytes; a safetensors file starts with 8 that give "
                       "its header's length",
                       path, size);
    }
    IO_TRY(io_file_read(stream, path, 0, bytes, sizeof bytes));
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > header_limit) {
        return io_fail(TUFF_ERROR_FILE,
                       "%s: not a safetensors file: its first 8 bytes give a header of %" PRIu64
                       " bytes; at most %" PRIu64 " are allowed",
                       path, length, header_limit);
    }
    if (length > size - sizeof bytes) {
        return io_fail(TUFF_ERROR_FILE, "%s: truncated: ends at byte %" PRIu64 ", its header at byte %" PRIu64, path,
                       size, length + sizeof bytes);
    }
    char *text = malloc((size_t)length + 1);
    if (text == NULL) return io_fail_memory(path, length);
    tuff_result result = io_file_read(stream, path, sizeof bytes, text, length);
    if (result == TUFF_OK && (length == 0 || text[0] != '{')) {
        result =
            io_fail(TUFF_ERROR_FILE, "%s: not a safetensors file: its header (byte 8) does not start with '{'", path);
    }
    if (result == TUFF_OK) {
        json_error_t error;
        file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
        if (file->header == NULL) {
            result = io_fail(TUFF_ERROR_FILE, "%s: the header is not JSON in UTF-8: %s (byte %d of the file)", path,
                             error.text, error.position + 8);
        }
    }
    free(text);
    file->header_end = length + sizeof bytes;
    return result;
}

/* ---- the tensors -------------------------------------------------------------------------- */

static tuff_result convert(const char *path, const tuff_safetensors *file, entry *e) {
    const unsigned char *from = file->data + e->begin;
    uint64_t count = (e->end - e->begin) / 8;
    void *to = malloc((size_t)count * 4);
    if (to == NULL) return io_fail_memory(path, count * 4);
    e->converted = to;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t byte = file->header_end + e->begin + i * 8;
        if (e->dtype == DTYPE_I64) {
            int64_t value;
            memcpy(&value, from + i * 8, sizeof value);
            if (value < INT32_MIN || value > INT32_MAX) {
                return io_fail(TUFF_ERROR_FILE,
                               "%s: tensor \"%.200s\" (I64): element %" PRIu64 " at byte %" PRIu64 " is %" PRId64
                               ", which does not fit 32 bits",
                               path, e->tensor.name, i, byte, value);
            }
            ((int32_t *)to)[i] = (int32_t)value;
        } else {
            double value;
            memcpy(&value, from + i * 8, sizeof value);
            if (isfinite(value) && fabs(value) > FLT_MAX) {
                return io_fail(TUFF_ERROR_FILE,
                               "%s: tensor \"%.200s\" (F64): element %" PRIu64 " at byte %" PRIu64 " is %g, which does "
                               "not fit a 32-bit float",
                               path, e->tensor.name, i, byte, value);
            }
            ((float *)to)[i] = (float)value;
        }
    }
    return TUFF_OK;
}

static tuff_result read_tensors(FILE *stream, const char *path, uint64_t data_size, tuff_safetensors *file) {
    file->data = malloc(data_size > 0 ? (size_t)data_size : 1);
    if (file->data == NULL) return io_fail_memory(path, data_size);
    IO_TRY(io_file_read(stream, path, file->header_end, file->data, data_size));
    for (uint32_t i = 0; i < file->count; i++) {
        entry *e = &file->entries[i];
        e->tensor.size = (size_t)(e->end - e->begin);
        e->tensor.data = file->data + e->begin;
        if (e->begin % 4 != 0 && e->tensor.type != TUFF_U8 && (e->dtype == DTYPE_F32 || e->dtype == DTYPE_I32)) {
            e->converted = malloc(e->tensor.size); /* bytes lie before it: aligned for whoever reads numbers */
            if (e->converted == NULL) return io_fail_memory(path, e->tensor.size);
            memcpy(e->converted, e->tensor.data, e->tensor.size);
            e->tensor.data = e->converted;
        }
        if (e->dtype == DTYPE_F64 || e->dtype == DTYPE_I64) {
            IO_TRY(convert(path, file, e));
            e->tensor.data = e->converted;
            e->tensor.size /= 2;
        }
    }
    return TUFF_OK;
}

tuff_result tuff_safetensors_open(const char *path, tuff_safetensors **out) {
    if (path == NULL || out == NULL) {
        return io_fail(TUFF_ERROR_ARGUMENT, "tuff_safetensors_open: path and file are required");
    }
    *out = NULL;
    FILE *stream = NULL;
    uint64_t size = 0;
    IO_TRY(io_file_open(path, &stream, &size));
    tuff_safetensors *file = calloc(1, sizeof *file);
    tuff_result result = file != NULL ? read_header(stream, path, size, file) : io_fail_memory(path, sizeof *file);
    if (result == TUFF_OK) result = parse_header(path, file, size - file->header_end);
    if (result == TUFF_OK) result = read_tensors(stream, path, size - file->header_end, file);
    fclose(stream);
    if (result != TUFF_OK) {
        tuff_safetensors_close(file);
        return result;
    }
    *out = file;
    return TUFF_OK;
}

void tuff_safetensors_close(tuff_safetensors *file) {
    if (file == NULL) return;
    for (uint32_t i = 0; i < file->count; i++) free(file->entries[i].converted);
    free(file->entries);
    free(file->by_name);
    free(file->data);
    json_decref(file->header);
    free(file);
}

uint32_t tuff_safetensors_count(const tuff_safetensors *file) {
    return file == NULL ? 0 : file->count;
}

const tuff_file_tensor *tuff_safetensors_at(const tuff_safetensors *file, uint32_t index) {
    return file == NULL || index >= file->count ? NULL : &file->entries[index].tensor;
}

const tuff_file_tensor *tuff_safetensors_find(const tuff_safetensors *file, const char *name) {
    if (file == NULL || name == NULL || file->count == 0) return NULL;
    entry *const *found = bsearch(name, file->by_name, file->count, sizeof *file->by_name, compare_key);
    return found == NULL ? NULL : &(*found)->tensor;
}

const char *io_file_type_text(const tuff_file_tensor *tensor) {
    const entry *e = (const entry *)(const void *)((const char *)tensor - offsetof(entry, tensor));
    return e->dtype == DTYPE_I64 ? "int64" : e->dtype == DTYPE_F64 ? "float64" : NULL;
}

const char *tuff_safetensors_metadata(const tuff_safetensors *file, const char *key) {
    if (file == NULL || key == NULL) return NULL;
    return json_string_value(json_object_get(json_object_get(file->header, metadata_key), key));
}

/* ---- writing ------------------------------------------------------------------------------ */

static tuff_result describe(const char *path, const tuff_file_tensor *tensor, uint64_t *at, json_t *header) {
    if (tensor->name == NULL || strcmp(tensor->name, metadata_key) == 0) {
        return io_fail(TUFF_ERROR_ARGUMENT, "%s: a tensor needs a name other than \"__metadata__\"", path);
    }
    if ((tensor->type != TUFF_F32 && tensor->type != TUFF_I32 && tensor->type != TUFF_U8)
        || tensor->shape.rank > TUFF_MAX_RANK) {
        return io_fail(TUFF_ERROR_ARGUMENT,
                       "%s: tensor \"%.200s\": type %d, rank %u: F32, I32 or U8 and a rank of at most "
                       "%d are expected",
                       path, tensor->name, (int)tensor->type, tensor->shape.rank, TUFF_MAX_RANK);
    }
    json_t *shape = json_array();
    uint64_t bytes = tuff_type_size(tensor->type);
    for (uint32_t axis = 0; axis < tensor->shape.rank; axis++) {
        int64_t size = tensor->shape.sizes[axis];
        if (size < 1 || __builtin_mul_overflow(bytes, (uint64_t)size, &bytes)) bytes = UINT64_MAX;
        if (bytes == UINT64_MAX) break;
        json_array_append_new(shape, json_integer(size));
    }
    if (bytes != tensor->size || tensor->data == NULL) {
        char text[IO_SHAPE_TEXT];
        json_decref(shape);
        return io_fail(TUFF_ERROR_SHAPE, "%s: tensor \"%.200s\" of shape %s is given with %zu bytes of data%s", path,
                       tensor->name, io_shape_text(&tensor->shape, text), tensor->size,
                       tensor->data == NULL ? " at NULL" : "");
    }
    if (json_object_get(header, tensor->name) != NULL) {
        json_decref(shape);
        return io_fail(TUFF_ERROR_ARGUMENT, "%s: two tensors are named \"%.200s\"", path, tensor->name);
    }
    json_t *value = json_pack("{s:s, s:o, s:[I, I]}", "dtype", io_type_text(tensor->type), "shape", shape,
                              "data_offsets", (json_int_t)*at, (json_int_t)(*at + bytes));
    if (json_object_set_new(header, tensor->name, value) != 0) {
        return io_fail(TUFF_ERROR_ARGUMENT, "%s: the name \"%.200s\" is not UTF-8", path, tensor->name);
    }
    *at += bytes;
    return TUFF_OK;
}

static tuff_result describe_all(const char *path, const tuff_file_tensor *tensors, uint32_t count,
                                const char *const *metadata, uint32_t metadata_pairs, json_t *header) {
    if (metadata_pairs > 0) {
        json_t *values = json_object();
        json_object_set_new(header, metadata_key, values);
        for (uint32_t i = 0; i < metadata_pairs; i++) {
            const char *key = metadata[2 * i], *value = metadata[2 * i + 1];
            if (key == NULL || value == NULL || json_object_set_new(values, key, json_string(value)) != 0) {
                return io_fail(TUFF_ERROR_ARGUMENT, "%s: metadata pair %u is NULL or not UTF-8", path, i);
            }
        }
    }
    uint64_t at = 0;
    for (uint32_t i = 0; i < count; i++) IO_TRY(describe(path, &tensors[i], &at, header));
    return TUFF_OK;
}

tuff_result tuff_safetensors_write(const char *path, const tuff_file_tensor *tensors, uint32_t count,
                                   const char *const *metadata, uint32_t metadata_pairs) {
    if (path == NULL || (tensors == NULL && count > 0) || (metadata == NULL && metadata_pairs > 0)) {
        return io_fail(TUFF_ERROR_ARGUMENT, "tuff_safetensors_write: path, tensors and metadata are required");
    }
    json_t *header = json_object();
    if (header == NULL) return io_fail_memory(path, 64);
    tuff_result result = describe_all(path, tensors, count, metadata, metadata_pairs, header);
    char *text = result == TUFF_OK ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    IO_TRY(result);
    if (text == NULL) return io_fail_memory(path, 64);

    /* Spaces up to a multiple of 8, so that the tensors are aligned for whoever maps the file. */
    size_t length = strlen(text), padding = (8 - length % 8) % 8;
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)((uint64_t)(length + padding) >> (8 * i));
    io_chunk *chunks = calloc((size_t)count + 3, sizeof *chunks);
    if (chunks == NULL) {
        free(text);
        return io_fail_memory(path, (uint64_t)(count + 3) * sizeof *chunks);
    }
    chunks[0] = (io_chunk){ prefix, sizeof prefix };
    chunks[1] = (io_chunk){ text, length };
    chunks[2] = (io_chunk){ "       ", padding };
    for (uint32_t i = 0; i < count; i++) chunks[3 + i] = (io_chunk){ tensors[i].data, tensors[i].size };
    if (length + padding > header_limit) {
        result = io_fail(TUFF_ERROR_ARGUMENT, "%s: the header would take %zu bytes; the format allows %" PRIu64, path,
                         length + padding, header_limit);
    } else {
        result = io_file_write(path, chunks, (size_t)count + 3);
    }
    free(chunks);
    free(text);
    return result;
}
