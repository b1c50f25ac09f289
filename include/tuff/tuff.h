/* Tuff: deep learning on any Vulkan device, from C.
 *
 * This header is all that a trainer needs: devices, models, optimizers, graphs and programs. The
 * operators and layers stand in <tuff/layers.h>, files in <tuff/io.h>, embedding into a host's own
 * Vulkan device in <tuff/vulkan.h>.
 *
 * Conventions
 * - Every structure ending in _desc may be zeroed: zero is each field's default. NULL in place of a
 *   descriptor means all defaults.
 * - Whatever can fail returns tuff_result, or a handle that is NULL on failure; tuff_last_message()
 *   then says what failed, where, and what to do. A call that failed changed nothing.
 * - Graph building is sticky: after the first error every further call on that graph returns NULL
 *   and tuff_compile returns the first error.
 * - The library never prints, aborts or exits.
 * - Threads: a device and all that belongs to it may be used from one thread at a time; different
 *   devices may be used from different threads at once. Exceptions are written on the functions.
 */
#ifndef TUFF_TUFF_H
#define TUFF_TUFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(TUFF_SHARED)
#ifdef TUFF_BUILDING
#define TUFF_API __declspec(dllexport)
#else
#define TUFF_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define TUFF_API __attribute__((visibility("default")))
#else
#define TUFF_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define TUFF_VERSION_MAJOR 0
#define TUFF_VERSION_MINOR 1
#define TUFF_VERSION_PATCH 0

/* ---- results ------------------------------------------------------------------------------ */

typedef enum tuff_result {
    TUFF_OK = 0,
    TUFF_ERROR_ARGUMENT,    /* an argument is wrong: NULL, out of range, unknown name */
    TUFF_ERROR_SHAPE,       /* shapes or types do not fit an operator or a buffer */
    TUFF_ERROR_STATE,       /* a call at the wrong time, e.g. a run before an input was written */
    TUFF_ERROR_MEMORY,      /* the device's or the host's memory does not suffice */
    TUFF_ERROR_NO_DRIVER,   /* no Vulkan loader, or no driver */
    TUFF_ERROR_NO_DEVICE,   /* no device fits the selection or has the required minimum */
    TUFF_ERROR_DEVICE,      /* the driver reported a failure */
    TUFF_ERROR_DEVICE_LOST, /* the device is lost; open a new one and load the model again */
    TUFF_ERROR_FILE,        /* a file cannot be read, written or understood */
    TUFF_ERROR_UNSUPPORTED, /* valid, but this version or device cannot do it */
} tuff_result;

/* The enumerator's name, "TUFF_OK" for instance. Any thread. */
TUFF_API const char *tuff_result_name(tuff_result result);

/* The message of the calling thread's latest failure, "" before any. Valid until that thread's next
 * failing call. Any thread. */
TUFF_API const char *tuff_last_message(void);

/* For libraries that stand on Tuff (tuff_io is one): makes message the calling thread's latest failure and
 * returns result, so that one writes `return tuff_fail(...)`. The message is copied. Any thread. */
TUFF_API tuff_result tuff_fail(tuff_result result, const char *message);

/* "major.minor.patch" of the library that is linked. Any thread. */
TUFF_API const char *tuff_version(void);

typedef enum tuff_log_level {
    TUFF_LOG_INFO = 0,
    TUFF_LOG_WARNING,
    TUFF_LOG_ERROR, /* validation errors come here */
} tuff_log_level;

/* Receives the library's and the validation layers' messages. May be called from any thread that
 * is inside a Tuff call, and from threads of Tuff's own (tuff_program_warm); must not call back into Tuff. */
typedef void (*tuff_log_fn)(void *user, tuff_log_level level, const char *message);

/* ---- shapes ------------------------------------------------------------------------------- */

#define TUFF_MAX_RANK 8

