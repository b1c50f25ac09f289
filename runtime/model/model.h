/* Models: named state in flat blocks, initialisers, optimizers' bookkeeping.
 *
 * Graphs declare states; the first compilation (or file, or read) that needs them places everything declared so far
 * in new blocks, one for parameters, one for buffers and one for caches, and runs the initialisers. An optimizer has,
 * for each block of parameters, blocks of the same size for its moments, so that an update binds whole blocks. */
#ifndef TUFF_RUNTIME_MODEL_H
#define TUFF_RUNTIME_MODEL_H

#include "runtime/device/device.h"
#include "runtime/graph/operator.h"
#include <tuff/layers.h>

enum { STATE_ALIGNMENT = 64 }; /* elements: each state starts at a multiple of it (256 bytes) */

struct state_entry {
    tuff_model *model;
    char *name;
    tuff_type type;
    tuff_shape shape;
    int64_t strides[TUFF_MAX_RANK]; /* physical order within its range: PyTorch's, or LAYOUT_KERNEL_LAST */
    tuff_state_kind kind;
    tuff_init_desc init;
    int64_t fan_in, fan_out; /* of the Kaiming and Xavier initialisers */
    uint32_t name_hash;
    bool placed;
    uint32_t block;  /* in model->blocks */
    uint64_t offset; /* elements in the block */
    uint64_t count;  /* elements */
    state_entry *next_forgotten;
};

typedef struct state_block {
    buffer *buffer;
    uint64_t count; /* elements, a multiple of STATE_ALIGNMENT; what is between states is zero and stays so */
    tuff_state_kind kind;
} state_block;

const char *state_block_name(tuff_state_kind kind); /* "parameters" */

struct tuff_model {
    tuff_device *device;
    uint64_t seed;
    state_entry **states;
    uint32_t state_count, state_capacity;
    state_entry *forgotten; /* a failed graph may still point at them */
    state_block *blocks;
    uint32_t block_count, block_capacity;
    tuff_optimizer **optimizers;
    uint32_t optimizer_count, optimizer_capacity;
    queue_point last; /* the newest run of any program on this model */
};

typedef struct state_desc {
    const char *name;
    tuff_type type;
    tuff_shape shape;
    layout layout; /* LAYOUT_ROW_MAJOR or LAYOUT_KERNEL_LAST */
    tuff_state_kind kind;
    tuff_init_desc init;
    int64_t fan_in, fan_out;
} state_desc;

/* Finds a state or declares it. Error: SHAPE if it exists with another shape, type or kind (names both). */
tuff_result model_declare(tuff_model *model, const state_desc *desc, state_entry **out);
/* Takes back what was declared since there were `count` states: the call that did it failed. */
void model_forget(tuff_model *model, uint32_t count);
state_entry *model_find(const tuff_model *model, const char *name);

/* Places and initialises all that is declared and not yet placed. */
tuff_result model_place(tuff_model *model);

/* For the files of this folder: appends an entry as it is (name is copied), or a zeroed block of count elements. */
tuff_result model_add_state(tuff_model *model, const state_entry *entry, const char *name, state_entry **out);
tuff_result model_add_block(tuff_model *model, tuff_state_kind kind, uint64_t count, uint32_t *index);

/* ---- optimizers' rules: one row each, in layers/optimizers.c ------------------------------------ */

enum { MAX_MOMENTS = 2, MAX_HYPER = 8 };

typedef struct optimizer_rule optimizer_rule;
struct optimizer_rule {
    const char *name; /* "adamw" */
    const char *formula;
    uint32_t moment_count;
    const char *moments[MAX_MOMENTS]; /* "exp_avg", "exp_avg_sq" (PyTorch's names) */
    /* Asks for the kernels that update `count` elements: views of float blocks of the same size. scale is a view of
     * one float that multiplies the gradient, or NULL. */
    tuff_result (*lower)(lowering *lowering, const tuff_optimizer *optimizer, const view *parameter,
                         const view *gradient, const view *moments, const view *scale, uint64_t count);
};

enum { HYPER_MOMENTUM = 0, HYPER_DAMPENING, HYPER_NESTEROV, HYPER_SGD_DECAY }; /* sgd, sgd_momentum */
enum { HYPER_BETA1 = 0, HYPER_BETA2, HYPER_EPSILON, HYPER_ADAM_DECAY };        /* adam, adamw */

extern const optimizer_rule optimizer_sgd, optimizer_sgd_momentum, optimizer_adam, optimizer_adamw;

/* The factor that brings the norm over all gradients to clip_norm at most, as torch.nn.utils.clip_grad_norm_ has it:
 * min(1, clip_norm / (norm + 1e-6)). gradients: flat blocks, padded with zeros to STATE_ALIGNMENT. */
tuff_result lower_clip_scale(lowering *lowering, const view *gradients, uint32_t count, float clip_norm,
                             view *scale_out);

typedef struct optimizer_block {
    uint32_t parameters;           /* block of the model */
    uint32_t moments[MAX_MOMENTS]; /* blocks of the model */
} optimizer_block;

struct tuff_optimizer {
    tuff_model *model;
    const optimizer_rule *rule;
    char *name;
    float lr;
    float hyper[MAX_HYPER]; /* the rule's own: beta1, beta2, epsilon, ... */
    float beta1, beta2;     /* for the bias corrections of the step record; 0 where the rule has none */
    uint64_t step_count;
    optimizer_block *blocks;
    uint32_t block_count, block_capacity;
};

/* The optimizer's blocks for a block of parameters, made (zero) and declared as states if they are new. */
tuff_result optimizer_place(tuff_optimizer *optimizer, uint32_t parameter_block, optimizer_block *out);

#endif
