/* Operators that look at elements in another shape, move them or repeat them. <tuff/layers.h> says what holds for all
 * functions here. */
#ifndef TUFF_PUBLIC_SHAPE_H
#define TUFF_PUBLIC_SHAPE_H

#include <tuff/layers/state.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Types: float32, int32 and uint8 alike. Axes may be negative and then count from the end. Sizes are 1 or more
 * throughout: what would leave nothing is refused. Where strides can express it, a result is a view of its input and
 * costs nothing.
 */

/* torch.reshape; one size may be -1. */
TUFF_API tuff_tensor *tuff_reshape(tuff_tensor *x, tuff_shape shape);
/* torch.nn.Flatten: (N, ...) to (N, product of the rest). */
TUFF_API tuff_tensor *tuff_flatten(tuff_tensor *x);
/* torch.flatten: axes start_dim to end_dim, both included, as one. */
TUFF_API tuff_tensor *tuff_flatten_axes(tuff_tensor *x, int32_t start_dim, int32_t end_dim);
/* torch.Tensor.unflatten: axis dim as `count` axes of these sizes, of which one may be -1. It says nothing of the other
 * axes, whose sizes may be others when the graph is compiled. */
TUFF_API tuff_tensor *tuff_unflatten(tuff_tensor *x, int32_t dim, const int64_t *sizes, uint32_t count);
/* torch.squeeze: without the axes named that have size 1; count 0: without all of these. */
TUFF_API tuff_tensor *tuff_squeeze(tuff_tensor *x, const int32_t *dims, uint32_t count);
/* torch.unsqueeze: with another axis, of size 1, at dim. */
TUFF_API tuff_tensor *tuff_unsqueeze(tuff_tensor *x, int32_t dim);
/* torch.transpose. */
TUFF_API tuff_tensor *tuff_transpose(tuff_tensor *x, int32_t axis0, int32_t axis1);
/* torch.permute: axis i of the result is axis dims[i] of x; count is x's rank. */
TUFF_API tuff_tensor *tuff_permute(tuff_tensor *x, const int32_t *dims, uint32_t count);
/* torch.Tensor.expand: axes of size 1 repeated, new ones in front; -1 keeps an axis. */
TUFF_API tuff_tensor *tuff_expand(tuff_tensor *x, tuff_shape size);

/* The end of an axis, for tuff_slice. */
#define TUFF_END INT64_MAX
/* x[start:end:step] along dim. Negative bounds count from the end; both are brought into the axis. step > 0. */
TUFF_API tuff_tensor *tuff_slice(tuff_tensor *x, int32_t dim, int64_t start, int64_t end, int64_t step);
/* torch.select: x at one index of dim, without this axis. Many of them: tuff_unbind has the cheaper gradient. */
TUFF_API tuff_tensor *tuff_select(tuff_tensor *x, int32_t dim, int64_t index);

/* torch.split, torch.chunk, torch.unbind: views, written to parts, of which there must be room for `capacity`
 * (tuff_chunk: for `chunks`). They return how many there are, 0 after an error, and set the rest to NULL. Their
 * gradient is one concatenation, where that of as many slices would be a sum of tensors as large as x. */
TUFF_API uint32_t tuff_split(tuff_tensor *x, int64_t size, int32_t dim, tuff_tensor **parts, uint32_t capacity);
TUFF_API uint32_t tuff_chunk(tuff_tensor *x, uint32_t chunks, int32_t dim, tuff_tensor **parts);
TUFF_API uint32_t tuff_unbind(tuff_tensor *x, int32_t dim, tuff_tensor **parts, uint32_t capacity);
/* torch.split with a list of sizes, which add up to the axis. */
TUFF_API uint32_t tuff_split_sections(tuff_tensor *x, const int64_t *sizes, uint32_t count, int32_t dim,
                                      tuff_tensor **parts);

/* torch.cat: tensors behind one another along dim. They agree in type and all other axes. */
TUFF_API tuff_tensor *tuff_concat(tuff_tensor *const *tensors, uint32_t count, int32_t dim);
/* torch.stack: tensors of one shape along another axis at dim. */
TUFF_API tuff_tensor *tuff_stack(tuff_tensor *const *tensors, uint32_t count, int32_t dim);

typedef enum tuff_pad_mode {
    TUFF_PAD_CONSTANT = 0, /* value */
    TUFF_PAD_REFLECT,      /* at the ends, which are not repeated: less than the axis */
    TUFF_PAD_REPLICATE,    /* the ends repeated */
    TUFF_PAD_CIRCULAR,     /* as if x went on with its other end: as much as the axis at most */
} tuff_pad_mode;

typedef struct tuff_pad_desc {
    int64_t pad[2 * TUFF_MAX_RANK]; /* PyTorch's order: before and behind the last axis, the one before it, and so on;
                                       below 0 crops */
    tuff_pad_mode mode;
    float value; /* for int32 its whole part */
} tuff_pad_desc;

/* torch.nn.functional.pad; any axes, in every mode. */
TUFF_API tuff_tensor *tuff_pad(tuff_tensor *x, const tuff_pad_desc *desc);

/* torch.flip: backwards along the axes named. */
TUFF_API tuff_tensor *tuff_flip(tuff_tensor *x, const int32_t *dims, uint32_t count);
/* torch.roll: moved on by shifts[i] along dims[i], what leaves at the end coming in at the start; dims NULL: x as one
 * axis, by shifts[0]. */
TUFF_API tuff_tensor *tuff_roll(tuff_tensor *x, const int64_t *shifts, const int32_t *dims, uint32_t count);
/* torch.Tensor.repeat: one count for each axis, and for new ones in front. */
TUFF_API tuff_tensor *tuff_repeat(tuff_tensor *x, const int64_t *repeats, uint32_t count);
/* torch.tile: the same, with 1 for axes in front that are not named. */
TUFF_API tuff_tensor *tuff_tile(tuff_tensor *x, const int64_t *dims, uint32_t count);
/* torch.tril, torch.triu: x where column - row is at most, at least `diagonal` in the last two axes, 0 elsewhere. */
TUFF_API tuff_tensor *tuff_tril(tuff_tensor *x, int64_t diagonal);
TUFF_API tuff_tensor *tuff_triu(tuff_tensor *x, int64_t diagonal);

#ifdef __cplusplus
}
#endif
#endif