typedef enum tuff_type {
    TUFF_F32 = 0,
    TUFF_I32,
    TUFF_U8, /* bytes; truth values are 0 and 1 */
} tuff_type;

/* Bytes of one element. Any thread. */
TUFF_API size_t tuff_type_size(tuff_type type);

/* Sizes from the outermost (slowest) axis to the innermost, as PyTorch writes them. rank 0 is a
 * scalar. Every size is at least 1. */
typedef struct tuff_shape {
    uint32_t rank;
    int64_t sizes[TUFF_MAX_RANK];
} tuff_shape;

/* TUFF_SHAPE(64, 1, 28, 28); TUFF_SCALAR for rank 0. */
#ifdef __cplusplus
} /* extern "C" */
template <typename... Sizes> static inline tuff_shape tuff_make_shape(Sizes... sizes) {
    return tuff_shape{ static_cast<uint32_t>(sizeof...(sizes)), { static_cast<int64_t>(sizes)... } };
}
#define TUFF_SHAPE(...) tuff_make_shape(__VA_ARGS__)
#define TUFF_SCALAR     tuff_make_shape()
extern "C" {
#else
#define TUFF_SHAPE(...)                                                                                                \
    ((tuff_shape){ .rank = (uint32_t)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), .sizes = { __VA_ARGS__ } })
#define TUFF_SCALAR ((tuff_shape){ .rank = 0 })
#endif

/* The number of elements; of NULL 0. Any thread. */
TUFF_API int64_t tuff_shape_count(const tuff_shape *shape);

/* ---- devices ------------------------------------------------------------------------------ */

typedef struct tuff_device tuff_device;

typedef enum tuff_validation {
    TUFF_VALIDATION_DEFAULT = 0, /* the environment's TUFF_VALIDATION: unset or 0, 1, or gpu */
    TUFF_VALIDATION_OFF,
    TUFF_VALIDATION_ON,  /* Khronos layer with synchronization validation */
    TUFF_VALIDATION_GPU, /* the same and GPU-assisted validation */
} tuff_validation;

/* Whether kernels are chosen by measuring, where there are several for the same work. */
typedef enum tuff_tuning {
    /* The environment's TUFF_TUNE, 0 or 1; without it ON for a GPU that Tuff opened, OFF for a driver that runs on the
     * CPU, where candidates take longer to compile than they save, and for a device that a host lent. */
    TUFF_TUNING_DEFAULT = 0,
    TUFF_TUNING_OFF, /* rules choose; no choices are read or written */
    /* tuff_compile measures a class of shapes when it first meets it and keeps the winner in the cache's folder:
     * kernels run for 0.2 s in all, or a few times where they take longer. With the same file the choices are the same,
     * and so are the bits of results. */
    TUFF_TUNING_ON,
} tuff_tuning;

typedef struct tuff_device_desc {
    /* Which device: its index in tuff_device_list, a part of its name (case does not matter), or its
     * UUID in hexadecimal. NULL: the environment's TUFF_DEVICE, and without it the best one
     * (discrete before integrated before virtual before CPU). */
    const char *select;
    tuff_validation validation;
    tuff_log_fn log; /* NULL: messages are dropped */
    void *log_user;
    /* Bytes that Tuff may allocate on the device; 0: what the driver's budget allows. */
    uint64_t memory_budget;
    /* Paths that no driver at hand might choose, forced for tests, separated by commas; NULL: the
     * environment's TUFF_FORCE. docs/testing.md lists them: "staging", "product=tile", ... */
    const char *force;
    /* A folder for what is kept from one process to the next, such as compiled kernels; "0" keeps nothing. NULL: the
     * environment's TUFF_CACHE, which is understood in the same way, and without it the folder tuff in the user's
     * cache directory: $XDG_CACHE_HOME or $HOME/.cache. docs/caches.md says what lies there. A folder that cannot be
     * read or written is no error. Copied. */
    const char *cache;
    tuff_tuning tuning;
} tuff_device_desc;

