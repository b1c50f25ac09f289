/* Operators and layers: functions that add to a graph and return the new tensor.
 *
 * Names, arguments, defaults and results are PyTorch's, whose function each comment names. Images are
 * (N, C, H, W). Every function returns NULL after an error in the graph (see <tuff/tuff.h>, sticky);
 * passing such a NULL on is allowed. Operators without a gradient act as a detach.
 *
 * A layer is a function that makes parameters, named after desc.name ("conv1" gives "conv1.weight" and
 * "conv1.bias"), and calls operators. The same name again means the same parameters; a different shape
 * is then an error.
 */
#ifndef TUFF_LAYERS_H
#define TUFF_LAYERS_H

/* one file for each family */
#include <tuff/layers/state.h>
#include <tuff/layers/pointwise.h>
#include <tuff/layers/shape.h>
#include <tuff/layers/reduction.h>
#include <tuff/layers/product.h>
#include <tuff/layers/convolution.h>
#include <tuff/layers/pooling.h>
#include <tuff/layers/normalisation.h>
#include <tuff/layers/regularisation.h>
#include <tuff/layers/recurrent.h>
#include <tuff/layers/attention.h>
#include <tuff/layers/lookup.h>
#include <tuff/layers/loss.h>

#endif
