/* The passes of a convolution, as rows that conv1d, conv_transpose2d and the like are made of, and their gradients. */
#ifndef TUFF_LAYERS_CONVOLUTION_H
#define TUFF_LAYERS_CONVOLUTION_H

#include "runtime/graph/operator.h"

/* The passes' attributes: lists of as many numbers as the image has axes, but `padding` of twice as many: in front of
 * each axis, then behind each. */
enum { PASS_STRIDE, PASS_PADDING, PASS_DILATION, PASS_GROUPS, PASS_OUTPUT_PADDING, PASS_ATTRIBUTES };

/* (input, weight), and the pass that its input's gradient is, as a forward pass: torch's conv and conv_transpose. */
extern const operator convolution, convolution_transposed;

/* The output's shape of either, for a batch of the shape x of images of so many axes; an error that names the node if
 * shapes do not fit. */
tuff_result convolution_infer(inference *inference, const tuff_shape *x, uint32_t axes, bool transposed,
                              const attribute_value *passes);

/* The rows of convolution_passes.c. */
enum { CONVOLUTION_PASSES = 5 };
extern const operator* const convolution_passes[CONVOLUTION_PASSES];

/* The public rows by axes of the image, 1 to 3: conv1d, conv_transpose3d. */
enum { CONV_STRIDE, CONV_PADDING, CONV_DILATION, CONV_GROUPS, CONV_ATTRIBUTES };
enum {
    TRANSPOSE_STRIDE,
    TRANSPOSE_PADDING,
    TRANSPOSE_OUTPUT_PADDING,
    TRANSPOSE_GROUPS,
    TRANSPOSE_DILATION,
    TRANSPOSE_ATTRIBUTES
};
extern const operator convolution_rows[4], convolution_transpose_rows[4];

/* What `padding` holds in place of a list: the words of "valid|same". */
enum { PADDING_VALID = -1, PADDING_SAME = -2 };

#endif