typedef enum tuff_device_type {
    TUFF_DEVICE_DISCRETE = 0,
    TUFF_DEVICE_INTEGRATED,
    TUFF_DEVICE_VIRTUAL,
    TUFF_DEVICE_CPU,
    TUFF_DEVICE_OTHER,
} tuff_device_type;

typedef struct tuff_memory_heap {
    uint64_t size;     /* bytes */
    uint64_t budget;   /* bytes this process may use, as the driver estimates; = size if it does not */
    bool device_local; /* the device's own memory */
} tuff_memory_heap;

#define TUFF_MAX_HEAPS    16
#define TUFF_MAX_FEATURES 32

/* One feature or limit that Tuff uses. */
typedef struct tuff_device_feature {
    const char *name;
    const char *use; /* what Tuff does with it, or without it */
    bool required;
    bool present;
} tuff_device_feature;

typedef struct tuff_device_info {
    uint32_t index; /* in tuff_device_list */
    char name[256];
    char driver[256];      /* e.g. "llvmpipe" */
    char driver_info[256]; /* e.g. "Mesa 22.3.6 (LLVM 15.0.6)" */
    uint32_t api_major, api_minor, api_patch;
    tuff_device_type type;
    uint8_t uuid[16];
    uint32_t subgroup_size;
    uint32_t shared_memory;    /* bytes for each workgroup */
    uint64_t max_buffer_range; /* bytes one kernel argument can span */
    uint64_t max_allocation;   /* bytes of one allocation */
    uint32_t heap_count;
    tuff_memory_heap heaps[TUFF_MAX_HEAPS];
    uint32_t feature_count;
    tuff_device_feature features[TUFF_MAX_FEATURES];
    bool suitable;    /* has everything required */
    bool chosen;      /* what tuff_device_open with the same descriptor would open */
    char reason[256]; /* why it is chosen, or not */
} tuff_device_info;

/* Opens a device. desc may be NULL. On TUFF_OK *device is the caller's, to be closed by
 * tuff_device_close. Errors: NO_DRIVER (names the package that brings a CPU driver), NO_DEVICE
 * (lists what is there), UNSUPPORTED (validation without its layer: names the package), ARGUMENT, DEVICE. Any
 * thread. */
TUFF_API tuff_result tuff_device_open(const tuff_device_desc *desc, tuff_device **device);

/* Waits for its work, then closes the device. Models, graphs and programs on it must be destroyed
 * before. NULL is allowed. */
TUFF_API void tuff_device_close(tuff_device *device);

/* Fills infos[0 .. *count) with the devices of all drivers and sets *count to their number; infos may
 * be NULL to ask for the number alone. With fewer places than devices the first are filled. desc may be NULL; its
 * `select` decides which one is marked as chosen. Errors: NO_DRIVER, ARGUMENT (count is NULL). Any thread. */
TUFF_API tuff_result tuff_device_list(const tuff_device_desc *desc, tuff_device_info *infos, uint32_t *count);

/* What is known of an open device; valid as long as the device. NULL for NULL. Any thread. */
TUFF_API const tuff_device_info *tuff_device_get_info(const tuff_device *device);

/* Waits until the device has finished all submitted work. Errors: ARGUMENT (NULL), DEVICE, DEVICE_LOST. */
TUFF_API tuff_result tuff_device_wait(tuff_device *device);

/* What Tuff has asked of the driver since the device was opened. A running program moves only
 * `submissions`. */
typedef struct tuff_device_counters {
    uint64_t objects;         /* Vulkan objects created */
    uint64_t allocations;     /* of device memory */
    uint64_t allocated_bytes; /* now, not since */
    uint64_t recordings;      /* command buffers recorded */
    uint64_t pipelines;       /* compute pipelines created */
    uint64_t submissions;
    uint64_t validation_messages; /* warnings and errors of the layers */
} tuff_device_counters;

