/* Operators of your own: a compute shader, a rule for shapes, a gradient. They take part in everything that Tuff's own
 * operators do: differentiation, planning of memory, scheduling, validation, labels in captures.
 * samples/custom_operator is one from end to end, docs/custom-operators.md explains it.
 *
 * The shader is SPIR-V for Vulkan 1.2 (glslang -V --target-env vulkan1.2) with the entry point "main". In descriptor
 * set 0 the inputs are storage buffers at bindings 0, 1, ..., the outputs follow; there may be 8 in all. Every tensor
 * lies row-major, contiguous, from element `first` of its binding on. float32 and int32 are 4 bytes an element. What
 * the shader reads and writes must stay inside of its tensors, each element of each output must be written, inputs must
 * not be, and the same values should give the same bits each time. A workgroup may count 256 invocations, may share 16
 * KiB, and push constants are at most 32 words, wherever Tuff runs. A device may allow larger workgroups and more
 * shared memory; capabilities beyond Vulkan 1.2's own (Float64, Int64, Float16, ...) it is not opened with, unless a
 * host lent it.
 */
#ifndef TUFF_OPERATOR_H
#define TUFF_OPERATOR_H

#include <tuff/tuff.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TUFF_OPERATOR_BUFFERS    8
#define TUFF_OPERATOR_ATTRIBUTES 12
#define TUFF_DISPATCH_PARAMS     32
#define TUFF_DISPATCH_CONSTANTS  16

typedef struct tuff_operator tuff_operator;

/* One tensor of an application. */
typedef struct tuff_argument {
    tuff_type type;
    tuff_shape shape;
    uint32_t first; /* in dispatch alone: the element of its binding at which it begins */
} tuff_argument;

/* An application, as the functions of an operator see it. */
typedef struct tuff_operator_call {
    const char *label; /* for messages: the operator's name and a number */
    const tuff_argument *inputs;
    tuff_argument *outputs; /* infer fills in their types (TUFF_F32, TUFF_I32) and shapes; preset: float32 scalars */
    uint32_t input_count, output_count;
    const float *attributes;
    void *user;
} tuff_operator_call;

/* What is to run. */
typedef struct tuff_dispatch {
    uint32_t groups[3];                          /* workgroups, 1 to 65,535 in each direction; 0: 1 */
    uint32_t params[TUFF_DISPATCH_PARAMS];       /* push constants */
    uint32_t param_count;                        /* in words of 4 bytes */
    uint32_t constants[TUFF_DISPATCH_CONSTANTS]; /* specialization constants 0, 1, ...: a pipeline for each list */
    uint32_t constant_count;
} tuff_dispatch;

/* What a gradient is built from: tensors of the graph. */
typedef struct tuff_gradient_call {
    tuff_tensor *const *inputs;
    tuff_tensor *const *outputs;
    tuff_tensor *const *grad_outputs; /* what arrives at each output; NULL: nothing */
    uint32_t input_count, output_count;
    const float *attributes;
    uint32_t needs; /* bit i: the gradient of input i is wanted */
    void *user;
} tuff_gradient_call;

typedef struct tuff_operator_desc {
    const char *name;             /* required */
    uint32_t input_count;         /* required; with the outputs at most TUFF_OPERATOR_BUFFERS */
    uint32_t output_count;        /* 0: 1 */
    uint32_t attribute_count;     /* numbers given at each application, at most TUFF_OPERATOR_ATTRIBUTES */
    const tuff_type *input_types; /* TUFF_F32 or TUFF_I32 each; NULL: float32 for all */
    const uint32_t *spirv;        /* required; copied */
    size_t spirv_size;            /* bytes */
    void *user;                   /* passed to the functions below */

    /* The outputs' types and shapes from the inputs', or an error: return tuff_fail(TUFF_ERROR_SHAPE, "..."). It runs
     * again when a graph is compiled with other sizes. NULL: every output is like input 0. */
    tuff_result (*infer)(const tuff_operator_call *call);

    /* Required: workgroups and push constants, all that the shader's block has. It runs when a graph is compiled. */
    tuff_result (*dispatch)(const tuff_operator_call *call, tuff_dispatch *dispatch);

    /* Builds grad_inputs[i], of input i's shape, from other operators, your own among them; one that is left NULL gets
     * no gradient. NULL: the operator is a detach. */
    tuff_result (*gradient)(const tuff_gradient_call *call, tuff_tensor **grad_inputs);
} tuff_operator_desc;

/* Makes an operator for a device. It must live until the graphs that use it are destroyed; programs do not need it.
 * Errors: ARGUMENT (a count out of range, no SPIR-V, an entry point that is missing, a binding that is no storage
 * buffer or no tensor's, an output without one, too many push constants), UNSUPPORTED (a capability that the device was
 * not opened with, a workgroup or shared memory beyond its limits), MEMORY. */
TUFF_API tuff_result tuff_operator_create(tuff_device *device, const tuff_operator_desc *desc, tuff_operator **op);
/* NULL is allowed. */
TUFF_API void tuff_operator_destroy(tuff_operator *op);

/* Applies it to input_count tensors with attribute_count numbers (NULL: zeros). Returns the first output; NULL, with
 * the graph's error, on failure or if an input is NULL. */
TUFF_API tuff_tensor *tuff_operator_apply(tuff_operator *op, tuff_tensor *const *inputs, const float *attributes);
/* Output `index` of the application whose first output is given. NULL for NULL or an index that is not there. */
TUFF_API tuff_tensor *tuff_operator_output(tuff_tensor *first, uint32_t index);

/* ---- is a gradient right? --------------------------------------------------------------------- */

typedef struct tuff_gradient_check {
    const tuff_shape *shapes;   /* required: of the inputs, float32 */
    uint32_t input_count;       /* required, at most 8 */
    const float *const *values; /* of the inputs in PyTorch's order; NULL, or NULL for one: random in (-1, 1) */
    uint64_t seed;              /* of what is random */
    float step;                 /* of the differences, for values around 1; 0: 1/64 */
    float tolerance;            /* of the relative difference; 0: 0.01 */
    uint32_t elements; /* of each input, at most; 0: 32. All are looked at together in random directions, too */
} tuff_gradient_check;

/* Builds what is checked in `graph` from the inputs and returns the result; NULL after an error. */
typedef tuff_tensor *(*tuff_build_fn)(tuff_graph *graph, tuff_tensor *const *inputs, void *user);

/* Compares the gradients that Tuff makes of what `build` builds with central differences of its result, weighted at
 * random, which are extrapolated from two steps (Richardson). The result must be smooth around the values: at a kink
 * (relu at 0) differences and gradient disagree by right. torch.autograd.gradcheck, in float32.
 *
 * What the result's rounding hides is not seen: at the default step a slope that is wrong by less than 2e-4 times the
 * result passes, so of y = 1000 x0 + 0.01 x1^3 a gradient of x1 with the wrong sign does. Check an operator alone, not
 * at the end of a network, with values and results of like size.
 *
 * TUFF_OK: they agree. Errors: STATE (they do not: the message names the input, the element, both numbers; or the
 * validation layer sent messages meanwhile), else what building, compiling or running says. */
TUFF_API tuff_result tuff_check_gradient(tuff_device *device, tuff_build_fn build, void *user,
                                         const tuff_gradient_check *check);

#ifdef __cplusplus
}
#endif
#endif