/* The counters as they stand; with NULL nothing is written. Any thread. */
TUFF_API void tuff_device_get_counters(const tuff_device *device, tuff_device_counters *counters);

/* ---- models ------------------------------------------------------------------------------- */

typedef struct tuff_model tuff_model;

typedef struct tuff_model_desc {
    uint64_t seed; /* of initialisers and dropout */
} tuff_model_desc;

/* Named state on a device. NULL on failure. */
TUFF_API tuff_model *tuff_model_create(tuff_device *device, const tuff_model_desc *desc);

/* Waits for the device; the model's graphs and programs must be destroyed before. Its optimizers go
 * with it. NULL is allowed. */
TUFF_API void tuff_model_destroy(tuff_model *model);

typedef enum tuff_state_kind {
    TUFF_STATE_PARAMETER = 0, /* trained */
    TUFF_STATE_BUFFER,        /* running statistics and the like */
    TUFF_STATE_OPTIMIZER,     /* moments */
    TUFF_STATE_CACHE,         /* keys and values of a sequence that is being generated: not saved, not loaded */
} tuff_state_kind;

typedef struct tuff_state_info {
    const char *name; /* "conv1.weight"; valid as long as the model */
    tuff_type type;
    tuff_shape shape; /* PyTorch's */
    tuff_state_kind kind;
} tuff_state_info;

/* The number of states: parameters, buffers and caches in the order in which graphs declared them, then the
 * optimizers' (which exist once a program that trains was compiled). */
TUFF_API uint32_t tuff_model_state_count(const tuff_model *model);
/* What is known of the state with that index; the name is valid as long as the model. Error: ARGUMENT (index, NULL). */
TUFF_API tuff_result tuff_model_state_info(const tuff_model *model, uint32_t index, tuff_state_info *info);

/* Reads or replaces one state; data is in PyTorch's order, size in bytes must be the state's exactly.
 * In call order with the runs of programs; waits for the device. Errors: ARGUMENT (no such name:
 * lists near ones), SHAPE (size). */
TUFF_API tuff_result tuff_model_read(tuff_model *model, const char *name, void *data, size_t size);
TUFF_API tuff_result tuff_model_write(tuff_model *model, const char *name, const void *data, size_t size);

/* ---- optimizers --------------------------------------------------------------------------- */

typedef struct tuff_optimizer tuff_optimizer;

/* torch.optim.SGD */
typedef struct tuff_sgd_desc {
    const char *name; /* of its states; NULL: "optimizer" */
    float lr;         /* 0: 1e-3 */
    float momentum;
    float dampening;
    float weight_decay;
    bool nesterov;
} tuff_sgd_desc;

/* torch.optim.Adam (weight_decay adds to the gradient) */
typedef struct tuff_adam_desc {
    const char *name;
    float lr;           /* 0: 1e-3 */
    float beta1, beta2; /* 0: 0.9 and 0.999; for a true zero pass a negative number */
    float epsilon;      /* 0: 1e-8 */
    float weight_decay;
} tuff_adam_desc;

/* torch.optim.AdamW (weight_decay apart from the gradient) */
typedef struct tuff_adamw_desc {
    const char *name;
    float lr;           /* 0: 1e-3 */
    float beta1, beta2; /* 0: 0.9 and 0.999; for a true zero pass a negative number */
    float epsilon;      /* 0: 1e-8 */
    float weight_decay; /* 0: PyTorch's 1e-2; for none pass a negative number */
} tuff_adamw_desc;

/* An optimizer belongs to its model and is destroyed with it; its moments are states of the model,
 * named "NAME.exp_avg.PARAMETER" and so on. NULL on failure. */
TUFF_API tuff_optimizer *tuff_sgd_create(tuff_model *model, const tuff_sgd_desc *desc);
TUFF_API tuff_optimizer *tuff_adam_create(tuff_model *model, const tuff_adam_desc *desc);
TUFF_API tuff_optimizer *tuff_adamw_create(tuff_model *model, const tuff_adamw_desc *desc);

/* The learning rate of the runs submitted from now on: finite, 0 or more. Error: ARGUMENT. tuff_optimizer_lr of NULL
 * is 0. */
TUFF_API tuff_result tuff_optimizer_set_lr(tuff_optimizer *optimizer, float lr);
TUFF_API float tuff_optimizer_lr(const tuff_optimizer *optimizer);

/* Updates done so far (submitted); saved and loaded with the model. */
TUFF_API uint64_t tuff_optimizer_step_count(const tuff_optimizer *optimizer);
TUFF_API tuff_result tuff_optimizer_set_step_count(tuff_optimizer *optimizer, uint64_t count);

/* A model's optimizers in the order of their creation, and the name each one's states begin with (valid as long
 * as the model). NULL for an index out of range. */
TUFF_API uint32_t tuff_model_optimizer_count(const tuff_model *model);
TUFF_API tuff_optimizer *tuff_model_optimizer(const tuff_model *model, uint32_t index);
TUFF_API const char *tuff_optimizer_name(const tuff_optimizer *optimizer);

/* ---- graphs ------------------------------------------------------------------------------- */

typedef struct tuff_graph tuff_graph;
typedef struct tuff_tensor tuff_tensor;

/* A description of tensors and the operators between them; no GPU work. NULL on failure. */
TUFF_API tuff_graph *tuff_graph_create(tuff_model *model);
/* Programs compiled from a graph do not need it any more. NULL is allowed. */
TUFF_API void tuff_graph_destroy(tuff_graph *graph);

/* The first error of building, TUFF_OK while there is none; its message (the graph keeps it). */
TUFF_API tuff_result tuff_graph_result(const tuff_graph *graph);
TUFF_API const char *tuff_graph_message(const tuff_graph *graph);

/* A value that the host writes before each run, or once. The name is unique within the graph. A shape has at most
 * 2,147,483,647 elements. NULL, with the graph's error, on failure. */
TUFF_API tuff_tensor *tuff_input(tuff_graph *graph, const char *name, tuff_type type, tuff_shape shape);

/* What a tensor is; the name is valid as long as the graph. Of NULL: float32, the empty shape, "". */
TUFF_API tuff_type tuff_tensor_type(const tuff_tensor *tensor);
TUFF_API tuff_shape tuff_tensor_shape(const tuff_tensor *tensor);
TUFF_API const char *tuff_tensor_name(const tuff_tensor *tensor);
/* The graph it belongs to; NULL for NULL. */
TUFF_API tuff_graph *tuff_tensor_graph(const tuff_tensor *tensor);
/* Names a tensor for messages, dumps and captures. Returns the tensor. */
TUFF_API tuff_tensor *tuff_set_name(tuff_tensor *tensor, const char *name);

/* The gradients of a scalar with respect to tensors (inputs, parameters or intermediate ones), as
 * tensors of the same graph, of the same shapes, in gradients[0 .. count). torch.autograd.grad.
 * Errors: SHAPE (of is not a float scalar), ARGUMENT (no path leads from of to a tensor: names the
 * operators that cut it), UNSUPPORTED (an operator on a path has no derivative: of most kernels for the
 * way back there is no second one). */
TUFF_API tuff_result tuff_gradients(tuff_tensor *of, tuff_tensor *const *with_respect_to, uint32_t count,
                                    tuff_tensor **gradients);

/* Marks a segment of the graph, all that lies between inputs (and states) and output, whose values the backward pass
 * does not find kept but computes a second time, from the inputs, when the gradient of output is there: a step takes
 * less memory and more time. torch.utils.checkpoint.checkpoint. Returns output to go on with; what is built on the
 * returned tensor has its gradients through the segment. They are the same, of dropout's same masks, and states are
 * written once; where fewer values are kept the compiler may fuse other operators, which can change the last bit of a
 * sum. Kept are the output, values that leave the segment on another way, and outputs of the program. A program
 * without gradients is not changed. A node of several segments belongs to the one that was marked last: one around
 * others takes their place. inputs may hold tensors that the segment does not read. NULL, with the graph's error, on
 * failure: ARGUMENT (the segment reaches back to an input of the graph that is not among inputs: names it; an input is
 * NULL or of another graph). docs/memory.md. */
TUFF_API tuff_tensor *tuff_checkpoint(tuff_tensor *output, tuff_tensor *const *inputs, uint32_t input_count);

/* ---- programs ----------------------------------------------------------------------------- */

typedef struct tuff_program tuff_program;

/* Another size for an input, given when a graph is compiled. */
typedef struct tuff_input_size {
    tuff_tensor *input;
    tuff_shape shape;
} tuff_input_size;

/* What a program's runs measure by the device's own clock. */
typedef enum tuff_profile {
    TUFF_PROFILE_NONE = 0,
    TUFF_PROFILE_RUN,        /* how long each run takes: two timestamps, nothing else changes */
    TUFF_PROFILE_DISPATCHES, /* how long each dispatch takes; they run one after the other */
} tuff_profile;

typedef struct tuff_program_desc {
    const char *name;            /* for messages and captures; NULL: "program" */
    tuff_tensor *minimize;       /* a float scalar; NULL: nothing is trained */
    tuff_optimizer *optimizer;   /* required with minimize */
    float clip_norm;             /* > 0: gradients are scaled to this norm over all parameters at most
                                    (torch.nn.utils.clip_grad_norm_) */
    tuff_tensor *const *outputs; /* what tuff_read can read */
    uint32_t output_count;
    const tuff_input_size *input_sizes; /* inputs that have another size than in the graph */
    uint32_t input_size_count;
    bool evaluate;        /* dropout passes through, batch norm uses running statistics, no state
                             is written. Without it a program trains. */
    uint32_t recordings;  /* runs in flight, 1 to 16; 0: 2 */
    bool capture_steps;   /* keep what each compilation step produced, for tuff_program_dump */
    tuff_profile profile; /* for tuff_program_profile; UNSUPPORTED on a device without timestamps */
    uint32_t replay_seed; /* tests: != 0 shuffles dispatches within levels and fills dead memory with
                             NaN; the results must not change */
} tuff_program_desc;

/* Compiles a graph for one purpose. Allocates all that running needs. Errors: the graph's own first
 * error; SHAPE; ARGUMENT; MEMORY (names the bytes asked for, those available, the largest tensors);
 * DEVICE; UNSUPPORTED (what this device cannot run). */
TUFF_API tuff_result tuff_compile(tuff_graph *graph, const tuff_program_desc *desc, tuff_program **program);

/* Waits for its runs. NULL is allowed. */
TUFF_API void tuff_program_destroy(tuff_program *program);

/* Begins to compile the kernels where the driver would do so in the first run (Mesa's lavapipe), with all cores on a
 * device of Tuff's own, and returns: the host may load its data meanwhile. Nothing of the program runs; other drivers
 * have compiled by now, and then nothing is done. It submits to the queue and starts threads for as long as that takes:
 * close the device before the process ends, since that driver crashes in exit() while it compiles. What waits for the
 * device (compiling another program, reading or writing the model) waits for this, too. Errors: ARGUMENT (NULL),
 * MEMORY, DEVICE, DEVICE_LOST. */
TUFF_API tuff_result tuff_program_warm(tuff_program *program);

/* Writes an input for the next run and those after it; size in bytes must be the input's exactly. The
 * data is copied before the call returns. Waits only if every recording is still in flight. Errors: ARGUMENT (not an
 * input of the program: lists its inputs), SHAPE (size), STATE (all recordings were begun and not ended), DEVICE,
 * DEVICE_LOST. */
TUFF_API tuff_result tuff_write(tuff_program *program, const tuff_tensor *input, const void *data, size_t size);

/* Where the next run's input lies, mapped: the host may fill it in place of tuff_write (write only;
 * until the next tuff_run). size may be NULL. Errors as tuff_write. */
TUFF_API tuff_result tuff_map_input(tuff_program *program, const tuff_tensor *input, void **data, size_t *size);

/* How many rows the caches of keys and values have before the next run and those after it (0 at first); a run writes
 * its own behind them. Costs nothing: the program stays as it was recorded. Errors: ARGUMENT (the program has no cache
 * (tuff_cached_attention), or so many rows leave no room for a run's). */
TUFF_API tuff_result tuff_program_set_cache_length(tuff_program *program, uint64_t length);

/* Submits one run and returns. Waits only if every recording is still in flight. Errors: STATE (an
 * input was never written: names it), DEVICE, DEVICE_LOST. */
TUFF_API tuff_result tuff_run(tuff_program *program);

/* Reads an output of the last submitted run; waits for that run and no more. Errors: ARGUMENT (not an
 * output of the program: lists its outputs), SHAPE (size), STATE (never run). */
TUFF_API tuff_result tuff_read(tuff_program *program, const tuff_tensor *output, void *data, size_t size);

typedef struct tuff_program_info {
    uint32_t operators; /* nodes after differentiation, before fusion */
    uint32_t dispatches;
    uint32_t parts; /* commands for the dispatches: a long one goes in several, with nothing between them */
    uint32_t levels;
    uint32_t barriers;
    uint32_t pipelines; /* distinct ones */
    uint32_t segments;
    uint64_t arena_bytes; /* planned memory of what does not outlive a step */
    uint64_t live_bytes;  /* the largest sum of bytes alive at a time */
    uint64_t slot_bytes;  /* inputs, outputs and step records of all recordings */
} tuff_program_info;

/* What a program consists of; with NULL nothing is written. */
TUFF_API void tuff_program_get_info(const tuff_program *program, tuff_program_info *info);

/* One dispatch of a run. Texts are valid as long as the program. */
typedef struct tuff_profile_entry {
    const char *label;                  /* the operators it computes, as in dumps */
    const char *kernel;                 /* the shader */
    const char *segment;                /* "forward", "backward", "update" */
    uint32_t groups[3];                 /* workgroups */
    uint64_t bytes_read, bytes_written; /* of the ranges that it is bound to, each counted once */
    double seconds;                     /* from the end of the dispatch before to its own end */
    uint32_t parts;                     /* in how many commands it went, which `seconds` are of together; 1 unless it is
                                           long */
    uint64_t part_groups;               /* the workgroups of the largest of these commands */
} tuff_profile_entry;

/* Device time of the last submitted run, for which it waits: seconds of the whole, from before the first dispatch to
 * the end of the last; with TUFF_PROFILE_DISPATCHES the first `capacity` dispatches in entries, in the order in which
 * they ran, and how many there are in *count (0 otherwise). seconds and count may be NULL. Errors: STATE (compiled
 * without profile; never run), DEVICE, DEVICE_LOST, ARGUMENT. */
TUFF_API tuff_result tuff_program_profile(tuff_program *program, double *seconds, tuff_profile_entry *entries,
                                          uint32_t capacity, uint32_t *count);

typedef enum tuff_dump {
    TUFF_DUMP_TEXT = 0, /* one section for each compilation step */
    TUFF_DUMP_GRAPHVIZ, /* the differentiated and the fused graph */
} tuff_dump;

/* Writes what each compilation step produced to a file (needs capture_steps). Errors: STATE (without it), FILE,
 * ARGUMENT. */
TUFF_API tuff_result tuff_program_dump(const tuff_program *program, tuff_dump format, const char *path);

#ifdef __cplusplus
}
#endif
#endif
